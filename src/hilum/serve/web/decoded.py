"""What is stored otherwise, in explicit little endian: decoded in the guarded child."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fastapi.exceptions import HTTPException

from hilum.core.errors import InputRefused, LimitRefused
from hilum.dicom.part10 import EXPLICIT_LITTLE
from hilum.dicom.several import count_of, frame_bytes, is_compressed, little_endian
from hilum.dicom.stored import StoredImage
from hilum.dicom.transcode import explicit_little, values
from hilum.serve.web.held import Held
from hilum.serve.web.problems import refused


def frames(held: Held, contents: Mapping[int, bytes]) -> dict[int, bytes]:
    """The values of frames, by number.

    Args:
        contents: the bytes that are stored of each.

    Raises:
        HTTPException: 406, why they cannot be decoded.
    """
    stored = held.stored
    with _or_not_acceptable():
        if is_compressed(stored):
            _check_size(stored, len(contents))
            return {number: values(held.frame(number).values()) for number in contents}
        assert stored.parsed is not None
        return {n: little_endian(content, stored.parsed) for n, content in contents.items()}


def instance(held: Held) -> bytes:
    """The object, bit by bit where it is stored so.

    Raises:
        HTTPException: 406, why it cannot be decoded.
    """
    if held.syntax == EXPLICIT_LITTLE:
        return held.content
    with _or_not_acceptable():
        stored = held.stored
        if not is_compressed(stored):
            return explicit_little(stored, ())
        count = count_of(stored.header)
        _check_size(stored, count)
        numbers = range(1, count + 1)
        return explicit_little(stored, [held.frame(number).values() for number in numbers])


def _check_size(stored: StoredImage, count: int) -> None:
    """Before any of so many frames is decoded: a frame of one grey may be a few bytes."""
    limit = stored.limits.inflated_bytes
    if count * frame_bytes(stored.header) > limit:
        raise LimitRefused("", f"decoded it is more than {limit >> 20} MiB.")


@contextmanager
def _or_not_acceptable() -> Iterator[None]:
    try:
        yield
    except InputRefused as error:
        words = "Ask for it as it is stored: transfer-syntax=*"
        raise HTTPException(406, f"{refused(error)} {words}") from error
