"""What metrics and fusion mean, written down as slowly and plainly as possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Box = Sequence[float]


def iou(a: Box, b: Box) -> float:
    """Of two boxes x1, y1, x2, y2."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    both = max(wide, 0.0) * max(high, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.0


def hits(truth: Sequence[Box], boxes: Sequence[Box], scores: Sequence[float], at: float) -> Any:
    """(m,) whether each box finds a true one: best score first, each takes the free true box of the
    highest IoU, of equals the last."""
    free, out = list(range(len(truth))), [False] * len(boxes)
    for j in sorted(range(len(boxes)), key=lambda j: (-scores[j], j)):
        best = max(free, key=lambda g: (iou(boxes[j], truth[g]), g), default=None)
        if best is not None and iou(boxes[j], truth[best]) >= at:
            out[j] = True
            free.remove(best)
    return np.array(out, bool)


def images(rng: np.random.Generator, count: int) -> tuple[list[Any], list[Any]]:
    """Truth and predictions of so many images: shaken true boxes, doubles and inventions, with
    scores of one digit, so that some are equal."""
    truth, predictions = [], []
    for _ in range(count):
        corner = rng.integers(0, 60, (rng.integers(0, 4), 2)).astype(float)
        own = np.c_[corner, corner + rng.integers(8, 40, corner.shape)]
        shaken = np.repeat(own, rng.integers(0, 3, len(own)), axis=0)
        shaken = shaken + rng.integers(-4, 5, shaken.shape)
        spare = rng.integers(0, 60, (rng.integers(0, 3), 2)).astype(float)
        boxes = np.concatenate([shaken, np.c_[spare, spare + 20]]).reshape(-1, 4)
        truth.append(own)
        predictions.append((boxes, rng.random(len(boxes)).round(1)))
    return truth, predictions


def pairs(rng: np.random.Generator, count: int, digits: int = 1) -> tuple[Any, Any]:
    """0/1 truths of both kinds and scores with ties."""
    label = rng.integers(0, 2, count)
    label[:2] = 0, 1
    return label, np.clip(rng.normal(0.4 + 0.2 * label, 0.25), 0, 1).round(digits)
