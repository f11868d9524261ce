"""What a reader sees and does: dropped files, marks at the right pixels, feedback, refusals."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest

from helpers.live import PASSWORD
from helpers.page import answer, drop, dropped
from hilum.dicom.stored import open_stored

pytestmark = pytest.mark.slow
Open = Callable[..., Any]


def with_spacing(data: bytes, row: float, column: float) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.PixelSpacing = [row, column]
    dataset.SOPInstanceUID += ".1"  # another object: the same UID with other bytes is a conflict
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


# What has changed the size of the image is drawn with the next frame, which a busy machine delays;
# the second one begins when it is.
FRAMES = "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"


def fitted(page: Any, width: float, height: float) -> tuple[float, float, float]:
    """Where an image that is shown whole begins on the screen, and its scale."""
    page.evaluate(FRAMES)
    stage = page.locator(".stage").bounding_box()
    scale = min(stage["width"] / width, stage["height"] / height)
    left = stage["x"] + (stage["width"] - scale * width) / 2
    return left, stage["y"] + (stage["height"] - scale * height) / 2, scale


def rectangle(page: Any, selector: str) -> Any:
    """x, y, width, height on the screen; found and measured in one step, as every movement of the
    image draws its marks anew."""
    page.evaluate(FRAMES)
    script = """(selector) => {
        const b = document.querySelector(selector).getBoundingClientRect();
        return [b.x, b.y, b.width, b.height];
    }"""
    return page.evaluate(script, selector)


def comes_to_lie(
    page: Any, selector: str, box: tuple[float, ...], shape: tuple[float, float]
) -> None:
    """A mark lies at a box (x, y, width, height) of an image; soon, for a panel that comes in
    late moves both.

    Raises:
        AssertionError: it does not; where it is, and where it should be.
    """
    for _ in range(50):
        left, top, scale = fitted(page, *shape)
        x, y, width, height = (scale * side for side in box)
        seen, right = rectangle(page, selector), [left + x, top + y, width, height]
        if seen == pytest.approx(right, abs=1.5):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{selector} is at {seen}; needed: {right} (x, y, width, height)")


def marks_lie_at(page: Any, image: Any, aspect: float = 1.0) -> None:
    """All boxes of an image's result stand at its pixels."""
    assert page.locator(".marks [data-finding]").count() == len(image["findings"]) > 0
    shape = image["width"], image["height"] * aspect
    for finding in image["findings"]:
        x1, y1, x2, y2 = finding["box_px"]
        box = x1, aspect * y1, x2 - x1, aspect * (y2 - y1)
        comes_to_lie(page, f".marks [data-finding='{finding['id']}']", box, shape)


@pytest.mark.parametrize("aspect", [1.0, 1.5])
def test_boxes_stand_at_the_pixels_of_the_json(
    visit: Open, service: str, rg1: bytes, aspect: float
) -> None:
    page = visit()
    id = dropped(page, rg1 if aspect == 1 else with_spacing(rg1, 0.2 * aspect, 0.2))
    image = answer(service, id)["results"]["default"]["images"][0]
    marks_lie_at(page, image, aspect)
    for finding in image["findings"]:
        x1, y1, x2, y2 = finding["box_px"]
        card = page.locator(f".finding[data-finding='{finding['id']}']").inner_text()
        assert f"x {round(x1)}–{round(x2)}, y {round(y1)}–{round(y2)} px" in card


def test_boxes_stand_right_however_the_window_changed_before_and_after_the_pixels_came(
    visit: Open, service: str, rg1: bytes
) -> None:
    page, held = visit(), []
    page.route("**/pixels", lambda route: held.append(route))
    drop(page, rg1)
    page.wait_for_selector(".finding")
    assert page.locator(".stage[data-ready]").count() == 0
    change_window(page, 1000, 620)
    (route,) = held
    route.continue_()
    page.wait_for_selector(".stage[data-ready]")
    id = str(page.url.rsplit("/", 1)[1])
    image = answer(service, id)["results"]["default"]["images"][0]
    marks_lie_at(page, image)
    change_window(page, 1300, 800)
    marks_lie_at(page, image)


def change_window(page: Any, width: int, height: int) -> None:
    """Another size, laid out and seen by who watches for it."""
    page.set_viewport_size({"width": width, "height": height})
    two_frames = "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
    page.evaluate(two_frames)


