"""Which true boxes are found: by size, place and number. Knows boxes and image sizes only.

Sizes are shares of the image, so sets of different resolution can be compared. Left and right
are those of the image: left in it is most often the patient's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.evaluate.cases import Cases
from hilum.evaluate.metrics.boxes import box_table
from hilum.evaluate.metrics.matching import found_truths
from hilum.evaluate.statistics.bootstrap import Interval, bootstrap
from hilum.evaluate.statistics.reweighted import ratio_of

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

SIZES = {"under 3 % of the image": (0.0, 0.03), "3 to 8 %": (0.03, 0.08), "over 8 %": (0.08, 2.0)}
THIRDS = ("upper third", "middle third", "lower third")
SIDES = ("left in the image", "right in the image")
COUNTS = {"1": (1, 1), "2": (2, 2), "3 or more": (3, 10**9)}


@dataclass(frozen=True, slots=True)
class Part:
    """True boxes of one kind and the share of them that was found."""

    kind: str  # size, height, side, boxes in the image
    value: str
    boxes: int
    recall: Interval

    def to_json(self) -> dict[str, Any]:
        head = {"kind": self.kind, "value": self.value, "boxes": self.boxes}
        return {**head, "recall": self.recall.to_json()}


def breakdown(
    cases: Cases, threshold: float, *, iou: float = 0.5, repeats: int = 1000, seed: int = 0
) -> tuple[Part, ...]:
    """Share of true boxes found by boxes of at least `threshold`, part by part.

    Kinds that need the size of the image leave out images of unknown size; empty parts are
    not listed.
    """
    part = cases.where(cases.boxed)
    table = box_table(part.truth, part.shown(threshold))
    image = np.repeat(np.arange(len(part)), table.truths_per_image)
    hit = found_truths(table, iou)
    patients = part.rows["patient"].to_numpy()
    out = []
    for (kind, value), member in _members(part, table.truth, image).items():
        if not member.any():
            continue
        every, hits = (
            np.bincount(image[rows], minlength=len(part)).astype(np.float64)
            for rows in (member, member & hit)
        )
        share = bootstrap(ratio_of(hits, every), patients, repeats=repeats, seed=seed)
        out.append(Part(kind, value, int(member.sum()), share))
    return tuple(out)


def _members(cases: Cases, boxes: Float, image: Int) -> dict[tuple[str, str], Bool]:
    """(kind, value) -> which boxes are of it."""
    sides = cases.rows[["width", "height"]].to_numpy(np.float64)[image]
    known = np.asarray((sides > 0).all(axis=1), np.bool_)
    sides = np.where(known[:, None], sides, 1.0)
    share = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / sides.prod(axis=1)
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2 / sides).T
    third = np.clip((y * 3).astype(np.int64), 0, 2)
    number = np.bincount(image, minlength=len(cases))[image]
    return {
        **{
            ("size", name): known & (share >= low) & (share < high)
            for name, (low, high) in SIZES.items()
        },
        **{("height", name): known & (third == i) for i, name in enumerate(THIRDS)},
        **{("side", name): known & ((x >= 0.5) == bool(i)) for i, name in enumerate(SIDES)},
        **{
            ("boxes in the image", name): (number >= low) & (number <= high)
            for name, (low, high) in COUNTS.items()
        },
    }
