"""`hilum evaluate epochs`: thresholds of score and suppression over the epochs of a run."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import common, options


def epochs(
    run: Path = typer.Argument(..., help="A run with train.keep_predictions."),
    out: Path = options.output("Folder of the PNG files and epochs.json."),
    metric: str = typer.Option(
        "rsna_score", help="rsna_score, ap50, box_precision, box_recall, box_f1."
    ),
    label: str = typer.Option("", help="Which boxes, where there are several labels."),
    nms: float = typer.Option(0.5, min=0, max=1, help="Suppression of the score map."),
    score: float = typer.Option(0.1, min=0, max=1, help="Least score of the NMS map's boxes."),
    as_json: bool = options.JSON,
) -> None:
    """Draw score threshold x epoch and NMS threshold x epoch, to 1, from a run's own predictions.

    Shown, not chosen: the best tile on the images that chose it is optimistic.

    Example: hilum evaluate epochs runs/a --out runs/a/epochs
    """
    import json

    from hilum.core.extras import require

    require("eval")
    from hilum.core.files import write_text
    from hilum.core.folders import claimed
    from hilum.evaluate.epochs import best_of, read_epochs, run_grids
    from hilum.fuse import keep_best
    from hilum.report.curves import epoch_figures

    with claimed(out, "epochs", names=("*.png", "epochs.json")), common.progress("evaluating"):
        kept = read_epochs(run, label)
        grids = run_grids(
            kept, lambda b, s, iou: keep_best(b, s, iou=iou), metric=metric, nms=nms, score=score
        )
        drawn = [figure.save(out) for figure in epoch_figures(grids, nms=nms, score=score)]
        document = {"run": run.name, "images": len(kept.truth), "nms": nms, "score": score} | {
            f"{grid.rows[0]}_by_epoch": grid.to_json() | {"best": best_of(grid)} for grid in grids
        }
        write_text(out / "epochs.json", json.dumps(document, indent=1))
    if as_json:
        common.print_json(document)
        return
    for grid, file in zip(grids, drawn, strict=True):
        best = ", ".join(f"{name} {value:.4g}" for name, value in best_of(grid).items())
        typer.echo(f"{file}: {best or 'no tile is better than the others'}")
    typer.echo(f"{len(kept.truth)} validation images, {len(kept.predictions)} epochs")