def test_nobody_sees_anything_before_the_log_in(visit: Open, rg1: bytes) -> None:
    page = visit(user="")
    page.wait_for_selector("input[type=password]")
    assert page.locator("#sample").count() == 0
    page.locator("input:not([type=password])").first.fill("ben")
    page.fill("input[type=password]", PASSWORD)
    page.keyboard.press("Enter")
    dropped(page, rg1)
    assert "ben" in page.locator("body").inner_text()


def test_the_log_in_form_leads_to_the_provider_where_there_is_one(visit: Open) -> None:
    page = visit(user="")
    page.wait_for_selector("input[type=password]")
    assert page.locator("a[href$=oidc]").count() == 0
    known = {"password": True, "provider": "login.example"}
    page.route("**/session/ways", lambda route: route.fulfill(json=known))
    page.reload()
    page.wait_for_selector("a[href$=oidc]:has-text('Log in at login.example')")


def test_monochrome1_is_shown_air_dark_and_whole(visit: Open, rg1: bytes) -> None:
    page = visit()
    dropped(page, rg1)
    for key in "bo":
        page.keyboard.press(key)
    page.wait_for_timeout(500)
    shot = page.locator(".stage").screenshot()
    seen = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_GRAYSCALE)
    pixels = open_stored(("rg1", rg1)).radiograph().pixels
    low, high = np.percentile(pixels, (0.5, 99.5))
    windowed = np.clip((pixels - low) / (high - low), 0, 1) * 255
    height, width = seen.shape
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    size = round(scale * pixels.shape[1]), round(scale * pixels.shape[0])
    expected = cv2.resize(windowed, size, interpolation=cv2.INTER_AREA)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    part = seen[y : y + size[1] - 40, x : x + size[0]]  # without the line of numbers
    difference = np.abs(part.astype(float) - expected[: part.shape[0]])
    assert np.median(difference) < 4
    assert "MONOCHROME1" in page.locator(".view-head").inner_text()


def test_millimetres_are_shown_only_where_the_spacing_is_known(visit: Open, rg1: bytes) -> None:
    page = visit()
    dropped(page, rg1)
    assert "pixel spacing unknown" in page.locator(".view-head").inner_text()
    assert " mm" not in page.locator(".finding").first.inner_text()
    other = visit()
    dropped(other, with_spacing(rg1, 0.2, 0.2))
    assert "0.200 mm per px" in other.locator(".view-head").inner_text()
    assert " mm by the stored spacing" in other.locator(".finding").first.inner_text()


def test_the_slider_hides_boxes_and_never_says_normal(visit: Open, rg1: bytes) -> None:
    page = visit()
    dropped(page, rg1)
    assert "Operating point “default”" in page.locator(".meaning").inner_text()
    page.locator("#threshold").fill("0.99")
    assert page.locator(".marks [data-finding]").count() == 0
    words = page.locator(".panel").inner_text()
    assert (
        "No box at or above 0.99; outlined: Lung opacity" in words
    )  # the outlines are still there
    assert "This does not rule out disease" in words
    assert "normal" not in page.locator("body").inner_text().lower()
    page.click("text=Back to the operating point")
    assert page.locator(".marks [data-finding]").count() > 0


def test_window_zoom_invert_and_reset_change_the_picture_and_take_it_back(
    visit: Open, rg1: bytes
) -> None:
    page = visit()
    dropped(page, rg1)
    stage = page.locator(".stage")

    def picture() -> bytes:  # once it stands still
        last = b""
        while (now := bytes(stage.screenshot())) != last:
            last = now
            page.wait_for_timeout(500)
        return last

    stage.focus()
    page.keyboard.press("r")  # the focus of the keyboard is seen, and part of the picture
    first = picture()
    for keys in (["i"], ["+", "+"], ["Shift+ArrowRight"] * 3, ["ArrowLeft"]):
        for key in keys:
            page.keyboard.press(key)
        assert picture() != first
        page.keyboard.press("r")
        assert picture() == first


