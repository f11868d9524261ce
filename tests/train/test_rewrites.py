"""Rewrites for speed change no number."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F

from hilum.core.bundle import load_bundle, shipped_bundles
from hilum.train.export import int8
from hilum.train.export.rewrites import in_blocks, quicker

SIDE = 32
BOTH, AFTER = (1, 1, 1, 1), (0, 0, 1, 1)  # padding of the stem


def graph_of(pads: tuple[int, ...], scale: float, sizes: bool) -> bytes:
    """Everything that is rewritten, and beside each of them what must not be, in fp32."""
    rng, channels = np.random.default_rng(0), 8
    kernels = {"stem": (1, 3), "depthwise": (1, 3), "lateral": (8, 1), "tower": (8, 3)}
    values = {
        name: rng.normal(0, 0.3, (channels, ins, side, side)).astype(np.float32)
        for name, (ins, side) in kernels.items()
    }
    values["head"] = rng.normal(0, 0.3, (3, channels, 1, 1)).astype(np.float32)
    values |= {f"{name}_b": np.full(len(values[name]), 0.1, np.float32) for name in list(values)}
    large = round(SIDE // 4 * scale)
    values["scales"] = np.array([1, 1, scale, scale], np.float32)
    values["to"] = np.array([large, large], np.int64)
    around, make = (1, 1, 1, 1), helper.make_node
    how = {"mode": "nearest", "nearest_mode": "floor"} | {
        "coordinate_transformation_mode": "asymmetric"
    }
    nodes = [
        make("Conv", ["image", "stem", "stem_b"], ["fine"], strides=(2, 2), pads=pads),
        make("Relu", ["fine"], ["fine_r"]),
        make(
            *("Conv", ["fine_r", "depthwise", "depthwise_b"], ["coarse"]),
            **{"strides": (2, 2), "pads": around, "group": channels},
        ),
        make("Relu", ["coarse"], ["coarse_r"]),
        make("Shape", ["coarse_r"], ["batch_channels"], start=0, end=2),
        make("Concat", ["batch_channels", "to"], ["sizes"], axis=0),
        make(
            "Resize", ["coarse_r", *(["", "", "sizes"] if sizes else ["", "scales"])], ["l"], **how
        ),
        make("Conv", ["fine_r", "lateral", "lateral_b"], ["side"]),
        make("Add", ["l", "side"], ["sum"]),
        make("Conv", ["sum" if scale == 2 else "l", "tower", "tower_b"], ["t"], pads=around),
        make("Relu", ["t"], ["t_r"]),
        make("Conv", ["t_r", "head", "head_b"], ["mask_logits"]),
    ]
    if scale != 2:  # nothing of that size to add
        nodes = [node for node in nodes if node.output[0] not in ("side", "sum")]
    for node in nodes:
        node.name = f"make_{node.output[0]}"
        if node.op_type == "Conv":
            side = values[node.input[1]].shape[2]
            node.attribute.append(helper.make_attribute("kernel_shape", (side, side)))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", 1, ["batch", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("mask_logits", 1, ["batch", 3, large, large])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def eight_bits(
    monkeypatch: pytest.MonkeyPatch,
    *,
    pads: tuple[int, ...] = BOTH,
    scale: float = 2.0,
    sizes: bool = True,
) -> bytes:
    """As it was before any rewrite."""
    monkeypatch.setattr(int8, "quicker", lambda graph: graph)
    images = np.random.default_rng(1).uniform(-1, 1, (4, 1, SIDE, SIDE)).astype(np.float32)
    return int8.to_int8(graph_of(pads, scale, sizes), images)


def outputs(graph: bytes, count: int = 1) -> list[np.ndarray]:
    image = np.random.default_rng(count).uniform(-1, 1, (count, 1, SIDE, SIDE))
    options = ort.SessionOptions()  # ours are for one image at a time
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return [np.asarray(one) for one in session.run(None, {"image": image.astype(np.float32)})]


def answer(graph: bytes, count: int) -> np.ndarray:
    return outputs(graph, count)[0]


def operators(graph: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)


def kernels(graph: bytes) -> Counter[tuple[int, int]]:
    """How many convolutions of so many groups and such a side."""
    of = [
        {one.name: helper.get_attribute_value(one) for one in node.attribute}
        for node in onnx.load_from_string(graph).graph.node
        if node.op_type == "Conv"
    ]
    return Counter((one.get("group", 1), one["kernel_shape"][0]) for one in of)


@pytest.mark.parametrize("pads", [BOTH, AFTER])
@pytest.mark.parametrize("sizes", [True, False])
def test_the_same_numbers_by_other_operators(
    pads: tuple[int, ...], sizes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = eight_bits(monkeypatch, pads=pads, sizes=sizes)
    after = quicker(before)
    for count in (1, 3):
        np.testing.assert_allclose(answer(after, count), answer(before, count), atol=1e-6)
    assert (operators(before)["Resize"], operators(after)["Resize"]) == (1, 0)
    assert operators(after)["MatMul"] == 1  # the head
    assert kernels(before)[1, 3] == 2  # stem and tower
    assert (kernels(after)[1, 2], kernels(after)[1, 3]) == (1, 1)
    assert kernels(after)[8, 3] == 1  # the depthwise one has one channel, too, and stays


def test_what_fits_no_rewrite_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = eight_bits(monkeypatch, pads=(0, 0, 0, 0), scale=3.0)
    after = quicker(before)
    assert operators(after)["Resize"] == 1  # by three
    assert kernels(after)[1, 2] == 0  # without padding the last block would be half a one
    np.testing.assert_allclose(answer(after, 2), answer(before, 2), atol=1e-6)


def test_a_head_that_several_levels_share_is_a_product_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a region proposal network, whose one kernel goes over every level of the pyramid."""
    model = onnx.load_from_string(graph_of(BOTH, 2.0, True))
    node = helper.make_node("Conv", ["fine_r", "head", "head_b"], ["second"], kernel_shape=(1, 1))
    node.name = "make_second"
    model.graph.node.append(node)
    sides = ["batch", 3, SIDE // 2, SIDE // 2]
    model.graph.output.append(helper.make_tensor_value_info("second", 1, sides))
    monkeypatch.setattr(int8, "quicker", lambda graph: graph)
    images = np.random.default_rng(1).uniform(-1, 1, (4, 1, SIDE, SIDE)).astype(np.float32)
    before = int8.to_int8(model.SerializeToString(), images)
    after = quicker(before)
    assert operators(after)["MatMul"] == 2
    for one, other in zip(outputs(after), outputs(before), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_each_reader_has_weights_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.load_from_string(eight_bits(monkeypatch))
    conv = next(node for node in model.graph.node if node.name == "make_t")
    twin = model.graph.node.add()
    twin.CopyFrom(conv)
    twin.name, twin.output[0] = "twin", "twice"
    for name in (conv.output[0], "twice"):
        model.graph.output.append(helper.make_tensor_value_info(name, 1, None))
    after = onnx.load_from_string(quicker(model.SerializeToString()))
    readers = Counter(name for node in after.graph.node for name in node.input)
    made = {node.output[0] for node in after.graph.node if node.op_type == "DequantizeLinear"}
    kernels = [n.input[1] for n in after.graph.node if n.op_type == "Conv" and n.input[1] in made]
    assert len(kernels) > 2
    assert all(readers[name] == 1 for name in kernels)
    _, once, twice = outputs(after.SerializeToString())
    np.testing.assert_array_equal(once, twice)
    assert once.std() > 0


@pytest.mark.parametrize("offset", [0, 1])
def test_a_kernel_over_blocks_is_the_kernel_over_pixels(offset: int) -> None:
    rng = np.random.default_rng(3)
    kernel = rng.integers(-127, 128, (5, 1, 3, 3)).astype(np.float32)
    image = torch.from_numpy(rng.integers(0, 256, (1, 1, 12, 10)).astype(np.float32))
    around = (1, 0, 1, 0) if offset else (0, 1, 0, 1)
    want = F.conv2d(F.pad(image, around), torch.from_numpy(kernel), stride=2)
    blocks = F.pad(F.pixel_unshuffle(image, 2), around)
    got = F.conv2d(blocks, torch.from_numpy(in_blocks(kernel, offset)))
    torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(shipped_bundles()))
def test_shipped_graphs_leave_nothing_to_rewrite(name: str) -> None:
    graph = load_bundle(shipped_bundles()[name]).model("int8")
    assert operators(quicker(graph)) == operators(graph)
