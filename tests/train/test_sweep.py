"""Sweeps: variants, grids, folds and searches, that go on where they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.phantom_set import CHANGES, catalog
from hilum.core.errors import ConfigError
from hilum.evaluate.metrics.names import metric
from hilum.train import sweep as sweeping
from hilum.train.recipe import recipe_folder
from hilum.train.sweep import Grid, folder_name, load_grid, recipe_of, sweep

NAME = "rsna-retinanet-seresnext101-small"
COMMON = {k: yaml.safe_load(v) for k, v in (change.split("=", 1) for change in CHANGES)}
# The smallest thing that can be trained: what is tested is the order of runs.
COMMON |= {
    "model": {"kind": "classifier", "encoder": "test_efficientnet", "pretrained": False},
    "targets": {"classes": [], "labels": ["opacity"], "masks": [], "findings": ["opacity"]},
    "train.epochs": 1,
}
COMMON = {k: v for k, v in COMMON.items() if not k.startswith("model.")}
COMMON["model"] |= {"target": "findings", "loss": "bce"}


def grid(**settings: Any) -> Grid:
    plain = {"recipe": NAME, "common": COMMON, "seeds": [1], "metric": "val_loss"}
    return Grid.model_validate(plain | settings)


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with an image label."""
    folder = tmp_path_factory.mktemp("sets")
    catalog(folder, "own", 12)
    return folder / "own.parquet"


def test_a_grid_is_every_combination_and_its_runs_are_checked_first() -> None:
    plan = Grid.model_validate(
        {"recipe": "rsna-yolo-small", "grid": {"augment": ["none", "light"], "seed": [1, 2, 3]}}
    )
    assert len(plan.named()) == 6
    both = Grid.model_validate(
        {"recipe": "rsna-yolo-small", "grid": {"seed": [1, 2]}, "variants": {"b": {}}}
    )
    assert list(both.named()) == ["seed=1", "seed=2", "b"]
    search = {"trials": 1, "space": {"seed": [1, 2]}}
    for kinds in ({"grid": {"a": [1]}, "search": search}, {}):
        with pytest.raises(ValueError, match="or a search"):
            Grid.model_validate({"recipe": "rsna-yolo-small", **kinds})


