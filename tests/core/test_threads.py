"""Work in threads comes back in order, few things ahead, and stops where it is left."""

from __future__ import annotations

import itertools
import threading

import pytest

from hilum.core.threads import in_threads


def test_answers_come_in_order_and_few_are_begun_ahead() -> None:
    begun = itertools.count()
    answers = in_threads(lambda number: (next(begun), number * 2)[1], itertools.count(), 2)
    assert list(itertools.islice(answers, 50)) == list(range(0, 100, 2))
    assert next(begun) <= 70


def test_an_interrupt_waits_for_what_is_in_hand_and_begins_nothing_more() -> None:
    gate, begun = threading.Event(), list[int]()

    def work(number: int) -> int:
        begun.append(number)
        gate.wait(0 if number == 0 else 0.2)
        return number

    def interrupt() -> None:
        for _ in in_threads(work, range(1000), 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    before = list(begun)
    assert len(before) <= 4  # the first, those in hand
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPool")]


def test_an_error_of_the_work_is_raised_where_its_answer_is_taken() -> None:
    answers = in_threads(lambda number: 1 // number, [2, 1, 0, 1], 2)
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(answers)
