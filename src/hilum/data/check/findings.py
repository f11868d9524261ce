"""What is wrong with a data set, before it is trained on: a table of problems, and a cleaned copy.

Knows the catalog and the facts that `file_facts` read; opens no files itself. The cleaned copy
leaves out what cannot be used and all but one of equal images that say the same, never a sound
image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.data.adapters.values import NOTHING, plain
from hilum.data.catalog import Catalog
from hilum.data.check.boxes import Problem, box_problems
from hilum.data.check.files import FACTS
from hilum.data.check.masks import mask_problems
from hilum.data.columns import PREFIXES
from hilum.data.duplicates import copies, joined
from hilum.data.frames import same_shape
from hilum.data.split import STAND_INS, person
from hilum.dicom.plane import LATERAL

Bool = NDArray[np.bool_]

# code -> what the cleaned copy does about it
REMEDIES = {
    "unreadable": "left out",
    "no-file": "left out",
    "not-chest": "left out",
    "wrong-shape": "left out",
    "duplicate": "left out but for one",
    "duplicate-differs": "kept: decide which annotation is right",
    "copy": "kept: is one made of the other?",
    "not-chest-by-pixels": "kept: look at it, hilum predict refuses it",
    "other-body-part": "kept: look at it",
    "reading": "kept: look at it",
    "no-label": "kept: for pretraining only",
    "patient-in-two-splits": "kept: make a new split",
    "image-in-two-splits": "kept: make a new split",
    "image-of-two-patients": "kept: decide whose it is",
    "study-of-two-patients": "kept: decide whose it is",
    "patient-of-most": "kept: is it a stand-in for unknown patients?",
    "labels-contradict": "kept: decide which is right",
    "label-spelling": "kept: give a label one name",
    "box-without-label": "kept: decide which is right",
    "label-without-box": "kept: decide which is right",
    "mask-without-label": "kept: decide which is right",
    "label-without-mask": "kept: decide which is right",
    "box-outside": "box cut to the image",
    "box-empty": "box left out",
    "box-tiny": "kept: are they parts of the image, not pixels?",
    "box-in-corner": "kept: is it in per cent, or of a smaller copy?",
    "box-whole": "kept: is it a finding?",
    "boxes-off-midline": "kept: are centres taken for corners, or of one side only?",
    "boxes-transposed": "kept: did x and y change places?",
    "boxes-as-corners": "kept: are width and height corners (x2, y2)?",
    "boxes-in-a-corner": "kept: were they drawn on a smaller copy?",
    "box-twice": "kept: decide whether one is meant",
    "wrong-size": "boxes scaled to the file",
    "mask-unreadable": "mask unknown",
    "mask-empty": "kept: decide whether nothing is there",
    "mask-odd": "kept: look at it",
    "photometric-mix": "kept: reading handles both",
}
LEFT_OUT = ("unreadable", "no-file", "not-chest", "wrong-shape", "duplicate")
DEVICES = ("support-devices",)  # CheXpert's "No Finding" may have them
MANY_IMAGES = 12  # of one patient, and more than half of the set


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """`problems` has image_id, code, text; one row a problem."""

    catalog: Catalog
    facts: pd.DataFrame  # path -> what file_facts found
    problems: pd.DataFrame

    def counts(self) -> dict[str, int]:
        codes = self.problems["code"].value_counts()
        return {code: int(codes[code]) for code in REMEDIES if code in codes}

    def left_out(self) -> pd.DataFrame:
        """image_id, code, text of what `cleaned` leaves out, the first reason of each image."""
        worst = self.problems[self.problems["code"].isin(LEFT_OUT)]
        return worst.drop_duplicates("image_id")

    def cleaned(self) -> Catalog:
        """The catalog without what cannot be used, boxes scaled to the files and cut to them."""
        lost = self.catalog.table["image_id"].isin(self.left_out()["image_id"]).to_numpy(bool)
        kept = self.catalog.without(lost, "cleaned", "images were left out by hilum data check")
        table = kept.table.copy()
        frames = [self._size(row) for row in table[["path", "width", "height"]].itertuples()]
        boxes, labels = [], []
        for row, (width, height) in enumerate(frames):
            flat, names = _cut(kept.boxes_in(row, width, height), width, height)
            boxes.append(flat)
            labels.append(names)
        table["boxes"] = pd.Series(boxes, index=table.index, dtype=object)
        table["box_labels"] = pd.Series(labels, index=table.index, dtype=object)
        table[["width", "height"]] = np.array(frames, "int32").reshape(-1, 2)
        bad = self.problems[self.problems["code"] == "mask-unreadable"]
        for image, text in zip(bad["image_id"], bad["text"], strict=True):
            table.loc[table["image_id"] == image, text.partition(":")[0]] = None
        return replace(kept, table=table)

    def _size(self, row: Any) -> tuple[int, int]:
        """Of the file, if it was read; else as the table says."""
        file: Any = self.facts.loc[row.path] if row.path in self.facts.index else None
        if file is None or pd.isna(file["width"]):
            return int(row.width), int(row.height)
        return int(file["width"]), int(file["height"])


def check(catalog: Catalog, facts: Iterable[dict[str, Any]] = ()) -> Report:
    """All problems of a catalog; without facts only those that the tables show."""
    known = pd.DataFrame(list(facts), columns=["path", *FACTS])
    known = known.drop_duplicates("path", keep="last").set_index("path")
    table = catalog.table
    rows = [
        *_files(catalog, known),
        *_labels(catalog),
        *_nothing_and_something(table),
        *_spellings(catalog),
        *_box_labels(catalog),
        *box_problems(catalog),
        *mask_problems(catalog),
        *_mask_labels(table),
        *_splits(table, "patient", table["patient"].map(person), "patient-in-two-splits"),
        *_of_most(table),
        *_owners(table, "study", table["study"].where(table["study"] != "")),
    ]
    if len(known):
        unfit = {image for image, code, _ in rows if code in LEFT_OUT}
        rows += list(_duplicates(table, known, unfit))
    problems = pd.DataFrame(rows, columns=["image_id", "code", "text"])
    return Report(catalog=catalog, facts=known, problems=problems)


def _say(table: pd.DataFrame, rows: Bool, code: str, text: str) -> Iterator[Problem]:
    for image in table["image_id"][rows]:
        yield str(image), code, text


def _files(catalog: Catalog, facts: pd.DataFrame) -> Iterator[Problem]:
    table = catalog.table
    has_file = (table["path"] != "").to_numpy()
    if has_file.any():  # a set of tables alone is not a set whose files are lost
        yield from _say(table, ~has_file, "no-file", "labelled, but there is no such file")
    with_header = table["path"].map(facts["header"]).notna() if len(facts) else False
    lateral = table["view"].str.upper().isin(LATERAL) & ~pd.Series(with_header, index=table.index)
    yield from _say(table, lateral.to_numpy(bool), "not-chest", "a lateral view by the set's table")
    if not len(facts):
        return
    codes = {"reason": "unreadable", "header": "not-chest", "part": "other-body-part"}
    codes["gate"] = "not-chest-by-pixels"
    codes["reading"] = "reading"  # what a file contradicts itself in, as it is read
    for name, code in codes.items():
        values = table["path"].map(facts[name])
        known = values.notna()
        images = table["image_id"][known]
        yield from zip(images, [code] * len(images), values[known], strict=True)
    yield from _sizes(catalog, facts)
    yield from _masks(table, facts)
    shown = table["path"].map(facts["photometric"])
    if {"MONOCHROME1", "MONOCHROME2"} <= set(shown.dropna()):
        rare = "MONOCHROME1" if (shown == "MONOCHROME1").sum() * 2 < len(shown) else "MONOCHROME2"
        rows = (shown == rare).to_numpy(bool)
        yield from _say(table, rows, "photometric-mix", f"{rare}, unlike most of the set")


def _sizes(catalog: Catalog, facts: pd.DataFrame) -> Iterator[Problem]:
    sizes = catalog.table[["path"]].join(facts[["width", "height"]], on="path")
    for row in np.flatnonzero(sizes["width"].notna()).tolist():
        width, height = sizes[["width", "height"]].iloc[row].tolist()
        file, frame = (int(width), int(height)), catalog.frame(row)
        if file == frame or not min(frame):
            continue
        drawn = catalog.boxes(row)
        fits = same_shape(file, frame) or drawn is None or not len(drawn[0])
        text = f"file is {file[0]}×{file[1]} px, table says {frame[0]}×{frame[1]}"
        yield (
            str(catalog.table["image_id"].iat[row]),
            "wrong-size" if fits else "wrong-shape",
            text,
        )


def _masks(table: pd.DataFrame, facts: pd.DataFrame) -> Iterator[Problem]:
    for image, own in zip(table["image_id"], table["path"].map(facts["drawn"]), strict=True):
        for column, (code, words) in (own if isinstance(own, dict) else {}).items():
            yield str(image), code, f"{column}: {words}"


def _labels(catalog: Catalog) -> Iterator[Problem]:
    unknown = ~catalog.annotated
    if not unknown.all():
        rows = unknown & ~catalog.withheld
        yield from _say(catalog.table, rows, "no-label", "nothing is annotated")


def _box_labels(catalog: Catalog) -> Iterator[Problem]:
    table = catalog.table
    names = table["box_labels"].map(lambda v: set() if v is None else set(v))
    annotated = table["boxes"].notna()
    for name in catalog.box_names:
        if f"label_{name}" not in table:
            continue
        has_box, label = names.map(lambda v, n=name: n in v), table[f"label_{name}"]
        wrong = (has_box & (label == 0)).to_numpy()
        yield from _say(table, wrong, "box-without-label", f"has a box of {name}, label says none")
        wrong = (annotated & ~has_box & (label == 1)).to_numpy()
        yield from _say(table, wrong, "label-without-box", f"label says {name}, there is no box")


def _nothing_and_something(table: pd.DataFrame) -> Iterator[Problem]:
    """Images that are normal, or without a finding, and yet have one."""
    labels = [c for c in map(str, table) if c.startswith("label_")]
    nothing = [c for c in labels if plain(c.removeprefix("label_")) in NOTHING]
    others = [c for c in labels if plain(c.removeprefix("label_")) not in (*NOTHING, *DEVICES)]
    present = table[others] == 1
    boxed = table["box_labels"].map(lambda v: v is not None and bool(len(v))).to_numpy(bool)
    something = present.any(axis=1).to_numpy(bool) | boxed
    for column in nothing:
        for row in np.flatnonzero((table[column] == 1).to_numpy(bool) & something).tolist():
            findings = [c.removeprefix("label_") for c in others if present[c].iat[row]]
            findings += ["a box"] if boxed[row] else []
            text = f"{column.removeprefix('label_')}, and yet {', '.join(findings)}"
            yield str(table["image_id"].iat[row]), "labels-contradict", text


def _spellings(catalog: Catalog) -> Iterator[Problem]:
    """Names that differ in letters' case or marks only: two labels of what is meant as one."""
    names = sorted({*catalog.label_names, *catalog.box_names})
    table, uses = catalog.table, dict[str, Bool]()
    for name in names:
        drawn = table["box_labels"].map(lambda v, n=name: v is not None and n in v).to_numpy(bool)
        label = f"label_{name}"
        uses[name] = drawn | (table[label] == 1).to_numpy(bool) if label in table else drawn
    for _, same in pd.Series(names).groupby([plain(name) for name in names]):
        often, *rare = sorted(same, key=lambda n: -int(uses[n].sum()))
        for name in rare:
            yield from _say(table, uses[name], "label-spelling", f"{name!r}, elsewhere {often!r}")


