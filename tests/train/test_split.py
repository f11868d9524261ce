"""Splits hold whole patients, and no held-out picture has a twin in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.prepare import Preprocessing
from hilum.train.recipe import SplitOptions
from hilum.train.split import make_parts, split_patients
from hilum.train.store import Item, load_catalogs, prepare_items, without_copies


def item(number: int, patient: str, positive: bool, group: str = "rsna") -> Item:
    rng = np.random.default_rng(number)
    label = np.array([0, 0, 1] if positive else [1, 0, 0], np.float32)
    return Item(
        f"{group}-{number}",
        group,
        patient,
        rng.random((32, 32)).astype(np.float16),
        np.zeros((0, 4), np.float32),
        {},
        label,
        np.full(14, np.nan, np.float32),
    )


def test_no_patient_is_in_two_parts_and_classes_are_balanced() -> None:
    items = [item(i, f"p{i % 40}", i % 40 < 10) for i in range(200)]
    parts = split_patients(items, (0.25, 0.25), seed=3)
    patients = [{i.patient for i in part} for part in parts]
    assert not patients[0] & patients[1] | patients[0] & patients[2] | patients[1] & patients[2]
    assert sum(map(len, parts)) == 200
    shares = [np.mean([i.label[2] for i in part]) for part in parts]
    assert max(shares) - min(shares) < 0.11
    again = split_patients(items, (0.25, 0.25), seed=3)
    assert [[i.image_id for i in part] for part in again] == [
        [i.image_id for i in part] for part in parts
    ]


def test_a_copy_of_a_held_out_picture_leaves_training() -> None:
    held, other = item(1, "a", True), item(2, "b", False)
    twin = item(3, "c", False)
    twin.image = (held.image * np.float16(0.9)).astype(np.float16)
    assert without_copies([twin, other], [held]) == [other]


@pytest.mark.slow
def test_the_real_sets_split_without_shared_patients(hilum_data: Path) -> None:
    catalogs = load_catalogs(hilum_data)
    some = {
        name: catalog.where(np.arange(len(catalog)) % (1 if name.startswith("covid") else 8) == 0)
        for name, catalog in catalogs.items()
    }
    groups = {n: prepare_items(n, c, Preprocessing(64)) for n, c in some.items()}
    parts = make_parts(groups, SplitOptions(), seed=7)
    covid = {i.patient for fold in parts.folds for i in fold}
    assert not covid & {i.patient for i in parts.train["covid_adult_512"]}
    held = {i.patient for i in [*parts.rsna_test, *parts.rsna_validation]}
    assert held
    assert not held & {i.patient for g in ("rsna", "nih") for i in parts.train[g]}
    for k, fold in enumerate(parts.folds):
        assert not {i.patient for i in fold} & {i.patient for i in parts.target_train(k)}
