"""Faults of tables, boxes and patients that used to pass in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.helpers.sets import coco, picture

from hilum.core.errors import DataError
from hilum.data import load
from hilum.data.adapters.match import restored
from hilum.data.adapters.source import Source
from hilum.data.adapters.values import check_ids, flags, numbers
from hilum.data.catalog import Catalog, build
from hilum.data.cells import read_cells
from hilum.data.check.findings import check
from hilum.data.formats import runs
from hilum.evaluate.challenges.siim_acr import siim_acr_score
from hilum.evaluate.challenges.tables import rsna_predictions


def test_a_first_line_of_a_spreadsheet_tells_the_delimiter(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('sep=;\nid;"x,y,z"\na;1,5\n')
    table = read_cells(file).table
    assert table.to_dict("list") == {"id": ["a"], "x,y,z": ["1,5"]}


def test_a_header_that_stands_again_is_no_row_and_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("id,x,x\na,1,2\nid,x,x\nb,3,4\n")
    cells = read_cells(file)
    assert cells.table["id"].tolist() == ["a", "b"]
    assert (cells.headers, cells.twins) == (1, ("x",))


def test_comments_and_totals_are_no_images_and_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("# run 5, fold 2\n#note\nid,x\na,1\n#REF!,2\n# end\nTotal,3\nMean:,1.5\n")
    cells = read_cells(file)
    assert cells.table["id"].tolist() == ["a", "#REF!"]
    assert (cells.comments, cells.totals) == (3, ("Total", "Mean:"))
    file.write_text("#id,x\ntotal,1\nb,2\n")  # a header may begin so, an image be called so
    assert read_cells(file).table.to_dict("list") == {"#id": ["total", "b"], "x": ["1", "2"]}


def test_a_total_is_no_true_image_of_a_challenge(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("patientId,PredictionString\na,\nTotal,\n")
    with pytest.raises(DataError, match="sums and means"):
        rsna_predictions(file)
    file.write_text("patientId,PredictionString,PredictionString\na,,\n")
    with pytest.raises(DataError, match="twice"):
        rsna_predictions(file)


def test_text_that_was_kept_from_a_spreadsheet_is_the_text(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('id,note\n"=""0012""",it\'s\n\'0013,\'so\'\n')
    table = read_cells(file).table
    assert table.to_dict("list") == {"id": ["0012", "0013"], "note": ["it's", "'so'"]}


