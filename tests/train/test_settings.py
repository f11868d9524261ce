"""Recipes, schedules, samplers and tables of a training, as their settings promise. No network."""

from __future__ import annotations

import itertools
import json
import math
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.phantom_set import small
from hilum.core import progress
from hilum.core.errors import ConfigError, DataError
from hilum.core.geometry import Letterbox
from hilum.core.manifest import DataLicence, Figure
from hilum.data.licences import LICENCES
from hilum.train.export.card import Evidence, _numbers, _variants, licence_text
from hilum.train.export.licences import UNKNOWN, _entries
from hilum.train.folder import RunFolder, _differences, locked
from hilum.train.loader import enriched, passes, sampler
from hilum.train.optim import factor
from hilum.train.options import HoldOut, ScheduleOptions, SourceOptions, StageOptions
from hilum.train.recipe import load_recipe, parse
from hilum.train.run import plans
from hilum.train.samples import PreparedImage, without_copies
from hilum.train.stage import better

few = settings(max_examples=20, deadline=None)
SIZE = 32


def image(number: int, *, positive: bool = False, group: str = "a") -> PreparedImage:
    rng = np.random.default_rng(number)
    return PreparedImage(
        image_id=str(number),
        source=group,
        group=group,
        patient=f"p{number}",
        image=rng.random((SIZE, SIZE)).astype(np.float16),
        frame=Letterbox(SIZE, SIZE, SIZE),
        boxes=np.array([[1, 1, 9, 9]] * positive, np.float32).reshape(-1, 4),
        masks={},
        label=np.zeros(3, np.float32),
        findings=np.zeros(0, np.float32),
        box_labels=("opacity",) * positive,
        positive_class=positive,
    )


# --- order of samples ---


@few
@given(st.integers(1, 12), st.integers(0, 2**31 - 1))
def test_every_pass_shows_every_image_once(count: int, seed: int) -> None:
    images = [image(i) for i in range(count)]
    one = passes(images, seed)
    rng = np.random.default_rng(0)
    assert one.epoch == count
    orders = []
    for turn in range(3):
        shown = [one.draw(turn * count + i, rng).image_id for i in range(count)]
        assert sorted(shown) == sorted(i.image_id for i in images)
        orders.append(shown)
    again = passes(images, seed)
    assert [again.draw(count + i, rng).image_id for i in range(count)] == orders[1]
    if count > 8:
        assert orders[0] != orders[1] != orders[2]


