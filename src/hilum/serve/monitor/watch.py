"""The studies of the records as features: the first of a pipeline are the reference.

Bundles hold no reference distribution, and a foreign one would alarm at once; so the local studies
that came first under a pipeline are it, or those after an admin has said "from here".
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from sqlalchemy import select

from hilum.serve.monitor.drift import BLOCK, REFERENCE, Study, alarms, blocks_of
from hilum.serve.service import Service
from hilum.serve.store import Store, StoreUnavailable
from hilum.serve.tables import Image, Note, Result

FROM = "monitor-reference-from"
BLOCKS = 20  # the newest that are tested
SETTLED = ("analysed", "refused", "failed")


def drift(service: Service) -> dict[str, Any]:
    """Reference, newest blocks and their alarms."""
    studies = features(service)
    reference, rest = studies[:REFERENCE], studies[REFERENCE:]
    state: dict[str, Any] = {"studies": len(studies), "reference": len(reference), "block": BLOCK}
    if len(reference) < REFERENCE:
        return state | {"ready": False, "blocks": [], "alarm": False}
    tested = [
        {"number": number, "alarms": [one.words for one in alarms(reference, block)]}
        for number, block in [*enumerate(blocks_of(rest), 1)][-BLOCKS:]
    ]
    alarm = bool(tested and tested[-1]["alarms"])
    return state | {"ready": True, "blocks": tested, "alarm": alarm}


def features(service: Service) -> list[Study]:
    """One entry per settled image, oldest first."""
    with service.records.read() as session:
        note = session.get(Note, FROM)
        since = float(note.value["at"]) if note else 0.0
        images = select(Image, Result.id, Result.files).outerjoin(
            Result, (Result.image == Image.id) & (Result.pipeline == Image.pipeline)
        )
        images = images.where(Image.state.in_(SETTLED), Image.received >= since)
        rows = list(session.execute(images.order_by(Image.received, Image.id)).all())
    # The beginning and the newest blocks; what lies between was tested in its time.
    kept = list(rows[:REFERENCE])
    rest = rows[REFERENCE:]
    whole = len(rest) - len(rest) % BLOCK
    kept += rest[max(0, whole - BLOCKS * BLOCK) :]
    return [_study(service.store, *row) for row in kept]


def _study(store: Store, image: Image, result: str | None, files: dict[str, Any] | None) -> Study:
    contrast = _contrast(store, result, files["picture"]) if files and "picture" in files else None
    return {
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
