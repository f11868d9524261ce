"""Decides, in one place, whether a hot loop runs compiled or in NumPy.

numba is in the `eval` extra only, and loading it costs about a second: a loop is compiled when
numba is installed and the work is worth it. Both versions of a loop give equal results, so the
choice is never visible in a number. `HILUM_NUMBA=0` turns compilation off.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

WORTH_LOADING = 256  # rows below which NumPy is done before numba is imported


def available() -> bool:
    """Whether loops may be compiled."""
    return os.environ.get("HILUM_NUMBA", "1") != "0" and _installed()


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("numba") is not None


@functools.cache
def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """The machine code of a loop, cached on disk where the installation can be written."""
    import numba

    try:
        fast: Callable[..., Any] = numba.njit(cache=True, nogil=True)(loop)
    except RuntimeError:  # no place for the cache: a read-only file system without a home
        fast = numba.njit(nogil=True)(loop)
    return fast


def choose(loop: Callable[..., Any], plain: Callable[..., Any], rows: int) -> Callable[..., Any]:
    """`loop` compiled, or its equal in NumPy, for a call on `rows` rows."""
    if available() and (rows >= WORTH_LOADING or "numba" in sys.modules):
        return compiled(loop)
    return plain
