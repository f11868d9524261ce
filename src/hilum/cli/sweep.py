"""`hilum sweep`: one recipe, a few things changed, several seeds or folds."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from hilum.cli import common, options


def sweep(
    grid: Path = typer.Argument(help="YAML: recipe, and grid, variants or search; seeds, metric."),
    data: Path = options.DATA,
    out: Path = options.output("Folder of the runs; rerun to go on."),
    split: Path | None = typer.Option(None, help="One split for every run."),
    change: list[str] = typer.Option(
        [],
        "--set",
        help="Change the sweep: seeds=[1], common.train.epochs=1, variants.NAME=null (repeatable).",
    ),
    as_json: bool = options.JSON,
) -> None:
    """Train every variant with every seed; one table with intervals, one page with all curves.

    Example: hilum sweep recipes/sweeps/rsna-ablation.yaml --data $HILUM_DATA --out runs/ablation

    Example: hilum sweep recipes/sweeps/rsna-ablation.yaml --set seeds=[1] --out runs/quick
    """
    from hilum.core.extras import require

    require("train")
    from hilum.train.sweep import load_grid
    from hilum.train.sweep import sweep as run_all

    common.log()
    table = run_all(load_grid(grid, tuple(change)), data, out, split=split)
    if as_json:
        rows = json.loads(table.to_json(orient="records"))  # what is no number is null
        common.print_json({"table": rows, "page": f"{out}/index.html"})
        return
    typer.echo(table.to_string(index=False, float_format="%.3f", na_rep="–"))
    typer.echo(f"{out}/index.html shows the curves")
