"""`hilum ensemble`: prediction files of several models -> one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common
from hilum.cli.fusion_search import Metric, searched

if TYPE_CHECKING:
    from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile

Lists = list[Any]
Fused = tuple[Any, Any, Any]
Fuse = Callable[[Lists, Lists, Lists, list[float]], Fused]


class Method(StrEnum):
    """How boxes are fused."""

    WEIGHTED = "weighted"
    NMS = "nms"
    SOFT_NMS = "soft-nms"
    NMW = "nmw"
    UNION = "union"
    VOTE = "vote"


class Mode(StrEnum):
    """How `weighted` fuses scores."""

    AVG = "avg"
    MAX = "max"
    BOX_AND_MODEL = "box_and_model_avg"
    ABSENT_AWARE = "absent_model_aware_avg"


def ensemble(
    files: list[Path] = typer.Argument(..., help="Two or more prediction files of one form."),
    out: Path = typer.Option(..., "--out", "-o", help="The fused file, in the same form."),
    method: Method = typer.Option(Method.WEIGHTED, help="How boxes are fused."),
    weights: str = typer.Option("", help="One number a file, e.g. 2,1,1; else equal."),
    iou: float = typer.Option(0.55, min=0, max=1, help="Boxes of a higher IoU are one."),
    skip: float = typer.Option(0.0, min=0, max=1, help="Leave out boxes of a lower score."),
    mode: Mode = typer.Option(Mode.AVG, help="Scores of `weighted`."),
    confident: float = typer.Option(0.5, min=0, max=1, help="Score that counts for `union`."),
    search: Path | None = typer.Option(
        None,
        help="A catalog (Parquet): try the options of the method on folds of --search-split and "
        "fuse with the best; beside --out, NAME.search.json says what was tried.",
    ),
    search_split: str = typer.Option("validation", help="The split to search on."),
    folds: int = typer.Option(5, min=2, help="Folds of its patients."),
    metric: Metric = typer.Option(Metric.AP50, help="What the search makes high."),
    finding: str = typer.Option("opacity", help="Which finding the search judges."),
    as_json: bool = typer.Option(False, "--json", help="Print a summary as JSON."),
) -> None:
    """Fuse the predictions of several models: RSNA or SIIM-COVID CSV, or findings.json.

    Scores without a place (study classes, `none`, image scores) become weighted means. Masks are
    not fused. Calibrate detectors of different kinds first: raw scores are not comparable.

    Example: hilum ensemble a.csv b.csv --search catalog.parquet --search-split validation
    --out fused.csv
    """
    from hilum.core.errors import ConfigError
    from hilum.core.extras import require

    require("eval")
    from hilum.core.files import write_text
    from hilum.evaluate.prediction_files import read_predictions, write_predictions

    if len(files) < 2:
        raise ConfigError("an ensemble needs two prediction files or more")
    parts = [read_predictions(file) for file in files]
    options: dict[str, Any] = {"iou": iou, "skip": skip, "mode": mode.value}
    options |= {"confident": confident, "weights": _weights(weights, len(parts))}
    summary: dict[str, Any] = {}
    if search is not None:
        if weights:
            raise ConfigError("--search tries weights of its own; leave out --weights")

        def fuse_with(files: Sequence[PredictionFile], tried: Mapping[str, Any]) -> PredictionFile:
            return _fused(files, method, options | dict(tried))

        found, document = searched(
            parts,
            fuse_with,
            method.value,
            catalog=search,
            split=search_split,
            folds=folds,
            metric=metric,
            finding=finding,
        )
        options |= found.options
        summary = {k: document[k] for k in ("metric", "options", "score", "nested", "fold_scores")}
        write_text(out.with_suffix(".search.json"), json.dumps(document, indent=1) + "\n")
    fused = _fused(parts, method, options)
    write_predictions(out, fused)
    summary |= {
        "method": method.value,
        "files": len(parts),
        "images": len(fused.images),
        "boxes_in": sum(len(i.scores) for part in parts for i in part.images.values()),
        "boxes_out": sum(len(image.scores) for image in fused.images.values()),
        "out": str(out),
    }
    if as_json:
        common.print_json(summary)
    else:
        typer.echo(
            "{out}: {images} images, {boxes_in} boxes of {files} files -> {boxes_out}".format(
                **summary
            )
        )
        if search is not None:
            typer.echo(f"chosen: {summary['options']}")
            typer.echo(
                f"{metric.value}: mean of the folds {summary['score']:.3f} (optimistic: it was "
                f"chosen by it), {summary['nested']:.3f} when chosen on the other folds"
            )


def fuse_files(
    parts: Sequence[PredictionFile], fuse: Fuse, weights: Sequence[float]
) -> PredictionFile:
    """Fuse files of one form over the same images.

    Raises:
        ConfigError: files of different forms.
        DataError: different images.
    """
    from hilum.core.errors import ConfigError
    from hilum.evaluate.challenges.tables import same_ids
    from hilum.evaluate.prediction_files import PredictionFile

    first = parts[0]
    if len({part.form for part in parts}) > 1:
        raise ConfigError(f"files are {', '.join(p.form for p in parts)}; needed: one form")
    for part in parts[1:]:
        same_ids(first.images, part.images)
    images = {
        name: _fuse_image([part.images[name] for part in parts], fuse, weights)
        for name in first.images
    }
    return PredictionFile(first.form, images, _header(parts, weights))


def _fuse_image(
    said: list[ImagePredictions], fuse: Fuse, weights: Sequence[float]
) -> ImagePredictions:
    """One image; models that refused it or failed have no voice."""
    from hilum.evaluate.prediction_files import ImagePredictions

    heard = [
        (image, weight)
        for image, weight in zip(said, weights, strict=True)
        if image.entry.get("status", "analysed") == "analysed"
    ]
    share = [weight for _, weight in heard]
    if not sum(share) > 0:
        return said[0]
    boxes, scores, labels = fuse(
        [image.boxes for image, _ in heard],
        [image.scores for image, _ in heard],
        [list(image.labels) for image, _ in heard],
        share,
    )
    whole = _mean_scores([image.whole for image, _ in heard], share)
    return ImagePredictions(
        boxes, scores, tuple(str(label) for label in labels), whole, heard[0][0].entry
    )


def _mean_scores(said: Sequence[Mapping[str, float]], weights: Sequence[float]) -> dict[str, float]:
    """Weighted mean of each named score over those who give it."""
    means = {}
    for name in dict.fromkeys(name for scores in said for name in scores):
        known = [(s[name], w) for s, w in zip(said, weights, strict=True) if name in s]
        total = sum(w for _, w in known)
        means[name] = sum(score * w for score, w in known) / total if total else 0.0
    return means


def _header(parts: Sequence[PredictionFile], weights: Sequence[float]) -> dict[str, Any]:
    """The head of a fused findings.json: all bundles, and means of the studies' scores."""
    if parts[0].form != "findings":
        return {}
    heads = [part.header.get("pipeline") or {} for part in parts]
    bundles = {str(b): b for head in heads for b in head.get("bundles", [])}
    names = "+".join(str(head.get("name", "?")) for head in heads)
    return {
        "pipeline": {"name": f"ensemble {names}", "version": "1", "bundles": [*bundles.values()]},
        "studies": _studies([part.header.get("studies") or [] for part in parts], weights),
    }


