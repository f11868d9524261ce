"""What it learnt from and was tested on: sets, images left out, parts, annotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hilum.report.checklist.evidence import Evidence
from hilum.report.checklist.facts.fact import Fact, listed, settings, tested


def data_sources(known: Evidence) -> Fact | None:
    """Sets with their origin and licence."""
    if known.manifest and known.manifest.data_licences:
        rows = [
            f"{one.name} ({one.use}): {one.source or 'source not stated'}; licence: {one.licence}"
            + (f"; {one.attribution}" if one.attribution else "")
            for one in known.manifest.data_licences
        ]
        return Fact(listed(rows), "manifest.json, data_licences")
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
    parts = [listed(rules)] if rules else []
    where = ["recipe.yaml, data"] if rules else []
    if left:
        parts.append(left.text)
        where.append(left.source)
    return Fact("\n\n".join(parts), "; ".join(where))


def left_out(known: Evidence) -> Fact | None:
    """Images left out, by reason."""
    if known.data:
        counts = [f"{n} {reason}" for reason, n in known.data["left_out"].items() if n]
        return Fact(f"Left out: {'; '.join(counts) or 'none'}.", "data.json, left_out")
    _, mark, words = known.card.get("Data", "").partition("Left out: ")
    return Fact(f"Left out: {words.splitlines()[0]}", "card.md, Data") if mark else None


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
        return Fact(f"Images by source and part:\n\n{listed(rows)}", "data.json, sources")
    table = [line for line in known.card.get("Data", "").splitlines() if line.startswith("|")]
    return Fact("\n".join(table), "card.md, Data") if table else None


def shares_of_patients(known: Evidence) -> Fact | None:
    """How patients came into their parts."""
    if known.recipe is None:
        return None
    rows = []
    for one in known.recipe["data"]:
        shares = one.get("hold_out")
        words = (
            f"{shares['validation']:.0%} validation, {shares['test']:.0%} test"
            if shares
            else f"{one['folds']} folds"
            if one.get("folds")
            else "all train"
        )
        rows.append(f"{one.get('name') or one['set']}: {words}")
    words = f"Shares of patients, drawn with seed {known.recipe['seed']}:\n\n{listed(rows)}"
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


def images_tested(known: Evidence) -> Fact | None:
    """Test images by source."""
    if known.data:
        n = known.data["images"].get("test", 0)
        return Fact(f"{n} test images.", "data.json, images")
    sizes = {row.partition(" (")[0]: f.n for row, f in tested(known).items() if f.n}
    if not sizes:
        return None
    rows = [f"{row.removeprefix('test, ')} {n}" for row, n in sizes.items()]
    return Fact(f"Test images by source: {', '.join(rows)}.", "manifest.json, figures")


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
    mixed = f"; shares of the sources in a batch: {settings(weights)}" if weights else ""
    return Fact(words + mixed + ".", "recipe.yaml, train.positives, data")


def _trained_here(known: Evidence) -> bool:
    command = known.manifest.provenance.command if known.manifest else ""
    return known.recipe is not None or command.startswith("hilum train")
