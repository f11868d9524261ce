"""Received -> checked -> analysed, refused or failed: visible, retryable, never twice or half."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid as uids
from sqlalchemy import func, select

from helpers.service import Parts, radiograph_file
from helpers.toy import write_toy_pipeline
from hilum.core.turns import Busy
from hilum.serve import actions
from hilum.serve.service import Service
from hilum.serve.tables import Delivery, Image, Result, Work
from hilum.serve.work import ANALYSING, ATTEMPTS, CRASHES
from hilum.serve.worker import TRIES, Worker


def count(parts: Parts, table: Any) -> int:
    with parts.records.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_radiograph_is_analysed_on_receipt(parts: Parts) -> None:
    id = parts.receive(radiograph_file()).id
    parts.work()
    image = parts.image(id)
    assert (image.state, image.finding, image.modality) == ("analysed", True, "CR")
    assert parts.said(id) == ["received", "checked; pipelines: default", "analysed"]
    with parts.records.read() as session:
        result = session.scalars(select(Result)).one()
    entry = result.document["images"][0]
    assert result.document["schema"] == "hilum.findings/1"
    assert len(entry["findings"]) == 1
    assert set(entry["outlines"]) == {"lungs", "opacity"}
    picture = parts.store.read_result(result.id, result.files["picture"])
    assert picture.startswith(b"\xff\xd8")
    assert parts.store.read_result(result.id, result.files["mask-lungs"]).startswith(b"\x89PNG")


def test_what_is_outlined_without_a_box_is_a_finding_of_the_list(tmp_path: Path) -> None:
    pipeline = write_toy_pipeline(tmp_path, boxes=(), logits=())
    parts = Parts(tmp_path, pipelines={"default": str(pipeline)})
    id = parts.receive(radiograph_file()).id
    for _ in range(2):  # the second time its result is known, without the pixels of masks
        parts.work()
        assert (parts.image(id).state, parts.image(id).finding) == ("analysed", True)
        with parts.records.write() as session:
            session.get_one(Image, id).state = "failed"
        actions.retry(parts.service, id)
    with parts.records.read() as session:
        entry = session.scalars(select(Result)).one().document["images"][0]
    assert (entry["findings"], bool(entry["outlines"]["opacity"])) == ([], True)
    parts.close()


def test_the_same_image_is_never_analysed_twice(parts: Parts) -> None:
    id = parts.receive(radiograph_file()).id
    parts.work()
    assert parts.receive(radiograph_file()).duplicate
    assert actions.analyse(parts.service, id, "default")  # asked for, found to be there
    parts.work()
    assert count(parts, Result) == 1
    assert parts.image(id).state == "analysed"


def test_other_pixels_under_a_known_uid_are_set_aside_and_recorded(parts: Parts) -> None:
    data = radiograph_file()
    changed = data[:-1] + bytes([data[-1] ^ 1])
    first = parts.receive(data).id
    parts.clock.now += 1
    second = parts.receive(changed).id
    parts.work()
    assert parts.image(first).state == "analysed"
    assert parts.image(second).state == "refused"
    assert str(parts.image(second).reason).startswith("conflict: another object")
    assert parts.store.read(second) == changed  # nothing is lost
    with pytest.raises(actions.NotPossible):
        actions.analyse(parts.service, second, "default")


def test_our_own_results_are_never_analysed(parts: Parts) -> None:
    own = radiograph_file(ManufacturerModelName="hilum 0.1.0", SOPClassUID=uids.EnhancedSRStorage)
    id = parts.receive(own).id
    parts.work()
    assert parts.image(id).state == "refused"
    assert "own-result" in str(parts.image(id).reason)
    assert count(parts, Result) == 0


@pytest.mark.parametrize(
    "data", [b"no image", b"\0" * 128 + b"DICM" + b"\xff" * 100, b"\x89PNG\r\n"]
)
def test_what_cannot_be_read_is_refused_with_a_reason(parts: Parts, data: bytes) -> None:
    id = parts.receive(data).id
    parts.work()
    assert parts.image(id).state == "refused"
    assert str(parts.image(id).reason).partition(":")[0] in ("unreadable", "unsupported")


def test_a_gate_refuses_and_that_is_no_result(parts: Parts) -> None:
    id = parts.receive(radiograph_file(BodyPartExamined="HAND")).id
    parts.work()
    image = parts.image(id)
    assert (image.state, image.finding, image.score) == ("refused", None, None)
    assert count(parts, Result) == count(parts, Delivery) == 0


def test_numbers_that_mean_nothing_fail_and_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "poison"
    folder.mkdir()
    poison = {"default": str(write_toy_pipeline(folder, poison=True))}
    parts = Parts(tmp_path, pipelines=poison, write="picture,sr")
    id = parts.receive(radiograph_file()).id
    parts.work()
    assert parts.image(id).state == "failed"
    assert str(parts.image(id).reason).startswith("model-output")
    assert count(parts, Result) == 0
    assert not [p for p in (parts.store.root / "results").rglob("*") if p.is_file()]
    parts.close()


def test_out_of_memory_fails_and_nothing_is_written(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: Any, **__: Any) -> None:
        raise MemoryError

    id = parts.receive(radiograph_file()).id
    with monkeypatch.context() as patched:
        patched.setattr("hilum.inference.loaded.LoadedPipeline.findings", none_left)
        parts.work()
    assert (parts.image(id).state, count(parts, Result)) == ("failed", 0)
    actions.retry(parts.service, id)
    parts.work()
    assert parts.image(id).state == "analysed"


def test_a_missing_bundle_fails_and_a_retry_finds_it(tmp_path: Path) -> None:
    path = write_toy_pipeline(tmp_path)
    bundle = tmp_path / "toy.zip"
    hidden = bundle.rename(tmp_path / "hidden.zip")
    parts = Parts(tmp_path, pipelines={"default": str(path)})
    id = parts.receive(radiograph_file()).id
    parts.work()
    assert parts.image(id).state == "failed"
    assert "toy.zip" in str(parts.image(id).reason)
    hidden.rename(bundle)
    actions.retry(parts.service, id)
    parts.work()
    assert parts.image(id).state == "analysed"
    assert parts.said(id)[-3:] == ["retry asked for", "checked; pipelines: default", "analysed"]
    parts.close()


def test_work_that_kills_its_workers_ends_as_failed(parts: Parts) -> None:
    id = parts.receive(radiograph_file()).id
    for number in range(CRASHES):
        assert parts.queue.claim(f"dead {number}") is not None
        parts.queue.release(f"dead {number}", crashed=True)
    parts.work()
    assert parts.image(id).state == "failed"
    assert str(parts.image(id).reason).startswith("crashed")
    actions.retry(parts.service, id)
    parts.work()
    assert parts.image(id).state == "analysed"


def test_a_store_that_is_away_delays_and_loses_nothing(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = parts.receive(radiograph_file()).id
    away = parts.store.path(id).rename(parts.folder / "away")
    parts.work()
    assert parts.image(id).state == "received"
    away.rename(parts.store.path(id))
    parts.clock.now += 60
    parts.work()
    assert parts.image(id).state == "analysed"


def test_a_worker_that_lost_its_lease_keeps_nothing(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was held up, another one took over; both end, one result is there."""
    id = parts.receive(radiograph_file()).id
    real = Service.writers.func  # type: ignore[attr-defined]
    taken: list[int] = []

    def slow(service: Service) -> Any:
        if not taken:
            taken.append(1)
            parts.clock.now += parts.queue.lease_s + 1
            assert Worker(Parts(parts.folder).service, ANALYSING, "other")
            other = Parts(parts.folder)
            other.clock.now = parts.clock.now
            other.work()
            other.close()
        return real(service)

    monkeypatch.setattr(Service, "writers", property(slow))
    parts.work()
    assert parts.image(id).state == "analysed"
    assert count(parts, Result) == 1
    assert parts.said(id).count("analysed") == 1


