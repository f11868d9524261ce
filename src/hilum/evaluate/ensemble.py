"""Prediction files of several models -> one, image by image, whatever fuses the predictions.

Boxes of copies of another size are brought into the frame of the first file. Knows no way of
fusing and no file's place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hilum.core.errors import ConfigError, DataError
from hilum.core.prediction import Boxes, Prediction
from hilum.data.adapters.values import plain
from hilum.evaluate.answers import in_frame, match_names
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile
from hilum.evaluate.truth import Size

Fuse = Callable[[Mapping[str, Prediction]], Prediction]
DIGITS = 3  # of a pixel: what is left of single precision


@dataclass(frozen=True, slots=True)
class Fused:
    """The fused file and what a reader must know of it."""

    file: PredictionFile
    boxes_in: int  # of all files
    silent: tuple[str, ...]  # files without any box: no voice in the fusion of boxes
    scaled: int  # predictions made at another size than the first file's
    unstated: int  # predictions with boxes and no size, beside others that state one
    partial: int  # images that some files refused or failed on
    by_name: int  # predictions that were matched by file name or number: their paths differ

    def to_json(self) -> dict[str, Any]:
        """Counts, and the files without a voice."""
        images = self.file.images.values()
        return {
            "images": len(images),
            "boxes_in": self.boxes_in,
            "boxes_out": sum(len(image.scores) for image in images),
            "without_boxes": list(self.silent),
            "scaled": self.scaled,
            "unstated": self.unstated,
            "partial": self.partial,
            "by_name": self.by_name,
        }


def fuse_files(files: Mapping[str, PredictionFile], fuse: Fuse) -> Fused:
    """Fuse files of one form over the same images, which keep the names of the first file.

    Raises:
        ConfigError: files of different forms.
        DataError: different images, predictions on images of another shape, or one label in two
            spellings.
    """
    forms = [part.form for part in files.values()]
    if len(set(forms)) > 1:
        raise ConfigError(f"files are {', '.join(forms)}; needed: one form")
    files, by_name = _renamed(files)
    parts = list(files.values())
    first = parts[0]
    _check_images(files)
    _check_labels(files)
    boxed = {name for name, part in files.items() if _has_boxes(part)}
    images, scaled, unstated, partial = dict[str, ImagePredictions](), 0, 0, 0
    for name in first.images:
        answers = {member: part.images[name] for member, part in files.items()}
        frame = next((one.size for one in answers.values() if one.size is not None), None)
        size = Size.of(*frame) if frame else Size.of(0, 0)
        scaled += sum(size.scales(one.size) for one in answers.values())
        if frame:
            unstated += sum(one.size is None and len(one.boxes) > 0 for one in answers.values())
        partial += len({one.status == "analysed" for one in answers.values()}) > 1
        images[name] = _image(name, answers, size, fuse=fuse, boxed=boxed)
    return Fused(
        file=PredictionFile(first.form, images, _header(files, fuse)),
        boxes_in=sum(len(one.scores) for part in parts for one in part.images.values()),
        silent=tuple(name for name in files if name not in boxed),
        scaled=scaled,
        unstated=unstated,
        partial=partial,
        by_name=by_name,
    )


def _renamed(
    files: Mapping[str, PredictionFile],
) -> tuple[dict[str, PredictionFile], int]:
    """The files with their images called as in the first one, where these are the same images by
    other names (another folder, a copy); and how many were matched so."""
    (first, wanted), *others = files.items()
    names, out, count = list(wanted.images), {first: wanted}, 0
    for member, part in others:
        matched = match_names(names, names, list(part.images)).names
        if part.images.keys() == wanted.images.keys() or None in matched:
            out[member] = part  # of the same names, or of other images: `_check_images`
            continue
        images = {own: part.images[name] for own, name in zip(names, matched, strict=True) if name}
        if len(images) == len(part.images):
            out[member] = replace(part, images=images)
            count += sum(own != name for own, name in zip(names, matched, strict=True))
        else:
            out[member] = part
    return out, count


def _check_images(files: Mapping[str, PredictionFile]) -> None:
    """Raises DataError for an image that one file has and another lacks."""
    first, *others = files
    for other in others:
        for has, lacks in ((first, other), (other, first)):
            lost = files[has].images.keys() - files[lacks].images.keys()
            if lost:
                raise DataError(
                    f"{len(lost)} images of {has} are not in {lacks}, {min(lost)!r} first; needed: "
                    "files of the same images"
                )


def _check_labels(files: Mapping[str, PredictionFile]) -> None:
    """Raises DataError for labels that differ in case only: they would stand side by side."""
    spellings: dict[str, tuple[str, str]] = {}
    for member, part in files.items():
        for label in {own for image in part.images.values() for own in image.labels}:
            other, whose = spellings.setdefault(plain(label), (label, member))
            if other != label:
                raise DataError(
                    f"boxes of {member} are {label!r}, those of {whose} {other!r}; needed: one "
                    "spelling, so that they are fused"
                )


def _image(
    name: str,
    answers: Mapping[str, ImagePredictions],
    size: Size,
    fuse: Fuse,
    boxed: set[str],
) -> ImagePredictions:
    """One image; models that refused it or failed have no voice."""
    analysed = {member: one for member, one in answers.items() if one.status == "analysed"}
    if not analysed:
        return next(iter(answers.values()))
    framed = {member: in_frame(one, size, name) for member, one in analysed.items()}
    fused = fuse({member: prediction(one, size, member in boxed) for member, one in framed.items()})
    boxes = fused.boxes or Boxes.none()
    return ImagePredictions(
        boxes=boxes.boxes_px.astype(np.float64).round(DIGITS),
        scores=boxes.scores.astype(np.float64).round(6),
        labels=boxes.labels,
        whole=dict(fused.image_scores),
        entry=next(iter(analysed.values())).entry,
        size=size.own if size.known else None,
    )


def prediction(image: ImagePredictions, size: Size, boxes: bool = True) -> Prediction:
    """As a pipeline's stages take it; without `boxes` it has no voice among detectors."""
    return Prediction(
        width=size.own[0],
        height=size.own[1],
        boxes=Boxes.of(image.boxes, image.scores, image.labels) if boxes else None,
        image_scores=dict(image.whole),
    )


