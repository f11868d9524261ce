"""The sheet of augmented samples: what is drawn is what training draws."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from hilum.cli.main import app
from hilum.report.drawing import GAP


def test_a_sheet_has_a_row_an_image_and_redraws(hilum_data: Path, tmp_path: Path) -> None:
    sheets = []
    for name in ("one.png", "two.png"):
        arguments = ["data", "preview", "rsna-classifier-r50-small", "--data", str(hilum_data)]
        arguments += ["--out", str(tmp_path / name), "--images", "2", "--samples", "3", "--json"]
        done = CliRunner().invoke(app, [*arguments, "--set", "augment=covid/yolo"])
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout[done.stdout.index("{") :])
        assert document["images"] == 2
        assert document["boxes"] > 0
        sheets.append(cv2.imread(str(tmp_path / name)))
    assert sheets[0].shape == (2 * 256 + GAP, 4 * 256 + 3 * GAP, 3)
    np.testing.assert_array_equal(*sheets)


@pytest.mark.parametrize("change", ["augment=hevy"])
def test_an_unknown_augmentation_is_refused(hilum_data: Path, tmp_path: Path, change: str) -> None:
    arguments = ["data", "preview", "default", "--data", str(hilum_data), "--set", change]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "x.png")])
    assert done.exit_code != 0
    assert "heavy" in str(done.exception)
    assert not (tmp_path / "x.png").exists()
