"""What a row says of its image: the same for what is learnt and for what is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import DataError
from hilum.data.catalog import build
from hilum.models.model import Targets
from hilum.train.annotations import boxes_of, label_of, mask_of
from hilum.train.options import SourceOptions
from hilum.train.sources import Source, label_columns

LEFT, RIGHT = "rle:4x6:0 8", "rle:4x6:16 8"  # the first two columns, the last two


def source(row: dict[str, Any], **options: Any) -> Source:
    plain = {"image_id": "i", "patient": "p", "width": 6, "height": 4}
    table = pd.DataFrame([plain | row])
    targets = Targets(labels=("opacity",), masks=("lungs", "opacity"), findings=("effusion",))
    return Source(SourceOptions(set="own", **options), build("own", table, Path()), targets, {})


def test_an_images_own_label_comes_before_its_studys() -> None:
    nan = float("nan")
    assert label_columns("typical") == ("label_typical", "study_typical")
    for row, value in (
        ({"label_typical": 1.0, "study_typical": 0.0}, 1.0),
        ({"study_typical": 1.0}, 1.0),
        ({"label_typical": 0.0}, 0.0),
    ):
        assert label_of(pd.Series(row), "typical") == value
    assert np.isnan(label_of(pd.Series({"label_typical": nan}), "typical"))
    assert np.isnan(label_of(pd.Series(dtype=float), "typical"))


def test_boxes_are_those_that_the_recipe_looks_for_in_the_images_pixels() -> None:
    boxes = [1.0, 1, 3, 3, 2, 0, 4, 2]
    own = source({"boxes": boxes, "box_labels": ["ggo", "heart"]}, box_labels={"opacity": ["ggo"]})
    known = boxes_of(own, own.catalog, 0, (12, 8))  # a copy of twice the size
    assert known is not None
    assert known[0].tolist() == [[2, 2, 6, 6]]
    assert known[1] == ("opacity",)
    with pytest.raises(DataError, match="another shape"):
        boxes_of(own, own.catalog, 0, (8, 12))
    nobody = source({})
    assert boxes_of(nobody, nobody.catalog, 0, (6, 4)) is None
    empty = source({"boxes": [], "box_labels": []})
    looked = boxes_of(empty, empty.catalog, 0, (6, 4))
    assert looked is not None
    assert looked[0].shape == (0, 4)


def test_boxes_that_are_not_taught_are_still_true() -> None:
    own = source({"boxes": [1.0, 1, 3, 3], "box_labels": ["opacity"]}, teaches=["masks"])
    assert boxes_of(own, own.lessons, 0, (6, 4)) is None
    assert boxes_of(own, own.catalog, 0, (6, 4)) is not None


def test_a_mask_is_the_union_of_its_parts_or_unknown() -> None:
    parts = {"masks": {"lungs": ["left", "right"]}}
    own = source({"mask_left": LEFT, "mask_right": RIGHT}, **parts)
    opened = mask_of(own, own.catalog.table.iloc[0], "lungs")
    assert opened is not None
    assert opened(4, 6).sum() == 16
    assert not opened(4, 6)[:, 2:4].any()
    half = source({"mask_left": LEFT, "mask_right": None}, **parts)
    assert mask_of(half, half.catalog.table.iloc[0], "lungs") is None  # half a lung is no lung
    none = source({"mask_left": LEFT, "mask_right": ""}, **parts)
    empty = mask_of(none, none.catalog.table.iloc[0], "lungs")
    assert empty is not None
    assert empty(4, 6).sum() == 8  # annotated, and nothing there
    assert mask_of(own, own.catalog.table.iloc[0], "opacity") is None
