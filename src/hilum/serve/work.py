"""Durable work in the database: claimed under a lease, done once, taken over from the dead.

A piece of work is added in the transaction that makes it necessary and finished in the one that
keeps its outcome, so neither can be there without the other. Ids follow from what is to be done:
adding it again adds nothing. A worker renews its lease while it lives; work whose lease has run
out belongs to whoever asks next. Of equal priority the askers take turns, so that a thousand pieces
of one do not hold up one piece of another. Knows nothing of what the work is.

Not DBOS, which the design named: its package cannot be installed without psycopg (LGPL-3), its
queue lies in a database of its own, so that a row and its work cannot be committed together, and
work of a dead executor is handed over by a private call only.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from hilum.core.errors import HilumError
from hilum.serve.records import Records, hashed, plain
from hilum.serve.tables import Work

CHECK, ANALYSE, EXPLAIN = "check", "analyse", "explain"
DELIVER, PRIOR, WORKITEM = "deliver", "prior", "workitem"
ANALYSING, SENDING = (CHECK, ANALYSE, EXPLAIN), (DELIVER, PRIOR, WORKITEM)  # two lines
KINDS = ANALYSING + SENDING
LEASE_S = 30.0
CRASHES = 3  # workers that a piece of work may kill
ATTEMPTS = 25  # claims without an end, such as by hosts that died
SKEW_S = 60.0  # by which clocks of hosts may differ; what was said later than that was said before
#                a clock was set back, and its time is not waited for


class LeaseLost(HilumError):
    """Another worker has taken this work over; what was done here is not kept."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What is to be done."""

    records: Records
    lease_s: float = LEASE_S

    def add(
        self,
        session: Session,
        kind: str,
        subject: str,
        *,
        key: str = "",
        priority: int = 0,
        asker: str | None = None,
        turn: int | None = None,
        details: dict[str, Any] | None = None,
    ) -> bool:
        """Add work in the caller's transaction; False where it was added before.

        Args:
            subject: the image or delivery it is about.
            key: what tells it from other work of the kind about the subject.
            asker: whose it is.
            turn: its place in the line, such as that of the work it follows from; None: behind
                what the asker has there.
        """
        now = self.records.clock()
        work = Work(
            id=hashed(kind, subject, key),
            kind=kind,
            subject=subject,
            details=details or {},
            state="waiting",
            priority=priority,
            due=now,
            asked=now,
            asker=plain(asker),
            turn=self.turn(session, kind, asker)[0] if turn is None else turn,
            attempts=0,
            crashes=0,
        )
        return self.records.add_once(session, work)

    def turn(self, session: Session, kind: str, asker: str | None) -> tuple[int, int]:
        """The place of an asker's next work in its line, and the place where the line begins.

        Start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996) of pieces of one size.
        """
        line = ANALYSING if kind in ANALYSING else SENDING
        waiting = select(Work.turn).where(Work.kind.in_(line), Work.state == "waiting")
        due = waiting.where(Work.due <= self.records.clock())
        begin = session.scalar(due.order_by(Work.turn).limit(1))
        own = waiting.where(Work.asker == plain(asker))
        last = session.scalar(own.order_by(Work.turn.desc()).limit(1))
        behind = 0 if last is None else last + 1
        begin = behind if begin is None else begin
        return max(begin, behind), begin

    def again(
        self,
        session: Session,
        kind: str,
        subject: str,
        key: str = "",
        details: dict[str, Any] | None = None,
    ) -> bool:
        """Work that has ended is to be done once more; False where there is none such."""
        work = session.get(Work, hashed(kind, subject, key), with_for_update=True)
        if work is None or work.state not in ("done", "failed"):
            return False
        work.state, work.reason = "waiting", None
        work.due = work.asked = self.records.clock()
        work.turn = self.turn(session, kind, work.asker)[0]
        work.attempts = work.crashes = 0
        work.details = work.details if details is None else details
        return True

    def hurry(self, session: Session, kind: str, subject: str) -> None:
        """What waits for its time is due now."""
        waiting = Work.subject == subject, Work.kind == kind, Work.state == "waiting"
        now = self.records.clock()
        session.execute(update(Work).where(*waiting).values(due=now, asked=now))

    # --- A worker -------------------------------------------------------------------------------

    def claim(
        self, owner: str, kinds: Collection[str] = KINDS, share: int | None = None
    ) -> Work | None:
        """The most urgent work of these kinds that is due, now the owner's; None: none is.

        Args:
            share: nothing of an asker of whose work so much is going on.
        """
        now = self.records.clock()
        due = or_(Work.due <= now, Work.asked > now + SKEW_S)
        free = or_(
            and_(Work.state == "waiting", due),
            and_(Work.state == "running", Work.lease < now),
        )
        # Checks first: how urgent an image is, its header says.
        urgent = Work.kind != CHECK, Work.priority.desc(), Work.turn, Work.due, Work.id
        query = select(Work).where(Work.kind.in_(kinds), free).order_by(*urgent).limit(1)
        if share is not None:
            going = Work.kind.in_(kinds), Work.state == "running", Work.lease >= now
            busy = select(Work.asker).where(*going, Work.asker.is_not(None)).group_by(Work.asker)
            busy = busy.having(func.count() >= share)
            query = query.where(or_(Work.asker.is_(None), Work.asker.not_in(busy)))
        with self.records.read() as session:  # asking often must not hold up writers
            if session.scalar(query) is None:
                return None
        with self.records.write() as session:
            work = session.scalar(query.with_for_update(skip_locked=True))
            if work is None:
                return None
            work.state, work.owner, work.lease = "running", owner, now + self.lease_s
            work.attempts += 1
        return work

    def renew(self, owner: str) -> None:
        """The owner lives: its leases run on."""
        lease = self.records.clock() + self.lease_s
        with self.records.write() as session:
            session.execute(_of(owner).values(lease=lease))

    def finish(self, session: Session, work: Work, state: str = "done", reason: str = "") -> None:
        """End work in the caller's transaction.

        Raises:
            LeaseLost: it is no longer the caller's; the transaction must not be kept.
        """
        self._end(session, work, state=state, owner=None, lease=None, reason=reason or None)

    def postpone(
        self, session: Session, work: Work, due: float, reason: str, *, counted: bool = True
    ) -> None:
        """Do it later; not counted: as if it had not been tried.

        Raises:
            LeaseLost: see `finish`.
        """
        later = {"state": "waiting", "due": due, "asked": self.records.clock()}
        later["attempts"] = work.attempts - (not counted)
        self._end(session, work, **later, owner=None, lease=None, reason=reason)

    def _end(self, session: Session, work: Work, **values: Any) -> None:
        query = update(Work).where(
            Work.id == work.id, Work.owner == work.owner, Work.attempts == work.attempts
        )
        if not session.execute(query.values(**values)).rowcount:  # type: ignore[attr-defined]
            raise LeaseLost(f"{work.kind}: taken over by another worker")

    # --- A supervisor ---------------------------------------------------------------------------

    def release(self, owner: str, *, crashed: bool) -> int:
        """The owner is dead: its work is free at once. How much that was.

        Args:
            crashed: it died at its work, by itself; work that does so again and again is not
                claimed for ever (see `worn_out`).
        """
        with self.records.write() as session:
            crashes = Work.crashes + int(crashed)
            query = _of(owner).values(state="waiting", owner=None, lease=None, crashes=crashes)
            return int(session.execute(query).rowcount)  # type: ignore[attr-defined]


def worn_out(work: Work) -> bool:
    """True where workers die of it: it must end as failed, not be tried again."""
    # What waits for others is claimed again and again; their destinations say for how long.
    return work.crashes >= CRASHES or (
        work.attempts > ATTEMPTS and work.kind in (CHECK, ANALYSE, EXPLAIN)
    )


def _of(owner: str) -> Any:
    return update(Work).where(Work.owner == owner, Work.state == "running")


class Heartbeat:
    """Renews an owner's leases until it is stopped or the process dies."""

    def __init__(self, queue: Queue, owner: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(queue, owner), name="heartbeat", daemon=True
        )
        self._thread.start()

    def _run(self, queue: Queue, owner: str) -> None:
        from hilum.serve.records import RecordsUnavailable

        while not self._stop.wait(queue.lease_s / 3):
            try:
                queue.renew(owner)
            except RecordsUnavailable:  # the lease says how long that may last
                continue

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
