"""Under which licence a set may be used, where it comes from and whom to name. Knows no catalog."""

from __future__ import annotations

from typing import NamedTuple


class Licence(NamedTuple):
    """Of one set; "" where nobody here knows."""

    licence: str = ""
    source: str = ""
    attribution: str = ""


NIH = "NIH ChestX-ray14: free with attribution; RSNA and SIIM-ACR annotations: non-commercial"
WANG = "Wang et al. 2017; Shih et al. 2019"
COHEN = "Cohen et al. 2020; masks by v7 and others"

RSNA = Licence(NIH, "NIH Clinical Center; RSNA Pneumonia Detection Challenge 2018", WANG)
CHALLENGE = "challenge data, non-commercial"
SIIM = Licence(CHALLENGE, "SIIM-FISABIO-RSNA COVID-19 Detection 2021", "Lakhani et al. 2021")
MIXED = "per image: CC BY, CC BY-SA, CC BY-NC-SA, or not stated"
COVID = Licence(MIXED, "COVID-19 image data collection", COHEN)
ACR = Licence(CHALLENGE, "SIIM-ACR Pneumothorax Segmentation 2019", "SIIM-ACR")
PICTURES = Licence(
    "per picture; several non-commercial or not confirmed: research",
    "Radiopaedia, OAI, Mini-MIAS, BUSI, BSDS500, COVID-CT, Leptonica and others",
    "see the set's table",
)
LICENCES: dict[str, Licence] = {
    **dict.fromkeys(("nih_128", "nih_512", "rsna_128", "rsna_256", "rsna"), RSNA),
    **dict.fromkeys(("siim_covid_256", "siim-covid"), SIIM),
    **dict.fromkeys(("covid_opacity_512", "covid_adult_512"), COVID),
    "nih": Licence(NIH, "NIH Clinical Center", "Wang et al. 2017"),
    **dict.fromkeys(("gate_320", "not_chest"), PICTURES),
    **dict.fromkeys(("siim-acr", "siim_unlabelled_512"), ACR),
    "covid_qu_256": Licence("not confirmed: research", "COVID-QU-Ex", "Tahir et al. 2021"),
    "shenzhen_512": Licence(
        "free with citation",
        "National Library of Medicine; Shenzhen No. 3 Hospital",
        "Jaeger et al. 2014; masks: Stirenko et al. 2018",
    ),
    "jsrt_128": Licence(
        "research",
        "Japanese Society of Radiological Technology; SCR masks",
        "Shiraishi et al. 2000; van Ginneken et al. 2006",
    ),
    "kermany_lungs_320": Licence(
        "CC BY 4.0",
        "Guangzhou Women and Children's Medical Center",
        "Kermany et al. 2018",
    ),
}


def licence_of(name: str) -> Licence:
    """What is known of a set by its name."""
    return LICENCES.get(name, Licence())
