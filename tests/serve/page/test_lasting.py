"""A page that stays open: others speak, the session ends, the line breaks, a prior is compared."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid

from helpers.live import PASSWORD
from helpers.page import answer, dropped

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
