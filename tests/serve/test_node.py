"""A sender is told the truth: what was acknowledged is kept, what was not can be sent again."""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom import uid as uids
from pynetdicom import AE
from pynetdicom.sop_class import Verification
from sqlalchemy import select

from helpers.certificates import authority, certificate
from helpers.dicom_files import dataset, stored, to_bytes
from helpers.service import Parts, radiograph_file
from hilum.serve.config import Node, Tls
from hilum.serve.node import OUT_OF_RESOURCES, SUCCESS, DicomNode
from hilum.serve.tables import Image
from hilum.serve.tls import client_context


@contextmanager
def running(parts: Parts, **options: Any) -> Iterator[DicomNode]:
    config = Node.model_validate({"port": 0, "idle_s": 5, **options})
    node = DicomNode(config, parts.intake)
    node.start()
    try:
        yield node
    finally:
        node.stop()


@contextmanager
def association(
    node: DicomNode, title: str = "CR1", syntax: str = "", called: str = "HILUM", **tls: Any
) -> Iterator[Any]:
    entity = AE(ae_title=title)
    syntaxes = [syntax or uids.ExplicitVRLittleEndian]
    entity.add_requested_context(uids.ComputedRadiographyImageStorage, syntaxes)
    entity.add_requested_context(Verification)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    sending = entity.associate("127.0.0.1", node.port, ae_title=called, **tls)
    try:
        yield sending
    finally:
        if sending.is_established:
            sending.release()


def store(sending: Any, data: bytes) -> int:
    return int(sending.send_c_store(dcmread(BytesIO(data))).get("Status", -1))


def settled(check: Any) -> bool:
    """Whether something of another thread becomes true within some seconds."""
    for _ in range(200):
        if check():
            return True
        time.sleep(0.05)
    return False


def test_an_acknowledged_instance_is_kept_bit_by_bit_and_analysed(parts: Parts) -> None:
    data = radiograph_file()
    with running(parts) as node, association(node) as sending:
        assert sending.send_c_echo().Status == SUCCESS
        assert store(sending, data) == SUCCESS
    with parts.records.read() as session:
        image = session.scalars(select(Image)).one()
    assert (image.origin, image.sender) == ("c-store", "CR1")
    kept = parts.store.read(image.id)
    assert dcmread(BytesIO(kept)).PixelData == dcmread(BytesIO(data)).PixelData
    assert parts.receive(data).id == image.id  # by another way: the same image
    parts.work()
    assert parts.image(image.id).state == "analysed"
    assert not list(parts.store.incoming.iterdir())


def test_the_same_instance_by_several_associations_at_once_is_one_image(parts: Parts) -> None:
    data, start, answers = radiograph_file(), threading.Barrier(4), list[int]()

    def send(node: DicomNode) -> None:
        with association(node) as sending:
            start.wait()
            answers.append(store(sending, data))

    with running(parts) as node:
        senders = [threading.Thread(target=send, args=(node,)) for _ in range(4)]
        for one in senders:
            one.start()
        for one in senders:
            one.join()
    assert answers == [SUCCESS] * 4
    assert parts.work() == 2
    assert parts.records.counts() == {"analysed": 1}
    assert not list(parts.store.incoming.iterdir())


@pytest.mark.parametrize(
    "syntax", [uids.JPEGBaseline8Bit, uids.JPEGLosslessSV1, uids.JPEG2000Lossless, uids.RLELossless]
)
def test_compressed_frames_are_taken_as_they_are(parts: Parts, syntax: str) -> None:
    pixels = stored((96, 80))
    data = to_bytes(dataset(pixels), pixels, syntax)
    with running(parts) as node, association(node, syntax=syntax) as sending:
        assert store(sending, data) == SUCCESS
    assert parts.work() == 2


def test_only_allowed_peers_are_let_in_and_others_are_audited(parts: Parts) -> None:
    with running(parts, allow=["CR1"]) as node:
        with association(node, "STRANGER") as sending:
            assert sending.is_rejected
        with association(node, "CR1") as sending:
            assert sending.is_established
    assert any("STRANGER" in message for message in parts.service.audit.messages())


