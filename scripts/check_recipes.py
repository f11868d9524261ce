"""Every small twin trains two epochs on real data, lowers its validation loss, and its bundle runs;
every kind of network knows eight real images by heart.

    python scripts/check_recipes.py --data $HILUM_DATA --out runs/check [--only NAME ...]

Twins that differ in name alone are trained once. Goes on where it was; the tables are written to
OUT/recipes.md and OUT/by_heart.md after every row.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch

from hilum.core.errors import HilumError
from hilum.core.files import write_text
from hilum.data.phantom.phantom import phantom, write_png
from hilum.dicom.read import read
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.models.model import Model
from hilum.models.options import ClassifierOptions, SegmenterOptions
from hilum.models.registry import build_model
from hilum.train.evaluation import HeldOut, hold, numbers, predictions
from hilum.train.export.bundle import export
from hilum.train.loader import plain
from hilum.train.recipe import Recipe, load_recipe, recipe_names
from hilum.train.run import run
from hilum.train.samples import prepare_rows
from hilum.train.sources import Source, open_sources

Row: TypeAlias = dict[str, Any]
Table: TypeAlias = Callable[[list[Row]], str]

SEGMENTER = "siim-acr-fpn-irv2-small"
# Network -> a recipe with its data, and what is changed in it.
LEARNERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "RetinaNet": ("rsna-retinanet-seresnext101-small", ("model.dropout=0",)),
    "Mask R-CNN": ("rsna-maskrcnn-r50-small", ()),
    "Faster R-CNN": ("siim-covid-fasterrcnn-small", ()),
    "YOLO": ("rsna-yolo-small", ()),
    "RT-DETR": ("rsna-yolo-small", ("model={kind: rt-detr, channels: 64}",)),
    "classifier": ("rsna-classifier-r50-small", ()),
    "multi-label classifier": ("nih-resnext101-small", ()),
    "study head": ("siim-covid-study-small", ("model.dropout=0",)),
    "gate": ("siim-acr-classifier-xception-small", ()),
    "FPN": (SEGMENTER, ()),
    **{
        name: (SEGMENTER, (f"model.architecture={name.lower()}",))
        for name in ("Unet", "Unet++", "DeepLabV3+")
    },
    # Its map is an eighth of the image: on rims of air it ended at .891 (256 px, 790 steps).
    "PSPNet": (
        SEGMENTER,
        (
            "model.architecture=pspnet",
            "data={set: jsrt_128, known: [mask_lungs]}",
            "targets.masks=[lungs]",
        ),
    ),
}
RATES = {"RT-DETR": 3e-4}
PATIENCE_S = 300  # CPU seconds a network

METRICS = ("ap50", "auc", "class_accuracy", "mcc", "dice_pneumothorax")


def distinct() -> dict[str, list[str]]:
    """One name of each group of twins with equal settings -> all names of the group."""
    groups: dict[str, list[str]] = {}
    for name in recipe_names():
        if name.endswith("-small"):
            settings = load_recipe(name).model_dump(mode="json", exclude={"name", "about"})
            groups.setdefault(json.dumps(settings, sort_keys=True), []).append(name)
    return {names[0]: names for names in groups.values()}


def check(name: str, data: Path, out: Path, threads: int) -> Row:
    """One row of the table."""
    stages = len(load_recipe(name).stages)
    cap = 2 if stages == 1 else 1  # two epochs altogether
    recipe = load_recipe(name, (f"train.epochs={cap}", f"train.threads={threads}"))
    run(recipe, data, out)
    costs = [json.loads(file.read_text())["cpu_minutes"] for file in out.glob("*/cost.json")]
    rows = pd.read_parquet(out / "metrics.parquet")
    results = json.loads((out / "results.json").read_text())
    row: Row = {
        "recipe": name,
        "minutes": sum(costs),
        "untrained": results["untrained"]["val_loss"],
        "trained": float(rows["val_loss"].iloc[-1]),
        **{m: results["validation"].get(m) for m in METRICS},
        "bundle": "",
    }
    bundle = out / "bundle.zip"
    if not bundle.is_file():
        export(out, bundle, data)
    image = out / "phantom.png"
    write_png(phantom(1, 512, 512), image)
    images = LoadedPipeline(Pipeline.load().with_bundle(bundle))(read(image))
    row["bundle"] = f"{len(images.boxes_px)} boxes, {len(images.image_scores)} scores, " + (
        f"{len(images.masks)} masks"
    )
    return row


def table(rows: list[Row], groups: dict[str, list[str]]) -> str:
    """Markdown."""
    heads = (
        "recipe",
        "CPU minutes",
        "untrained",
        "trained",
        "lower",
        *METRICS,
        "bundle on a phantom",
    )
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        same = len(groups[str(row["recipe"])]) - 1
        name = f"`{row['recipe']}`" + (f" and {same} of equal settings" if same else "")
        if "problem" in row:
            lines.append(f"| {name} | failed: {row['problem']} |")
            continue
        cells = [name, f"{row['minutes']:.1f}", f"{row['untrained']:.3f}", f"{row['trained']:.3f}"]
        cells.append("yes" if row["trained"] < row["untrained"] else "**no**")
        cells += ["" if row[m] is None else f"{row[m]:.3f}" for m in METRICS]
        lines.append("| " + " | ".join([*cells, str(row["bundle"])]) + " |")
    return "\n".join(lines) + "\n"


def by_heart(name: str, data: Path, threads: int) -> Row:
    """Train one network on eight images of its recipe, unaugmented, until it knows them."""
    base, changes = LEARNERS[name]
    recipe = load_recipe(base, changes)
    (source,) = open_sources(recipe, data)
    held_out = hold(
        [source], {source.name: prepare_rows(source, eight(source, recipe), recipe.spec)}
    )
    (batch,) = plain(held_out.images, recipe.spec, recipe.names, len(held_out))
    torch.set_num_threads(threads)
    net = build_model(recipe.model, recipe.preprocessing.size, recipe.names, recipe.seed)
    optim = torch.optim.AdamW(net.parameters(), lr=RATES.get(name, 1e-3), weight_decay=0)
    goal = 1.0 if recipe.model.kind == "classifier" else 0.9
    reached, steps, started = 0.0, 0, time.process_time()
    while reached < goal and time.process_time() - started < PATIENCE_S:
        net.train()
        for _ in range(10):
            optim.zero_grad()
            torch.stack(list(net.loss(batch).values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optim.step()
        steps += 10
        reached = known(net, held_out, recipe)
    return {
        "network": name,
        "recipe": " ".join((base, *changes)),
        "steps": steps,
        "cpu_s": round(time.process_time() - started),
        "reached": reached,
        "goal": goal,
    }


def eight(source: Source, recipe: Recipe) -> list[int]:
    """Rows of eight images with what is to be learnt; a classifier's are of all classes in turn."""
    names, table = recipe.targets, source.catalog.table
    if isinstance(recipe.model, ClassifierOptions):
        columns = [f"label_{name}" for name in getattr(names, recipe.model.target)]
        if len(columns) == 1:  # there or not
            kinds = [np.flatnonzero(table[columns[0]] == value) for value in (1, 0)]
        else:
            kinds = [np.flatnonzero(table[column] == 1) for column in columns]
        mixed = [int(kind[i]) for i in range(8) for kind in kinds if i < len(kind)]
        return list(dict.fromkeys(mixed))[:8]
    segmenter = isinstance(recipe.model, SegmenterOptions)
    marks = table[f"mask_{names.masks[0]}" if segmenter else "boxes"]
    return np.flatnonzero(marks.map(lambda one: one is not None and len(one) > 0))[:8].tolist()


