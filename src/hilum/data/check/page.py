"""The page of `hilum data check`: counts, and the first images of each problem with thumbnails."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment

from hilum.core.errors import DataError, InputRefused
from hilum.data.catalog import Catalog
from hilum.data.check.findings import REMEDIES, Report
from hilum.data.page_style import CSS
from hilum.data.pixels import open_radiograph

SHOWN = 12  # images of each problem
SIDE = 160  # px of a thumbnail

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Check of {{ name }}</title>
<style>{{ css|safe }}td:last-child,th:last-child,
td:first-child{text-align:left}
.images{display:grid;grid-template-columns:repeat(auto-fill,minmax(10rem,1fr));gap:.8rem}
.images img{height:10rem;object-fit:contain}</style><main>
<h1>Check of {{ name }}</h1>
<p>By hilum. Research use only.</p>
<dl><div><dt>images</dt><dd>{{ "{:,}".format(images) }}</dd></div>
<div><dt>read</dt><dd>{{ "{:,}".format(read) }}</dd></div>
<div><dt>problems</dt><dd>{{ "{:,}".format(problems) }}</dd></div></dl>
{% if counts %}<section><table><thead><tr><th>Problem<th>Found<th>In the cleaned copy</tr></thead>
{% for code, count in counts.items() %}<tr><td><a href="#{{ code }}">{{ code }}</a><td>{{ count }}
<td>{{ remedies[code] }}</tr>{% endfor %}</table></section>{% endif %}
{% if notes %}<section><h2>Assumed while reading</h2><ul>{% for note in notes %}<li>{{ note }}</li>
{% endfor %}</ul></section>{% endif %}
{% for code, rows in shown.items() %}<section id="{{ code }}"><h2>{{ code }}</h2>
<p>{{ "{:,}".format(counts[code]) }} found{% if counts[code] > rows|length %}, the first
{{ rows|length }} here; all stand in problems.csv{% endif %}.</p>
<div class="images">{% for row in rows %}<figure>
{% if row.picture %}<img alt="" src="{{ row.picture }}">{% endif %}
<figcaption><b>{{ row.image_id }}</b><br>{{ row.text }}</figcaption></figure>{% endfor %}
</div></section>{% endfor %}</main></html>
"""


def page(report: Report) -> str:
    """One HTML file without outside parts."""
    paths = dict(zip(report.catalog.table["image_id"], report.catalog.table["path"], strict=True))
    shown: dict[str, list[dict[str, Any]]] = {}
    for code, rows in report.problems.groupby("code", sort=False):
        shown[str(code)] = [
            {"image_id": i, "text": t, "picture": _thumbnail(report.catalog, str(paths.get(i, "")))}
            for i, t in zip(rows["image_id"][:SHOWN], rows["text"][:SHOWN], strict=True)
        ]
    return (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            name=report.catalog.name,
            css=CSS,
            images=len(report.catalog),
            read=len(report.facts),
            problems=len(report.problems),
            counts=report.counts(),
            remedies=REMEDIES,
            notes=report.catalog.notes,
            shown=shown,
        )
    )


def _thumbnail(catalog: Catalog, path: str) -> str:
    if not path:
        return ""
    try:
        radiograph = open_radiograph(catalog.root, path)
    except (InputRefused, DataError):
        return ""
    scale = SIDE / max(radiograph.width, radiograph.height)
    size = (max(1, round(radiograph.width * scale)), max(1, round(radiograph.height * scale)))
    small = cv2.resize(radiograph.pixels, size, interpolation=cv2.INTER_AREA)
    _, coded = cv2.imencode(".jpg", (small * 255).astype(np.uint8))
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode()
