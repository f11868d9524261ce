"""Sources, formats, what is kept of a header, and typed refusals."""

from __future__ import annotations

import os
import struct
import threading
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import config
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from helpers.dicom_files import dataset, image, stored, to_bytes
from hilum.core.errors import (
    InputRefused,
    LimitRefused,
    NotFoundRefused,
    UnreadableRefused,
    UnsupportedRefused,
)
from hilum.dicom.limits import Limits
from hilum.dicom.read import read

GREY = stored((30, 20))


def pillow(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def test_path_bytes_stream_and_named_bytes_are_the_same(tmp_path: Path) -> None:
    file = image(GREY)
    path = tmp_path / "a.dcm"
    path.write_bytes(file)
    for source in (path, str(path), file, BytesIO(file), ("here", file)):
        np.testing.assert_array_equal(read(source).pixels * 255, GREY)
    assert read(path).source == str(path)
    assert read(("here", file)).source == "here"


@pytest.mark.parametrize("syntax", [uids.ImplicitVRLittleEndian, uids.ExplicitVRLittleEndian])
def test_a_file_without_preamble_reads(syntax: Any) -> None:
    file = to_bytes(dataset(GREY), GREY, syntax, preamble=False)
    np.testing.assert_array_equal(read(file).pixels * 255, GREY)


def test_formats_are_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "picture.dcm"
    path.write_bytes(imagecodecs.png_encode(GREY))
    assert read(path).decoding.format == "png"


def test_png_of_sixteen_bits_keeps_them() -> None:
    deep = stored((30, 20), bits=16)
    got = read(imagecodecs.png_encode(deep))
    assert got.decoding.bits_stored == 16
    np.testing.assert_array_equal(got.pixels, (deep / 65535).astype(np.float32))


@pytest.mark.parametrize("bits", [12, 16])
def test_deep_jpeg_files_keep_their_bits(bits: int) -> None:
    deep = stored((30, 20), bits=bits)
    options = {"lossless": True} if bits == 16 else {"level": 98}
    data = bytes(imagecodecs.jpeg8_encode(deep, bitspersample=bits, **options))
    got = read(data)
    assert got.decoding.bits_stored == bits
    atol = 0 if bits == 16 else 0.002
    np.testing.assert_allclose(got.pixels, (deep / (2**bits - 1)).astype("f4"), rtol=0, atol=atol)
    refused(data[:-100], UnreadableRefused)


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_stored_as_colour_is_the_grey_picture(bits: int) -> None:
    grey = stored((30, 20), bits=bits)
    colour = np.stack([grey] * 3, axis=-1)
    np.testing.assert_array_equal(
        read(imagecodecs.png_encode(colour)).pixels, read(imagecodecs.png_encode(grey)).pixels
    )


@pytest.mark.parametrize("top", [255, 65535])
def test_colour_becomes_luma_and_alpha_is_ignored(top: int) -> None:
    kind = np.uint8 if top == 255 else np.uint16
    rgba = np.zeros((4, 5, 4), kind)
    rgba[:2, :, 0], rgba[2:, :, 2] = top, top
    got = read(imagecodecs.png_encode(rgba)).pixels
    np.testing.assert_allclose(got[:2], 0.299, atol=1e-6)
    np.testing.assert_allclose(got[2:], 0.114, atol=1e-6)


def test_one_bit_and_palette_pngs() -> None:
    bits = np.zeros((9, 11), bool)
    bits[3:6] = True
    np.testing.assert_array_equal(read(pillow(Image.fromarray(bits), "PNG")).pixels, bits)
    palette = Image.fromarray(GREY).convert("P")
    np.testing.assert_array_equal(read(pillow(palette, "PNG")).pixels * 255, GREY)


def test_webp_reads() -> None:
    got = read(pillow(Image.fromarray(GREY), "WEBP", lossless=True))
    assert got.decoding.format == "webp"
    np.testing.assert_allclose(got.pixels * 255, GREY, atol=1e-4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(kind: str, orientation: int) -> None:
    from PIL import ImageOps

    picture = Image.fromarray(stored((32, 24)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = pillow(picture, kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {}))
    want = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))))
    np.testing.assert_array_equal(np.rint(read(data).pixels * 255), want)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_exif_orientation_is_honoured_with_deep_pixels(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    deep = stored((32, 24), bits=12) * (16 if kind == "png" else 1)
    if kind == "png":
        raw = exif.tobytes().removeprefix(b"Exif\0\0")
        data = bytes(imagecodecs.png_encode(deep))
        chunk = b"eXIf" + raw
        chunk = len(raw).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
        data = data[:33] + chunk + data[33:]
    else:
        data = bytes(imagecodecs.jpeg8_encode(deep, lossless=True, bitspersample=12))
        raw = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
        data = data[:2] + b"\xff\xe1" + (len(raw) + 2).to_bytes(2) + raw + data[2:]
    turned = {
        1: deep,
        2: deep[:, ::-1],
        3: np.rot90(deep, 2),
        4: deep[::-1],
        5: deep.T,
        6: np.rot90(deep, -1),
        7: np.rot90(deep, 2).T,
        8: np.rot90(deep, 1),
    }[orientation]
    top = 65535 if kind == "png" else 4095
    np.testing.assert_array_equal(read(data).pixels, (turned / top).astype(np.float32))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_pngs_of_few_bits_use_the_whole_range(bits: int) -> None:
    values = stored((30, 24)) >> (8 - bits)
    packed = np.packbits(
        np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(30, -1), axis=1
    )
    rows = b"".join(b"\0" + row.tobytes() for row in packed)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)

    head = struct.pack(">IIBBBBB", 24, 30, bits, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(read(data).pixels, (values / (2**bits - 1)).astype(np.float32))


@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_beside_grey_is_ignored(bits: int) -> None:
    grey = stored((30, 20), bits=bits)
    data = bytes(imagecodecs.png_encode(np.stack([grey, grey[::-1]], axis=-1)))
    np.testing.assert_array_equal(read(data).pixels, read(imagecodecs.png_encode(grey)).pixels)


def test_transparent_webp_and_cmyk_jpeg_are_the_grey_picture() -> None:
    rgba = np.stack([GREY] * 3 + [np.zeros_like(GREY)], axis=-1)
    webp = pillow(Image.fromarray(rgba), "WEBP", lossless=True, exact=True)
    np.testing.assert_array_equal(np.rint(read(webp).pixels * 255), GREY)
    cmyk = Image.fromarray(rgba[..., :3]).convert("CMYK")
    got = read(pillow(cmyk, "JPEG", quality=100)).pixels
    np.testing.assert_allclose(got * 255, GREY, atol=4)


@pytest.mark.parametrize(
    ("kind", "name"), [("TIFF", "a TIFF"), ("BMP", "a BMP"), ("GIF", "a GIF"), ("PDF", "a PDF")]
)
def test_other_formats_are_refused_by_their_name(kind: str, name: str) -> None:
    assert f"but {name}" in refused(pillow(Image.fromarray(GREY), kind), UnreadableRefused)


def test_a_bare_jpeg_ls_stream_is_refused_by_its_name() -> None:
    assert "JPEG-LS" in refused(bytes(imagecodecs.jpegls_encode(GREY)), UnsupportedRefused)


def test_the_header_is_kept() -> None:
    got = read(
        image(
            GREY,
            ViewPosition="AP",
            PatientSex="F",
            PatientAge="006M",
            PatientOrientation=["L", "F"],
            FieldOfViewHorizontalFlip="YES",
            ImagerPixelSpacing=[0.2, 0.3],
            BodyPartExamined="CHEST",
        )
    )
    assert (got.view, got.sex, got.age_years, got.modality) == ("AP", "F", 0.5, "CR")
    assert got.patient_orientation == ("L", "F")
    assert got.flipped_horizontally
    assert (got.spacing_mm, got.spacing_source) == ((0.2, 0.3), "ImagerPixelSpacing")
    assert got.ids.patient_id == "p1"
    assert got.body_part == "CHEST"


def test_empty_identifiers_are_none() -> None:
    got = read(image(GREY, PatientID="", StudyInstanceUID=""))
    assert got.ids.patient_id is None
    assert got.ids.study_instance_uid is None


@pytest.mark.parametrize(
    ("age", "years"), [("064Y", 64), ("33", 33), ("010D", 10 / 365.25), ("", None), ("old", None)]
)
def test_age(age: str, years: float | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = image(GREY, PatientAge=age)
    assert read(file).age_years == years


def test_pixel_spacing_comes_before_the_others() -> None:
    got = read(image(GREY, PixelSpacing=[0.1, 0.1], ImagerPixelSpacing=[0.2, 0.2]))
    assert got.spacing_source == "PixelSpacing"


def test_invalid_values_in_user_files_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = dataset(GREY, SOPInstanceUID="ID_0011fe81e", StudyDate="yesterday")
        file = to_bytes(ds, GREY)
    before = config.settings.reading_validation_mode
    assert read(file).ids.sop_instance_uid == "ID_0011fe81e"
    assert config.settings.reading_validation_mode == before


def test_threads_leave_settings_and_filters_as_they_were() -> None:
    file = image(GREY)
    before, filters = config.settings.reading_validation_mode, list(warnings.filters)
    threads = [threading.Thread(target=lambda: [read(file) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert config.settings.reading_validation_mode == before
    assert warnings.filters == filters


def refused(source: Any, kind: type[InputRefused], limits: Limits | None = None) -> str:
    with pytest.raises(kind) as caught:
        read(source, limits=limits or Limits())
    assert type(caught.value) is kind
    return str(caught.value)


def test_unreadable_sources_say_why(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.dcm", NotFoundRefused)
    assert "folder" in refused(tmp_path, UnreadableRefused)
    (tmp_path / "empty.dcm").write_bytes(b"")
    assert "empty" in refused(tmp_path / "empty.dcm", UnreadableRefused)
    (tmp_path / "text.dcm").write_text("Dear colleague, the image is attached. " * 30)
    message = refused(tmp_path / "text.dcm", UnreadableRefused)
    assert "neither DICOM nor PNG" in message
    assert "text.dcm" in message


@pytest.mark.parametrize("keep", [1, 100, 131, 140, 200, 400, 700, -1, -300])
def test_truncated_dicom_is_refused(keep: int) -> None:
    refused(image(GREY)[:keep], UnreadableRefused)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_truncated_pictures_are_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    data = pillow(Image.fromarray(noise), kind)
    for part in (0.2, 0.5, 0.9):
        refused(data[: int(len(data) * part)], UnreadableRefused)


def test_truncated_or_lying_png_of_sixteen_bits_is_refused() -> None:
    data = imagecodecs.png_encode(stored((30, 20), bits=16))
    refused(data[: len(data) // 2], UnreadableRefused)
    at = data.index(b"IDAT") - 4  # a chunk that claims 2.3 GB: nothing is reserved for it
    refused(data[:at] + b"\x8d" + data[at + 1 :], UnreadableRefused)


def test_pixel_data_shorter_than_rows_and_columns_is_refused() -> None:
    assert "need 1200 bytes" in refused(image(GREY, Rows=60), UnreadableRefused)
    refused(image(GREY, Rows=10), UnreadableRefused)


def test_several_frames_and_no_pixels_are_unsupported() -> None:
    refused(image(np.vstack([GREY, GREY]), Rows=30, NumberOfFrames=2), UnsupportedRefused)
    report = Dataset()
    report.SOPClassUID = uids.ComprehensiveSRStorage
    report.Modality = "SR"
    assert "a Comprehensive SR object" in refused(to_bytes(report), UnsupportedRefused)
    del report.SOPClassUID
    assert "no image" in refused(to_bytes(report), UnsupportedRefused)


def test_colour_is_unsupported_unless_it_is_grey() -> None:
    grey = np.stack([GREY] * 3, axis=-1)
    np.testing.assert_array_equal(read(image(grey)).pixels, read(image(GREY)).pixels)
    colour = grey.copy()
    colour[0, 0, 0] ^= 64
    assert "colour" in refused(image(colour), UnsupportedRefused)
    refused(image(GREY, PhotometricInterpretation="PALETTE COLOR"), UnsupportedRefused)


@pytest.mark.parametrize(
    "missing", ["Rows", "Columns", "BitsAllocated", "PhotometricInterpretation"]
)
def test_missing_required_elements_are_named(missing: str) -> None:
    ds = dataset(GREY)
    file_elements = {"BitsAllocated": "BitsStored"}
    delattr(ds, missing)
    if missing in file_elements:
        del ds.BitsStored
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = to_bytes(ds, GREY)
    assert missing in refused(file, UnreadableRefused)


def test_sixty_five_thousand_squared_with_tiny_data_is_refused() -> None:
    assert "limit" in refused(image(GREY, Rows=65535, Columns=65535), LimitRefused)


@pytest.mark.parametrize(
    ("vr", "value"),
    [("UL", 2**32 - 1), ("DS", "1e300"), ("FD", 1e300), ("LO", "many"), ("OB", b"\xff" * 6)],
)
def test_rows_of_a_wrong_representation_are_refused(vr: str, value: Any) -> None:
    ds = dataset(GREY)
    del ds.Rows
    ds.add_new("Rows", vr, value)
    with pytest.raises((LimitRefused, UnreadableRefused)):
        read(to_bytes(ds, GREY))


def test_rows_of_a_wrong_representation_but_right_value_are_read() -> None:
    ds = dataset(GREY)
    del ds.Rows
    ds.add_new("Rows", "UL", 30)
    assert read(to_bytes(ds, GREY)).height == 30


def test_file_larger_than_the_limit_is_refused() -> None:
    refused(image(GREY), LimitRefused, Limits(file_bytes=500))
    refused(BytesIO(image(GREY)), LimitRefused, Limits(file_bytes=500))
    refused(imagecodecs.png_encode(GREY), LimitRefused, Limits(pixels=100))


def test_deflate_bomb_is_refused() -> None:
    start = image(GREY, 8, uids.DeflatedExplicitVRLittleEndian)
    head = start[: start.index(b"1.2.840.10008.1.2.1.99") + 22]
    engine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = engine.compress(bytes(64 * 2**20)) + engine.flush()
    assert len(bomb) < 100_000
    assert "inflates" in refused(head + bomb, LimitRefused, Limits(inflated_bytes=2**20))


def nested(depth: int, undefined: bool) -> bytes:
    """Sequences in sequences, built from the inside without recursion."""
    inner = b""
    head = (0x0008).to_bytes(2, "little") + (0x1115).to_bytes(2, "little") + b"SQ\0\0"
    item, item_end = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0"
    for _ in range(depth):
        if undefined:
            inner = (
                head + b"\xff" * 4 + item + b"\xff" * 4 + inner + item_end
                + b"\xfe\xff\xdd\xe0\0\0\0\0"
            )  # fmt: skip
        else:
            body = item + len(inner).to_bytes(4, "little") + inner
            inner = head + len(body).to_bytes(4, "little") + body
    file = to_bytes(dataset(GREY), GREY)
    at = file.index(b"\x08\x00\x18\x00UI")
    return file[:at] + inner + file[at:]


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("depth", [100, 240, 5000])
def test_deep_nesting_is_refused(depth: int, undefined: bool) -> None:
    assert "nested" in refused(nested(depth, undefined), LimitRefused)


@pytest.mark.parametrize("undefined", [True, False])
def test_sixty_levels_are_read(undefined: bool) -> None:
    assert read(nested(60, undefined)).height == 30


def test_too_many_elements_are_refused() -> None:
    ds = dataset(GREY)
    ds.ReferencedImageSequence = Sequence([Dataset() for _ in range(500)])
    refused(to_bytes(ds, GREY), LimitRefused, Limits(elements=300))


@pytest.mark.parametrize("text", ["../../etc/passwd", "/abs", ";rm -rf", "x" * 10_000, "a\0b"])
def test_hostile_identifiers_are_only_text(text: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = image(GREY, PatientID=text, StudyInstanceUID=text)
    before = os.listdir(tmp_path)
    assert read(file).ids.patient_id
    assert os.listdir(tmp_path) == before


def test_refusals_never_repeat_text_from_the_file() -> None:
    canary = "CANARY^PATIENT"
    for kw in ({"Rows": 60}, {"RescaleSlope": 0}, {"NumberOfFrames": 3}):
        ds = dataset(GREY, PatientName=canary, PatientID=canary, StudyDescription=canary, **kw)
        with pytest.raises(InputRefused) as caught:
            read(to_bytes(ds, GREY))
        assert "CANARY" not in str(caught.value)
