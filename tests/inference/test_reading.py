"""What reading has to say of a file stands beside its findings, and can be answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import uid as uids
from typer.testing import CliRunner

import hilum
from helpers.dicom_files import dataset, image, stored, to_bytes
from helpers.toy import SIZE, write_text, write_toy, write_toy_pipeline
from hilum.cli.main import app
from hilum.core.errors import ConfigError
from hilum.core.results import load_results
from hilum.dicom import codecs
from hilum.dicom.read import read
from hilum.dicom.stored import open_stored


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


def windowed_findings(path: Path, pipeline: Path, **options: Any) -> np.ndarray:
    (result,) = hilum.predict(path, pipeline=pipeline, **options)
    assert result.findings is not None
    return result.findings.masks["lungs"]


def test_a_fixed_window_replaces_that_of_each_file(
    whitened: Path, pipeline: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.dcm"
    own.write_bytes(image(ramp(), 12, WindowCenter=3000, WindowWidth=900))
    want = windowed_findings(own, pipeline)
    np.testing.assert_array_equal(windowed_findings(whitened, pipeline, window=(3000, 900)), want)
    assert not np.array_equal(windowed_findings(whitened, pipeline), want)


def test_a_bundle_reads_with_the_window_it_was_trained_with(
    whitened: Path, pipeline: Path, tmp_path: Path
) -> None:
    trained = tmp_path / "trained"
    trained.mkdir()
    preprocessing = {"size": SIZE, "window": [3000, 900]}
    text = write_toy_pipeline(trained, preprocessing=preprocessing)
    want = windowed_findings(whitened, pipeline, window=(3000, 900))
    np.testing.assert_array_equal(windowed_findings(whitened, text), want)
    loaded = hilum.load_pipeline(text)
    np.testing.assert_array_equal(loaded(open_stored(whitened)).masks["lungs"], want)
    assert loaded.info.to_json()["window"] == [3000, 900]
    with pytest.raises(ConfigError, match="a window and the full range"):
        hilum.predict(whitened, pipeline=text, full_range=True)


def test_bundles_of_different_windows_do_not_read_one_image(tmp_path: Path) -> None:
    write_toy(tmp_path / "a.zip", preprocessing={"size": SIZE, "window": [40, 400]})
    write_toy(tmp_path / "b.zip")
    text = (
        "models: {a: {bundle: a.zip}, b: {bundle: b.zip}}\nmasks: {}\n"
        "boxes: [{use: nms, of: [a, b]}]\nscores: [{use: scores, of: a}]\n"
        "thresholds: {boxes: 0.3}"
    )
    with pytest.raises(ConfigError, match=r"different windows \(a: 40, 400; b: as the file says"):
        hilum.load_pipeline(write_text(tmp_path / "two.yaml", text))
    decided = write_text(tmp_path / "decided.yaml", text + "\nwindow: [40, 400]")
    assert hilum.load_pipeline(decided).window == (40, 400)


def test_the_window_of_a_run_stands_in_its_findings_and_its_journal(
    whitened: Path, pipeline: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = []
    for options in ([], ["--window", "-600", "1500"], ["--window", "3000", "900"]):
        arguments = ["predict", str(whitened), "--out", str(out), "--json", *options]
        done = CliRunner().invoke(app, [*arguments, "--pipeline", str(pipeline)])
        assert done.exit_code == 0, done.output
        found.append(json.loads(done.stdout))
    assert [one["pipeline"].get("window") for one in found] == [None, [-600, 1500], [3000, 900]]
    assert len({one["pipeline"]["fingerprint"] for one in found}) == 3
    assert load_results(out).pipeline.window == (3000, 900)
    again = CliRunner().invoke(app, ["report", str(out), "--write", "picture", "--json"])
    assert again.exit_code == 0, again.output
    picture = out / json.loads(again.stdout)["images"][0]["files"]["picture"]
    direct = read(whitened, window=(3000, 900)).pixels
    shown = np.asarray(Image.open(picture), np.float64)
    assert np.corrcoef(shown.ravel(), direct.ravel())[0, 1] > 0.999


def test_a_picture_without_a_header_says_that_a_window_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray((ramp() // 16).astype(np.uint8)).save(path)
    plain, fixed = read(path), read(path, window=(40, 400))
    np.testing.assert_array_equal(plain.pixels, fixed.pixels)
    assert "a fixed window says nothing" in fixed.decoding.warnings[0]
    assert plain.decoding.warnings == ()
