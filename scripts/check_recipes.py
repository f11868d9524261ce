"""Every small twin trains two epochs on real data, lowers its validation loss, and its bundle runs.

    python scripts/check_recipes.py --data $HILUM_DATA --out runs/check [--only NAME ...]

Twins that differ in name alone are trained once. Goes on where it was; the table is written to
OUT/recipes.md after every recipe.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import pandas as pd

from hilum.core.errors import HilumError
from hilum.data.phantom import phantom, write_png
from hilum.dicom.read import read
from hilum.predict.pipeline import Analyser, Pipeline
from hilum.train.recipe import load_recipe, recipe_names
from hilum.train.release import export
from hilum.train.run import run

METRICS = ("ap50", "auc", "accuracy", "mcc", "dice_pneumothorax")


def distinct() -> dict[str, list[str]]:
    """One name of each group of twins with equal settings -> all names of the group."""
    groups: dict[str, list[str]] = {}
    for name in recipe_names():
        if name.endswith("-small"):
            told = load_recipe(name).model_dump(mode="json", exclude={"name", "about"})
            groups.setdefault(json.dumps(told, sort_keys=True), []).append(name)
    return {names[0]: names for names in groups.values()}


def check(name: str, data: Path, out: Path, threads: int) -> dict[str, object]:
    """One row of the table."""
    stages = len(load_recipe(name).stages)
    cap = 2 if stages == 1 else 1  # two epochs altogether
    recipe = load_recipe(name, (f"train.epochs={cap}", f"train.threads={threads}"))
    started = time.monotonic()
    run(recipe, data, out)
    minutes = (time.monotonic() - started) / 60
    rows = pd.read_parquet(out / "metrics.parquet")
    results = json.loads((out / "results.json").read_text())
    row: dict[str, object] = {
        "recipe": name,
        "minutes": minutes,
        "untrained": results["untrained"]["val_loss"],
        "trained": float(rows["val_loss"].iloc[-1]),
        **{m: results["validation"].get(m) for m in METRICS},
        "bundle": "",
    }
    bundle = out / "bundle.zip"
    if not bundle.is_file():
        export(out, bundle, data)
    film = out / "phantom.png"
    write_png(phantom(1, 512, 512), film)
    found = Analyser(Pipeline.load().with_bundle(bundle))(read(film))
    row["bundle"] = f"{len(found.boxes_px)} boxes, {len(found.image_scores)} scores, " + (
        f"{len(found.masks)} masks"
    )
    return row


def table(rows: list[dict[str, object]], groups: dict[str, list[str]]) -> str:
    """Markdown."""
    heads = ("recipe", "minutes", "untrained", "trained", "lower", *METRICS, "bundle on a phantom")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        same = len(groups[str(row["recipe"])]) - 1
        name = f"`{row['recipe']}`" + (f" and {same} of equal settings" if same else "")
        if "problem" in row:
            lines.append(f"| {name} | failed: {row['problem']} |")
            continue
        cells = [name, f"{row['minutes']:.1f}", f"{row['untrained']:.3f}", f"{row['trained']:.3f}"]
        cells.append(
            "yes" if float(str(row["trained"])) < float(str(row["untrained"])) else "**no**"
        )
        cells += ["" if row[m] is None else f"{row[m]:.3f}" for m in METRICS]
        lines.append("| " + " | ".join([*cells, str(row["bundle"])]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--threads", type=int, default=2)
    told = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    groups = distinct()
    rows: list[dict[str, object]] = []
    for name in told.only or groups:
        folder = told.out / name
        kept = folder / "row.json"
        if kept.is_file():
            rows.append(json.loads(kept.read_text()))
        else:
            try:
                rows.append(check(name, told.data, folder, told.threads))
                kept.write_text(json.dumps(rows[-1]))
            except HilumError as error:
                rows.append({"recipe": name, "problem": str(error)})
        (told.out / "recipes.md").write_text(table(rows, groups))
    print((told.out / "recipes.md").read_text())


if __name__ == "__main__":
    main()
