"""What names an archive -> items to read: a folder, a list, a Parquet table of paths, a URL,
a query of a DICOMweb server.

Only names are made here; bytes are loaded where the model is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hilum.core.errors import ConfigError, LimitRefused, NotFoundRefused, UnreadableRefused
from hilum.core.extras import require
from hilum.dicom.discover import Item, discover, is_sidecar
from hilum.dicom.source import DEFAULT_LIMITS, load
from hilum.scale.dicomweb import ENVIRONMENT, PREFIX, Instance, instances_of

PATH = "path"  # the column of a Parquet table of paths


@dataclass(frozen=True, slots=True)
class Remote:
    """One object of a store that fsspec knows (s3://, gs://, file:// ...)."""

    name: str

    def load(self) -> bytes:
        """The bytes.

        Raises:
            InputRefused: missing, not to be opened, or over a limit.
        """
        fsspec, most = require("scale", "fsspec"), DEFAULT_LIMITS.file_bytes
        try:
            with fsspec.open(self.name, "rb") as stream:
                data = stream.read(most + 1)
        except FileNotFoundError as error:
            raise NotFoundRefused(self.name, "there is no such object.") from error
        except Exception as error:  # every store has errors of its own
            reason = f"the store does not give it ({type(error).__name__})."
            raise UnreadableRefused(self.name, reason, "Run again with --fresh.") from error
        if len(data) > most:
            raise LimitRefused(self.name, f"it is larger than {most >> 20} MiB.")
        return load((self.name, data), DEFAULT_LIMITS)[1]


Source = Item | Remote | Instance


def items_of(source: str) -> list[Source]:
    """The items of an archive, each name once, sorted by name.

    Raises:
        ConfigError: the list or the table cannot be read, or the URL holds a password.
    """
    items = {item.name: item for item in _items(source)}
    return [items[name] for name in sorted(items)]


def _items(source: str) -> Iterator[Source]:
    ending = Path(source).suffix.lower()
    if source.startswith(PREFIX):
        return instances_of(_without_password(source.removeprefix(PREFIX)))
    if _is_url(source):
        return _stored(source)
    if ending in (".txt", ".parquet") and not os.path.isdir(source):
        return _listed(_lines(source) if ending == ".txt" else _column(source))
    return discover([source])


def _is_url(text: str) -> bool:
    return "://" in text


def _listed(names: Iterable[str]) -> Iterator[Source]:
    for name in names:
        if _is_url(name):
            yield Remote(_without_password(name))
        else:
            yield from discover([name])


def _lines(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}; needed: UTF-8 text with a path a line") from None
    return [line.strip() for line in lines if line.strip()]


def _column(path: str) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        values: list[Any] = pq.read_table(path, columns=[PATH]).column(PATH).to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ConfigError(f"{path}: {error}; needed: Parquet with a column {PATH!r}") from None
    if not all(isinstance(value, str) and value for value in values):
        raise ConfigError(f"{path}: column {PATH!r} holds what is no path; needed: texts")
    return values


def _stored(url: str) -> Iterator[Remote]:
    """All objects below a URL, without those that stand beside images."""
    fsspec = require("scale", "fsspec")
    try:
        store, root = fsspec.core.url_to_fs(_without_password(url))
        names: list[Any] = store.find(root)
    except ConfigError:
        raise
    except Exception as error:  # every store has errors of its own
        raise ConfigError(f"{url}: {type(error).__name__}: {error}") from error
    kept = [name for name in names if name == root or not is_sidecar(name)]
    if not kept:
        raise ConfigError(f"{url}: nothing is there that may be an image; name another URL")
    return (Remote(store.unstrip_protocol(name)) for name in kept)


def _without_password(url: str) -> str:
    """The URL, which is written beside each answer.

    Raises:
        ConfigError: it holds a user or a password.
    """
    if "@" in urlsplit(url).netloc:
        raise ConfigError(
            "a URL with a user or password; give those by environment, as fsspec's stores do, to "
            f"a DICOMweb server in {ENVIRONMENT}USER and {ENVIRONMENT}PASSWORD_FILE"
        )
    return url
