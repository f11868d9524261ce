"""The value that augmentation moves: a square image with whatever annotation it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
UNKNOWN = 255  # in masks


def _none() -> Float32:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Sample:
    """Masks are 0, 1, or 255 not annotated; classes and findings 1, 0, or NaN unknown."""

    image: Float32  # (s, s) in [0, 1]
    boxes_px: Float32  # (n, 4)
    labels: tuple[str, ...]  # (n,)
    masks: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    classes: Float32 = field(default_factory=_none)  # (C,) exactly one is true
    findings: Float32 = field(default_factory=_none)  # (F,) any number are true
    boxed: bool = True  # False where nobody looked for boxes


# One change of a sample; all its randomness comes from the generator.
Step: TypeAlias = Callable[[Sample, np.random.Generator], Sample]
