"""A YOLO of our own (B9, D5): CSP backbone, PANet neck, anchored heads.

Boxes are coded as in the later members of the family: a centre within a cell of its own, sides up
to four times the anchor's. The raw heads translate that into deltas on the anchors of
`core.anchors`, and objectness times class into one logit, so one decoding serves all detectors.

Legend: B batch, A anchors, K box labels, n boxes, m matched pairs of anchor and box.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from hilum.core.anchors import AnchorGrid
from hilum.core.errors import ConfigError
from hilum.models import ranks
from hilum.models.dense import PRIOR_LOGIT, DenseBoxes, flattened, output_conv
from hilum.models.encoder import encoder, widths
from hilum.models.losses import IOU_LOSSES
from hilum.models.model import Batch, Model, Prediction, Targets
from hilum.models.options import YoloOptions

GAINS = {"box": 0.075, "class": 0.05, "objectness": 0.75}
MOST_RATIO = 4.0  # between a box's side and its anchor's
# Fine levels have the most cells and the fewest objects.
LEVEL_BALANCE = (4.0, 1.0, 0.4)


def _conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Module:
    layer: nn.Module = Conv2dNormActivation(
        channels, out, kernel, stride, activation_layer=nn.SiLU, inplace=True
    )
    return layer


class _Heads(NamedTuple):
    deltas: Tensor  # (B, A, 4) of boxes, on the anchors
    objectness: Tensor  # (B, A) logits
    classes: Tensor | None  # (B, A, K) logits


class Bottleneck(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(_conv(channels, channels, 1), _conv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class CrossStage(nn.Module):
    """CSP block (Wang et al. 2020): half of the channels go around the bottlenecks."""

    def __init__(self, channels: int, out: int, depth: int):
        super().__init__()
        self.around = _conv(channels, out // 2, 1)
        self.through = nn.Sequential(
            _conv(channels, out // 2, 1), *(Bottleneck(out // 2) for _ in range(depth))
        )
        self.merge = _conv(out, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.merge(torch.cat([self.through(x), self.around(x)], dim=1))
        return out


class PathAggregation(nn.Module):
    """PANet (Liu et al. 2018): from coarse to fine and back, concatenating."""

    def __init__(self, sides: list[int], out: list[int], depth: int):
        super().__init__()
        self.lateral = nn.ModuleList(_conv(a, b, 1) for a, b in zip(sides, out, strict=True))
        pairs = list(pairwise(out))  # fine, coarse
        self.narrow = nn.ModuleList(_conv(coarse, fine, 1) for fine, coarse in pairs)
        self.up = nn.ModuleList(CrossStage(2 * fine, fine, depth) for fine, _ in pairs)
        self.shrink = nn.ModuleList(_conv(fine, fine, 3, 2) for fine, _ in pairs)
        self.down = nn.ModuleList(CrossStage(2 * fine, coarse, depth) for fine, coarse in pairs)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        maps = [layer(x) for layer, x in zip(self.lateral, features, strict=True)]
        kept = []
        for i in reversed(range(len(self.up))):
            maps[i + 1] = self.narrow[i](maps[i + 1])
            kept.append(maps[i + 1])
            wide = F.interpolate(maps[i + 1], size=maps[i].shape[-2:], mode="nearest")
            maps[i] = self.up[i](torch.cat([wide, maps[i]], dim=1))
        kept.reverse()
        for i in range(len(self.down)):
            maps[i + 1] = self.down[i](torch.cat([self.shrink[i](maps[i]), kept[i]], dim=1))
        return maps


class Yolo(Model):
    """Box, class and objectness losses with the gains of definitions.md.

    Unannotated images are left out, those without boxes are all background.
    """

    level: Tensor  # (A,) place of each anchor's level; buffers that no checkpoint needs
    stride: Tensor  # (A,)

    def __init__(self, options: YoloOptions, size: int, targets: Targets):
        super().__init__()
        self.options, self.labels = options, len(targets.labels)
        self.gains = GAINS | {str(name): value for name, value in options.gains.items()}
        self.grid = AnchorGrid(**options.anchors.model_dump())
        levels = self.grid.levels
        if levels != (3, 4, 5):
            raise ConfigError(f"anchor levels {levels}; YOLO's neck has 3, 4 and 5")
        self.encoder = encoder(options.encoder, pretrained=options.pretrained, levels=levels)
        out = [options.channels * 2**i for i in range(len(levels))]
        self.neck = PathAggregation(widths(self.encoder), out, options.depth)
        per_cell = self.grid.per_cell
        self.box_code = nn.ModuleList(output_conv(c, per_cell * 4, 0.0) for c in out)
        self.objectness = nn.ModuleList(output_conv(c, per_cell, PRIOR_LOGIT) for c in out)
        # With one label objectness says it all.
        self.class_logit = nn.ModuleList(
            output_conv(c, per_cell * self.labels, 0.0) for c in out if self.labels > 1
        )
        self.boxes = DenseBoxes(self.grid, size)
        counts = [(-(-size // 2**level)) ** 2 * per_cell for level in levels]
        places = torch.from_numpy(np.repeat(np.arange(len(levels)), counts))
        self.register_buffer("level", places, persistent=False)
        self.register_buffer("stride", 2.0 ** torch.tensor(levels)[places], persistent=False)

    def _heads(self, image_B1SS: Tensor) -> _Heads:
        maps = self.neck(self.encoder(image_B1SS))

        def head(convs: nn.ModuleList, last: int) -> Tensor:
            parts = [flattened(c(x), last) for c, x in zip(convs, maps, strict=True)]
            return torch.cat(parts, dim=1).float()

        deltas = self._deltas(head(self.box_code, 4))
        classes = head(self.class_logit, self.labels) if self.labels > 1 else None
        return _Heads(deltas, head(self.objectness, 1)[..., 0], classes)

    def _deltas(self, code_BA4: Tensor) -> Tensor:
        """The family's code as deltas of `AnchorGrid`."""
        anchors, weights = self.boxes.anchors, self.boxes.weights
        shift = (2 * code_BA4[..., :2].sigmoid() - 1) * self.stride[:, None]
        # log((2 sigmoid)^2): sides from 0 to MOST_RATIO times the anchor's.
        scale = 2 * (F.logsigmoid(code_BA4[..., 2:]) + torch.log(torch.tensor(2.0)))
        wh = anchors[:, 2:] - anchors[:, :2]
        return torch.cat([shift / wh, scale], dim=2) / weights

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        """class_logits (B, A, K), whose sigmoid is objectness times class, and box_deltas
        (B, A, 4)."""
        deltas, objectness, classes = self._heads(image_B1SS)
        logits = objectness[..., None]
        if classes is not None:
            logits = product_logit(logits.expand_as(classes), classes)
        return {"class_logits": logits, "box_deltas": deltas}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        deltas, objectness, classes = self._heads(batch.image_B1SS)
        known = [i for i, boxes in enumerate(batch.boxes) if boxes is not None]
        target = torch.zeros_like(objectness)
        # Each begins with nothing: there may be no match here, and one on another rank.
        levels, box_terms = [self.level[:0]], [deltas.flatten()[:0]]
        class_terms = [] if classes is None else [classes.flatten()[:0]]
        for i in known:
            truth, kinds = batch.boxes[i], batch.classes[i]
            assert truth is not None
            assert kinds is not None
            anchor, box = self.match(truth)
            decoded = self.boxes.decode(deltas[i, anchor], self.boxes.anchors[anchor])
            term = IOU_LOSSES[self.options.box_loss](decoded, truth[box])
            # A cell answers for how well its box fits; the best of several boxes counts.
            target[i].scatter_reduce_(0, anchor, (1 - term.detach()).clamp(0, 1), "amax")
            levels.append(self.level[anchor])
            box_terms.append(term)
            if classes is not None:
                one = F.one_hot(kinds[box], self.labels).float()
                class_terms.append(_bce(classes[i, anchor], one).mean(dim=1))
        level = torch.cat(levels)
        parts = {"box": _over_levels(torch.cat(box_terms), level)}
        every = _bce(objectness[known], target[known])
        parts["objectness"] = _over_levels(
            every.flatten(), self.level.repeat(len(known)), LEVEL_BALANCE
        )
        if classes is not None:
            parts["class"] = _over_levels(torch.cat(class_terms), level)
        many = self.options.nominal_batch
        return {name: many * self.gains[name] * value for name, value in parts.items()}

    def match(self, truth_n4: Tensor) -> tuple[Tensor, Tensor]:
        """(m,) anchors and (m,) boxes that they answer for.

        An anchor answers for a box whose sides differ from its own by less than MOST_RATIO, in the
        box's cell and the two cells nearest to the box's centre.
        """
        anchors = self.boxes.anchors
        wh = truth_n4[:, 2:] - truth_n4[:, :2]
        ratio = wh[:, None] / (anchors[:, 2:] - anchors[:, :2])
        near = torch.maximum(ratio, 1 / ratio).amax(dim=2) < MOST_RATIO
        middle = (truth_n4[:, :2] + truth_n4[:, 2:]) / 2
        # Distance from the cell's centre in cells: within one along one axis, half along the other.
        offset = (middle[:, None] - (anchors[:, :2] + anchors[:, 2:]) / 2) / self.stride[:, None]
        offset = offset.abs()
        close = (offset.amin(dim=2) <= 0.5) & (offset.amax(dim=2) < 1)
        box, anchor = (near & close).nonzero(as_tuple=True)
        return anchor, box

    def _predict(self, image_B1SS: Tensor) -> list[Prediction]:
        raw = self(image_B1SS)
        return self.boxes.predict(raw["class_logits"], raw["box_deltas"])


def _bce(logit: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logit, target, reduction="none")


def _over_levels(
    value_m: Tensor, level_m: Tensor, balance: tuple[float, ...] = (1.0,) * len(LEVEL_BALANCE)
) -> Tensor:
    """The sum of the levels' means; a level without values costs nothing."""
    at = [level_m == place for place in range(len(balance))]
    totals = torch.stack([value_m[one].sum() for one in at])
    means = ranks.mean(totals, torch.stack([one.sum() for one in at]))
    return (means * means.new_tensor(balance)).sum()


def product_logit(a: Tensor, b: Tensor) -> Tensor:
    """The logit of sigmoid(a) * sigmoid(b)."""
    return a + b - torch.stack([torch.zeros_like(a), a, b]).logsumexp(dim=0)
