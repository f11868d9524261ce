"""Whether a variant of a sweep differs from the first: over its runs, or over patients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from hilum.core.findings import Findings
from hilum.evaluate.evaluation import evaluate_predictions, kept_of, metric_over_images
from hilum.evaluate.kept_cases import Kept, read_kept, shared, write_kept
from hilum.evaluate.statistics.bootstrap import Reweighted
from hilum.evaluate.truth import ImageTruth, Size
from hilum.train.comparison import ByPatients, Measure, compare
from hilum.train.evaluation import metric_of
from hilum.train.recipe import load_recipe

few = settings(max_examples=20, deadline=None)
SIDE = 100
COLUMNS = ["variant", "repeat", "ap50"]


def truths(count: int) -> list[ImageTruth]:
    """Every second image has one opacity, every third is COVID, most have lungs drawn; two images a
    patient."""
    rng = np.random.default_rng(3)
    corners = rng.integers(0, 50, (count, 2))
    boxes = [np.array([[x, y, x + 40, y + 30]], float)[: i % 2] for i, (x, y) in enumerate(corners)]
    classes = ("covid", "other", "normal")
    return [
        ImageTruth(
            image_id=str(i),
            patient=str(i // 2),
            size=Size.of(SIDE, SIDE),
            boxes_px=box,
            box_labels=("opacity",) * len(box),
            image_labels={name: float(i % 3 == k) for k, name in enumerate(classes)},
            masks={"lungs": filled} if i % 5 else {},
        )
        for i, box in enumerate(boxes)
    ]


def filled(height: int, width: int) -> NDArray[np.bool_]:
    return np.ones((height, width), np.bool_)


def answers(truth: list[ImageTruth], right: float, seed: int) -> list[Findings]:
    """A share of the boxes found where they are, the others elsewhere."""
    rng = np.random.default_rng(seed)
    out = []
    for one in truth:
        boxes = np.asarray(one.boxes_px) + (0 if rng.random() < right else 60)
        scores = rng.uniform(0.3, 0.9, len(boxes)).astype(np.float32)
        lungs = np.arange(SIDE)[:, None] < rng.uniform(0.5, 1) * SIDE * np.ones(SIDE)
        sure = dict(zip(("covid", "other", "normal"), rng.dirichlet((1, 1, 1)), strict=True))
        out.append(
            Findings(
                width=SIDE,
                height=SIDE,
                boxes_px=np.clip(boxes, 0, SIDE).astype(np.float32),
                scores=scores,
                labels=("opacity",) * len(boxes),
                image_scores={"opacity": float(scores.max(initial=0.1)), **sure},
                masks={"lungs": lungs},
            )
        )
    return out


CLASSES = ("covid", "other", "normal")


def by_patients(table: pd.DataFrame, measure: Measure, files: dict[str, Path]) -> pd.DataFrame:
    compared = ByPatients(len(files))
    for variant in table["variant"]:
        compared.add(variant, files[variant], measure)
    return compared.table(table)


def named(metric: str) -> Callable[[Kept], Reweighted | None]:
    return lambda kept: metric_over_images(kept, metric, classes=CLASSES)


def test_every_number_of_an_evaluation_follows_from_what_was_kept(tmp_path: Path) -> None:
    truth = truths(60)
    said = answers(truth, 0.6, 1)
    write_kept(tmp_path / "test.parquet", kept_of(truth, said))
    kept = read_kept(tmp_path / "test.parquet")
    numbers = evaluate_predictions(truth, said, classes=CLASSES)
    assert {"ap50", "auc_covid", "auc", "class_f1", "dice", "iou_lungs"} < numbers.keys()
    for name, number in numbers.items():
        value = metric_over_images(kept, name, classes=CLASSES)
        assert value is not None, name
        assert value.value(np.ones(60)) == pytest.approx(number, abs=1e-6), name
    assert 0.2 < numbers["ap50"] < 0.9
    assert metric_over_images(kept, "val_loss") is None


def test_what_a_network_of_masks_alone_says_is_kept(tmp_path: Path) -> None:
    truth = [replace(one, boxes_px=None, box_labels=(), image_labels={}) for one in truths(20)]
    said = answers(truths(20), 0.6, 1)
    write_kept(tmp_path / "test.parquet", kept_of(truth, said))
    kept = read_kept(tmp_path / "test.parquet")
    assert not kept.cases
    assert len(kept) == 20
    value = metric_over_images(kept, "dice_lungs")
    assert value is not None
    assert value.value(np.ones(20)) == pytest.approx(evaluate_predictions(truth, said)["dice"])


def test_of_exclusive_classes_a_number_of_images_is_that_of_the_positive_one() -> None:
    changes = ("targets.classes=[covid, other, normal]", "targets.positive=[covid]")
    recipe = load_recipe("siim-covid-study-small", changes)
    kept = kept_of(truths(60), answers(truths(60), 0.6, 1))
    own, covid = metric_of(kept, "auc", recipe), metric_over_images(kept, "auc_covid")
    mean = metric_over_images(kept, "auc")
    assert own is not None
    assert covid is not None
    assert mean is not None
    assert own.value(np.ones(60)) == covid.value(np.ones(60)) != mean.value(np.ones(60))


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
        write_kept(tmp_path / name, kept_of(part, own))
        rows.append((name, "a", evaluate_predictions(part, own)["ap50"]))
    (tmp_path / "lost").unlink()  # a run of an older hilum
    files = {name: tmp_path / name for name in said}
    apart = by_patients(
        compare(pd.DataFrame([rows[3], rows[5]], columns=COLUMNS), "ap50"), named("ap50"), files
    )
    assert apart["verdict"].iloc[1] == "not tested: no image in common"
    runs = pd.DataFrame(rows[:5], columns=COLUMNS)
    table = by_patients(compare(runs, "ap50"), named("ap50"), files).set_index("variant")
    assert table.loc["again", "verdict"] == "no difference shown"
    assert table.loc["worse", "verdict"] == "lower"
    assert table.loc["worse", "difference_high"] < 0
    assert table.loc["fewer", "verdict"] == "higher"
    assert table.loc["lost", "verdict"] == "not tested: one run"
    assert (table["low"] < table["value"])[["base", "again", "worse"]].all()
    # Of the images that both answered, value and interval alike.
    first, second = shared(read_kept(files["fewer"]), read_kept(files["base"]))
    assert len(first) == len(second) == 120
    both = [evaluate_predictions(truth[:120], said[n][:120])["ap50"] for n in ("fewer", "base")]
    assert table.loc["fewer", "difference"] == pytest.approx(both[0] - both[1], abs=1e-6)
    # Masks are tested as boxes are; a loss is none of images.
    masks = by_patients(compare(runs, "ap50"), named("dice_lungs"), files)
    assert masks["low"].notna().tolist() == [True] * 4 + [False]
    losses = by_patients(compare(runs, "ap50"), named("val_loss"), files)
    assert set(losses["verdict"].iloc[1:]) == {"not tested: one run"}


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
