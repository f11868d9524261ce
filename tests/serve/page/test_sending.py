"""What goes into the service by the page and what comes out of it: an upload that is too large, a
sending that is stopped, downloads, a study of two patients."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.live import serving
from helpers.page import answer, drop
from helpers.service import radiograph_file, toy_pipeline

pytestmark = pytest.mark.slow
Open = Callable[..., Any]
MIB = 2**20

DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, data, more] of files) {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes, new Uint8Array(more)], name));
  }
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
}"""


@pytest.fixture
def service(tmp_path: Path) -> Any:
    """Address of a service that finds one opacity on everything and takes 4 MiB at once."""
    pytest.importorskip("uvicorn", reason='pip install "hilum[serve]"')
    toy = {"default": str(toy_pipeline())}
    with serving(tmp_path, pipelines=toy, web={"upload_bytes": 4 * MIB}) as address:
        yield address


def drop_all(page: Any, files: dict[str, tuple[bytes, int]]) -> None:
    """Files at once: name -> content, and how many zeros stand behind it."""
    page.wait_for_selector("#sample")
    page.evaluate(DROP, [[n, base64.b64encode(d).decode(), more] for n, (d, more) in files.items()])


@pytest.mark.parametrize("large", [5 * MIB, 24 * MIB])
def test_a_file_that_is_too_large_keeps_none_beside_it_out(visit: Open, large: int) -> None:
    """What a request may have is limited: its files are sent one by one, and the one that is too
    large alone is refused, by name."""
    page = visit("anna")
    files = {f"{n}.dcm": (radiograph_file(f"1.2.3.{n}"), 0) for n in (1, 2)}
    drop_all(page, {"large.dcm": (b"", large)} | files)
    page.wait_for_selector("text=2 images received")
    refused = page.locator(".refused-files").inner_text()
    assert "1 file not taken" in refused
    assert "large.dcm: a request may have 4 MiB" in refused


def test_a_sending_that_is_stopped_says_of_every_file_what_became_of_it(visit: Open) -> None:
    page = visit("anna")
    held: list[Any] = []
    page.route("**/api/v1/images", lambda route: held.append(route))
    files = {f"{n}.dcm": (radiograph_file(f"1.2.3.{n}"), 0) for n in range(45)}
    drop_all(page, files)
    page.wait_for_selector("text=0 of 45 files sent")
    while not held:
        page.wait_for_timeout(50)
    held.pop(0).continue_()  # 20 of them are taken
    page.wait_for_selector("text=20 of 45 files sent")
    page.click("#stop-sending")
    page.wait_for_selector("text=20 images received")
    refused = page.locator(".refused-files")
    assert "25 files not taken" in refused.inner_text()
    assert "Stopped here. Send it again if it is not in the worklist." in refused.inner_text()
    page.unroute("**/api/v1/images")
    drop_all(page, files)  # all of them again: none twice
    page.wait_for_selector("text=45 images received, 20 of them it held already.")
    assert refused.inner_text() == ""


def test_a_study_of_two_patients_is_told_before_either_is_read(visit: Open, service: str) -> None:
    page = visit("anna")
    for patient in ("P1", "P2"):
        drop(
            page, radiograph_file(f"1.2.3.{patient[1]}", StudyInstanceUID="1.9", PatientID=patient)
        )
        page.wait_for_selector(f".view-head:has-text('{patient}')")
        page.wait_for_selector(".finding")
    warning = page.locator(".view-head [role=alert]")
    assert "Another image of its study has another PatientID" in warning.inner_text()
    page.click("[data-image]:has-text('P1')")  # of the first one, too
    page.wait_for_selector(".view-head h2:has-text('P1')")
    assert "find out which before either is read" in warning.inner_text()


def test_every_file_of_a_result_is_downloaded_also_where_the_service_asks_to_wait(
    visit: Open, service: str
) -> None:
    page, tries = visit("anna"), 0

    def ask_to_wait(route: Any) -> None:
        nonlocal tries
        tries += 1
        problem = {"title": "Later", "status": 503, "detail": "too much at once"}
        if tries > 1:
            route.continue_()
        else:
            route.fulfill(status=503, json=problem, headers={"Retry-After": "60"})

    drop(page, radiograph_file())
    page.wait_for_selector(".finding")
    id = page.url.rsplit("/", 1)[1]
    page.route("**/files/**", ask_to_wait)
    begins = {"json": b"{", "png": b"\x89PNG", "sr": b"", "seg": b""}
    for kind, mark in begins.items():
        with page.expect_download() as download:
            page.click(f"#download-{kind}")
            if kind == "json":
                page.wait_for_selector("text=The service asks to wait: too much at once.")
                page.click("#ask-now")
        ending = kind if mark else f"{kind}.dcm"
        assert download.value.suggested_filename == f"{id[:12]}-default.{ending}"
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(mark) if mark else content[128:132] == b"DICM"
        if kind == "json":
            assert json.loads(content) == answer(service, id)["results"]["default"]
    page.unroute("**/files/**")
    page.route(
        "**/files/**", lambda route: route.fulfill(status=404, json={"detail": "it is gone"})
    )
    page.click("#download-sr")
    page.wait_for_selector("text=It was not downloaded. It is gone")
