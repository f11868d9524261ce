"""Whose score is explained, and who finds what stands beside the map. Knows no file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hilum.core.findings import Findings
from hilum.core.radiograph import Radiograph
from hilum.dicom.stored import StoredImage
from hilum.explain.asked import asked, explained
from hilum.explain.heat import Heat
from hilum.inference.loaded import LoadedPipeline

Find = Callable[[StoredImage], tuple[Radiograph, Findings]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """Whose score is explained, and by whom the findings beside it are."""

    of: str
    found_by: str
    heat: Callable[[StoredImage], Heat]
    find: Find  # may raise InputRefused: it cannot be read, or a gate refuses it
    spread: Callable[[StoredImage], dict[str, float]] | None = None  # of randomised weights


def by_bundle(loaded: LoadedPipeline, score: str | None, method: str) -> Explainer:
    """A model of a pipeline, and the findings of the pipeline.

    Raises:
        ConfigError: no such method or score, or several scores.
    """
    what = asked(loaded, score)
    names = dict.fromkeys(one.bundle.name for one in loaded.predictors(what.model))
    return Explainer(
        of=" and ".join(names),
        found_by=loaded.description.name,
        heat=lambda stored: explained(
            loaded, what, stored.radiograph(window=loaded.window), method
        ),
        find=finder(loaded),
    )


def finder(loaded: LoadedPipeline) -> Find:
    """The findings of a pipeline, behind the gate of the header."""

    def find(stored: StoredImage) -> tuple[Radiograph, Findings]:
        loaded.check_header(stored)
        radiograph = stored.radiograph(window=loaded.window)
        return radiograph, loaded.findings(radiograph)

    return find
