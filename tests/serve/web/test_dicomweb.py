"""STOW-RS in; QIDO-RS and WADO-RS out, as dicomweb-client asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from io import BytesIO
from xml.etree import ElementTree

import pytest
import requests
from fastapi.testclient import TestClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import Comprehensive3DSRStorage as SR
from pydicom.uid import ComputedRadiographyImageStorage as CR
from pydicom.uid import JPEG2000Lossless

from helpers.dicom_files import to_bytes
from helpers.service import Parts, radiograph_file
from hilum.serve.store import StoreUnavailable
from hilum.serve.web.app import create_app
from hilum.serve.web.multipart import parts as split

BASE, WEB = "http://127.0.0.1:8080", "/dicom-web"
STUDY, SERIES = "1.2.826.1", "1.2.826.1.1"


def file(uid: str = "1.2.826.1.1.1", **elements: object) -> bytes:
    ids = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "PatientID": "P1"}
    return radiograph_file(uid, **{**ids, "PatientName": "Doe^Jane"} | elements)


def stow(client: TestClient, *bodies: bytes, path: str = "/studies"):  # type: ignore[no-untyped-def]
    head = b"\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n"
    content = b"".join(head + body for body in bodies) + b"\r\n--XX--\r\n"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=XX'}
    return client.post(WEB + path, content=content, headers=kind)


def test_what_is_stored_comes_back_bit_by_bit(client: TestClient, parts: Parts) -> None:
    data = file()
    answer = stow(client, data)
    assert answer.status_code == 200
    stored = Dataset.from_json(answer.json()).ReferencedSOPSequence
    assert stored[0].ReferencedSOPInstanceUID == "1.2.826.1.1.1"
    parts.work()
    path = f"{WEB}/studies/{STUDY}/series/{SERIES}/instances/1.2.826.1.1.1"
    got = client.get(path)
    assert [*split(got.content, got.headers["content-type"])] == [("application/dicom", data)]
    assert client.get(path, headers={"Accept": "application/dicom"}).content == data
    frame = client.get(f"{path}/frames/1")
    ((_, pixels),) = split(frame.content, frame.headers["content-type"])
    assert pixels == dcmread(BytesIO(data)).PixelData
    assert client.get(f"{path}/frames/2").status_code == 404
    assert client.get(f"{path}/rendered").content[:2] == b"\xff\xd8"


def test_each_instance_is_told_what_became_of_it(client: TestClient) -> None:
    answer = stow(client, file(), b"no DICOM at all")
    assert answer.status_code == 202
    told = Dataset.from_json(answer.json())
    assert len(told.ReferencedSOPSequence) == 1
    assert told.FailedSOPSequence[0].FailureReason == 0xC000
    assert stow(client, file(), path="/studies/1.9").status_code == 409


def test_no_room_is_503(client: TestClient, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreUnavailable("no room")

    monkeypatch.setattr(parts.store, "check_room", full)
    answer = stow(client, file())
    assert answer.status_code == 503
    assert Dataset.from_json(answer.json()).FailedSOPSequence[0].FailureReason == 0xA700


def test_own_results_are_held_too(client: TestClient, parts: Parts) -> None:
    stow(client, file())
    parts.work()
    series = client.get(f"{WEB}/studies/{STUDY}/series").json()
    assert {one["00080060"]["Value"][0] for one in series} == {"CR", "SR"}
    report = next(one for one in series if one["00080060"]["Value"] == ["SR"])
    uid = report["0020000E"]["Value"][0]
    got = client.get(f"{WEB}/studies/{STUDY}/series/{uid}")
    ((_, content),) = split(got.content, got.headers["content-type"])
    assert dcmread(BytesIO(content)).Modality == "SR"


@pytest.fixture(scope="module")
def department(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Studies 1 (two images), 2, and 3 of a name in Chinese, each image with its report."""
    parts = Parts(tmp_path_factory.mktemp("department"), write="sr")
    with closing(parts), TestClient(create_app(parts.service), base_url=BASE) as client:
        of_two = {"StudyInstanceUID": "1.2.826.2", "PatientID": "P2", "PatientName": "Müller^Ida"}
        when = {"StudyDate": "20250601", "StudyTime": "091500.25"}
        chinese = {"SpecificCharacterSet": "GB18030", "PatientName": "Wang^XiaoDong=王^小东"}
        stow(client, file(), file("1.2.826.1.1.2"), file("1.2.826.2.1", **of_two, **when))
        stow(client, file("1.2.826.3.1", StudyInstanceUID="1.2.826.3", **chinese))
        parts.work()
        yield client


