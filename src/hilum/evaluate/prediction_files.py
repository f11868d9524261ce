"""Prediction files of one run, read and written: RSNA and SIIM-COVID CSV, tables of image scores,
hilum findings.json.

All become the same value, so that files of several models can be fused. Masks stay
files beside findings.json. Knows nothing of how predictions are fused or evaluated.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hilum.core import csv_cells
from hilum.core.documents import MOST_BYTES, parse_json
from hilum.core.errors import ConfigError, DataError, DocumentError
from hilum.core.files import read_at_most, write_text
from hilum.core.findings import Findings, finding_ids
from hilum.core.findings_schema import SCHEMA, check_document
from hilum.core.manifest import BOX, OperatingPoint
from hilum.core.options import checked
from hilum.core.results import read_mask
from hilum.data.frames import resized, same_shape
from hilum.evaluate.challenges.tables import (
    challenge_csv,
    labelled_boxes,
    need_sizes,
    read_table,
    rsna_boxes,
    unique_ids,
)
from hilum.evaluate.score_tables import ScoreTable, is_score_table, read_scores

Float = NDArray[np.float64]
Form = Literal["rsna", "siim-covid", "scores", "findings"]

_JSON = re.compile(rb"(\xef\xbb\xbf)?\s*\{")
WHOLE = [0.0, 0.0, 1.0, 1.0]  # the box of study classes and `none`


@dataclass(frozen=True, slots=True, eq=False)
class ImagePredictions:
    """What one model says of one image or study."""

    boxes: Float  # (n, 4) x1, y1, x2, y2 px
    scores: Float  # (n,)
    labels: tuple[str, ...]  # (n,)
    whole: Mapping[str, float] = field(default_factory=dict)  # scores without a place
    entry: Mapping[str, Any] = field(default_factory=dict)  # the rest of a findings.json entry
    size: tuple[int, int] | None = None  # width and height that the boxes are of, px, if stated

    @property
    def status(self) -> str:
        """ "analysed", "refused" or "failed"; a challenge's CSV knows answers only."""
        return str(self.entry.get("status", "analysed"))


def from_findings(findings: Findings) -> ImagePredictions:
    """What a pipeline or a network in training says of one image, masks left out."""
    return ImagePredictions(
        boxes=findings.boxes_px.astype(np.float64),
        scores=findings.scores.astype(np.float64),
        labels=findings.labels,
        whole=dict(findings.image_scores),
        size=(findings.width, findings.height),
    )


@dataclass(frozen=True, slots=True, eq=False)
class PredictionFile:
    """One model's predictions by id, in file order."""

    form: Form
    images: Mapping[str, ImagePredictions]
    header: Mapping[str, Any] = field(default_factory=dict)  # of findings.json
    folder: Path = Path()  # which the masks of findings.json are relative to
    left_out: tuple[str, ...] = ()  # columns of a table of scores that say nothing here

    @property
    def detects(self) -> bool:
        """Whether boxes are among its answers, so that none in an image is one."""
        if self.form in ("rsna", "siim-covid") or self.box_thresholds:
            return True
        return any(len(image.boxes) for image in self.images.values())

    @property
    def operating_points(self) -> tuple[OperatingPoint, ...]:
        """Those of the pipeline that made it; a CSV says none.

        Raises:
            DataError: one is none.
        """
        points = (self.header.get("pipeline") or {}).get("operating_points") or {}
        return tuple(
            checked(OperatingPoint, {"reason": "", **point}, f"operating point {name!r}", DataError)
            for name, point in points.items()
        )

    @property
    def box_thresholds(self) -> tuple[float, ...]:
        """Those below which `hilum predict` kept no box; none of a pipeline without boxes."""
        return tuple(p.threshold for p in self.operating_points if p.score == BOX)

    @property
    def floor(self) -> float:
        """Score below which there is no box; 0 where all were kept, or nobody says."""
        return max(self.box_thresholds, default=0.0)

    def mask(
        self, image: ImagePredictions, name: str, height: int, width: int
    ) -> NDArray[np.bool_]:
        """(height, width) mask that a run wrote, resized where it was made on a copy.

        Raises:
            DataError: missing, damaged, or of another shape than the image it was made of.
        """
        reference = str(image.entry["masks"][name])
        mask = read_mask(self.folder, reference)
        rows, columns = mask.shape
        stated = image.entry.get("width") or columns, image.entry.get("height") or rows
        if not same_shape((columns, rows), stated):
            raise DataError(
                f"mask {reference!r} is {columns} × {rows} px, its image {stated[0]} × "
                f"{stated[1]}; needed: one of the image's shape"
            )
        return resized(mask, height, width)


