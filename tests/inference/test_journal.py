"""A run goes on where it was: what the journal answers, and what it must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.findings import Findings
from hilum.core.radiograph import Identifiers
from hilum.core.results import ImageResult
from hilum.inference.journal import NAME, Journal

PRINT = "a" * 64


def result(name: str, content: str = "1" * 64, **changes: object) -> ImageResult:
    own = ImageResult(
        name=name,
        status="analysed",
        findings=Findings(
            width=10,
            height=8,
            boxes_px=np.array([[1, 2, 5, 6]], np.float32),
            scores=np.array([0.5], np.float32),
            labels=("opacity",),
            image_scores={"opacity": 0.5},
        ),
        ids=Identifiers(patient_id="p", study_instance_uid="1.2"),
        width=10,
        height=8,
        content_sha256=content,
    )
    return replace(own, **changes)  # type: ignore[arg-type]


def write(folder: Path, *results: ImageResult, fingerprint: str = PRINT) -> None:
    with Journal(folder, fingerprint) as journal:
        for one in results:
            journal.append(one)


def test_an_answer_is_that_of_the_same_content(tmp_path: Path) -> None:
    own = result("ü.dcm")
    write(tmp_path, own)
    with Journal(tmp_path, PRINT) as journal:
        assert journal.names() == {"ü.dcm"}
        again = journal.find("ü.dcm", "1" * 64)
        assert again is not None
        assert again.to_record() == own.to_record()
        assert journal.find("ü.dcm", "2" * 64) is None  # the file has changed
        assert journal.find("ü.dcm", None) is None
        assert journal.find("b.dcm", "1" * 64) is None


def test_another_pipeline_or_a_fresh_run_begins_anew(tmp_path: Path) -> None:
    write(tmp_path, result("a"))
    with Journal(tmp_path, "b" * 64) as journal:
        assert len(journal) == 0
    with Journal(tmp_path, PRINT) as journal:
        assert len(journal) == 0  # what another one wrote is gone
        journal.append(result("a"))
    with Journal(tmp_path, PRINT, fresh=True) as journal:
        assert journal.find("a", "1" * 64) is None


def test_failures_are_tried_again_and_refusals_stay(tmp_path: Path) -> None:
    write(
        tmp_path,
        result("ours", status="failed", findings=None, reason="memory: there is not enough."),
        result("theirs", status="refused", findings=None, reason="no-chest: a hand."),
    )
    with Journal(tmp_path, PRINT) as journal:
        assert journal.find("ours", "1" * 64) is None
        refused = journal.find("theirs", "1" * 64)
        assert refused is not None
        assert refused.reason == "no-chest: a hand."


@pytest.mark.parametrize("content", [None, b"", b"whole"])
def test_an_answer_counts_while_its_files_are_whole(tmp_path: Path, content: bytes | None) -> None:
    write(tmp_path, result("a", files={"sr": "sr/a.dcm"}))
    if content is not None:
        (tmp_path / "sr").mkdir()
        (tmp_path / "sr" / "a.dcm").write_bytes(content)
    with Journal(tmp_path, PRINT) as journal:
        assert (journal.find("a", "1" * 64) is not None) == (content == b"whole")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 400))
def test_a_journal_that_was_cut_off_has_all_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, count: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    write(folder, *(result(f"i{k}") for k in range(count)))
    file = folder / NAME
    content = file.read_bytes()
    kept = content[: max(len(content) - cut, content.index(b"\n") + 1)]
    file.write_bytes(kept)
    whole = kept.count(b"\n")
    # A last record without its line's end is whole as well.
    ends = kept.endswith(b"\n") or kept.endswith(b"}")
    with Journal(folder, PRINT) as journal:
        assert whole <= len(journal) <= whole + ends
        journal.append(result("next"))
    with Journal(folder, PRINT) as journal:
        assert journal.find("next", "1" * 64) is not None
        assert whole < len(journal)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"score": 0.5', b'"score": 0.9'),  # still a record, and a lie
        (b'"status": "analysed"', b'"status": "refused"'),
        (b'"name-0"', b'"name-9"'),
        (b"0.5", b"NaN"),
        (b'"path', b'"\xffath'),
        (b'"findings": [', b'"findings": [' + b"[" * 5000),
        (b'"seal": "', b'"seal": "0'),
    ],
)
def test_a_damaged_record_is_none_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, old: bytes, new: bytes
) -> None:
    write(tmp_path, result("name-0"), result("name-1"))
    first, second = (tmp_path / NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / NAME).write_bytes(first.replace(old, new, 1) + second)
    with Journal(tmp_path, PRINT) as journal:
        assert journal.names() == {"name-1"}
        assert journal.find("name-9", "1" * 64) is None
    assert "1 records of the earlier run are cut off or damaged" in caplog.text


def test_a_record_of_other_settings_is_none_wherever_it_stands(tmp_path: Path) -> None:
    write(tmp_path / "a", result("mine"))
    write(tmp_path / "b", result("theirs"), fingerprint="b" * 64)
    with (tmp_path / "a" / NAME).open("ab") as stream:
        stream.write((tmp_path / "b" / NAME).read_bytes())
    with Journal(tmp_path / "a", PRINT) as journal:
        assert journal.names() == {"mine"}
