"""The default network: one encoder, one pyramid, and heads for boxes, masks and classes.

In the spirit of the first system (A3-A6): RetinaNet with a global three-class head, images
without boxes in the loss; ours adds mask heads, and every loss is masked where nobody annotated.

Legend: B batch, A anchors, K box labels, M masks, C global classes, S input side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork, box_iou

from hilum.core.anchors import AnchorGrid
from hilum.models.encoder import encoder, widths
from hilum.models.losses import (
    detection_loss,
    mask_loss,
    masked_bce,
    match_anchors,
    partial_class_loss,
)


@dataclass(slots=True)
class Batch:
    """What a step sees. `boxes[i]` is None where nobody annotated boxes."""

    image_B1SS: Tensor
    boxes: list[Tensor | None]  # each (n, 4) x1, y1, x2, y2 in the square
    classes: list[Tensor | None]  # each (n,) int64
    mask_BMSS: Tensor  # uint8 0, 1, 255 not annotated
    label_BC: Tensor  # 1, 0, NaN unknown
    finding_BF: Tensor  # auxiliary multi-label targets, likewise


def _conv(channels: int, out: int, bias: float) -> nn.Conv2d:
    """A 3x3 output convolution with small weights and a constant bias."""
    conv = nn.Conv2d(channels, out, 3, padding=1)
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.constant_(conv.bias, bias)
    return conv


def conv_block(channels: int, out: int | None = None) -> nn.Sequential:
    out = out or channels
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


class GlobalHead(nn.Module):
    """A6: max-pool, 3x3 convolution, average + max pooling, dropout, linear."""

    def __init__(self, channels: int, width: int, classes: int, findings: int, dropout: float):
        super().__init__()
        self.conv = conv_block(channels, width)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(2 * width, classes)
        self.findings = nn.Linear(2 * width, findings)  # auxiliary, not exported

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(F.max_pool2d(x, 2))
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        pooled = self.dropout(pooled)
        return self.classes(pooled), self.findings(pooled)


class OpacityNet(nn.Module):
    """Raw heads only; decoding is NumPy (hilum.predict.decode)."""

    anchors: Tensor  # (A, 4), a buffer

    def __init__(
        self,
        *,
        encoder_name: str = "tf_efficientnet_lite0",
        pretrained: bool = True,
        size: int = 256,
        grid: AnchorGrid | None = None,
        channels: int = 64,
        box_labels: int = 1,
        masks: int = 3,
        classes: int = 3,
        findings: int = 14,
        dropout: float = 0.5,
        weights: dict[str, float] | None = None,
    ):
        super().__init__()
        self.grid = grid or AnchorGrid(levels=(3, 4, 5, 6), ratios=(1.0, 2.0), scales=(1.0, 2**0.5))
        self.weights = {"focal": 1.0, "box": 1.0, "mask": 1.0, "global": 0.1, "finding": 0.5} | (
            weights or {}
        )
        self.encoder = encoder(encoder_name, pretrained=pretrained)
        sides = widths(self.encoder)
        self.pyramid = FeaturePyramidNetwork(sides, channels)
        self.class_tower = nn.Sequential(conv_block(channels), conv_block(channels))
        self.box_tower = nn.Sequential(conv_block(channels), conv_block(channels))
        # Prior .01 (Lin et al. 2017, 4.1): without it the background swamps the first steps.
        self.class_logit = _conv(channels, self.grid.per_cell * box_labels, -4.6)
        self.box_delta = _conv(channels, self.grid.per_cell * 4, 0.0)
        self.mask_head = nn.Sequential(conv_block(channels), nn.Conv2d(channels, masks, 1))
        self.global_head = GlobalHead(sides[-1], 256, classes, findings, dropout)
        self.box_labels = box_labels
        self.register_buffer("anchors", torch.from_numpy(self.grid.anchors(size)), persistent=False)

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        """class_logits (B, A, K), box_deltas (B, A, 4), mask_logits (B, M, S/4, S/4),
        global_logits (B, C), finding_logits (B, F)."""
        features = self.encoder(image_B1SS)
        maps = self.pyramid({str(i + 2): f for i, f in enumerate(features)})
        levels = {int(name): value for name, value in maps.items()}
        for level in range(6, max(self.grid.levels) + 1):
            levels[level] = F.max_pool2d(levels[level - 1], 1, 2)
        logits = [
            self._flat(self.class_logit(self.class_tower(levels[i])), self.box_labels)
            for i in self.grid.levels
        ]
        deltas = [
            self._flat(self.box_delta(self.box_tower(levels[i])), 4) for i in self.grid.levels
        ]
        fine = levels[2]
        merged = fine
        for level in (3, 4, 5):
            merged = merged + F.interpolate(
                levels[level], size=fine.shape[-2:], mode="bilinear", align_corners=False
            )
        classes, findings = self.global_head(features[-1])
        return {
            "class_logits": torch.cat(logits, dim=1),
            "box_deltas": torch.cat(deltas, dim=1),
            "mask_logits": self.mask_head(merged),
            "global_logits": classes,
            "finding_logits": findings,
        }

    @staticmethod
    def _flat(x: Tensor, last: int) -> Tensor:
        """(B, cell * last, H, W) to (B, H * W * cell, last): level, row, column, anchor."""
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, last)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses by component; their sum is what is minimised."""
        raw = {name: value.float() for name, value in self(batch.image_B1SS).items()}
        focal, box = self._detection(raw, batch)
        mask_BMSS = batch.mask_BMSS[:, :, 2::4, 2::4]  # the pixel at each cell's centre
        masks = [
            mask_loss(raw["mask_logits"][:, m], mask_BMSS[:, m]) for m in range(mask_BMSS.shape[1])
        ]
        parts = {
            "focal": focal,
            "box": box,
            "mask": torch.stack(masks).sum(),
            "global": partial_class_loss(raw["global_logits"], batch.label_BC),
            "finding": masked_bce(raw["finding_logits"], batch.finding_BF),
        }
        return {name: self.weights[name] * value for name, value in parts.items()}

    def _detection(self, raw: dict[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        focals, boxes = [], []
        for i, (truth, classes) in enumerate(zip(batch.boxes, batch.classes, strict=True)):
            if truth is None or classes is None:
                continue
            match = match_anchors(box_iou(truth, self.anchors))
            matched = match.clamp(min=0)
            if len(truth):
                target, kind = self._encode(truth[matched]), classes[matched]
            else:
                target, kind = torch.zeros_like(self.anchors), torch.zeros_like(matched)
            focal, box = detection_loss(
                raw["class_logits"][i], raw["box_deltas"][i], match, target, kind
            )
            focals.append(focal)
            boxes.append(box)
        if not focals:
            zero = raw["class_logits"].sum() * 0
            return zero, zero
        return torch.stack(focals).mean(), torch.stack(boxes).mean()

    def _encode(self, boxes_A4: Tensor) -> Tensor:
        """Deltas of one box per anchor; the torch twin of AnchorGrid.encode."""
        a = self.anchors
        wh_a, wh_b = a[:, 2:] - a[:, :2], (boxes_A4[:, 2:] - boxes_A4[:, :2]).clamp(min=1e-6)
        shift = (boxes_A4[:, :2] + wh_b / 2 - a[:, :2] - wh_a / 2) / wh_a
        weights = torch.tensor(self.grid.box_weights, device=a.device)
        return torch.cat([shift, (wh_b / wh_a).log()], dim=1) / weights