def _mask_labels(table: pd.DataFrame) -> Iterator[Problem]:
    """Masks of something that has a label too."""
    for column in (c for c in map(str, table) if c.startswith("mask_")):
        name = column.removeprefix("mask_")
        if f"label_{name}" not in table:
            continue
        label, mask = table[f"label_{name}"], table[column]
        drawn = mask.notna() & (mask != "")
        wrong = (drawn & (label == 0)).to_numpy(bool)
        yield from _say(table, wrong, "mask-without-label", f"has a mask of {name}, not the label")
        wrong = ((mask == "") & (label == 1)).to_numpy(bool)
        yield from _say(table, wrong, "label-without-mask", f"label says {name}, the mask is empty")


def _cut(
    drawn: tuple[NDArray[np.float64], list[str]] | None, width: int, height: int
) -> tuple[list[float] | None, list[str] | None]:
    """Boxes inside the image with some area, and their labels; None stays not annotated."""
    if drawn is None:
        return None, None
    boxes, names = drawn
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


def _of_most(table: pd.DataFrame) -> Iterator[Problem]:
    """Many images of one "patient": ANONYMOUS, 0 and the like are not one person."""
    people = table["patient"].map(person)
    own = (people == people.mode().iat[0]).to_numpy(bool) if len(people) else np.zeros(0, bool)
    if own.sum() >= MANY_IMAGES and own.sum() * 2 > len(own):
        text = f"{own.sum()} of {len(own)} images are of patient {table['patient'][own].iat[0]!r}"
        yield from _say(table, own, "patient-of-most", text)


