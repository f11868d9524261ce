"""Unsuppressed predictions of a training's epochs, in small files of its own, and grids over them.

    RUN/predictions/truth.parquet         boxes of the validation images, in their pixels
    RUN/predictions/epoch-003.parquet     every box above the floor, before suppression

Thresholds of score and suppression are looked at afterwards (A10), without network and data set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.core.files import atomic_path
from hilum.core.findings import Findings
from hilum.core.options import unknown
from hilum.evaluate.thresholds.sweep import Grid, Suppress, nms_by_epoch, score_by_epoch, suppressed
from hilum.evaluate.truth import ImageTruth

Float = NDArray[np.float64]

FOLDER, TRUTH = "predictions", "truth.parquet"
EPOCH = re.compile(r"epoch-(\d+)\.parquet")
BOX = ["x1", "y1", "x2", "y2"]
SCORES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Epochs:
    """Truth of the images that were annotated with boxes, and what each epoch said of them."""

    truth: tuple[Float, ...]  # of each image (n, 4)
    predictions: Mapping[float, tuple[tuple[Float, Float], ...]]  # epoch -> boxes, scores


def write_truth(run: Path, truths: Sequence[ImageTruth]) -> None:
    """The boxes of the images that somebody annotated with boxes."""
    rows = [
        {"image": i, "image_id": one.image_id, "label": label, **dict(zip(BOX, box, strict=True))}
        for i, one in enumerate(truths)
        if one.boxes_px is not None
        for box, label in zip(
            [*one.boxes_px.tolist(), [np.nan] * 4], [*one.box_labels, ""], strict=True
        )  # the last row says that the image was annotated
    ]
    _save(run / FOLDER / TRUTH, pd.DataFrame(rows, columns=["image", "image_id", "label", *BOX]))


def write_epoch(run: Path, epoch: int, findings: Sequence[Findings]) -> None:
    """What an epoch says of the same images, in their order."""
    counts = [len(one.scores) for one in findings]
    table = {
        "image": np.repeat(np.arange(len(findings), dtype=np.int32), counts),
        "label": [str(name) for one in findings for name in one.labels],
        "score": np.concatenate([np.zeros(0), *(one.scores for one in findings)]).astype(
            np.float32
        ),
    }
    boxes = np.concatenate([np.zeros((0, 4)), *(one.boxes_px for one in findings)])
    table |= {name: boxes[:, i].astype(np.float32) for i, name in enumerate(BOX)}
    _save(run / FOLDER / f"epoch-{epoch:03d}.parquet", pd.DataFrame(table))


def kept_epochs(run: Path) -> dict[int, Path]:
    """Epoch -> its file, in their order."""
    matches = [(EPOCH.fullmatch(file.name), file) for file in (run / FOLDER).glob("*.parquet")]
    return dict(sorted((int(match[1]), file) for match, file in matches if match))


def read_epochs(run: Path, label: str = "") -> Epochs:
    """What a run kept.

    Args:
        label: of the boxes; "" is allowed where there is only one.

    Raises:
        DataError: nothing is kept, no such label, or no box in the truth.
    """
    files = kept_epochs(run)
    if not files or not (run / FOLDER / TRUTH).is_file():
        raise DataError(
            f"{run} keeps no unsuppressed predictions; train with --set train.keep_predictions=all "
            "(or [3, 6], or {last: 4})"
        )
    truth = pd.read_parquet(run / FOLDER / TRUTH)
    labels = sorted(set(truth["label"]) - {""})
    if not labels:
        raise DataError(f"{run}: no true box in the validation images: nothing to show")
    if label not in labels and (label or len(labels) > 1):
        raise DataError(f"{run}: {unknown('box label', label, labels)}")
    wanted = label or labels[0]
    images = sorted(set(truth["image"]))
    boxes = truth[truth["label"] == wanted]
    return Epochs(
        truth=tuple(one for one, _ in _by_image(boxes.assign(score=1.0), images)),
        predictions={
            float(epoch): tuple(_by_image(_of(pd.read_parquet(file), wanted), images))
            for epoch, file in files.items()
        },
    )


def run_grids(
    epochs: Epochs, suppress: Suppress, *, metric: str = "rsna_score", nms: float, score: float
) -> tuple[Grid, Grid]:
    """Score threshold × epoch after suppression at `nms`; NMS threshold × epoch of the boxes from
    `score` on."""
    apart = {n: suppressed(one, suppress, nms) for n, one in epochs.predictions.items()}
    return (
        score_by_epoch(epochs.truth, apart, metric=metric, scores=SCORES),
        nms_by_epoch(epochs.truth, epochs.predictions, suppress, metric=metric, threshold=score),
    )


def best_of(grid: Grid) -> dict[str, Any]:
    """The highest number of a grid and where it stands; empty where none is higher than others."""
    known = grid.values[~np.isnan(grid.values)]
    if not len(known) or known.min() == known.max():
        return {}
    row, column = np.unravel_index(np.nanargmax(grid.values), grid.values.shape)
    return {
        grid.rows[0]: grid.rows[1][row],
        grid.columns[0]: int(grid.columns[1][column]),
        grid.metric: float(grid.values[row, column]),
    }


def _of(table: pd.DataFrame, label: str) -> pd.DataFrame:
    return table[table["label"] == label]


def _by_image(table: pd.DataFrame, images: Sequence[int]) -> list[tuple[Float, Float]]:
    groups = {int(str(image)): own for image, own in table.groupby("image")}
    blank = table.iloc[:0]
    parts = [groups.get(image, blank) for image in images]
    return [(p[BOX].to_numpy(np.float64), p["score"].to_numpy(np.float64)) for p in parts]


def _save(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, compression="zstd", index=False)
