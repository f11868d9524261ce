"""Logging of the service: one line an event, on stderr, without identifiers.

Our own messages hold hashes only. Libraries quote headers, so they speak from warnings upwards
and not at all where they are known to quote. Of an exception the log has what and where it was,
never its words or its traceback.
"""

from __future__ import annotations

import logging
import threading
import traceback
import warnings
from pathlib import Path
from types import TracebackType

QUOTING = ("pydicom", "highdicom", "pynetdicom", "httpx", "httpcore")
SERVER = ("uvicorn", "uvicorn.error", "uvicorn.access")


def configure(level: str) -> None:
    """Set up logging of the process."""
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("hilum").setLevel(level.upper())
    threading.excepthook = _ended
    for name in SERVER:  # handlers of its own, where a program has set them, print tracebacks
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    silence()


def place(error: BaseException | None) -> str:
    """What an exception is and where it was raised, without its words: they may quote a header."""
    if error is None:
        return "unknown"
    stack = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(stack[-1].filename).name}:{stack[-1].lineno}" if stack else ""
    return f"{type(error).__name__}{where}"


class Formatter(logging.Formatter):
    """Lines without tracebacks."""

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        return place(ei[1])


def _ended(arguments: threading.ExceptHookArgs) -> None:
    name = arguments.thread.name if arguments.thread else "?"
    logging.getLogger(__name__).error("thread %s ended: %s", name, place(arguments.exc_value))


def silence() -> None:
    """Libraries that quote names and UIDs are not heard, at any level, nor by their warnings."""
    warnings.filterwarnings("ignore", module=rf"({'|'.join(QUOTING)})(\.|$)")
    for name in QUOTING:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)
