"""Maps from a model's finished scores to probabilities, as they travel in a bundle.

They are fitted by `hilum.evaluate` on validation data and applied by `hilum.inference`. Knows no
truth and no model.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from hilum.core.errors import ConfigError, DataError
from hilum.core.options import Options

Float = NDArray[np.float64]

EDGE = 1e-7  # scores of exactly 0 or 1 have no logit

# Beyond these a map is a step and no calibration, and numbers overflow.
LEAST_SLOPE = 1e-3
Slope = Annotated[float, Field(ge=LEAST_SLOPE, le=1 / LEAST_SLOPE)]
Shift = Annotated[float, Field(ge=-1e3, le=1e3)]


class _Map(Options):
    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class Temperature(_Map):
    """The logit of a score divided by one number (Guo et al. 2017); keeps every ranking."""

    kind: Literal["temperature"] = "temperature"
    temperature: Slope

    def apply(self, scores: ArrayLike) -> Float:
        """Calibrated scores of the same shape.

        Raises:
            DataError: scores outside [0, 1] or NaN.
        """
        return _probabilities(logits(scores) / self.temperature)


class Logistic(_Map):
    """The logit of a score times a slope, plus a shift (Platt 1999); keeps every ranking.

    The shift is what a temperature lacks where findings are rarer than in training.
    """

    kind: Literal["logistic"] = "logistic"
    slope: Slope
    shift: Shift = 0.0

    def apply(self, scores: ArrayLike) -> Float:
        """Calibrated scores of the same shape.

        Raises:
            DataError: scores outside [0, 1] or NaN.
        """
        return _probabilities(self.slope * logits(scores) + self.shift)


class Isotonic(_Map):
    """A rising line through knots; needs more cases than a temperature, and makes ties."""

    kind: Literal["isotonic"] = "isotonic"
    scores: tuple[float, ...] = Field(min_length=1)  # rising
    probabilities: tuple[float, ...]  # not falling, in [0, 1]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        s, p = np.asarray(self.scores), np.asarray(self.probabilities)
        proper = len(s) == len(p) and (np.diff(s) > 0).all() and (np.diff(p) >= 0).all()
        if not proper or p[0] < 0 or p[-1] > 1:
            raise ValueError("isotonic knots must rise and stay in [0, 1]")
        return self

    def apply(self, scores: ArrayLike) -> Float:
        """Calibrated scores of the same shape, flat beyond the first and last knot.

        Raises:
            DataError: scores outside [0, 1] or NaN.
        """
        return np.interp(checked_scores(scores), self.scores, self.probabilities)


ScoreMap = Annotated[Temperature | Logistic | Isotonic, Field(discriminator="kind")]


def score_map(value: Any) -> Temperature | Logistic | Isotonic:
    """The inverse of `to_json`.

    Raises:
        ConfigError: unknown kind, or numbers that make no map.
    """
    try:
        parsed: Temperature | Logistic | Isotonic = TypeAdapter(ScoreMap).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"calibration: {first['msg']}; known: temperature, logistic, isotonic"
        ) from None
    return parsed


def checked_scores(scores: ArrayLike) -> Float:
    """Scores as float64.

    Raises:
        DataError: outside [0, 1] or NaN.
    """
    s = np.asarray(scores, np.float64)
    if s.size and not (s.min() >= 0 and s.max() <= 1):
        raise DataError("scores must lie in [0, 1] and not be NaN")
    return s


def _probabilities(values: Float) -> Float:
    out: Float = 1 / (1 + np.exp(-np.clip(values, -700, 700)))  # exp(710) overflows
    return out


def logits(scores: ArrayLike) -> Float:
    """log(s / (1 - s)) of scores in [0, 1], finite at both ends."""
    s = np.clip(checked_scores(scores), EDGE, 1 - EDGE)
    out: Float = np.log(s / (1 - s))
    return out
