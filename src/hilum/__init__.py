"""hilum: finds, outlines and grades lung opacities on chest radiographs.

Folders, in the order data flows through them:

core/      the values that travel and the contracts: Radiograph, Findings, geometry, labels, bundle
dicom/     file or bytes -> Radiograph (grey-scale pipeline, limits)
data/      a data set on disk -> Catalog (one row per image); splits, phantoms, run lengths
augment/   moves image, boxes and masks together; intensity
models/    encoders, detectors, losses (PyTorch)
train/     recipe -> run -> checkpoints -> bundle
inference/ bundle + Radiograph -> Findings (ONNX Runtime, no PyTorch)
fuse/      several Findings -> one: NMS, weighted boxes fusion, shrink, masks
evaluate/  predictions + truth -> numbers with intervals
report/    pictures, tables, pages, model cards
cli/       one thin file per verb

Research use only. Not a medical device: a qualified reader decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["load_pipeline", "predict", "read"]

if TYPE_CHECKING:
    from hilum.dicom.read import read
    from hilum.inference.api import predict
    from hilum.inference.loaded import load_pipeline


def __getattr__(name: str) -> Any:
    # Imported on demand: `import hilum` stays instant, and reading needs no runtime.
    if name == "read":
        from hilum.dicom.read import read

        return read
    if name == "predict":
        from hilum.inference.api import predict

        return predict
    if name == "load_pipeline":
        from hilum.inference.loaded import load_pipeline

        return load_pipeline
    raise AttributeError(f"module 'hilum' has no attribute {name!r}")
