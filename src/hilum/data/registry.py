"""`load(name, path)`: any supported set -> Catalog. Knows where each adapter lives, no format."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.data.sets import SETS

_OWN = "hilum.data.adapters."
ADAPTERS: dict[str, str] = {
    "rsna": _OWN + "rsna:load",
    "siim-covid": _OWN + "siim_covid:load",
    "siim-acr": _OWN + "siim_acr:load",
    "nih": _OWN + "nih:load",
    "vindr": _OWN + "vindr:load",
    "chexpert": _OWN + "chexpert:load",
    "mimic-cxr": _OWN + "mimic_cxr:load",
    "coco": _OWN + "coco:load",
    "voc": _OWN + "voc:load",
    "yolo": _OWN + "yolo:load",
    "folder": _OWN + "folder:load",
    **{name: f"hilum.data.sets:{name}" for name in SETS},
}


def load(name: str, path: str | PathLike[str], **options: Any) -> Catalog:
    """The catalog of a set in the directory a user has after unzipping it.

    Args:
        name: a key of `ADAPTERS`.
        path: the set's directory; its tables alone give a catalog without pixels.
        options: what the adapter offers beside it, e.g. CheXpert's `uncertain="ones"`.

    Raises:
        DataError: unknown name, a directory that is not of that set, or damaged tables.
    """
    return _adapter(name)(Path(path), **options)


def options_of(name: str) -> list[str]:
    """Names of the options that a set's reader takes.

    Raises:
        DataError: unknown name.
    """
    return list(inspect.signature(_adapter(name)).parameters)[1:]


def _adapter(name: str) -> Callable[..., Catalog]:
    if name not in ADAPTERS:
        near = difflib.get_close_matches(name, ADAPTERS, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(f"unknown set {name!r}; known: {', '.join(ADAPTERS)}.{hint}")
    module, _, function = ADAPTERS[name].partition(":")
    adapter: Callable[..., Catalog] = getattr(importlib.import_module(module), function)
    return adapter
