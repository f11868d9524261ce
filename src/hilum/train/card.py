"""The model card and the licence file of a bundle, written from the run's own figures."""

from __future__ import annotations

from collections.abc import Sequence

from hilum.core.manifest import DataLicence, Figure, Manifest
from hilum.models.options import OpacityNetOptions
from hilum.train.measure import ArmFigures
from hilum.train.recipe import Recipe
from hilum.train.split import Parts

NOTICE = "Research use only. Not a medical device: a qualified reader decides."


def card(
    recipe: Recipe,
    arms: Sequence[ArmFigures],
    parts: Parts,
    manifest: Manifest,
    difference: float,
) -> str:
    """Markdown: what it is, data, splits, figures with intervals beside the baselines, limits."""
    sections = [
        f"# Model card: {manifest.name} {manifest.version}\n\n**{NOTICE}**",
        _what(recipe),
        "## Figures\n\nWith 95 % intervals (bootstrap over patients; AUC: DeLong).\n\n"
        + _table(arms),
        _reading(arms),
        "## Splits\n\n" + _splits(parts),
        "## Operating points\n\n" + _points(manifest),
        "## Data and licences\n\n" + _licences(manifest.data_licences),
        _provenance(manifest, difference),
    ]
    return "\n\n".join(sections) + "\n"


def licence_text(licences: Sequence[DataLicence]) -> str:
    """The bundle's own licence file: research use, and what it learnt from."""
    return (
        "# Licence of this model bundle\n\n"
        "The weights were trained by the hilum founders on the data below, some of which is "
        "licensed for non-commercial use only. They may be used for **research, "
        "non-commercial**, with the attributions below; they are given without any warranty. "
        "hilum's code is under Apache-2.0; this file covers the weights alone.\n\n"
        f"{NOTICE}\n\n" + _licences(licences) + "\n"
    )


def _what(recipe: Recipe) -> str:
    m = recipe.model
    assert isinstance(m, OpacityNetOptions)
    return (
        "## What it is\n\n"
        f"One network ({m.encoder} pretrained on ImageNet, a feature pyramid of {m.channels} "
        f"channels) on {recipe.preprocessing.size} px letterboxed images, with heads for opacity "
        "boxes, an opacity mask, a lung mask (without the lung behind the heart, as in the "
        "Shenzhen and JSRT masks) and three global classes: Normal, Not Normal without opacity, "
        "Lung Opacity. For frontal chest radiographs of adults; children were seen for lung "
        "outlines only."
    )


def _table(arms: Sequence[ArmFigures]) -> str:
    names = list(dict.fromkeys(name for arm in arms for name in arm.figures))
    head = "| held-out data: figure | n | " + " | ".join(arm.name for arm in arms) + " |"
    rows = [head, "|---|---|" + "---|" * len(arms)]
    for name in names:
        found = [arm.figures.get(name) for arm in arms]
        n = next((f.n for f in found if f is not None), "")
        rows.append(f"| {name} | {n} | " + " | ".join(_shown(f) for f in found) + " |")
    minutes = [f"{arm.cpu_minutes:.0f}" if arm.cpu_minutes else "same weights" for arm in arms]
    rows.append("| training, CPU minutes (all stages and folds) | | " + " | ".join(minutes) + " |")
    return "\n".join(rows)


def _shown(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if figure.low is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})"


def _reading(arms: Sequence[ArmFigures]) -> str:
    return (
        "How to read it. COVID-opacity figures are cross-validated over patients: each image is "
        "judged by a model that never saw its patient; the shipped weights saw all of them, so "
        "these figures are of the procedure, not of the file. RSNA and Shenzhen hold-outs were "
        "never trained on. Masks and image classes do not exist for the torchvision baselines; "
        "their image score is their best box. The decoding (weights of mask and global head, NMS) "
        "was chosen per fold on the other folds. RSNA images are 128 px, an eighth of the "
        "original: the numbers cannot be compared with the challenge's. Thresholds come from "
        "validation images. `–`: not measured for that arm. CPU minutes were counted on two shared "
        "cores, with threads that wait for one another included." + _shorter(arms)
    )


def _shorter(arms: Sequence[ArmFigures]) -> str:
    """Says which arms had clearly less time than ours, if any."""
    ours = arms[0].cpu_minutes
    short = [arm for arm in arms if 0 < arm.cpu_minutes < 0.9 * ours]
    return "".join(
        f" **{arm.name} had only {arm.cpu_minutes:.0f} of our {ours:.0f} CPU minutes**, so its "
        "figures are a lower bound."
        for arm in short
    )


def _splits(parts: Parts) -> str:
    rows = ["| part | images | patients | with opacity |", "|---|---|---|---|"]
    named = {
        **{f"train, {k}": v for k, v in parts.train.items()},
        "validation, RSNA": parts.rsna_validation,
        "test, RSNA": parts.rsna_test,
        "test, Shenzhen": parts.shenzhen_test,
        f"{len(parts.folds)} folds, COVID opacity": [i for fold in parts.folds for i in fold],
    }
    for name, items in named.items():
        positive = sum(bool(item.label[2] == 1) for item in items)
        patients = len({item.patient for item in items})
        rows.append(f"| {name} | {len(items)} | {patients} | {positive} |")
    rows.append(
        "\nNo patient is in two parts (checked when splitting); training images that look like a "
        "held-out one (correlation above .99 at 24 px) were left out. Under-18s were left out of "
        "the NIH and RSNA images."
    )
    return "\n".join(rows)


def _points(manifest: Manifest) -> str:
    rows = ["| name | score | threshold | aim | reached there | chosen on |", "|---|" + "---|" * 5]
    for name, point in manifest.operating_points.items():
        keys = ("sensitivity", "specificity", "precision", "fp_per_image", "rsna_score")
        reached = ", ".join(
            f"{key.replace('_', ' ')} {point.achieved[key]:.2f}"
            for key in keys
            if key in point.achieved
        )
        rows.append(
            f"| {name} | {point.score} | {point.threshold:.3f} | {point.reason} | {reached} | "
            f"{point.chosen_on} |"
        )
    assumed = dict.fromkeys(p.assumes for p in manifest.operating_points.values() if p.assumes)
    rows += [f"\nWhat a conformal guarantee rests on: {text}." for text in assumed]
    if manifest.calibration is not None and manifest.calibration.fitted_on:
        rows.append(
            f"\nScores are calibrated ({manifest.calibration.fitted_on}): where images are like "
            "those, of boxes of score .3 about three in ten are true. Elsewhere they are not."
        )
    return "\n".join(rows)


def _licences(licences: Sequence[DataLicence]) -> str:
    rows = ["| data | use | licence | source | attribution |", "|---|---|---|---|---|"]
    for item in licences:
        rows.append(
            f"| {item.name} | {item.use} | {item.licence} | {item.source} | {item.attribution} |"
        )
    return "\n".join(rows)


def _provenance(manifest: Manifest, difference: float) -> str:
    p = manifest.provenance
    libraries = ", ".join(f"{name} {value}" for name, value in p.libraries.items())
    return (
        "## Provenance\n\n"
        f"`{p.command}` at commit `{p.commit[:12]}`, seed {p.seed}, {p.created}; {libraries}. "
        f"Largest difference between the fp32 graph and PyTorch: {difference:.1e}. {p.notes}\n\n"
        "## Known limits\n\n"
        "Trained on a few thousand small images and 83 images with drawn opacities. Not tested on "
        "portable images with many devices, on lateral views or on children. Operating points and "
        "calibration are of no hospital. See `docs/first-look.md` for what it gets wrong."
    )
