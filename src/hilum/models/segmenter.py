"""Segmenters of segmentation-models-pytorch on our grey encoders and their weights (E4, E9).

Legend: B batch, M masks, S input side.
"""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor

from hilum.core.errors import ConfigError
from hilum.models.dilated import DilatedDeepLab
from hilum.models.encoder import prepare_encoder, source_weights, timm_model
from hilum.models.losses import mask_loss
from hilum.models.model import Batch, HeadsModel, Prediction, Targets
from hilum.models.options import SegmenterOptions

ARCHITECTURES = {
    "fpn": smp.FPN,
    "unet": smp.Unet,
    "unet++": smp.UnetPlusPlus,
    "pspnet": smp.PSPNet,
    "deeplabv3+": smp.DeepLabV3Plus,
}


MISFITS = (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError)


def _network(options: SegmenterOptions, timm_name: str, masks: int) -> Any:
    """segmentation-models-pytorch's network; DeepLabV3+ also where only we can dilate the encoder.

    Raises:
        ConfigError: the two do not go together.
    """
    kinds = [ARCHITECTURES[options.architecture]]
    if options.architecture == "deeplabv3+":
        kinds.append(DilatedDeepLab)
    problem: Exception | None = None
    for kind in kinds:
        try:
            return kind(
                encoder_name=f"tu-{timm_name}", encoder_weights=None, in_channels=1, classes=masks
            )
        except MISFITS as error:
            problem = error
    raise ConfigError(
        f"{options.architecture} does not go with encoder {options.encoder!r} ({problem}); "
        "deeplabv3+ needs one whose last stage can be dilated, such as resnet50, "
        "inception_resnet_v2 or tf_efficientnet_lite0"
    ) from problem


class Segmenter(HeadsModel):
    """One channel a mask, each for itself: masks may overlap."""

    def __init__(self, options: SegmenterOptions, size: int, targets: Targets):
        super().__init__()
        count = len(targets.masks)
        if not count:
            raise ConfigError("a segmenter needs masks among its targets; there are none")
        if options.mask_weights is not None and len(options.mask_weights) != count:
            raise ConfigError(
                f"mask_weights has {len(options.mask_weights)} values; needed: {count}, one for "
                f"each of {', '.join(targets.masks)}"
            )
        timm_name, settings = timm_model(options.encoder)
        if settings:
            raise ConfigError(
                f"segmenters cannot be built on {options.encoder!r}; the nearest is nasnet_large"
            )
        source = source_weights(options.encoder, options.pretrained)
        self.net = _network(options, timm_name, count)
        prepare_encoder(
            self.net.encoder.model,
            options.encoder,
            options.pretrained,
            source,
        )
        self.options, self.masks = options, targets.masks

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        """mask_logits (B, M, S, S)."""
        return {"mask_logits": self.net(image_B1SS)}

    def loss_of(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """One component a mask; pixels of 255 cost nothing."""
        logit = raw["mask_logits"].float()
        weights = self.options.mask_weights or (1.0,) * len(self.masks)
        return {
            name: weight
            * mask_loss(
                logit[:, i],
                batch.mask_BMSS[:, i],
                {str(term): value for term, value in self.options.loss.items()},
                smooth=self.options.smooth,
                tversky=self.options.tversky,
            )
            for i, (name, weight) in enumerate(zip(self.masks, weights, strict=True))
        }

    def _predict(self, image_B1SS: Tensor) -> list[Prediction]:
        return [Prediction(masks=one) for one in self(image_B1SS)["mask_logits"].float().sigmoid()]
