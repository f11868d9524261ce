"""The training sets of `$HILUM_DATA` (NAME.zip of WebP images and PNG masks + NAME.csv) -> Catalog.

Each reader takes the data folder. Nothing here decodes pixels. Patients that run through several
sets have one name, so a split by patient over all of them is a split by patient.

common              what the readers share
nih, covid, lungs   by origin, and those whose annotation is one lung mask
gate                images that are no frontal chest radiograph
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.data.sets.covid import covid_opacity_512, covid_qu_256, siim_covid_256
from hilum.data.sets.gate import gate_320, not_chest
from hilum.data.sets.lungs import covid_adult_512, jsrt_128, kermany_lungs_320, shenzhen_512
from hilum.data.sets.nih import (
    NIH_FINDINGS,
    nih_128,
    nih_512,
    rsna_128,
    rsna_256,
    siim_unlabelled_512,
)

__all__ = ["NIH_FINDINGS", "SETS", "load_set"]

SETS: dict[str, Callable[[Path], Catalog]] = {
    made.__name__: made
    for made in (
        *(siim_covid_256, rsna_128, rsna_256, nih_512, nih_128, covid_qu_256),
        *(covid_opacity_512, covid_adult_512, shenzhen_512, jsrt_128, kermany_lungs_320),
        *(siim_unlabelled_512, gate_320, not_chest),
    )
}


def load_set(name: str, folder: str | Path) -> Catalog:
    """One of the sets of `$HILUM_DATA` by name.

    Raises:
        DataError: unknown name (the known ones are listed) or missing files.
    """
    if name not in SETS:
        raise DataError(f"unknown set {name!r}; known: {', '.join(SETS)}")
    return SETS[name](Path(folder))
