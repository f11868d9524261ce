"""Secret-keyed replacements that are the same in every file and every run: patients, UIDs, days.

Keyed by HMAC-SHA-256: without the secret nobody can compute, or test a guess of, a replacement.
Knows no DICOM elements.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path

from hilum.core.errors import ConfigError
from hilum.core.files import called

MIN_BYTES = 16
MAX_DAYS = 3650


@dataclass(frozen=True, slots=True, repr=False)
class Pseudonyms:
    """Replacements under one secret. Its text form never shows the secret."""

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_BYTES:
            raise ConfigError(
                f"the secret has {len(self.secret)} bytes; needed: at least {MIN_BYTES} random ones"
            )

    def _digest(self, kind: str, text: str) -> bytes:
        return hmac.digest(self.secret, f"{kind}\0{text}".encode(), "sha256")

    def patient(self, identifier: str) -> str:
        """A name of 17 characters, e.g. P4KZQ2…, for a PatientID."""
        return "P" + base64.b32encode(self._digest("patient", identifier)[:10]).decode()

    def uid(self, original: str) -> str:
        """A UUID-derived UID (PS3.5 B.2)."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', original)[:16], version=5).int}"

    def days(self, identifier: str) -> int:
        """How many days all dates of a patient move into the past: 1 to `MAX_DAYS`."""
        return 1 + int.from_bytes(self._digest("days", identifier)[:8]) % MAX_DAYS


def open_secret(path: Path) -> tuple[bytes, bool]:
    """The secret in a file and whether it was made just now (mode 0600).

    Raises:
        ConfigError: the file cannot be read or made, or is too short.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            return path.read_bytes().strip(), False
        except OSError as error:
            raise ConfigError(f"the secret {path} cannot be read") from error
    except OSError as error:
        raise ConfigError(f"the secret {path} cannot be made; name another file") from error
    secret = secrets.token_hex(32).encode()
    try:
        with called(path), os.fdopen(handle, "wb") as stream:
            stream.write(secret + b"\n")
            stream.flush()
            os.fsync(handle)  # copies made with it can never be linked by another
    except BaseException:
        path.unlink()  # half a secret would be taken for one
        raise
    return secret, True
