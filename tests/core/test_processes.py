"""Ctrl-C of a terminal reaches a whole group of processes; only the parent is to hear it. Whatever
ends a command, it ends in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hilum.core import files
from hilum.core.processes import (
    deaf_children,
    heard,
    interrupted,
    listening,
    nursery,
    patient,
    undivided,
)

CHILD = "import sys; print('up', flush=True); sys.stdin.read(); print('whole', flush=True)"
WORK = """
import sys, time
from hilum.core.processes import heard, listening
with listening():
    try:
        print('up', flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print('clearing', flush=True)
        time.sleep(float(sys.argv[1]))
        print('in order:', heard().name, flush=True)
"""
FORK = """
import os, signal, sys, time
from hilum.core.processes import listening
with listening():
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        try:
            time.sleep(60)
        finally:
            print('the parent is told, not its child', flush=True)
    os.wait()
"""
pytestmark = pytest.mark.usefixtures("hearing")

ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


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


@pytest.mark.parametrize("number", ENDS, ids=lambda n: n.name)
def test_whatever_ends_a_command_it_ends_in_order(number: signal.Signals) -> None:
    process = started(WORK, "0")
    assert said(process) == "up"
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, f"clearing\nin order: {number.name}\n")


def test_a_signal_that_is_sent_twice_does_not_tear_the_clearing_up() -> None:
    process = started(WORK, "1")  # `timeout` sends SIGTERM to a process and to its group
    assert said(process) == "up"
    process.send_signal(signal.SIGTERM)
    assert said(process) == "clearing"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "in order: SIGTERM\n")


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert heard() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_forked_child_ends_as_any_process_does() -> None:
    process = started(FORK)
    os.kill(int(said(process)), signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")


def test_a_step_is_ended_before_an_interrupt_is_answered() -> None:
    with listening(), patient():
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt), patient(False):
            pytest.fail("what may take minutes does not begin")
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)  # a second Ctrl-C does not wait
        assert heard() == signal.SIGTERM
    with patient():
        assert not interrupted()  # it is answered: the next work of this process goes on


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_what_workers_are_forked_from_holds_one_thread() -> None:
    words = (
        "import importlib, os; from hilum.core.processes import IMPORTED\n"
        "for name in IMPORTED: importlib.import_module(name)\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    # OpenBLAS starts threads of its own, and knows of forks.
    one = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", words], env=one, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1"]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no masks of signals")
def test_workers_never_hear_the_interrupt_of_their_terminal() -> None:
    with nursery().Pool(1) as pool:
        assert signal.SIGINT in pool.apply(signal.pthread_sigmask, (signal.SIG_BLOCK, ()))


def test_an_interrupt_waits_for_instructions_that_belong_together() -> None:
    done: list[str] = []

    def work() -> None:
        with undivided():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("both")
        done.append("more")

    with listening(), pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["both"]


def test_an_interrupt_while_a_file_is_begun_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = files._beside

    def interrupted_there(target: Path) -> tuple[Path, int]:
        out = beside(target)
        os.kill(os.getpid(), signal.SIGTERM)
        return out

    monkeypatch.setattr(files, "_beside", interrupted_there)
    with listening(), pytest.raises(KeyboardInterrupt):
        files.write_text(tmp_path / "a.json", "{}")
    assert not list(tmp_path.iterdir())
