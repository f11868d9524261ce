"""Several texts of one pipeline on one image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.toy import write_classifier, write_segmenter, write_text
from hilum.core.errors import InputRefused
from hilum.dicom.stored import StoredImage, open_stored
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.inference.predictor import Predictor
from hilum.inference.variants import Variants

TEXT = (
    "models:\n"
    "  seg: {bundle: seg.zip, when: {score: cls.opacity, at: 0.4}}\n"
    "  cls: {bundle: cls.zip}\n"
    "masks: {opacity: [{use: map, of: seg}, threshold]}\nboxes: []\n"
    "gates: [{use: minimum-size, pixels: 64}]\nscores: [{use: scores, of: cls}]\n"
)
CHANGES: tuple[list[str], ...] = (
    [],
    ["masks.opacity.1.at=0.9"],  # of a stage that the text only names
    ["masks.opacity.2={use: remove-small, pixels: 500, at: 128}"],
    ["models.seg.when.at=0.6"],  # the classifier says .5
    ["models.seg.views=[plain, flip]"],
)


def _texts(folder: Path) -> list[Pipeline]:
    write_segmenter(folder / "seg.zip")
    write_classifier(folder / "cls.zip", 0.5)
    path = write_text(folder / "p.yaml", TEXT)
    return [Pipeline.load(path, change) for change in CHANGES]


def _image(side: int = 128) -> StoredImage:
    pixels = np.zeros((side, side), np.uint8)
    pixels[20:50, 20:50] = 255
    pixels[:12, -12:] = 180
    return open_stored(("a.png", bytes(cv2.imencode(".png", pixels)[1])))


def test_each_text_says_what_it_says_alone(tmp_path: Path) -> None:
    texts = _texts(tmp_path)
    together = [one.masks["opacity"] for one in Variants(texts)(_image())]
    for text, mask in zip(texts, together, strict=True):
        np.testing.assert_array_equal(mask, LoadedPipeline(text)(_image()).masks["opacity"])
    areas = [int(mask.sum()) for mask in together]
    assert areas[3] == 0  # nobody was asked
    assert 0 < areas[1] < areas[0]
    assert 0 < areas[2] < areas[0]


def test_a_network_answers_an_image_once_and_the_next_image_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    ask = Predictor.__call__

    def counted(self: Predictor, radiograph: object) -> object:
        asked.append(self.bundle.name)
        return ask(self, radiograph)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "__call__", counted)
    variants = Variants(_texts(tmp_path))
    first = [one.masks["opacity"] for one in variants(_image())]
    # The text with two views is another network: it looks twice.
    assert sorted(asked) == ["cls", "seg", "seg", "seg"]
    second = [one.masks["opacity"] for one in variants(_image(256))]
    assert len(asked) == 8
    assert [m.shape for m in second] == [(256, 256)] * len(first)


def test_the_gates_of_the_text_refuse_once_for_all(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="64"):
        next(iter(Variants(_texts(tmp_path))(_image(40))))
