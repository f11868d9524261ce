"""A finished run -> its bundle: graphs, settings, numbers, card. What is evaluated here is the
graph that ships, in ONNX Runtime, decoded as `hilum predict` decodes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.torch import load_file

from hilum.core.bundle import Bundle, load_bundle, write_bundle
from hilum.core.errors import ConfigError, DataError
from hilum.core.manifest import Decoding, Figure, Manifest
from hilum.core.options import checked
from hilum.core.prepare import Preprocessing
from hilum.evaluate import bootstrap, dice, mean_of
from hilum.evaluate.measures import Thresholds, measures
from hilum.inference.decode import Decoder
from hilum.inference.session import RawOutputs
from hilum.models.model import Model
from hilum.models.registry import bare_model
from hilum.train.evaluation import Held, cases_of_held, decoded, numbers, tensor
from hilum.train.export.card import Evidence, card, licence_text
from hilum.train.export.int8 import to_int8
from hilum.train.export.licences import licences_of
from hilum.train.export.manifest import draft, manifest_of
from hilum.train.export.onnx import answers, check_export, to_onnx
from hilum.train.export.settings import Settings, settle
from hilum.train.folder import RunFolder, commit
from hilum.train.heads import heads_of
from hilum.train.options import PreprocessingOptions
from hilum.train.progress import doing, say, spoken
from hilum.train.recipe import Recipe
from hilum.train.run import Images, prepare
from hilum.train.samples import PreparedImage
from hilum.train.sources import open_sources
from hilum.train.splits import split_sources

CALIBRATION_IMAGES, CHECKED_IMAGES = 64, 8
WITH_INTERVALS = ("ap50", "rsna_score", "auc", "average_precision", "any_box_auc")


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a run is exported, and how it decodes; None: as the run has it."""

    epoch: int | None = None  # instead of the weights that the run chose
    size: int | None = None  # px, of the square the bundle sees
    nms_iou: float | None = None
    score_floor: float | None = None
    int8: bool = True
    sweep: Path | None = None  # its variants go on the card

    def recipe(self, recipe: Recipe) -> Recipe:
        """The run's recipe with these changes."""
        given = {"nms_iou": self.nms_iou, "score_floor": self.score_floor}
        changes = {name: value for name, value in given.items() if value is not None}
        decoding = checked(
            Decoding, recipe.decoding.model_dump() | changes, "the bundle's decoding"
        )
        size = {"size": self.size} if self.size is not None else {}
        preprocessing = checked(
            PreprocessingOptions, recipe.preprocessing.model_dump() | size, "the bundle's square"
        )
        return recipe.model_copy(update={"decoding": decoding, "preprocessing": preprocessing})


def export(
    run: Path, target: Path, data: Path | None = None, choice: Choice | None = None
) -> Bundle:
    """Write the bundle of a finished run.

    Args:
        data: where the run's data lies now; the folder it was trained from if None.

    Raises:
        ConfigError: no finished run, an epoch it has not kept, settings that cannot be.
        DataError: the data is not there, or not what the run was trained on.
        ModelOutputError: the graph's numbers are not PyTorch's.
    """
    choice = choice or Choice()
    folder = RunFolder.of(run)
    recipe = choice.recipe(folder.recipe)
    with spoken():
        net = _network(recipe, run, choice.epoch)
        images = _images(folder, recipe, data)
        return _write(recipe, folder, net, images, target, choice)


def _network(recipe: Recipe, run: Path, epoch: int | None) -> Model:
    weights, size = load_file(_weights(run, epoch)), recipe.preprocessing.size
    return bare_model(recipe.model, size, recipe.names, recipe.seed, weights).eval()


def _weights(run: Path, epoch: int | None) -> Path:
    if epoch is None:
        file = run / "weights.safetensors"
        if not file.is_file():
            raise ConfigError(
                f"{run} is not finished (no weights.safetensors); the same `hilum train` goes on"
            )
        return file
    kept = {
        int(file.stem.removeprefix("epoch-")): file for file in run.glob("*/epoch-*.safetensors")
    }
    if epoch not in kept:
        known = ", ".join(map(str, sorted(kept))) or "none"
        raise ConfigError(
            f"{run} has not kept epoch {epoch}; it has {known}. "
            "train.keep_best and train.average.epochs decide which are kept."
        )
    return kept[epoch]


