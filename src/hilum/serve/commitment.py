"""Storage commitment (PS3.4 J, push model): an archive is asked to keep an object, and reports
later, on the same association or on one that it opens to our node, whether it does.

A report is only noted here, in the delivery that waits for it; `delivery.py` decides what it means.
"""

from __future__ import annotations

import uuid
from typing import Any

from pydicom.dataset import Dataset
from sqlalchemy import select

from hilum.serve.records import Records
from hilum.serve.tables import Delivery
from hilum.serve.work import DELIVER, Queue

_REFERENCES = 1000  # of one report; we ask for one object at a time


def new_transaction() -> str:
    """A Transaction UID that nobody can guess."""
    return f"2.25.{uuid.uuid4().int}"


def note(records: Records, queue: Queue, report: Dataset) -> bool:
    """Note an N-EVENT-REPORT; its delivery is due at once. False: nobody waits for it.

    Raises:
        RecordsUnavailable: it is not noted; the archive may say it again.
    """
    transaction = str(report.get("TransactionUID") or "")
    with records.write() as session:
        query = select(Delivery).where(Delivery.commitment == transaction)
        waiting = query.where(Delivery.state == "waiting").with_for_update()
        delivery = session.scalar(waiting) if transaction else None
        if delivery is None:
            return False
        delivery.report = _outcomes(report)
        queue.hurry(session, DELIVER, delivery.id)
    return True


def _outcomes(report: Dataset) -> dict[str, Any]:
    """SOP instance UID -> None where it is kept, else why not."""
    kept = [*report.get("ReferencedSOPSequence", [])][:_REFERENCES]
    failed = [*report.get("FailedSOPSequence", [])][:_REFERENCES]
    outcomes: dict[str, Any] = {str(one.get("ReferencedSOPInstanceUID")): None for one in kept}
    return outcomes | {
        str(one.get("ReferencedSOPInstanceUID")): f"0x{int(one.get('FailureReason') or 0):04X}"
        for one in failed
    }
