"""Draw forty held-out radiographs by a fixed rule, for a reader to open: docs/first-look.md.

    python scripts/first_look.py held/siim_covid_256 held/rsna_128 --predictions run --out look

Each folder is one of `hilum data convert … --part test --to png`; RUN/NAME/findings.json is what
the shipped pipeline answered (`--threshold 0`). Writes selection.csv and one picture an image: the
radiograph alone, and beside it true boxes (green), shown boxes (red, with score) and those just
below the operating point (yellow). These are radiographs: keep the folder out of the project.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.bundle import default_bundle
from hilum.core.geometry import iou_matrix
from hilum.data.catalog import Catalog, open_catalog
from hilum.evaluate.answers import match_answers
from hilum.evaluate.prediction_files import ImagePredictions, read_predictions

SEED, SIDE = 14, 768
TAKEN = {"missed": 11, "false mark": 11, "borderline": 7, "found": 7, "no boxes drawn": 4}
TOUCHES, FOUND, NEAR = 0.1, 0.5, 0.75  # IoU; IoU; share of the operating point
GREEN, RED, YELLOW = (60, 200, 60), (60, 60, 255), (0, 220, 255)  # BGR

Float = NDArray[np.float64]
Bgr = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One image, as it stands in selection.csv."""

    set: str
    image_id: str
    stratum: str
    true_boxes: int
    shown_boxes: int
    best_box: float
    opacity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a picture is drawn from."""

    look: Look
    file: Path
    true_px: Float  # (n, 4), in the pixels of the file
    answer: ImagePredictions


def stratum(true_px: Float, own: ImagePredictions, threshold: float) -> str | None:
    """The first that holds of: a true box that no shown box touches; a shown box that touches no
    true one; nothing shown but a box just below the operating point, or a true box covered with
    IoU below .5; all true boxes found. None: no box, neither drawn nor shown."""
    overlap = iou_matrix(true_px, own.boxes[own.scores >= threshold])
    best = own.scores.max(initial=0)
    if (overlap.max(axis=1, initial=0) < TOUCHES).any():
        return "missed"
    if (overlap.max(axis=0, initial=0) < TOUCHES).any():
        return "false mark"
    if best < threshold:
        return "borderline" if best >= NEAR * threshold else None
    return "borderline" if (overlap.max(axis=1, initial=0) < FOUND).any() else "found"


def candidates(folder: Path, answers: Path, threshold: float) -> Iterator[Drawn]:
    """Every test image of one set that belongs into a stratum."""
    catalog = open_catalog(folder / "catalog.parquet")
    images = match_answers(catalog, read_predictions(answers)).images
    for row, (own, record) in enumerate(zip(images, catalog.table.to_dict("records"), strict=True)):
        if own is None or record["split"] != "test":
            continue
        kind, true_px = _kind(catalog, row, record, own, threshold)
        if kind is None:
            continue
        look = Look(
            set=folder.name,
            image_id=record["image_id"],
            stratum=kind,
            true_boxes=len(true_px),
            shown_boxes=int((own.scores >= threshold).sum()),
            best_box=round(float(own.scores.max(initial=0)), 2),
            opacity=round(float(own.whole["opacity"]), 2),
        )
        yield Drawn(look=look, file=folder / record["path"], true_px=true_px, answer=own)


def _kind(
    catalog: Catalog, row: int, record: dict[Any, Any], own: ImagePredictions, threshold: float
) -> tuple[str | None, Float]:
    known = catalog.exact_boxes(row)
    if known is not None:
        return stratum(known[0], own, threshold), known[0]
    return "no boxes drawn" if record.get("label_normal") == 0 else None, np.zeros((0, 4))


def chosen(every: Sequence[Drawn]) -> list[Drawn]:
    """`TAKEN` of each stratum, the sets in turn, in the order of the seed."""
    order = np.random.default_rng(SEED).permutation(len(every))
    out: list[Drawn] = []
    for kind, count in TAKEN.items():
        own = [every[i] for i in order if every[i].look.stratum == kind]
        table = pd.Series([one.look.set for one in own])
        turn = table.groupby(table).cumcount()
        out += [own[i] for i in np.lexsort((table, turn))[:count]]
    return out


def drawn(one: Drawn, threshold: float) -> Bgr:
    """The radiograph, alone and marked; its longer side `SIDE` px."""
    grey = cv2.imread(str(one.file), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise SystemExit(f"{one.file} is no image")
    scale = SIDE / max(grey.shape)
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    plain = cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
    marked = plain.copy()
    for box, score in zip(one.answer.boxes, one.answer.scores, strict=True):
        if score >= NEAR * threshold:
            _box(marked, box * scale, RED if score >= threshold else YELLOW, f"{score:.2f}")
    for box in one.true_px:
        _box(marked, box * scale, GREEN)
    return np.asarray(np.hstack([plain, marked]), np.uint8)


def _box(image: Any, box: Float, colour: tuple[int, int, int], text: str = "") -> None:
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, 2)
    cv2.putText(image, text, (x1 + 3, y1 + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="of hilum data convert --part test")
    parser.add_argument("--predictions", type=Path, required=True, help="holds NAME/findings.json")
    parser.add_argument("--out", type=Path, required=True, help="outside the project")
    options = parser.parse_args()
    threshold = default_bundle().manifest.operating_points["default"].threshold
    every: list[Drawn] = []
    for folder in options.folders:
        answers = options.predictions / folder.name / "findings.json"
        every += candidates(folder, answers, threshold)
    counted = pd.DataFrame([astuple(one.look)[:3] for one in every], columns=["set", "id", "kind"])
    print(pd.crosstab(counted["set"], counted["kind"]))
    looks = chosen(every)
    options.out.mkdir(parents=True, exist_ok=True)
    columns = [field.name for field in fields(Look)]
    table = pd.DataFrame([astuple(one.look) for one in looks], columns=columns)
    table.to_csv(options.out / "selection.csv")
    for number, one in enumerate(looks):
        cv2.imwrite(str(options.out / f"{number:02d}.png"), drawn(one, threshold))


if __name__ == "__main__":
    main()