def read_predictions(path: str | Path, finding: str = "opacity") -> PredictionFile:
    """Read a prediction file; its form is seen from its content.

    Args:
        finding: which one a table's column of scores without a name is of.

    Raises:
        DataError: cannot be read, unknown columns or schema, malformed predictions, or boxes that
            are parts of the image instead of pixels.
    """
    file = Path(path)
    try:
        content = read_at_most(file, MOST_BYTES)  # once: it may be a pipe
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise DataError(f"{path} cannot be read: {reason}") from problem
    predictions = _read(file, content, finding)
    boxed = {name: image.boxes for name, image in predictions.images.items() if image.boxes.size}
    parts = [name for name, boxes in boxed.items() if boxes.max() <= 1 and (boxes % 1).any()]
    if parts or (boxed and max(boxes.max() for boxes in boxed.values()) <= 1):
        raise DataError(
            f"{path}: no box of {len(parts or boxed)} images reaches beyond 1 (first: "
            f"{next(iter(parts or boxed))!r}): they are parts of the image (0 to 1); needed: pixels"
        )
    return predictions


def _read(file: Path, content: bytes, finding: str) -> PredictionFile:
    if file.suffix.lower() == ".json" or _JSON.match(content):
        return _read_json(file, content)
    table = read_table((str(file), content), (), "predictions", once=True)
    forms: dict[str, Form] = {"patientId": "rsna", "id": "siim-covid"}
    key = next((column for column in forms if column in table.columns), None)
    if key is None or "PredictionString" not in table:
        if {"image", "sop_instance_uid", "status", "box", "x1"} <= {*table.columns}:
            raise DataError(
                f"{file} is a table of findings, to be read by people; needed: its .json"
            )
        if is_score_table(table):
            return _from_scores(read_scores(table, finding, str(file)))
        masks = " Masks as run lengths are scored by hilum evaluate challenge siim-acr."
        raise DataError(
            f"{file}: columns {', '.join(table.columns)}; needed: patientId or id, and "
            "PredictionString; or an image's name and its scores from 0 to 1, as in image,score; "
            "or findings.json of hilum predict." + masks * ("EncodedPixels" in table)
        )
    read = _from_rsna if key == "patientId" else _from_siim
    ids = unique_ids(table[key], str(file))
    texts = zip(ids, table["PredictionString"], strict=True)
    images = {name: read(text, name) for name, text in texts}
    if read is _from_rsna:
        need_sizes((image.boxes for image in images.values()), str(file))
    return PredictionFile(forms[key], images)


def _from_scores(table: ScoreTable) -> PredictionFile:
    """Image scores without any box; a row without a score is no answer."""
    images = {
        name: ImagePredictions(
            boxes=np.zeros((0, 4)),
            scores=np.zeros(0),
            labels=(),
            whole=own,
            entry={} if own else {"status": "failed"},
        )
        for name, own in table.scores.items()
    }
    return PredictionFile("scores", images, left_out=table.left_out)


def document(predictions: PredictionFile) -> dict[str, Any]:
    """The whole of a findings.json."""
    images = [_to_entry(image) for image in predictions.images.values()]
    return {"schema": SCHEMA, **predictions.header, "images": images}


def write_predictions(path: str | Path, predictions: PredictionFile) -> None:
    """Write a prediction file in its form, atomically."""
    if predictions.form == "findings":
        whole = document(predictions)
        text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
        write_text(path, text + "\n")
        return
    if predictions.form == "scores":
        write_text(path, csv_cells.to_csv(*_score_table(predictions)))
        return
    rsna = predictions.form == "rsna"
    write = rsna_text if rsna else siim_text
    rows = ([name, write(image)] for name, image in predictions.images.items())
    columns = ("patientId" if rsna else "id", "PredictionString")
    write_text(path, challenge_csv(columns, rows))


