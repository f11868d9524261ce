"""WADO-RS in explicit little endian, and frame by frame, of what is stored otherwise."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom import uid as uids
from pydicom.encaps import encapsulate, generate_frames

from helpers.dicom_files import LOSSLESS, dataset, encode, stored, to_bytes
from helpers.service import Parts
from hilum.serve.web.multipart import parts as split

EXPLICIT = uids.ExplicitVRLittleEndian
OCTETS = 'multipart/related; type="application/octet-stream"'
SYNTAXES = (*LOSSLESS[:6], uids.HTJ2KLossless)
PATH = "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4"


def as_syntax(syntax: str) -> str:
    return f'multipart/related; type="application/dicom"; transfer-syntax={syntax}'


def get(client: TestClient, path: str, accept: str) -> Any:
    return client.get(path, headers={"Accept": accept})


def contents(answer: Any) -> list[tuple[str, bytes]]:
    assert answer.status_code == 200, answer.text
    return [*split(answer.content, answer.headers["content-type"])]


def received(parts: Parts, data: bytes) -> None:
    parts.receive(data)
    parts.work()


def several(syntax: str, bits: int = 12) -> tuple[bytes, list[NDArray[np.uint16]]]:
    """An object of three frames that differ, and their values."""
    whole = stored((48, 40), bits)
    frames = [whole, np.ascontiguousarray(whole[::-1]), np.ascontiguousarray(whole[:, ::-1])]
    ds = dataset(whole, bits, NumberOfFrames=3)
    if syntax in LOSSLESS:
        held = dcmread(BytesIO(to_bytes(ds, whole, syntax)))
        held.PixelData = encapsulate([encode(one, bits, syntax) for one in frames])
        out = BytesIO()
        held.save_as(out)
        return out.getvalue(), frames
    return to_bytes(ds, np.stack(frames), syntax), frames


@pytest.mark.parametrize(
    ("syntax", "bits", "signed"),
    [
        *((syntax, 12, False) for syntax in SYNTAXES),
        (uids.JPEGLSLossless, 8, False),
        (uids.RLELossless, 16, True),
    ],
)
def test_lossless_objects_become_the_very_pixels_in_explicit_little_endian(
    client: TestClient, parts: Parts, syntax: str, bits: int, signed: bool
) -> None:
    pixels = stored((48, 40), bits, signed)
    data = to_bytes(
        dataset(pixels, bits, PatientName="Müller^Ü", SpecificCharacterSet="ISO_IR 100"),
        pixels,
        syntax,
    )
    received(parts, data)
    ((_, content),) = contents(get(client, PATH, as_syntax(EXPLICIT)))
    made, own = dcmread(BytesIO(content)), dcmread(BytesIO(data))
    assert made.file_meta.TransferSyntaxUID == EXPLICIT
    assert made.PixelData == pixels.tobytes()
    for ds in (made, own):
        del ds.PixelData
    assert made == own
    ((_, frame),) = contents(get(client, f"{PATH}/frames/1", OCTETS))
    assert frame == pixels.tobytes()
    for way in ("*", syntax):
        ((_, content),) = contents(get(client, PATH, as_syntax(way)))
        assert content == data


def test_a_real_radiograph_is_that_of_before_its_compression(
    client: TestClient, parts: Parts
) -> None:
    data_store = pytest.importorskip("data_store", reason="pip install pydicom-data")
    folder = Path(data_store.__file__).parent / "data"
    compressed = (folder / "RG1_J2KR.dcm").read_bytes()
    received(parts, compressed)
    (one,) = client.get("/dicom-web/instances?Modality=CR").json()
    (url,) = one["00081190"]["Value"]
    pixels = dcmread(folder / "RG1_UNCR.dcm").PixelData
    ((_, content),) = contents(get(client, url, as_syntax(EXPLICIT)))
    assert dcmread(BytesIO(content)).PixelData == pixels
    ((_, frame),) = contents(get(client, f"{url}/frames/1", OCTETS))
    assert frame == pixels


@pytest.mark.parametrize(
    "syntax",
    [
        uids.ImplicitVRLittleEndian,
        EXPLICIT,
        uids.DeflatedExplicitVRLittleEndian,
        uids.ExplicitVRBigEndian,
        uids.RLELossless,
        uids.JPEGLSLossless,
        uids.JPEG2000Lossless,
    ],
)
def test_frames_are_chosen_by_their_numbers(client: TestClient, parts: Parts, syntax: str) -> None:
    data, frames = several(syntax)
    received(parts, data)
    explicit = f"{OCTETS}; transfer-syntax={EXPLICIT}"
    for accept in (OCTETS, explicit):
        got = contents(get(client, f"{PATH}/frames/3,1", accept))
        assert [content for _, content in got] == [frames[2].tobytes(), frames[0].tobytes()]
    whole = get(client, f"{PATH}/frames/3,1", explicit)
    assert f"application/octet-stream; transfer-syntax={EXPLICIT}".encode() in whole.content
    if syntax in LOSSLESS:
        kept = [*generate_frames(dcmread(BytesIO(data)).PixelData, number_of_frames=3)]
        got = contents(get(client, f"{PATH}/frames/2", f"{OCTETS}; transfer-syntax=*"))
        assert [content for _, content in got] == [kept[1]]


@pytest.mark.parametrize("syntax", [uids.ImplicitVRLittleEndian, uids.JPEGLSLossless])
def test_all_frames_are_in_the_object(client: TestClient, parts: Parts, syntax: str) -> None:
    data, frames = several(syntax)
    received(parts, data)
    ((_, content),) = contents(get(client, PATH, as_syntax(EXPLICIT)))
    made = dcmread(BytesIO(content))
    assert (made.NumberOfFrames, made.file_meta.TransferSyntaxUID) == (3, EXPLICIT)
    np.testing.assert_array_equal(made.pixel_array, np.stack(frames))


@pytest.mark.parametrize("syntax", [EXPLICIT, uids.JPEG2000Lossless])
def test_a_chosen_frame_is_rendered_as_an_image_of_it_alone(
    client: TestClient, parts: Parts, syntax: str
) -> None:
    data, frames = several(syntax)
    received(parts, data)
    assert client.get(f"{PATH}/rendered").status_code == 422  # of three none is chosen
    shown = contents(
        get(client, f"{PATH}/frames/3,2/rendered", 'multipart/related; type="image/png"')
    )
    pictures = [cv2.imdecode(np.frombuffer(body, np.uint8), 0) for _, body in shown]
    for picture, frame in zip(pictures, (frames[2], frames[1]), strict=True):
        assert picture is not None
        assert np.corrcoef(picture.ravel(), frame.ravel())[0, 1] > 0.99
    small = get(client, f"{PATH}/frames/2/thumbnail", "image/png")
    assert small.status_code == 200
    assert client.get(f"{PATH}/frames/4/rendered").status_code == 404


def test_what_cannot_be_decoded_is_told_with_the_reason_and_comes_as_stored(
    client: TestClient, parts: Parts
) -> None:
    pixels = stored((48, 40))
    data = to_bytes(
        dataset(pixels),
        syntax=uids.JPEG2000Lossless,
        frame=encode(pixels, 8, uids.JPEG2000Lossless)[:200],
    )
    received(parts, data)
    for path, accept in ((PATH, as_syntax(EXPLICIT)), (f"{PATH}/frames/1", OCTETS)):
        answer = get(client, path, accept)
        assert answer.status_code == 406
        assert "truncated" in answer.json()["detail"]
        assert "transfer-syntax=*" in answer.json()["detail"]
    ((_, content),) = contents(get(client, PATH, as_syntax("*")))
    assert content == data
    answer = get(client, PATH, as_syntax(uids.JPEGLSLossless))  # nothing is compressed anew
    assert (answer.status_code, "needed" in answer.json()["detail"]) == (406, True)


def test_a_depth_is_that_of_the_frame_where_the_header_says_less(
    client: TestClient, parts: Parts
) -> None:
    pixels = stored((48, 40), 12)
    frame = encode(pixels, 12, uids.JPEG2000Lossless)
    received(parts, to_bytes(dataset(pixels, 10), syntax=uids.JPEG2000Lossless, frame=frame))
    ((_, content),) = contents(get(client, PATH, as_syntax(EXPLICIT)))
    made = dcmread(BytesIO(content))
    assert (made.BitsAllocated, made.BitsStored, made.HighBit) == (16, 12, 11)
    np.testing.assert_array_equal(made.pixel_array, pixels)


def test_many_frames_of_few_bytes_are_not_decoded_at_once(client: TestClient, parts: Parts) -> None:
    pixels = stored((8000, 8000))
    frame = encode(pixels, 8, uids.RLELossless)
    ds = dataset(pixels, NumberOfFrames=9)
    held = dcmread(BytesIO(to_bytes(ds, syntax=uids.RLELossless, frame=frame)))
    held.PixelData = encapsulate([frame] * 9)
    out = BytesIO()
    held.save_as(out)
    received(parts, out.getvalue())
    for path, accept in ((PATH, as_syntax(EXPLICIT)), (f"{PATH}/frames/1,2,3,4,5", OCTETS)):
        answer = get(client, path, accept)
        assert (answer.status_code, "256 MiB" in answer.json()["detail"]) == (406, True)


def test_a_study_is_of_one_transfer_syntax_where_that_is_asked_for(
    client: TestClient, parts: Parts
) -> None:
    """The radiograph is decoded, its report comes bit by bit."""
    pixels = stored((96, 80))
    received(parts, to_bytes(dataset(pixels), pixels, uids.JPEGLSLossless))
    study = "/dicom-web/studies/1.2.3"
    kept = [content for _, content in contents(get(client, study, as_syntax("*")))]
    made = [content for _, content in contents(get(client, study, as_syntax(EXPLICIT)))]
    reads: list[list[Dataset]] = [[dcmread(BytesIO(one)) for one in some] for some in (kept, made)]
    assert [ds.Modality for ds in reads[1]] == ["CR", "SR"]
    assert {ds.file_meta.TransferSyntaxUID for ds in reads[1]} == {EXPLICIT}
    assert made[1] == kept[1]
    assert reads[1][0].PixelData == pixels.tobytes()
