"""The page in Debian's Chromium, on a service of its own (helpers/live.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def rg1() -> bytes:
    """A real chest radiograph: MONOCHROME1, PixelSpacing 0\\0."""
    package = pytest.importorskip("data_store", reason="pip install pydicom-data")
    return (Path(str(package.__file__)).parent / "data" / "RG1_UNCR.dcm").read_bytes()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """Address of a service of its own."""
    pytest.importorskip("uvicorn", reason='pip install "hilum[serve]"')
    from helpers.live import serving

    with serving(tmp_path) as address:
        yield address


@pytest.fixture
def visit(browser: Any, service: str) -> Iterator[Open]:
    """`visit("anna", "#/image/ID", width=390)`: the page in a browser of its own; what goes
    wrong in it, and every request to elsewhere, fails the test."""
    contexts, wrong = [], []

    def visit(user: str = "anna", place: str = "", width: int = 1440, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        if user:
            from helpers.live import PASSWORD

            account = {"name": user, "password": PASSWORD}
            assert context.request.post(f"{service}api/v1/session", data=account).ok
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)  # a loaded machine draws slowly
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if "Content Security" in m.text else None)
        page.on("request", lambda r: r.url.startswith((service, "blob:")) or wrong.append(r.url))
        page.goto(service + place)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong
