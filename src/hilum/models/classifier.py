"""Image classifiers: an encoder, global average pooling, and one or two dense layers.

B7's baseline, D1's multi-label pretraining, D7's study head on a frozen backbone, E2's gate.

Legend: B batch, C global classes, F findings, S input side.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hilum.core.errors import ConfigError
from hilum.models.encoder import encoder, widths
from hilum.models.losses import masked_bce, partial_class_loss
from hilum.models.model import Batch, HeadsModel, Prediction, Targets
from hilum.models.options import ClassifierOptions

FOCAL_GAMMA = 2.0


def dense_head(width: int, hidden: int | None, out: int, dropout: float) -> nn.Sequential:
    """width -> (hidden -> ReLU ->) out, Xavier weights and no bias to begin with (D7)."""
    sides = [width, *([hidden] if hidden else []), out]
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(sides)):
        linear = nn.Linear(a, b)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [*([nn.ReLU()] if i else []), nn.Dropout(dropout), linear]
    return nn.Sequential(*layers)


class Classifier(HeadsModel):
    """Exclusive classes (`global_logits`) or findings (`finding_logits`) of a whole image."""

    def __init__(self, options: ClassifierOptions, size: int, targets: Targets):
        super().__init__()
        names = targets.classes if options.target == "classes" else targets.findings
        if not names:
            raise ConfigError(f"a classifier of {options.target} needs targets; there are none")
        weights = options.class_weights
        if weights is not None and len(weights) != len(names):
            raise ConfigError(
                f"class_weights has {len(weights)} values; needed: {len(names)}, one for each of "
                f"{', '.join(names)}"
            )
        self.options = options
        self.head_name = "global_logits" if options.target == "classes" else "finding_logits"
        self.encoder = encoder(options.encoder, pretrained=options.pretrained, levels=(5,))
        self.head = dense_head(widths(self.encoder)[0], options.hidden, len(names), options.dropout)
        self.register_buffer(
            "class_weights", None if weights is None else torch.tensor(weights), persistent=False
        )
        if options.frozen:
            self.encoder.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> Classifier:
        """A frozen encoder keeps its batch statistics too."""
        super().train(mode)
        if self.options.frozen:
            self.encoder.eval()
        return self

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        """global_logits (B, C) or finding_logits (B, F); of one linear layer also activations (B, C
        or F, h, w), what each place adds to them (class activation maps, Zhou et al. 2016)."""
        learning = not (self.training and self.options.frozen)  # explanations differentiate it, too
        with torch.set_grad_enabled(torch.is_grad_enabled() and learning):
            features = self.encoder(image_B1SS)[0]
        raw = {self.head_name: self.head(features.mean(dim=(2, 3)))}
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        if self.options.hidden is None and not self.training:
            raw["activations"] = F.conv2d(features, last.weight[:, :, None, None])
        return raw

    def loss_of(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """`global` or `finding`, over known labels (NaN is unknown)."""
        logit = raw[self.head_name].float()
        smoothing = self.options.label_smoothing
        gamma = FOCAL_GAMMA if self.options.loss == "focal" else 0.0
        weights: Tensor | None = self.class_weights  # type: ignore[assignment]
        if self.options.target == "findings":
            label, name = batch.finding_BF, "finding"
        else:
            label, name = batch.label_BC, "global"
        if self.options.target == "findings" or self.options.loss == "bce":
            value = masked_bce(
                logit, label, positive_weight_C=weights, smoothing=smoothing, gamma=gamma
            )
        else:
            value = partial_class_loss(
                logit, label, weight_C=weights, smoothing=smoothing, gamma=gamma
            )
        return {name: value}

    def _predict(self, image_B1SS: Tensor) -> list[Prediction]:
        logit = self(image_B1SS)[self.head_name].float()
        if self.options.target == "findings":
            return [Prediction(findings=one) for one in logit.sigmoid()]
        # Trained one against the rest, their sigmoids need not sum to one; the softmax ranks alike.
        return [Prediction(classes=one) for one in logit.softmax(dim=1)]
