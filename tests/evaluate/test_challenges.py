"""SIIM-COVID six-class score, SIIM-ACR Dice and mask metrics."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import DataError, GeometryError
from hilum.evaluate import (
    dice,
    f_beta,
    hausdorff,
    iou,
    siim_acr_score,
    siim_covid_score,
    siim_covid_solution,
)
from hilum.evaluate.challenges.tables import rsna_predictions, rsna_truth


def _table(rows: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({"id": list(rows), "PredictionString": list(rows.values())})


def test_stored_six_class_scores(oracles: Path) -> None:
    for case in json.loads((oracles / "siim_metric.json").read_text())["cases"]:
        if "gt" not in case:
            continue
        got = siim_covid_score(_table(case["gt"]), _table(case["pred"]))
        assert got["mean"] == pytest.approx(case["result"]["mAP_voc2010"], abs=1e-6)
        for name, value in case["result"]["per_class"].items():
            assert got[name] == pytest.approx(value["voc2010_allpoint"], abs=1e-6)


@pytest.fixture(scope="module")
def real_solution(hilum_data: Path) -> pd.DataFrame:
    tables = hilum_data / "tables"
    if not (tables / "train_image_level.csv").is_file():
        pytest.skip("the SIIM-COVID tables are not there")
    return siim_covid_solution(tables / "train_study_level.csv", tables / "train_image_level.csv")


def test_the_trap_undetected_truths_count(real_solution: pd.DataFrame) -> None:
    """All `negative`/`none` scores .10; graders that skip undetected truths say .24."""
    lazy = real_solution.copy()
    study = lazy["id"].str.endswith("_study")
    lazy["PredictionString"] = np.where(study, "negative 1 0 0 1 1", "none 1 0 0 1 1")
    got = siim_covid_score(real_solution, lazy)
    assert got["mean"] == pytest.approx(0.10, abs=0.005)
    assert got["negative"] == pytest.approx(1676 / 6054, abs=1e-6)
    assert got["none"] == pytest.approx(2040 / 6334, abs=1e-6)
    assert got["opacity"] == got["typical"] == got["indeterminate"] == got["atypical"] == 0
    shuffled = lazy.sample(frac=1, random_state=0)
    assert siim_covid_score(real_solution, shuffled) == got


def test_the_truth_itself_scores_one(real_solution: pd.DataFrame) -> None:
    assert siim_covid_score(real_solution, real_solution)["mean"] == 1


def test_an_iou_of_exactly_one_half_is_no_hit() -> None:
    truth = _table({"a_image": "opacity 1 0 0 100 100"})
    half = _table({"a_image": "opacity 0.9 0 0 100 50 none 0.1 0 0 1 1"})
    assert siim_covid_score(truth, half)["opacity"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "opacity 0.5 0 0 100",
        "lesion 0.5 0 0 1 1",
        "opacity 1.5 0 0 1 1",
        "opacity nan 0 0 1 1",
        "opacity 0.5 9 0 1 1",
        "opacity x 0 0 1 1",
    ],
)
def test_malformed_predictions_are_refused(text: str) -> None:
    truth = _table({"a_image": "none 1 0 0 1 1"})
    with pytest.raises(DataError, match="a_image"):
        siim_covid_score(truth, _table({"a_image": text}))


def test_ids_must_be_those_of_the_truth(tmp_path: Path) -> None:
    truth = _table({"a_image": "none 1 0 0 1 1", "b_image": "none 1 0 0 1 1"})
    with pytest.raises(DataError, match="missing"):
        siim_covid_score(truth, _table({"a_image": "none 1 0 0 1 1"}))
    with pytest.raises(DataError, match="unknown"):
        siim_covid_score(truth, pd.concat([truth, _table({"c_image": ""})]))
    with pytest.raises(DataError, match="more than one"):
        siim_covid_score(truth, pd.concat([truth, truth]))
    with pytest.raises(DataError, match="column"):
        siim_covid_score(truth, truth[["id"]])
    with pytest.raises(DataError, match="not a readable table"):
        siim_covid_score(truth, tmp_path / "nowhere.csv")


def test_stored_dice(oracles: Path) -> None:
    for case in json.loads((oracles / "siim_acr_rle_dice.json").read_text())["dice"]:
        assert dice(case["pred"], case["true"]) == pytest.approx(case["dice_exact"], abs=1e-6)


def _runs(rows: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["ImageId", " EncodedPixels"])


def test_run_length_tables_are_scored_without_masks() -> None:
    truth = _runs([("a", "0 10"), ("a", "20 10"), ("b", " -1"), ("c", "0 4"), ("d", "-1")])
    given = _runs([("a", "0 10 10 10"), ("b", "-1"), ("c", "2 4"), ("d", "5 5")])
    assert siim_acr_score(truth, given) == pytest.approx((1 + 1 + 0.5 + 0) / 4)


def test_rows_of_an_image_are_a_union() -> None:
    truth = _runs([("a", "0 10"), ("a", "5 10")])
    assert siim_acr_score(truth, _runs([("a", "0 15")])) == 1


def test_bad_run_length_tables_are_refused() -> None:
    truth = _runs([("a", "0 10")])
    for text in ("0", "0 x", "0 2000000", "5 -3", "9223372036854775807 9223372036854775807"):
        with pytest.raises(DataError):
            siim_acr_score(truth, _runs([("a", text)]))
    with pytest.raises(DataError):
        siim_acr_score(truth, _runs([("b", "-1")]))


def test_scoring_runs_equals_scoring_masks(hilum_data: Path) -> None:
    rle = pytest.importorskip("hilum.data.formats.runs")
    path = hilum_data / "tables" / "siim-pneumothorax-train-rle.csv.gz"
    if not path.is_file():
        pytest.skip("the SIIM-ACR table is not there")
    table = pd.read_csv(path)
    table.columns = ["ImageId", "EncodedPixels"]
    sick = table[table["EncodedPixels"].str.strip() != "-1"]
    a, b = sick.iloc[:20].reset_index(drop=True), sick.iloc[1:21].reset_index(drop=True)
    b = b.assign(ImageId=[f"{i}" for i in range(20)])
    a = a.assign(ImageId=b["ImageId"])
    masks = [[rle.decode(t, 1024, 1024) for t in part["EncodedPixels"]] for part in (a, b)]
    want = np.mean([dice(x, y) for x, y in zip(*masks, strict=True)])
    assert siim_acr_score(a, b) == pytest.approx(want, abs=1e-9)


# --- the challenges' tables as files ---

RSNA = "patientId,x,y,width,height,Target\na,1,2,3,4,1\nb,,,,,0\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3,4,1", "3,4,maybe", "Target' holds 'maybe'"),  # not taken as negative
        ("3,4,1", "3,4,2", "Target' holds '2'"),
        ("b,,,,,0", "b,,,,,", "no Target"),
        ("b,,,,,0", "b", "fewer cells"),
        ("a,1,2,3,4,1", "a,1,2,3,4,1,5", "7 cells for 6 columns"),
        ("b,,,,,0", "a,,,,,0", "Target 1 and 0"),
        ("a,1,2", "a,x,2", "no proper box"),
        ("a,1,2", "a,,2", "no proper box"),
        ("a,1,2", "a,1_0,2", "no proper box"),
        ("a,1,2", "a,nan,2", "no proper box"),
        ("a,1,2", "a,1e30,2", "beyond any image"),
        ("3,4,1", "-3,4,1", "negative"),
    ],
)
def test_a_true_table_is_never_misread(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(RSNA)
    assert rsna_truth(tmp_path / "t.csv")["a"].tolist() == [[1, 2, 4, 6]]
    (tmp_path / "t.csv").write_text(RSNA.replace(old, new))
    with pytest.raises(DataError, match=message):
        rsna_truth(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patientId,PredictionString\na\n", "a row that is cut is no blank answer"),
        ("patientId,PredictionString\n0,a,0.5 1 2 3 4\n1,b,\n", "3 cells for 2 columns"),
        ("patientId,PredictionString\na,0.5 1 2 3 4e30\n", "beyond any image"),
        ("patientId,PredictionString\na,0.5 1 2 3 1_0\n", "no number"),
        ("patientId,PredictionString\na,0.5 1 2 3 \uff11\n", "no number"),
        ('patientId,PredictionString\na,"0.5 1 2 3 4\nb,\n', "not a readable CSV"),
    ],
)
def test_a_submission_is_never_misread(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        rsna_predictions(tmp_path / "s.csv")


def test_mask_metrics_of_a_half_overlap() -> None:
    a, b = np.zeros((4, 8), bool), np.zeros((4, 8), bool)
    a[:, :4], b[:, 2:6] = True, True
    assert iou(a, b) == pytest.approx(1 / 3)
    assert f_beta(a, b, 1) == dice(a, b) == 0.5
    truth, prediction = a, a & b  # recall one half, precision one
    assert f_beta(truth, prediction, 2) == pytest.approx(5 * 0.5 / (4 + 0.5))
    assert hausdorff(a, b) == 2
    assert hausdorff(a, b, spacing=(1, 0.5)) == 1
    assert hausdorff(a, a) == 0


def test_empty_masks_agree_and_are_far_from_all_others() -> None:
    empty, full = np.zeros((3, 3)), np.ones((3, 3))
    assert dice(empty, empty) == iou(empty, empty) == 1
    assert hausdorff(empty, empty) == 0
    assert hausdorff(empty, full) == np.inf
    with pytest.raises(GeometryError):
        dice(empty, np.zeros((2, 2)))
