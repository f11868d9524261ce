"""A pipeline in shadow beside the shown one: how its scores shift on local studies.

Its results are kept and never shown or sent. Whoever has read the report accepts it; the
configuration names it in `pipelines` of a rule then.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import aliased

from hilum.core.errors import HilumError
from hilum.serve.service import Service
from hilum.serve.tables import Image, Note, Result

LEAST = 30  # studies; a report of fewer cannot be accepted
_NOTE = "shadow-accepted "


class TooFew(HilumError):
    """The shadow has not seen enough studies yet."""


def shadows(service: Service) -> dict[str, Any]:
    """The score-shift report of each pipeline in shadow, with who accepted it."""
    pairs = _pairs(service)
    with service.records.read() as session:
        notes = {name: session.get(Note, _NOTE + name) for name in pairs}
    return {
        name: _report(values) | {"accepted": note.value if (note := notes[name]) else None}
        for name, values in pairs.items()
    }


def accept(service: Service, pipeline: str, by: str) -> dict[str, Any]:
    """Keep who accepted which report.

    Raises:
        TooFew: fewer than `LEAST` studies.
    """
    report = shadows(service).get(pipeline)
    if report is None or report["studies"] < LEAST:
        seen = report["studies"] if report else 0
        raise TooFew(f"the shadow has seen {seen} studies; needed: {LEAST}")
    del report["accepted"]
    value = {"by": by, "at": service.clock(), "report": report}
    with service.records.write() as session:
        session.merge(Note(name=_NOTE + pipeline, value=value))
        service.audit.add(session, "changed", user=by, text=f"shadow {pipeline} accepted")
    return value


def _pairs(service: Service) -> dict[str, list[tuple[float, float, bool, bool]]]:
    """Score and finding of the shown result and of the shadow, by the shadow's name."""
    shown = aliased(Result)
    query = (
        select(Result.pipeline, Result.document, shown.document)
        .join(Image, Image.id == Result.image)
        .join(shown, (shown.image == Image.id) & (shown.pipeline == Image.pipeline))
        .where(Result.shadow, ~shown.shadow)
        .order_by(Image.received.desc())
        .limit(2000)
    )
    out: dict[str, list[tuple[float, float, bool, bool]]] = {}
    with service.records.read() as session:
        for name, new, old in session.execute(query):
            (a, found_a), (b, found_b) = _said(old), _said(new)
            out.setdefault(name, []).append((a, b, found_a, found_b))
    return out


def _said(document: dict[str, Any]) -> tuple[float, bool]:
    entry = document["images"][0]
    scores = [float(one["score"]) for one in entry["findings"]]
    return float(entry["scores"].get("opacity", max([*scores, 0.0]))), bool(scores)


def _report(pairs: list[tuple[float, float, bool, bool]]) -> dict[str, Any]:
    old, new = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    shift = np.quantile(new - old, (0.05, 0.5, 0.95))
    return {
        "studies": len(pairs),
        "shift": dict(zip(("p05", "median", "p95"), map(float, shift), strict=True)),
        "finding_only_shown": sum(a and not b for *_, a, b in pairs),
        "finding_only_shadow": sum(b and not a for *_, a, b in pairs),
    }