@pytest.mark.parametrize("rows", ["1,1\n12,0\n", "1.0,1\n12.0,0\n"])
def test_ids_without_their_zeros_find_their_files_and_it_is_told(tmp_path: Path, rows: str) -> None:
    for name in ("0001", "0012"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("file,y\n" + rows)
    columns = {"image_id": "file", "label_y": "y"}
    catalog = load("folder", tmp_path, table="t.csv", columns=columns)
    assert catalog.table.set_index("image_id")["label_y"].to_dict() == {"0001": 1, "0012": 0}
    assert any("leading zeros" in note for note in catalog.notes)


def test_a_part_of_ones_own_name_is_told(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("file,part\na,Valid\nb,holdout\nc,3\n")
    columns = {"image_id": "file", "split": "part"}
    catalog = load("folder", tmp_path, table="t.csv", columns=columns)
    assert catalog.table["split"].tolist() == ["validation", "holdout", "3"]
    assert any("1 rows are of parts" in n and "'holdout'" in n for n in catalog.notes)


def test_a_number_that_two_files_may_be_finds_none(tmp_path: Path) -> None:
    source = Source("folder", tmp_path)
    assert restored(["1"], [""], ["01.png", "001.png"], source) == [""]
    assert restored(["1", "01.0"], ["", ""], ["001.png"], source) == ["", ""]
    assert not source.notes


def test_flags_are_read_in_other_languages_and_a_dash_as_what_the_column_means_by_it() -> None:
    names = pd.Series(["a", "b"])
    for words in (["ja", "nein"], ["oui", "non"], ["+", "-"], ["1,0", "0,0"], ["TRUE", "FALSE"]):
        assert flags(pd.Series(words), "y", names).tolist() == [1, 0]
    alone = flags(pd.Series(["1", "-"]), "y", names)
    assert alone[0] == 1
    assert np.isnan(alone[1])


def test_a_stand_in_for_unknown_patients_is_told() -> None:
    odd = _catalog(_drawn(20), patient=["ANONYMOUS"] * 14 + [f"p{n}" for n in range(6)])
    assert check(odd).counts()["patient-of-most"] == 14
    assert "patient-of-most" not in check(_catalog(_drawn(20))).counts()


def test_a_decimal_comma_is_one_and_one_that_may_be_of_thousands_is_an_error() -> None:
    assert numbers(pd.Series(["264,5", "3", ""])).tolist()[:2] == [264.5, 3.0]
    with pytest.raises(DataError, match="thousands"):
        numbers(pd.Series(["1,024", "2"]))


@pytest.mark.parametrize(
    "text", ["1.2E+10", "1,23E+11", "1-Feb", "Mar-01", "#REF!", "#####", "1.2.2024"]
)
def test_an_id_that_a_spreadsheet_changed_is_an_error(text: str) -> None:
    with pytest.raises(DataError, match="spreadsheet"):
        check_ids(pd.Series(["a", text]), "id")


@pytest.mark.parametrize("text", ["8e10", "00000013", "1.2.840.10008", "2020-01-02", "mar-one"])
def test_ids_that_merely_look_like_it_are_ids(text: str) -> None:
    check_ids(pd.Series([text]), "id")


def _catalog(boxes: np.ndarray, **columns: list[str]) -> Catalog:
    rows = pd.DataFrame({"image_id": [f"i{n}" for n in range(len(boxes))], **columns})
    rows["patient"] = rows.get("patient", pd.Series([f"p{n}" for n in range(len(boxes))]))
    rows["width"] = rows["height"] = 1024
    rows["boxes"] = [list(map(float, box)) for box in boxes]
    rows["box_labels"] = [["opacity"]] * len(boxes)
    return build("t", rows, Path())


def _drawn(count: int = 20) -> np.ndarray:
    """Corners of boxes in both lungs."""
    x, y = np.tile([180, 620], count)[:count], np.arange(count) * 5 + 350
    return np.stack([x, y, x + 210, y + 300], axis=1)


def test_boxes_whose_sides_were_corners_are_told_as_a_set() -> None:
    own = _drawn()
    read = own.copy()
    read[:, 2:] += own[:, :2]  # x2, y2 taken as width and height
    assert "boxes-as-corners" in check(_catalog(read)).counts()
    assert "boxes-as-corners" not in check(_catalog(own)).counts()


def test_boxes_of_a_smaller_copy_are_told_as_a_set() -> None:
    assert "boxes-in-a-corner" in check(_catalog(_drawn() / 2)).counts()
    assert "boxes-in-a-corner" not in check(_catalog(_drawn())).counts()


def test_a_study_belongs_to_one_patient() -> None:
    torn = _catalog(_drawn(2), study=["s", "s"], patient=["a", "b"])
    same = _catalog(_drawn(2), study=["s", "s"], patient=["P-1", "p_1"])
    assert check(torn).counts()["study-of-two-patients"] == 2
    assert "study-of-two-patients" not in check(same).counts()


def test_an_image_belongs_to_one_patient() -> None:
    catalog = _catalog(_drawn(2), path=["a.png", "b.png"], patient=["a", "b"])
    facts = [{"path": p, "key": "k", "width": 1024, "height": 1024} for p in ("a.png", "b.png")]
    assert check(catalog, facts).counts()["image-of-two-patients"] == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda box: box[[1, 0, 3, 2]], "boxes-transposed"),
        (lambda box: box / 10.24, "box-in-corner"),  # per cent
        (lambda box: box / 1024, "box-tiny"),
        (lambda box: np.array([0.0, 0, 1024, 1024]), "box-whole"),
    ],
)
def test_boxes_of_another_convention_are_told(change: Any, code: str) -> None:
    own = _drawn(40)
    y = np.random.default_rng(0).normal(380, 70, 40)
    own[:, 1], own[:, 3] = y, y + 300
    assert not check(_catalog(own)).counts()
    assert code in check(_catalog(np.array([*map(change, own)]))).counts()


