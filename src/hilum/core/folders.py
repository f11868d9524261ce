"""Whose an output folder is: one run's at a time, and never mixed with other files.

`.hilum/lock` is held while a run writes; a killed process holds nothing. `.hilum/KIND` says that
what lies in the folder under the names of that kind of run is its own, and by which settings it was
made: the same command goes on there, or writes it anew.
"""

from __future__ import annotations

import errno
import fnmatch
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hilum.core.errors import ConfigError
from hilum.core.files import OWN_MARK, lock, write_text

LOCK = "lock"
WITHOUT_LOCKS = (errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS)  # some network file systems; Windows
SHOWN = 5  # names in a message


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """While this lasts, no other run writes into `folder`, which is made where there is none. Of a
    run that leaves nothing there, nothing is left.

    Raises:
        ConfigError: another run writes there, or nobody may.
    """
    is_new, place = not folder.exists(), folder / OWN_MARK
    file, handle = place / LOCK, None
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = lock(file)
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
    except BlockingIOError as error:
        raise ConfigError(
            f"{folder}: another run{_whose(file)} writes there; wait for it, or choose another "
            "--out"
        ) from error
    except OSError as error:
        if handle is None and error.errno not in WITHOUT_LOCKS:
            raise ConfigError(
                f"{folder}: nothing can be written there ({error.strerror}); choose another --out"
            ) from error
    try:
        yield
    finally:
        if handle is not None:
            file.unlink(missing_ok=True)
            os.close(handle)
        with suppress(OSError):  # something is in it
            place.rmdir()
            if is_new:
                folder.rmdir()


@contextmanager
def claimed(
    folder: Path,
    kind: str,
    *,
    names: Sequence[str] = ("*",),
    settings: str = "",
    stays: bool = True,
) -> Iterator[None]:
    """As `held`, for a run that writes `names` there.

    Args:
        kind: of run, a safe file name; what an earlier one wrote there is its own.
        names: patterns of what it writes, directly below the folder.
        settings: all that decides what is written, where what other settings made must not stay
            beside it.
        stays: False for an export, which is as it should be without our mark once it is whole.

    Raises:
        ConfigError: such names are there that no run of this kind wrote, or it had other settings.
    """
    with held(folder):
        mark = folder / OWN_MARK / kind
        before = mark.read_text(encoding="utf-8") if mark.is_file() else None
        own = _there(folder, names)
        if own and before is None:
            raise ConfigError(
                f"{folder} is not empty, and of no earlier run: {_shown(own)} there; choose "
                "another --out, so that results are not mixed with other files"
            )
        if own and before != settings:
            raise ConfigError(
                f"{folder} is not empty: it holds what hilum made with other options or of other "
                "data; choose another --out, or remove it"
            )
        if before != settings:
            write_text(mark, settings)
        try:
            yield
        except BaseException:
            stays = bool(_there(folder, names))
            raise
        finally:
            if not stays:
                mark.unlink(missing_ok=True)


def _there(folder: Path, names: Sequence[str]) -> list[str]:
    there = sorted(name for name in os.listdir(folder) if name != OWN_MARK)
    return [name for name in there if any(fnmatch.fnmatch(name, one) for one in names)]


def _shown(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _whose(file: Path) -> str:
    """Which process holds a lock, in words; none where nobody knows."""
    try:
        number = file.read_text().strip()
    except (OSError, ValueError):
        return ""
    return f" (process {number})" if number.isdecimal() else ""
