"""A catalog is a table whose every cell means something: what is no catalog is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import DataError
from hilum.core.orientation import turn, turn_boxes
from hilum.data.catalog import Catalog, build, open_catalog
from hilum.data.columns import COPIES, FIXED, NUMBERS, TEXT
from hilum.data.formats.polygons import polygons
from hilum.data.frames import into, same_shape
from hilum.data.references import archive_and_member, inner
from hilum.data.sampling import negatives_for

few = settings(max_examples=30, deadline=None)


def rows(count: int = 4, **columns: Any) -> pd.DataFrame:
    plain = {
        "image_id": [f"i{k}" for k in range(count)],
        "path": [f"i{k}.png" for k in range(count)],
        "patient": [f"p{k // 2}" for k in range(count)],
    }
    return pd.DataFrame(plain | columns)


def images_of(**columns: Any) -> Catalog:
    return build("set", rows(**columns), Path())


# --- what a column may hold ---


def test_what_nobody_stated_is_unknown_and_not_zero() -> None:
    images = images_of()
    table = images.table
    assert list(table.columns) == list(FIXED)
    assert (table["source"] == "set").all()
    assert table["age"].isna().all()
    assert (table[["width", "height"]] == 0).all().all()
    assert all(images.boxes(row) is None for row in range(len(images)))
    assert not images.annotated.any()
    for column in TEXT:
        assert table[column].map(lambda v: isinstance(v, str)).all(), column
    for column, kind in NUMBERS.items():
        assert table[column].dtype == kind


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"patient": ["a", "", "b", "c"]}, "1 images have no patient.*'i1'"),
        ({"image_id": ["a", "b", "a", "c"]}, "'a' stands twice"),
        ({"path": ["x", "y", "x", ""]}, "'i0' and 'i2' share file 'x'"),
        ({"label_opacity": [0, 1, 2, np.nan]}, "label_opacity is 2; needed: 1"),
        ({"study_typical": [0, 0.5, 1, 1]}, "study_typical is 0.5"),
        ({"label_opacity": ["1", "yes", "0", ""]}, "'yes' is no number"),
        ({"age": [1, 2, "old", 3]}, "age 'old' is no number"),
        ({"colour": ["red"] * 4}, "unknown columns colour; allowed"),
        ({"boxes": [[1, 2, 3], None, None, None]}, "3 box numbers"),
        (
            {
                "boxes": [None, [1, 2, 3, 4], None, None],
                "box_labels": [None, ["a", "b"], None, None],
            },
            "'i1': 4 box numbers for 2 labels",
        ),
        (
            {
                "boxes": [[0, 0, 1, 1], None, [0, 0, 1, 1, 5, 5, 4, 6], None],
                "box_labels": [["a"], None, ["a", "b"], None],
            },
            r"'i2': box \[5.0, 5.0, 4.0, 6.0\]",
        ),
        (
            {
                "boxes": [[0, 0, 1, float("nan")], None, None, None],
                "box_labels": [["a"], None, None, None],
            },
            "'i0': box.*finite",
        ),
    ],
    ids=lambda value: value[:25] if isinstance(value, str) else "",
)
def test_a_table_that_contradicts_itself_is_refused_by_name(
    columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        images_of(**columns)


def test_a_column_that_is_missing_is_named() -> None:
    table = images_of().table
    for column in FIXED:
        with pytest.raises(DataError, match=f"lacks the columns {column}"):
            Catalog("set", table.drop(columns=column))


def test_two_images_without_a_file_share_none() -> None:
    assert len(images_of(path=["", "", "a", "b"])) == 4


def test_a_number_that_passed_through_floats_is_the_same_name() -> None:
    """A column of ids with a gap is read as floats: 7.0 is patient 7."""
    images = images_of(patient=[7.0, 7.0, 8.0, 8.0], study=[1.0, np.nan, 2.0, 2.0])
    assert images.table["patient"].tolist() == ["7", "7", "8", "8"]
    assert images.table["study"].tolist() == ["1", "", "2", "2"]


def test_blanks_belong_to_names_of_files_and_to_nothing_else() -> None:
    images = images_of(path=[" a.png", "b.png ", "c", "d"], patient=[" x", "x ", "x", "y"])
    assert images.table["path"].tolist()[:2] == [" a.png", "b.png "]
    assert images.table["patient"].tolist() == ["x", "x", "x", "y"]


# --- what a catalog says ---


def test_withheld_images_are_test_images_of_which_nothing_is_known() -> None:
    images = images_of(
        split=["test", "test", "train", ""],
        label_opacity=[np.nan, 0, np.nan, np.nan],
    )
    assert images.withheld.tolist() == [True, False, False, False]
    assert images.annotated.tolist() == [False, True, False, False]
    empty = images_of(boxes=[[], None, None, None], box_labels=[[], None, None, None])
    assert empty.annotated.tolist() == [True, False, False, False]  # looked at, and nothing there
    masked = images_of(mask_opacity=["", None, "m.png", None])
    assert masked.annotated.tolist() == [True, False, True, False]


def test_what_is_left_out_is_counted_and_said_once_for_each_kind() -> None:
    images = images_of()
    assert images.without(np.zeros(4, bool), "odd", "are odd") is images
    first = images.without(np.array([1, 0, 0, 0], bool), "odd", "are odd")
    both = first.without(np.array([0, 1, 1], bool), "odd", "are odd, too")
    assert both.skips == {"odd": 3}
    assert both.notes == ("1 are odd", "2 are odd, too")
    assert both.table["image_id"].tolist() == ["i1"]
    assert dict(images.skips) == {}


def test_parts_hold_every_image_once() -> None:
    images = images_of(split=["b", "", "a", "b"])
    parts = dict(images.parts())
    assert list(parts) == ["", "a", "b"]
    assert sum(len(part) for part in parts.values()) == len(images)
    assert parts["b"].table["image_id"].tolist() == ["i0", "i3"]
    assert parts["a"].name == images.name


@few
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 3), st.floats(0.1, 3))
def test_boxes_of_a_copy_are_those_of_its_original(seed: int, x: float, y: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (3, 2))
    original = np.c_[corner, corner + rng.uniform(1, 40, (3, 2))]
    copy = original * [x, y, x, y]
    images = build(
        "copies",
        pd.DataFrame(
            {
                "image_id": ["i"],
                "patient": ["p"],
                "boxes": [copy.ravel().tolist()],
                "box_labels": [["opacity"] * 3],
                "scale_x": [x],
                "scale_y": [y],
                **{name: [0.1] for name in COPIES if name.startswith("spacing")},
                "original": ["o.dcm"],
            }
        ),
        Path(),
    )
    own = images.original_boxes(0)
    assert own is not None
    np.testing.assert_allclose(own[0], original, atol=1e-9)


def test_a_catalog_file_is_the_catalog(tmp_path: Path) -> None:
    images = build(
        "set",
        rows(
            age=[1.5, np.nan, 80, 3],
            label_opacity=[1, 0, np.nan, 1],
            mask_opacity=["rle:4x4:0 2", "", None, None],
            boxes=[[0.5, 1, 2.25, 3], [], None, None],
            box_labels=[["opacity"], [], None, None],
        ),
        tmp_path,
        ("one note",),
        {"no-file": 2},
    )
    images.save(tmp_path / "c.parquet")
    again = open_catalog(tmp_path / "c.parquet")
    pd.testing.assert_frame_equal(again.table, images.table)
    assert (again.name, again.notes, again.skips) == ("set", ("one note",), {"no-file": 2})
    for row in range(4):
        a, b = images.exact_boxes(row), again.exact_boxes(row)
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            np.testing.assert_array_equal(a[0], b[0])
            assert a[1] == b[1]


# --- frames and references ---

sizes = st.tuples(st.integers(8, 60), st.integers(8, 60))


@few
@given(sizes, st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_a_turned_box_lies_on_the_turned_pixels(
    size: tuple[int, int], seed: int, orientation: int
) -> None:
    width, height = size
    rng = np.random.default_rng(seed)
    x1, x2 = np.sort(rng.choice(width + 1, 2, replace=False))
    y1, y2 = np.sort(rng.choice(height + 1, 2, replace=False))
    pixels = np.zeros((height, width), int)
    pixels[y1:y2, x1:x2] = 1
    ys, xs = np.nonzero(turn(pixels, orientation))
    seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    turned = turn_boxes(np.array([[x1, y1, x2, y2]], float), orientation, size)
    assert turned[0].tolist() == seen


@few
@given(sizes, st.sampled_from([(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 8), (7, 7), (8, 6)]))
def test_every_turn_has_one_that_undoes_it(size: tuple[int, int], pair: tuple[int, int]) -> None:
    pixels = np.arange(size[0] * size[1]).reshape(size[1], size[0])
    there, back = pair
    np.testing.assert_array_equal(turn(turn(pixels, there), back), pixels)


@few
@given(sizes, st.integers(1, 9))
def test_copies_have_the_shape_of_their_original_and_turned_ones_not(
    size: tuple[int, int], times: int
) -> None:
    width, height = size
    assert same_shape(size, (width * times, height * times))
    assert same_shape((width * times, height * times), size)
    boxes = np.array([[1.0, 2, 5, 7]])
    scaled = into(boxes, size, (width * times, height * times), "i")
    np.testing.assert_allclose(scaled, boxes * times)
    np.testing.assert_allclose(into(scaled, (width * times, height * times), size, "i"), boxes)
    if width > 1.5 * height:
        assert not same_shape(size, (height, width))
        with pytest.raises(DataError, match="another shape"):
            into(boxes, size, (height, width), "i")
    assert into(boxes, (0, 0), size, "i") is boxes  # nobody said
    assert not same_shape((0, 0), size)


@pytest.mark.parametrize(
    ("reference", "archive", "member"),
    [
        ("a.png", "", "a.png"),
        ("a/b.zip!c/d.png", "a/b.zip", "c/d.png"),
        ("A.ZIP!x", "A.ZIP", "x"),
        ("wow!.png", "", "wow!.png"),
        ("a.zip", "", "a.zip"),
        ("a.zip!b.zip!c", "a.zip", "b.zip!c"),
        ("!a.png", "", "!a.png"),
    ],
)
def test_a_reference_is_a_file_or_the_member_of_an_archive(
    reference: str, archive: str, member: str
) -> None:
    assert archive_and_member(reference) == (archive, member)
    assert inner(reference) == member


@few
@given(st.integers(0, 2**32 - 1))
def test_polygons_enclose_every_pixel_of_their_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((30, 40), bool)
    for _ in range(3):
        y, x, h, w = rng.integers(1, 14, 4)
        mask[y : y + h, x : x + w] = True
    import cv2

    filled = np.zeros(mask.shape, np.uint8)
    for outline in polygons(mask):
        points = (outline - 0.5).round().astype(np.int32)
        cv2.fillPoly(filled, [points], 1)
    assert (filled[mask] == 1).all()
    ys, xs = np.nonzero(mask)
    every = np.concatenate(polygons(mask))
    assert every[:, 0].min() == xs.min() + 0.5
    assert every[:, 1].max() == ys.max() + 0.5


@few
@given(st.integers(1, 500), st.floats(0.05, 1))
def test_so_many_negatives_leave_positives_their_share(positives: int, share: float) -> None:
    negatives = negatives_for(positives, share)
    assert negatives >= 0
    assert abs(positives / (positives + negatives) - share) <= 1 / (positives + negatives)
