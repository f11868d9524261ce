"""Shortcut checks: what is left of a bundle's image score when the disease is hidden.

A network may tell ill from well by posture, devices, markers or the hospital's processing (Zech et
al. 2018, DeGrave et al. 2021). So the lungs are hidden, all but the border is, the corners with the
markers are; the source is told from the image alone; and scores are compared between sources within
one class. Knows no network: it asks for the score of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.core.geometry import Letterbox
from hilum.evaluate.metrics.curves import auc as auc_of

Float = NDArray[np.float32]
MOST = 200  # images of a source: enough for a second decimal
BORDER = 1 / 8  # of each side, all that is left of an image by its border
CORNER = 0.17  # of each side: where the markers of the side are
LEAST = 20  # images of a kind, below which nothing is said


@dataclass(frozen=True, slots=True)
class Asked:
    """One held-out image: what the bundle sees, and what it says."""

    image: Float  # (1, S, S)
    frame: Letterbox
    source: str
    present: float  # 1 with the finding, 0 without, NaN unknown
    lungs: NDArray[np.bool_] | None  # (S, S) as the bundle outlines them, widened


@dataclass(frozen=True, slots=True)
class Shortcuts:
    """`auc`: source -> what was hidden -> AUC, with "images"; `medians`: source -> class -> median
    score; `source_accuracy`: how often the source is told from the image, and from nothing."""

    auc: Mapping[str, Mapping[str, float]]
    medians: Mapping[str, Mapping[str, float]]
    source_accuracy: tuple[float, float] | None


def shortcuts(images: Sequence[Asked], score: Callable[[Float], float]) -> Shortcuts:
    """Ask the bundle again with parts of the images hidden.

    Args:
        score: (1, S, S) -> the positive score.
    """
    auc, medians = {}, {}
    for source in dict.fromkeys(one.source for one in images):
        own = [one for one in images if one.source == source and one.present == one.present][:MOST]
        truth = np.array([one.present for one in own]) == 1
        if min(truth.sum(), (~truth).sum()) < LEAST:
            continue
        seen = {"as it is": [score(one.image) for one in own]}
        for name, hide in HIDDEN.items():
            changed = [hide(one) for one in own]
            if all(image is not None for image in changed):
                seen[name] = [score(image) for image in changed if image is not None]
        auc[source] = {k: auc_of(truth, np.array(v)) for k, v in seen.items()} | {
            "images": len(own)
        }
        plain = np.array(seen["as it is"])
        medians[source] = {
            "without": float(np.median(plain[~truth])),
            "with": float(np.median(plain[truth])),
        }
    return Shortcuts(auc, medians, source_accuracy_of(images))


def without_lungs(one: Asked) -> Float | None:
    """The lungs filled with the median of the rest."""
    if one.lungs is None or not one.lungs.any() or one.lungs.all():
        return None if one.lungs is None else one.image
    out = one.image.copy()
    out[0][one.lungs] = np.median(one.image[0][~one.lungs])
    return out


def border_only(one: Asked) -> Float:
    """All but the border filled with the median."""
    x, y, width, height = one.frame.inner
    left, top = round(width * BORDER), round(height * BORDER)
    out = one.image.copy()
    out[0, y + top : y + height - top, x + left : x + width - left] = np.median(one.image)
    return out


def corners_covered(one: Asked) -> Float:
    """Both upper corners black."""
    x, y, width, height = one.frame.inner
    w, h = round(width * CORNER), round(height * CORNER)
    out = one.image.copy()
    black = one.image.min()
    out[0, y : y + h, x : x + w] = black
    out[0, y : y + h, x + width - w : x + width] = black
    return out


HIDDEN: dict[str, Callable[[Asked], Float | None]] = {
    "lungs hidden": without_lungs,
    "border only": border_only,
    "upper corners covered": corners_covered,
}


def source_accuracy_of(images: Sequence[Asked]) -> tuple[float, float] | None:
    """(accuracy of a logistic regression on 16 x 16 px and grey values, share of the commonest
    source) on every second image; None with a single source."""
    import cv2
    from sklearn.linear_model import LogisticRegression

    names = [one.source for one in images]
    few: dict[str, list[Asked]] = {}
    for one in images:
        few.setdefault(one.source, []).append(one)
    kept = [(k, v[:MOST]) for k, v in few.items() if len(v) >= LEAST]
    if len(kept) < 2 or not names:
        return None
    features, label, half = [], [], []
    for number, (_, own) in enumerate(kept):
        for place, one in enumerate(own):
            small = cv2.resize(one.image[0], (16, 16), interpolation=cv2.INTER_AREA).ravel()
            grey = np.histogram(one.image, 16, (-1, 1))[0] / one.image.size
            features.append(np.concatenate([small, grey]))
            label.append(number)
            half.append(place % 2)
    x, y, test = np.array(features), np.array(label), np.array(half) == 1
    model = LogisticRegression(max_iter=500, C=0.1).fit(x[~test], y[~test])
    share = float((model.predict(x[test]) == y[test]).mean())
    return share, float(np.bincount(y[test]).max() / test.sum())
