"""Small sets of phantoms and recipes that learn from them in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.data.catalog import Catalog, build
from hilum.data.phantom.phantom import phantom, write_mask, write_png
from hilum.train.recipe import Recipe, load_recipe

SIDE = 96


def yolo_set(folder: Path, count: int = 20) -> Path:
    """So many phantoms of SIDE px, every third without an opacity."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    (folder / "data.yaml").write_text("names: [opacity]\n")
    for seed in range(count):
        image = phantom(seed, SIDE, SIDE, opacities=0 if seed % 3 == 0 else 1)
        write_png(image, folder / "images" / f"{seed:02d}.png", bits=8)
        rows = [
            f"0 {(x1 + x2) / 2 / SIDE} {(y1 + y2) / 2 / SIDE} {(x2 - x1) / SIDE} {(y2 - y1) / SIDE}"
            for x1, y1, x2, y2 in image.boxes_px
        ]
        (folder / "labels" / f"{seed:02d}.txt").write_text("\n".join(rows))
    return folder


# What makes rsna-retinanet-seresnext101-small learn from it, tiny and quickly.
CHANGES = (
    *(
        "data.set=yolo",
        "data.known=[]",
        "data.adults=false",
        "data.hold_out={validation: .2, test: .2}",
    ),
    *("model.encoder=test_efficientnet", "model.pretrained=false", "model.channels=16"),
    *("model.tower=1", "model.anchors.levels=[2,3,4,5]", "preprocessing.size=64"),
    *("train.batch=6", "train.threads=1", "train.precision=fp32", "train.epochs=2"),
)


def small(*changes: str) -> Recipe:
    """A RetinaNet that learns from `yolo_set`."""
    return load_recipe("rsna-retinanet-seresnext101-small", (*CHANGES, *changes))


def in_stages(recipe: Recipe, stages: dict[str, dict[str, Any]]) -> Recipe:
    """The same recipe with other stages, uncapped."""
    raw = recipe.model_dump(mode="json")
    raw["train"]["epochs"] = None
    return Recipe.model_validate(raw | {"stages": stages})


def catalog(
    folder: Path,
    name: str,
    count: int = 8,
    *,
    seed: int = 0,
    masks: Mapping[str, str] | None = None,
    boxes: bool = True,
    side: int = SIDE,
    **columns: Any,
) -> Catalog:
    """Phantoms with boxes, classes and masks as a catalog, saved as `folder/NAME.parquet`.

    Every third has no opacity and is normal. Each is a patient of its own.

    Args:
        masks: column of the catalog -> mask of the phantom; None: opacity and lungs.
        columns: further columns or other values, lists of `count`.
    """
    masks = {"opacity": "opacity", "lungs": "lungs"} if masks is None else masks
    pictures = folder / name
    pictures.mkdir(parents=True)
    rows = []
    for i in range(count):
        image = phantom(seed + i, side, side, opacities=0 if i % 3 == 0 else 1)
        write_png(image, pictures / f"{i:02d}.png", bits=8)
        row: dict[str, Any] = {
            "image_id": f"{name}-{i:02d}",
            "path": f"{name}/{i:02d}.png",
            "patient": f"{name}-p{i:02d}",
            "width": side,
            "height": side,
            "age": 40,
            "source": name,
        }
        for column, mask in masks.items():
            write_mask(image.masks[mask], pictures / f"{i:02d}-{column}.png")
            row[f"mask_{column}"] = f"{name}/{i:02d}-{column}.png"
        ill = len(image.boxes_px) > 0
        if boxes:
            row |= {"boxes": image.boxes_px.ravel().tolist()}
            row |= {"box_labels": ["opacity"] * len(image.boxes_px)}
            row |= {"label_normal": float(not ill), "label_not-normal": 0.0}
            row |= {"label_opacity": float(ill)}
        rows.append(row)
    table = pd.DataFrame(rows)
    for column, values in columns.items():
        table[column.replace("__", "-")] = pd.Series(list(values), dtype=object)
    images = build(name, table, folder)
    images.save(folder / f"{name}.parquet")
    return images


def default_sets(folder: Path) -> Path:
    """A catalog of phantoms for every source of the default recipe, under the set's name."""
    from hilum.data.sets import NIH_FINDINGS

    rng = np.random.default_rng(0)
    seeds = iter(range(0, 10_000, 100))
    for name in ("siim_covid_256", "rsna_128", "rsna_256"):
        catalog(folder, name, 12, seed=next(seeds), masks={})
    for name in ("nih_128", "nih_512"):
        known = rng.permutation([1, 1, 1, 0, 0, 0] * 2).astype(bool)
        images = catalog(folder, name, 12, seed=next(seeds), masks={})
        table = images.table.copy()
        for column in ("boxes", "box_labels"):
            table[column] = table[column].where(known, None)
        for finding in NIH_FINDINGS:
            table[f"label_nih_{finding}"] = rng.integers(0, 2, 12).astype("float32")
        Catalog(name, table, folder).save(folder / f"{name}.parquet")
    infection = {"infection": "opacity", "lungs": "lungs"}
    catalog(folder, "covid_qu_256", 6, seed=next(seeds), masks=infection, boxes=False)
    for name in ("covid_adult_512", "kermany_lungs_320", "jsrt_128", "shenzhen_512"):
        catalog(folder, name, 8, seed=next(seeds), masks={"lungs": "lungs"}, boxes=False)
    parts = {"ggo": "opacity", "consolidation": "opacity", "lung_l": "lungs", "lung_r": "lungs"}
    catalog(folder, "covid_opacity_512", 6, seed=next(seeds), masks=parts)
    return folder
