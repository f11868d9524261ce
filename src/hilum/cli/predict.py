"""`hilum predict`: files, folders and zips -> findings, pictures and a page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import common

if TYPE_CHECKING:
    from hilum.core.results import ImageResult, RunResult
    from hilum.inference.pipeline import Pipeline
    from hilum.inference.run import Input


def predict(
    paths: list[Path] = typer.Argument(..., help="Files, folders, zips, DICOMDIR."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of the results."),
    pipeline: str = typer.Option("default", help="A pipeline's YAML file, or a shipped name."),
    bundle: Path | None = typer.Option(
        None, help="Another model in the pipeline: a bundle's folder or .zip."
    ),
    precision: str | None = typer.Option(None, help="fp32 or int8; else the bundle's default."),
    workers: int = typer.Option(0, min=0, help="Processes; 0: one a core, at most 8."),
    threads: int = typer.Option(1, min=1, help="Threads of each process."),
    threshold: float | None = typer.Option(
        None, min=0, max=1, help="Show boxes from this score; else the bundle's operating point."
    ),
    no_masks: bool = typer.Option(False, "--no-masks", help="No masks, no outlines."),
    as_json: bool = typer.Option(False, "--json", help="Print findings.json."),
    fresh: bool = typer.Option(False, "--fresh", help="Analyse again what is already there."),
) -> None:
    """Find lung opacities on chest radiographs. Research use only: a qualified reader decides.

    Writes findings.json, findings.csv, overlays, masks and index.html. A run that was stopped
    goes on where it was.

    Example: hilum predict studies/ more.zip --out results
    """
    from hilum.dicom.discover import discover
    from hilum.inference.pipeline import Pipeline

    described = Pipeline.load(pipeline)
    if bundle is not None:
        described = described.with_bundle(bundle)
    chosen = described.changed(precision=precision, threshold=threshold)
    run = analyse(
        list(discover(paths)),
        chosen,
        out,
        workers=workers or common.cores(),
        threads=threads,
        masks=not no_masks,
        fresh=fresh,
    )
    if as_json:
        common.print_json(run.to_json())
    else:
        _summary(run, out)
    if run.counts["analysed"] < len(run):
        raise typer.Exit(common.SOME_REFUSED)


def analyse(
    inputs: Sequence[Input],
    pipeline: Pipeline,
    out: Path,
    *,
    workers: int = 1,
    threads: int = 1,
    masks: bool = True,
    fresh: bool = False,
) -> RunResult:
    """Analyse into a result folder, going on where an earlier run of the same settings stopped.

    Raises:
        ConfigError, BundleError: the pipeline, its bundles or the folder are wrong.
    """
    from hilum.core.results import RunResult
    from hilum.inference.journal import Journal
    from hilum.inference.run import Job, run
    from hilum.report.results import ImageWriter, write_results

    bundles = pipeline.load_bundles()
    key = pipeline.fingerprint(bundles, masks=masks, threads=threads, hilum=_version())
    points = pipeline.operating_points(bundles)
    job = Job(pipeline, threads, masks, ImageWriter(out.resolve(), masks, points))
    with Journal(out, key, fresh=fresh) as journal, _progress(len(inputs)) as advance:
        results = _finished(inputs, journal.names(), journal.find, advance)
        left = [index for index in range(len(inputs)) if index not in results]

        def done(position: int, result: ImageResult) -> None:
            journal.append(result)
            results[left[position]] = result
            advance()

        # Processes cost a second each to start: a few images are done before that.
        hands = workers if len(left) > 4 else 1
        run([inputs[index] for index in left], job, workers=hands, done=done)
        images = tuple(results[index] for index in range(len(inputs)))
        whole = RunResult(pipeline.info(bundles), images, pipeline.combine(images, bundles))
        write_results(out, whole)
    return whole


def _finished(
    inputs: Sequence[Input],
    names: frozenset[str],
    find: Callable[[str, str | None], ImageResult | None],
    advance: Callable[[], None],
) -> dict[int, ImageResult]:
    """What the journal already answers, for unchanged content."""
    from hilum.core.radiograph import Radiograph
    from hilum.inference.run import content_sha256

    found = {}
    for index, item in enumerate(inputs):
        if isinstance(item, Radiograph) or item.name not in names:
            continue
        result = find(item.name, content_sha256(item))
        if result is not None:
            found[index] = result
            advance()
    return found


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr; nothing where nobody looks."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("[cyan]analysing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def _summary(run: RunResult, out: Path) -> None:
    counts = run.counts
    words = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    typer.echo(f"{len(run)} images: {words or 'none'}.")
    for image in run:
        if image.status != "analysed":
            typer.echo(f"  {image.status}: {image.name}: {image.reason}")
    typer.echo(f"Look at {out / 'index.html'}. {common.NOTICE}")


def _version() -> str:
    from hilum import __version__

    return __version__
