"""Whether catalog and predictions speak of the finding that is asked for, under that name.

Who never heard of a finding has not denied it: its absence from all labels, boxes and scores is no
answer. Knows no image and no number.
"""

from __future__ import annotations

from collections.abc import Collection

from hilum.core.errors import DataError
from hilum.data.adapters.values import plain
from hilum.data.catalog import Catalog
from hilum.evaluate.prediction_files import PredictionFile

RENAME = ". hilum data catalog OLD.parquet --rename NAME=NEW --out NEW.parquet renames"


def check_asked(catalog: Catalog, predictions: PredictionFile, finding: str) -> None:
    """Both sides have something to say of the finding.

    Args:
        catalog: the whole one: a split may be without a box of the finding.

    Raises:
        DataError: the catalog or the predictions know other findings only, or spell it otherwise.
    """
    masks = [c.removeprefix("mask_") for c in map(str, catalog.table) if c.startswith("mask_")]
    annotated = {*catalog.label_names, *catalog.box_names, *masks}
    _check(annotated, finding, f"catalog {catalog.name!r} has annotations")
    # A detector that found nothing anywhere wrote no label, and a challenge's table without boxes
    # holds the classes of studies only.
    boxes = {label for image in predictions.images.values() for label in image.labels}
    if boxes or not predictions.detects:
        others = {
            name
            for image in predictions.images.values()
            for name in (*image.whole, *(image.entry.get("masks") or ()))
        }
        _check({*boxes, *others}, finding, "the predictions are")
    if finding not in boxes and _spelled(boxes, finding):  # whatever a score is called
        _check(boxes, finding, "the predictions have boxes")


def _spelled(known: Collection[str], finding: str) -> list[str]:
    """The finding in other spellings."""
    return [name for name in sorted(known) if plain(name) == plain(finding)]


def _check(known: Collection[str], finding: str, whose: str) -> None:
    if not known or finding in known:
        return
    same = _spelled(known, finding)
    question = f"{finding!r} is asked for"
    if same:
        raise DataError(
            f"{whose} of {same[0]!r}, but {question}; needed: one spelling on both sides{RENAME}"
        )
    raise DataError(
        f"{whose} of {', '.join(sorted(known))} only, but {question}; needed: a finding that both "
        f"know (--finding){RENAME}"
    )
