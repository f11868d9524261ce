"""The search of `hilum ensemble`: options of a fusion, chosen on validation folds only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hilum.data.catalog import Catalog
    from hilum.evaluate.cases import Cases
    from hilum.evaluate.prediction_files import PredictionFile
    from hilum.evaluate.thresholds.search import Searched

FuseAll = Callable[[Sequence["PredictionFile"], Mapping[str, Any]], "PredictionFile"]

IOU = (0.3, 0.4, 0.5, 0.55, 0.6, 0.7)
SKIP = (0.0, 0.05, 0.1)
MODES = ("avg", "max", "box_and_model_avg", "absent_model_aware_avg")
# What is tried of each method, beside the weights.
GRIDS: dict[str, dict[str, Sequence[Any]]] = {
    "weighted": {"iou": IOU, "skip": SKIP, "mode": MODES},
    "nms": {"iou": IOU},
    "soft-nms": {"iou": IOU},
    "nmw": {"iou": IOU, "skip": SKIP},
    "union": {"iou": IOU, "confident": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)},
    "vote": {"iou": IOU},
}


class Metric(StrEnum):
    """What a search makes high."""

    AP50 = "ap50"
    RSNA = "rsna"


def searched(
    files: Sequence[PredictionFile],
    fuse: FuseAll,
    method: str,
    *,
    catalog: Path,
    split: str,
    folds: int,
    metric: Metric,
    finding: str,
) -> tuple[Searched, dict[str, Any]]:
    """The best options and the document that says how they were found.

    Raises:
        ConfigError: no such split, or too few folds.
        DataError: no truth in a fold.
    """
    import numpy as np

    from hilum.data.catalog import open_catalog
    from hilum.evaluate import detection_ap, rsna_score, search
    from hilum.evaluate.cases import join
    from hilum.evaluate.models import part_of

    truth, _ = part_of(open_catalog(catalog), split)
    parts = [_of(truth, file) for file in files]
    grid = {**GRIDS[method], **({} if method == "union" else {"weights": _weights(len(files))})}
    made: dict[str, Cases] = {}

    def cases(options: Mapping[str, Any]) -> Cases:
        key = repr(options)
        if key not in made:
            made.clear()  # options come one after the other, fold by fold
            made[key] = join(truth, fuse(parts, options), finding)
        return made[key]

    first = join(truth, parts[0], finding)

    def score(options: Mapping[str, Any], rows: Any) -> float:
        one = cases(options)
        true, said = [one.truth[i] for i in rows], [one.predictions[i] for i in rows]
        return rsna_score(true, said) if metric is Metric.RSNA else detection_ap(true, said)

    number = patient_folds(first, folds)
    found = search(score, grid, number)
    best = found.tried.index(found.options)
    document = {
        **{"method": method, "metric": metric.value, "catalog": truth.name, "split": split},
        **{"images": len(first), "folds": folds, "options": dict(found.options)},
        **{"score": found.score, "nested": found.nested},
        "fold_scores": found.table[best].tolist(),
        "tried": [
            {"options": dict(options), "fold_scores": row.tolist()}
            for options, row in zip(found.tried, np.asarray(found.table), strict=True)
        ],
    }
    return found, document


def patient_folds(cases: Cases, folds: int, seed: int = 0) -> Any:
    """(n,) fold of each image: whole patients, those with a true box spread evenly."""
    import numpy as np

    patients = cases.rows["patient"].to_numpy()
    sick = set(patients[[len(t) > 0 for t in cases.truth]])
    rng = np.random.default_rng(seed)
    fold: dict[str, int] = {}
    for wanted in (True, False):
        names = sorted(p for p in set(patients) if (p in sick) == wanted)
        for place, index in enumerate(rng.permutation(len(names))):
            fold[names[index]] = place % folds
    return np.array([fold[p] for p in patients])


def _of(truth: Catalog, file: PredictionFile) -> PredictionFile:
    """The predictions of the catalog's images, by its ids."""
    from hilum.core.errors import DataError
    from hilum.evaluate.answers import match_answers
    from hilum.evaluate.prediction_files import PredictionFile

    found = match_answers(truth, file).images
    missing = sum(one is None for one in found)
    if missing:
        raise DataError(
            f"{missing} of {len(found)} images of the split have no prediction; a search needs all"
        )
    ids = truth.table["image_id"].tolist()
    return PredictionFile(
        file.form, {i: one for i, one in zip(ids, found, strict=True) if one is not None}
    )


def _weights(files: int) -> tuple[tuple[float, ...], ...]:
    """Equal, and each file counted double."""
    double = (tuple(2.0 if i == k else 1.0 for i in range(files)) for k in range(files))
    return (tuple([1.0] * files), *double)
