"""What it is and how it was made: network, software, training, terms."""

from __future__ import annotations

from hilum.report.checklist.evidence import Evidence
from hilum.report.checklist.facts.fact import Fact, listed, settings

ENCODER = "pretrained encoder"  # how a use of a data licence begins


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


def architecture(known: Evidence) -> Fact | None:
    """Layers, inputs, outputs."""
    sentences = []
    family = technology(known)
    if family:
        sentences.append(family.text)
    if known.manifest:
        own = known.manifest
        size = own.preprocessing.size
        outputs = [
            name for key, name in own.outputs.model_dump().items() if name and key != "image"
        ]
        sentences.append(
            f"Input: 1 × {size} × {size} px; raw outputs: {', '.join(outputs)}; every layer with "
            f"its weights: {', '.join(own.precisions.values())} (ONNX)."
        )
        return Fact(" ".join(sentences), "manifest.json, outputs, precisions")
    return Fact(sentences[0], family.source, "the exported graph") if family else None


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
        rows = [f"{name}: {settings(stage)}" for name, stage in recipe["stages"].items()]
        rows += [f"optimiser: {settings(recipe['optimiser'])}"]
        rows += [f"train: {settings(recipe['train'])}"]
        rows += [f"augmentation: {recipe['augment']}; seed {recipe['seed']}"]
        return Fact(listed(rows), "recipe.yaml, stages, optimiser, train, augment")
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
            f"By {train['watch']} on validation images; averaging: {settings(train['average'])}.",
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
