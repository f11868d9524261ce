"""A folder of phantoms with their truth: images, mask PNGs and one truth.json.

Knows the layout of the folder; the images come from `phantom`, their coding from `encode`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.core.errors import ConfigError
from hilum.core.files import write_text
from hilum.core.folders import claimed
from hilum.data.phantom.phantom import Phantom, phantom, write_dicom, write_mask, write_png

SCHEMA = "hilum.phantoms/1"


@dataclass(frozen=True, slots=True)
class PhantomSet:
    """How the phantoms of a folder are made and stored."""

    width: int = 1024
    height: int = 1024
    opacities: int = 2
    pneumothorax: bool = False
    format: str = "dicom"
    syntax: str = "explicit-little"
    bits: int = 12
    photometric: str = "MONOCHROME2"
    sop_class: str = "CR"

    def __post_init__(self) -> None:
        if self.format not in ("dicom", "png"):
            raise ConfigError(f"format {self.format!r}; known: dicom, png")

    @classmethod
    def parse(cls, size: str, **options: Any) -> PhantomSet:
        """With the size as text, `WIDTHxHEIGHT`."""
        match = re.fullmatch(r"(\d+)[x×](\d+)", size.strip())
        if not match:
            raise ConfigError(f"size {size!r}: needed: WIDTHxHEIGHT, e.g. 1024x1024")
        return cls(width=int(match[1]), height=int(match[2]), **options)

    def write(self, folder: Path, seeds: Iterable[int]) -> Iterator[Phantom]:
        """Write one phantom a step; truth.json comes last, so a folder with it is whole.

        Raises:
            ConfigError: the folder holds something else, or an option is wrong.
        """
        entries, wanted = [], list(seeds)
        # Its mark stays: masks are no radiographs.
        with claimed(folder, "phantoms", settings=f"{self} {wanted}"):
            for seed in wanted:
                image = phantom(
                    seed,
                    self.width,
                    self.height,
                    opacities=self.opacities,
                    pneumothorax=self.pneumothorax,
                )
                entries.append(self._write_one(folder, image))
                yield image
            truth = {"schema": SCHEMA, "images": entries}
            write_text(folder / "truth.json", json.dumps(truth, indent=1))

    def _write_one(self, folder: Path, one: Phantom) -> dict[str, Any]:
        stem = f"phantom-{one.seed:06d}"
        image = f"{stem}.{'dcm' if self.format == 'dicom' else 'png'}"
        if self.format == "dicom":
            write_dicom(
                one,
                folder / image,
                syntax=self.syntax,
                bits=self.bits,
                photometric=self.photometric,
                sop_class=self.sop_class,
            )
        else:
            write_png(one, folder / image, 8 if self.bits == 8 else 16)
        masks = {}
        for name, mask in one.masks.items():
            masks[name] = f"masks/{stem}__{name}.png"
            write_mask(mask, folder / masks[name])
        return {
            "path": image,
            "seed": one.seed,
            "width": one.width,
            "height": one.height,
            "boxes_px": one.boxes_px.tolist(),
            "labels": ["opacity"] * len(one.boxes_px),
            "masks": masks,
        }
