"""Files under hashed names: whole and on the disk when a name appears, and never over the limit.

Objects lie in objects/AB/<image id>, results in results/AB/<result id>/<name>, what is arriving
in incoming/. Nothing is deleted to make room. Knows no DICOM and no database.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from hilum.core.errors import HilumError

_ID = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,80}")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)
_COUNTED_FOR_S = 300.0
STALE_S = 3600.0  # an arriving file that nobody has written to for this long


class StoreUnavailable(HilumError):
    """No room, or the disk does not take it: nothing was kept, ask again later."""


class FileMissing(StoreUnavailable):
    """The store is there, and a file of it is not."""


class Store:
    """Files of images and results."""

    def __init__(
        self, root: Path, *, limit_bytes: int | None = None, reserve_bytes: int = 0
    ) -> None:
        """
        Args:
            limit_bytes: of all files; None: as many as the disk takes.
            reserve_bytes: free space that stays free.
        """
        self.root, self.limit_bytes, self.reserve_bytes = root, limit_bytes, reserve_bytes
        self._used, self._counted = 0, -1.0
        try:
            for part in ("objects", "results", "incoming"):
                (root / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreUnavailable(f"{root}: {error.strerror}") from error

    # --- Arriving -------------------------------------------------------------------------------

    @property
    def incoming(self) -> Path:
        """Where arriving files lie until they have a name."""
        return self.root / "incoming"

    def keep(self, id: str, data: bytes | Path) -> bool:
        """Keep an object; on the disk when this returns. False where it was there already.

        Args:
            data: its bytes, or a file in `incoming` that becomes it.

        Raises:
            StoreUnavailable: no room, or the disk does not take it; nothing is left behind.
        """
        target = self.path(id)
        if target.exists():
            _flush_folder(target.parent)  # who brought it may not have come so far
            return False
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        self.check_room(size, here=size if isinstance(data, Path) else 0)
        self._write(target, data)
        self._used += size
        return True

    def keep_result(self, id: str, files: Mapping[str, bytes]) -> int:
        """Keep the files of a result, each whole; their bytes together.

        Raises:
            StoreUnavailable: see `keep`; a later call writes what is missing.
        """
        total = sum(map(len, files.values()))
        self.check_room(total)
        for name, data in files.items():
            self._write(self.result_path(id, name), data)
        self._used += total
        return total

    def _write(self, target: Path, data: bytes | Path) -> None:
        arrived = isinstance(data, Path)
        temporary = data if isinstance(data, Path) else self.incoming / secrets.token_hex(16)
        try:
            _make_folder(target.parent)
            with temporary.open("r+b" if arrived else "xb") as stream:
                if isinstance(data, bytes):
                    stream.write(data)
                    stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
            _flush_folder(target.parent)
        except OSError as error:
            with contextlib.suppress(OSError):  # a disk that is read-only now is swept later
                temporary.unlink(missing_ok=True)
            if error.errno not in _FULL:
                raise
            raise StoreUnavailable(f"the disk does not take it: {error.strerror}") from error

    # --- Room -----------------------------------------------------------------------------------

    def check_room(self, size: int, *, here: int = 0) -> None:
        """
        Args:
            here: how much of `size` lies on the disk already.

        Raises:
            StoreUnavailable: `size` more bytes would be over the limit or into the reserve.
        """
        if self.limit_bytes is not None and self.used() + size > self.limit_bytes:
            raise StoreUnavailable(f"the store's limit of {self.limit_bytes >> 20} MiB is reached")
        try:
            free = shutil.disk_usage(self.root).free
        except OSError as error:
            raise StoreUnavailable(f"the disk is away: {error.strerror}") from error
        if free - size + here < self.reserve_bytes:
            raise StoreUnavailable(
                f"{free >> 20} MiB are free; {self.reserve_bytes >> 20} MiB are to stay so"
            )

    def used(self) -> int:
        """Bytes of all files, counted anew every few minutes: others write here too."""
        now = time.monotonic()
        if self._counted < 0 or now - self._counted > _COUNTED_FOR_S:
            self._used = sum(_size(path) for path in self.root.rglob("*"))
            self._counted = now
        return self._used

    # --- What is held ---------------------------------------------------------------------------

    def path(self, id: str) -> Path:
        """Of an object; it need not be there."""
        return self.root / "objects" / _checked(id)[:2] / id

    def read(self, id: str) -> bytes:
        """An object's bytes.

        Raises:
            StoreUnavailable: it is not there or cannot be read.
        """
        return self._read(self.path(id))

    def result_path(self, id: str, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError("names of result files are lower case letters, digits, . _ -")
        return self.root / "results" / _checked(id)[:2] / id / name

    def read_result(self, id: str, name: str) -> bytes:
        """The bytes of one file of a result.

        Raises:
            StoreUnavailable: it is not there or cannot be read.
        """
        return self._read(self.result_path(id, name))

    def check_there(self, path: Path) -> None:
        """
        Raises:
            StoreUnavailable: a file is not there.
        """
        try:
            path.stat()
        except OSError as error:
            raise _unread(path, error) from error

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise _unread(path, error) from error

    def sweep(self, older_s: float = STALE_S) -> int:
        """Remove what was arriving and never came; how many."""
        swept, oldest = 0, time.time() - older_s
        for path in self.incoming.iterdir():
            if path.is_file() and path.stat().st_mtime <= oldest:
                path.unlink(missing_ok=True)
                swept += 1
        return swept


def _unread(path: Path, error: OSError) -> StoreUnavailable:
    words = f"a file of the store cannot be read: {error.strerror}"
    gone = isinstance(error, FileNotFoundError) and path.parent.parent.is_dir()
    return FileMissing(words) if gone else StoreUnavailable(words)


def _checked(id: str) -> str:
    if not _ID.fullmatch(id):
        raise ValueError("an id is 32 hexadecimal digits")
    return id


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)
        _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # renamed or swept meanwhile
        return 0
