"""Files a second from JPEG CR files on disk: the whole command as a user runs it, and its parts.

    HILUM_DATA=... python benchmarks/predict.py [--bundle PATH] [--repeats 5] [--files 100]
        [--copies 6] [--no-eager] [--json]

Variants: `hilum predict` with everything that it writes, start of Python included; the same
without a file an image; and warm worker processes that write nothing, with the bundle in ONNX
Runtime fp32 and int8, and the same network in PyTorch eager with the same reading, preparing and
decoding around it; its weights are random, since they decide no speed. Two processes x one thread
each, whatever `hilum bench` chose. Last, one CR in every kind of transfer syntax (reading.py).
Without the 100 real CR files, phantoms.
Variants take turns inside each repeat, so that a busy machine is unfair to all of them alike; the
parts are told in processor time, which a busy machine hardly changes.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import reading

from hilum.core.bundle import Bundle, default_bundle, load_bundle
from hilum.core.prepare import prepare
from hilum.core.results import ImageResult
from hilum.dicom.analysed import Analysed
from hilum.dicom.discover import Item, discover
from hilum.dicom.read import read
from hilum.inference.job import Job, Worker
from hilum.inference.journal import NAME as JOURNAL
from hilum.inference.pipeline import Pipeline
from hilum.inference.pool import Pool
from hilum.inference.session import RawOutputs
from hilum.report.results import ResultFolder
from hilum.report.writers import parse

PROCESSES, THREADS = 2, 1
PR_SET_CHILD_SUBREAPER = 36  # of prctl
ZIP = Path("dicom") / "siim_acr_cr_100.zip"
SHARES = ("read", "decode", "prepare", "infer", "boxes", "masks", "write")


@dataclass(frozen=True, slots=True)
class Discard:
    """A sink that writes nothing and tells the peak memory of its process."""

    def __call__(self, image: Analysed) -> ImageResult:
        return replace(image.result, files={"peak_mib": f"{peak_mib():.0f}"})


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


def files(folder: Path, count: int) -> tuple[list[Path], str]:
    """At most 100 CR files on disk, and what they are."""
    data = os.environ.get("HILUM_DATA")
    archive = Path(data) / ZIP if data else None
    if archive is not None and archive.is_file():
        with zipfile.ZipFile(archive) as members:
            members.extractall(folder)
        return sorted(p for p in folder.rglob("*") if p.is_file())[:count], "real JPEG CR files"
    from hilum.data.phantom.phantom import phantom

    for seed in range(min(count, 100)):
        grey = (phantom(seed, 1024, 1024).pixels * 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{seed:03d}.jpg"), grey)
    return sorted(folder.glob("*.jpg")), "JPEG phantoms (set HILUM_DATA for real files)"


def copied(paths: Sequence[Path], folder: Path, copies: int) -> list[Path]:
    """The same files under several names: a folder as large as a user's."""
    out = []
    for number in range(copies):
        (folder / f"{number}").mkdir(parents=True)
        for path in paths:
            out.append(folder / f"{number}" / path.name)
            shutil.copy(path, out[-1])  # a link would count as the same file
    return out


@dataclass(slots=True)
class Command:
    """`hilum predict` on a folder, timed from outside."""

    images: Path
    count: int
    options: tuple[str, ...]
    rates: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)  # a file, of all its processes
    kilobytes: float = 0.0

    def run(self) -> None:
        """Once, into a new folder."""
        with tempfile.TemporaryDirectory() as temporary:
            out = Path(temporary) / "out"
            start, before, known = time.perf_counter(), _children_s(), _children()
            command = [sys.executable, "-m", "hilum", "predict", self.images, "--out", out]
            process = subprocess.Popen(
                [*map(str, command), "--workers", str(PROCESSES), *self.options],
                stdout=subprocess.DEVNULL,
                env=os.environ | {"XDG_CONFIG_HOME": temporary},  # no choice of hilum bench
            )
            first = 0.0
            while process.poll() is None:
                if not first and _lines(out / JOURNAL) > 1:
                    first = time.perf_counter() - start
                time.sleep(0.05 if first else 0.005)
            if process.returncode:
                raise SystemExit(f"hilum predict ended with {process.returncode}")
            self.rates.append(self.count / (time.perf_counter() - start))
            self.first_s.append(first)
            for orphan in _children() - known:
                os.waitpid(orphan, 0)
            self.processor_ms.append(1000 * (_children_s() - before) / self.count)
            written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
            self.kilobytes = written / self.count / 1000

    def report(self) -> dict[str, float]:
        return {
            "files_per_s": statistics.median(self.rates),
            "lowest": min(self.rates),
            "highest": max(self.rates),
            "first_result_s": statistics.median(self.first_s),
            "processor_ms_a_file": statistics.median(self.processor_ms),
            "kilobytes_a_file": self.kilobytes,
        }


def _children_s() -> float:
    """Processor time of processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _children() -> set[int]:
    """Processes whose parent is this one, once `adopt` is called those of ended ones too."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(map(int, listed.read_text().split())) if listed.is_file() else set()


