"""UPS-RS (PS3.18 11, PS3.4 CC) as a performer sees it: search, claim, describe, end a work item.

Knows nothing of our images and of what was done already.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from hilum.dicom.web import PeerFailed, PeerRefused, WebArchive, items_of, text_of

SCHEDULED, IN_PROGRESS = "SCHEDULED", "IN PROGRESS"
COMPLETED, CANCELED = "COMPLETED", "CANCELED"
_UID, _STATE = "00080018", "00741000"
_INPUT, _SOPS = "00404021", "00081199"  # Input Information, Referenced SOP Sequence
_STATION = "99HILUM"


class NotOurs(PeerFailed):
    """Another station has claimed the item, or it was cancelled, has ended or is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One object that came of a work item, and where it can be had: a URL or an AE title."""

    study: str
    series: str
    sop_class: str
    sop: str
    url: str | None = None  # WADO-RS, of the series
    ae_title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a work item ends."""

    state: str
    reason: str = ""  # of CANCELED
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A work item that we may end, because we know its transaction."""

    uid: str
    transaction: str

    @classmethod
    def new(cls, uid: str) -> Item:
        return cls(uid=uid, transaction=f"2.25.{uuid.uuid4().int}")


def scheduled(server: WebArchive, keys: dict[str, str]) -> list[str]:
    """UIDs of the work items that wait for somebody.

    Raises:
        PeerFailed: the server is not reached or refuses.
    """
    rows = server.query("/workitems", {"ProcedureStepState": SCHEDULED, **keys})
    waiting = [one for one in rows if text_of(one, _STATE) in (None, SCHEDULED)]
    return [uid for one in waiting if (uid := text_of(one, _UID))]


def claim(server: WebArchive, item: Item) -> None:
    """Make it ours; no matter if it is already, such as by a request whose answer got lost.

    Raises:
        NotOurs: another station was faster, or the item was cancelled or is gone.
        PeerFailed: the server is not reached.
    """
    try:
        _set_state(server, item, IN_PROGRESS)
    except PeerRefused:
        progress = Dataset()
        progress.ProcedureStepProgress = "0"
        try:  # an item in progress takes changes from its owner only
            _update(server, item, {"ProcedureStepProgressInformationSequence": [progress]})
        except PeerRefused as error:
            why = "another station has claimed it, or it was cancelled or is gone"
            raise NotOurs(why) from error


def inputs(server: WebArchive, item: Item) -> list[str]:
    """WADO-RS paths of the instances that an item of ours is about; whole series where none are
    named.

    Raises:
        NotOurs: it was cancelled, or ended by another, since it was claimed.
        PeerFailed: the server is not reached or refuses.
    """
    known = server.query(f"/workitems/{item.uid}", {})
    if any(text_of(one, _STATE) in (COMPLETED, CANCELED) for one in known):
        raise NotOurs("it has ended on its server since it was claimed")
    paths = [
        path for one in known for reference in items_of(one, _INPUT) for path in _paths(reference)
    ]
    return list(dict.fromkeys(paths))


def _paths(reference: dict[str, Any]) -> Iterator[str]:
    study, series = text_of(reference, "0020000D"), text_of(reference, "0020000E")
    if study is None or series is None:
        return
    base = f"/studies/{study}/series/{series}"
    instances = [text_of(one, "00081155") for one in items_of(reference, _SOPS)]
    named = [f"{base}/instances/{uid}" for uid in instances if uid]
    yield from named or [base]


def end(
    server: WebArchive, item: Item, outcome: Outcome, *, station: str, began: float, ended: float
) -> None:
    """Say what came of it, then that it has ended; no matter if it has already.

    Raises:
        PeerRefused: the server does not let us.
        PeerFailed: the server is not reached.
    """
    try:
        if outcome.state == CANCELED:
            _update(server, item, _cancelled(outcome, ended))
        else:
            _update(server, item, _performed(outcome, station, began, ended))
        _set_state(server, item, outcome.state)
    except PeerRefused:
        known = server.query(f"/workitems/{item.uid}", {})
        if not known or text_of(known[0], _STATE) not in (COMPLETED, CANCELED):
            raise


def _performed(outcome: Outcome, station: str, began: float, ended: float) -> dict[str, Any]:
    """What a completed item must have (PS3.4 table CC.2.5-3)."""
    done = Dataset()
    done.PerformedStationNameCodeSequence = [_code(Code(station, _STATION, station))]
    done.PerformedProcedureStepStartDateTime = _moment(began)
    done.PerformedProcedureStepEndDateTime = _moment(ended)
    done.PerformedWorkitemCodeSequence = [_code(codes.DCM.ComputerAidedDetection)]
    done.OutputInformationSequence = [*_outputs(outcome.outputs)]
    return {"UnifiedProcedureStepPerformedProcedureSequence": [done]}


def _cancelled(outcome: Outcome, ended: float) -> dict[str, Any]:
    why = Dataset()
    why.ProcedureStepCancellationDateTime = _moment(ended)
    why.ReasonForCancellation = outcome.reason
    unspecified = codes.DCM.DiscontinuedForUnspecifiedReason
    why.ProcedureStepDiscontinuationReasonCodeSequence = [_code(unspecified)]
    return {"ProcedureStepProgressInformationSequence": [why]}


def _outputs(outputs: Sequence[Output]) -> Iterator[Dataset]:
    """Referenced Instances and Access (PS3.3 table 10-3b), one item an object."""
    for output in outputs:
        sop, where, item = Dataset(), Dataset(), Dataset()
        sop.ReferencedSOPClassUID, sop.ReferencedSOPInstanceUID = output.sop_class, output.sop
        item.TypeOfInstances = "DICOM"
        item.StudyInstanceUID, item.SeriesInstanceUID = output.study, output.series
        item.ReferencedSOPSequence = [sop]
        if output.url is not None:
            where.RetrieveURL = output.url
            item.WADORSRetrievalSequence = [where]
        else:
            where.RetrieveAETitle = output.ae_title
            item.DICOMRetrievalSequence = [where]
        yield item


def _code(code: Code) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator = code.value, code.scheme_designator
    ds.CodeMeaning = code.meaning
    return ds


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%d%H%M%S}+0000"


def _update(server: WebArchive, item: Item, values: dict[str, Any]) -> None:
    # The query of an update is the Transaction UID and nothing else (PS3.18 11.6.1).
    path = f"/workitems/{item.uid}?{item.transaction}"
    server.send("POST", path, [_body(item, values)])


def _set_state(server: WebArchive, item: Item, state: str) -> None:
    body = _body(item, {"ProcedureStepState": state})
    server.send("PUT", f"/workitems/{item.uid}/state", [body])


def _body(item: Item, values: dict[str, Any]) -> dict[str, Any]:
    ds = Dataset()
    ds.TransactionUID = item.transaction
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    body: dict[str, Any] = ds.to_json_dict()
    return body
