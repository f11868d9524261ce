"""Earlier images of the patient: their absence delays nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage
from sqlalchemy import select

from helpers import archive as archive_module
from helpers.archive import archive
from helpers.pacs import Pacs, pacs
from helpers.service import Parts, radiograph_file
from hilum.serve.config import Node
from hilum.serve.node import DicomNode
from hilum.serve.tables import Image

EARLIER = {"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.9.1", "StudyDate": "20200101"}
NOW = {"StudyDate": "20260101"}


def test_a_prior_is_fetched_kept_linked_and_not_analysed(tmp_path: Path) -> None:
    with archive() as pacs:
        pacs.objects["1.9"] = radiograph_file("1.9", **EARLIER)
        parts = Parts(tmp_path, priors={"web": {"url": pacs.url}})
        id = parts.receive(radiograph_file(**NOW)).id
        parts.work()
        prior = parts.image(str(parts.image(id).prior))
    assert (prior.study_date, prior.state, prior.origin) == ("20200101", "checked", "prior")
    parts.close()


def test_priors_that_are_away_delay_no_result(tmp_path: Path) -> None:
    with archive() as pacs:
        pacs.away = True
        parts = Parts(tmp_path, priors={"web": {"url": pacs.url}, "within_s": 100})
        id = parts.receive(radiograph_file(**NOW)).id
        parts.work(send=False)
        assert parts.image(id).state == "analysed"
        for _ in range(5):
            parts.work()
            parts.clock.now += 50
    assert any("priors are not to be had" in said for said in parts.said(id))
    parts.close()


def other(uid: str, modality: str, **tags: str) -> bytes:
    """What lies in an archive beside radiographs."""
    return radiograph_file(uid, Modality=modality, **EARLIER | tags)


def test_a_newer_ct_does_not_hide_the_radiograph_before_it(tmp_path: Path) -> None:
    with archive() as pacs:
        pacs.objects["1.9"] = radiograph_file("1.9", **EARLIER)
        ct = {"StudyInstanceUID": "1.2.8", "SeriesInstanceUID": "1.2.8.1", "StudyDate": "20250101"}
        pacs.objects["1.8"] = other("1.8", "CT", **ct)
        parts = Parts(tmp_path, priors={"web": {"url": pacs.url}})
        id = parts.receive(radiograph_file(**NOW)).id
        parts.work()
        assert parts.image(str(parts.image(id).prior)).study_date == "20200101"
    parts.close()


def test_what_is_of_another_patient_is_left_even_where_an_archive_answers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as to an ID with a wildcard in it, or where it does not know the key."""
    monkeypatch.setattr(archive_module, "_matches", lambda *_: True)
    with archive() as pacs:
        pacs.objects["1.9"] = radiograph_file("1.9", **EARLIER | {"PatientID": "another"})
        parts = Parts(tmp_path, priors={"web": {"url": pacs.url}})
        parts.receive(radiograph_file(PatientID="an*", **NOW))
        parts.work()
        assert parts.records.counts() == {"analysed": 1}
    parts.close()


@contextmanager
def fetching(tmp_path: Path, server: Pacs, **options: Any) -> Iterator[Parts]:
    """A service with its node, and an archive that holds an earlier study of the patient."""
    peer = {"host": "127.0.0.1", "port": server.port, "ae_title": "PACS"}
    parts = Parts(tmp_path, priors={"dicom": peer, **options})
    node = DicomNode(Node(port=0, allow=("PACS",)), parts.intake, archive="PACS")
    node.start()
    server.peer = ("127.0.0.1", node.port)
    for uid, more in {"1.9": EARLIER, "1.8": EARLIER | {"PatientID": "another"}}.items():
        ds = dcmread(BytesIO(radiograph_file(uid, **({"PatientID": "P1"} | more))))
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{uid}.1", f"{uid}.1.1"
        server.objects[uid] = ds
    try:
        yield parts
    finally:
        node.stop()
        parts.close()


def test_a_prior_is_found_by_c_find_and_comes_by_c_move(tmp_path: Path) -> None:
    with pacs() as server, fetching(tmp_path, server) as parts:
        id = parts.receive(radiograph_file(PatientID="P1", **NOW)).id
        parts.work()
        prior = parts.image(str(parts.image(id).prior))
        assert (prior.study_date, prior.state, prior.origin) == ("20200101", "checked", "prior")
        assert parts.records.counts() == {"analysed": 1, "checked": 1}  # of this patient only
    assert server.calls == ["C-FIND STUDY", "C-FIND SERIES", "C-MOVE SERIES"]
    assert server.titles == ["HILUM"]


def test_a_report_beside_the_prior_is_left_where_it_is(tmp_path: Path) -> None:
    """Our own results lie there: the node takes no SR, and a move that is half refused fails."""
    with pacs() as server, fetching(tmp_path, server) as parts:
        report = dcmread(BytesIO(other("1.7", "SR", PatientID="P1", SeriesInstanceUID="1.2.9.2")))
        report.StudyInstanceUID = "1.9.1"
        report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = Comprehensive3DSRStorage
        server.objects["1.7"] = report
        id = parts.receive(radiograph_file(PatientID="P1", **NOW)).id
        parts.work()
        assert parts.image(id).prior is not None
        assert "1 earlier studies asked for" in parts.said(id)


def test_a_node_that_moves_nothing_delays_no_result(tmp_path: Path) -> None:
    with pacs() as server, fetching(tmp_path, server, within_s=100) as parts:
        server.refuses = 0xA801  # it does not know where we are
        id = parts.receive(radiograph_file(PatientID="P1", **NOW)).id
        parts.work(send=False)
        assert parts.image(id).state == "analysed"
        for _ in range(5):
            parts.work()
            parts.clock.now += 50
        assert parts.image(id).prior is None
        assert any("priors are not to be had" in said for said in parts.said(id))


def test_images_of_one_patient_find_each_other_in_any_order(parts: Parts) -> None:
    def come(uid: str, date: str) -> str:
        id = parts.receive(radiograph_file(uid, StudyInstanceUID=uid, StudyDate=date)).id
        parts.work()
        return id

    newest, oldest, middle = (
        come("1.1", "20250101"),
        come("1.2", "20190101"),
        come("1.3", "20220101"),
    )
    assert parts.image(newest).prior == middle
    assert parts.image(middle).prior == oldest
    assert parts.image(oldest).prior is None
    # Whoever has the newer image open is told.
    assert parts.said(newest).count("its prior is another image now") == 2


def test_a_refused_image_is_no_prior(parts: Parts) -> None:
    """A hand of the same patient is nothing to compare a chest with."""
    for uid, date, part in (("1.1", "2019", "CHEST"), ("1.2", "2022", "HAND"), ("1.3", "2025", "")):
        tags = {"StudyInstanceUID": uid, "StudyDate": f"{date}0101", "BodyPartExamined": part}
        parts.receive(radiograph_file(uid, **tags))
    parts.work()
    with parts.records.read() as session:
        images = session.scalars(select(Image).order_by(Image.study_date)).all()
    chest, hand, newest = images
    assert (hand.state, newest.state) == ("refused", "analysed")
    assert newest.prior == chest.id
