"""What is settled on validation images before a bundle ships: decoding, calibration, operating
points.

One choice of each, for every kind of network; a test part is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hilum.core.calibration import ScoreMap
from hilum.core.errors import DataError
from hilum.core.findings import Findings
from hilum.core.manifest import BOX, Calibration, Decoding, Manifest, OperatingPoint
from hilum.core.progress import say
from hilum.evaluate.cases import Cases
from hilum.evaluate.metrics.detection import detection_ap
from hilum.evaluate.thresholds.calibration import fit_exclusive
from hilum.evaluate.thresholds.validation import calibrate, choose
from hilum.inference.decode import Decoder
from hilum.inference.session import RawOutputs
from hilum.train.evaluation import HeldOut, cases_of_held_out, decoded

WHERE = "validation"
UNCHOSEN = 0.5
BOX_AIMS = {
    "default": "best-boxes-f1",
    "one-false-box": "false-boxes=1",
    "rsna-score": "rsna-score",
}
IMAGE_AIMS = {
    "sensitivity-95": "sensitivity=0.95",
    "false-positives-10": "false-positives=0.10",
    "best-f1": "best-f1",
    "best-f2": "best-f2",
    "best-mcc": "best-mcc",
    "conformal-sensitivity-90": "conformal-sensitivity=0.90",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the manifest stores of it."""

    decoding: Decoding
    calibration: Calibration | None
    operating_points: dict[str, OperatingPoint]

    def fields(self) -> dict[str, Any]:
        return {
            "decoding": self.decoding,
            "calibration": self.calibration,
            "operating_points": self.operating_points,
        }


def settle(
    held_out: HeldOut, raw: Sequence[RawOutputs], plain: Manifest, *, nms_iou: float | None = None
) -> Settings:
    """Choose everything on the validation images.

    Args:
        raw: what the network says of them.
        plain: the manifest to decode with, uncalibrated.
        nms_iou: asked for; None: chosen, too.
    """
    if not held_out.images:
        return Settings(plain.decoding, None, {})
    # Classes first: the positive one may have a weight in the score of a box.
    plain = _with(plain, calibration=of_classes(held_out, raw, plain))
    plain = _with(plain, decoding=best_decoding(held_out, raw, plain, nms_iou))
    answers = decoded(Decoder(plain), raw, held_out.images)
    final = _with(plain, calibration=of_scores(held_out, answers, plain))
    answers = decoded(Decoder(final), raw, held_out.images)
    return Settings(final.decoding, final.calibration, operating_points(held_out, answers, final))


def choices(manifest: Manifest, nms_iou: float | None = None) -> list[Decoding]:
    """Candidate decodings: whether boxes are voted on, and what one inside a stronger one keeps of
    its score; with a positive class its weight in a box's
    score; with a mask of a box label's name that of its components fused with the boxes; with one
    of these the overlap, too. Without boxes the recipe's own."""
    own = manifest.decoding
    if not manifest.labels:
        return [own]
    both = [name for name in manifest.labels if name in manifest.masks]
    positive = manifest.positive if manifest.positive in manifest.global_classes else None
    overlaps = (0.4, 0.5) if both or positive else (own.nms_iou,)
    return [
        own.model_copy(
            update={
                "component_weights": dict.fromkeys(both, component) if component else {},
                "image_weights": {positive: image} if positive and image else {},
                "nms_iou": iou,
                "vote_iou": vote,
                "nested_weight": inside,
            }
        )
        for component in ((0.0, 0.5, 1.0) if both else (0.0,))
        for image in ((0.0, 0.25, 0.5) if positive else (0.0,))
        for iou in (overlaps if nms_iou is None else (nms_iou,))
        for vote in (None, 0.6)
        for inside in (1.0, 0.5, 0.3)
    ]


