"""A page that stays open: others speak, the session ends, the service asks to wait, is away or
starts anew, a failed image is tried again, a prior is compared."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid

from helpers.live import PASSWORD, serving
from helpers.page import answer, drop, dropped
from helpers.service import toy_pipeline

pytestmark = pytest.mark.slow
Open = Callable[..., Any]


def test_what_is_typed_stays_while_another_reader_speaks(visit: Open, rg1: bytes) -> None:
    anna = visit("anna")
    id = dropped(anna, rg1)
    anna.locator("#comment").press_sequentially("the left lower")
    ben = visit("ben", f"#/image/{id}")
    ben.locator("[id^=accept-]").first.click()
    anna.wait_for_selector("text=/accepted by ben, .+/")
    anna.keyboard.type(" field")  # the focus is where it was
    assert anna.locator("#comment").input_value() == "the left lower field"


def test_a_session_that_has_ended_is_begun_anew_over_the_page(
    visit: Open, service: str, rg1: bytes
) -> None:
    page = visit("anna")
    id = dropped(page, rg1)
    page.fill("#comment", "seen before")
    page.context.clear_cookies()
    page.locator("text=Save the comment").evaluate("button => button.click()")
    page.wait_for_selector("dialog.again[open] >> text=Your session has ended")
    page.keyboard.press("Escape")  # no way around it
    page.fill("dialog #name", "anna")
    page.fill("dialog #password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector(".said >> text=seen before")  # what was asked goes on
    (entry,) = answer(service, id)["feedback"]
    assert (entry["by"], entry["comment"]) == ("anna", "seen before")


def test_another_user_sees_nothing_of_what_was_open(visit: Open, rg1: bytes) -> None:
    page = visit("anna")
    dropped(page, rg1)
    page.fill("#comment", "for anna alone")
    page.context.clear_cookies()
    # By script: the page may have asked for something, and so for a name, by itself before.
    page.locator("text=Save the comment").evaluate("button => button.click()")
    page.fill("dialog #name", "ben")
    page.fill("dialog #password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector(".user:has-text('ben')")
    assert page.locator("#comment").input_value() == ""
    assert page.locator("text=for anna alone").count() == 0


@pytest.mark.parametrize("answer", ["none", "503"])
def test_a_broken_line_is_told_and_taken_up_again(visit: Open, answer: str) -> None:
    page = visit("anna")
    page.wait_for_selector("#sample")
    away = {"none": lambda route: route.abort(), "503": lambda route: route.fulfill(status=503)}
    page.route("**/api/v1/events", away[answer])
    page.reload()
    page.wait_for_selector("text=What is shown may be old")
    page.unroute("**/api/v1/events")
    page.wait_for_selector(".away", state="hidden")


def test_a_key_judges_no_finding_that_nobody_chose(visit: Open, service: str, rg1: bytes) -> None:
    page = visit("anna")
    id = dropped(page, rg1)
    page.keyboard.press("x")
    page.wait_for_selector(".finding.chosen")
    assert answer(service, id)["feedback"] == []
    page.keyboard.press("x")
    page.wait_for_selector("text=/rejected by anna, .+/")


def test_a_key_that_can_do_nothing_says_why(visit: Open, rg1: bytes) -> None:
    page = visit("anna")
    dropped(page, rg1)
    page.keyboard.press("s")
    page.wait_for_selector("text=No earlier image of this patient is held")
    page.keyboard.press("u")
    page.wait_for_selector("text=No reader has drawn here")


def study(data: bytes, date: str) -> bytes:
    """The same patient on another day."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.PatientID, dataset.StudyDate = "P1", date
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, generate_uid(entropy_srcs=[keyword, date]))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def test_the_prior_stands_beside_with_the_same_marks_and_threshold(visit: Open, rg1: bytes) -> None:
    page = visit("anna")
    dropped(page, study(rg1, "20240311"))
    dropped(page, study(rg1, "20260401"))
    page.wait_for_selector("text=2026-04-01")
    page.keyboard.press("s")
    now, then = page.locator(".pane").nth(0), page.locator(".pane").nth(1)
    then.locator("[data-finding]").first.wait_for()
    assert "This image, 2026-04-01" in now.inner_text()
    assert "Prior, 2024-03-11" in then.inner_text()
    count = now.locator("[data-finding]").count()
    assert then.locator("[data-finding]").count() == count > 0
    page.keyboard.press("b")
    assert page.locator("[data-finding].box").count() == 0
    page.keyboard.press("b")
    assert page.locator("[data-finding].box").count() == 2 * count
    page.locator("#threshold").fill("0.99")
    assert page.locator("[data-finding].box").count() == 0
    page.keyboard.press("s")
    assert page.locator(".pane").count() == 1
    assert "This image" not in now.inner_text()