def known(net: Model, held_out: HeldOut, recipe: Recipe) -> float:
    """AP@.5, the share of right labels, or the mean Dice."""
    findings = predictions(net, held_out.images, recipe, recipe.spec)
    if getattr(recipe.model, "target", "") == "findings":
        names = recipe.names.findings
        values = np.array([[one.image_scores[name] for name in names] for one in findings])
        truth = np.stack([one.findings for one in held_out.images])
        return float(((values >= 0.5) == (truth == 1)).mean())
    values = numbers(held_out, findings, recipe)
    masks = (f"dice_{name}" for name in recipe.names.masks)
    return next(values[name] for name in ("ap50", "class_accuracy", *masks) if name in values)


def heart_table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| network | recipe | steps | CPU s | reached | goal |", "|---|---|---|---|---|---|"]
    for row in rows:
        if "problem" in row:
            lines.append(f"| {row['network']} | failed: {row['problem']} |")
            continue
        mark = "" if row["reached"] >= row["goal"] else " **missed**"
        lines.append(
            f"| {row['network']} | `{row['recipe']}` | {row['steps']} | {row['cpu_s']} | "
            f"{row['reached']:.3f}{mark} | {row['goal']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of either table")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    groups = distinct()

    def rows(
        names: Iterable[str], work: Callable[[str, Path], Row], file: Path, write: Table
    ) -> None:
        result: list[Row] = []
        for name in names:
            if options.only is not None and name not in options.only:
                continue
            folder = options.out / name
            kept = folder / "row.json"
            if not kept.is_file():
                try:
                    row = work(name, folder)
                except HilumError as error:
                    result.append({"network": name, "recipe": name, "problem": str(error)})
                    continue
                write_text(kept, json.dumps(row))
            result.append(json.loads(kept.read_text()))
            write_text(file, write(result))
        print(write(result))

    rows(
        LEARNERS,
        lambda name, folder: by_heart(name, options.data, options.threads),
        options.out / "by_heart.md",
        heart_table,
    )
    rows(
        groups,
        lambda name, folder: check(name, options.data, folder, options.threads),
        options.out / "recipes.md",
        lambda own: table(own, groups),
    )


if __name__ == "__main__":
    main()
