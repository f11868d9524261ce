"""A foreign classifier's table of scores is evaluated as image scores, and never as boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog, build
from hilum.evaluate.cases import join
from hilum.evaluate.compare import compare
from hilum.evaluate.ensemble import fuse_files
from hilum.evaluate.evaluation import evaluate_cases
from hilum.evaluate.prediction_files import read_predictions, write_predictions
from hilum.inference.ensemble import Ensemble
from hilum.inference.stages import StageSpec

SICK = (0, 2, 4)
BOX = [1.0, 2.0, 30.0, 40.0]


def catalog() -> Catalog:
    rows = {
        "image_id": [f"i{n}" for n in range(6)],
        "path": [f"set/i{n}.png" for n in range(6)],
        "patient": [f"p{n}" for n in range(6)],
        "boxes": [BOX if n in SICK else [] for n in range(6)],
        "box_labels": [["opacity"] if n in SICK else [] for n in range(6)],
    }
    return build("toy", pd.DataFrame(rows), Path())


def table(path: Path, header: str, row: str = "i{n}.png,{score}") -> Path:
    lines = [row.format(n=n, score=0.9 - 0.1 * n, other=0.1 * n) for n in range(6)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("image,score", "i{n}.png,{score}"),
        ("Image Index,Opacity", "i{n},{score}"),
        ("path;y_pred;label", "elsewhere/i{n}.jpg;{score};1"),
        ("file_name,prob_opacity,prob_normal", "i{n}.dcm,{score},{other}"),
        ("prob,id,patient,age,fold", "{score},i{n},p{n},0.5,1"),
        ("image;score;remark", '"i{n}";"{score}";none'),
        ("img,p_id,pred_label,p_opacity", "i{n}.png,p{n},1,{score}"),
    ],
)
def test_the_usual_tables_of_scores_are_read(tmp_path: Path, header: str, row: str) -> None:
    file = read_predictions(table(tmp_path / "t.csv", header, row), "Opacity")
    finding = "Opacity" if "opacity" not in header else "opacity"
    scores = [image.whole[finding] for image in file.images.values()]
    np.testing.assert_allclose(scores, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert not file.detects


def test_numbers_of_boxes_are_absent_not_zero(tmp_path: Path) -> None:
    cases = join(catalog(), read_predictions(table(tmp_path / "t.csv", "image,score")))
    evaluation = evaluate_cases(cases, repeats=10)
    assert evaluation.image["auc"].value == pytest.approx(6 / 9)
    assert (evaluation.boxes, evaluation.any_box) == ({}, {})
    assert evaluation.why_not["boxes"] == "the model gives no boxes"
    assert cases.boxed.all()  # the set has them all the same


def test_a_detector_and_a_classifier_are_compared_in_what_both_say(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(
        "patientId,PredictionString\n" + "".join(f"i{n},0.{9 - n} 1 2 29 38\n" for n in range(6))
    )
    both = {
        name: join(catalog(), read_predictions(tmp_path / name))
        for name in ("d.csv", table(tmp_path / "t.csv", "image,score").name)
    }
    for models in (both, dict(reversed(both.items()))):
        assert {pair.metric for pair in compare(models, [0.5, 0.5], repeats=10)} == {
            *("auc", "sensitivity", "specificity"),
        }


def test_what_was_not_read_is_told(tmp_path: Path) -> None:
    file = table(tmp_path / "t.csv", "image,score,label,remark", "i{n}.png,{score},0,-")
    file.write_text(file.read_text().replace("i5.png,0.4,", "i5.png,,"))
    cases = join(catalog(), read_predictions(file))
    assert len(cases) == 5
    assert cases.account is not None
    assert cases.account.lines() == [
        "1 image failed in the model",
        "2 columns of the table not read as scores: label, remark",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,score\na.png,2.5\n", r"opacity of 'a.png' is 2.5; needed: a probability"),
        ("image,score\na.png,high\n", "is no number"),
        ("image,score\na.png,.5\na.png,.6\n", "more than one row"),
        ("image,score,prob\na.png,.5,.6\n", "score, prob are all scores of opacity"),
        ("image,label\na.png,1\n", "needed: .* an image's name and its scores"),
        ("score\n.5\n", "needed: .* an image's name and its scores"),
    ],
)
def test_a_table_that_is_no_answer_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "t.csv")


def test_classifiers_are_fused_and_written_as_they_came(tmp_path: Path) -> None:
    one = read_predictions(table(tmp_path / "a.csv", "image,score"))
    two = read_predictions(table(tmp_path / "b.csv", "image,prob_opacity", "i{n}.png,{other}"))
    ensemble = Ensemble({"a": 1, "b": 1}, StageSpec(use="weighted-boxes"))
    fused = fuse_files({"a": one, "b": two}, ensemble).file
    write_predictions(tmp_path / "c.csv", fused)
    again = read_predictions(tmp_path / "c.csv")
    for n, image in enumerate(again.images.values()):
        assert image.whole["opacity"] == pytest.approx((0.9 - 0.1 * n + 0.1 * n) / 2)


def test_a_column_that_stands_twice_is_asked_back_and_a_missing_score_no_answer(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match="column score stands there twice"):
        read_predictions(table(tmp_path / "t.csv", "image,score,score", "i{n},{score},{other}"))
    file = tmp_path / "n.csv"
    file.write_text("image;score\ni0;0,9\ni1;NaN\ni2;None\ni3;\n")
    images = read_predictions(file).images
    assert [image.status for image in images.values()] == ["analysed", *["failed"] * 3]
    assert images["i0"].whole == {"opacity": 0.9}


def test_scores_in_parquet_are_those_of_the_csv(tmp_path: Path) -> None:
    file = table(tmp_path / "t.csv", "image,score")
    pd.read_csv(file).to_parquet(tmp_path / "t.parquet")
    one, other = (read_predictions(tmp_path / f"t.{kind}").images for kind in ("csv", "parquet"))
    assert [image.whole for image in one.values()] == [image.whole for image in other.values()]
    assert one.keys() == other.keys()
