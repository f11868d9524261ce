"""Every number that hilum reports, by its name: words, which way is better, what it needs.

Pages, sweeps, early stopping and reasons for a missing number all read this one table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One kind of number."""

    text: str
    needs: str  # what must be there, or it is not a number
    lower_is_better: bool = False
    beside: str = ""  # a number that the same images allow, where this one is also undefined as
    # long as a model calls all of them alike


_TRUE_BOX = "a true box"
_SHOWN_BOX = "a box of at least the threshold"
_BOTH = "images with and without the finding"
_POSITIVE = "an image with the finding"
_NEGATIVE = "an image without the finding"
_CALLED = "an image called positive"
_CLASSES = "images of exactly one class, and a score of every class"
_MASK = "an image where set and model have the mask"
_TRUE_MASK = "an image whose true mask is not empty"

METRICS: dict[str, Metric] = {
    "rsna_score": Metric("RSNA score of the boxes shown", "an image with a true or a shown box"),
    "ap50": Metric("AP at IoU .5", _TRUE_BOX),
    "ap50_95": Metric("AP at IoU .5 to .95", _TRUE_BOX),
    "box_precision": Metric(
        "Precision of the boxes shown, IoU .5", _SHOWN_BOX, beside="box_recall"
    ),
    "box_recall": Metric("Recall of the boxes shown, IoU .5", _TRUE_BOX),
    "box_f1": Metric("F1 of the boxes shown, IoU .5", "a true or a shown box"),
    "box_f2": Metric("F2 of the boxes shown, IoU .5", "a true or a shown box"),
    "fp_per_normal_image": Metric(
        "False boxes per image without finding", "an image without a true box", lower_is_better=True
    ),
    "any_box_auc": Metric("AUC by the best box", _BOTH),
    "any_box_sensitivity": Metric("Sensitivity, any box shown", _POSITIVE),
    "any_box_specificity": Metric("Specificity, any box shown", _NEGATIVE),
    "any_box_precision": Metric("Precision, any box shown", _CALLED, beside="any_box_auc"),
    "any_box_f1": Metric("F1, any box shown", "an image with a true or a shown box"),
    "auc": Metric("AUC", _BOTH),
    "average_precision": Metric("Average precision", _POSITIVE),
    "accuracy": Metric("Accuracy", "an image with a label"),
    "sensitivity": Metric("Sensitivity (recall)", _POSITIVE),
    "specificity": Metric("Specificity", _NEGATIVE),
    "precision": Metric("Precision", _CALLED, beside="auc"),
    "f1": Metric("F1", "an image that has the finding or is called positive"),
    "f2": Metric("F2", "an image that has the finding or is called positive"),
    "mcc": Metric("MCC", f"{_BOTH}, and {_CALLED}, and one called negative", beside="auc"),
    "brier": Metric("Brier score (lower is better)", "an image with a label", lower_is_better=True),
    "ece": Metric(
        "Expected calibration error (lower is better)",
        "an image with a label",
        lower_is_better=True,
    ),
    "class_accuracy": Metric("Accuracy over classes", _CLASSES),
    "class_precision": Metric(
        "Macro precision over classes", f"{_CLASSES}, and one called each class", beside="class_map"
    ),
    "class_recall": Metric("Macro recall over classes", f"{_CLASSES}, some of each class"),
    "class_f1": Metric("Macro F1 over classes", f"{_CLASSES}, each of them true or called"),
    "class_map": Metric("Mean average precision over classes", _CLASSES),
    "class_map_hard": Metric("Mean average precision of the hard calls", _CLASSES),
    "dice": Metric("Dice, equal to F1 over pixels", _MASK),
    "dice_positive": Metric("Dice of the images that have the finding", _TRUE_MASK),
    "iou": Metric("IoU", _MASK),
    "f2_mask": Metric("F2 over pixels", _MASK),
    "hd95_px": Metric(
        "Hausdorff distance, 95th percentile, px",
        "an image where neither mask is empty, or both are",
        lower_is_better=True,
    ),
    "loss": Metric("Loss", "a batch", lower_is_better=True),
    "val_loss": Metric("Validation loss", "a validation image", lower_is_better=True),
}


def metric(name: str) -> Metric | None:
    """The metric of a name such as "ap50", "ap50_opacity" or "val_box_loss"; None if unknown."""
    if name in METRICS:
        return METRICS[name]
    if name.startswith("val_") or name.endswith("_loss"):
        return METRICS["val_loss"]
    return METRICS.get(base(name))


def text(name: str) -> str:
    """In words: "ap50_opacity" is "AP at IoU .5, opacity"."""
    if name in METRICS:
        return METRICS[name].text
    if name.startswith("val_"):
        return f"Validation loss, {_spaced(name.removeprefix('val_'))}"
    if own := base(name):
        return f"{METRICS[own].text}, {_spaced(name.removeprefix(own + '_'))}"
    return _spaced(name)


def higher_is_better(name: str) -> bool:
    """Whether a search or early stopping maximises it; unknown names are taken as such."""
    known = metric(name)
    return known is None or not known.lower_is_better


def is_allowed(name: str, numbers: Iterable[str]) -> bool:
    """Whether images that give `numbers` can give this one, if not with every model."""
    kind = name if name in METRICS else base(name)
    other = METRICS[kind].beside if kind else ""
    return not {name, other and other + name.removeprefix(kind)}.isdisjoint(numbers)


def base(name: str) -> str:
    """The longest known name that a label was appended to."""
    return max((m for m in METRICS if name.startswith(m + "_")), key=len, default="")


def _spaced(name: str) -> str:
    return name.replace("_", " ")
