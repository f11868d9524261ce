"""What shipped pipelines ask of a bundle, an export of their recipe gives."""

from __future__ import annotations

import pytest

from hilum.inference.check import needs_of
from hilum.inference.pipeline import Pipeline, shipped_pipelines
from hilum.train.export.settings import BOX_AIMS, IMAGE_AIMS
from hilum.train.recipe import load_recipe

# Those whose bundles the user trains; the others ship with theirs.
SYSTEMS = [
    name
    for name in sorted(shipped_pipelines())
    if all(spec.recipe for spec in Pipeline.load(name).models.values())
]


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("size", ["", "-small"])
def test_operating_points_and_scores_are_those_that_export_names(name: str, size: str) -> None:
    pipeline = Pipeline.load(name)
    targets = {
        model: load_recipe(f"{spec.recipe}{size}").targets
        for model, spec in pipeline.models.items()
    }
    for place, needs in needs_of(pipeline, pipeline.flows()):
        for score, at in needs.scores:
            model, _, what = score.partition(".")
            of = targets[model]
            assert what in (*of.classes, *of.findings), (place, score)
            assert not isinstance(at, str) or at in IMAGE_AIMS, (place, at)
        for model, mask in needs.maps:
            assert mask in targets[model].masks, (place, mask)
    assert not isinstance(pipeline.thresholds.boxes, str) or pipeline.thresholds.boxes in BOX_AIMS
