"""Bundle + Radiograph -> Findings. ONNX Runtime and NumPy, no PyTorch.

session.py    a bundle's graph in ONNX Runtime, explicit threads
decode.py     raw outputs -> boxes, scores and masks in source pixels
predictor.py  one bundle, one radiograph -> Findings
stages.py     the exchangeable parts of a pipeline: gates, fusion, filters, study combination
pipeline.py   the parts in order, read from YAML
journal.py    what a run has finished, on disk, so that it can go on
run.py        many inputs, one answer each, in order
pool.py       worker processes under supervision; a crash loses one input
api.py        `hilum.predict(...)`
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """`hilum.predict` is this package once any of its modules is loaded, and a function to users.

    Python binds a loaded subpackage over a function of the same name; so the package is callable.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from hilum.predict.api import predict

        return predict(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
