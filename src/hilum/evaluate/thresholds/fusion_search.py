"""Options of a fusion of prediction files, chosen on validation folds only.

Knows no fusion: the caller brings it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog, open_catalog
from hilum.evaluate.answers import match_answers
from hilum.evaluate.asked import check_asked
from hilum.evaluate.cases import Cases, join
from hilum.evaluate.challenges.rsna import rsna_score
from hilum.evaluate.metrics.detection import detection_ap
from hilum.evaluate.prediction_files import PredictionFile
from hilum.evaluate.thresholds.search import Searched, patient_folds, search

Int = NDArray[np.int64]
Files = Mapping[str, PredictionFile]
FuseAll = Callable[[Files, Mapping[str, Any]], PredictionFile]

IOU = (0.3, 0.4, 0.5, 0.55, 0.6, 0.7)
SKIP = (0.0, 0.05, 0.1)
MODES = ("avg", "max", "box_and_model_avg", "absent_model_aware_avg")
# What is tried of each fusion, by its name in pipelines; WEIGHTED also tries weights.
GRIDS: dict[str, dict[str, Sequence[Any]]] = {
    "weighted-boxes": {"iou": IOU, "skip": SKIP, "mode": MODES},
    "nms": {"iou": IOU},
    "soft-nms": {"iou": IOU},
    "nmw": {"iou": IOU, "skip": SKIP},
    "union": {"iou": IOU, "confident": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)},
    "vote": {"iou": IOU},
}
WEIGHTED = frozenset(GRIDS) - {"union"}


def searched(
    files: Files,
    fuse: FuseAll,
    method: str,
    *,
    catalog: Path,
    part: str,
    folds: int,
    metric: Literal["ap50", "rsna"],
    finding: str,
) -> tuple[Searched, dict[str, Any]]:
    """The best options and the document that says how they were found.

    Raises:
        ConfigError: no such part, or too few folds.
        DataError: no truth in a fold.
    """
    whole = open_catalog(catalog)
    for file in files.values():
        check_asked(whole, file, finding)
    truth = whole.where(whole.in_part(part))
    own = {name: _of(truth, file) for name, file in files.items()}
    weights = {"weights": _weights(list(files))} if method in WEIGHTED else {}
    grid: dict[str, Sequence[Any]] = {**GRIDS[method], **weights}
    latest: dict[str, Cases] = {}

    def cases(options: Mapping[str, Any]) -> Cases:
        key = repr(options)
        if key not in latest:
            latest.clear()  # options come one after the other, fold by fold
            latest[key] = join(truth, fuse(own, options), finding)
        return latest[key]

    first = join(truth, next(iter(own.values())), finding)
    rows = truth.table.set_index("image_id").loc[first.rows["image_id"]].reset_index()
    fold = patient_folds(replace(truth, table=rows), list(map(len, first.truth)), folds)

    def score(options: Mapping[str, Any], rows: Int) -> float:
        one = cases(options)
        true, predictions = [one.truth[i] for i in rows], [one.predictions[i] for i in rows]
        return (
            rsna_score(true, predictions) if metric == "rsna" else detection_ap(true, predictions)
        )

    result = search(score, grid, fold)
    question = {"method": method, "metric": metric, "catalog": truth.name, "part": part}
    return result, question | {"images": len(first), "folds": folds} | result.to_json()


def _of(truth: Catalog, file: PredictionFile) -> PredictionFile:
    """The predictions of the catalog's images, by its ids."""
    images = match_answers(truth, file).images
    missing = sum(one is None for one in images)
    if missing:
        raise DataError(
            f"{missing} of {len(images)} images of the part have no prediction; a search needs all"
        )
    ids = truth.table["image_id"].tolist()
    return PredictionFile(
        file.form, {i: one for i, one in zip(ids, images, strict=True) if one is not None}
    )


def _weights(names: Sequence[str]) -> tuple[dict[str, float], ...]:
    """Equal, and each file counted double."""
    equal = dict.fromkeys(names, 1.0)
    return equal, *(equal | {name: 2.0} for name in names)
