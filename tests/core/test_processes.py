"""Ctrl-C of a terminal reaches a whole group of processes; only the parent is to hear it."""

from __future__ import annotations

import signal
import subprocess
import sys

from hilum.core.processes import deaf_children

CHILD = "import sys; print('up', flush=True); sys.stdin.read(); print('whole', flush=True)"


def test_a_child_never_hears_an_interrupt_and_its_parent_does() -> None:
    with deaf_children():
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, b"whole\n")

    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())  # the parent does
