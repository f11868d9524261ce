"""Percentiles are NumPy's to the last bit, whatever lies in the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.percentiles import FEW, percentiles

RNG = np.random.default_rng(4)
PIXELS = {
    "noise": RNG.random(60_000),
    "8 bit": RNG.integers(0, 256, 60_000) / 255,
    "dark": RNG.random(60_000) ** 8,
    "black and white": np.where(RNG.random(60_000) < 0.5, 0.0, 1.0),
    "blank": np.zeros(60_000),
    "white": np.ones(FEW),
    "few": RNG.random(7),
    "one": np.array([0.3]),
}


@pytest.mark.parametrize("at", [(0.5, 99.5), (0.0, 100.0), (1.0, 98.7), (40.0, 60.0)])
@pytest.mark.parametrize("values", PIXELS.values(), ids=PIXELS)
def test_percentiles_are_those_of_numpy(values: np.ndarray, at: tuple[float, float]) -> None:
    pixels = values.astype(np.float32)
    assert percentiles(pixels, at) == tuple(np.percentile(pixels, at))
