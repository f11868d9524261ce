"""A bundle whose answers are known: one hot anchor, masks that follow the picture, no training.

The graph really reads its input: the mask head is the pooled picture, so geometry errors show.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hilum.core.anchors import AnchorGrid
from hilum.core.bundle import Bundle, write_bundle

SIZE = 128
POOL = 4
GRID = AnchorGrid(levels=(4, 5))
COLD = -12.0


def hot_anchors(boxes: np.ndarray) -> np.ndarray:
    """(n,) indices of the anchors that lie best on (n, 4) boxes in the network's square."""
    from hilum.core.geometry import iou_matrix

    return np.argmax(iou_matrix(boxes, GRID.anchors(SIZE)), axis=1)


def toy_graph(
    boxes: np.ndarray,
    logits: np.ndarray,
    *,
    poison: bool = False,
    classes: Sequence[float] = (0.0, 1.0, 2.0),
    findings: Sequence[float] = (0.0,),
) -> bytes:
    """ONNX bytes that answer `boxes` (n, 4, in the square) with `logits` (n,) on any picture.

    `classes` and `findings` are the logits of exclusive classes and of findings.
    """
    anchors = GRID.anchors(SIZE)
    boxes_scores = np.full((1, len(anchors), 1), COLD, np.float32)
    deltas = np.zeros((1, len(anchors), 4), np.float32)
    if len(boxes):
        hot = hot_anchors(boxes)
        boxes_scores[0, hot, 0] = np.nan if poison else logits
        deltas[0, hot] = GRID.encode(boxes, anchors[hot])
    constants = {
        "classes": boxes_scores,
        "deltas": deltas,
        "zero": np.zeros((1,), np.float32),
        "gain": np.array([8.0, -8.0], np.float32).reshape(1, 2, 1, 1),
        "heads": np.array(classes, np.float32).reshape(1, -1),
        "many": np.array(findings, np.float32).reshape(1, -1),
        "axes": np.array([1, 2, 3], np.int64),
        "two": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Flatten", ["nothing"], ["nothing_b1"]),
        helper.make_node("Add", ["heads", "nothing_b1"], ["global_logits"]),
        helper.make_node("Add", ["many", "nothing_b1"], ["finding_logits"]),
        helper.make_node("Unsqueeze", ["nothing_b1", "two"], ["nothing_b11"]),
        helper.make_node("Add", ["classes", "nothing_b11"], ["class_logits"]),
        helper.make_node("Add", ["deltas", "nothing_b11"], ["box_deltas"]),
        helper.make_node(
            "AveragePool",
            ["image"],
            ["pooled"],
            kernel_shape=[POOL, POOL],
            strides=[POOL, POOL],
        ),
        helper.make_node("Mul", ["pooled", "gain"], ["mask_logits"]),
    ]
    side = SIZE // POOL
    outputs = {
        "class_logits": ["B", len(anchors), 1],
        "box_deltas": ["B", len(anchors), 4],
        "mask_logits": ["B", 2, side, side],
        "global_logits": ["B", len(classes)],
        "finding_logits": ["B", len(findings)],
    }
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def toy_manifest(**changes: Any) -> dict[str, Any]:
    """A complete manifest without `files`."""
    return {
        "schema": "hilum.bundle/1",
        "name": "toy",
        "version": "1.0",
        "labels": ["opacity"],
        "preprocessing": {"size": SIZE},
        "anchors": GRID.to_json(),
        "decoding": {"score_floor": 0.05, "nms_iou": 0.5},
        "masks": {
            "opacity": {"channel": 0, "threshold": 0.5},
            "lungs": {"channel": 1, "threshold": 0.5},
        },
        "image_scores": {"opacity": "opacity", "normal": "normal"},
        "operating_points": {
            "default": {"threshold": 0.3, "reason": "a test", "chosen_on": "nothing"}
        },
        "provenance": {
            "recipe": "toy",
            "seed": 0,
            "commit": "0" * 40,
            "command": "pytest",
            "created": "2026-01-01T00:00:00Z",
        },
        "precisions": {"fp32": "model.onnx"},
    } | changes


def toy_files(graph: bytes) -> dict[str, bytes]:
    return {"model.onnx": graph, "card.md": b"# toy\n", "LICENSE.md": b"CC0\n"}


def write_toy(
    path: Path,
    boxes: Any = ((30.0, 40.0, 62.0, 80.0),),
    logits: Any = (2.0,),
    *,
    poison: bool = False,
    classes: Sequence[float] = (0.0, 1.0, 2.0),
    finding_logits: Sequence[float] = (0.0,),
    **changes: Any,
) -> Bundle:
    """Write a toy bundle that finds `boxes` (in its square) with `logits` on every picture."""
    boxes, logits = np.array(boxes, np.float32).reshape(-1, 4), np.array(logits, np.float32)
    graph = toy_graph(boxes, logits, poison=poison, classes=classes, findings=finding_logits)
    return write_bundle(path, toy_manifest(**changes), toy_files(graph))


NO_BOXES: dict[str, Any] = {
    "labels": [],
    "anchors": None,
    "outputs": {"class_logits": None, "box_deltas": None},
    "operating_points": {},
}


def write_classifier(path: Path, opacity: float = 0.5, **changes: Any) -> Bundle:
    """A bundle of image scores alone: `opacity` and `normal`, on every picture the same."""
    logit = float(np.log(opacity / (1 - opacity)))
    point = {"threshold": 0.4, "reason": "a test", "score": "opacity"}
    own = NO_BOXES | {
        "name": path.stem,
        "outputs": NO_BOXES["outputs"] | {"mask_logits": None},
        "masks": {},
        "global_classes": ["normal", "opacity"],
        "positive": "opacity",
        "operating_points": {"best-mcc": point},
    }
    return write_toy(path, classes=(0.0, logit), **(own | changes))


def write_segmenter(path: Path, **changes: Any) -> Bundle:
    """A bundle of masks alone: `opacity` is bright, `lungs` dark."""
    outputs = NO_BOXES["outputs"] | {"global_logits": None}
    own = {"name": path.stem, "outputs": outputs, "global_classes": [], "image_scores": {}}
    return write_toy(path, **(NO_BOXES | own | changes))


PLAIN = {
    "schema": "hilum.pipeline/2",
    "name": "toy",
    "gates": "[header]",
    "models": "{toy: {bundle: toy.zip}}",
    "masks": "{lungs: [{use: map, of: toy}, threshold], opacity: [{use: map, of: toy}, threshold]}",
    "boxes": "[{use: boxes, of: toy}]",
    "scores": "[{use: scores, of: toy}]",
}


def write_text(path: Path, text: str = "") -> Path:
    """A plain pipeline around toy.zip; keys that `text` has replace those of the plain one."""
    given = {line.partition(":")[0] for line in text.splitlines()}
    rest = [f"{key}: {value}" for key, value in PLAIN.items() if key not in given]
    path.write_text("\n".join([*rest, text]))
    return path


def write_toy_pipeline(folder: Path, text: str = "", **toy: Any) -> Path:
    """A toy bundle and a pipeline file that uses it."""
    write_toy(folder / "toy.zip", **toy)
    return write_text(folder / "toy.yaml", text)
