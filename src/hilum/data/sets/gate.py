"""Images that are no frontal chest radiograph, for the input gate."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hilum.data.catalog import Catalog, build
from hilum.data.sets.common import image_reference, table_of

# What `not_chest` calls a kind that `gate_320` has too.
SAME_KIND = {"ct": "ct_misc"}


def gate_320(folder: Path) -> Catalog:
    """672 images of 20 kinds; 13 are frontal chest radiographs (label_frontal 1)."""
    rows, _ = table_of(folder, "gate_320")
    return _catalog(
        folder, "gate_320", rows, kinds=rows["category"], frontal=rows["is_frontal_chest"]
    )


def not_chest(folder: Path) -> Catalog:
    """31 brain MR, dental, CT and mammography images."""
    rows, _ = table_of(folder, "not_chest")
    kinds = rows["finding"].replace(SAME_KIND)
    return _catalog(folder, "not_chest", rows, kinds=kinds, frontal=pd.Series(0, index=rows.index))


def _catalog(
    folder: Path, name: str, rows: pd.DataFrame, kinds: pd.Series[str], frontal: pd.Series[int]
) -> Catalog:
    """Each image is its own patient: nothing is known of whose it is. One label a kind, so that
    whole kinds can be kept apart."""
    table = pd.DataFrame(
        {
            "image_id": rows["id"],
            "path": image_reference(name, rows["id"]),
            "patient": f"{name}-" + rows["id"],
            "width": rows["w"],
            "height": rows["h"],
            "source": name,
            "label_frontal": frontal.astype("float32"),
        }
    )
    for kind in sorted(kinds.unique()):
        table[f"label_kind_{kind}"] = (kinds == kind).astype("float32")
    return build(name, table, folder)