def found(client: TestClient, query: str, level: str = "studies") -> list[str]:
    """Last numbers of the study UIDs, sorted."""
    answer = client.get(f"{WEB}/{level}?{query}")
    assert answer.status_code in (200, 204), answer.text
    studies = answer.json() if answer.status_code == 200 else []
    return sorted(one["0020000D"]["Value"][0][-1] for one in studies)


@pytest.mark.parametrize(
    ("query", "studies"),
    [
        ("PatientName=doe*", "1"),
        ("PatientName=doe", ""),
        ("PatientName=%E7%8E%8B*", "3"),
        ("PatientName=Wang%5EXiaoDong%5E", "3"),
        ("PatientName=M%C3%BCller*", "2"),
        ("PatientName=ida+muller&fuzzymatching=true", "2"),
        ("PatientName=jan+doe&fuzzymatching=true", "1"),
        ("PatientID=P9", ""),
        ("00100020=P1", "13"),
        ("PatientID=P%3F", "123"),
        ("StudyDate=20250601", "2"),
        ("StudyDate=-20250601", "2"),
        ("StudyDate=20250602-", ""),
        ("StudyDate=20250101-20251231", "2"),
        ("StudyTime=0900-0915", "2"),
        ("StudyTime=0916-", ""),
        ("StudyTime=09", "2"),
        ("ModalitiesInStudy=SR", "123"),
        ("ModalitiesInStudy=CT", ""),
        ("StudyInstanceUID=1.2.826.1,1.2.826.3", "13"),
        ("AccessionNumber=", "123"),
        ("limit=0", ""),
        ("offset=3", ""),
    ],
)
def test_studies_are_found_as_the_standard_says(
    department: TestClient, query: str, studies: str
) -> None:
    assert found(department, query) == [*studies]


@pytest.mark.parametrize("query", ["PatientName=doe*", "ModalitiesInStudy=SR", "SOPInstanceUID="])
def test_counts_are_those_of_the_whole_study_whatever_is_asked_for(
    department: TestClient, query: str
) -> None:
    answers = department.get(f"{WEB}/studies?{query}").json()
    study = next(one for one in answers if one["0020000D"]["Value"] == [STUDY])
    assert study["00201208"]["Value"] == [4]
    assert study["00080061"]["Value"] == ["CR", "SR"]


def test_a_limited_answer_says_that_there_is_more(department: TestClient) -> None:
    assert "additional results" in department.get(f"{WEB}/studies?limit=2").headers["Warning"]
    assert "Warning" not in department.get(f"{WEB}/studies?limit=1&offset=2").headers
    pages = [found(department, f"limit=1&offset={at}") for at in range(3)]
    assert sorted(pages) == [["1"], ["2"], ["3"]]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("Nobody=1", "does not know"),
        ("00091002=1", "does not know"),
        ("RequestAttributesSequence.ScheduledProcedureStepID=1", "not searched"),
        ("ReferencedSeriesSequence=1", "not searched"),
        ("StudyDate=2026", "date"),
        ("StudyDate=last-week", "date"),
        ("limit=-1", "whole number"),
    ],
)
def test_what_cannot_be_searched_for_is_told(client: TestClient, query: str, words: str) -> None:
    answer = client.get(f"{WEB}/studies?{query}")
    assert (answer.status_code, words in answer.json()["detail"]) == (400, True)


