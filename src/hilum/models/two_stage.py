"""Faster R-CNN and Mask R-CNN (B8, D4): torchvision's parts around our encoder and pyramid.

Proposals have a fixed number and class scores and box deltas stand per proposal, so the raw heads
are decoded as those of a dense detector, with the proposals in the anchors' place.

Legend: B batch, R proposals of an image, K box labels, n boxes, S input side, s mask side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, paste_masks_in_image
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import (
    FeaturePyramidNetwork,
    MultiScaleRoIAlign,
    clip_boxes_to_image,
    roi_align,
)
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from hilum.core.errors import ConfigError
from hilum.models import ranks
from hilum.models.dense import select
from hilum.models.encoder import encoder, widths
from hilum.models.losses import IOU_LOSSES
from hilum.models.model import Batch, Model, Prediction, Targets
from hilum.models.options import TwoStageOptions

LEVELS = (2, 3, 4, 5)
DELTA_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # deltas are divided by .1, .1, .2, .2
MASK_SIDE = 28
PAINTED = 24  # boxes of an image whose masks are exported
LAST = 30.0  # objectness logits beyond it count as it; what is struck out ranks below all
CANDIDATES = 2  # of a level before suppression, for each proposal that remains of all


class _Sample(NamedTuple):
    """The proposals that one image of a batch is trained on."""

    image: int  # its place in the batch
    rows: Tensor  # (R, 4) boxes
    match: Tensor  # (R,) the true box of each
    label: Tensor  # (R,) 0 background


def _sampler() -> RoIHeads:
    return RoIHeads(
        *(None, None, None),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=256,
        positive_fraction=0.25,
        bbox_reg_weights=DELTA_WEIGHTS,
        score_thresh=0.0,
        nms_thresh=0.5,
        detections_per_img=100,
    )


class Proposals(RegionProposalNetwork):  # type: ignore[misc]
    """torchvision's, but with the same number of proposals for every image.

    Suppression compares each candidate with all better ones at once; what it strikes out goes to
    the end of the list, so a graph needs no sizes that depend on the image.
    """

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: list[tuple[int, int]],
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        score = objectness.detach().reshape(len(proposals), -1)
        boxes = clip_boxes_to_image(proposals.detach(), image_shapes[0])
        candidates, ranks = [], []
        counts = num_anchors_per_level
        levels = zip(torch.split(score, counts, 1), torch.split(boxes, counts, 1), strict=True)
        for level_score, level_boxes in levels:
            top, index = level_score.topk(min(self.pre_nms_top_n(), level_score.shape[1]), dim=1)
            some = level_boxes.gather(1, index[:, :, None].expand(-1, -1, 4))
            better = torch.ones(2 * top.shape[1:], dtype=torch.bool, device=top.device).triu(1)
            struck = ((pairwise_iou(some) > self.nms_thresh) & better).any(dim=1)
            empty = ((some[..., 2:] - some[..., :2]) < self.min_size).any(dim=2)
            candidates.append(some)
            ranks.append(top.clamp(-LAST, LAST) - 3 * LAST * (struck | empty).to(top.dtype))
        rank, merged = torch.cat(ranks, dim=1), torch.cat(candidates, dim=1)
        rank, index = rank.topk(min(self.post_nms_top_n(), rank.shape[1]), dim=1)
        merged = merged.gather(1, index[:, :, None].expand(-1, -1, 4))
        return list(merged), list(rank)


def pairwise_iou(boxes_BR4: Tensor) -> Tensor:
    """(B, R, R) overlaps within each image; empty boxes overlap nothing."""
    low, high = boxes_BR4[..., :2], boxes_BR4[..., 2:]
    side = torch.minimum(high[:, :, None], high[:, None]) - torch.maximum(
        low[:, :, None], low[:, None]
    )
    shared = side.clamp(min=0).prod(dim=3)
    area = (high - low).prod(dim=2)
    return shared / (area[:, :, None] + area[:, None] - shared).clamp(min=1e-6)


class BoxHead(nn.Module):
    """Class logits with the background first, and one box for all classes."""

    def __init__(self, channels: int, width: int, labels: int):
        super().__init__()
        self.layers = TwoMLPHead(channels * 7**2, width)
        self.classes = nn.Linear(width, labels + 1)
        self.deltas = nn.Linear(width, 4)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.layers(x)
        return self.classes(x), self.deltas(x)


class TwoStage(Model):
    """Images that nobody annotated with boxes are left out; those without boxes are background."""

    def __init__(self, options: TwoStageOptions, size: int, targets: Targets):
        super().__init__()
        if len(options.anchor_sizes) != len(LEVELS) + 1:
            raise ConfigError(
                f"{len(options.anchor_sizes)} anchor sizes; needed: {len(LEVELS) + 1}, one a level"
            )
        self.options, self.size, self.labels = options, size, len(targets.labels)
        self.mask_count = len(targets.masks)
        self.mask_names = ("opacity",)  # of what is exported
        self.encoder = encoder(options.encoder, pretrained=options.pretrained, levels=LEVELS)
        channels = options.channels
        self.pyramid = FeaturePyramidNetwork(
            widths(self.encoder), channels, extra_blocks=LastLevelMaxPool()
        )
        sizes = tuple((part * size,) for part in options.anchor_sizes)
        generator = AnchorGenerator(sizes, (options.anchor_ratios,) * len(sizes))
        count = options.proposals
        candidates = min(1000, CANDIDATES * count)
        self.rpn = Proposals(
            generator,
            RPNHead(channels, generator.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": candidates, "testing": candidates},
            post_nms_top_n={"training": count, "testing": count},
            nms_thresh=0.7,
        )
        names = [str(level) for level in LEVELS]
        self.pool = MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2)
        self.head = BoxHead(channels, options.head_width, self.labels)
        self.coder = BoxCoder(DELTA_WEIGHTS)
        # Only its choice of training proposals is used; the heads are ours.
        self.sampler = _sampler()
        self.parts = ["objectness", "proposals", "classes", "box"]
        self.mask_pool: MultiScaleRoIAlign | None = None
        if options.kind == "mask-rcnn":
            if "opacity" not in targets.masks:
                raise ConfigError(f"masks {targets.masks}; Mask R-CNN needs 'opacity' among them")
            self.mask_channel = targets.masks.index("opacity")
            self.mask_pool = MultiScaleRoIAlign(names, output_size=MASK_SIDE // 2, sampling_ratio=2)
            last = MaskRCNNPredictor(channels, channels, self.labels)
            nn.init.normal_(last.mask_fcn_logits.weight, std=0.001)
            self.mask_head = nn.Sequential(MaskRCNNHeads(channels, (channels,) * 4, 1), last)
            self.parts.append("mask")

    def _maps(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        features = self.encoder(image_B1SS)
        maps = {str(level): f for level, f in zip(LEVELS, features, strict=True)}
        return dict(self.pyramid(maps))

    def _shapes(self, count: int) -> list[tuple[int, int]]:
        return [(self.size, self.size)] * count

    def forward(self, image_B1SS: Tensor, proposals_BR4: Tensor | None = None) -> dict[str, Tensor]:
        """class_logits (B, R, K), box_deltas (B, R, 4) and proposals (B, R, 4) in the square.

        Of Mask R-CNN also mask_logits (B, 1, S/4, S/4): what the best boxes' masks make together.

        Two networks' heads can be averaged when both look at the same proposals: give one's to
        the other.
        """
        maps = self._maps(image_B1SS)
        raw = self._raw(maps, image_B1SS, proposals_BR4)
        return raw if self.mask_pool is None else raw | {"mask_logits": self._mask_map(raw, maps)}

    def _raw(
        self, maps: dict[str, Tensor], image_B1SS: Tensor, proposals_BR4: Tensor | None = None
    ) -> dict[str, Tensor]:
        shapes = self._shapes(len(image_B1SS))
        if proposals_BR4 is None:
            if self.rpn.training:  # its way to ask for targets
                self.rpn.eval()
            proposals_BR4 = torch.stack(self.rpn(ImageList(image_B1SS, shapes), maps)[0])
        logits, deltas = self.head(self.pool(maps, list(proposals_BR4), shapes))
        logits = logits.reshape(*proposals_BR4.shape[:2], -1)
        return {
            "class_logits": one_against_all(logits),
            "box_deltas": deltas.reshape(proposals_BR4.shape),
            "proposals": proposals_BR4,
        }

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        known = [i for i, boxes in enumerate(batch.boxes) if boxes is not None]
        if not known:
            zero = torch.stack([p.sum() for p in self.parameters()]).sum() * 0
            return {name: ranks.pooled(zero, 0) for name in self.parts}
        image = batch.image_B1SS[known]
        targets = []
        for i in known:
            boxes, classes = batch.boxes[i], batch.classes[i]
            assert boxes is not None
            assert classes is not None
            targets.append({"boxes": boxes, "labels": classes + 1})
        maps = {name: value.float() for name, value in self._maps(image).items()}
        shapes = self._shapes(len(known))
        self.rpn.train()  # in evaluation mode it gives no loss
        proposals, parts = self.rpn(ImageList(image, shapes), maps, targets)
        chosen, matched, labels, deltas = self.sampler.select_training_samples(proposals, targets)
        logits, delta = self.head(self.pool(maps, chosen, shapes))
        label, target = torch.cat(labels), torch.cat(deltas)
        positive = label > 0
        rows = torch.cat(chosen)[positive]
        out = {
            "objectness": parts["loss_objectness"],
            "proposals": parts["loss_rpn_box_reg"],
            "classes": F.cross_entropy(logits, label),
            # As in Fast R-CNN: all chosen proposals share the weight, not the positive ones alone.
            "box": self._box_loss(delta[positive], target[positive], rows) / len(label),
        }
        if self.mask_pool is not None:
            samples = [
                _Sample(image=i, rows=rows, match=match, label=label)
                for i, rows, match, label in zip(known, chosen, matched, labels, strict=True)
            ]
            out["mask"] = self._mask_loss(maps, batch, samples)
        # Each image has as many proposals as another, nearly: means of images, then.
        return {name: ranks.pooled(value, len(known)) for name, value in out.items()}

    def _box_loss(self, delta_n4: Tensor, target_n4: Tensor, rows_n4: Tensor) -> Tensor:
        kind = self.options.box_loss
        if kind == "smooth-l1":
            return F.smooth_l1_loss(delta_n4, target_n4, beta=1 / 9, reduction="sum")
        decoded, truth = (self.coder.decode_single(d, rows_n4) for d in (delta_n4, target_n4))
        loss: Tensor = IOU_LOSSES[kind](decoded, truth, reduction="sum")
        return loss

    def _mask_loss(
        self, maps: dict[str, Tensor], batch: Batch, samples: Sequence[_Sample]
    ) -> Tensor:
        assert self.mask_pool is not None
        boxes, targets, weights, kinds = [], [], [], []
        for i, rows, match, label in samples:
            positive = label > 0
            truth = batch.boxes[i]
            assert truth is not None
            boxes.append(rows[positive])
            kinds.append(label[positive] - 1)
            if not len(truth):
                continue
            if self.options.masks == "boxes":
                value = ellipses(truth, self.size)
                sure = torch.ones_like(value)
            else:
                value, sure = instances(batch.mask_BMSS[i, self.mask_channel], truth)
            where = torch.cat([match[positive, None].to(rows.dtype), rows[positive]], dim=1)
            both = torch.stack([value, sure], dim=1)
            small = roi_align(both, where, (MASK_SIDE, MASK_SIDE), sampling_ratio=1)
            targets.append((small[:, 0] >= 0.5).float())
            weights.append((small[:, 1] >= 0.5).float())
        kind = torch.cat(kinds)
        if not len(kind):
            return maps["2"].sum() * 0
        logit = self.mask_head(self.mask_pool(maps, boxes, self._shapes(len(samples))))
        logit = logit[torch.arange(len(kind), device=kind.device), kind]
        weight = torch.cat(weights)
        loss = F.binary_cross_entropy_with_logits(
            logit, torch.cat(targets), weight, reduction="sum"
        )
        return loss / weight.sum().clamp(min=1)

    def _mask_map(self, raw: dict[str, Tensor], maps: dict[str, Tensor]) -> Tensor:
        """(B, 1, S/4, S/4) logits: at each cell the largest product of a box's score and its mask.

        The boxes are the best of all, unsuppressed: two of one opacity say the same of it.
        """
        assert self.mask_pool is not None
        scores, labels = raw["class_logits"].float().sigmoid().max(dim=2)
        scores, index = scores.topk(min(PAINTED, scores.shape[1]), dim=1)
        labels = labels.gather(1, index)
        every = index[:, :, None].expand(-1, -1, 4)
        delta, rows = raw["box_deltas"].float().gather(1, every), raw["proposals"].gather(1, every)
        count = len(index)
        flat = self.coder.decode_single(delta.reshape(-1, 4), rows.reshape(-1, 4))
        boxes = flat.reshape(count, -1, 4).clamp(0, self.size)
        small = self.mask_head(self.mask_pool(maps, list(boxes), self._shapes(count)))
        small = small.float().sigmoid().reshape(*labels.shape, self.labels, MASK_SIDE, MASK_SIDE)
        kind = F.one_hot(labels, self.labels).to(small)[..., None, None]
        mask = (small * kind).sum(dim=2) * scores[:, :, None, None]
        painted = pasted(mask, boxes, self.size, self.size // 4).amax(dim=1, keepdim=True)
        return painted.clamp(1e-6, 1 - 1e-6).logit()

    def _predict(self, image_B1SS: Tensor) -> list[Prediction]:
        """Masks of other names than opacity are NaN: this network has no such head."""
        maps = self._maps(image_B1SS)
        raw = {name: value.float() for name, value in self._raw(maps, image_B1SS).items()}
        predictions = []
        for logit, delta, rows in zip(
            raw["class_logits"], raw["box_deltas"], raw["proposals"], strict=True
        ):
            boxes = self.coder.decode_single(delta, rows)
            predictions.append(select(logit, boxes, self.size))
        if self.mask_pool is not None:
            self._paint(predictions, maps)
        return predictions

    def _paint(self, predictions: list[Prediction], maps: dict[str, Tensor]) -> None:
        """The instances' masks, each times its score, into one map per image."""
        assert self.mask_pool is not None
        boxes = [one.boxes for one in predictions if one.boxes is not None]
        pooled = self.mask_pool(maps, boxes, self._shapes(len(predictions)))
        small = self.mask_head(pooled).float().sigmoid().split([len(b) for b in boxes])
        for one, box, mask in zip(predictions, boxes, small, strict=True):
            assert one.labels is not None
            assert one.scores is not None
            own = mask[torch.arange(len(box), device=box.device), one.labels][:, None]
            whole = paste_masks_in_image(own, box, (self.size, self.size))[:, 0]
            whole = whole * one.scores[:, None, None]
            one.masks = torch.full((self.mask_count, self.size, self.size), torch.nan).to(box)
            one.masks[self.mask_channel] = whole.amax(dim=0) if len(box) else 0.0