def _owners(table: pd.DataFrame, what: str, keys: pd.Series[str]) -> Iterator[Problem]:
    """Studies and images under several patients; a stand-in for a patient is nobody."""
    known = keys.notna() & ~table["patient"].str.startswith(STAND_INS)
    known &= table["patient"] != table["image_id"]  # sets without patients: RSNA
    people = table.loc[known, "patient"].map(person)
    torn = people.groupby(keys[known]).transform("nunique") > 1
    for image in table.loc[torn[torn].index, "image_id"]:
        yield str(image), f"{what}-of-two-patients", f"its {what} stands under another patient too"


def _duplicates(table: pd.DataFrame, facts: pd.DataFrame, unfit: set[str]) -> Iterator[Problem]:
    """Equal images; of those that are fit for use the best annotated one is the one to keep.
    Copies of another size, compression or turn are told; both stay."""
    keys = table["path"].map(facts["key"])
    labels = table[[c for c in map(str, table) if c.startswith(PREFIXES)]]
    for _, rows in table[keys.notna()].groupby(keys):
        fit = rows[~rows["image_id"].isin(unfit)]
        if len(rows) < 2 or fit.empty:
            continue
        says = {i: _said(rows.loc[i], labels.loc[i]) for i in rows.index}
        first = max(fit.index, key=lambda i: (len(says[i]), -i))
        for i in rows.index.drop(first):
            less = set(says[i]) <= set(says[first])
            agree = all(says[first][k] == v for k, v in says[i].items() if less and v in (0, 1))
            code = "duplicate" if less and agree else "duplicate-differs"
            yield str(rows["image_id"][i]), code, f"the same image as {rows['image_id'][first]}"
    thumbs = table["path"].map(facts["thumb"])
    first_of = keys.notna() & ~keys.duplicated()
    pairs = copies(
        one if own and isinstance(one, str) else None
        for one, own in zip(thumbs, first_of, strict=True)
    )
    for i, j, how in pairs:
        one, other = (str(table["image_id"].iat[place]) for place in (i, j))
        yield other, "copy", f"the same image as {one}" + (f", {how}" if how else ", saved anew")
    same = joined(keys, pairs)
    yield from _splits(table, "image", same, "image-in-two-splits")
    yield from _owners(table, "image", same)


def _said(row: pd.Series[Any], labels: pd.Series[Any]) -> dict[str, Any]:
    """What is annotated of an image: its labels, and that it has masks or boxes."""
    out = {str(k): v for k, v in labels.items() if not pd.isna(v)}
    return out | ({"boxes": "drawn"} if row["boxes"] is not None else {})
