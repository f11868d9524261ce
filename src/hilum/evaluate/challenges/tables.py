"""The challenges' own tables, read for scoring, and written. Knows their columns, no metric.

Survives a byte order mark and blanks in column names; refuses duplicate, missing and unknown ids,
as the challenges do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core import csv_cells
from hilum.core.errors import DataError
from hilum.core.geometry import FARTHEST_PX
from hilum.data.adapters import values
from hilum.data.adapters.rsna import SIDE
from hilum.data.cells import Source, read_cells

Float = NDArray[np.float64]
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
SIDES = ("x", "y", "width", "height")
MANY_BOXES = 12  # from which on what all share is no chance
Table = Source | pd.DataFrame


def read_table(
    source: Table, columns: Sequence[str], name: str, *, once: bool = False
) -> pd.DataFrame:
    """A CSV file or data frame with at least these columns, all cells text, "" where blank.

    Args:
        once: whether every column may stand there once only, not just these.

    Raises:
        DataError: no such file, not a table, or a column is missing.
    """
    if isinstance(source, pd.DataFrame):
        table = source.copy()
    else:
        cells = read_cells(source)
        file = source[0] if isinstance(source, tuple) else os.fspath(source)
        if cells.short:
            raise DataError(
                f"{name} {file}: row {cells.short[0]} has fewer cells than there are "
                "columns; a row that is cut is no blank answer"
            )
        if cells.totals:
            raise DataError(
                f"{name} {file}: it ends in a row {cells.totals[0]!r}: sums and means "
                "are no images; needed: the table without them"
            )
        twins = sorted(set(cells.twins) if once else set(cells.twins) & set(columns))
        if twins:
            raise DataError(
                f"{name} {file}: column {', '.join(twins)} stands there twice; which one counts?"
            )
        table = cells.table
    table.columns = pd.Index([str(column).strip() for column in table.columns])
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(
            f"{name}: column {', '.join(missing)} is missing; it has {', '.join(table.columns)}"
        )
    return table.astype(object).where(table.notna(), "").astype(str)


def challenge_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A submission; its ids stay as the challenge wrote them (unlike those of `core.csv_cells`)."""
    return "".join(map(csv_cells.line, (columns, *rows)))


def unique_ids(ids: pd.Series[str], name: str) -> list[str]:
    """The ids of a table that has one row for each."""
    doubled = ids[ids.duplicated()]
    if len(doubled):
        raise DataError(f"{name}: {doubled.iloc[0]!r} stands in more than one row")
    return ids.tolist()


def same_ids(truth: Iterable[str], submission: Iterable[str]) -> None:
    """Raises DataError unless the submission names every image of the truth and no other."""
    wanted, given = set(truth), set(submission)
    for ids, what in ((wanted - given, "is missing from"), (given - wanted, "is unknown, but in")):
        if ids:
            hint = ""
            if {_bare(name) for name in wanted} == {_bare(name) for name in given}:
                hint = f": {min(given - wanted)!r} there; zeros, .0 or a suffix is all that differs"
            raise DataError(f"{len(ids)} ids: {min(ids)!r} {what} the submission{hint}")


def _bare(name: str) -> str:
    """An id without what spreadsheets take from it and programs add to it."""
    word = re.sub(r"\.(0+|dcm|dicom|png|jpe?g)$", "", name.strip(), flags=re.IGNORECASE)
    return word.lstrip("0").casefold()


def numbers(words: Sequence[str], row: str) -> list[float]:
    """Words as numbers that an image can hold; none is written as 1_0 or in other digits."""
    odd = next((word for word in words if not _NUMBER.fullmatch(word)), None)
    if odd is not None:
        raise DataError(f"{row}: {odd!r} is no number")
    values = [float(word) for word in words]
    if not (np.abs(values) <= FARTHEST_PX).all():
        raise DataError(f"{row}: holds numbers beyond any image")
    return values


class LabelledBox(NamedTuple):
    label: str
    score: float
    corners: list[float]  # x1, y1, x2, y2 px


def labelled_boxes(text: str, row: str) -> list[LabelledBox]:
    """A SIIM-COVID prediction string: label score x1 y1 x2 y2 of each box.

    Raises:
        DataError: not groups of six, scores outside [0, 1], reversed corners.
    """
    words = text.split()
    if len(words) % 6:
        raise DataError(f"{row}: needed: groups of label score x1 y1 x2 y2")
    out = []
    for k in range(0, len(words), 6):
        score, *box = numbers(words[k + 1 : k + 6], row)
        if not 0 <= score <= 1:
            raise DataError(f"{row}: score {score}; needed: a number in [0, 1]")
        if box[2] < box[0] or box[3] < box[1]:
            raise DataError(f"{row}: corners {box} are reversed; needed: x1 y1 x2 y2")
        out.append(LabelledBox(words[k], score, box))
    return out


