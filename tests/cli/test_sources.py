"""The part of a split that a command works on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hilum.cli.data.sources import open_source
from hilum.core.errors import ConfigError, DataError
from hilum.data.catalog import build


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    names = pd.Series(["a", "b", "c", "d"])
    parts = ["train", "validation", "test", ""]
    table = pd.DataFrame({"image_id": names, "path": names, "patient": names, "split": parts})
    build("toy", table, tmp_path).save(tmp_path / "toy.parquet")
    return tmp_path / "toy.parquet"


@pytest.mark.parametrize(
    ("part", "images"), [("", "abcd"), ("test", "c"), ("validation,test", "bc")]
)
def test_only_images_of_the_named_parts_are_taken(catalog: Path, part: str, images: str) -> None:
    assert "".join(open_source(catalog, "", [], part=part).table["image_id"]) == images


def test_an_unknown_part_lists_the_known(catalog: Path) -> None:
    with pytest.raises(ConfigError, match=r"'tset'\. Did you mean 'test'"):
        open_source(catalog, "", [], part="validation,tset")


def test_a_list_of_held_out_patients_places_those_of_any_catalog(
    catalog: Path, tmp_path: Path
) -> None:
    """Who is named nowhere trains; a list without anyone of the catalog proves nothing."""
    held = tmp_path / "held.json"
    held.write_text('{"schema": "hilum.patients/1", "parts": {"test": ["b", "elsewhere"]}}')
    placed = open_source(catalog, "", [], split=held).table
    assert dict(zip(placed["image_id"], placed["split"], strict=True)) == {
        "a": "train",
        "b": "test",
        "c": "train",
        "d": "train",
    }
    assert open_source(catalog, "", [], held, part="test").table["image_id"].tolist() == ["b"]
    held.write_text('{"schema": "hilum.patients/1", "parts": {"test": ["elsewhere"]}}')
    with pytest.raises(DataError, match="names nobody of 'toy'"):
        open_source(catalog, "", [], split=held)
