"""Mutated files: only typed refusals come out of any door (gate 1, the part of every CI run).

2,000 in all; scripts/gates/fuzz.sh tries far more, under limits of time and memory.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.fuzzing import DOORS, KINDS, Mutation, mutated
from hilum.core.errors import InputRefused

CODES = {kind.code for kind in InputRefused.__subclasses__()}
SHARES = {
    **{"DICOM": 400, "PNG": 150, "JPEG, WebP": 150, "zip": 100, "DICOMDIR": 75},
    **{"de-identification": 75, "bundle, zip": 60, "bundle, folder": 60, "pipeline": 100},
    **{"recipe": 40, "catalog": 100, "split": 100, "challenge table": 140, "annotations": 50},
    **{"findings.json": 140, "journal": 60, "service configuration": 100},
}
# Kinds of errors beside refusals; a damaged journal is read as far as it is whole.
KINDS_OF_ERRORS = {"config", "data", "bundle", "modeloutput", "geometry", "damaged"}
SAID = CODES | KINDS_OF_ERRORS | {"read"}
CHANGES = st.lists(
    st.builds(
        Mutation,
        kind=st.sampled_from(KINDS),
        at=st.floats(0, 1),
        size=st.floats(0, 1),
        value=st.integers(0, 65535),
    ),
    max_size=8,
)


@pytest.fixture(autouse=True)
def quiet_decoders() -> Iterator[None]:
    """pydicom logs the trace of each decoder that gives up; 2,000 of them are no help."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@pytest.mark.parametrize("door", DOORS)
def test_every_seed_is_what_it_should_be(door: str) -> None:
    """Mutations of files that are refused anyway would test nothing."""
    outcomes = Counter(DOORS[door].outcome(seed) for seed in DOORS[door].seeds())
    refused_by_design = {"DICOM": 1, "DICOMDIR": 2}.get(door, 0)
    assert outcomes["read"] >= len(DOORS[door].seeds()) - refused_by_design


@pytest.mark.parametrize("door", SHARES)
def test_mutations_are_read_or_refused_with_a_reason(door: str) -> None:
    rng = random.Random(20260101)
    outcomes: Counter[str] = Counter()
    for _ in range(SHARES[door]):
        outcomes[DOORS[door].outcome(DOORS[door].mutant(rng))] += 1
    assert set(outcomes) <= SAID
    assert outcomes["read"] < SHARES[door] * 0.95  # they do reach the parsers
    assert outcomes["read"] > 0  # and more than the parsers


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([*DOORS]), st.integers(0, 99), CHANGES)
def test_any_change_of_any_file(door: str, number: int, changes: list[Mutation]) -> None:
    seeds = DOORS[door].seeds()
    assert DOORS[door].outcome(mutated(seeds[number % len(seeds)], changes)) in SAID


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=300))
def test_any_bytes_behind_a_preamble(tail: bytes) -> None:
    assert DOORS["DICOM"].outcome(bytes(128) + b"DICM" + tail) != "read"


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["DICOM", "PNG", "JPEG, WebP"]), st.integers(0, 99), st.integers(0, 2000))
def test_no_truncated_file_is_read(door: str, number: int, keep: int) -> None:
    seeds = DOORS[door].seeds()
    seed = seeds[number % len(seeds)]
    if keep < len(seed) - 64:  # the last fragment may end in padding
        assert DOORS[door].outcome(seed[:keep]) != "read"
