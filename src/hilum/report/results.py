"""A result folder: files of each image in the workers, then findings.json, .csv and the page.

Every file appears whole or not at all. File names are made of safe letters and a hash, whatever
the inputs are called. docs/findings-json.md documents the tables.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hilum.core import csv_cells
from hilum.core.files import OWN_PICTURES, write_quickly, write_text
from hilum.core.outlines import svg_path
from hilum.core.results import FINDINGS, ImageResult, RunResult
from hilum.dicom.analysed import Analysed
from hilum.report.writers import Writer, write_all

TABLE, PAGE = "findings.csv", "index.html"


def stem(name: str) -> str:
    """A file name of safe letters for an input called anything; different for different names."""
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:10]
    last = re.split(r"[/\\!]", name)[-1]
    base = re.sub(r"\.(dcm|dicom|png|jpe?g|webp)$", "", last, flags=re.IGNORECASE)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", base).strip("-")[:40].strip("-")
    return f"{slug}-{digest}" if slug else digest


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """Where a run's answers go. Picklable: images are written inside the workers."""

    path: Path
    writers: Mapping[str, Writer]

    @property
    def names(self) -> tuple[str, ...]:
        """What is written directly below the folder."""
        return (FINDINGS, TABLE, PAGE, *sorted(OWN_PICTURES))

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the files of an image."""
        return {"write": {name: repr(writer) for name, writer in self.writers.items()}}

    def __call__(self, image: Analysed) -> ImageResult:
        """The analysed image with its outlines and the names of its files.

        What a writer cannot write, or breaks at, is a warning: the findings are kept.
        """
        result = image.result
        if result.findings is None:
            return result
        # First, because it makes every mask: one that cannot be made fails the image, and no file
        # of it is left behind.
        outlines = {key: svg_path(mask) for key, mask in result.findings.masks.items()}
        masks, files = dict(result.masks), dict(result.files)
        written, warnings = write_all(self.writers, image)
        for file in written:
            path = f"{file.writer}/{stem(result.name)}{file.ending}"
            # A file that power loss leaves empty is made again when the run goes on.
            write_quickly(self.path / path, file.content)
            (masks if file.writer == "mask" else files)[file.key] = path
        return replace(
            result,
            outlines=outlines,
            masks=masks,
            files=files,
            warnings=(*result.warnings, *warnings),
        )

    def finish(self, run: RunResult) -> None:
        """findings.json, findings.csv and the page, each atomically."""
        from hilum.report.page import write_page

        write_text(self.path / FINDINGS, to_text(run))
        write_text(self.path / TABLE, to_csv(run))
        write_page(self.path, run)


def to_text(run: RunResult) -> str:
    """findings.json: the head laid out for eyes, then one line an image, for tools that go by
    lines."""
    whole = run.to_json()
    head = {key: value for key, value in whole.items() if key not in ("images", "studies")}
    parts = [json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False)[:-2]]
    for key in ("images", "studies"):
        lines = (json.dumps(one, ensure_ascii=False, allow_nan=False) for one in whole[key])
        parts.append(f'"{key}": [\n' + ",\n".join(lines) + "\n]")
    return ",\n".join(parts) + "\n}\n"


def to_csv(run: RunResult) -> str:
    """One line a box; images without boxes have one line with empty box columns."""
    scores = sorted({name for image in run for name in image.to_json()["scores"]})
    columns = [
        *("image", "path", "study_instance_uid", "sop_instance_uid", "status", "reason"),
        *("width", "height", *(f"score_{name}" for name in scores)),
        *("box", "label", "score", "x1", "y1", "x2", "y2"),
    ]
    rows = (row for index, image in enumerate(run) for row in _rows(index, image))
    return csv_cells.to_csv(columns, ([row.get(key) for key in columns] for row in rows))


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
