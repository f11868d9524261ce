"""`hilum bench`: which precision, workers and threads are fastest here and answer as fp32 does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.inference.bench import Measured


def bench(
    files: list[Path] = typer.Argument(None, help="Radiographs; else RG1 of pydicom-data."),
    pipeline: str = options.PIPELINE,
    bundle: list[str] = options.BUNDLES,
    change: list[str] = options.CHANGES,
    images: int = typer.Option(24, min=1, help="Images of a round; the files in turn."),
    rounds: int = typer.Option(3, min=1, help="Rounds of a setting; the median counts."),
    score: float = typer.Option(0.01, min=0, help="How far scores may be from those of fp32."),
    box_px: float = typer.Option(1.0, min=0, help="How far edges of boxes may be, in pixels."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Measure only; store nothing."),
    as_json: bool = options.JSON,
) -> None:
    """Measure precision, workers and threads on this machine and keep the fastest setting.

    Only settings that answer as fp32 does count (docs/speed.md). `hilum predict`, `hilum batch` and
    `hilum serve` then use it for this pipeline, unless options or the configuration say otherwise.

    Example: hilum bench study.dcm --box-px 4
    """
    from hilum.cli.demo import radiographs
    from hilum.dicom.discover import discover
    from hilum.inference import bench as measure
    from hilum.inference.pipeline import Pipeline
    from hilum.inference.tuning import cores, machine, settings_file

    described = Pipeline.load(pipeline, change).with_named(bundle)
    measured = measure.bench(
        described,
        list(discover(files or radiographs()[:1])),
        cores=cores(),
        limits=measure.Limits(score=score, box_px=box_px),
        images=images,
        rounds=rounds,
        advance=lambda one: print(_line(one), file=sys.stderr),
    )
    best = measure.best(measured)
    if not dry_run:
        measure.keep(described, best)
    if as_json:
        settings = [one.to_json() for one in measured]
        stored = None if dry_run else str(settings_file())
        common.print_json(
            {"machine": machine(), "settings": settings, "best": best.to_json(), "stored": stored}
        )
    else:
        typer.echo(f"Fastest of those near enough to fp32: {_line(best)}")
        typer.echo("Nothing stored." if dry_run else f"Stored in {settings_file()}.")


def _line(one: Measured) -> str:
    how = one.setting
    text = f"{how.precision}, workers {how.workers} x threads {how.threads}: "
    text += f"{one.files_per_s:.1f} files/s, scores within {one.score:.3f}, "
    text += f"boxes within {one.box_px:.1f} px"
    return text + (f" (refused: {one.refused})" if one.refused else "")
