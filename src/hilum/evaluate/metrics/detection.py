"""Average precision and recall of boxes, equal to the COCO reference to 1e-6.

Precision is interpolated at 101 recalls. Where nothing can be said (no true box of that size)
the value is NaN; pycocotools writes -1. Of equal scores the box of the earlier image counts
first, as there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.evaluate.metrics.boxes import BoxTable, Predictions, Truth, box_table
from hilum.evaluate.metrics.matching import ALL_AREAS, FALSE, TRUE, Matches, match

Float = NDArray[np.float64]

RECALLS = np.linspace(0, 1, 101)
COCO_IOU = np.linspace(0.5, 0.95, 10)
AREAS = {"": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
MAX_BOXES = 100  # of an image and class, the reference's limit


def detection_ap(
    truth: Truth,
    predictions: Predictions,
    iou: float | Sequence[float] = 0.5,
    *,
    max_boxes: int = MAX_BOXES,
) -> float:
    """Average precision of one class, COCO's 101-point interpolation.

    Args:
        truth: for each image (n, 4) x1, y1, x2, y2.
        predictions: for each image boxes (m, 4) and scores (m,) in [0, 1].
        iou: a box finds a true box from this IoU; of several thresholds the mean is taken
            (AP@[.5:.95] with `COCO_IOU`).
        max_boxes: only the best boxes of an image take part.

    Returns:
        AP in [0, 1]; NaN without any true box.

    Raises:
        DataError, GeometryError: see `box_table`.
    """
    limits = _limits(iou)
    matches = match(box_table(truth, predictions), limits, ALL_AREAS, max_boxes)
    return float(precision_at_recalls(matches)[0].mean())


def coco_metrics(
    truth: Truth,
    predictions: Predictions,
    *,
    truth_labels: Sequence[ArrayLike] | None = None,
    labels: Sequence[ArrayLike] | None = None,
) -> dict[str, float]:
    """The twelve numbers of the COCO evaluation.

    Args:
        truth, predictions: as in `detection_ap`.
        truth_labels, labels: for each image the classes of its true and predicted boxes; values
            are means over classes that have true boxes. None = one class.

    Returns:
        AP, AP50, AP75, APs, APm, APl (areas under 32², to 96², above, in px²), AR1, AR10, AR100,
        ARs, ARm, ARl.
    """
    tables = _by_class(box_table(truth, predictions), truth_labels, labels)
    areas = np.array(list(AREAS.values()))
    ap, ar = [], {1: [], 10: [], 100: []}  # type: tuple[list[Float], dict[int, list[Float]]]
    for table in tables:
        matches = match(table, COCO_IOU, areas, MAX_BOXES)
        ap.append(precision_at_recalls(matches).mean(axis=2))
        for most, values in ar.items():
            values.append(_recall(matches, most))
    precision = np.array(ap)  # (classes, areas, thresholds)
    out = {"AP": _mean(precision[:, 0]), "AP50": _mean(precision[:, 0, 0])}
    out["AP75"] = _mean(precision[:, 0, 5])
    out |= {f"AP{name}": _mean(precision[:, i]) for i, name in enumerate(AREAS) if name}
    out |= {f"AR{most}": _mean(np.array(values)[:, 0]) for most, values in ar.items()}
    best = np.array(ar[100])
    out |= {f"AR{name}": _mean(best[:, i]) for i, name in enumerate(AREAS) if name}
    return out


def precision_at_recalls(matches: Matches) -> Float:
    """(areas, thresholds, 101) interpolated precision; NaN where there is no true box."""
    order = np.argsort(-matches.scores, kind="stable")
    total = matches.truths.sum(axis=1)
    out = np.full((*matches.verdict.shape[:2], len(RECALLS)), np.nan)
    for a in np.flatnonzero(total):
        for t in range(out.shape[1]):
            verdict = matches.verdict[a, t, order]
            hits = np.cumsum(verdict == TRUE)
            precision = hits / np.maximum(hits + np.cumsum(verdict == FALSE), 1)
            out[a, t] = interpolated(hits / total[a], precision)
    return out


def interpolated(recall: Float, precision: Float) -> Float:
    """(101,) the best precision at each recall or beyond, 0 where it is never reached."""
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    out: Float = envelope[np.searchsorted(recall, RECALLS, side="left")]
    return out


def _recall(matches: Matches, most: int) -> Float:
    """(areas, thresholds) recall with the best boxes of each image."""
    hits = (matches.verdict[:, :, matches.rank < most] == TRUE).sum(axis=2)
    total = matches.truths.sum(axis=1)[:, None].astype(np.float64)
    out: Float = np.divide(hits, total, out=np.full(hits.shape, np.nan), where=total > 0)
    return out


def _mean(values: Float) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _limits(iou: float | Sequence[float]) -> Float:
    limits = np.atleast_1d(np.asarray(iou, np.float64))
    if limits.ndim != 1 or not len(limits) or not ((limits > 0) & (limits <= 1)).all():
        raise ConfigError(f"iou {iou}: needed: a number in (0, 1], or several")
    return limits


def _by_class(
    table: BoxTable,
    truth_labels: Sequence[ArrayLike] | None,
    labels: Sequence[ArrayLike] | None,
) -> list[BoxTable]:
    """One table for each class that has true boxes (the whole one without labels)."""
    if truth_labels is None and labels is None:
        return [table]
    if truth_labels is None or labels is None:
        raise DataError("labels are needed for the truth and for the predictions, or for neither")
    true_names = _flat(truth_labels, len(table.truth), "truth")
    names = _flat(labels, len(table.boxes), "predictions")
    return [_only(table, true_names == n, names == n) for n in np.unique(true_names)] or [table]


def _flat(labels: Sequence[ArrayLike], n: int, name: str) -> NDArray[np.str_]:
    parts = [np.asarray(part).reshape(-1).astype(np.str_) for part in labels]
    flat: NDArray[np.str_] = np.concatenate([np.zeros(0, np.str_), *parts])
    if len(flat) != n:
        raise DataError(f"{name}: {n} boxes came with {len(flat)} labels")
    return flat


def _only(table: BoxTable, true_rows: NDArray[np.bool_], rows: NDArray[np.bool_]) -> BoxTable:
    def start(keep: NDArray[np.bool_], old: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(keep)])[old]

    return BoxTable(
        truth=table.truth[true_rows],
        truth_start=start(true_rows, table.truth_start),
        boxes=table.boxes[rows],
        scores=table.scores[rows],
        start=start(rows, table.start),
    )
