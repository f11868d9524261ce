"""A table with a row a box: every form and unit says the same boxes, or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.trees import png, row, text
from hilum.core.errors import DataError
from hilum.data import Catalog, load

BOX = (10.0, 8.0, 30.0, 40.0)  # of an image of 100 x 80 px
FORMS: dict[tuple[str, ...], tuple[float, ...]] = {
    ("x1", "y1", "x2", "y2"): BOX,
    ("x", "y", "w", "h"): (10, 8, 20, 32),
    ("xc", "yc", "w", "h"): (20, 24, 20, 32),
}


def boxes(root: Path, keys: tuple[str, ...], *lines: str, **options: Any) -> Catalog:
    for number, name in enumerate("abc"):
        png(root / f"{name}.png", number, (100, 80))
    text(root / "boxes.csv", "\n".join(["file,p,q,r,s,name", *lines]) + "\n")
    columns = {"image_id": "file", "box_label": "name", **dict(zip(keys, "pqrs", strict=False))}
    return load("folder", root, table="boxes.csv", columns=columns, **options)


@pytest.mark.parametrize("keys", list(FORMS), ids="-".join)
@pytest.mark.parametrize(("unit", "whole"), [("pixels", 0), ("parts", 1), ("percent", 100)])
def test_a_box_is_the_same_in_every_form_and_unit(
    tmp_path: Path, keys: tuple[str, ...], unit: str, whole: float
) -> None:
    sides = (100, 80, 100, 80)
    values = [v * whole / s if whole else v for v, s in zip(FORMS[keys], sides, strict=True)]
    line = f"a.png,{','.join(map(str, values))},opacity"
    catalog = boxes(tmp_path, keys, line, "b,,,,,", unit=unit)
    assert row(catalog, "a")["boxes"] == pytest.approx(BOX)
    assert row(catalog, "a")["box_labels"] == ["opacity"]
    assert (row(catalog, "a")["label_opacity"], row(catalog, "b")["label_opacity"]) == (1, 0)
    assert len(row(catalog, "b")["boxes"]) == 0  # a row without a box: somebody looked
    assert row(catalog, "c")["boxes"] is None  # no row: nobody did


def test_an_image_has_the_boxes_of_all_its_rows(tmp_path: Path) -> None:
    lines = ("a.png,1,2,3,4,opacity", "a,5,6,70,8,nodule", "b,1,,3,4,opacity", "c,9,9,3,3,nodule")
    catalog = boxes(tmp_path, ("x1", "y1", "x2", "y2"), *lines)
    assert row(catalog, "a")["boxes"] == [1, 2, 3, 4, 5, 6, 70, 8]
    assert row(catalog, "b")["boxes"] is None  # half a box
    assert row(catalog, "c")["boxes"] is None  # corners that changed places
    assert catalog.skips["damaged-box"] == 2


def test_numbers_that_cannot_be_in_the_unit_are_refused(tmp_path: Path) -> None:
    corners = ("x1", "y1", "x2", "y2")
    with pytest.raises(DataError, match="unit=parts"):
        boxes(tmp_path, corners, "a,.1,.2,.3,.4,opacity")
    for unit in ("parts", "percent"):
        with pytest.raises(DataError, match=f"no number in {unit}"):
            boxes(tmp_path, corners, "a,10,20,300,40,opacity", unit=unit)
    with pytest.raises(DataError, match="needed: columns x1 y1 x2 y2, or x y w h, or xc yc w h"):
        boxes(tmp_path, ("x1", "y1", "w"), "a,1,2,3,4,opacity")
    with pytest.raises(DataError, match="unit pixels, parts, percent"):
        boxes(tmp_path, corners, "a,1,2,3,4,opacity", unit="mm")
