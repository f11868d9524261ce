"""Fetching against a server that behaves like the hub: broken, damaged, refused, repeated."""

from __future__ import annotations

import json
import logging
import shutil
from collections import namedtuple
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.hub import SIGNATURE, TOKEN, Hub, running
from hilum.core.errors import ConfigError, DataError
from hilum.data import load
from hilum.data.download.fetch import HUBS, SUMS, fetch
from hilum.data.download.licences import accept, accepted

MEBI = 2**20  # kagglehub's block: what a broken download keeps is a multiple of it
LABELS = "patientId,x,y,width,height,Target\na,10.0,5.0,20.0,30.0,1\nb,,,,,0\n"


def rsna_zip() -> tuple[bytes, int]:
    """The challenge's layout, images in a zip of their own as the old archive had them."""
    noise = np.random.default_rng(0).bytes(3_000_000)
    inner, outer = BytesIO(), BytesIO()
    with ZipFile(inner, "w", ZIP_STORED) as archive:
        archive.writestr("a.dcm", noise)
        archive.writestr("b.dcm", noise[:1000])
    with ZipFile(outer, "w", ZIP_STORED) as archive:
        archive.writestr("stage_2_train_labels.csv", LABELS)
        archive.writestr("stage_2_train_images.zip", inner.getvalue())
    return outer.getvalue(), len(LABELS) + len(inner.getvalue())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from kagglesdk import kaggle_env

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("hilum.data.download.fetch.WAIT_S", 0.0)
    with running(*rsna_zip()) as server:
        place = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, place)
        yield server


def test_a_set_is_whole_loads_and_leaves_nothing_behind(hub: Hub, tmp_path: Path) -> None:
    done = fetch("rsna", tmp_path / "rsna")
    assert (done.files, done.downloaded) == (3, True)
    assert len(load("rsna", tmp_path / "rsna")) == 2
    assert (tmp_path / "rsna/stage_2_train_images/a.dcm").stat().st_size == 3_000_000
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    sent = hub.downloads
    again = fetch("rsna", tmp_path / "rsna")
    assert (again.files, again.downloaded, hub.downloads) == (3, False, sent)
    sums = (tmp_path / "rsna" / SUMS).read_text()
    assert sums.count("\n") == 3
    (tmp_path / "rsna/stage_2_train_images/b.dcm").write_bytes(b"changed")
    with pytest.raises(DataError, match=r"1 files of .* missing or changed.*b\.dcm"):
        fetch("rsna", tmp_path / "rsna")


@pytest.mark.parametrize("name", list(HUBS))
def test_every_set_has_its_place_and_terms(hub: Hub, tmp_path: Path, name: str) -> None:
    assert fetch(name, tmp_path / "set").files == 3
    assert HUBS[name].page.startswith("https://")
    asked = [path for method, path, _ in hub.requests if method == "POST"]
    service = "competitions." if HUBS[name].competition else "datasets."
    assert all(service in path for path in asked)


def test_a_broken_download_goes_on_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    hub.break_at = [MEBI, 2 * MEBI]
    fetch("rsna", tmp_path / "rsna")
    assert hub.ranges() == [f"bytes={MEBI}-", f"bytes={2 * MEBI}-"]


def test_a_later_run_resumes(hub: Hub, tmp_path: Path) -> None:
    hub.break_at = [MEBI + 1000]  # nothing comes beyond it, however often one asks
    with pytest.raises(DataError, match="breaks off, again and again; run again to go on"):
        fetch("rsna", tmp_path / "rsna")
    assert not (tmp_path / "rsna").exists()
    hub.break_at, before = [], len(hub.ranges())
    fetch("rsna", tmp_path / "rsna")
    assert hub.ranges()[before:] == [f"bytes={MEBI}-"]
    assert len(load("rsna", tmp_path / "rsna")) == 2


@pytest.mark.parametrize("hashed", [True, False])
def test_a_damaged_download_is_found_and_fetched_again(
    hub: Hub, tmp_path: Path, hashed: bool
) -> None:
    hub.corrupt, hub.hashed = 2, hashed  # the question for the size, and the first download
    assert fetch("rsna", tmp_path / "rsna").files == 3
    shutil.rmtree(tmp_path / "rsna")
    hub.corrupt = 100
    with pytest.raises(DataError, match=r"damaged|checksum"):
        fetch("rsna", tmp_path / "rsna")
    assert not (tmp_path / "rsna").exists()


def test_space_is_checked_before_the_download(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**7, 0, 5_000_000))
    with pytest.raises(DataError, match=r"0\.0 GB are needed .* are free"):
        fetch("rsna", tmp_path / "rsna")
    assert hub.downloads == 1  # the header only
    assert not list(tmp_path.rglob("*.archive"))


@pytest.mark.parametrize(
    ("status", "words"), [(403, "accept the terms on"), (404, "has no"), (500, "answered 500")]
)
def test_refusals_of_the_hub_are_explained(
    hub: Hub, tmp_path: Path, status: int, words: str
) -> None:
    hub.status = status
    with pytest.raises(DataError, match=words) as refused:
        fetch("rsna", tmp_path / "rsna")
    assert SIGNATURE not in str(refused.value)


def test_without_credentials_it_says_where_they_go(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "wrong")
    with pytest.raises(ConfigError, match=r"does not accept .*access_token or KAGGLE_API_TOKEN"):
        fetch("rsna", tmp_path / "rsna")
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="no Kaggle credentials: make a token"):
        fetch("rsna", tmp_path / "rsna")


def test_without_a_network_it_says_so(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kagglesdk import kaggle_env

    nowhere = "http://127.0.0.1:1"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, nowhere)
    with pytest.raises(DataError, match="cannot be reached"):
        fetch("rsna", tmp_path / "rsna")


def test_other_folders_are_left_alone(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        fetch("rsna", tmp_path / "mine")
    with pytest.raises(ConfigError, match="known: rsna, siim-covid, siim-acr, vindr, nih"):
        fetch("chexpert", tmp_path / "x")
    assert not hub.requests


def test_credentials_are_never_logged_or_written(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    hub.break_at = [MEBI]
    fetch("rsna", tmp_path / "rsna")
    hub.status = 403
    with pytest.raises(DataError) as refused:
        fetch("rsna", tmp_path / "again")
    hub.status, hub.break_at = 200, [1]
    with pytest.raises(DataError) as broken:
        fetch("rsna", tmp_path / "again")
    answer = "".join(capfd.readouterr()) + caplog.text + str(refused.value) + str(broken.value)
    for file in (f for f in tmp_path.rglob("*") if f.is_file()):
        answer += file.read_bytes().decode("latin-1")
    for secret in (TOKEN, SIGNATURE):
        assert secret not in answer
    assert any(h.get("Authorization") == f"Bearer {TOKEN}" for _, _, h in hub.requests)


def test_terms_are_accepted_once_and_again_when_they_change(hub: Hub, tmp_path: Path) -> None:
    from hilum.cli.main import app

    words = ["data", "fetch", "rsna", "--out", str(tmp_path / "rsna")]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, ConfigError)
    assert "rules" in refused.stderr
    assert not hub.requests
    done = CliRunner().invoke(app, [*words, "--accept-licence", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["downloaded"] is True
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0
    assert "Terms" not in again.stderr
    assert "checksums agree" in again.stdout
    accept("x", "old terms")
    assert accepted("x", "old terms")
    assert not accepted("x", "new terms")
