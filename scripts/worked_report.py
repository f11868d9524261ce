"""Evaluate finished runs on the images that they held out; the report of docs/worked.md.

    python scripts/worked_report.py --run default=runs/default --run lite0=runs/lite0 \\
        --source rsna_128 --source covid_opacity_512 --data $HILUM_DATA --out worked \\
        --plots docs/images/worked

The runs share one split. For each source its held-out images become a catalog, every run answers
them as its bundle would, and `hilum evaluate report` compares. No radiograph leaves the data
folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from hilum.cli.main import app
from hilum.core.files import write_text
from hilum.core.results import ImageResult, PipelineInfo, RunResult
from hilum.data.catalog import Catalog
from hilum.models.registry import bare_model
from hilum.train.evaluation import predictions
from hilum.train.folder import RunFolder
from hilum.train.recipe import Recipe
from hilum.train.samples import Prepared, prepare_rows
from hilum.train.sources import Source, open_sources
from hilum.train.splits import split_sources

CHOSEN = ("--choose", "best-mcc", "--choose", "best-boxes-f1", "--calibrate", "logistic")
HELD = ("validation", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", action="append", required=True, help="NAME=FOLDER, the first ours")
    parser.add_argument("--source", action="append", required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True, help="catalogs, predictions, reports")
    parser.add_argument("--plots", type=Path, help="folder that the plots are copied to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    runs = {name: RunFolder.of(Path(f)) for name, f in (t.split("=", 1) for t in options.run)}
    first = next(iter(runs.values()))
    sources = open_sources(first.recipe, options.data)
    rows = split_sources(first.recipe, sources, first.split).rows(sources, first.recipe.fold)
    for source in sources:
        if source.name in options.source:
            parts = {part: rows[part][source.name] for part in HELD}
            _one(source, parts, runs, options.out)
            if options.plots is not None:
                copied(options.out / source.name, options.plots)


def _one(
    source: Source, parts: dict[str, list[int]], runs: dict[str, RunFolder], out: Path
) -> None:
    """Catalog, predictions and report of one source."""
    part_of = {row: part for part, own in parts.items() for row in own}
    keep = [row in part_of for row in range(len(source.catalog))]
    table = source.catalog.table[keep].assign(split=[part_of[r] for r in sorted(part_of)])
    file = out / f"{source.name}-catalog.parquet"
    Catalog(source.catalog.name, table, source.catalog.root).save(file)
    files = []
    for name, folder in runs.items():
        target = out / name / f"{source.name}.json"
        if not target.is_file():
            images = prepare_rows(source, sorted(part_of), folder.recipe.spec)
            _answer(folder.recipe, folder.path, images, target)
        files.append(target)
    chosen = ["--split", "test", "--validation-split", "validation", *CHOSEN]
    words = ["evaluate", "report", str(file), *map(str, files)]
    words += chosen if parts["validation"] and parts["test"] else []
    words += ["--out", str(out / f"{source.name}.html"), "--plots", str(out / source.name)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    if result.exit_code:
        raise SystemExit(result.output)
    print(result.output)


def copied(plots: Path, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for plot in plots.glob("*.png"):
        shutil.copyfile(plot, to / f"{plots.name}-{plot.name}")


def _answer(recipe: Recipe, run: Path, images: Prepared, target: Path) -> None:
    """The run's predictions, as its bundle would give them."""
    weights, size = load_file(run / "weights.safetensors"), recipe.preprocessing.size
    net = bare_model(recipe.model, size, recipe.names, recipe.seed, weights)
    pairs = zip(images.images, predictions(net, images.images, recipe, recipe.spec), strict=True)
    results = tuple(
        ImageResult(
            name=image.image_id,
            status="analysed",
            findings=findings,
            width=findings.width,
            height=findings.height,
        )
        for image, findings in pairs
    )
    info = PipelineInfo(name=recipe.name, version=recipe.version, bundles=())
    write_text(target, json.dumps(RunResult(info, results, ()).to_json()))


if __name__ == "__main__":
    main()
