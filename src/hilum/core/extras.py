"""Optional parts of hilum and how to install them."""

from __future__ import annotations

import importlib
from types import ModuleType

from hilum.core.errors import MissingExtraError

FEATURES = {
    "demo": ("The demo", "data_store"),
    "dicom": ("Writing results as DICOM", "highdicom"),
    "eval": ("Evaluation and data sets", "pandas"),
    "scale": ("Work on Ray", "ray"),
    "serve": ("The service", "pynetdicom"),
    "train": ("Training", "torch"),
}


def require(extra: str, module: str | None = None) -> ModuleType:
    """Import and return the module that an extra brings, or say how to install it.

    Raises:
        MissingExtraError: naming the feature and the pip command.
    """
    feature, default = FEATURES[extra]
    name = module or default
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != name.split(".")[0]:
            raise
        raise MissingExtraError(f"{feature} needs {name}: pip install 'hilum[{extra}]'") from error
