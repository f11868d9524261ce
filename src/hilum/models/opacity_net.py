"""The default network: one encoder, one pyramid, and heads for boxes, masks and classes.

In the spirit of the first system (A3-A6): RetinaNet with a global three-class head, images
without boxes in the loss; ours adds mask heads, and every loss is masked where nobody annotated.

It has the heads that its targets need: own boxes, or own masks alone, begin from the same weights.

Legend: B batch, A anchors, K box labels, M masks, C global classes, S input side.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from hilum.core.anchors import AnchorGrid
from hilum.models.dense import PRIOR_LOGIT, DenseBoxes, flattened, output_conv, upsampled
from hilum.models.encoder import encoder, widths
from hilum.models.losses import mask_loss, masked_bce, partial_class_loss
from hilum.models.model import Batch, HeadsModel, Prediction, Targets
from hilum.models.options import OpacityNetOptions

LOSS_WEIGHTS = {"focal": 1.0, "box": 1.0, "mask": 1.0, "global": 0.1, "finding": 0.5}


def conv_block(channels: int, out: int | None = None) -> nn.Sequential:
    out = out or channels
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


class GlobalHead(nn.Module):
    """A6: max-pool, 3x3 convolution, average + max pooling, dropout, linear; raw heads by name."""

    def __init__(self, channels: int, width: int, *, classes: int, findings: int, dropout: float):
        super().__init__()
        self.conv = conv_block(channels, width)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(2 * width, classes) if classes else None
        # Beside classes auxiliary, not exported.
        self.findings = nn.Linear(2 * width, findings) if findings else None

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.conv(F.max_pool2d(x, 2))
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        pooled = self.dropout(pooled)
        heads = {"global_logits": self.classes, "finding_logits": self.findings}
        return {name: head(pooled) for name, head in heads.items() if head is not None}


class OpacityNet(HeadsModel):
    """Raw heads only; the bundle's decoding is NumPy (hilum.inference.decode)."""

    def __init__(self, options: OpacityNetOptions, size: int, targets: Targets):
        super().__init__()
        self.grid = AnchorGrid(**options.anchors.model_dump())
        self.weights = LOSS_WEIGHTS | options.loss_weights
        self.box_loss = options.box_loss
        self.encoder = encoder(options.encoder, pretrained=options.pretrained)
        sides, channels = widths(self.encoder), options.channels
        self.box_labels = len(targets.labels)
        self.pyramid = FeaturePyramidNetwork(sides, channels)
        if targets.labels:
            self.class_tower = nn.Sequential(conv_block(channels), conv_block(channels))
            self.box_tower = nn.Sequential(conv_block(channels), conv_block(channels))
            outputs = self.grid.per_cell * self.box_labels
            self.class_logit = output_conv(channels, outputs, PRIOR_LOGIT)
            self.box_delta = output_conv(channels, self.grid.per_cell * 4, 0.0)
        if targets.masks:
            last = nn.Conv2d(channels, len(targets.masks), 1)
            self.mask_head = nn.Sequential(conv_block(channels), last)
        self.masks = len(targets.masks)
        self.global_head = None
        if targets.classes or targets.findings:
            self.global_head = GlobalHead(
                sides[-1],
                256,
                classes=len(targets.classes),
                findings=len(targets.findings),
                dropout=options.dropout,
            )
        self.boxes = DenseBoxes(self.grid, size)

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        """Of what there are targets: class_logits (B, A, K), box_deltas (B, A, 4), mask_logits
        (B, M, S/4, S/4), global_logits (B, C), finding_logits (B, F)."""
        features = self.encoder(image_B1SS)
        maps = self.pyramid({str(i + 2): f for i, f in enumerate(features)})
        levels = {int(name): value for name, value in maps.items()}
        out: dict[str, Tensor] = {}
        if self.box_labels:
            out |= self._of_boxes(levels)
        if self.masks:
            out["mask_logits"] = self.mask_head(_merged(levels))
        return out if self.global_head is None else out | self.global_head(features[-1])

    def _of_boxes(self, levels: dict[int, Tensor]) -> dict[str, Tensor]:
        levels = dict(levels)
        for level in range(6, max(self.grid.levels) + 1):
            levels[level] = F.max_pool2d(levels[level - 1], 1, 2)
        logits = [
            flattened(self.class_logit(self.class_tower(levels[i])), self.box_labels)
            for i in self.grid.levels
        ]
        deltas = [flattened(self.box_delta(self.box_tower(levels[i])), 4) for i in self.grid.levels]
        return {"class_logits": torch.cat(logits, dim=1), "box_deltas": torch.cat(deltas, dim=1)}

    def loss_of(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Weighted losses by component; their sum is what is minimised."""
        raw = {name: value.float() for name, value in raw.items()}
        parts: dict[str, Tensor] = {}
        if "class_logits" in raw:
            parts["focal"], parts["box"] = self.boxes.loss(
                raw["class_logits"], raw["box_deltas"], batch, box_loss=self.box_loss
            )
        if "mask_logits" in raw:
            mask_BMss = cells_of(batch.mask_BMSS)
            masks = [
                mask_loss(raw["mask_logits"][:, m], mask_BMss[:, m]) for m in range(self.masks)
            ]
            parts["mask"] = torch.stack(masks).sum()
        if "global_logits" in raw:
            parts["global"] = partial_class_loss(raw["global_logits"], batch.label_BC)
        if "finding_logits" in raw:
            parts["finding"] = masked_bce(raw["finding_logits"], batch.finding_BF)
        return {name: self.weights[name] * value for name, value in parts.items()}

    def _predict(self, image_B1SS: Tensor) -> list[Prediction]:
        raw = self(image_B1SS)
        out = [Prediction() for _ in image_B1SS]
        if "class_logits" in raw:
            out = self.boxes.predict(raw["class_logits"], raw["box_deltas"])
        heads: dict[str, Tensor] = {}
        if "global_logits" in raw:
            heads["classes"] = raw["global_logits"].float().softmax(dim=1)
        if "finding_logits" in raw:
            heads["findings"] = raw["finding_logits"].float().sigmoid()
        if "mask_logits" in raw:
            heads["masks"] = upsampled(raw["mask_logits"], self.boxes.size)
        return [
            replace(one, **{name: values[i] for name, values in heads.items()})
            for i, one in enumerate(out)
        ]


def cells_of(mask_BMSS: Tensor, side: int = 4) -> Tensor:
    """(B, M, S/side, S/side) which part of each cell's known pixels is marked; 255 where most are
    not annotated.

    One pixel of a cell would stand for it beside its centre, and all masks would lie that much off.
    """
    known = F.avg_pool2d((mask_BMSS != 255).float(), side)
    marked = F.avg_pool2d((mask_BMSS == 1).float(), side)
    return (marked / known.clamp(min=0.5)).masked_fill(known < 0.5, 255)


def _merged(levels: dict[int, Tensor]) -> Tensor:
    """The levels of the pyramid, summed at its finest."""
    fine = levels[2]
    merged = fine
    for level in (3, 4, 5):
        merged = merged + F.interpolate(
            levels[level], size=fine.shape[-2:], mode="bilinear", align_corners=False
        )
    return merged
