"""A phantom's truth is exact, and every coding of it reads back as the same image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

import hilum
from hilum.core.errors import ConfigError
from hilum.data import load
from hilum.data.phantom.encode import SYNTAXES, dicom_bytes, quantise
from hilum.data.phantom.phantom import Phantom, phantom, write_dicom, write_png
from hilum.data.phantom.sets import PhantomSet
from hilum.dicom.discover import discover

SIZES = [(256, 256), (400, 200), (180, 420), (97, 131)]


@pytest.fixture(scope="module")
def image() -> Phantom:
    return phantom(seed=3, width=161, height=127, opacities=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_boxes_are_the_tight_bounds_of_the_opacities(size: tuple[int, int], count: int) -> None:
    picture = phantom(seed=5, width=size[0], height=size[1], opacities=count)
    assert picture.pixels.shape == (size[1], size[0])
    assert picture.boxes_px.shape == (count, 4)
    _, pieces = cv2.connectedComponents(picture.masks["opacity"].astype(np.uint8), connectivity=4)
    result = []
    for piece in range(1, pieces.max() + 1):
        y, x = np.nonzero(pieces == piece)
        result.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
    assert sorted(result) == sorted(picture.boxes_px.tolist())


@pytest.mark.parametrize("seed", range(12))
def test_opacities_and_pleural_air_lie_inside_the_lungs_and_apart(seed: int) -> None:
    picture = phantom(seed, 192, 192, opacities=2, pneumothorax=True)
    lungs, opacity, air = (picture.masks[n] for n in ("lungs", "opacity", "pneumothorax"))
    assert 0.15 < lungs.mean() < 0.45
    assert air.any()
    assert not (opacity & ~lungs).any()
    assert not (air & ~lungs).any()
    assert not (opacity & air).any()


@pytest.mark.parametrize("seed", range(6))
def test_it_has_the_greys_of_a_chest_image(seed: int) -> None:
    picture = phantom(seed, 256, 256, opacities=2)
    lungs, opacity = picture.masks["lungs"], picture.masks["opacity"]
    healthy = picture.pixels[lungs & ~opacity].mean()
    spine = picture.pixels[100:200, 122:134].mean()
    assert picture.pixels[:6, :40].mean() < 0.1 < healthy < picture.pixels[opacity].mean() < spine
    assert healthy < 0.5 < spine


def test_one_seed_is_one_person_at_every_size() -> None:
    small, large = phantom(9, 128, 128), phantom(9, 512, 512)
    np.testing.assert_allclose(small.boxes_px * 4, large.boxes_px, atol=6)
    shrunk = cv2.resize(large.pixels, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(shrunk.ravel(), small.pixels.ravel())[0, 1] > 0.98
    np.testing.assert_array_equal(phantom(9, 128, 128).pixels, small.pixels)
    assert not np.array_equal(phantom(10, 128, 128).pixels, small.pixels)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_coding_reads_back(image: Phantom, syntax: str, photometric: str) -> None:
    low, high = SYNTAXES[syntax].bits
    for bits in {low, (low + high) // 2, high}:
        data = dicom_bytes(image.pixels, seed=3, syntax=syntax, bits=bits, photometric=photometric)
        read = hilum.read(data)
        expected = quantise(image.pixels, bits) / (2**bits - 1)
        tolerance = 1e-6 if SYNTAXES[syntax].lossless else 0.05
        np.testing.assert_allclose(read.pixels, expected, atol=tolerance)
        assert read.decoding.transfer_syntax == SYNTAXES[syntax].uid
        assert read.decoding.bits_stored == bits


def test_monochrome1_stores_the_image_inverted(image: Phantom) -> None:
    stored = [
        pydicom.dcmread(_file(image, photometric=p)).pixel_array
        for p in ("MONOCHROME1", "MONOCHROME2")
    ]
    np.testing.assert_array_equal(stored[0], 4095 - stored[1])


def test_header_says_what_it_is_and_follows_from_the_seed(image: Phantom) -> None:
    d = pydicom.dcmread(_file(image, sop_class="DX"))
    assert (d.Modality, d.ViewPosition, d.BodyPartExamined) == ("DX", "PA", "CHEST")
    assert d.PatientName == "PHANTOM^3"
    assert all(len(uid) <= 64 for uid in (d.SOPInstanceUID, d.StudyInstanceUID))
    assert dicom_bytes(image.pixels, seed=3) == dicom_bytes(image.pixels, seed=3)
    other = pydicom.dcmread(_file(image, seed=4, study=3))
    assert other.SOPInstanceUID != d.SOPInstanceUID
    assert other.StudyInstanceUID == d.StudyInstanceUID


def test_png_holds_the_pixels_at_16_and_8_bits(image: Phantom, tmp_path: Path) -> None:
    for bits in (8, 16):
        write_png(image, tmp_path / "image.png", bits)
        read = hilum.read(tmp_path / "image.png")
        np.testing.assert_allclose(read.pixels, image.pixels, atol=0.6 / (2**bits - 1))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"syntax": "gif"}, "known: implicit-little"),
        ({"syntax": "jpeg-baseline", "bits": 12}, "12 bits in jpeg-baseline: needed: 8"),
        ({"bits": 7}, "needed: 8 to 16"),
        ({"photometric": "RGB"}, "MONOCHROME1, MONOCHROME2"),
        ({"sop_class": "CT"}, "known: CR, DX"),
    ],
)
def test_impossible_options_are_named(image: Phantom, options: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        dicom_bytes(image.pixels, **options)
    with pytest.raises(ConfigError):
        phantom(opacities=7)
    with pytest.raises(ConfigError):
        phantom(width=8)


def test_command_writes_images_masks_and_truth(tmp_path: Path) -> None:
    from hilum.cli.main import app

    out = tmp_path / "set"
    options = f"--out {out} --count 2 --seed 5 --size 96x128 --opacities 1 --syntax jpeg-ls --json"
    result = CliRunner().invoke(app, ["data", "phantom", *options.split()])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == {"images": 2, "out": str(out), "truth": str(out / "truth.json")}
    truth = json.loads(Path(document["truth"]).read_text())
    assert [i["seed"] for i in truth["images"]] == [5, 6]
    for image in truth["images"]:
        assert hilum.read(out / image["path"]).pixels.shape == (128, 96)
        mask = cv2.imread(str(out / image["masks"]["opacity"]), cv2.IMREAD_UNCHANGED)
        x1, y1, x2, y2 = map(int, image["boxes_px"][0])
        assert (mask > 0).sum() == (mask[y1:y2, x1:x2] > 0).sum() > 0
    assert len(list(discover([out]))) == 2, "masks are no radiographs"
    assert len(load("folder", out)) == 2, "nor are they images of the set"
    with pytest.raises(ConfigError, match="not empty"):
        next(PhantomSet().write(out, [1]))
    with pytest.raises(ConfigError, match="WIDTHxHEIGHT"):
        PhantomSet.parse(size="big")


def test_phantoms_need_no_pandas_and_no_torch() -> None:
    code = (
        "import sys, hilum.data.phantom.sets, hilum.data.phantom.encode, hilum.data.formats.runs; "
        "assert not {'pandas', 'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _file(image: Phantom, **options: Any) -> Any:
    from io import BytesIO

    return BytesIO(dicom_bytes(image.pixels, **{"seed": image.seed, **options}))


def test_dicom_file_carries_one_square_spacing(image: Phantom, tmp_path: Path) -> None:
    write_dicom(image, tmp_path / "image.dcm")
    assert hilum.read(tmp_path / "image.dcm").spacing_mm == pytest.approx(
        image.spacing_mm, rel=1e-4
    )