def _has_boxes(file: PredictionFile) -> bool:
    """False for a classifier's file: it found no box because it has none."""
    if any(len(image.scores) for image in file.images.values()):
        return True
    return bool(file.box_thresholds)


def _header(files: Mapping[str, PredictionFile], fuse: Fuse) -> dict[str, Any]:
    """The head of a fused findings.json: all bundles, and the studies' scores fused."""
    if next(iter(files.values())).form != "findings":
        return {}
    heads = [part.header.get("pipeline") or {} for part in files.values()]
    bundles = {str(b): b for head in heads for b in head.get("bundles", [])}
    names = "+".join(str(head.get("name", "?")) for head in heads)
    return {
        "pipeline": {
            "name": f"ensemble {names}",
            "version": "1",
            "bundles": [*bundles.values()],
            "operating_points": {},  # those of one model were not chosen for all
            "calibrated_on": "",
        },
        "studies": _studies(
            {name: part.header.get("studies") or [] for name, part in files.items()}, fuse
        ),
    }


def _studies(by_model: Mapping[str, list[dict[str, Any]]], fuse: Fuse) -> list[dict[str, Any]]:
    """Scores of studies, if all files made the same studies of the same images."""
    if len({str([s["images"] for s in studies]) for studies in by_model.values()}) > 1:
        return []
    out = []
    for same in zip(*by_model.values(), strict=True):
        scores = {
            name: Prediction(width=0, height=0, image_scores=study["scores"])
            for name, study in zip(by_model, same, strict=True)
        }
        out.append({**same[0], "scores": dict(fuse(scores).image_scores)})
    return out
