"""Results appear whole or not at all, in folders that are marked as ours."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A folder that holds OWN_MARK was written by hilum; what lies in these folders of it are pictures
# of radiographs or objects about them, so that a second look at the same folder leaves them out.
OWN_MARK = ".hilum"
OWN_PICTURES = frozenset(("picture", "mask", "overlay", "sr", "seg", "gsps", "sc"))


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, flush: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`, renamed onto it when the block ends without an error.

    Without `flush` it is whole for every reader, too, but power lost within seconds may leave it
    empty: for files that can be made again and are many.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes 0600; results are ordinary files.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        if flush:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes, *, flush: bool = True) -> None:
    """Write a file atomically."""
    with atomic_path(path, flush=flush) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, content.encode())
