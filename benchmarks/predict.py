"""Files a second from JPEG CR files on disk to findings: two processes x one thread.

    HILUM_DATA=... python benchmarks/predict.py [--bundle PATH] [--repeats 5] [--json]

Arms: the bundle in ONNX Runtime fp32 and int8, and the same network in PyTorch eager with the
same reading, preparing and decoding around it. Without a shipped bundle the recipe's untrained
network is exported: as fast, but it finds nothing. Without the 100 real CR files, phantoms.
Arms take turns inside each repeat, so that a busy machine is unfair to all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hilum.core.bundle import Bundle, default_bundle, load_bundle, write_bundle
from hilum.core.errors import BundleError
from hilum.core.prepare import prepare
from hilum.core.radiograph import Radiograph
from hilum.core.results import ImageResult, PipelineInfo
from hilum.dicom.discover import Item, discover
from hilum.dicom.read import read
from hilum.inference.pipeline import Pipeline
from hilum.inference.pool import Pool
from hilum.inference.run import Job, Worker
from hilum.inference.session import RawOutputs

PROCESSES, THREADS = 2, 1
ZIP = Path("dicom") / "siim_acr_cr_100.zip"
SHARES = ("read", "decode", "prepare", "infer", "decode-boxes", "masks")


@dataclass(frozen=True, slots=True)
class Discard:
    """A sink that writes nothing and tells the peak memory of its process."""

    def __call__(
        self, stored: Any, radiograph: Radiograph, result: ImageResult, pipeline: PipelineInfo
    ) -> ImageResult:
        return replace(result, files={"peak_mib": f"{peak_mib():.0f}"})


def peak_mib() -> float:
    """Peak memory of this process; getrusage would count the parent's before the start."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- PyTorch eager ------------------------------------------------------------------------------


def eager_network(bundle: Bundle) -> Any:
    """The recipe's network in PyTorch, evaluating; its weights do not matter for speed."""
    from hilum.models.registry import build_model
    from hilum.train.recipe import load_recipe

    known = (bundle.manifest.provenance.recipe, "default")
    for name in known:
        try:
            recipe = load_recipe(name)
            break
        except ValueError:
            continue
    model = recipe.model.model_copy(update={"pretrained": False})
    return build_model(model, recipe.preprocessing.size, recipe.names, recipe.seed).eval()


class EagerSession:
    """Stands where hilum.inference.session.Session stands."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.net = eager_network(bundle)

    def run(self, image: np.ndarray) -> RawOutputs:
        import torch

        names = ("class_logits", "box_deltas", "mask_logits", "global_logits")
        with torch.inference_mode():
            raw = self.net(torch.from_numpy(image[None]))
        return RawOutputs(*(raw[name][0].numpy() for name in names))


@dataclass(frozen=True, slots=True)
class EagerJob(Job):
    """The same job with PyTorch in the place of ONNX Runtime."""

    def worker(self) -> Worker:
        worker = Worker(self)
        predictor = worker.loaded.models["chest"]
        predictor.session = EagerSession(predictor.bundle, self.threads)  # type: ignore[assignment]
        return worker


# --- What is measured ---------------------------------------------------------------------------


def files(folder: Path) -> tuple[list[Path], str]:
    """100 CR files on disk, and what they are."""
    data = os.environ.get("HILUM_DATA")
    archive = Path(data) / ZIP if data else None
    if archive is not None and archive.is_file():
        with zipfile.ZipFile(archive) as members:
            members.extractall(folder)
        return sorted(p for p in folder.rglob("*") if p.is_file()), "real JPEG CR files"
    from hilum.data.phantom.phantom import phantom

    for seed in range(100):
        grey = (phantom(seed, 1024, 1024).pixels * 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{seed:03d}.jpg"), grey)
    return sorted(folder.glob("*.jpg")), "JPEG phantoms (set HILUM_DATA for real files)"


def untrained_bundle(path: Path) -> Bundle:
    """The recipe's network, exported as it comes."""
    from hilum.models.registry import build_model
    from hilum.train.export.int8 import to_int8
    from hilum.train.export.manifest import manifest_of
    from hilum.train.export.onnx import answers, to_onnx
    from hilum.train.heads import heads_of
    from hilum.train.recipe import load_recipe

    recipe = load_recipe("default")
    size = recipe.preprocessing.size
    net = build_model(recipe.model, size, recipe.names, recipe.seed).eval()
    graph = to_onnx(net, size)
    images = np.random.default_rng(0).normal(size=(8, 1, size, size)).astype(np.float32)
    point = {"threshold": 0.3, "reason": "benchmark", "chosen_on": "nothing"}
    contents = {"model.onnx": graph, "model.int8.onnx": to_int8(graph, images)}
    raw = manifest_of(
        recipe,
        net,
        heads_of(answers(graph, images[:1])[0]),
        recipe.spec,
        files=list(contents),
        fingerprints={},
        licences=(),
        commit="unknown",
        settings={"operating_points": {"default": point}},
    ).to_json()
    return write_bundle(path, raw, contents | {"card.md": b"untrained", "LICENSE.md": b"-"})


