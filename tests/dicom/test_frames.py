"""Which bytes are the one frame: what is too long, several or elsewhere is told or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom import uid as uids
from pydicom.encaps import encapsulate

from helpers.dicom_files import dataset, encode, stored, to_bytes
from hilum.core.errors import UnreadableRefused, UnsupportedRefused
from hilum.dicom.read import read

PICTURE = stored((40, 50), bits=12)


def longer(rows: int, columns: int, bytes_: int) -> bytes:
    pixels = stored((rows, columns), bits=12)
    ds = dataset(pixels, 12)
    ds.PixelData = pixels.tobytes() + b"\1" * bytes_
    ds["PixelData"].VR = "OW"
    return to_bytes(ds)


@pytest.mark.parametrize(("rows", "columns"), [(40, 50), (50, 40), (40, 40)])
def test_bytes_for_another_row_or_column_are_refused_fewer_are_told(
    rows: int, columns: int
) -> None:
    """With one column too few in the header each row would begin a pixel later than the last."""
    line = 2 * min(rows, columns)
    radiograph = read(longer(rows, columns, line - 2))
    plain = read(longer(rows, columns, 0))
    np.testing.assert_array_equal(radiograph.pixels, plain.pixels)
    assert radiograph.decoding.warnings == (
        f"its PixelData is {line - 2} bytes too long: the last ones are not used",
    )
    assert not plain.decoding.warnings
    with pytest.raises(UnreadableRefused, match="truncated or its header is wrong"):
        read(longer(rows, columns, line))


def test_the_byte_that_makes_a_length_even_is_no_warning() -> None:
    pixels = stored((5, 5))
    assert not read(to_bytes(dataset(pixels), pixels)).decoding.warnings


@pytest.mark.parametrize(
    "syntax", [uids.JPEG2000Lossless, uids.JPEGBaseline8Bit, uids.JPEGLSLossless, uids.RLELossless]
)
def test_two_frames_under_a_header_of_one_are_refused(syntax: Any) -> None:
    pixels = stored((40, 50))
    frame = encode(pixels, 8, syntax)
    ds = dataset(pixels)
    for parts, refused in (([frame, frame], True), ([frame], False)):
        ds.PixelData = encapsulate(parts)
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        data = to_bytes(ds)  # what it is called does not matter
        if refused:
            with pytest.raises(UnsupportedRefused, match="compressed pixels are 2 images"):
                read(data)
        else:
            assert read(data).pixels.shape == (40, 50)


def test_one_frame_in_several_fragments_is_one_picture() -> None:
    frame = encode(PICTURE, 12, uids.JPEG2000Lossless)
    ds = dataset(PICTURE, 12)
    ds.PixelData = encapsulate([frame], fragments_per_frame=3)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    np.testing.assert_array_equal(
        read(to_bytes(ds)).pixels, read(to_bytes(dataset(PICTURE, 12), PICTURE)).pixels
    )


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"FloatPixelData": PICTURE.astype("<f4").tobytes()}, "floating-point numbers"),
        ({"DoubleFloatPixelData": PICTURE.astype("<f8").tobytes()}, "floating-point numbers"),
        ({"PixelDataProviderURL": "http://archive/1"}, "elsewhere, at an address"),
    ],
)
def test_pixels_of_another_kind_are_no_file_that_is_cut_off(
    elements: dict[str, Any], words: str
) -> None:
    with pytest.raises(UnsupportedRefused, match=words):
        read(to_bytes(dataset(PICTURE, 12, **elements)))
    with pytest.raises(UnreadableRefused, match="cut off before them, or a header alone"):
        read(to_bytes(dataset(PICTURE, 12)))


def test_rows_and_columns_that_changed_places_are_refused_not_sheared() -> None:
    y, x = np.mgrid[:100, :140]
    pixels = (2000 + 900 * np.sin(x / 9) * np.sin(y / 7)).astype(np.uint16)  # as if of ribs
    assert read(to_bytes(dataset(pixels, 12), pixels)).pixels.shape == (100, 140)
    swapped = dataset(pixels, 12)
    swapped.Rows, swapped.Columns = 140, 100
    with pytest.raises(UnreadableRefused, match="Rows and Columns have changed places"):
        read(to_bytes(swapped, pixels))
