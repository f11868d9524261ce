"""`hilum predict`: files, folders and zips -> findings, pictures and a page."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import common
from hilum.cli.pipeline import BUNDLE_HELP, CHANGE_HELP

if TYPE_CHECKING:
    from hilum.core.results import RunResult


WRITE_HELP = (
    "Files of each image, after each its options: picture, mask, overlay, sr, seg, gsps, sc. "
    "Such as picture:side=1536,mask,overlay; an empty text for findings only."
)
LISTED = 50  # lines about single images on a terminal


def predict(
    paths: list[Path] = typer.Argument(..., help="Files, folders, zips, DICOMDIR."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of the results."),
    pipeline: str = typer.Option("default", help="A pipeline's YAML file, or a shipped name."),
    bundle: list[str] = typer.Option([], help=BUNDLE_HELP),
    change: list[str] = typer.Option([], "--set", help=CHANGE_HELP),
    precision: str | None = typer.Option(None, help=common.PRECISION_HELP),
    workers: int = typer.Option(
        0, min=0, help=f"Processes; 0: {common.CHOSEN} one a core, at most 8."
    ),
    threads: int = typer.Option(0, min=0, help=f"Threads of each process; 0: {common.CHOSEN} 1."),
    threshold: float | None = typer.Option(
        None, min=0, max=1, help="Show boxes from this score; else the bundle's operating point."
    ),
    no_masks: bool = typer.Option(False, "--no-masks", help="No masks, no outlines."),
    write: str = typer.Option("picture,mask", "--write", "-w", help=WRITE_HELP),
    window: tuple[float, float] | None = typer.Option(
        None, help="Centre and width for reading, instead of each file's own window."
    ),
    full_range: bool = typer.Option(
        False, "--full-range", help="Read the whole stored range, without windows and VOI LUTs."
    ),
    untrusted: bool = typer.Option(
        False, "--untrusted", help="Open files in a child process with limits of time and memory."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print findings.json."),
    fresh: bool = typer.Option(False, "--fresh", help="Analyse again what is already there."),
) -> None:
    """Find lung opacities on chest radiographs. Research use only: a qualified reader decides.

    Writes findings.json, findings.csv, index.html, and for each image a picture and masks; other
    files by --write. A run that was stopped goes on where it was.

    Example: hilum predict studies/ more.zip --out results --write picture,mask,overlay
    """
    from hilum.dicom.discover import discover
    from hilum.dicom.reading import Reading
    from hilum.inference.folder import analyse
    from hilum.inference.pipeline import Pipeline
    from hilum.report.results import ResultFolder
    from hilum.report.writers import parse

    results = ResultFolder(out.resolve(), parse(write))
    described = Pipeline.load(pipeline, change).with_named(bundle)
    how = common.running(described, precision, workers, threads)
    inputs = list(discover(paths))
    with progress("analysing", len(inputs)) as advance:
        run = analyse(
            inputs,
            described.changed(precision=how.precision, threshold=threshold, window=window),
            results,
            workers=how.workers,
            threads=how.threads,
            masks=not no_masks,
            reading=Reading(full_range=full_range, untrusted=untrusted),
            fresh=fresh,
            advance=advance,
        )
    if as_json:
        common.print_json(run.to_json())
    else:
        summary(run)
        typer.echo(f"Look at {out / 'index.html'}. {common.NOTICE}")
    raise typer.Exit(exit_code(run))


def exit_code(run: RunResult) -> int:
    """Everything analysed, and every file written that was asked for?"""
    from hilum.report.writers import NOT_WRITTEN

    lost = any(text.startswith(NOT_WRITTEN) for image in run for text in image.warnings)
    whole = run.counts["analysed"] == len(run) and not lost
    return common.DONE if whole else common.SOME_REFUSED


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda: None
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
        TextColumn(f"[cyan]{what}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def summary(run: RunResult) -> None:
    """How many of what, why some were not analysed, and warnings; never in silence."""
    words = ", ".join(f"{number} {status}" for status, number in run.counts.items() if number)
    typer.echo(f"{len(run)} images: {words or 'none'}.")
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
