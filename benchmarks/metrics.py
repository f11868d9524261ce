"""Speed of the metrics and of box fusion beside the packages that others use, in one run.

    python benchmarks/metrics.py [--quick] [--json FILE]

Prints medians, and the aims of the project beside them. Compilation and its cache are warmed up
before; building the inputs of each package (COCO's dictionaries) is not counted for anyone, ours
takes arrays and counts its own checks.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hilum.evaluate import ap_of, auc_of, bootstrap, coco_metrics, rsna_of, rsna_score
from hilum.fuse import weighted_boxes

Images = tuple[list[Any], list[Any]]


def median_s(work: Callable[[], Any], repeats: int) -> float:
    """Median wall-clock seconds after one call for warmth."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def pair_s(
    first: Callable[[], Any], second: Callable[[], Any], repeats: int
) -> tuple[float, float]:
    """Medians of two works taken in turns, so that a busy machine hurts both."""
    first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for work, kept in zip((first, second), times, strict=True):
            start = time.perf_counter()
            work()
            kept.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def images(count: int, boxes: int, rng: np.random.Generator) -> Images:
    """Half of the images have one to four true boxes; predictions hit some of them."""
    truth, predictions = [], []
    for i in range(count):
        n = rng.integers(1, 5) if i % 2 else 0
        true, other = _boxes(n, rng), _boxes(boxes - n, rng)
        near = true + rng.uniform(-20, 20, true.shape)
        truth.append(true)
        predictions.append((np.concatenate([near, other]), rng.random(boxes)))
    return truth, predictions


def _boxes(n: int, rng: np.random.Generator) -> np.ndarray:
    corner = rng.uniform(0, 700, (n, 2))
    return np.c_[corner, corner + rng.uniform(50, 300, (n, 2))]


def fusion(repeats: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Weighted boxes fusion of 5 models × 200 boxes in every mode."""
    from ensemble_boxes import weighted_boxes_fusion

    corner = [rng.uniform(0, 0.7, (200, 2)) for _ in range(5)]
    boxes = [np.c_[c, c + rng.uniform(0.02, 0.3, (200, 2))] for c in corner]
    scores, labels = [rng.random(200) for _ in range(5)], [np.zeros(200, int)] * 5
    rows = []
    for mode in ("avg", "max", "box_and_model_avg", "absent_model_aware_avg"):
        ours, theirs = pair_s(
            lambda mode=mode: weighted_boxes(boxes, scores, labels, mode=mode),
            lambda mode=mode: weighted_boxes_fusion(boxes, scores, labels, conf_type=mode),
            repeats,
        )
        name = f"weighted fusion {mode}, 5 × 200 boxes"
        rows.append(_row(name, ours, "ensemble-boxes", theirs, ">= 20 ×", theirs / ours >= 20))
    os.environ["HILUM_NUMBA"] = "0"
    plain = median_s(lambda: weighted_boxes(boxes, scores, labels), repeats)
    del os.environ["HILUM_NUMBA"]
    rows.append(_row("the same without numba", plain, "ensemble-boxes", theirs, "", True))
    return rows


def coco(count: int, repeats: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The twelve COCO numbers, evaluate and accumulate."""
    from faster_coco_eval import COCO as FASTER_COCO
    from faster_coco_eval import COCOeval_faster
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, predictions = images(count, 5, rng)
    rows = []
    for name, data, evaluator, aim, ratio in (
        ("pycocotools", COCO, COCOeval, ">= 4 ×", 4.0),
        ("faster-coco-eval", FASTER_COCO, COCOeval_faster, ">= 1 ×", 1.0),
    ):
        with contextlib.redirect_stdout(io.StringIO()):
            true, found = _coco_inputs(truth, predictions, data)

        def run(true: Any = true, found: Any = found, evaluator: Any = evaluator) -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                job = evaluator(true, found, "bbox")
                job.evaluate()
                job.accumulate()

        ours, theirs = pair_s(lambda: coco_metrics(truth, predictions), run, repeats)
        label = f"COCO metrics, {count} images × 5 boxes"
        rows.append(_row(label, ours, name, theirs, aim, theirs / ours >= ratio))
    return rows


def _coco_inputs(truth: list[Any], predictions: list[Any], data: Any) -> tuple[Any, Any]:
    def rows(boxes: Any, image: int) -> list[dict[str, Any]]:
        return [
            {
                "image_id": image + 1,
                "category_id": 1,
                "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]],
                "area": (b[2] - b[0]) * (b[3] - b[1]),
                "iscrowd": 0,
            }
            for b in boxes.tolist()
        ]

    annotations = [row for i, t in enumerate(truth) for row in rows(t, i)]
    for number, row in enumerate(annotations):
        row["id"] = number + 1
    found = [
        {**row, "score": float(score)}
        for i, (boxes, scores) in enumerate(predictions)
        for row, score in zip(rows(boxes, i), scores, strict=True)
    ]
    true = data()
    true.dataset = {
        "images": [{"id": i + 1, "width": 1024, "height": 1024} for i in range(len(truth))],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "opacity"}],
    }
    true.createIndex()
    return true, true.loadRes(found)


def rsna_and_bootstraps(
    count: int, repeats: int, replicates: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """RSNA score, and bootstraps with the matching included, patients of 1.3 images."""
    truth, predictions = images(count, 5, rng)
    patients = rng.integers(0, count * 3 // 4, count)
    label = np.array([len(t) > 0 for t in truth])
    score = np.clip(rng.normal(0.4 + 0.2 * label, 0.2), 0, 1)
    size = f"{count} images × 5 boxes"
    alone = median_s(lambda: rsna_score(truth, predictions), repeats)
    rows = [_row(f"RSNA score, {size}", alone, "", None, "<= 0.1 s", alone <= 0.1)]
    for name, make, limit in (
        ("AP@.5", lambda: ap_of(truth, predictions), 30.0),
        ("AUC", lambda: auc_of(label, score), 1.0),
        ("RSNA score", lambda: rsna_of(truth, predictions), None),
    ):
        spent = median_s(
            lambda make=make: bootstrap(make(), patients, repeats=replicates), min(repeats, 3)
        )
        rows.append(
            _row(
                f"{replicates} patient bootstraps of {name}, {count} images",
                *(spent, "", None, f"<= {limit:g} s" if limit else ""),
                limit is None or spent <= limit,
            )
        )
    return rows


def _row(
    what: str, ours: float, other: str, theirs: float | None, aim: str, met: bool
) -> dict[str, Any]:
    ratio = theirs / ours if theirs else None
    row = {"what": what, "ours_s": ours, "other": other, "other_s": theirs, "ratio": ratio}
    shown = f"{ours * 1e3:9.2f} ms"
    if theirs and ratio:
        shown += f"   {other} {theirs * 1e3:9.2f} ms   {ratio:6.1f} ×"
    verdict = f"   aim {aim}: {'met' if met else 'MISSED'}" if aim else ""
    print(f"{what:55} {shown}{verdict}", flush=True)
    return {**row, "aim": aim, "met": met}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the images, fewer runs")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    count, repeats = (2600, 3) if options.quick else (26000, 7)
    replicates = 100 if options.quick else 1000
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    rows = fusion(repeats * 3, rng)
    rows += rsna_and_bootstraps(count, repeats, replicates, rng)
    rows += coco(count, 3, rng)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
