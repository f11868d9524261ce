"""Another DICOM node, with the few questions we ask; another DICOMweb is `hilum.dicom.web`.

A failure is a `PeerFailed` whose text quotes no identifier, so that it may be logged and shown.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from hilum.dicom.header import quiet
from hilum.dicom.web import PeerFailed, tls_words
from hilum.serve.config import DicomPeer
from hilum.serve.tls import client_context

TIMEOUT_S = 30.0
LOOK_S = 5.0  # for why a node is not reached
REPORT_S = 1.0  # that an association is kept open for a storage commitment's report
_WARNINGS = range(0xB000, 0xC000)  # stored, with a remark (PS3.4 B.2.3)


class DicomArchive:
    """C-STORE, C-FIND, C-MOVE and storage commitment of one node."""

    def __init__(self, peer: DicomPeer, own_title: str) -> None:
        self._peer, self._own = peer, own_title

    @contextmanager
    def _association(
        self, contexts: list[tuple[str, list[str]]], handlers: list[Any] | None = None
    ) -> Iterator[Any]:
        from pynetdicom import AE

        peer = self._peer
        entity = AE(ae_title=self._own)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = TIMEOUT_S
        entity.connection_timeout = TIMEOUT_S
        for abstract, syntaxes in contexts:
            if syntaxes:
                entity.add_requested_context(abstract, syntaxes)
            else:
                entity.add_requested_context(abstract)
        tls = (client_context(peer.tls), peer.host) if peer.tls else None
        try:
            sending = entity.associate(
                peer.host,
                peer.port,
                ae_title=peer.ae_title,
                tls_args=tls,
                evt_handlers=handlers or [],
            )
        except OSError as error:  # a name that is not known; others are told below
            raise PeerFailed(f"the node is not reached: {tls_words(error)}") from error
        if not sending.is_established:
            rejected = (
                f"it rejects our AE title {self._own}, or does not call itself {peer.ae_title}"
            )
            why = rejected if sending.is_rejected else self._why_not()
            raise PeerFailed(f"the node is not reached: {why}")
        try:
            yield sending
        except RuntimeError as error:  # asked for something after it was gone
            raise PeerFailed("the node ended the association") from error
        finally:
            if sending.is_established:
                sending.release()

    def _why_not(self) -> str:
        """Why there is no association, by connecting once more: pynetdicom tells its log alone."""
        peer = self._peer
        try:
            with socket.create_connection((peer.host, peer.port), LOOK_S) as plain:
                if peer.tls is not None:
                    context = client_context(peer.tls)
                    with context.wrap_socket(plain, server_hostname=peer.host) as secure:
                        secure.settimeout(1.0)
                        with suppress(TimeoutError):  # TLS 1.3: what it thinks of us comes after
                            secure.recv(1)
        except OSError as error:
            return tls_words(error)
        return "it is there, and grants no association"

    def echo(self) -> None:
        """C-ECHO.

        Raises:
            PeerFailed: it is not reached, does not know us, or answers a failure.
        """
        from pynetdicom.sop_class import Verification

        with self._association([(str(Verification), [])]) as asking:
            status = int(asking.send_c_echo().get("Status", 0x0122))
        if status:
            raise PeerFailed(f"the node answers C-ECHO with 0x{status:04X}")

    def store(self, content: bytes) -> None:
        """C-STORE of one object, in its own transfer syntax.

        Raises:
            PeerFailed: it is not reached, does not take such objects, or answers a failure.
        """
        with quiet():
            ds = dcmread(BytesIO(content))
            contexts = [(str(ds.SOPClassUID), [str(ds.file_meta.TransferSyntaxUID)])]
            with self._association(contexts) as sending:
                if not sending.accepted_contexts:
                    raise PeerFailed("the node does not take objects of this kind")
                status = int(sending.send_c_store(ds).get("Status", 0x0122))
        if status and status not in _WARNINGS:
            raise PeerFailed(f"the node answers C-STORE with 0x{status:04X}")

    def commit(self, content: bytes, transaction: str, report: Callable[[Dataset], object]) -> None:
        """N-ACTION: ask it to keep an object that it was sent (PS3.4 J.3.2).

        Args:
            report: is given the N-EVENT-REPORT if that comes on this association, within
                `REPORT_S`; else the node opens one to ours.

        Raises:
            PeerFailed: it is not reached, knows no storage commitment, or answers a failure.
        """
        from pynetdicom import evt
        from pynetdicom.sop_class import StorageCommitmentPushModel as Push
        from pynetdicom.sop_class import StorageCommitmentPushModelInstance as Instance

        here = threading.Event()

        def reported(event: Any) -> tuple[int, None]:
            report(event.event_information)
            here.set()
            return 0x0000, None

        with quiet():
            ds = dcmread(BytesIO(content), specific_tags=["SOPClassUID", "SOPInstanceUID"])
            action, one = Dataset(), Dataset()
            one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = (
                ds.SOPClassUID,
                ds.SOPInstanceUID,
            )
            action.TransactionUID, action.ReferencedSOPSequence = transaction, [one]
            handlers = [(evt.EVT_N_EVENT_REPORT, reported)]
            with self._association([(Push, [])], handlers) as asking:
                if not asking.accepted_contexts:
                    raise PeerFailed("the node knows no storage commitment; needed: other `verify`")
                answer, _ = asking.send_n_action(action, 1, Push, Instance)
                status = int(answer.get("Status", 0x0110)) if answer else 0x0110
                if status == 0:
                    here.wait(REPORT_S)
        if status:
            raise PeerFailed(f"the node answers N-ACTION with 0x{status:04X}")

    def find(self, **keys: str) -> list[Dataset]:
        """C-FIND in the study root, at the level of `QueryRetrieveLevel`.

        Raises:
            PeerFailed: it is not reached or answers a failure.
        """
        from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find

        query = _data_set(keys)
        answers: list[Dataset] = []
        with quiet(), self._association([(Find, [])]) as asking:
            for status, ds in asking.send_c_find(query, Find):
                code = int(status.get("Status", 0x0122)) if status else 0x0122
                if code in (0xFF00, 0xFF01) and ds is not None:
                    answers.append(ds)
                elif code:
                    raise PeerFailed(f"the node answers C-FIND with 0x{code:04X}")
        return answers

    def move(self, **keys: str) -> None:
        """C-MOVE in the study root to our own node.

        Raises:
            PeerFailed: it is not reached or answers a failure.
        """
        from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as Move

        query = _data_set(keys)
        with quiet(), self._association([(Move, [])]) as asking:
            for status, _ in asking.send_c_move(query, self._own, Move):
                code = int(status.get("Status", 0x0122)) if status else 0x0122
                if code not in (0x0000, 0xFF00):
                    raise PeerFailed(f"the node answers C-MOVE with 0x{code:04X}")


def _data_set(keys: dict[str, str]) -> Dataset:
    ds = Dataset()
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds
