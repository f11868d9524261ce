"""Occlusion (Zeiler and Fergus 2014): hide a part of the image, look what the score loses.

Works with every bundle that has an image score or boxes, in ONNX Runtime alone. A part is hidden
by its own blurred surroundings: a black or grey square is a sight that no network has learnt.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import ConfigError
from hilum.core.manifest import Manifest
from hilum.core.options import unknown
from hilum.core.prepare import prepare
from hilum.core.radiograph import Radiograph
from hilum.explain.heat import Heat
from hilum.inference.predictor import Predictor

Float32 = NDArray[np.float32]
METHOD = "occlusion"
PART, STEPS = 6, 14  # a part is a sixth of the side; so many positions a side
BEST_BOX = "box"  # the score of the best box, where there is no image score


def occlusion(
    predictor: Predictor, radiograph: Radiograph, score: str | None = None, *, steps: int = STEPS
) -> Heat:
    """What the score of one image rests on.

    Args:
        score: an image score of the bundle, or "box" for the best box; None: the bundle's
            positive score, else "box".
        steps: positions a side; the square of it is how often the network is asked.

    Raises:
        ConfigError: the bundle has no such score.
    """
    name = score_of(predictor, score)
    image, frame = prepare(radiograph, predictor.preprocessing)

    def ask(square: Float32) -> float:
        prediction = predictor.decoder(predictor.session.run(square), frame)
        if name == BEST_BOX:
            return float(prediction.boxes.scores.max(initial=0.0)) if prediction.boxes else 0.0
        return float(prediction.image_scores[name])

    whole = ask(image)
    return Heat(
        score_name=name,
        score=whole,
        method=METHOD,
        grid=losses(image, ask, whole, steps),
        frame=frame,
    )


def losses(image: Float32, ask: Callable[[Float32], float], whole: float, steps: int) -> Float32:
    """(steps, steps) mean loss of the score over all hidden parts that cover a place.

    Args:
        image: (1, S, S) what the network sees.
        whole: its score.
    """
    side = image.shape[-1]
    half = max(1, side // PART // 2)
    hidden = cv2.GaussianBlur(image[0], (0, 0), side / 12)
    centres = (np.arange(steps) + 0.5) * side / steps
    total, count = np.zeros((steps, steps)), np.zeros((steps, steps))
    for y in centres:
        for x in centres:
            top, left = max(0, round(y) - half), max(0, round(x) - half)
            bottom, right = round(y) + half, round(x) + half
            changed = image.copy()
            changed[0, top:bottom, left:right] = hidden[top:bottom, left:right]
            loss = whole - ask(changed)
            rows, columns = (
                (centres >= low) & (centres < high) for low, high in ((top, bottom), (left, right))
            )
            total[np.ix_(rows, columns)] += loss
            count[np.ix_(rows, columns)] += 1
    return np.asarray(total / np.maximum(count, 1), np.float32)


def score_of(predictor: Predictor, score: str | None) -> str:
    """The name of the score that is explained.

    Raises:
        ConfigError: the bundle has no such score.
    """
    manifest = predictor.bundle.manifest
    known = scores_of(manifest)
    if score is None and known:
        return manifest.positive or known[-1]
    if score not in known:
        raise ConfigError(unknown("score", str(score), known))
    return score


def scores_of(manifest: Manifest) -> list[str]:
    """What can be explained: image scores, and that of the best box."""
    return [*manifest.image_scores, *([BEST_BOX] if manifest.has_boxes else [])]
