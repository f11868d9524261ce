"""WADO-RS of real radiographs: each resource in what the request takes, pictures as displayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import UID

import hilum
from helpers.service import Parts, radiograph_file
from hilum.serve.web.app import create_app
from hilum.serve.web.multipart import parts as split

data_store = pytest.importorskip("data_store", reason="pip install pydicom-data")
IMAGES = Path(data_store.__file__).parent / "data"
BASE, JPEG, PNG = "http://127.0.0.1:8080", "image/jpeg", "image/png"
JPEGS = 'multipart/related; type="image/jpeg"'
SYNTAX = "1.2.840.10008.1.2.4.91"


@pytest.fixture(scope="module")
def radiograph() -> bytes:
    """A real CR, JPEG 2000, 1955 by 1841 px."""
    return (IMAGES / "RG1_J2KI.dcm").read_bytes()


@pytest.fixture(scope="module")
def client(radiograph: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A study of one radiograph with its report and secondary capture; another one of two."""
    parts = Parts(tmp_path_factory.mktemp("wado"), write="sr,sc", parse_s=60)
    with closing(parts), TestClient(create_app(parts.service), base_url=BASE) as made:
        parts.receive(radiograph)
        for number in (1, 2):
            ds = dcmread(BytesIO(radiograph))
            ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.2", "1.2.826.2.1"
            ds.SOPInstanceUID = UID(f"1.2.826.2.1.{number}")
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            parts.receive(_written(ds))
        for number in (1, 2):  # the second has more frames than are read
            ds = dcmread(BytesIO(radiograph_file()))
            ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.3", "1.2.826.3.1"
            ds.SOPInstanceUID = UID(f"1.2.826.3.1.{number}")
            ds.file_meta.MediaStorageSOPInstanceUID, ds.NumberOfFrames = ds.SOPInstanceUID, number
            parts.receive(_written(ds))
        parts.work()
        yield made


def _written(ds: Dataset) -> bytes:
    out = BytesIO()
    ds.save_as(out)
    return out.getvalue()


@pytest.fixture(scope="module")
def instance(radiograph: bytes) -> str:
    ds = dcmread(BytesIO(radiograph), stop_before_pixels=True)
    study, series = ds.StudyInstanceUID, ds.SeriesInstanceUID
    return f"/dicom-web/studies/{study}/series/{series}/instances/{ds.SOPInstanceUID}"


def get(client: TestClient, path: str, accept: str) -> Any:
    return client.get(path, headers={"Accept": accept})


def decoded(content: bytes) -> NDArray[np.uint8]:
    grey = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert grey is not None
    return np.asarray(grey, np.uint8)


def kinds(answer: Any) -> list[str]:
    """Content type of the answer, or of each of its parts."""
    kind = answer.headers["content-type"]
    if not kind.startswith("multipart/related"):
        return [kind]
    return [own for own, _ in split(answer.content, kind)]


@pytest.mark.parametrize(
    ("resource", "accept", "kind"),
    [
        ("", "*/*", "multipart/related"),
        ("", 'multipart/related; type="application/dicom"; transfer-syntax=*', "multipart/related"),
        ("", f"application/dicom; transfer-syntax={SYNTAX}", "application/dicom"),
        ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1", "application/dicom"),
        ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.5", None),
        ("", "application/dicom+json", None),
        ("/metadata", "application/dicom+json", "application/dicom+json"),
        ("/metadata", "application/json", "application/json"),
        ("/metadata", "*/*", "application/dicom+json"),
        ("/metadata", 'multipart/related; type="application/dicom+xml"', None),
        ("/frames/1", "*/*", "multipart/related"),
        ("/frames/1", 'multipart/related; type="application/octet-stream"', "multipart/related"),
        ("/frames/1", 'multipart/related; type="image/jp2"', "multipart/related"),
        ("/frames/1", 'multipart/related; type="image/jls"', None),
        ("/rendered", "*/*", JPEG),
        ("/rendered", PNG, PNG),
        ("/rendered", JPEGS, "multipart/related"),
        ("/rendered", "image/gif", None),
        ("/frames/1/rendered", PNG, PNG),
        ("/thumbnail", "*/*", JPEG),
        ("/frames/1/thumbnail", PNG, PNG),
        ("/thumbnail", JPEGS, None),
    ],
)
def test_the_answer_is_of_a_kind_that_is_taken_or_a_problem(
    client: TestClient, instance: str, resource: str, accept: str, kind: str | None
) -> None:
    answer = get(client, instance + resource, accept)
    if kind is None:
        assert (answer.status_code, answer.json()["status"]) == (406, 406)
        assert answer.headers["content-type"] == "application/problem+json"
    else:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)


def test_a_search_is_answered_in_json_or_not_at_all(client: TestClient) -> None:
    assert get(client, "/dicom-web/studies", "application/dicom+json").status_code == 200
    path = "/dicom-web/studies?accept=application/json"
    assert get(client, path, "text/html").headers["content-type"] == "application/json"
    assert get(client, "/dicom-web/studies", "text/html").status_code == 406


def test_the_parameter_accept_stands_for_the_header(client: TestClient, instance: str) -> None:
    answer = get(client, f"{instance}/rendered?accept=image/png", JPEG)
    assert answer.headers["content-type"] == PNG