def test_lungs_are_symmetrical_about_the_midline() -> None:
    own = _drawn(60)
    shifted = own - np.tile((own[:, 2:] - own[:, :2]) / 2, 2)  # centres written, corners meant
    assert not check(_catalog(own)).counts()
    problems = check(_catalog(shifted)).problems
    assert (problems["code"] == "boxes-off-midline").all()
    assert problems["text"].str.contains("right edges: are these the centres").all()


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ([300, 200, 900, 1500], "larger copy"),
        ([-50, 700, 150, 900], "its centre were its corner"),
        ([900, 600, 1140, 900], "first two numbers were its centre"),
        ([600, 500, 1400, 1300], "width and height were corners"),
    ],
)
def test_a_box_outside_its_image_is_told_what_would_put_it_inside(box: Any, words: str) -> None:
    problems = check(_catalog(np.array([box], float))).problems
    assert problems["text"].str.contains(words).any()


def test_two_boxes_of_one_label_that_cover_each_other_are_one() -> None:
    def told(*boxes: list[float]) -> int:
        one = pd.DataFrame({"image_id": ["a"], "patient": ["p"], "width": 1024, "height": 1024})
        one["boxes"] = [[float(edge) for box in boxes for edge in box]]
        one["box_labels"] = [["opacity"] * len(boxes)]
        return check(build("t", one, Path())).counts().get("box-twice", 0)

    assert told([300, 300, 500, 600], [302, 301, 501, 604]) == 1
    assert told([300, 300, 500, 600], [300, 300, 500, 600], [600, 300, 800, 600]) == 1
    assert told([300, 300, 500, 600], [300, 400, 500, 700]) == 0


def test_a_coco_box_is_around_its_segmentation_or_unknown(tmp_path: Path) -> None:
    names = ("right", "corners", "elsewhere", "loose")
    boxes = [[10, 20, 30, 40], [10, 20, 40, 60], [50, 20, 30, 40], [8, 18, 34, 44]]
    file = coco(
        tmp_path / "a.json",
        [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate(names)],
        [*enumerate(boxes)],
    )
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        annotation["segmentation"] = [[10, 20, 40, 20, 40, 60, 10, 60]]
    file.write_text(json.dumps(content))
    catalog = load("coco", tmp_path)
    known = catalog.table.set_index("image_id")["boxes"].notna()
    assert known.to_dict() == {"right": True, "corners": False, "elsewhere": False, "loose": True}
    assert catalog.skips["box-differs"] == 2
    assert any("1 are if their numbers were x1, y1, x2, y2" in note for note in catalog.notes)


def _masks() -> list[np.ndarray]:
    """Thin tall ellipses in the upper halves of both lungs, 64 px square."""
    y, x = np.mgrid[:64, :64]
    centres = zip(np.tile([18, 45], 30), np.linspace(16, 26, 60), strict=True)
    return [((x - cx) / 5) ** 2 + ((y - cy) / 11) ** 2 < 1 for cx, cy in centres]


def _of_masks(masks: list[np.ndarray], side: int = 64) -> Catalog:
    names = [f"i{n}" for n in range(len(masks))]
    table = pd.DataFrame({"image_id": names, "patient": names, "width": side, "height": side})
    table["mask_pneumothorax"] = [f"rle:{side}x{side}:{runs.encode(mask)}" for mask in masks]
    return build("t", table, Path())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda mask: mask.T, "boxes-off-midline"),  # rows taken for columns
        (lambda mask: ~mask, "mask-odd"),
        (lambda mask: mask[::4, ::4], "boxes-in-a-corner"),  # of a copy, decoded at the full size
    ],
)
def test_run_lengths_of_another_order_sense_or_size_are_told(change: Any, code: str) -> None:
    assert not check(_of_masks(_masks())).counts()
    assert code in check(_of_masks([*map(change, _masks())])).counts()


def test_starts_are_no_gaps(tmp_path: Path) -> None:
    relative = [runs.encode(mask) for mask in _masks()]
    starts = [" ".join(f"{a} {b - a}" for a, b in runs.runs(text)) for text in relative]
    assert not runs.are_starts(relative)
    assert runs.are_starts(["-1", *starts])
    assert not runs.are_starts([*starts, relative[0]])
    table = pd.DataFrame({"ImageId": list("ab"), "EncodedPixels": starts[:2]})
    with pytest.raises(DataError, match="the gap since the end"):
        siim_acr_score(table, table)
    table.to_csv(tmp_path / "train-rle.csv", index=False)
    with pytest.raises(DataError, match="the gap since the end"):
        load("siim-acr", tmp_path)
