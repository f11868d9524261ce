"""The database: opened, brought to today's form, written in transactions that are flushed.

SQLite (write-ahead log, every commit on the disk) or PostgreSQL by URL. Knows no state machine.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, delete, event, func, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from hilum.core.errors import ConfigError, HilumError
from hilum.serve import tables

Clock = Callable[[], float]
BUSY_S = 30.0  # how long a writer waits for another one
MIGRATIONS = Path(__file__).with_name("migrations")
# What helps, by SQLSTATE (PostgreSQL, appendix A), where the code alone tells it.
_REMEDIES = {
    "28P01": "the password of this user there",
    "28000": "a user that the server lets in from here (pg_hba.conf)",
    "3D000": "the database, made there (createdb)",
    "42501": "a user that may make tables there",
}
_SOME_REMEDY = "a server that is up and knows this user, or for SQLite a folder that can be written"


class RecordsUnavailable(HilumError):
    """The database cannot be reached or written; nothing was recorded, ask again later."""


def hashed(*parts: str | None) -> str:
    """The id of something: 32 hexadecimal digits that follow from what it is."""
    joined = "\0".join(part or "" for part in parts)
    return hashlib.sha256(joined.encode(errors="surrogatepass")).hexdigest()[:32]


def plain(text: str | None, limit: int = 1000) -> str | None:
    """Text that every database takes: without NUL and halves of characters, and not too long."""
    if text is None:
        return None
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:limit]


class Records:
    """`with records.write() as session`: one transaction, on the disk when the block has ended."""

    def __init__(self, url: str, *, clock: Clock = time.time) -> None:
        """
        Raises:
            ConfigError: no such kind of database, or its driver is not installed.
        """
        self.url, self.clock = url, clock
        try:
            kind = make_url(url).get_backend_name()
            if kind not in ("sqlite", "postgresql"):
                raise ConfigError(f"database {kind}; needed: sqlite or postgresql")
            self.engine = _engine(url)
        except (ArgumentError, NoSuchModuleError) as error:
            raise ConfigError(
                "the database's URL is none; needed: postgresql+pg8000://..."
            ) from error
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"the database's driver is not installed ({error.name}); needed: a URL that begins "
                "with postgresql+pg8000:// and pip install 'hilum[postgres]'"
            ) from error
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        # Writers of one process queue here: SQLite's own waiting is polling, and unfair.
        self._writing = threading.RLock() if kind == "sqlite" else None

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that nothing written by others comes between (SQLite).

        Raises:
            RecordsUnavailable: locked, read-only, full, away. Nothing of the block is kept.
        """
        if self._writing is None:
            with self._session() as session:
                yield session
            return
        with self._writing, self._session() as session:
            session.execute(text("BEGIN IMMEDIATE"))
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session to look with.

        Raises:
            RecordsUnavailable: the database is away.
        """
        with self._session() as session:
            yield session

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with self._sessions() as session:
                yield session
                session.commit()
        except SQLAlchemyError as error:
            raise RecordsUnavailable(f"the database does not take it ({_kind(error)})") from None

    def upgrade(self) -> None:
        """Bring the tables to today's form (Alembic); what waits in them stays.

        Raises:
            RecordsUnavailable: the database is away, or newer than this program.
        """
        from alembic import command

        self._migrate(lambda settings: command.upgrade(settings, "head"))

    def downgrade(self, version: str) -> None:
        """Bring the tables to the form of an older program, such as "0001"; while nobody uses them.

        Raises:
            RecordsUnavailable: the database is away, or there was no such version.
        """
        from alembic import command

        self._migrate(lambda settings: command.downgrade(settings, version))

    def _migrate(self, migration: Callable[[Any], None]) -> None:
        from alembic.config import Config as Alembic
        from alembic.util import CommandError

        settings = Alembic()
        settings.set_main_option("script_location", str(MIGRATIONS))
        try:
            with self.engine.begin() as connection:
                if self._writing is None:  # several services may start at once
                    connection.execute(text("SELECT pg_advisory_xact_lock(727172)"))
                else:
                    connection.execute(text("BEGIN IMMEDIATE"))
                settings.attributes["connection"] = connection
                migration(settings)
        except CommandError as error:
            raise RecordsUnavailable(f"{error}; needed: a hilum at least as new") from None
        except SQLAlchemyError as error:
            where, kind = self.engine.url.set(password=None, query={}), _kind(error)
            needed = _REMEDIES.get(kind.rpartition(" ")[2], _SOME_REMEDY)
            raise RecordsUnavailable(
                f"{where} does not answer, or cannot be migrated ({kind}); needed: {needed}"
            ) from None

    def close(self) -> None:
        self.engine.dispose()

    # --- Questions that several modules ask -----------------------------------------------------

    def add_once(self, session: Session, row: tables.Base) -> bool:
        """Insert by primary key; False where it is there already."""
        table = type(row).__table__
        values = {c.key: getattr(row, c.key) for c in table.columns}
        for column in table.columns:
            if values[column.key] is None:
                del values[column.key]
        dialect = sqlite if self._writing is not None else postgresql
        statement = dialect.insert(table).values(values).on_conflict_do_nothing()
        return bool(session.execute(statement).rowcount)  # type: ignore[attr-defined]

    def alone(self, session: Session, name: str) -> None:
        """Until the transaction ends, nobody else is in one of this name. SQLite's writers are
        alone anyway."""
        if self._writing is None:
            number = int(hashed(name)[:15], 16)
            session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

    def image(self, id: str) -> tables.Image | None:
        with self.read() as session:
            return session.get(tables.Image, id)

    def say(self, session: Session, image: str, state: str, what: str) -> None:
        """Add to an image's history, which is also what pages are told."""
        values = {"image": image, "at": self.clock(), "what": what, "state": state}
        session.execute(insert(tables.Event).values(values))

    def end_sessions(self, name: str) -> int:
        """Log a user out everywhere; how many sessions that were."""
        gone = delete(tables.Session).where(tables.Session.name == name)
        with self.write() as session:
            return int(session.execute(gone).rowcount)  # type: ignore[attr-defined]

    def history(self, image: str) -> list[tables.Event]:
        with self.read() as session:
            query = select(tables.Event).where(tables.Event.image == image)
            return list(session.scalars(query.order_by(tables.Event.number)))

    def counts(self) -> dict[str, int]:
        """Images by state."""
        with self.read() as session:
            rows = session.execute(
                select(tables.Image.state, func.count()).group_by(tables.Image.state)
            )
            return {state: int(count) for state, count in rows}

    def bytes(self) -> int:
        """Of everything that is held."""
        with self.read() as session:
            sums = (func.coalesce(func.sum(t.bytes), 0) for t in (tables.Image, tables.Result))
            return sum(int(session.scalar(select(one)) or 0) for one in sums)


def _kind(error: SQLAlchemyError) -> str:
    """The driver's name and code of what went wrong; its message would quote values."""
    cause = getattr(error, "orig", None) or error
    reason = cause.args[0] if cause.args else None
    state = reason.get("C") if isinstance(reason, dict) else None  # SQLSTATE, by pg8000
    code = getattr(cause, "sqlite_errorname", None) or state
    return " ".join(filter(None, (type(cause).__name__, code)))


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)
    engine = create_engine(url, connect_args={"timeout": BUSY_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