SWEEPS = sorted((recipe_folder() / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_every_shipped_sweep_is_made_of_recipes_that_load(file: Path) -> None:
    """Recipe, settings, policies and the compared number exist; what is grouped is all of it."""
    plan = load_grid(file)
    variants = plan.named()
    if plan.search is not None:  # the ends of its ranges
        ends = [(key, values[end]) for key, values in plan.search.space.items() for end in (0, 1)]
        variants = {f"{key}={value}": {key: value} for key, value in ends}
    recipes = {
        name: recipe_of(plan, changes, repeat)
        for name, changes in variants.items()
        for repeat in plan.repeats
    }
    assert recipes
    assert metric(plan.metric) is not None
    differing = {r.model_dump_json(exclude={"seed", "fold"}) for r in recipes.values()}
    # A search may begin at the recipe's own value, for each of its settings.
    assert len(differing) == len(variants) or plan.search, "two variants are the same"
    # Numbers are compared on a test part, or on the folds: one of them must be there.
    assert plan.folds or all(r.data[0].hold_out for r in recipes.values() if len(r.data) == 1)
    groups = plan.groups()
    if groups is not None:
        assert {v for own in groups.values() for v in own} == plan.named().keys()


def test_a_sweep_is_changed_from_outside_a_section_at_a_time() -> None:
    file = recipe_folder() / "sweeps" / "rsna-ablation.yaml"
    plain = load_grid(file)
    changes = ("seeds=[1]", "common.train.epochs=1", "variants.no-p2=null", "group_by=augment")
    plan = load_grid(file, changes)
    assert plan.seeds == (1,)
    assert plan.common == {"train.threads": 1, "train.epochs": 1}
    assert [*plan.variants] == [name for name in plain.variants if name != "no-p2"]
    assert recipe_of(plan, {}, "seed-1").train.epochs == 1
    assert set(plan.groups() or {}) == {"heavy-rotation8", "heavy"}
    with pytest.raises(ConfigError, match="'seeds'"):
        load_grid(file, ("seedz=[1]",))


def test_variants_are_grouped_by_a_setting_that_they_may_not_name() -> None:
    plan = Grid.model_validate(
        {
            "recipe": "rsna-yolo-small",
            "grid": {"augment": ["none", "light"]},
            "variants": {"own": {}},
            "group_by": "augment",
        }
    )
    assert plan.groups() == {
        "none": {"augment=none": "augment=none"},
        "light": {"augment=light": "augment=light"},
        "pneumonia": {"own": "own"},
    }
    with pytest.raises(ConfigError, match="no setting"):
        plan.model_copy(update={"group_by": "model.headz"}).groups()


def test_a_legend_does_not_repeat_what_its_figure_says() -> None:
    plan = Grid.model_validate(
        {
            "recipe": "rsna-yolo-small",
            "grid": {"seed": [1, 2], "augment": ["none"], "train.ema": [0.5]},
            "group_by": "seed",
        }
    )
    called = [list(own.values()) for own in (plan.groups() or {}).values()]
    assert called == [["augment=none,ema=0.5"]] * 2
    two = plan.model_copy(update={"grid": {"seed": [1, 2], "augment": ["none", "light"]}})
    assert [list(own.values()) for own in (two.groups() or {}).values()] == [["none", "light"]] * 2


def test_variants_that_change_one_setting_are_drawn_beside_the_first() -> None:
    plan = load_grid(recipe_folder() / "sweeps" / "rsna-one-change.yaml")
    groups = plan.groups() or {}
    assert [*groups] == ["augment", "encoder", "global head", "dropout", "pretrained"]
    assert all(next(iter(own)) == "baseline" for own in groups.values())
    assert "nasnet-mobile" in groups["encoder"]
    assert [*groups["dropout"]] == ["baseline", "dropout-75"]


def test_every_variant_has_one_folder_below_the_sweeps() -> None:
    names = ("augment=replication/light,encoder=a", "6000 light", "../up")
    assert [folder_name(name) for name in names] == [
        *("augment=replication-light,encoder=a", "6000-light", "..-up"),
    ]
    twins = grid(variants={"a/b": {}, "a b": {}})
    with pytest.raises(ConfigError, match="'a/b' and 'a b'"):
        twins.named()


def test_folds_are_repetitions_evaluated_on_what_they_left_out() -> None:
    plan = Grid.model_validate(
        {"recipe": "rsna-yolo-small", "variants": {"base": {}}, "seeds": [5], "folds": 3}
    )
    recipes = [recipe_of(plan, {}, repeat) for repeat in plan.repeats]
    assert [(one.seed, one.fold) for one in recipes] == [(5, 0), (5, 1), (5, 2)]
    assert {one.data[0].folds for one in recipes} == {3}
    assert plan.part == "validation"
    own = plan.model_copy(update={"recipe": "rsna-retinanet-seresnext101", "folds": 4})
    assert recipe_of(own, {}, "seed-5-fold-2").fold == 2
    with pytest.raises(ConfigError, match="default"):
        recipe_of(plan.model_copy(update={"recipe": "default"}), {}, "seed-5-fold-0")


def test_k_fold_training_evaluates_every_image_once(data: Path, tmp_path: Path) -> None:
    plan = grid(variants={"base": {}}, folds=2)
    table = sweep(plan, data, tmp_path / "sweep")
    assert table["runs"].tolist() == [2]
    files = [json.loads(f.read_text()) for f in (tmp_path / "sweep").glob("base/*/data.json")]
    assert [one["images"]["validation"] for one in files] == [6, 6]
    before = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("weights.safetensors")}
    assert sweep(plan, data, tmp_path / "sweep").equals(table)  # nothing is trained again
    assert before == {f: f.stat().st_mtime_ns for f in before}
    other = plan.model_copy(update={"common": {**plan.common, "augment": "light"}})
    with pytest.raises(ConfigError, match="augment"):
        sweep(other, data, tmp_path / "sweep")


def test_a_search_goes_on_with_the_trial_that_was_killed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {"stages.all.learning_rate": [1e-5, 1e-2, "log"]}
    plan = grid(search={"trials": 2, "space": space})
    real, calls = sweeping.run, []

    def killed(*given: Any, **more: Any) -> Path:
        calls.append(given)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return real(*given, **more)

    monkeypatch.setattr(sweeping, "run", killed)
    with pytest.raises(RuntimeError, match="killed"):
        sweep(plan, data, tmp_path / "sweep")
    monkeypatch.setattr(sweeping, "run", real)
    table = sweep(plan, data, tmp_path / "sweep")
    rates = [
        yaml.safe_load((tmp_path / "sweep" / f"trial-{number}" / "recipe.yaml").read_text())[
            "stages"
        ]["all"]["learning_rate"]
        for number in range(2)
    ]
    assert rates[0] != rates[1]
    assert all(1e-5 <= rate <= 1e-2 for rate in rates)
    # Each is called by what it tried, the best one (lowest loss) comes first.
    wanted = [f"trial {number}: learning_rate {rate:.3g}" for number, rate in enumerate(rates)]
    assert sorted(table["variant"]) == wanted
    assert table["value"].is_monotonic_increasing
