"""Judge the default model and its baselines on what they never saw; the report of docs/worked.md.

    python scripts/worked_report.py --run runs/default --data $HILUM_DATA --out worked

`--run` is the folder of `hilum train default`. Its base weights answer the RSNA validation and
test images, its fold weights the COVID-opacity images that their fold left out. Catalogs and
predictions are written to `--out`, then `hilum evaluate report` judges them; numbers and plots for
the documents go to docs/images/worked. No radiograph leaves the data folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typer.testing import CliRunner

from hilum.cli.main import app
from hilum.core.bundle import default_bundle
from hilum.core.manifest import Calibration
from hilum.data.catalog import Catalog
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile, write_predictions
from hilum.train.judge import Answer, Case, baseline_answers, decoded, open_cases, raw_outputs
from hilum.train.measure import load_net
from hilum.train.recipe import Recipe, load_recipe
from hilum.train.store import load_catalogs

PLOTS = Path(__file__).parents[1] / "docs" / "images" / "worked"
OURS = "default"
CHOSEN = ["--choose", "best-mcc", "--choose", "best-boxes-f1", "--calibrate", "logistic"]
KEPT = {
    "rsna": ("froc", "roc", "reliability-before-calibration", "reliability-after-calibration"),
    "covid": ("score-threshold-iou-of-default",),
    "covid-all": ("froc",),
}
VALIDATION_FOLDS = 2  # of the COVID folds, the first two are for choosing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of hilum train default")
    parser.add_argument("--arm", action="append", default=[], help="NAME=FOLDER kept elsewhere")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True, help="catalogs, predictions, reports")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    recipe = load_recipe(OURS)
    elsewhere = dict(text.split("=", 1) for text in options.arm)
    arms = {name: options.run / r.name for name, r in _recipes(recipe).items()}
    arms |= {name: Path(folder) for name, folder in elsewhere.items()}
    split = json.loads((options.run / "split.json").read_text())
    catalogs = load_catalogs(options.data)
    folds = [split[f"fold{k}/covid_opacity_512"] for k in range(recipe.split.covid_folds)]
    rsna = {"validation": split["validation/rsna"], "test": split["test/rsna"]}
    covid = {
        "validation": [*chain(*folds[:VALIDATION_FOLDS])],
        "test": [*chain(*folds[VALIDATION_FOLDS:])],
    }
    _part(catalogs["rsna"], rsna, options.out / "catalog-rsna.parquet")
    _part(catalogs["covid_opacity_512"], covid, options.out / "catalog-covid.parquet")
    _answer_all(options.out, recipe, arms, catalogs, rsna, folds)
    for report, more in {
        "rsna": ["--split", "test", "--validation-split", "validation", *CHOSEN],
        "covid": ["--split", "test", "--validation-split", "validation", *CHOSEN[2:4]],
        "covid-all": [],
    }.items():
        _report(options.out, report, list(arms), more)


def _answer_all(
    out: Path,
    recipe: Recipe,
    arms: dict[str, Path],
    catalogs: dict[str, Catalog],
    rsna: dict[str, list[str]],
    folds: list[list[str]],
) -> None:
    """Prediction files of all arms; those that are there are kept."""
    spec = default_bundle().manifest.preprocessing.value()
    images = held = None
    for name, folder in arms.items():
        one = _recipes(recipe)[name]
        if not (out / name / "rsna.json").is_file():
            images = images or open_cases(catalogs["rsna"], [*chain(*rsna.values())], spec)
            _write(out, name, "rsna", images, _answers(one, folder / "base", images))
        if not (out / name / "covid.json").is_file():
            held = held or [open_cases(catalogs["covid_opacity_512"], ids, spec) for ids in folds]
            said = [_answers(one, folder / f"fold{k}", f) for k, f in enumerate(held)]
            _write(out, name, "covid", [*chain(*held)], [*chain(*said)])


def _recipes(recipe: Recipe) -> dict[str, Recipe]:
    return {OURS: recipe, **{name: recipe.baseline(name) for name in recipe.baselines}}


def _part(catalog: Catalog, parts: dict[str, list[str]], path: Path) -> None:
    """The images of the parts, as a catalog with their split."""
    of = {image: name for name, images in parts.items() for image in images}
    chosen = catalog.where(catalog.table["image_id"].isin(list(of)))
    table = chosen.table.assign(split=chosen.table["image_id"].map(of))
    Catalog(catalog.name, table, catalog.root, catalog.notes).save(path)


def _answers(recipe: Recipe, weights: Path, images: Sequence[Case]) -> list[Answer]:
    """As measured for the card: ours through the bundle's decoding, baselines through theirs."""
    net = load_net(recipe, weights)
    if recipe.name != OURS:
        return baseline_answers(net, images)
    plain = default_bundle().manifest.model_copy(update={"calibration": Calibration()})
    return decoded(raw_outputs(net, images), images, plain, masks=False)


def _write(out: Path, name: str, kind: str, images: list[Case], said: list[Answer]) -> None:
    images = {
        image.image_id: ImagePredictions(
            answer.boxes.astype(np.float64),
            answer.scores.astype(np.float64),
            ("opacity",) * len(answer.scores),
            {"opacity": answer.opacity},
            {"path": image.image_id, "status": "analysed"},
        )
        for image, answer in zip(images, said, strict=True)
    }
    (out / name).mkdir(exist_ok=True)
    write_predictions(out / name / f"{kind}.json", PredictionFile("findings", images))


def _report(out: Path, report: str, names: list[str], more: list[str]) -> None:
    """`hilum evaluate report`, and its plots as PNG."""
    kind = report.split("-")[0]
    files = [out / name / f"{kind}.json" for name in names]
    words = ["evaluate", "report", str(out / f"catalog-{kind}.parquet"), *map(str, files)]
    words += [*more, "--out", str(out / f"{report}.html"), "--plots", str(out / report)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    if result.exit_code:
        raise SystemExit(result.output)
    print(result.output)
    print(_table(json.loads((out / f"{report}.json").read_text())))
    for plot in KEPT.get(report, ()):
        PLOTS.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(out / report / f"{plot}.png", PLOTS / f"{report}-{plot}.png")


def _table(report: dict[str, Any]) -> str:
    """The numbers with their intervals, for the documents; then what comparisons showed."""
    models = report["models"]
    rows = ["| number | " + " | ".join(m["name"] for m in models) + " |"]
    rows.append("|---|" + "---|" * len(models))
    for level in ("boxes", "image"):
        for name in models[0][level]:
            cells = (_cell(m[level][name]) for m in models)
            rows.append(f"| {name} | " + " | ".join(cells) + " |")
    rows.append("| ECE before | " + " | ".join(str(m["ece_before_calibration"]) for m in models))
    for pair in report["comparisons"]:
        rows.append(
            f"{pair['metric']}: {pair['first']} - {pair['second']} {pair['difference']:+.3f} "
            f"({pair['low']:+.3f} to {pair['high']:+.3f}), p Holm {pair['p_holm']:.3f}: "
            f"{pair['verdict']}"
        )
    return "\n".join(rows)


def _cell(value: dict[str, float | None]) -> str:
    if value["value"] is None or value["low"] is None or value["high"] is None:
        return "–"
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


if __name__ == "__main__":
    main()
