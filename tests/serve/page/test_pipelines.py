"""The reader chooses the model: every pipeline that can be used is offered, each as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.live import serving
from helpers.page import dropped

pytestmark = pytest.mark.slow
Open = Callable[..., Any]
MASKS_ONLY = "outlines-of-opacities-and-lungs"
TEXT = """
schema: hilum.pipeline/2
name: outlines
about: Outlines without boxes.
models: {chest: {bundle: default}}
masks: {opacity: [{use: map, of: chest}, threshold]}
scores: [{use: scores, of: chest}]
"""


@pytest.fixture
def service(tmp_path: Path) -> Any:
    """Address of a service with the default, one that draws no boxes, and one without its file."""
    pytest.importorskip("uvicorn", reason='pip install "hilum[serve]"')
    text = tmp_path / "outlines.yaml"
    text.write_text(TEXT)
    named = {"default": "default", MASKS_ONLY: str(text), "lost": str(tmp_path / "lost.yaml")}
    with serving(tmp_path, pipelines=named) as address:
        yield address


def test_every_pipeline_that_can_be_used_is_offered_and_shown_as_it_is(
    visit: Open, rg1: bytes
) -> None:
    page = visit()
    page.wait_for_selector("#sample")
    offered = page.locator("#analyse-with option").all_inner_texts()
    assert offered == ["what the rules say", "default", MASKS_ONLY]
    dropped(page, rg1)
    panel = page.locator(".panel")
    assert panel.evaluate("e => e.scrollWidth <= e.clientWidth")  # whatever they are called
    assert page.locator("#threshold").is_visible()
    page.select_option("#pipeline", MASKS_ONLY)
    page.wait_for_selector("text=Outlines without boxes.")
    assert page.locator(".statement").inner_text().split("\n")[-1] == "Outlined: Lung opacity"
    assert page.locator("#threshold").count() == 0  # boxes have one
    assert page.locator("#accept-all").inner_text() == "Accept all of it"
    assert panel.evaluate("e => e.scrollWidth <= e.clientWidth")
