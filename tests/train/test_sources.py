"""Sources: which rows of a catalog a recipe takes, what they teach, and what it refuses by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.phantom_set import catalog, small, yolo_set
from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.train.annotations import mask_of
from hilum.train.recipe import Recipe, load_recipe
from hilum.train.sources import Source, open_sources


def sources(data: Path, source: dict[str, Any], *changes: str) -> list[Source]:
    plain = load_recipe("rsna-retinanet-seresnext101-small", changes)
    raw = plain.model_dump(mode="json") | {"data": [{"hold_out": {"test": 0.5}} | source]}
    return open_sources(Recipe.model_validate(raw), data)


def test_what_filters_take_away_is_counted(tmp_path: Path) -> None:
    images = catalog(tmp_path, "own", 6)
    table = images.table.copy()
    table.loc[0, "age"] = 9
    table.loc[1, ["path"]] = ""
    for column in ("boxes", "box_labels"):
        table[column] = table[column].where(np.arange(6) != 2, None)
    table.loc[3, "age"] = np.nan  # an unknown age is no child's
    Catalog("own", table, tmp_path).save(tmp_path / "own.parquet")
    (one,) = sources(tmp_path, {"set": "own", "adults": True, "known": ["boxes"]})
    assert dict(one.left_out) == {
        "without a file": 1,
        "boxes not annotated": 1,
        "under 18 years": 1,
    }
    assert len(one.catalog) == 3


def test_images_that_nobody_annotated_stay_out(tmp_path: Path) -> None:
    """A challenge's test images stand in its catalog, too."""
    images = catalog(tmp_path, "own", 6)
    table = images.table.copy()
    blank = np.arange(6) >= 4
    for column in ("boxes", "box_labels", "mask_opacity", "mask_lungs"):
        table[column] = table[column].where(~blank, None)
    for column in ("label_normal", "label_not-normal", "label_opacity"):
        table.loc[blank, column] = np.nan
    Catalog("own", table, tmp_path).save(tmp_path / "own.parquet")
    (one,) = sources(tmp_path, {"set": "own"})
    assert len(one.catalog) == 4
    assert dict(one.left_out) == {"nothing annotated that the recipe learns": 2}


@pytest.mark.parametrize(
    ("source", "changes", "named"),
    [
        # Box labels of another name.
        ({}, ("targets={labels: [mass]}",), "box opacity"),
        # Classes that the set does not have.
        (
            {},
            (
                "model={kind: classifier, pretrained: false}",
                "targets={classes: [negative, typical], positive: [typical], labels: []}",
            ),
            "typical",
        ),
        # A finding, and a mask, of another spelling.
        (
            {},
            (
                "model={kind: classifier, target: findings, loss: bce, pretrained: false}",
                "targets={classes: [], labels: [], masks: [], findings: [Opacity]}",
            ),
            "label opacity",
        ),
        (
            {},
            (
                "model={kind: segmenter, pretrained: false}",
                "targets={classes: [], labels: [], findings: [], masks: [pneumothorax]}",
            ),
            "mask opacity",
        ),
        ({"teaches": ["masks"]}, (), "opacity"),
    ],
)
def test_labels_that_match_no_target_are_refused_by_name(
    tmp_path: Path, source: dict[str, Any], changes: tuple[str, ...], named: str
) -> None:
    catalog(tmp_path, "own", 6)
    with pytest.raises(DataError, match=named):
        sources(tmp_path, {"set": "own"} | source, *changes)


def test_a_sets_names_are_mapped_to_the_recipes(tmp_path: Path) -> None:
    images = catalog(tmp_path, "own", 6)
    table = images.table.copy()
    table["box_labels"] = [["Infiltrate"] * len(v) for v in table["box_labels"]]
    Catalog("own", table, tmp_path).save(tmp_path / "own.parquet")
    with pytest.raises(DataError, match="box Infiltrate"):
        sources(tmp_path, {"set": "own"})
    (one,) = sources(tmp_path, {"set": "own", "box_labels": {"opacity": ["Infiltrate"]}})
    assert one.target_labels(["Infiltrate", "Nodule"]) == ["opacity", None]


def test_what_is_not_trusted_is_unknown_to_training_and_true_to_evaluation(tmp_path: Path) -> None:
    images = catalog(tmp_path, "own", 6)
    table = images.table.copy()
    table.loc[0, "label_opacity"] = np.nan
    Catalog("own", table, tmp_path).save(tmp_path / "own.parquet")
    conditions = {"boxes": {"label_opacity": None}, "lungs": {"label_opacity": 1}}
    (one,) = sources(tmp_path, {"set": "own", "distrust": conditions})
    assert one.lessons.boxes(0) is None
    assert one.catalog.boxes(0) is not None
    ill = (table["label_opacity"] == 1).to_numpy()
    assert one.lessons.table["mask_lungs"].isna().tolist() == ill.tolist()
    assert one.teaching.all()  # its masks still do
    everything = {what: {"label_opacity": None} for what in ("boxes", "opacity", "lungs")}
    everything |= {name: {"label_opacity": None} for name in ("normal", "not-normal")}
    (one,) = sources(tmp_path, {"set": "own", "distrust": everything})
    assert len(one.catalog) == 6  # evaluated as what it is
    assert one.teaching.tolist() == [False] + [True] * 5
    with pytest.raises(DataError, match="label_opacity"):
        sources(tmp_path, {"set": "own", "distrust": {"boxes": {"label_opacty": 1}}})


def test_any_catalog_file_takes_the_place_of_the_one_set(tmp_path: Path, data: Path) -> None:
    catalog(tmp_path, "cleaned", 6)
    (one,) = open_sources(small(), tmp_path / "cleaned.parquet")
    assert one.catalog.name == one.name == "cleaned"  # on the card, in every count
    with pytest.raises(DataError, match="several sources"):
        open_sources(load_recipe("default"), tmp_path / "cleaned.parquet")


def test_boxes_can_be_filled_to_be_the_mask_that_a_segmenter_learns(tmp_path: Path) -> None:
    """A set of boxes alone has no mask; a pixel in a box is one."""
    yolo_set(tmp_path / "yolo", 4)
    changes = ("data={set: yolo, box_masks: true, hold_out: {validation: .3, test: .3}}",)
    recipe = load_recipe("rsna-unet-small", (*changes, "model.pretrained=false"))
    (one,) = open_sources(recipe, tmp_path)
    for row, record in one.catalog.table.iterrows():
        opened = mask_of(one, record, "opacity")
        assert opened is not None
        boxes, _ = one.catalog.exact_boxes(int(str(row))) or ([], ())
        assert opened(96, 96).any() == bool(len(boxes))
    plain = load_recipe("rsna-unet-small", (changes[0].replace("true", "false"),))
    with pytest.raises(DataError, match="mask opacity"):
        open_sources(plain, tmp_path)
