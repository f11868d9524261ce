"""STOW-RS in; QIDO-RS and WADO-RS out, as dicomweb-client asks."""

from __future__ import annotations

from io import BytesIO

import pytest
import requests
from fastapi.testclient import TestClient
from pydicom import dcmread
from pydicom.dataset import Dataset

from helpers.service import Parts, radiograph_file
from hilum.serve.store import StoreUnavailable
from hilum.serve.web.multipart import parts as split

WEB = "/dicom-web"
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


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("PatientName=doe*", 1),
        ("PatientID=P2", 0),
        ("00100020=P1", 1),
        ("ModalitiesInStudy=CR", 1),
        ("limit=0", 0),
        ("offset=1", 0),
    ],
)
def test_studies_are_found(client: TestClient, parts: Parts, query: str, count: int) -> None:
    stow(client, file())
    parts.work()
    answer = client.get(f"{WEB}/studies?{query}")
    assert answer.status_code == (200 if count else 204)


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
