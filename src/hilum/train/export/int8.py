"""A bundle's graph in eight bits, calibrated on training images."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from hilum.train.export.rewrites import quicker


class _Images(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: NDArray[np.float32]):
        self.rows: Iterator[NDArray[np.float32]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        row = next(self.rows, None)
        return None if row is None else {"image": row[None]}


def to_int8(graph: bytes, images: NDArray[np.float32]) -> bytes:
    """Static QDQ quantisation, calibrated on (n, 1, S, S) prepared images; rewritten for speed."""
    with tempfile.TemporaryDirectory() as folder, _quiet_root():
        fp32, ready, int8 = (Path(folder) / f"{n}.onnx" for n in ("fp32", "ready", "int8"))
        fp32.write_bytes(graph)
        quant_pre_process(str(fp32), str(ready), skip_symbolic_shape=True)
        quantize_static(
            ready,
            int8,
            _Images(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=last_layers(onnx.load(ready)),
        )
        return quicker(int8.read_bytes())


@contextmanager
def _quiet_root() -> Iterator[None]:
    """The quantiser tips its users off through the root logger; ours is heard again afterwards."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def last_layers(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes from each output back to and with its last convolution or linear layer.

    They stay in floating point: eight bits for all logits, or for all box deltas, of an image
    are too coarse, and these layers cost little.
    """
    maker = {name: node for node in model.graph.node for name in node.output}
    names: list[str] = []
    waiting = [output.name for output in model.graph.output]
    while waiting:
        node = maker.get(waiting.pop())
        if node is None or node.name in names:
            continue
        names.append(node.name)
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            waiting += node.input
    return names
