"""The folder of `hilum data check`: problems as a table and as a page with thumbnails of the first
images of each, and, where asked, the cleaned catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hilum.core.errors import DataError, InputRefused
from hilum.core.files import write_text
from hilum.data.catalog import Catalog
from hilum.data.cells import to_csv
from hilum.data.check.findings import REMEDIES, Report
from hilum.data.pixels import open_radiograph
from hilum.report.drawing import Canvas, base, data_uri
from hilum.report.pages import render

SHOWN = 12  # images of each problem
SIDE = 220  # px of a thumbnail


PAGE, PROBLEMS, CLEANED, LEFT_OUT = (
    *("index.html", "problems.csv"),
    *("cleaned.parquet", "left_out.csv"),
)


def write_check(out: Path, report: Report, *, cleaned: bool = False) -> None:
    """Table and page of the problems; `cleaned`: also the catalog of what can be used, and a table
    of what cannot."""
    write_text(out / PROBLEMS, to_csv(report.problems))
    write_text(out / PAGE, check_page(report))
    if cleaned:
        report.cleaned().save(out / CLEANED)
        write_text(out / LEFT_OUT, to_csv(report.left_out()))


def check_page(report: Report) -> str:
    """One HTML file without outside parts."""
    catalog, problems = report.catalog, report.problems
    paths = dict(zip(catalog.table["image_id"], catalog.table["path"], strict=True))
    shown: dict[str, list[dict[str, Any]]] = {}
    for code, rows in problems.groupby("code", sort=False):
        shown[str(code)] = [
            {"image_id": i, "text": t, "picture": _thumbnail(catalog, str(paths.get(i, "")))}
            for i, t in zip(rows["image_id"][:SHOWN], rows["text"][:SHOWN], strict=True)
        ]
    return render(
        "check.html",
        title=f"Check of {catalog.title}",
        numbers={"images": len(catalog), "read": len(report.facts), "problems": len(problems)},
        counts=report.counts(),
        remedies=REMEDIES,
        notes=catalog.notes,
        shown=shown,
    )


def _thumbnail(catalog: Catalog, path: str) -> str:
    if not path:
        return ""
    try:
        radiograph = open_radiograph(catalog.root, path)
    except (InputRefused, DataError):
        return ""
    canvas = Canvas(width=radiograph.width, height=radiograph.height, sides=(SIDE, SIDE))
    return data_uri(base(radiograph, canvas))
