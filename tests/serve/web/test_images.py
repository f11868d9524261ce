"""Upload -> analysis -> result -> picture, by REST."""

from __future__ import annotations

import io
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from helpers.service import Parts, radiograph_file, toy_pipeline
from hilum import load_pipeline
from hilum.core.errors import InputRefused, LimitRefused, UnreadableRefused
from hilum.core.labels import VOCABULARY
from hilum.core.turns import Busy
from hilum.dicom.guard import Guard
from hilum.dicom.stored import open_stored
from hilum.serve import explaining
from hilum.serve.store import StoreUnavailable
from hilum.serve.web import images
from hilum.serve.web.app import create_app
from hilum.serve.web.previews import OVER_LIMIT_S, Previews
from hilum.serve.work import CHECK
from hilum.serve.worker import Worker

BASE = "http://127.0.0.1:8080"

API = "/api/v1"


def upload(client: TestClient, data: bytes, name: str = "a.dcm") -> dict:  # type: ignore[type-arg]
    answer = client.post(f"{API}/images", files={"files": (name, data)})
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_an_upload_is_analysed_and_can_be_looked_at(client: TestClient, parts: Parts) -> None:
    (image,) = upload(client, radiograph_file())["images"]
    parts.work()
    found = client.get(f"{API}/images/{image['id']}").json()
    assert (found["state"], found["finding"], found["size"]) == ("analysed", True, [96, 80])
    assert found["results"]["default"]["schema"] == "hilum.findings/1"
    assert client.get(f"{API}/images/{image['id']}/picture?width=64").content[:2] == b"\xff\xd8"
    pixels = client.get(f"{API}/images/{image['id']}/pixels")
    assert (pixels.headers["x-rows"], pixels.headers["x-columns"]) == ("96", "80")
    assert np.frombuffer(pixels.content, "<u2").size == 96 * 80
    for kind, start in (("json", b"{"), ("png", b"\x89PNG"), ("sr", b"\0" * 128 + b"DICM")):
        assert client.get(f"{API}/images/{image['id']}/files/{kind}").content.startswith(start)
    assert client.get(f"{API}/images/{image['id']}/masks/lungs").content[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("names", "status"), [("", 202), ("default", 202), ("other", 422), (["default"] * 2, 422)]
)
def test_an_upload_names_one_pipeline_at_most(
    client: TestClient, names: str | list[str], status: int
) -> None:
    files = {"files": ("a.dcm", radiograph_file())}
    answer = client.post(f"{API}/images", files=files, data={"pipeline": names})
    assert answer.status_code == status, answer.text
    assert client.get(f"{API}/images").json()["total"] == (status == 202)


def grey(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)


def test_thumbnails_come_from_the_written_picture_and_larger_ones_from_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path, write="picture:side=64")
    with closing(parts), TestClient(create_app(parts.service), base_url=BASE) as client:
        id = upload(client, radiograph_file())["images"][0]["id"]
        before = grey(client.get(f"{API}/images/{id}/picture?width=48").content)
        parts.work()
        assert grey(client.get(f"{API}/images/{id}/picture?width=90").content).shape == (90, 75)
        monkeypatch.setattr(images, "opened", None)  # whoever decodes now, breaks
        small = grey(client.get(f"{API}/images/{id}/picture?width=48").content)
        assert small.shape == (48, 40)
        assert np.abs(small.astype(float) - before).mean() < 4


