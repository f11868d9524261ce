"""Blocks of studies against a reference: Kolmogorov-Smirnov for numbers, Fisher's exact test for
categories, Bonferroni over all tests of a block.

A block of `BLOCK` studies is tested once, so a change that begins anywhere is in a whole block
after fewer than 2 x BLOCK = 200 studies. A stable block alarms with probability at most `ALPHA`:
at 200 studies a day, 30 stable days are 60 blocks and at most .06 false alarms are expected. (The
reference is drawn once, so blocks share its luck; the bound on the expectation holds all the same.)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 100
REFERENCE = 400  # studies
ALPHA = 0.001  # of a block, over all its tests

Value = float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """What of a block is not as in the reference."""

    feature: str
    value: str | None  # the category that became more or less frequent
    p: float  # corrected for the number of tests of the block
    before: float  # mean, or share of the category
    after: float

    @property
    def words(self) -> str:
        what = self.feature if self.value is None else f"share of {self.feature} {self.value}"
        return f"{what}: {self.before:.3g} -> {self.after:.3g} (p {self.p:.1g})"


Study = Mapping[str, Value]


def alarms(reference: Sequence[Study], block: Sequence[Study], alpha: float = ALPHA) -> list[Alarm]:
    """What differs between a block and the reference, most certain first.

    Args:
        reference, block: features by name: numbers, or categories as text. None: not known, which
            is a category of its own, and left out among numbers.
    """
    found = [one for name in reference[0] for one in _feature(name, reference, block)]
    corrected = [
        Alarm(
            feature=one.feature,
            value=one.value,
            p=min(1.0, one.p * len(found)),
            before=one.before,
            after=one.after,
        )
        for one in found
    ]
    return sorted((one for one in corrected if one.p <= alpha), key=lambda one: one.p)


def blocks_of(studies: Sequence[Study], size: int = BLOCK) -> list[Sequence[Study]]:
    """Whole blocks, oldest first."""
    return [studies[at : at + size] for at in range(0, len(studies) - size + 1, size)]


def _feature(name: str, reference: Sequence[Study], block: Sequence[Study]) -> list[Alarm]:
    old, new = [one.get(name) for one in reference], [one.get(name) for one in block]
    if any(isinstance(value, str) for value in (*old, *new)):
        return _categories(name, old, new)
    a = np.array([v for v in old if v is not None], float)
    b = np.array([v for v in new if v is not None], float)
    if not len(a) or not len(b):
        return []
    p = ks_p(a, b)
    return [Alarm(feature=name, value=None, p=p, before=float(a.mean()), after=float(b.mean()))]


def _categories(name: str, old: Sequence[Value], new: Sequence[Value]) -> list[Alarm]:
    before, after = Counter(map(str, old)), Counter(map(str, new))
    out = []
    for value in sorted({*before, *after}):
        p = fisher_p(before[value], len(old), after[value], len(new))
        shares = {"before": before[value] / len(old), "after": after[value] / len(new)}
        out.append(Alarm(feature=name, value=value, p=p, **shares))
    return out


def ks_p(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sample Kolmogorov-Smirnov, two-sided, asymptotic with Stephens' correction."""
    everything = np.sort(np.concatenate([a, b]))
    below = [np.searchsorted(np.sort(x), everything, side="right") / len(x) for x in (a, b)]
    distance = float(np.abs(below[0] - below[1]).max())
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    at = (root + 0.12 + 0.11 / root) * distance
    if at < 0.3:  # the series does not converge there, and p is 1
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * at) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * math.fsum(terms)))


def fisher_p(a: int, of_a: int, b: int, of_b: int) -> float:
    """Fisher's exact test, two-sided: tables at most as likely as this one."""
    total, hits = of_a + of_b, a + b
    first, last = max(0, hits - of_a), min(hits, of_b)
    logs = [_choose(of_b, k) + _choose(of_a, hits - k) for k in range(first, last + 1)]
    whole, here = _choose(total, hits), logs[b - first] + 1e-9
    return min(1.0, math.fsum(math.exp(one - whole) for one in logs if one <= here))


def _choose(n: int, k: int) -> float:
    """Logarithm of the binomial coefficient."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
