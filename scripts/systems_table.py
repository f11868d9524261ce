"""What `run_systems.sh` reached, in Markdown: the scores, and variants on the same predictions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hilum.evaluate.metrics.names import text
from hilum.report.published import PUBLISHED, Published

CHALLENGES = {"a": "RSNA", "b": "RSNA", "c": "RSNA", "d": "SIIM-COVID", "e": "SIIM-ACR"}
# The numbers in which a system's variants are compared, and the published models of each.
NUMBERS = {"a": ("rsna_score",), "d": ("ap50", "box_f1", "box_recall", "box_precision")}
NUMBERS |= {"e": ("dice", "dice_positive")}
SETS = {"a": "rsna", "d": "siim-covid", "e": "siim-acr"}
MODELS = {
    "percentile": "SE-ResNeXt-101 RetinaNet, folds",
    "fasterrcnn": "Faster R-CNN",
    "yolo": "YOLO",
    "fused": "both fused",
    "no-gate": "without the classifier's gate",
    "gate-and-size": "gate, then components of 3500 px",
    "predicted": "winners: triplet, sliding rate, combo loss",
}
PREFACE = """# The small runs

Written by `HILUM_DATA=… scripts/run_systems.sh`, which goes through the commands of [a](a.md),
[b](b.md), [c](c.md), [d](d.md) and [e](e.md) on a few hundred images at 128 px with a minute of
training a network: whether a chain runs whole, never how good a system is.
"""


def scores(out: Path) -> Iterator[str]:
    """One row a system: its submission's score; a chain that did not end says so."""
    yield "| system | networks | challenge | score | rows of the submission | CPU minutes |"
    yield "|---|---|---|---|---|---|"
    for system, challenge in CHALLENGES.items():
        folder = out / system
        cpu = folder / "cpu_seconds"
        lines = cpu.read_text().splitlines() if cpu.is_file() else []
        minutes = sum(float(line.split()[0]) for line in lines) / 60
        networks = len(list(folder.glob("runs/*/recipe.yaml")))
        score, rows = "did not end", ""
        if (folder / "score.json").is_file():
            score = f"{json.loads((folder / 'score.json').read_text())['score']:.3f}"
            rows = str(len((folder / "submission.csv").read_text().splitlines()) - 1)
        yield f"| {system.upper()} | {networks} | {challenge} | {score} | {rows} | {minutes:.1f} |"


def variants(out: Path) -> Iterator[str]:
    """Each system's variants in its own numbers, with the published figure where there is one."""
    yield "| system | variant | number | here, 95 % interval | published |"
    yield "|---|---|---|---|---|"
    for system, names in NUMBERS.items():
        for model in _report(out, system).get("models", []):
            for name in names:
                value = _number(model, name)
                if value is not None:
                    published = _published(system, model["name"], name)
                    yield (
                        f"| {system.upper()} | {model['name']} | {text(name)} | {_range(value)} | "
                        f"{published} |"
                    )


def differences(out: Path) -> Iterator[str]:
    """Every pair that a report compared, first minus second."""
    yield "| system | number | first | second | difference, 95 % interval | verdict |"
    yield "|---|---|---|---|---|---|"
    for system in NUMBERS:
        for pair in _report(out, system).get("comparisons", []):
            value = {**pair, "value": pair["difference"]}
            yield (
                f"| {system.upper()} | {text(pair['metric'])} | {pair['first']} | "
                f"{pair['second']} | {_range(value, '+.3f')} | {pair['verdict']} |"
            )


def sizes(out: Path) -> Iterator[str]:
    """Mean Dice by the smallest component kept, without and with the gate (E7)."""
    for model in _report(out, "e").get("models", []):
        for mask in model["masks"] if model["name"] == "no-gate" else []:
            sweep = mask["component_sizes"]
            yield "| px at 1024 | " + " | ".join(map(str, sweep["sizes_px_at_1024"])) + " |"
            yield "|---" * (len(sweep["sizes_px_at_1024"]) + 1) + "|"
            for name in ("without_gate", "with_gate"):
                cells = [f"{value['value']:.3f}" for value in sweep[name]]
                yield f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |"


def _report(out: Path, system: str) -> dict[str, Any]:
    file = out / system / "report.json"
    document: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return document


def _number(model: dict[str, Any], name: str) -> dict[str, Any] | None:
    masks = [mask for mask in model["masks"] if name in mask]
    value: dict[str, Any] | None = (masks[0] if masks else model["boxes"]).get(name)
    return value


def _range(value: dict[str, Any], form: str = ".3f") -> str:
    number, low, high = (value[key] for key in ("value", "low", "high"))
    if None in (number, low, high):
        return "–" if number is None else f"{number:{form}}"
    return f"{number:{form}} ({low:{form}} to {high:{form}})"


def _published(system: str, model: str, name: str) -> str:
    def fits(one: Published) -> bool:
        return one.ours == name and one.model == MODELS.get(model)

    return next((one.value for one in PUBLISHED[SETS[system]] if fits(one)), "")


def main(out: Path) -> None:
    print(PREFACE)
    print("\n".join(scores(out)))
    print("\n## The same networks, the same images\n")
    print("What each step is worth, and the figure published for it on the original data.\n")
    print("\n".join(variants(out)))
    print("\nDifferences, paired by patient, p corrected for all comparisons of a system (Holm):\n")
    print("\n".join(differences(out)))
    print("\nE, every image segmented: mean Dice when parts under a size are removed.\n")
    print("\n".join(sizes(out)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
