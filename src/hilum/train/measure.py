"""What is measured for each arm of the default training, and the settings it is measured with.

Settings come from RSNA validation films and, for COVID-opacity films, from the other folds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from safetensors.torch import load_file

from hilum.core.geometry import iou_matrix
from hilum.core.manifest import Decoding, Figure, Manifest, OperatingPoint
from hilum.evaluate import detection_ap
from hilum.predict.session import RawOutputs
from hilum.train.arm import build_net
from hilum.train.export import OUTPUTS
from hilum.train.judge import (
    Answer,
    Case,
    baseline_answers,
    best_rsna_threshold,
    box_figures,
    decoded,
    mask_figures,
    raw_outputs,
    rsna_figures,
)
from hilum.train.recipe import Recipe

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
    """Held-out films. `folds[k]` are those that fold k of the training left out."""

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
        raw_outputs(_net(recipe, arm / f"fold{k}"), cases) for k, cases in enumerate(held.folds)
    ]
    net = _net(recipe, arm / "final")
    validation_raw = raw_outputs(net, held.validation)
    covid, chosen = _nested(fold_raw, validation_raw, held, draft)
    final = draft.model_copy(update={"decoding": chosen})
    validation = decoded(validation_raw, held.validation, final, masks=False)
    threshold = best_rsna_threshold(held.validation, validation)
    test = decoded(raw_outputs(net, held.rsna), held.rsna, final, masks=False)
    lungs = decoded(raw_outputs(net, held.shenzhen), held.shenzhen, final)
    figures = {
        **_named(COVID, box_figures(held.covid, covid, COVID)),
        **_named(COVID, mask_figures(held.covid, covid, "opacity", COVID)),
        **_named(RSNA, box_figures(held.rsna, test, RSNA)),
        **_named(RSNA, rsna_figures(held.rsna, test, threshold, RSNA)),
        **_named(SHENZHEN, mask_figures(held.shenzhen, lungs, "lungs", SHENZHEN)),
    }
    settings = {
        "decoding": chosen,
        "operating_points": operating_points(held, validation, covid, threshold),
    }
    return ArmFigures("hilum default (fp32)", figures, cpu_minutes(arm)), settings


def _nested(
    fold_raw: list[list[RawOutputs]],
    validation_raw: list[RawOutputs],
    held: Held,
    draft: Manifest,
) -> tuple[list[Answer], Decoding]:
    """Each fold decoded with the choice that is best without it, and the choice best for all.

    Best is the sum of AP@.5 on RSNA validation films and on the COVID-opacity films of the folds
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
    return detection_ap([case.truth for case in cases], [(a.boxes, a.scores) for a in answers])


def operating_points(
    held: Held, validation: list[Answer], covid: list[Answer], rsna: float
) -> dict[str, OperatingPoint]:
    """Thresholds chosen before any test film is looked at."""
    cases, answers = [*held.validation, *held.covid], [*validation, *covid]
    scores = np.sort(
        [a.opacity for c, a in zip(held.validation, validation, strict=True) if c.opacity]
    )
    return {
        "default": OperatingPoint(
            threshold=best_f1_threshold(cases, answers),
            reason="best F1 of boxes at IoU .5",
            chosen_on="RSNA validation and out-of-fold COVID opacity",
        ),
        "rsna-score": OperatingPoint(
            threshold=rsna, reason="best RSNA score", chosen_on="RSNA validation"
        ),
        "sensitivity-95": OperatingPoint(
            threshold=float(scores[int(0.05 * len(scores))]),
            reason="95 % of the films with opacity score at least this",
            chosen_on="RSNA validation",
            score="opacity",
        ),
    }


def best_f1_threshold(cases: Sequence[Case], answers: Sequence[Answer]) -> float:
    """The box score that gives the best F1 at IoU .5."""
    found: list[tuple[float, bool]] = []
    for case, answer in zip(cases, answers, strict=True):
        free = np.ones(len(case.truth), bool)
        overlap = iou_matrix(answer.boxes, case.truth)
        for row, score in enumerate(answer.scores):  # highest first
            best = int(np.argmax(overlap[row] * free)) if free.any() else -1
            hit = best >= 0 and overlap[row, best] * free[best] >= 0.5
            if hit:
                free[best] = False
            found.append((float(score), hit))
    found.sort(reverse=True)
    scores, hits = np.array([s for s, _ in found]), np.array([h for _, h in found])
    true, said = np.cumsum(hits), np.arange(1, len(hits) + 1)
    f1 = 2 * true / (said + sum(len(case.truth) for case in cases))
    return round(float(scores[int(np.argmax(f1))]), 4)


def measure_baseline(recipe: Recipe, arm: Path, held: Held) -> ArmFigures:
    """A torchvision detector's figures: boxes, and its best box as image score."""
    covid: list[Answer] = []
    for k, cases in enumerate(held.folds):
        covid += baseline_answers(_net(recipe, arm / f"fold{k}"), cases)
    net = _net(recipe, arm / "final")
    threshold = best_rsna_threshold(held.validation, baseline_answers(net, held.validation))
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

    def run(cases: Sequence[Case]) -> list[Answer]:
        raw = []
        for case in cases:
            values = session.run(list(OUTPUTS), {"image": case.image[None]})
            raw.append(RawOutputs(*(value[0] for value in values)))
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


def _net(recipe: Recipe, folder: Path) -> Any:
    net = build_net(recipe)
    net.load_state_dict(load_file(folder / "weights.safetensors"))
    return net.eval()
