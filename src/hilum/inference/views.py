"""Views of one radiograph (mirrored, smaller), each answered by the same model and mapped back.

A view wraps any model: `Mirrored(Scaled(model, 0.8))`. Knows no bundle and no stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hilum.core.prediction import Prediction
from hilum.core.radiograph import Radiograph
from hilum.inference.predictor import Model


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The model's answer to the image with left and right exchanged, exchanged back."""

    model: Model

    def __call__(self, radiograph: Radiograph) -> Prediction:
        valid = radiograph.valid
        mirrored = replace(
            radiograph,
            pixels=np.ascontiguousarray(radiograph.pixels[:, ::-1]),
            valid=None if valid is None else np.ascontiguousarray(valid[:, ::-1]),
        )
        matrix = np.array([[-1.0, 0, radiograph.width], [0, 1, 0], [0, 0, 1]])
        return self.model(mirrored).seen_through(matrix, radiograph.width, radiograph.height)


@dataclass(frozen=True, slots=True)
class Scaled:
    """The model's answer to the image at a part of its size inside the same square.

    The image gets a margin that is marked as not valid, so neither contrast nor masks see it.
    """

    model: Model
    scale: float  # in (0, 1)

    def __call__(self, radiograph: Radiograph) -> Prediction:
        height, width = radiograph.height, radiograph.width
        margin = max(1, round(max(height, width) * (1 / self.scale - 1) / 2))
        valid = np.ones((height, width), bool) if radiograph.valid is None else radiograph.valid
        padded = replace(
            radiograph,
            pixels=np.pad(radiograph.pixels, margin),
            valid=np.pad(valid, margin),
        )
        matrix = np.array([[1.0, 0, margin], [0, 1, margin], [0, 0, 1]])
        return self.model(padded).seen_through(matrix, width, height)