def pasted(mask_BPmm: Tensor, box_BP4: Tensor, size: int, cells: int) -> Tensor:
    """(B, P, cells, cells) each mask stretched over its box in a square of `size`, 0 outside.

    Two products with the weights of linear interpolation, so that a graph needs no loop.
    """
    side = mask_BPmm.shape[-1]
    centre = (torch.arange(cells, device=box_BP4.device) + 0.5) * (size / cells)
    places = torch.arange(side, device=box_BP4.device, dtype=centre.dtype)

    def weights(low_BP: Tensor, high_BP: Tensor) -> Tensor:
        extent = (high_BP - low_BP).clamp(min=1e-3)[..., None]
        at = (centre - low_BP[..., None]) / extent
        inside = ((at >= 0) & (at <= 1)).to(at)
        at = (at * side - 0.5).clamp(0, side - 1)
        return (1 - (at[..., None] - places).abs()).clamp(min=0) * inside[..., None]

    x, y = weights(box_BP4[..., 0], box_BP4[..., 2]), weights(box_BP4[..., 1], box_BP4[..., 3])
    return y @ mask_BPmm @ x.transpose(-1, -2)


def one_against_all(logit_BRC: Tensor) -> Tensor:
    """(B, R, C - 1) logits whose sigmoid is the softmax of each class but the first."""
    classes = logit_BRC.shape[2]
    rest = [[c for c in range(classes) if c != k] for k in range(1, classes)]
    others = torch.stack([logit_BRC[..., r].logsumexp(dim=2) for r in rest], dim=2)
    return logit_BRC[..., 1:] - others