@pytest.mark.parametrize("readable", [True, False])
def test_an_image_that_is_refused_is_decoded_for_its_first_thumbnail_only(
    client: TestClient, parts: Parts, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    data = radiograph_file(BodyPartExamined="HAND")
    id = upload(client, data if readable else data[:-100])["images"][0]["id"]
    parts.work()
    assert parts.records.counts() == {"refused": 1}
    asked = []
    real = images.opened
    monkeypatch.setattr(images, "opened", lambda *of: (asked.append(of), real(*of))[1])
    answers = [client.get(f"{API}/images/{id}/picture?width=48") for _ in range(3)]
    assert {one.status_code for one in answers} == {200 if readable else 422}
    assert len({one.content for one in answers}) == len(asked) == 1
    client.post(f"{API}/images/{id}/retry")
    client.get(f"{API}/images/{id}/picture?width=48")
    assert len(asked) == (1 if readable else 2)


def test_an_image_that_cannot_be_read_is_not_decoded_again_for_each_reader(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = upload(client, radiograph_file()[:-100])["images"][0]["id"]
    asked = []
    real = images.opened
    monkeypatch.setattr(images, "opened", lambda *of: (asked.append(of), real(*of))[1])
    for _ in range(2):
        for what in ("pixels", "picture?width=48", "picture?width=2000"):
            answer = client.get(f"{API}/images/{id}/{what}")
            assert (answer.status_code, "truncated" in answer.text) == (422, True)
    assert len(asked) == 1


def test_an_image_that_took_too_long_once_is_tried_again_after_a_while() -> None:
    """A busy machine says nothing about an image; one that is damaged stays so."""
    now = 0.0
    previews = Previews(lambda: now)

    def busy() -> str:
        raise LimitRefused("a", "reading takes longer than 10 s.")

    def damaged() -> str:
        raise UnreadableRefused("b", "it is truncated.")

    for make, id in ((busy, "a"), (damaged, "b")):
        with pytest.raises(InputRefused):
            previews.read(id, make)
        with pytest.raises(InputRefused):  # at once, it is not tried
            previews.read(id, lambda: "pixels")
    now = OVER_LIMIT_S
    assert previews.read("a", lambda: "pixels") == "pixels"
    with pytest.raises(UnreadableRefused):
        previews.read("b", lambda: "pixels")


def test_the_downloaded_picture_shows_boxes_and_outlines(client: TestClient, parts: Parts) -> None:
    id = upload(client, radiograph_file())["images"][0]["id"]
    parts.work()
    png = client.get(f"{API}/images/{id}/files/png").content
    seen = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)
    findings = load_pipeline(toy_pipeline())(open_stored(("a", radiograph_file())))
    for name in ("lungs", "opacity"):
        mask = findings.masks[name].astype(np.uint8)
        scale = seen.shape[1] / mask.shape[1]
        outline = mask - cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0)
        near = cv2.resize(outline, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        distance = np.abs(seen - VOCABULARY[name].colour_rgb).max(axis=2)
        drawn = distance[: near.shape[0]][near > 0] < 40
        assert drawn.sum() > 20, name


def test_what_is_no_image_is_refused_and_the_rest_is_kept(client: TestClient) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../../a.dcm", radiograph_file("1.2.5"))
        archive.writestr("read.me", "words")
    answer = upload(client, content.getvalue(), "both.zip")
    assert len(answer["images"]) == len(answer["refused"]) == 1
    assert "neither DICOM" in answer["refused"][0]["problem"]


def test_a_zip_bomb_is_refused(client: TestClient) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(16 * 2**20))
    answer = upload(client, content.getvalue(), "bomb.zip")
    assert "inflates" in answer["refused"][0]["problem"]
    assert not answer["images"]


def test_the_worklist_filters_sorts_and_pages(client: TestClient, parts: Parts) -> None:
    for number in range(3):
        upload(client, radiograph_file(f"1.2.{number + 1}", PatientName=f"Doe{number}"))
        parts.clock.now += 1
    parts.work()
    page = client.get(f"{API}/images?per_page=2").json()
    assert (page["total"], len(page["items"])) == (3, 2)
    assert page["items"][0]["received"] > page["items"][1]["received"]
    assert client.get(f"{API}/images?q=doe1").json()["total"] == 1
    assert client.get(f"{API}/images?q=%25").json()["total"] == 0  # no pattern of a database
    assert client.get(f"{API}/images?state=failed").json()["total"] == 0


def test_an_image_that_is_kept_only_is_told_from_one_that_waits(
    tmp_path: Path,
) -> None:
    rules = [{"modality": "CR"}, {"analyse": False}]
    parts = Parts(tmp_path, rules=rules)
    with closing(parts), TestClient(create_app(parts.service), base_url=BASE) as client:

        def planned() -> dict[str, tuple[str, bool]]:
            rows = client.get(f"{API}/images").json()["items"]
            for row in rows:
                assert client.get(f"{API}/images/{row['id']}").json()["planned"] == row["planned"]
            return {row["modality"]: (row["state"], row["planned"]) for row in rows}

        for number, modality in enumerate(("CR", "DX")):
            upload(client, radiograph_file(f"1.2.{number}", Modality=modality))
        assert planned() == {None: ("received", True)}
        service = parts.service
        for _ in range(2):
            assert Worker(service, (CHECK,), "test").once()
        assert planned() == {"CR": ("checked", True), "DX": ("checked", False)}
        parts.work()
        assert planned() == {"CR": ("analysed", False), "DX": ("checked", False)}


