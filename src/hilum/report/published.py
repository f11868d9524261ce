"""Figures published on the sets that hilum reads, to stand beside ours. Measures nothing.

They come from other images and other splits: what is usual, not a comparison. The systems'
letters are those of docs/studies.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """A number of others."""

    ours: str  # our number of the same meaning (`evaluate.metrics.names`), "" where there is none
    value: str
    model: str
    images: str  # which part of the set
    measure: str = ""  # in words, where it is not our number's own
    system: str = ""  # A to E


_VALIDATION = "validation images of the training set"
_HIDDEN = "hidden test set of the challenge"
_ELSEWHERE = "own hold-out"

_RSNA = (
    *(
        Published("rsna_score", value, f"RetinaNet, augmentation: {name}", _VALIDATION, system="A")
        for name, value in (
            ("none", ".2461"),
            ("light", ".2544"),
            ("heavy", ".2502"),
            ("heavy, 8-point rotation rule", ".2556"),
            ("heavy without rotation", ".2610"),
        )
    ),
    Published("rsna_score", ".25475", "1st of the challenge", _HIDDEN, system="A"),
    Published("rsna_score", ".24781", "SE-ResNeXt-101 RetinaNet, folds", _HIDDEN, system="A"),
    Published("rsna_score", ".23908", "3rd of the challenge", _HIDDEN, system="A"),
    Published("auc", "≈ .85", "ResNet-50 classifier", _ELSEWHERE, system="B"),
    Published("ap50", ".20 → .25, final .23", "Mask R-CNN", _ELSEWHERE, system="B"),
    Published("ap50", ".18", "YOLO", _ELSEWHERE, system="B"),
    Published("any_box_auc", ".90", "Mask R-CNN, any box", _ELSEWHERE, system="B"),
    Published("any_box_sensitivity", ".80", "Mask R-CNN, any box", _ELSEWHERE, system="B"),
    Published("fp_per_normal_image", "1–2", "Mask R-CNN at .5", _ELSEWHERE, system="B"),
    Published("box_precision", ".25", "Mask R-CNN at .5", _ELSEWHERE, system="B"),
    Published("box_precision", ".40", "Mask R-CNN at .7", _ELSEWHERE, system="B"),
)

_DETECTORS = ("Faster R-CNN", "YOLO", "both fused")
_SIIM_COVID = (
    *(
        Published(ours, value, model, "859 images", measure, "D")
        for ours, measure, values in (
            ("ap50", "", (".409", ".345", ".451")),
            ("box_f1", "F1", (".547", ".477", ".560")),
            ("box_recall", "Recall", (".503", ".450", ".530")),
            ("box_precision", "Precision", (".603", ".506", ".594")),
        )
        for model, value in zip(_DETECTORS, values, strict=True)
    ),
    *(
        Published(ours, value, "study model, four classes", "study level", measure, "D")
        for ours, measure, value in (
            ("class_accuracy", "", ".669"),
            ("class_recall", "", ".495"),
            ("class_precision", "", ".541"),
            ("class_f1", "", ".482"),
            ("class_map_hard", "", ".405"),
        )
    ),
    Published("class_map", ".598", "1st of the challenge, of scores", "study level", system="D"),
)

_NIH = tuple(
    Published(ours, value, "ResNeXt-101, 15 labels", _ELSEWHERE, measure, "D")
    for ours, measure, value in (
        ("precision", "Precision, macro", ".59"),
        ("sensitivity", "Recall, macro", ".12"),
        ("accuracy", "Accuracy", ".40"),
        ("f1", "F1, macro", ".16"),
    )
)

_SIIM_ACR = (
    *(
        Published(ours, value, "Xception classifier, 1024 px", _ELSEWHERE, system="E")
        for ours, value in (
            ("mcc", ".770"),
            ("precision", ".801"),
            ("sensitivity", ".867"),
            ("accuracy", ".936"),
        )
    ),
    Published("dice", ".8347", "gate, then components of 3500 px", _HIDDEN, system="E"),
    Published("dice", ".7012", "without the classifier's gate", _HIDDEN, system="E"),
    Published("dice", ".8347", "weights averaged over epochs 13–16", _HIDDEN, system="E"),
    Published("dice", ".8322", "weights averaged at cycle ends", _HIDDEN, system="E"),
    *(
        Published("dice", value, f"components under {size} removed", _HIDDEN, system="E")
        for size, value in (
            ("3500 px", ".8347"),
            ("4500 px", ".8329"),
            ("750 px at 512", ".8328"),
            ("1750 px", ".8318"),
            ("250 px at 512", ".8307"),
        )
    ),
    Published("iou", ".6553", "averaged weights", _VALIDATION, system="E"),
    Published("dice", ".6773", "averaged weights", _VALIDATION, "F1 over pixels", "E"),
    Published("f2_mask", ".6811", "averaged weights", _VALIDATION, system="E"),
    Published("dice", ".8679", "winners: triplet, sliding rate, combo loss", _HIDDEN, system="E"),
)

# By the catalog's name. The scores are the published ones on the original data.
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "rsna": _RSNA,
    "siim-covid": _SIIM_COVID,
    "siim-acr": _SIIM_ACR,
    "nih": _NIH,
}

# Smaller copies of a challenge's images, by the finding that is evaluated; "" is any other.
_COPIES: dict[str, dict[str, str]] = {
    "rsna_128": {"": "rsna"},
    "rsna_256": {"": "rsna"},
    "siim_covid_256": {"": "siim-covid"},
    "nih_128": {"": "nih", "opacity": "rsna", "pneumothorax": "siim-acr"},
    "nih_512": {"": "nih", "opacity": "rsna"},
}


def published_of(name: str, finding: str) -> tuple[Published, ...]:
    """What was published on a catalog's set, or on the set whose images it has at another size."""
    copies = _COPIES.get(name, {"": name})
    return PUBLISHED.get(copies.get(finding, copies[""]), ())
