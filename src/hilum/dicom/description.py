"""What a file is, as plain data: header, decoding, what is odd. Identifiers only where asked."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from hilum.core.errors import InputRefused
from hilum.core.radiograph import Radiograph
from hilum.dicom.discover import Item
from hilum.dicom.dump import elements
from hilum.dicom.gate import chest_header_reason
from hilum.dicom.stored import StoredImage


def described(
    item: Item, *, full: bool = False, identifiers: bool = False, full_range: bool = False
) -> dict[str, Any]:
    """One image of `hilum inspect --json`; status "read", or "refused" with code and reason.

    Args:
        full: every element of the header as well.
        identifiers: names, ids, UIDs, dates, free and private text, too.
        full_range: decoded without windows and VOI LUTs.
    """
    row: dict[str, Any] = {"path": item.name}
    try:
        stored = item.open()
        row |= _header(stored, full=full, identifiers=identifiers)
        start = time.perf_counter()
        radiograph = stored.radiograph(full_range=full_range)
        row |= {"status": "read", **_decoded(radiograph)}
        row["decode_ms"] = round(1000 * (time.perf_counter() - start), 1)
    except InputRefused as error:
        row |= {"status": "refused", "code": error.code, "reason": error.reason}
        row["remedy"] = error.remedy
    return row


def _header(stored: StoredImage, *, full: bool, identifiers: bool) -> dict[str, Any]:
    """What is known before a pixel is decoded."""
    row: dict[str, Any] = {
        "format": stored.kind,
        "object": stored.object_name,
        "not_a_chest_radiograph": chest_header_reason(stored),
    }
    if identifiers:
        row["identifiers"] = asdict(stored.ids)
    if full:
        row["elements"] = elements(stored, identifiers)
    return row


def _decoded(radiograph: Radiograph) -> dict[str, Any]:
    decoding, valid = radiograph.decoding, radiograph.valid
    return {
        "height": radiograph.height,
        "width": radiograph.width,
        "bits": decoding.bits_stored,
        "photometric": decoding.photometric,
        "transfer_syntax": decoding.transfer_syntax,
        "decoder": decoding.decoder,
        "voi": decoding.voi,
        "clipped_black": round(decoding.clipped_black, 4),
        "clipped_white": round(decoding.clipped_white, 4),
        "warnings": list(decoding.warnings),
        "spacing_mm": radiograph.spacing_mm,
        "spacing_source": radiograph.spacing_source,
        "view": radiograph.view,
        "modality": radiograph.modality,
        "body_part": radiograph.body_part,
        "sex": radiograph.sex,
        "age_years": radiograph.age_years,
        "valid_fraction": 1.0 if valid is None else round(float(valid.mean()), 4),
    }
