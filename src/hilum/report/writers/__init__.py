"""Result files of one analysed image: one registry, one way to call them.

picture.py  the radiograph without a mark, for the page (JPEG)
mask.py     masks at source size, 1 bit (PNG)
overlay.py  boxes and outlines burned into a picture, with the notice (PNG)
explain     what the score rests on (`hilum.explain.writer`, PNG)
dicom/      DICOM objects for an archive: SR, SEG, GSPS, secondary capture

A writer is a pure function from values to bytes. It opens no file and chooses no path, so that a
service can send what a folder run writes.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hilum.core.errors import ConfigError, HilumError
from hilum.core.options import Options, checked, unknown

if TYPE_CHECKING:
    from hilum.dicom.analysed import Analysed

log = logging.getLogger(__name__)
NOT_WRITTEN = "not-written: "  # how a warning about a missing file begins

# The one registry: name -> "module:Class". The name is also the folder of its files.
WRITERS: dict[str, str] = {
    "picture": "hilum.report.writers.picture:PictureWriter",
    "mask": "hilum.report.writers.mask:MaskWriter",
    "overlay": "hilum.report.writers.overlay:OverlayWriter",
    "explain": "hilum.explain.writer:ExplainWriter",
    "sr": "hilum.report.writers.dicom.writers:SrWriter",
    "seg": "hilum.report.writers.dicom.writers:SegWriter",
    "gsps": "hilum.report.writers.dicom.writers:GspsWriter",
    "sc": "hilum.report.writers.dicom.writers:ScWriter",
}


class Writer(Protocol):
    """One kind of result file. Frozen `Options`: what `--write name:key=value` sets; picklable."""

    suffix: ClassVar[str]  # of its files, e.g. ".png"

    def __call__(self, image: Analysed) -> Mapping[str, bytes]:
        """The files of one analysed image.

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


@dataclass(frozen=True, slots=True)
class File:
    """One file about an analysed image."""

    writer: str
    key: str  # what it is: the writer's own name, or another word for each of several
    suffix: str
    content: bytes

    @property
    def ending(self) -> str:
        """What tells it from other files of the same writer about the same image."""
        return ("" if self.key == self.writer else f"-{self.key}") + self.suffix


def write_all(writers: Mapping[str, Writer], image: Analysed) -> tuple[list[File], list[str]]:
    """The files of every writer, and a warning for each that cannot write or breaks at it."""
    files, warnings = list[File](), list[str]()
    for name, writer in writers.items():
        try:
            contents = writer(image)
        except Exception as error:
            log.debug("writing %s", name, exc_info=True)
            warnings.append(f"{NOT_WRITTEN}{name}: {_why(error)}")
            continue
        files += [
            File(name, key, writer.suffix, content=content) for key, content in contents.items()
        ]
    return files, warnings


def _why(error: Exception) -> str:
    if isinstance(error, HilumError):
        return str(error)
    # Messages of foreign exceptions may quote the input; their type is enough here.
    return f"internal: {type(error).__name__}; please report it with the file's properties."


def _setting(text: str, part: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"writer option {text!r} in {part!r}; needed: name:key=value")
    return key, value
