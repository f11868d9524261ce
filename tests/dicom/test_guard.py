"""The child process gives the same radiograph, and survives what the parent should not see."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.dicom_files import image, stored
from hilum.core.errors import LimitRefused, UnreadableRefused
from hilum.dicom.guard import read_guarded
from hilum.dicom.read import read


def test_guarded_reading_is_the_same() -> None:
    file = image(stored(bits=12), 12, ViewPosition="PA")
    guarded, plain = read_guarded(("a", file)), read(("a", file))
    np.testing.assert_array_equal(guarded.pixels, plain.pixels)
    assert (guarded.source, guarded.view, guarded.ids) == ("a", "PA", plain.ids)


def test_refusals_come_back_typed() -> None:
    with pytest.raises(UnreadableRefused, match=r"a: .*truncated"):
        read_guarded(("a", image(stored())[:-100]))


def test_time_and_memory_are_limited() -> None:
    with pytest.raises(LimitRefused, match="longer than"):
        read_guarded(image(stored()), timeout_s=0.01)
    large = image(stored((5000, 4000), bits=12), 12)
    with pytest.raises(LimitRefused, match="MiB"):
        read_guarded(large, memory_bytes=220 * 2**20)
