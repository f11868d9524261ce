"""`hilum evaluate calibrate`: validation predictions -> a bundle with operating points and maps."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import common, options


def calibrate(
    bundle: str = typer.Argument(..., help="A bundle (folder or .zip), or: default."),
    catalog: Path = options.CATALOG,
    predictions: Path = typer.Argument(
        ..., help="What the bundle predicted: findings.json of `hilum predict --threshold 0`."
    ),
    out: Path = options.output("The new bundle: a new folder, or .zip."),
    part: str = typer.Option("validation", help=options.PART_HELP),
    how: str = typer.Option(
        "logistic", "--calibrate", help="temperature, logistic, isotonic or none."
    ),
    choose: list[str] = typer.Option(
        [], help="Operating points by their aims; repeatable. Else the usual ones."
    ),
    default: str = typer.Option(
        "", help="Aim of the boxes that are shown; best-boxes-f1, where there are boxes."
    ),
    finding: str = options.FINDING,
    study: str = options.STUDY,
    as_json: bool = options.JSON,
) -> None:
    """Choose operating points and calibrate scores on validation data; write a new bundle.

    The weights stay, the hashes change. Operating points of the old bundle that are not chosen anew
    are carried over to the calibrated scores.

    Example: hilum evaluate calibrate default hospital.parquet run/findings.json --out own.zip
    """
    from hilum.core.bundle import open_bundle
    from hilum.core.extras import require

    require("eval")
    from hilum.data.catalog import open_catalog
    from hilum.evaluate.prediction_files import read_predictions
    from hilum.evaluate.thresholds.bundle import Aims, calibrate_bundle
    from hilum.fuse import combine_by

    with common.progress("choosing and calibrating"):
        result = calibrate_bundle(
            open_bundle(bundle),
            open_catalog(catalog),
            read_predictions(predictions),
            part=part,
            aims=Aims(finding=finding, choose=choose, default=default, kind=how, study=study),
            combine=combine_by(study),
            out=out,
        )
    new = result.bundle
    if as_json:
        common.print_json(
            {
                **{"bundle": str(out), "sha256": new.sha256, "images": result.images},
                "operating_points": {n: p.to_json() for n, p in result.points.items()},
                "calibration": result.maps.model_dump(mode="json"),
                "account": result.account.to_json(),
            }
        )
        return
    for line in result.account.lines():
        typer.echo(line)
    for name, point in result.points.items():
        typer.echo(f"{name:24} {point.score:8} from {point.threshold:.4f}: {point.reason}")
    typer.echo(f"{out}  {new.name} {new.version}  sha256 {new.sha256[:16]}")
