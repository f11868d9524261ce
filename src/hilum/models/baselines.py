"""torchvision's own RetinaNets as baselines, trained on the same batches.

They see boxes only: no masks, no classes. One input channel is repeated three times.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet, retinanet_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork

from hilum.core.anchors import AnchorGrid
from hilum.models import ranks
from hilum.models.encoder import encoder, widths
from hilum.models.model import Batch, Model, Prediction, Targets
from hilum.models.options import TorchvisionRetinaNetOptions

BOX_WEIGHTS = AnchorGrid().box_weights  # theirs are 1
PARTS = ("classification", "bbox_regression")  # of the loss


class GreyPyramid(nn.Module):
    """Our pretrained encoder with torchvision's pyramid, as a RetinaNet backbone."""

    def __init__(self, encoder_name: str, pretrained: bool | str, channels: int = 256):
        super().__init__()
        self.encoder = encoder(encoder_name, pretrained=pretrained, levels=(3, 4, 5))
        self.pyramid = FeaturePyramidNetwork(widths(self.encoder), channels)
        self.out_channels = channels

    def forward(self, image_B3SS: Tensor) -> dict[str, Tensor]:
        features = self.encoder(image_B3SS[:, :1])
        return dict(self.pyramid({str(i): f for i, f in enumerate(features)}))


class TorchvisionRetinaNet(Model):
    """A torchvision detector behind our interface; its decoding is its own."""

    def __init__(self, options: TorchvisionRetinaNetOptions, size: int, targets: Targets):
        super().__init__()
        fixed = {
            "min_size": size,
            "max_size": size,
            "image_mean": [0.0] * 3,
            "image_std": [1.0] * 3,  # batches are normalised already
            "num_classes": len(targets.labels) + 1,
        }
        if options.kind == "torchvision-retinanet-encoder":
            sizes = tuple((s, int(s * 2 ** (1 / 3)), int(s * 2 ** (2 / 3))) for s in (32, 64, 128))
            self.net = RetinaNet(
                GreyPyramid(options.encoder, pretrained=options.pretrained),
                anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3),
                **fixed,
            )
        else:
            self.net = retinanet_resnet50_fpn(weights=None, weights_backbone=None, **fixed)

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        """class_logits (B, A, K), box_deltas (B, A, 4) and proposals (B, A, 4): its anchors, which
        are none of `AnchorGrid`'s."""
        image_B3SS = image_B1SS.expand(-1, 3, -1, -1)
        features = list(self.net.backbone(image_B3SS).values())
        raw = self.net.head(features)
        sizes = [(int(one.shape[-2]), int(one.shape[-1])) for one in image_B3SS]
        anchors = self.net.anchor_generator(ImageList(image_B3SS, sizes), features)
        delta = raw["bbox_regression"]
        return {
            "class_logits": raw["cls_logits"][..., 1:],  # the first class is nothing's
            "box_deltas": delta / delta.new_tensor(BOX_WEIGHTS),
            "proposals": torch.stack(anchors),
        }

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        keep = [i for i, boxes in enumerate(batch.boxes) if boxes is not None]
        if not keep:
            zero = torch.stack([p.sum() for p in self.parameters()]).sum() * 0
            return {name: ranks.pooled(zero, 0) for name in PARTS}
        images = [batch.image_B1SS[i].expand(3, -1, -1) for i in keep]
        targets = []
        for i in keep:
            boxes, classes = batch.boxes[i], batch.classes[i]
            assert boxes is not None
            assert classes is not None
            targets.append({"boxes": boxes, "labels": classes + 1})
        # What its forward does in training alone: validation has losses too.
        images, targets = self.net.transform(images, targets)
        features = list(self.net.backbone(images.tensors).values())
        anchors = self.net.anchor_generator(images, features)
        parts = self.net.compute_loss(targets, self.net.head(features), anchors)
        return {name: ranks.pooled(parts[name], len(keep)) for name in PARTS}

    def _predict(self, image_B1SS: Tensor) -> list[Prediction]:
        outputs = self.net([image.expand(3, -1, -1) for image in image_B1SS])
        return [
            Prediction(one["boxes"].float(), one["scores"].float(), one["labels"] - 1)
            for one in outputs
        ]