def pipeline_of(bundle: Bundle, precision: str) -> Pipeline:
    return Pipeline.load().with_bundle(bundle.path).changed(precision=precision)


def rate(pool: Pool, items: Sequence[Item]) -> tuple[float, float]:
    """Files a second through a warm pool, and the highest peak memory of a process, MiB."""
    results: list[ImageResult] = []
    start = time.perf_counter()
    pool.run(items, lambda _, result: results.append(result))
    seconds = time.perf_counter() - start
    failed = [result for result in results if result.status != "analysed"]
    if failed:
        raise SystemExit(f"{failed[0].name}: {failed[0].reason}")
    return len(items) / seconds, max(float(result.files["peak_mib"]) for result in results)


def shares(worker: Worker, items: Sequence[Item]) -> dict[str, float]:
    """Median milliseconds of each step, one process x one thread."""
    predictor = worker.loaded.models["chest"]
    decoder = predictor.decoder
    taken: dict[str, list[float]] = {name: [] for name in SHARES}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        value = step()
        taken[name].append(1000 * (time.perf_counter() - start))
        return value

    for item in items:
        data = timed("read", item.load)
        radiograph = timed("decode", lambda d=data, n=item.name: read((n, d)))
        image, box = timed("prepare", lambda r=radiograph: prepare(r, predictor.preprocessing))
        raw = timed("infer", lambda i=image: predictor.session.run(i))
        said = timed("decode-boxes", lambda r=raw, b=box: decoder(r, b))
        timed("masks", lambda s=said: [one.cut() for one in s.maps.values()])
    return {name: statistics.median(values) for name, values in taken.items()}


def arms(bundle: Bundle, masks: bool, eager: bool) -> dict[str, Job]:
    jobs: dict[str, Job] = {
        f"onnxruntime {precision}": Job(pipeline_of(bundle, precision), THREADS, masks, Discard())
        for precision in bundle.manifest.precisions
    }
    if eager:
        jobs["pytorch eager"] = EagerJob(pipeline_of(bundle, "fp32"), THREADS, masks, Discard())
    return jobs


def measure(items: Sequence[Item], jobs: dict[str, Job], repeats: int) -> dict[str, Any]:
    """Median, lowest and highest files a second of each arm, over interleaved repeats."""
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    peaks: dict[str, float] = dict.fromkeys(jobs, 0.0)
    for _ in range(repeats):
        for name, job in jobs.items():
            with Pool(job, PROCESSES) as pool:
                rate(pool, items[:10])  # starts the processes and warms them
                speed, peak = rate(pool, items)
            rates[name].append(speed)
            peaks[name] = max(peaks[name], peak)
    return {
        name: {
            "files_per_s": statistics.median(values),
            "lowest": min(values),
            "highest": max(values),
            "peak_mib": peaks[name],
        }
        for name, values in rates.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", type=Path, help="folder or zip; else the shipped one")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-eager", action="store_true")
    parser.add_argument("--no-masks", action="store_true")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        paths, kind = files(folder / "images")
        bundle = chosen(options.bundle, folder)
        jobs = arms(bundle, not options.no_masks, not options.no_eager)
        items = list(discover(paths))
        report = {
            "images": f"{len(items)} {kind}",
            "bundle": f"{bundle.name} {bundle.version} {bundle.sha256[:12]}",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
            f"load {os.getloadavg()[0]:.1f} at the start",
            "arms": measure(items, jobs, options.repeats),
            "milliseconds": {},
        }
        cv2.setNumThreads(THREADS)
        for name, job in jobs.items():
            worker = job.worker()
            shares(worker, items[:5])
            report["milliseconds"][name] = shares(worker, items)
    show(report, options.as_json)


def chosen(path: Path | None, folder: Path) -> Bundle:
    if path is not None:
        return load_bundle(path)
    try:
        return default_bundle()
    except BundleError:
        print("no shipped bundle: an untrained network is measured", file=sys.stderr)
        return untrained_bundle(folder / "untrained.zip")


def show(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=1))
        return
    print(f"{report['images']}; bundle {report['bundle']}; {report['machine']}")
    print(f"{PROCESSES} processes x {THREADS} thread, files on disk to findings:")
    slowest = report["arms"].get("pytorch eager", {}).get("files_per_s")
    for name, arm in report["arms"].items():
        ratio = f", {arm['files_per_s'] / slowest:.1f} x eager" if slowest else ""
        print(
            f"  {name:18} {arm['files_per_s']:6.1f} files/s ({arm['lowest']:.1f} to "
            f"{arm['highest']:.1f}), peak {arm['peak_mib']:.0f} MiB a process{ratio}"
        )
    print("One process x one thread, median ms a file:")
    print(f"  {'':18}" + "".join(f"{name:>14}" for name in (*SHARES, "sum")))
    for name, steps in report["milliseconds"].items():
        values = [*(steps[step] for step in SHARES), sum(steps.values())]
        print(f"  {name:18}" + "".join(f"{value:14.2f}" for value in values))


if __name__ == "__main__":
    main()
