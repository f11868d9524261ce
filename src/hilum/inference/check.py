"""Does a pipeline fit together? Everything that can be known before the first image.

`check_text` needs the text alone; `check_bundles` needs the manifests of its bundles too. Both
raise the first problem; `problems` lists all of them. Knows no image and no runtime.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hilum.core.errors import ConfigError
from hilum.core.labels import is_name
from hilum.core.manifest import BOX, STUDY, Manifest
from hilum.core.options import unknown
from hilum.inference.stages.base import Facts, Needs
from hilum.inference.stages.boxes import Fusion
from hilum.inference.stages.masks import MeanMaps
from hilum.inference.text import Flows, ModelSpec, PipelineText


def check_text(pipeline: PipelineText, source: str) -> None:
    """Raises ConfigError: the first thing that does not fit, whatever the bundles are."""
    for problem in text_problems(pipeline, pipeline.flows(source)):
        raise ConfigError(f"{source}: {problem}")


def check_bundles(
    pipeline: PipelineText, flows: Flows, manifests: Mapping[str, Sequence[Manifest]]
) -> None:
    """Raises ConfigError: the first thing that does not fit these bundles of each model."""
    for problem in bundle_problems(pipeline, flows, manifests):
        raise ConfigError(f"pipeline {pipeline.name}: {problem}")


def text_problems(pipeline: PipelineText, flows: Flows) -> Iterator[str]:
    """Unknown models, broken flows, circles, models that nobody uses."""
    if not (flows.masks or flows.boxes or flows.scores):
        yield "no flow: nothing would come out; needed: masks, boxes or scores"
    yield from _mask_flows(flows)
    yield from _box_flow(flows)
    used = set[str]()
    for place, needs in needs_of(pipeline, flows):
        used |= set(needs.models)
        for name in needs.models:
            if name not in pipeline.models:
                yield f"{place}: {unknown('model', name, pipeline.models)}"
        for mask in needs.masks:
            if mask not in flows.masks:
                yield f"{place}: {unknown('mask', mask, flows.masks)} Masks are flows of `masks`."
        for name, _ in needs.scores:
            model = pipeline.models.get(name.partition(".")[0])
            if model is not None and model.when is not None and not place.startswith("scores"):
                yield (
                    f"{place}: score {name!r} may be missing, since its model has a `when`; "
                    "needed: a model that is always asked"
                )
    for name, stage in flows.fuse.items():
        if not isinstance(stage, Fusion) or stage.begins:
            yield f"models.{name}.fuse: needed: a fusion of boxes without `of`, such as nms"
    for name in set(pipeline.models) - used:
        yield f"models.{name}: no flow, gate or `when` uses it; leave it out"
    for index, stage in enumerate(flows.scores):
        if stage.of_boxes and not flows.boxes:
            yield f"scores: step {index + 1} needs boxes, and there is no flow of boxes"


def bundle_problems(
    pipeline: PipelineText, flows: Flows, manifests: Mapping[str, Sequence[Manifest]]
) -> Iterator[str]:
    """Missing boxes, masks, scores and operating points; bundles that cannot be combined."""
    facts = {name: Facts(name, of[0]) for name, of in manifests.items()}
    for name, spec in pipeline.models.items():
        yield from _combination(name, spec, flows, manifests[name])
    yield from _windows(pipeline, manifests)
    for place, needs in needs_of(pipeline, flows):
        for model in needs.boxes:
            if not facts[model].manifest.has_boxes:
                yield f"{place}: {facts[model].lacks('boxes')}; needed: a detector"
        for model, mask in needs.maps:
            known = facts[model].manifest.masks
            if not known:
                yield f"{place}: {facts[model].lacks('masks')}; needed: a segmenter"
            elif mask not in known:
                yield f"{place}: model {model!r}: {unknown('mask', mask, known)}"
        for name, at in needs.scores:
            try:
                of = facts[name.partition(".")[0]]
                _ = of.score(name) if at is None else of.threshold(name, at)
            except ConfigError as error:
                yield f"{place}: {error}"
        for model in needs.answers:
            if not facts[model].manifest.image_scores:
                yield f"{place}: {facts[model].lacks('image scores')}; needed: a classifier"
    yield from _score_names(flows, facts)
    yield from _own_numbers(pipeline, flows, facts)


def needs_of(pipeline: PipelineText, flows: Flows) -> Iterator[tuple[str, Needs]]:
    """Where in the text, and what is needed there, in the order of the text."""
    for name, spec in pipeline.models.items():
        if spec.when is not None:
            yield f"models.{name}.when", Needs(scores=((spec.when.score, spec.when.at),))
    for flow, steps in flows.masks.items():
        for index, stage in enumerate(steps):
            needs = stage.needs_of(flow) if isinstance(stage, MeanMaps) else stage.needs()
            yield f"masks.{flow}, step {index + 1}", needs
    for index, stage in enumerate(flows.boxes):
        yield f"boxes, step {index + 1}", stage.needs()
    for index, stage in enumerate(flows.scores):
        yield f"scores, step {index + 1}", stage.needs()


def _mask_flows(flows: Flows) -> Iterator[str]:
    for name, steps in flows.masks.items():
        if not is_name(name):
            yield f"masks: {name!r} can be no mask's name; needed: letters, digits, - and _"
        has = "nothing"
        for index, stage in enumerate(steps):
            if stage.takes != has:
                yield (
                    f"masks.{name}: step {index + 1} takes {_a(stage.takes)}, but "
                    f"{_a(has)} came; the order is a map, one threshold, then cleaning"
                )
            has = stage.gives
        if has != "mask":
            yield f"masks.{name}: ends with {_a(has)}; end with threshold or triplet"
    finished = list[str]()
    for name, steps in flows.masks.items():
        for stage in steps:
            for mask in stage.needs().masks:
                if mask in flows.masks and mask not in finished:
                    yield f"masks.{name}: mask {mask!r} is made later; write its flow above"
        finished.append(name)


def _box_flow(flows: Flows) -> Iterator[str]:
    for index, stage in enumerate(flows.boxes):
        if stage.begins != (index == 0):
            yield (
                "boxes: the first step takes boxes of models (`of`), such as {use: boxes, of: NAME}"
                if index == 0
                else f"boxes: step {index + 1} takes boxes of models again (`of`) and would forget "
                "what came before; only the first step does"
            )


def _windows(pipeline: PipelineText, manifests: Mapping[str, Sequence[Manifest]]) -> Iterator[str]:
    """An image is read once: every bundle was trained on the same reading, or the text decides."""
    own = {m.preprocessing.window: name for name, each in manifests.items() for m in each}
    if pipeline.window is None and len(own) > 1:
        words = "; ".join(
            f"{name}: {'as the file says' if w is None else f'{w[0]:g}, {w[1]:g}'}"
            for w, name in own.items()
        )
        yield f"its bundles were trained with different windows ({words}); needed: `window`"


def _combination(
    name: str, spec: ModelSpec, flows: Flows, manifests: Sequence[Manifest]
) -> Iterator[str]:
    if name in flows.combine:
        try:
            flows.combine[name].check(manifests)
        except ConfigError as error:
            yield f"models.{name}: {error}"
    scores = manifests[0].calibration
    if scores is not None and not scores.fits(manifests[0].global_classes):
        yield (
            f"models.{name}.calibration: {len(scores.global_bias)} biases; needed: one for each of "
            f"{', '.join(manifests[0].global_classes)}"
        )
    if scores is not None and (unknown_maps := _unknown_scores(scores.scores, manifests[0])):
        yield f"models.{name}.calibration: unknown scores {', '.join(sorted(unknown_maps))}"


def _unknown_scores(names: Mapping[str, Any], manifest: Manifest) -> set[str]:
    return {one.removeprefix(STUDY) for one in names} - {BOX, *manifest.image_scores}


def _score_names(flows: Flows, facts: Mapping[str, Facts]) -> Iterator[str]:
    seen = set[str]()
    for index, stage in enumerate(flows.scores):
        if why := stage.unfit(facts):
            yield f"scores, step {index + 1}: {why}"
        for name in stage.names(facts):
            if name in seen:
                yield (
                    f"scores, step {index + 1}: the score {name!r} is there already; use "
                    "mean-scores, or `only` or `rename` of scores"
                )
            seen.add(name)
    least = getattr(flows.study, "least", ())
    if "least" in flows.study.model_fields_set:
        for name in set(least) - seen:
            yield f"study.least: {unknown('score', name, seen)}"


def _own_numbers(pipeline: PipelineText, flows: Flows, facts: Mapping[str, Facts]) -> Iterator[str]:
    """The pipeline's own calibration and points are for scores that come out."""
    final = {name for stage in flows.scores for name in stage.names(facts)}
    if flows.boxes:
        final.add(BOX)
    own = pipeline.calibration
    if own is not None:
        if own != type(own)(scores=own.scores, study_how=own.study_how, fitted_on=own.fitted_on):
            yield "calibration: temperatures and biases are on logits; here only `scores` have maps"
        for name in {one.removeprefix(STUDY) for one in own.scores} - final:
            yield f"calibration: {unknown('score', name, final)}"
    for point, value in pipeline.operating_points.items():
        if value.score.removeprefix(STUDY) not in final:
            yield f"operating_points.{point}: {unknown('score', value.score, final)}"


def _a(what: str) -> str:
    return what if what == "nothing" else f"a {what}"
