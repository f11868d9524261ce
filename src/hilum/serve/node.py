"""The DICOM node: C-ECHO, C-STORE of radiographs, reports of storage commitment, from peers that
are allowed.

pynetdicom speaks the protocol. What it leaves open is ours: a data set goes into a file under a
random name and never into memory, a PDU has a largest size and a time, a data set a largest size,
TLS handshakes happen beside the door and not in it, and when too many are connected the one that
has been silent longest has to go. An instance is acknowledged when the intake has it.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pynetdicom
from pydicom import uid as uids
from pynetdicom import AE, dimse_messages, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from hilum.core.turns import Busy
from hilum.dicom.syntaxes import supported
from hilum.dicom.web import tls_words
from hilum.serve.commitment import note
from hilum.serve.config import Node
from hilum.serve.intake import Intake
from hilum.serve.logs import silence
from hilum.serve.records import RecordsUnavailable
from hilum.serve.store import StoreUnavailable
from hilum.serve.tls import server_context

log = logging.getLogger(__name__)

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
PROCESSING_FAILURE = 0x0110
STORED = (
    uids.ComputedRadiographyImageStorage,
    uids.DigitalXRayImageStorageForPresentation,
    uids.DigitalXRayImageStorageForProcessing,
    uids.SecondaryCaptureImageStorage,
)
NATIVE = (
    uids.ExplicitVRLittleEndian,
    uids.ImplicitVRLittleEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
)
_ABORT = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x00"  # A-ABORT by the provider, no reason given
_HANDSHAKE_S, _REQUEST_S = 10.0, 15.0
_ENDING_S = 3.0
_NEW_S = 1.0  # how long the newest are left alone when there is no room
_SILENT_S, _PAUSE_S = 1.0, 0.2  # when a connection is asked less often whether it says something
_CHUNK = 64 * 2**10


class DicomNode:
    """`start()`, then `stop()`."""

    def __init__(self, config: Node, intake: Intake, *, archive: str | None = None) -> None:
        """
        Args:
            archive: AE title of the node that earlier images are fetched from.

        Raises:
            ConfigError: certificates that cannot be used.
        """
        self._config, self._intake = config, intake
        # C-MOVE names who asked for it (PS3.7 9.1.1.1); some archives name themselves.
        self._fetchers = {config.ae_title, archive or config.ae_title}
        self._context = server_context(config.tls) if config.tls else None
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """Where it listens, once it is started."""
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def associations(self) -> int:
        """Connections that are open now."""
        return len(self._server.connected) if self._server else 0

    def start(self) -> None:
        """
        Raises:
            OSError: the address cannot be listened on.
        """
        silence()
        pynetdicom._config.STORE_RECV_CHUNKED_DATASET = True
        pynetdicom._config.LOG_HANDLER_LEVEL = "none"  # its handlers print names and UIDs
        # Where data sets arrive: on the store's own disk, so that they need not be copied.
        incoming = self._intake.store.incoming
        dimse_messages.NamedTemporaryFile = functools.partial(_Arriving, incoming)
        entity = self._entity()
        self._server = _Server(entity, self._config, self._context, self._handlers())
        entity._servers.append(self._server)  # as its own start_server does
        name = "dicom-node"
        threading.Thread(target=self._server.serve_forever, name=name, daemon=True).start()

    def stop(self) -> None:
        """Nobody new; who is sending is cut off, and sends again what was not acknowledged."""
        if self._server is None:
            return
        self._server.shutdown()
        for connected in self._server.connected:
            connected.drop()
        deadline = time.monotonic() + _ENDING_S
        while self._server.connected and time.monotonic() < deadline:
            time.sleep(0.01)

    def _entity(self) -> Any:
        config = self._config
        entity = AE(ae_title=config.ae_title)
        entity.maximum_pdu_size = config.pdu_bytes
        entity.maximum_associations = 10_000  # `_Server` makes room
        entity.network_timeout = entity.dimse_timeout = config.idle_s
        entity.acse_timeout = min(_REQUEST_S, config.idle_s)
        entity.require_calling_aet = list(config.allow)
        checked = config.check_called
        entity.require_called_aet = bool(config.allow) if checked is None else checked
        entity.add_supported_context(Verification, list(NATIVE))
        compressed = [s for s in supported() if s not in NATIVE]
        # Archives report to us what they keep, in the role of the SCP.
        entity.add_supported_context(
            StorageCommitmentPushModel, list(NATIVE), scu_role=False, scp_role=True
        )
        for sop_class in STORED:
            entity.add_supported_context(sop_class, [*NATIVE, *compressed])
        return entity

    def _handlers(self) -> list[Any]:
        return [
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_EVENT_REPORT, self._reported),
            (evt.EVT_REJECTED, self._rejected),
        ]

    def _store(self, event: Any) -> int:
        """The answer to one instance."""
        peer, sender = event.assoc.requestor.address, event.assoc.requestor.ae_title.strip()
        mover = (event.request.MoveOriginatorApplicationEntityTitle or "").strip()
        try:
            self._intake.receive(
                Path(event.dataset_path),
                origin="prior" if mover in self._fetchers else "c-store",
                sender=sender,
                peer=peer,
            )
        except (Busy, StoreUnavailable, RecordsUnavailable) as error:
            log.error("C-STORE answered 0xA700, out of resources: %s", error)
            return OUT_OF_RESOURCES
        except Exception as error:  # noqa: BLE001  the border of one instance
            log.error("C-STORE answered 0xC000: %s", type(error).__name__)
            return CANNOT_UNDERSTAND
        return SUCCESS

    def _reported(self, event: Any) -> tuple[int, None]:
        """The answer to a storage commitment's report."""
        try:
            known = note(self._intake.records, self._intake.queue, event.event_information)
        except Exception as error:  # noqa: BLE001  the border of one report
            log.error("N-EVENT-REPORT answered 0x0110: %s", type(error).__name__)
            return PROCESSING_FAILURE, None
        if not known:
            log.warning("a storage commitment was reported that nobody waits for")
        return (SUCCESS if known else PROCESSING_FAILURE), None

    def _rejected(self, event: Any) -> None:
        peer = event.assoc.requestor
        log.warning(
            "an association of %r at %s was rejected; needed: its title in `allow`, and ours as %s",
            peer.ae_title.strip(),
            peer.address,
            self._config.ae_title,
        )
        with suppress(RecordsUnavailable):
            self._intake.audit.tell(
                "alert",
                user=peer.ae_title.strip(),
                peer=peer.address,
                outcome="8",
                text="association rejected",
            )


