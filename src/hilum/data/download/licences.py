"""Terms of data sets that the user has accepted: shown once, stored in the user's own folder."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from hilum.core.errors import DataError
from hilum.core.files import write_text


def accepted(name: str, terms: str) -> bool:
    """Whether exactly these terms of the set `name` were accepted before."""
    return _stored().get(name, {}).get("terms") == _digest(terms)


def accept(name: str, terms: str) -> None:
    """Remember that the user accepted these terms; changed terms are asked about again."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    stored = _stored() | {name: {"terms": _digest(terms), "accepted": now}}
    write_text(_file(), json.dumps(stored, indent=1))


def _file() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "hilum" / "licences.json"


def _stored() -> dict[str, dict[str, str]]:
    if not _file().is_file():
        return {}
    try:
        stored: dict[str, dict[str, str]] = json.loads(_file().read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{_file()} is damaged ({error}); delete it and accept again") from error
    return stored


def _digest(terms: str) -> str:
    return hashlib.sha256(terms.encode()).hexdigest()
