"""Changes alarm within 200 studies; stable days hardly ever do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hilum.serve.monitor.agreement import wilson
from hilum.serve.monitor.drift import (
    BLOCK,
    REFERENCE,
    Study,
    alarms,
    blocks_of,
    fisher_p,
    ks_p,
)
from hilum.serve.monitor.watch import contrast_of


def studies(seed: int, count: int, **changed: object) -> list[Study]:
    """A department: mostly PA on two vendors, scores skewed to low ones."""
    rng = np.random.default_rng(seed)
    options = {"pa": 0.7, "vendors": ("A", "B"), "sign": 1.0, "refused": 0.01} | changed
    return [
        {
            "score": float(rng.beta(1, 5)),
            "state": "refused" if rng.random() < options["refused"] else "analysed",  # type: ignore[operator]
            "view": "PA" if rng.random() < options["pa"] else "AP",  # type: ignore[operator]
            "vendor": str(rng.choice(options["vendors"])),  # type: ignore[call-overload]
            "contrast": float(options["sign"] * rng.normal(60, 15)),  # type: ignore[operator]
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("changed", "feature"),
    [
        ({"vendors": ("C",)}, "vendor"),
        ({"pa": 0.2}, "view"),
        ({"sign": -1.0}, "contrast"),
        ({"refused": 0.3}, "state"),
    ],
)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("begins", [0, BLOCK - 1])
def test_a_change_alarms_within_200_studies(
    changed: dict[str, object], feature: str, seed: int, begins: int
) -> None:
    stream = [*studies(seed + 50, begins), *studies(seed + 100, 200, **changed)]
    tested = [alarms(studies(seed, REFERENCE), b) for b in blocks_of(stream[: begins + 200])]
    assert any(one.feature == feature for found in tested for one in found)


def test_thirty_stable_days_alarm_at_most_once() -> None:
    counts = []
    for seed in range(2):  # two departments, 30 days of 200 studies each
        reference = studies(1000 + seed, REFERENCE)
        counts.append(
            sum(bool(alarms(reference, b)) for b in blocks_of(studies(2000 + seed, 30 * 200)))
        )
    assert max(counts) <= 1
    assert sum(counts) <= 1


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
