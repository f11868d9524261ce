"""The page of `hilum data check`: counts, and the first images of each problem with thumbnails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hilum.core.errors import DataError, InputRefused
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_radiograph
from hilum.report.drawing import Canvas, base, data_uri
from hilum.report.pages import render

SHOWN = 12  # images of each problem
SIDE = 220  # px of a thumbnail


def check_page(
    catalog: Catalog,
    problems: pd.DataFrame,
    counts: Mapping[str, int],
    remedies: Mapping[str, str],
    read: int,
) -> str:
    """One HTML file without outside parts.

    Args:
        problems: one a row: image_id, code, text.
        counts: problems of each code.
        remedies: what the cleaned copy does about each code.
        read: files that were read.
    """
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
        numbers={"images": len(catalog), "read": read, "problems": len(problems)},
        counts=counts,
        remedies=remedies,
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
