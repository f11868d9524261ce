"""What a bundle and a run's folder say, read as plain data. Needs no PyTorch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hilum.core.bundle import open_bundle
from hilum.core.documents import parse_foreign_json, parse_yaml, read_document
from hilum.core.errors import ConfigError
from hilum.core.manifest import Manifest

RECIPE = "recipe.yaml"
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known; what was not given is None or empty."""

    names: tuple[str, ...] = ()  # "bundle default 3", "run a"
    manifest: Manifest | None = None
    card: Mapping[str, str] = field(default_factory=dict)  # section -> its Markdown
    recipe: Mapping[str, Any] | None = None  # resolved, as the run keeps it
    data: Mapping[str, Any] | None = None  # data.json of the run
    environment: Mapping[str, Any] | None = None
    results: Mapping[str, Mapping[str, float]] | None = None  # part -> number -> value


def read_evidence(sources: Sequence[Path]) -> Evidence:
    """A bundle, a run's folder, or one of each.

    Raises:
        ConfigError: nothing, or two of a kind.
        BundleError: neither a run nor a bundle, or a damaged one.
    """
    evidence = Evidence()
    for source in sources:
        is_run = (source / RECIPE).is_file()
        if (evidence.recipe if is_run else evidence.manifest) is not None:
            raise ConfigError(
                f"{source}: a second {'run' if is_run else 'bundle'}; needed: a run, a bundle, or "
                "one of each that belong together"
            )
        evidence = _with_run(evidence, source) if is_run else _with_bundle(evidence, source)
    if not evidence.names:
        raise ConfigError("needed: the folder of a run, a bundle, or both")
    return evidence


def _with_bundle(evidence: Evidence, source: Path) -> Evidence:
    bundle = open_bundle(source)
    card = SECTION.split(bundle.read("card.md").decode())[1:]
    return replace(
        evidence,
        names=(*evidence.names, f"bundle {bundle.name} {bundle.version}"),
        manifest=bundle.manifest,
        card={name.strip(): text.strip() for name, text in zip(card[::2], card[1::2], strict=True)},
    )


def _with_run(evidence: Evidence, folder: Path) -> Evidence:
    recipe = read_document(folder / RECIPE, parse_yaml, ConfigError)

    def content(name: str) -> Any:
        path = folder / name
        return read_document(path, parse_foreign_json, ConfigError) if path.is_file() else None

    return replace(
        evidence,
        names=(*evidence.names, f"run of recipe {recipe['name']}"),
        recipe=recipe,
        data=content("data.json"),
        environment=content("environment.json"),
        results=content("results.json"),
    )
