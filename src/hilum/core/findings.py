"""What a model says about a radiograph, in source pixels. Knows no model, no file format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import GeometryError
from hilum.core.geometry import check_boxes

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Boxes, image-level scores and masks of one radiograph.

    All coordinates and masks are in the stored matrix of the radiograph they describe.
    """

    width: int
    height: int
    boxes_px: Float32  # (n, 4) float32 x1, y1, x2, y2
    scores: Float32  # (n,) in [0, 1], highest first
    labels: tuple[str, ...]  # (n,) names of core.labels.VOCABULARY
    image_scores: Mapping[str, float] = field(default_factory=dict)  # e.g. {"opacity": 0.93}
    masks: Mapping[str, Bool] = field(default_factory=dict)  # name -> (height, width)

    def __post_init__(self) -> None:
        check_boxes(self.boxes_px)
        n = len(self.boxes_px)
        if self.scores.shape != (n,) or len(self.labels) != n:
            raise GeometryError(
                f"{n} boxes came with {self.scores.shape} scores and {len(self.labels)} labels"
            )
        if n and not (self.scores.min() >= 0 and self.scores.max() <= 1):
            raise GeometryError("box scores must lie in [0, 1] and not be NaN")
        for name, mask in self.masks.items():
            if mask.shape != (self.height, self.width):
                raise GeometryError(
                    f"mask {name!r} is {mask.shape}; needed: the image, {(self.height, self.width)}"
                )

    def above(self, threshold: float) -> Findings:
        """The same findings with only the boxes of at least `threshold`."""
        keep = self.scores >= threshold
        return Findings(
            self.width,
            self.height,
            self.boxes_px[keep],
            self.scores[keep],
            tuple(np.array(self.labels, dtype=object)[keep]),
            self.image_scores,
            self.masks,
        )


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Scores of one study, combined from its images."""

    study_instance_uid: str | None
    scores: Mapping[str, float]
    images: tuple[int, ...]  # indices into the run's list of images
