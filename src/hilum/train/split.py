"""The default recipe's patient-level splits: seeded, stratified, and proved disjoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hilum.core.errors import DataError
from hilum.train.recipe import SplitOptions
from hilum.train.store import Item, without_copies


@dataclass(slots=True)
class Parts:
    """Items by role. `folds[k]` are the COVID-opacity items held out in fold k."""

    train: dict[str, list[Item]]  # group -> items, without covid_opacity_512
    rsna_validation: list[Item]
    rsna_test: list[Item]
    shenzhen_test: list[Item]
    folds: list[list[Item]]

    def target_train(self, fold: int | None) -> list[Item]:
        """COVID-opacity training items of a fold; all of them for the final model."""
        kept = [item for k, part in enumerate(self.folds) if k != fold for item in part]
        return kept if fold is None else without_copies(kept, self.folds[fold])


def split_patients(items: list[Item], fractions: tuple[float, ...], seed: int) -> list[list[Item]]:
    """Parts of the given fractions (the rest is the last part), whole patients only.

    Stratified by whether any image of the patient shows an opacity.
    """
    positive: dict[str, bool] = {}
    for item in items:
        hit = bool(item.label[2] == 1 or (item.boxes is not None and len(item.boxes)))
        positive[item.patient] = positive.get(item.patient, False) or hit
    part_of: dict[str, int] = {}
    rng = np.random.default_rng(seed)
    for wanted in (True, False):
        patients = sorted(p for p, hit in positive.items() if hit == wanted)
        order = rng.permutation(len(patients))
        bounds = np.round(np.cumsum(fractions) * len(patients)).astype(int)
        for rank, index in enumerate(order):
            part_of[patients[index]] = int(np.searchsorted(bounds, rank, side="right"))
    parts: list[list[Item]] = [[] for _ in range(len(fractions) + 1)]
    for item in items:
        parts[part_of[item.patient]].append(item)
    return parts


def make_parts(groups: dict[str, list[Item]], options: SplitOptions, seed: int) -> Parts:
    """Split every group; nothing held out, nor a copy of it, is left in training."""
    test, validation, rsna = split_patients(
        groups["rsna"], (options.rsna_test, options.rsna_validation), seed
    )
    shenzhen_test, shenzhen = split_patients(groups["shenzhen_512"], (options.shenzhen_test,), seed)
    covid = groups["covid_opacity_512"]
    k = options.covid_folds
    folds = split_patients(covid, tuple([1 / k] * (k - 1)), seed)
    held = [*test, *validation, *shenzhen_test, *covid]
    away = {item.patient for item in held}
    train = {"rsna": rsna, "shenzhen_512": shenzhen}
    for name in ("nih", "jsrt_128", "kermany_lungs_320", "covid_adult_512"):
        train[name] = groups[name]
    train = {
        name: without_copies([i for i in items if i.patient not in away], held)
        for name, items in train.items()
    }
    parts = Parts(train, validation, test, shenzhen_test, folds)
    _prove_disjoint(parts)
    return parts


def _prove_disjoint(parts: Parts) -> None:
    training = {item.patient for items in parts.train.values() for item in items}
    held = [parts.rsna_validation, parts.rsna_test, parts.shenzhen_test, *parts.folds]
    seen = set(training)
    for part in held:
        patients = {item.patient for item in part}
        if patients & seen:
            raise DataError(f"patients in two parts: {sorted(patients & seen)[:5]}")
        seen |= patients
