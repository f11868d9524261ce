"""`hilum evaluate calibrate`: validation predictions -> a bundle with operating points and maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common

if TYPE_CHECKING:
    from hilum.core.bundle import Bundle
    from hilum.core.manifest import Calibration, OperatingPoint
    from hilum.evaluate.cases import Cases
    from hilum.evaluate.prediction_files import PredictionFile

USUAL = ["sensitivity=.95", "false-positives=.1", "best-f1", "best-f2", "best-mcc", "false-boxes=1"]
# Scores in findings.json are rounded to six digits: a threshold lies just below the score it
# was read from, or the case it was chosen for would be lost.
ROUNDING = 1e-5


def calibrate(
    bundle: str = typer.Argument(..., help="A bundle (folder or .zip), or: default."),
    catalog: Path = typer.Argument(..., help="A catalog (Parquet)."),
    predictions: Path = typer.Argument(
        ..., help="What the bundle said: findings.json of `hilum predict --threshold 0`."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The new bundle: a new folder, or .zip."),
    split: str = typer.Option("validation", help="The split of the catalog to choose on."),
    kind: str = typer.Option("logistic", help="temperature, logistic, isotonic or none."),
    choose: list[str] = typer.Option(USUAL, help="Operating points by their aims; repeatable."),
    default: str = typer.Option("best-boxes-f1", help="Aim of the boxes that are shown."),
    finding: str = typer.Option("opacity", help="Which finding."),
    study: str = typer.Option("max", help="Study from images: max, mean or noisy-or."),
    as_json: bool = typer.Option(False, "--json", help="Print the points and maps as JSON."),
) -> None:
    """Choose operating points and calibrate scores on validation data; write a new bundle.

    The weights stay, the hashes change. Points of the old bundle that are not chosen anew are
    carried over to the calibrated scores.

    Example: hilum evaluate calibrate default hospital.parquet run/findings.json --out own.zip
    """
    from hilum.cli.evaluate import combine_by, part_of
    from hilum.core.bundle import default_bundle, load_bundle, write_bundle
    from hilum.core.extras import require
    from hilum.core.manifest import Calibration

    require("eval")
    from hilum.data.catalog import open_catalog
    from hilum.evaluate.cases import join
    from hilum.evaluate.prediction_files import read_predictions
    from hilum.evaluate.studies import study_cases
    from hilum.evaluate.thresholds import validation

    old = default_bundle() if bundle == "default" else load_bundle(bundle)
    said = read_predictions(predictions)
    _check_source(old, said)
    truth = part_of(open_catalog(catalog), split)
    cases = join(truth, said, finding)
    where = f"{truth.name}, split {split or 'all'}, {len(cases)} images"
    maps = Calibration(fitted_on=where)
    if kind != "none":
        studies = {s.name: s for s in study_cases(truth, said, finding, combine_by(study))}
        pair = (studies[finding].label, studies[finding].score) if finding in studies else None
        maps = validation.calibrate(cases, kind, where, pair)
    maps = maps.model_copy(update={"study_how": study})
    points = _points(validation.calibrated(cases, maps), choose, default, where)
    carried = {n: _carried(p, maps) for n, p in old.manifest.operating_points.items()}
    raw = old.manifest.to_json()
    raw["operating_points"] = {n: p.to_json() for n, p in (carried | points).items()}
    raw["calibration"] = _after(old.manifest.calibration, maps).model_dump(mode="json")
    raw["version"] = f"{raw['version'].split('+')[0]}+calibrated"
    raw["provenance"]["notes"] = f"{raw['provenance']['notes']} Calibrated on {where}.".strip()
    files = {name: old.read(name) for name in old.manifest.files}
    files["card.md"] += _section(points, where).encode()
    new = write_bundle(out, raw, files)
    summary: dict[str, Any] = {
        **{"bundle": str(out), "sha256": new.sha256, "images": len(cases)},
        "operating_points": {n: p.to_json() for n, p in points.items()},
        "calibration": maps.model_dump(mode="json"),
    }
    if as_json:
        common.print_json(summary)
        return
    for name, point in points.items():
        typer.echo(f"{name:24} {point.score:8} from {point.threshold:.4f}: {point.reason}")
    typer.echo(f"{out}  {new.name} {new.version}  sha256 {new.sha256[:16]}")


def _check_source(bundle: Bundle, said: PredictionFile) -> None:
    """The predictions are of this bundle, and of all its boxes.

    Raises:
        ConfigError: of another bundle, or cut at a threshold. A CSV does not say.
    """
    from hilum.core.errors import ConfigError
    from hilum.core.manifest import BOX

    head = said.header.get("pipeline")
    if not head:
        return
    if [one["sha256"] for one in head.get("bundles", [])] != [bundle.sha256]:
        raise ConfigError(
            f"the predictions are not of bundle {bundle.name} {bundle.sha256[:12]} alone; predict "
            "again with a pipeline of this one bundle"
        )
    shown = [p["threshold"] for p in head.get("operating_points", {}).values() if p["score"] == BOX]
    if shown and max(shown) > 0:
        raise ConfigError(
            f"the predictions hold boxes from {max(shown):g} on only; predict again with "
            "--threshold 0"
        )


def _points(cases: Cases, choose: list[str], default: str, where: str) -> dict[str, OperatingPoint]:
    from hilum.core.errors import ConfigError
    from hilum.core.manifest import BOX
    from hilum.evaluate.thresholds import validation

    points = {"default": validation.choose(default, cases, where)}
    if points["default"].score != BOX:
        raise ConfigError(f"--default {default}: needed: an aim of boxes, such as best-boxes-f1")
    for text in choose:
        points[_slug(text)] = validation.choose(text, cases, where)
    return {
        name: p.model_copy(update={"threshold": max(0.0, p.threshold - ROUNDING)})
        for name, p in points.items()
    }


def _slug(text: str) -> str:
    """ "sensitivity=.95" -> "sensitivity-95"; a share becomes per cent, a number stays."""
    from hilum.evaluate.thresholds.validation import TARGETS, parse_target

    name, value = parse_target(text)
    usual = TARGETS[name].value
    if usual is None:
        return name
    return f"{name}-{value * 100:g}" if usual < 1 else f"{name}-{value:g}"


def _carried(point: OperatingPoint, maps: Calibration) -> OperatingPoint:
    threshold = float(maps.apply(point.score, point.threshold))
    return point.model_copy(update={"threshold": threshold})


def _after(old: Calibration | None, maps: Calibration) -> Calibration:
    """The old maps, then the new ones."""
    from hilum.core.manifest import Calibration

    before = old or Calibration()
    names = dict.fromkeys([*before.scores, *maps.scores])
    chained = {n: before.scores.get(n, ()) + maps.scores.get(n, ()) for n in names}
    if before.study_how != maps.study_how:  # maps of another way of combining mean nothing
        chained |= {n: maps.scores.get(n, ()) for n in names if n.startswith("study:")}
    return before.model_copy(
        update={
            "scores": {n: chain for n, chain in chained.items() if chain},
            "study_how": maps.study_how,
            "fitted_on": maps.fitted_on if maps.scores else before.fitted_on,
        }
    )


def _section(points: dict[str, OperatingPoint], where: str) -> str:
    """What the card says of the new points."""
    rows = "".join(
        f"| {n} | {p.score} | {p.threshold:.4f} | {p.reason} |\n" for n, p in points.items()
    )
    assumed = "".join(f"\n{t}.\n" for t in dict.fromkeys(p.assumes for p in points.values()) if t)
    return (
        f"\n## Calibrated again\n\nOperating points and calibration were chosen on {where}; the "
        "thresholds above are older.\n\n| name | score | threshold | aim |\n|---|---|---|---|\n"
        f"{rows}{assumed}"
    )
