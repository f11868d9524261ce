"""The page of `hilum data explore`: figures, the table of classes, samples with boxes.

One file without outside parts. The samples are radiographs: the page is the user's own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment

from hilum.core.errors import DataError, InputRefused
from hilum.core.radiograph import Radiograph
from hilum.data.catalog import Catalog, Float64
from hilum.data.explore.explore import Summary
from hilum.data.explore.figures import Plot
from hilum.data.page_style import CSS
from hilum.data.pixels import open_radiograph

SIDE = 300  # px of a sample
SHOWN = 0.7  # CSS pixels per pixel of a figure: all figures with the same size of letters
ORANGE_BGR = (44, 107, 221)

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ name }} explored</title>
<style>
{{ css|safe }}</style><main>
<h1>{{ name }}</h1>
<p>Explored with hilum. Research use only.</p>
<dl>{% for label, value in numbers.items() %}<div><dt>{{ label }}</dt><dd>{{ value }}</dd></div>
{% endfor %}</dl>
{% for plot in plots %}<section><h2>{{ plot.title }}</h2><p>{{ plot.caption }}</p>
<img alt="{{ plot.title }}" width="{{ plot.width }}"
src="data:image/png;base64,{{ plot.data }}"></section>
{% if loop.first and columns %}<section><h2>Exams × target × class</h2>
<p>Images unless it says otherwise.</p>
<table><thead><tr><th>Class{% for c in columns %}<th>{{ c }}{% endfor %}</tr></thead>
{% for label, row in rows %}<tr><th scope="row">{{ label }}{% for n in row %}
<td>{{ "{:,}".format(n) }}{% endfor %}</tr>{% endfor %}</table></section>{% endif %}
{% endfor %}
{% if samples %}<section><h2>Samples</h2><p>Random images of each class with their boxes. Do not
publish them where the licence of the set forbids it.</p>
{% for label, pictures in samples.items() %}<h3>{{ label }}</h3><div class="row">
{% for picture in pictures %}<figure><img alt="" src="data:image/jpeg;base64,{{ picture.data }}">
<figcaption>{{ picture.text }}</figcaption></figure>{% endfor %}</div>{% endfor %}</section>
{% endif %}
{% if notes %}<section><h2>Assumed while reading</h2><ul>{% for note in notes %}<li>{{ note }}</li>
{% endfor %}</ul></section>{% endif %}
</main></html>
"""


def page(summary: Summary, figures: Sequence[Plot], each: int = 4, seed: int = 0) -> str:
    """The report; `each` samples of a class, 0 for none."""
    catalog, classes = summary.catalog, summary.classes()
    return (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            name=catalog.name,
            numbers=_numbers(summary),
            css=CSS,
            plots=[
                {
                    "title": p.title,
                    "caption": p.caption,
                    "width": round(p.width_px * SHOWN),
                    "data": _coded(p.png),
                }
                for p in figures
            ],
            columns=list(classes.columns),
            rows=[(label, row.tolist()) for label, row in classes.iterrows()],
            samples=dict(_samples(catalog, each, seed)) if each else {},
            notes=catalog.notes,
        )
    )


def _numbers(summary: Summary) -> dict[str, str]:
    table = summary.catalog.table
    boxes = int(summary.boxes_per_image().mul(summary.boxes_per_image().index).sum())
    found = {
        "images": len(table),
        "with a file": int((table["path"] != "").sum()),
        "patients": table["patient"].nunique(),
        "boxes": boxes,
        "labels": len(summary.label_columns),
    }
    return {label: f"{value:,}" for label, value in found.items()}


def _coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _samples(catalog: Catalog, each: int, seed: int) -> Iterator[tuple[str, list[dict[str, str]]]]:
    rng = np.random.default_rng(seed)
    has_file = (catalog.table["path"] != "").to_numpy()
    for label in catalog.label_names or [""]:
        fits = (catalog.table[f"label_{label}"] == 1).to_numpy() if label else True
        rows = rng.permutation(np.flatnonzero(has_file & fits))
        shown: list[dict[str, str]] = []
        for row in rows[: 3 * each].tolist():  # some may be unreadable
            try:
                shown.append(_sample(catalog, row))
            except (InputRefused, DataError):
                continue
            if len(shown) == each:
                break
        if shown:
            yield label or "any", shown


def _sample(catalog: Catalog, row: int) -> dict[str, str]:
    record = catalog.table.iloc[row]
    radiograph = open_radiograph(catalog.root, record["path"])
    drawn = catalog.boxes_in(row, radiograph.width, radiograph.height)
    picture = _drawn(radiograph, np.zeros((0, 4)) if drawn is None else drawn[0])
    age = f"{record['age']:.0f} years" if record["age"] == record["age"] else ""
    boxes = "" if drawn is None or not len(drawn[0]) else f"{len(drawn[0])} boxes"
    parts = (record["image_id"], record["view"], record["sex"], age, boxes)
    return {"data": picture, "text": " · ".join(str(part) for part in parts if part)}


def _drawn(radiograph: Radiograph, boxes: Float64) -> str:
    """The radiograph as JPEG, longer side `SIDE`, its boxes drawn on it."""
    scale = SIDE / max(radiograph.width, radiograph.height)
    grey = cv2.resize(radiograph.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    shown: Any = cv2.cvtColor((grey * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    factors = np.array([shown.shape[1] / radiograph.width, shown.shape[0] / radiograph.height] * 2)
    for x1, y1, x2, y2 in np.round(boxes * factors).astype(int).tolist():
        cv2.rectangle(shown, (x1, y1), (x2, y2), ORANGE_BGR, 2, cv2.LINE_AA)
    return _coded(bytes(cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]))
