"""A worklist of a department: hundreds of images that change while somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hilum.serve.records import Records
from hilum.serve.tables import PRIORITIES, Image

pytestmark = pytest.mark.slow
Open = Callable[..., Any]
COUNT, PER_PAGE = 120, 50
SCROLLED = "document.querySelector('.images').scrollTop"


@contextmanager
def records_of(folder: Path) -> Iterator[Records]:
    """Those of the service that runs in a folder."""
    records = Records(f"sqlite:///{folder / 'hilum.sqlite'}")
    try:
        yield records
    finally:
        records.close()


def name(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
def page(visit: Open, service: str, tmp_path: Path) -> Any:
    """The page with analysed images: the higher its number the newer one is and the lower its
    score, and each tenth is urgent."""
    with records_of(tmp_path) as records, records.write() as session:
        for number in range(COUNT):
            priority = PRIORITIES["stat" if number % 10 == 0 else "routine"]
            known = {"content": "0" * 64, "bytes": 1, "state": "analysed", "origin": "c-store"}
            score, when = 1 - number / COUNT, 1e9 + number
            session.add(
                Image(
                    **known,
                    id=name(number),
                    received=when,
                    priority=priority,
                    score=score,
                    finding=score > 0.5,
                    patient_name=f"Patient^{number:03d}",
                )
            )
    page = visit()
    page.wait_for_selector(".image")
    return page


def comes_to_list(page: Any, numbers: list[int]) -> None:
    """The list begins with these images; soon, for it is read anew."""
    script, seen = "(rows) => rows.map((row) => row.dataset.image)", []
    for _ in range(100):
        ids = page.locator(".image").evaluate_all(script)
        seen = [int(id, 16) for id in ids][: len(numbers)]
        if seen == numbers:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the list begins with {seen}; needed: {numbers}")


def changed(folder: Path, number: int) -> None:
    """Something new about an image, which every page is told."""
    with records_of(folder) as records, records.write() as session:
        session.get_one(Image, name(number)).score = 0.123
        records.say(session, name(number), "analysed", "changed by a test")


def test_the_list_is_paged_sorted_and_filtered_over_all_its_images(page: Any) -> None:
    newest = list(range(COUNT))[::-1]
    comes_to_list(page, newest[:PER_PAGE])
    assert "1–50 of 120" in page.locator(".pager").inner_text()
    page.click("#page-next")
    comes_to_list(page, newest[PER_PAGE : 2 * PER_PAGE])
    assert "51–100 of 120" in page.locator(".pager").inner_text()
    page.select_option("#sort", "score")
    comes_to_list(page, list(range(PER_PAGE)))  # another order begins at its beginning
    page.select_option("#sort", "priority")
    comes_to_list(page, newest[9::10])


def test_a_search_from_a_later_page_shows_what_it_finds(page: Any) -> None:
    page.click("#page-next")
    page.wait_for_selector("text=51–100 of 120")
    page.fill("#search", "003")
    page.wait_for_selector("text=/^1 image$/")
    comes_to_list(page, [3])


def test_a_reload_shows_the_list_in_the_same_order(page: Any) -> None:
    page.select_option("#sort", "score")
    comes_to_list(page, [0, 1, 2])
    page.reload()
    comes_to_list(page, [0, 1, 2])


def test_a_change_leaves_the_place_and_the_focus_of_who_reads_the_list(
    page: Any, tmp_path: Path
) -> None:
    page.click(f"[data-image='{name(COUNT - 1)}']")  # the chosen one is at the top
    page.wait_for_selector(f"[data-image='{name(COUNT - 1)}'][aria-current=true]")
    page.locator(f"[data-image='{name(COUNT - 40)}']").focus()
    before = page.evaluate(SCROLLED)
    assert before > 0
    changed(tmp_path, COUNT - 39)
    page.wait_for_selector("text=score 0.12")
    assert page.evaluate(SCROLLED) == before
    assert page.evaluate("document.activeElement.dataset.image") == name(COUNT - 40)


def test_a_stream_of_changes_does_not_put_off_the_list(page: Any, tmp_path: Path) -> None:
    """Forty images that come in one after the other are seen while they come."""
    with records_of(tmp_path) as records:
        for _ in range(40):
            with records.write() as session:
                session.get_one(Image, name(COUNT - 1)).score = 0.123
                records.say(session, name(COUNT - 2), "analysed", "changed by a test")
            page.wait_for_timeout(100)
            if page.locator("text=score 0.12").count():
                return
    raise AssertionError("the list was not read again while changes came")


def test_the_keys_go_on_to_the_next_page_and_say_where_the_list_ends(page: Any) -> None:
    page.keyboard.press("k")
    page.wait_for_url(f"**/image/{name(COUNT - 1)}")
    page.keyboard.press("k")
    page.wait_for_selector("text=This is the first image of the list")
    page.click("#page-next")
    page.wait_for_selector("text=51–100 of 120")
    page.click(f"[data-image='{name(COUNT - 100)}']")
    page.wait_for_selector(f"[data-image='{name(COUNT - 100)}'][aria-current=true]")
    page.keyboard.press("j")
    page.wait_for_url(f"**/image/{name(COUNT - 101)}")
    assert "101–120 of 120" in page.locator(".pager").inner_text()
    current = page.locator("[aria-current=true]")
    assert current.get_attribute("data-image") == name(COUNT - 101)
