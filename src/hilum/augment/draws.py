"""Distributions as values: what a step draws its numbers from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Draw: TypeAlias = Callable[[np.random.Generator], float]


@dataclass(frozen=True, slots=True)
class Fixed:
    value: float

    def __call__(self, rng: np.random.Generator) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Uniform:
    low: float
    high: float

    def __call__(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True, slots=True)
class Normal:
    sigma: float

    def __call__(self, rng: np.random.Generator) -> float:
        return float(rng.normal(0, self.sigma))


@dataclass(frozen=True, slots=True)
class Octaves:
    """2**N(0, sigma): as often twice as half."""

    sigma: float

    def __call__(self, rng: np.random.Generator) -> float:
        return float(2 ** rng.normal(0, self.sigma))
