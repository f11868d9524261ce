"""Patients stay whole, over all sources, and the proof of it can fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.phantom_set import default_sets, small
from hilum.core.errors import ConfigError, DataError
from hilum.data.catalog import Catalog, build, open_catalog
from hilum.models.model import Targets
from hilum.train import splits
from hilum.train.options import SourceOptions
from hilum.train.recipe import load_recipe
from hilum.train.sources import Source, open_sources
from hilum.train.splits import PARTS, Parts, split_sources


def source(
    name: str, patients: list[str], split: list[str] | None = None, **options: Any
) -> Source:
    """Rows without images; every fourth shows an opacity."""
    table = pd.DataFrame(
        {
            "image_id": [f"{name}-{i}" for i in range(len(patients))],
            "patient": patients,
            "label_opacity": [float(i % 4 == 0) for i in range(len(patients))],
            "split": split or [""] * len(patients),
        }
    )
    images = build(name, table, Path())
    return Source(SourceOptions(set=name, **options), images, Targets(), {})


def people(parts: Parts, sources: list[Source], fold: int | None = None) -> dict[str, set[str]]:
    rows = parts.rows(sources, fold)
    return {
        part: {str(p) for s in sources for p in s.catalog.table["patient"].iloc[rows[part][s.name]]}
        for part in PARTS
    }


HELD = {"validation": 0.2, "test": 0.2}


def test_who_is_held_out_of_one_source_is_held_out_of_all() -> None:
    a = source("a", [f"p{i % 20}" for i in range(60)], hold_out=HELD)
    b = source("b", [f"p{i % 30}" for i in range(60)])  # ten of its own
    parts = split_sources(small(), [a, b])
    who = people(parts, [a, b])
    assert all(who.values())
    assert not who["train"] & (who["validation"] | who["test"])
    assert not who["validation"] & who["test"]
    shared = who["validation"] | who["test"]
    own = b.catalog.table["patient"].isin(shared).sum()
    assert parts.left_out == {"b: patients held out of another source": own}


def test_sources_of_one_pool_are_split_as_one_set() -> None:
    sources = [
        source(name, [f"p{i}" for i in range(20)], hold_out=HELD, pool="all") for name in "ab"
    ]
    parts = split_sources(small(), sources)
    rows = parts.rows(sources, None)
    assert {k: [len(v) for v in own.values()] for k, own in rows.items()} == {
        "train": [12, 12],
        "validation": [4, 4],
        "test": [4, 4],
    }
    assert not parts.left_out


def test_a_set_kept_for_a_test_stays_whole() -> None:
    first = source("first", [f"p{i}" for i in range(20)], hold_out=HELD)
    outside = source("outside", [f"p{i}" for i in range(15, 25)], hold_out={"test": 1.0})
    sources = [first, outside]
    rows = split_sources(small(), sources).rows(sources, None)
    assert len(rows["test"]["outside"]) == 10
    kept = people(split_sources(small(), sources), sources)["train"]
    assert not kept & set(outside.catalog.table["patient"])


def test_a_splitter_that_tears_a_patient_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    a = source("a", [f"p{i % 5}" for i in range(20)], hold_out=HELD)

    def torn(one: Catalog, *_: Any) -> Any:
        parts = np.resize(["train", "validation", "test"], len(one))
        return type("Torn", (), {"table": one.table.assign(part=parts)})

    monkeypatch.setattr(splits, "hold_out", torn)
    with pytest.raises(DataError, match="more than one part"):
        split_sources(small(), [a])


def test_a_torn_split_of_a_run_is_refused(tmp_path: Path) -> None:
    sources = [source(name, [f"p{i}" for i in range(20)], hold_out=HELD) for name in "ab"]
    split_sources(small(), sources).split.save(tmp_path / "split.json")
    assert people(split_sources(small(), sources, tmp_path / "split.json"), sources)["test"]
    content = json.loads((tmp_path / "split.json").read_text())
    moved = content["parts"]["test"].pop()
    content["parts"]["train"].append(moved)
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="more than one part"):
        split_sources(small(), sources, tmp_path / "split.json")


def test_more_than_ten_folds_have_names_of_two_digits() -> None:
    one = source("one", [f"p{i}" for i in range(48)], folds=12)
    parts = split_sources(small(), [one])
    seen: set[str] = set()
    for fold in range(12):
        who = people(parts, [one], fold)
        assert len(who["validation"]) == 4
        assert len(who["train"]) == 44
        seen |= who["validation"]
    assert len(seen) == 48
    assert len(people(parts, [one])["train"]) == 48  # the model that ships
    with pytest.raises(ConfigError, match="fold 12"):
        parts.rows([one], 12)


def test_a_catalogs_own_split_counts_but_a_challenges_does_not() -> None:
    parts = ["train", "val", "test", "train"] * 5
    own = source("own", [f"p{i}" for i in range(20)], parts, hold_out=HELD)
    rows = split_sources(small(), [own]).rows([own], None)
    assert [len(rows[part]["own"]) for part in PARTS] == [10, 5, 5]
    other = source("other", [f"p{i}" for i in range(20)], ["train", "test"] * 10, hold_out=HELD)
    rows = split_sources(small(), [other]).rows([other], None)
    assert [len(rows[part]["other"]) for part in PARTS] == [12, 4, 4]


def test_a_catalog_that_names_its_test_patients_never_trains_on_them() -> None:
    """Also where the recipe holds nobody out."""
    named = ["train"] * 10 + ["validation"] * 5 + ["test"] * 5
    own = source("own", [f"p{i}" for i in range(20)], named)
    plain = source("plain", [f"p{i}" for i in range(10, 30)])  # some of the same people
    for sources in ([own], [own, plain]):
        rows = split_sources(small(), sources).rows(sources, None)
        assert [len(rows[part]["own"]) for part in PARTS] == [10, 5, 5]
    assert rows["train"]["plain"] == list(range(10, 20))


def test_a_split_of_another_catalog_is_refused(tmp_path: Path) -> None:
    one = source("one", [f"p{i}" for i in range(20)], hold_out=HELD)
    split_sources(small(), [one]).split.save(tmp_path / "split.json")
    with pytest.raises(DataError, match="names no image"):
        split_sources(small(), [source("two", ["p1", "p2"])], tmp_path / "split.json")


def test_the_default_recipe_holds_its_patients_apart(tmp_path: Path) -> None:
    """On phantoms under the real sets' names: NIH patients run through five of its sources."""
    recipe, folder = load_recipe("default"), default_sets(tmp_path)
    for name in ("rsna_128", "rsna_256", "nih_128", "nih_512"):
        result = catalog_with_patients(folder, name, [f"nih-{i % 9}" for i in range(12)])
        result.save(folder / f"{name}.parquet")
    sources = open_sources(recipe, folder)
    parts = people(split_sources(recipe, sources), sources)
    assert not parts["train"] & (parts["validation"] | parts["test"])
    assert any(one.startswith("nih-") for one in parts["test"])
    outside = {f"covid_opacity_512-p{i:02d}" for i in range(6)}
    assert outside <= parts["test"]


