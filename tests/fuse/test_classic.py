"""Suppression, union and votes over models; stored vectors of ensemble-boxes and the 1st place."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from hilum.fuse import nms, nmw, soft_nms, union, vote_average

GOLDEN = Path(__file__).parent / "golden"  # each file names its source
SURE = [10.0, 10.0, 50.0, 50.0]
NEAR = [12.0, 10.0, 52.0, 50.0]
FAR = [200.0, 200.0, 260.0, 280.0]


def _cases() -> list[dict[str, Any]]:
    cases = json.loads((GOLDEN / "wbf.json").read_text())["cases"]
    return [case for case in cases if "nms" in case]


def _rows(boxes: Any, scores: Any, labels: Any) -> np.ndarray:
    table = np.c_[np.reshape(boxes, (-1, 4)), scores, labels].round(6)
    return table[np.lexsort(table.T)]


def test_stored_vectors_of_the_other_fusions() -> None:
    for case in _cases():
        lists = case["boxes_list"], case["scores_list"], case["labels_list"]
        weights, iou = case["params"]["weights"], case["params"]["iou_thr"]
        got = {
            "nms": nms(*lists, weights=weights, iou=iou),
            "soft_nms": soft_nms(
                *lists, weights=weights, iou=iou, sigma=0.1, floor=1e-4, rescore=False
            ),
            "nmw": nmw(*lists, weights=weights, iou=iou, skip=1e-4),
        }
        for name, fused in got.items():
            want = case[name]
            np.testing.assert_allclose(
                _rows(*fused),
                _rows(want["boxes"], want["scores"], want["labels"]),
                atol=2e-6,
                err_msg=f"{case['name']} {name}",
            )


def test_soft_suppression_lowers_overlapped_scores_only() -> None:
    _, scores, _ = soft_nms([[SURE, NEAR, FAR]], [[0.9, 0.8, 0.7]], [[0, 0, 0]])
    assert scores[0] == 0.9
    assert 0.7 in scores
    assert scores[-1] < 0.8


def test_union_keeps_what_either_detector_is_confident_of() -> None:
    boxes, scores, _ = union(
        [[SURE, FAR], [NEAR]], [[0.6, 0.2], [0.4]], [[0, 0], [0]], thresholds=[0.5, 0.3]
    )
    assert boxes.tolist() == [SURE]  # NEAR is confident too, but a double; FAR is not
    assert scores.tolist() == [0.6]


def test_vote_average_is_the_first_places() -> None:
    for case in json.loads((GOLDEN / "ipan_general_ensemble.json").read_text())["cases"]:
        dets = [np.array(d, float).reshape(-1, 6) for d in case["dets_cxcywh_cls_conf"]]
        half = [d[:, 2:4] / 2 for d in dets]
        boxes, scores, labels, votes = vote_average(
            [np.c_[d[:, :2] - h, d[:, :2] + h] for d, h in zip(dets, half, strict=True)],
            [d[:, 5] for d in dets],
            [d[:, 4] for d in dets],
            iou=case["params"]["iou_thresh"],
            weights=case["params"].get("weights"),
        )
        sides = boxes[:, 2:] - boxes[:, :2]
        got = np.c_[boxes[:, :2] + sides / 2, sides, labels, scores, votes]
        np.testing.assert_allclose(got, case["out_last_is_vote_weight"], atol=1e-6)


def test_no_boxes_in_no_boxes_out() -> None:
    for fuse in (nms, soft_nms, nmw, union, vote_average):
        assert fuse([[], []], [[], []], [[], []])[0].shape == (0, 4)
        assert fuse([], [], [])[0].shape == (0, 4)
