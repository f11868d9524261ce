"""Results reach the archive once, verified; what cannot waits, or is a visible dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage
from sqlalchemy import select

from helpers.archive import Archive, archive
from helpers.certificates import authority, certificate
from helpers.service import Parts, radiograph_file
from hilum.dicom.web import PeerFailed, WebArchive, WebPeer, parts
from hilum.serve import actions
from hilum.serve.config import DicomPeer, Tls
from hilum.serve.peers import DicomArchive
from hilum.serve.tables import Delivery, Work

RETRY = {"first_s": 10, "longest_s": 100, "give_up_s": 86_400}


@pytest.fixture
def pacs() -> Iterator[Archive]:
    with archive() as made:
        yield made


def service(tmp_path: Path, pacs: Archive, **destination: Any) -> Parts:
    one = {"web": {"url": pacs.url}, "objects": ["sr"], "retry": RETRY} | destination
    rules = [{"destinations": ["pacs"]}]
    return Parts(tmp_path, destinations={"pacs": one}, rules=rules, write="picture,sr,sc")


def deliveries(parts: Parts) -> list[Delivery]:
    with parts.records.read() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.object)))


def test_a_result_is_stored_verified_and_recorded(tmp_path: Path, pacs: Archive) -> None:
    parts = service(tmp_path, pacs, objects=["sr", "sc"])
    id = parts.receive(radiograph_file()).id
    parts.work()
    assert [one.state for one in deliveries(parts)] == ["delivered", "delivered"]
    kinds = {str(dcmread(BytesIO(c)).Modality) for c in pacs.objects.values()}
    assert "SR" in kinds
    assert "GET /studies/1.2.3/instances" in pacs.calls
    assert "sr delivered to pacs" in parts.said(id)
    assert any("sr delivered" in message for message in parts.service.audit.messages())
    parts.close()


def test_an_archive_that_is_away_for_a_day_gets_everything_once(
    tmp_path: Path, pacs: Archive
) -> None:
    patient = RETRY | {"longest_s": 7200, "give_up_s": 7 * 86_400}
    parts = service(tmp_path, pacs, retry=patient)
    pacs.away = True
    for number in range(2):
        parts.receive(radiograph_file(f"1.2.{number}"))
    end = parts.clock.now + 86_400
    while parts.clock.now < end:
        parts.work()
        parts.clock.now += 3600
    assert all(one.state == "waiting" for one in deliveries(parts))
    assert "503" in str(deliveries(parts)[0].reason)
    assert len(pacs.calls) < 2 * 30  # it backs off
    pacs.away = False
    parts.clock.now += 7200
    parts.work()
    assert all(one.state == "delivered" for one in deliveries(parts))
    assert len(pacs.objects) == 2
    parts.close()


def test_waiting_doubles_up_to_its_limit(tmp_path: Path, pacs: Archive) -> None:
    parts = service(tmp_path, pacs)
    pacs.away = True
    parts.receive(radiograph_file())
    waits = []
    for _ in range(6):
        parts.work()
        with parts.records.read() as session:
            due = session.scalars(select(Work.due).where(Work.kind == "deliver")).one()
        waits.append(due - parts.clock.now)
        parts.clock.now = due
    assert waits == [10, 20, 40, 80, 100, 100]
    parts.close()


def test_a_dead_letter_is_visible_and_can_be_sent_again(tmp_path: Path, pacs: Archive) -> None:
    parts = service(tmp_path, pacs, retry=RETRY | {"give_up_s": 100})
    pacs.away = True
    id = parts.receive(radiograph_file()).id
    for _ in range(8):
        parts.work()
        parts.clock.now += 100
    (letter,) = deliveries(parts)
    assert letter.state == "dead"
    assert "sr is a dead letter to pacs" in parts.said(id)
    pacs.away = False
    actions.retry_delivery(parts.service, letter.id)
    parts.work()
    assert deliveries(parts)[0].state == "delivered"
    with pytest.raises(actions.NotPossible):
        actions.retry_delivery(parts.service, letter.id)
    parts.close()


@pytest.mark.parametrize("fault", ["lies", "forgets"])
def test_success_without_the_object_is_no_success(
    tmp_path: Path, pacs: Archive, fault: str
) -> None:
    parts = service(tmp_path, pacs)
    setattr(pacs, fault, True)
    parts.receive(radiograph_file())
    parts.work()
    assert deliveries(parts)[0].state == "waiting"
    assert "success" in str(deliveries(parts)[0].reason)
    setattr(pacs, fault, False)
    parts.clock.now += 100
    parts.work()
    assert deliveries(parts)[0].state == "delivered"
    parts.close()


def test_a_process_that_died_after_sending_does_not_send_twice(
    tmp_path: Path, pacs: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = service(tmp_path, pacs)
    parts.receive(radiograph_file())

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("hilum.serve.delivery._end", killed)
        with pytest.raises(Killed):
            parts.work()
    assert len(pacs.objects) == 1
    parts.queue.release("test", crashed=True)
    parts.work()
    assert deliveries(parts)[0].state == "delivered"
    assert pacs.calls.count("POST /studies") == 1
    parts.close()


def test_a_copy_for_research_has_no_identity_and_no_result(tmp_path: Path, pacs: Archive) -> None:
    parts = service(tmp_path, pacs, objects=["source"], deidentify=True)
    parts.receive(radiograph_file(PatientName="CANARY^BIRD", PatientID="CANARY-1"))
    parts.work()
    (content,) = pacs.objects.values()
    assert b"CANARY" not in content
    assert dcmread(BytesIO(content)).PatientIdentityRemoved == "YES"
    assert dcmread(BytesIO(content)).SOPInstanceUID != "1.2.3.4"
    parts.close()


def test_a_shadow_is_never_sent_and_neither_is_what_a_reader_asked_for(
    tmp_path: Path, pacs: Archive
) -> None:
    from helpers.toy import write_toy_pipeline

    folder = tmp_path / "second"
    folder.mkdir()
    second = write_toy_pipeline(folder, logits=(0.5,))
    first = write_toy_pipeline(tmp_path)
    parts = Parts(
        tmp_path,
        pipelines={"default": str(first), "second": str(second)},
        destinations={"pacs": {"web": {"url": pacs.url}}},
        rules=[{"destinations": ["pacs"], "shadow": ["second"]}],
        write="sr",
    )
    id = parts.receive(radiograph_file()).id
    parts.work()
    actions.analyse(parts.service, id, "second")
    parts.work()
    assert len(deliveries(parts)) == len(pacs.objects) == 1
    parts.close()


def test_c_store_sends_the_object_as_it_is_and_says_what_is_refused(tmp_path: Path) -> None:
    received: list[Any] = []
    status = [0x0000]

    def store(event: Any) -> int:
        received.append(event.encoded_dataset())
        return status[0]

    entity = AE(ae_title="PACS")
    entity.add_supported_context(Comprehensive3DSRStorage)
    server = entity.start_server(("127.0.0.1", 0), False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    port = int(server.server_address[1])
    one = {"dicom": {"host": "127.0.0.1", "port": port, "ae_title": "PACS"}, "retry": RETRY}
    rules = [{"destinations": ["pacs"]}]
    parts = Parts(tmp_path, destinations={"pacs": one}, rules=rules, write="sr")
    parts.receive(radiograph_file())
    status[0] = 0xA700
    parts.work()
    assert "0xA700" in str(deliveries(parts)[0].reason)
    status[0] = 0xB000  # stored with a remark
    parts.clock.now += 100
    parts.work()
    server.shutdown()
    assert deliveries(parts)[0].state == "delivered"
    assert received[0] == received[1]
    parts.close()


def test_a_destination_that_is_gone_makes_dead_letters(tmp_path: Path, pacs: Archive) -> None:
    first = service(tmp_path, pacs)
    pacs.away = True
    first.receive(radiograph_file())
    first.work()
    first.close()
    later = Parts(tmp_path, write="sr")
    later.clock.now = first.clock.now + 100
    later.work()
    assert deliveries(later)[0].state == "dead"
    later.close()


def test_errors_of_peers_quote_no_identifier(pacs: Archive) -> None:

    server = WebArchive(WebPeer(url="http://127.0.0.1:9"))
    with pytest.raises(PeerFailed) as caught:
        server.query("/studies", {"PatientID": "CANARY"})
    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_is_believed_by_its_authority_alone_and_who_is_missing_is_told(
    tmp_path: Path,
) -> None:
    ca = authority(tmp_path / "authority")
    with archive(certificate(ca, tmp_path / "archive", "127.0.0.1")) as pacs:
        assert not WebArchive(WebPeer(url=pacs.url, ca=ca.certificate)).has("1.2", "1.2.3")
        with pytest.raises(PeerFailed, match=r"certificate is not believed: .+; needed: its auth"):
            WebArchive(WebPeer(url=pacs.url)).has("1.2", "1.2.3")


def test_parts_of_an_answer_keep_their_bytes() -> None:
    body = b"--b\r\nA: b\r\n\r\n\r\none\r\n\r\n--b\r\n\r\ntwo\r\n--b--"
    assert parts(body, "multipart/related; boundary=b") == [b"\r\none\r\n", b"two"]
    with pytest.raises(ValueError, match="boundary"):
        parts(body, "text/plain")


def test_certificates_that_cannot_be_used_today_make_no_dead_letters(
    tmp_path: Path, pacs: Archive
) -> None:
    ca = authority(tmp_path / "authority")
    with archive(certificate(ca, tmp_path / "archive", "127.0.0.1")) as secure:
        web = {"url": secure.url, "ca": tmp_path / "ca.pem"}
        parts = service(tmp_path, pacs, web=web)
        parts.receive(radiograph_file())
        for _ in range(5):
            parts.work()
            parts.clock.now += 1000
        (waiting,) = deliveries(parts)
        assert (waiting.state, "ca.pem" in str(waiting.reason)) == ("waiting", True)
        (tmp_path / "ca.pem").write_bytes(ca.certificate.read_bytes())
        parts.work()
        assert deliveries(parts)[0].state == "delivered"
        parts.close()


@pytest.mark.parametrize(
    ("begin", "end", "name", "words"),
    [
        (-9, -1, "127.0.0.1", "certificate has expired; needed: a renewed one there"),
        (1, 9, "127.0.0.1", "not yet valid; needed: the right time on both sides"),
        (-1, 9, "192.0.2.7", "mismatch; needed: the name or address it was made out to"),
        (-1, 9, "pacs.example", "mismatch; needed: the name or address it was made out to"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said_with_what_helps(
    tmp_path: Path, begin: int, end: int, name: str, words: str
) -> None:
    ca = authority(tmp_path / "authority")
    theirs = certificate(ca, tmp_path / "archive", name, days=(begin, end))
    believed = Tls(certificate=theirs.certificate, key=theirs.key, ca=ca.certificate)
    with archive(theirs) as pacs:
        server = WebArchive(WebPeer(url=pacs.url, ca=ca.certificate))
        with pytest.raises(PeerFailed, match=f"its certificate is not believed: .*{words}"):
            server.query("/studies", {})
        host, port = "127.0.0.1", int(pacs.url.split(":")[2].split("/")[0])
        node = DicomPeer(host=host, port=port, ae_title="PACS", tls=believed)
        with pytest.raises(PeerFailed, match=f"its certificate is not believed: .*{words}"):
            DicomArchive(node, "HILUM").echo()


def test_a_node_that_is_not_there_is_told_from_one_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(PeerFailed, match="Connection refused"):
        DicomArchive(DicomPeer(host="127.0.0.1", port=1, ae_title="PACS"), "HILUM").echo()
    with pytest.raises(PeerFailed, match="its name is not known here"):
        DicomArchive(DicomPeer(host="pacs.invalid", port=1, ae_title="PACS"), "HILUM").echo()


def test_what_waits_and_what_died_is_in_the_log(
    tmp_path: Path, pacs: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    parts, pacs.away = service(tmp_path, pacs), True
    id = parts.receive(radiograph_file()).id
    parts.work()
    assert f"sr of image {id} waits for pacs: the server answers 503; again in 10 s" in caplog.text
    parts.clock.now += RETRY["give_up_s"]
    parts.work()
    assert f"sr of image {id} is a dead letter to pacs: the server answers 503" in caplog.text
    parts.close()
