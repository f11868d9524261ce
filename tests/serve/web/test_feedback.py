"""Feedback -> catalog -> what a recipe reads (F10); the client's calls on the way."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from helpers.service import Parts, radiograph_file
from hilum.client import Client, NotAnalysed, NotHeld
from hilum.core.errors import DataError
from hilum.data.catalog import open_catalog
from hilum.data.feedback import unpacked
from hilum.data.verdicts import ImageFeedback, Marked, Verdict, boxes_after, to_json

API = "/api/v1"


@pytest.fixture
def remote(client: TestClient) -> Client:
    made = Client("http://127.0.0.1:8080")
    made._http.close()
    made._http = client  # type: ignore[assignment]
    client.base_url = client.base_url.join(API)
    return made


def analysed(remote: Client, parts: Parts, folder: Path) -> str:
    path = folder / "a.dcm"
    path.write_bytes(radiograph_file())
    (id,) = remote.send([path])
    parts.work()
    return id


def test_a_redrawn_box_reaches_the_sources_of_a_recipe(
    remote: Client, parts: Parts, tmp_path: Path
) -> None:
    id = analysed(remote, parts, tmp_path)
    (finding,) = remote.wait(id).document["results"]["default"]["images"][0]["findings"]
    said = remote.feedback(id, "redraw", finding=finding["id"], boxes=[[5, 6, 40, 50]])
    assert (said["by"], said["at"]) == ("local", parts.clock.now)
    unpacked(remote.exported_feedback(), tmp_path / "set")
    catalog = open_catalog(tmp_path / "set" / "feedback.parquet")
    boxes, labels = catalog.boxes(0) or ([], [])
    assert [[*map(float, box)] for box in boxes] == [[5, 6, 40, 50]]
    assert labels == ["opacity"]
    assert (catalog.root / catalog.table["path"][0]).read_bytes() == radiograph_file()


def test_an_image_of_which_not_all_is_said_stays_in_the_hospital(
    remote: Client, parts: Parts, tmp_path: Path
) -> None:
    id = analysed(remote, parts, tmp_path)
    remote.feedback(id, "comment", comment="blurred")
    with zipfile.ZipFile(BytesIO(remote.exported_feedback())) as archive:
        assert archive.namelist() == ["feedback.json"]
    assert unpacked(remote.exported_feedback(), tmp_path / "set").skips == {"not-all-said": 1}


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "no feedback of a service"),
        ({"feedback.json": "{}"}, "damaged"),
        ({"feedback.json": '{"images": [1]}'}, "damaged"),
        ({"feedback.json": ("images/a",)}, "is not in the archive"),
        ({"feedback.json": ("images/../../a",), "images/../../a": "x"}, "lies outside"),
    ],
)
def test_an_export_that_is_damaged_is_refused(
    members: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            of_one = not isinstance(text, str) and [replace(said(ACCEPTED), path=text[0])]
            archive.writestr(name, to_json(of_one) if of_one else text)
    with pytest.raises(DataError, match=reason):
        unpacked(content.getvalue(), tmp_path / "set")
    with pytest.raises(DataError, match="no zip"):
        unpacked(b"<html>", tmp_path / "set")
    assert not (tmp_path / "a").exists()


def test_the_client_gives_results_files_and_typed_errors(
    remote: Client, parts: Parts, tmp_path: Path
) -> None:
    id = analysed(remote, parts, tmp_path)
    image = remote.wait(id)
    findings = image.result().findings
    assert findings is not None
    assert len(findings.scores) == 1
    assert [one.id for one in remote.images(state="analysed")] == [id]
    assert remote.download(id, "sr")[128:132] == b"DICM"
    with pytest.raises(NotHeld):
        remote.image("0" * 32)
    (tmp_path / "b.txt").write_text("words")
    with pytest.raises(NotAnalysed, match="neither DICOM"):
        remote.send([tmp_path / "b.txt"])


def test_feedback_on_what_is_not_there_is_refused(
    remote: Client, parts: Parts, tmp_path: Path, client: TestClient
) -> None:
    id = analysed(remote, parts, tmp_path)
    for body in (
        {"verdict": "accept", "finding": "nothing"},
        {"verdict": "redraw"},
        {"verdict": "redraw", "boxes": [[9, 9, 3, 3]]},
        {"verdict": "redraw", "boxes": [[500, 500, 600, 600]]},
        {"verdict": "add", "boxes": []},
        {"verdict": "comment"},
    ):
        assert client.post(f"/images/{id}/feedback", json=body).status_code == 422, body


A, B = (Marked(label="opacity", box=(i, i, i + 9.0, i + 9.0)) for i in (0.0, 20.0))
C = Marked(label="opacity", box=(1.0, 1.0, 2.0, 2.0))
ACCEPTED = Verdict(verdict="accept")


def said(*verdicts: Verdict) -> ImageFeedback:
    facts = {"id": "1", "path": "p", "patient": "x", "study": "y", "view": "PA", "modality": "CR"}
    return ImageFeedback(**facts, width=50, height=50, findings={"a": A, "b": B}, verdicts=verdicts)


@pytest.mark.parametrize(
    ("verdicts", "held"),
    [
        ([Verdict(verdict="accept", finding="a")], None),  # nobody spoke of b
        ([Verdict(verdict="comment")], None),
        ([Verdict(verdict="accept")], [A, B]),
        ([Verdict(verdict="reject")], []),
        ([Verdict(verdict="accept", finding="a"), Verdict(verdict="reject", finding="b")], [A]),
        ([Verdict(verdict="reject"), Verdict(verdict="accept", finding="a")], [A]),
        ([Verdict(verdict="add", boxes=[(1, 1, 2, 2)])], None),  # nobody spoke of a and b
        ([Verdict(verdict="add", boxes=[(1, 1, 2, 2)]), Verdict(verdict="accept")], [A, B, C]),
        ([Verdict(verdict="accept"), Verdict(verdict="add", boxes=[(1, 1, 2, 2)])], [A, B, C]),
        ([Verdict(verdict="add", boxes=[(1, 1, 2, 2)]), Verdict(verdict="reject")], []),
        (
            [Verdict(verdict="redraw", boxes=[(40, 40, 90, 90)])],
            [Marked(label="opacity", box=(40.0, 40.0, 50.0, 50.0))],
        ),
    ],
)
def test_the_boxes_that_hold_follow_from_what_was_said(
    verdicts: list[Verdict], held: list[Marked] | None
) -> None:
    assert boxes_after(said(*verdicts), "opacity") == held
