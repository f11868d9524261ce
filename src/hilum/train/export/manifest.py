"""What a bundle says about itself, from the recipe and the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from hilum.core.anchors import AnchorGrid
from hilum.core.labels import AUXILIARY
from hilum.core.manifest import (
    AnchorSpec,
    DataLicence,
    Manifest,
    MaskSpec,
    Outputs,
    PreprocessingSpec,
    ProposalSpec,
    Provenance,
)
from hilum.core.prepare import Preprocessing
from hilum.inference.session import HEADS
from hilum.models.model import Model
from hilum.train.recipe import Recipe
from hilum.train.samples import LUNGS

FILES = ("card.md", "LICENSE.md")
LEAST_LUNG = 0.15  # of the larger lung; smaller parts are specks
SUM = "positive"  # the image score of several positive classes together


def fields(recipe: Recipe, net: Model, heads: Sequence[str], spec: Preprocessing) -> dict[str, Any]:
    """The manifest's fields that decide how raw heads are decoded."""
    targets = recipe.names
    boxes, proposals = "class_logits" in heads, "proposals" in heads
    classes = targets.classes if "global_logits" in heads else ()
    findings = targets.findings if "finding_logits" in heads else ()
    grid = getattr(net, "grid", None)
    anchors = AnchorSpec(**grid.to_json()) if isinstance(grid, AnchorGrid) else None
    scores: dict[str, str | tuple[str, ...]] = {name: name for name in (*classes, *findings)}
    positive = targets.positive if classes else findings
    if classes and len(positive) > 1:
        scores[SUM], positive = positive, (SUM,)
    masks = getattr(net, "mask_names", targets.masks) if "mask_logits" in heads else ()
    return {
        "task": "detection" if boxes else "segmentation" if masks else "classification",
        "labels": targets.labels if boxes else (),
        "preprocessing": PreprocessingSpec(**spec.to_json()),
        "outputs": Outputs.model_validate({n: n if n in heads else None for n in HEADS}),
        "anchors": None if proposals or not boxes else anchors,
        "proposals": ProposalSpec() if proposals else None,
        "decoding": recipe.decoding,
        "masks": {
            name: MaskSpec(channel=i, least_part=LEAST_LUNG if name in LUNGS else 0.0)
            for i, name in enumerate(masks)
        },
        "global_classes": classes,
        "findings": findings,
        "image_scores": scores,
        "positive": positive[0] if len(positive) == 1 else None,
    }


def draft(recipe: Recipe, net: Model, heads: Sequence[str], spec: Preprocessing) -> Manifest:
    """For decoding alone: not checked, so that training may use names that no bundle has."""
    return Manifest.model_construct(**fields(recipe, net, heads, spec), calibration=None)


def _place(data: Mapping[str, Any]) -> str:
    """What it learnt from, as whoever repeats it gives it: without the path on this machine."""
    return "CATALOG.parquet" if str(data["folder"]).endswith(".parquet") else "$HILUM_DATA"


def manifest_of(
    recipe: Recipe,
    net: Model,
    heads: Sequence[str],
    *,
    files: Sequence[str],
    data: Mapping[str, Any],
    licences: Sequence[DataLicence],
    commit: str,
    settings: Mapping[str, Any],
) -> Manifest:
    """The whole of it but for the hashes.

    Args:
        files: names of the graphs.
        data: the run's data.json: sources, where they lay, SHA-256 of what was learnt from.
        settings: further fields: operating points, calibration, figures.

    Raises:
        ValidationError: a box label or a mask that has no name.
    """
    own = fields(recipe, net, heads, recipe.spec)
    own["masks"] = {name: spec for name, spec in own["masks"].items() if name not in AUXILIARY}
    graphs = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
    precisions = {name: file for name, file in graphs.items() if file in files}
    libraries = ("torch", "torchvision", "timm", "onnxruntime")
    return Manifest.model_validate(
        {
            **own,
            "name": recipe.name,
            "version": recipe.version,
            "provenance": Provenance(
                recipe=recipe.name,
                seed=recipe.seed,
                commit=commit,
                command=f"hilum train {recipe.name} --data {_place(data)}",
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                data={", ".join(data["sources"]): data["sha256"]},
                libraries={name: version(name) for name in libraries},
                notes=recipe.about,
            ),
            "data_licences": tuple(licences),
            "precisions": precisions,
            "files": dict.fromkeys((*files, *FILES), "0" * 64),
            **settings,
        }
    )
