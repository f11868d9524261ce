"""Blocks of studies against a reference: Kolmogorov-Smirnov for numbers, Fisher's exact test for
categories, Bonferroni over all tests of a block.

Nights and weekends are not like working hours (bedside AP, sicker patients), so a block is compared
with the reference of the same hours only. Numbers are compared among all, and by view, modality and
vendor: a change at one unit shows there before it shows among all.

A block of `BLOCK` studies is tested once, so a change that begins anywhere is in a whole block
after fewer than 2 x BLOCK = 200 studies. A stable block alarms with probability at most `ALPHA`:
at 200 studies a day, 30 stable days are 60 blocks and at most .06 false alarms are expected. (The
reference is drawn once, so blocks share its luck; the bound on the expectation holds all the same.)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

BLOCK = 100
REFERENCE = 1000  # studies: about a week of a department, so that it has nights and a weekend
ALPHA = 0.001  # of a block, over all its tests
HOURS = "hours"  # the feature that is never tested: blocks are compared within it
STRATA = ("view", "modality", "vendor")
LEAST = {"reference": 50, "block": 20}  # studies of a group that is compared

Value = float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """What of a block is not as in the reference."""

    feature: str
    among: str  # which studies: "" all
    value: str | None  # the category that became more or less frequent
    p: float  # corrected for the number of tests of the block
    before: float  # mean, or share of the category
    after: float

    @property
    def words(self) -> str:
        what = self.feature if self.value is None else f"share of {self.feature} {self.value}"
        where = f" ({self.among})" if self.among else ""
        return f"{what}{where}: {self.before:.3g} -> {self.after:.3g} (p {self.p:.1g})"


Study = Mapping[str, Value]


def alarms(reference: Sequence[Study], block: Sequence[Study], alpha: float = ALPHA) -> list[Alarm]:
    """What differs between a block and the reference, most certain first.

    Args:
        reference, block: features by name: numbers, or categories as text. None: not known, which
            is a category of its own, and left out among numbers.
    """
    tests = [
        one for among, old, new in _groups(reference, block) for one in _compared(among, old, new)
    ]
    corrected = (replace(one, p=min(1.0, one.p * len(tests))) for one in tests)
    return sorted((one for one in corrected if one.p <= alpha), key=lambda one: one.p)


_Group = tuple[str, Sequence[Study], Sequence[Study]]


def _groups(reference: Sequence[Study], block: Sequence[Study]) -> Iterator[_Group]:
    """Studies of the same hours."""
    for hours, old, new in _split(HOURS, reference, block):
        yield (hours if hours != "None" else ""), old, new


def _split(name: str, old: Sequence[Study], new: Sequence[Study]) -> Iterator[_Group]:
    """Studies by a category, where there are enough of it on both sides."""
    for value in sorted({str(one.get(name)) for one in new}):
        before = [one for one in old if str(one.get(name)) == value]
        after = [one for one in new if str(one.get(name)) == value]
        if len(before) >= LEAST["reference"] and len(after) >= LEAST["block"]:
            yield value, before, after


def _compared(among: str, old: Sequence[Study], new: Sequence[Study]) -> Iterator[Alarm]:
    """Every feature; numbers by the strata too."""
    names = [name for name in old[0] if name != HOURS]
    for name in names:
        yield from _feature(name, among, old, new)
    for stratum in STRATA:
        for value, before, after in _split(stratum, old, new):
            if len(before) == len(old) and len(after) == len(new):
                continue  # all of them: compared above
            where = f"{stratum} {value}" + (f", {among}" if among else "")
            for name in names:
                yield from _numbers(name, where, before, after)


def blocks_of(studies: Sequence[Study], size: int = BLOCK) -> list[Sequence[Study]]:
    """Whole blocks, oldest first."""
    return [studies[at : at + size] for at in range(0, len(studies) - size + 1, size)]


def _feature(
    name: str, among: str, reference: Sequence[Study], block: Sequence[Study]
) -> Iterator[Alarm]:
    old, new = [one.get(name) for one in reference], [one.get(name) for one in block]
    if not any(isinstance(value, str) for value in (*old, *new)):
        yield from _numbers(name, among, reference, block)
        return
    before, after = Counter(map(str, old)), Counter(map(str, new))
    for value in sorted({*before, *after}):
        p = fisher_p(before[value], len(old), after[value], len(new))
        shares = {"before": before[value] / len(old), "after": after[value] / len(new)}
        yield Alarm(feature=name, among=among, value=value, p=p, **shares)


def _numbers(
    name: str, among: str, reference: Sequence[Study], block: Sequence[Study]
) -> Iterator[Alarm]:
    """Nothing for categories, or where one side has no number."""
    a, b = (
        np.array([v for one in side if isinstance(v := one.get(name), float)])
        for side in (reference, block)
    )
    if len(a) and len(b):
        means = {"before": float(a.mean()), "after": float(b.mean())}
        yield Alarm(feature=name, among=among, value=None, p=ks_p(a, b), **means)


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
