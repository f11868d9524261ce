"""Validation predictions -> a bundle with operating points and maps: same weights, new manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hilum.core.bundle import Bundle, open_bundle, write_bundle
from hilum.core.errors import ConfigError
from hilum.core.manifest import BOX, Calibration, OperatingPoint
from hilum.data.catalog import Catalog
from hilum.evaluate.answers import Account, match_answers
from hilum.evaluate.asked import check_asked
from hilum.evaluate.cases import Cases, join
from hilum.evaluate.prediction_files import PredictionFile
from hilum.evaluate.studies import Combine, study_cases
from hilum.evaluate.thresholds import validation
from hilum.evaluate.thresholds.validation import TARGETS, parse_target

# Scores in findings.json are rounded to six digits: a threshold lies just below the score it
# was read from, or the case it was chosen for would be lost.
ROUNDING = 1e-5


USUAL = ("sensitivity=.95", "false-positives=.1", "best-f1", "best-f2", "best-mcc", "false-boxes=1")
USUAL_BOXES = "best-boxes-f1"


@dataclass(frozen=True, slots=True)
class Aims:
    """What is chosen on validation images."""

    finding: str
    choose: Sequence[str]  # aims of operating points; () = the usual ones that the bundle has
    default: str  # the aim of the boxes that are shown; "" = the usual one, of a bundle with boxes
    kind: str  # of calibration, "none" for none
    study: str  # how a study is combined of its images


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The new bundle and what was chosen."""

    bundle: Bundle
    points: dict[str, OperatingPoint]
    maps: Calibration
    images: int
    account: Account


def calibrate_bundle(
    old: Bundle,
    catalog: Catalog,
    predictions: PredictionFile,
    *,
    part: str,
    aims: Aims,
    combine: Combine,
    out: Path,
) -> Calibrated:
    """Choose operating points and maps on a part of a catalog and write a new bundle to `out`.

    Points of the old bundle that are not chosen anew are carried over to the calibrated scores.

    Raises:
        ConfigError: predictions of another bundle, or cut at a threshold; unknown aims.
        DataError: cases that lack what an aim needs.
    """
    _check_source(old, predictions)
    check_asked(catalog, predictions, aims.finding)
    kept = catalog.in_part(part)
    rows = catalog.where(kept)
    answers = match_answers(catalog, predictions).where(kept)
    cases = join(rows, predictions, aims.finding, answers=answers)
    cases = replace(cases, scored=aims.finding in old.manifest.image_scores)
    aims = _of_bundle(aims, old)
    where = f"{rows.name}, part {part or 'all'}, {len(cases)} images"
    maps = Calibration(fitted_on=where)
    if aims.kind != "none":
        studies = study_cases(rows, answers, predictions, finding=aims.finding, combine=combine)
        own = next((one for one in studies if one.name == aims.finding), None)
        pair = None if own is None else (own.label, own.score)
        maps = validation.calibrate(cases, aims.kind, where, pair)
    maps = maps.model_copy(update={"study_how": aims.study})
    points = _points(validation.calibrated(cases, maps), aims, where)
    return Calibrated(
        bundle=_written(old, points, maps, out),
        points=points,
        maps=maps,
        images=len(cases),
        account=answers.account,
    )


def _of_bundle(aims: Aims, bundle: Bundle) -> Aims:
    """The aims, the usual ones named.

    Raises:
        ConfigError: an aim of boxes or scores that the bundle does not give.
    """
    gives = {"boxes": bool(bundle.manifest.labels)}
    gives["image"] = aims.finding in bundle.manifest.image_scores
    for text in filter(None, (*aims.choose, aims.default)):
        level = TARGETS[parse_target(text)[0]].level
        if not gives[level]:
            what = {"boxes": "boxes", "image": f"score of {aims.finding} for an image"}[level]
            fit = [name for name, one in TARGETS.items() if gives[one.level]]
            raise ConfigError(
                f"{text}: bundle {bundle.name} gives no {what}; needed: an aim of what it gives: "
                f"{', '.join(fit) or 'none, it only draws masks (hilum pipeline tune)'}"
            )
    usual = [text for text in USUAL if gives[TARGETS[parse_target(text)[0]].level]]
    default = aims.default or (USUAL_BOXES if gives["boxes"] else "")
    if not usual and not default:
        raise ConfigError(
            f"bundle {bundle.name} gives neither boxes nor a score of {aims.finding}: nothing to "
            "calibrate; thresholds of masks: hilum pipeline tune"
        )
    return replace(aims, choose=aims.choose or usual, default=default)


def _written(
    old: Bundle, points: dict[str, OperatingPoint], maps: Calibration, out: Path
) -> Bundle:
    where = maps.fitted_on
    carried = {n: _carried(p, maps) for n, p in old.manifest.operating_points.items()}
    raw = old.manifest.to_json()
    raw["operating_points"] = {n: p.to_json() for n, p in (carried | points).items()}
    raw["calibration"] = _after(old.manifest.calibration, maps).model_dump(mode="json")
    raw["version"] = f"{raw['version'].split('+')[0]}+calibrated"
    raw["provenance"]["notes"] = f"{raw['provenance']['notes']} Calibrated on {where}.".strip()
    files = {name: old.read(name) for name in old.manifest.files}
    files["card.md"] += _section(points, where).encode()
    return write_bundle(out, raw, files)


def _check_source(bundle: Bundle, predictions: PredictionFile) -> None:
    """The predictions are of this bundle, and of all its boxes. A CSV does not say.

    The default pipeline's gate is named beside it, and scores no finding.
    """
    head = predictions.header.get("pipeline")
    if not head:
        return
    used = {one["sha256"] for one in head.get("bundles", [])}
    if used - {open_bundle("gate").sha256} != {bundle.sha256}:
        raise ConfigError(
            f"the predictions are not of bundle {bundle.name} {bundle.sha256[:12]} alone; predict "
            "again with a pipeline of this one bundle"
        )
    if predictions.floor > 0:
        raise ConfigError(
            f"the predictions hold boxes from {predictions.floor:g} on only; predict again with "
            "--threshold 0"
        )


def _points(cases: Cases, aims: Aims, where: str) -> dict[str, OperatingPoint]:
    points: dict[str, OperatingPoint] = {}
    if aims.default:
        points["default"] = validation.choose(aims.default, cases, where)
        if points["default"].score != BOX:
            raise ConfigError(
                f"--default {aims.default}: needed: an aim of boxes, such as best-boxes-f1"
            )
    for text in aims.choose:
        points[_slug(text)] = validation.choose(text, cases, where)
    return {
        name: p.model_copy(update={"threshold": max(0.0, p.threshold - ROUNDING)})
        for name, p in points.items()
    }


def _slug(text: str) -> str:
    """ "sensitivity=.95" -> "sensitivity-95"; a share becomes per cent, a number stays."""
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
