"""Seeds, mutations of bytes, and what may come out of a door."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hilum.core.errors import MOST_SHOWN, HilumError, InputRefused

# What breaks parsers: ends of integer ranges, marks of items, ends and frames.
NASTY = (
    *(struct.pack(order + kind, value) for order in "<>" for kind, value in (
        ("H", 0), ("H", 0xFFFF), ("H", 0x7FFF), ("I", 0xFFFFFFFF), ("I", 0x7FFFFFFF), ("I", 1),
    )),
    *(b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\xe0\x7f\x10\x00"),
    *(b"SQ", b"UN", b"OB", b"\xff\xd8", b"\xff\xd9", b"\xff\xc3", b"\xff\x4f\xff\x51"),
    *(b"1e999", b"NaN\\", b"\\", b"-1", b"PK\x05\x06", b"IDAT", b"\0" * 8),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change; `at` and `size` are shares of the file, so that it fits any seed."""

    kind: str  # "set", "flip", "nasty", "cut", "repeat", "swap", "end"
    at: float
    size: float
    value: int

    def __call__(self, data: bytes) -> bytes:
        if len(data) < 2:
            return data
        start = min(int(self.at * len(data)), len(data) - 1)
        end = start + 1 + int(self.size * min(64, len(data) - start - 1))
        before, part, after = data[:start], data[start:end], data[end:]
        if self.kind == "set":
            return before + bytes([self.value % 256]) + data[start + 1 :]
        if self.kind == "flip":
            return before + bytes([data[start] ^ 1 << self.value % 8]) + data[start + 1 :]
        if self.kind == "nasty":
            nasty = NASTY[self.value % len(NASTY)]
            return before + nasty + data[start + len(nasty) :]
        if self.kind == "cut":
            return before + after
        if self.kind == "repeat":
            return before + part * 2 + after
        if self.kind == "swap":
            other = self.value * 7919 % len(data)
            return before + data[other : other + len(part)] + after
        return data[: max(1, start)]


KINDS = ("set", "flip", "nasty", "nasty", "cut", "repeat", "swap", "end")


def mutations(rng: random.Random) -> list[Mutation]:
    """One to sixteen changes, mostly few; cutting the end off is rare."""
    count = rng.choice((1, 1, 1, 2, 2, 4, 16))
    kinds = [k for k in KINDS if k != "end" or rng.random() < 0.3]
    return [
        Mutation(rng.choice(kinds), rng.random(), rng.random() ** 3, rng.randrange(1 << 16))
        for _ in range(count)
    ]


def mutated(data: bytes, changes: Sequence[Mutation]) -> bytes:
    for change in changes:
        data = change(data)
    return data


@dataclass(frozen=True, slots=True)
class Door:
    """A way in: what is well-formed there, and what a caller does with it."""

    seeds: Callable[[], list[bytes]]
    enter: Callable[[bytes], str]  # "read", or raises a HilumError
    repair: Callable[[bytes], bytes] = bytes  # checksums made right, so that more is reached
    shape: Callable[[random.Random, bytes], bytes] | None = None  # changes what bytes mean

    def mutant(self, rng: random.Random) -> bytes:
        """A changed seed: its meaning (two of three, where the door knows how), its bytes, or both;
        every second one with its checksums made right."""
        data = rng.choice(self.seeds())
        shaped = self.shape is not None and rng.random() < 0.67
        if self.shape is not None and shaped:
            data = self.shape(rng, data)
        if not shaped or rng.random() < 0.1:
            data = mutated(data, mutations(rng))
        return self.repair(data) if rng.random() < 0.5 else data

    def outcome(self, data: bytes) -> str:
        """ "read" or the kind of a refusal; anything else is raised and a defect."""
        try:
            return self.enter(data)
        except InputRefused as error:
            if not error.reason or type(error) is InputRefused:
                raise AssertionError("a refusal without a kind or a reason") from error
            return error.code
        except HilumError as error:
            check_message(error)
            return type(error).__name__.removesuffix("Error").lower()


def check_message(error: HilumError) -> None:
    """Raises AssertionError for what nobody can act on, or a terminal would obey."""
    text = str(error)
    usable = type(error) is not HilumError and 10 < len(text) <= MOST_SHOWN * 12
    if not usable or not all(line.isprintable() for line in text.split("\n")):
        raise AssertionError(f"a message of no use: {text!r:.200}") from error
