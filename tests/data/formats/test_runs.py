"""Run lengths say the same as the organisers' files, and never lose a pixel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hilum.core.errors import DataError
from hilum.data.formats import runs as rle


@pytest.fixture(scope="module")
def oracle(hilum_data: Path) -> Any:
    path = hilum_data.parent / "oracles" / "siim_acr_rle_dice.json"
    if not path.is_file():
        pytest.skip("oracles are not here")
    return json.loads(path.read_text())


def test_organisers_masks_decode_as_published(oracle: Any) -> None:
    for case in oracle["decode"]:
        mask = rle.decode(case["rle"], case["h"], case["w"])
        np.testing.assert_array_equal(mask, np.array(case["mask"], bool), err_msg=case["rle"])


def test_organisers_masks_encode_as_published_but_keep_the_last_run(oracle: Any) -> None:
    right = {"last_pixel_BUG": "15 1", "all_ones_BUG": "0 9", "empty": "-1"}
    for case in oracle["encode"]:
        expected = right.get(case["name"], case["rle"])
        assert rle.encode(np.array(case["mask"])) == expected, case["name"]


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_every_mask_survives_the_round_trip(mask: np.ndarray[Any, Any]) -> None:
    text = rle.encode(mask)
    np.testing.assert_array_equal(rle.decode(text, *mask.shape), mask)
    assert rle.area(text) == mask.sum()


def test_scan_runs_down_the_columns_of_a_non_square_image() -> None:
    assert rle.decode("3 4", 5, 3).astype(int).T.tolist() == [
        [0, 0, 0, 1, 1],
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("text", ["-1", " -1", "-1 ", "\t-1\n"])
def test_minus_one_is_an_empty_mask_with_or_without_blanks(text: str) -> None:
    assert not rle.decode(text, 3, 2).any()


def test_several_rows_of_one_image_are_a_union() -> None:
    mask = rle.union(["0 2", "1 2", "-1"], 2, 2)
    assert rle.encode(mask) == "0 3"
    assert not rle.union([], 2, 2).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 16), st.integers(0, 20))
def test_a_run_is_written_up_to_the_last_pixel_and_refused_past_it(gap: int, length: int) -> None:
    text = f"{gap} {length}"
    if gap + length <= 16:
        assert rle.decode(text, 4, 4).sum() == length
    else:
        with pytest.raises(DataError, match="has 16"):
            rle.decode(text, 4, 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 2 3", "hold 3 numbers"),
        ("", "hold 0 numbers"),
        ("1 -2", "negative"),
        ("-1 3", "negative"),
        ("1 x", "whole numbers"),
        ("1.5 2", "whole numbers"),
        ("nan", "whole numbers"),
        ("0 99999999999999999999999", "whole numbers"),
        ("9223372036854775807 9223372036854775807", "the image has"),
    ],
)
def test_a_damaged_row_is_an_error_and_never_a_negative_image(text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        rle.decode(text, 4, 4)


def test_shapes_that_are_no_image_are_refused() -> None:
    with pytest.raises(DataError, match="needed: at least 1×1"):
        rle.decode("-1", 0, 4)
    with pytest.raises(DataError, match="not empty"):
        rle.encode(np.zeros((0, 3)))


@pytest.mark.parametrize("cell", [None, float("nan"), -1])
def test_a_cell_that_is_no_text_is_refused_with_its_cure(cell: Any) -> None:
    for read in (lambda c: rle.decode(c, 2, 2), rle.runs, rle.area):
        with pytest.raises(DataError, match="dtype=str"):
            read(cell)