def ellipses(boxes_n4: Tensor, size: int) -> Tensor:
    """(n, S, S) masks of 0 and 1: the ellipse inscribed in each box."""
    middle = (boxes_n4[:, :2] + boxes_n4[:, 2:]) / 2
    half = ((boxes_n4[:, 2:] - boxes_n4[:, :2]) / 2).clamp(min=0.5)
    at = torch.arange(size, device=boxes_n4.device) + 0.5
    x = (at[None] - middle[:, :1]) / half[:, :1]
    y = (at[None] - middle[:, 1:]) / half[:, 1:]
    return (y[:, :, None] ** 2 + x[:, None] ** 2 <= 1).to(boxes_n4.dtype)


def instances(mask_SS: Tensor, boxes_n4: Tensor) -> tuple[Tensor, Tensor]:
    """(n, S, S) each box's part of a mask, and where that is known.

    Outside its box an instance is known to be absent, unless nothing inside is annotated.
    """
    at = torch.arange(len(mask_SS), device=boxes_n4.device) + 0.5
    inside_x = (at[None] >= boxes_n4[:, :1]) & (at[None] < boxes_n4[:, 2:3])
    inside_y = (at[None] >= boxes_n4[:, 1:2]) & (at[None] < boxes_n4[:, 3:])
    inside = inside_y[:, :, None] & inside_x[:, None]
    annotated = inside & (mask_SS != 255)
    known = (annotated | ~inside) & annotated.flatten(1).any(dim=1)[:, None, None]
    return (inside & (mask_SS == 1)).to(boxes_n4.dtype), known.to(boxes_n4.dtype)
