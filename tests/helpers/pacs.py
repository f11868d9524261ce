"""A small archive that speaks DIMSE on loopback: C-STORE, C-FIND, C-MOVE, storage commitment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom import sop_class as sop

FIND = sop.StudyRootQueryRetrieveInformationModelFind
MOVE = sop.StudyRootQueryRetrieveInformationModelMove
PUSH, INSTANCE = sop.StorageCommitmentPushModel, sop.StorageCommitmentPushModelInstance
NO_SUCH_OBJECT = 0x0112
_UID = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}
_STORED = (sop.Comprehensive3DSRStorage, sop.ComputedRadiographyImageStorage)


class Pacs:
    """What it holds and how it behaves."""

    def __init__(self) -> None:
        self.objects: dict[str, Dataset] = {}
        self.calls: list[str] = []  # "C-STORE"
        self.reports = "same"  # association, or "new" to `peer`, or "never"
        self.forgets = False  # commits itself to nothing
        self.refuses = 0x0000  # its answer to N-ACTION and C-MOVE
        self.peer = ("127.0.0.1", 0)
        self.answered: list[int] = []  # status of its reports
        self.titles: list[str] = []  # of who was sent objects by C-MOVE
        self.port = 0
        self._threads: list[threading.Thread] = []

    def handlers(self) -> list[Any]:
        events = {
            evt.EVT_C_STORE: self._store,
            evt.EVT_N_ACTION: self._action,
            evt.EVT_C_FIND: self._find,
            evt.EVT_C_MOVE: self._move,
        }
        return list(events.items())

    def _store(self, event: Any) -> int:
        self.calls.append("C-STORE")
        ds = event.dataset
        ds.file_meta = event.file_meta
        self.objects[str(ds.SOPInstanceUID)] = ds
        return 0x0000

    def _action(self, event: Any) -> tuple[int, None]:
        self.calls.append("N-ACTION")
        if self.refuses == 0 and self.reports != "never":
            report = self._report(event.action_information)
            tell = self._on_same if self.reports == "same" else self._on_new
            self._threads.append(threading.Thread(target=tell, args=(event.assoc, *report)))
            self._threads[-1].start()
        return self.refuses, None

    def _report(self, asked: Dataset) -> tuple[Dataset, int]:
        report = Dataset()
        report.TransactionUID = asked.TransactionUID
        held = [o for o in asked.ReferencedSOPSequence if self._has(o)]
        lost = [o for o in asked.ReferencedSOPSequence if not self._has(o)]
        for one in lost:
            one.FailureReason = NO_SUCH_OBJECT
        if held:
            report.ReferencedSOPSequence = held
        if lost:
            report.FailedSOPSequence = lost
        return report, 2 if lost else 1

    def _has(self, one: Dataset) -> bool:
        return not self.forgets and one.ReferencedSOPInstanceUID in self.objects

    def _on_same(self, assoc: Any, report: Dataset, kind: int) -> None:
        status, _ = assoc.send_n_event_report(report, kind, PUSH, INSTANCE)
        self.answered.append(int(status.Status))

    def _on_new(self, assoc: Any, report: Dataset, kind: int) -> None:
        entity = AE(ae_title="PACS")
        entity.add_requested_context(PUSH)
        role = build_role(PUSH, scp_role=True)
        own = entity.associate(*self.peer, ae_title="HILUM", ext_neg=[role])
        assert own.is_established
        self._on_same(own, report, kind)
        own.release()

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        """Studies of a patient, or series of a study."""
        asked, level = event.identifier, event.identifier.QueryRetrieveLevel
        self.calls.append(f"C-FIND {level}")
        by = "PatientID" if level == "STUDY" else "StudyInstanceUID"
        held = [ds for ds in self.objects.values() if ds.get(by) == asked.get(by)]
        for uid in dict.fromkeys(str(ds[_UID[level]].value) for ds in held):
            ours = [ds for ds in held if ds[_UID[level]].value == uid]
            answer = Dataset()
            for keyword in ("PatientID", "StudyDate", "StudyInstanceUID"):
                setattr(answer, keyword, ours[0].get(keyword, ""))
            if level == "SERIES":
                answer.SeriesInstanceUID, answer.Modality = uid, ours[0].Modality
            else:
                answer.ModalitiesInStudy = sorted({ds.Modality for ds in ours})
            yield 0xFF00, answer

    def _move(self, event: Any) -> Iterator[Any]:
        asked = event.identifier
        self.calls.append(f"C-MOVE {asked.QueryRetrieveLevel}")
        self.titles.append(str(event.move_destination))
        if self.refuses:
            yield None, None
            return
        by = _UID[asked.QueryRetrieveLevel]
        moved = [ds for ds in self.objects.values() if ds.get(by) == asked.get(by)]
        yield *self.peer, {"ae_title": "HILUM"}
        yield len(moved)
        for ds in moved:
            yield 0xFF00, ds

    def wait(self) -> None:
        """Until its reports are told."""
        for thread in self._threads:
            thread.join()


@contextmanager
def pacs() -> Iterator[Pacs]:
    """A running one."""
    made, entity = Pacs(), AE(ae_title="PACS")
    for one in (*_STORED, PUSH, FIND, MOVE):
        entity.add_supported_context(one)
    for one in _STORED:
        entity.add_requested_context(one)
    server = entity.start_server(("127.0.0.1", 0), False, evt_handlers=made.handlers())
    assert server is not None
    made.port = int(server.server_address[1])
    try:
        yield made
    finally:
        made.wait()
        server.shutdown()
        server.server_close()
