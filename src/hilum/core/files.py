"""Results appear whole or not at all, in folders that are marked as ours."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hilum.core.processes import undivided

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A folder that holds OWN_MARK was written by hilum; what lies in these folders of it are pictures
# of radiographs or objects about them, so that a second look at the same folder leaves them out.
OWN_MARK = ".hilum"
OWN_PICTURES = frozenset(("picture", "mask", "masks", "overlay", "sr", "seg", "gsps", "sc"))

WRITER_S = 2.0  # how long a pipe waits for the first words of somebody who writes to it


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, renamed onto it when the block ends without an error."""
    with _replacing(Path(path)) as temporary:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """As `atomic_path`, without waiting for the disk."""
    with called(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = target, None
        try:
            with undivided():  # or an interrupt leaves a file that nobody knows of
                temporary, handle = _beside(target)
            yield temporary
            temporary.replace(target)
        except BaseException:
            if handle is not None:
                temporary.unlink(missing_ok=True)
            raise
        finally:
            if handle is not None:
                os.close(handle)


def _beside(target: Path) -> tuple[Path, int]:
    """An empty file beside `target` and its descriptor, whose lock is held until it is closed.

    Its name follows from the target's: what a killed process left is written over by the next, and
    not left behind. A name of its own where another process writes the same target now.
    """
    temporary = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        handle = lock(temporary)
    except OSError:  # held, or somebody else's; what is wrong with the folder is said below
        pass
    else:
        state = os.fstat(handle)
        if state.st_uid == os.geteuid() and state.st_nlink == 1:
            os.ftruncate(handle, 0)
            return temporary, handle
        os.close(handle)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")
    return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def need_writable(path: str | os.PathLike[str]) -> None:
    """To be asked before hours of work for one file.

    Raises:
        OSError: the file could not be written.
    """
    target = Path(path)
    with called(target):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = _beside(target)
        temporary.unlink()
        os.close(handle)


def lock(file: Path) -> int:
    """A descriptor of `file`, made where there is none, that holds its lock until it is closed or
    its process is gone.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be made, or locks are not known there.
    """
    if fcntl is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(file)):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its last holder has renamed or removed it meanwhile


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
    with _replacing(Path(path)) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, content.encode())
