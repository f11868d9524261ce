"""What a run keeps of its epochs decides the heat-maps, without network and data set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hilum.cli.main import app
from hilum.core.errors import DataError
from hilum.core.findings import Findings
from hilum.evaluate import rsna_score
from hilum.evaluate.epochs import (
    FOLDER,
    best_of,
    read_epochs,
    run_grids,
    write_epoch,
    write_truth,
)
from hilum.evaluate.truth import ImageTruth, Size
from hilum.fuse import keep_best

BOXES = np.array([[10, 10, 50, 60], [60, 20, 90, 80]], np.float64)
NONE = np.zeros((0, 4))


def truth(name: str, boxes: np.ndarray | None, labels: tuple[str, ...] = ()) -> ImageTruth:
    size = Size.of(100, 100)
    return ImageTruth(image_id=name, patient=name, size=size, boxes_px=boxes, box_labels=labels)


def found(boxes: np.ndarray, scores: list[float]) -> Findings:
    return Findings(
        width=100,
        height=100,
        boxes_px=boxes.astype(np.float32).reshape(-1, 4),
        scores=np.array(scores, np.float32),
        labels=("opacity",) * len(scores),
        image_scores={},
        masks={},
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two epochs: the first doubts, the second finds everything, each box twice."""
    truths = [
        truth("a", BOXES, ("opacity",) * 2),
        truth("b", None),  # nobody annotated boxes: nothing it says counts
        truth("c", NONE),
    ]
    write_truth(tmp_path, truths)
    twice = np.concatenate([BOXES, BOXES + 2])
    first = [found(BOXES, [0.3, 0.2]), found(BOXES, [0.9, 0.9]), found(NONE, [])]
    second = [found(twice, [0.9, 0.8, 0.7, 0.6]), found(NONE, []), found(BOXES[:1], [0.05])]
    write_epoch(tmp_path, 1, first)
    write_epoch(tmp_path, 2, second)
    return tmp_path


def suppress(boxes: np.ndarray, scores: np.ndarray, iou: float) -> np.ndarray:
    return keep_best(boxes, scores, iou=iou)


def test_images_that_nobody_annotated_do_not_count(run: Path) -> None:
    kept = read_epochs(run)
    assert [len(boxes) for boxes in kept.truth] == [2, 0]
    assert list(kept.predictions) == [1, 2]
    np.testing.assert_allclose(kept.predictions[1][0][0], BOXES)


def test_doubles_cost_until_suppression_takes_them(run: Path) -> None:
    """From the threshold on at which the doubles stay, the score of the second epoch halves."""
    score, nms = run_grids(read_epochs(run), suppress, nms=0.5, score=0.1)
    assert nms.rows[1][-1] == 1.0
    assert nms.values[0, 1] == 1.0  # the normal image has no box from .1 on
    assert nms.values[-1, 1] == pytest.approx(0.5)
    assert nms.values[-1, 0] == pytest.approx(1.0)  # no doubles in the first epoch
    place = dict(zip(score.rows[1], score.values, strict=True))
    assert place[0.01][1] == pytest.approx(0.5)  # a false box on the normal image
    assert place[0.1][1] == 1.0
    assert place[0.3][0] == pytest.approx(0.5)
    assert place[1.0].tolist() == [0, 0]  # truth, but no box
    assert best_of(score) == {"score": 0.01, "epoch": 1, "rsna_score": 1.0}


def test_no_tile_is_the_best_of_equal_ones(run: Path) -> None:
    """An untrained network scores 0 everywhere."""
    score, _ = run_grids(read_epochs(run), suppress, nms=0.5, score=0.1)
    assert best_of(replace(score, values=np.zeros_like(score.values))) == {}


def test_a_tile_is_the_challenge_score_of_its_boxes(run: Path) -> None:
    kept = read_epochs(run)
    score, _ = run_grids(kept, suppress, nms=0.5, score=0.1)
    shown = []
    for boxes, scores in kept.predictions[2]:
        keep = suppress(boxes, scores, 0.5)
        keep = keep[scores[keep] >= 0.7]
        shown.append((boxes[keep], scores[keep]))
    row = score.rows[1].index(0.7)
    assert score.values[row, 1] == pytest.approx(rsna_score(kept.truth, shown))


def test_another_label_is_another_truth(run: Path) -> None:
    write_truth(run, [truth("a", BOXES, ("opacity", "nodule"))])
    with pytest.raises(DataError, match="nodule"):
        read_epochs(run)
    assert len(read_epochs(run, "nodule").truth[0]) == 1


def test_the_command_draws_both_and_a_run_without_says_how(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "drawn"
    words = ["evaluate", "epochs", str(run), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["nms_by_epoch"]["best"]["rsna_score"] == 1.0
    assert len(list(out.glob("*.png"))) == 2
    assert json.loads((out / "epochs.json").read_text()) == document
    for file in (run / FOLDER).glob("*"):
        file.unlink()
    failed = CliRunner().invoke(app, words)
    assert isinstance(failed.exception, DataError)
    assert "train.keep_predictions=all" in str(failed.exception)
