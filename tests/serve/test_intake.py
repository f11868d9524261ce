"""What was acknowledged is on the disk and will be analysed; the same object is one image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import func, select

from helpers.service import Parts, radiograph_file
from hilum.serve.intake import identify
from hilum.serve.records import RecordsUnavailable
from hilum.serve.store import Store, StoreUnavailable
from hilum.serve.tables import Image, Work


def test_file_folder_and_row_are_flushed_before_the_answer(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    real = os.fsync

    def noted(handle: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", noted)
    receipt = parts.receive(radiograph_file())
    path = parts.store.path(receipt.id)
    assert str(path.parent) == flushed[-1]
    assert any("/incoming/" in name for name in flushed)
    with parts.records.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_the_same_object_twice_is_one_image_with_one_piece_of_work(parts: Parts) -> None:
    first, second = (parts.receive(radiograph_file()) for _ in range(2))
    assert (first.id, first.duplicate, second.duplicate) == (second.id, False, True)
    with parts.records.read() as session:
        assert session.scalar(select(func.count()).select_from(Work)) == 1


def test_the_way_an_object_comes_does_not_change_what_it_is(tmp_path: Path) -> None:
    data = radiograph_file()
    path = tmp_path / "a.dcm"
    path.write_bytes(data)
    ds = dcmread(path)
    ds.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    ds.save_as(path)
    assert path.read_bytes() != data
    assert identify(path.read_bytes()) == identify(data)


def test_other_pixels_under_the_same_uid_are_another_image(parts: Parts) -> None:
    data = radiograph_file()
    changed = data[:-1] + bytes([data[-1] ^ 1])
    assert parts.receive(data).id != parts.receive(changed).id


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", ";rm -rf ~", "\0", "x" * 10_000, "\ud800"]
)
def test_no_name_or_uid_chooses_where_something_is_written(parts: Parts, name: str) -> None:
    before = set(parts.folder.parent.iterdir())
    uid = name.encode("utf-8", "replace").decode()[:60]
    receipt = parts.receive(radiograph_file(uid), name=name, sender=name)
    assert parts.store.path(receipt.id).is_relative_to(parts.store.root)
    assert set(parts.folder.parent.iterdir()) == before
    files = [p.name for p in parts.store.root.rglob("*") if p.is_file()]
    assert files == [receipt.id]


def test_a_full_store_keeps_nothing_and_takes_again_by_itself(parts: Parts) -> None:
    data = radiograph_file()
    kept = parts.receive(data)
    parts.store.limit_bytes = len(data) + 10
    with pytest.raises(StoreUnavailable, match="limit"):
        parts.receive(radiograph_file("1.2.3.5"))
    assert parts.store.path(kept.id).exists()
    assert not list(parts.store.incoming.iterdir())
    parts.store.limit_bytes = None
    assert parts.receive(radiograph_file("1.2.3.5")).state == "received"


def test_free_space_is_left_to_others(tmp_path: Path) -> None:
    store = Store(tmp_path, reserve_bytes=2**62)
    with pytest.raises(StoreUnavailable, match="are to stay so"):
        store.check_room(1)


def test_a_disk_that_fails_half_way_leaves_nothing_behind(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailable):
            parts.receive(radiograph_file())
    assert not [p for p in parts.store.root.rglob("*") if p.is_file()]
    assert parts.records.counts() == {}
    assert parts.receive(radiograph_file()).duplicate is False


def test_a_locked_database_is_said_and_the_same_object_is_taken_later(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.records.engine.dispose()
    with parts.records.engine.connect() as other:
        other.exec_driver_sql("PRAGMA busy_timeout=1")
        other.exec_driver_sql("BEGIN IMMEDIATE")
        with parts.records.engine.connect() as mine:
            mine.exec_driver_sql("PRAGMA busy_timeout=1")
        with pytest.raises(RecordsUnavailable, match="does not take it"):
            parts.receive(radiograph_file())
        other.exec_driver_sql("ROLLBACK")
    assert parts.receive(radiograph_file()).duplicate is False


def test_what_never_came_whole_is_swept(parts: Parts) -> None:
    old, new = parts.store.incoming / "old", parts.store.incoming / "new"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert parts.store.sweep() == 1
    assert new.exists()


def test_an_image_begins_as_received_and_says_who_sent_it(parts: Parts) -> None:
    receipt = parts.receive(radiograph_file(), origin="c-store", sender="CR1", priority=2)
    image = parts.records.image(receipt.id)
    assert isinstance(image, Image)
    assert (image.state, image.sender, image.origin, image.priority) == (
        "received",
        "CR1",
        "c-store",
        2,
    )
    assert [event.what for event in parts.records.history(receipt.id)] == ["received"]