def test_the_priority_changes(client: TestClient) -> None:
    id = upload(client, radiograph_file())["images"][0]["id"]
    assert client.patch(f"{API}/images/{id}", json={"priority": "stat"}).status_code == 200
    assert client.get(f"{API}/images/{id}").json()["priority"] == "stat"


def test_only_what_was_refused_or_failed_is_tried_again(client: TestClient, parts: Parts) -> None:
    id = upload(client, radiograph_file())["images"][0]["id"]
    parts.work()
    answer = client.post(f"{API}/images/{id}/retry")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")


def test_no_room_is_said_and_may_be_asked_again(
    client: TestClient, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreUnavailable("no room")

    monkeypatch.setattr(parts.store, "check_room", full)
    answer = client.post(f"{API}/images", files={"files": ("a.dcm", radiograph_file())})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


def test_the_sample_is_a_radiograph(client: TestClient, parts: Parts) -> None:
    assert client.post(f"{API}/sample").json()["images"][0]["name"] == "RG1_UNCR.dcm"


def test_status_tells_the_pipelines_and_the_notice(client: TestClient) -> None:
    status = client.get(f"{API}/status").json()
    assert "qualified reader" in status["notice"]
    assert status["pipelines"][0]["default"]
    assert status["user"] == {"name": "local", "role": "admin"}


def test_health_and_metrics(client: TestClient, parts: Parts) -> None:
    upload(client, radiograph_file())
    parts.work()
    assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200
    assert 'hilum_images{state="analysed"} 1.0' in client.get("/metrics").text


def test_a_heat_map_is_made_when_asked_for_and_says_what_it_is(
    client: TestClient, parts: Parts
) -> None:
    id = upload(client, radiograph_file())["images"][0]["id"]
    parts.work()
    where = f"{API}/images/{id}/heatmap"
    assert (client.get(where).status_code, client.get(where).content) == (204, b"")
    assert not client.post(where).json()["duplicate"]
    assert client.post(where).json()["duplicate"]
    parts.work()
    heat = client.get(where).json()
    assert (heat["method"], heat["score"]) == ("occlusion", "opacity")
    score = client.get(f"{API}/images/{id}").json()["score"]
    assert heat["value"] == pytest.approx(score, abs=1e-3)
    assert np.shape(heat["map"])[0] / np.shape(heat["map"])[1] == pytest.approx(96 / 80, rel=0.05)
    assert "heat map of default made" in parts.said(id)


def test_a_network_that_is_too_slow_for_a_heat_map_is_named_and_may_be_asked_again(
    client: TestClient, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = upload(client, radiograph_file())["images"][0]["id"]
    parts.work()
    monkeypatch.setattr(explaining, "LIMIT_S", 0.0)
    client.post(f"{API}/images/{id}/heatmap")
    parts.work()
    answer = client.get(f"{API}/images/{id}/heatmap")
    assert (answer.status_code, "too slow" in answer.json()["detail"]) == (409, True)
    assert not client.post(f"{API}/images/{id}/heatmap").json()["duplicate"]


def test_a_reader_who_asks_for_too_much_at_once_is_told_to_wait(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = upload(client, radiograph_file())["images"][0]["id"]
    askers: list[str | None] = []

    def busy(guard: Guard, *of: Any, asker: str | None = None, **named: Any) -> None:
        askers.append(asker)
        raise Busy("too much")

    monkeypatch.setattr(Guard, "ask", busy)
    for what in (f"{API}/images/{id}/pixels", f"{API}/images/{id}/picture?width=48"):
        answer = client.get(what)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    monkeypatch.undo()
    assert askers == ["local", "local"]
    assert client.get(f"{API}/images/{id}/pixels").status_code == 200  # not kept as a refusal


def test_images_of_a_sender_beyond_its_line_are_not_taken_and_those_of_others_are(
    tmp_path: Path,
) -> None:
    parts = Parts(tmp_path, waiting=2)
    with closing(parts), TestClient(create_app(parts.service), base_url=BASE) as client:
        for number in range(2):
            upload(client, radiograph_file(f"1.2.{number}"))
        more = {"files": ("a.dcm", radiograph_file("1.2.3"))}
        answer = client.post(f"{API}/images", files=more)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        assert "2 images of this sender wait" in answer.json()["detail"]
        parts.receive(radiograph_file("1.2.3"), origin="c-store", sender="CR1")
        parts.work()
        assert client.post(f"{API}/images", files=more).status_code == 202
