"""The model card and the licence file of a bundle, written from the run's own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from hilum.core.manifest import DataLicence, Figure, Manifest
from hilum.evaluate.evaluation import Subgroup
from hilum.evaluate.metrics.names import text
from hilum.train.export.shortcuts import Shortcuts
from hilum.train.recipe import Recipe

NOTICE = "Research use only. Not a medical device: a qualified reader decides."
FEW = 30  # images of a part, below which its numbers say little
LEADING = (
    *("ap50", "rsna_score", "box_f1", "box_recall", "box_precision", "auc", "mcc"),
    *("class_accuracy", "class_f1", "class_map"),
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the card reports."""

    figures: Mapping[str, Mapping[str, Figure]]  # "test, SET (fp32)" -> number -> figure
    data: Mapping[str, Any]  # data.json of the run
    cpu_minutes: float
    difference: float  # between the graph and PyTorch
    subgroups: Mapping[str, Sequence[Subgroup]] = field(default_factory=dict)  # of each source
    shortcuts: Shortcuts | None = None
    sweep: pd.DataFrame | None = None  # variants beside this run
    watched: str = ""  # what they were compared by

    def leading(self) -> dict[str, Figure]:
        """The test numbers that the manifest keeps."""
        return {
            f"{part}: {name}": figure
            for part, own in self.figures.items()
            if part.startswith("test") and "comparison" not in part
            for name, figure in own.items()
            if leads(name)
        }


def leads(name: str) -> bool:
    """Whether a number stands on the card and in the manifest."""
    of_masks = name.startswith("dice_") and not name.startswith("dice_positive")
    return name in LEADING or of_masks


def card(recipe: Recipe, manifest: Manifest, evidence: Evidence) -> str:
    """Markdown: what it is, numbers with intervals, splits, operating points, licences, limits."""
    sections = evaluated(manifest, evidence)
    points = sections.pop("Operating points")
    sections = {
        "What it is": _what(recipe, manifest),
        "Numbers": sections.pop("Numbers"),
        **({"Variants": _variants(evidence)} if evidence.sweep is not None else {}),
        **sections,
        "Data": _data(evidence.data),
        "Operating points": points,
        "Licences": licence_rows(manifest.data_licences),
        "Provenance": _provenance(manifest, evidence),
    }
    title = f"# Model card: {manifest.name} {manifest.version}\n\n**{NOTICE}**"
    return "\n\n".join([title, *(f"## {k}\n\n{text}" for k, text in sections.items())]) + "\n"


def evaluated(manifest: Manifest, evidence: Evidence) -> dict[str, str]:
    """Title -> text of the sections that an evaluation writes anew."""
    return {
        "Numbers": _numbers(evidence),
        **({"Subgroups": _subgroups(evidence)} if any(evidence.subgroups.values()) else {}),
        **({"Shortcuts": _shortcuts(evidence.shortcuts)} if evidence.shortcuts else {}),
        "Operating points": _points(manifest),
    }


def licence_text(licences: Sequence[DataLicence]) -> str:
    """The bundle's own licence file: research use, and what it learnt from."""
    return (
        "# Licence of this model bundle\n\n"
        "The weights were learnt from the data below, some of which is licensed for non-commercial "
        "use only. They may be used for **research, non-commercial**, with the attributions below; "
        "they are given without any warranty. hilum's code is under Apache-2.0; this file covers "
        f"the weights alone.\n\n{NOTICE}\n\n" + licence_rows(licences) + "\n"
    )


def _what(recipe: Recipe, manifest: Manifest) -> str:
    model, positive = recipe.model, manifest.positive
    finds = {
        "boxes of": manifest.labels,
        "masks of": tuple(manifest.masks),
        "one of the classes": manifest.global_classes,
        "findings": manifest.findings,
    }
    parts = [f"{what} {', '.join(names)}" for what, names in finds.items() if names]
    sizes = " then ".join(dict.fromkeys(f"{recipe.size_of(one)} px" for one in recipe.stages))
    lines = [
        recipe.about,
        f"Network: {model.kind} around {model.encoder}, trained at {sizes}, on letterboxed squares "
        f"of {manifest.preprocessing.size} px. It gives {'; '.join(parts)}.",
        f"The positive score is `{positive}`." if positive else "",
        "For frontal chest radiographs.",
    ]
    return "\n\n".join(line for line in lines if line)


