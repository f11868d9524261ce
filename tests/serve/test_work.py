"""Work is done once, by one worker, and never lost with the worker."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from helpers.service import Parts
from hilum.serve.tables import Work
from hilum.serve.work import ATTEMPTS, CRASHES, LeaseLost, worn_out


def add(parts: Parts, subject: str = "a" * 32, **options: object) -> bool:
    parts.clock.now += 1
    with parts.records.write() as session:
        return parts.queue.add(session, "check", subject, **options)  # type: ignore[arg-type]


def test_work_that_was_added_is_never_added_again(parts: Parts) -> None:
    assert add(parts)
    assert not add(parts)
    work = parts.queue.claim("one")
    assert work is not None
    with parts.records.write() as session:
        parts.queue.finish(session, work)
    assert not add(parts)
    assert parts.queue.claim("one") is None


def test_work_goes_with_the_transaction_that_made_it(parts: Parts) -> None:
    def torn() -> None:
        with parts.records.write() as session:
            parts.queue.add(session, "check", "b" * 32)
            raise RuntimeError("before the end")

    with pytest.raises(RuntimeError):
        torn()
    assert parts.queue.claim("one") is None


def test_two_workers_never_have_the_same_work(parts: Parts) -> None:
    for number in range(20):
        add(parts, f"{number:032x}")
    claimed: list[str] = []

    def work(owner: str) -> None:
        while (work := parts.queue.claim(owner)) is not None:
            claimed.append(work.id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 20


def test_urgent_work_comes_first_then_the_oldest(parts: Parts) -> None:
    for subject, priority in (("1" * 32, 0), ("2" * 32, 2), ("3" * 32, 0)):
        add(parts, subject, priority=priority)
    order = [work.subject[0] for _ in range(3) if (work := parts.queue.claim("w"))]
    assert order == ["2", "1", "3"]


def test_what_an_image_is_stands_before_others_are_analysed(parts: Parts) -> None:
    """Else an urgent one would wait behind all that are not, until its header says so."""
    with parts.records.write() as session:
        for number, priority in enumerate((0, 2)):
            parts.queue.add(session, "analyse", f"{number:032x}", priority=priority)
    parts.clock.now += 1
    add(parts)
    order = [work.kind for _ in range(3) if (work := parts.queue.claim("w"))]
    assert order == ["check", "analyse", "analyse"]


def test_work_of_the_dead_is_taken_over_when_the_lease_runs_out(parts: Parts) -> None:
    add(parts)
    dead = parts.queue.claim("dead")
    assert parts.queue.claim("alive") is None
    parts.clock.now += parts.queue.lease_s + 1
    taken = parts.queue.claim("alive")
    assert taken is not None
    assert dead is not None
    with pytest.raises(LeaseLost), parts.records.write() as session:
        parts.queue.finish(session, dead)
    with parts.records.write() as session:
        parts.queue.finish(session, taken)


def test_a_worker_that_lives_keeps_its_work(parts: Parts) -> None:
    add(parts)
    parts.queue.claim("slow")
    for _ in range(3):
        parts.clock.now += parts.queue.lease_s * 0.9
        parts.queue.renew("slow")
        assert parts.queue.claim("other") is None


def test_a_supervisor_frees_the_work_of_a_dead_worker_at_once(parts: Parts) -> None:
    add(parts)
    parts.queue.claim("dead")
    assert parts.queue.release("dead", crashed=True) == 1
    work = parts.queue.claim("alive")
    assert work is not None
    assert (work.crashes, work.attempts) == (1, 2)


def test_work_that_kills_its_workers_is_worn_out(parts: Parts) -> None:
    assert not worn_out(Work(crashes=CRASHES - 1, attempts=ATTEMPTS))
    assert worn_out(Work(crashes=CRASHES, attempts=1))
    assert worn_out(Work(kind="check", crashes=0, attempts=ATTEMPTS + 1))
    assert not worn_out(Work(kind="deliver", crashes=0, attempts=ATTEMPTS + 1))


def test_postponed_work_waits_for_its_time(parts: Parts) -> None:
    add(parts)
    work = parts.queue.claim("w")
    assert work is not None
    with parts.records.write() as session:
        parts.queue.postpone(session, work, parts.clock.now + 60, "away")
    assert parts.queue.claim("w") is None
    parts.clock.now += 60
    assert parts.queue.claim("w") is not None


def test_work_that_ended_can_be_asked_for_again(parts: Parts) -> None:
    add(parts)
    work = parts.queue.claim("w")
    assert work is not None
    with parts.records.write() as session:
        parts.queue.finish(session, work, "failed", "no bundle")
    with parts.records.write() as session:
        assert parts.queue.again(session, "check", "a" * 32)
        assert not parts.queue.again(session, "check", "a" * 32)  # it waits already
        assert session.scalar(select(Work.reason)) is None
    assert parts.queue.claim("w") is not None


def order(parts: Parts, **options: Any) -> str:
    """Subjects, as they are claimed and ended, one at a time."""
    claimed = ""
    while (work := parts.queue.claim("w", **options)) is not None:
        claimed += work.subject[0]
        with parts.records.write() as session:
            parts.queue.finish(session, work)
    return claimed


def test_askers_take_turns(parts: Parts) -> None:
    for subject in "12345":
        add(parts, subject * 32, asker="many")
    for subject in "ab":
        add(parts, subject * 32, asker="few")
    assert order(parts) == "1a2b345"
    for subject in "6789":
        add(parts, subject * 32, asker="many")
    assert [work.subject[0] for _ in range(2) if (work := parts.queue.claim("w"))] == ["6", "7"]
    add(parts, "c" * 32, asker="few")  # who comes late begins where the others are
    add(parts, "d" * 32, asker="few")
    assert order(parts) == "8c9d"


def test_urgent_work_of_anybody_comes_before_turns(parts: Parts) -> None:
    add(parts, "1" * 32, asker="few")
    for subject in "23":
        add(parts, subject * 32, asker="many", priority=2)
    assert order(parts) == "231"


def test_nothing_is_claimed_of_who_has_its_share(parts: Parts) -> None:
    for subject in "123":
        add(parts, subject * 32, asker="slow")
    add(parts, "a" * 32, asker="quick")
    add(parts, "b" * 32)
    claimed = [work.subject[0] for _ in range(5) if (work := parts.queue.claim("w", share=2))]
    assert sorted(claimed) == ["1", "2", "a", "b"]
    assert parts.queue.claim("w") is not None  # of those who ask for no share


def test_a_clock_that_is_set_back_stops_no_work(parts: Parts) -> None:
    add(parts, "1" * 32)
    add(parts, "2" * 32)
    work = parts.queue.claim("w")
    assert work is not None
    with parts.records.write() as session:
        parts.queue.postpone(session, work, parts.clock.now + 900, "away")
    parts.clock.now -= 3600
    add(parts, "3" * 32)
    assert sorted(order(parts)) == ["1", "2", "3"]


def test_clocks_that_differ_a_little_hurry_nothing(parts: Parts) -> None:
    add(parts)
    work = parts.queue.claim("w")
    assert work is not None
    with parts.records.write() as session:
        parts.queue.postpone(session, work, parts.clock.now + 900, "away")
    parts.clock.now -= 5  # as another host's is
    assert parts.queue.claim("w") is None
