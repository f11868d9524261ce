"""The guarded child gives the same images, and survives what the parent should not see."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import uid as uids

from helpers.dicom_files import dataset, image, stored, to_bytes
from helpers.waiting import until
from hilum.core.errors import (
    ConfigError,
    LimitRefused,
    NotChestRadiographRefused,
    NotFoundRefused,
    UnreadableRefused,
)
from hilum.core.turns import Busy
from hilum.dicom import guard as guards
from hilum.dicom.gate import check_chest_header
from hilum.dicom.guard import Guard, open_guarded
from hilum.dicom.limits import Limits
from hilum.dicom.read import read

DEEP = image(stored(bits=12), 12, ViewPosition="PA", WindowCenter=9, WindowWidth=99)


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    result = Guard()
    yield result
    result.close()


def pid(guard: Guard) -> int:
    """Of the child that is asked next."""
    with guard._turn() as child:
        return child.running().pid


@pytest.mark.parametrize("file", [DEEP, bytes(imagecodecs.png_encode(stored()))])
@pytest.mark.parametrize("options", [{}, {"full_range": True}, {"window": (100, 200)}])
def test_guarded_reading_is_the_same(guard: Guard, file: bytes, options: dict[str, Any]) -> None:
    guarded, plain = guard.open(("a", file)).radiograph(**options), read(("a", file), **options)
    np.testing.assert_array_equal(guarded.pixels, plain.pixels)
    assert (guarded.source, guarded.view, guarded.ids) == ("a", plain.view, plain.ids)
    assert guarded.decoding == plain.decoding
    if plain.valid is not None:
        np.testing.assert_array_equal(guarded.valid, plain.valid)


def test_a_guarded_image_is_gated_pickled_and_written_like_any_other() -> None:
    opened = open_guarded(("a", image(stored(), Modality="MR")))
    with pytest.raises(NotChestRadiographRefused, match="of modality MR"):
        check_chest_header(opened)
    assert opened.dataset().Modality == "MR"
    again = pickle.loads(pickle.dumps(opened))  # noqa: S301  our own bytes
    assert type(again) is type(opened)
    np.testing.assert_array_equal(again.radiograph().pixels, opened.radiograph().pixels)


def test_one_child_serves_many_files_and_is_replaced_in_the_end(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pid(guard)
    assert pid(guard) == first
    monkeypatch.setattr(guards, "FILES_A_CHILD", 1)
    assert pid(guard) != first


def test_refusals_come_back_typed(guard: Guard) -> None:
    with pytest.raises(UnreadableRefused, match=r"a: .*truncated"):
        guard.open(("a", image(stored())[:-100]))
    damaged = to_bytes(dataset(stored()), None, uids.JPEG2000, frame=b"nothing")
    opened = guard.open(("b", damaged))
    with pytest.raises(UnreadableRefused, match=r"b: .*JPEG 2000"):
        opened.radiograph()
    with pytest.raises(NotFoundRefused):
        guard.open("no such file")
    with pytest.raises(LimitRefused):
        guard.open(DEEP, limits=Limits(file_bytes=100))
    with pytest.raises(ConfigError):
        guard.open(DEEP).radiograph(window=(1, 0))


def test_time_and_memory_are_limited_and_the_next_file_is_served() -> None:
    large = image(stored((5000, 4000), bits=12), 12)
    with pytest.raises(LimitRefused, match="longer than"):
        open_guarded(large, timeout_s=0.001).radiograph()
    small = Guard(memory_bytes=500 * 2**20)
    try:
        with pytest.raises(LimitRefused, match="more than 500 MiB"):
            small.open(large).radiograph()
        assert small.open(DEEP).radiograph().view == "PA"
    finally:
        small.close()


def test_a_child_that_dies_costs_one_file(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = guard.open(("a", DEEP))
    os.kill(pid(guard), 9)
    time.sleep(0.2)
    assert opened.radiograph().view == "PA"  # seen before the question: a new one is asked
    asked = pid(guard)
    monkeypatch.setattr(guards, "_send", lambda *_: os.kill(asked, 9))
    with pytest.raises(UnreadableRefused, match="a: it crashes its decoder"):
        opened.radiograph()
    monkeypatch.undo()
    assert opened.radiograph().view == "PA"


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 3",)


def test_a_child_that_was_taken_over_cannot_make_the_parent_run_code(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(os, "system", ran.append)
    monkeypatch.setattr(guards, "_received", lambda *_: pickle.dumps(_Evil()))
    with pytest.raises(UnreadableRefused, match="no answer"):
        guard.open(DEEP)
    assert not ran


def test_what_decoders_print_is_no_answer() -> None:
    """A child's own standard output goes nowhere; its errors, which may quote a file, neither."""
    opened = open_guarded(("CANARY", image(stored(), PatientName="CANARY")))
    assert opened.radiograph().source == "CANARY"