def test_the_heat_map_lies_on_the_image_and_says_what_it_is_not(visit: Open, rg1: bytes) -> None:
    page, errors = visit(), list[str]()
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    id = dropped(page, rg1)
    page.keyboard.press("h")
    page.wait_for_selector("text=The heat map is being made")
    page.wait_for_selector(".heat:not([hidden])")
    words = page.locator(".heat-legend").inner_text()
    assert "not where a disease is" in words
    assert "Lung opacity" in words
    heat = page.request.get(f"{page.url.partition('#')[0]}api/v1/images/{id}/heatmap").json()
    image = page.request.get(f"{page.url.partition('#')[0]}api/v1/images/{id}").json()
    left, top, scale = fitted(page, image["size"][1], image["size"][0])
    size = scale * image["size"][1], scale * image["size"][0]
    assert rectangle(page, ".heat") == pytest.approx([left, top, *size], abs=1.5)
    hottest = np.unravel_index(np.argmax(heat["map"]), np.shape(heat["map"]))
    alpha = "(e, [x, y]) => e.getContext('2d').getImageData(x, y, 1, 1).data[3]"
    shown = page.locator(".heat").evaluate(alpha, [int(hottest[1]), int(hottest[0])])
    assert shown == pytest.approx(255 * min(0.75, heat["strongest"] / 0.05), abs=3)
    page.keyboard.press("h")
    assert page.locator(".heat-legend").is_hidden()
    assert not errors  # that it is not there yet is no error


def test_a_verdict_is_seen_by_a_second_user_with_name_and_time(visit: Open, rg1: bytes) -> None:
    anna = visit("anna")
    id = dropped(anna, rg1)
    ben = visit("ben", f"#/image/{id}")
    ben.wait_for_selector(".finding")
    anna.locator("[id^=accept-]").first.click()
    ben.wait_for_selector("text=/accepted by anna, .+/")
    ben.locator("[id^=reject-]").first.click()
    anna.wait_for_selector("text=/rejected by ben, .+/")
    anna.wait_for_selector(".marks .rejected")


def test_a_redrawn_box_is_kept_where_it_was_drawn(visit: Open, service: str, rg1: bytes) -> None:
    page = visit("anna")
    id = dropped(page, rg1)
    size = answer(service, id)["size"]
    page.locator("[id^=redraw-]").first.click()
    left, top, scale = fitted(page, size[1], size[0])
    page.mouse.move(left + scale * 300, top + scale * 400)
    page.mouse.down()
    page.mouse.move(left + scale * 800, top + scale * 1300, steps=5)
    page.mouse.up()
    page.fill("#draw-comment", "lower edge was cut")
    page.click("text=Save the box")
    page.wait_for_selector(".marks [data-reader]")
    (entry,) = answer(service, id)["feedback"]
    assert entry["boxes"][0] == pytest.approx([300, 400, 800, 1300], abs=2 / scale)
    assert (entry["verdict"], entry["by"], entry["comment"]) == (
        "redraw",
        "anna",
        "lower edge was cut",
    )
    assert entry["finding"]


def test_a_box_is_drawn_by_keyboard_alone(visit: Open, service: str, rg1: bytes) -> None:
    page = visit("anna")
    id = dropped(page, rg1)
    page.keyboard.press("d")
    for edge, value in {"left": 10, "top": 20, "right": 110, "bottom": 220}.items():
        page.locator(f"[data-edge={edge}]").fill(str(value))
    page.keyboard.press("Enter")
    page.wait_for_selector(".marks [data-reader]")
    (entry,) = answer(service, id)["feedback"]
    assert (entry["boxes"], entry["finding"]) == ([[10, 20, 110, 220]], None)


def test_a_refused_image_says_why_and_what_to_do(visit: Open) -> None:
    page = visit()
    slice_ = Path(str(pydicom.data.get_testdata_file("CT_small.dcm"))).read_bytes()
    drop(page, slice_)
    page.wait_for_selector(".not-analysed")
    words = page.locator(".panel").inner_text()
    assert "Refused: this image was not analysed" in words
    assert "CT slice" in words
    assert "What to do." in words
    drop(page, b"%PDF-1.4", "letter.pdf")
    page.wait_for_selector("text=1 file not taken")
    assert "letter.pdf" in page.locator(".refused-files").inner_text()


def test_text_of_a_file_is_never_markup(visit: Open, rg1: bytes) -> None:
    dataset = pydicom.dcmread(io.BytesIO(rg1))
    dataset.PatientName = "<img src=x onerror=alert(1)>"
    out = io.BytesIO()
    dataset.save_as(out)
    page = visit()
    dropped(page, out.getvalue())
    assert page.locator("img[src=x]").count() == 0
    # "=" parts the groups of a name.
    assert "<img src · x onerror · alert(1)>" in page.locator(".view-head").inner_text()


