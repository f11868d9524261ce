"""The drawings of architecture.md: modules are passed in the order drawn."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from helpers.named import paths
from hilum.core.errors import HilumError
from hilum.data.phantom.phantom import phantom, write_dicom

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SOURCE = f"{ROOT / 'src' / 'hilum'}/"


def drawn(title: str) -> list[str]:
    """The modules of a drawing, each where it stands first."""
    drawing = PAGE.split(f"## {title}")[1].split("```")[1]
    return list(dict.fromkeys(paths(drawing)))


def passed(work: Callable[[], object], modules: list[str]) -> list[str]:
    """Which of these modules are called, in the order of their first calls."""
    order: dict[str, None] = {}

    def called(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(SOURCE) and code.co_name[0] != "<":
            file = code.co_filename.removeprefix(SOURCE)
            order.update(dict.fromkeys(one for one in modules if _is(file, one)))

    threading.setprofile(called)
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(order)


def _is(file: str, module: str) -> bool:
    return file.startswith(module) if module.endswith("/") else file.endswith(module)


def test_a_radiograph_goes_from_file_to_findings_without_a_step_back(tmp_path: Path) -> None:
    from hilum.dicom.discover import discover
    from hilum.inference.answer import answer
    from hilum.inference.loaded import load_pipeline
    from hilum.report.results import ResultFolder
    from hilum.report.writers import parse

    write_dicom(phantom(3, 320, 280, opacities=1), tmp_path / "chest.dcm")
    loaded = load_pipeline()
    sink = "report/results.py"  # it calls the writers
    modules = [one for one in drawn("One radiograph") if one != sink]
    folder = ResultFolder(tmp_path / "out", parse("picture,mask"))

    def work() -> None:
        (item,) = discover([tmp_path / "chest.dcm"])
        result = answer(loaded, item, sink=folder)
        assert result.status == "analysed", result.reason

    lazy = (
        "inference/stages/masks.py",
        "core/findings.py",
    )  # masks are made when they are asked for
    once = [one for one in passed(work, modules) if one not in lazy]
    assert once == [one for one in modules if one in once]
    assert {"dicom/stored.py", "core/prepare.py", "inference/decode.py", "report/writers/"} <= {
        *once
    }


class _Reached(HilumError):
    """The loss is there: the drawing's end for one image."""


def test_an_image_goes_from_catalog_to_loss_without_a_step_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="training is not installed")
    from helpers.phantom_set import small, yolo_set
    from hilum.models.retinanet import RetinaNet
    from hilum.train.run import run

    real = RetinaNet.loss

    def loss(self: RetinaNet, batch: object) -> object:
        if self.training:
            raise _Reached
        return real(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(RetinaNet, "loss", loss)
    data, recipe = yolo_set(tmp_path / "set"), small("augment=light")

    def work() -> None:
        with pytest.raises(_Reached):
            run(recipe, data, tmp_path / "run")

    # Who hands the image on; the network is built, and evaluated untrained, before the first batch.
    drives = ("models/", "train/images.py", "train/loop.py", "train/evaluation.py", "train/export/")
    modules = [
        one
        for one in drawn("One image, from")
        if one.startswith(("train/", "augment/")) and one not in drives
    ]
    assert passed(work, modules) == modules
