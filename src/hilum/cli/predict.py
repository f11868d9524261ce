"""`hilum predict`: files, folders and zips -> findings, pictures and a page."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import common
from hilum.cli.pipeline import BUNDLE_HELP, CHANGE_HELP

WRITE_HELP = (
    "Files of each image, after each its options: picture, mask, overlay, sr, seg, gsps, sc. "
    "Such as picture:side=1536,mask,overlay; an empty text for findings only."
)


def predict(
    paths: list[Path] = typer.Argument(
        ..., help="Files, folders, zips, DICOMDIR, or catalogs (.parquet)."
    ),
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

    Example: hilum predict test.parquet --threshold 0 --write "" --out every-box
    """
    from hilum.cli.inputs import inputs as inputs_of
    from hilum.dicom.discover import distinct
    from hilum.dicom.reading import Reading
    from hilum.inference.folder import analyse
    from hilum.inference.pipeline import Pipeline
    from hilum.report.results import ResultFolder
    from hilum.report.writers import parse

    results = ResultFolder(out.resolve(), parse(write))
    described = Pipeline.load(pipeline, change).with_named(bundle)
    how = common.running(described, precision, workers, threads)
    inputs, again = distinct(inputs_of(paths))
    if again:
        name, first = again[0]
        known = f"{name} is {first}" if name != first else f"{name}, named twice"
        typer.echo(f"{len(again)} more names of the same files were passed over: {known}", err=True)
    with common.progress("analysing", len(inputs)) as advance:
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
        common.summary(run)
        typer.echo(f"Look at {out / 'index.html'}. {common.NOTICE}")
    raise typer.Exit(common.exit_code(run))
