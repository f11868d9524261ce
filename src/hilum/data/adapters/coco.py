"""COCO JSON: boxes, categories and segmentations (polygons, run lengths in either form)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.documents import parse_foreign_json, read_document
from hilum.core.errors import DataError
from hilum.core.geometry import FARTHEST_PX
from hilum.core.orientation import turn
from hilum.data.adapters import sidecar, user_table
from hilum.data.adapters.boxes import CORNERS, labels_of_boxes
from hilum.data.adapters.match import Files, file_ids, match, need_one, of_split, stem
from hilum.data.adapters.source import DICOM, IMAGES, Source
from hilum.data.adapters.turned import upright_boxes
from hilum.data.adapters.values import age_years, number_of, patients, split_of, text_of
from hilum.data.catalog import Catalog
from hilum.data.formats import runs as rle
from hilum.data.formats.polygons import extent_of_coco, mask_of_coco

TEXTS = ("patient", "study", "view", "sex")
SAME = 0.6  # IoU of a box and what it is around
ROUNDED_PX = 2.0
UNCLEAR = "unclear"  # in the place of a segmentation, of which no mask is made
LOST = "annotations of {} name an unknown image or category"


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """One file of annotations, its images and categories under their names."""

    name: str
    split: str
    images: pd.DataFrame  # file_name, width, height, …; key: what annotations call the image
    boxes: pd.DataFrame  # key, label, x1 … y2, boxless (none is written), segmentation, crowd
    names: set[str]  # of the categories
    annotated: bool  # whether an image without a box has none


def load(
    path: Path,
    annotations: str | None = None,
    table: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    unknown: str = "",
    merged: str = "",
) -> Catalog:
    """A directory with one or more COCO files (at its top or in annotations/) and the images.

    Every image of a file counts as annotated, so "no box" means none; but a test file without any
    annotation tells nothing. label_<category> says whether a box of it is there;
    mask_<category>, where a category has segmentations, is their union in each image. The split
    comes from the file's name (instances_train2017.json). An image may stand in several files of
    one split: their annotations are joined. An entry may carry `patient` and `study`. A crowd
    (iscrowd 1) says that several lie there and not where each is: no box of its image is known.

    Args:
        annotations: one file, relative to the directory, instead of all.
        table, columns, unknown, merged: a table of patients, sex, labels and the like beside it, as
            of the reader of folders; of boxes and masks it says nothing.

    Raises:
        DataError: no JSON, one that is not COCO, an id or name that stands for two images, an
            image in two splits.
    """
    source = Source("coco", path)
    files = [_read(file, source) for file in _files(source, annotations)]
    images, whose = _images(files, source)
    boxes = pd.concat([f.boxes for f in files], ignore_index=True)
    boxes["image_id"] = boxes.pop("key").map(whose)
    boxes = _with_missing(boxes, source)
    contradicted = _contradicted(boxes, source)
    boxes.loc[contradicted, list(CORNERS)] = np.nan
    boxes.loc[contradicted, "segmentation"] = UNCLEAR
    annotated = images.pop("annotated")
    crowds = boxes[boxes["crowd"]]
    single = boxes[~boxes["crowd"]]
    images, drawn, frame = upright_boxes(images, single, annotated, source)
    images = pd.concat([images, drawn, _labels(files, single, images, whose)], axis=1)
    images = _with_crowds(images, crowds, source)
    images = pd.concat([images, _masks(boxes, images[annotated], frame.turns, source)], axis=1)
    for column in (c for c in images if str(c).startswith("mask_")):
        images.loc[frame.unclear, column] = None
    images = sidecar.fill(images, images.pop("name"), source)
    images = user_table.beside(images, table, columns, source, unknown=unknown, merged=merged)
    images["patient"] = patients(images, source)
    return source.catalog(images)


def _files(source: Source, annotations: str | None) -> list[Path]:
    if annotations is not None:
        return [source.require(annotations)]
    files = sorted([*source.root.glob("*.json"), *source.root.glob("annotations/*.json")])
    files = [file for file in files if file.name[0] != "."]
    if not files:
        raise DataError(
            f"set 'coco': {source.root} holds none of the files looked for: *.json, "
            "annotations/*.json"
        )
    return files


def _read(file: Path, source: Source) -> _File:
    content = read_document(file, parse_foreign_json, DataError)
    lists = ("images", "categories")
    if isinstance(content, dict):
        content.setdefault("annotations", [])  # COCO's own test files have none
    if not isinstance(content, dict) or not all(
        isinstance(content.get(k), list) and all(isinstance(e, dict) for e in content[k])
        for k in (*lists, "annotations")
    ):
        raise DataError(
            f"set 'coco': {file.name} lacks one of the lists {', '.join(lists)} (or annotations)"
        )
    if any(a.get("id") == 0 for a in content["annotations"]):
        source.notes.append(
            f"{file.name} has an annotation with id 0, which COCO's own evaluation ignores"
        )
    return _parsed(content, file, source)


def _parsed(content: dict[str, Any], file: Path, source: Source) -> _File:
    place = file.relative_to(source.root).as_posix()
    images = _keyed(content["images"], "file_name", place, source)
    categories = _keyed(content["categories"], "name", place, source)
    if not images:
        raise DataError(f"set 'coco': {file.name} has no images with id and file_name")
    split = split_of(stem(file.name.removesuffix(".json")))
    annotated = bool(content["annotations"]) or split != "test"
    if not annotated:
        source.note(len(images), f"test images of {file.name} have no truth here")
    rows: list[dict[str, Any]] = []
    lost: list[str] = []
    named = _by_name(images)
    for entry in content["annotations"]:
        key = entry.get("image_id")
        image = _meant(key, images) or named.get(text_of(key))
        label = _meant(entry.get("category_id"), categories)
        if image is None or label is None:
            lost.append(f"image {entry.get('image_id')!r}, category {entry.get('category_id')!r}")
        if image is None:
            continue
        # A box of a category that is not listed is there, but nobody knows of what.
        corners = _corners(entry.get("bbox") if label is not None else None)
        rows.append(
            {
                "key": (place, image),
                "label": None if label is None else text_of(categories[label]["name"]),
                **dict(zip(CORNERS, corners, strict=True)),
                "boxless": label is not None and not entry.get("bbox"),
                "segmentation": entry.get("segmentation"),
                "crowd": entry.get("iscrowd") in (1, True, "1"),
            }
        )
    if lost and not rows:
        raise DataError(
            f"set 'coco': {file.name}: no annotation is of a listed image; the first is of "
            f"{lost[0]}, images have ids like {next(iter(images))!r}"
        )
    source.skip("annotation-lost", len(lost), LOST.format(file.name), next(iter(lost), ""))
    return _File(
        name=place,
        split=split,
        images=pd.DataFrame([_image(e, (place, key)) for key, e in images.items()]),
        boxes=pd.DataFrame(
            rows, columns=["key", "label", *CORNERS, "boxless", "segmentation", "crowd"]
        ).astype({"crowd": bool, "boxless": bool}),
        names={text_of(c["name"]) for c in categories.values()},
        annotated=annotated,
    )


def _keyed(
    entries: list[dict[str, Any]], what: str, file: str, source: Source
) -> dict[str, dict[str, Any]]:
    """Entries by their id as text, so that 1, 1.0 and "1" are one.

    Raises:
        DataError: one without id or name, or an id of two different ones.
    """
    out: dict[str, dict[str, Any]] = {}
    twice = 0
    for entry in entries:
        key, name = text_of(entry.get("id")), entry.get(what)
        if not key or not isinstance(name, str | int) or not str(name):
            raise DataError(f"set 'coco': {file}: {entry!r:.80} has no id or no {what}")
        before = out.setdefault(key, entry)
        if before is not entry:
            twice += 1
            if before[what] != name:
                raise DataError(
                    f"set 'coco': {file}: id {entry['id']!r} stands for {before[what]!r} and for "
                    f"{name!r}"
                )
    source.note(twice, f"entries of {file} repeat an id")
    return out


def _meant(key: Any, entries: dict[str, Any]) -> str | None:
    """The entry that an annotation refers to; "001" is 1 where nothing is called "001"."""
    text = text_of(key)
    if text in entries:
        return text
    same = [k for k in entries if text.isdigit() and k.isdigit() and int(k) == int(text)]
    return same[0] if len(same) == 1 else None


def _by_name(images: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What images are called -> their id: some annotations refer to the file's name."""
    names = [(str(entry["file_name"]), key) for key, entry in images.items()]
    names += [(stem(name), key) for name, key in names if stem(name) != name]
    counts = Counter(name for name, _ in names)
    return {name: key for name, key in names if counts[name] == 1}