def test_the_words_of_boxes_do_not_lie_on_each_other(visit: Open, rg1: bytes) -> None:
    """Of findings that begin at one place, or end beyond the picture."""

    def several(route: Any) -> None:
        image = route.fetch().json()
        for result in image["results"].values():
            first = result["images"][0]["findings"][0]
            x1, y1, x2, y2 = first["box_px"]
            result["images"][0]["findings"] = [
                first | {"id": str(n), "box_px": [x1 + 30 * n, y1, x2, y2]} for n in range(4)
            ]
        route.fulfill(json=image)

    page = visit()
    page.route("**/api/v1/images/*", several)
    dropped(page, rg1)
    page.wait_for_selector(".marks text >> nth=3")
    script = """texts => texts.map((t) => t.getBoundingClientRect())
        .map((b) => [b.left, b.top + 3, b.right, b.bottom - 3])"""
    places = page.locator(".marks text").evaluate_all(script)
    for number, (left, top, right, bottom) in enumerate(places):
        for x1, y1, x2, y2 in places[:number]:
            assert x1 >= right or x2 <= left or y1 >= bottom or y2 <= top


def test_nothing_is_wider_than_a_telephone(visit: Open, rg1: bytes) -> None:
    dataset = pydicom.dcmread(io.BytesIO(rg1))
    dataset.PatientName, dataset.SpecificCharacterSet = "A" * 50 + "^Tarou=山田^太郎", "ISO_IR 192"
    out = io.BytesIO()
    dataset.save_as(out)
    page = visit("anna", width=390)
    dropped(page, out.getvalue())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.click(".back")
    row = page.locator(".image.analysed").first  # asked for anew whenever the list is drawn anew
    row.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert "A Tarou · 山田 太郎" in row.inner_text()
    answer = row.locator(".answer")
    answer.wait_for()
    assert answer.bounding_box()["width"] < row.bounding_box()["width"]


def test_an_administrator_sees_users_and_rules_and_verifies_the_trail(visit: Open) -> None:
    page = visit("carla", "#/admin", width=390)
    page.click("#verify")
    page.wait_for_selector("text=/[0-9]+ entr(y|ies), whole. Note this end/")
    words = page.locator(".admin").inner_text()
    assert "Everything else → analysed by default; sent nowhere" in words
    assert "anna reader" in words
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.click(".admin .back")
    page.wait_for_selector("#sample")


def test_a_reader_is_shown_no_administration(visit: Open) -> None:
    page = visit("anna", "#/admin")
    page.wait_for_selector(".welcome")
    assert page.locator("#admin, .admin").count() == 0


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_violation_in_any_state(visit: Open, rg1: bytes, width: int) -> None:
    package = pytest.importorskip("axe_playwright_python", reason="pip install hilum[dev]")
    axe = (Path(str(package.__file__)).parent / "axe.min.js").read_text("utf-8")
    page = visit("", width=width, bypass_csp=True)
    page.wait_for_selector("#password")
    _no_violation(page, axe)
    page.fill("#name", "carla")
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector(".empty")
    _no_violation(page, axe)
    page.click("#admin")
    page.wait_for_selector("#verify")
    _no_violation(page, axe)
    page.click(".brand")
    drop(page, Path(str(pydicom.data.get_testdata_file("CT_small.dcm"))).read_bytes())
    page.wait_for_selector(".not-analysed")
    _no_violation(page, axe)
    page.click(".brand")
    dropped(page, rg1)
    page.locator("[id^=accept-]").first.click()
    page.wait_for_selector(".finding .verdict")
    page.locator("[id^=redraw-]").first.click()
    _no_violation(page, axe)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    _no_violation(page, axe)
    page.keyboard.press("Escape")
    page.route("**/api/v1/sample", lambda route: route.fulfill(status=503))
    page.locator("#sample").evaluate("button => button.click()")  # behind the image, on a telephone

    page.wait_for_selector(".away:not([hidden])")
    page.context.clear_cookies()
    page.locator("[id^=accept-]").first.click()
    page.wait_for_selector("dialog.again[open]")
    _no_violation(page, axe)


def _no_violation(page: Any, axe: str) -> None:
    page.wait_for_timeout(300)
    page.evaluate(axe)
    found = page.evaluate("axe.run().then((result) => result.violations)")
    assert not [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found]
