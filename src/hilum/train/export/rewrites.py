"""An eight-bit graph -> the same graph, faster on ONNX Runtime's CPU kernels (docs/speed.md).

Each rewrite computes the same numbers from the same operands. It names the shape that it waits
for, and leaves everything else as it is. Knows no network and no bundle.

Legend: N images, C channels, H W sides of a map, O outputs of a convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnxscript import ir
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.pattern import MatchResult, RewriteRuleClassBase

from hilum.train.export.onnx import without_traces

NHWC, NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
LANES = 16  # floats of a vector: ONNX Runtime pads the outputs of a convolution to as many


def quicker(graph: bytes) -> bytes:
    """The graph with every rewrite that fits it."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph), data_prop=True)
    rules = [one.rule() for one in (NearestDoubling, PointwiseHead, Stem)]
    changed = ir.to_proto(rewrite(ir.from_proto(model), rules))
    _give_own_weights(changed.graph)
    return without_traces(changed.SerializeToString())


def _give_own_weights(graph: onnx.GraphProto) -> None:
    """A copy of the weights for each convolution of a head that several levels share.

    Without VNNI ONNX Runtime turns weights from s8 to u8 (`session_options`), once for each reader,
    under one name: it refuses graphs whose readers share them.
    """
    constants = {one.name: one for one in graph.initializer}
    makers = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and set(node.input) <= constants.keys()
    ]
    for maker in makers:
        readers = [node for node in graph.node if maker.output[0] in node.input]
        for number, reader in enumerate(readers[1:], 1):
            own = onnx.NodeProto()
            own.CopyFrom(maker)
            for field in (own.input, own.output):
                field[:] = [f"{name}_{number}" for name in field]
            own.name = f"{maker.name}_{number}"
            for name, copy in zip(maker.input, own.input, strict=True):
                graph.initializer.add().CopyFrom(constants[name])
                graph.initializer[-1].name = copy
            reader.input[:] = [own.output[0] if x == maker.output[0] else x for x in reader.input]
            graph.node.insert(0, own)  # it waits for constants alone


class _Rule(RewriteRuleClassBase):  # type: ignore[misc]
    def __init__(self) -> None:
        # What is dequantised may have other readers, too; what has none left is removed anyway.
        super().__init__(remove_nodes=False)


class NearestDoubling(_Rule):
    """Resize by 2, nearest: every pixel beside itself, every row beneath itself, as bytes.

    The Resize kernel computes an index for each value; Concat and Reshape copy whole rows.
    """

    def pattern(self, op: Any, x: Any, scale: Any, zero: Any) -> Any:
        floats = op.DequantizeLinear(x, scale, zero)
        others = {"_allow_other_inputs": True, "_allow_other_attributes": True}
        large = op.Resize(floats, **others, _outputs=["large"])  # by scales or to sizes
        return op.QuantizeLinear(large, scale, zero)  # the same scale: bytes go through unchanged

    def check(self, context: Any, x: ir.Value, large: ir.Value, **_: Any) -> MatchResult:
        result, how = MatchResult(), _attributes(large)
        wanted = ("nearest", "asymmetric", "floor")
        names = ("mode", "coordinate_transformation_mode", "nearest_mode")
        if tuple(how.get_string(name, "") for name in names) != wanted:
            return result.fail("another kind of Resize")
        c, h, w = _sides(x)
        if not c or _sides(large) != (c, 2 * h, 2 * w):
            return result.fail("not by 2, or of unknown size")
        return result

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        c, h, w = _sides(x)
        pixels = op.Reshape(op.Transpose(x, perm=NHWC), _shape(op, -1, c))
        rows = op.Reshape(op.Concat(pixels, pixels, axis=1), _shape(op, -1, 2 * w * c))
        large = op.Reshape(op.Concat(rows, rows, axis=1), _shape(op, -1, 2 * h, 2 * w, c))
        return op.Transpose(large, perm=NCHW)


class PointwiseHead(_Rule):
    """A last 1 x 1 convolution with few outputs, which stays in fp32: a matrix product.

    The map comes channels last out of the eight-bit layers. Convolution would reorder it into
    blocks of channels and compute LANES outputs.
    """

    def pattern(self, op: Any, x: Any, scale: Any, zero: Any, weight: Any, bias: Any) -> Any:
        floats = op.DequantizeLinear(x, scale, zero)
        return op.Conv(floats, weight, bias, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, weight: ir.Value, y: ir.Value, **_: Any) -> MatchResult:
        result, how = MatchResult(), _attributes(y)
        kernel = _constant(weight)
        if kernel is None or kernel.shape[2:] != (1, 1) or len(kernel) >= LANES:
            return result.fail("no known 1 x 1 kernel, or many outputs")
        if how.get_int("group", 1) != 1 or _ints(how, "strides", 1) or _ints(how, "pads", 0):
            return result.fail("groups, strides or padding")
        return result

    def rewrite(
        self, op: Any, x: ir.Value, scale: Any, zero: Any, weight: ir.Value, bias: Any, **_: Any
    ) -> Any:
        kernel = _constant(weight)
        assert kernel is not None
        matrix = np.ascontiguousarray(kernel[:, :, 0, 0].T)
        pixels = op.DequantizeLinear(op.Transpose(x, perm=NHWC), scale, zero)
        product = op.MatMul(pixels, op.Constant(value=ir.tensor(matrix)))
        return op.Transpose(op.Add(product, bias), perm=NCHW)


