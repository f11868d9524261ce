"""A data set on disk -> Catalog. `from hilum.data import load`: any set in its own directory.

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
