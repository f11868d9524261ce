"""A pipeline in shadow beside the shown one: how its scores shift on local studies.

Its results are kept and never shown or sent. Once an admin has accepted the report, the pipeline
takes the place of the first one of the rules that name it as a shadow. What was accepted is its
fingerprint: with another bundle under the same name it is a shadow again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from hilum.core.errors import HilumError
from hilum.core.results import ImageResult
from hilum.serve.pipelines import NotLoaded
from hilum.serve.tables import Image, Note, Result

if TYPE_CHECKING:
    from hilum.serve.service import Service

LEAST = 30  # studies; a report of fewer cannot be accepted
NEWEST = 2000  # studies that a report is about
_NOTE = "shadow-accepted "


class TooFew(HilumError):
    """The shadow has not seen enough studies yet."""


class NoShadow(HilumError):
    """There is no such pipeline in shadow, or it was not accepted."""


def shadows(service: Service) -> dict[str, Any]:
    """The score-shift report of each pipeline in shadow, with who accepted it."""
    out = {}
    for name in sorted({name for rule in service.config.rules for name in rule.shadow}):
        fingerprint = _fingerprint(service, name)
        pairs = _pairs(service, name, fingerprint) if fingerprint else []
        report = _report(pairs) | {"fingerprint": fingerprint}
        with service.records.read() as session:
            note = session.get(Note, _NOTE + name)
        good = note is not None and note.value["report"]["fingerprint"] == fingerprint
        accepted = note.value if good and note else None
        out[name] = report | {"needed": LEAST, "accepted": accepted}
    return out


def accept(service: Service, pipeline: str, by: str) -> dict[str, Any]:
    """Keep who accepted which report; from now on the pipeline is shown.

    Raises:
        NoShadow: no rule has it in shadow.
        TooFew: fewer than `LEAST` studies.
    """
    report = shadows(service).get(pipeline)
    if report is None:
        raise NoShadow(f"no rule has {pipeline} in `shadow`")
    if report["studies"] < LEAST:
        raise TooFew(f"the shadow has seen {report['studies']} studies; needed: {LEAST}")
    del report["accepted"], report["needed"]
    value = {"by": by, "at": service.clock(), "report": report}
    with service.records.write() as session:
        session.merge(Note(name=_NOTE + pipeline, value=value))
        service.audit.add(session, "changed", user=by, text=f"shadow {pipeline} accepted")
    return value


def withdraw(service: Service, pipeline: str, by: str) -> None:
    """It is a shadow again.

    Raises:
        NoShadow: it was not accepted.
    """
    with service.records.write() as session:
        note = session.get(Note, _NOTE + pipeline)
        if note is None:
            raise NoShadow(f"no report of {pipeline} was accepted")
        session.delete(note)
        service.audit.add(session, "changed", user=by, text=f"shadow {pipeline} withdrawn")


def accepted(service: Service, session: Session) -> frozenset[str]:
    """Pipelines whose report was accepted, as long as they are what it was about."""
    notes = session.scalars(select(Note).where(Note.name.startswith(_NOTE)))
    known = {note.name.removeprefix(_NOTE): note.value["report"]["fingerprint"] for note in notes}
    return frozenset(name for name, one in known.items() if _fingerprint(service, name) == one)


def _fingerprint(service: Service, name: str) -> str | None:
    try:
        return service.pipelines.loaded(name).fingerprint
    except NotLoaded:
        return None


_Pair = tuple[float, float, bool, bool]


def _pairs(service: Service, name: str, fingerprint: str) -> list[_Pair]:
    """Score and finding of the shown result and of the shadow, of the newest images."""
    shown = aliased(Result)
    query = (
        select(Result.document, shown.document)
        .join(Image, Image.id == Result.image)
        .join(shown, (shown.image == Image.id) & (shown.pipeline == Image.pipeline))
        .where(Result.pipeline == name, Result.fingerprint == fingerprint)
        .where(Result.shadow, ~shown.shadow)
        .order_by(Image.received.desc())
        .limit(NEWEST)
    )
    with service.records.read() as session:
        both = [(_said(old), _said(new)) for new, old in session.execute(query)]
    return [(a, b, marked_a, marked_b) for (a, marked_a), (b, marked_b) in both]


def _said(document: dict[str, Any]) -> tuple[float, bool]:
    answer = ImageResult.from_json(document["images"][0])
    assert answer.findings is not None  # only what was analysed has a result
    return answer.findings.lead, bool(answer.marked)


def _report(pairs: list[_Pair]) -> dict[str, Any]:
    """Of nothing: counts of 0, no shift."""
    shifts = [new - old for old, new, *_ in pairs]
    names = ("p05", "median", "p95")
    quantiles = np.quantile(shifts, (0.05, 0.5, 0.95)).tolist() if pairs else [None] * 3
    return {
        "studies": len(pairs),
        "shift": dict(zip(names, quantiles, strict=True)),
        "finding_only_shown": sum(a and not b for *_, a, b in pairs),
        "finding_only_shadow": sum(b and not a for *_, a, b in pairs),
    }
