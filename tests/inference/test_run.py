"""One answer for each input, in order, whatever happens to some of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest

import hilum
from helpers.pictures import BadItem, GoodItem, radiograph, write_png
from helpers.toy import write_toy_pipeline
from hilum.core.errors import BundleError, ConfigError
from hilum.core.radiograph import Identifiers
from hilum.core.results import ImageResult
from hilum.inference.job import Job
from hilum.inference.journal import NAME, Journal
from hilum.inference.pipeline import Pipeline
from hilum.inference.pool import Pool, _serve
from hilum.inference.run import run


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline.load(write_toy_pipeline(tmp_path))


def comparable(results: list[ImageResult]) -> list[dict[str, object]]:
    return [replace(result, seconds=0.0).to_record() for result in results]


def test_errors_stay_with_their_input(pipeline: Pipeline) -> None:
    inputs = [GoodItem("a"), BadItem("b", "refused"), BadItem("c", "breaks"), radiograph(3)]
    results = run(inputs, Job(pipeline))
    assert [r.status for r in results] == ["analysed", "refused", "failed", "analysed"]
    assert [r.name for r in results] == ["a", "b", "c", "noise-3"]
    assert results[1].reason == "unreadable: it is a stone. Send an image."
    assert "ZeroDivisionError" in str(results[2].reason)
    assert "secret" not in str(results[2].reason)
    assert results[1].findings is None


def test_nan_is_failed_without_findings(tmp_path: Path) -> None:
    pipeline = Pipeline.load(write_toy_pipeline(tmp_path, poison=True))
    (result,) = run([GoodItem("a")], Job(pipeline))
    assert (result.status, result.findings) == ("failed", None)
    assert str(result.reason).startswith("model-output:")


@pytest.mark.slow
def test_workers_give_the_same_answers_in_the_same_order(pipeline: Pipeline) -> None:
    inputs = [GoodItem(f"item {i}", seed=i) for i in range(9)]
    alone, together = run(inputs, Job(pipeline)), run(inputs, Job(pipeline), workers=2)
    assert comparable(alone) == comparable(together)
    assert together[0].findings is not None
    assert together[0].findings.masks.keys() == {"opacity", "lungs"}


@pytest.mark.slow
def test_a_killed_worker_loses_only_its_input(pipeline: Pipeline) -> None:
    inputs = [GoodItem(f"item {i}") for i in range(6)]
    inputs[2] = BadItem("killer", "killed")  # type: ignore[call-overload]
    results = run(inputs, Job(pipeline), workers=2)
    assert [r.status for r in results].count("analysed") == 5
    assert results[2].status == "failed"
    assert "SIGKILL" in str(results[2].reason)


@pytest.mark.slow
def test_a_hanging_input_is_given_up(pipeline: Pipeline) -> None:
    inputs = [BadItem("endless", "hangs"), GoodItem("a"), GoodItem("b")]
    results: dict[int, ImageResult] = {}
    with Pool(Job(pipeline), 1, seconds=8.0) as pool:
        pool.run(inputs, results.__setitem__)
    assert [results[i].status for i in range(3)] == ["failed", "analysed", "analysed"]
    assert str(results[0].reason).startswith("timeout")


def test_a_wrong_job_is_an_error_not_a_hundred_failures(pipeline: Pipeline) -> None:
    Path(str(pipeline.models["toy"].bundle)).unlink()
    for workers in (1, 2):
        with pytest.raises(BundleError, match="no such bundle"):
            run([GoodItem("a"), GoodItem("b")], Job(pipeline), workers=workers)
    with pytest.raises(ConfigError):
        run([], Job(pipeline), workers=0)


def test_hilum_predict_takes_paths_folders_and_radiographs(tmp_path: Path) -> None:
    pipeline = write_toy_pipeline(tmp_path)
    write_png(tmp_path / "images" / "b.png", 1)
    first = write_png(tmp_path / "images" / "a.png")
    picture = hilum.read(first)
    by_path = hilum.predict(first, pipeline=pipeline)
    by_value = hilum.predict([picture], pipeline=pipeline)
    by_folder = hilum.predict([tmp_path / "images"], pipeline=pipeline)
    assert len(by_path) == len(by_value) == 1
    assert [Path(image.name).name for image in by_folder] == ["a.png", "b.png"]
    one, other = by_path[0].findings, by_value[0].findings
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.boxes_px, other.boxes_px)
    assert by_path.counts == {"analysed": 1, "refused": 0, "failed": 0, "warned": 0}
    assert by_path.pipeline.bundles[0][0] == "toy"
    assert len(by_folder.studies) == 2


def test_predict_is_a_function_and_loads_nothing_before_it_is_asked_for() -> None:
    code = (
        "import hilum, sys; assert 'hilum.inference' not in sys.modules; f = hilum.predict; "
        "import hilum.inference.api; assert f is hilum.predict is hilum.inference.api.predict"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_record_survives_the_journal(pipeline: Pipeline, tmp_path: Path) -> None:
    results = run([GoodItem("a"), BadItem("b", "refused")], Job(pipeline))
    for result in results:
        record = json.loads(json.dumps(result.to_record()))
        assert ImageResult.from_json(record).to_record() == result.to_record()


def test_the_journal_goes_on_and_forgets_other_settings(pipeline: Pipeline, tmp_path: Path) -> None:
    results = run([GoodItem("a"), BadItem("b", "breaks")], Job(pipeline))
    with Journal(tmp_path, "f1") as journal:
        for result in results:
            journal.append(result)
    with Journal(tmp_path, "f1") as journal:
        assert journal.find("a", results[0].content_sha256) is not None
        assert journal.find("a", "0" * 64) is None  # the file has changed since
        assert journal.find("b", None) is None  # failures are tried again
    with Journal(tmp_path, "f2") as journal:
        assert len(journal) == 0
    with Journal(tmp_path, "f1") as journal:
        assert len(journal) == 0


def test_a_record_cut_off_by_a_crash_is_left_out(pipeline: Pipeline, tmp_path: Path) -> None:
    results = run([GoodItem(name) for name in "abc"], Job(pipeline))
    with Journal(tmp_path, "f") as journal:
        journal.append(results[0])
        journal.append(results[1])
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-20])
    with Journal(tmp_path, "f") as journal:
        assert len(journal) == 1
        journal.append(results[2])
    with Journal(tmp_path, "f") as journal:
        assert journal.names() == {"a", "c"}


def test_a_resumed_result_keeps_patient_series_and_warnings(tmp_path: Path) -> None:
    ids = Identifiers(
        patient_id="P7",
        study_instance_uid="1.2",
        series_instance_uid="1.2.3",
        sop_instance_uid="1.2.3.4",
    )
    refused = ImageResult(
        "a", "refused", "unreadable: x", ids=ids, content_sha256="c", warnings=("reading: y",)
    )
    with Journal(tmp_path, "f") as journal:
        journal.append(refused)
    with Journal(tmp_path, "f") as journal:
        again = journal.find("a", "c")
    assert again == refused
    assert "P7" not in json.dumps(refused.to_json())  # of no result file


def test_an_image_whose_files_are_gone_or_empty_is_analysed_again(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    (result,) = run([GoodItem("a")], Job(pipeline))
    written = replace(result, files={"picture": "picture/a.jpg"})
    (tmp_path / "picture").mkdir()
    with Journal(tmp_path, "f") as journal:
        journal.append(written)
    with Journal(tmp_path, "f") as journal:
        assert journal.find("a", result.content_sha256) is None  # gone
        (tmp_path / "picture" / "a.jpg").touch()
        assert journal.find("a", result.content_sha256) is None  # power was lost: empty
        (tmp_path / "picture" / "a.jpg").write_bytes(b"x")
        assert journal.find("a", result.content_sha256) is not None


def test_a_worker_that_is_ready_when_all_is_done_ends_in_silence(tmp_path: Path) -> None:
    """As on a busy machine: others have answered, and nobody listens any more."""
    ours, its = Pipe()
    ours.close()
    _serve(its, Job(Pipeline.load(write_toy_pipeline(tmp_path)), 1))
