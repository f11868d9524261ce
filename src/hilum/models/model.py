"""The one interface of every network here: a batch in, a loss dict or predictions out.

Legend: B batch, S input side, M masks, C global classes, F findings, K box labels, n boxes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Targets:
    """What a network is to tell apart; the names of a batch's columns, in order."""

    labels: tuple[str, ...] = ("opacity",)  # of boxes
    classes: tuple[str, ...] = ("normal", "not-normal", "opacity")  # exactly one is true
    findings: tuple[str, ...] = ()  # any number are true
    masks: tuple[str, ...] = ("opacity", "lungs", "lungs_full")
    positive: tuple[str, ...] = ("opacity",)  # the classes that say "there is a finding"

    @property
    def positive_columns(self) -> list[int]:
        """Where the positive classes stand among the classes."""
        return [i for i, name in enumerate(self.classes) if name in self.positive]


@dataclass(slots=True)
class Batch:
    """What a step sees. `boxes[i]` is None where nobody annotated boxes."""

    image_B1SS: Tensor
    boxes: list[Tensor | None]  # each (n, 4) x1, y1, x2, y2 in the square
    classes: list[Tensor | None]  # each (n,) int64, index of the box's label
    mask_BMSS: Tensor  # uint8 0, 1, 255 not annotated
    label_BC: Tensor  # 1, 0, NaN unknown
    finding_BF: Tensor  # multi-label targets, likewise

    def to(self, device: torch.device | str) -> Batch:
        def move(values: list[Tensor | None]) -> list[Tensor | None]:
            return [None if v is None else v.to(device, non_blocking=True) for v in values]

        return Batch(
            image_B1SS=self.image_B1SS.to(device, non_blocking=True),
            boxes=move(self.boxes),
            classes=move(self.classes),
            mask_BMSS=self.mask_BMSS.to(device, non_blocking=True),
            label_BC=self.label_BC.to(device, non_blocking=True),
            finding_BF=self.finding_BF.to(device, non_blocking=True),
        )


@dataclass(slots=True)
class Prediction:
    """What a network says of one image, in the square; None where it has no such head."""

    boxes: Tensor | None = None  # (n, 4), best score first, after suppression
    scores: Tensor | None = None  # (n,) in [0, 1]
    labels: Tensor | None = None  # (n,) int64
    classes: Tensor | None = None  # (C,) probabilities that sum to one
    findings: Tensor | None = None  # (F,) probabilities, each for itself
    masks: Tensor | None = None  # (M, S, S) probabilities


class Model(nn.Module, ABC):
    """A network of the toolkit. Raw heads are exported; decoding is not."""

    @abstractmethod
    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        """Raw heads by name, before any activation or suppression."""

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses by component; their sum is minimised. Unknown targets cost nothing."""

    def evaluated(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The raw heads and the losses of a batch; no gradient goes back through them."""
        return self(batch.image_B1SS), self.loss(batch)

    @torch.inference_mode()
    def predict(self, image_B1SS: Tensor) -> list[Prediction]:
        """One prediction an image, without gradients; the network is left in the mode it was in."""
        with evaluating(self):
            return self._predict(image_B1SS)

    @abstractmethod
    def _predict(self, image_B1SS: Tensor) -> list[Prediction]:
        """`predict` in evaluation mode."""


class HeadsModel(Model):
    """A network whose losses follow from its raw heads: an evaluation runs it once."""

    @abstractmethod
    def loss_of(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """`loss` of the raw heads of the batch's images."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss_of(self(batch.image_B1SS), batch)

    def evaluated(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        raw = self(batch.image_B1SS)
        return raw, self.loss_of(raw, batch)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every layer then has the mode that it was found in.

    Layer by layer: a training network may hold frozen ones that stay in evaluation mode.
    """
    modes = [(layer, layer.training) for layer in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
