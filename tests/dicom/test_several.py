"""Frames by their numbers are those of the object, whatever number of bits they have."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.dicom_files import dataset, to_bytes
from hilum.core.errors import UnreadableRefused
from hilum.dicom.several import frames_of
from hilum.dicom.stored import StoredImage, open_stored


def masks(shape: tuple[int, int], count: int = 3) -> tuple[StoredImage, list[bytes]]:
    """An object of masks of single bits, and each of them from its first bit on."""
    frames = np.random.default_rng(0).integers(0, 2, (count, *shape), np.uint8)
    ds = dataset(frames[0], NumberOfFrames=count)
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = 0
    content = np.packbits(frames, bitorder="little").tobytes()
    held = open_stored(("masks.dcm", to_bytes(ds, np.frombuffer(content, np.uint8))))
    return held, [np.packbits(one, bitorder="little").tobytes() for one in frames]


@pytest.mark.parametrize("shape", [(8, 8), (5, 7), (3, 5), (1, 3)])
def test_masks_of_single_bits_are_told_apart(shape: tuple[int, int]) -> None:
    held, frames = masks(shape)
    assert frames_of(held, {1, 2, 3}) == dict(enumerate(frames, start=1))
    assert frames_of(held, {0, 4}) == {}


def test_a_frame_that_was_cut_short_is_told_and_the_others_come() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    content = np.stack([pixels] * 3).ravel()[:-20]
    held = open_stored(("cut.dcm", to_bytes(dataset(pixels, NumberOfFrames=3), content)))
    assert frames_of(held, {1, 2}) == {1: pixels.tobytes(), 2: pixels.tobytes()}
    with pytest.raises(UnreadableRefused, match="end within frame 3"):
        frames_of(held, {3})
