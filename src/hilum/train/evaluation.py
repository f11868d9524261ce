"""One evaluation of a network: in source pixels, through a bundle's own decoding.

The same numbers choose epochs, are drawn, watched, swept and written on the card. Knows no folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hilum.core.findings import Findings
from hilum.core.geometry import Letterbox
from hilum.core.manifest import Decoding, Manifest
from hilum.core.prediction import Boxes, Prediction
from hilum.core.prepare import Preprocessing, normalise
from hilum.evaluate.answers import in_frame
from hilum.evaluate.cases import Cases, cases_of, subgroup_columns
from hilum.evaluate.evaluation import evaluate_predictions, metric_over_images
from hilum.evaluate.finding_metrics import Thresholds
from hilum.evaluate.kept_cases import Kept
from hilum.evaluate.prediction_files import from_findings
from hilum.evaluate.statistics.bootstrap import Reweighted
from hilum.evaluate.truth import ImageTruth, Size
from hilum.inference.decode import Decoder
from hilum.inference.session import RawOutputs
from hilum.models.model import Model, evaluating
from hilum.train.annotations import boxes_of, label_of, mask_of
from hilum.train.export.manifest import SUM, draft
from hilum.train.heads import by_image, heads_of, raw_outputs
from hilum.train.loader import plain
from hilum.train.recipe import Recipe
from hilum.train.samples import Prepared, PreparedImage
from hilum.train.sources import Source

Keep: TypeAlias = Callable[[Sequence[Findings]], None]
MOST = 1000  # boxes of an image

IMAGE_NUMBERS = frozenset(
    ("auc", "average_precision", "accuracy", "precision", "sensitivity", "specificity")
) | {"f1", "f2", "mcc", "brier", "ece"}


@dataclass(slots=True)
class HeldOut:
    """Images that a network is evaluated on, prepared, and what is true of them."""

    images: list[PreparedImage] = field(default_factory=list)
    truths: list[ImageTruth] = field(default_factory=list)
    groups: pd.DataFrame | None = None  # sex, age band, view ... of each

    def __len__(self) -> int:
        return len(self.images)

    def of(self, source: str) -> HeldOut:
        """Those of one source."""
        places = [i for i, one in enumerate(self.images) if one.source == source]
        groups = None if self.groups is None else self.groups.iloc[places].reset_index(drop=True)
        return HeldOut([self.images[i] for i in places], [self.truths[i] for i in places], groups)

    @property
    def sources(self) -> list[str]:
        """Names of the sources in it, in order."""
        return list(dict.fromkeys(one.source for one in self.images))


def hold(sources: Sequence[Source], parts: Mapping[str, Prepared]) -> HeldOut:
    """The prepared images of each source with their truth."""
    out, groups = HeldOut(), []
    for source in sources:
        part = parts[source.name]
        out.images += part.images
        pairs = zip(part.rows, part.images, strict=True)
        out.truths += [_truth(source, row, image) for row, image in pairs]
        groups.append(subgroup_columns(source.catalog.table.iloc[part.rows]))
    out.groups = pd.concat(groups, ignore_index=True) if groups else None
    return out


def _truth(source: Source, row: int, image: PreparedImage) -> ImageTruth:
    """In the pixels of the image; labels and masks by the names that the recipe has for them."""
    catalog, targets = source.catalog, source.targets
    record, frame = catalog.table.iloc[row], image.frame
    drawn = boxes_of(source, catalog, row, (frame.width, frame.height))
    labels = {n: label_of(record, n) for n in (*targets.classes, *targets.findings)}
    if len(targets.positive) > 1:
        labels[SUM] = float(np.max([labels.get(name, np.nan) for name in targets.positive]))
    return ImageTruth(
        image_id=image.image_id,
        patient=image.patient,
        size=Size.of(frame.width, frame.height),
        boxes_px=None if drawn is None else drawn[0].astype(np.float64),
        box_labels=() if drawn is None else drawn[1],
        image_labels={name: value for name, value in labels.items() if value == value},
        masks={
            name: mask
            for name in targets.masks
            if (mask := mask_of(source, record, name)) is not None
        },
    )


def evaluate(
    net: Model,
    held_out: HeldOut,
    recipe: Recipe,
    spec: Preprocessing,
    *,
    keep: Keep | None = None,
    keep_unsuppressed: Keep | None = None,
) -> dict[str, float]:
    """val_loss and its components, and every number that the annotations allow, by name.

    Args:
        keep: takes what the network says of each image.
        keep_unsuppressed: takes the boxes before suppression, of networks that have boxes.
    """
    raw, losses = _forward(net, held_out.images, recipe, spec)
    manifest = _manifest(net, raw, recipe, spec)
    answers = decoded(Decoder(manifest), raw, held_out.images) if raw else []
    if keep is not None:
        keep(answers)
    if keep_unsuppressed is not None and raw and manifest.has_boxes:
        floor = recipe.train.keep_predictions.floor
        loose = manifest.model_copy(update={"decoding": unsuppressed(manifest.decoding, floor)})
        keep_unsuppressed(decoded(Decoder(loose), raw, held_out.images, masks=False))
    return losses | numbers(held_out, answers, recipe)


def numbers(
    held_out: HeldOut,
    answers: Sequence[Findings],
    recipe: Recipe,
    threshold: float | Thresholds = 0.5,
) -> dict[str, float]:
    """What `evaluate.evaluation` says of these predictions; of exclusive classes `auc` and the like
    are those of the positive ones."""
    classes = recipe.names.classes
    out = evaluate_predictions(held_out.truths, answers, threshold=threshold, classes=classes)
    own = {name: _own_name(name, recipe) for name in IMAGE_NUMBERS}
    return out | {name: out[other] for name, other in own.items() if other in out}


def metric_of(kept: Kept, name: str, recipe: Recipe) -> Reweighted | None:
    """The number of `numbers` called `name` as a function of how often each image counts."""
    classes = recipe.names.classes
    own = metric_over_images(kept, _own_name(name, recipe), classes=classes)
    return own or metric_over_images(kept, name, classes=classes)


def _own_name(name: str, recipe: Recipe) -> str:
    """How `evaluate_predictions` calls the image number that is meant."""
    targets = recipe.names
    if not targets.classes or name not in IMAGE_NUMBERS:
        return name
    return f"{name}_{targets.positive[0] if len(targets.positive) == 1 else SUM}"


def _forward(
    net: Model, images: Sequence[PreparedImage], recipe: Recipe, spec: Preprocessing
) -> tuple[list[RawOutputs], dict[str, float]]:
    """The raw heads of each image; the mean of each loss over the images, as val_<name>, and their
    sum val_loss."""
    raw: list[RawOutputs] = []
    totals: dict[str, float] = {}
    device = next(net.parameters()).device
    for batch in plain(images, spec, recipe.names, recipe.train.batch):
        with torch.no_grad(), evaluating(net):
            heads, parts = net.evaluated(batch.to(device))
        raw += by_image(heads)
        for name, value in parts.items():
            key = f"val_{name}"
            totals[key] = totals.get(key, 0.0) + float(value) * len(batch.boxes)
    out = {name: value / len(images) for name, value in totals.items()}
    return raw, out | {"val_loss": sum(out.values())}


def predictions(
    net: Model, images: Sequence[PreparedImage], recipe: Recipe, spec: Preprocessing
) -> list[Findings]:
    """What a bundle of this network would say of each, uncut, in source pixels."""
    return [whole(one) for one in raw_predictions(net, images, recipe, spec)]


def raw_predictions(
    net: Model, images: Sequence[PreparedImage], recipe: Recipe, spec: Preprocessing
) -> list[Prediction]:
    """The same, with probability maps instead of masks."""
    raw = raw_outputs(net, [tensor(one, spec) for one in images], recipe.train.batch)
    manifest = _manifest(net, raw, recipe, spec)
    pairs = zip(raw, images, strict=True)
    return [Decoder(manifest)(one, image.frame) for one, image in pairs]


def findings_of(
    net: Model, image_1SS: NDArray[np.float32], frame: Letterbox, recipe: Recipe
) -> Findings:
    """What a bundle of this network would say of one prepared image, uncalibrated and uncut."""
    raw = raw_outputs(net, [image_1SS])
    return whole(Decoder(_manifest(net, raw, recipe, recipe.spec))(raw[0], frame))


def _manifest(
    net: Model, raw: Sequence[RawOutputs], recipe: Recipe, spec: Preprocessing
) -> Manifest:
    """What decodes these raw heads."""
    return draft(recipe, net, heads_of(raw[0]) if raw else [], spec)


def unsuppressed(decoding: Decoding, floor: float) -> Decoding:
    """Every box above a floor of its score."""
    wide: dict[str, Any] = {
        "nms_iou": 1.0,
        "vote_iou": None,
        "nested_weight": 1.0,
        "max_boxes": MOST,
    }
    wide |= {"component_weights": {}, "score_floor": floor}
    return decoding.model_copy(update=wide)


def tensor(image: PreparedImage, spec: Preprocessing) -> NDArray[np.float32]:
    """(1, S, S) what the network sees."""
    return normalise(image.image.astype(np.float32), spec)[None]


def decoded(
    decoder: Decoder,
    raw: Sequence[RawOutputs],
    images: Sequence[PreparedImage],
    *,
    masks: bool = True,
) -> list[Findings]:
    """Raw heads through a bundle's decoding."""
    pairs = zip(raw, images, strict=True)
    return [whole(decoder(one, image.frame), masks=masks) for one, image in pairs]


def whole(prediction: Prediction, *, masks: bool = True) -> Findings:
    """A prediction as findings: every box, masks cut where the model cuts them."""
    boxes = prediction.boxes or Boxes.none()
    return Findings(
        width=prediction.width,
        height=prediction.height,
        boxes_px=boxes.boxes_px,
        scores=boxes.scores,
        labels=boxes.labels,
        image_scores=prediction.image_scores,
        masks={name: one.cut() for name, one in prediction.maps.items()} if masks else {},
    )


def cases_of_held_out(held_out: HeldOut, answers: Sequence[Findings], finding: str) -> Cases:
    """Truth and prediction of one finding."""
    images = [
        in_frame(from_findings(one), truth.size, truth.image_id)
        for truth, one in zip(held_out.truths, answers, strict=True)
    ]
    rows = held_out.groups
    if rows is not None:
        sizes = {name: [getattr(t, name) for t in held_out.truths] for name in ("width", "height")}
        rows = rows.assign(**sizes)
    return cases_of(held_out.truths, images, finding, rows=rows)