def test_a_frame_is_called_by_its_codec_and_has_its_bytes(
    client: TestClient, instance: str, radiograph: bytes
) -> None:
    answer = get(client, f"{instance}/frames/1", 'multipart/related; type="image/jp2"')
    ((kind, content),) = split(answer.content, answer.headers["content-type"])
    assert kind == "image/jp2"
    frames = generate_frames(dcmread(BytesIO(radiograph)).PixelData, number_of_frames=1)
    assert content == next(frames)


def test_rendered_is_the_radiograph_as_displayed(
    client: TestClient, instance: str, radiograph: bytes
) -> None:
    shown = decoded(get(client, f"{instance}/rendered", PNG).content)
    pixels = hilum.read(radiograph).pixels
    assert shown.shape == pixels.shape
    assert np.corrcoef(shown[::8, ::8].ravel(), pixels[::8, ::8].ravel())[0, 1] > 0.99


def test_a_window_is_that_of_the_modalitys_units(
    client: TestClient, instance: str, radiograph: bytes
) -> None:
    answer = get(client, f"{instance}/rendered?window=500,400,linear", PNG)
    pixels = hilum.read(radiograph, window=(500, 400)).pixels
    np.testing.assert_allclose(decoded(answer.content), pixels * 255, atol=0.51)


def test_a_viewport_bounds_both_sides_and_keeps_their_ratio(
    client: TestClient, instance: str
) -> None:
    for resource in ("rendered", "thumbnail"):
        answer = get(client, f"{instance}/{resource}?viewport=300,100", PNG)
        assert decoded(answer.content).shape == (100, 94)
    assert decoded(get(client, f"{instance}/thumbnail", JPEG).content).shape == (256, 241)


def test_quality_is_that_of_the_jpeg(client: TestClient, instance: str) -> None:
    rough, fine = (
        len(get(client, f"{instance}/rendered?viewport=400,400&quality={q}", JPEG).content)
        for q in (10, 95)
    )
    assert rough < fine / 2


@pytest.mark.parametrize(
    "wrong",
    ["viewport=0,0", "viewport=10", "viewport=9,9,0,0,4,4", "window=1,2", "window=1,0,linear"],
)
def test_what_cannot_be_rendered_is_told(client: TestClient, instance: str, wrong: str) -> None:
    answer = get(client, f"{instance}/rendered?{wrong}", "*/*")
    assert (answer.status_code, "needed" in answer.json()["detail"]) == (400, True)


def test_all_images_of_a_study_are_rendered_and_nothing_else(client: TestClient) -> None:
    """Two radiographs and two secondary captures; two reports are no images."""
    answer = get(client, "/dicom-web/studies/1.2.826.2/rendered", "*/*")
    assert kinds(answer) == [JPEG] * 4
    pictures = [decoded(body) for _, body in split(answer.content, answer.headers["content-type"])]
    assert [one.ndim for one in pictures] == [2, 2, 3, 3]  # captures are in colour
    series = "/dicom-web/studies/1.2.826.2/series/1.2.826.2.1"
    answer = get(client, f"{series}/rendered?viewport=64,64", f"{JPEG}, {JPEGS}")
    assert kinds(answer) == [JPEG] * 2
    assert get(client, f"{series}/rendered", JPEG).status_code == 406  # two in one do not go


def test_images_that_cannot_be_rendered_are_counted(client: TestClient) -> None:
    whole = get(client, "/dicom-web/studies/1.2.826.2/rendered", JPEGS)
    assert "warning" not in whole.headers
    part = get(client, "/dicom-web/studies/1.2.826.3/series/1.2.826.3.1/rendered", JPEGS)
    assert (part.status_code, kinds(part)) == (200, [JPEG])
    assert part.headers["warning"] == '299 hilum "1 of 2 cannot be read"'


@pytest.mark.parametrize("level", ["", "/series/1.2.826.2.1"])
def test_the_thumbnail_of_several_images_is_one(client: TestClient, level: str) -> None:
    answer = get(client, f"/dicom-web/studies/1.2.826.2{level}/thumbnail", "image/*")
    assert answer.headers["content-type"] == JPEG
    assert decoded(answer.content).shape == (256, 241)


def test_a_report_is_no_picture(client: TestClient) -> None:
    report = client.get("/dicom-web/instances?Modality=SR").json()[0]
    path = report["00081190"]["Value"][0]
    for resource in ("rendered", "thumbnail"):
        answer = get(client, f"{path}/{resource}", "*/*")
        assert (answer.status_code, "no image" in answer.json()["detail"]) == (406, True)


@pytest.mark.parametrize("resource", ["", "/rendered", "/thumbnail"])
def test_a_frame_that_is_not_there_is_missed(
    client: TestClient, instance: str, resource: str
) -> None:
    for numbers in ("2", "0", "1,2"):
        answer = get(client, f"{instance}/frames/{numbers}{resource}", "*/*")
        assert (answer.status_code, "no frame" in answer.json()["detail"]) == (404, True)


def test_what_is_not_held_is_missed(client: TestClient) -> None:
    for path in ("studies/1.9/rendered", "studies/1.9/thumbnail", "studies/1.9/series/1.9.1"):
        assert get(client, f"/dicom-web/{path}", "*/*").status_code == 404
