"""How the children of a command begin, and how it and they hear that they are to end: one way for
all.

Ctrl-C, SIGTERM (a service manager, a cluster's scheduler) and SIGHUP (a closed terminal) alike are
a KeyboardInterrupt of the main thread, so that what is open is closed, half files go, children end.
Children never hear Ctrl-C, which reaches the whole group of a terminal: the parent decides.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
# What workers that analyse need, for `nursery`.
IMPORTED = ("hilum.inference.pool", "hilum.report.results", "hilum.report.writers.picture")


@dataclass(slots=True)
class _State:
    heard: signal.Signals | None = None  # the first that came
    waits: bool = False  # whether it is asked for, by `interrupted`


_state = _State()


@contextmanager
def listening() -> Iterator[None]:
    """While this lasts, each of `SIGNALS` interrupts; those that are ignored (nohup) stay so."""
    _state.heard, _state.waits = None, False
    before = {}
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, _hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.heard = None  # it is answered


def heard() -> signal.Signals | None:
    """The signal that interrupted, while `listening` lasts."""
    return _state.heard


@contextmanager
def patient(value: bool = True) -> Iterator[None]:
    """Inside, an interrupt waits for whoever asks `interrupted`; a second Ctrl-C does not. With
    False it does not wait after all."""
    before, _state.waits = _state.waits, value
    try:
        if not value and _state.heard is not None:
            raise KeyboardInterrupt
        yield
    finally:
        _state.waits = before


@contextmanager
def undivided() -> Iterator[None]:
    """Inside, an interrupt waits for the end: for a few instructions that belong together. In
    other threads than the first, where no interrupt is raised, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, known = _state.waits, _state.heard
    _state.waits = True
    try:
        yield
    finally:
        _state.waits = before
    if not before and known is None and _state.heard is not None:
        raise KeyboardInterrupt


def interrupted() -> bool:
    """Whether an interrupt waits: save, then raise KeyboardInterrupt."""
    return _state.waits and _state.heard is not None


def _hear(number: int, _: Any) -> None:
    first = _state.heard is None
    if first:
        _state.heard = signal.Signals(number)
        if _state.waits:
            if sys.stderr.isatty():
                os.write(2, b"\nhilum: ending this step; Ctrl-C again ends at once\n")
            return
    elif number != signal.SIGINT:
        return  # `timeout` and supervisors send it twice; it must not tear the clearing up
    raise KeyboardInterrupt


@contextmanager
def same_handlers() -> Iterator[None]:
    """Inside, libraries may set handlers of their own; afterwards those of before are there."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():  # only the main thread can have changed them
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def _forked() -> None:
    """A forked child ends as any process does; what it shares with its parent is the parent's."""
    for number in SIGNALS:
        if signal.getsignal(number) is _hear:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that begin inside never hear SIGINT, from their first instruction on."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def nursery(*modules: str) -> ForkServerContext | SpawnContext:
    """Where processes begin that need these modules: in a process beside this one, which imports
    them at once and once for all, and is forked for each child.

    This process itself is never forked: it may hold threads (ONNX Runtime, OpenCV, a progress bar).
    Asked for early, its imports and those of this process take their time together. The first
    modules that are named stay. Where there can be no such process (Windows; a temporary folder
    whose name is too long for a socket) children import by themselves.
    """
    import multiprocessing

    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # its start lets SIGINT through again
    try:
        with deaf_children():
            forkserver.ensure_running()
    except OSError:
        return multiprocessing.get_context("spawn")
    return context
