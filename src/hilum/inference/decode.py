"""Raw outputs of a network -> a Prediction in source pixels, in NumPy.

Knows the manifest's numbers; knows no runtime, file or threshold of a reader.
Legend: N anchors, K labels, n candidates, S input side, s mask side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.anchors import AnchorGrid
from hilum.core.errors import ModelOutputError
from hilum.core.geometry import Letterbox, clip_boxes
from hilum.core.manifest import BOX, Calibration, Manifest
from hilum.core.prediction import Boxes, Prediction, ProbabilityMap, logit, sigmoid
from hilum.fuse.suppress import keep_best, keep_voted, nested
from hilum.fuse.weighted import weighted_boxes
from hilum.inference.session import RawOutputs

Float32 = NDArray[np.float32]

# Parts of the square: smaller components are dropped, from SURE on they count in full.
SPECK, SURE = 3e-4, 6e-3
ROUNDING = 1e-3  # of logits, far more than float32 loses


def softmax(x: Float32) -> Float32:
    """(C,) logits to probabilities."""
    e = np.exp(x - x.max())
    out: Float32 = e / e.sum()
    return out


class Candidates(NamedTuple):
    """(n,) anchors that may be boxes."""

    scores: Float32
    anchors: NDArray[np.int64]
    labels: NDArray[np.int64]


class _Decoded(NamedTuple):
    boxes: Float32  # (n, 4)
    scores: Float32  # (n,)
    labels: NDArray[np.int64]  # (n,)


class Decoder:
    """Decodes the outputs of one bundle; the anchors are laid out once."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        if manifest.proposals is not None:
            self.grid = AnchorGrid(box_weights=manifest.proposals.box_weights)
        else:
            self.grid = manifest.anchors.value() if manifest.anchors else AnchorGrid()
        self.size = manifest.preprocessing.size
        self.anchors = self.grid.anchors(self.size) if manifest.anchors else None
        self.calibration = manifest.calibration or Calibration()

    def __call__(self, raw: RawOutputs, box: Letterbox) -> Prediction:
        """Every box above the floor, image scores and probability maps.

        Raises:
            ModelOutputError: the outputs do not fit the anchors.
        """
        classes = self.probabilities(raw)
        return Prediction(
            width=box.width,
            height=box.height,
            boxes=self.boxes(raw, box, classes) if self.manifest.has_boxes else None,
            image_scores=self.image_scores(classes),
            maps=self.maps(raw, box),
        )

    def boxes(self, raw: RawOutputs, box: Letterbox, classes: Mapping[str, float]) -> Boxes:
        """Calibrated boxes in the source pixels of `box`."""
        boxes, scores, labels = self._boxes(raw, box, classes)
        return Boxes.of(
            boxes,
            self.calibration.apply(BOX, scores),
            [self.manifest.labels[label] for label in labels],
        )

    def image_scores(self, classes: Mapping[str, float]) -> dict[str, float]:
        """Calibrated scores by name, of those classes that the network has."""
        out = {}
        for name, of in self.manifest.image_scores.items():
            parts = (of,) if isinstance(of, str) else of
            if all(part in classes for part in parts):
                total = min(1.0, sum(classes[part] for part in parts))
                out[name] = float(self.calibration.apply(name, total))
        return out

    def probabilities(self, raw: RawOutputs) -> dict[str, float]:
        """Probability of each global class and each finding; empty without those heads."""
        out: dict[str, float] = {}
        if raw.finding_logits is not None:
            values = sigmoid(raw.finding_logits).tolist()
            out |= dict(zip(self.manifest.findings, values, strict=True))
        if raw.global_logits is not None:
            logits = raw.global_logits / self.calibration.global_temperature
            if self.calibration.global_bias:
                logits = logits + np.asarray(self.calibration.global_bias, np.float32)
            out |= dict(zip(self.manifest.global_classes, softmax(logits).tolist(), strict=True))
        return out

    def maps(self, raw: RawOutputs, box: Letterbox) -> dict[str, ProbabilityMap]:
        """Each mask's probabilities, uncut."""
        if raw.mask_logits is None:
            return {}
        return {
            name: ProbabilityMap.of(
                raw.mask_logits[spec.channel],
                box,
                threshold=spec.threshold,
                least_part=spec.least_part,
            )
            for name, spec in self.manifest.masks.items()
        }

    def places(self, raw: RawOutputs) -> Float32:
        """(N, 4) what the deltas rest on: the grid's anchors, or this image's proposals.

        Raises:
            ModelOutputError: not one for each delta.
        """
        rows = raw.proposals if self.anchors is None else self.anchors
        count = 0 if raw.box_deltas is None else len(raw.box_deltas)
        if rows is None or len(rows) != count:
            raise ModelOutputError(
                f"{count} boxes came for {0 if rows is None else len(rows)} anchors; the "
                "manifest's anchors are not those of the model"
            )
        return rows

    def candidates(self, raw: RawOutputs) -> Candidates:
        """Scores above the floor, highest first.

        Only these are decoded: of a hundred thousand anchors a few hundred remain.
        """
        spec, calibration = self.manifest.decoding, self.calibration
        floor = (logit(spec.score_floor) - calibration.class_bias) * calibration.class_temperature
        assert raw.class_logits is not None
        flat = raw.class_logits.reshape(-1)
        index = np.flatnonzero(flat >= floor)
        # Stable: of equal logits the lower anchor goes first, on every machine.
        order = np.argsort(-flat[index], kind="stable")[: spec.pre_nms_top]
        index = index[order]
        logits = flat[index] / calibration.class_temperature + calibration.class_bias
        anchor, label = np.divmod(index, len(self.manifest.labels))
        return Candidates(sigmoid(logits), anchor, label)

    def _boxes(self, raw: RawOutputs, box: Letterbox, classes: Mapping[str, float]) -> _Decoded:
        """In source pixels."""
        if raw.class_logits is None or raw.box_deltas is None:
            nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
            return _Decoded(*nothing)
        places = self.places(raw)
        scores, anchor, label = self.candidates(raw)
        boxes = self.grid.decode(raw.box_deltas[anchor], places[anchor])
        boxes = _clip_to_inner(boxes, box)
        alive = ((boxes[:, 2:] - boxes[:, :2]) > 0.5).all(axis=1)  # outside the image, or a sliver
        boxes, scores, label = boxes[alive], scores[alive], label[alive]
        scores = self._weighted(scores, boxes, raw, classes)
        own = self._suppressed(_Decoded(boxes, scores, label))
        own = self._nested_lowered(self._with_components(own, raw, box))
        source = box.boxes_to_source(own.boxes).reshape(-1, 4)
        source = clip_boxes(source, box.width, box.height).astype(np.float32)
        return own._replace(boxes=source)

    def _suppressed(self, own: _Decoded) -> _Decoded:
        spec, most = self.manifest.decoding, self.manifest.decoding.max_boxes
        if spec.vote_iou is None:
            kept = keep_best(*own, iou=spec.nms_iou)[:most]
            return _Decoded(own.boxes[kept], own.scores[kept], own.labels[kept])
        kept, voted = keep_voted(*own, iou=spec.nms_iou, vote=spec.vote_iou)
        few = kept[:most]
        return _Decoded(voted[:most].astype(np.float32), own.scores[few], own.labels[few])

    def _nested_lowered(self, own: _Decoded) -> _Decoded:
        weight = self.manifest.decoding.nested_weight
        if weight == 1 or len(own.scores) < 2:
            return own
        scores = np.where(nested(*own), own.scores * np.float32(weight), own.scores)
        order = np.argsort(-scores, kind="stable")
        return _Decoded(own.boxes[order], scores[order], own.labels[order])

    def _with_components(self, own: _Decoded, raw: RawOutputs, box: Letterbox) -> _Decoded:
        """The detector's boxes fused with those around the components of the masks."""
        spec = self.manifest.decoding
        if not spec.component_weights or raw.mask_logits is None:
            return own
        lists, weights = [own], [1.0]
        for name, weight in spec.component_weights.items():
            mask = self.manifest.masks[name]
            around, sure = components(raw.mask_logits[mask.channel], self.size, mask.threshold)
            around = _clip_to_inner(around, box)
            label = np.full(len(around), self.manifest.labels.index(name))
            lists.append(_Decoded(around, sure, label))
            weights.append(weight)
        fused = weighted_boxes(
            *map(list, zip(*lists, strict=True)), weights=weights, iou=spec.component_iou
        )
        order = np.argsort(-fused.scores, kind="stable")[: spec.max_boxes]
        return _Decoded(
            boxes=fused.boxes[order].astype(np.float32),
            scores=fused.scores[order].astype(np.float32),
            labels=fused.labels[order].astype(np.int64),
        )

    def _weighted(
        self, scores: Float32, boxes: Float32, raw: RawOutputs, classes: Mapping[str, float]
    ) -> Float32:
        spec = self.manifest.decoding
        factor = np.ones(len(scores), np.float32)
        for name, weight in spec.mask_weights.items():
            if raw.mask_logits is not None and weight:
                logits = raw.mask_logits[self.manifest.masks[name].channel]
                parts = boxes / np.float32(self.size)
                factor *= mean_inside(sigmoid(logits), parts) ** np.float32(weight)
        for name, weight in spec.image_weights.items():
            if classes and weight:
                factor *= np.float32(classes[name] ** weight)
        out: Float32 = np.clip(scores * factor, 0, 1)
        return out


