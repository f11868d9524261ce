"""Losses of dense detectors and segmenters, as definitions.md fixes them.

Legend: B batch, A anchors, K classes, N true boxes of one image.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
)

from hilum.models import ranks

BACKGROUND, IGNORED = -1, -2
BCE_AND_DICE = {"bce": 1.0, "dice": 1.0}

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


def mask_loss(
    logit_BHW: Tensor,
    mask_BHW: Tensor,
    terms: Mapping[str, float] = BCE_AND_DICE,
    *,
    smooth: float = 1.0,
    tversky: tuple[float, float] = (0.3, 0.7),
) -> Tensor:
    """The weighted sum of segmentation losses over annotated pixels.

    Args:
        mask_BHW: which part of each pixel or cell is marked, in [0, 1]; 255: not annotated.
        terms: weights of "bce" (mean), "focal" (mean, gamma 2, no alpha), "dice" and "tversky"
            (over the whole batch). E9's combo loss is {"bce": 3, "dice": 1, "focal": 4} with
            `smooth` 1e-6.
        smooth: added to both sides of the overlap's fraction; decides what an empty mask costs.
        tversky: cost of false positives and of false negatives; (.5, .5) is Dice.
    """
    sums = ranks.summed(_mask_sums(logit_BHW, mask_BHW, terms))
    known, bce, focal, p, truth, hit = sums
    if known == 0:
        return sums.sum()
    total = logit_BHW.new_zeros(())
    if "bce" in terms:
        total = total + terms["bce"] * (bce / known)
    if "focal" in terms:
        total = total + terms["focal"] * (focal / known)
    if "dice" in terms:
        total = total + terms["dice"] * (1 - (2 * hit + smooth) / (p + truth + smooth))
    if "tversky" in terms:
        wrong = tversky[0] * (p - hit) + tversky[1] * (truth - hit)
        total = total + terms["tversky"] * (1 - (hit + smooth) / (hit + wrong + smooth))
    return total


def _mask_sums(logit_BHW: Tensor, mask_BHW: Tensor, terms: Mapping[str, float]) -> Tensor:
    """(6,) sums over annotated pixels: their number, bce, focal, probability, truth, overlap."""
    known = mask_BHW != 255
    if not known.any():
        return (logit_BHW.sum() * 0).expand(6)
    target = mask_BHW.float().masked_fill(~known, 0)
    bce = focal = logit_BHW.new_zeros(())
    if terms.keys() & {"bce", "focal"}:
        each = F.binary_cross_entropy_with_logits(logit_BHW, target, reduction="none")
        bce = each[known].sum()
        if "focal" in terms:
            focal = (each * (1 - (-each).exp()) ** 2)[known].sum()
    p, truth = logit_BHW.sigmoid() * known, target * known
    parts = (known.sum().to(p), bce, focal, p.sum(), truth.sum(), (p * truth).sum())
    return torch.stack(parts)


def partial_class_loss(
    logit_BC: Tensor,
    label_BC: Tensor,
    *,
    weight_C: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 0.0,
) -> Tensor:
    """Cross-entropy over the classes not ruled out: -log of their total probability.

    Labels are 1, 0 or NaN (unknown). With one class at 1 this is ordinary cross-entropy, and so
    are weights and smoothing; with "not normal, but we do not know what" it only pushes
    probability away from normal, weighted as the mean of the classes left. Rows without any label,
    and rows for which every class is ruled out, are left out. `gamma` above 0 makes it focal: times
    (1 - that probability) ** gamma.
    """
    rows = (~label_BC.isnan()).any(dim=1) & (label_BC != 0).any(dim=1)
    if not rows.any():
        return ranks.mean(logit_BC.sum() * 0, 0)
    label, logit = label_BC[rows], logit_BC[rows]
    one = (label == 1).any(dim=1, keepdim=True)
    allowed = torch.where(one, label == 1, label != 0)
    log_p = logit.log_softmax(dim=1)
    log_allowed = log_p.masked_fill(~allowed, -torch.inf).logsumexp(dim=1)
    cost = -log_allowed
    if gamma:
        cost = cost * (1 - log_allowed.exp()) ** gamma
    if weight_C is None and not smoothing:
        return ranks.mean(cost.sum(), len(cost))
    weight_C = torch.ones_like(logit[0]) if weight_C is None else weight_C.to(logit)
    weight_B = (allowed * weight_C).sum(dim=1) / allowed.sum(dim=1).clamp(min=1)
    even = -(log_p * weight_C).mean(dim=1)
    return ranks.mean(((1 - smoothing) * weight_B * cost + smoothing * even).sum(), weight_B.sum())


def masked_bce(
    logit_BC: Tensor,
    label_BC: Tensor,
    *,
    positive_weight_C: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 0.0,
) -> Tensor:
    """Multi-label BCE over known labels (NaN is unknown).

    Args:
        positive_weight_C: what a missed positive of each column costs, against 1 for a negative.
        smoothing: moves labels this far towards one half.
        gamma: above 0 makes it focal, without alpha.
    """
    known = ~label_BC.isnan()
    if not known.any():
        return ranks.mean(logit_BC.sum() * 0, 0)
    logit, label = logit_BC[known], label_BC[known]
    soft = label * (1 - smoothing) + smoothing / 2 if smoothing else label
    weight = None
    if positive_weight_C is not None:
        weight = positive_weight_C.to(logit_BC).expand_as(logit_BC)[known]
    cost = F.binary_cross_entropy_with_logits(logit, soft, pos_weight=weight, reduction="none")
    if gamma:
        p = logit.sigmoid()
        cost = cost * torch.where(label > 0.5, 1 - p, p) ** gamma
    return ranks.mean(cost.sum(), len(cost))
