"""What is known of a catalog is counted, and unknown is not absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import ConfigError
from hilum.data.catalog import Catalog, build
from hilum.data.split import strata
from hilum.data.tally import in_words, tally


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    table = pd.DataFrame(
        {
            "image_id": list("abcd"),
            "patient": list("ppqr"),
            "label_opacity": [1.0, 0.0, 0.0, np.nan],
            "label_nodule": [np.nan] * 4,
            "mask_lungs": ["a.png", "", None, None],
            "boxes": [[1.0, 2.0, 3.0, 4.0], [], None, None],
            "box_labels": [["opacity"], [], None, None],
        }
    )
    return build("own", table, tmp_path)


def test_present_absent_and_unknown_are_counted_apart(catalog: Catalog) -> None:
    assert tally(catalog) == {
        "label_opacity": {"present": 1, "absent": 2, "unknown": 1},
        "mask_lungs": {"present": 1, "absent": 1, "unknown": 2},
        "boxes": {"present": 1, "absent": 1, "unknown": 2},
    }


def test_in_words_nothing_is_said_of_what_is_none(catalog: Catalog) -> None:
    known = catalog.where(catalog.table["label_opacity"] == 0)
    assert in_words(known)[0] == "label_opacity: 2 absent"


def test_labels_are_no_further_strata_and_that_is_said(catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match="labels are balanced without being named"):
        strata(catalog, ["opacity"])
