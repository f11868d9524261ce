"""What every verb shares: the notice, exit codes, one place that turns errors into messages."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hilum.inference.pipeline import Pipeline
    from hilum.inference.tuning import Running

NOTICE = "Research use only, not a medical device: a qualified reader decides."

TRACEBACK = "HILUM_TRACEBACK"  # any value: show where an unforeseen error came from
OUR_FAULT = f"this is a fault of hilum; run again with {TRACEBACK}=1 for the details"

CHOSEN = "as `hilum bench` chose here, else"
PRECISION_HELP = f"fp32 or int8; {CHOSEN} the bundle's default."

DONE, SOME_REFUSED, USAGE, FAILED = 0, 1, 2, 3
INTERRUPTED = 130  # what typer makes of Ctrl-C, and shells of SIGINT
KEPT = (
    "hilum: interrupted; what was finished is kept. Run the same command again: it goes on where "
    "it can, else begins anew"
)

OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


def guarded(app: Callable[..., Any]) -> int:
    """Run a typer app; every error becomes one line on stderr and an exit code."""
    from hilum.core.errors import ConfigError, HilumError, InputRefused

    try:
        app()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print(KEPT, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else DONE
    except KeyboardInterrupt:  # a second one, while the first was being answered
        print(KEPT, file=sys.stderr)
        return INTERRUPTED
    except InputRefused as error:
        print(f"hilum: refused: {error}", file=sys.stderr)
        return SOME_REFUSED
    except ConfigError as error:
        print(f"hilum: {error}", file=sys.stderr)
        return USAGE
    except HilumError as error:
        print(f"hilum: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        return _refused_by_system(error)
    except Exception as error:  # noqa: BLE001  the last border
        return _ours(error)
    return DONE


def _refused_by_system(error: OSError) -> int:
    """Of a file whose name is known, or of a disk: libraries tell its errors without a name."""
    if not error.strerror or not (error.filename or error.errno in OF_A_DISK):
        return _ours(error)
    name = f"{os.fspath(error.filename)}: " if error.filename else ""
    words = os.strerror(error.errno) if error.errno in OF_A_DISK else error.strerror
    print(f"hilum: {name}{words}", file=sys.stderr)
    return FAILED


def _ours(error: Exception) -> int:
    if os.environ.get(TRACEBACK):
        traceback.print_exc()
    print(f"hilum: {_one_line(error)}; {OUR_FAULT}", file=sys.stderr)
    return FAILED


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())


def print_json(value: object) -> None:
    """One JSON document on stdout, for machines."""
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


def cores() -> int:
    """Cores this process may use, at most 8: what `--workers 0` stands for."""
    from hilum.inference.tuning import cores as usable

    return min(8, usable())


def running(pipeline: Pipeline, precision: str | None, workers: int, threads: int) -> Running:
    """What a command runs with; a line on stderr where `hilum bench` chose it.

    Args:
        pipeline: before precision, threshold or window are changed.
        workers, threads: as given; 0: not given.
    """
    from hilum.inference import tuning

    how = tuning.running(
        pipeline,
        precision=precision,
        workers=workers or None,
        threads=threads or None,
        usual=cores(),
    )
    if how.why:
        print(how.why, file=sys.stderr)
    return how
