"""No patient and no image is in two parts, and the parts look alike."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hilum.core.errors import ConfigError, DataError
from hilum.data import Catalog, load
from hilum.data.catalog import build
from hilum.data.duplicates import fingerprints
from hilum.data.phantom.encode import dicom_bytes
from hilum.data.phantom.phantom import phantom
from hilum.data.split import (
    Split,
    folds,
    held_patients,
    hold_out,
    open_split,
    person,
    sample,
)


def made_up(images: int = 400, people: int = 150, seed: int = 0) -> Catalog:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(images)],
            "patient": [f"p{p}" for p in rng.integers(0, people, images)],
            "sex": rng.choice(["F", "M"], images),
            "age": rng.uniform(1, 99, images),
            "label_opacity": (rng.random(images) < 0.25).astype(float),
        }
    )
    return build("made-up", rows, Path())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 10))
def test_no_patient_is_in_two_folds_and_no_image_is_lost(seed: int, count: int) -> None:
    catalog = made_up(seed=seed)
    result = folds(catalog, count, seed)
    assert sorted(result.table["image_id"]) == sorted(catalog.table["image_id"])
    assert (result.table.groupby("patient")["part"].nunique() == 1).all()
    assert len(result.parts) == count
    assert set(result.proof()["patients_in_both"].values()) == {0}


@pytest.mark.parametrize("fractions", [(0.9, 0.1), (0.8, 0.1, 0.1), (0.8, 0.2)])
def test_parts_have_their_share_of_images_and_classes(fractions: tuple[float, ...]) -> None:
    catalog = made_up(2000, 700)
    done = hold_out(catalog, fractions, stratify=("age", "sex")).apply(catalog).table
    shares = done["split"].value_counts(normalize=True)
    assert sorted(shares) == pytest.approx(sorted(fractions), abs=0.02)
    overall = catalog.table["label_opacity"].mean()
    for _, part in done.groupby("split"):
        assert part["label_opacity"].mean() == pytest.approx(overall, abs=0.02)
        assert (part["sex"] == "F").mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("labelled", [False, True])
def test_masks_are_balanced_as_classes_are(labelled: bool) -> None:
    """Of a set of masks alone, a rare one would else lie in one part; a label of it is the same."""
    table = made_up(images=120, people=110).table.drop(columns="label_opacity")
    rare = np.arange(120) < 12
    table["mask_pneumothorax"] = np.where(rare, "rle:2x2:0 1", "")
    table["mask_lungs"] = "rle:2x2:0 1"  # of all
    if labelled:
        table["label_pneumothorax"] = rare.astype(float)
    catalog = build("masks", table, Path())
    for seed in range(5):
        parts = hold_out(catalog, (0.5, 0.25, 0.25), seed).apply(catalog).table
        drawn = parts[parts["mask_pneumothorax"] != ""].groupby("split").size()
        assert drawn["train"] == pytest.approx(6, abs=1)
        assert drawn["test"] == pytest.approx(3, abs=1)


def test_a_study_of_two_patients_stays_in_one_part_and_a_stand_in_joins_nobody() -> None:
    table = made_up(images=60, people=59).table
    table["study"] = [f"1.2.840.{i}.{i}" for i in range(len(table))]
    first = table["patient"].drop_duplicates().index
    one, other = first[0], first[1]
    table.loc[other, "study"] = table.loc[one, "study"]  # an id that was mistyped once
    for kind in ("1.2.840.1.2", "study1"):
        table.loc[table.index[30:50], "study"] = kind
        catalog = build("studies", table, Path())
        for seed in range(8):
            parts = hold_out(catalog, (0.5, 0.5), seed).apply(catalog).table["split"]
            assert parts[one] == parts[other]
            assert parts[30:50].nunique() == 2


def test_the_seed_decides() -> None:
    catalog = made_up()
    first, again, other = (folds(catalog, 5, seed).table["part"] for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_equal_pictures_tie_patients_together() -> None:
    catalog = made_up()
    keys = pd.Series([f"k{i}" for i in range(len(catalog))], dtype=object)
    keys[:40] = [f"shared{i // 2}" for i in range(40)]
    keys[50:60] = None  # unreadable files are not the same image
    parts = folds(catalog, 5, contents=keys).table["part"]
    assert all(parts[i] == parts[i + 1] for i in range(0, 40, 2))
    proof = folds(catalog, 5, contents=keys).proof()
    assert (proof["images_compared"], proof["images_that_stand_twice"]) == (390, 20)
    assert set(proof["contents_in_both"].values()) == {0}
    assert parts[50:60].nunique() > 1


def test_pictures_are_equal_across_codings(tmp_path: Path) -> None:
    image = phantom(1, 64, 64).pixels
    (tmp_path / "a.dcm").write_bytes(dicom_bytes(image, seed=1, syntax="jpeg-ls"))
    (tmp_path / "b.dcm").write_bytes(dicom_bytes(image, seed=2, photometric="MONOCHROME1"))
    (tmp_path / "c.dcm").write_bytes(dicom_bytes(phantom(2, 64, 64).pixels, seed=3))
    (tmp_path / "d.dcm").write_bytes(b"broken")
    keys = [one and one.key for one in fingerprints(load("folder", tmp_path), tmp_path / "m.jsonl")]
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] is None


def test_a_split_is_written_once_and_checked_when_read(tmp_path: Path) -> None:
    catalog, path = made_up(), tmp_path / "split.json"
    result = hold_out(catalog, (0.8, 0.2), seed=3)
    result.save(path)
    again = open_split(path)
    pd.testing.assert_frame_equal(
        again.table.sort_values("image_id", ignore_index=True),
        result.table.sort_values("image_id", ignore_index=True),
        check_dtype=False,
    )
    with pytest.raises(ConfigError, match="never overwritten"):
        result.save(path)
    content = json.loads(path.read_text())
    content["parts"]["test"].append(["new", content["parts"]["train"][0][1]])
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="more than one part"):
        open_split(path)
    with pytest.raises(DataError, match="lacks"):
        result.apply(made_up(images=20))


def test_a_content_in_two_parts_is_told_when_a_split_is_read(tmp_path: Path) -> None:
    catalog = made_up()
    keys = pd.Series([f"k{i}" for i in range(len(catalog))], dtype=object)
    folds(catalog, 4, contents=keys).save(tmp_path / "split.json")
    assert open_split(tmp_path / "split.json").proof()["images_compared"] == 400
    content = json.loads((tmp_path / "split.json").read_text())
    content["parts"]["fold-1"][0][2] = content["parts"]["fold-0"][0][2]
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"content .* more than one part"):
        open_split(tmp_path / "split.json")


def _damaged(path: Path, **changes: Any) -> Path:
    path.unlink(missing_ok=True)
    hold_out(made_up(), (0.8, 0.2)).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


@pytest.mark.parametrize(
    "parts",
    [
        {"train": ["ab"]},  # no image "a" of patient "b"
        {"train": [["a"]]},
        {"train": [["a", "1", None, "x"]]},
        {"train": [["a", None]]},
        {"train": [[None, "1"]]},
        {"train": [["a", ""]]},
        {"train": [["a", 1]]},
        {"train": [[["a"], "1"]]},
        {"train": {"a": "1"}},
        {"": [["a", "1"]]},
        {"train": [["a", "1"]], "test": [["b", "001"]]},  # one person in both
        {"train": [["a", "1"], ["a", "1"]]},
        [],
        None,
    ],
)
def test_a_damaged_split_is_one_typed_error(tmp_path: Path, parts: Any) -> None:
    path = _damaged(tmp_path / "s.json", parts=parts, proof={})
    with pytest.raises(DataError, match=r"s\.json"):
        open_split(path)


@pytest.mark.parametrize("seed", ["1", 1.5, None, True])
def test_a_seed_is_a_whole_number(tmp_path: Path, seed: Any) -> None:
    with pytest.raises(DataError, match="seed"):
        open_split(_damaged(tmp_path / "s.json", seed=seed))


def test_images_that_were_cut_out_of_a_split_are_missed(tmp_path: Path) -> None:
    path = _damaged(tmp_path / "s.json")
    content = json.loads(path.read_text())
    content["parts"]["train"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="its own proof"):
        open_split(path)


def test_an_image_that_was_not_compared_is_null(tmp_path: Path) -> None:
    catalog, path = made_up(), tmp_path / "s.json"
    keys = pd.Series([f"k{i}" if i % 3 else None for i in range(len(catalog))], dtype=object)
    hold_out(catalog, (0.8, 0.2), contents=keys).save(path)
    assert "NaN" not in path.read_text()
    assert open_split(path).table["content"].isna().sum() == keys.isna().sum()
    path.write_text(path.read_text().replace("null", "NaN"))  # as older versions wrote it
    assert open_split(path).table["content"].isna().sum() == keys.isna().sum()


@pytest.mark.parametrize(
    "parts", [{"test": "abc"}, {"test": [1]}, {"test": [""]}, {"test": ["1"], "validation": ["01"]}]
)
def test_a_damaged_list_of_patients_is_one_typed_error(tmp_path: Path, parts: Any) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"schema": "hilum.patients/1", "parts": parts}))
    with pytest.raises(DataError, match=r"p\.json"):
        held_patients(path)


def test_a_sample_keeps_the_balance() -> None:
    catalog = made_up(2000, 700)
    small = sample(catalog, 200)
    assert len(small) == pytest.approx(200, abs=12)
    assert small.table["label_opacity"].mean() == pytest.approx(
        catalog.table["label_opacity"].mean(), abs=0.03
    )


def test_a_sample_is_drawn_from_what_has_a_file() -> None:
    """A part of a set was downloaded; its tables name all of it."""
    catalog = made_up(2000, 700)
    there = np.arange(len(catalog)) % 10 == 0
    files = np.where(there, catalog.table["image_id"] + ".png", "")
    part = replace(catalog, table=catalog.table.assign(path=files))
    assert (sample(part, 100).table["path"] != "").all()
    assert len(sample(part, 100)) == pytest.approx(100, abs=12)


def test_impossible_splits_are_refused() -> None:
    catalog = made_up(10, 3)
    with pytest.raises(DataError, match="3 independent patients; needed: at least 5"):
        folds(catalog, 5)
    with pytest.raises(ConfigError, match="add up to 1"):
        hold_out(catalog, (0.8, 0.3))
    with pytest.raises(ConfigError, match="known: age, sex, view"):
        hold_out(catalog, (0.8, 0.2), stratify=("mood",))
    torn = pd.DataFrame({"image_id": ["a", "b"], "patient": "p", "part": ["x", "y"]})
    with pytest.raises(DataError, match="more than one part"):
        Split(torn, 0, "torn")


def test_command_writes_the_split_and_its_proof(tmp_path: Path) -> None:
    from hilum.cli.main import app

    made_up().save(tmp_path / "set.parquet")
    out = tmp_path / "split.json"
    words = ["data", "split", str(tmp_path / "set.parquet"), "--out", str(out), "--folds", "4"]
    result = CliRunner().invoke(app, [*words, "--stratify", "age,sex", "--json"])
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["patients_in_both"].values()) == {0}
    assert len(open_split(out).parts) == 4


def test_command_does_not_read_a_set_whose_split_is_there_already(tmp_path: Path) -> None:
    from hilum.cli.main import app

    (tmp_path / "split.json").write_text("mine")
    given = [str(tmp_path / "nothing.parquet"), "--out", str(tmp_path / "split.json")]
    result = CliRunner().invoke(app, ["data", "split", *given])
    assert "never overwritten" in str(result.exception)  # not that there is no such set
    assert (tmp_path / "split.json").read_text() == "mine"


def test_command_compares_the_pictures_itself(tmp_path: Path) -> None:
    from hilum.cli.main import app

    for i in range(8):
        image = phantom(i // 2, 40, 40).pixels  # each image under two patients
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / f"set/{i}.dcm").write_bytes(dicom_bytes(image, seed=i))
    words = ["data", "split", str(tmp_path / "set"), "--kind", "folder", "--fractions", "0.5,0.5"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "s.json"), "--json"])
    assert result.exit_code == 0, result.output
    proof = json.loads(result.stdout)
    assert (proof["images_compared"], proof["images_that_stand_twice"]) == (8, 4)
    parts = open_split(tmp_path / "s.json").table.set_index("image_id")["part"]
    assert all(parts[str(i)] == parts[str(i + 1)] for i in range(0, 8, 2))
    assert sorted(parts.value_counts()) == [4, 4]


def test_real_sets_split_in_seconds(hilum_data: Path) -> None:
    catalog = load("nih", hilum_data / "tables")
    done = hold_out(catalog, (0.8, 0.1, 0.1)).apply(catalog).table
    assert (done.groupby("patient")["split"].nunique() == 1).all()
    hernia = done.groupby("split")["label_hernia"].mean()
    assert hernia.max() / hernia.min() < 1.2


def with_test(truth: bool = False) -> Catalog:
    """As a challenge has it: 30 images to train on, 10 that somebody else evaluates."""
    rows = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(40)],
            "patient": [f"p{i // 2}" for i in range(40)],
            "split": ["train"] * 30 + ["test"] * 10,
            "label_opacity": [float(i % 3 == 0) for i in range(30)]
            + [1.0 if truth else np.nan] * 10,
        }
    )
    return build("challenge", rows, Path())


def test_test_images_without_truth_are_in_no_split_fold_or_sample() -> None:
    catalog = with_test()
    assert catalog.withheld.sum() == 10
    for result in (hold_out(catalog, (0.8, 0.2)), folds(catalog, 3)):
        assert set(result.table["image_id"]) == {f"i{i}" for i in range(30)}
        applied = result.apply(catalog)
        assert len(applied) == 30
        assert applied.skips == {"not-in-split": 10}
    assert set(sample(catalog, 20).table["split"]) == {"train"}
    assert len(sample(catalog, 1000)) == 30
    assert len(hold_out(with_test(truth=True), (0.8, 0.2)).table) == 40
    keys = pd.Series([f"k{i}" for i in range(40)], dtype=object)
    assert hold_out(catalog, (0.8, 0.2), contents=keys).proof()["images_compared"] == 30


def test_the_proof_can_fail() -> None:
    """A split made from other patient ids than the catalog now has tears patients apart."""
    catalog = made_up(60, 60)
    result = folds(catalog, 3)
    honest = result.proof(catalog)
    assert set(honest["patients_in_both"].values()) == {0}
    people = [f"p{i // 4}" for i in range(60)]
    other = Catalog("other", catalog.table.assign(patient=people), catalog.root)
    shared = result.proof(other)["patients_in_both"]
    assert sum(shared.values()) > 0
    with pytest.raises(DataError, match="is in more than one part of the split"):
        result.apply(other)


@pytest.mark.parametrize(
    "ids", [("0", "0"), ("001", "1"), ("1", "01"), ("A01", "a1"), ("P-001", "p_1"), ("x 2", "X-02")]
)
def test_a_patient_is_one_however_it_is_written(ids: tuple[str, str]) -> None:
    rows = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(60)],
            "patient": [ids[i % 2] if i < 20 else f"p{i}" for i in range(60)],
        }
    )
    catalog = build("x", rows, Path())
    for seed in range(5):
        parts = folds(catalog, 4, seed).table["part"]
        assert parts[:20].nunique() == 1
    assert set(folds(catalog, 4).proof(catalog)["patients_in_both"].values()) == {0}


@pytest.mark.parametrize("name", ["age", "sex", "view"])
def test_what_nobody_knows_is_no_stratum(name: str) -> None:
    catalog = build("x", made_up(40, 20).table.drop(columns=["age", "sex", "view"]), Path())
    with pytest.raises(DataError, match=f"cannot stratify by {name}: .* of no image"):
        folds(catalog, 3, stratify=[name])


def test_the_command_leaves_unreadable_images_out_and_lists_them(tmp_path: Path) -> None:
    from hilum.cli.main import app

    (tmp_path / "set").mkdir()
    for i in range(6):
        data = dicom_bytes(phantom(i, 40, 40).pixels, seed=i, patient_id=f"p{i}")
        (tmp_path / f"set/{i}.dcm").write_bytes(data if i else data[:900])
    words = ["data", "split", str(tmp_path / "set"), "--kind", "folder", "--fractions", "0.5,0.5"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "s.json"), "--json"])
    assert result.exit_code == 1, result.output
    answer = json.loads(result.stdout)
    assert answer["left_out"] == ["0.dcm"]
    assert answer["skips"]["unreadable"] == 1
    assert sum(answer["images"].values()) == 5
    assert "note: 1 files have no readable header" in result.stderr


def test_a_damaged_split_is_a_data_error(tmp_path: Path) -> None:
    for content in (
        '{"schema": "hilum.split/1"}',
        '{"schema": "hilum.split/1", "parts": [1]}',
        "[",
    ):
        (tmp_path / "s.json").write_text(content)
        with pytest.raises(DataError):
            open_split(tmp_path / "s.json")


def test_different_ids_stay_different_people() -> None:
    ids = ["p1", "p10", "p1a", "p1b", "p-1-1", "p-11", "image:a1", "image:a01", "1", "10", "-", ""]
    assert len({person(one) for one in ids}) == len(ids)
