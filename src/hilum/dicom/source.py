"""A path, bytes or stream -> name and bytes; and the one border where foreign errors become ours.

Knows no format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2

from hilum.core.errors import InputRefused, LimitRefused, NotFoundRefused, UnreadableRefused
from hilum.dicom.header import quiet
from hilum.dicom.limits import Limits

Bytes = bytes | bytearray | memoryview
Source = str | os.PathLike[str] | Bytes | BinaryIO | tuple[str, bytes]

NO_MEMORY = "it needs more memory than there is."
DEFAULT_LIMITS = Limits()


def load(source: Source, limits: Limits) -> tuple[str, bytes]:
    """Name and bytes of a source, never more than the limit.

    Raises:
        InputRefused: no such file, a folder, empty, or too large.
    """
    if isinstance(source, Bytes):
        name, data = "bytes", bytes(source)
    elif isinstance(source, tuple):
        name, data = source
    elif isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        data = _load_path(name, limits)
    elif not hasattr(source, "read"):
        raise TypeError(f"{type(source).__name__}; needed: a path, bytes or a binary stream")
    else:
        name = str(getattr(source, "name", "stream"))
        data = source.read(limits.file_bytes + 1)
    if len(data) > limits.file_bytes:
        raise LimitRefused(
            name, f"it is larger than {limits.file_bytes >> 20} MiB.", "Raise the limit."
        )
    if not data:
        raise UnreadableRefused(name, "it is empty.", "Copy it again.")
    return name, data


def _load_path(name: str, limits: Limits) -> bytes:
    if Path(name).is_dir():
        raise UnreadableRefused(name, "it is a folder.", "Name a file, or use discover().")
    if os.path.exists(name) and not os.path.isfile(name):  # a pipe could block for ever
        raise UnreadableRefused(name, "it is a device or pipe.", "Copy it to a file first.")
    try:
        with open(name, "rb") as stream:
            # As much as there is: memory for the limit would be mapped, and given back.
            size = os.fstat(stream.fileno()).st_size or limits.file_bytes  # 0: nobody knows
            return stream.read(min(size, limits.file_bytes) + 1)
    except FileNotFoundError as error:
        raise NotFoundRefused(name, "there is no such file.", "Check the path.") from error
    except (OSError, ValueError) as error:
        raise NotFoundRefused(name, "it cannot be opened.", "Check its permissions.") from error


@contextmanager
def border(name: str) -> Iterator[None]:
    """Whatever parsers of hostile bytes raise inside leaves as a refusal of this source."""
    try:
        with quiet():
            yield
    except InputRefused as error:
        raise named(error, name) from error.__cause__
    except MemoryError as error:
        raise LimitRefused(name, NO_MEMORY) from error
    except RecursionError as error:
        raise LimitRefused(name, "it is nested too deep.") from error
    except Exception as error:
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            raise LimitRefused(name, NO_MEMORY) from error
        raise UnreadableRefused(name, "it is damaged.", "Copy or export it again.") from error


def named(error: InputRefused, name: str) -> InputRefused:
    """The same refusal with the name of its source."""
    return type(error)(error.source or name, error.reason, error.remedy)
