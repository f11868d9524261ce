"""COCO JSON: boxes, categories and segmentations (polygons, run lengths in either form)."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.common import PICTURES, Source, group_boxes, patients
from hilum.data.catalog import Catalog, build
from hilum.data.formats import runs as rle
from hilum.data.formats.polygons import mask_of_coco

SPLITS = ("train", "val", "valid", "validation", "test")


def load(path: Path, annotations: str | None = None) -> Catalog:
    """A directory with one or more COCO files (at its top or in annotations/) and the images.

    Every image of a file counts as annotated, so "no box" means none. label_<category> says
    whether a box of it is there; mask_<category>, where a category has segmentations, is their
    union in each image. The split comes from the file's name (instances_train.json).
    An image entry may carry `patient` and `study`, as `hilum data convert` writes them.

    Args:
        annotations: one file, relative to the directory, instead of all.

    Raises:
        DataError: no JSON, or one that is not COCO.
    """
    source = Source("coco", path)
    images, boxes, names = [], [], set[str]()
    for file in _files(source, annotations):
        content = _read(file, source)
        own, found = _tables(content, file, source)
        names |= {str(c["name"]) for c in content["categories"]}
        images.append(own)
        boxes.append(found)
    table = pd.concat(images, ignore_index=True)
    table = _with_files(table, source)
    joined = pd.concat(boxes, ignore_index=True)
    annotated = table.pop("annotated")
    table = pd.concat([table, group_boxes(joined, table["image_id"], source, annotated)], axis=1)
    for name in sorted(names):
        having = joined.loc[joined["label"] == name, "image_id"]
        present = table["image_id"].isin(having).astype("float32")
        table[f"label_{name}"] = present.where(annotated)
    table = pd.concat([table, _masks(joined, table[annotated], source)], axis=1)
    table["patient"] = patients(table, source)
    return build("coco", table, path, tuple(source.notes))


def _files(source: Source, annotations: str | None) -> list[Path]:
    if annotations is not None:
        return [source.require(annotations)]
    found = sorted([*source.root.glob("*.json"), *source.root.glob("annotations/*.json")])
    if not found:
        raise DataError(
            f"set 'coco': {source.root} holds none of the files looked for: *.json, "
            "annotations/*.json"
        )
    return found


def _read(file: Path, source: Source) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"set 'coco': {file} is not JSON: {error}") from error
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in lists):
        raise DataError(f"set 'coco': {file.name} lacks one of the lists {', '.join(lists)}")
    if any(a.get("id") == 0 for a in content["annotations"]):
        source.notes.append(f"{file.name} has an annotation with id 0, which COCO's judge ignores")
    return content


def _tables(
    content: dict[str, Any], file: Path, source: Source
) -> tuple[pd.DataFrame, pd.DataFrame]:
    keys = {c["id"]: c["name"] for c in content["categories"]}
    split = next((s for s in SPLITS if s in file.stem.lower().replace("-", "_").split("_")), "")
    images = pd.DataFrame(content["images"])
    if images.empty or not {"id", "file_name"} <= set(images):
        raise DataError(f"set 'coco': {file.name} has no images with id and file_name")
    images["image_id"] = images["file_name"].astype(str).str.replace(r"\.\w+$", "", regex=True)
    if "hilum_id" in images:  # what `hilum data convert` calls the image
        images["image_id"] = images["hilum_id"].fillna(images["image_id"])
    ids = images.set_index("id")["image_id"]
    rows = pd.DataFrame(
        content["annotations"], columns=["image_id", "category_id", "bbox", "segmentation"]
    )
    image, label = rows["image_id"].map(ids), rows["category_id"].map(keys)
    lost = image.isna() | label.isna()
    source.note(int(lost.sum()), f"annotations of {file.name} name an unknown image or category")
    xywh = pd.DataFrame(_boxes(rows["bbox"]), columns=list("xywh"), dtype="float64")
    boxes = pd.DataFrame({"image_id": image, "label": label, "x1": xywh["x"], "y1": xywh["y"]})
    boxes["x2"], boxes["y2"] = xywh["x"] + xywh["w"], xywh["y"] + xywh["h"]
    boxes["segmentation"] = rows["segmentation"].to_numpy()
    wanted = ["image_id", "file_name", "width", "height", "patient", "study", "view", "sex", "age"]
    table = images[[c for c in wanted if c in images]].assign(split=split)
    return table, boxes[~lost]


def _boxes(boxes: pd.Series[Any]) -> list[list[float]]:
    """Four numbers each; anything else becomes NaN and is noted with the boxes left out."""

    def numbers(box: Any) -> list[float]:
        try:
            x, y, w, h = (float(v) for v in box)
        except (TypeError, ValueError):
            return [float("nan")] * 4
        return [x, y, w, h]

    return [numbers(box) for box in boxes]


def _masks(found: pd.DataFrame, images: pd.DataFrame, source: Source) -> pd.DataFrame:
    """mask_<category>: the union of an image's segmentations; "" without an annotation of it."""
    out = pd.DataFrame(index=images.index)
    sizes = images.reindex(columns=["height", "width"]).fillna(0).astype(int)
    sizes = sizes.set_index(images["image_id"])
    filled = found["segmentation"].map(bool) & found["segmentation"].notna()
    damaged = 0
    for name in sorted(found.loc[filled, "label"].unique()):
        masks: dict[str, str | None] = dict.fromkeys(images["image_id"], "")
        for image, rows in found[found["label"] == name].groupby("image_id"):
            height, width = (int(side) for side in sizes.loc[str(image)].to_numpy())
            try:
                mask = mask_of_coco(rows["segmentation"].iat[0], height, width)
                for segmentation in rows["segmentation"][1:]:
                    mask |= mask_of_coco(segmentation, height, width)
                masks[str(image)] = f"rle:{height}x{width}:{rle.encode(mask)}"
            except DataError:
                damaged += 1
                masks[str(image)] = None  # not known, which is not the same as none
        out[f"mask_{name}"] = images["image_id"].map(masks).astype(object)
    source.note(damaged, "masks have a missing or damaged segmentation and are unknown")
    return out


def _with_files(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """`path` and `annotated`; pictures beside the annotated ones are kept without labels.

    file_name is relative to the directory, to images/, to the split's folder, or anywhere.
    """
    files = source.files((*PICTURES, ".dcm", ".dicom"))
    by_path: dict[str, str] = dict(zip(files["path"], files["path"], strict=True))
    by_name: dict[str, str] = {Path(p).name: p for p in files["path"]}

    def place(name: str) -> str:
        direct = by_path.get(name) or by_path.get(f"images/{name}")
        return direct or by_name.get(Path(name).name, "")

    out = table.drop(columns="file_name")
    out["path"] = table["file_name"].map(place)
    source.note(int((out["path"] == "").sum()), "images of the annotations have no file")
    beside = {str(PurePosixPath(p).parent) for p in out["path"] if p}
    extra = files[~files["path"].isin(out["path"]) & ~files["image_id"].isin(out["image_id"])]
    extra = extra[[str(PurePosixPath(p).parent) in beside for p in extra["path"]]]
    source.note(len(extra), "files stand in no annotation file and are kept without labels")
    both = pd.concat([out.assign(annotated=True), extra.assign(annotated=False)], ignore_index=True)
    both["split"] = both["split"].fillna("")
    return both
