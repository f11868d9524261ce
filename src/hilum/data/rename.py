"""Findings under other names: label_, study_ and mask_ columns, and the labels of boxes.

Two sets, or a set and a model, can be compared where one finding has one name in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from hilum.core.errors import ConfigError
from hilum.core.options import unknown
from hilum.data.catalog import Catalog
from hilum.data.columns import PREFIXES


def renamed(catalog: Catalog, names: Mapping[str, str]) -> Catalog:
    """The catalog with findings called otherwise.

    Args:
        names: old -> new. Several may become one: present where any of them is, absent where
            all are, else unknown.

    Raises:
        ConfigError: the catalog has no such finding, or two masks would become one.
    """
    table = catalog.table.copy()
    masks = {c.removeprefix("mask_") for c in map(str, table) if c.startswith("mask_")}
    studies = {c.removeprefix("study_") for c in map(str, table) if c.startswith("study_")}
    known = {*catalog.label_names, *catalog.box_names, *masks, *studies}
    for old in names:
        if old not in known:
            raise ConfigError(f"--rename: {unknown('finding', old, known)}")
    for prefix in PREFIXES:
        table = _columns(table, prefix, names)
    table["box_labels"] = table["box_labels"].map(
        lambda labels: labels if labels is None else [names.get(name, name) for name in labels]
    )
    return replace(catalog, table=table)


def _columns(table: pd.DataFrame, prefix: str, names: Mapping[str, str]) -> pd.DataFrame:
    own = [c for c in map(str, table) if c.startswith(prefix)]
    new = {c: prefix + names.get(c.removeprefix(prefix), c.removeprefix(prefix)) for c in own}
    for target in dict.fromkeys(new.values()):
        parts = [c for c in own if new[c] == target]
        if len(parts) > 1 and prefix == "mask_":
            raise ConfigError(
                f"--rename: {' and '.join(parts)} would be one; needed: one mask each"
            )
        together = table[parts[0]] if len(parts) == 1 else _any(table[parts])
        table = table.drop(columns=parts).assign(**{target: together})
    return table


def _any(labels: pd.DataFrame) -> pd.Series[float]:
    present = labels.eq(1).any(axis=1)
    return labels.max(axis=1).where(present | labels.notna().all(axis=1)).astype("float32")