def _numbers(evidence: Evidence) -> str:
    """Rows are parts, sources and graphs, tests first; columns the numbers that lead."""
    rows = sorted(evidence.figures, key=lambda name: not name.startswith("test"))
    known = dict.fromkeys(n for row in rows for n in evidence.figures[row])
    names = [name for name in known if leads(name)]
    counts = {r: next((f.n for f in evidence.figures[r].values()), None) or 0 for r in rows}
    lines = [
        "| part, source (graph) | images | " + " | ".join(map(text, names)) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for row in rows:
        own = [evidence.figures[row].get(name) for name in names]
        cells = [one.words if one else "–" for one in own]
        lines.append(f"| {row} | {counts[row]} | " + " | ".join(cells) + " |")
    few = [row for row in rows if counts[row] < FEW]
    return "\n".join(
        [
            "With 95 % intervals (bootstrap over patients) on test parts, in the pixels of the "
            "images, boxes and scores cut at the operating points. Validation images chose epoch, "
            "decoding, calibration and operating points, so their numbers are optimistic.",
            "",
            *lines,
            *([f"\nFewer than {FEW} images, so they say little: {', '.join(few)}."] if few else []),
        ]
    )


def _subgroups(evidence: Evidence) -> str:
    rows = ["| source | group | images | with the finding | AUC |", "|---|---|---|---|---|"]
    for source, groups in evidence.subgroups.items():
        for one in groups:
            few = f" (fewer than {FEW}: says little)" if one.few else ""
            auc = "–" if one.auc.value != one.auc.value else str(one.auc)
            cells = (source, f"{one.column}: {one.value}{few}", one.images, one.positives, auc)
            rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "AUC of the positive score on test images.\n\n" + "\n".join(rows)


def _shortcuts(checks: Shortcuts) -> str:
    hidden = list(dict.fromkeys(name for own in checks.auc.values() for name in own))
    rows = [
        "| AUC of the positive score | " + " | ".join(hidden) + " |",
        "|---|" + "---|" * len(hidden),
    ]
    for source, own in checks.auc.items():
        cells = [
            str(int(own[n])) if n == "images" else f"{own[n]:.3f}" if n in own else "–"
            for n in hidden
        ]
        rows.append(f"| {source} | " + " | ".join(cells) + " |")
    lines = rows if checks.auc else ["No source has enough test images of both kinds."]
    if len(checks.medians) > 1:
        by = "; ".join(
            f"{source} {own['without']:.2f} without, {own['with']:.2f} with"
            for source, own in checks.medians.items()
        )
        lines.append(f"\nMedian score within one class by source: {by}.")
    if checks.source_accuracy is not None:
        right, chance = checks.source_accuracy
        lines.append(
            f"\nThe source is told from 16 x 16 px and the grey values alone in {right:.0%} of "
            f"images (the commonest is {chance:.0%})."
        )
    lines.append(
        "\nFor the reader: what is left above .5 with the lungs hidden or with the border alone is "
        "told by posture, exposure and devices, not by the disease; and scores of different "
        "hospitals or machines must not be compared with each other."
    )
    return "\n".join(lines)


def _variants(evidence: Evidence) -> str:
    assert evidence.sweep is not None
    rows = [
        f"| variant | runs | {text(evidence.watched)} | difference | |",
        "|---|---|---|---|---|",
    ]
    for row in evidence.sweep.to_dict("records"):
        value = _interval(row, "value", "low", "high")
        gap = _interval(row, "difference", "difference_low", "difference_high")
        verdict = row.get("verdict", "")
        words = verdict if isinstance(verdict, str) else ""
        rows.append(f"| {row['variant']} | {row['runs']} | {value} | {gap} | {words} |")
    return "\n".join(rows)


def _interval(row: Mapping[Any, Any], *keys: str) -> str:
    value, low, high = (float(row.get(key, float("nan"))) for key in keys)
    if value != value:
        return ""
    return f"{value:.3f}" if low != low else f"{value:.3f} ({low:.3f}–{high:.3f})"


def _data(data: Mapping[str, Any]) -> str:
    rows = ["| source | set | train | validation | test |", "|---|---|---|---|---|"]
    for name, one in data["sources"].items():
        cells = [str(one[part]) for part in ("set", "train", "validation", "test")]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    left = [f"{count} {reason}" for reason, count in data["left_out"].items() if count]
    notes = [f"- {note}" for note in data["notes"]]
    return "\n".join(
        [
            *rows,
            "",
            "No patient is in two parts, over all sources (checked when splitting); training "
            "images that look like a held-out one were left out."
            + (f" Left out: {'; '.join(left)}." if left else ""),
            *notes,
        ]
    )


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
    rows += [f"\nWhat a conformal guarantee rests on: {words}." for words in assumed]
    if manifest.calibration is not None and manifest.calibration.fitted_on:
        rows.append(
            f"\nScores are calibrated ({manifest.calibration.fitted_on}): where images are like "
            "those, of boxes of score .3 about three in ten are true. Elsewhere they are not."
        )
    return "\n".join(rows)


def licence_rows(licences: Sequence[DataLicence]) -> str:
    """The table of what the weights learnt from."""
    rows = ["| data | use | licence | source | attribution |", "|---|---|---|---|---|"]
    for one in licences:
        rows.append(
            f"| {one.name} | {one.use} | {one.licence} | {one.source} | {one.attribution} |"
        )
    return "\n".join(rows)


def _provenance(manifest: Manifest, evidence: Evidence) -> str:
    p = manifest.provenance
    libraries = ", ".join(f"{name} {value}" for name, value in p.libraries.items())
    return (
        f"`{p.command}` at commit `{p.commit[:12]}`, seed {p.seed}, {p.created}; {libraries}; "
        f"{evidence.cpu_minutes:.0f} CPU minutes; data fingerprint {evidence.data['sha256'][:16]}. "
        f"Largest difference between the fp32 graph and PyTorch: {evidence.difference:.1e}."
    )
