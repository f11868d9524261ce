"""A data set on disk -> Catalog. `from hilum.data import load`: any set in its own directory.

In the order of the flow:
    download/    a set from its hub, licence accepted, verified
    phantom/     made-up radiographs with their truth, for tests
    registry     `load(name, folder)`: any set below
    adapters/    one module a public set or format: its directory -> Catalog
    sets/        the training sets of $HILUM_DATA
    catalog      the value: one row an image; its file
    columns      the columns of a catalog, and what makes a table one
    licences     of public sets, and whom to name
    frames       the size that boxes and masks were drawn in, and the way into another
    references   "file" and "archive.zip!member"
    pixels       a catalog's references -> radiographs and masks
    formats/     masks and annotations in the forms of others: run lengths, COCO, VOC, YOLO
    rename       findings under other names
    check/       what is wrong with a set, and a cleaned copy
    alike        which images look the same, whatever their file
    duplicates   which images are the same image
    tally        what is known of a catalog's images, counted
    explore/     what is in a set: numbers, figures, one page
    cells        tables as text -> rows of cells
    parquet      tables as Parquet, however hostile
    report_text, report_table    reports -> weak labels
    verdicts     what readers said of results -> the boxes that hold
    feedback     that -> a catalog
    split        parts by patient, with their proof; sampling: which rows an epoch sees
    convert      annotations -> formats/
    box_masks    boxes as a mask column
    images       radiographs -> PNG or WebP of any size, annotations along
    enrich       augmented copies beside them
    export       both, their catalog, and what was left out
    resume       one piece of work a file, remembered

Imported on demand: phantoms and run lengths need no pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Catalog", "load", "open_catalog"]

if TYPE_CHECKING:
    from hilum.data.catalog import Catalog, open_catalog
    from hilum.data.registry import load

_HOMES = {"Catalog": "catalog", "open_catalog": "catalog", "load": "registry"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        from hilum.core.extras import require

        require("eval")
        return getattr(import_module(f"hilum.data.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hilum.data' has no attribute {name!r}")
