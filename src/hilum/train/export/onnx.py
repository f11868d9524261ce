"""A trained network -> the graph of a bundle: ONNX raw heads, checked against PyTorch.

Decoding stays in hilum.inference.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from hilum.core.errors import ModelOutputError
from hilum.core.prediction import sigmoid
from hilum.inference.session import BATCH, RawOutputs, session_options
from hilum.inference.tuning import cores
from hilum.train.heads import RawHeads

OF_PROPOSALS = ("class_logits", "box_deltas", "proposals")
SWAPPED = 0.01  # of the proposals: so many may enter or leave the list by rounding


def to_onnx(net: nn.Module, size: int) -> bytes:
    """The fp32 graph with a free batch size; where proposals are made inside it, of one image."""
    heads = RawHeads(net).eval()
    names = heads.names(torch.zeros(1, 1, size, size))
    single = "proposals" in names
    example = torch.zeros(1 if single else 2, 1, size, size)
    free = {"image": {0: torch.export.Dim(BATCH, min=1, max=64)}}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        for talker in ("onnxscript", "onnx_ir"):
            logging.getLogger(talker).setLevel(logging.WARNING)
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            heads,
            (example,),
            path,
            input_names=["image"],
            output_names=names,
            dynamic_shapes=None if single else free,
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        return without_traces(path.read_bytes())


def without_traces(graph: bytes) -> bytes:
    """The same graph without what the exporter notes of the Python it came from: paths of a
    machine have no place in a bundle."""
    model = onnx.load_from_string(graph)
    parts = (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer)
    for part in (model, *parts, *model.graph.input, *model.graph.output, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for node in (node for function in model.functions for node in function.node):
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    stripped: bytes = model.SerializeToString()
    return stripped


def asking(graph: bytes) -> Callable[[NDArray[np.float32]], RawOutputs]:
    """What the graph says of one (1, S, S) prepared image."""
    session = ort.InferenceSession(
        graph, session_options(cores()), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]

    def ask(image: NDArray[np.float32]) -> RawOutputs:
        values = session.run(names, {"image": image[None]})
        return RawOutputs(**{n: v[0] for n, v in zip(names, values, strict=True)})

    return ask


def answers(graph: bytes, images: NDArray[np.float32]) -> list[RawOutputs]:
    """What the graph says of (n, 1, S, S) prepared images, one at a time as in `hilum predict`."""
    return list(map(asking(graph), images))


def largest_difference(net: nn.Module, graph: bytes, images: NDArray[np.float32]) -> float:
    """Largest difference between PyTorch and ONNX Runtime over all raw outputs: absolute, and of
    values beyond 1 relative.

    Proposals are compared with their logits and deltas, row by row, whatever their order: two whose
    ranks differ by a rounding error change places. Their corners count in sides of the square.
    """
    session = ort.InferenceSession(
        graph, session_options(cores()), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    heads, worst = RawHeads(net).eval(), 0.0
    with torch.inference_mode():
        for image in images:
            expected = [value.numpy() for value in heads(torch.from_numpy(image[None]))]
            got = session.run(None, {"image": image[None]})
            if "proposals" in names:
                a, b = (_rows(names, values, image.shape[-1]) for values in (expected, got))
                worst = max(worst, _unmatched(a, b))
            for name, a, b in zip(names, expected, got, strict=True):
                if name == "activations":  # shown beside their strongest place
                    worst = max(worst, float(np.abs(a - b).max() / max(np.abs(a).max(), 1)))
                elif "proposals" not in names:
                    worst = max(worst, float(_apart(a, b).max()))
                elif name not in OF_PROPOSALS:  # painted of the proposals: their cells are products
                    worst = max(worst, float(np.abs(sigmoid(a) - sigmoid(b)).max()))
    return worst


def _rows(names: list[str], values: Sequence[NDArray[Any]], side: int) -> NDArray[Any]:
    """(R, n): everything that is said of each proposal."""
    named = [(n, v) for n, v in zip(names, values, strict=True) if n in OF_PROPOSALS]
    parts = [v[0] / (side if n == "proposals" else 1) for n, v in named]
    return np.concatenate(parts, axis=1)


def _unmatched(a: NDArray[Any], b: NDArray[Any]) -> float:
    """How far rows of `a` are from their nearest in `b`: the farthest but for SWAPPED of them."""
    nearest = [float(_apart(row, b).max(axis=1).min()) for row in a]
    return float(np.quantile(nearest, 1 - SWAPPED, method="lower"))


def _apart(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    apart: NDArray[Any] = np.abs(a - b) / np.maximum(np.abs(a), 1)
    return apart


def check_export(
    net: nn.Module, graph: bytes, images: NDArray[np.float32], tolerance: float = 1e-4
) -> float:
    """The `largest_difference` of any raw output.

    Raises:
        ModelOutputError: larger than `tolerance`.
    """
    worst = largest_difference(net, graph, images)
    if not worst <= tolerance:
        raise ModelOutputError(
            f"the exported graph differs from PyTorch by {worst:.2e}; allowed: {tolerance:.0e}"
        )
    return worst