def _image(entry: dict[str, Any], key: tuple[str, str]) -> dict[str, Any]:
    own = {name: text_of(entry.get(name)) for name in TEXTS}
    sides = {side: number_of(entry.get(side)) for side in ("width", "height")}
    if any(abs(number) > FARTHEST_PX for number in sides.values()):
        raise DataError(f"set 'coco': image {entry['file_name']!r} is of {sides}; no image is")
    age = age_years(text_of(entry.get("age")))
    return {"key": key, "file_name": str(entry["file_name"]), **sides, **own, "age": age}


def _corners(box: Any) -> tuple[float, float, float, float]:
    """Four corners of x, y, width, height; anything else becomes NaN, a damaged box."""
    if not isinstance(box, list) or len(box) != 4:
        return (float("nan"),) * 4
    x, y, w, h = (number_of(v) for v in box)
    return x, y, x + w, y + h


def _images(
    files: Sequence[_File], source: Source
) -> tuple[pd.DataFrame, dict[tuple[str, str], str]]:
    """One row an image, files without annotations too, and the image id of each key.

    Raises:
        DataError: an image in two splits, or of two sizes.
    """
    paths = source.files((*IMAGES, *DICOM))
    entries = pd.concat([f.images.assign(split=f.split, annotated=f.annotated) for f in files])
    entries = entries.reset_index(drop=True)
    splits = entries["split"].tolist()
    entries["path"] = match(
        entries["file_name"],
        Files(paths, source.root),
        lambda i: (of_split(splits[i]),) if splits[i] else (),
    )
    ids = dict(zip(paths, file_ids(paths), strict=True))
    entries["image_id"] = _ids(entries, ids)
    whose = dict(zip(entries["key"], entries["image_id"], strict=True))
    rows = _joined(entries, source).assign(name=lambda t: t["file_name"])
    lost = rows.loc[rows["path"] == "", "file_name"]
    need_one(lost.tolist(), len(rows), paths, source)
    text = "images of the annotations have no file"
    source.skip("no-file", len(lost), text, next(iter(lost), ""))
    taken = set(rows["path"])
    beside = {p.rpartition("/")[0] for p in taken if p}
    extra = [p for p in paths if p not in taken and p.rpartition("/")[0] in beside]
    text = "files stand in no annotation file and are kept without labels"
    source.skip("no-row", len(extra), text, next(iter(extra), ""))
    more = pd.DataFrame({"path": extra, "image_id": [ids[p] for p in extra]}, dtype=object)
    more = more.assign(annotated=False, name=more["path"])
    both = pd.concat([rows, more], ignore_index=True) if extra else rows.reset_index(drop=True)
    blank = both["split"].fillna("") == ""
    both["split"] = both["split"].where(~blank, "")
    return both.drop(columns=["key", "file_name"]), whose


