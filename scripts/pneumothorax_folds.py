"""Five folds of patients: the pneumothorax classifier, and what gate and clean-up are worth (E).

    python scripts/pneumothorax_folds.py RUNS --data $HILUM_DATA [--out table.md]

RUNS holds pneumothorax-classifier-K and pneumothorax-segmenter-K of `scripts/train_all.sh`. Every
image is seen by the two networks that learnt from other patients, and every threshold of a fold is
the best one on the images of the other folds: nothing chose itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.core.files import write_text
from hilum.core.prediction import Prediction
from hilum.evaluate import bootstrap, dice, mean_of
from hilum.evaluate.metrics.classification import at_threshold
from hilum.evaluate.statistics.bootstrap import paired_bootstrap
from hilum.evaluate.statistics.reweighted import auc_of
from hilum.fuse import remove_small, triplet_mask
from hilum.train.evaluation import HeldOut, raw_predictions
from hilum.train.export.bundle import images_of, network_of
from hilum.train.folder import RunFolder

FINDING = "pneumothorax"
CUTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
SIZES = (0, 500, 1000, 2000, 3500, 6000)  # px at 1024, as in the challenge
TOPS = ((0.7, 0), (0.7, 500), (0.8, 500), (0.8, 2000), (0.9, 500))  # probability, px at 1024

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One image as the networks see it that did not learn from its patient."""

    fold: int
    patient: str
    score: float  # of the classifier
    map: NDArray[np.float32]  # (H, W) probabilities of the segmenter
    truth: Bool  # (H, W)

    @property
    def scale(self) -> float:
        """Pixels at 1024 of one pixel."""
        return 1024 * 1024 / self.truth.size


def seen(runs: Path, data: Path, fold: int) -> list[Seen]:
    """The images of a fold."""
    scores, _ = _predicted(runs / f"{FINDING}-classifier-{fold}", data)
    maps, held_out = _predicted(runs / f"{FINDING}-segmenter-{fold}", data)
    return [
        Seen(
            fold=fold,
            patient=truth.patient,
            score=scores[truth.image_id].image_scores[FINDING],
            map=maps[truth.image_id].maps[FINDING].at_source(),
            truth=truth.masks[FINDING](truth.height, truth.width),
        )
        for truth in held_out.truths
    ]


def _predicted(run: Path, data: Path) -> tuple[dict[str, Prediction], HeldOut]:
    net, recipe = network_of(run)
    held_out = images_of(RunFolder.of(run), recipe, data).held_out["validation"]
    predictions = raw_predictions(net, held_out.images, recipe, recipe.spec)
    return {
        image.image_id: one for image, one in zip(held_out.images, predictions, strict=True)
    }, held_out


@dataclass(frozen=True, slots=True)
class Settings:
    """What a fold takes from the others."""

    gate: float  # of the classifier's score, best MCC
    cut: float  # of the map, best mean Dice of the images with a pneumothorax
    size: float  # px at 1024, best mean Dice behind the gate
    triplet: tuple[float, float]  # top and its pixels at 1024, the same; the bottom is the cut


def chosen(others: Sequence[Seen]) -> Settings:
    """The best on these images."""
    truth = np.array([one.truth.any() for one in others])
    scores = np.array([one.score for one in others])
    gate = max(np.unique(scores), key=lambda at: at_threshold(truth, scores, at)["mcc"])
    cut = max(CUTS, key=lambda at: mean_dice([o for o in others if o.truth.any()], segment(at)))
    size = max(SIZES, key=lambda px: mean_dice(others, clean(gate, cut, px)))
    triplet = max(TOPS, key=lambda top: mean_dice(others, sure(gate, cut, top)))
    return Settings(gate=float(gate), cut=cut, size=size, triplet=triplet)


# --- variants: an image -> its mask

Variant = Callable[[Seen], Bool]


def nothing(one: Seen) -> Bool:
    return np.zeros_like(one.truth)


def segment(cut: float) -> Variant:
    return lambda one: one.map >= cut


def gated(gate: float, then: Variant) -> Variant:
    return lambda one: then(one) if one.score >= gate else nothing(one)


def clean(gate: float, cut: float, size: float) -> Variant:
    return gated(gate, lambda one: remove_small(one.map >= cut, size / one.scale))


def sure(gate: float, cut: float, top: tuple[float, float]) -> Variant:
    return gated(gate, lambda one: triplet_mask(one.map, top[0], top[1] / one.scale, cut))


VARIANTS: dict[str, Callable[[Settings], Variant]] = {
    "nothing drawn": lambda _: nothing,
    "segmenter": lambda s: segment(s.cut),
    "gate, segmenter": lambda s: gated(s.gate, segment(s.cut)),
    "gate, segmenter, small parts removed": lambda s: clean(s.gate, s.cut, s.size),
    "gate, segmenter, triplet threshold": lambda s: sure(s.gate, s.cut, s.triplet),
    "segmenter, small parts removed": lambda s: clean(-1.0, s.cut, s.size),
}


def mean_dice(images: Sequence[Seen], variant: Variant) -> float:
    return float(np.mean([dice(one.truth, variant(one)) for one in images]))


# --- the table


def table(images: Sequence[Seen]) -> Iterator[str]:
    """Markdown: the classifier, then each variant beside the segmenter alone."""
    folds = sorted({one.fold for one in images})
    settings = {fold: chosen([one for one in images if one.fold != fold]) for fold in folds}
    patients = np.array([one.patient for one in images])
    truth = np.array([one.truth.any() for one in images])
    score = np.array([one.score for one in images])
    called = np.array([one.score >= settings[one.fold].gate for one in images])
    mcc = bootstrap(lambda rows: at_threshold(truth[rows], called[rows], 0.5)["mcc"], patients)
    yield f"{len(images)} images of {len(set(patients))} patients, {truth.sum()} with a finding"
    yield f"classifier: MCC {mcc}, AUC {bootstrap(auc_of(truth, score), patients)}"
    yield ""
    yield "| masks | mean Dice | of those with a pneumothorax | beside the segmenter alone |"
    yield "|---|---|---|---|"
    values = {
        name: np.array([dice(one.truth, make(settings[one.fold])(one)) for one in images])
        for name, make in VARIANTS.items()
    }
    for name, own in values.items():
        every = bootstrap(mean_of(own), patients)
        some = bootstrap(mean_of(own[truth]), patients[truth])
        more = paired_bootstrap(mean_of(own), mean_of(values["segmenter"]), patients).difference
        yield f"| {name} | {every} | {some} | {'' if name == 'segmenter' else more} |"
    yield ""
    yield from (f"fold {fold}: {one}" for fold, one in settings.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    images = [one for fold in range(given.folds) for one in seen(given.runs, given.data, fold)]
    text = "\n".join(table(images))
    print(text)
    if given.out:
        write_text(given.out, text + "\n")


if __name__ == "__main__":
    main()