@pytest.mark.parametrize(
    ("options", "is_checked"),
    [
        ({}, False),
        ({"check_called": True}, True),
        ({"allow": ["CR1"]}, True),
        ({"allow": ["CR1"], "check_called": False}, False),
    ],
)
def test_who_calls_us_by_another_title_is_rejected_where_that_is_asked_for(
    parts: Parts, options: dict[str, Any], is_checked: bool
) -> None:
    with running(parts, **options) as node:
        with association(node, called="OTHER") as sending:
            assert sending.is_rejected == is_checked
            if is_checked:  # permanently, by the service user: called AE title (PS3.8 table 9-21)
                answer = sending.acceptor.primitive
                assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 7)
            else:
                assert sending.send_c_echo().Status == SUCCESS
                assert store(sending, radiograph_file()) == SUCCESS
        with association(node) as sending:
            assert sending.send_c_echo().Status == SUCCESS
    rejected = [m for m in parts.service.audit.messages() if "association rejected" in m]
    assert len(rejected) == is_checked


def test_what_was_acknowledged_before_a_broken_association_stays(parts: Parts) -> None:
    with running(parts) as node:
        with association(node) as sending:
            assert store(sending, radiograph_file("1.2.1")) == SUCCESS
            sending.abort()
        with association(node) as sending:
            half = _half_a_store(sending)
        assert half
        assert settled(lambda: node.associations == 0)
    parts.work()
    assert parts.records.counts() == {"analysed": 1}
    assert not list(parts.store.incoming.iterdir())  # what came half-way is swept


def _half_a_store(sending: Any) -> bool:
    """Send the first fragments of a data set, then break the connection."""
    from pynetdicom.dimse_messages import C_STORE_RQ
    from pynetdicom.dimse_primitives import C_STORE

    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = uids.ComputedRadiographyImageStorage
    request.AffectedSOPInstanceUID = "1.2.2"
    request.DataSet = BytesIO(b"\0" * 100_000)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    context = sending.accepted_contexts[0].context_id
    for number, primitive in enumerate(message.encode_msg(context, 16_000)):
        if number < 4:
            sending.dul.send_pdu(primitive)
    time.sleep(0.3)
    sending.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    return True


def test_without_room_the_answer_is_out_of_resources_until_there_is(parts: Parts) -> None:
    with running(parts) as node, association(node) as sending:
        parts.store.limit_bytes = 10
        assert store(sending, radiograph_file("1.2.1")) == OUT_OF_RESOURCES
        parts.store.limit_bytes = None
        assert store(sending, radiograph_file("1.2.1")) == SUCCESS
    assert parts.records.counts() == {"received": 1}


