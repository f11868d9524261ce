"""`hilum evaluate calibrate`: scores and thresholds of a bundle, from validation data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hilum
from helpers.pictures import radiograph
from helpers.toy import write_text, write_toy
from hilum.cli.main import app
from hilum.core.bundle import Bundle, load_bundle, open_bundle
from hilum.core.errors import ConfigError, DataError
from hilum.core.manifest import Calibration
from hilum.data.catalog import build

BOX = [10.0, 10.0, 60.0, 60.0]
IMAGES = 120


def _validation(folder: Path, bundle: Bundle, threshold: float = 0.0) -> tuple[Path, Path]:
    """A catalog, and overconfident predictions that say they are of the bundle."""
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, IMAGES)
    sick = rng.random(IMAGES) < 1 / (1 + np.exp(-logit / 2))
    score = np.round(1 / (1 + np.exp(-2 * logit)), 6)
    ids = [f"i{i}" for i in range(IMAGES)]
    rows = pd.DataFrame(
        {
            **{"image_id": ids, "path": [f"{i}.png" for i in ids], "patient": ids, "study": ids},
            "split": "validation",
            "boxes": [BOX if s else [] for s in sick],
            "box_labels": [["opacity"] if s else [] for s in sick],
        }
    )
    build("toy", rows, Path()).save(folder / "c.parquet")
    entries = [
        {
            **{"path": f"{i}.png", "status": "analysed", "scores": {"opacity": s}},
            "findings": [{"label": "opacity", "score": s, "box_px": BOX}],
        }
        for i, s in zip(ids, score.tolist(), strict=True)
    ]
    head = {
        "bundles": [{"name": bundle.name, "sha256": bundle.sha256}],
        "operating_points": {"given": {"threshold": threshold, "reason": "given", "score": "box"}},
    }
    document = {"schema": "hilum.findings/1", "pipeline": head, "images": entries}
    (folder / "f.json").write_text(json.dumps(document))
    return folder / "c.parquet", folder / "f.json"


def _run(*arguments: object) -> Any:
    words = ["evaluate", "calibrate", *(str(a) for a in arguments), "--json"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_a_new_bundle_carries_points_and_maps_and_the_runtime_applies_them(tmp_path: Path) -> None:
    old = write_toy(tmp_path / "old.zip", logits=(1.0,))
    out = tmp_path / "new.zip"
    answer = _run(tmp_path / "old.zip", *_validation(tmp_path, old), "--out", out)
    new = load_bundle(out)
    assert new.sha256 == answer["sha256"] != old.sha256
    assert new.manifest.files["model.onnx"] == old.manifest.files["model.onnx"]
    assert "Calibrated again" in new.read("card.md").decode()
    points = new.manifest.operating_points
    assert set(points) == {
        *("default", "sensitivity-95", "false-positives-10", "false-boxes-1"),
        *("best-f1", "best-f2", "best-mcc"),
    }
    assert points["sensitivity-95"].achieved["sensitivity"] >= 0.95
    assert points["sensitivity-95"].score == "opacity"
    assert "toy, part validation, 120 images" in points["default"].chosen_on
    slope = new.manifest.calibration.scores["box"][0].slope
    assert slope == pytest.approx(0.25, abs=0.1)  # four times too sure

    scores = []
    for name in ("old.zip", "new.zip"):
        text = f"models: {{toy: {{bundle: {name}}}}}\nthresholds: {{boxes: 0.0}}"
        (image,) = hilum.predict(radiograph(), pipeline=write_text(tmp_path / "p.yaml", text))
        scores.append(image.findings.scores[0])
    want = new.manifest.calibration.apply("box", scores[0])
    assert scores[1] == pytest.approx(float(want), abs=1e-6)
    assert scores[1] != pytest.approx(scores[0], abs=0.01)


def test_a_calibrated_bundle_can_be_calibrated_again(tmp_path: Path) -> None:
    old = write_toy(
        tmp_path / "old.zip",
        operating_points={"mine": {"threshold": 0.5, "reason": "r", "chosen_on": "c"}},
        calibration={"scores": {"box": [{"kind": "temperature", "temperature": 2.0}]}},
    )
    files = _validation(tmp_path, old)
    _run(tmp_path / "old.zip", *files, "--out", tmp_path / "new", "--calibrate", "isotonic")
    manifest = load_bundle(tmp_path / "new").manifest
    assert [m.kind for m in manifest.calibration.scores["box"]] == ["temperature", "isotonic"]
    fresh = Calibration(scores={"box": manifest.calibration.scores["box"][1:]})
    assert manifest.operating_points["mine"].threshold == pytest.approx(fresh.apply("box", 0.5))


def test_the_gate_of_the_default_pipeline_is_no_other_bundle(tmp_path: Path) -> None:
    old, gate = write_toy(tmp_path / "old.zip"), open_bundle("gate")
    catalog, predictions = _validation(tmp_path, old)
    content = json.loads(predictions.read_text())
    content["pipeline"]["bundles"].append({"name": gate.name, "sha256": gate.sha256})
    predictions.write_text(json.dumps(content))
    _run(tmp_path / "old.zip", catalog, predictions, "--out", tmp_path / "new.zip")
    content["pipeline"]["bundles"][-1]["sha256"] = "0" * 64
    predictions.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="not of bundle"):
        _run(tmp_path / "old.zip", catalog, predictions, "--out", tmp_path / "other.zip")


def test_predictions_of_another_bundle_or_cut_ones_are_refused(tmp_path: Path) -> None:
    old = write_toy(tmp_path / "old.zip")
    other = write_toy(tmp_path / "other.zip", logits=(0.5,))
    out = ("--out", tmp_path / "new.zip")
    with pytest.raises(ConfigError, match="not of bundle"):
        _run(tmp_path / "other.zip", *_validation(tmp_path, old), *out)
    with pytest.raises(ConfigError, match="--threshold 0"):
        _run(tmp_path / "old.zip", *_validation(tmp_path, old, 0.3), *out)
    files = _validation(tmp_path, old)
    with pytest.raises(ConfigError, match="aim of boxes"):
        _run(tmp_path / "old.zip", *files, *out, "--default", "best-f1")
    with pytest.raises(DataError, match="target conformal-missed"):
        _run(tmp_path / "old.zip", *files, *out, "--choose", "conformal-missed-boxes=0.001")
    assert other.sha256 != old.sha256
    assert not (tmp_path / "new.zip").exists()


@pytest.mark.parametrize(
    ("gives", "usual", "other", "has"),
    [
        ("boxes", {"default", "false-boxes-1"}, "best-f1", "no score of opacity"),
        (
            "scores",
            {"sensitivity-95", "false-positives-10", "best-f1", "best-f2", "best-mcc"},
            "false-boxes",
            "no boxes",
        ),
    ],
)
def test_a_bundle_is_calibrated_in_what_it_gives(
    tmp_path: Path, gives: str, usual: set[str], other: str, has: str
) -> None:
    """A detector of one's own has no scores of images, a classifier no boxes."""
    heads = {"class_logits": None, "box_deltas": None, "global_logits": "global_logits"}
    boxless = {"labels": [], "anchors": None, "outputs": heads}
    changes: dict[str, Any] = {"image_scores": {}} if gives == "boxes" else boxless | {"masks": {}}
    old = write_toy(tmp_path / "old.zip", operating_points={}, **changes)
    catalog, predictions = _validation(tmp_path, old)
    content = json.loads(predictions.read_text())
    for image in content["images"]:
        image |= {"scores": {}} if gives == "boxes" else {"findings": []}
    if gives == "scores":
        content["pipeline"]["operating_points"] = {}
    predictions.write_text(json.dumps(content))
    out = ("--out", tmp_path / "new.zip")
    _run(tmp_path / "old.zip", catalog, predictions, *out)
    assert set(load_bundle(tmp_path / "new.zip").manifest.operating_points) == usual
    with pytest.raises(ConfigError, match=f"{other}: bundle toy gives {has}.*aim of what it gives"):
        _run(tmp_path / "old.zip", catalog, predictions, *out, "--choose", other)
