"""What is left of predictions after thresholds, in source pixels. Knows no model and no file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import GeometryError
from hilum.core.geometry import check_scored
from hilum.core.labels import ANATOMY

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


class LateMasks(Mapping[str, Bool]):
    """Masks that are made when first looked at, and kept: many runs look at none.

    Travels to other processes as a plain dict.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Bool]], width: int, height: int) -> None:
        self._makers, self._shape = dict(makers), (height, width)
        self._made: dict[str, Bool] = {}

    def __getitem__(self, name: str) -> Bool:
        if name not in self._made:
            mask = self._makers[name]()
            _check_shape(name, mask, self._shape)
            self._made[name] = mask
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def _check_shape(name: str, mask: Bool, needed: tuple[int, int]) -> None:
    if mask.shape != needed:
        raise GeometryError(f"mask {name!r} is {mask.shape}; needed: the image, {needed}")


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One finding: what, how sure, where."""

    id: str  # the same for the same label at the same place; unique in its image
    label: str
    score: float
    box_px: tuple[float, float, float, float]  # x1, y1, x2, y2
    mask: Bool | None = None  # the part of its label's mask in the whole pixels of the box


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Boxes, image-level scores and masks of one radiograph.

    All coordinates and masks are in the stored matrix of the radiograph they describe.
    """

    width: int
    height: int
    boxes_px: Float32  # (n, 4) float32 x1, y1, x2, y2
    scores: Float32  # (n,) in [0, 1], highest first
    labels: tuple[str, ...]  # (n,) names, core.labels knows codes of some
    image_scores: Mapping[str, float] = field(default_factory=dict)  # e.g. {"opacity": 0.93}
    masks: Mapping[str, Bool] = field(default_factory=dict)  # name -> (height, width)
    # Models that were not asked, and why: no boxes of theirs, an empty mask. Not a negative answer.
    declined: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_scored(self.boxes_px, self.scores, self.labels)
        if not isinstance(self.masks, LateMasks):  # they look for themselves
            for name, mask in self.masks.items():
                _check_shape(name, mask, (self.height, self.width))

    def __iter__(self) -> Iterator[Finding]:
        rows = zip(self.ids, self.labels, self.scores, self.boxes_px, strict=True)
        for name, label, score, box in rows:
            x1, y1, x2, y2 = (float(edge) for edge in box)
            yield Finding(
                id=name,
                label=label,
                score=float(score),
                box_px=(x1, y1, x2, y2),
                mask=self._inside(label, box),
            )

    @property
    def ids(self) -> tuple[str, ...]:
        """(n,) stable names of the findings: of label and place, as findings.json rounds it."""
        return finding_ids(self.labels, self.boxes_px)

    @property
    def marked(self) -> tuple[str, ...]:
        """What is marked on the image: each box, and each finding with an outline and no box.
        Where it is empty, and only there, nothing was found."""
        outlined = (
            name
            for name, mask in self.masks.items()
            if name not in ANATOMY and name not in self.labels and mask.any()
        )
        return (*self.labels, *outlined)

    @property
    def lead(self) -> float:
        """The one number of a list: the image's score for opacity, else that of its surest box."""
        return float(self.image_scores.get("opacity", max([*map(float, self.scores), 0.0])))

    def above(self, threshold: float) -> Self:
        """The same findings with only the boxes of at least `threshold`."""
        keep = np.flatnonzero(self.scores >= threshold)
        return replace(
            self,
            boxes_px=self.boxes_px[keep],
            scores=self.scores[keep],
            labels=tuple(self.labels[row] for row in keep),
        )

    def _inside(self, label: str, box: Float32) -> Bool | None:
        if label not in self.masks:
            return None
        (x1, y1), (x2, y2) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        return self.masks[label][y1:y2, x1:x2]


def finding_ids(labels: Sequence[str], boxes_px: NDArray[Any]) -> tuple[str, ...]:
    """(n,) names of label and place (n, 4), unique among them and the same in every run."""
    names: list[str] = []
    for label, box in zip(labels, boxes_px, strict=True):
        place = ",".join(f"{round(float(edge), 2):.2f}" for edge in box)
        names.append(hashlib.sha256(f"{label} {place}".encode()).hexdigest()[:12])
    seen: dict[str, int] = {}
    for index, name in enumerate(names):  # two findings at one place
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[index] = f"{name}-{seen[name]}"
    return tuple(names)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Scores of one study, combined from its images."""

    study_instance_uid: str | None
    scores: Mapping[str, float]
    images: tuple[int, ...]  # indices into the run's list of images
