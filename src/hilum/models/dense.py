"""What dense detectors share: anchors in torch, the detection loss of a batch, and its decoding.

Legend: B batch, A anchors, K box labels, n boxes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_iou

from hilum.core.anchors import MAX_LOG_RATIO, AnchorGrid
from hilum.models import ranks
from hilum.models.losses import IOU_LOSSES, detection_loss, match_anchors
from hilum.models.model import Batch, Prediction
from hilum.models.options import BoxLoss

# Bias of class logits, a prior of .01 (Lin et al. 2017, 4.1): without it the background swamps the
# first steps.
PRIOR_LOGIT = -4.6


def output_conv(channels: int, out: int, bias: float) -> nn.Conv2d:
    """A 3x3 output convolution with small weights and a constant bias."""
    conv = nn.Conv2d(channels, out, 3, padding=1)
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.constant_(conv.bias, bias)
    return conv


def flattened(x: Tensor, last: int) -> Tensor:
    """(B, cell * last, H, W) to (B, H * W * cell, last): the order of `AnchorGrid`'s flat axis."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, last)


class DenseBoxes(nn.Module):
    """The torch twin of `AnchorGrid` over a square input of `size` px."""

    anchors: Tensor  # (A, 4); buffers that no checkpoint needs
    weights: Tensor  # (4,)

    def __init__(self, grid: AnchorGrid, size: int):
        super().__init__()
        self.size = size
        self.register_buffer("anchors", torch.from_numpy(grid.anchors(size)), persistent=False)
        self.register_buffer("weights", torch.tensor(grid.box_weights), persistent=False)

    def encode(self, boxes_A4: Tensor) -> Tensor:
        """(A, 4) deltas of one box per anchor."""
        a = self.anchors
        wh_a, wh_b = a[:, 2:] - a[:, :2], (boxes_A4[:, 2:] - boxes_A4[:, :2]).clamp(min=1e-6)
        shift = (boxes_A4[:, :2] + wh_b / 2 - a[:, :2] - wh_a / 2) / wh_a
        return torch.cat([shift, (wh_b / wh_a).log()], dim=1) / self.weights

    def decode(self, delta_A4: Tensor, anchors: Tensor | None = None) -> Tensor:
        """(A, 4) boxes of deltas on all, or on the given, anchors."""
        a = self.anchors if anchors is None else anchors
        d = delta_A4 * self.weights
        wh = a[:, 2:] - a[:, :2]
        centre = a[:, :2] + wh / 2 + d[:, :2] * wh
        half = d[:, 2:].clamp(max=MAX_LOG_RATIO).exp() * wh / 2
        return torch.cat([centre - half, centre + half], dim=1)

    def loss(
        self,
        logit_BAK: Tensor,
        delta_BA4: Tensor,
        batch: Batch,
        *,
        box_loss: BoxLoss = "smooth-l1",
        empty_images: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Focal and box loss, each the mean over annotated images.

        With `empty_images` those without boxes take part, all anchors negative (A4).
        """
        focals, boxes = [], []
        for i, (truth, classes) in enumerate(zip(batch.boxes, batch.classes, strict=True)):
            if truth is None or classes is None or not (empty_images or len(truth)):
                continue
            match = match_anchors(box_iou(truth, self.anchors))
            matched = match.clamp(min=0)
            box, kind = self.anchors, torch.zeros_like(matched)  # read where matched only
            if len(truth):
                box, kind = truth[matched], classes[matched]
            focal, regression = detection_loss(
                logit_BAK[i], delta_BA4[i], match, target_delta_A4=self.encode(box), class_A=kind
            )
            positive = match >= 0
            if box_loss != "smooth-l1" and positive.any():
                decoded = self.decode(delta_BA4[i][positive], self.anchors[positive])
                regression = IOU_LOSSES[box_loss](decoded, box[positive], reduction="mean")
            focals.append(focal)
            boxes.append(regression)
        zero = logit_BAK.sum() * 0 + delta_BA4.sum() * 0
        parts = [torch.stack(one).sum() if one else zero for one in (focals, boxes)]
        focal, regression = ranks.mean(torch.stack(parts), len(focals))
        return focal, regression

    def predict(
        self,
        logit_BAK: Tensor,
        delta_BA4: Tensor,
        *,
        floor: float = 0.01,
        iou: float = 0.5,
        most: int = 100,
    ) -> list[Prediction]:
        """The boxes of each image."""
        out = []
        for logit_AK, delta_A4 in zip(logit_BAK.float(), delta_BA4.float(), strict=True):
            boxes = self.decode(delta_A4)
            out.append(select(logit_AK, boxes, self.size, floor=floor, iou=iou, most=most))
        return out


def select(
    logit_AK: Tensor,
    box_A4: Tensor,
    size: int,
    *,
    floor: float = 0.01,
    iou: float = 0.5,
    most: int = 100,
) -> Prediction:
    """The boxes of one image that are sure, large enough and apart, best first."""
    scores, flat = logit_AK.sigmoid().flatten().topk(min(1000, logit_AK.numel()))
    flat, scores = flat[scores > floor], scores[scores > floor]
    row, label = flat // logit_AK.shape[1], flat % logit_AK.shape[1]
    boxes = box_A4[row].clamp(0, size)
    alive = ((boxes[:, 2:] - boxes[:, :2]) > 0.5).all(dim=1)
    boxes, scores, label = boxes[alive], scores[alive], label[alive]
    kept = batched_nms(boxes, scores, label, iou)[:most]
    return Prediction(boxes=boxes[kept], scores=scores[kept], labels=label[kept])


def upsampled(logit_BMss: Tensor, size: int) -> Tensor:
    """Mask logits to probabilities at the input's size."""
    big = F.interpolate(logit_BMss.float(), size=(size, size), mode="bilinear", align_corners=False)
    return big.sigmoid()
