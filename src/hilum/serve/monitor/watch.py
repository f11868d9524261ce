"""The studies of the records as features: the first under today's bundles are the reference.

Bundles hold no reference distribution, and a foreign one would alarm at once; so the local studies
that came first under a fingerprint are it, or those after an admin has said "from here".
"""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hilum.serve.monitor.drift import BLOCK, HOURS, REFERENCE, Study, alarms, blocks_of
from hilum.serve.service import Service
from hilum.serve.store import Store, StoreUnavailable
from hilum.serve.tables import Image, Note, Result

FROM = "monitor-reference-from"
BLOCKS = 20  # the newest that are tested
SETTLED = ("analysed", "refused", "failed")
STATE = "monitor-drift"  # what was seen last
_WORKING = range(7, 18)  # hours of weekdays

log = logging.getLogger(__name__)


def check(service: Service) -> dict[str, Any]:
    """Look, keep what was seen for the metrics, and say an alarm in the log once."""
    state = drift(service)
    nothing: dict[str, Any] = {"number": 0, "alarms": []}
    newest = state["blocks"][-1] if state["alarm"] else nothing
    value = {"at": service.clock(), "alarm": state["alarm"], "block": newest["number"]}
    with service.records.write() as session:
        before = session.get(Note, STATE)
        known = before is not None and before.value["block"] == newest["number"]
        session.merge(Note(name=STATE, value=value))
    if state["alarm"] and not known:
        log.warning("drift: %s", "; ".join(newest["alarms"]))
    return state


def drift(service: Service) -> dict[str, Any]:
    """Reference, newest blocks and their alarms."""
    studies, skipped = features(service)
    reference, rest = studies[:REFERENCE], studies[REFERENCE:]
    state: dict[str, Any] = {"studies": len(studies) + skipped * BLOCK}
    state |= {"reference": len(reference), "needed": REFERENCE, "block": BLOCK}
    if len(reference) < REFERENCE:
        return state | {"ready": False, "blocks": [], "alarm": False}
    tested = [
        {"number": number, "alarms": [one.words for one in alarms(reference, block)]}
        for number, block in enumerate(blocks_of(rest), skipped + 1)
    ]
    alarm = bool(tested and tested[-1]["alarms"])
    return state | {"ready": True, "blocks": tested, "alarm": alarm}


def features(service: Service) -> tuple[list[Study], int]:
    """One entry per settled image since the reference began, oldest first, and how many blocks
    after the reference are left out: they were tested in their time."""
    with service.records.read() as session:
        note = session.get(Note, FROM)
        since = max(float(note.value["at"]) if note else 0.0, _newest_bundle(session))
        images = select(Image, Result.id, Result.files).outerjoin(
            Result, (Result.image == Image.id) & (Result.pipeline == Image.pipeline)
        )
        # What somebody tried out with a pipeline of their choice is none of the routine.
        images = images.where(Image.wanted.is_(None), Image.origin != "sample")
        images = images.where(Image.state.in_(SETTLED), Image.received >= since)
        rows = list(session.execute(images.order_by(Image.received, Image.id)).all())
    skipped = max(0, (len(rows) - REFERENCE) // BLOCK - BLOCKS)
    kept = rows[:REFERENCE] + rows[REFERENCE + skipped * BLOCK :]
    return [_study(service.store, *row) for row in kept], skipped


def _newest_bundle(session: Session) -> float:
    """When the newest of the fingerprints whose results are shown was first used."""
    shown = (Result.image == Image.id) & (Result.pipeline == Image.pipeline) & ~Result.shadow
    first = select(func.min(Image.received)).join(Result, shown).where(Image.wanted.is_(None))
    return max(map(float, session.scalars(first.group_by(Result.fingerprint))), default=0.0)


def _study(store: Store, image: Image, result: str | None, files: dict[str, Any] | None) -> Study:
    contrast = _contrast(store, result, files["picture"]) if files and "picture" in files else None
    at = time.localtime(image.received)
    working = at.tm_wday < 5 and at.tm_hour in _WORKING
    return {
        HOURS: "working hours" if working else "other hours",
        "score": image.score,
        "state": image.state,
        "view": image.view or "unknown",
        "modality": image.modality or "unknown",
        "vendor": image.manufacturer or "unknown",
        "photometric": "inverted" if image.inverted else "plain",
        "contrast": contrast,
    }


@lru_cache(maxsize=4096)
def _contrast(store: Store, result: str, name: str) -> float | None:
    """Middle less border, of the picture as displayed: negative where it is inverted."""
    try:
        content = np.frombuffer(store.read_result(result, name), np.uint8)
    except StoreUnavailable:
        return None
    grey = cv2.imdecode(content, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if grey is None:
        return None
    return contrast_of(grey)


def contrast_of(grey: np.ndarray) -> float:
    """Mean of the middle less mean of the border (a tenth of each side), of 255."""
    h, w = grey.shape[0] // 10 + 1, grey.shape[1] // 10 + 1
    middle = np.zeros(grey.shape, bool)
    middle[h:-h, w:-w] = True
    if not middle.any():
        return 0.0
    return float(grey[middle].mean() - grey[~middle].mean())
