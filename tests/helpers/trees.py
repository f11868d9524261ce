"""Small trees of files in the layouts of public sets, and what is asked of their catalogs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hilum.data import Catalog
from hilum.data.phantom.encode import dicom_bytes
from hilum.data.phantom.phantom import phantom, write_png


def dicom(path: Path, seed: int = 0, size: tuple[int, int] = (48, 40), **options: Any) -> None:
    image = phantom(seed, *size, opacities=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_bytes(image.pixels, seed=seed, **options))


def png(path: Path, seed: int = 0, size: tuple[int, int] = (48, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(phantom(seed, *size, opacities=0), path, 8)


def text(path: Path, content: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding=encoding)


def row(catalog: Catalog, image: str) -> Any:
    result = catalog.table[catalog.table["image_id"] == image]
    assert len(result) == 1, f"{image} stands {len(result)} times"
    return result.iloc[0]


def has_note(catalog: Catalog, part: str) -> bool:
    return any(part in note for note in catalog.notes)