@pytest.mark.parametrize("status", [429, 503])
def test_a_reader_who_is_told_to_wait_loses_nothing(
    visit: Open, service: str, rg1: bytes, status: int
) -> None:
    page, told = visit("anna"), [0, 0]

    def ask_to_wait(which: int) -> Any:
        def answer(route: Any) -> None:
            told[which] += 1
            if route.request.method == "GET" or told[which] > 2:
                return route.continue_()
            problem = {"title": "Later", "status": status, "detail": "too much at once"}
            route.fulfill(status=status, json=problem, headers={"Retry-After": "1"})

        return answer

    page.route("**/api/v1/images", ask_to_wait(0))
    page.route("**/feedback", ask_to_wait(1))
    drop(page, rg1)
    page.wait_for_selector("text=The service asks to wait: too much at once.")
    drop(page, b"%PDF-1.4", "letter.pdf")  # its turn comes
    page.wait_for_selector(".finding")
    page.wait_for_selector(".refused-files:has-text('letter.pdf')")
    page.wait_for_selector(".away", state="hidden")
    page.fill("#comment", "seen")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 thing that you sent is kept here and sent again")
    page.click("#ask-now")
    page.wait_for_selector(".said >> text=seen")
    id = str(page.url.rsplit("/", 1)[1])
    assert [one["comment"] for one in answer(service, id)["feedback"]] == ["seen"]
    assert page.locator("#comment").input_value() == ""
    assert told[0] == 4


def test_a_service_that_is_started_anew_finds_the_page_as_it_was(
    browser: Any, tmp_path: Path, rg1: bytes
) -> None:
    """What is typed stays, and a file that is dropped meanwhile is sent when it is there."""
    toy = {"default": str(toy_pipeline())}
    with serving(tmp_path, pipelines=toy) as service:
        page = opened(browser, service)
        first = dropped(page, rg1)
        page.fill("#comment", "half of a")
    page.wait_for_selector("text=The service does not answer")
    drop(page, study(rg1, "20260401"))
    page.wait_for_selector("text=1 thing that you sent is kept here and sent again")
    with serving(tmp_path, int(service.rsplit(":")[-1].strip("/")), pipelines=toy):
        page.wait_for_url(lambda url: not url.endswith(first))
        page.wait_for_selector(".finding")
        page.wait_for_selector(".away", state="hidden")
        assert "2026-04-01" in page.locator(".view-head").inner_text()
        page.click(f"[data-image='{first}']")
        page.wait_for_selector(f"[data-image='{first}'][aria-current=true]")
        assert page.locator("#comment").input_value() == "half of a"
        page.context.close()


def test_a_failed_image_is_tried_again_by_a_key_and_its_result_comes_in(
    browser: Any, tmp_path: Path, rg1: bytes
) -> None:
    pipeline = toy_pipeline()
    there = tmp_path / "models"  # is not, at first
    with serving(tmp_path, pipelines={"default": str(there / pipeline.name)}) as service:
        page = opened(browser, service)
        drop(page, rg1)
        page.wait_for_selector("text=Failed: this image was not analysed")
        page.keyboard.press("t")
        page.wait_for_selector("text=It is analysed again")
        page.wait_for_selector("#retry")  # failed anew
        there.symlink_to(pipeline.parent)
        page.keyboard.press("t")
        page.wait_for_selector(".finding")
        page.wait_for_selector(".stage[data-ready]")
        page.keyboard.press("t")
        page.wait_for_selector("text=There is nothing here that could be tried again")
        page.context.close()


def opened(browser: Any, service: str) -> Any:
    """The page as Anna sees it, where a test starts and ends the service itself."""
    context = browser.new_context()
    account = {"name": "anna", "password": PASSWORD}
    assert context.request.post(f"{service}api/v1/session", data=account).ok
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(service)
    return page
