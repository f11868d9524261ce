"""Draw forty held-out radiographs by a fixed rule, for a reader to open: docs/first-look.md.

    python scripts/first_look.py held/rsna_128 held/siim_covid_256 --predictions run --out look

Each folder is one of `hilum data convert … --part test`, RUN/NAME/findings.json what the shipped
pipeline answered (`--threshold 0`). Writes selection.csv and one picture an image: the radiograph
alone, and beside it true boxes (green), shown boxes (red, with score), boxes just below the
operating point (yellow). Radiographs: the folder stays out of the project.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.bundle import default_bundle
from hilum.data.catalog import open_catalog
from hilum.evaluate.metrics.boxes import iou_matrix
from hilum.evaluate.prediction_files import ImagePredictions, read_predictions

SEED, SIDE = 14, 768
TAKEN = {"missed": 12, "false mark": 12, "borderline": 8, "found": 8}
TOUCHES, FOUND, NEAR = 0.1, 0.5, 0.75  # IoU; IoU; share of the operating point
GREEN, RED, YELLOW = (60, 200, 60), (60, 60, 255), (0, 220, 255)  # BGR


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One image of the selection; files relative to the folder of its set."""

    set: str
    image_id: str
    stratum: str
    true_boxes: int
    shown_boxes: int
    best_score: float
    opacity: float


def stratum(true: NDArray[np.float64], own: ImagePredictions, threshold: float) -> str | None:
    """The first that holds of: a true box that no shown box touches; a shown box that touches no
    true one; a box just below the operating point or shown with IoU below .5; all boxes found.
    None: no box, drawn or shown."""
    shown = own.boxes[own.scores >= threshold]
    overlap = iou_matrix(true, shown)
    if (overlap.max(axis=1, initial=0) < TOUCHES).any():
        return "missed"
    if (overlap.max(axis=0, initial=0) < TOUCHES).any():
        return "false mark"
    if own.scores.max(initial=0) < threshold:
        return "borderline" if own.scores.max(initial=0) >= NEAR * threshold else None
    return "borderline" if (overlap.max(axis=1, initial=0) < FOUND).any() else "found"


def candidates(folder: Path, answers: Path, threshold: float) -> Iterator[Look]:
    catalog = open_catalog(folder / "catalog.parquet")
    images = read_predictions(answers).images
    for row, (image_id, path) in enumerate(
        zip(catalog.table["image_id"], catalog.table["path"], strict=True)
    ):
        own, known = images.get(path), catalog.exact_boxes(row)
        if own is None or own.status != "analysed" or known is None:
            continue
        kind = stratum(known[0], own, threshold)
        if kind:
            yield Look(
                set=folder.name,
                image_id=image_id,
                stratum=kind,
                true_boxes=len(known[0]),
                shown_boxes=int((own.scores >= threshold).sum()),
                best_score=round(float(own.scores.max(initial=0)), 3),
                opacity=round(float(own.whole.get("opacity", np.nan)), 3),
            )


def chosen(every: Sequence[Look]) -> list[Look]:
    """`TAKEN` of each stratum, the sets in turn, in the order of the seed."""
    order = np.random.default_rng(SEED).permutation(len(every))
    out: list[Look] = []
    for kind, count in TAKEN.items():
        own = [every[i] for i in order if every[i].stratum == kind]
        sets = sorted({look.set for look in own})
        queues = [[look for look in own if look.set == name] for name in sets]
        turns = [q[i] for i in range(max(map(len, queues), default=0)) for q in queues if i < len(q)]
        out += turns[:count]
    return out


def drawn(folder: Path, look: Look, own: ImagePredictions, threshold: float) -> NDArray[np.uint8]:
    """(SIDE, 2 × width) BGR."""
    catalog = open_catalog(folder / "catalog.parquet")
    row = int((catalog.table["image_id"] == look.image_id).to_numpy().argmax())
    grey = cv2.imread(str(folder / catalog.table["path"].iat[row]), cv2.IMREAD_GRAYSCALE)
    scale = SIDE / max(grey.shape)
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    plain = cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
    marked, known = plain.copy(), catalog.exact_boxes(row)
    near = own.scores >= NEAR * threshold
    for box, score in zip(own.boxes[near], own.scores[near], strict=True):
        _box(marked, box * scale, RED if score >= threshold else YELLOW, f"{score:.2f}")
    for box in known[0] if known else ():
        _box(marked, box * scale, GREEN, "")
    return np.hstack([plain, marked])


def _box(image: NDArray[np.uint8], box: NDArray[np.float64], colour: tuple[int, ...], text: str) -> None:
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, 2)
    cv2.putText(image, text, (x1 + 3, y1 + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="of hilum data convert --part test")
    parser.add_argument("--predictions", type=Path, required=True, help="holds NAME/findings.json")
    parser.add_argument("--out", type=Path, required=True, help="outside the project")
    options = parser.parse_args()
    manifest = default_bundle().manifest
    threshold = next(p.threshold for p in manifest.operating_points if p.name == "default")
    answers = {f.name: options.predictions / f.name / "findings.json" for f in options.folders}
    every = [x for f in options.folders for x in candidates(f, answers[f.name], threshold)]
    looks = chosen(every)
    options.out.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(map(astuple, looks), columns=[f.name for f in fields(Look)])
    table.to_csv(options.out / "selection.csv")
    print(pd.Series([look.stratum for look in every]).value_counts().to_string())
    where = {folder.name: folder for folder in options.folders}
    for number, look in enumerate(looks):
        folder = where[look.set]
        paths = open_catalog(folder / "catalog.parquet").table.set_index("image_id")["path"]
        own = read_predictions(answers[look.set]).images[paths[look.image_id]]
        cv2.imwrite(str(options.out / f"{number:02d}.png"), drawn(folder, look, own, threshold))


if __name__ == "__main__":
    main()
