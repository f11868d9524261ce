"""`hilum report`: the page and files of a finished run made anew, without a model."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import common, options


def report(
    folder: Path = typer.Argument(..., help="A result folder of `hilum predict`."),
    write: str = typer.Option("", "--write", "-w", help=options.WRITE_HELP),
    source: list[Path] | None = typer.Option(
        None, help="Where the analysed files lie now (by content); else where they lay."
    ),
    full_range: bool = options.FULL_RANGE,
    untrusted: bool = options.UNTRUSTED,
    as_json: bool = options.JSON,
) -> None:
    """Write tables, page and, with --write, further files of a finished run; no model is asked.

    Example: hilum report results --write overlay,sr --source studies
    """
    from hilum.core.folders import held
    from hilum.core.results import load_results
    from hilum.dicom.reading import Reading
    from hilum.report.results import ResultFolder
    from hilum.report.rewrite import rewrite
    from hilum.report.writers import parse

    results = ResultFolder(folder.resolve(), parse(write))
    run = load_results(folder)
    with held(folder), common.progress("writing", len(run)) as advance:
        reading = Reading(full_range=full_range, untrusted=untrusted)
        run = rewrite(results, source or None, reading=reading, advance=advance)
    if as_json:
        common.print_json(run.to_json())
    else:
        common.summary(run)
        typer.echo(f"Look at {folder / 'index.html'}. {common.NOTICE}")
    raise typer.Exit(common.exit_code(run))