def _score_table(predictions: PredictionFile) -> tuple[list[str], Iterator[list[str]]]:
    """Columns and rows."""
    names = list(dict.fromkeys(n for image in predictions.images.values() for n in image.whole))
    rows = (
        [image, *(number_text(own.whole[n]) if n in own.whole else "" for n in names)]
        for image, own in predictions.images.items()
    )
    return ["image", *(f"score_{name}" for name in names)], rows


def _from_rsna(text: str, name: str) -> ImagePredictions:
    boxes, scores = rsna_boxes(text, name)
    return ImagePredictions(boxes=boxes, scores=scores, labels=("opacity",) * len(boxes))


def _from_siim(text: str, name: str) -> ImagePredictions:
    rows = labelled_boxes(text, name)
    placed = [row for row in rows if row.corners != WHOLE]
    return ImagePredictions(
        boxes=np.array([row.corners for row in placed], np.float64).reshape(-1, 4),
        scores=np.array([row.score for row in placed], np.float64),
        labels=tuple(row.label for row in placed),
        whole={row.label: row.score for row in rows if row.corners == WHOLE},
    )


def rsna_text(image: ImagePredictions) -> str:
    """score x y width height of each box."""
    sides = image.boxes[:, 2:] - image.boxes[:, :2]
    rows = np.concatenate([image.scores[:, None], image.boxes[:, :2], sides], axis=1)
    return " ".join(number_text(value) for value in rows.ravel())


def siim_text(image: ImagePredictions) -> str:
    """label score x1 y1 x2 y2 of each box, and of scores without a place in the box 0 0 1 1."""
    rows = list(zip(image.labels, image.scores, image.boxes.tolist(), strict=True))
    rows += [(label, score, WHOLE) for label, score in image.whole.items()]
    return " ".join(
        " ".join([label, *(number_text(value) for value in (score, *box))])
        for label, score, box in rows
    )


def number_text(value: float) -> str:
    """Six digits, without zeros at the end."""
    return f"{float(value):.6f}".rstrip("0").rstrip(".")


def _read_json(file: Path, text: bytes) -> PredictionFile:
    try:
        content = parse_json(text)
        check_document(content)
    except (DataError, DocumentError) as error:
        raise DataError(f"{file}: {error}") from error
    images = {entry["path"]: _from_entry(entry) for entry in content["images"]}
    counts = Counter(entry["path"] for entry in content["images"])
    doubled = [name for name, count in counts.items() if count > 1]
    if doubled:
        raise DataError(
            f"{file}: {len(doubled)} images stand in it more than once, {doubled[0]!r} first; "
            "needed: one answer an image"
        )
    header = {key: content.get(key) for key in ("pipeline", "studies")}
    return PredictionFile("findings", images, header, file.parent)


def _from_entry(entry: Mapping[str, Any]) -> ImagePredictions:
    boxes = np.array([f["box_px"] for f in entry["findings"]], np.float64)
    width, height = entry.get("width"), entry.get("height")
    return ImagePredictions(
        boxes=boxes.reshape(-1, 4),
        scores=np.array([f["score"] for f in entry["findings"]], np.float64),
        labels=tuple(f["label"] for f in entry["findings"]),
        whole=dict(entry["scores"]),
        entry=dict(entry),
        size=(width, height) if width and height else None,
    )


def _to_entry(image: ImagePredictions) -> dict[str, Any]:
    names = finding_ids(image.labels, image.boxes)
    rows = zip(names, image.labels, image.scores, image.boxes, strict=True)
    return {
        **image.entry,
        "scores": {name: round(float(score), 6) for name, score in image.whole.items()},
        "findings": [
            {
                "id": name,
                "label": str(label),
                "score": round(float(score), 6),
                "box_px": [round(float(edge), 2) for edge in box],
            }
            for name, label, score, box in rows
        ],
        # Masks are not fused, and pictures show another model's boxes.
        **{"masks": {}, "outlines": {}, "files": {}},
    }


def model_names(files: Sequence[Path]) -> tuple[str, ...]:
    """What the models of files are called: by the file, or where several share its name (as all
    findings.json do) by the folder.

    Raises:
        ConfigError: names that are not different.
    """
    count = Counter(file.stem for file in files)
    names = tuple(f.stem if count[f.stem] == 1 else f.absolute().parent.name for f in files)
    if len({*names}) < len(names):
        raise ConfigError("models need names of their own: rename a prediction file or its folder")
    return names