def mean_inside(values: Float32, boxes: Float32) -> Float32:
    """(n,) mean of an (s, s) map inside (n, 4) boxes given in parts of its side (0..1)."""
    side = values.shape[0]
    total = cv2.integral(values, sdepth=cv2.CV_64F)
    low = np.clip(np.floor(boxes[:, :2] * side), 0, side - 1).astype(np.int64)
    high = np.clip(np.ceil(boxes[:, 2:] * side).astype(np.int64), low + 1, side)
    (x1, y1), (x2, y2) = low.T, high.T
    area = (x2 - x1) * (y2 - y1)
    mean = (total[y2, x2] - total[y1, x2] - total[y2, x1] + total[y1, x1]) / area
    out: Float32 = np.clip(mean, 0, 1).astype(np.float32)
    return out


def components(logits: Float32, size: int, threshold: float) -> tuple[Float32, Float32]:
    """(n, 4) boxes in the square around connected parts of an (s, s) mask, and (n,) scores.

    A component's score is its mean probability, less for specks: their outline is guesswork.
    """
    fine_logits = cv2.resize(logits, (size, size), interpolation=cv2.INTER_LINEAR)
    # Most masks fill a small part of the square: nothing else is looked at.
    near = fine_logits >= logit(threshold) - ROUNDING
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    if not len(rows):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    left, top = int(columns[0]), int(rows[0])
    fine = sigmoid(fine_logits[top : rows[-1] + 1, left : columns[-1] + 1])
    inside = (fine >= threshold).astype(np.uint8)
    count, which, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    x, y, w, h, area = stats[1:].T
    big = area >= SPECK * size**2
    boxes = np.stack([x, y, x + w, y + h], axis=1)[big].astype(np.float32)
    boxes = boxes.reshape(-1, 4) + np.array([left, top, left, top], np.float32)
    mean = np.bincount(which.ravel(), fine.ravel(), count)[1:] / np.maximum(area, 1)
    scores = mean * np.minimum(1, (area / (SURE * size**2)) ** 0.25)
    return boxes, scores[big].astype(np.float32)


def _clip_to_inner(boxes: Float32, box: Letterbox) -> Float32:
    """Cut to the part of the square that shows the image: padding holds no findings."""
    x, y, w, h = box.inner
    shift = np.array([x, y, x, y], np.float32)
    return clip_boxes(boxes - shift, w, h).astype(np.float32) + shift
