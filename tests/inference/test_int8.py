"""int8 graphs give exact integer sums whatever the processor multiplies bytes with."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from hilum.inference import session as sessions
from hilum.inference.session import EXACTLY, PRODUCTS, session_options

CHANNELS = 64
SCALE = 0.26  # of the output: the largest sum is 64, of 255 steps


def _convolution(weights: np.ndarray) -> bytes:
    """A 1 x 1 QLinearConv from bytes to bytes, whose unit is so chosen that nothing is clipped."""
    values = {
        "one": np.float32(1 / 255),
        "weight_scale": np.float32(1 / 127),
        "out_scale": np.float32(SCALE),
        "zero": np.uint8(0),
        "weight_zero": np.int8(0),
        "weights": weights.reshape(-1, CHANNELS, 1, 1),
    }
    names = ("image", "one", "zero", "weights", "weight_scale", "weight_zero", "out_scale", "zero")
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", names, ["out"])],
        "convolution",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", CHANNELS, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.UINT8, ["batch", len(weights), 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("lightest", [0, 200, 255], ids=["any", "light", "white"])
def test_sums_of_bytes_never_saturate(lightest: int) -> None:
    """255 x 127 + 255 x 127 is more than 16 bits hold: the pairs that AVX2 and AVX-512 add."""
    random = np.random.default_rng(0)
    image = random.integers(lightest, 256, (1, CHANNELS, 8, 8)).astype(np.uint8)
    weights = random.integers(0, 128, (16, CHANNELS)).astype(np.int8)
    weights[0] = 127
    session = ort.InferenceSession(
        _convolution(weights), session_options(1), providers=["CPUExecutionProvider"]
    )
    (there,) = session.run(None, {"image": image})
    exact = np.einsum("oc,bcyx->boyx", weights.astype(np.int64), image.astype(np.int64))
    assert np.abs(there - exact / (255 * 127 * SCALE)).max() <= 0.5 + 1e-3  # rounding alone


def test_the_trial_of_the_processor_is_a_product_of_bytes() -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("a", TensorProto.UINT8, [8, 64]),
            helper.make_tensor_value_info("b", TensorProto.INT8, [64, 16]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [8, 16])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert model.SerializeToString() == PRODUCTS


@pytest.mark.parametrize("exact", [True, False])
def test_the_slower_way_is_taken_where_sums_saturate_and_only_there(
    exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "adds_bytes_exactly", lambda: exact)
    options = session_options(1)
    if exact:
        with pytest.raises(RuntimeError):  # ONNX Runtime knows no such entry
            options.get_session_config_entry(EXACTLY)
    else:
        assert options.get_session_config_entry(EXACTLY) == "1"


@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="no qemu-user")
def test_a_processor_without_vnni_is_told() -> None:
    code = "from hilum.inference.session import adds_bytes_exactly as exact; print(exact())"
    command = ["qemu-x86_64", "-cpu", "Haswell", sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False"]
