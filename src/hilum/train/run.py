"""A recipe and a data folder -> a run: sources, split, images, stages, numbers.

The order of one training, from top to bottom; each step is a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from hilum.core.errors import ConfigError, DataError
from hilum.core.findings import Findings
from hilum.core.options import unknown
from hilum.evaluate.epochs import kept_epochs, write_epoch, write_truth
from hilum.evaluate.metrics.names import is_allowed
from hilum.models import ranks
from hilum.models.encoder import load_weights
from hilum.models.folded import settle, unfolded
from hilum.models.model import Model
from hilum.models.registry import bare_model, build_model
from hilum.models.weights import WEIGHTS, read_weights
from hilum.train.cache import cached_rows
from hilum.train.evaluation import Held, evaluate, hold
from hilum.train.folder import RunFolder, locked
from hilum.train.loader import Sampler, sampler
from hilum.train.loop import FINISHED, average_weights, fit, some_images
from hilum.train.progress import doing, say, spoken
from hilum.train.recipe import Recipe
from hilum.train.samples import Prepared, PreparedImage, without_copies
from hilum.train.sheet import draw_samples
from hilum.train.sources import Source, open_sources
from hilum.train.splits import PARTS, Parts, split_sources
from hilum.train.stage import STATE, Plan, save_weights

SHOWN = 20  # names in a message


@dataclass(slots=True)
class Images:
    """The images of a run at one size, and what was left out of them."""

    train: list[PreparedImage]
    held: dict[str, Held]  # "validation", "test"
    unreadable: dict[str, str] = field(default_factory=dict)  # source/image -> reason
    copies: int = 0  # training images that show a held-out picture


def run(recipe: Recipe, data: Path, out: Path, *, split: Path | None = None) -> Path:
    """Train, or go on with, the recipe in `out`; where there are several ranks, each calls this.

    Args:
        data: the folder that holds the sets, the one set's own, or a catalog file.
        split: a file of `hilum data split`, or a run's split.json; otherwise the catalog's own
            column `split`, or what the recipe says.

    Raises:
        ConfigError: `out` holds a run of other settings, or another process trains there.
        DataError: a set is not there, or has none of what the recipe needs.
    """
    with locked(out), spoken():
        folder = RunFolder(out, recipe)
        folder.check()
        doing(f"{recipe.name}: reading catalogs")
        sources = open_sources(recipe, data)
        parts = split_sources(recipe, sources, folder.split or split)
        rows = parts.rows(sources, recipe.fold)
        size = recipe.size_of(next(iter(recipe.stages)))
        images = prepare(recipe, sources, rows, size, out.parent / "cache")
        check_images(recipe, images)
        net = build_model(recipe.model, size, recipe.names, recipe.seed)
        if recipe.train.start:
            start_from(net, recipe.train.start)
        if ranks.first():
            account = _account(recipe, sources, data, parts, images)
            _begin(folder, net, images, parts, account, _content(recipe, sources, rows))
        net, images = _stages(folder, sources, rows, net, images)
        if ranks.first():
            _finish(folder, net, images)
    return out


def _begin(
    folder: RunFolder,
    net: Model,
    images: Images,
    parts: Parts,
    account: Mapping[str, Any],
    content: str,
) -> None:
    """Numbers of the untrained network; what the run is, written down."""
    recipe, held = folder.recipe, images.held["validation"]
    untrained = folder.results.get("untrained")
    if untrained is None and held.images:
        doing(f"{recipe.name}: evaluating the untrained network")
        size = recipe.size_of(next(iter(recipe.stages)))
        untrained = evaluate(net, held, recipe, recipe.spec_at(size))
        _check_watched(recipe, untrained)
    for reason, count in account["left_out"].items():
        if count:
            say("left out: %d %s", count, reason)
    folder.begin(parts.split, account, content)
    if untrained is not None:
        folder.record("untrained", untrained)


def _stages(
    folder: RunFolder,
    sources: Sequence[Source],
    rows: Mapping[str, Mapping[str, list[int]]],
    net: Model,
    images: Images,
) -> tuple[Model, Images]:
    """Every stage in its order; the network, and the images of the last."""
    recipe, out = folder.recipe, folder.path
    size = recipe.size_of(next(iter(recipe.stages)))
    every = plans(recipe, images.train, out)
    if unfolded(net):
        settle(net, some_images(every[0], _sampler(recipe, every[0].name, images.train).draw))
    for plan in every:
        if plan.spec.size != size:
            size = plan.spec.size
            images = prepare(recipe, sources, rows, size, out.parent / "cache")
            weights = net.state_dict()
            net = bare_model(recipe.model, size, recipe.names, recipe.seed, weights)
        held = images.held["validation"]

        def numbers(
            one: Model, epoch: int, plan: Plan = plan, held: Held = held
        ) -> dict[str, float]:
            if not recipe.train.keep_predictions.wants(epoch):
                return evaluate(one, held, recipe, plan.spec)
            return evaluate(one, held, recipe, plan.spec, partial(_keep, folder, held, epoch))

        def epoch_end(one: Model, epoch: int, plan: Plan = plan, held: Held = held) -> None:
            draw_samples(one, held, recipe, plan.spec, out / "samples", epoch)
            folder.write_page()

        validates = bool(held.images)
        fit(
            net,
            plan,
            _sampler(recipe, plan.name, images.train).draw,
            out / plan.name,
            evaluate=numbers if validates else None,
            epoch_end=epoch_end if validates else None,
        )
    if names := recipe.train.average.stages:
        files = [out / name / FINISHED for name in names]
        draw = _sampler(recipe, plan.name, images.train).draw
        net.load_state_dict(ranks.from_first(lambda: average_weights(net, plan, files, draw)))
    return net, images


def _keep(folder: RunFolder, held: Held, epoch: int, found: Sequence[Findings]) -> None:
    """An epoch's boxes before suppression; those that later ones replace go."""
    write_truth(folder.path, held.truths)
    write_epoch(folder.path, epoch, found)
    files = kept_epochs(folder.path)
    for spare in folder.recipe.train.keep_predictions.spare([*files]):
        files[spare].unlink()


