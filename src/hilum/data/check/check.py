"""What is wrong with a data set, before it is trained on: a table of problems, and a cleaned copy.

Knows the catalog and the facts that `check_files` read; opens no files itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.data.catalog import Catalog

Bool = NDArray[np.bool_]

# code -> what the cleaned copy does about it
REMEDIES = {
    "unreadable": "left out",
    "no-file": "left out",
    "not-chest": "left out",
    "duplicate": "left out but for the first",
    "no-label": "kept: for pretraining only",
    "patient-in-two-splits": "kept: make a new split",
    "picture-in-two-splits": "kept: make a new split",
    "box-without-label": "kept: decide which is right",
    "label-without-box": "kept: decide which is right",
    "box-outside": "box cut to the image",
    "box-empty": "box left out",
    "wrong-size": "size taken from the file",
    "photometric-mix": "kept: reading handles both",
}
LEFT_OUT = ("unreadable", "no-file", "not-chest", "duplicate")
TOLERANCE_PX = 0.5  # label tables hold rounded corners


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """`problems` has image_id, code, text; one row a problem."""

    catalog: Catalog
    facts: pd.DataFrame  # path -> what check_files found
    problems: pd.DataFrame

    def counts(self) -> dict[str, int]:
        found = self.problems["code"].value_counts()
        return {code: int(found[code]) for code in REMEDIES if code in found}

    def left_out(self) -> pd.DataFrame:
        """image_id, code, text of what `cleaned` leaves out, the first reason of each image."""
        worst = self.problems[self.problems["code"].isin(LEFT_OUT)]
        return worst.drop_duplicates("image_id")

    def cleaned(self) -> Catalog:
        """The catalog without what cannot be used, boxes cut to the images, sizes corrected."""
        kept = self.catalog.where(~self.catalog.table["image_id"].isin(self.left_out()["image_id"]))
        table = kept.table.copy()
        for side in ("width", "height"):
            real = (
                table["path"].map(self.facts[side]) if len(self.facts) else pd.Series(dtype=float)
            )
            table[side] = real.reindex(table.index).fillna(table[side]).astype("int32")
        pairs = [_cut(*row) for row in _box_rows(table)]
        table["boxes"] = pd.Series([b for b, _ in pairs], index=table.index, dtype=object)
        table["box_labels"] = pd.Series([n for _, n in pairs], index=table.index, dtype=object)
        notes = (*kept.notes, f"cleaned: {len(self.left_out())} images left out")
        return Catalog(kept.name, table, kept.root, notes)


def check(catalog: Catalog, facts: Iterable[dict[str, Any]] = ()) -> Report:
    """All problems of a catalog; without facts only those that the tables show."""
    known = pd.DataFrame(list(facts), columns=["path", "reason", "key", "width", "height",
                                               "photometric", "header"])  # fmt: skip
    known = known.drop_duplicates("path", keep="last").set_index("path")
    table = catalog.table
    found = [
        *_files(table, known),
        *_labels(table),
        *_boxes(table),
        *_splits(table, "patient", table["patient"], "patient-in-two-splits"),
    ]
    if len(known):
        found += list(_pictures(table, known))
    problems = pd.DataFrame(found, columns=["image_id", "code", "text"])
    return Report(catalog, known, problems)


Problem = tuple[str, str, str]


def _say(table: pd.DataFrame, rows: Bool, code: str, text: str) -> Iterator[Problem]:
    for image in table["image_id"][rows]:
        yield str(image), code, text


def _files(table: pd.DataFrame, facts: pd.DataFrame) -> Iterator[Problem]:
    has_file = (table["path"] != "").to_numpy()
    if has_file.any():  # a set of tables alone is not a set whose files are lost
        yield from _say(table, ~has_file, "no-file", "labelled, but there is no such file")
    if not len(facts):
        return
    reason = table["path"].map(facts["reason"])
    header = table["path"].map(facts["header"])
    for column, code in ((reason, "unreadable"), (header, "not-chest")):
        said = column.notna()
        yield from zip(table["image_id"][said], [code] * int(said.sum()), column[said], strict=True)
    width, height = table["path"].map(facts["width"]), table["path"].map(facts["height"])
    known = width.notna() & (table["width"] > 0)
    wrong = known & ((width != table["width"]) | (height != table["height"]))
    for i in np.flatnonzero(wrong).tolist():
        text = (
            f"file is {width.iat[i]:.0f}×{height.iat[i]:.0f} px, "
            f"table says {table['width'].iat[i]}×{table['height'].iat[i]}"
        )
        yield str(table["image_id"].iat[i]), "wrong-size", text
    shown = table["path"].map(facts["photometric"])
    if {"MONOCHROME1", "MONOCHROME2"} <= set(shown.dropna()):
        rare = "MONOCHROME1" if (shown == "MONOCHROME1").sum() * 2 < len(shown) else "MONOCHROME2"
        rows = (shown == rare).to_numpy(bool)
        yield from _say(table, rows, "photometric-mix", f"{rare}, unlike most of the set")


def _labels(table: pd.DataFrame) -> Iterator[Problem]:
    columns = [c for c in table if str(c).startswith(("label_", "study_", "mask_"))]
    unknown = table[columns].isna().all(axis=1) & table["boxes"].isna() & (table["split"] != "test")
    if not unknown.all():
        yield from _say(table, unknown.to_numpy(), "no-label", "nothing is annotated")


def _boxes(table: pd.DataFrame) -> Iterator[Problem]:
    names = table["box_labels"].map(lambda v: set() if v is None else set(v))
    drawn = set().union(*names) if len(names) else set()
    annotated = table["boxes"].notna()
    for name in sorted(drawn):
        if f"label_{name}" not in table:
            continue
        has_box, label = names.map(lambda v, n=name: n in v), table[f"label_{name}"]
        wrong = (has_box & (label == 0)).to_numpy()
        yield from _say(table, wrong, "box-without-label", f"has a box of {name}, label says none")
        wrong = (annotated & ~has_box & (label == 1)).to_numpy()
        yield from _say(table, wrong, "label-without-box", f"label says {name}, there is no box")
    for image, (flat, _, width, height) in zip(table["image_id"], _box_rows(table), strict=True):
        if flat is None or not len(flat):
            continue
        boxes = np.reshape(flat, (-1, 4))
        limits = (width, height, width, height) if width and height else (np.inf,) * 4
        inside = boxes.clip(0, limits)
        empty = ((inside[:, 2:] - inside[:, :2]) <= 0).any(axis=1)
        outside = (np.abs(boxes - inside) > TOLERANCE_PX).any(axis=1)
        for box in boxes[empty]:
            yield str(image), "box-empty", f"box {box.tolist()} has no area in the image"
        for box in boxes[outside & ~empty]:
            yield str(image), "box-outside", f"box {box.tolist()} leaves the image"


def _box_rows(table: pd.DataFrame) -> Iterator[tuple[Any, Any, int, int]]:
    return zip(table["boxes"], table["box_labels"], table["width"], table["height"], strict=True)


def _cut(flat: Any, names: Any, width: int, height: int) -> tuple[Any, Any]:
    """Boxes inside the image with some area, and their labels; None stays not annotated."""
    if flat is None or not len(flat):
        return flat, names
    boxes = np.reshape(np.asarray(flat, np.float64), (-1, 4))
    if width and height:
        boxes = boxes.clip(0, (width, height, width, height))
    keep = np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1), bool)
    return boxes[keep].ravel().tolist(), [n for n, k in zip(names, keep.tolist(), strict=True) if k]


def _splits(table: pd.DataFrame, what: str, keys: pd.Series[str], code: str) -> Iterator[Problem]:
    known = keys.notna() & (table["split"] != "")
    rows = table[known].assign(key=keys[known])
    torn = rows.groupby("key")["split"].transform("nunique") > 1
    for image, key, split in zip(
        rows["image_id"][torn], rows["key"][torn], rows["split"][torn], strict=True
    ):
        yield str(image), code, f"in {split}; the same {what} ({str(key)[:40]}) is elsewhere too"


def _pictures(table: pd.DataFrame, facts: pd.DataFrame) -> Iterator[Problem]:
    keys = table["path"].map(facts["key"])
    known = table[keys.notna()].assign(key=keys)
    first = known.groupby("key")["image_id"].transform("first")
    later = first != known["image_id"]
    for image, twin in zip(known["image_id"][later], first[later], strict=True):
        yield str(image), "duplicate", f"the same picture as {twin}"
    yield from _splits(table, "picture", keys, "picture-in-two-splits")
