"""`hilum predict`: files, folders and zips -> findings, pictures and a page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import typer

from hilum.cli import common, options

PICTURE = "picture"  # what the page draws on
ARCHIVES = (".zip", ".parquet")  # of many images, most likely


def predict(
    paths: list[Path] = typer.Argument(
        ..., help="Files, folders, zips, DICOMDIR, or catalogs (.parquet)."
    ),
    out: Path = options.output("Folder of the results."),
    pipeline: str = options.PIPELINE,
    bundle: list[str] = options.BUNDLES,
    change: list[str] = options.CHANGES,
    precision: str | None = options.PRECISION,
    workers: int = options.WORKERS,
    threads: int = options.THREADS,
    threshold: float | None = typer.Option(
        None, min=0, max=1, help="Show boxes from this score; else the bundle's operating point."
    ),
    no_masks: bool = options.NO_MASKS,
    write: str = typer.Option("picture,mask", "--write", "-w", help=options.WRITE_HELP),
    window: tuple[float, float] | None = options.WINDOW,
    full_range: bool = options.FULL_RANGE,
    untrusted: bool = options.UNTRUSTED,
    as_json: bool = options.JSON,
    fresh: bool = options.FRESH,
) -> None:
    """Find lung opacities on chest radiographs. Research use only: a qualified reader decides.

    Writes findings.json, findings.csv, index.html, and for each image a picture and masks; other
    files by --write. A run that was stopped goes on where it was.

    Example: hilum predict studies/ more.zip --out results --write picture,mask,overlay

    Example: hilum predict test.parquet --threshold 0 --write "" --out every-box
    """
    from hilum.core.processes import IMPORTED, nursery

    if workers != 1 and any(path.is_dir() or path.suffix.lower() in ARCHIVES for path in paths):
        nursery(*IMPORTED)  # first of all: it imports what workers need while this process does
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
    passed: Counter[str] = Counter()
    inputs, again = distinct(inputs_of(paths, passed))
    common.tell_passed(passed)
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
        if PICTURE not in results.writers:
            typer.echo(f"It has no pictures: hilum report {out} --write {PICTURE} adds them.")
    raise typer.Exit(common.exit_code(run))