class Stem(_Rule):
    """The first 3 x 3 convolution of one channel with stride 2: 2 x 2 over blocks of 4 pixels.

    Eight-bit kernels gather channels; with a single one they gather single bytes. Blocks of
    2 x 2 pixels become four channels, and the third row and column begin the next block.
    """

    def pattern(
        self, op: Any, x: Any, scale: Any, zero: Any, kernel: Any, gain: Any, shift: Any, bias: Any
    ) -> Any:
        weight = op.DequantizeLinear(
            kernel, gain, shift, _allow_other_attributes=True, _outputs=["weight"]
        )
        floats = op.DequantizeLinear(x, scale, zero)
        return op.Conv(floats, weight, bias, _allow_other_attributes=True, _outputs=["y"])

    def check(
        self, context: Any, x: ir.Value, kernel: ir.Value, shift: ir.Value, y: ir.Value, **_: Any
    ) -> MatchResult:
        result, how = MatchResult(), _attributes(y)
        (channels, h, w), values, zeros = _sides(x), _constant(kernel), _constant(shift)
        # A depthwise kernel has one channel, too; the map tells them apart.
        if values is None or values.shape[1:] != (1, 3, 3) or channels != 1:
            return result.fail("no known 3 x 3 kernel of one channel")
        if how.get_int("group", 1) != 1 or tuple(how.get_ints("strides", ())) != (2, 2):
            return result.fail("groups, or another stride")
        if _ints(how, "dilations", 1) or tuple(how.get_ints("pads", ())) not in PADS:
            return result.fail("dilated, or another padding")
        if h % 2 or w % 2 or zeros is None or zeros.any():
            return result.fail("an odd side, or weights whose 0 is not 0")
        return result

    def rewrite(
        self,
        op: Any,
        x: ir.Value,
        scale: Any,
        zero: Any,
        kernel: ir.Value,
        gain: Any,
        shift: Any,
        bias: Any,
        weight: ir.Value,
        y: ir.Value,
    ) -> Any:
        (_, h, w), values = _sides(x), _constant(kernel)
        assert values is not None
        offset, pads = PADS[tuple(_attributes(y).get_ints("pads"))]
        blocks = op.initializer(ir.tensor(in_blocks(values, offset)), name=f"{kernel.name}_blocks")
        axis = _attributes(weight).get_int("axis", 1)
        pixels = op.Reshape(x, _shape(op, -1, h // 2, 2, w // 2, 2))
        pixels = op.Reshape(
            op.Transpose(pixels, perm=(0, 1, 3, 2, 4)), _shape(op, -1, h // 2, w // 2, 4)
        )
        return op.Conv(
            op.DequantizeLinear(op.Transpose(pixels, perm=NCHW), scale, zero),
            op.DequantizeLinear(blocks, gain, shift, axis=axis),
            bias,
            kernel_shape=(2, 2),
            pads=pads,
        )


# Padding of the 3 x 3 kernel -> where it begins in its first block, padding of the 2 x 2 one.
PADS = {(0, 0, 1, 1): (0, (0, 0, 1, 1)), (1, 1, 1, 1): (1, (1, 1, 0, 0))}


def in_blocks(kernel_O133: np.ndarray, offset: int) -> np.ndarray:
    """(O, 1, 3, 3) over pixels -> (O, 4, 2, 2) over blocks of 2 x 2 pixels.

    Args:
        offset: rows and columns of its first block that the kernel leaves out, 0 or 1.
    """
    wide = np.zeros((len(kernel_O133), 4, 4), kernel_O133.dtype)
    wide[:, offset : offset + 3, offset : offset + 3] = kernel_O133[:, 0]
    split = wide.reshape(-1, 2, 2, 2, 2)  # output, block row, row, block column, column
    return np.ascontiguousarray(split.transpose(0, 2, 4, 1, 3).reshape(-1, 4, 2, 2))


def _attributes(value: ir.Value) -> Any:
    node = value.producer()
    assert node is not None
    return node.attributes


def _ints(attributes: Any, name: str, usual: int) -> bool:
    """Has it another value than the usual one?"""
    return any(value != usual for value in attributes.get_ints(name, ()))


def _sides(value: ir.Value) -> tuple[int, int, int]:
    """Channels, height, width; zeros where one of them is unknown."""
    sides = () if value.shape is None else tuple(value.shape[1:])
    if len(sides) != 3 or not all(isinstance(side, int) for side in sides):
        return 0, 0, 0
    c, h, w = map(int, sides)
    return c, h, w


def _constant(value: ir.Value) -> np.ndarray | None:
    return None if value.const_value is None else value.const_value.numpy()


def _shape(op: Any, *sides: int) -> Any:
    return op.Constant(value=ir.tensor(np.array(sides, np.int64)))
