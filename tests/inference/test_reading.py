"""What reading has to say of a file stands beside its findings, and can be answered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid as uids
from typer.testing import CliRunner

import hilum
from helpers.dicom_files import dataset, image, stored, to_bytes
from helpers.toy import write_toy_pipeline
from hilum.cli.main import app
from hilum.dicom import codecs


def ramp() -> np.ndarray:
    return stored((96, 80), bits=12)


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return write_toy_pipeline(tmp_path)


@pytest.fixture
def whitened(tmp_path: Path) -> Path:
    """A file with the window of an 8-bit copy."""
    path = tmp_path / "white.dcm"
    path.write_bytes(image(ramp(), 12, WindowCenter=127, WindowWidth=256))
    return path


def test_a_window_that_loses_nearly_all_stands_beside_the_findings(
    whitened: Path, pipeline: Path
) -> None:
    (result,) = hilum.predict(whitened, pipeline=pipeline)
    assert result.status == "analysed"
    (warning,) = result.warnings
    assert "window 127/256 linear leaves" in warning
    assert result.to_json()["warnings"] == [warning]


def test_the_full_range_is_as_if_the_file_had_no_window(
    whitened: Path, pipeline: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.dcm"
    plain.write_bytes(image(ramp(), 12))
    (with_window,) = hilum.predict(whitened, pipeline=pipeline)
    (full,) = hilum.predict(whitened, pipeline=pipeline, full_range=True)
    (want,) = hilum.predict(plain, pipeline=pipeline)
    assert full.warnings == ()
    assert full.findings is not None
    assert want.findings is not None
    assert with_window.findings is not None
    masks = full.findings.masks["lungs"]
    np.testing.assert_array_equal(masks, want.findings.masks["lungs"])
    assert not np.array_equal(masks, with_window.findings.masks["lungs"])


def test_a_wrong_transfer_syntax_stands_beside_the_findings(pipeline: Path, tmp_path: Path) -> None:
    file = image(ramp(), 12, uids.JPEG2000Lossless)
    path = tmp_path / "label.dcm"
    path.write_bytes(file.replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.50"))
    (result,) = hilum.predict(path, pipeline=pipeline)
    assert "its pixels are JPEG 2000" in result.warnings[0]


@pytest.mark.parametrize("untrusted", [False, True])
def test_a_header_is_refused_before_a_pixel_is_decoded(
    pipeline: Path, tmp_path: Path, untrusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged pixels would be "unreadable"; the gate comes first."""
    path = tmp_path / "mr.dcm"
    damaged = dataset(ramp(), 12, Modality="MR")
    path.write_bytes(to_bytes(damaged, None, uids.JPEG2000, frame=b"damaged"))
    monkeypatch.setattr(codecs, "decode", lambda *_: pytest.fail("was decoded"))
    (result,) = hilum.predict(path, pipeline=pipeline, untrusted=untrusted)
    assert result.status == "refused"
    assert str(result.reason).startswith("not-a-chest-radiograph: ")


def test_untrusted_files_give_the_same_findings(whitened: Path, pipeline: Path) -> None:
    (plain,) = hilum.predict(whitened, pipeline=pipeline)
    (guarded,) = hilum.predict(whitened, pipeline=pipeline, untrusted=True)
    assert guarded.findings is not None
    assert plain.findings is not None
    assert guarded.findings.image_scores == plain.findings.image_scores
    assert guarded.warnings == plain.warnings


def test_the_journal_of_a_run_with_windows_does_not_answer_for_one_without(
    whitened: Path, pipeline: Path, tmp_path: Path
) -> None:
    warnings = []
    for options in ([], ["--full-range"], ["--full-range", "--untrusted"]):
        arguments = ["predict", str(whitened), "--out", str(tmp_path / "out"), "--json", *options]
        done = CliRunner().invoke(app, [*arguments, "--pipeline", str(pipeline)])
        assert done.exit_code == 0
        warnings.append(len(json.loads(done.stdout)["images"][0]["warnings"]))
    assert warnings == [1, 0, 0]