def test_a_disk_that_takes_nothing_is_answered_and_no_association_broken(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def read_only(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if mode == "xb" and path.parent == parts.store.incoming:
            raise OSError(30, "Read-only file system")
        return real(path, mode, *args, **options)

    with running(parts) as node, association(node) as sending:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", read_only)
            assert store(sending, radiograph_file()) == OUT_OF_RESOURCES
        assert store(sending, radiograph_file()) == SUCCESS


def test_a_data_set_over_the_limit_ends_its_association_only(parts: Parts) -> None:
    with running(parts, object_bytes=60_000) as node:
        pixels = stored((300, 300))
        with association(node) as sending:
            store(sending, to_bytes(dataset(pixels), pixels))
            assert settled(lambda: not sending.is_established)
        with association(node) as sending:
            assert store(sending, radiograph_file()) == SUCCESS
    assert not list(parts.store.incoming.iterdir())


def _resident() -> int:
    """Memory of this process, which the node is part of."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("kind", [b"\x01", b"\x04"])
def test_a_pdu_of_4_gib_is_refused_by_its_length(parts: Parts, kind: bytes) -> None:
    with running(parts) as node:
        before = _resident()
        with socket.create_connection(("127.0.0.1", node.port), 10) as raw:
            raw.sendall(kind + b"\0" + b"\xff\xff\xff\xff")
            with suppress(ConnectionError):  # aborted long before its end
                for _ in range(200):
                    raw.sendall(b"\0" * 2**20)
            assert _resident() - before < 64 * 2**20
            with suppress(ConnectionError):
                assert raw.recv(10)[:1] in (b"\x07", b"")
        with association(node) as sending:
            assert sending.send_c_echo().Status == SUCCESS


def test_idle_connections_do_not_keep_a_good_sender_out(parts: Parts) -> None:
    with running(parts, associations=25, idle_s=60) as node:
        before = _resident()
        idle = [socket.create_connection(("127.0.0.1", node.port), 10) for _ in range(200)]
        time.sleep(1.1)
        with association(node) as sending:
            assert store(sending, radiograph_file()) == SUCCESS
        assert _resident() - before < 64 * 2**20
        for one in idle:
            one.close()


@pytest.mark.parametrize("early", [True, False])
def test_a_slow_sender_is_cut_off(parts: Parts, early: bool) -> None:
    """Also where its half PDU was there before the node came to look at the connection."""
    with running(parts, idle_s=0.5) as node:
        busy = node._server._lock if early else nullcontext()  # type: ignore[union-attr]
        with socket.create_connection(("127.0.0.1", node.port), 10) as raw:
            with busy:
                raw.sendall(b"\x01\0\0\0\1\0half")
                time.sleep(0.1)
            assert settled(lambda: node.associations == 1)
            assert settled(lambda: node.associations == 0)
            raw.settimeout(5)
            assert raw.recv(100)[:1] in (b"\x07", b"")


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "/root/x", ";rm -rf ~", "1." * 200, "a\0b"])
def test_hostile_uids_write_nothing_outside_and_leave_nothing_open(parts: Parts, uid: str) -> None:
    outside = set(parts.folder.parent.iterdir())
    with running(parts) as node:
        with association(node) as sending:
            _store_as(sending, uid)
        with association(node) as sending:
            assert store(sending, radiograph_file()) == SUCCESS
    assert set(parts.folder.parent.iterdir()) == outside
    names = [p.name for p in parts.store.root.rglob("*") if p.is_file()]
    assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in names)
    assert not list(parts.store.incoming.iterdir())


def _store_as(sending: Any, uid: str) -> None:
    """A C-STORE whose command set names any UID at all."""
    from pynetdicom.dimse_messages import C_STORE_RQ
    from pynetdicom.dimse_primitives import C_STORE

    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = uids.ComputedRadiographyImageStorage
    request.AffectedSOPInstanceUID = "1.2.2"
    request.DataSet = BytesIO(b"\x08\0\x60\0CS\x02\0CR")
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    element = message.command_set["AffectedSOPInstanceUID"]
    element._value = uid
    for primitive in message.encode_msg(sending.accepted_contexts[0].context_id, 16_000):
        sending.dul.send_pdu(primitive)
    settled(lambda: not sending.is_established or not sending.dimse.msg_queue.empty())
    if sending.is_established:
        sending.abort()


def test_mutual_tls_lets_in_who_has_a_certificate_and_nobody_else(
    parts: Parts, tmp_path: Path
) -> None:
    ca = authority(tmp_path / "ca")
    ours = certificate(ca, tmp_path / "node", "127.0.0.1")
    theirs = certificate(ca, tmp_path / "cr1", "cr1")
    tls = Tls(certificate=ours.certificate, key=ours.key, ca=ca.certificate)
    with running(parts, tls=tls.model_dump()) as node:
        mine = Tls(certificate=theirs.certificate, key=theirs.key, ca=ca.certificate)
        with association(node, tls_args=(client_context(mine), "127.0.0.1")) as sending:
            assert store(sending, radiograph_file()) == SUCCESS
        stranger = client_context(ca=ca.certificate)
        with association(node, tls_args=(stranger, "127.0.0.1")) as sending:
            assert not sending.is_established
        with association(node) as sending:  # without TLS
            assert not sending.is_established
    assert parts.records.counts() == {"received": 1}


def test_old_tls_is_not_spoken(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    assert client_context(ca=ca.certificate).minimum_version == ssl.TLSVersion.TLSv1_2
    assert os.stat(ca.key).st_size > 0


def test_a_peer_whose_line_is_full_is_told_so_and_the_others_go_on(tmp_path: Path) -> None:
    parts = Parts(tmp_path, waiting=2)
    with running(parts) as node, association(node) as sending:
        told = [store(sending, radiograph_file(f"1.2.{n}")) for n in range(3)]
        assert told == [SUCCESS, SUCCESS, OUT_OF_RESOURCES]
        with association(node, "CR2") as other:
            assert store(other, radiograph_file("1.2.9")) == SUCCESS
        parts.work()
        assert store(sending, radiograph_file("1.2.2")) == SUCCESS
    assert parts.records.counts() == {"analysed": 3, "received": 1}
    assert not list(parts.store.incoming.iterdir())
    parts.close()


def test_a_renewed_certificate_and_a_new_authority_count_at_once(
    parts: Parts, tmp_path: Path
) -> None:
    old, new = authority(tmp_path / "old"), authority(tmp_path / "new")
    ours = certificate(old, tmp_path / "node", "127.0.0.1")
    theirs = certificate(new, tmp_path / "cr1", "cr1")
    tls = Tls(certificate=ours.certificate, key=ours.key, ca=old.certificate)
    mine = Tls(certificate=theirs.certificate, key=theirs.key, ca=new.certificate)

    def let_in() -> bool:
        with association(node, tls_args=(client_context(mine), "127.0.0.1")) as sending:
            return sending.is_established and store(sending, radiograph_file()) == SUCCESS

    with running(parts, tls=tls.model_dump()) as node:
        assert not let_in()
        renewed = certificate(new, tmp_path / "renewed", "127.0.0.1")
        ours.certificate.write_bytes(renewed.certificate.read_bytes())
        assert not let_in()  # half of a pair: the former goes on
        ours.key.write_bytes(renewed.key.read_bytes())
        old.certificate.write_bytes(new.certificate.read_bytes())
        assert let_in()


@pytest.mark.parametrize(
    ("words", "side"),
    [
        ("it shows no certificate, and `ca` asks for one", "nothing"),
        ("its certificate is not believed: .*; needed: its authority in `ca`", "stranger"),
        ("it speaks no TLS", "plain"),
    ],
)
def test_why_a_handshake_failed_is_in_the_log(
    parts: Parts, tmp_path: Path, caplog: pytest.LogCaptureFixture, words: str, side: str
) -> None:
    ca, other = authority(tmp_path / "ca"), authority(tmp_path / "other")
    ours = certificate(ca, tmp_path / "node", "127.0.0.1")
    theirs = certificate(other, tmp_path / "cr1", "cr1")
    stranger = Tls(certificate=theirs.certificate, key=theirs.key, ca=ca.certificate)
    sides: dict[str, dict[str, Any]] = {
        "nothing": {"tls_args": (client_context(ca=ca.certificate), "127.0.0.1")},
        "stranger": {"tls_args": (client_context(stranger), "127.0.0.1")},
        "plain": {},
    }
    tls = Tls(certificate=ours.certificate, key=ours.key, ca=ca.certificate)
    with running(parts, tls=tls.model_dump()) as node, association(node, **sides[side]):
        assert settled(lambda: "handshake" in caplog.text)
    assert re.search(f"a TLS handshake with 127.0.0.1 failed: {words}", caplog.text)


def test_who_was_rejected_is_in_the_log(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    with running(parts, allow=["CR1"]) as node, association(node, "CT7") as sending:
        assert sending.is_rejected
    assert "association of 'CT7' at 127.0.0.1 was rejected" in caplog.text
