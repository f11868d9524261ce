"""One fact each: evidence -> words and where they come from, or None where nothing says it.

Nothing is inferred beyond what a file states; general truths of hilum name their document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hilum.core.manifest import Figure
from hilum.evaluate.metrics.names import text
from hilum.report.checklist.evidence import Evidence

EVALUATION, ENCODER = "evaluation", "pretrained encoder"  # uses of a data licence


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known, where it stands, and what of it is not."""

    text: str
    source: str
    lacks: str = ""


def technology(known: Evidence) -> Fact | None:
    """The network's family and encoder."""
    if known.recipe:
        model = known.recipe["model"]
        return Fact(
            f"Deep learning: {model['kind']} around {model['encoder']}.", "recipe.yaml, model"
        )
    for paragraph in known.card.get("What it is", "").split("\n\n"):
        if paragraph.startswith("Network: "):
            return Fact(f"Deep learning. {paragraph}", "card.md, What it is")
    return None


def about(known: Evidence) -> Fact | None:
    """What was built, in the words of its maker."""
    if known.manifest and known.manifest.provenance.notes:
        return Fact(known.manifest.provenance.notes, "manifest.json, provenance.notes")
    if known.recipe and known.recipe.get("about"):
        return Fact(str(known.recipe["about"]), "recipe.yaml, about")
    return None


def use(known: Evidence) -> Fact | None:
    return Fact(
        "Research use only, not a medical device; a qualified reader decides on every image.",
        "the notice of every result",
    )


def task(known: Evidence) -> Fact | None:
    """What is predicted."""
    if known.manifest is None:
        return None
    own = known.manifest
    parts = {
        "boxes of": own.labels if own.has_boxes else (),
        "masks of": tuple(own.masks),
        "image scores": tuple(own.image_scores),
    }
    words = "; ".join(f"{what} {', '.join(names)}" for what, names in parts.items() if names)
    return Fact(f"A model for {own.task} on frontal chest radiographs: {words}.", "manifest.json")


def data_sources(known: Evidence) -> Fact | None:
    """Sets with their origin and licence."""
    if known.manifest and known.manifest.data_licences:
        rows = [
            f"{one.name} ({one.use}): {one.source or 'source not stated'}; licence: {one.licence}"
            + (f"; {one.attribution}" if one.attribution else "")
            for one in known.manifest.data_licences
        ]
        return Fact(_listed(rows), "manifest.json, data_licences")
    if known.recipe:
        names = dict.fromkeys(str(one["set"]) for one in known.recipe["data"])
        return Fact(f"Sets: {', '.join(names)}.", "recipe.yaml, data", "where the images come from")
    return None


def selection_of_rows(known: Evidence) -> Fact | None:
    """Which images of a set were taken, and how many were left out why."""
    rules = []
    for one in known.recipe["data"] if known.recipe else ():
        named = {
            "must be annotated": ", ".join(one.get("known") or ()),
            "must not be": ", ".join(one.get("unknown") or ()),
            "adults only": "yes" if one.get("adults") else "",
            "images sampled by patient": one.get("sample") or "",
        }
        words = "; ".join(f"{name}: {value}" for name, value in named.items() if value)
        rules.append(f"{one.get('name') or one['set']}: {words or 'all readable images'}")
    left = left_out(known)
    if not rules and left is None:
        return None
    said = [_listed(rules)] if rules else []
    where = ["recipe.yaml, data"] if rules else []
    if left:
        said.append(left.text)
        where.append(left.source)
    return Fact("\n\n".join(said), "; ".join(where))


def left_out(known: Evidence) -> Fact | None:
    """Images left out, by reason."""
    if known.data:
        counts = [f"{n} {reason}" for reason, n in known.data["left_out"].items() if n]
        return Fact(f"Left out: {'; '.join(counts) or 'none'}.", "data.json, left_out")
    _, found, words = known.card.get("Data", "").partition("Left out: ")
    return Fact(f"Left out: {words.splitlines()[0]}", "card.md, Data") if found else None


def preprocessing(known: Evidence) -> Fact | None:
    """From pixels to the network's input."""
    raw: Mapping[str, Any] | None = None
    where = "manifest.json, preprocessing"
    if known.manifest:
        raw = known.manifest.preprocessing.model_dump()
    elif known.recipe:
        raw, where = known.recipe["preprocessing"], "recipe.yaml, preprocessing"
    if raw is None:
        return None
    low, high = raw["stretch"]
    window = raw.get("window")
    read = f"window {window[0]} ± {window[1] / 2}" if window else "the window its file names"
    return Fact(
        f"Each image is read with {read}, inverted where MONOCHROME1, its grey values stretched "
        f"between percentiles {low} and {high}, and letterboxed into {raw['size']} × "
        f"{raw['size']} px; the same for every image.",
        f"{where}; docs/reading.md",
    )


