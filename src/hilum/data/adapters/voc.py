"""Pascal VOC: one XML an image, corners counted from 1 with the last pixel included."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.common import DICOM, PICTURES, Source, group_boxes, join_files, patients
from hilum.data.catalog import Catalog, build

FOLDERS = ("JPEGImages", "images")
CORNER_NAMES = ("xmin", "ymin", "xmax", "ymax")


def load(path: Path) -> Catalog:
    """A directory with Annotations/*.xml, JPEGImages/ and, if there, ImageSets/Main/*.txt.

    VOC's pixel 1 … xmax becomes the edges xmin - 1 … xmax.

    Raises:
        DataError: no annotation, or one that is not VOC.
    """
    source = Source("voc", path)
    folder = path / "Annotations" if (path / "Annotations").is_dir() else path / "annotations"
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise DataError(f"set 'voc': {path} holds none of the files looked for: Annotations/*.xml")
    parsed = [_parse(file) for file in files]
    images = pd.DataFrame([image for image, _ in parsed])
    images["split"] = images["image_id"].map(_splits(path)).astype(object).fillna("")
    table = join_files(images, source.files(PICTURES + DICOM, *FOLDERS), source, {})
    boxes = pd.DataFrame(
        [box for _, found in parsed for box in found],
        columns=["image_id", "label", "x1", "y1", "x2", "y2"],
    )
    annotated = table["image_id"].isin(images["image_id"])
    table = pd.concat([table, group_boxes(boxes, table["image_id"], source, annotated)], axis=1)
    for name in sorted(boxes["label"].unique()):
        having = table["image_id"].isin(boxes.loc[boxes["label"] == name, "image_id"])
        table[f"label_{name}"] = having.astype("float32").where(annotated)
    table["patient"] = patients(table, source)
    return build("voc", table, path, tuple(source.notes))


def _parse(file: Path) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    content = file.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise DataError(f"set 'voc': {file} declares a DOCTYPE, which no VOC file needs")
    try:
        root = ElementTree.fromstring(content)  # noqa: S314  entities are refused above
        boxes = [
            (file.stem, (item.findtext("name") or "").strip(), *_corners(item))
            for item in root.iter("object")
        ]
        image = {
            "image_id": file.stem,
            "width": float(root.findtext("size/width") or 0),
            "height": float(root.findtext("size/height") or 0),
            "patient": (root.findtext("patient") or "").strip(),
            "study": (root.findtext("study") or "").strip(),
        }
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"set 'voc': {file} is not a VOC annotation: {error}") from error
    return image, boxes


def _corners(item: ElementTree.Element) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{n}") or "nan") for n in CORNER_NAMES)
    return x1 - 1, y1 - 1, x2, y2


def _splits(path: Path) -> dict[str, str]:
    lists = {name: path / "ImageSets" / "Main" / f"{name}.txt" for name in ("train", "val", "test")}
    return {
        line.split()[0]: name
        for name, file in lists.items()
        if file.is_file()
        for line in file.read_text(encoding="utf-8-sig").splitlines()
        if line.strip()
    }