def best_decoding(
    held_out: HeldOut, raw: Sequence[RawOutputs], plain: Manifest, nms_iou: float | None = None
) -> Decoding:
    """The candidate with the highest AP at IoU .5, see `box_ap`."""
    candidates = choices(plain, nms_iou)
    if len(candidates) == 1:
        return candidates[0]
    values = []
    for one in candidates:
        answers = decoded(Decoder(_with(plain, decoding=one)), raw, held_out.images, masks=False)
        values.append(sum(box_ap(held_out, answers, label) for label in plain.labels))
    return candidates[max(range(len(values)), key=values.__getitem__)]


def box_ap(held_out: HeldOut, answers: Sequence[Findings], label: str) -> float:
    """AP at IoU .5 of one label, the mean over sources by their true boxes: a source of nine images
    has little to say. 0 where no box is true."""
    cases = cases_of_held_out(held_out, answers, label)
    origin = np.array([image.source for image in held_out.images])
    values, boxes = [], []
    for source in dict.fromkeys(origin):
        part = cases.where(cases.boxed & (origin == source))
        if count := sum(map(len, part.truth)):
            values.append(float(detection_ap(part.truth, part.predictions)))
            boxes.append(count)
    return float(np.average(values, weights=boxes)) if values else 0.0


def of_classes(
    held_out: HeldOut, raw: Sequence[RawOutputs], manifest: Manifest
) -> Calibration | None:
    """The logits of classes that exclude one another, together: they stay a sum of 1. Those of a
    short trial may not rise with the truth; such stay as they are."""
    names = manifest.global_classes
    logits = [one.global_logits for one in raw if one.global_logits is not None]
    if not logits or not names:
        return None
    labels = [[truth.label(name) for name in names] for truth in held_out.truths]
    try:
        temperature, bias = fit_exclusive(logits, labels)
    except DataError as error:
        say("the classes %s are not calibrated: %s", ", ".join(names), error)
        return None
    return Calibration(global_temperature=temperature, global_bias=bias, fitted_on=WHERE)


def of_scores(
    held_out: HeldOut, answers: Sequence[Findings], manifest: Manifest
) -> Calibration | None:
    """And finished scores, each by itself: of boxes, and of findings that exclude nothing."""
    alone = [n for n, of in manifest.image_scores.items() if of in manifest.findings]
    maps: dict[str, tuple[ScoreMap, ...]] = {}
    for name in dict.fromkeys((*manifest.labels[:1], *alone)):
        try:
            fitted = calibrate(cases_of_held_out(held_out, answers, name), "logistic", WHERE)
        except DataError as error:
            say("%s scores are not calibrated: %s", name, error)
            continue
        wanted = {BOX, *alone} if name in manifest.labels else {name}
        maps |= {k: v for k, v in fitted.scores.items() if k in wanted and k not in maps}
    if not manifest.labels:
        maps.pop(BOX, None)
    if not maps:
        return manifest.calibration
    return (manifest.calibration or Calibration()).model_copy(
        update={"scores": maps, "fitted_on": WHERE}
    )


def operating_points(
    held_out: HeldOut, answers: Sequence[Findings], manifest: Manifest
) -> dict[str, OperatingPoint]:
    """Thresholds of calibrated scores: of boxes, of the positive score, and of each finding."""
    out: dict[str, OperatingPoint] = {}
    if manifest.labels:
        cases = cases_of_held_out(held_out, answers, manifest.labels[0])
        out |= _points(BOX_AIMS, cases)
        out.setdefault(
            "default",
            OperatingPoint(threshold=UNCHOSEN, reason="not chosen: no box to choose by"),
        )
    positive = manifest.positive
    if positive is not None:
        out |= _points(IMAGE_AIMS, cases_of_held_out(held_out, answers, positive))
    for name in manifest.findings:
        if name != positive:
            aims = {f"best-mcc-{name}".lower(): "best-mcc"}
            out |= _points(aims, cases_of_held_out(held_out, answers, name))
    return out


def _points(aims: dict[str, str], cases: Cases) -> dict[str, OperatingPoint]:
    out = {}
    for name, aim in aims.items():
        try:
            out[name] = choose(aim, cases, WHERE)
        except DataError as error:
            say("%s: %s", name, error)
    return out


def _with(manifest: Manifest, **changes: Any) -> Manifest:
    return manifest.model_copy(update=changes)
