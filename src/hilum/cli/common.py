"""What every verb shares: the notice, exit codes, one place that turns errors into messages."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import count
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from hilum.core.results import RunResult
    from hilum.inference.pipeline import Pipeline
    from hilum.inference.tuning import Running

NOTICE = "Research use only, not a medical device: a qualified reader decides."

TRACEBACK = "HILUM_TRACEBACK"  # any value: show where an unforeseen error came from
OUR_FAULT = f"this is a fault of hilum; run again with {TRACEBACK}=1 for the details"

Step = TypeVar("Step")

LISTED = 50  # lines about single images on a terminal

DONE, SOME_REFUSED, USAGE, FAILED = 0, 1, 2, 3
INTERRUPTED = 130  # what typer makes of Ctrl-C, and shells of SIGINT
UNREAD = 141  # what shells make of SIGPIPE
KEPT = (
    "interrupted; what was finished is kept. Run the same command again: it goes on where "
    "it can, else begins anew"
)

OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


def guarded(app: Callable[..., Any]) -> int:
    """Run a typer app; every error becomes one line on stderr and an exit code."""
    from hilum.core.processes import heard, listening

    with listening():
        try:
            code = _code(app)
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = INTERRUPTED
        except BrokenPipeError:
            code = _unread()
        except OSError as error:
            code = _refused_by_system(error)
        stopped = heard()
    if code == INTERRUPTED:
        _tell(KEPT)
        return 128 + stopped if stopped is not None else INTERRUPTED
    return code


def _code(app: Callable[..., Any]) -> int:
    from hilum.core.errors import ConfigError, HilumError, InputRefused

    try:
        app()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # typer has caught it
            return _unread()
        return stop.code if isinstance(stop.code, int) else DONE
    except InputRefused as error:
        _tell(f"refused: {error}")
        return SOME_REFUSED
    except ConfigError as error:
        _tell(str(error))
        return USAGE
    except HilumError as error:
        _tell(str(error))
        return FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        return _refused_by_system(error)
    except Exception as error:  # noqa: BLE001  the last border
        return _ours(error)
    return DONE


def _tell(words: str) -> None:
    with suppress(OSError):  # nobody reads it any more
        print(f"hilum: {words}", file=sys.stderr)


def _unread() -> int:
    """Whoever read the output has left (`| head`): what could not be said is of no use to him."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # where the rest goes when the interpreter ends
    os.close(nowhere)
    return UNREAD


def _refused_by_system(error: OSError) -> int:
    """Of a file whose name is known, or of a disk: libraries tell its errors without a name."""
    if not error.strerror or not (error.filename or error.errno in OF_A_DISK):
        return _ours(error)
    from hilum.core.errors import NotKept

    if error.errno in OF_A_DISK:
        _tell(str(NotKept.of(error)))
    else:
        _tell(f"{os.fspath(error.filename)}: {error.strerror}")
    return FAILED


def _ours(error: Exception) -> int:
    if os.environ.get(TRACEBACK):
        traceback.print_exc()
    _tell(f"{_one_line(error)}; {OUR_FAULT}")
    return FAILED


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())


def add_verbs(app: typer.Typer, package: str, verbs: Iterable[str]) -> None:
    """Each is the function of its name in the file of its name."""
    for verb in verbs:
        app.command()(getattr(import_module(f"{package}.{verb}"), verb))


def print_json(value: object) -> None:
    """One JSON document on stdout, for machines."""
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def log() -> None:
    """What a training says while it runs, on stderr."""
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr; a line now and then where that is no terminal.

    Args:
        what: is done, until the work itself says more (`core.progress`).
        total: None where nobody knows it.
    """
    from hilum.core.progress import beside, doing, spoken, status

    done = count(1)
    doing(what, 0, total)

    def advance() -> None:
        doing(what, next(done), total)

    if not sys.stderr.isatty():
        with spoken(tell=lambda words: print(words, file=sys.stderr, flush=True)):
            yield advance
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("[cyan]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(what, total=total)

    def show(ended: Event) -> None:
        while not ended.wait(0.1):
            bar.update(task, description=status.words, completed=status.number, total=status.total)

    with bar, beside(show, "hilum-bar"):
        yield advance


def tracked(steps: Iterable[Step], what: str, total: int | None = None) -> Iterator[Step]:
    """The same steps, with a progress bar."""
    with progress(what, total) as advance:
        for step in steps:
            yield step
            advance()


def numbers(text: str, option: str) -> list[float]:
    """ "0.8,0.1,0.1" as numbers.

    Raises:
        ConfigError: something else stands there.
    """
    from hilum.core.errors import ConfigError

    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option} {text!r}: needed: numbers separated by commas") from None


def words(text: str) -> list[str]:
    """ "age, sex" as words; none in an empty text."""
    return [word.strip() for word in text.split(",") if word.strip()]


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


def tell_search(document: Mapping[str, Any]) -> None:
    """What a search on folds chose, and how far to believe its score."""
    typer.echo(f"chosen: {', '.join(f'{k}={v}' for k, v in document['options'].items())}")
    typer.echo(
        f"{document['metric']}: mean of the folds {document['score']:.3f} (optimistic: it was "
        f"chosen by it), {document['nested']:.3f} when chosen on the other folds"
    )


def exit_code(run: RunResult) -> int:
    """Everything analysed, and every file written that was asked for?"""
    from hilum.report.writers import NOT_WRITTEN

    lost = any(text.startswith(NOT_WRITTEN) for image in run for text in image.warnings)
    whole = run.counts["analysed"] == len(run) and not lost
    return DONE if whole else SOME_REFUSED


def summary(run: RunResult) -> None:
    """How many of what, why some were not analysed, and warnings; never in silence."""
    counted = ", ".join(f"{number} {status}" for status, number in run.counts.items() if number)
    typer.echo(f"{len(run)} images: {counted or 'none'}.")
    findings = [image.findings for image in run if image.findings is not None]
    if boxed := Counter(name for one in findings for name in {*one.labels}):
        counted = ", ".join(f"{name} on {number}" for name, number in boxed.most_common())
        typer.echo(f"Boxes: {counted}. Images without one may show disease, too.")
    lines = [
        (f"{image.status}: {image.reason}", image.name)
        for image in run
        if image.status != "analysed"
    ]
    lines += [(f"warning: {text}", image.name) for image in run for text in image.warnings]
    if len(lines) > LISTED:
        for kind, number in Counter(_kind(words) for words, _ in lines).most_common():
            typer.echo(f"  {number} x {kind}")
    for words, name in lines[:LISTED]:
        kind, _, rest = words.partition(": ")
        typer.echo(f"  {kind}: {name}: {rest}")
    if len(lines) > LISTED:
        typer.echo(f"  and {len(lines) - LISTED} more: see findings.csv and the page.")


def _kind(words: str) -> str:
    """ "refused: unreadable: it is ..." to "refused: unreadable"."""
    return ": ".join(words.split(": ")[:2])


def tell_passed(passed: Counter[str]) -> None:
    """Say how many files of folders are no images, by their suffixes."""
    if passed:
        kinds = ", ".join(f"{kind or 'no suffix'} {count}" for kind, count in passed.most_common())
        typer.echo(f"{passed.total()} files that are no images were passed over: {kinds}", err=True)