def _images(folder: RunFolder, recipe: Recipe, data: Path | None) -> Images:
    place = data or Path(folder.data["folder"])
    if not place.exists():
        raise DataError(f"{place} is not there; give the run's data with --data")
    doing(f"{recipe.name}: reading catalogs")
    sources = open_sources(recipe, place)
    parts = split_sources(recipe, sources, folder.split)
    rows = parts.rows(sources, recipe.fold)
    rng = np.random.default_rng(recipe.seed)
    each = max(1, CALIBRATION_IMAGES // len(sources))
    for name, own in rows["train"].items():  # a few of every source
        few = rng.permutation(len(own))[:each]
        rows["train"][name] = sorted(own[i] for i in few)
    return prepare(recipe, sources, rows, recipe.preprocessing.size, folder.path.parent / "cache")


def _write(
    recipe: Recipe, folder: RunFolder, net: Model, images: Images, target: Path, choice: Choice
) -> Bundle:
    spec = recipe.spec
    training = _tensors(images.train, spec)
    held = images.held["validation"]
    graph = to_onnx(net, spec.size)
    checked = _tensors(held.images[:CHECKED_IMAGES] or images.train[:CHECKED_IMAGES], spec)
    difference = check_export(net, graph, checked)
    say("ONNX against PyTorch on %d images: %.1e", len(checked), difference)
    files = {"model.onnx": graph}
    if choice.int8:
        doing(f"{recipe.name}: calibrating int8")
        files["model.int8.onnx"] = to_int8(graph, training)
    doing(f"{recipe.name}: evaluating what ships")
    raw_of = {
        name: {
            part: answers(files[name], _tensors(one.images, spec))
            for part, one in images.held.items()
        }
        for name in files
    }
    heads = heads_of(answers(graph, training[:1])[0])
    plain = draft(recipe, net, heads, spec)
    settings = settle(held, raw_of["model.onnx"]["validation"], plain)
    final = plain.model_copy(update=settings.fields())
    figures = _figures(final, images.held, raw_of, recipe, settings)
    evidence = Evidence(
        figures=figures,
        data=folder.data,
        cpu_minutes=_cpu_minutes(folder.path),
        difference=difference,
        sweep=_sweep(choice.sweep),
        watched=_watched(choice.sweep),
    )
    flat = {
        f"{part}: {name}": figure for part, own in figures.items() for name, figure in own.items()
    }
    sets = [one["set"] for one in folder.data["sources"].values()]
    manifest = manifest_of(
        recipe,
        net,
        heads,
        spec,
        files=list(files),
        fingerprints={", ".join(folder.data["sources"]): folder.data["sha256"]},
        licences=licences_of(sets, recipe.model.pretrained),
        commit=commit(),
        settings={**settings.fields(), "figures": flat},
    )
    files["card.md"] = card(recipe, manifest, evidence).encode()
    files["LICENSE.md"] = licence_text(manifest.data_licences).encode()
    say("writing %s", target)
    write_bundle(target, manifest.to_json(), files)
    return load_bundle(target)


def _tensors(images: Sequence[PreparedImage], spec: Preprocessing) -> NDArray[np.float32]:
    """(n, 1, S, S)."""
    blank = np.zeros((0, 1, spec.size, spec.size), np.float32)
    return np.stack([tensor(one, spec) for one in images]) if images else blank


def _figures(
    manifest: Manifest,
    held: Mapping[str, Held],
    raw_of: Mapping[str, Mapping[str, Sequence[RawOutputs]]],
    recipe: Recipe,
    settings: Settings,
) -> dict[str, dict[str, Figure]]:
    """Of each part, source and precision; test parts with intervals."""
    out: dict[str, dict[str, Figure]] = {}
    decoder = Decoder(manifest)
    points = settings.operating_points
    boxes = points["default"].threshold if "default" in points else 0.5
    image = next((p.threshold for p in points.values() if p.score == manifest.positive), 0.5)
    for file, parts in raw_of.items():
        precision = "int8" if "int8" in file else "fp32"
        for part, raw in parts.items():
            for source in dict.fromkeys(one.source for one in held[part].images):
                places = [i for i, one in enumerate(held[part].images) if one.source == source]
                own = held[part].of(source)
                findings = decoded(decoder, [raw[i] for i in places], own.images)
                at = Thresholds(boxes=boxes, image=image)
                values = numbers(own, findings, recipe, at)
                key = f"{part}, {source} ({precision})"
                out[key] = {
                    name: Figure(value=value, n=len(own), on=f"{part}, {source}")
                    for name, value in values.items()
                }
                if part == "test":
                    out[key] |= _intervals(own, findings, manifest, at, out[key])
    return out


def _intervals(
    held: Held,
    findings: Sequence[object],
    manifest: Manifest,
    at: Thresholds,
    figures: Mapping[str, Figure],
) -> dict[str, Figure]:
    """The same numbers with 95 % intervals over patients, where one label or mask is meant."""
    out: dict[str, Figure] = {}
    finding = manifest.positive or (manifest.labels[0] if len(manifest.labels) == 1 else None)
    if finding is not None:
        cases = cases_of_held(held, findings, finding)  # type: ignore[arg-type]
        patients = cases.rows["patient"].to_numpy()
        for name, one in measures(cases, at).items():
            if name in WITH_INTERVALS and name in figures:
                interval = bootstrap(one.metric, patients[one.rows])
                out[name] = _with(figures[name], interval.value, interval.low, interval.high)
    for name in manifest.masks:
        key = f"dice_{name}"
        rows = [i for i, truth in enumerate(held.truths) if name in truth.masks]
        if key not in figures or not rows:
            continue
        values = []
        for i in rows:
            mask = findings[i].masks[name]  # type: ignore[attr-defined]
            values.append(dice(held.truths[i].masks[name](*mask.shape), mask))
        interval = bootstrap(mean_of(values), [held.truths[i].patient for i in rows])
        out[key] = _with(figures[key], interval.value, interval.low, interval.high)
    return out


def _with(figure: Figure, value: float, low: float, high: float) -> Figure:
    known = all(v == v for v in (value, low, high))
    return figure.model_copy(update={"value": value, "low": low, "high": high}) if known else figure


def _cpu_minutes(run: Path) -> float:
    files = sorted(run.glob("*/cost.json"))
    return float(sum(json.loads(file.read_text())["cpu_minutes"] for file in files))


def _sweep(folder: Path | None) -> pd.DataFrame | None:
    if folder is None:
        return None
    file = folder / "sweep.csv"
    if not file.is_file():
        raise ConfigError(f"{folder} holds no sweep (no sweep.csv)")
    return pd.read_csv(file)


def _watched(folder: Path | None) -> str:
    if folder is None:
        return ""
    return str(json.loads((folder / "sweep.json").read_text())["metric"])
