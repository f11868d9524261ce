"""A catalog's boxes -> Pascal VOC: one XML an image, lists of splits (back: `adapters.voc`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from hilum.core.files import write_text
from hilum.data.catalog import Catalog
from hilum.data.formats.image_names import split_names, tree
from hilum.data.references import inner

NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2


def write_boxes(catalog: Catalog, folder: Path, column: str) -> dict[str, str]:
    """Corners as whole pixels that VOC counts from 1, outwards; returns what each id is called."""
    calls, parts = tree(catalog), split_names(catalog)
    for number, row in enumerate(catalog.table.itertuples()):
        corners, labels = catalog.exact_boxes(number) or (np.zeros((0, 4)), [])
        whole = np.concatenate([np.floor(corners[:, :2]) + 1, np.ceil(corners[:, 2:])], axis=1)
        objects = [
            f"<object><name>{_text(label)}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for (x1, y1, x2, y2), label in zip(whole.astype(int).tolist(), labels, strict=True)
        ]
        text = "\n".join(["<annotation>", _head(row), *objects, "</annotation>\n"])
        write_text(folder / "Annotations" / f"{calls[str(row.image_id)]}.xml", text)
    for split, part in catalog.parts():
        lines = "".join(f"{calls[i]}\n" for i in part.table["image_id"])
        write_text(folder / "ImageSets" / "Main" / f"{parts[split]}.txt", lines)
    return calls


def _head(row: Any) -> str:
    name = inner(row.path).rpartition("/")[2]
    return (
        f"<filename>{_text(name)}</filename><patient>{_text(row.patient)}</patient>"
        f"<study>{_text(row.study)}</study><size><width>{row.width}</width>"
        f"<height>{row.height}</height><depth>1</depth></size>"
    )


def _text(text: str) -> str:
    return escape(NO_XML.sub("_", text))
