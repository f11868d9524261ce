"""Settle a bundle again: its graphs stay; decoding, calibration and operating points are chosen
anew on the validation images, and every figure of its card is of these.

    python scripts/settle_bundle.py BUNDLE RECIPE --data $HILUM_DATA --split FILE --version 4 \
        --about "what is new" --out NEW [--beside OLD]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hilum.cli.common import log
from hilum.core.bundle import Bundle, load_bundle, write_bundle
from hilum.core.manifest import Manifest
from hilum.core.progress import doing, say, spoken
from hilum.train.evaluation import HeldOut
from hilum.train.export.bundle import PRECISIONS
from hilum.train.export.card import Evidence, evaluated
from hilum.train.export.figures import (
    figures_beside,
    figures_of,
    shortcuts_of,
    subgroups_of,
    tensors,
)
from hilum.train.export.onnx import answers
from hilum.train.export.settings import settle
from hilum.train.images import RunData
from hilum.train.recipe import Recipe, load_recipe


def images_held_out(
    recipe: Recipe, data: Path, split: Path | None, cache: Path
) -> dict[str, HeldOut]:
    """The recipe's validation and test images, as its bundle sees them."""
    whole = RunData.read(recipe, data, cache=cache, split=split)
    nothing = {name: list[int]() for name in whole.rows["train"]}
    held_out = replace(whole, rows={**whole.rows, "train": nothing})
    return held_out.images(recipe.preprocessing.size).held_out


def renewed(card: str, sections: dict[str, str], title: str, about: str) -> str:
    """A card with these sections in place of its own, and what is new about it."""
    for name, text in sections.items():
        pattern = rf"(?ms)^## {name}\n.*?(?=^## |\Z)"
        whole = f"## {name}\n\n{text}\n\n"
        card, count = re.subn(pattern, lambda _, new=whole: new, card)
        if not count:
            raise SystemExit(f"the card has no section {name}")
    card = re.sub(r"^# .*", lambda _: title, card, count=1)
    card = card.replace("\n## Numbers\n", f"\n{about}\n\n## Numbers\n", 1)
    return card.rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--about", required=True, help="said after what the card says it is")
    parser.add_argument("--beside", type=Path, help="another bundle, on the same test images")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    old, recipe = load_bundle(given.bundle), load_recipe(given.recipe)
    log()
    with spoken():
        held_out = images_held_out(recipe, given.data, given.split, given.out.parent / "cache")
        final, evidence = settled(old.manifest, recipe, held_out, given.beside, dict(graphs(old)))
        notes = f"{old.manifest.provenance.notes} {given.about}"
        manifest = final.model_copy(
            update={
                "version": given.version,
                "figures": evidence.leading(),
                "provenance": final.provenance.model_copy(update={"notes": notes}),
            }
        )
        files = {name: old.read(name) for name in old.manifest.files}
        files["card.md"] = renewed(
            files["card.md"].decode(),
            evaluated(manifest, evidence),
            f"# Model card: {manifest.name} {manifest.version}",
            given.about,
        ).encode()
        say("decoding: %s", final.decoding.model_dump())
        write_bundle(given.out, manifest.to_json(), files)


def graphs(bundle: Bundle) -> Iterator[tuple[str, bytes]]:
    """File name -> graph."""
    for precision, file in bundle.manifest.precisions.items():
        yield file, bundle.model(precision)


def settled(
    manifest: Manifest,
    recipe: Recipe,
    held_out: dict[str, HeldOut],
    beside: Path | None,
    files: dict[str, bytes],
) -> tuple[Manifest, Evidence]:
    """The manifest with what is chosen, and what the card says of it."""
    doing(f"{recipe.name}: asking the graphs")
    raw = {
        file: {
            part: answers(graph, tensors(one.images, recipe.spec)) for part, one in held_out.items()
        }
        for file, graph in files.items()
    }
    first, shipped = next(iter(files)), list(files)[-1]
    plain = manifest.model_copy(update={"calibration": None})
    doing(f"{recipe.name}: settling")
    settings = settle(held_out["validation"], raw[first]["validation"], plain)
    final = manifest.model_copy(update=settings.fields())
    figures = {
        key: value
        for file, parts in raw.items()
        for key, value in figures_of(
            final, held_out, parts, recipe=recipe, by=PRECISIONS[file]
        ).items()
    }
    if beside is not None:
        figures |= figures_beside(load_bundle(beside), held_out, recipe)
    test = held_out["test"]
    return final, Evidence(
        figures=figures,
        subgroups=subgroups_of(final, test, raw[shipped]["test"]),
        shortcuts=shortcuts_of(final, test, raw[shipped]["test"], files[shipped]),
        data={},
        cpu_minutes=0.0,
        difference=0.0,
    )


if __name__ == "__main__":
    main()