def test_all_attributes_come_where_they_are_asked_for(department: TestClient) -> None:
    query = "SOPInstanceUID=1.2.826.1.1.1&includefield=all"
    (one,) = department.get(f"{WEB}/instances?{query}").json()
    assert one["00280101"]["Value"] == [8]  # BitsStored
    assert "7FE00010" not in one


def test_a_result_of_ours_that_comes_back_is_there_once(client: TestClient, parts: Parts) -> None:
    stow(client, file())
    parts.work()
    series = client.get(f"{WEB}/series?Modality=SR").json()
    path = f"{WEB}/studies/{STUDY}/series/{series[0]['0020000E']['Value'][0]}"
    got = client.get(path)
    ((_, report),) = split(got.content, got.headers["content-type"])
    assert stow(client, report).status_code == 200
    parts.work()
    assert parts.records.counts() == {"analysed": 1, "refused": 1}
    (study,) = client.get(f"{WEB}/studies").json()
    assert study["00201208"]["Value"] == [2]
    got = client.get(path)
    assert [*split(got.content, got.headers["content-type"])] == [("application/dicom", report)]


def test_a_document_is_kept_refused_and_left_out_of_metadata(
    client: TestClient, parts: Parts
) -> None:
    ds = Dataset()
    ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.104.1", "DOC"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = "1.2.9", "1.2.9.0", "1.2.9.1"
    ds.EncapsulatedDocument, ds.MIMETypeOfEncapsulatedDocument = bytes(2**21), "application/pdf"
    data = to_bytes(ds)
    assert stow(client, data).status_code == 200
    parts.work()
    (row,) = client.get("/api/v1/images").json()["items"]
    assert row["state"] == "refused"
    path = f"{WEB}/studies/1.2.9/series/1.2.9.0/instances/1.2.9.1"
    (header,) = client.get(f"{path}/metadata").json()
    assert "00420011" not in header
    assert client.get(path, headers={"Accept": "application/dicom"}).content == data
    assert client.get(f"{path}/rendered").status_code == 422
    assert client.get(f"{path}/frames/1").status_code == 404


def test_what_has_no_uids_is_found_as_an_instance_and_leads_nowhere(
    client: TestClient, parts: Parts
) -> None:
    """Such as files of a challenge: two patients without a study are not one study."""
    for name, patient in (("ID_1", "P1"), ("ID_2", "P2")):
        none = {"StudyInstanceUID": "", "SeriesInstanceUID": ""}
        parts.receive(file(name, **none, PatientID=patient))
    parts.work()
    for level in ("studies", "series"):
        assert client.get(f"{WEB}/{level}").status_code == 204
    held = client.get(f"{WEB}/instances").json()
    assert {one["00100020"]["Value"][0] for one in held} == {"P1", "P2"}
    assert not any("00081190" in one for one in held)
    stow(client, file())
    parts.work()
    (one,) = client.get(f"{WEB}/studies?PatientID=P1").json()
    (url,) = one["00081190"]["Value"]
    assert client.get(url).status_code == 200


@pytest.mark.parametrize("compressed", [False, True])
def test_frames_come_in_the_order_in_which_they_are_asked_for(
    client: TestClient, parts: Parts, compressed: bool
) -> None:
    ds = dcmread(BytesIO(file(NumberOfFrames=3)))
    each = [bytes([n]) * len(ds.PixelData) for n in (1, 2, 3)]
    ds.PixelData = b"".join(each)
    if compressed:
        ds.PixelData = encapsulate(each)
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    out = BytesIO()
    ds.save_as(out)
    stow(client, out.getvalue())
    parts.work()
    path = f"{WEB}/studies/{STUDY}/series/{SERIES}/instances/1.2.826.1.1.1/frames"
    answer = client.get(f"{path}/3,1,3")
    got = [*split(answer.content, answer.headers["content-type"])]
    assert [content for _, content in got] == [each[2], each[0]]
    name = "image/jp2" if compressed else "application/octet-stream"
    assert {kind.split(";")[0] for kind, _ in got} == {name}
    missing = client.get(f"{path}/1,4")
    assert missing.status_code == 404
    assert "frame 4" in missing.json()["detail"]
    assert client.get(f"{path}/1,").status_code == 422


