"""The page of `hilum data explore`: figures, the table of classes, samples with boxes.

One file without outside parts. The samples are radiographs: the page is the user's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hilum.core.errors import DataError, InputRefused
from hilum.data.catalog import Catalog
from hilum.data.explore.explore import Summary
from hilum.data.explore.figures import Plot
from hilum.data.pixels import open_radiograph
from hilum.report.drawing import TRUTH, Canvas, base, data_uri, draw_boxes
from hilum.report.figures import png_uri
from hilum.report.pages import render

SIDE = 320  # px of a sample
SCALE = 0.7  # CSS pixels per pixel of a figure: all figures with the same size of letters


def explore_page(summary: Summary, figures: Sequence[Plot], each: int = 4, seed: int = 0) -> str:
    """The page; `each` samples of a class, 0 for none."""
    catalog, classes = summary.catalog, summary.classes()
    return render(
        "explore.html",
        title=catalog.title,
        numbers=_numbers(summary),
        figures=[(one, round(one.width_px * SCALE), png_uri(one.png)) for one in figures],
        columns=list(classes.columns),
        rows=[(label, row.tolist()) for label, row in classes.iterrows()],
        samples=dict(_samples(catalog, each, seed)) if each else {},
        notes=catalog.notes,
    )


def _numbers(summary: Summary) -> dict[str, int]:
    table, per_image = summary.catalog.table, summary.boxes_per_image()
    return {
        "images": len(table),
        "with a file": int((table["path"] != "").sum()),
        "patients": int(table["patient"].nunique()),
        "boxes": int(per_image.mul(per_image.index).sum()),
        "labels": len(summary.label_columns),
    }


def _samples(catalog: Catalog, each: int, seed: int) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Random images of each class: picture and caption."""
    rng = np.random.default_rng(seed)
    has_file = (catalog.table["path"] != "").to_numpy()
    for label in catalog.label_names or [""]:
        fits = (catalog.table[f"label_{label}"] == 1).to_numpy() if label else True
        rows = rng.permutation(np.flatnonzero(has_file & fits))
        shown: list[tuple[str, str]] = []
        for row in rows[: 3 * each].tolist():  # some may be unreadable
            try:
                shown.append(_sample(catalog, row))
            except (InputRefused, DataError):
                continue
            if len(shown) == each:
                break
        if shown:
            yield label or "any", shown


def _sample(catalog: Catalog, row: int) -> tuple[str, str]:
    record = catalog.table.iloc[row]
    radiograph = open_radiograph(catalog.root, str(record["path"]))
    width, height = radiograph.width, radiograph.height
    canvas = Canvas(width=width, height=height, sides=(SIDE, SIDE))
    picture = base(radiograph, canvas)
    annotated = catalog.boxes_in(row, width, height)
    boxes = np.zeros((0, 4)) if annotated is None else annotated[0]
    draw_boxes(picture, canvas, boxes, TRUTH)
    # What the table does not say the file may.
    view, sex = record["view"] or radiograph.view, record["sex"] or radiograph.sex
    known = [age for age in (record["age"], radiograph.age_years) if age is not None and age == age]
    age = f"{known[0]:.0f} years" if known else ""
    words = f"{len(boxes)} box{'' if len(boxes) == 1 else 'es'}" if len(boxes) else ""
    labels = [name for name in catalog.label_names if record[f"label_{name}"] == 1]
    parts = (record["image_id"], ", ".join(labels), view, sex, age, words)
    return data_uri(picture), " · ".join(str(part) for part in parts if part)
