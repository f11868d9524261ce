"""The database is brought to today's form, and says nothing of anybody when it fails."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select
from sqlalchemy.exc import OperationalError

from helpers.archive import archive
from helpers.service import Parts, radiograph_file
from hilum.core.errors import ConfigError
from hilum.serve.events import Events
from hilum.serve.records import Records, RecordsUnavailable, hashed, plain
from hilum.serve.tables import Base, Image, Note, Work


def test_migrations_make_the_tables_that_the_code_knows(parts: Parts) -> None:
    with parts.records.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert differences == []


def test_upgrading_again_changes_nothing(parts: Parts) -> None:
    parts.receive(radiograph_file())
    parts.records.upgrade()
    assert parts.records.counts() == {"received": 1}


def test_queued_work_survives_an_upgrade_and_the_way_back(tmp_path: Path) -> None:
    with archive() as pacs:
        pacs.away = True
        one = {"web": {"url": pacs.url}}
        rules = [{"destinations": ["pacs"]}]
        options = {"destinations": {"pacs": one}, "rules": rules, "write": "sr"}
        parts = Parts(tmp_path, **options)
        parts.receive(radiograph_file("1.1"))
        parts.work()  # analysed; its delivery waits
        parts.receive(radiograph_file("1.2"))  # not even looked at
        assert "commitment" in columns(parts)
        parts.records.downgrade("0001")
        assert "commitment" not in columns(parts)
        parts.records.upgrade()
        pacs.away = False
        parts.clock.now += 3600
        parts.work()
        assert parts.records.counts() == {"analysed": 2}
        assert len(pacs.objects) == 2
        parts.close()


def test_a_claimed_work_item_survives_an_upgrade_and_the_way_back(tmp_path: Path) -> None:
    """Version 1 kept an item as a note without work of its own."""
    with archive() as server:
        server.workitems["1.5"] = {
            "00081195": {"vr": "UI", "Value": ["1.9"]},
            "00741000": {"vr": "CS", "Value": ["IN PROGRESS"]},
        }
        parts = Parts(tmp_path, worklist={"web": {"url": server.url}}, write="sr")
        id = parts.receive(radiograph_file()).id
        parts.records.downgrade("0001")
        value = {"uid": "1.5", "transaction": "1.9", "paths": [], "images": [id]}
        with parts.records.write() as session:
            session.add(Note(name=f"workitem {hashed('1.5')}", value=value))
        for _ in range(2):
            parts.records.upgrade()
            parts.records.downgrade("0001")
        with parts.records.read() as session:
            kinds = sorted(session.scalars(select(Work.kind)))
        assert kinds == ["check", "report"]  # as version 1 knows them
        parts.records.upgrade()
        parts.clock.now = time.time() + 60  # migrations have no clock of tests
        parts.work()
        assert server.workitems["1.5"]["00741000"]["Value"] == ["COMPLETED"]
        parts.close()


def columns(parts: Parts) -> set[str]:
    return {one["name"] for one in inspect(parts.records.engine).get_columns("deliveries")}


def test_a_version_that_never_was_is_named(parts: Parts) -> None:
    with pytest.raises(RecordsUnavailable, match="0042"):
        parts.records.downgrade("0042")


def test_a_newer_database_is_not_touched(parts: Parts) -> None:
    with parts.records.write() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RecordsUnavailable, match="at least as new"):
        parts.records.upgrade()


def test_another_kind_of_database_is_named() -> None:
    with pytest.raises(ConfigError, match="sqlite or postgresql"):
        Records("mysql://127.0.0.1/hilum")


def test_a_driver_that_is_not_installed_is_no_reason_to_take_another() -> None:
    with pytest.raises(
        ConfigError, match=r"postgresql\+pg8000:// and pip install 'hilum\[postgres"
    ):
        Records("postgresql://127.0.0.1/hilum")


@pytest.mark.parametrize(
    ("state", "needed"), [("28P01", "the password"), ("3D000", "createdb"), ("57P03", "is up")]
)
def test_what_a_server_answers_says_what_helps(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, state: str, needed: str
) -> None:
    class ServerError(Exception):
        """As pg8000 raises it."""

    def refused() -> None:
        raise OperationalError(None, None, ServerError({"C": state, "M": "CANARY"}))

    monkeypatch.setattr(parts.records.engine, "begin", refused)
    with pytest.raises(
        RecordsUnavailable, match=rf"\(ServerError {state}\); needed: .*{needed}"
    ) as e:
        parts.records.upgrade()
    assert "CANARY" not in str(e.value)


def test_errors_of_the_database_quote_no_values(parts: Parts) -> None:
    image = Image(id="a" * 32, content="", bytes=0, state="received", origin="upload")
    image.patient_name = "CANARY^NAME"
    with pytest.raises(RecordsUnavailable) as caught, parts.records.write() as session:
        session.add(image)  # `received` is missing
    assert "CANARY" not in str(caught.value)
    assert "(IntegrityError SQLITE_CONSTRAINT_NOTNULL)" in str(caught.value)
    assert caught.value.__cause__ is None


def test_ids_follow_from_what_they_name() -> None:
    assert hashed("a", "b") == hashed("a", "b")
    assert hashed("ab", "") != hashed("a", "b")
    assert len(hashed("a")) == 32


def test_text_that_no_database_takes_is_made_plain() -> None:
    assert plain("a\0b\ud800c") == "ab?c"
    assert plain(None) is None
    assert len(plain("x" * 5000) or "") == 1000


def test_a_listener_hears_what_happens_after_it_came(parts: Parts, tmp_path: Path) -> None:
    parts.receive(radiograph_file("1.2.1"))
    events = Events(parts.records, every_s=0.01)
    with events.subscribed() as changes:
        later = parts.receive(radiograph_file("1.2.2"))
        change = changes.get(timeout=10)
    events.close()
    assert (change.id, change.state) == (later.id, "received")
