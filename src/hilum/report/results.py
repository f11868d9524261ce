"""Result files of a run: pictures and masks an image, findings.json, findings.csv, index.html.

Every file appears whole or not at all. File names are made of safe letters and a hash, whatever
the inputs are called. docs/findings-json.md documents the tables.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.files import write_bytes, write_text
from hilum.core.manifest import OperatingPoint
from hilum.core.radiograph import Radiograph
from hilum.core.results import ImageResult, RunResult
from hilum.report import overlay

THUMB_SIDE = 420
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def stem(name: str) -> str:
    """A file name of safe letters for an input called anything; different for different names."""
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:10]
    last = re.split(r"[/\\!]", name)[-1]
    base = re.sub(r"\.(dcm|dicom|png|jpe?g|webp)$", "", last, flags=re.IGNORECASE)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", base).strip("-")[:40].strip("-")
    return f"{slug}-{digest}" if slug else digest


@dataclass(frozen=True, slots=True)
class ImageWriter:
    """Writes the pictures of one analysed image. Picklable: it works inside the workers."""

    folder: Path
    masks: bool = True
    points: Mapping[str, OperatingPoint] = field(default_factory=dict)

    def __call__(self, radiograph: Radiograph, result: ImageResult) -> ImageResult:
        """The result with the names of its files, relative to the folder.

        `extras`: "overlay" (PNG), "plain" and "thumb" (JPEG).
        """
        found = result.findings
        if found is None:
            return result
        name = stem(result.name)
        drawn = overlay.pictures(radiograph, found, THUMB_SIDE, self.points)
        files = {
            "overlay": (f"overlays/{name}.png", _png(drawn.overlay)),
            "plain": (f"plain/{name}.jpg", _jpeg(drawn.plain)),
            "thumb": (f"thumbs/{name}.jpg", _jpeg(drawn.thumb)),
        }
        for path, content in files.values():
            write_bytes(self.folder / path, content)
        masks = {}
        for mask_name, mask in found.masks.items() if self.masks else ():
            masks[mask_name] = f"masks/{name}-{mask_name}.png"
            write_bytes(self.folder / masks[mask_name], _png(mask.astype(np.uint8) * 255))
        return replace(result, masks=masks, extras={key: path for key, (path, _) in files.items()})


def write_results(folder: Path, run: RunResult) -> None:
    """findings.json, findings.csv and index.html, each atomically."""
    from hilum.report.page import page

    text = json.dumps(run.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(folder / "findings.json", text + "\n")
    write_text(folder / "findings.csv", to_csv(run))
    write_text(folder / "index.html", page(run))


def to_csv(run: RunResult) -> str:
    """One line a box; images without boxes have one line with empty box columns."""
    scores = sorted({name for image in run for name in image.to_json()["scores"]})
    columns = [
        *("image", "path", "study_instance_uid", "sop_instance_uid", "status", "reason"),
        *("width", "height", *(f"score_{name}" for name in scores)),
        *("box", "label", "score", "x1", "y1", "x2", "y2"),
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for index, image in enumerate(run):
        for row in _rows(index, image):
            writer.writerow({key: _cell(value) for key, value in row.items()})
    return out.getvalue()


def _rows(index: int, image: ImageResult) -> Iterator[dict[str, Any]]:
    entry = image.to_json()
    kept = ("path", "study_instance_uid", "sop_instance_uid", "status", "reason")
    row: dict[str, Any] = {"image": index} | {key: entry[key] for key in kept}
    row |= {"width": entry["width"], "height": entry["height"]}
    row |= {f"score_{name}": value for name, value in entry["scores"].items()}
    for number, box in enumerate(entry["findings"]):
        corners = dict(zip(("x1", "y1", "x2", "y2"), box["box_px"], strict=True))
        yield row | {"box": number, "label": box["label"], "score": box["score"]} | corners
    if not entry["findings"]:
        yield row


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return "" if value is None else value


def _png(image: NDArray[np.uint8]) -> bytes:
    # Level 1 is three times as fast as the default and a tenth larger.
    return _encoded(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    return _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])


def _encoded(kind: str, image: NDArray[np.uint8], options: list[int]) -> bytes:
    bgr = image[:, :, ::-1] if image.ndim == 3 else image
    done, buffer = cv2.imencode(kind, np.ascontiguousarray(bgr), options)
    if not done:
        raise OSError(f"OpenCV could not encode a {kind} of {image.shape}")
    return bytes(buffer)
