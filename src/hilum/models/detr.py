"""RT-DETR (Zhao et al. 2024; F9): transformers' network and losses around our encoder.

Built from a configuration: nothing is downloaded. Its boxes come whole from its queries, so the
raw heads give them as proposals that no delta moves.

Legend: B batch, Q queries, K box labels, S input side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert
from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

from hilum.models import ranks
from hilum.models.dense import select
from hilum.models.encoder import encoder, widths
from hilum.models.model import Batch, Model, Prediction, Targets
from hilum.models.options import DetrOptions

LEVELS = (3, 4, 5)
TERMS = {"loss_vfl": "classes", "loss_bbox": "box", "loss_giou": "giou"}


class _Borrowed(nn.Module):
    """Our encoder in the place of transformers' own; its parameters stay the owner's."""

    def __init__(self, owner: nn.Module):
        super().__init__()
        self.owner = (owner,)  # in a tuple no module sees it as its child

    def forward(self, image: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(feature, mask) for feature in self.owner[0](image)]


class Detr(Model):
    """Unannotated images are left out, those without boxes are all background."""

    def __init__(self, options: DetrOptions, size: int, targets: Targets):
        super().__init__()
        self.size = size
        self.encoder = encoder(options.encoder, pretrained=options.pretrained, levels=LEVELS)
        sides, channels = widths(self.encoder), options.channels
        heads = max(1, channels // 32)
        cells = sum((-(-size // 2**level)) ** 2 for level in LEVELS)
        config = RTDetrConfig(
            # Only its widths are read: the backbone is replaced below.
            backbone_config=RTDetrResNetConfig(
                embedding_size=8,
                hidden_sizes=[8, *sides],
                depths=[1] * 4,
                layer_type="basic",
                out_features=["stage2", "stage3", "stage4"],
            ),
            freeze_backbone_batch_norms=False,
            num_labels=len(targets.labels),
            initializer_bias_prior_prob=0.01,
            encoder_in_channels=sides,
            encoder_hidden_dim=channels,
            encoder_ffn_dim=4 * channels,
            encoder_attention_heads=heads,
            d_model=channels,
            decoder_in_channels=[channels] * len(LEVELS),
            decoder_ffn_dim=4 * channels,
            decoder_attention_heads=heads,
            decoder_layers=options.decoder_layers,
            num_queries=min(options.queries, cells),
        )
        self.net = RTDetrForObjectDetection(config)
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)  # transformers starts them near zero: no signal
        self.net.model.backbone = _Borrowed(self.encoder)

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        """class_logits (B, Q, K), proposals (B, Q, 4) in the square and their box_deltas, zero."""
        out = self.net(image_B1SS)
        boxes = box_convert(out.pred_boxes, "cxcywh", "xyxy") * self.size
        return {
            "class_logits": out.logits,
            "box_deltas": torch.zeros_like(boxes),
            "proposals": boxes,
        }

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Each term summed over the decoder's layers, the encoder's choice and the denoising."""
        known = [i for i, boxes in enumerate(batch.boxes) if boxes is not None]
        if not known:
            zero = torch.stack([p.sum() for p in self.parameters()]).sum() * 0
            return {name: ranks.pooled(zero, 0) for name in TERMS.values()}
        labels = []
        for i in known:
            boxes, classes = batch.boxes[i], batch.classes[i]
            assert boxes is not None
            assert classes is not None
            parts = box_convert(boxes, "xyxy", "cxcywh") / self.size
            labels.append({"class_labels": classes, "boxes": parts})
        terms = self.net(batch.image_B1SS[known], labels=labels).loss_dict
        boxes_here = sum(len(one["boxes"]) for one in labels)
        return {
            name: ranks.pooled(
                torch.stack([v for key, v in terms.items() if key.startswith(term)]).sum(),
                boxes_here,
            )
            for term, name in TERMS.items()
        }

    def _predict(self, image_B1SS: Tensor) -> list[Prediction]:
        raw = self(image_B1SS)
        return [
            select(logit.float(), boxes.float(), self.size)
            for logit, boxes in zip(raw["class_logits"], raw["proposals"], strict=True)
        ]
