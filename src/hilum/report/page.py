"""A run as a page that needs no network: index.html and its data beside it, page.js.

The page draws boxes and outlines itself, over one plain picture an image, and keeps only the
cards in view, so that ten thousand images are no more than one. Knows core values and file names
only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hilum.core.files import write_text
from hilum.core.labels import NOT_SHOWN, VOCABULARY
from hilum.core.manifest import BOX
from hilum.core.results import ImageResult, RunResult
from hilum.report.pages import render

LEAD = ("opacity", "pneumothorax", "covid-19")  # scores that sort, the first that there is
DATA = "page.js"


def write_page(folder: Path, run: RunResult) -> None:
    """index.html and page.js in a result folder. Pictures are linked relative to it."""
    write_text(folder / DATA, data(run))
    write_text(folder / "index.html", page(run))


def page(run: RunResult) -> str:
    """The HTML of index.html; what it says of images stands in `data`."""
    return render(
        "index.html",
        pipeline=run.pipeline,
        counts=run.counts,
        total=len(run),
        studies=len(run.studies),
        points=run.pipeline.operating_points,
        data=DATA,
    )


def data(run: RunResult) -> str:
    """page.js: one call with one JSON text, which browsers read far faster than a script."""
    names = dict.fromkeys(
        name for image in run if image.findings for name in image.findings.image_scores
    )
    scores = [name for name in names if name not in NOT_SHOWN]
    value = {
        "lead": next((name for name in LEAD if name in scores), next(iter(scores), None)),
        "scores": scores,
        "labels": {name: _look(label.text, label.colour_rgb) for name, label in VOCABULARY.items()},
        "points": {
            name: {"score": point.score, "threshold": point.threshold, "reason": point.reason}
            for name, point in run.pipeline.operating_points.items()
        },
        "box": next(
            (p.threshold for p in run.pipeline.operating_points.values() if p.score == BOX), 0.0
        ),
        "images": [_image(image, scores) for image in run],
        "studies": [
            [study.study_instance_uid, _values(study.scores, scores), study.images]
            for study in run.studies
        ],
    }
    # Only ASCII, no quote, no closing tag: a text that no input can break out of.
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    quoted = text.replace("\\", "\\\\").replace("'", "\\'").replace("<", "\\x3c")
    return f"hilum(JSON.parse('{quoted}'))\n"


def _look(text: str, colour: tuple[int, int, int]) -> list[str]:
    return [text, "#{:02x}{:02x}{:02x}".format(*colour)]


def _image(image: ImageResult, scores: list[str]) -> list[Any]:
    """A row of page.js; page.js of templates/ names its columns."""
    entry = image.to_json()
    return [
        entry["path"],
        entry["status"],
        entry["reason"],
        entry["warnings"],
        entry["width"],
        entry["height"],
        _values(entry["scores"], scores),
        [[box["label"], box["score"], *box["box_px"]] for box in entry["findings"]],
        entry["outlines"],
        entry["files"],
        entry["masks"],
        entry["study_instance_uid"],
    ]


def _values(scores: Any, names: list[str]) -> list[float | None]:
    return [None if name not in scores else round(float(scores[name]), 4) for name in names]
