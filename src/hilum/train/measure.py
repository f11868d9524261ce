"""What is measured for each arm of the default training, and the settings it is measured with.

Settings come from RSNA validation images and, for COVID-opacity images, from the other folds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from safetensors.torch import load_file

from hilum.core.calibration import ScoreMap
from hilum.core.errors import DataError
from hilum.core.manifest import BOX, Calibration, Decoding, Figure, Manifest, OperatingPoint
from hilum.evaluate import (
    box_hits,
    conformal_sensitivity,
    detection_ap,
    fit_logistic,
    for_best,
    for_best_boxes,
    for_false_marks,
    for_false_positives,
    for_rsna_score,
    for_sensitivity,
)
from hilum.inference.session import RawOutputs
from hilum.train.arm import build_net
from hilum.train.judge import (
    Answer,
    Case,
    baseline_answers,
    box_figures,
    decoded,
    mask_figures,
    pairs,
    raw_outputs,
    rsna_figures,
)
from hilum.train.recipe import Recipe

log = logging.getLogger("hilum.train")

COVID, RSNA, SHENZHEN = "COVID opacity (cross-validated)", "RSNA subset, 128 px", "Shenzhen"
# Candidate decodings: whether the mask's components are fused with the boxes, and how much the
# opacity mask weighs in a box's score.
CHOICES = tuple(
    Decoding(
        mask_weights={"opacity": m},
        component_weights={"opacity": c} if c else {},
        nms_iou=iou,
    )
    for c in (0.0, 1.0, 2.0)
    for m in (0.0, 0.5)
    for iou in (0.3, 0.5)
)


@dataclass(slots=True)
class Held:
    """Held-out images. `folds[k]` are those that fold k of the training left out."""

    validation: list[Case]
    rsna: list[Case]
    shenzhen: list[Case]
    folds: list[list[Case]]

    @property
    def covid(self) -> list[Case]:
        return [case for fold in self.folds for case in fold]


@dataclass(slots=True)
class ArmFigures:
    name: str
    figures: dict[str, Figure]
    cpu_minutes: float
    notes: dict[str, Any] = field(default_factory=dict)


def measure_default(
    recipe: Recipe, arm: Path, held: Held, draft: Manifest
) -> tuple[ArmFigures, dict[str, Any]]:
    """The shipped model's figures, and the settings that the manifest stores."""
    fold_raw = [
        raw_outputs(load_net(recipe, arm / f"fold{k}"), cases) for k, cases in enumerate(held.folds)
    ]
    net = load_net(recipe, arm / "final")
    validation_raw = raw_outputs(net, held.validation)
    covid, chosen = _nested(fold_raw, validation_raw, held, draft)
    plain = draft.model_copy(update={"decoding": chosen})
    validation = decoded(validation_raw, held.validation, plain, masks=False)
    maps = calibration(held, validation, covid)
    validation, covid = calibrated(validation, maps), calibrated(covid, maps)
    points = operating_points(held, validation, covid)
    threshold = points["rsna-score"].threshold
    final = plain.model_copy(update={"calibration": maps})
    test = decoded(raw_outputs(net, held.rsna), held.rsna, final, masks=False)
    lungs = decoded(raw_outputs(net, held.shenzhen), held.shenzhen, final)
    figures = {
        **_named(COVID, box_figures(held.covid, covid, COVID)),
        **_named(COVID, mask_figures(held.covid, covid, "opacity", COVID)),
        **_named(RSNA, box_figures(held.rsna, test, RSNA)),
        **_named(RSNA, rsna_figures(held.rsna, test, threshold, RSNA)),
        **_named(SHENZHEN, mask_figures(held.shenzhen, lungs, "lungs", SHENZHEN)),
    }
    settings = {"decoding": chosen, "calibration": maps, "operating_points": points}
    return ArmFigures("hilum default (fp32)", figures, cpu_minutes(arm)), settings


def _nested(
    fold_raw: list[list[RawOutputs]],
    validation_raw: list[RawOutputs],
    held: Held,
    draft: Manifest,
) -> tuple[list[Answer], Decoding]:
    """Each fold decoded with the choice that is best without it, and the choice best for all.

    Best is the sum of AP@.5 on RSNA validation images and on the COVID-opacity images of the folds
    that are looked at.
    """
    drafts = [draft.model_copy(update={"decoding": choice}) for choice in CHOICES]
    folds = [
        [
            decoded(raw, cases, one, masks=False)
            for raw, cases in zip(fold_raw, held.folds, strict=True)
        ]
        for one in drafts
    ]
    on_rsna = [
        _ap(held.validation, decoded(validation_raw, held.validation, one, masks=False))
        for one in drafts
    ]

    def best(looked_at: Sequence[int]) -> int:
        cases = [case for k in looked_at for case in held.folds[k]]
        values = [
            on_rsna[choice] + _ap(cases, [a for k in looked_at for a in folds[choice][k]])
            for choice in range(len(CHOICES))
        ]
        return int(np.argmax(values))

    every = list(range(len(held.folds)))
    answers: list[Answer] = []
    for k in every:
        choice = best([fold for fold in every if fold != k])
        answers += decoded(fold_raw[k], held.folds[k], drafts[choice])
    return answers, CHOICES[best(every)]


def _ap(cases: Sequence[Case], answers: Sequence[Answer]) -> float:
    return detection_ap(*pairs(cases, answers))


VALIDATION = "RSNA validation"
UNCHOSEN = 0.5
FOLDS = f"{VALIDATION} and out-of-fold COVID opacity"