def test_every_thread_gets_the_answer_to_its_own_question() -> None:
    """A service decodes for several readers at once: nobody may see another one's image."""
    files = [image(stored((20 + n, 20)), PatientID=f"p{n}") for n in range(4)]

    def asked(number: int) -> tuple[int, str | None]:
        read = open_guarded((f"{number}", files[number % 4])).radiograph()
        return read.height, read.ids.patient_id

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(asked, range(16)))
    assert answers == [(20 + n % 4, f"p{n % 4}") for n in range(16)]


def test_a_file_that_keeps_its_child_busy_holds_up_nobody_else(guard: Guard) -> None:
    first = pid(guard)
    os.kill(first, signal.SIGSTOP)  # as if it decoded for seconds
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(lambda: guard.open(("slow", DEEP)).source)
        while guard._idle:
            time.sleep(0.01)
        assert guard.open(("other", DEEP)).radiograph().view == "PA"
        assert not slow.done()
        os.kill(first, signal.SIGCONT)
        assert slow.result() == "slow"


def test_no_more_children_than_it_may_have() -> None:
    small = Guard(children=2)
    try:
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda n: small.open((f"{n}", DEEP)).radiograph(), range(12)))
        assert 1 <= len(small._idle) <= 2
    finally:
        small.close()
    assert not small._idle


def test_the_slow_files_of_one_reader_leave_children_to_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, go, real = Guard(), threading.Event(), guards._Child.ask
    asked: list[str] = []

    def slow(child: guards._Child, name: str, *rest: Any) -> Any:
        asked.append(name)
        assert not name.startswith("slow") or go.wait(20)
        return real(child, name, *rest)

    monkeypatch.setattr(guards._Child, "ask", slow)
    with ThreadPoolExecutor(8) as threads, closing(own):
        for number in range(2 + guards.WAITING):
            threads.submit(own.open, (f"slow {number}", DEEP), asker="one")
        until(lambda: len(asked) == 2 and len(own._turns._waiters) == guards.WAITING, go)
        with pytest.raises(Busy):
            own.open(("one more", DEEP), asker="one")
        assert own.open(("other", DEEP), asker="other").radiograph().view == "PA"
        assert [name for name in asked if name.startswith("slow")] == asked[:2]
        go.set()


def test_whose_image_it_is_counts_when_it_is_decoded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    askers: list[Any] = []
    real = Guard.ask
    monkeypatch.setattr(
        Guard, "ask", lambda *of, **named: (askers.append(named["asker"]), real(*of, **named))[1]
    )
    open_guarded(("a", DEEP), asker="anna").radiograph()
    assert askers == ["anna", "anna"]


def test_a_child_that_does_not_start_in_time_is_nobodys_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On an overloaded machine what it said when it was ready was taken for the next answer."""
    own = Guard()
    with closing(own):
        with monkeypatch.context() as patched:
            patched.setattr(guards, "_START_S", 0.0)
            with pytest.raises(Busy, match="too much to do"):
                own.open(("a", DEEP))
        assert own.open(("b", DEEP)).radiograph().view == "PA"