def test_rules_choose_pipelines_and_shadows_are_not_shown(tmp_path: Path) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    second = write_toy_pipeline(folder, "version: '9'", logits=(0.0,))
    first = write_toy_pipeline(tmp_path)
    rules = [{"sender": "ICU*", "shadow": ["second"], "priority": "stat"}, {"analyse": False}]
    pipelines = {"default": str(first), "second": str(second)}
    parts = Parts(tmp_path, pipelines=pipelines, rules=rules)
    urgent = parts.receive(radiograph_file("1.2.1"), sender="icu 3").id
    kept = parts.receive(radiograph_file("1.2.2"), sender="ARCHIVE").id
    parts.work()
    assert parts.image(urgent).priority == 2
    assert (parts.image(urgent).state, parts.image(kept).state) == ("analysed", "checked")
    assert parts.image(urgent).pipeline == "default"
    with parts.records.read() as session:
        rows = session.execute(select(Result.pipeline, Result.shadow)).all()
    assert sorted(map(tuple, rows)) == [("default", False), ("second", True)]
    assert actions.analyse(parts.service, urgent, "second")  # now it may be seen
    parts.work()
    with parts.records.read() as session:
        assert not any(session.scalars(select(Result.shadow)))
    parts.close()


def test_priority_moves_what_still_waits(parts: Parts) -> None:
    ids = [parts.receive(radiograph_file(f"1.2.{n}")).id for n in range(2)]
    last = max(ids)
    actions.set_priority(parts.service, last, "stat")
    work = parts.queue.claim("w")
    assert work is not None
    assert work.subject == last
    with pytest.raises(actions.NotPossible, match="unknown priority"):
        actions.set_priority(parts.service, last, "soon")
    with pytest.raises(actions.NotThere):
        actions.set_priority(parts.service, "0" * 32, "stat")


