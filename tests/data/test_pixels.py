"""A mask is what is not background, however it is stored; what cannot be told is refused."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from helpers.sets import picture, stored, text
from hilum.core.errors import DataError
from hilum.data import load
from hilum.data.check.files import file_facts
from hilum.data.check.findings import check
from hilum.data.pixels import open_mask, open_radiograph, read_mask

SET = np.zeros((64, 48), bool)
SET[10:40, 8:30] = True
ONES = SET.astype(np.uint8)


def colour(inside: tuple[int, ...], outside: tuple[int, ...]) -> Any:
    return np.where(SET[..., None], np.array(inside), np.array(outside)).astype(np.uint8)


def palette(numbers: Any, colours: list[int], **options: Any) -> Image.Image:
    image = Image.fromarray(numbers)
    image = image.convert("P") if image.mode != "P" else image
    image.putdata(numbers.ravel().tolist())
    image.putpalette(colours)
    image.info.update(options)
    return image


FORMS: dict[str, Any] = {
    "ones": ONES,
    "255": ONES * 255,
    "100": ONES * 100,
    "one bit": SET,
    "16 bits of 1": ONES.astype(np.uint16),
    "16 bits": ONES.astype(np.uint16) * 40000,
    "several labels": ONES * np.arange(1, 49, dtype=np.uint8),
    "red": colour((255, 0, 0), (0, 0, 0)),
    "dark blue": colour((0, 0, 1), (0, 0, 0)),
    "one channel": colour((0, 1, 0), (0, 0, 0)),
    "opaque": colour((1, 1, 1, 255), (0, 0, 0, 255)),
    "alpha alone": colour((0, 0, 0, 255), (0, 0, 0, 0)),
    "black on transparent white": colour((0, 0, 0, 255), (255, 255, 255, 0)),
    "red on transparent white": colour((255, 0, 0, 9), (255, 255, 255, 0)),
    "transparent all over": colour((1, 0, 0, 0), (0, 0, 0, 0)),
    "grey and alpha": colour((1, 255), (0, 255)),
    "grey alpha alone": colour((0, 255), (0, 0)),
}


def png(content: Any, form: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    image = content if isinstance(content, Image.Image) else Image.fromarray(content)
    image.save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize("form", list(FORMS))
def test_foreground_is_what_is_not_background(tmp_path: Path, form: str) -> None:
    (tmp_path / "m.png").write_bytes(png(FORMS[form]))
    np.testing.assert_array_equal(open_mask(tmp_path, "m.png", 64, 48), SET)


@pytest.mark.parametrize(
    ("numbers", "colours"),
    [
        (ONES, [0, 0, 0, 1, 1, 1]),
        (ONES, [0, 0, 0, 128, 0, 0]),
        (ONES, [0, 0, 0, 0, 0, 0]),  # nobody gave it colours
        (1 - ONES, [255, 255, 255, 0, 0, 0]),  # as an optimiser orders them
        (ONES, [255, 255, 255, 128, 0, 0]),  # number 0 is background where black is no colour
        (ONES * 2, [0, 0, 0, 9, 9, 9, 255, 0, 0]),
    ],
)
def test_palettes(tmp_path: Path, numbers: Any, colours: list[int]) -> None:
    (tmp_path / "m.png").write_bytes(png(palette(numbers, colours)))
    np.testing.assert_array_equal(read_mask(tmp_path, "m.png"), SET)
    (tmp_path / "m.gif").write_bytes(png(palette(numbers, colours), "GIF"))
    if any(colours):
        np.testing.assert_array_equal(read_mask(tmp_path, "m.gif"), SET)


def test_other_formats(tmp_path: Path) -> None:
    for name, form, options in (
        ("m.bmp", "BMP", {}), ("m.tif", "TIFF", {}), ("m.webp", "WEBP", {"lossless": True}),
        ("m.jpg", "JPEG", {"quality": 60}),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(png(ONES * 255, form, **options))
        mask = read_mask(tmp_path, name)
        assert (mask != SET).sum() < 30, name
        assert (mask != SET).sum() == 0 or name == "m.jpg"
    deep = colour((1, 0, 0), (0, 0, 0)).astype(np.uint16)
    (tmp_path / "m.png").write_bytes(imagecodecs.png_encode(deep))
    np.testing.assert_array_equal(read_mask(tmp_path, "m.png"), SET)
    (tmp_path / "noise.jpg").write_bytes(png(ONES * 3, "JPEG"))
    assert not read_mask(tmp_path, "noise.jpg").any()


def test_a_mask_without_background_is_refused_unless_it_is_all_drawn(tmp_path: Path) -> None:
    for content in (ONES + 1, colour((255, 0, 0), (255, 255, 255)), ONES + 254):
        (tmp_path / "m.png").write_bytes(png(np.asarray(content).astype(np.uint8)))
        if np.asarray(content).min() == 0 and np.asarray(content).ndim == 2:
            continue
        with pytest.raises(DataError, match="no pixel is 0"):
            read_mask(tmp_path, "m.png")
    (tmp_path / "m.png").write_bytes(png(np.full((64, 48), 255, np.uint8)))
    assert read_mask(tmp_path, "m.png").all()
    (tmp_path / "m.png").write_bytes(png(np.zeros((64, 48), np.uint8)))
    assert not read_mask(tmp_path, "m.png").any()


def test_masks_of_other_sizes(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(png(ONES))
    twice = open_mask(tmp_path, "m.png", 128, 96)
    np.testing.assert_array_equal(twice, SET.repeat(2, 0).repeat(2, 1))
    for height, width in ((48, 64), (64, 64), (100, 40)):
        with pytest.raises(DataError, match="another shape"):
            open_mask(tmp_path, "m.png", height, width)
        with pytest.raises(DataError, match="another shape"):
            open_mask(tmp_path, "rle:64x48:0 5", height, width)


def test_a_turned_mask_is_read_upright(tmp_path: Path) -> None:
    for turned in range(1, 9):
        stored(tmp_path / "m.png", ONES, turned)
        np.testing.assert_array_equal(open_mask(tmp_path, "m.png", 64, 48), SET)


def test_what_is_no_mask_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"no picture")
    (tmp_path / "cut.png").write_bytes(
        png(np.arange(64 * 48).reshape(64, 48).astype(np.uint16))[:99]
    )
    for name in ("m.png", "cut.png", "gone.png"):
        with pytest.raises(DataError):
            open_mask(tmp_path, name, 64, 48)
    with pytest.raises(DataError, match="not there: were the images moved"):
        open_radiograph(tmp_path / "gone", "a.png")


def test_names_with_exclamation_marks_are_no_archives(tmp_path: Path) -> None:
    picture(tmp_path / "wow!.png")
    with ZipFile(tmp_path / "a.ZIP", "w") as archive:
        archive.write(tmp_path / "wow!.png", "in/wow!.png")
    assert open_radiograph(tmp_path, "wow!.png").width == 100
    assert open_radiograph(tmp_path, "a.ZIP!in/wow!.png").width == 100
    assert load("folder", tmp_path / "a.ZIP").table["image_id"].tolist() == ["in/wow!"]


def test_mask_files_that_hold_nothing_or_are_damaged_are_found(tmp_path: Path) -> None:
    contents = {"a": ONES, "b": ONES * 0, "c": np.ones((9, 50), np.uint8), "d": b"none"}
    rows = "file,m\n"
    for i, (name, content) in enumerate(contents.items()):
        picture(tmp_path / f"i/{name}.png", 48, 64, seed=i)
        data = content if isinstance(content, bytes) else png(content)
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / f"m/{name}.png").write_bytes(data)
        rows += f"i/{name}.png,m/{name}.png\n"
    text(tmp_path / "t.csv", rows)
    mapping = {"image_id": "file", "mask_lungs": "m"}
    catalog = load("folder", tmp_path, table="t.csv", columns=mapping)
    memory = tmp_path / "memory.jsonl"
    report = check(catalog, file_facts(catalog, memory))
    result = {(p.image_id, p.code) for p in report.problems.itertuples()}
    assert result == {("i/b", "mask-empty"), ("i/c", "mask-unreadable"), ("i/d", "mask-unreadable")}
    cleaned = report.cleaned().table["mask_lungs"].tolist()
    assert cleaned == ["m/a.png", "m/b.png", None, None]
    (tmp_path / "m/b.png").write_bytes(png(ONES))  # a mask that changed is read again
    assert check(catalog, file_facts(catalog, memory)).counts() == {"mask-unreadable": 2}
