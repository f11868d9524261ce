"""A catalog's radiographs as files in a folder of their own: images, masks, and their catalog.

Files that cannot be read stand in left_out.csv. A rerun goes on. Knows no annotation format (see
`convert`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hilum.core.files import write_text
from hilum.core.folders import claimed
from hilum.data.catalog import Catalog
from hilum.data.cells import to_csv
from hilum.data.enrich import Enrichment, enrich
from hilum.data.images import CATALOG, ImageFormat, finish, write_images

LEFT_OUT = "left_out.csv"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, augmented copies at its end, and what was not: image_id, path, reason."""

    catalog: Catalog
    left_out: pd.DataFrame

    @property
    def copies(self) -> int:
        """How many images are augmented copies."""
        table = self.catalog.table
        return int((table["copy_of"] != "").sum()) if "copy_of" in table else 0

    @property
    def images(self) -> int:
        """How many are not."""
        return len(self.catalog) - self.copies


def export(
    catalog: Catalog,
    wanted: ImageFormat,
    out: Path,
    *,
    enrichment: Enrichment | None = None,
    workers: int = 2,
    advance: Callable[[], None] = lambda: None,
) -> Exported:
    """Write the images, then augmented copies, `catalog.parquet` and `left_out.csv`.

    Args:
        enrichment: copies to make of the training part.
        advance: called after each image.

    Raises:
        ConfigError: the folder holds something else than an earlier run.
        DataError: nothing can be written, or the catalog cannot be enriched.
    """
    if enrichment is not None:
        enrichment.check(catalog)  # before hours of writing
    catalog.need_files()
    names = () if (out / wanted.memory).is_file() else ("*",)
    with claimed(out, "images", names=names, settings=wanted.name, stays=False):
        facts = []
        for one in write_images(catalog, wanted, out, workers):
            facts.append(one)
            advance()
        copies, left = finish(catalog, facts, out)
        write_text(out / LEFT_OUT, to_csv(left))
        if enrichment is not None:
            copies = enrich(copies, enrichment, wanted, workers)
        copies.save(out / CATALOG)
    return Exported(copies, left)
