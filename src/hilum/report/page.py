"""A run as one static page that needs no network. Knows core values and file names only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from hilum.core.labels import VOCABULARY
from hilum.core.manifest import BOX
from hilum.core.results import ImageResult, RunResult

LEAD = ("opacity",)  # the score that sorts and colours, where there is one


def page(run: RunResult) -> str:
    """The HTML of index.html. Pictures are linked relative to the result folder."""
    images = [_image(index, image) for index, image in enumerate(run)]
    names = list(dict.fromkeys(name for image in images for name in image["scores"]))
    return template("index.html").render(
        pipeline=run.pipeline,
        counts=run.counts,
        images=images,
        score_names=names,
        lead=next((name for name in LEAD if name in names), names[0] if names else None),
        label_text={name: label.text for name, label in VOCABULARY.items()},
        points=run.pipeline.operating_points,
        box_point=next((p for p in run.pipeline.operating_points.values() if p.score == BOX), None),
        studies=[
            {
                "uid": study.study_instance_uid,
                "scores": study.scores,
                "images": [(index, images[index]["short"]) for index in study.images],
            }
            for study in run.studies
        ],
    )


def _image(index: int, image: ImageResult) -> dict[str, Any]:
    entry = image.to_json()
    code, _, words = (image.reason or "").partition(": ")
    return entry | {
        "index": index,
        "scores": dict(sorted(entry["scores"].items(), key=lambda pair: pair[0] not in LEAD)),
        "short": _short(image.name),
        "extras": dict(image.extras),
        "code": code,
        "words": words or code,
        "best": max((box["score"] for box in entry["findings"]), default=None),
        "lead": _lead(entry["scores"]),
    }


def _lead(scores: Mapping[str, float]) -> float:
    """The number an image is sorted by; images without one come last."""
    return next((scores[name] for name in LEAD if name in scores), -1.0)


def _short(name: str) -> str:
    """The last part of a path, for captions; the whole is the tooltip."""
    return name.replace("\\", "/").rstrip("/").split("/")[-1].split("!")[-1] or name


@cache
def template(name: str) -> Template:
    """One of the package's page templates."""
    # Names of files and texts of headers are the sender's words: always escaped.
    environment = Environment(
        loader=PackageLoader("hilum.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
