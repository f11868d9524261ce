"""A recipe and a data folder -> a run: images, stages, numbers.

The order of one training, from top to bottom; each step is a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path

from hilum.core.errors import ConfigError
from hilum.core.findings import Findings
from hilum.core.options import unknown
from hilum.core.progress import doing, say, spoken
from hilum.evaluate.epochs import kept_epochs, write_epoch, write_truth
from hilum.evaluate.evaluation import kept_of
from hilum.evaluate.kept_cases import write_kept
from hilum.evaluate.metrics.names import is_allowed
from hilum.models import ranks
from hilum.models.encoder import load_weights
from hilum.models.folded import settle, unfolded
from hilum.models.model import Model
from hilum.models.registry import bare_model, build_model
from hilum.models.weights import WEIGHTS, read_weights
from hilum.train.evaluation import HeldOut, evaluate
from hilum.train.folder import RunFolder, locked
from hilum.train.images import Images, RunData, check_images
from hilum.train.loader import Sampler, sampler
from hilum.train.loop import FINISHED, average_weights, fit, some_images
from hilum.train.optim import freeze
from hilum.train.recipe import Recipe
from hilum.train.samples import PreparedImage
from hilum.train.sheet import draw_samples, shows
from hilum.train.stage import STATE, Plan, save_weights


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
        run_data = RunData.read(recipe, data, cache=folder.cache, split=folder.split or split)
        size = recipe.size_of(next(iter(recipe.stages)))
        images = run_data.images(size)
        check_images(recipe, images)
        net = build_model(recipe.model, size, recipe.names, recipe.seed)
        for stage in recipe.stages.values():
            freeze(net, stage)  # what cannot be is said before the first one trains
        if recipe.train.start:
            start_from(net, recipe.train.start)
        if ranks.first():
            _begin(folder, run_data, net, images)
        net, images = _stages(folder, run_data, net, images)
        if ranks.first():
            _finish(folder, net, images)
    return out


def _begin(folder: RunFolder, data: RunData, net: Model, images: Images) -> None:
    """Numbers of the untrained network; what the run is, written down."""
    recipe, held_out = folder.recipe, images.held_out["validation"]
    untrained = folder.results.get("untrained")
    if untrained is None and held_out.images:
        doing(f"{recipe.name}: evaluating the untrained network")
        size = recipe.size_of(next(iter(recipe.stages)))
        untrained = evaluate(net, held_out, recipe, recipe.spec_at(size))
        _check_watched(recipe, untrained)
    account = data.account(images)
    for reason, count in account["left_out"].items():
        if count:
            say("left out: %d %s", count, reason)
    folder.begin(data.parts.split, account, data.content)
    if untrained is not None:
        folder.record("untrained", untrained)


def _stages(folder: RunFolder, data: RunData, net: Model, images: Images) -> tuple[Model, Images]:
    """Every stage in its order; the network, and the images of the last."""
    recipe, out = folder.recipe, folder.path
    size = recipe.size_of(next(iter(recipe.stages)))
    every = plans(recipe, images.train, out)
    if unfolded(net):
        settle(net, some_images(every[0], _sampler(recipe, every[0].name, images.train).draw))
    for place, plan in enumerate(every):
        if plan.spec.size != size:
            size = plan.spec.size
            images = data.images(size)
            net = bare_model(
                recipe.model, size, recipe.names, seed=recipe.seed, weights=net.state_dict()
            )
        held_out = images.held_out["validation"]

        def numbers(
            one: Model, epoch: int, plan: Plan = plan, held_out: HeldOut = held_out
        ) -> dict[str, float]:
            if not recipe.train.keep_predictions.wants(epoch):
                return evaluate(one, held_out, recipe, plan.spec)
            keep = partial(_keep, folder, held_out, epoch)
            return evaluate(one, held_out, recipe, plan.spec, keep_unsuppressed=keep)

        def epoch_end(
            one: Model, epoch: int, plan: Plan = plan, held_out: HeldOut = held_out
        ) -> None:
            if shows(epoch):
                file = out / "samples" / f"epoch-{epoch:03d}.png"
                draw_samples(one, held_out, recipe, plan.spec, file=file)
            folder.write_page()

        validates = bool(held_out.images)
        fit(
            net,
            plan,
            _sampler(recipe, plan.name, images.train).draw,
            out / plan.name,
            evaluate=numbers if validates else None,
            epoch_end=epoch_end if validates else None,
        )
        names, later = recipe.train.average.stages, [one.name for one in every[place + 1 :]]
        # What a later stage left began from the mean.
        begun = any((out / name / file).is_file() for name in later for file in (STATE, FINISHED))
        if names and plan.name == names[-1] and not begun:
            files = [out / name / FINISHED for name in names]
            draw = _sampler(recipe, plan.name, images.train).draw
            mean = ranks.from_first(partial(average_weights, net, plan, files, draw))
            net.load_state_dict(mean)
    return net, images


def _keep(folder: RunFolder, held_out: HeldOut, epoch: int, findings: Sequence[Findings]) -> None:
    """An epoch's boxes before suppression; those that later ones replace go."""
    write_truth(folder.path, held_out.truths)
    write_epoch(folder.path, epoch, findings)
    files = kept_epochs(folder.path)
    for spare in folder.recipe.train.keep_predictions.spare([*files]):
        files[spare].unlink()


def _keep_answers(file: Path, held_out: HeldOut, answers: Sequence[Findings]) -> None:
    """A part's answers beside its truth. Sets may share an id, so an image is named by both."""
    kept = kept_of(held_out.truths, answers)
    names = [f"{one.source}/{one.image_id}" for one in held_out.images]
    write_kept(file, replace(kept, rows=kept.rows.assign(image_id=names)))


def _finish(folder: RunFolder, net: Model, images: Images) -> None:
    """Numbers of the finished network, its weights, the page."""
    recipe = folder.recipe
    for part, held_out in images.held_out.items():
        if held_out.images and part not in folder.results:
            doing(f"{recipe.name}: evaluating the {part} part")
            keep = partial(_keep_answers, folder.answers(part), held_out)
            folder.record(part, evaluate(net, held_out, recipe, recipe.spec, keep=keep))
    file = folder.path / "samples" / "finished-network.png"
    if images.held_out["validation"].images and not file.is_file():
        draw_samples(net, images.held_out["validation"], recipe, recipe.spec, file=file)
    save_weights(net.state_dict(), folder.path / WEIGHTS)
    folder.write_page(now=True)
    for line in summary(folder.results, recipe.train.watch):
        say("%s", line)
    for name in recipe.stages:
        (folder.path / name / STATE).unlink(missing_ok=True)


def summary(results: Mapping[str, Mapping[str, float]], watch: str) -> list[str]:
    """The watched number and the loss of the untrained and the finished network, part by part, and
    whether training made the validation part worse."""
    lines = []
    for name in dict.fromkeys((watch, "val_loss")):
        numbers = {part: own[name] for part, own in results.items() if name in own}
        lines.append(f"{name}: " + ", ".join(f"{part} {n:.3f}" for part, n in numbers.items()))
    before, after = results.get("untrained", {}), results.get("validation", {})
    both = [n for n in dict.fromkeys((watch, "val_loss")) if n in before and n in after]
    gains = {n: (after[n] - before[n]) * (-1 if n.startswith("val_") else 1) for n in both}
    if worse := [name for name, gain in gains.items() if gain < 0]:
        lines.append(
            f"the untrained network has the better {' and '.join(worse)} on the validation part: "
            "try more images, more "
            "epochs or a lower learning rate; index.html has the curves"
        )
    return lines


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