def test_guarded_children_parse_and_no_tool_is_run(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    real = subprocess.Popen

    def noted(*args: Any, **options: Any) -> Any:
        started.append(args[0])
        return real(*args, **options)

    from hilum.dicom import guard

    for one in guard._guards.values():
        one.close()
    monkeypatch.setattr(guard.subprocess, "Popen", noted)
    parts.receive(radiograph_file())
    parts.work()
    assert any("hilum.dicom.guard" in " ".join(command) for command in started)


def test_a_canary_name_stands_in_no_log_reason_or_file_name(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("PatientName", "PatientID", "AccessionNumber", "StudyDescription", "InstitutionName")
    texts = dict.fromkeys(names, "CANARY^BIRD")
    with caplog.at_level("DEBUG"):
        for number, more in enumerate(({}, {"BodyPartExamined": "HAND"}, {"BitsStored": 99})):
            parts.receive(radiograph_file(f"1.2.{number}", **texts, **more))
        parts.work()
    assert count(parts, Image) == 3
    assert "CANARY" not in caplog.text
    assert not [p for p in parts.folder.rglob("*") if "CANARY" in p.name]
    with parts.records.read() as session:
        reasons = [*session.scalars(select(Image.reason)), *session.scalars(select(Work.reason))]
    assert not any("CANARY" in (text or "") for text in reasons)
    assert not any("CANARY" in message for message in parts.service.audit.messages())


def test_a_disk_that_is_full_for_days_fails_no_image(parts: Parts) -> None:
    id = parts.receive(radiograph_file()).id
    parts.store.limit_bytes = parts.store.used()
    for _ in range(2 * ATTEMPTS):
        parts.work()
        parts.clock.now += 3600
    assert parts.image(id).state == "checked"
    parts.store.limit_bytes = None
    parts.work()
    assert parts.image(id).state == "analysed"


def test_a_file_that_is_gone_from_the_store_fails_visibly(parts: Parts) -> None:
    id = parts.receive(radiograph_file()).id
    parts.store.path(id).unlink()
    for _ in range(TRIES):
        parts.work()
        parts.clock.now += 60
    assert parts.image(id).state == "failed"
    assert "No such file" in str(parts.image(id).reason)


def test_a_thousand_images_of_one_sender_do_not_hold_up_one_of_another(parts: Parts) -> None:
    many = [parts.receive(radiograph_file(f"1.1.{n}"), sender="router").id for n in range(6)]
    one = parts.receive(radiograph_file("1.2"), sender="icu").id
    worker = Worker(parts.service, ANALYSING, "test")
    while parts.image(one).state != "analysed":
        assert worker.once()
    assert [parts.image(id).state for id in many].count("analysed") <= 1


def test_the_limits_of_the_configuration_hold_for_analyses_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hilum.dicom import guard

    asked: list[float] = []
    real = guard._shared
    monkeypatch.setattr(guard, "_shared", lambda s, b: (asked.append(s), real(s, b))[1])
    parts = Parts(tmp_path, parse_s=7)
    parts.receive(radiograph_file())
    parts.work()
    assert asked == [7, 7]  # checked, analysed
    parts.close()


def test_what_failed_is_in_the_log_with_its_image_and_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = Parts(tmp_path, pipelines={"default": str(tmp_path / "gone.yaml")})
    id = parts.receive(radiograph_file()).id
    parts.work()
    parts.close()
    (line,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert line.getMessage().startswith(f"image {id} is failed: pipeline default: ")


def test_an_overloaded_machine_refuses_and_fails_no_image(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any) -> None:
        raise Busy("a decoder does not start")

    id = parts.receive(radiograph_file()).id
    with monkeypatch.context() as patched:
        patched.setattr(Service, "opened", busy)
        for _ in range(2 * TRIES):
            parts.work()
            parts.clock.now += 60
    assert parts.image(id).state == "received"
    parts.work()
    assert parts.image(id).state == "analysed"
