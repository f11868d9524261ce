"""Recipes: frozen, checked when read, unknown keys named."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import ConfigError
from hilum.train.recipe import load_recipe


def test_the_default_recipe_is_the_training_that_was_done() -> None:
    """Mix, sizes and schedule of the shipped weights."""
    recipe = load_recipe("default")
    shares = recipe.mix_of("small")
    assert shares is not None
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["siim_covid_256"] == 0.36
    assert shares["nih-rsna"] == pytest.approx(0.07)
    assert shares["nih"] == pytest.approx(0.05)
    assert [recipe.size_of(name) for name in recipe.stages] == [160, 256, 256, 256, 256]
    assert recipe.stages["full"].continues
    # Boxes begin at level 3 of the pyramid: what the last stage teaches, no box depends on.
    assert min(recipe.model.anchors.levels) == 3  # type: ignore[union-attr]
    assert recipe.stages["masks"].learns == (
        *("mask_head", "pyramid.inner_blocks.0", "pyramid.layer_blocks.0"),
    )
    conventions = {one.own_name: one.masks.get("lungs", ("lungs",)) for one in recipe.data}
    assert {name for name, own in conventions.items() if not own} == {
        "covid_qu_256",
        "covid_adult_512",
        "covid_opacity_512",
        "kermany_lungs_320",
    }  # their lung masks include what is behind the heart


def test_one_set_and_a_mixture_are_the_same_thing() -> None:
    one = load_recipe("rsna-yolo-small")
    assert len(one.data) == 1
    changed = load_recipe("rsna-yolo-small", ("data.sample=30", "data.hold_out.test=0.5"))
    assert changed.data[0].sample == 30
    assert changed.data[0].hold_out is not None
    assert (changed.data[0].hold_out.validation, changed.data[0].hold_out.test) == (0.1, 0.5)
    many = load_recipe("default", ("data.jsrt_128.weight=0.5", "data.0.adults=true"))
    assert many.mix_of("small")["jsrt_128"] == 0.5  # type: ignore[index]
    assert many.data[0].adults
    more = load_recipe("default", ("data.own.set=own.parquet", "data.own.weight=0.2"))
    assert [one.own_name for one in more.data] == [*(one.own_name for one in many.data), "own"]


def test_settings_can_be_changed_from_outside() -> None:
    assert load_recipe("default", ("stages.full.steps=3",)).stages["full"].steps == 3
    left_out = ("stages.more=null", "train.average.stages=[again]")
    assert list(load_recipe("default", left_out).stages) == ["small", "full", "again", "masks"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("stages.full.stepz=3", "steps"),
        ("stages.small=null", "nothing that it continues"),
        ("modl.encoder=x", "model"),
        ("stages.full.epochs=3", "either steps or epochs"),
        ("train.batch=0", "batch"),
        ("train.batch", "KEY=VALUE"),
        ("augment=[", "not YAML"),
        ("augment=hevy", "augment: unknown augmentation 'hevy'. Did you mean 'heavy'"),
        ("data.rsna_128.box_labels={opacity: 3}", r"a list, \[A, B\] \(got 3\)$"),
        ("stages.small.learning_rate=.inf", "finite"),
        ("seed=-1", "seed"),
        ("data.rsna_12.weight=1", "'rsna_128'"),
        ("data.rsna_128.weight=null", "a weight for every source"),
        ("data.rsna_256.name=rsna_128", "two sources are called"),
        ("data.rsna_128.hold_out.test=1", "at most 1"),
        ("data.rsna_128.folds=3", "hold_out or folds"),
        ("data.jsrt_128.teachs=[masks]", "teaches"),
        ("stages.full.mix={rsna: 1}", "unknown group 'rsna'"),
        ("stages.full.learning_rate=0.1", "continues"),
        ("train.oversample=0.5", "positives: null, no weight, no mix"),
        ("train.positives=0.7", "positives: 0.7: stage small draws its images by"),
        ("stages.full.positives=0.7", "positives: 0.7: stage full draws its images by"),
        ("stages.small.continues=true", "nothing that it continues|continues"),
        ("stages.masks.size=128", "preprocessing.size"),
        ("targets.positive=[opacities]", "which of the classes"),
        ("targets.classes=[negative, typical]", "which of the classes"),
    ],
)
def test_wrong_settings_are_named(change: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_recipe("default", (change,))


def test_one_name_needs_no_brackets() -> None:
    recipe = load_recipe("rsna-yolo-small", ("data.box_labels.opacity=Opacity",))
    assert recipe.data[0].box_labels == {"opacity": ("Opacity",)}


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
    with pytest.raises(ConfigError, match="no mapping"):
        load_recipe(str(tmp_path / "top.yaml"))


def test_the_terms_of_a_loss_are_given_all_at_once(tmp_path: Path) -> None:
    """A sum: a sweep's Tversky alone was Tversky beside the recipe's focal loss and Dice."""

    def loss(name: str, *changes: str) -> dict[str, float]:
        return load_recipe(name, changes).model.loss  # type: ignore[union-attr, return-value]

    assert loss("siim-acr-fpn-irv2", "model.loss={tversky: 1}") == {"tversky": 1}
    assert loss("siim-acr-fpn-irv2", "model.loss.dice=0.5") == {"focal": 1, "dice": 0.5}
    own = "{extends: siim-acr-fpn-irv2, name: own, model: {loss: {bce: 2}}}"
    (tmp_path / "own.yaml").write_text(own)
    assert loss(str(tmp_path / "own.yaml")) == {"bce": 2}


# --- files that others wrote ---


def written(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return str(folder / f"{next(iter(files))}.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: a.yaml", "extends itself"),
        ("extends: ./../{folder}/a.yaml", "extends itself"),
        ("extends: b.yaml", "extends recipes 4 deep|extends itself"),
        ("extends: [default, default]", "each once"),
        ("extends: [a, b, c, d, e]", "at most 4"),
        ("extends: {a: b}", "needed: a recipe's name"),
        ("extends: " + "x" * 5000, "unknown recipe 'x{100}'"),
        ('extends: "a\\0b"', "NUL"),
        ("[a, b]", "no mapping"),
        ("a: &a [*a]", "nested deeper"),
        ("<<: {a: 1}", "merge keys"),
        ("extends: default\ndata: {99: {weight: 1}}", "unknown source '99'"),
        ("extends: default\ndata: {\u00b2: {weight: 1}}", "unknown source"),
        ("extends: default\nseed: .inf", "inf is no finite number"),
        ("extends: default\npreprocessing: {size: 1000000000000000}", "less than or equal to"),
    ],
)
def test_no_file_breaks_the_reader(tmp_path: Path, text: str, message: str) -> None:
    place = written(tmp_path, a=text.replace("{folder}", tmp_path.name), b="extends: b2.yaml")
    for n in range(2, 8):
        written(tmp_path, **{f"b{n}": f"extends: b{n + 1}.yaml"})
    with pytest.raises(ConfigError, match=message):
        load_recipe(place)


def test_changes_of_sources_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="each a mapping"):
        load_recipe(written(tmp_path, a="name: a\ndata: [a, b]"), ("data.a.weight=1",))
