"""Recipes: frozen, checked when read, unknown keys named."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import ConfigError
from hilum.train.recipe import load_recipe


def test_the_default_recipe_reads_and_its_baselines_differ_in_the_model_only() -> None:
    recipe = load_recipe("default")
    assert recipe.baselines
    for name in recipe.baselines:
        arm = recipe.baseline(name)
        assert arm.model.kind != recipe.model.kind
        assert (arm.split, arm.augment, arm.preprocessing, arm.train, arm.seed) == (
            recipe.split,
            recipe.augment,
            recipe.preprocessing,
            recipe.train,
            recipe.seed,
        )
        assert {k: s.mix for k, s in arm.stages.items()} == {
            k: s.mix for k, s in recipe.stages.items()
        }


def test_settings_can_be_changed_from_outside() -> None:
    assert load_recipe("default", ("stages.base.steps=3",)).stages["base"].steps == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("stages.base.stepz=3", "steps"),
        ("modl.encoder=x", "model"),
        ("stages.base.epochs=3", "either steps or epochs"),
        ("train.batch=0", "batch"),
        ("train.batch", "key=value"),
        ("augment=[", "not YAML"),
        ("augment=hevy", "'heavy'"),
        ("stages.base.learning_rate=.inf", "finite"),
        ("seed=-1", "seed"),
    ],
)
def test_wrong_settings_are_named(change: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_recipe("default", (change,))


def test_a_missing_recipe_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="default"):
        load_recipe("defualt")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(ConfigError, match="YAML"):
        load_recipe(str(broken))


def test_a_recipe_extends_its_neighbours_and_named_ones(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("{extends: rsna-yolo-small, name: mine, train: {batch: 3}}")
    (tmp_path / "top.yaml").write_text("{extends: base.yaml, name: top}")
    assert load_recipe(str(tmp_path / "top.yaml")).train.batch == 3
    (tmp_path / "top.yaml").write_text("{extends: 3, name: top}")
    with pytest.raises(ConfigError, match="extends: 3"):
        load_recipe(str(tmp_path / "top.yaml"))
    (tmp_path / "top.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not YAML"):
        load_recipe(str(tmp_path / "top.yaml"))
