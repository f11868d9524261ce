"""Figures published on the sets that hilum reads, to stand beside ours. Measures nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """A number of others."""

    measure: str  # in words
    ours: str  # our number of the same name, "" where the report has none
    value: str
    model: str
    images: str  # which part of the set


_VALIDATION = "validation images of the training set"
_HIDDEN = "hidden test set of the challenge"

# By the catalog's name. The scores are the published ones on the original data.
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "rsna": (
        Published("RSNA score", "rsna_score", ".255", "1st of the challenge (.25475)", _HIDDEN),
        Published("RSNA score", "rsna_score", ".248", "SE-ResNeXt RetinaNet (.24781)", _HIDDEN),
        Published("RSNA score", "rsna_score", ".239", "3rd of the challenge (.23908)", _HIDDEN),
        Published("RSNA score", "rsna_score", ".261", "the same RetinaNet (.2610)", _VALIDATION),
        Published("AP at IoU .5", "ap50", ".23", "Mask R-CNN", _VALIDATION),
        Published("AP at IoU .5", "ap50", ".18", "YOLO", _VALIDATION),
        Published("AUC", "auc", ".90", "Mask R-CNN, any box", _VALIDATION),
        Published("Sensitivity", "sensitivity", ".80", "Mask R-CNN, any box", _VALIDATION),
        Published(
            "False boxes per normal image", "fp_per_normal_image", "1–2", "at .5", _VALIDATION
        ),
    ),
    "siim-covid": (
        Published("AP at IoU .5", "ap50", ".451", "ensemble of two detectors", "859 images"),
        Published("AP at IoU .5", "ap50", ".409", "Faster R-CNN", "859 images"),
        Published("AP at IoU .5", "ap50", ".345", "YOLO", "859 images"),
    ),
}