def rsna_predictions(source: Table) -> dict[str, tuple[Float, Float]]:
    """A submission `patientId,PredictionString` -> boxes (m, 4) x1 y1 x2 y2 and scores (m,).

    Raises:
        DataError: a string is not groups of score x y width height, or an id is doubled.
    """
    table = read_table(source, ("patientId", "PredictionString"), "submission")
    ids = unique_ids(table["patientId"], "submission")
    texts = zip(ids, table["PredictionString"], strict=True)
    predictions = {name: rsna_boxes(text, name) for name, text in texts}
    need_sizes((boxes for boxes, _ in predictions.values()), "submission")
    return predictions


def need_sizes(images: Iterable[Float], what: str) -> None:
    """Of boxes (n, 4) x1 y1 x2 y2 of RSNA's images, read as corner and size.

    Raises:
        DataError: they were two corners. Then each is wider than its x and higher than its y, as
            findings of both lungs never are, and the image ends before many of them do.
    """
    boxes = np.concatenate([np.zeros((0, 4)), *images])
    as_corners = (boxes[:, 2:] > 2 * boxes[:, :2]).all()
    beyond = int((boxes[:, 2:] > SIDE).any(axis=1).sum())
    if len(boxes) >= MANY_BOXES and as_corners and beyond >= len(boxes) / 4:
        raise DataError(
            f"{what}: all {len(boxes)} boxes are wider than their x and higher than their y, and "
            f"{beyond} leave an image of {SIDE} px: they are corners (x1 y1 x2 y2); needed: x y "
            "width height"
        )


def rsna_boxes(text: str, name: str) -> tuple[Float, Float]:
    """An RSNA prediction string: boxes (m, 4) x1 y1 x2 y2 and scores (m,)."""
    words = text.split()
    if len(words) % 5:
        raise DataError(f"{name}: {len(words)} numbers; needed: groups of score x y width height")
    rows = np.array(numbers(words, name)).reshape(-1, 5)
    if (rows[:, 3:] < 0).any():
        raise DataError(f"{name}: a box has a negative width or height")
    if len(rows) and not (rows[:, 0].min() >= 0 and rows[:, 0].max() <= 1):
        raise DataError(f"{name}: scores must lie in [0, 1]")
    return _corners(rows[:, 1:]), rows[:, 0]


def rsna_truth(source: Table) -> dict[str, Float]:
    """A label table `patientId,x,y,width,height,Target` -> boxes (n, 4) x1 y1 x2 y2 by image.

    Rows that repeat another one exactly are dropped: the published stage-1 test file has 516.
    """
    columns = ["patientId", *SIDES, "Target"]
    table = read_table(source, columns, "truth")[columns].drop_duplicates()
    names = table["patientId"]
    target = values.flags(table["Target"], "Target", names)
    boxes = np.stack([values.numbers(table[side]) for side in SIDES], axis=1)
    _check_truth(names, boxes, target)
    out: dict[str, list[Float]] = {name: [] for name in names}
    for name, box, drawn in zip(names, boxes, target == 1, strict=True):
        if drawn:
            out[name].append(box)
    truth = {name: _corners(np.reshape(own, (-1, 4))) for name, own in out.items()}
    need_sizes(truth.values(), "truth")
    return truth


def _check_truth(names: pd.Series[str], boxes: Float, target: pd.Series[float]) -> None:
    """Raises DataError for images of no Target or of two, and for damaged boxes."""
    drawn = (target == 1).to_numpy(bool)
    torn = target.groupby(names).nunique(dropna=False) > 1
    faults: dict[str, Any] = {
        "has no Target; needed: 1 or 0": target.isna(),
        "has Target 1 and 0": names.map(torn),
        "has Target 1 but no proper box": drawn & ~np.isfinite(boxes).all(axis=1),
        "has Target 1 and a box of negative width or height": drawn
        & (boxes[:, 2:] < 0).any(axis=1),
        "holds numbers beyond any image": drawn & (np.abs(boxes) > FARTHEST_PX).any(axis=1),
    }
    for words, rows in faults.items():
        wrong = names[np.asarray(rows, bool)]
        if len(wrong):
            raise DataError(f"truth: {wrong.iat[0]} {words}")


def _corners(xywh: Float) -> Float:
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
