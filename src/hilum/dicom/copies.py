"""Copies without identity of many files, in a folder: patient/study/instance.dcm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.core.errors import InputRefused, UnsupportedRefused
from hilum.core.files import write_bytes
from hilum.dicom.deidentify import Deidentified, Options, deidentify
from hilum.dicom.discover import Item
from hilum.dicom.pseudonyms import Pseudonyms


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What became of one file: a copy, or why there is none."""

    number: int  # of the file, from 1
    source: str  # file names may hold people's names
    file: str = ""  # below the folder
    warnings: tuple[str, ...] = ()
    refused: str = ""  # code
    reason: str = ""

    def to_json(self, *, named: bool = False) -> dict[str, Any]:
        """Args: named: with the source's name."""
        whose = {"number": self.number} | ({"source": self.source} if named else {})
        if self.refused:
            return whose | {"refused": self.refused, "reason": self.reason}
        return whose | {"file": self.file, "warnings": list(self.warnings)}


def write_copies(
    items: Iterable[Item], out: Path, pseudonyms: Pseudonyms, options: Options
) -> Iterator[Copied]:
    """One answer an item, as its copy is written; a refused one stops nothing."""
    for number, item in enumerate(items, 1):
        try:
            copy = deidentify(item.load(), pseudonyms, options)
            file = _write(out, copy)
        except InputRefused as error:
            reason = f"{error.reason} {error.remedy}".strip()
            yield Copied(number=number, source=item.name, refused=error.code, reason=reason)
        else:
            warnings = tuple(copy.warnings)
            yield Copied(number=number, source=item.name, file=file, warnings=warnings)


def _write(out: Path, copy: Deidentified) -> str:
    """The new file's path below `out`; another object of the same id is never overwritten."""
    name = f"{copy.patient}/{copy.study}/{copy.instance}.dcm"
    target = out / name
    if not target.exists():
        write_bytes(target, copy.data)
    elif target.read_bytes() != copy.data:
        raise UnsupportedRefused(
            "",
            "another object with its SOPInstanceUID (or other options) was written before.",
            "Write into a new folder.",
        )
    return name
