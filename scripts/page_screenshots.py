"""The pictures of docs/page.md: a service with its users, images and destinations, looked at in
Debian's Chromium.

    PYTHONPATH=tests python scripts/page_screenshots.py docs/images/page [SCENE ...]

Shows the sample radiograph (pydicom-data, MIT) under made-up names, phantoms, and a CT slice of
pydicom. A scene is a function below; its picture has its name.
"""

from __future__ import annotations

import io
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from playwright.sync_api import Page, sync_playwright
from pydicom.uid import generate_uid

from helpers.live import PASSWORD, serving
from helpers.page import drop
from hilum.core.extras import require
from hilum.data.phantom.phantom import phantom, write_dicom
from hilum.serve.records import Records
from hilum.serve.tables import Delivery

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
QUALITY = 82
SCENES: dict[str, Callable[[Visit], Page]] = {}


class Visit:
    """A service with images of several kinds, and its page as a user sees it."""

    def __init__(self, folder: Path, browser: Any, address: str) -> None:
        self.folder, self.browser, self.address = folder, browser, address
        page = self.page("ben")
        self.ids = {name: self._sent(page, name) for name in CONTENTS}
        page.context.close()
        with Records(f"sqlite:///{folder / 'hilum.sqlite'}").write() as session:
            for one in session.query(Delivery).filter_by(image=self.ids["prior"]):
                one.state, one.reason = "dead", "the archive answers 507: out of storage"

    def _sent(self, page: Page, name: str) -> str:
        """The id of an image once its work has come to an end."""
        drop(page, CONTENTS[name](), f"{name}.dcm")
        page.wait_for_selector(".finding, .not-analysed, .statement.none")
        page.wait_for_selector(".stage[data-ready], .says .quiet")
        id = page.url.rsplit("/", 1)[1]
        page.goto(f"{self.address}#/")
        page.wait_for_selector(".welcome")
        return str(id)

    def page(
        self, user: str = "anna", image: str = "", *, width: int = 1440, height: int = 900
    ) -> Page:
        """The page, at one of the images."""
        context = self.browser.new_context(viewport={"width": width, "height": height})
        page: Page = context.new_page()
        page.set_default_timeout(180_000)
        account = {"name": user, "password": PASSWORD}
        assert context.request.post(f"{self.address}api/v1/session", data=account).ok
        page.goto(f"{self.address}#/image/{self.ids[image]}" if image else self.address)
        if image:
            page.wait_for_selector(".finding, .not-analysed, .statement.none")
            page.wait_for_selector(".stage[data-ready], .says .quiet")
        return page


def scene(make: Callable[[Visit], Page]) -> Callable[[Visit], Page]:
    SCENES[make.__name__] = make
    return make


# --- Images -------------------------------------------------------------------------------------


def _radiograph(name: str, date: str, **elements: Any) -> bytes:
    """The sample under a made-up name, as of another day."""
    data = Path(str(require("demo").__file__)).parent / "data" / "RG1_UNCR.dcm"
    return _renamed(data.read_bytes(), name, StudyDate=date, **elements)