def catalog_with_patients(folder: Path, name: str, patients: list[str]) -> Catalog:
    found = open_catalog(folder / f"{name}.parquet")
    return Catalog(name, found.table.assign(patient=patients), folder)


def patients_file(path: Path, **parts: list[str]) -> Path:
    path.write_text(json.dumps({"schema": "hilum.patients/1", "parts": parts}))
    return path


def test_a_list_of_patients_holds_them_out_of_every_source(tmp_path: Path) -> None:
    """One that a second set writes without leading zeros is the same person."""
    sources = [source("a", ["001", "002", "003"]), source("b", ["1", "7", "2"])]
    given = patients_file(tmp_path / "held.json", test=["1"], validation=["0002", "unheard-of"])
    found = people(split_sources(small(), sources, given), sources)
    assert found == {"train": {"003", "7"}, "validation": {"002", "2"}, "test": {"001", "1"}}


def test_a_list_that_tears_a_patient_or_knows_nobody_is_refused(tmp_path: Path) -> None:
    one = [source("a", ["001", "002"])]
    with pytest.raises(DataError, match="more than one part"):
        split_sources(small(), one, patients_file(tmp_path / "a", test=["1"], train=["01"]))
    with pytest.raises(DataError, match="nobody"):
        split_sources(small(), one, patients_file(tmp_path / "b", test=["9"]))