def adopt() -> None:
    """Become the parent of orphans (Linux): what workers are forked from outlives the command by
    a moment, and its processor time is to count."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


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


def shares(worker: Worker, items: Sequence[Item], folder: ResultFolder) -> dict[str, float]:
    """Median milliseconds of processor time of each step, one process x one thread."""
    predictor = worker.loaded.models["chest"]
    decoder = predictor.decoder
    taken: dict[str, list[float]] = {name: [] for name in SHARES}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        start = time.thread_time()
        value = step()
        taken[name].append(1000 * (time.thread_time() - start))
        return value

    for item in items:
        data = timed("read", item.load)
        radiograph = timed("decode", lambda d=data, n=item.name: read((n, d)))
        square, box = timed("prepare", lambda r=radiograph: prepare(r, predictor.preprocessing))
        raw = timed("infer", lambda i=square: predictor.session.run(i))
        answer = timed("boxes", lambda r=raw, b=box: decoder(r, b))
        timed("masks", lambda a=answer: [one.cut() for one in a.maps.values()])
        found = worker.loaded.findings(radiograph)
        result = ImageResult(
            name=item.name,
            status="analysed",
            findings=found,
            width=found.width,
            height=found.height,
        )
        image = Analysed(
            stored=None, radiograph=radiograph, result=result, pipeline=worker.loaded.info
        )
        timed("write", partial(folder, image))
    return {name: statistics.median(values) for name, values in taken.items()}


def warm_jobs(bundle: Bundle, eager: bool) -> dict[str, Job]:
    jobs: dict[str, Job] = {
        f"onnxruntime {precision}": Job(pipeline_of(bundle, precision), THREADS, True, Discard())
        for precision in bundle.manifest.precisions
    }
    if eager:
        jobs["pytorch eager"] = EagerJob(pipeline_of(bundle, "fp32"), THREADS, True, Discard())
    return jobs


def measure(
    items: Sequence[Item], jobs: dict[str, Job], commands: dict[str, Command], repeats: int
) -> dict[str, Any]:
    """Median, lowest and highest files a second of each variant, over interleaved repeats."""
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    peaks: dict[str, float] = dict.fromkeys(jobs, 0.0)
    for _ in range(repeats):
        for command in commands.values():
            command.run()
        for name, job in jobs.items():
            with Pool(job, PROCESSES) as pool:
                pool.wait()
                rate(pool, items[:10])  # warms them
                speed, peak = rate(pool, items)
            rates[name].append(speed)
            peaks[name] = max(peaks[name], peak)
    warm = {
        name: {
            "files_per_s": statistics.median(values),
            "lowest": min(values),
            "highest": max(values),
            "peak_mib": peaks[name],
        }
        for name, values in rates.items()
    }
    return {name: command.report() for name, command in commands.items()} | warm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", type=Path, help="folder or zip; else the shipped one")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--files", type=int, default=100, help="different ones, at most 100")
    parser.add_argument("--copies", type=int, default=6, help="of the files, for the command")
    parser.add_argument("--no-eager", action="store_true")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    adopt()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        paths, kind = files(folder / "images", options.files)
        many = copied(paths, folder / "many", options.copies)
        bundle = load_bundle(options.bundle) if options.bundle else default_bundle()
        given = ("--bundle", str(options.bundle.resolve())) if options.bundle else ()
        commands = {
            "hilum predict": Command(folder / "many", len(many), given),
            "no file an image": Command(folder / "many", len(many), (*given, "--write", "")),
        }
        jobs = warm_jobs(bundle, not options.no_eager)
        items = list(discover(paths))
        report = {
            "images": f"{len(items)} {kind}; {len(many)} for the command",
            "bundle": f"{bundle.name} {bundle.version} {bundle.sha256[:12]}",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
            f"load {os.getloadavg()[0]:.1f} at the start",
            "variants": measure(items, jobs, commands, options.repeats),
            "milliseconds": {},
        }
        cv2.setNumThreads(THREADS)
        written = ResultFolder(folder / "written", parse("picture,mask"))
        for name, job in jobs.items():
            worker = job.worker()
            shares(worker, items[:5], written)
            report["milliseconds"][name] = shares(worker, items, written)
    image, codings = reading.measure(max(3, 3 * options.repeats))
    report["reading"] = {"image": image, "codings": codings}
    show(report, options.as_json)


def show(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=1))
        return
    print(f"{report['images']}; bundle {report['bundle']}; {report['machine']}")
    print(f"{PROCESSES} processes x {THREADS} thread, files on disk to findings:")
    eager = report["variants"].get("pytorch eager", {}).get("files_per_s")
    for name, one in report["variants"].items():
        if "peak_mib" in one:
            more = f"peak {one['peak_mib']:.0f} MiB a process"
        else:
            more = f"{one['kilobytes_a_file']:.0f} kB a file, first after "
            more += (
                f"{one['first_result_s']:.2f} s, {one['processor_ms_a_file']:.1f} ms of processor"
            )
        ratio = f", {one['files_per_s'] / eager:.1f} x eager" if eager else ""
        ratio += " (random weights)" if name == "pytorch eager" else ""
        print(
            f"  {name:18} {one['files_per_s']:6.1f} files/s ({one['lowest']:.1f} to "
            f"{one['highest']:.1f}), {more}{ratio}"
        )
    print("One process x one thread, median ms of processor time a file:")
    print(f"  {'':18}" + "".join(f"{name:>9}" for name in (*SHARES, "sum")))
    for name, steps in report["milliseconds"].items():
        values = [*(steps[step] for step in SHARES), sum(steps.values())]
        print(f"  {name:18}" + "".join(f"{value:9.2f}" for value in values))
    print("\n".join(reading.lines(report["reading"]["image"], report["reading"]["codings"])))


if __name__ == "__main__":
    main()
