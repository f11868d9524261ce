"""`hilum explain`: what a score rests on, drawn; and how often the hottest point is right."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.explain.explainer import Explainer
    from hilum.explain.folder import Case

WRITTEN = ("explain.json", "[0-9][0-9][0-9][0-9]-*.png")
GAME = 100  # images of the pointing game


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
    method: str = typer.Option(
        "",
        help="occlusion, class-activation (bundles), grad-cam, hirescam (--run).",
    ),
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

    The findings are those of --pipeline, and the score is one of its models'; left out, default's.
    With --run alone both are of that network.

    Example: hilum explain study.dcm --out maps

    Example: hilum explain test.parquet --run runs/a --pipeline default --out maps
    """
    from hilum.cli.explainers import explainer
    from hilum.cli.inputs import annotated
    from hilum.core.errors import ConfigError
    from hilum.core.files import write_text
    from hilum.core.folders import claimed
    from hilum.explain.asked import OF_BUNDLES
    from hilum.explain.folder import draw_all
    from hilum.inference.pipeline import Pipeline

    how = method or ("hirescam" if run is not None else "occlusion")
    if sanity and (game or run is None or how in OF_BUNDLES):
        raise ConfigError("--sanity randomises a run's weights: needs --run, and no --game")
    if how not in OF_BUNDLES and run is None:
        raise ConfigError(
            f"method {how!r} needs the network in PyTorch: give --run; of bundles: "
            f"{', '.join(OF_BUNDLES)}"
        )
    if how in OF_BUNDLES and run is not None:
        raise ConfigError(f"{how} asks a bundle: hilum export the run, then give --bundle")
    beside = pipeline or bundle or change or run is None
    described = Pipeline.load(pipeline or None, change).with_named(bundle) if beside else None
    by = explainer(described, run, score, how)
    passed: Counter[str] = Counter()
    cases = _chosen(annotated(paths, passed), sample, game=game)
    common.tell_passed(passed)
    with claimed(out, "explain", names=WRITTEN), common.progress("explaining", len(cases)):
        content = (
            _game(cases, by, out, how)
            if game
            else {"images": draw_all(cases, by, out, spread=sanity)}
        )
        write_text(out / "explain.json", json.dumps(content, indent=1))
    if as_json:
        common.print_json(content)
    else:
        for line in _lines(content):
            typer.echo(line)
    raise typer.Exit(common.SOME_REFUSED if _refused(content) else common.DONE)


def _chosen(every: Iterable[Case], sample: int, *, game: bool) -> list[Case]:
    """The first images, annotated ones before others; of the game those with boxes."""
    if game:
        return list(islice((one for one in every if one.boxed), sample or GAME))
    cases = list(every)
    return sorted(cases, key=lambda one: not one.marked)[:sample] if sample else cases


def _refused(content: dict[str, Any]) -> bool:
    """Whether an image was refused, or left out of the game."""
    if "rates" in content:
        return bool(content["left_out"])
    return any("refused" in entry for entry in content["images"])


def _game(cases: Sequence[Case], by: Explainer, out: Path, how: str) -> dict[str, Any]:
    """The pointing game, its rates with intervals over patients."""
    from hilum.core.extras import require

    require("eval")
    from hilum.evaluate import bootstrap, mean_of
    from hilum.explain.folder import point_at_all
    from hilum.explain.pointing import rates

    game = point_at_all(cases, by, out)
    numbers = {}
    for name, values in rates(game.points).items():
        interval = bootstrap(mean_of(values), game.patients)
        numbers[name] = [round(v, 4) for v in (interval.value, interval.low, interval.high)]
    counts = {"images": len(game.points), "left_out": game.left_out}
    return {"method": how, **counts, "rates": numbers}


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