def _finish(folder: RunFolder, net: Model, images: Images) -> None:
    """Numbers of the finished network, its weights, the page."""
    recipe = folder.recipe
    for part, held in images.held.items():
        if held.images and part not in folder.results:
            doing(f"{recipe.name}: evaluating the {part} part")
            folder.record(part, evaluate(net, held, recipe, recipe.spec))
    save_weights(net.state_dict(), folder.path / WEIGHTS)
    folder.write_page(now=True)
    for name in recipe.stages:
        (folder.path / name / STATE).unlink(missing_ok=True)


def plans(recipe: Recipe, images: Sequence[PreparedImage], out: Path) -> list[Plan]:
    """What each stage is to do. A stage that continues shares the schedule of those before."""
    lengths = {name: _length(recipe, name, images) for name in recipe.stages}
    names, result, epochs = list(recipe.stages), list[Plan](), 0
    for place, name in enumerate(names):
        first = max(i for i in range(place + 1) if not recipe.stages[names[i]].continues)
        after = [i for i in range(first + 1, len(names)) if not recipe.stages[names[i]].continues]
        together = names[first : after[0] if after else len(names)]
        steps, chunk = lengths[name]
        result.append(
            Plan(
                name=name,
                options=recipe.stages[names[first]],
                recipe=recipe,
                spec=recipe.spec_at(recipe.size_of(name)),
                steps=steps,
                chunk=chunk,
                seed=recipe.seed + epochs,
                first=epochs,
                offset=sum(lengths[one][0] for one in names[first:place]),
                span=sum(lengths[one][0] for one in together),
                begin=out / names[place - 1] if recipe.stages[name].continues else None,
            )
        )
        epochs += ceil(steps / chunk)
    return result


def _length(recipe: Recipe, stage: str, images: Sequence[PreparedImage]) -> tuple[int, int]:
    """(steps of the stage, steps of an epoch)."""
    options, train = recipe.stages[stage], recipe.train
    epoch = _sampler(recipe, stage, images).epoch
    chunk = train.save_every
    if epoch is not None:
        chunk = max(1, ceil(epoch / (train.batch * train.accumulate)))
    steps = options.steps or chunk * (options.epochs or 1)
    return (min(steps, chunk * train.epochs) if train.epochs else steps), chunk


def _sampler(recipe: Recipe, stage: str, images: Sequence[PreparedImage]) -> Sampler:
    share = recipe.stages[stage].positives or recipe.train.positives
    return sampler(
        images,
        mix=recipe.mix_of(stage),
        positives=share,
        oversample=recipe.train.oversample,
        seed=recipe.seed,
    )


