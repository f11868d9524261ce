"""The exception tree on one screen. `HilumError` is what the command line catches.

An error says what came, what was needed, and what to do.
"""

from __future__ import annotations

import os

GO_ON = "what was finished is kept: mend that and run the same command again"
MOST_SHOWN = 2000  # characters of a message


def printable(text: str) -> str:
    """Text that a terminal or a log can show whatever it quotes: control characters, marks of
    direction and half characters are escaped, the middle of a very long one is left out.
    """
    if len(text) > MOST_SHOWN:
        half = MOST_SHOWN // 2
        text = f"{text[:half]} … {text[-half:]}"
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode()
        for one in text
    )


class HilumError(Exception):
    """Base of everything hilum raises on purpose. Its text may quote hostile input."""

    def __str__(self) -> str:
        return printable(super().__str__())


class MissingExtraError(HilumError, ImportError):
    """An optional part is used that is not installed."""


class ConfigError(HilumError, ValueError):
    """A recipe, pipeline or option is wrong: unknown key, value out of range, missing file."""


class DocumentError(HilumError, ValueError):
    """A text is not the JSON, YAML or TOML that it should be; who asked for it says whose."""


class GeometryError(HilumError, ValueError):
    """Boxes, matrices or sizes that cannot be: reversed corners, NaN, wrong shape."""


class DataError(HilumError, ValueError):
    """A data set, catalog, label table or submission file does not fit its format."""


class BundleError(HilumError):
    """A model bundle is missing, damaged, tampered with or of another version."""


class ModelOutputError(HilumError):
    """A model gave numbers that mean nothing (NaN or infinite)."""


class NotKept(HilumError):
    """Results cannot be written any more: the disk is full, the folder is gone or read-only. The
    run ends with it, since the next result could not be kept either."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; {GO_ON}")

    @classmethod
    def of(cls, error: OSError) -> NotKept:
        """What the system said, and of which file where it did."""
        words = os.strerror(error.errno) if error.errno else str(error)
        return cls(f"{os.fspath(error.filename)}: {words}" if error.filename else words)

    def __reduce__(self) -> tuple[type[HilumError], tuple[str]]:
        # It comes from worker processes; the default would add the last words again.
        return NotKept, (self.args[0].removesuffix(f"; {GO_ON}"),)


class NotWritten(HilumError):
    """A result file that cannot be written for this source; the findings are kept."""


class InputRefused(HilumError):
    """One input cannot be analysed; the others go on. Never the same as a normal result.

    `code` is stable and machine readable, `reason` says what came, `remedy` what to do.
    """

    code = "refused"

    def __init__(self, source: str, reason: str, remedy: str = "") -> None:
        self.source, self.reason, self.remedy = source, reason, remedy
        super().__init__(f"{source}: {reason}" + (f" {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[type[InputRefused], tuple[str, str, str]]:
        # Exceptions cross process borders in the worker pool; the default drops the fields.
        return type(self), (self.source, self.reason, self.remedy)


class NotFoundRefused(InputRefused):
    """There is no such file or folder, or it holds nothing to read."""

    code = "not-found"


class UnreadableRefused(InputRefused):
    """Not an image format we know, truncated, or damaged."""

    code = "unreadable"


class UnsupportedRefused(InputRefused):
    """A valid object whose pixels we do not handle (colour DICOM, several frames, no pixels)."""

    code = "unsupported"


class LimitRefused(InputRefused):
    """Larger, deeper or more inflated than the limits allow."""

    code = "over-limit"


class NotChestRadiographRefused(InputRefused):
    """Readable, but not a frontal chest radiograph (by its own header, or by the gate)."""

    code = "not-a-chest-radiograph"
