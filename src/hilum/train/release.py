"""A finished run -> a bundle that `hilum predict` runs, with its card.

What is judged here is the bundle itself: each graph in ONNX Runtime, decoded as `hilum predict`
decodes, on the run's validation images.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file

from hilum.core.anchors import AnchorGrid
from hilum.core.bundle import Bundle, load_bundle, write_bundle
from hilum.core.errors import ConfigError, DataError
from hilum.core.geometry import Letterbox
from hilum.core.manifest import (
    AnchorSpec,
    DataLicence,
    Figure,
    Manifest,
    MaskSpec,
    OperatingPoint,
    Outputs,
    PreprocessingSpec,
    ProposalSpec,
    Provenance,
)
from hilum.core.prepare import normalise
from hilum.evaluate import for_best, for_best_boxes, for_sensitivity
from hilum.inference.decode import Decoder
from hilum.inference.session import HEADS, Session
from hilum.models.model import Model, Prediction, Targets
from hilum.models.registry import build_model
from hilum.train.export import RawHeads, check_export, to_int8, to_onnx
from hilum.train.loop import spec_of, targets_of
from hilum.train.recipe import Recipe, parse
from hilum.train.run import catalog_rows, commit
from hilum.train.store import Item, prepare_items
from hilum.train.validate import measured

log = logging.getLogger("hilum.train")

CALIBRATION_IMAGES, CHECKED_IMAGES = 64, 8
LICENCE = """# Licence of this bundle

Research use only. Not a medical device.

