"""What is stored otherwise, in explicit little endian: decoded in the guarded child."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.exceptions import HTTPException

from hilum.core.errors import InputRefused, LimitRefused
from hilum.dicom.part10 import EXPLICIT_LITTLE
from hilum.dicom.several import count_of, frame_bytes, is_compressed, little_endian
from hilum.dicom.transcode import explicit_little, values
from hilum.serve.web.held import Held
from hilum.serve.web.problems import refused


def frame(held: Held, number: int, content: bytes) -> bytes:
    """The values of a frame whose stored bytes are `content`.

    Raises:
        HTTPException: 406, why it cannot be decoded.
    """
    stored = held.stored
    assert stored.parsed is not None
    with _or_not_acceptable():
        if is_compressed(stored):
            return values(held.frame(number).values())
        return little_endian(content, stored.parsed)


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
        count, limit = count_of(stored.header), stored.limits.inflated_bytes
        if count * frame_bytes(stored.header) > limit:
            raise LimitRefused("", f"decoded it is more than {limit >> 20} MiB.")
        numbers = range(1, count + 1)
        return explicit_little(stored, [held.frame(number).values() for number in numbers])


@contextmanager
def _or_not_acceptable() -> Iterator[None]:
    try:
        yield
    except InputRefused as error:
        words = "Ask for it as it is stored: transfer-syntax=*"
        raise HTTPException(406, f"{refused(error)} {words}") from error