def _phantom(name: str, seed: int, **elements: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "phantom.dcm"
        write_dicom(phantom(seed=seed, width=1024, height=1024), path)
        return _renamed(path.read_bytes(), name, **elements)


def _ct(name: str) -> bytes:
    return _renamed(Path(str(pydicom.data.get_testdata_file("CT_small.dcm"))).read_bytes(), name)


def _renamed(data: bytes, name: str, **elements: Any) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    values = {
        "PatientName": name,
        "PatientID": name[:4].upper(),
        "SpecificCharacterSet": "ISO_IR 192",
    }
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        values[keyword] = generate_uid(entropy_srcs=[name, keyword, str(elements)])
    for keyword, value in (values | elements).items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


CONTENTS: dict[str, Callable[[], bytes]] = {
    "slice": lambda: _ct("Moreau^Luc"),
    "lateral": lambda: _phantom("Okafor^Ada", 5, StudyDescription="kept"),
    "failed": lambda: _phantom("Lindqvist^Per", 3, StudyDescription="trial", StudyDate="20260602"),
    "long": lambda: _phantom(
        "Wolfeschlegelsteinhausenbergerdorff^Hubert Blaine=山田^太郎", 8, StudyDate="20260603"
    ),
    "phantom": lambda: _phantom("Rossi^Giulia", 2, StudyDate="20260604"),
    "prior": lambda: _radiograph("Brandt^Erika", "20250311", PixelSpacing=[0.168, 0.168]),
    "now": lambda: _radiograph("Brandt^Erika", "20260605", PixelSpacing=[0.168, 0.168]),
}


# --- Scenes -------------------------------------------------------------------------------------


@scene
def redraw(visit: Visit) -> Page:
    ben = visit.page("ben", "now")
    ben.locator("[id^=reject-]").first.click()
    ben.wait_for_selector(".finding .verdict")
    ben.fill("#comment", "Left side: only the lower third.")
    ben.click("text=Save the comment")
    ben.wait_for_selector(".said >> text=lower third")
    ben.context.close()
    page = visit.page("anna", "now")
    page.keyboard.press("l")
    page.locator("[id^=redraw-]").first.click()
    _drag(page, (330, 560), (700, 1320))
    return page


@scene
def heat(visit: Visit) -> Page:
    page = visit.page("anna", "now")
    page.keyboard.press("h")
    page.wait_for_selector(".heat:not([hidden])")
    return page


@scene
def prior(visit: Visit) -> Page:
    page = visit.page("anna", "now")
    page.keyboard.press("s")
    page.wait_for_selector(".pane:nth-child(2) [data-finding]")
    return page


@scene
def refused(visit: Visit) -> Page:
    return visit.page("anna", "slice", height=640)


@scene
def away(visit: Visit) -> Page:
    """The service asks to wait while a file is sent."""
    page = visit.page("anna", "prior", height=640)
    problem = {
        "title": "Service Unavailable",
        "detail": "the store's limit of 512000 MiB is reached",
    }
    later = {"status": 503, "json": problem, "headers": {"Retry-After": "60"}}
    page.route("**/api/v1/images", lambda route: route.fulfill(**later))
    drop(page, CONTENTS["long"]())
    page.wait_for_selector(".away:not([hidden])")
    return page


@scene
def telephone(visit: Visit) -> Page:
    page = visit.page("anna", "prior", width=390, height=844)
    page.wait_for_timeout(500)
    return page


@scene
def admin(visit: Visit) -> Page:
    page = visit.page("carla", height=1000)
    page.click("#admin")
    page.wait_for_selector("#verify")
    return page


def _drag(page: Page, first: tuple[float, float], last: tuple[float, float]) -> None:
    """From one pixel of the shown image to another."""
    width, height = 1841, 1955
    box = page.locator(".stage").bounding_box()
    assert box is not None
    scale = min(box["width"] / width, box["height"] / height)
    left = box["x"] + (box["width"] - scale * width) / 2
    top = box["y"] + (box["height"] - scale * height) / 2
    page.mouse.move(left + scale * first[0], top + scale * first[1])
    page.mouse.down()
    page.mouse.move(left + scale * last[0], top + scale * last[1], steps=4)
    page.mouse.up()


# --- All of them --------------------------------------------------------------------------------


@cache
def configuration() -> dict[str, Any]:
    """Two pipelines, one of which has no bundle; destinations that nobody answers for."""
    return {
        "pipelines": {"default": "default", "trial": "/models/trial/pipeline.yaml"},
        "destinations": {
            "pacs": {"web": {"url": "https://pacs.example/dicom-web"}, "objects": ["sr", "seg"]},
            "research": {
                "web": {"url": "https://research.example/dicom-web"},
                "objects": ["source"],
                "deidentify": True,
            },
        },
        "rules": [
            {"description": "kept", "analyse": False},
            {"description": "trial", "pipelines": ["trial"]},
            {"sender": "ICU*", "destinations": ["pacs"], "priority": "stat"},
            {"destinations": ["pacs", "research"], "shadow": ["trial"]},
        ],
    }


def main() -> None:
    warnings.filterwarnings("ignore", module="pydicom")  # values of the sample
    out, chosen = Path(sys.argv[1]), sys.argv[2:] or [*SCENES]
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = stack.enter_context(serving(folder, **configuration()))
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS
        )
        visit = Visit(folder, browser, address)
        for name in chosen:
            page = SCENES[name](visit)
            page.wait_for_timeout(1000)
            shot = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
            cv2.imwrite(str(out / f"{name}.webp"), shot, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
            page.context.close()
            print(name, (out / f"{name}.webp").stat().st_size, flush=True)
        browser.close()


if __name__ == "__main__":
    main()
