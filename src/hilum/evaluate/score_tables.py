"""Tables of image scores, as anybody's classifier writes them -> scores by image.

One row an image; a column says which, the others what was said. Scores in one column without a
finding's name (`score`, `prob` ...) are of the finding that is asked for. Knows no catalog.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.values import number_of, text_of
from hilum.data.columns import COPIES, LISTS, NUMBERS, TEXT
from hilum.evaluate.challenges.tables import unique_ids

IDS = (
    *("image_id", "image", "image_index", "image_name", "img", "path", "image_path", "img_path"),
    *("filepath", "file_path", "file", "filename", "file_name", "name", "id", "dicom_id"),
    *("patientid", "sopinstanceuid", "sop_instance_uid"),
)
SCORES = frozenset(
    (
        *("score", "scores", "prob", "probs", "probability", "p", "pred", "preds", "prediction"),
        *("y_score", "y_pred", "y_prob", "y_hat", "output", "confidence"),
    )
)
PREFIX = re.compile(r"(?:score|prob|probability|pred|p)_(?=.)", re.IGNORECASE)
# What tables hold beside scores, however much it looks like one.
BESIDE = frozenset(
    (
        *IDS,
        *(name for group in (TEXT, NUMBERS, LISTS, COPIES) for name in group),
        *("label", "labels", "class", "target", "targets", "truth", "ground_truth", "gt"),
        *("y", "y_true", "fold", "index", "threshold", "loss", "fname", "patient_id", "weight"),
    )
)
TRUTHS = ("label_", "study_", "mask_", "target_", "true_", "gt_", "unnamed")


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Scores of images by name; of an image without any, an empty mapping."""

    scores: dict[str, dict[str, float]]
    left_out: tuple[str, ...]  # columns that are neither the image nor a score


def is_score_table(table: pd.DataFrame) -> bool:
    """Whether it has a column of images and one of scores."""
    return _id_column(table) is not None and bool(_score_columns(table))


def read_scores(table: pd.DataFrame, finding: str, name: str) -> ScoreTable:
    """The scores of a table of text cells.

    Args:
        finding: whose scores those of a column without a finding's name are.
        name: of the file, for errors.

    Raises:
        DataError: an image twice, two columns of one finding, a cell that is no number from 0 to 1.
    """
    key, columns = _id_column(table), _score_columns(table)
    assert key is not None  # is_score_table
    findings = [
        finding if _plain(column) in SCORES else PREFIX.sub("", column) for column in columns
    ]
    doubled = sorted({one for one in findings if findings.count(one) > 1})
    if doubled:
        own = [c for c, one in zip(columns, findings, strict=True) if one == doubled[0]]
        raise DataError(f"{name}: columns {', '.join(own)} are all scores of {doubled[0]}; which?")
    ids = unique_ids(table[key].str.strip(), name)
    cells = {one: table[column].tolist() for one, column in zip(findings, columns, strict=True)}
    scores = {
        image: {
            one: _score(values[row], f"{name}: {one} of {image!r}")
            for one, values in cells.items()
            if text_of(values[row])
        }
        for row, image in enumerate(ids)
    }
    used = {key, *columns}
    return ScoreTable(scores, tuple(c for c in table.columns if c not in used))


def _id_column(table: pd.DataFrame) -> str | None:
    named = {_plain(column): column for column in reversed(table.columns)}
    return next((named[one] for one in IDS if one in named), None)


def _score_columns(table: pd.DataFrame) -> list[str]:
    """Those that are called scores, else those whose every cell is a number from 0 to 1."""
    called = [c for c in table.columns if _is_called_score(_plain(c))]
    if called:
        return called
    free = [
        column
        for column in table.columns
        if _plain(column) not in BESIDE and not _plain(column).startswith(TRUTHS)
    ]
    return [column for column in free if _are_scores(table[column])]


def _is_called_score(plain: str) -> bool:
    """pred_label and p_id are none, whatever they begin with."""
    return plain in SCORES or bool(PREFIX.match(plain) and PREFIX.sub("", plain) not in BESIDE)


def _are_scores(cells: pd.Series[str]) -> bool:
    given = pd.Series([number_of(cell) for cell in cells if text_of(cell)], dtype="float64")
    return len(given) > 0 and bool(given.between(0, 1).all())


def _score(cell: str, where: str) -> float:
    value = number_of(cell)
    if value != value:
        raise DataError(f"{where}: {cell.strip()!r} is no number")
    if not 0 <= value <= 1:
        raise DataError(
            f"{where} is {value:g}; needed: a probability from 0 to 1 (of logits the sigmoid or "
            "softmax)"
        )
    return value


def _plain(column: str) -> str:
    return re.sub(r"[\s-]+", "_", column.strip().casefold())
