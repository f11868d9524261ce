"""`hilum bundle`: what a bundle says of itself, whether it is whole, and which are installed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.core.bundle import Bundle
    from hilum.core.manifest import Manifest

app = typer.Typer(help="Show, verify and list bundles.", no_args_is_help=True)

NAME = typer.Argument("default", help="A bundle (folder or .zip), or the name of an installed one.")
NAMES = typer.Argument(..., help="Bundles (folders or .zip), or names of installed ones.")
TEST_SETS = 3  # of which figures are shown; the card has all


@app.command("list")
def list_(as_json: bool = options.JSON) -> None:
    """List the bundles that come with hilum, and with hilum-models where it is installed.

    Example: hilum bundle list
    """
    from hilum.core.bundle import load_bundle, shipped_bundles

    bundles = {name: _summary(load_bundle(path)) for name, path in shipped_bundles().items()}
    if as_json:
        common.print_json(bundles)
        return
    for name, one in bundles.items():
        typer.echo(
            f"{name:24} {one['version']:6} {one['task']:15} {one['size_px']:5} px "
            f"{one['bytes'] / 1e6:6.1f} MB  {one['licence']}"
        )


@app.command()
def show(bundle: str = NAME, as_json: bool = options.JSON) -> None:
    """Show what a bundle gives, how it decodes, its thresholds, where it comes from, its licence,
    and figures of its test; --json: its whole manifest.

    Example: hilum bundle show default
    """
    from hilum.core.bundle import open_bundle

    opened = open_bundle(bundle)
    if as_json:
        manifest = {"manifest": opened.manifest.to_json()}
        common.print_json({"path": str(opened.path), **_summary(opened), **manifest})
        return
    for line in _lines(opened):
        typer.echo(line)


@app.command()
def verify(bundles: list[str] = NAMES, as_json: bool = options.JSON) -> None:
    """Check files against manifest and hashes; open every graph and ask it about a grey image.

    Ends with 1 if anything is wrong, each reason on a line of its own.

    Example: hilum bundle verify own.zip default
    """
    from hilum.inference.examine import examine_bundle

    problems = {
        name: examine_bundle(name) for name in common.tracked(bundles, "verifying", len(bundles))
    }
    if as_json:
        common.print_json({"problems": problems})
    else:
        for name, wrong in problems.items():
            typer.echo(f"{name}: {'whole' if not wrong else 'not to be used'}")
            for reason in wrong:
                typer.echo(f"  {reason}")
    if any(problems.values()):
        raise typer.Exit(common.SOME_REFUSED)


def _summary(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "name": bundle.name,
        "version": bundle.version,
        "task": manifest.task,
        "size_px": manifest.preprocessing.size,
        "bytes": len(bundle.model()),  # of the graph that runs by default
        "licence": bundle.licence,
        "sha256": bundle.sha256,
    }


def _lines(bundle: Bundle) -> Iterator[str]:
    manifest, about = bundle.manifest, _summary(bundle)
    yield f"{bundle.name} {bundle.version}, {manifest.task}, {about['size_px']} px"
    yield f"path      {bundle.path}"
    yield f"sha256    {bundle.sha256}"
    yield from _gives(manifest)
    graphs = ", ".join(f"{name} ({file})" for name, file in manifest.precisions.items())
    size = f"{about['bytes'] / 1e6:.1f} MB"
    yield f"graphs    {graphs}; {manifest.default_precision} by default, {size}"
    decoding = manifest.decoding.model_dump(exclude_defaults=True)
    yield f"decoding  {', '.join(f'{k} {v}' for k, v in decoding.items()) or 'usual'}"
    if manifest.calibration is not None:
        yield f"scores    calibrated on {manifest.calibration.fitted_on or 'nothing that it names'}"
    for name, point in manifest.operating_points.items():
        yield f"operating point {name}: {point.score} from {point.words}"
    made = manifest.provenance
    yield f"made      {made.created}: {made.command} (seed {made.seed}, commit {made.commit[:12]})"
    learnt = ", ".join(one.name for one in manifest.learnt_from)
    yield f"licence   {bundle.licence}; learnt from {learnt or 'nothing that it names'}"
    yield from _figures(manifest)


def _gives(manifest: Manifest) -> Iterator[str]:
    classes = manifest.global_classes if manifest.outputs.global_logits else ()
    positive = manifest.positive_score
    scores = [f"{name} (positive)" if name == positive else name for name in manifest.image_scores]
    gives = {
        "boxes": manifest.labels,
        "masks": [f"{name} from {one.threshold:g}" for name, one in manifest.masks.items()],
        "classes": classes,
        "findings": manifest.findings if manifest.outputs.finding_logits else (),
        "scores": scores,
    }
    for what, names in gives.items():
        if names:
            yield f"{what:9} {', '.join(names)}"


def _figures(manifest: Manifest) -> Iterator[str]:
    """With intervals, of the largest sets that it was tested on, one a line."""
    rows = [(row, one) for row, one in manifest.tested.items() if one.low is not None]
    by_set = {
        part: [(row.rpartition(": ")[2], figure) for row, figure in own]
        for part, own in groupby(rows, lambda one: one[0].rpartition(": ")[0])
    }
    for part, own in sorted(by_set.items(), key=lambda one: -(one[1][0][1].n or 0))[:TEST_SETS]:
        numbers = ", ".join(f"{name} {figure.words}" for name, figure in own)
        yield f"figures   {part}, {own[0][1].n} images: {numbers}"
    if manifest.figures:
        yield f"figures   all {len(manifest.figures)}, and how they were measured: card.md"
