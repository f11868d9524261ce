"""Other systems: a DICOMweb server and a DICOM node, each with the few questions we ask.

A failure is a `PeerFailed` whose text quotes no identifier, so that it may be logged and shown.
"""

from __future__ import annotations

import email.message
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread
from pydicom.dataset import Dataset

from hilum.core.errors import HilumError
from hilum.dicom.header import quiet
from hilum.serve.config import DicomPeer, WebPeer
from hilum.serve.tls import client_context

log = logging.getLogger(__name__)
TIMEOUT_S = 30.0
REPORT_S = 1.0  # that an association is kept open for a storage commitment's report
_JSON = "application/dicom+json"
_MULTIPART = 'multipart/related; type="application/dicom"'
_RETRIEVED_BYTES = 512 * 2**20
_REFUSALS = (400, 404, 409, 410)
_WARNINGS = range(0xB000, 0xC000)  # stored, with a remark (PS3.4 B.2.3)


class PeerFailed(HilumError):
    """Another system does not answer, refuses, or does not do what it says."""


class PeerRefused(PeerFailed):
    """The other system understands, and says no: asking again would not help."""


# --- DICOMweb -----------------------------------------------------------------------------------


class WebArchive:
    """STOW-RS, QIDO-RS and WADO-RS of one server."""

    def __init__(self, peer: WebPeer, transport: httpx.BaseTransport | None = None) -> None:
        self._peer, self._transport = peer, transport

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        peer = self._peer
        # Without TLS there is nothing to verify, and loading authorities takes long.
        verify = client_context(ca=peer.ca) if peer.url.startswith("https:") else False
        options: dict[str, Any] = {"transport": self._transport} if self._transport else {}
        try:
            with httpx.Client(
                base_url=peer.url.rstrip("/"),
                auth=(peer.user, _secret(peer.password_file)) if peer.user else None,
                headers=_bearer(peer),
                verify=verify,
                timeout=TIMEOUT_S,
                trust_env=False,
                **options,
            ) as client:
                yield client
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            kind = PeerRefused if status in _REFUSALS else PeerFailed
            raise kind(f"the server answers {status}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PeerFailed(f"the server is not reached ({type(error).__name__})") from None
        except ValueError:
            raise PeerFailed("the server's answer is none of DICOMweb") from None

    def store(self, content: bytes, sop_instance_uid: str) -> None:
        """STOW-RS of one object. The answer's own list decides: some answer 200 and store nothing.

        Raises:
            PeerFailed: it is not reached, refuses it, or does not list it as stored.
        """
        boundary = f"hilum-{secrets.token_hex(8)}"
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = head + content + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"{_MULTIPART}; boundary={boundary}", "Accept": _JSON}
        with self._client() as client:
            answer = client.post("/studies", content=body, headers=headers)
            answer.raise_for_status()
            listed = answer.json()
            if isinstance(listed, list):
                listed = listed[0] if listed else {}
            stored = [_text(item, "00081155") for item in _items(listed, "00081199")]
        if sop_instance_uid not in stored:
            raise PeerFailed("the server answers success and does not list the object as stored")

    def has(self, study: str, sop_instance_uid: str) -> bool:
        """QIDO-RS: does the server say that it holds the object?

        Raises:
            PeerFailed: it is not reached or refuses.
        """
        rows = self.query(f"/studies/{study}/instances", {"SOPInstanceUID": sop_instance_uid})
        return any(_text(one, "00080018") == sop_instance_uid for one in rows)

    def query(self, path: str, parameters: dict[str, str]) -> list[dict[str, Any]]:
        """A QIDO-RS search; data sets in the DICOM JSON model.

        Raises:
            PeerFailed: it is not reached or refuses.
        """
        with self._client() as client:
            answer = client.get(path, params=parameters, headers={"Accept": _JSON})
            if answer.status_code in (204, 404):
                return []
            answer.raise_for_status()
            rows = answer.json()
            rows = [rows] if isinstance(rows, dict) else rows  # of a single resource
            return [one for one in rows if isinstance(one, dict)]

    def retrieve(self, path: str) -> list[bytes]:
        """WADO-RS: the objects under a path, as they are stored.

        Raises:
            PeerFailed: it is not reached, refuses, or answers more than the limit.
        """
        accept = {"Accept": f"{_MULTIPART}; transfer-syntax=*"}
        with self._client() as client, client.stream("GET", path, headers=accept) as answer:
            answer.raise_for_status()
            content = bytearray()
            for part in answer.iter_bytes():
                content += part
                if len(content) > _RETRIEVED_BYTES:
                    raise PeerFailed("the server answers more than the limit")
            return parts(bytes(content), answer.headers.get("Content-Type", ""))

    def send(self, method: str, path: str, body: Any) -> None:
        """A request with a body in the DICOM JSON model, such as of UPS-RS.

        Raises:
            PeerFailed: it is not reached or, as a `PeerRefused`, says no.
        """
        headers = {"Content-Type": _JSON, "Accept": _JSON}
        with self._client() as client:
            answer = client.request(method, path, json=body, headers=headers)
            answer.raise_for_status()