def missing_annotations(known: Evidence) -> Fact | None:
    if not _trained_here(known):
        return None
    return Fact(
        "Nothing is filled in: an annotation that an image lacks is unknown and teaches nothing; "
        "unreadable images are left out and counted.",
        "docs/training.md",
    )


def reference_standard(known: Evidence) -> Fact | None:
    """What the annotations are called."""
    if known.recipe is None:
        return None
    targets = known.recipe["targets"]
    words = "; ".join(f"{name}: {', '.join(value)}" for name, value in targets.items() if value)
    return Fact(f"Annotations of the sets, by name: {words}.", "recipe.yaml, targets")


def partition(known: Evidence) -> Fact | None:
    """Images of every source in every part."""
    if known.data:
        rows = [
            f"{name}: " + ", ".join(f"{n} {part}" for part, n in one.items() if part != "set")
            for name, one in known.data["sources"].items()
        ]
        return Fact(f"Images by source and part:\n\n{_listed(rows)}", "data.json, sources")
    table = [line for line in known.card.get("Data", "").splitlines() if line.startswith("|")]
    return Fact("\n".join(table), "card.md, Data") if table else None


def shares_of_patients(known: Evidence) -> Fact | None:
    """How patients came into their parts."""
    if known.recipe is None:
        return None
    rows = []
    for one in known.recipe["data"]:
        held = one.get("hold_out")
        words = (
            f"{held['validation']:.0%} validation, {held['test']:.0%} test"
            if held
            else f"{one['folds']} folds"
            if one.get("folds")
            else "all train"
        )
        rows.append(f"{one.get('name') or one['set']}: {words}")
    words = f"Shares of patients, drawn with seed {known.recipe['seed']}:\n\n{_listed(rows)}"
    return Fact(words, "recipe.yaml, data; split.json of the run")


def disjoint(known: Evidence) -> Fact | None:
    """At which level parts share nothing."""
    for line in known.card.get("Data", "").splitlines():
        if line.startswith("No patient is in two parts"):
            return Fact(line.partition(" Left out:")[0], "card.md, Data")
    if known.data:
        return Fact(
            "No patient is in two parts, over all sources; copies of held-out images that look "
            "alike leave the training part.",
            "split.json of the run; docs/data.md",
        )
    return None


def test_size(known: Evidence) -> Fact | None:
    """Test images by source."""
    if known.data:
        n = known.data["images"].get("test", 0)
        return Fact(f"{n} test images.", "data.json, images")
    sizes = {row.partition(" (")[0]: f.n for row, f in _tests(known) if f.n}
    if not sizes:
        return None
    rows = [f"{row.removeprefix('test, ')} {n}" for row, n in sizes.items()]
    return Fact(f"Test images by source: {', '.join(rows)}.", "manifest.json, figures")


def architecture(known: Evidence) -> Fact | None:
    """Layers, inputs, outputs."""
    said = []
    family = technology(known)
    if family:
        said.append(family.text)
    if known.manifest:
        own = known.manifest
        size = own.preprocessing.size
        outputs = [
            name for key, name in own.outputs.model_dump().items() if name and key != "image"
        ]
        said.append(
            f"Input: 1 × {size} × {size} px; raw outputs: {', '.join(outputs)}; every layer with "
            f"its weights: {', '.join(own.precisions.values())} (ONNX)."
        )
        return Fact(" ".join(said), "manifest.json, outputs, precisions")
    return Fact(said[0], family.source, "the exported graph") if family else None


def software(known: Evidence) -> Fact | None:
    """Libraries with versions."""
    if known.environment:
        libraries = known.environment["libraries"]
        words = ", ".join(f"{name} {value}" for name, value in libraries.items())
        return Fact(
            f"Python {known.environment['python']}, {words}; commit "
            f"{known.environment['commit'][:12]}.",
            "environment.json",
        )
    if known.manifest:
        own = known.manifest.provenance
        words = ", ".join(f"{name} {value}" for name, value in own.libraries.items())
        return Fact(f"hilum at commit {own.commit[:12]}, {words}.", "manifest.json, provenance")
    return None


