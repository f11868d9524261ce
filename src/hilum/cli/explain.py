"""`hilum explain`: what a score rests on, drawn; and how often the hottest point is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common, options
from hilum.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from hilum.core.radiograph import Radiograph
    from hilum.explain.folder import Explain, Spread
    from hilum.explain.heat import Heat

WRITTEN = ("explain.json", "[0-9][0-9].png", "[0-9][0-9][0-9][0-9]-*.png")


def explain(
    paths: list[Path] = typer.Argument(
        ..., help="Radiographs or folders; with --game a catalog (.parquet) with boxes."
    ),
    out: Path = options.output("Folder of the drawings."),
    bundle: str = typer.Option("", help="A bundle; the shipped one if left out."),
    run: Path | None = typer.Option(None, help="A run of `hilum train`, for gradient methods."),
    method: str = typer.Option("", help="occlusion (any bundle), grad-cam, hirescam (--run)."),
    score: str | None = typer.Option(None, help="An image score, or box; else the positive one."),
    game: bool = typer.Option(False, help="Pointing game on a catalog's boxes, beside chance."),
    sample: int = typer.Option(100, min=1, help="Images of the game, the first with boxes."),
    sanity: bool = typer.Option(
        False, help="Also randomise the run's weights: the map must change (gradient methods)."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Draw what a score rests on. Research use only: a map shows what moves the score, not where a
    disease is.

    Example: hilum explain study.dcm --out maps
    """
    from hilum.core.files import write_text
    from hilum.core.folders import claimed
    from hilum.dicom.discover import discover
    from hilum.explain.folder import draw_all

    how = method or ("hirescam" if run is not None else "occlusion")
    ask, spread = _asking(how, bundle, run, score)
    if sanity and (game or spread is None):
        raise ConfigError("--sanity randomises a run's weights: needs --run, and no --game")
    with claimed(out, "explain", names=WRITTEN), common.progress("explaining"):
        if game:
            content = _game(paths, ask, sample, out=out, how=how)
        else:
            items = list(discover(paths))
            content = {"images": draw_all(items, ask, out, spread if sanity else None)}
        write_text(out / "explain.json", json.dumps(content, indent=1))
    if as_json:
        common.print_json(content)
    else:
        for line in _lines(content):
            typer.echo(line)
    if not game and any("refused" in one for one in content["images"]):
        raise typer.Exit(common.SOME_REFUSED)


def _asking(
    how: str, bundle: str, run: Path | None, score: str | None
) -> tuple[Explain, Spread | None]:
    """What explains a radiograph, and what randomises its network."""
    if how == "occlusion":
        if run is not None:
            raise ConfigError("occlusion asks a bundle: hilum export the run, then give --bundle")
        from hilum.explain.occlusion import occlusion
        from hilum.explain.writer import predictor

        return (lambda radiograph: occlusion(predictor(bundle), radiograph, score)), None
    from hilum.core.extras import require

    if run is None or bundle:
        raise ConfigError(f"method {how!r} needs the network in PyTorch: give --run, no --bundle")
    require("train")
    from hilum.core.prepare import prepare
    from hilum.explain.gradients import METHODS, heat_of
    from hilum.explain.sanity import cascade
    from hilum.train.export.bundle import network_of

    if how not in METHODS:
        from hilum.core.options import unknown

        raise ConfigError(unknown("method", how, ("occlusion", *METHODS)))
    net, recipe = network_of(run)

    def ask(radiograph: Radiograph, one: Any = net) -> Heat:
        image, frame = prepare(radiograph, recipe.spec)
        return heat_of(one, recipe.names, image, frame=frame, score=score, method=how)

    def spread(radiograph: Radiograph) -> dict[str, float]:
        parts = cascade(net, lambda twin: ask(radiograph, twin).grid)
        return {f"{part:.0%} of layers randomised": value for part, value in parts.items()}

    return ask, spread


def _game(paths: list[Path], ask: Explain, sample: int, out: Path, how: str) -> dict[str, Any]:
    """The pointing game on the first images of the catalogs that have boxes."""
    from hilum.core.errors import DataError
    from hilum.core.extras import require

    require("eval")
    from hilum.core.progress import counted
    from hilum.data.catalog import open_catalog
    from hilum.data.pixels import open_radiograph
    from hilum.evaluate import bootstrap, mean_of
    from hilum.explain.folder import point_at_all
    from hilum.explain.pointing import rates

    every = [
        (catalog, row)
        for catalog in map(open_catalog, paths)
        for row, boxes in enumerate(catalog.table["boxes"])
        if boxes is not None and len(boxes)
    ]
    some = every[:sample]
    if not some:
        raise DataError("no image of these catalogs has a true box: there is nothing to point at")

    def cases() -> Iterator[tuple[Radiograph, NDArray[np.floating[Any]]]]:
        for catalog, row in counted(some, "explaining", len(some)):
            radiograph = open_radiograph(catalog.root, str(catalog.table["path"].iat[row]))
            truth = catalog.boxes_in(row, radiograph.width, radiograph.height)
            assert truth is not None
            yield radiograph, truth[0]

    points = point_at_all(cases(), ask, out)
    patients = [str(catalog.table["patient"].iat[row]) for catalog, row in some]
    numbers = {}
    for name, values in rates(points).items():
        interval = bootstrap(mean_of(values), patients)
        numbers[name] = [round(v, 4) for v in (interval.value, interval.low, interval.high)]
    return {"method": how, "images": len(points), "rates": numbers}


def _lines(content: dict[str, Any]) -> list[str]:
    if "rates" in content:
        head = [f"{content['images']} images with boxes, {content['method']}"]
        rates = content["rates"].items()
        return head + [f"{name}: {v:.3f} ({a:.3f} to {b:.3f})" for name, (v, a, b) in rates]
    out = []
    for one in content["images"]:
        if "refused" in one:
            out.append(f"{one['image']}: refused: {one['refused']}")
            continue
        note = " (nothing speaks for it)" if one["flat"] else ""
        out.append(f"{one['image']}: {one['score']} {one['value']:.2f}{note} -> {one['picture']}")
        spread = one.get("rank_correlation", {})
        out += [f"  {name}: rank correlation {value:.2f}" for name, value in spread.items()]
    return out