def parts(content: bytes, content_type: str) -> list[bytes]:
    """The bodies of a multipart/related answer.

    Raises:
        ValueError: it is none.
    """
    message = email.message.Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if not boundary:
        raise ValueError("no boundary")
    out = []
    for piece in content.split(b"--" + boundary.encode())[1:]:
        if piece.startswith(b"--"):
            break
        _, blank, body = piece.partition(b"\r\n\r\n")
        if not blank:
            raise ValueError("a part without a head")
        out.append(body.removesuffix(b"\r\n"))
    return out


def _items(ds: Any, tag: str) -> list[Any]:
    value = ds.get(tag, {}).get("Value", []) if isinstance(ds, dict) else []
    return [item for item in value if isinstance(item, dict)]


def text_of(ds: dict[str, Any], tag: str) -> str | None:
    """The first value of an attribute in the DICOM JSON model."""
    return _text(ds, tag)


def items_of(ds: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    """The items of a sequence in the DICOM JSON model."""
    return _items(ds, tag)


def _text(ds: dict[str, Any], tag: str) -> str | None:
    value = ds.get(tag, {})
    values = value.get("Value", []) if isinstance(value, dict) else []
    return str(values[0]) if values else None


def _secret(path: Path | None) -> str:
    try:
        return path.read_text().strip() if path is not None else ""
    except OSError as error:
        raise PeerFailed(f"{path}: {error.strerror}; needed: a file with the secret") from error


def _bearer(peer: WebPeer) -> dict[str, str]:
    token = _secret(peer.token_file)
    return {"Authorization": f"Bearer {token}"} if token else {}


# --- DIMSE --------------------------------------------------------------------------------------


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
        sending = entity.associate(
            peer.host,
            peer.port,
            ae_title=peer.ae_title,
            tls_args=tls,
            evt_handlers=handlers or [],
        )
        if not sending.is_established:
            why = "it rejects our AE title" if sending.is_rejected else "no association"
            raise PeerFailed(f"the node is not reached: {why}")
        try:
            yield sending
        finally:
            if sending.is_established:
                sending.release()

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
            asked, one = Dataset(), Dataset()
            one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = (
                ds.SOPClassUID,
                ds.SOPInstanceUID,
            )
            asked.TransactionUID, asked.ReferencedSOPSequence = transaction, [one]
            handlers = [(evt.EVT_N_EVENT_REPORT, reported)]
            with self._association([(Push, [])], handlers) as asking:
                if not asking.accepted_contexts:
                    raise PeerFailed("the node knows no storage commitment; needed: other `verify`")
                answer, _ = asking.send_n_action(asked, 1, Push, Instance)
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
