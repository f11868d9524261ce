"""Nobody's questions hold up everybody else's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from helpers.waiting import until
from hilum.core.turns import Busy, Turns


class Readers:
    """Each holds its place until it is told to go."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.order = turns, list[str]()
        self.go = threading.Event()
        self.threads = ThreadPoolExecutor(20)

    def close(self) -> None:
        self.go.set()
        self.threads.shutdown()

    def ask(self, asker: str, go: threading.Event | None = None) -> Future[None]:
        def held() -> None:
            with self.turns.one(asker):
                self.order.append(asker)
                assert (go or self.go).wait(20)

        return self.threads.submit(held)


@pytest.fixture
def readers() -> Iterator[Readers]:
    made = Readers(Turns(4, share=2, waiting=3, line=6))
    yield made
    made.close()


def test_four_slow_questions_of_one_leave_places_to_a_fifth(readers: Readers) -> None:
    slow = [readers.ask("slow") for _ in range(4)]
    until(lambda: readers.order.count("slow") == 2)
    readers.ask("other")
    until(lambda: "other" in readers.order)
    assert readers.order.count("slow") == 2
    readers.go.set()
    for one in slow:
        one.result(20)


def test_a_free_place_goes_to_who_holds_fewest(readers: Readers) -> None:
    first = threading.Event()
    readers.ask("a", first)  # the one place that becomes free
    for asker in ("a", "b", "b"):
        readers.ask(asker)
    until(lambda: len(readers.order) == 4)
    readers.ask("a")
    until(lambda: len(readers.turns._waiters) == 1)
    readers.ask("c")
    until(lambda: len(readers.turns._waiters) == 2)
    first.set()
    until(lambda: len(readers.order) == 5)
    assert readers.order[4] == "c"  # though "a" has waited longer
    readers.go.set()


def test_beyond_its_line_an_asker_is_told_and_the_others_are_not(readers: Readers) -> None:
    for _ in range(5):
        readers.ask("slow")
    until(lambda: len(readers.turns._waiters) == 3)
    with pytest.raises(Busy, match="ask again"), readers.turns.one("slow"):
        pass
    with readers.turns.one("other"):
        pass
    for asker in ("b", "c"):
        for _ in range(2):
            readers.ask(asker)
    until(lambda: len(readers.turns._waiters) == 5)
    readers.ask("d")
    until(lambda: len(readers.turns._waiters) == 6)
    with pytest.raises(Busy), readers.turns.one("e"):  # the line of all is full
        pass
    readers.go.set()
    readers.threads.shutdown()
    assert readers.turns._held.total() == 0
    assert not readers.turns._waiters


def test_the_program_itself_may_have_every_place(readers: Readers) -> None:
    with readers.turns.one(), readers.turns.one(), readers.turns.one(), readers.turns.one():
        assert readers.turns._held.total() == 4
