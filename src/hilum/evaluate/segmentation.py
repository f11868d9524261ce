"""Masks of a catalog against those of a run, image by image; the smallest component worth keeping.

Only images where both exist are compared, at the size of the catalog's image; distances are in
its pixels, because a catalog does not say how large a pixel is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.evaluate.answers import Answers
from hilum.evaluate.metrics.masks import hausdorff, overlaps
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile
from hilum.evaluate.statistics.bootstrap import Interval, bootstrap
from hilum.evaluate.statistics.reweighted import mean_of
from hilum.evaluate.truth import ImageTruth

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]
Open = Callable[[int, int], Bool]  # of height and width

SIDE = 1024  # at which sizes of components are counted, as in the challenge
SIZES = (0, 250, 500, 1000, 1750, 2500, 3000, 3500, 4500, 6000, 9000)  # px at 1024


@dataclass(frozen=True, slots=True, eq=False)
class MaskCase:
    """One image with both masks of one name."""

    image_id: str
    patient: str
    height: int
    width: int
    truth: Open
    mask: Open
    score: float  # of the image, NaN without one

    def both(self) -> tuple[Bool, Bool]:
        return self.truth(self.height, self.width), self.mask(self.height, self.width)


@dataclass(frozen=True, slots=True, eq=False)
class SizeSweep:
    """Mean Dice when components under a size are removed (E7), with and without a gate."""

    sizes: tuple[int, ...]  # px at 1024
    plain: tuple[Interval, ...]
    gated: tuple[Interval, ...]  # images under the threshold have an empty mask; () without scores
    threshold: float  # of the gate

    def to_json(self) -> dict[str, Any]:
        return {
            "sizes_px_at_1024": list(self.sizes),
            "without_gate": [v.to_json() for v in self.plain],
            "with_gate": [v.to_json() for v in self.gated],
            "gate_threshold": self.threshold,
        }


@dataclass(frozen=True, slots=True)
class MaskEvaluation:
    """How well one kind of mask agrees, as means over images."""

    name: str
    images: int
    one_empty: int  # images with one of the two masks empty: no distance, Dice 0
    both_empty: int  # Dice 1
    numbers: dict[str, Interval]  # as `mask_scores`
    sweep: SizeSweep | None = field(default=None)
    each: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # image -> its numbers
    cases: Mapping[str, MaskCase] = field(default_factory=dict)  # image -> its masks

    def to_json(self) -> dict[str, Any]:
        counts = ("name", "images", "one_empty", "both_empty")
        return {
            **{key: getattr(self, key) for key in counts},
            **{name: value.to_json() for name, value in self.numbers.items()},
            "component_sizes": self.sweep.to_json() if self.sweep else None,
        }


def evaluate_masks(
    truths: Sequence[ImageTruth],
    answers: Answers,
    predictions: PredictionFile,
    *,
    threshold: float = 0.5,
    repeats: int = 1000,
    seed: int = 0,
) -> tuple[MaskEvaluation, ...]:
    """Each kind of mask that catalog and run have.

    Args:
        threshold: of the gate: images whose score of the mask's name is lower have an empty mask
            in the second half of the size sweep.

    Raises:
        DataError: a mask that cannot be read, or of an image of unknown size.
    """
    out = []
    for name in dict.fromkeys(name for truth in truths for name in truth.masks):
        cases = list(_cases(name, truths, answers, predictions))
        if cases:
            out.append(_of_name(name, cases, threshold, repeats=repeats, seed=seed))
    return tuple(out)


def _cases(
    name: str, truths: Sequence[ImageTruth], answers: Answers, predictions: PredictionFile
) -> Iterator[MaskCase]:
    for truth, image in zip(truths, answers.images, strict=True):
        if image is None or name not in truth.masks or name not in image.entry.get("masks", {}):
            continue
        height, width = _frame(truth, image)
        yield MaskCase(
            image_id=truth.image_id,
            patient=truth.patient,
            height=height,
            width=width,
            truth=truth.masks[name],
            mask=partial(predictions.mask, image, name),
            score=float(image.whole.get(name, float("nan"))),
        )


def _frame(truth: ImageTruth, image: ImagePredictions) -> tuple[int, int]:
    """Height and width of the catalog's image, else as the run states them."""
    if min(truth.width, truth.height) > 0:
        return truth.height, truth.width
    if image.size is None:
        raise DataError(
            f"{truth.image_id}: neither catalog nor findings.json states the image's size; its "
            "masks cannot be compared"
        )
    return image.size[1], image.size[0]


def _of_name(
    name: str, cases: Sequence[MaskCase], threshold: float, *, repeats: int, seed: int
) -> MaskEvaluation:
    scores, parts, empty = [], [], []
    for case in cases:
        truth, mask = case.both()
        scores.append(mask_scores(truth, mask))
        parts.append(_components(truth, mask))
        empty.append((not truth.any(), not mask.any()))
    patients = np.array([case.patient for case in cases])

    def interval(values: Sequence[float] | Float) -> Interval:
        return bootstrap(mean_of(values), patients, repeats=repeats, seed=seed)

    numbers = {key: interval([one[key] for one in scores]) for key in scores[0]}
    gate = np.array([case.score for case in cases])
    opened = None if np.isnan(gate).any() else gate >= threshold
    return MaskEvaluation(
        name=name,
        images=len(cases),
        one_empty=sum(a != b for a, b in empty),
        both_empty=sum(a and b for a, b in empty),
        numbers=numbers,
        sweep=SizeSweep(
            sizes=SIZES,
            plain=tuple(interval([p.dice(size) for p in parts]) for size in SIZES),
            gated=tuple(
                interval([p.dice(size, keep) for p, keep in zip(parts, opened, strict=True)])
                for size in SIZES
            )
            if opened is not None
            else (),
            threshold=threshold,
        ),
        each={case.image_id: one for case, one in zip(cases, scores, strict=True)},
        cases={case.image_id: case for case in cases},
    )


def mask_scores(truth: Bool, mask: Bool) -> dict[str, float]:
    """Numbers of one image; the distance is NaN if one mask is empty, 0 if both are."""
    far = hausdorff(truth, mask, percentile=95)
    return {**overlaps(truth, mask), "hd95_px": far if np.isfinite(far) else float("nan")}


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The parts of one predicted mask, so that every size is tried without its pixels."""

    area: Float  # (k,) px of the image
    overlap: Float  # (k,) px that are true, too
    true: float  # px
    scale: float  # px at 1024 for each px of the image

    def dice(self, size: float, opened: bool = True) -> float:
        """Dice without parts under `size` px at 1024; a closed gate leaves nothing."""
        keep = (self.area * self.scale >= size) & bool(opened)
        total = self.true + float(self.area[keep].sum())
        return 2 * float(self.overlap[keep].sum()) / total if total else 1.0


def _components(truth: Bool, mask: Bool) -> Components:
    """Eight-connected parts."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    area = np.bincount(labels.ravel(), minlength=count)[1:]
    overlap = np.bincount(labels[truth], minlength=count)[1:]
    return Components(
        area=area.astype(np.float64),
        overlap=overlap.astype(np.float64),
        true=float(truth.sum()),
        scale=SIDE**2 / mask.size,
    )
