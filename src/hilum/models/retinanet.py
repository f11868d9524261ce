"""RetinaNet as in the first system (A3 to A6): anchors, matching and losses of definitions.md.

Legend: B batch, A anchors, K box labels, C global classes, S input side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from hilum.core.anchors import AnchorGrid
from hilum.core.errors import ConfigError
from hilum.models.bifpn import BiFPN, separable
from hilum.models.dense import PRIOR_LOGIT, DenseBoxes, flattened, output_conv
from hilum.models.encoder import encoder, widths
from hilum.models.losses import partial_class_loss
from hilum.models.model import Batch, HeadsModel, Prediction, Targets
from hilum.models.opacity_net import GlobalHead
from hilum.models.options import RetinaNetOptions

DEEPEST = 5  # of the encoder's levels; the pyramid adds 6 and 7


def _tower(options: RetinaNetOptions) -> nn.Sequential:
    """3x3 convolutions; group norm helps where few images or few epochs train it."""
    channels = options.channels
    if options.tower_conv == "separable":
        norm = nn.Identity if options.tower_norm == "none" else partial(nn.GroupNorm, 8)
        blocks = [(separable(channels), norm(channels), nn.SiLU()) for _ in range(options.tower)]
        return nn.Sequential(*chain.from_iterable(blocks))

    def group(width: int) -> nn.Module:
        return nn.GroupNorm(8, width)

    layers = [
        Conv2dNormActivation(
            channels, channels, norm_layer=group if options.tower_norm == "group" else None
        )
        for _ in range(options.tower)
    ]
    if options.tower_norm == "none":
        for layer in layers:
            nn.init.normal_(layer[0].weight, std=0.01)
    return nn.Sequential(*layers)


def _pyramid(options: RetinaNetOptions, sides: list[int], levels: Sequence[int]) -> nn.Module:
    channels, extra = options.channels, max(0, levels[-1] - DEEPEST)
    if options.neck == "bifpn":
        return BiFPN(sides, channels, extra=extra, layers=options.neck_layers)
    last = LastLevelP6P7(sides[-1], channels) if extra else None
    pyramid: nn.Module = FeaturePyramidNetwork(sides, channels, extra_blocks=last)
    return pyramid


class RetinaNet(HeadsModel):
    """Focal and box loss over all anchors, and a global class head on the encoder's last level."""

    def __init__(self, options: RetinaNetOptions, size: int, targets: Targets):
        super().__init__()
        self.options = options
        self.grid = AnchorGrid(**options.anchors.model_dump())
        wanted = self.grid.levels
        if any(b - a != 1 for a, b in pairwise(wanted)) or wanted[0] not in (2, 3):
            raise ConfigError(f"anchor levels {wanted}; needed: 2 or 3 and on, without a gap")
        if not DEEPEST <= wanted[-1] <= 7:
            raise ConfigError(f"anchor levels {wanted}; needed: up to 5, 6 or 7")
        self.encoder = encoder(
            options.encoder, pretrained=options.pretrained, levels=tuple(range(wanted[0], 6))
        )
        sides, channels = widths(self.encoder), options.channels
        self.pyramid = _pyramid(options, sides, wanted)
        self.box_labels = len(targets.labels)
        self.class_tower, self.box_tower = _tower(options), _tower(options)
        self.class_logit = output_conv(channels, self.grid.per_cell * self.box_labels, PRIOR_LOGIT)
        self.box_delta = output_conv(channels, self.grid.per_cell * 4, 0.0)
        self.global_head = (
            GlobalHead(
                sides[-1], 256, classes=len(targets.classes), findings=0, dropout=options.dropout
            )
            if options.global_head and targets.classes
            else None
        )
        self.boxes = DenseBoxes(self.grid, size)

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        """class_logits (B, A, K), box_deltas (B, A, 4), and global_logits (B, C) with that head."""
        features = self.encoder(image_B1SS)
        maps = self.pyramid({str(i): f for i, f in enumerate(features)})
        levels = list(maps.values())[: len(self.grid.levels)]
        logits = [flattened(self.class_logit(self.class_tower(x)), self.box_labels) for x in levels]
        deltas = [flattened(self.box_delta(self.box_tower(x)), 4) for x in levels]
        raw = {"class_logits": torch.cat(logits, dim=1), "box_deltas": torch.cat(deltas, dim=1)}
        if self.global_head is not None:
            raw |= self.global_head(features[-1])
        return raw

    def loss_of(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        raw = {name: value.float() for name, value in raw.items()}
        focal, box = self.boxes.loss(
            raw["class_logits"],
            raw["box_deltas"],
            batch,
            box_loss=self.options.box_loss,
            empty_images=self.options.empty_images,
        )
        parts = {"focal": focal, "box": box}
        if self.global_head is not None:
            loss = partial_class_loss(raw["global_logits"], batch.label_BC)
            parts["global"] = self.options.global_weight * loss
        return parts

    def _predict(self, image_B1SS: Tensor) -> list[Prediction]:
        raw = self(image_B1SS)
        dense = self.boxes.predict(raw["class_logits"], raw["box_deltas"])
        if self.global_head is None:
            return dense
        classes = raw["global_logits"].float().softmax(dim=1)
        return [replace(one, classes=classes[i]) for i, one in enumerate(dense)]
