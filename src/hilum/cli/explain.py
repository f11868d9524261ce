"""`hilum explain`: what a score rests on, drawn; and how often the hottest point is right."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.cli.explainers import Explainer
    from hilum.cli.inputs import Annotated
    from hilum.core.findings import Findings
    from hilum.core.radiograph import Radiograph
    from hilum.dicom.stored import StoredImage
    from hilum.explain.heat import Heat
    from hilum.report.explanation import Annotations

WRITTEN = ("explain.json", "[0-9][0-9][0-9][0-9]-*.png")
GAME, DRAWN = 100, 12  # images of the pointing game, and pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One image, explained."""

    stored: StoredImage
    radiograph: Radiograph
    findings: Findings
    heat: Heat
    readers: Annotations | None
    note: str  # why the annotations of a catalog are not drawn


def explain(
    paths: list[Path] = typer.Argument(
        ..., help="Radiographs, folders, or catalogs (.parquet), whose annotations are drawn, too."
    ),
    out: Path = options.output("Folder of the pictures."),
    pipeline: str = typer.Option("", help=options.PIPELINE.help),
    bundle: list[str] = options.BUNDLES,
    change: list[str] = options.CHANGES,
    run: Path | None = typer.Option(
        None, help="A run of `hilum train`, whose score is explained by gradients."
    ),
    method: str = typer.Option("", help="occlusion (any bundle), grad-cam, hirescam (--run)."),
    score: str | None = typer.Option(
        None, help="An image score, or box; MODEL or MODEL.SCORE; else the positive one."
    ),
    game: bool = typer.Option(False, help="Pointing game on a catalog's boxes, beside chance."),
    sample: int = typer.Option(
        0,
        min=0,
        help="At most so many images, first those on which readers drew something; 0: all, of the "
        "game 100.",
    ),
    sanity: bool = typer.Option(
        False, help="Also randomise the run's weights: the map must change (gradient methods)."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Draw what a score rests on, beside what was found. Research use only: a map shows what moves
    the score, not where a disease is.

    Explained is a score of the pipeline, or with --run that of a network; found is what the
    pipeline finds, or with --run and no pipeline that network.

    Example: hilum explain study.dcm --out maps

    Example: hilum explain test.parquet --run runs/a --pipeline default --out maps
    """
    from hilum.cli.explainers import explainer
    from hilum.cli.inputs import annotated
    from hilum.core.errors import ConfigError
    from hilum.core.files import write_text
    from hilum.core.folders import claimed
    from hilum.inference.pipeline import Pipeline

    how = method or ("hirescam" if run is not None else "occlusion")
    if sanity and (game or run is None or how == "occlusion"):
        raise ConfigError("--sanity randomises a run's weights: needs --run, and no --game")
    if how != "occlusion" and run is None:
        raise ConfigError(f"method {how!r} needs the network in PyTorch: give --run")
    if how == "occlusion" and run is not None:
        raise ConfigError("occlusion asks a bundle: hilum export the run, then give --bundle")
    beside = pipeline or bundle or change or run is None
    described = Pipeline.load(pipeline or None, change).with_named(bundle) if beside else None
    asked = explainer(described, run, score, how)
    images = _chosen(annotated(paths), sample, game=game)
    with claimed(out, "explain", names=WRITTEN), common.progress("explaining", len(images)):
        content = _game(images, asked, out, how) if game else _pictures(images, asked, out, sanity)
        write_text(out / "explain.json", json.dumps(content, indent=1))
    if as_json:
        common.print_json(content)
    else:
        for line in _lines(content):
            typer.echo(line)
    raise typer.Exit(common.SOME_REFUSED if _refused(content) else common.DONE)


def _chosen(found: Iterable[Annotated], sample: int, *, game: bool) -> list[Annotated]:
    """The first images, annotated ones before others; of the game those with boxes."""
    if game:
        return list(islice((one for one in found if one.boxed), sample or GAME))
    images = list(found)
    return sorted(images, key=lambda one: not one.marked)[:sample] if sample else images


def _refused(content: dict[str, Any]) -> bool:
    """Whether an image was refused, or left out of the game."""
    return bool(content.get("left_out")) or any("refused" in e for e in content.get("images", ()))


def _answer(image: Annotated, asked: Explainer) -> Answer:
    """
    Raises:
        InputRefused: it cannot be read, or a gate refuses it.
    """
    stored = image.item.open()
    radiograph, findings = asked.find(stored)
    readers, note = _readers(image, radiograph)
    return Answer(
        stored=stored,
        radiograph=radiograph,
        findings=findings,
        heat=asked.heat(stored),
        readers=readers,
        note=note,
    )


def _readers(image: Annotated, radiograph: Radiograph) -> tuple[Annotations | None, str]:
    """What readers drew, or why it cannot be drawn."""
    from hilum.core.errors import DataError

    if image.readers is None:
        return None, ""
    try:
        return image.readers(radiograph.width, radiograph.height), ""
    except DataError as error:
        return None, str(error)


def _draw(one: Answer, asked: Explainer, file: Path) -> None:
    from hilum.core.files import write_bytes
    from hilum.explain.picture import picture

    drawn = picture(
        one.heat,
        one.radiograph,
        one.findings,
        of=asked.of,
        found_by=asked.found_by,
        readers=one.readers,
    )
    write_bytes(file, drawn)


def _pictures(
    images: Sequence[Annotated], asked: Explainer, out: Path, sanity: bool
) -> dict[str, Any]:
    from hilum.core.errors import InputRefused
    from hilum.core.progress import counted

    entries: list[dict[str, Any]] = []
    for number, image in enumerate(counted(images, "explaining", len(images))):
        entry: dict[str, Any] = {"image": image.item.name}
        entries.append(entry)
        try:
            one = _answer(image, asked)
        except InputRefused as error:
            entry["refused"] = str(error)
            continue
        file = f"{number:04d}-{Path(image.item.name).stem[:60]}.png"
        _draw(one, asked, out / file)
        heat = one.heat
        entry |= {"picture": file, "score": heat.score_name, "value": round(heat.score, 4)}
        entry |= {"flat": heat.flat, "hottest_px": [round(v, 1) for v in heat.hottest()]}
        entry |= {"found_by": asked.found_by, "found": list(one.findings.marked)}
        if one.note:
            entry["annotations_not_drawn"] = one.note
        if sanity and asked.spread is not None:
            entry["rank_correlation"] = asked.spread(one.stored)
    return {"images": entries}


def _game(images: Sequence[Annotated], asked: Explainer, out: Path, how: str) -> dict[str, Any]:
    """The pointing game; the first pictures are drawn, too."""
    from hilum.core.errors import DataError, InputRefused
    from hilum.core.extras import require

    require("eval")
    from hilum.core.progress import counted
    from hilum.evaluate import bootstrap, mean_of
    from hilum.explain.pointing import Pointed, pointed, rates

    points: list[Pointed] = []
    patients: list[str] = []
    left_out: dict[str, str] = {}
    for image in counted(images, "explaining", len(images)):
        name = image.item.name
        try:
            one = _answer(image, asked)
        except InputRefused as error:
            left_out[name] = str(error)
            continue
        if one.readers is None:
            left_out[name] = one.note
            continue
        size = one.radiograph.width, one.radiograph.height
        points.append(pointed(one.heat.hottest(), one.readers.boxes_px, *size))
        patients.append(image.patient)
        if len(points) <= DRAWN:
            _draw(one, asked, out / f"{len(points):04d}-{Path(name).stem[:60]}.png")
    if not points:
        why = f": {next(iter(left_out.values()))}" if left_out else "; they have no true box"
        raise DataError(f"no image of these inputs can be pointed at{why}")
    numbers = {}
    for name, values in rates(points).items():
        interval = bootstrap(mean_of(values), patients)
        numbers[name] = [round(v, 4) for v in (interval.value, interval.low, interval.high)]
    return {"method": how, "images": len(points), "left_out": left_out, "rates": numbers}


def _lines(content: dict[str, Any]) -> list[str]:
    if "rates" in content:
        head = [f"{content['images']} images with boxes, {content['method']}"]
        head += [f"left out: {name}: {why}" for name, why in content["left_out"].items()]
        rates = content["rates"].items()
        return head + [f"{name}: {v:.3f} ({a:.3f} to {b:.3f})" for name, (v, a, b) in rates]
    out = []
    for one in content["images"]:
        if "refused" in one:
            out.append(f"{one['image']}: refused: {one['refused']}")
            continue
        note = " (nothing speaks for it)" if one["flat"] else ""
        out.append(f"{one['image']}: {one['score']} {one['value']:.2f}{note} -> {one['picture']}")
        if why := one.get("annotations_not_drawn"):
            out.append(f"  annotations are not drawn: {why}")
        spread = one.get("rank_correlation", {})
        out += [f"  {name}: rank correlation {value:.2f}" for name, value in spread.items()]
    return out
