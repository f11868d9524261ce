"""Results appear whole or not at all, in folders that are marked as ours."""

from __future__ import annotations

import os
import select
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A folder that holds OWN_MARK was written by hilum; what lies in these folders of it are pictures
# of radiographs or objects about them, so that a second look at the same folder leaves them out.
OWN_MARK = ".hilum"
OWN_PICTURES = frozenset(("picture", "mask", "masks", "overlay", "sr", "seg", "gsps", "sc"))

WRITER_S = 2.0  # how long a pipe waits for the first words of somebody who writes to it


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, renamed onto it when the block ends without an error."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.stem}-"
    with called(target):
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=target.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp makes 0600; results are ordinary files.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def called(target: Path) -> Iterator[None]:
    """Errors of the system inside that name no file, or a temporary one beside `target`, name
    `target`, which its user knows."""
    try:
        yield
    except OSError as error:
        name = Path(os.fsdecode(error.filename or ""))
        temporary = name.parent == target.parent and name.name.startswith(f".{target.stem}")
        if error.errno is not None and (error.filename is None or temporary):
            error.filename, error.filename2 = os.fspath(target), None
        raise


def is_file(path: str | os.PathLike[str]) -> bool:
    """As `Path.is_file`; a name that no file can have is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def read_at_most(path: str | os.PathLike[str], limit: int) -> bytes:
    """The content, or one byte more than `limit` of it where there is more.

    Asked for `limit` bytes at once, Python would map memory for them whatever the file's size.
    A pipe that nobody writes to is empty; opened as files are, it would block for ever.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    with open(path, "rb", opener=_without_waiting) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size:
            return stream.read(min(size, limit) + 1)
        parts, left = [], limit + 1  # a pipe, whose size nobody knows
        while left and (part := stream.read(min(left, 2**20))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


def _without_waiting(path: str, flags: int) -> int:
    if not hasattr(os, "O_NONBLOCK"):  # Windows, whose pipes are no files
        return os.open(path, flags)
    handle = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISFIFO(os.fstat(handle).st_mode):
        select.select([handle], [], [], WRITER_S)
    os.set_blocking(handle, True)  # who writes may be slow
    return handle


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_quickly(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that is whole for every reader, and that power lost within seconds may leave
    empty: for files that are many and can be made again. Waiting for the disk takes as long as
    analysing an image.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}-{os.getpid()}-{threading.get_ident()}")
    os.makedirs(folder, exist_ok=True)
    try:
        with called(Path(path)):
            with open(temporary, "wb") as stream:
                stream.write(content)
            os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, content.encode())