These weights were learnt from the data named in card.md and manifest.json, whose licences may
forbid commercial use. Apache-2.0 covers hilum's code, not these weights.
"""


def export(run: Path, target: Path, data: Path | None = None, *, int8: bool = True) -> Bundle:
    """Write the bundle of a finished run: fp32 checked against PyTorch, int8 beside it.

    Args:
        data: where the run's data lies now; the folder it was trained from if None.

    Raises:
        ConfigError: no finished run, or one whose training makes its own bundle.
        DataError: the data is not there, or not what the run was trained on.
        ModelOutputError: the graph's numbers are not PyTorch's.
    """
    weights, told = run / "weights.safetensors", run / "recipe.yaml"
    if not told.is_file():
        raise ConfigError(f"{run} holds no run (no recipe.yaml); train it first")
    recipe = parse(yaml.safe_load(told.read_text()), str(told))
    if recipe.data is None:
        raise ConfigError(f"{run}: {recipe.name} mixes sets, and `hilum train` writes its bundle")
    if not weights.is_file():
        raise ConfigError(
            f"{run} is not finished (no weights.safetensors); the same `hilum train` goes on"
        )
    targets, size = targets_of(recipe), recipe.preprocessing.size
    bare = recipe.model.model_copy(update={"pretrained": False})
    net = build_model(bare, size, targets, recipe.seed)
    net.load_state_dict(load_file(weights))
    net.eval()
    items = _items(recipe, run, data, targets)
    names = RawHeads(net).names(torch.zeros(1, 1, size, size))
    images = _images(items["train"][:CALIBRATION_IMAGES], recipe)
    held = _images(items["validation"], recipe)
    graph = to_onnx(net, size)
    worst = check_export(net, graph, held[:CHECKED_IMAGES])
    log.info("ONNX against PyTorch on %d images: %.1e", len(held[:CHECKED_IMAGES]), worst)
    files = {"model.onnx": graph}
    if int8:
        files["model.int8.onnx"] = to_int8(graph, images)
    draft = _manifest(recipe, run, net, names, files)
    files |= {"card.md": b"draft", "LICENSE.md": LICENCE.encode()}
    scratch = run / "draft.zip"
    scratch.unlink(missing_ok=True)
    bundle = write_bundle(scratch, draft.to_json(), files)
    try:
        said = {
            str(name): bundle_predictions(bundle, name, held, targets) for name in draft.precisions
        }
    finally:
        scratch.unlink(missing_ok=True)
    numbers = {name: measured(items["validation"], found, targets) for name, found in said.items()}
    for name, values in numbers.items():
        log.info("%s: %s", name, ", ".join(f"{k} {v:.4f}" for k, v in values.items()))
    raw = draft.to_json() | {
        "operating_points": {
            name: point.to_json()
            for name, point in _points(items["validation"], said["fp32"], draft, targets).items()
        },
        "figures": {
            f"validation ({precision}): {name}": Figure(
                value=value, n=len(held), on="validation, optimistic"
            ).model_dump()
            for precision, values in numbers.items()
            for name, value in values.items()
        },
    }
    files["card.md"] = _card(recipe, run, numbers, worst).encode()
    write_bundle(target, raw, files)
    return load_bundle(target)


def _items(recipe: Recipe, run: Path, data: Path | None, targets: Targets) -> dict[str, list[Item]]:
    told = json.loads((run / "data.json").read_text())
    folder = data or Path(told["folder"])
    if not folder.is_dir():
        raise DataError(f"{folder} is not there; give the run's data with --data")
    catalog, rows = catalog_rows(recipe, folder, None, run)
    spec, out = spec_of(recipe), {}
    for part, most in (("train", CALIBRATION_IMAGES), ("validation", None)):
        keep = np.zeros(len(catalog), bool)
        keep[rows[part][:most]] = True
        out[part] = prepare_items(catalog.name, catalog.where(keep), spec, targets)
    return out


def _images(items: list[Item], recipe: Recipe) -> NDArray[np.float32]:
    stacked = np.stack([item.image.astype(np.float32) for item in items])
    return normalise(stacked, spec_of(recipe))[:, None]


def bundle_predictions(
    bundle: Bundle, precision: str, images: NDArray[np.float32], targets: Targets
) -> list[Prediction]:
    """What the bundle says of (n, 1, S, S) prepared images, in the square."""
    session, decoder = Session(bundle, precision), Decoder(bundle.manifest)
    size = images.shape[-1]
    box = Letterbox(size, size, size)
    out = []
    for image in images:
        raw = session.run(image)
        found = decoder(raw, box)
        said = Prediction()
        if found.boxes is not None:
            said.boxes = torch.from_numpy(found.boxes.boxes_px)
            said.scores = torch.from_numpy(found.boxes.scores)
        if raw.global_logits is not None:
            said.classes = torch.tensor([found.image_scores[name] for name in targets.classes])
        if raw.finding_logits is not None:
            said.findings = torch.tensor([found.image_scores[name] for name in targets.findings])
        if raw.mask_logits is not None:
            said.masks = torch.from_numpy(
                np.stack([found.maps[name].cut().astype(np.float32) for name in targets.masks])
            )
        out.append(said)
    return out


def _manifest(
    recipe: Recipe, run: Path, net: Model, names: list[str], files: dict[str, bytes]
) -> Manifest:
    targets, blank = targets_of(recipe), "0" * 64
    boxes, masks = "class_logits" in names, "mask_logits" in names
    classes, findings = "global_logits" in names, "finding_logits" in names
    grid = getattr(net, "grid", None) if "proposals" not in names and boxes else None
    scores = (targets.classes if classes else ()) + (targets.findings if findings else ())
    told = json.loads((run / "data.json").read_text())
    listed = (*files, "card.md", "LICENSE.md")
    precisions = {"fp32": "model.onnx"}
    if "model.int8.onnx" in files:
        precisions["int8"] = "model.int8.onnx"
    return Manifest.model_validate(
        {
            "name": recipe.name,
            "version": recipe.version,
            "task": "detection" if boxes else "segmentation" if masks else "classification",
            "labels": targets.labels if boxes else (),
            "preprocessing": PreprocessingSpec(**spec_of(recipe).to_json()),
            "outputs": Outputs.model_validate({n: n if n in names else None for n in HEADS}),
            "anchors": AnchorSpec(**grid.to_json()) if isinstance(grid, AnchorGrid) else None,
            "proposals": ProposalSpec() if "proposals" in names else None,
            "masks": {name: MaskSpec(channel=i) for i, name in enumerate(targets.masks)}
            if masks
            else {},
            "global_classes": targets.classes if classes else (),
            "findings": targets.findings if findings else (),
            "image_scores": {name: name for name in scores},
            "provenance": Provenance(
                recipe=recipe.name,
                seed=recipe.seed,
                commit=commit(),
                command=f"hilum train {recipe.name} --data $HILUM_DATA",
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                data={told["set"]: told["sha256"]},
                libraries={n: version(n) for n in ("torch", "torchvision", "timm", "onnxruntime")},
                notes=recipe.about,
            ),
            "data_licences": (
                DataLicence(name=told["set"], licence="see the set's own; research use assumed"),
            ),
            "precisions": precisions,
            "files": dict.fromkeys(listed, blank),
        }
    )


def _points(
    items: list[Item], said: list[Prediction], manifest: Manifest, targets: Targets
) -> dict[str, OperatingPoint]:
    """Thresholds from validation: best F1 of boxes, 95 % sensitivity of the positive class."""
    out: dict[str, OperatingPoint] = {}
    if manifest.labels:
        pairs = [
            (item.boxes, (one.boxes.numpy(), one.scores.numpy()))
            for item, one in zip(items, said, strict=True)
            if item.boxes is not None and one.boxes is not None and one.scores is not None
        ]
        truth, found = [t for t, _ in pairs], [f for _, f in pairs]
        if any(map(len, truth)) and any(len(scores) for _, scores in found):
            out["default"] = for_best_boxes(truth, found)
    if manifest.global_classes and said[0].classes is not None:
        columns = targets.positive_columns
        name = manifest.global_classes[columns[0]]
        labels = np.array([item.label[columns[0]] for item in items])
        scores = np.array(
            [float(one.classes[columns[0]]) for one in said if one.classes is not None]
        )
        known = ~np.isnan(labels)
        if 0 < labels[known].sum() < known.sum():
            point = for_sensitivity(labels[known], scores[known])
            out["sensitivity-95"] = point.model_copy(update={"score": name})
    if manifest.findings and said[0].findings is not None:
        for k, name in enumerate(manifest.findings):
            labels = np.array([item.findings[k] for item in items])
            scores = np.array([float(one.findings[k]) for one in said if one.findings is not None])
            known = ~np.isnan(labels)
            if 0 < labels[known].sum() < known.sum():
                point = for_best(labels[known], scores[known], "mcc")
                out[f"best-mcc-{name}".lower()] = point.model_copy(update={"score": name})
    return out


def _card(recipe: Recipe, run: Path, numbers: Mapping[str, dict[str, float]], worst: float) -> str:
    told = json.loads((run / "data.json").read_text())
    results = json.loads((run / "results.json").read_text())
    rows = []
    for name in numbers["fp32"]:
        cells = [f"{numbers[p][name]:.3f}" for p in numbers]
        test = results.get("test", {}).get(name)
        rows.append(f"| {name} | {' | '.join(cells)} | {'–' if test is None else f'{test:.3f}'} |")
    heads = " | ".join(f"validation, {p}" for p in numbers)
    notes = "\n".join(f"- {note}" for note in told["notes"])
    return f"""# Model card: {recipe.name} {recipe.version}

**Research use only. Not a medical device: a qualified reader decides.**

{recipe.about}

- Network: {recipe.model.kind} around {recipe.model.encoder}, {recipe.preprocessing.size} px
- Data: {told["set"]}, {", ".join(f"{part} {n}" for part, n in told["images"].items())} images,
  patients apart; fingerprint {told["sha256"][:16]}
- Seed {recipe.seed}; commit in manifest.json; ONNX against PyTorch on real images: {worst:.1e}
{notes}

| number | {heads} | test, PyTorch |
|---|{"---|" * (len(numbers) + 1)}
{chr(10).join(rows)}

Validation chose the epoch and the operating points, so its numbers are optimistic. All are taken
in the {recipe.preprocessing.size} px square, without intervals; `hilum evaluate report` gives them
on images, with intervals.
"""
