"""Whether a variant of a sweep differs from the first: over its runs, or over patients."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hilum.core.findings import Findings
from hilum.evaluate.evaluation import cases_by_label, evaluate_predictions, metric_over_labels
from hilum.evaluate.kept_cases import read_cases, shared, write_cases
from hilum.evaluate.truth import ImageTruth, Size
from hilum.train.verdicts import compare, compare_by_patients

few = settings(max_examples=20, deadline=None)
SIDE = 100
COLUMNS = ["variant", "repeat", "ap50"]


def truths(count: int) -> list[ImageTruth]:
    """Every second image has one opacity; two images a patient."""
    rng = np.random.default_rng(3)
    corners = rng.integers(0, 50, (count, 2))
    boxes = [np.array([[x, y, x + 40, y + 30]], float)[: i % 2] for i, (x, y) in enumerate(corners)]
    return [
        ImageTruth(
            image_id=str(i),
            patient=str(i // 2),
            size=Size.of(SIDE, SIDE),
            boxes_px=box,
            box_labels=("opacity",) * len(box),
            image_labels={"covid": float(i % 3 == 0)},
        )
        for i, box in enumerate(boxes)
    ]


def answers(truth: list[ImageTruth], right: float, seed: int) -> list[Findings]:
    """A share of the boxes found where they are, the others elsewhere."""
    rng = np.random.default_rng(seed)
    out = []
    for one in truth:
        boxes = np.asarray(one.boxes_px) + (0 if rng.random() < right else 60)
        scores = rng.uniform(0.3, 0.9, len(boxes)).astype(np.float32)
        out.append(
            Findings(
                width=SIDE,
                height=SIDE,
                boxes_px=np.clip(boxes, 0, SIDE).astype(np.float32),
                scores=scores,
                labels=("opacity",) * len(boxes),
                image_scores={"opacity": float(scores.max(initial=0.1)), "covid": rng.random()},
                masks={},
            )
        )
    return out


def test_kept_cases_give_the_numbers_of_the_evaluation(tmp_path: Path) -> None:
    truth = truths(60)
    said = answers(truth, 0.6, 1)
    write_cases(tmp_path / "test.parquet", cases_by_label(truth, said))
    kept, numbers = read_cases(tmp_path / "test.parquet"), evaluate_predictions(truth, said)
    names = ["ap50", "rsna_score", "auc", "auc_covid", "auc_opacity", "box_recall", "brier"]
    for name in names:  # a mean over labels where several have the number
        value = metric_over_labels(kept, name)
        assert value is not None
        assert value.value(np.ones(60)) == pytest.approx(numbers[name], abs=1e-6), name
    assert 0.2 < numbers["ap50"] < 0.9
    assert metric_over_labels(kept, "dice") is None


def test_one_run_a_variant_is_compared_over_the_patients_of_one_part(tmp_path: Path) -> None:
    truth = truths(200)
    said = {
        "base": answers(truth, 0.6, 1),
        "again": answers(truth, 0.6, 1),
        "worse": answers(truth, 0.2, 1),
        "fewer": answers(truth, 0.9, 1)[:120],
        "lost": answers(truth, 0.9, 1),
        "apart": answers(truth, 0.9, 1)[120:],
    }
    rows = []
    for name, own in said.items():
        part = truth[-len(own) :] if name == "apart" else truth[: len(own)]
        write_cases(tmp_path / name, cases_by_label(part, own))
        rows.append((name, "a", evaluate_predictions(part, own)["ap50"]))
    (tmp_path / "lost").unlink()  # a run of an older hilum
    files = {name: tmp_path / name for name in said}
    apart = compare_by_patients(
        compare(pd.DataFrame([rows[3], rows[5]], columns=COLUMNS), "ap50"), "ap50", files
    )
    assert apart["verdict"].iloc[1] == "not tested: no image in common"
    runs = pd.DataFrame(rows[:5], columns=COLUMNS)
    table = compare_by_patients(compare(runs, "ap50"), "ap50", files).set_index("variant")
    assert table.loc["again", "verdict"] == "no difference shown"
    assert table.loc["worse", "verdict"] == "lower"
    assert table.loc["worse", "difference_high"] < 0
    assert table.loc["fewer", "verdict"] == "higher"  # of the images that both answered
    assert table.loc["lost", "verdict"] == "not tested: one run"
    assert (table["low"] < table["value"])[["base", "again", "worse"]].all()
    first, second = shared(read_cases(files["fewer"]), read_cases(files["base"]))
    assert len(first["opacity"]) == len(second["opacity"]) == 120
    # A number that is none of scores and boxes is not tested, and said so.
    masks = compare_by_patients(
        compare(runs.rename(columns={"ap50": "dice"}), "dice"), "dice", files
    )
    assert set(masks["verdict"].iloc[1:]) == {"not tested: one run"}


def test_a_sweep_says_when_no_difference_is_shown() -> None:
    runs = pd.DataFrame(
        {
            "variant": ["base"] * 3 + ["same"] * 3 + ["worse"] * 3,
            "repeat": ["a", "b", "c"] * 3,
            "ap50": [0.50, 0.54, 0.52, 0.51, 0.53, 0.52, 0.30, 0.33, 0.32],
        }
    )
    table = compare(runs, "ap50").set_index("variant")
    assert table.loc["same", "verdict"] == "no difference shown"
    assert table.loc["worse", "verdict"] == "lower"
    # Student's interval of .50, .54, .52: sd .02, t(2) = 4.3027
    assert table.loc["base", "high"] - 0.52 == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-4)
    alone = compare(runs[runs["repeat"] == "a"], "ap50").set_index("variant")
    assert alone.loc["worse", "verdict"] == "not tested: one run"


@few
@given(st.integers(0, 2**32 - 1))
def test_variants_are_compared_run_by_run_with_students_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base, other = rng.normal(0.5, 0.1, 4), rng.normal(0.6, 0.1, 4)
    runs = pd.DataFrame(
        [
            {"variant": name, "repeat": f"seed-{i}", "ap50": value}
            for name, values in (("base", base), ("other", other))
            for i, value in enumerate(values)
        ]
    )
    table = compare(runs, "ap50").set_index("variant")
    gaps = other - base
    low, high = stats.t.interval(0.95, 3, gaps.mean(), stats.sem(gaps))
    row = table.loc["other"]
    assert row["value"] == pytest.approx(other.mean())
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((low, high))
    shown = "higher" if low > 0 else "lower" if high < 0 else "no difference shown"
    assert row["verdict"] == shown
    turned = compare(runs.iloc[::-1], "ap50").set_index("variant")
    assert turned.loc["base"]["difference"] == pytest.approx(-gaps.mean())


def test_one_run_a_variant_tests_nothing() -> None:
    rows = [("base", "a", 0.1), ("other", "a", 0.9), ("third", "b", 0.9)]
    runs = pd.DataFrame(rows, columns=["variant", "repeat", "ap50"])
    table = compare(runs, "ap50").set_index("variant")
    assert table.loc["other"]["verdict"] == "not tested: one run"
    assert table.loc["third"]["verdict"] == "has no ap50"  # nothing to pair it with
    assert math.isnan(table.loc["other"]["low"])