def _ids(entries: pd.DataFrame, ids: dict[str, str]) -> list[str]:
    """The id of the file; without one the name, told apart by its annotations where it must be."""
    names = entries["file_name"].map(lambda n: stem(n.replace("\\", "/")))
    own = entries["path"].map(ids).astype(object)
    own = own.where(own.notna(), names)
    whole = entries["file_name"].str.replace("\\", "/")
    twins = names.groupby(names).transform("size") > whole.groupby(whole).transform("size")
    own = own.where((entries["path"] != "") | ~twins, whole)
    place = entries["key"].str[0].map(lambda n: n.removesuffix(".json"))
    there = own.isin(own[entries["path"] != ""]) & (entries["path"] == "")
    several = entries.groupby(own)["split"].transform("nunique") > 1
    apart = (entries["path"] == "") & (several | there)
    return list(own.where(~apart, place + "/" + own))


def _joined(entries: pd.DataFrame, source: Source) -> pd.DataFrame:
    """One row an image; entries that stand for the same one again must agree."""
    own = entries.groupby("image_id", sort=False)
    for column in ("split", "width", "height"):
        torn = own[column].nunique() > 1
        if torn.any():
            rows = entries[entries["image_id"] == torn.idxmax()]
            raise DataError(
                f"set 'coco': image {rows['file_name'].iat[0]!r} stands twice, with {column} "
                f"{rows[column].iat[0]!r} and {rows[column].iat[1]!r}"
            )
    twice = entries["image_id"].duplicated()
    source.note(int(twice.sum()), "entries name an image again: their annotations are joined")
    annotated = own["annotated"].transform("any")
    return entries.assign(annotated=annotated)[~twice]


def _labels(
    files: Sequence[_File],
    boxes: pd.DataFrame,
    table: pd.DataFrame,
    whose: dict[tuple[str, str], str],
) -> pd.DataFrame:
    """label_<category>, known for the images of the files that have the category."""
    out = [pd.DataFrame(index=table.index)]
    for name in sorted(set().union(*(f.names for f in files))):
        annotated_ids = {
            whose[k] for f in files if f.annotated and name in f.names for k in f.images["key"]
        }
        known = table["image_id"].isin(annotated_ids)
        out.append(labels_of_boxes(boxes, table["image_id"], [name], known))
    return pd.concat(out, axis=1)


