"""Result files of one analysed image: one registry, one way to call them.

picture.py  the radiograph without a mark, for the page (JPEG)
mask.py     masks at source size, 1 bit (PNG)
overlay.py  boxes and outlines burned into a picture, with the notice (PNG)
dicom/      DICOM objects for an archive: SR, SEG, GSPS, secondary capture

A writer is a pure function from values to bytes. It opens no file and chooses no path, so that a
service can send what a folder run writes.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hilum.core.errors import ConfigError
from hilum.core.options import Options, checked, unknown

if TYPE_CHECKING:
    from hilum.core.radiograph import Radiograph
    from hilum.core.results import ImageResult, PipelineInfo
    from hilum.dicom.stored import StoredImage

# The one registry: name -> "module:Class". The name is also the folder of its files.
WRITERS: dict[str, str] = {
    "picture": "hilum.report.writers.picture:PictureWriter",
    "mask": "hilum.report.writers.mask:MaskWriter",
    "overlay": "hilum.report.writers.overlay:OverlayWriter",
    "sr": "hilum.report.writers.dicom.writers:SrWriter",
    "seg": "hilum.report.writers.dicom.writers:SegWriter",
    "gsps": "hilum.report.writers.dicom.writers:GspsWriter",
    "sc": "hilum.report.writers.dicom.writers:ScWriter",
}


class Writer(Protocol):
    """One kind of result file. Frozen `Options`: what `--write name:key=value` sets; picklable."""

    suffix: ClassVar[str]  # of its files, e.g. ".png"

    def __call__(
        self,
        stored: StoredImage | None,
        radiograph: Radiograph,
        result: ImageResult,
        pipeline: PipelineInfo,
    ) -> Mapping[str, bytes]:
        """The files of one analysed image.

        Args:
            stored: where the pixels came from; None for a radiograph made in memory.
            result: analysed; its findings hold masks at source size.

        Returns:
            Contents by what they are: the writer's own name for a single file, another word for
            each of several ("lungs", "opacity"). Empty where there is nothing to show.

        Raises:
            NotWritten: not possible for this source; the findings are kept.
        """
        ...


def make(name: str, options: Mapping[str, Any] | None = None) -> Writer:
    """The writer of that name, its options checked.

    Raises:
        ConfigError: unknown writer or option, with the nearest known one.
    """
    if name not in WRITERS:
        raise ConfigError(unknown("writer", name, WRITERS))
    module, attribute = WRITERS[name].split(":")
    kind: type[Options] = getattr(importlib.import_module(module), attribute)
    writer: Any = checked(kind, dict(options or {}), f"writer {name}")
    return writer  # type: ignore[no-any-return]


def parse(text: str) -> dict[str, Writer]:
    """Writers by name from a command line: "overlay,sr:kind=comprehensive:prefix=AI".

    Raises:
        ConfigError: unknown writer or option, or a name twice.
    """
    out: dict[str, Writer] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, *settings = part.split(":")
        if name in out:
            raise ConfigError(f"writer {name!r} stands twice in {text!r}; name it once")
        out[name] = make(name, dict(_setting(one, part) for one in settings))
    return out


def _setting(text: str, part: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"writer option {text!r} in {part!r}; needed: name:key=value")
    return key, value
