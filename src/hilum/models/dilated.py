"""DeepLabV3+ on encoders that timm cannot dilate, such as Inception-ResNet-v2 (E4).

DeepLabV3+ (Chen et al. 2018) looks at an encoder's last stage at stride 16: what strides there is
made not to, and what follows is dilated by two, so that its weights still see what they learnt on.
"""

from __future__ import annotations

from segmentation_models_pytorch.base import SegmentationHead, SegmentationModel
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import nn

from hilum.core.errors import ConfigError

STRIDE, CHANNELS, ATROUS = 16, 256, (12, 24, 36)  # as segmentation-models-pytorch has them
POOLS = nn.MaxPool2d | nn.AvgPool2d


class DilatedDeepLab(SegmentationModel):  # type: ignore[misc]
    """segmentation-models-pytorch's DeepLabV3+ around an encoder that is dilated here."""

    def __init__(
        self, encoder_name: str, encoder_weights: None, in_channels: int, classes: int
    ) -> None:
        super().__init__()
        self.encoder = get_encoder(encoder_name, in_channels=in_channels, depth=5, weights=None)
        dilate(self.encoder.model)
        self.decoder = DeepLabV3PlusDecoder(
            encoder_channels=self.encoder.out_channels,
            encoder_depth=5,
            out_channels=CHANNELS,
            atrous_rates=ATROUS,
            output_stride=STRIDE,
            aspp_separable=True,
            aspp_dropout=0.5,
        )
        self.segmentation_head = SegmentationHead(CHANNELS, classes, kernel_size=1, upsampling=4)
        self.classification_head = None
        self.initialize()


def dilate(features: nn.Module) -> None:
    """Give timm's feature extractor a last map of stride 16 instead of 32, in place.

    Raises:
        ConfigError: its last stage is no list of blocks that can be dilated.
    """
    info = features.feature_info
    place = info.reduction().index(STRIDE)  # type: ignore[union-attr,operator]
    last = info.module_name()[place].replace(".", "_")  # type: ignore[union-attr,operator]
    blocks = dict(features.named_children())
    if last not in blocks:
        raise ConfigError("its last stage cannot be dilated")
    after = list(blocks)[list(blocks).index(last) + 1 :]
    dilated = False  # only what comes after a stride that is gone sees too little
    for name in after:
        layers = [m for m in blocks[name].modules() if isinstance(m, nn.Conv2d | POOLS)]
        strided = [layer for layer in layers if _first(layer.stride) == 2]
        for layer in layers if dilated else []:
            if isinstance(layer, nn.Conv2d) and layer not in strided:
                layer.dilation = (2, 2)
                layer.padding = tuple(2 * int(side) for side in layer.padding)
        for layer in strided:
            layer.stride = (1, 1) if isinstance(layer, nn.Conv2d) else 1
        dilated = dilated or bool(strided)


def _first(value: int | tuple[int, ...]) -> int:
    return value[0] if isinstance(value, tuple) else value
