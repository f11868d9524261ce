"""What readers said of results (`verdicts`) -> a catalog that every recipe takes.

Images of which not all is said are left out and counted.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pandas as pd

from hilum.core.errors import DataError
from hilum.core.files import write_bytes
from hilum.core.folders import claimed
from hilum.data.catalog import Catalog, build
from hilum.data.verdicts import LABEL, WORDS, ImageFeedback, Marked, boxes_after, from_json

NAME = "feedback"
CATALOG, IMAGES = "feedback.parquet", "images"


def feedback_catalog(
    images: Iterable[ImageFeedback], label: str = LABEL, root: Path = Path()
) -> Catalog:
    """A catalog that every recipe takes as a source.

    Raises:
        DataError: of no image everything is said.
    """
    rows, skipped = [], 0
    for image in images:
        marks = boxes_after(image, label)
        if marks is None:
            skipped += 1
        else:
            rows.append(_row(image, marks, label))
    notes = (f"{len(rows)} images annotated by readers' feedback",)
    columns = ["image_id", "path", "patient"]
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    return build(NAME, table, root, notes=notes, skips={"not-all-said": skipped} if skipped else {})


def _row(image: ImageFeedback, marks: list[Marked], label: str) -> dict[str, object]:
    fields = ("path", "patient", "study", "view", "modality", "width", "height")
    row: dict[str, object] = {name: getattr(image, name) for name in fields}
    row |= {"image_id": image.id, "source": NAME}
    row["boxes"] = [float(v) for mark in marks for v in mark.box]
    row["box_labels"] = [mark.label for mark in marks]
    row[f"label_{label}"] = float(any(mark.label == label for mark in marks))
    return row


def unpacked(content: bytes, out: Path) -> Catalog:
    """The service's zip of words and images, as a catalog with its images in a folder.

    Raises:
        DataError: it is none; an image that is not in it, or lies elsewhere.
        ConfigError: the folder holds something else.
    """
    with claimed(out, NAME, names=(CATALOG, IMAGES)), _opened(content) as archive:
        if WORDS not in archive.namelist():
            raise DataError(f"there is no {WORDS} in it: no feedback of a service")
        catalog = feedback_catalog(from_json(archive.read(WORDS)), root=out)
        for name in catalog.table["path"]:
            if not (out / name).resolve().is_relative_to((out / IMAGES).resolve()):
                raise DataError(f"{name[:80]!r} lies outside {out}; refused")
            if name not in archive.namelist():
                raise DataError(f"{name[:80]!r} is not in the archive; fetch it again")
            write_bytes(out / name, archive.read(name))
        catalog.save(out / CATALOG)  # the last: it names what is there
    return catalog


def _opened(content: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(BytesIO(content))
    except zipfile.BadZipFile as error:
        raise DataError("this is no zip; fetch it again") from error
