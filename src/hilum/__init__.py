"""hilum: finds, outlines and grades lung opacities on chest radiographs.

Folders, in the order data flows through them:

core/      values and contracts: Radiograph, Prediction, Findings, geometry, bundle, options, errors
dicom/     file or bytes -> StoredImage (header parsed) -> Radiograph; limits; de-identification
data/      a data set on disk -> Catalog (one row an image); checks, splits, exports, phantoms
augment/   moves image, boxes and masks together; intensity; mixing
models/    encoders, detectors, classifiers, segmenters, losses (PyTorch)
train/     recipe -> sources -> samples -> run -> checkpoints -> bundle; sweeps
inference/ bundle + StoredImage -> Prediction -> Findings (ONNX Runtime, no PyTorch); pipelines
fuse/      several predictions -> one: arrays in, arrays out
evaluate/  predictions + Catalog -> numbers with intervals
report/    writers of results, figures, pages, submissions
explain/   what a score rests on: occlusion, gradients, pointing game
scale/     the same inference over an archive, in shards, on Ray
serve/     DICOM node, durable work, deliveries, HTTP, audit
cli/       one thin file per verb
client.py  a running service, from Python

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
