"""A bundle's graph in ONNX Runtime. Knows no radiograph and no decoding.

ONNX Runtime is imported with the first graph: that starts a thread, and workers are forked from a
process that has none.

Legend: B images, N anchors, K labels, M masks, S input side, s mask side, C global classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.bundle import Bundle
from hilum.core.errors import BundleError, ConfigError, ModelOutputError

if TYPE_CHECKING:
    from onnxruntime import SessionOptions

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class RawOutputs:
    """The raw heads of one image, checked to be finite; None where the network lacks one."""

    class_logits: Float32 | None = None  # (N, K)
    box_deltas: Float32 | None = None  # (N, 4)
    mask_logits: Float32 | None = None  # (M, s, s)
    global_logits: Float32 | None = None  # (C,)
    proposals: Float32 | None = None  # (N, 4)
    finding_logits: Float32 | None = None  # (F,)
    activations: Float32 | None = None  # (C or F, h, w)


BATCH = "batch"  # the free dimension of exported graphs; one image at a time here
LARGE = 1e12  # more means no more, and overflows where boxes are decoded
EXACTLY = "session.x64quantprecision"  # weights from s8 to u8
HEADS = tuple(one.name for one in fields(RawOutputs))


class Session:
    """Runs one bundle on one image at a time, the same answer for the same image every time."""

    def __init__(self, bundle: Bundle, precision: str | None = None, threads: int = 1) -> None:
        """
        Args:
            bundle: a checked bundle.
            precision: "fp32", "int8" or None for the bundle's default.
            threads: threads inside one operator, at least 1.

        Raises:
            BundleError: no such precision, or the graph is not what the manifest says.
        """
        import onnxruntime as ort

        if threads < 1:
            raise ConfigError(f"threads is {threads}; needed: at least 1")
        self.bundle, self.precision = bundle, precision or bundle.manifest.default_precision
        self.size = bundle.manifest.preprocessing.size
        self.outputs = bundle.manifest.outputs
        try:
            self._session = ort.InferenceSession(
                bundle.model(precision),
                session_options(threads),
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # it would print and try the same again
            )
            inputs = {one.name: one.shape[2:] for one in self._session.get_inputs()}
            outputs = {one.name for one in self._session.get_outputs()}
        except (BundleError, MemoryError):
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no public base
            raise BundleError(f"{bundle.path}: ONNX Runtime refuses the model ({error})") from error
        self._check_names(inputs, outputs)

    def _check_names(self, inputs: Mapping[str, Sequence[Any]], outputs: Set[str]) -> None:
        names = self.outputs
        self._named = {head: name for head in HEADS if (name := getattr(names, head)) is not None}
        missing = set(self._named.values()) - outputs
        if list(inputs) != [names.image] or missing:
            raise BundleError(
                f"{self.bundle.path}: the graph does not take {names.image!r} alone or lacks "
                f"{sorted(missing)}; the manifest says otherwise"
            )
        sides = inputs[names.image]
        if any(isinstance(side, int) and side != self.size for side in sides):
            raise BundleError(
                f"{self.bundle.path}: the graph takes images of {' x '.join(map(str, sides))} px "
                f"and is asked for {self.size}; export the run at that size: "
                f"hilum export RUN --size {self.size}"
            )

    def run(self, image: Float32) -> RawOutputs:
        """(1, S, S) prepared image to raw outputs.

        Raises:
            ModelOutputError: NaN or infinite numbers, or shapes that do not fit the manifest.
        """
        try:
            values = self._session.run(
                list(self._named.values()), {self.outputs.image: image[None]}
            )
        except Exception as error:  # ONNX Runtime's exceptions share no public base
            raise ModelOutputError(
                f"{self.bundle.name}: its graph cannot be run ({error})"
            ) from error
        heads: dict[str, Any] = dict(zip(self._named, values, strict=True))
        for name, value in heads.items():
            if value.dtype != np.float32 or len(value) != 1:
                raise ModelOutputError(f"{name} is {value.dtype} {value.shape}; needed: one float")
            peak = np.abs(value).max(initial=0)
            if not peak < np.inf:
                raise ModelOutputError(
                    f"{self.bundle.name}: {name} holds NaN or infinite values; no result is given"
                )
            if peak > LARGE:
                heads[name] = np.clip(value, -LARGE, LARGE)
        raw = RawOutputs(**{name: value[0] for name, value in heads.items()})
        self._check_shapes(raw)
        return raw

    def _check_shapes(self, raw: RawOutputs) -> None:
        manifest = self.bundle.manifest
        n = 0 if raw.box_deltas is None else len(raw.box_deltas)
        channels = max((mask.channel for mask in manifest.masks.values()), default=-1)
        needed: dict[str, tuple[int, ...]] = {
            "class_logits": (n, len(manifest.labels)),
            "box_deltas": (n, 4),
            "proposals": (n, 4),
            "global_logits": (len(manifest.global_classes),),
            "finding_logits": (len(manifest.findings),),
        }
        for name, shape in needed.items():
            value = getattr(raw, name)
            if value is not None and value.shape != shape:
                raise ModelOutputError(
                    f"{self.bundle.name}: {name} {value.shape} do not fit the manifest: {shape}"
                )
        masks = raw.mask_logits
        if masks is not None and (masks.ndim != 3 or masks.shape[0] <= channels):
            raise ModelOutputError(
                f"{self.bundle.name}: mask_logits {masks.shape} do not fit the manifest"
            )
        places, classes = raw.activations, raw.global_logits
        names = raw.finding_logits if classes is None else classes
        if places is not None and (places.ndim != 3 or names is None or len(places) != len(names)):
            raise ModelOutputError(
                f"{self.bundle.name}: activations {places.shape} do not fit the manifest"
            )


# MatMulInteger of a (8, 64) u8 and b (64, 16) s8, opset 13; in words: tests/inference/test_int8.py
PRODUCTS = (
    b'\x08\x08:\\\n\x18\n\x01a\n\x01b\x12\x01y"\rMatMulInteger\x12\x01gZ\x13\n\x01a\x12\x0e\n\x0c'
    b"\x08\x02\x12\x08\n\x02\x08\x08\n\x02\x08@Z\x13\n\x01b\x12\x0e\n\x0c\x08\x03\x12\x08\n\x02\x08@"
    b"\n\x02\x08\x10b\x13\n\x01y\x12\x0e\n\x0c\x08\x06\x12\x08\n\x02\x08\x08\n\x02\x08\x10B\x04\n\x00\x10\r"
)


@cache
def adds_bytes_exactly() -> bool:
    """Whether ONNX Runtime adds products of u8 and s8 exactly on this processor.

    With VNNI it does. Without, x86 adds them in pairs in 16 bits, which saturate: outputs of the
    default bundle moved by up to 8. The largest products are tried, as a list of processors would
    not be complete.
    """
    import onnxruntime as ort

    a, b = np.full((8, 64), 255, np.uint8), np.full((64, 16), 127, np.int8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(PRODUCTS, options, providers=["CPUExecutionProvider"])
    return bool(np.all(session.run(None, {"a": a, "b": b})[0] == 64 * 255 * 127))


def session_options(threads: int) -> SessionOptions:
    """The same answers on every processor, on this many threads an operator."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    # With every shape known, kernels are planned once; a graph without a free batch ignores it.
    options.add_free_dimension_override_by_name(BATCH, 1)
    options.log_severity_level = 4  # what it would print is raised
    if not adds_bytes_exactly():
        # Both as u8 are added exactly everywhere, in about twice the time that VNNI takes.
        options.add_session_config_entry(EXACTLY, "1")
    # Spinning threads steal the cores of the other workers between two images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