class _Socket(AssociationSocket):  # type: ignore[misc]
    """A connection with limits on what one PDU and one data set may be, and how long they take."""

    server: _Server

    def __init__(self, assoc: Any, server: _Server, client_socket: socket.socket) -> None:
        super().__init__(assoc, client_socket=client_socket)
        self.server, self.config = server, server.config
        self.raw, self.heard = client_socket, time.monotonic()
        self.dropped = False
        self._counted = 0  # bytes of the data set that is arriving
        assoc.bind(evt.EVT_DIMSE_RECV, self._whole)

    @property
    def ready(self) -> bool:
        self.pause()
        return bool(super().ready)

    def pause(self) -> None:
        """The two threads of an association look a thousand times a second for what has come: 200
        silent ones would take a whole core."""
        if time.monotonic() - self.heard > _SILENT_S:
            time.sleep(_PAUSE_S)

    def recv(self, nr_bytes: int) -> bytearray:
        """One PDU's head (6 bytes) or body.

        Raises:
            OSError: it is too large, too slow, or the connection has ended.
        """
        self._counted += nr_bytes
        if nr_bytes > self.config.pdu_bytes + 64:
            self._refuse("a PDU larger than agreed")
        if self._counted > self.config.object_bytes:
            self._refuse("a data set over the limit")
        deadline, content = time.monotonic() + self.config.idle_s, bytearray()
        connection = cast(socket.socket, self.socket)
        while len(content) < nr_bytes:
            left = deadline - time.monotonic()
            if left <= 0:
                self._refuse("a PDU that took too long")
            connection.settimeout(left)
            part = connection.recv(min(_CHUNK, nr_bytes - len(content)))
            if not part:
                break
            content += part
            self.heard = time.monotonic()
        return content

    def _whole(self, _: Any) -> None:
        self._counted = 0

    def _refuse(self, why: str) -> None:
        log.warning("an association was aborted: %s", why)
        self.drop()
        raise OSError(why)

    def drop(self) -> None:
        """Abort, from any thread; the connection's own one then closes it."""
        self.dropped = True
        with suppress(OSError, ValueError):
            self.raw.settimeout(1.0)
            self.raw.sendall(_ABORT)
        with suppress(OSError):
            self.raw.shutdown(socket.SHUT_RDWR)

    def _shutdown_socket(self) -> None:
        """Close whether or not the peer is still there, which the base class does not."""
        with suppress(OSError):
            self.raw.shutdown(socket.SHUT_RDWR)
        self.raw.close()


