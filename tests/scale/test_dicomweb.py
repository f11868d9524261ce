"""An archive behind DICOMweb: every result of a query once, and no outage makes a finding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydicom import dcmread

from helpers.archive import Archive, archive
from helpers.toy import write_toy_pipeline
from hilum.core.errors import ConfigError, HilumError
from hilum.data.phantom.encode import dicom_bytes
from hilum.data.phantom.phantom import phantom
from hilum.inference.job import Job
from hilum.inference.pipeline import Pipeline
from hilum.report.results import ResultFolder
from hilum.scale import dicomweb
from hilum.scale.batch import batch
from hilum.scale.shards import shard_of
from hilum.scale.sources import items_of

IMAGES = 7


@pytest.fixture
def pacs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """Seven CR of three studies; answers come in pages of two."""
    monkeypatch.setattr(dicomweb, "PAGE", 2)
    monkeypatch.setattr(dicomweb, "WAITS_S", (0.0, 0.0))
    with archive() as made:
        pixels = phantom(seed=1, width=160, height=128).pixels
        for number in range(IMAGES):
            content = dicom_bytes(pixels, seed=number, study=number % 3)
            made.objects[uid(content)] = content
        yield made
    dicomweb.server.cache_clear()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    sink = ResultFolder(tmp_path / "out", {})
    return Job(Pipeline.load(write_toy_pipeline(tmp_path)), sink=sink)


def uid(content: bytes) -> str:
    return str(dcmread(BytesIO(content), stop_before_pixels=True).SOPInstanceUID)


def query(pacs: Archive, what: str) -> str:
    return f"qido+{pacs.url}/{what}"


def rows(out: Path) -> dict[str, dict[str, str]]:
    """Of all shards, by the instance's UID as its URL has it."""
    files = sorted((out / "shards").glob("*.parquet"))
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert len({row["path"] for row in found}) == len(found)
    return {row["path"].rpartition("/")[2]: row for row in found}


def retrieved(pacs: Archive) -> list[str]:
    return [call.rpartition("/")[2] for call in pacs.calls if "/instances/" in call]


@pytest.mark.parametrize(
    ("what", "count"),
    [
        ("instances?Modality=CR", IMAGES),
        ("studies", IMAGES),
        ("instances?limit=3", 3),
        ("instances?offset=4", IMAGES - 4),
    ],
)
def test_every_result_of_a_query_is_one_item(pacs: Archive, what: str, count: int) -> None:
    items = items_of(query(pacs, what))
    assert len(items) == count
    for item in items:
        assert item.load() == pacs.objects[item.name.rpartition("/")[2]]


def test_a_study_and_its_series_give_their_own_instances_only(pacs: Archive) -> None:
    study = items_of(query(pacs, "instances"))[0].name.split("/")[4]
    own = {k for k, v in pacs.objects.items() if study in dcmread(BytesIO(v)).StudyInstanceUID}
    items = items_of(query(pacs, f"studies/{study}/instances"))
    assert {item.name.rpartition("/")[2] for item in items} == own
    assert 1 < len(own) < IMAGES


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("", "no query; needed: qido"),
        ("instances?Modality=MR", "finds nothing"),
        ("instances?limit=all", "limit=all .* whole number"),
        ("studies/1.2", "one resource; needed: a query"),
    ],
)
def test_what_is_no_query_or_finds_nothing_says_so(pacs: Archive, what: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        items_of(query(pacs, what))


def test_a_server_without_offset_gives_no_part_of_an_archive_for_the_whole(
    pacs: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pacs._asked
    monkeypatch.setattr(pacs, "_asked", lambda path, query: asked(path, {**query, "offset": "0"}))
    with pytest.raises(ConfigError, match="ignores `offset`"):
        items_of(query(pacs, "instances"))


def test_an_archive_is_answered_and_what_fails_keeps_its_reason(
    pacs: Archive, job: Job, tmp_path: Path
) -> None:
    items = items_of(query(pacs, "instances"))
    gone, slow, broken = (item.name.removeprefix(pacs.url) for item in items[:3])
    pacs.refuses = {gone: [404], slow: [500, 429], broken: [500] * 9}
    done = batch(query(pacs, "instances"), tmp_path / "out", job, shards=2)
    assert done.counts == {"analysed": IMAGES - 2, "refused": 2}
    found = rows(tmp_path / "out")
    assert found.keys() == pacs.objects.keys()
    reasons = [found[path.rpartition("/")[2]]["reason"] for path in (gone, broken)]
    assert reasons[0].startswith("not-found: the server answers 404")
    assert reasons[1].startswith("unreadable: the server answers 500")
    for name, row in found.items():
        if row["status"] == "analysed":
            content = hashlib.sha256(pacs.objects[name]).hexdigest()
            assert json.loads(row["entry"])["content_sha256"] == content
            assert row["sop_instance_uid"] == name


@pytest.mark.parametrize("status", [503, 401])
def test_an_outage_ends_the_run_and_the_next_one_goes_on(
    pacs: Archive, job: Job, tmp_path: Path, status: int
) -> None:
    out, shards = tmp_path / "out", 3
    planned = dicomweb.instances_of(query(pacs, "instances").removeprefix("qido+"))
    last = max(planned, key=lambda one: (shard_of(one.name, shards), one.name))
    pacs.refuses = {last.name.removeprefix(pacs.url): [status] * 3}
    with pytest.raises(HilumError, match=f"answers {status}; run again to go on"):
        batch(query(pacs, "instances"), out, job, shards=shards)
    kept = rows(out)
    assert 0 < len(kept) < IMAGES
    pacs.refuses, pacs.calls = {}, []
    done = batch(query(pacs, "instances"), out, job, shards=shards)
    assert done.counts == {"analysed": IMAGES}
    assert sorted(retrieved(pacs)) == sorted(pacs.objects.keys() - kept.keys())


def test_who_we_are_is_told_the_server_and_nobody_else(
    pacs: Archive,
    job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "token").write_text("s3cret-token\n")
    monkeypatch.setenv("HILUM_DICOMWEB_TOKEN_FILE", str(tmp_path / "token"))
    out = tmp_path / "out"
    batch(query(pacs, "instances"), out, job, shards=1)
    assert pacs.credentials == {"Bearer s3cret-token"}
    (tmp_path / "token").write_text("renewed")  # while connections are open
    items_of(query(pacs, "instances"))
    assert "Bearer renewed" in pacs.credentials
    kept = b"".join(file.read_bytes() for file in out.rglob("*") if file.is_file())
    rows_text = json.dumps(rows(out))
    assert b"s3cret" not in kept
    assert "s3cret" not in rows_text + "".join(capfd.readouterr())
    with pytest.raises(ConfigError, match="HILUM_DICOMWEB_USER"):
        items_of(query(pacs, "instances").replace("//", "//me:s3cret@"))
