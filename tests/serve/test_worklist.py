"""Work items of a UPS-RS server: claimed once, ended with what came of them, whoever dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.archive import Archive, archive
from helpers.service import Parts, radiograph_file
from hilum.serve import ups, worklist
from hilum.serve.tables import Note
from hilum.serve.ups import Item

STATE, SERIES = "00741000", "0020000E"
RETRY = {"first_s": 10, "longest_s": 10, "give_up_s": 100}


@pytest.fixture
def server() -> Iterator[Archive]:
    with archive() as made:
        made.objects["1.2.3.4"] = radiograph_file()
        made.workitems["1.5"] = item("1.2.3.4")
        yield made


def item(*instances: str, series: str = "1.2.3.1") -> dict[str, Any]:
    """A scheduled one."""
    sops = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in instances]
    reference: dict[str, Any] = {
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        SERIES: {"vr": "UI", "Value": [series]},
    }
    if sops:
        reference["00081199"] = {"vr": "SQ", "Value": sops}
    return {
        "00080018": {"vr": "UI", "Value": ["1.5"]},
        STATE: {"vr": "CS", "Value": ["SCHEDULED"]},
        "00404021": {"vr": "SQ", "Value": [reference]},
    }


def service(tmp_path: Path, server: Archive, **options: Any) -> Parts:
    """Results go to an archive of the same server."""
    pacs = {"web": {"url": server.url}, "retry": RETRY}
    own = {"worklist": {"web": {"url": server.url}}, "write": "sr"}
    own |= {"destinations": {"pacs": pacs}, "rules": [{"destinations": ["pacs"]}]}
    return Parts(tmp_path, **(own | options))


def state(server: Archive) -> str:
    return str(server.workitems["1.5"][STATE]["Value"][0])


def reason(server: Archive) -> str:
    (progress,) = server.workitems["1.5"]["00741002"]["Value"]
    return str(progress["00741238"]["Value"][0])


def test_an_item_is_claimed_analysed_and_completed_with_its_output(
    tmp_path: Path, server: Archive
) -> None:
    parts = service(tmp_path, server)
    assert worklist.look(parts.service) == 1
    assert worklist.look(parts.service) == 0  # noted: nobody claims it twice
    parts.work()
    assert state(server) == "COMPLETED"
    (done,) = server.workitems["1.5"]["00741216"]["Value"]
    (output,) = done["00404033"]["Value"]
    (sop,) = output["00081199"]["Value"]
    assert sop["00081155"]["Value"][0] in set(server.objects) - {"1.2.3.4"}  # the SR
    (where,) = output["0040E025"]["Value"]
    series = output[SERIES]["Value"][0]
    assert where["00081190"]["Value"] == [f"{server.url}/studies/1.2.3/series/{series}"]
    with parts.records.read() as session:
        assert session.query(Note).count() == 0
    parts.close()


@pytest.mark.parametrize(
    ("fault", "meanwhile", "later_s"),
    [("lies", "IN PROGRESS", 10), ("away", "SCHEDULED", worklist.AGAIN_S)],
    ids=["it stores nothing", "it is away"],
)
def test_an_item_is_not_completed_before_its_results_are_there(
    tmp_path: Path, server: Archive, fault: str, meanwhile: str, later_s: float
) -> None:
    parts = service(tmp_path, server)
    worklist.look(parts.service)
    setattr(server, fault, True)
    parts.work()
    assert state(server) == meanwhile
    setattr(server, fault, False)
    parts.clock.now += later_s
    parts.work()
    assert state(server) == "COMPLETED"
    parts.close()


def test_results_that_reach_nobody_cancel_it(tmp_path: Path, server: Archive) -> None:
    parts = service(tmp_path, server)
    worklist.look(parts.service)
    server.lies = True
    for _ in range(20):
        parts.work()
        parts.clock.now += 10
    assert state(server) == "CANCELED"
    assert "not delivered" in reason(server)
    parts.close()


def test_only_the_instances_that_it_names_are_fetched(tmp_path: Path, server: Archive) -> None:
    server.objects["1.2.3.5"] = radiograph_file("1.2.3.5")
    parts = service(tmp_path, server, destinations={}, rules=[])
    worklist.look(parts.service)
    parts.work()
    assert parts.records.counts() == {"analysed": 1}
    assert state(server) == "COMPLETED"
    parts.close()


def test_a_whole_series_is_fetched_where_none_is_named(tmp_path: Path, server: Archive) -> None:
    server.objects["1.2.3.5"] = radiograph_file("1.2.3.5", BodyPartExamined="HAND")
    server.workitems["1.5"] = item()
    parts = service(tmp_path, server, destinations={}, rules=[])
    worklist.look(parts.service)
    parts.work()
    assert parts.records.counts() == {"analysed": 1, "refused": 1}
    assert state(server) == "COMPLETED"  # of one image there is a result
    parts.close()


def test_an_image_that_was_there_before_completes_its_item_too(
    tmp_path: Path, server: Archive
) -> None:
    parts = service(tmp_path, server)
    parts.receive(server.objects["1.2.3.4"])
    parts.work()
    worklist.look(parts.service)
    parts.work()
    assert state(server) == "COMPLETED"
    assert parts.records.counts() == {"analysed": 1}
    parts.close()


def test_an_item_whose_image_is_refused_is_cancelled_with_the_reason(
    tmp_path: Path, server: Archive
) -> None:
    server.objects["1.2.3.4"] = radiograph_file(BodyPartExamined="HAND")
    parts = service(tmp_path, server)
    worklist.look(parts.service)
    parts.work()
    assert state(server) == "CANCELED"
    assert "not-a-chest-radiograph" in reason(server)
    parts.close()


@pytest.mark.parametrize("kind", ["gone", "nothing"])
def test_an_item_without_images_is_cancelled(tmp_path: Path, server: Archive, kind: str) -> None:
    if kind == "gone":
        server.objects.clear()
    else:
        server.workitems["1.5"]["00404021"]["Value"] = []
    parts = service(tmp_path, server)
    worklist.look(parts.service)
    parts.work()
    assert state(server) == "CANCELED"
    assert "instance" in reason(server)
    parts.close()


def test_an_item_that_another_station_has_is_left(tmp_path: Path, server: Archive) -> None:
    parts = service(tmp_path, server)
    worklist.look(parts.service)
    theirs = {"00081195": {"vr": "UI", "Value": ["9.9"]}}
    server.workitems["1.5"] |= theirs | {STATE: {"vr": "CS", "Value": ["IN PROGRESS"]}}
    parts.work()
    assert state(server) == "IN PROGRESS"
    assert parts.records.counts() == {}
    parts.close()


def test_an_item_that_is_cancelled_before_it_is_claimed_is_left(
    tmp_path: Path, server: Archive
) -> None:
    parts = service(tmp_path, server)
    worklist.look(parts.service)
    assert server.ask_to_cancel("1.5") == 202
    parts.work()
    assert state(server) == "CANCELED"
    assert parts.records.counts() == {}
    assert not [one for one in server.calls if one.startswith("GET /studies")]  # nothing fetched
    parts.close()


def test_a_request_to_cancel_an_item_that_we_perform_does_not_stop_it(
    tmp_path: Path, server: Archive
) -> None:
    """PS3.4 CC.2.2.3: the performer decides; what has begun ends within seconds."""
    parts = service(tmp_path, server)
    worklist.look(parts.service)
    server.lies = True  # its result does not arrive yet
    parts.work()
    assert server.ask_to_cancel("1.5") == 202
    assert state(server) == "IN PROGRESS"
    server.lies = False
    parts.clock.now += 10
    parts.work()
    assert state(server) == "COMPLETED"
    assert server.ask_to_cancel("1.5") == 409
    parts.close()


def test_an_item_of_ours_that_its_server_has_cancelled_is_left(
    tmp_path: Path, server: Archive
) -> None:
    with archive() as manager:
        manager.workitems, server.workitems = server.workitems, {}
        own = {"web": {"url": manager.url}, "images": {"url": server.url}}
        parts = service(tmp_path, server, worklist=own)
        worklist.look(parts.service)
        server.away = True  # claimed, its images are not there yet
        parts.work()
        assert state(manager) == "IN PROGRESS"
        manager.workitems["1.5"][STATE]["Value"] = ["CANCELED"]
        server.away = False
        parts.clock.now += worklist.AGAIN_S
        parts.work()
        assert parts.records.counts() == {}
        with parts.records.read() as session:
            assert session.query(Note).count() == 0
        parts.close()


@pytest.mark.parametrize(
    "step", ["ups.claim", "worklist._take_in", "worklist._outcome", "ups.end", "worklist._end"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_killed_at_any_step_goes_on(
    tmp_path: Path, server: Archive, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    parts = service(tmp_path, server)
    worklist.look(parts.service)
    module = ups if step.startswith("ups") else worklist
    name = step.partition(".")[2]
    real = getattr(module, name)

    class Killed(BaseException):
        pass

    def killed(*args: Any, **options: Any) -> None:
        if when == "after":
            real(*args, **options)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, name, killed)
        with pytest.raises(Killed):
            parts.work()
    parts.queue.release("test", crashed=True)
    parts.clock.now += worklist.AGAIN_S
    parts.work()
    parts.clock.now += worklist.AGAIN_S
    parts.work()
    assert state(server) == "COMPLETED"
    assert parts.records.counts() == {"analysed": 1}
    assert len(server.objects) == 2
    parts.close()


def test_items_are_searched_for_by_the_configured_keys(tmp_path: Path, server: Archive) -> None:
    asked: list[dict[str, str]] = []
    real = server._workitems

    def seen(method: str, path: list[str], query: dict[str, str], body: bytes) -> Any:
        asked.append(query)
        return real(method, path, query, body)

    server._workitems = seen  # type: ignore[method-assign]
    keys = {"WorklistLabel": "chest"}
    other = {"web": {"url": server.url}, "filter": keys}
    for number, options in enumerate(({}, {"worklist": other})):
        folder = tmp_path / str(number)
        folder.mkdir()
        parts = service(folder, server, **options)
        worklist.look(parts.service)
        parts.close()
    default = {"ScheduledStationNameCodeSequence.CodeValue": "HILUM"}
    assert asked == [{"ProcedureStepState": "SCHEDULED", **one} for one in (default, keys)]


def test_images_may_lie_in_another_archive(tmp_path: Path, server: Archive) -> None:
    with archive() as manager:
        manager.workitems, server.workitems = server.workitems, {}
        own = {"web": {"url": manager.url}, "images": {"url": server.url}}
        parts = service(tmp_path, server, worklist=own)
        worklist.look(parts.service)
        parts.work()
        assert state(manager) == "COMPLETED"
        parts.close()


def test_a_claim_is_known_by_its_transaction_alone() -> None:
    assert Item.new("1.5").transaction != Item.new("1.5").transaction