@few
@given(st.integers(1, 6), st.integers(1, 20), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_an_enriched_pass_has_all_positives_and_the_named_share(
    positives: int, others: int, share: float
) -> None:
    images = [image(i, positive=i < positives) for i in range(positives + others)]
    one = enriched(images, share, seed=3)
    assert one.epoch is not None
    rng = np.random.default_rng(0)
    shown = [one.draw(i, rng) for i in range(one.epoch)]
    counts = Counter(i.image_id for i in shown if i.positive)
    assert counts == {str(i): 1 for i in range(positives)}
    assert abs(positives / len(shown) - share) <= 1 / len(shown)
    with pytest.raises(DataError, match="positive"):
        enriched([image(1)], share, seed=3)


def test_a_mix_of_a_group_that_is_empty_is_refused() -> None:
    images = [image(i, group="a") for i in range(4)]
    with pytest.raises(DataError, match="b: no image"):
        sampler(images, mix={"a": 1.0, "b": 1.0}, positives=None, seed=1)
    alone = sampler(images, mix={"a": 1.0, "b": 0.0}, positives=None, seed=1)
    assert alone.epoch is None
    assert alone.draw(5, np.random.default_rng(5)).group == "a"


def test_a_copy_is_known_by_its_image_whatever_its_contrast() -> None:
    own = [image(i) for i in range(4)]
    darker = image(2)
    darker.image = (darker.image * np.float16(0.5) + np.float16(0.2)).astype(np.float16)
    turned, negative = image(0), image(3)
    turned.image = np.ascontiguousarray(np.rot90(turned.image)[:, ::-1])
    negative.image = (1 - negative.image).astype(np.float16)
    for copies, kept in (([darker], "013"), ([darker, turned, negative], "1")):
        left = without_copies(own, copies)
        assert [one.image_id for one in left] == [*kept]
    assert without_copies(own, []) == own


# --- schedules ---

SCHEDULES = [
    ScheduleOptions(kind=kind, warmup=warmup)  # type: ignore[arg-type]
    for kind, warmup in itertools.product(("cosine", "cosine-floor", "constant"), (0, 10))
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s.kind}-{s.warmup}")
def test_a_rate_rises_in_its_warm_up_and_never_after(schedule: ScheduleOptions) -> None:
    stage = StageOptions(steps=100, learning_rate=1.0, schedule=schedule)
    rates = [factor(step, stage, 100, 10) for step in range(100)]
    assert all(0 < rate <= 1.001 for rate in rates)
    warm = schedule.warmup
    assert rates[:warm] == sorted(rates[:warm])
    assert rates[warm:] == sorted(rates[warm:], reverse=True)
    if warm:
        assert rates[0] == pytest.approx(1 / warm, rel=0.02)


def test_a_stage_that_continues_goes_on_with_one_schedule() -> None:
    recipe = small()
    raw = recipe.model_dump(mode="json")
    raw["train"]["epochs"] = None
    raw["stages"] = {
        "small": {"steps": 30, "size": 64, "learning_rate": 0.1},
        "more": {"steps": 20, "continues": True},
        "own": {"steps": 10, "learning_rate": 0.01},
    }
    recipe = parse(raw, "here")
    images = [image(i, group=recipe.data[0].own_group) for i in range(10)]
    small_, more, own = plans(recipe, images, Path("out"))
    assert (small_.offset, more.offset, own.offset) == (0, 30, 0)
    assert small_.span == more.span == 50
    assert own.span == 10
    assert more.options == small_.options
    assert more.begin == Path("out/small")
    assert small_.begin is own.begin is None
    assert small_.first < more.first < own.first
    assert len({one.seed for one in (small_, more, own)}) == 3


def test_losses_fall_and_metrics_rise() -> None:
    assert better("val_loss", 0.1, 0.2)
    assert not better("val_loss", 0.2, 0.1)
    assert better("ap50", 0.2, 0.1)
    for name in ("val_loss", "ap50"):
        assert not better(name, math.nan, 0.1)
        assert better(
            name, 0.1, math.nan
        )  # or a first epoch without the number would stay the best
        assert not better(name, math.nan, math.nan)


# --- recipes ---


def test_of_two_recipes_that_are_extended_the_later_wins(tmp_path: Path) -> None:
    base = load_recipe("rsna-yolo-small").model_dump(mode="json")
    (tmp_path / "base.yaml").write_text(json.dumps(base))
    (tmp_path / "a.yaml").write_text("seed: 1\ntrain: {batch: 3, threads: 1}")
    (tmp_path / "b.yaml").write_text("train: {batch: 5}")
    own = tmp_path / "own.yaml"
    own.write_text("extends: [base.yaml, a.yaml, b.yaml]\nname: own")
    recipe = load_recipe(str(own))
    assert (recipe.name, recipe.seed) == ("own", 1)
    assert (recipe.train.batch, recipe.train.threads) == (5, 1)
    circle = tmp_path / "circle.yaml"
    circle.write_text("extends: circle.yaml")
    with pytest.raises(ConfigError, match="extends itself"):
        load_recipe(str(circle))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "no mapping"),
        ("a: [", "not YAML"),
        ("extends: {a: 1}", "extends"),
        ("extends: [1]", "extends"),
        ("extends: nowhere-at-all", "unknown recipe"),
    ],
)
def test_a_file_that_is_no_recipe_says_why(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recipe(str(tmp_path / "r.yaml"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": [{"set": "rsna"}, {"set": "rsna"}]}, "two sources are called"),
        ({"data": [{"set": "rsna", "weight": 1}, {"set": "nih"}]}, "weight for every source"),
        ({"fold": 5, "data": [{"set": "rsna", "folds": 5}]}, "no source has so many folds"),
        ({"stages": {"a": {"steps": 1, "continues": True}}}, "nothing that it continues"),
        (
            {"stages": {"a": {"steps": 1, "epochs": 1, "learning_rate": 1}}},
            "either steps or epochs",
        ),
        ({"stages": {"a": {"steps": 1}}}, "learning_rate"),
        ({"stages": {"a": {"steps": 1, "learning_rate": 1, "mix": {"nih": 1}}}}, "unknown group"),
        ({"stages": {"a": {"steps": 1, "learning_rate": 1, "size": 96}}}, "preprocessing.size"),
        ({"stages": {"a": {"steps": 1, "learning_rate": 1, "mix": {"yolo": 0}}}}, "share above 0"),
        ({"targets": {"positive": ["everything"]}}, "positive"),
        ({"data": [{"set": "a", "hold_out": {"test": 0.1}, "folds": 3}]}, "not both"),
        ({"augment": "wild"}, "wild"),
        ({"seed": -1}, "seed"),
        ({"model": {"kind": "transformer"}}, "model"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else None,
)
def test_settings_that_contradict_each_other_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    raw = small().model_dump(mode="json")
    raw["train"]["epochs"] = None
    with pytest.raises(ConfigError, match=message):
        parse(raw | changes, "here")


def test_shares_of_patients_add_up_to_at_most_one() -> None:
    for shares in ({}, {"validation": 0.6, "test": 0.6}, {"test": -0.1}):
        with pytest.raises(ValueError):
            HoldOut.model_validate(shares)
    assert HoldOut(test=1.0).validation == 0
    assert SourceOptions(set="sets/own.parquet").own_name == "own"
    assert SourceOptions(set="rsna", name="a").own_group == "a"


# --- the folder ---


def test_two_settings_differ_by_name_and_some_change_nothing() -> None:
    a = small().model_dump(mode="json")
    b = small("train.batch=7", "train.workers=3", "seed=9").model_dump(mode="json")
    assert _differences(a, a) == set()
    assert _differences(a, b) == {"train.batch", "seed"}  # workers change no number
    c = a | {"data": [a["data"][0] | {"cache": True, "adults": True}]}
    assert _differences(a, c) == {"data.0.adults"}
    assert _differences(a, a | {"data": []}) == {"data"}


def test_a_folder_is_locked_for_all_but_one(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        caught: list[Exception] = []

        def second() -> None:
            try:
                with locked(tmp_path / "run"):
                    pass
            except ConfigError as error:
                caught.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert "writes there" in str(caught[0])
    with locked(tmp_path / "run"):
        pass  # it is free again


def test_numbers_of_parts_are_added_to_the_results(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, small())
    assert folder.results == {}
    folder.record("validation", {"ap50": 0.5})
    folder.record("test", {"ap50": 0.25})
    folder.record("validation", {"auc": 0.75})
    assert folder.results == {"validation": {"auc": 0.75}, "test": {"ap50": 0.25}}
    assert folder.metrics().empty
    with pytest.raises(ConfigError, match="no run"):
        RunFolder.of(tmp_path)


# --- sweeps and cards ---


def evidence(**changes: Any) -> Evidence:
    figures = {
        "test, a (fp32)": {"ap50": Figure(value=0.5, low=0.4, high=0.6, n=200, on="test, a")},
        "test, b (fp32)": {"auc": Figure(value=0.75, n=12, on="test, b")},
    }
    plain: dict[str, Any] = {"figures": figures, "data": {}, "cpu_minutes": 1, "difference": 0}
    return Evidence(**(plain | changes))


def test_a_card_shows_intervals_and_says_where_images_are_few() -> None:
    text = _numbers(evidence())
    assert "| test, a (fp32) | 200 | 0.500 (0.400–0.600) | – |" in text
    assert "| test, b (fp32) | 12 | – | 0.750 |" in text
    assert "say little: test, b (fp32)." in text
    rows = [
        {"variant": "base", "runs": 2, "value": 0.5, "low": 0.4, "high": 0.6},
        {"variant": "one", "runs": 1, "value": 0.7, "difference": 0.2, "verdict": "higher"},
    ]
    table = _variants(evidence(sweep=pd.DataFrame(rows), watched="ap50"))
    assert "| base | 2 | 0.500 (0.400–0.600) |  |  |" in table
    assert "| one | 1 | 0.700 | 0.200 | higher |" in table


def test_every_set_and_its_pretrained_encoder_has_a_licence() -> None:
    every = _entries(dict.fromkeys((*LICENCES, "own"), "training"), pretrained=True, stated={})
    assert [one.name for one in every[: len(LICENCES)]] == list(LICENCES)
    assert all(one.licence for one in every)
    assert every[len(LICENCES)] == DataLicence(name="own", licence=UNKNOWN)
    assert every[-1].use.startswith("pretrained")
    assert len(every) == len(LICENCES) + 2
    assert _entries({"own": "training"}, pretrained=False, stated={})[-1].name == "own"
    text = licence_text(every)
    assert all(one.name in text and one.attribution in text for one in every)
    assert "non-commercial" in text


# --- progress ---


def test_a_silent_phase_is_spoken_of_and_a_talking_one_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="hilum.progress")
    with progress.spoken(0.05):
        for number in progress.counted(range(3), "preparing", 3):
            if number == 1:
                threading.Event().wait(0.2)
    lines = [record.getMessage() for record in caplog.records]
    assert "preparing: 2 of 3" in lines
    assert not any(thread.name == "hilum-progress" for thread in threading.enumerate())
