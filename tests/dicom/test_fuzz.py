"""Mutated files: only typed refusals come out of reading (gate 1, the part of every CI run)."""

from __future__ import annotations

import logging
import random

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid as uids

from helpers.dicom_files import LOSSLESS, UNCOMPRESSED, image, lut, stored
from hilum.core.errors import InputRefused
from hilum.core.radiograph import Radiograph
from hilum.dicom.limits import Limits
from hilum.dicom.read import read

FIXTURE = [HealthCheck.function_scoped_fixture]
LIMITS = Limits(pixels=4_000_000, inflated_bytes=4 * 2**20)
SEEDS = [
    *(image(stored((16, 12), 8), 8, s) for s in (*UNCOMPRESSED, *LOSSLESS)),
    image(stored((16, 12), 12), 12, uids.JPEGExtended12Bit),
    image(stored((16, 12), 8), 8, uids.JPEGBaseline8Bit),
    image(
        stored((16, 12), 12, signed=True),
        12,
        VOILUTSequence=lut(-2048, 12, range(4096), vr="SS"),
        PixelPaddingValue=-5,
        ShutterShape=["CIRCULAR", "RECTANGULAR"],
        WindowCenter=4,
        WindowWidth=9,
    ),
    imagecodecs.png_encode(stored((16, 12), 16)),
    imagecodecs.png_encode(stored((16, 12))),
    bytes(imagecodecs.jpeg8_encode(stored((16, 12)))),
    bytes(imagecodecs.webp_encode(np.stack([stored((16, 12))] * 3, axis=-1), lossless=True)),
]


@pytest.fixture(autouse=True)
def quiet_decoders() -> object:
    """pydicom logs the trace of each decoder that gives up; 2,000 of them are no help."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def outcome(data: bytes) -> str:
    try:
        result = read(data, limits=LIMITS)
    except InputRefused as error:
        return error.code if error.reason else "no reason"
    return "read" if isinstance(result, Radiograph) else "no result"


def mutate(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        # Preambles mean nothing; most mutations go behind them.
        at = rng.randrange(128 if len(out) > 400 and rng.random() < 0.95 else 0, len(out))
        kind = rng.randrange(5)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            out[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\x7f\0\0"))
        elif kind == 2:
            del out[at : at + rng.randrange(1, 64)]
        elif kind == 3:
            out[at:at] = out[at : at + rng.randrange(1, 64)]
        else:
            out[at] ^= 1 << rng.randrange(8)
        if len(out) < 2:
            break
    return bytes(out)


def test_two_thousand_mutations() -> None:
    rng = random.Random(20260101)
    outcomes = [outcome(mutate(rng.choice(SEEDS), rng)) for _ in range(2000)]
    assert {"read", "unreadable", "unsupported"} <= set(outcomes)
    assert not {"no reason", "no result", "refused"} & set(outcomes)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=300))
def test_any_bytes_behind_a_preamble(tail: bytes) -> None:
    assert outcome(bytes(128) + b"DICM" + tail) != "read"


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(SEEDS), st.integers(0, 2000))
def test_any_truncation(seed: bytes, keep: int) -> None:
    if keep < len(seed) - 64:  # the last fragment may end in padding
        assert outcome(seed[:keep]) != "read"
