"""Losses of dense detectors and segmenters, as definitions.md fixes them.

Legend: B batch, A anchors, K classes, N true boxes of one image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
)

BACKGROUND, IGNORED = -1, -2

# Of (n, 4) boxes and (n, 4) true boxes.
IOU_LOSSES = {
    "giou": generalized_box_iou_loss,
    "diou": distance_box_iou_loss,
    "ciou": complete_box_iou_loss,
}


def match_anchors(iou_NA: Tensor, positive: float = 0.5, negative: float = 0.4) -> Tensor:
    """(A,) index of the matched true box, BACKGROUND or IGNORED; no low-quality matches."""
    if iou_NA.shape[0] == 0:
        return torch.full((iou_NA.shape[1],), BACKGROUND, device=iou_NA.device)
    best, index = iou_NA.max(dim=0)
    index = torch.where(best >= positive, index, torch.full_like(index, IGNORED))
    return torch.where(best < negative, torch.full_like(index, BACKGROUND), index)


def focal_loss(
    logit_AK: Tensor, target_AK: Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Element-wise focal loss (Lin et al. 2017), probabilities clamped to [1e-4, 1 - 1e-4]."""
    p = logit_AK.sigmoid().clamp(1e-4, 1 - 1e-4)
    p_true = torch.where(target_AK > 0.5, p, 1 - p)
    weight = torch.where(target_AK > 0.5, alpha, 1 - alpha)
    return -weight * (1 - p_true) ** gamma * p_true.log()


def detection_loss(
    logit_AK: Tensor,
    delta_A4: Tensor,
    match_A: Tensor,
    target_delta_A4: Tensor,
    class_A: Tensor,
) -> tuple[Tensor, Tensor]:
    """Focal and smooth-L1 loss of one image, each divided by max(positives, 1) (A4).

    An image without boxes has every anchor negative, divisor 1 and no regression term.
    `class_A` is the class of the matched box, read only where `match_A` >= 0.
    """
    positive = match_A >= 0
    count = positive.sum().clamp(min=1)
    target = torch.zeros_like(logit_AK)
    target[positive, class_A[positive]] = 1
    focal = focal_loss(logit_AK, target)[match_A != IGNORED].sum() / count
    if not positive.any():
        return focal, delta_A4.sum() * 0
    # Four coordinates are averaged, as in the study's code.
    box = F.smooth_l1_loss(
        delta_A4[positive], target_delta_A4[positive], beta=1 / 9, reduction="none"
    )
    return focal, box.mean(dim=1).sum() / count


def mask_loss(logit_BHW: Tensor, mask_BHW: Tensor) -> Tensor:
    """BCE + (1 - Dice) over annotated pixels; 255 in the mask means not annotated."""
    known = mask_BHW != 255
    if not known.any():
        return logit_BHW.sum() * 0
    target = (mask_BHW == 1).float()
    bce = F.binary_cross_entropy_with_logits(logit_BHW, target, reduction="none")
    p = logit_BHW.sigmoid() * known
    overlap = 2 * (p * target * known).sum() + 1
    dice = overlap / (p.sum() + (target * known).sum() + 1)
    return bce[known].mean() + 1 - dice


def partial_class_loss(logit_BC: Tensor, label_BC: Tensor) -> Tensor:
    """Cross-entropy over the classes not ruled out: -log of their total probability.

    Labels are 1, 0 or NaN (unknown). With one class at 1 this is ordinary cross-entropy; with
    "not normal, but we do not know what" it only pushes probability away from normal. Rows
    without any label are left out.
    """
    rows = (~label_BC.isnan()).any(dim=1)
    if not rows.any():
        return logit_BC.sum() * 0
    label, logit = label_BC[rows], logit_BC[rows]
    one = (label == 1).any(dim=1, keepdim=True)
    allowed = torch.where(one, label == 1, label != 0)
    log_p = logit.log_softmax(dim=1).masked_fill(~allowed, -torch.inf)
    return -log_p.logsumexp(dim=1).mean()


def masked_bce(logit_BC: Tensor, label_BC: Tensor) -> Tensor:
    """Multi-label BCE over known labels (NaN is unknown)."""
    known = ~label_BC.isnan()
    if not known.any():
        return logit_BC.sum() * 0
    return F.binary_cross_entropy_with_logits(logit_BC[known], label_BC[known])
