"""How large, deep and inflated an input may be. Knows no format."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hilum.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps checked before the work they bound is done.

    The defaults take every radiograph we know of (a 17 x 17 inch image at 100 um is 18 MP) and
    keep one reading under 1 GB.
    """

    file_bytes: int = 512 * 2**20
    pixels: int = 64_000_000  # Rows x Columns
    inflated_bytes: int = 256 * 2**20  # a deflated data set, inflated
    elements: int = 100_000  # in the header, nested ones included
    depth: int = 64  # nested sequences
    zip_members: int = 50_000
    zip_bytes: int = 64 * 2**30  # all members together, inflated
    zip_ratio: int = 200  # inflated : stored, for members over 64 MiB

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"limit {item.name} is {value!r}; needed: a whole number >= 1")
