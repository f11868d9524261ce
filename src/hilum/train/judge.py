"""The figures of the default training: each arm on what it never saw, with intervals.

Everything goes through hilum.dicom, core.prepare and hilum.inference's decoder, as a user's file
does. COVID-opacity figures are cross-validated: each image is judged by the fold that left it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hilum.core.geometry import Letterbox
from hilum.core.manifest import Figure, Manifest
from hilum.core.prediction import Boxes as Marked
from hilum.core.prediction import Prediction
from hilum.core.prepare import Preprocessing, prepare
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_mask, open_radiograph
from hilum.evaluate import ap_of, bootstrap, classification, dice, mean_of, rsna_of
from hilum.evaluate.statistics.bootstrap import Metric
from hilum.inference.decode import Decoder
from hilum.inference.session import RawOutputs
from hilum.models.model import Model
from hilum.train.export import RawHeads
from hilum.train.store import LUNG_MASK

Boxes = NDArray[np.float32]


@dataclass(slots=True)
class Case:
    """One held-out image: its truth, its input tensor and the way back to its pixels."""

    image_id: str
    patient: str
    image: NDArray[np.float32]  # (1, S, S) prepared
    box: Letterbox
    truth: Boxes
    opacity: bool
    normal: bool
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Its global class."""
        return "opacity" if self.opacity else "normal" if self.normal else "not-normal"


@dataclass(slots=True)
class Answer:
    """What a model says of a case; boxes and masks in source pixels."""

    boxes: Boxes
    scores: NDArray[np.float32]
    image: dict[str, float]  # scores of the whole image
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def opacity(self) -> float:
        return self.image.get("opacity", 0.0)


def open_cases(catalog: Catalog, ids: Sequence[str], spec: Preprocessing) -> list[Case]:
    """The named images of a catalog, read and prepared as `hilum predict` does."""
    rows = {image: row for row, image in enumerate(catalog.table["image_id"])}
    return [_case(catalog, rows[image], spec) for image in ids]


def _case(catalog: Catalog, row: int, spec: Preprocessing) -> Case:
    record = catalog.table.iloc[row]
    radiograph = open_radiograph(catalog.root, record["path"])
    image, box = prepare(radiograph, spec)
    size = radiograph.height, radiograph.width
    masks = {}
    if catalog.name in LUNG_MASK:
        masks[LUNG_MASK[catalog.name]] = open_mask(catalog.root, record["mask_lungs"], *size)
    if catalog.name == "covid_opacity_512":
        parts = [
            open_mask(catalog.root, record[f"mask_{m}"], *size) for m in ("ggo", "consolidation")
        ]
        masks["opacity"] = parts[0] | parts[1]
    found = catalog.boxes(row)
    return Case(
        str(record["image_id"]),
        str(record["patient"]),
        image,
        box,
        np.zeros((0, 4), np.float32) if found is None else found[0],
        bool(record.get("label_opacity") == 1),
        bool(record.get("label_normal") == 1),
        masks,
    )


def raw_outputs(net: nn.Module, cases: Sequence[Case]) -> list[RawOutputs]:
    """The raw heads of every case, from PyTorch."""
    heads, names = RawHeads(net).eval(), list[str]()
    out = []
    with torch.inference_mode():
        for case in cases:
            image = torch.from_numpy(case.image[None])
            names = names or heads.names(image)
            named = zip(names, heads(image), strict=True)
            out.append(RawOutputs(**{name: value[0].numpy() for name, value in named}))
    return out


def decoded(
    raw: Sequence[RawOutputs], cases: Sequence[Case], manifest: Manifest, *, masks: bool = True
) -> list[Answer]:
    """Through the bundle's own decoding."""
    decoder = Decoder(manifest)
    pairs = zip(raw, cases, strict=True)
    return [_answer(decoder(one, case.box), masks) for one, case in pairs]


def _answer(said: Prediction, masks: bool) -> Answer:
    boxes = said.boxes or Marked.none()
    cut = {name: one.cut() for name, one in said.maps.items()} if masks else {}
    return Answer(boxes.boxes_px, boxes.scores, dict(said.image_scores), cut)


def baseline_answers(net: Model, cases: Sequence[Case]) -> list[Answer]:
    """A torchvision detector's own decoding; its image score is its best box."""
    answers = []
    for case in cases:
        said = net.predict(torch.from_numpy(case.image[None]))[0]
        assert said.boxes is not None
        assert said.scores is not None
        source = case.box.boxes_to_source(said.boxes.numpy()).reshape(-1, 4)
        values = said.scores.numpy().clip(0, 1)
        answers.append(Answer(source, values, {"opacity": float(values.max(initial=0.0))}))
    return answers


def box_figures(cases: Sequence[Case], answers: Sequence[Answer], on: str) -> dict[str, Figure]:
    """AP@.5 with a patient bootstrap."""
    return {"AP@.5": _resampled(ap_of(*pairs(cases, answers)), cases, on)}


def pairs(
    cases: Sequence[Case], answers: Sequence[Answer]
) -> tuple[list[Boxes], list[tuple[Boxes, NDArray[np.float32]]]]:
    """True boxes, and predicted boxes with their scores, as `hilum.evaluate` takes them."""
    return [case.truth for case in cases], [(a.boxes, a.scores) for a in answers]


def rsna_figures(
    cases: Sequence[Case], answers: Sequence[Answer], threshold: float, on: str
) -> dict[str, Figure]:
    """The challenge's score at a threshold fixed on validation, and image-level AUCs."""
    truth = [case.truth for case in cases]
    said = [above(answer, threshold) for answer in answers]

    positive = np.array([case.opacity for case in cases])
    normal = np.array([case.normal for case in cases])
    image = np.array([answer.opacity for answer in answers])
    pair = positive | normal
    return {
        "RSNA score": _resampled(rsna_of(truth, said), cases, on),
        "AUC opacity vs rest": _auc(positive, image, on),
        "AUC opacity vs normal": _auc(positive[pair], image[pair], on),
    }


def mask_figures(
    cases: Sequence[Case], answers: Sequence[Answer], name: str, on: str
) -> dict[str, Figure]:
    """Mean Dice per image against the true masks of that name."""
    both = [
        (case, answer) for case, answer in zip(cases, answers, strict=True) if name in case.masks
    ]
    values = np.array([dice(case.masks[name], answer.masks[name]) for case, answer in both])

    return {f"Dice {name}": _resampled(mean_of(values), [case for case, _ in both], on)}


def above(answer: Answer, threshold: float) -> tuple[Boxes, NDArray[np.float32]]:
    keep = answer.scores >= threshold
    return answer.boxes[keep], answer.scores[keep]


def _auc(truth: NDArray[np.bool_], score: NDArray[np.float64], on: str) -> Figure:
    found = classification(truth.astype(int), score)
    return Figure(
        value=found["auc"], low=found["auc_low"], high=found["auc_high"], n=len(truth), on=on
    )


def _resampled(metric: Metric, cases: Sequence[Case], on: str) -> Figure:
    """95 % bootstrap over patients."""
    found = bootstrap(metric, [case.patient for case in cases])
    return Figure(value=found.value, low=found.low, high=found.high, n=len(cases), on=on)
