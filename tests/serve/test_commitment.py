"""A delivery is verified when the archive has committed itself to keep the object."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from helpers.pacs import Pacs, pacs
from helpers.service import Parts, radiograph_file
from hilum.serve import actions
from hilum.serve.commitment import note
from hilum.serve.config import Config, Node
from hilum.serve.node import DicomNode
from hilum.serve.tables import Delivery, Work

RETRY = {"first_s": 10, "longest_s": 100, "give_up_s": 86_400}


@pytest.fixture
def archive() -> Iterator[Pacs]:
    with pacs() as made:
        yield made


@pytest.fixture
def parts(tmp_path: Path, archive: Pacs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    monkeypatch.setattr("hilum.serve.peers.REPORT_S", 20)  # it comes when it comes
    peer = {"host": "127.0.0.1", "port": archive.port, "ae_title": "PACS"}
    one = {"dicom": peer, "verify": "commitment", "report_s": 300, "retry": RETRY}
    rules = [{"destinations": ["pacs"]}]
    made = Parts(tmp_path, destinations={"pacs": one}, rules=rules, write="sr")
    made.receive(radiograph_file())
    yield made
    made.close()


@pytest.fixture
def silent(parts: Parts, archive: Pacs, monkeypatch: pytest.MonkeyPatch) -> Pacs:
    """The archive takes objects and reports nothing; nobody waits for it."""
    monkeypatch.setattr("hilum.serve.peers.REPORT_S", 0.01)
    archive.reports = "never"
    return archive


def delivery(parts: Parts) -> Delivery:
    with parts.records.read() as session:
        return session.scalars(select(Delivery)).one()


def waits_s(parts: Parts) -> float:
    with parts.records.read() as session:
        due = session.scalars(select(Work.due).where(Work.kind == "deliver")).one()
    return due - parts.clock.now


def test_a_commitment_on_the_same_association_ends_the_delivery(
    parts: Parts, archive: Pacs
) -> None:
    parts.work()
    assert delivery(parts).state == "delivered"
    assert archive.calls == ["C-STORE", "N-ACTION"]
    assert archive.answered == [0x0000]


def test_a_commitment_on_a_new_association_finds_the_delivery(
    parts: Parts, archive: Pacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = DicomNode(Node(port=0, allow=("PACS",)), parts.intake)
    node.start()
    archive.reports, archive.peer = "new", ("127.0.0.1", node.port)
    monkeypatch.setattr("hilum.serve.peers.REPORT_S", 0.01)
    parts.work()
    archive.wait()
    parts.work()
    node.stop()
    assert archive.answered == [0x0000]
    assert delivery(parts).state == "delivered"
    assert archive.calls == ["C-STORE", "N-ACTION"]


def test_until_the_report_comes_it_is_not_delivered(parts: Parts, silent: Pacs) -> None:
    parts.work()
    held = delivery(parts)
    assert (held.state, waits_s(parts)) == ("waiting", 300)
    assert "waited for" in str(held.reason)
    report = Dataset()
    report.TransactionUID = held.commitment
    report.ReferencedSOPSequence = [Dataset()]
    report.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = next(iter(silent.objects))
    assert note(parts.records, parts.queue, report)
    parts.work()
    assert delivery(parts).state == "delivered"
    assert not note(parts.records, parts.queue, report)  # once


def test_without_a_report_it_backs_off_and_is_sent_again(
    parts: Parts, silent: Pacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []
    for _ in range(3):
        parts.work()
        parts.clock.now += 300
        parts.work()
        waits.append(waits_s(parts))
        parts.clock.now += waits[-1]
    assert waits == [10, 20, 40]
    assert "in time" in str(delivery(parts).reason)
    silent.reports = "same"
    monkeypatch.setattr("hilum.serve.peers.REPORT_S", 20)
    parts.work()
    assert delivery(parts).state == "delivered"
    assert len(silent.objects) == 1


def test_an_archive_that_does_not_keep_it_says_why_and_is_asked_again(
    parts: Parts, archive: Pacs
) -> None:
    archive.forgets = True
    parts.work()
    assert delivery(parts).state == "waiting"
    assert "0x0112" in str(delivery(parts).reason)
    assert waits_s(parts) == 10
    archive.forgets = False
    parts.clock.now += 10
    parts.work()
    assert delivery(parts).state == "delivered"
    assert archive.calls == ["C-STORE", "N-ACTION"] * 2


def test_a_report_of_other_objects_is_no_commitment(parts: Parts, silent: Pacs) -> None:
    parts.work()
    report = Dataset()
    report.TransactionUID = delivery(parts).commitment
    report.ReferencedSOPSequence = [Dataset()]
    report.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    note(parts.records, parts.queue, report)
    parts.work()
    assert delivery(parts).state == "waiting"
    assert "not in the report" in str(delivery(parts).reason)


def test_strangers_commit_nothing(parts: Parts, archive: Pacs) -> None:
    archive.reports = "never"
    report = Dataset()
    for transaction in (None, "", "1.2.3"):
        report.TransactionUID = transaction
        assert not note(parts.records, parts.queue, report)
    assert not note(parts.records, parts.queue, Dataset())


def test_a_process_that_died_after_asking_waits_for_the_report(
    parts: Parts, archive: Pacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("hilum.serve.delivery._open", killed)
        with pytest.raises(Killed):
            parts.work()
    parts.queue.release("test", crashed=True)
    parts.work()
    assert delivery(parts).state == "delivered"
    assert archive.calls == ["C-STORE", "N-ACTION"]


def test_a_retry_by_hand_sends_again(parts: Parts, silent: Pacs) -> None:
    parts.work()
    actions.retry_delivery(parts.service, delivery(parts).id)
    parts.work()
    assert silent.calls == ["C-STORE", "N-ACTION"] * 2


def test_a_node_without_storage_commitment_is_said(parts: Parts, archive: Pacs) -> None:
    archive.refuses = 0x0124  # not authorised
    parts.work()
    assert "0x0124" in str(delivery(parts).reason)


def test_a_commitment_needs_a_dicom_node() -> None:
    web = {"web": {"url": "http://127.0.0.1/dicom-web"}, "verify": "commitment"}
    with pytest.raises(ValueError, match="needs `dicom`"):
        Config.model_validate({"destinations": {"pacs": web}})