def _studies(said: list[list[dict[str, Any]]], weights: Sequence[float]) -> list[dict[str, Any]]:
    """Mean scores of studies, if all files made the same studies of the same images."""
    if len({str([s["images"] for s in studies]) for studies in said}) > 1:
        return []
    return [
        {**same[0], "scores": _mean_scores([study["scores"] for study in same], weights)}
        for same in zip(*said, strict=True)
    ]


def _weights(text: str, files: int) -> list[float]:
    from hilum.core.errors import ConfigError

    if not text:
        return [1.0] * files
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        raise ConfigError(f"weights {text!r}: needed: numbers separated by commas") from None
    if len(values) != files or min(values) < 0 or not sum(values) > 0:
        raise ConfigError(f"weights {text!r}: needed: {files} numbers, not negative, not all 0")
    return values


def _fused(
    files: Sequence[PredictionFile], method: Method, options: Mapping[str, Any]
) -> PredictionFile:
    weights = list(options["weights"])
    return fuse_files(files, _fusion(method, len(set(weights)) > 1, options), weights)


def _fusion(method: Method, weighed: bool, options: Mapping[str, Any]) -> Fuse:
    """The fusion of lists per model with its options."""
    from hilum import fuse

    iou, skip, confident = options["iou"], options["skip"], options["confident"]

    def weighted(b: Lists, s: Lists, n: Lists, w: list[float]) -> Fused:
        return fuse.weighted_boxes(b, s, n, weights=w, iou=iou, skip=skip, mode=options["mode"])

    def vote(b: Lists, s: Lists, n: Lists, w: list[float]) -> Fused:
        boxes, scores, labels, votes = fuse.vote_average(b, s, n, weights=w, iou=iou)
        return boxes, scores * votes, labels

    # Suppression lowers scores by weight; without weights it leaves them alone.
    def own(w: list[float]) -> list[float] | None:
        return w if weighed else None

    ways: dict[Method, Fuse] = {
        Method.WEIGHTED: weighted,
        Method.NMS: lambda b, s, n, w: fuse.nms(b, s, n, weights=own(w), iou=iou),
        Method.SOFT_NMS: lambda b, s, n, w: fuse.soft_nms(b, s, n, weights=own(w), iou=iou),
        Method.NMW: lambda b, s, n, w: fuse.nmw(b, s, n, weights=w, iou=iou, skip=skip),
        Method.UNION: lambda b, s, n, _: fuse.union(b, s, n, thresholds=confident, iou=iou),
        Method.VOTE: vote,
    }
    return ways[method]
