"""Logging of the service: one line an event, on stderr, without identifiers.

Our own messages hold hashes only. Libraries quote headers, so they speak from warnings upwards
and not at all where they are known to quote.
"""

from __future__ import annotations

import logging
import warnings

QUOTING = ("pydicom", "highdicom", "pynetdicom", "httpx", "httpcore")


def configure(level: str) -> None:
    """Set up logging of the process."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("hilum").setLevel(level.upper())
    silence()


def silence() -> None:
    """Libraries that quote names and UIDs are not heard, at any level, nor by their warnings."""
    warnings.filterwarnings("ignore", module=rf"({'|'.join(QUOTING)})(\.|$)")
    for name in QUOTING:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)
