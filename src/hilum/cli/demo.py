"""`hilum demo`: a real chest radiograph and two phantoms, from pixels to a page in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.core.radiograph import Radiograph
    from hilum.core.results import RunResult
    from hilum.inference.answer import Input

IMAGES = ("RG1_UNCR.dcm", "RG1_J2KR.dcm")  # 15 bit, MONOCHROME1: uncompressed and JPEG 2000
PHANTOMS = ((7, 1200, 1000, 2), (11, 900, 1100, 1))  # seed, width, height, opacities


def demo(
    out: Path = typer.Option(Path("hilum-demo"), "--out", "-o", help="Folder of the results."),
    pipeline: str = options.PIPELINE,
    as_json: bool = options.JSON,
) -> None:
    """Analyse the radiograph that comes with pydicom-data and two phantoms; no network, no torch.

    Example: hilum demo --out hilum-demo
    """
    from hilum.dicom.discover import discover
    from hilum.inference.folder import analyse
    from hilum.inference.pipeline import Pipeline
    from hilum.report.results import ResultFolder
    from hilum.report.writers import parse

    inputs: list[Input] = [*discover(radiographs()), *_phantoms()]
    results = ResultFolder(out.resolve(), parse("picture,mask,overlay"))
    with common.progress("analysing", len(inputs)) as advance:
        run = analyse(inputs, Pipeline.load(pipeline), results, fresh=True, advance=advance)
    if as_json:
        common.print_json(run.to_json())
    else:
        _table(run)
        typer.echo(f"Look at {(out / 'index.html').resolve()}")
        typer.echo(common.NOTICE)
    raise typer.Exit(common.exit_code(run))


def radiographs() -> list[Path]:
    """RG1 of pydicom-data in two transfer syntaxes.

    Raises:
        MissingExtraError: pydicom-data is not installed.
    """
    from hilum.core.extras import require

    package = require("demo")
    folder = Path(str(package.__file__)).parent / "data"
    return [folder / name for name in IMAGES]


def _phantoms() -> list[Radiograph]:
    from hilum.core.radiograph import Radiograph
    from hilum.data.phantom.phantom import phantom

    return [
        Radiograph(phantom(seed, width, height, opacities).pixels, source=f"phantom-{seed}")
        for seed, width, height, opacities in PHANTOMS
    ]


def _table(run: RunResult) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="hilum demo: AI result, not for diagnosis")
    # Narrow enough for a terminal of 80 columns; the page has all scores.
    for column in ("image", "size, px", "P(opacity)", "boxes", "seconds"):
        table.add_column(column, justify="left" if column in ("image", "boxes") else "right")
    for image in run:
        findings = image.findings
        opacity = f"{findings.image_scores.get('opacity', float('nan')):.2f}" if findings else "-"
        boxes = " ".join(f"{score:.2f}" for score in findings.scores) if findings else image.reason
        size = f"{image.width}×{image.height}"
        table.add_row(Path(image.name).name, size, opacity, boxes or "none", f"{image.seconds:.2f}")
    Console().print(table)