def _with_crowds(table: pd.DataFrame, crowds: pd.DataFrame, source: Source) -> pd.DataFrame:
    """What crowds say of their images: that the label is there."""
    out = table.copy()
    inside = out["image_id"].isin(crowds["image_id"])
    out[["boxes", "box_labels"]] = out[["boxes", "box_labels"]].where(~inside, None)
    for name in crowds["label"].dropna().unique():
        own = crowds.loc[crowds["label"] == name, "image_id"]
        out.loc[out["image_id"].isin(own), f"label_{name}"] = 1.0
    text = "annotations are of crowds (iscrowd): no box of their images is known"
    source.skip("box-crowd", len(crowds), text, next(iter(crowds["image_id"]), ""))
    return out


def _with_missing(boxes: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Annotations without a box get the one around their segmentation."""
    lone = boxes["segmentation"].map(bool) & boxes["segmentation"].notna() & boxes["boxless"]
    out = boxes.copy()
    for row in boxes.index[lone]:
        try:
            out.loc[row, list(CORNERS)] = extent_of_coco(boxes.at[row, "segmentation"])
        except DataError:  # stays damaged, and `_masks` counts it
            lone[row] = False
    text = "annotations have a segmentation and no box: it is drawn around that"
    source.note(int(lone.sum()), text)
    return out.drop(columns="boxless")


def _contradicted(boxes: pd.DataFrame, source: Source) -> pd.Series[bool]:
    """Which boxes are not around their own segmentation: nobody knows which of both is right."""
    out, as_corners = [], 0
    for *corners, segmentation in boxes[[*CORNERS, "segmentation"]].itertuples(
        index=False, name=None
    ):
        try:
            extent = extent_of_coco(segmentation) if segmentation else None
        except DataError:  # `_masks` counts it
            extent = None
        box = np.array(corners, np.float64)
        out.append(extent is not None and not _around(box, extent))
        box[2:] -= box[:2]  # as it stands in the file
        as_corners += extent is not None and out[-1] and _around(box, extent)
    text = "boxes are not around their own segmentation: both unknown"
    if as_corners:
        text += f"; {as_corners} are if their numbers were x1, y1, x2, y2: are they?"
    differs = pd.Series(out, boxes.index, dtype=bool)
    first = next(iter(boxes.loc[differs, "image_id"]), "")
    source.skip("box-differs", int(differs.sum()), text, first)
    return differs


def _around(corners: NDArray[np.float64], extent: NDArray[np.float64]) -> bool:
    """Whether two boxes are one, but for margins and rounding; one with NaN is damaged anyway."""
    if np.isnan(corners).any() or np.abs(corners - extent).max() <= ROUNDED_PX:
        return True
    overlap = np.minimum(corners[2:], extent[2:]) - np.maximum(corners[:2], extent[:2])
    inside = float(overlap.clip(0).prod())
    areas = float((corners[2:] - corners[:2]).prod() + (extent[2:] - extent[:2]).prod())
    return inside >= SAME * (areas - inside)


def _masks(
    segments: pd.DataFrame, images: pd.DataFrame, turns: pd.Series[int], source: Source
) -> pd.DataFrame:
    """mask_<category>: the union of an image's segmentations; "" without an annotation of it."""
    out = pd.DataFrame(index=images.index)
    sizes = images[["height", "width"]].fillna(0).astype(int).set_index(images["image_id"])
    turned = dict(zip(images["image_id"], turns.loc[images.index], strict=True))
    filled = segments["segmentation"].map(bool) & segments[["segmentation", "label"]].notna().all(
        axis=1
    )
    damaged: list[str] = []
    for name in sorted(segments.loc[filled, "label"].unique()):
        masks: dict[str, str | None] = dict.fromkeys(images["image_id"], "")
        for image, rows in segments[segments["label"] == name].groupby("image_id"):
            height, width = (int(side) for side in sizes.loc[str(image)].to_numpy())
            try:
                mask = _union(rows["segmentation"], (height, width), int(turned[str(image)]))
                masks[str(image)] = f"rle:{height}x{width}:{rle.encode(mask)}"
            except DataError:
                damaged.append(str(image))
                masks[str(image)] = None  # not known, which is not the same as none
        out[f"mask_{name}"] = images["image_id"].map(masks).astype(object)
    text = "masks have a missing, damaged or doubtful segmentation and are unknown"
    source.skip("damaged-mask", len(damaged), text, next(iter(damaged), ""))
    return out


def _union(
    segmentations: pd.Series[Any], size: tuple[int, int], turned: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The (height, width) mask, upright; segmentations are of the image as it is stored."""
    height, width = size[::-1] if turned > 4 else size
    mask = mask_of_coco(segmentations.iat[0], height, width)
    for segmentation in segmentations[1:]:
        mask |= mask_of_coco(segmentation, height, width)
    return turn(mask, turned)