def initialisation(known: Evidence) -> Fact | None:
    """What the weights began from."""
    if known.recipe:
        start = known.recipe["train"].get("start")
        pretrained = known.recipe["model"].get("pretrained")
        encoder = {True: "published ImageNet weights", False: "random weights"}.get(
            pretrained, f"weights of {pretrained}"
        )
        words = f"The network goes on from {start}." if start else f"The encoder: {encoder}."
        return Fact(words, "recipe.yaml, model.pretrained, train.start")
    if known.manifest:
        begun = [one for one in known.manifest.data_licences if one.use.startswith(ENCODER)]
        if begun:
            words = "; ".join(f"{one.name}: {one.use}" for one in begun)
            return Fact(words + ".", "manifest.json, data_licences")
    return None


def training(known: Evidence) -> Fact | None:
    """Stages, optimiser, augmentation."""
    if known.recipe:
        recipe = known.recipe
        rows = [f"{name}: {_settings(stage)}" for name, stage in recipe["stages"].items()]
        rows += [f"optimiser: {_settings(recipe['optimiser'])}"]
        rows += [f"train: {_settings(recipe['train'])}"]
        rows += [f"augmentation: {recipe['augment']}; seed {recipe['seed']}"]
        return Fact(_listed(rows), "recipe.yaml, stages, optimiser, train, augment")
    if known.manifest:
        own = known.manifest.provenance
        return Fact(
            f"Recipe {own.recipe}, seed {own.seed}: `{own.command}` at commit {own.commit[:12]}.",
            "manifest.json, provenance",
            "the settings themselves: give the run's folder, or the recipe at that commit",
        )
    return None


def choice_of_model(known: Evidence) -> Fact | None:
    """How the weights were chosen."""
    if known.recipe:
        train = known.recipe["train"]
        return Fact(
            f"By {train['watch']} on validation images; averaging: {_settings(train['average'])}.",
            "recipe.yaml, train",
        )
    if "Validation images chose" in known.card.get("Numbers", ""):
        return Fact(
            "Validation images chose epoch, decoding, calibration and operating points.",
            "card.md, Numbers",
        )
    return None


def ensemble(known: Evidence) -> Fact | None:
    if known.manifest is None:
        return None
    return Fact("None: a bundle is one network.", "manifest.json, precisions")


def metrics(known: Evidence) -> Fact | None:
    """Numbers that were computed."""
    names = dict.fromkeys(
        _number(key) for key in (known.manifest.figures if known.manifest else ())
    )
    names |= dict.fromkeys(
        name for own in (known.results or {}).values() for name in own if not known.manifest
    )
    if not names:
        return None
    where = "manifest.json, figures" if known.manifest else "results.json"
    return Fact(f"{', '.join(map(text, names))}.", f"{where}; docs/evaluate.md")


def intervals(known: Evidence) -> Fact | None:
    """How uncertainty is given."""
    figures = [f for _, f in _tests(known)]
    given = [f for f in figures if f.low is not None]
    if not given:
        return None
    return Fact(
        f"95 % intervals of {len(given)} of {len(figures)} test numbers.",
        "manifest.json, figures; card.md, Numbers says how",
    )


def robustness(known: Evidence) -> Fact | None:
    """Checks of what scores lean on, and of the precision."""
    said = []
    if "Shortcuts" in known.card:
        said.append(
            "Scores with the lungs hidden, with the border alone, by source (card.md, Shortcuts)."
        )
    if known.manifest and len(known.manifest.precisions) > 1:
        said.append(f"Numbers in {' and '.join(known.manifest.precisions)} (card.md, Numbers).")
    return Fact(" ".join(said), "card.md") if said else None


def internal_test(known: Evidence) -> Fact | None:
    """Test numbers of sources that were learnt from."""
    return _performance(known, [row for row, _ in _tests(known) if not _external(known, row)])


def external_test(known: Evidence) -> Fact | None:
    """Test numbers of sources that were not."""
    return _performance(known, [row for row, _ in _tests(known) if _external(known, row)])


def performance(known: Evidence) -> Fact | None:
    """All test numbers that lead."""
    whole = _performance(known, [row for row, _ in _tests(known)])
    if whole or not known.results:
        return whole
    rows = [
        f"{part}: " + ", ".join(f"{text(n)} {value:.3f}" for n, value in own.items())
        for part, own in known.results.items()
    ]
    return Fact(_listed(rows), "results.json", "intervals: hilum export, hilum evaluate report")


def subgroups(known: Evidence) -> Fact | None:
    if "Subgroups" not in known.card:
        return None
    return Fact(known.card["Subgroups"], "card.md, Subgroups")


def thresholds(known: Evidence) -> Fact | None:
    """Operating points and how they were chosen."""
    points = known.manifest.operating_points if known.manifest else {}
    rows = [
        f"{name}: {point.score} ≥ {point.threshold:.3f} ({point.reason}; chosen on "
        f"{point.chosen_on})"
        for name, point in points.items()
    ]
    return Fact(_listed(rows), "manifest.json, operating_points") if rows else None


