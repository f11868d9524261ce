"""The readers of $HILUM_DATA against what its README counts; patients have one name everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_mask, open_radiograph
from hilum.data.sets import SETS, load_set

COUNTS = {  # images, images with boxes, boxes
    "siim_covid_256": (5065, 3433, 6274),
    "rsna_128": (11406, 5641, 8927),
    "rsna_256": (1507, 929, 1484),
    "nih_512": (795, 112, 176),
    "nih_128": (7115, 310, 492),
    "covid_qu_256": (2819, 0, 0),
    "covid_opacity_512": (83, 78, 189),
    "covid_adult_512": (585, 0, 0),
    "shenzhen_512": (566, 0, 0),
    "jsrt_128": (245, 0, 0),
    "kermany_lungs_320": (2125, 0, 0),
    "siim_unlabelled_512": (1944, 0, 0),
    "gate_320": (672, 0, 0),
    "not_chest": (31, 0, 0),
}


@pytest.fixture(scope="module")
def sets(hilum_data: Path) -> dict[str, Catalog]:
    return {name: load_set(name, hilum_data) for name in SETS}


def test_every_set_holds_what_its_readme_counts(sets: dict[str, Catalog]) -> None:
    result = {}
    for name, catalog in sets.items():
        boxes = [len(flat) // 4 for flat in catalog.table["boxes"] if flat is not None]
        result[name] = len(catalog), int(np.count_nonzero(boxes)), int(sum(boxes))
    assert result == COUNTS


@pytest.mark.parametrize("name", SETS)
def test_pictures_have_the_stated_size_and_boxes_lie_inside(
    sets: dict[str, Catalog], name: str
) -> None:
    catalog = sets[name]
    record = catalog.table.iloc[0]
    radiograph = open_radiograph(catalog.root, record["path"])
    stated = record["width"], record["height"]
    assert stated in ((0, 0), (radiograph.width, radiograph.height))
    for row in range(0, len(catalog), 97):
        result = catalog.boxes(row)
        if result is None or not len(result[0]):
            continue
        width, height = catalog.table["width"].iat[row], catalog.table["height"].iat[row]
        assert (result[0].min(axis=0) >= -4).all()  # one box of the challenge begins outside
        assert (result[0].max(axis=0) <= [width + 1, height + 1] * 2).all()


def test_an_nih_patient_has_one_name_in_every_set(sets: dict[str, Catalog]) -> None:
    tables = {n: sets[n].table for n in ("rsna_128", "rsna_256", "nih_512", "nih_128")}
    patients = {n: set(t["patient"]) for n, t in tables.items()}
    assert len(patients["rsna_128"] & patients["nih_128"]) == 346
    assert (
        len(patients["rsna_128"] & patients["rsna_256"]) == 985
    )  # four are unknown to the NIH and go by their RSNA name
    known = {p for p in set(sets["siim_unlabelled_512"].table["patient"]) if p.startswith("nih-")}
    assert len(known) == 85


def test_the_same_image_has_the_same_patient(sets: dict[str, Catalog]) -> None:
    one, other = sets["rsna_128"].table, sets["rsna_256"].table
    both = one.merge(other, on="image_id")
    assert len(both) == 1196
    assert (both["patient_x"] == both["patient_y"]).all()
    group = set(sets["siim_covid_256"].table["patient"])
    assert sets["covid_qu_256"].table["patient"].isin(group).sum() == 470


def test_nobody_drew_a_box_is_unknown_and_a_negative_study_is_empty(
    sets: dict[str, Catalog],
) -> None:
    table = sets["siim_covid_256"].table
    negative = table["study_negative"] == 1
    assert (table.loc[negative, "label_opacity"] == 0).all()
    assert table["label_opacity"].isna().sum() == 232
    assert sets["nih_512"].table["boxes"].isna().sum() == 795 - 288


def test_no_infection_is_learnt_where_radiologists_saw_none(sets: dict[str, Catalog]) -> None:
    challenge = sets["siim_covid_256"].table
    negative = challenge.loc[challenge["study_negative"] == 1, "patient"]
    others = challenge.loc[challenge["study_negative"] == 0, "patient"]
    table = sets["covid_qu_256"].table
    unknown = table["mask_infection"].isna()
    assert unknown.sum() == 37
    assert table.loc[unknown, "patient"].isin(negative).all()
    assert not table.loc[unknown, "patient"].isin(set(others) - set(negative)).any()
    assert table["mask_lungs"].notna().all()


def test_masks_are_as_large_as_their_picture(sets: dict[str, Catalog]) -> None:
    catalog = sets["covid_qu_256"]
    record = catalog.table.iloc[0]
    infection = open_mask(catalog.root, record["mask_infection"], 256, 256)
    lungs = open_mask(catalog.root, record["mask_lungs"], 256, 256)
    assert 0 < infection.sum() < lungs.sum()


def test_thirteen_pictures_of_the_gate_are_frontal(sets: dict[str, Catalog]) -> None:
    table = sets["gate_320"].table
    assert (table["label_frontal"] == 1).sum() == 13
    kinds = [c for c in table if c.startswith("label_kind_")]
    assert len(kinds) == 20
    assert (table[kinds].sum(axis=1) == 1).all()


def test_an_unknown_set_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rsna_128"):
        load_set("rsna_129", tmp_path)
