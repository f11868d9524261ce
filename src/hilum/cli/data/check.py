"""`hilum data check`: what is wrong with a data set."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import options
from hilum.cli.data.sources import ledger, open_source

MEMORY = "files.jsonl"  # of what was read, so that a rerun goes on


def check(
    source: Path = options.SOURCE,
    out: Path = options.output("Folder for problems.csv, index.html and the memory."),
    kind: str = options.KIND,
    option: list[str] = options.OPTIONS,
    fix: bool = typer.Option(False, help="Also write cleaned.parquet and left_out.csv."),
    files: bool = typer.Option(True, help="Read every file; --no-files looks at tables only."),
    gate: bool = typer.Option(
        True, help="Look at the pixels as `hilum predict` does: no chest, lateral, several in one."
    ),
    workers: int = options.READERS,
    as_json: bool = options.JSON,
) -> None:
    """Find unreadable, duplicate, mislabelled and suspicious images; a rerun resumes.

    Exit code 1 where there is any problem, or something of the set could not be used.

    Example: hilum data check rsna/ --kind rsna --out rsna-check --fix
    """
    from hilum.cli.common import SOME_REFUSED, cores, print_json, tracked
    from hilum.core.folders import claimed
    from hilum.data.check import findings
    from hilum.data.check.files import Gate, file_facts
    from hilum.inference.loaded import LoadedPipeline
    from hilum.inference.pipeline import Pipeline
    from hilum.report.check import CLEANED, LEFT_OUT, PAGE, PROBLEMS, write_check

    catalog = open_source(source, kind, option)
    total = int((catalog.table["path"] != "").sum())
    looks = None
    if files and gate:
        pipeline = LoadedPipeline(Pipeline.load(None))
        _ = pipeline.gates  # opened before threads ask
        looks = Gate(check=pipeline.check_pixels, fingerprint=pipeline.fingerprint)
    with claimed(out, "check", names=(PAGE, PROBLEMS, CLEANED, LEFT_OUT, MEMORY)):
        memory = out / MEMORY
        facts = file_facts(catalog, memory, workers or cores(), looks) if files else iter(())
        report = findings.check(catalog, tracked(facts, "reading", total))
        write_check(out, report, cleaned=fix)
    if as_json:
        print_json({"images": len(catalog), "problems": report.counts(), **ledger(catalog)})
    else:
        for code, count in report.counts().items():
            typer.echo(f"{count:7d}  {code}  ({findings.REMEDIES[code]})")
        typer.echo(f"{len(catalog)} images, {len(report.problems)} problems: {out / PAGE}")
        left = len(report.left_out())
        if fix:
            typer.echo(
                f"{len(catalog) - left} images that can be used: {out / CLEANED}; "
                f"{left} left out: {out / LEFT_OUT}"
            )
        elif left:
            typer.echo("with --fix: the images that can be used, as a catalog")
    if len(report.problems) or catalog.skips:
        raise typer.Exit(SOME_REFUSED)
