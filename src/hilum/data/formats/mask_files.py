"""One mask of each image -> PNG files with a table, or the run lengths of SIIM-ACR."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.files import write_bytes, write_text
from hilum.data.catalog import Catalog
from hilum.data.cells import to_csv
from hilum.data.formats.file_names import file_names
from hilum.data.formats.runs import encode
from hilum.data.pixels import open_mask

Bool = NDArray[np.bool_]

SIDE = 1024  # px; run lengths of other sizes have two columns more than SIIM-ACR's table


def write_masks(catalog: Catalog, folder: Path, column: str) -> dict[str, str]:
    """PNG of 0 and 255 and masks.csv (image_id, mask); returns what each image id is called."""
    ids = catalog.table["image_id"]
    stems = file_names(ids)
    for image, mask in zip(ids, _masks(catalog, column), strict=True):
        _, coded = cv2.imencode(".png", mask.astype(np.uint8) * 255)
        write_bytes(folder / f"{stems[image]}.png", coded.tobytes())
    rows = pd.DataFrame({"image_id": ids, "mask": ids.map(stems) + ".png"})
    write_text(folder / "masks.csv", to_csv(rows))
    return {image: image for image in ids}


def write_run_lengths(catalog: Catalog, folder: Path, column: str) -> dict[str, str]:
    """train-rle.csv, with columns Height and Width where the sizes are not the challenge's."""
    table = catalog.table
    texts = [encode(mask) for mask in _masks(catalog, column)]
    rows = pd.DataFrame({"ImageId": table["image_id"], "EncodedPixels": texts})
    if not ((table["width"] == SIDE) & (table["height"] == SIDE)).all():
        rows["Height"], rows["Width"] = table["height"], table["width"]
    write_text(folder / "train-rle.csv", to_csv(rows))
    return {image: image for image in table["image_id"]}


def _masks(catalog: Catalog, column: str) -> Iterator[Bool]:
    for reference, height, width in zip(
        *(catalog.table[c] for c in (column, "height", "width")), strict=True
    ):
        yield open_mask(catalog.root, reference, int(height), int(width))