def prepare(
    recipe: Recipe,
    sources: Sequence[Source],
    rows: Mapping[str, Mapping[str, list[int]]],
    size: int,
    cache: Path,
) -> Images:
    """Every image of every part at one size, without copies of held-out pictures in training."""
    spec, ready = recipe.spec_at(size), dict[str, dict[str, Prepared]]()
    for part in PARTS:
        for one in sources:
            own = rows[part][one.name]
            if part == "train":  # what is not trusted may be all that is known of an image
                own = [row for row in own if one.teaching[row]]
            kept = cache if one.options.cache else None
            ready.setdefault(part, {})[one.name] = cached_rows(one, own, spec, kept)
    held = {part: hold(sources, ready[part]) for part in PARTS if part != "train"}
    train = [image for one in sources for image in ready["train"][one.name].images]
    away = [image for part in held.values() for image in part.images]
    images = without_copies(train, away)
    lost = {
        k: v for part in ready.values() for one in part.values() for k, v in one.unreadable.items()
    }
    for name, reason in list(lost.items())[:SHOWN]:
        say("left out, cannot be read: %s: %s", name, reason)
    if len(lost) > SHOWN:
        say("and %d more, see data.json", len(lost) - SHOWN)
    counts = {"train": len(images), **{part: len(one) for part, one in held.items()}}
    say(
        "%s at %d px; %d copies of held-out pictures left out",
        ", ".join(f"{part} {count}" for part, count in counts.items()),
        size,
        len(train) - len(images),
    )
    return Images(images, held, lost, len(train) - len(images))


def check_images(recipe: Recipe, images: Images) -> None:
    """Raises DataError where there is nothing to train on, or to choose the best epoch by."""
    if not images.train:
        raise DataError(f"recipe {recipe.name}: no image is left to train on")
    if not images.held["validation"].images and _validates(recipe):
        raise DataError(
            f"recipe {recipe.name}: no image is left to validate with; a larger share of "
            "hold_out.validation, or more images, are needed"
        )


def _validates(recipe: Recipe) -> bool:
    shares = [one.hold_out.validation for one in recipe.data if one.hold_out is not None]
    return recipe.fold is not None or any(shares)


def start_from(net: Model, source: str) -> None:
    """Begin from another network's weights, and say what fitted: heads for other labels stay new.

    Raises:
        ConfigError: no weights there, or none that fits.
    """
    try:
        account = load_weights(net, read_weights(source), source)
    except ConfigError as error:
        raise ConfigError(f"train.start: {error}") from error
    say("train.start: of %d tensors of the network: %s", len(net.state_dict()), account)


def _check_watched(recipe: Recipe, numbers: Mapping[str, float]) -> None:
    """Raises ConfigError where a number is watched that these validation images do not give."""
    plateaus = {n: s.schedule for n, s in recipe.stages.items() if s.schedule.kind == "plateau"}
    watched = {"train.watch": recipe.train.watch} | {
        f"stages.{name}.schedule.watch": schedule.watch for name, schedule in plateaus.items()
    }
    for place, name in watched.items():
        if not is_allowed(name, numbers):
            raise ConfigError(
                f"{place}: {unknown('number', name, numbers)} These are what the validation images "
                "allow: without a finding among them there is no ap50, auc or mcc."
            )


def _account(
    recipe: Recipe, sources: Sequence[Source], data: Path, parts: Parts, images: Images
) -> dict[str, Any]:
    """What data.json says: where from, how many, what was left out and why."""
    counts = {"train": len(images.train), **{p: len(one) for p, one in images.held.items()}}
    filtered = {f"{one.name}: {reason}": n for one in sources for reason, n in one.left_out.items()}
    return {
        "set": ", ".join(one.name for one in sources),
        "folder": str(data.resolve()),
        "images": counts,
        "sources": {
            one.name: {
                "set": one.catalog.name,
                "train": sum(image.source == one.name for image in images.train),
                **{part: len(held.of(one.name)) for part, held in images.held.items()},
            }
            for one in sources
        },
        "left_out": {
            **filtered,
            **parts.left_out,
            "copies of held-out pictures": images.copies,
            "unreadable": len(images.unreadable),
        },
        "unreadable": images.unreadable,
        "notes": [note for one in sources for note in one.catalog.notes],
    }


def _content(
    recipe: Recipe, sources: Sequence[Source], rows: Mapping[str, Mapping[str, list[int]]]
) -> str:
    """All that tells one data set and split from another."""
    tables = {
        one.name: one.lessons.table.to_json(orient="records", default_handler=str)
        for one in sources
    }
    return f"{tables}{rows}"
