"""The numbers of what ships: by part and source, by subgroup, of another bundle beside it, and
the shortcut checks. Raw outputs in, figures out; writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.bundle import Bundle
from hilum.core.errors import ConfigError
from hilum.core.findings import Findings
from hilum.core.manifest import Figure, Manifest
from hilum.core.prepare import Preprocessing
from hilum.core.progress import doing
from hilum.evaluate import bootstrap, dice, mean_of
from hilum.evaluate.evaluation import Subgroup, evaluate_cases
from hilum.evaluate.finding_metrics import Thresholds, finding_metrics
from hilum.inference.decode import Decoder
from hilum.inference.session import RawOutputs
from hilum.train.evaluation import (
    IMAGE_NUMBERS,
    HeldOut,
    cases_of_held_out,
    decoded,
    numbers,
    tensor,
)
from hilum.train.export.onnx import answers, asking
from hilum.train.export.shortcuts import Asked, Shortcuts, shortcuts
from hilum.train.recipe import Recipe
from hilum.train.samples import PreparedImage

LUNGS = "lungs"
SUBGROUP_REPEATS = 300
WITH_INTERVALS = ("ap50", "rsna_score", "auc", "average_precision", "any_box_auc")


def tensors(images: Sequence[PreparedImage], spec: Preprocessing) -> NDArray[np.float32]:
    """(n, 1, S, S)."""
    blank = np.zeros((0, 1, spec.size, spec.size), np.float32)
    return np.stack([tensor(one, spec) for one in images]) if images else blank


def figures_of(
    manifest: Manifest,
    held_out: Mapping[str, HeldOut],
    raw_of: Mapping[str, Sequence[RawOutputs]],
    *,
    recipe: Recipe,
    by: str,
) -> dict[str, dict[str, Figure]]:
    """Of each part and source, as "part, source (by)"; test parts with intervals."""
    out: dict[str, dict[str, Figure]] = {}
    at = _thresholds(manifest)
    for part, raw in raw_of.items():
        for source in held_out[part].sources:
            own = held_out[part].of(source)
            findings = _found(manifest, held_out[part], raw, source)
            key, on = f"{part}, {source} ({by})", f"{part}, {source}"
            values = numbers(own, findings, recipe, at)
            if not _says(own, manifest):  # what is left is of labels that no score is about
                values = {n: v for n, v in values.items() if n not in IMAGE_NUMBERS}
            out[key] = {n: Figure(value=value, n=len(own), on=on) for n, value in values.items()}
            if part == "test":
                out[key] |= _intervals(own, findings, manifest, out[key])
    return out


def _says(held_out: HeldOut, manifest: Manifest) -> bool:
    """Whether somebody said of an image that the positive finding is there or not."""
    positive = manifest.positive
    return positive is None or any(t.label(positive) == t.label(positive) for t in held_out.truths)


def _thresholds(manifest: Manifest) -> Thresholds:
    points = manifest.operating_points
    boxes = points["default"].threshold if "default" in points else 0.5
    image = next((p.threshold for p in points.values() if p.score == manifest.positive), 0.5)
    return Thresholds(boxes=boxes, image=image)


def _found(
    manifest: Manifest, held_out: HeldOut, raw: Sequence[RawOutputs], source: str
) -> list[Findings]:
    """What the bundle says of the images of one source."""
    places = [i for i, one in enumerate(held_out.images) if one.source == source]
    images = [held_out.images[i] for i in places]
    return decoded(Decoder(manifest), [raw[i] for i in places], images)


def figures_beside(
    other: Bundle, held_out: Mapping[str, HeldOut], recipe: Recipe
) -> dict[str, dict[str, Figure]]:
    """Another bundle's numbers on the same test images, at its own operating points.

    Raises:
        ConfigError: it sees other squares.
    """
    theirs, ours = other.manifest.preprocessing.value(), recipe.spec
    if theirs != ours:
        raise ConfigError(
            f"{other.path} sees {theirs}, this bundle {ours}; needed: the same, to be asked about "
            "the same images"
        )
    test = held_out["test"]
    raw = {"test": answers(other.model(), tensors(test.images, recipe.spec))}
    name = f"{other.name} {other.version}, for comparison"
    return figures_of(other.manifest, {"test": test}, raw, recipe=recipe, by=name)


def subgroups_of(
    manifest: Manifest, held_out: HeldOut, raw: Sequence[RawOutputs]
) -> dict[str, tuple[Subgroup, ...]]:
    """Source -> AUC of the positive score by sex, age band and view."""
    if manifest.positive is None:
        return {}
    out = {}
    for source in held_out.sources:
        own = held_out.of(source)
        cases = cases_of_held_out(own, _found(manifest, held_out, raw, source), manifest.positive)
        known = cases.label[cases.labelled]
        if 0 < known.sum() < len(known):
            out[source] = evaluate_cases(cases, repeats=SUBGROUP_REPEATS).subgroups
    return out


def shortcuts_of(
    manifest: Manifest, held_out: HeldOut, raw: Sequence[RawOutputs], graph: bytes
) -> Shortcuts | None:
    """The checks on the positive score of held-out images; None without such a score."""
    positive = manifest.positive
    if positive is None or not held_out.images:
        return None
    doing("looking for shortcuts")
    ask, decoder = asking(graph), Decoder(manifest)
    spec = manifest.preprocessing.value()
    cases = [
        Asked(
            image=tensor(image, spec),
            frame=image.frame,
            source=image.source,
            present=truth.label(positive),
            lungs=_lungs(manifest, outputs),
        )
        for image, truth, outputs in zip(held_out.images, held_out.truths, raw, strict=True)
    ]
    return shortcuts(
        cases, lambda image: decoder.image_scores(decoder.probabilities(ask(image)))[positive]
    )


def _lungs(manifest: Manifest, raw: RawOutputs) -> NDArray[np.bool_] | None:
    """(S, S) the lungs as the bundle outlines them, widened by a twentieth of the side."""
    if LUNGS not in manifest.masks or raw.mask_logits is None:
        return None
    side = manifest.preprocessing.size
    logits = raw.mask_logits[manifest.masks[LUNGS].channel]
    inside = (cv2.resize(logits, (side, side)) > 0).astype(np.uint8)
    wide = cv2.dilate(inside, np.ones((side // 12, side // 12), np.uint8))
    return np.asarray(wide > 0, np.bool_)


def _intervals(
    held_out: HeldOut,
    findings: Sequence[Findings],
    manifest: Manifest,
    figures: Mapping[str, Figure],
) -> dict[str, Figure]:
    """The same numbers with 95 % intervals over patients, where one label or mask is meant."""
    out: dict[str, Figure] = {}
    finding = manifest.positive or (manifest.labels[0] if len(manifest.labels) == 1 else None)
    if finding is not None:
        cases = cases_of_held_out(held_out, findings, finding)
        patients = cases.rows["patient"].to_numpy()
        for name, one in finding_metrics(cases, _thresholds(manifest)).items():
            if name in WITH_INTERVALS and name in figures:
                interval = bootstrap(one.metric, patients[one.rows])
                out[name] = _with(figures[name], interval.value, interval.low, interval.high)
    for name in manifest.masks:
        key = f"dice_{name}"
        rows = [i for i, truth in enumerate(held_out.truths) if name in truth.masks]
        if key not in figures or not rows:
            continue
        values = []
        for i in rows:
            mask = findings[i].masks[name]
            values.append(dice(held_out.truths[i].masks[name](*mask.shape), mask))
        interval = bootstrap(mean_of(values), [held_out.truths[i].patient for i in rows])
        out[key] = _with(figures[key], interval.value, interval.low, interval.high)
    return out


def _with(figure: Figure, value: float, low: float, high: float) -> Figure:
    known = all(v == v for v in (value, low, high))
    return figure.model_copy(update={"value": value, "low": low, "high": high}) if known else figure