class _Handler(RequestHandler):  # type: ignore[misc]
    """Makes associations with our sockets."""

    def _create_association(self) -> Any:
        assoc = super()._create_association()
        assoc.dul.event_queue.get_nowait()  # "connected", by the plain socket; ours says it again
        connection = _Socket(assoc, self.server, self.request)
        assoc.dul.socket = connection  # instead of the plain one
        assoc.dimse.get_msg = functools.partial(_message, connection, assoc.dimse.get_msg)
        assoc.run = functools.partial(self.server.serve, assoc, assoc.run)
        self.server.enter(assoc, connection)
        return assoc


def _message(connection: _Socket, get: Callable[[bool], Any], block: bool = False) -> Any:
    """The next message, where one has come."""
    connection.pause()
    return get(block)


class _Server(ThreadedAssociationServer):  # type: ignore[misc]
    """Accepts connections; everything that may take long happens in their own threads."""

    request_queue_size = 128

    def __init__(
        self, entity: Any, config: Node, context: ssl.SSLContext | None, handlers: list[Any]
    ) -> None:
        self.config, self._tls = config, context
        self._lock, self._connected = threading.Lock(), dict[int, _Socket]()
        super().__init__(
            entity,
            (config.host, config.port),
            config.ae_title,
            entity.supported_contexts,
            evt_handlers=handlers,
            request_handler=_Handler,
        )

    @property
    def connected(self) -> list[_Socket]:
        with self._lock:
            return list(self._connected.values())

    def get_request(self) -> tuple[socket.socket, Any]:
        assert self.socket is not None
        accepted, address = self.socket.accept()
        self._make_room()
        return accepted, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: a peer that never ends its handshake harms nobody."""
        if self._tls is not None:
            request.settimeout(_HANDSHAKE_S)
            try:
                request = self._tls.wrap_socket(request, server_side=True)
            except OSError as error:
                log.warning(
                    "a TLS handshake with %s failed: %s", client_address[0], tls_words(error)
                )
                with suppress(OSError):
                    request.close()
                return
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("a connection ended before it was an association")

    def enter(self, assoc: Any, connection: _Socket) -> None:
        with self._lock:
            self._connected[id(assoc)] = connection

    def serve(self, assoc: Any, run: Callable[[], None]) -> None:
        """An association's thread; at its end, whatever ended it, nothing of it is left open."""
        try:
            run()
        finally:
            with self._lock:
                connection = self._connected.pop(id(assoc))
            connection._shutdown_socket()
            _discard(assoc)

    def _make_room(self) -> None:
        """Those that were silent longest go; the newest are left alone while that is possible."""
        with self._lock:
            silent = sorted((c for c in self._connected.values() if not c.dropped), key=_heard)
            now, gone = time.monotonic(), list[_Socket]()
            for one in silent[: max(0, len(silent) + 1 - self.config.associations)]:
                crowded = len(silent) - len(gone) >= 2 * self.config.associations
                if crowded or now - one.heard >= _NEW_S:
                    gone.append(one)
        for one in gone:
            log.warning("too many associations: one that was silent longest is aborted")
            one.drop()


def _heard(connection: _Socket) -> float:
    return connection.heard


class _Arriving:
    """The file of an arriving data set, as pynetdicom uses one. Where the disk does not take it
    the data go nowhere, so that the sender gets an answer instead of a broken association."""

    def __init__(self, folder: Path, **_: Any) -> None:
        path = folder / secrets.token_hex(16)
        self.name, self.file = str(path), self
        try:
            self._stream = path.open("xb")
        except OSError as error:
            log.error("the store does not take a data set: %s", error.strerror)
            self._stream = open(os.devnull, "wb")  # noqa: SIM115

    def write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
        except OSError as error:
            log.error("the store does not take a data set: %s", error.strerror)
            self._give_up()

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def close(self) -> None:
        with suppress(OSError):
            self._stream.close()

    def _give_up(self) -> None:
        """Without its file the instance will be answered as out of resources."""
        self.close()
        Path(self.name).unlink(missing_ok=True)
        self._stream = open(os.devnull, "wb")  # noqa: SIM115


def _discard(assoc: Any) -> None:
    """Remove the file of a data set that never came whole."""
    message = assoc.dimse.message
    path = getattr(message, "_data_set_path", None)
    if isinstance(path, Path):
        with suppress(OSError):
            message._data_set_file.close()
            path.unlink(missing_ok=True)
