"""Changes alarm within 200 studies; stable days hardly ever do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from hilum.serve.monitor.agreement import wilson
from hilum.serve.monitor.drift import (
    BLOCK,
    HOURS,
    REFERENCE,
    Study,
    alarms,
    blocks_of,
    fisher_p,
    ks_p,
)
from hilum.serve.monitor.watch import contrast_of

Change = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]


def days(seed: int, count: int, change: Change | None = None) -> list[Study]:
    """A department of 200 studies a day from Monday on, four of five in working hours: then mostly
    PA of two vendors; at night and on weekends mostly bedside AP of sicker patients, by one."""
    rng = np.random.default_rng(seed)
    out: list[Study] = []
    while len(out) < count:
        day, part = divmod(len(out), 200)
        working = day % 7 < 5 and 20 <= part < 180
        bedside = rng.random() < (0.25 if working else 0.8)
        study: dict[str, Any] = {
            HOURS: "working hours" if working else "other hours",
            "score": float(rng.beta(2, 4) if bedside else rng.beta(1, 6)),
            "state": "refused" if rng.random() < 0.01 else "analysed",
            "view": "AP" if bedside else "PA",
            "modality": "DX" if rng.random() < 0.9 else "CR",
            "vendor": "A" if bedside or rng.random() < 0.3 else "B",
            "contrast": float(rng.normal(50 if bedside else 60, 15)),
        }
        out.append(change(study, rng) if change else study)
    return out


def bedside_only(study: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    score, contrast = float(rng.beta(2, 4)), float(rng.normal(50, 15))
    return study | {"view": "AP", "vendor": "A", "score": score, "contrast": contrast}


CHANGES: dict[str, tuple[Change, str]] = {
    "a vendor is replaced": (lambda s, _: s | {"vendor": s["vendor"].replace("B", "C")}, "vendor"),
    "AP instead of PA": (bedside_only, "view"),
    "contrast inverted": (lambda s, _: s | {"contrast": -s["contrast"]}, "contrast"),
    "contrast inverted by one vendor": (
        lambda s, _: s | {"contrast": -s["contrast"] if s["vendor"] == "B" else s["contrast"]},
        "contrast",
    ),
    "refused": (
        lambda s, rng: s | {"state": "refused" if rng.random() < 0.3 else "analysed"},
        "state",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("begins", [0, BLOCK - 1])
def test_a_change_alarms_within_200_studies(name: str, begins: int) -> None:
    change, feature = CHANGES[name]
    for seed in range(3):
        reference = days(seed, REFERENCE)
        stream = [*days(seed + 50, begins), *days(seed + 100, 200, change)]
        tested = [alarms(reference, block) for block in blocks_of(stream[: begins + 200])]
        assert any(one.feature == feature for found in tested for one in found)


def test_thirty_stable_days_alarm_at_most_once() -> None:
    counts = []
    for seed in range(4):  # departments, 30 days of 200 studies each
        reference = days(1000 + seed, REFERENCE)
        stable = days(2000 + seed, 30 * 200)
        counts.append(sum(bool(alarms(reference, block)) for block in blocks_of(stable)))
    assert max(counts) <= 1
    assert sum(counts) <= 1


def test_a_night_is_no_change() -> None:
    """Without its hours the same night would be one."""
    reference = days(0, 10 * REFERENCE)
    night = [one for one in days(1, 2000) if one[HOURS] == "other hours"][:BLOCK]
    assert alarms(reference, night) == []
    pooled = [
        [{k: v for k, v in one.items() if k != HOURS} for one in s] for s in (reference, night)
    ]
    assert alarms(*pooled)


def test_an_alarm_says_which_studies_it_is_about() -> None:
    change, _ = CHANGES["contrast inverted by one vendor"]
    found = alarms(days(0, REFERENCE), days(1, BLOCK, change))
    assert any(one.among.startswith("vendor B") for one in found)
    assert any("vendor B" in one.words and "contrast" in one.words for one in found)


def test_the_tests_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=400), rng.normal(0.3, size=100)
    assert math.isclose(ks_p(a, b), stats.ks_2samp(a, b).pvalue, rel_tol=0.3)
    for table in ((3, 40, 9, 30), (0, 400, 5, 100), (280, 400, 20, 100)):
        k, n, j, m = table
        expected = stats.fisher_exact([[k, n - k], [j, m - j]]).pvalue
        assert math.isclose(fisher_p(*table), expected, rel_tol=1e-6)


def test_inverted_pictures_have_the_opposite_contrast() -> None:
    grey = np.zeros((100, 80), np.uint8)
    grey[20:80, 20:60] = 200
    assert contrast_of(grey) > 0 > contrast_of(255 - grey)


def test_the_interval_holds_the_share() -> None:
    low, high = wilson(0.9, 20)
    assert 0 < low < 0.9 < high <= 1
