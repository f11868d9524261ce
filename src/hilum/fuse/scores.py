"""Scores of different sources joined: classifier and detector, image and study.

All scores are probabilities in [0, 1] on a common scale; `hilum.evaluate.thresholds.calibration`
brings them there. Knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, DataError, GeometryError
from hilum.core.geometry import check_boxes
from hilum.fuse.lists import check_scores
from hilum.fuse.suppress import keep_best

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def classifier_times_detector(scores: ArrayLike, image_score: float) -> Float:
    """Box scores (n,) times the image-level probability (1st place of RSNA)."""
    s = np.asarray(scores, np.float64).reshape(-1)
    check_scores(np.append(s, image_score))
    out: Float = s * image_score
    return out


def none_score(scores: ArrayLike) -> float:
    """Probability of an image without findings: 1 - highest box score."""
    s = np.asarray(scores, np.float64).reshape(-1)
    check_scores(s)
    return 1.0 - float(s.max(initial=0.0))


def shares(scores: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    """The named scores, each divided by the sum of them; all equal where that is 0."""
    total = sum(scores[name] for name in names)
    return {name: scores[name] / total if total > 0 else 1 / len(names) for name in names}


def study_score(
    scores: ArrayLike, how: Literal["mean", "max", "noisy-or"] = "mean"
) -> float | Float:
    """One score of a study from those of its images.

    Args:
        scores: (images,) or (images, classes).
        how: noisy-or is 1 - product of (1 - score): any image suffices, each is independent
            evidence.

    Returns:
        A number, or (classes,).
    """
    s = np.asarray(scores, np.float64)
    if s.ndim not in (1, 2) or not len(s):
        raise DataError(f"image scores are {s.shape}; needed: (images,) or (images, classes)")
    check_scores(s.reshape(-1))
    if how == "mean":
        out = s.mean(axis=0)
    elif how == "max":
        out = s.max(axis=0)
    elif how == "noisy-or":
        out = 1 - np.prod(1 - s, axis=0)
    else:
        raise ConfigError(f"unknown way {how!r}; known: mean, max, noisy-or")
    return float(out) if s.ndim == 1 else np.asarray(out, np.float64)


def combine_by(how: str) -> Callable[[Sequence[float]], float]:
    """`study_score` of one number an image, by its name.

    Raises:
        ConfigError: an unknown way.
    """
    ways: dict[str, Callable[[Sequence[float]], float]] = {
        "max": lambda scores: float(study_score(scores, "max")),
        "mean": lambda scores: float(study_score(scores, "mean")),
        "noisy-or": lambda scores: float(study_score(scores, "noisy-or")),
    }
    if how not in ways:
        raise ConfigError(f"unknown way {how!r} from images to a study; known: {', '.join(ways)}")
    return ways[how]


def filter_second_place(
    boxes: ArrayLike,
    scores: ArrayLike,
    *,
    p_opacity: float | None = None,
    p_not_normal: float = 0.0,
    threshold: float = 0.3,
    floor: float = 0.025,
    iou: float = 0.05,
) -> Int:
    """Indices of the boxes that the RSNA 2nd place submits, highest score first.

    Scores under `floor` go, then suppression at IoU >= `iou`, then boxes under half of the top
    score; kept is score * 5 > threshold, or with the image's class probabilities
    sqrt(score * c) * 5 > threshold with c = p_opacity + .1 * p_not_normal.

    Args:
        boxes: (n, 4) of one image and one label.
        scores: (n,) in [0, 1].
        p_opacity: image-level probability of lung opacity, None = use box scores alone.
        p_not_normal: image-level probability of "no opacity / not normal".
    """
    b, s = check_boxes(boxes), np.asarray(scores, np.float64).reshape(-1)
    check_scores(s)
    if len(b) != len(s):
        raise GeometryError(f"{len(b)} boxes came with {len(s)} scores")
    rows = np.flatnonzero(s >= floor)
    rows = rows[keep_best(b[rows], s[rows], iou=iou, inclusive=True)]
    rows = rows[s[rows] >= s[rows].max(initial=0.0) / 2]
    strength = s[rows]
    if p_opacity is not None:
        strength = np.sqrt(strength * (p_opacity + 0.1 * p_not_normal))
    kept: Int = rows[strength * 5 > threshold]
    return kept
