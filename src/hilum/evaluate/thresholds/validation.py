"""What is settled on a validation part before the test part is looked at.

Targets become operating points, scores become probabilities; both are then applied to other
cases. Knows no bundle and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.core.manifest import BOX, Calibration, OperatingPoint
from hilum.data.split import person
from hilum.evaluate.cases import Cases
from hilum.evaluate.thresholds.calibration import (
    FITS,
    box_hits,
    conformal_missed_boxes,
    conformal_sensitivity,
)
from hilum.evaluate.thresholds.operating_points import (
    for_best,
    for_best_boxes,
    for_false_marks,
    for_false_positives,
    for_rsna_score,
    for_sensitivity,
)

Float = NDArray[np.float64]
Level = Literal["image", "boxes"]


@dataclass(frozen=True, slots=True)
class Target:
    """An aim by its name on the command line."""

    level: Level
    value: float | None  # what stands after "=" if nothing does; None takes no value
    point: Callable[[Cases, float], OperatingPoint]


def _image(
    choose: Callable[[Float, Float, float], OperatingPoint],
) -> Callable[..., OperatingPoint]:
    def point(cases: Cases, value: float) -> OperatingPoint:
        rows = cases.labelled
        return choose(cases.label[rows], cases.score[rows], value)

    return point


def _conformal(cases: Cases, value: float) -> OperatingPoint:
    rows = cases.label == 1
    patients = cases.rows["patient"].to_numpy()[rows]
    return conformal_sensitivity(cases.score[rows], value, patients=patients)


def _missed(cases: Cases, value: float) -> OperatingPoint:
    part = cases.where(cases.boxed)
    patients = part.rows["patient"].to_numpy()
    return conformal_missed_boxes(part.truth, part.predictions, value, patients=patients)


def _boxes(choose: Callable[..., OperatingPoint]) -> Callable[..., OperatingPoint]:
    def point(cases: Cases, value: float) -> OperatingPoint:
        part = cases.where(cases.boxed)
        return choose(part.truth, part.predictions, value)

    return point


TARGETS: dict[str, Target] = {
    "sensitivity": Target("image", 0.95, _image(for_sensitivity)),
    "false-positives": Target("image", 0.10, _image(for_false_positives)),
    "best-f1": Target("image", None, _image(lambda y, s, _: for_best(y, s, "f1"))),
    "best-f2": Target("image", None, _image(lambda y, s, _: for_best(y, s, "f2"))),
    "best-mcc": Target("image", None, _image(lambda y, s, _: for_best(y, s, "mcc"))),
    "conformal-sensitivity": Target("image", 0.90, _conformal),
    "false-boxes": Target("boxes", 1.0, _boxes(for_false_marks)),
    "best-boxes-f1": Target("boxes", None, _boxes(lambda t, p, _: for_best_boxes(t, p, "f1"))),
    "best-boxes-f2": Target("boxes", None, _boxes(lambda t, p, _: for_best_boxes(t, p, "f2"))),
    "rsna-score": Target("boxes", None, _boxes(lambda t, p, _: for_rsna_score(t, p))),
    "conformal-missed-boxes": Target("boxes", 0.10, _missed),
}


def parse_target(text: str) -> tuple[str, float]:
    """ "sensitivity=.95" -> its name and number; the number may be missing.

    Raises:
        ConfigError: unknown target, a number missing its meaning, or no number.
    """
    name, equals, number = text.partition("=")
    if name not in TARGETS:
        raise ConfigError(f"unknown target {name!r}; known: {', '.join(TARGETS)}")
    usual = TARGETS[name].value
    if not equals:
        return name, usual or 0.0
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if usual is None or not 0 <= value < float("inf"):
        needed = "no number" if usual is None else f"a number, such as {name}={usual:g}"
        raise ConfigError(f"target {text!r}: needed: {needed}")
    return name, value


def choose(text: str, cases: Cases, chosen_on: str) -> OperatingPoint:
    """The operating point of a target such as "sensitivity=.95" on validation cases.

    Raises:
        ConfigError: unknown target.
        DataError: no threshold reaches it, or the cases lack what it needs.
    """
    name, value = parse_target(text)
    target = TARGETS[name]
    try:
        point = target.point(cases, value)
    except DataError as error:
        raise DataError(f"target {text}: {error}") from None
    score = BOX if target.level == "boxes" else cases.finding
    return point.model_copy(update={"chosen_on": chosen_on, "score": score})


def calibrate(
    cases: Cases, kind: str, chosen_on: str, studies: tuple[Float, Float] | None = None
) -> Calibration:
    """Maps of box scores (does it find a true box at IoU .5?), image scores and study scores.

    What has no truth, or truths of one kind only, is left as it is.

    Args:
        kind: "temperature", "logistic" or "isotonic".
        studies: truths and scores of studies, if they are to be calibrated.

    Raises:
        ConfigError: unknown kind.
        DataError: nothing can be calibrated.
    """
    if kind not in FITS:
        raise ConfigError(f"unknown calibration {kind!r}; known: {', '.join(FITS)}")
    part = cases.where(cases.boxed)
    sets: dict[str, tuple[Float, Float]] = {}
    if len(part):
        sets[BOX] = box_hits(part.truth, part.predictions)
    sets[cases.finding] = cases.label[cases.labelled], cases.score[cases.labelled]
    if studies is not None:
        sets[f"study:{cases.finding}"] = studies
    maps = {
        name: (FITS[kind](truth, score),)
        for name, (truth, score) in sets.items()
        if len(truth) and 0 < np.mean(truth) < 1
    }
    if not maps:
        raise DataError("calibration needs true and false scores; the validation cases lack one")
    return Calibration.model_validate({"scores": maps, "fitted_on": chosen_on})


def calibrated(cases: Cases, by: Calibration) -> Cases:
    """The cases with calibrated scores."""
    return replace(
        cases,
        predictions=[(boxes, by.apply(BOX, scores)) for boxes, scores in cases.predictions],
        score=by.apply(cases.finding, cases.score),
    )


def check_apart(chosen_on: Cases, evaluated: Cases) -> None:
    """Raises DataError if a patient is in both parts."""
    both = set(chosen_on.rows["patient"].map(person)) & set(evaluated.rows["patient"].map(person))
    if both:
        raise DataError(
            f"{len(both)} patients, {min(both)!r} first, are in the validation and in the "
            "evaluated part; name a --part without them"
        )


def by_level(points: Sequence[OperatingPoint]) -> dict[Level, OperatingPoint]:
    """The chosen points, by what they are of.

    Raises:
        ConfigError: two targets of one level.
    """
    chosen: dict[Level, OperatingPoint] = {}
    for point in points:
        level: Level = "boxes" if point.score == BOX else "image"
        if level in chosen:
            raise ConfigError(
                f"two targets for {level}: {chosen[level].reason}; {point.reason}. A report has "
                "one operating point for boxes and one for images"
            )
        chosen[level] = point
    return chosen
