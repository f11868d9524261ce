"""The whole service: starts with nothing configured, says what is wrong, ends in order."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from helpers.archive import archive
from helpers.certificates import authority, certificate
from helpers.service import Parts, radiograph_file, toy_pipeline
from hilum.cli.main import app
from hilum.core.errors import ConfigError
from hilum.serve.check import problems
from hilum.serve.config import Config, Tls
from hilum.serve.run import Running
from hilum.serve.tables import Work
from hilum.serve.tls import client_context


def config(tmp_path: Path, **options: object) -> Config:
    plain = {
        "folder": tmp_path,
        "workers": 0,
        "reserve_bytes": 0,
        "pipelines": {"default": str(toy_pipeline())},
        "node": {"port": 0},
        "web": {"enabled": False},
    }
    return Config.model_validate(plain | options)


@pytest.mark.parametrize(
    ("part", "needed"),
    [
        ({"web": {"host": "0.0.0.0"}}, r"\[web.tls\]"),  # noqa: S104
        ({"node": {"host": "192.0.2.1", "allow": ["CR1"]}}, r"\[node.tls\]"),
        ({"node": {"host": "::"}}, "AE titles"),
    ],
)
def test_it_is_open_to_others_only_with_tls_and_credentials(
    tmp_path: Path, part: dict[str, object], needed: str
) -> None:
    with pytest.raises(ConfigError, match=needed):
        Running(config(tmp_path, **part))


def test_it_starts_ends_and_says_so_in_the_trail(tmp_path: Path) -> None:
    with Running(config(tmp_path)) as running:
        assert running.node is not None
        assert running.node.port > 0
        with pytest.raises(ConfigError, match="another hilum serve"):
            Running(config(tmp_path))
    with Running(config(tmp_path)) as again:
        words = list(again.service.audit.messages())
    assert "Application Start" in words[0]
    assert "Application Stop" in words[1]


def test_work_of_a_killed_service_goes_on_at_once(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.receive(radiograph_file())
    parts.clock.now = 9e9  # a lease far in the future
    assert parts.queue.claim("killed") is not None
    parts.close()
    with Running(config(tmp_path)) as running, running.service.records.read() as session:
        assert {work.state for work in session.query(Work)} == {"waiting"}


def test_an_upgrade_finds_the_work_that_waits(tmp_path: Path) -> None:
    """Tables go down to nothing and up again in steps; from the first version on, rows stay."""
    parts = Parts(tmp_path)
    id = parts.receive(radiograph_file()).id
    parts.records.upgrade()
    assert parts.work() > 0
    assert parts.image(id).state == "analysed"
    parts.close()


def test_check_names_everything_that_is_wrong(tmp_path: Path) -> None:
    wrong = config(
        tmp_path,
        pipelines={"default": "no-such-pipeline"},
        write="sr,nonsense",
        limit_bytes=0,
        database="postgresql+nodriver://x/y",
    )
    text = "\n".join(problems(wrong))
    for part in ("no-such-pipeline", "nonsense", "store:", "database"):
        assert part in text
    assert problems(config(tmp_path)) == []


def test_check_says_what_to_change(tmp_path: Path) -> None:
    gone = "postgresql+pg8000://hilum:secret@127.0.0.1:1/hilum"
    (away,) = problems(config(tmp_path, database=gone))
    assert "127.0.0.1:1/hilum does not answer" in away
    assert "secret" not in away
    elsewhere = {"host": "192.0.2.1", "tls": None, "port": 0}
    text = "\n".join(problems(config(tmp_path, node=elsewhere)))
    assert "needed: an address of this machine" in text
    (tmp_path / "file").touch()
    only = problems(config(tmp_path / "file" / "below"))
    assert [one.partition(" ")[0] for one in only] == ["folder"]  # and not the database in it


def test_check_asks_every_peer_and_looks_for_rules_that_are_never_reached(tmp_path: Path) -> None:
    nobody = {"host": "127.0.0.1", "port": 1, "ae_title": "OLD"}
    peers = {
        "destinations": {"old": {"dicom": nobody}, "pacs": {"web": {"url": "http://127.0.0.1:1"}}},
        "priors": {"dicom": nobody},
    }
    sent = {"destinations": ["old", "pacs"]}
    rules = [{"view": "PA"} | sent, {"view": "AP"}, {"view": "pa", "sender": "ICU*"}]
    away = problems(config(tmp_path, rules=rules, **peers))
    told = [one.partition(":")[0] for one in away]
    assert told[0].startswith("rule 3 is never reached")
    assert told[1:] == ["destination old", "destination pacs", "[priors]"]
    with (
        Running(config(tmp_path, node={"port": 0, "ae_title": "OLD"})) as other,
        archive() as pacs,
    ):
        assert other.node is not None
        there = nobody | {"port": other.node.port}
        peers["destinations"] = {"old": {"dicom": there}, "pacs": {"web": {"url": pacs.url}}}
        peers["priors"] = {"dicom": there}
        elsewhere = config(
            tmp_path / "b", node={"port": 0, "ae_title": "HILUM"}, rules=[sent], **peers
        )
        assert problems(elsewhere) == []


def test_check_names_destinations_that_would_get_nothing_and_callers_that_are_not_let_in(
    tmp_path: Path,
) -> None:
    with archive() as pacs:
        web = {"web": {"url": pacs.url}}
        silent = config(
            tmp_path,
            write="sr",
            destinations={"pacs": web, "viewer": web | {"objects": ["sr", "seg"]}},
            rules=[{"destinations": ["viewer"]}],
        )
        assert problems(silent, ports=False) == [
            "destination pacs is sent nothing: no rule names it; needed: `destinations = "
            '["pacs"]` of a [[rules]]',
            "destination viewer is to get seg, which is not written; needed: `write` with it, or "
            "other `objects`",
        ]
    peer = {"host": "127.0.0.1", "port": 1, "ae_title": "ARCHIVE"}
    for allow, let_in in ((["CR1"], False), (["CR1", "ARCHIVE"], True), ([], True)):
        node = {"port": 0, "allow": allow}
        text = "\n".join(problems(config(tmp_path, priors={"dicom": peer}, node=node), ports=False))
        assert ("[priors] calls our node as ARCHIVE, which is not let in" in text) is not let_in


def test_the_command_checks_and_verifies(tmp_path: Path) -> None:
    file = tmp_path / "hilum.toml"
    file.write_text(
        f"folder = '{tmp_path}'\nreserve_bytes = 0\n[web]\nport = 0\n[node]\nport = 0\n"
    )
    run = CliRunner()
    checked = run.invoke(app, ["serve", "--config", str(file), "--check"])
    assert (checked.exit_code, checked.output) == (0, "Nothing is wrong.\n")
    file.write_text(file.read_text() + "host = '0.0.0.0'\n")
    checked = run.invoke(app, ["serve", "--config", str(file), "--check", "--json"])
    assert checked.exit_code == 2
    assert "AE titles" in checked.output
    Parts(tmp_path).close()
    verified = run.invoke(app, ["audit", "verify", "--config", str(file)])
    assert verified.output.startswith("0 entries, whole.")


def test_a_worker_process_does_the_work_and_ends_when_told(tmp_path: Path) -> None:
    """One real process, from its start to its orderly end."""
    import time

    with Running(config(tmp_path, workers=1, write="picture")) as running:
        service = running.service
        id = service.intake.receive(radiograph_file(), origin="upload").id
        for _ in range(600):
            image = service.records.image(id)
            if image is not None and image.state == "analysed":
                break
            time.sleep(0.05)
        assert running.supervisor.alive == 1
    assert image is not None
    assert image.state == "analysed"
    assert running.supervisor.alive == 0
    assert running.supervisor.deaths == 0


def test_check_and_the_hourly_look_name_certificates_that_end(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    for days, words in (((-9, -1), "it ended on"), ((1, 9), "begins on"), ((-1, 9), "it ends on")):
        ours = certificate(ca, tmp_path / f"{days[0]}", "127.0.0.1", days=days)
        tls = {"certificate": ours.certificate, "key": ours.key}
        (said,) = problems(config(tmp_path, web={"port": 0, "tls": tls}))
        assert said.startswith(f"[web.tls] TLS: {ours.certificate}: ")
        assert words in said


def test_an_open_page_does_not_hold_up_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = Running(config(tmp_path, web={"port": port}))
    with httpx.Client(timeout=30) as page:
        with running:
            while not running._web.started:
                time.sleep(0.01)
            request = page.build_request("GET", f"http://127.0.0.1:{port}/api/v1/events")
            lines = page.send(request, stream=True).iter_lines()
            assert next(lines) == ": open"
        assert [*lines] == [""]  # ended, and not broken off
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


def test_a_page_that_asks_for_certificates_lets_in_nobody_without_one(tmp_path: Path) -> None:
    """`ca` of [web.tls] counts as that of [node.tls] does."""
    ca = authority(tmp_path / "ca")
    ours = certificate(ca, tmp_path / "page", "127.0.0.1")
    theirs = certificate(ca, tmp_path / "reader", "reader")
    tls = {"certificate": ours.certificate, "key": ours.key, "ca": ca.certificate}
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Running(config(tmp_path / "service", web={"port": port, "tls": tls}, workers=0)) as it:
        while not it._web.started:
            time.sleep(0.01)
        url = f"https://127.0.0.1:{port}/health/live"
        mine = Tls(certificate=theirs.certificate, key=theirs.key, ca=ca.certificate)
        assert httpx.get(url, verify=client_context(mine)).json() == {"status": "alive"}
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=client_context(ca=ca.certificate))
