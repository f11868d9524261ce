"""A bundle's graph in ONNX Runtime. Knows no radiograph and no decoding.

Legend: B images, N anchors, K labels, M masks, S input side, s mask side, C global classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hilum.core.bundle import Bundle
from hilum.core.errors import BundleError, ConfigError, ModelOutputError

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class RawOutputs:
    """The raw heads of one image, checked to be finite."""

    class_logits: Float32  # (N, K)
    box_deltas: Float32  # (N, 4)
    mask_logits: Float32 | None = None  # (M, s, s)
    global_logits: Float32 | None = None  # (C,)


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
        if threads < 1:
            raise ConfigError(f"threads is {threads}; needed: at least 1")
        self.bundle, self.precision = bundle, precision or bundle.manifest.default_precision
        self.size = bundle.manifest.preprocessing.size
        self.outputs = bundle.manifest.outputs
        try:
            self._session = ort.InferenceSession(
                bundle.model(precision), _options(threads), providers=["CPUExecutionProvider"]
            )
        except (BundleError, MemoryError):
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no public base
            raise BundleError(f"{bundle.path}: ONNX Runtime refuses the model ({error})") from error
        self._check_names()

    def _check_names(self) -> None:
        names = self.outputs
        wanted = {names.class_logits, names.box_deltas, names.mask_logits, names.global_logits}
        missing = wanted - {None} - {value.name for value in self._session.get_outputs()}
        if [value.name for value in self._session.get_inputs()] != [names.image] or missing:
            raise BundleError(
                f"{self.bundle.path}: the graph does not take {names.image!r} alone or lacks "
                f"{sorted(map(str, missing))}; the manifest says otherwise"
            )
        self._wanted = [name for name in self._order() if name is not None]

    def _order(self) -> tuple[str | None, ...]:
        names = self.outputs
        return names.class_logits, names.box_deltas, names.mask_logits, names.global_logits

    def run(self, image: Float32) -> RawOutputs:
        """(1, S, S) prepared image to raw outputs.

        Raises:
            ModelOutputError: NaN or infinite numbers, or shapes that do not fit the manifest.
        """
        values = self._session.run(self._wanted, {self.outputs.image: image[None]})
        named: dict[str | None, Any] = dict(zip(self._wanted, values, strict=True))
        for name, value in named.items():
            if value.dtype != np.float32 or len(value) != 1:
                raise ModelOutputError(f"{name} is {value.dtype} {value.shape}; needed: one float")
            if not np.isfinite(value).all():
                raise ModelOutputError(
                    f"{self.bundle.name}: {name} holds NaN or infinite values; no result is given"
                )
        heads: list[Any] = [None if name is None else named[name][0] for name in self._order()]
        raw = RawOutputs(*heads)
        self._check_shapes(raw)
        return raw

    def _check_shapes(self, raw: RawOutputs) -> None:
        manifest = self.bundle.manifest
        n, k = len(raw.box_deltas), len(manifest.labels)
        masks, heads = raw.mask_logits, raw.global_logits
        channels = max((mask.channel for mask in manifest.masks.values()), default=-1)
        if raw.class_logits.shape != (n, k) or raw.box_deltas.shape != (n, 4):
            problem = f"class_logits {raw.class_logits.shape}, box_deltas {raw.box_deltas.shape}"
        elif masks is not None and (masks.ndim != 3 or masks.shape[0] <= channels):
            problem = f"mask_logits {masks.shape}"
        elif heads is not None and heads.shape != (len(manifest.global_classes),):
            problem = f"global_logits {heads.shape}"
        else:
            return
        raise ModelOutputError(f"{self.bundle.name}: {problem} do not fit the manifest")


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    # Spinning threads steal the cores of the other workers between two images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