def calibration(known: Evidence) -> Fact | None:
    own = known.manifest.calibration if known.manifest else None
    if own is None or not own.fitted_on:
        return None
    return Fact(f"Scores are calibrated on {own.fitted_on} images.", "manifest.json, calibration")


def shares_in_a_batch(known: Evidence) -> Fact | None:
    """Shares of positives and sources in a batch."""
    if known.recipe is None:
        return None
    share = known.recipe["train"].get("positives")
    weights = {
        one.get("name") or one["set"]: one["weight"]
        for one in known.recipe["data"]
        if one.get("weight") is not None
    }
    words = f"Share of images with a finding: {share}" if share else "Images as they are"
    mixed = f"; shares of the sources in a batch: {_settings(weights)}" if weights else ""
    return Fact(words + mixed + ".", "recipe.yaml, train.positives, data")


def how_to_predict(known: Evidence) -> Fact | None:
    if known.manifest is None:
        return None
    return Fact(
        "`hilum predict FILES --bundle BUNDLE --out DIR`, or `hilum.load_pipeline` in Python; the "
        "bundle holds graph, decoding and thresholds.",
        "README.md; docs/api.md",
    )


def availability(known: Evidence) -> Fact | None:
    """Code, model and data, and on what terms."""
    if known.manifest is None:
        return None
    own = known.manifest.provenance
    return Fact(
        f"Code: hilum, Apache-2.0, commit {own.commit[:12]}. Model: this bundle, on the terms of "
        "its LICENSE.md. Data: by set, with licences.",
        "manifest.json, provenance, data_licences",
    )


def poor_input(known: Evidence) -> Fact | None:
    return Fact(
        "What cannot be read, contradicts itself or is no frontal chest is refused with a reason, "
        "never called normal.",
        "docs/reading.md",
    )


def limits(known: Evidence) -> Fact | None:
    """What the card warns of."""
    lines = [
        line
        for section in ("Numbers", "Shortcuts", "Operating points")
        for line in known.card.get(section, "").splitlines()
        if line.startswith(("Fewer than", "For the reader:", "What a conformal"))
    ]
    return Fact(_listed(lines), "card.md") if lines else None


def _trained_here(known: Evidence) -> bool:
    command = known.manifest.provenance.command if known.manifest else ""
    return known.recipe is not None or command.startswith("hilum train")


def _listed(rows: Iterable[str]) -> str:
    return "\n".join(f"- {row}" for row in rows)


def _settings(own: Mapping[str, Any]) -> str:
    """Settings that are set, in a line."""
    return ", ".join(
        f"{name} {_settings(value) if isinstance(value, Mapping) else value}"
        for name, value in own.items()
        if value not in (None, "", [], {}, False)
    )


def _number(key: str) -> str:
    return key.rsplit(": ", 1)[-1]


def _tests(known: Evidence) -> list[tuple[str, Figure]]:
    """Test rows, "test, SET (fp32): number", with their figures, of what runs by default."""
    if known.manifest is None:
        return []
    mark = f"({known.manifest.default_precision})"
    return [
        (key, figure)
        for key, figure in known.manifest.figures.items()
        if key.startswith("test, ") and mark in key
    ]


def _external(known: Evidence, row: str) -> bool:
    """Whether nothing was learnt from the row's source."""
    name = row.removeprefix("test, ").partition(" (")[0]
    uses = {
        one.use
        for one in (known.manifest.data_licences if known.manifest else ())
        if name == one.name or name.startswith(f"{one.name}-")
    }
    return uses == {EVALUATION}


def _performance(known: Evidence, rows: Iterable[str]) -> Fact | None:
    figures = known.manifest.figures if known.manifest else {}
    words = [f"{row}: {_shown(figures[row])}" for row in rows if figures[row].low is not None]
    return Fact(_listed(words), "manifest.json, figures") if words else None


def _shown(figure: Figure) -> str:
    size = f", {figure.n} images" if figure.n else ""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f}{size})"


FACTS: Mapping[str, Callable[[Evidence], Fact | None]] = {
    one.__name__: one
    for one in (
        *(technology, about, use, task, data_sources, selection_of_rows, left_out, preprocessing),
        *(
            missing_annotations,
            reference_standard,
            partition,
            shares_of_patients,
            disjoint,
            test_size,
        ),
        *(architecture, software, initialisation, training, choice_of_model, ensemble, metrics),
        *(intervals, robustness, internal_test, external_test, performance, subgroups, thresholds),
        *(calibration, shares_in_a_batch, how_to_predict, availability, poor_input, limits),
    )
}