@pytest.mark.parametrize(
    ("count", "statuses"),
    [(b"3   ", [200, 404, 404]), (b"9e9 ", [200, 404, 404]), (b"one ", [422, 422, 422])],
)
def test_a_frame_is_there_or_not_whatever_the_header_counts(
    client: TestClient, parts: Parts, count: bytes, statuses: list[int]
) -> None:
    data = file(NumberOfFrames=4321)
    stow(client, data.replace(b"4321", count))
    parts.work()
    path = f"{WEB}/studies/{STUDY}/series/{SERIES}/instances/1.2.826.1.1.1/frames"
    assert [client.get(f"{path}/{frame}").status_code for frame in (1, 2, 9999)] == statuses


def test_a_file_that_is_gone_hides_no_other(client: TestClient, parts: Parts) -> None:
    stow(client, file(), file("1.2.826.1.1.2"))
    parts.work()
    lost, *_ = client.get("/api/v1/images").json()["items"]
    parts.store.path(lost["id"]).unlink()
    (study,) = client.get(f"{WEB}/studies").json()
    assert study["00201208"]["Value"] == [3]  # the other image, both reports
    for path in (f"{WEB}/studies/{STUDY}", f"/api/v1/images/{lost['id']}/pixels"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")


def test_metadata_counts_what_it_lacks(client: TestClient, parts: Parts) -> None:
    stow(client, file(), file("1.2.826.1.1.2"))
    parts.work()
    path = f"{WEB}/studies/{STUDY}"
    whole = client.get(f"{path}/metadata")
    assert (len(whole.json()), "warning" in whole.headers) == (4, False)
    lost, *_ = client.get("/api/v1/images").json()["items"]
    parts.store.path(lost["id"]).unlink()
    answer = client.get(f"{path}/metadata")
    assert (answer.status_code, len(answer.json())) == (200, 3)
    assert answer.headers["warning"] == '299 hilum "1 of 4 cannot be read"'
    (sop,) = {"1.2.826.1.1.1", "1.2.826.1.1.2"} - {
        one["00080018"]["Value"][0] for one in answer.json()
    }
    alone = client.get(f"{path}/series/{SERIES}/instances/{sop}/metadata")
    assert (alone.status_code, alone.json()["title"]) == (404, "Not Found")


@pytest.mark.parametrize(
    ("resource", "counts"),
    [
        ("", {CR: 2, SR: 2}),
        ("/metadata", {CR: 2, SR: 2}),
        (f"/series/{SERIES}", {CR: 2}),
        (f"/series/{SERIES}/rendered", {CR: 2}),
        (f"/series/{SERIES}/instances/1.2.826.1.1.2/frames/1", {CR: 1}),
    ],
)
def test_the_trail_names_the_study_and_every_instance_that_was_retrieved(
    client: TestClient, parts: Parts, resource: str, counts: dict[str, int]
) -> None:
    """PS3.15 A.5.3.3: who, the study, what of it; by hashes."""
    stow(client, file(), file("1.2.826.1.1.2"))
    parts.work()
    answer = client.get(f"{WEB}/studies/{STUDY}{resource}", headers={"Accept": "*/*, image/*"})
    assert answer.status_code == 200
    *_, newest = parts.service.audit.messages()
    message = ElementTree.fromstring(newest)  # noqa: S314
    (study,) = message.findall("ParticipantObjectIdentification")
    assert study.attrib["ParticipantObjectID"] == sha256(STUDY.encode()).hexdigest()[:32]
    # The order of PS3.15 A.5.1's schema.
    assert [one.tag.removeprefix("ParticipantObject") for one in study] == [
        *("IDTypeCode", "Name", "Description")
    ]
    classes = {one.attrib["UID"]: one for one in study.findall("*/SOPClass")}
    assert {uid: int(one.attrib["NumberOfInstances"]) for uid, one in classes.items()} == counts
    for one in classes.values():
        ids = {instance.attrib["UID"] for instance in one.findall("Instance")}
        assert len(ids) == int(one.attrib["NumberOfInstances"])
    assert "local" in [one.attrib["UserID"] for one in message.findall("ActiveParticipant")]
    assert STUDY not in newest


def test_a_search_is_in_the_trail_without_its_words(client: TestClient, parts: Parts) -> None:
    assert client.get(f"{WEB}/studies?PatientName=Doe^Jane").status_code == 204
    *_, newest = parts.service.audit.messages()
    event = ElementTree.fromstring(newest).find("EventIdentification/EventID")  # noqa: S314
    assert event is not None
    assert event.attrib["csd-code"] == "110112"
    assert ("local" in newest, "Doe" in newest) == (True, False)


def test_a_study_of_two_patients_is_told(
    client: TestClient, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    stow(client, file(), file("1.2.826.1.1.2", PatientID="P2"))
    parts.work()
    for row in client.get("/api/v1/images").json()["items"]:
        assert row["state"] == "analysed"
        (warning,) = client.get(f"/api/v1/images/{row['id']}").json()["warnings"]
        assert "another PatientID" in warning
    assert "another PatientID" in caplog.text
    assert "P2" not in caplog.text


def test_a_body_that_is_cut_off_stores_nothing(client: TestClient, parts: Parts) -> None:
    kind = {"Content-Type": "multipart/related; boundary=XX"}
    body = b"--XX\r\nContent-Type: application/dicom\r\n\r\n" + file()
    assert client.post(f"{WEB}/studies", content=body, headers=kind).status_code == 400
    assert parts.records.counts() == {}


def test_a_spacing_of_zero_is_left_out_of_metadata(client: TestClient, parts: Parts) -> None:
    stow(client, file(PixelSpacing=[0, 0]))
    parts.work()
    (header,) = client.get(
        f"{WEB}/studies/{STUDY}/series/{SERIES}/instances/1.2.826.1.1.1/metadata"
    ).json()
    assert "00280030" not in header
    assert header["00280010"]["Value"] == [96]


class Adapter(requests.adapters.BaseAdapter):
    """Gives the requests of dicomweb-client to the application in memory."""

    def __init__(self, client: TestClient) -> None:
        super().__init__()
        self.client = client

    def send(self, request, **_: object):  # type: ignore[no-untyped-def]
        got = self.client.request(
            request.method, request.url, content=request.body, headers=dict(request.headers)
        )
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = got.status_code, request.url, request
        answer.headers.update(got.headers)
        answer.raw = BytesIO(got.content)
        return answer

    def close(self) -> None:
        pass


def test_dicomweb_client_stores_finds_and_retrieves(client: TestClient, parts: Parts) -> None:
    api = pytest.importorskip("dicomweb_client.api")
    session = requests.Session()
    session.mount("http://", Adapter(client))
    other = api.DICOMwebClient("http://127.0.0.1:8080/dicom-web", session=session)
    ds = dcmread(BytesIO(file()))
    assert len(other.store_instances([ds]).ReferencedSOPSequence) == 1
    parts.work()
    (found,) = other.search_for_studies(search_filters={"PatientID": "P1"})
    assert found["0020000D"]["Value"] == [STUDY]
    whole = other.retrieve_instance(STUDY, SERIES, "1.2.826.1.1.1")
    assert whole.PixelData == ds.PixelData
    (frame,) = other.retrieve_instance_frames(STUDY, SERIES, "1.2.826.1.1.1", [1])
    assert frame == ds.PixelData
    assert other.retrieve_series_metadata(STUDY, SERIES)[0]["00100020"]["Value"] == ["P1"]