def calibration(held: Held, validation: list[Answer], covid: list[Answer]) -> Calibration:
    """Finished scores to probabilities, with a shift: findings are rarer than in training.

    A short trial's scores may not rise with the truth; such a score stays as it is.
    """
    told: dict[str, tuple[Any, Any]] = {
        BOX: box_hits(*pairs([*held.validation, *held.covid], [*validation, *covid]))
    }
    for name in validation[0].image:
        truth = [case.kind == name for case in held.validation]
        told[name] = truth, [a.image[name] for a in validation]
    maps: dict[str, tuple[ScoreMap, ...]] = {}
    for name, (truth, scores) in told.items():
        try:
            maps[name] = (fit_logistic(truth, scores),)
        except DataError as error:
            log.warning("%s scores are not calibrated: %s", name, error)
    return Calibration(scores=maps, fitted_on=f"boxes: {FOLDS}; images: {VALIDATION}")


def operating_points(
    held: Held, validation: list[Answer], covid: list[Answer]
) -> dict[str, OperatingPoint]:
    """Thresholds of calibrated scores, chosen before any test image is looked at."""
    both = pairs([*held.validation, *held.covid], [*validation, *covid])
    rsna = pairs(held.validation, validation)
    truth = np.array([case.opacity for case in held.validation])
    score = np.array([answer.opacity for answer in validation])
    patients = np.array([case.patient for case in held.validation])
    image = {
        "sensitivity-95": for_sensitivity(truth, score, 0.95),
        "false-positives-10": for_false_positives(truth, score, 0.10),
        **{f"best-{name}": for_best(truth, score, name) for name in ("f1", "f2", "mcc")},
        "conformal-sensitivity-90": conformal_sensitivity(
            score[truth], 0.9, patients=patients[truth]
        ),
    }
    boxes = {
        "default": _chosen(for_best_boxes, *both),
        "one-false-box": _chosen(for_false_marks, *both, 1.0),
        "rsna-score": _chosen(for_rsna_score, *rsna),
    }
    places = {"default": FOLDS, "one-false-box": FOLDS, "rsna-score": VALIDATION}
    return {
        **{n: p.model_copy(update={"chosen_on": places[n]}) for n, p in boxes.items()},
        **{
            name: point.model_copy(update={"chosen_on": VALIDATION, "score": "opacity"})
            for name, point in image.items()
        },
    }


def _chosen(choose: Callable[..., OperatingPoint], *given: Any) -> OperatingPoint:
    """The point, or, where a short trial found no box to choose by, one that says so."""
    try:
        return choose(*given)
    except DataError as error:
        log.warning("%s", error)
        return OperatingPoint(threshold=UNCHOSEN, reason=f"not chosen: {error}")


def calibrated(answers: Sequence[Answer], by: Calibration) -> list[Answer]:
    """The answers with calibrated scores."""
    return [
        Answer(
            a.boxes,
            by.apply(BOX, a.scores).astype(np.float32),
            {name: float(by.apply(name, score)) for name, score in a.image.items()},
            a.masks,
        )
        for a in answers
    ]


def measure_baseline(recipe: Recipe, arm: Path, held: Held) -> ArmFigures:
    """A torchvision detector's figures: boxes, and its best box as image score."""
    covid: list[Answer] = []
    for k, cases in enumerate(held.folds):
        covid += baseline_answers(load_net(recipe, arm / f"fold{k}"), cases)
    net = load_net(recipe, arm / "final")
    chosen_on = pairs(held.validation, baseline_answers(net, held.validation))
    threshold = _chosen(for_rsna_score, *chosen_on).threshold
    test = baseline_answers(net, held.rsna)
    figures = {
        **_named(COVID, box_figures(held.covid, covid, COVID)),
        **_named(RSNA, box_figures(held.rsna, test, RSNA)),
        **_named(RSNA, rsna_figures(held.rsna, test, threshold, RSNA)),
    }
    return ArmFigures(recipe.name.removeprefix("default-"), figures, cpu_minutes(arm))


def measure_int8(
    manifest: Manifest, fp32: bytes, int8: bytes, held: Held, settings: dict[str, Any]
) -> ArmFigures:
    """The final model in int8 on the fixed hold-outs (the folds have no int8 twin)."""
    session = ort.InferenceSession(int8, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(cases: Sequence[Case]) -> list[Answer]:
        raw = []
        for case in cases:
            values = session.run(names, {"image": case.image[None]})
            raw.append(RawOutputs(**{n: v[0] for n, v in zip(names, values, strict=True)}))
        return decoded(raw, cases, manifest)

    threshold = settings["operating_points"]["rsna-score"].threshold
    test = run(held.rsna)
    figures = {
        **_named(RSNA, box_figures(held.rsna, test, RSNA)),
        **_named(RSNA, rsna_figures(held.rsna, test, threshold, RSNA)),
        **_named(SHENZHEN, mask_figures(held.shenzhen, run(held.shenzhen), "lungs", SHENZHEN)),
    }
    return ArmFigures("hilum default (int8)", figures, 0.0)


def cpu_minutes(arm: Path) -> float:
    """CPU minutes of all stages of an arm."""
    return float(
        sum(json.loads(f.read_text())["cpu_minutes"] for f in sorted(arm.glob("*/cost.json")))
    )


def _named(on: str, figures: dict[str, Figure]) -> dict[str, Figure]:
    return {f"{on}: {name}": figure for name, figure in figures.items()}


def load_net(recipe: Recipe, folder: Path) -> Any:
    """The network of one stage of an arm, ready to judge."""
    net = build_net(recipe)
    net.load_state_dict(load_file(folder / "weights.safetensors"))
    return net.eval()
