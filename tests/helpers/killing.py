"""Kills a service with SIGKILL at random moments while it is sent images, then looks what is left.

A prepared process forks one service after the other, so that none spends its short life on
imports. Every service is whole: node, records, store, analysis, delivery by STOW-RS to a small
archive that lives on; analysis runs in a thread of it, so that a kill stops all at once.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pynetdicom import AE
from sqlalchemy import func, select

from helpers.archive import Archive, archive
from helpers.service import radiograph_file
from helpers.toy import write_toy_pipeline
from hilum.serve.config import Config
from hilum.serve.logs import configure, silence
from hilum.serve.records import Records, hashed
from hilum.serve.tables import Delivery, Image, Result, Work

SETTLE_S, PROGRESS_S = 1800.0, 60.0
BACKLOG = 30  # images sent and not yet delivered: enough to strike into, soon done at the end


@dataclass
class Report:
    """What was done and what was found."""

    kills: int = 0
    acknowledged: int = 0
    images: int = 0
    results: int = 0
    delivered: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def config_of(folder: Path, url: str, database: str = "") -> Config:
    """A whole service with a toy pipeline and one destination."""
    pipeline = folder / "toy.yaml"
    if not pipeline.exists():
        write_toy_pipeline(folder)
    retry = {"first_s": 0.2, "longest_s": 1.0}
    return Config.model_validate(
        {
            "folder": folder,
            "database": database,
            "workers": 0,
            "reserve_bytes": 0,
            "write": "sr",
            "pipelines": {"default": str(pipeline)},
            "node": {"port": 0},
            "web": {"enabled": False},
            "destinations": {"pacs": {"web": {"url": url}, "retry": retry}},
            "rules": [{"destinations": ["pacs"]}],
        }
    )


def nursery() -> None:
    """Forks a service for each line of stdin and says its process and port."""
    from hilum.dicom.stored import open_stored
    from hilum.report.writers.dicom import sr  # noqa: F401
    from hilum.serve import analysis, delivery, node, run, service, worker  # noqa: F401  loaded before

    # Parsing in a child has its own tests; here it would take most of each life.
    service.open_guarded = lambda source, **_: open_stored(source)  # type: ignore[assignment]
    analysis.Reading = lambda **_: _Plain()  # type: ignore[assignment, misc]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    config = Config.model_validate_json(sys.stdin.readline())
    while sys.stdin.readline():
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                _live(config, writing)
            finally:
                os._exit(1)  # what else ends here belongs to the parent
        os.close(writing)
        port = os.read(reading, 20)
        os.close(reading)
        print(pid, port.decode(), flush=True)


def _Plain() -> Any:
    from hilum.dicom.reading import Reading

    return Reading()


def _live(config: Config, writing: int) -> None:
    from hilum.serve.run import Running
    from hilum.serve.work import ANALYSING
    from hilum.serve.worker import Worker

    configure("error")
    with Running(config) as running:
        assert running.node is not None
        worker = Worker(running.service, ANALYSING)
        threading.Thread(target=worker.run, args=(threading.Event(),), daemon=True).start()
        os.write(writing, str(running.node.port).encode())
        threading.Event().wait()


class Killer:
    """Sends, kills, and looks."""

    def __init__(self, folder: Path, pacs: Archive, database: str = "", seed: int = 0) -> None:
        self.config = config_of(folder, pacs.url, database)
        self.pacs, self.random, self.report = pacs, random.Random(seed), Report()
        self.acknowledged: set[str] = set()
        self.port, self.stop = 0, threading.Event()
        self.images = 10**9  # how many may be sent
        self._nursery = subprocess.Popen(
            [sys.executable, "-c", "from helpers.killing import nursery; nursery()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._say(self.config.model_dump_json())

    def _say(self, line: str) -> None:
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(line.encode() + b"\n")
        self._nursery.stdin.flush()

    def start(self) -> int:
        self._say("next")
        assert self._nursery.stdout is not None
        pid, port = self._nursery.stdout.readline().split()
        self.port = int(port)
        return int(pid)

    def send(self) -> None:
        """New images for as long as there is somebody to send them to."""
        number = 0
        while not self.stop.is_set():
            sending = _associate(self.port)
            while sending is not None and sending.is_established and not self.stop.is_set():
                if number >= self.images:
                    return
                if len(self.acknowledged) - len(self.pacs.objects) >= BACKLOG:
                    time.sleep(0.01)
                    continue
                number += 1
                uid = f"1.2.826.{number}"
                try:
                    answer = sending.send_c_store(dcmread(BytesIO(radiograph_file(uid))))
                except (RuntimeError, ValueError, OSError):
                    break
                if answer and answer.Status == 0:
                    self.acknowledged.add(uid)
            if sending is not None and sending.is_established:
                sending.release()
            time.sleep(0.02)

    def run(self, kills: int, mean_s: float, seconds: float) -> Report:
        started = time.monotonic()
        pid = self.start()
        sender = threading.Thread(target=self.send)
        sender.start()
        while self.report.kills < kills and time.monotonic() - started < seconds:
            # Every second one has done something: taken an image, or delivered a result.
            if self.report.kills % 4 == 0:
                self._wait_for_more(lambda: len(self.acknowledged))
            elif self.report.kills % 4 == 2 and len(self.acknowledged) > len(self.pacs.objects):
                self._wait_for_more(lambda: len(self.pacs.objects))
            time.sleep(self.random.expovariate(1 / mean_s))
            _kill(pid)
            self.report.kills += 1
            if self.report.kills % 50 == 0:
                print(
                    f"{self.report.kills} kills, {len(self.acknowledged)} acknowledged, "
                    f"{len(self.pacs.objects)} delivered",
                    flush=True,
                )
            pid = self.start()
        self.stop.set()
        sender.join()
        self._settle()
        _kill(pid)
        self._look()
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.close()
        self._nursery.stdout.close()
        self._nursery.wait()
        self.report.seconds = time.monotonic() - started
        return self.report

    def _wait_for_more(self, count: Callable[[], int]) -> None:
        before, deadline = count(), time.monotonic() + PROGRESS_S
        while count() == before and time.monotonic() < deadline:
            time.sleep(0.01)

    def _settle(self) -> None:
        records, deadline = Records(self.config.database_url), time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            with records.read() as session:
                open_work = Work.state.in_(("waiting", "running"))
                if not session.scalar(select(func.count()).where(open_work)):
                    break
            time.sleep(0.1)
        records.close()

    def _look(self) -> None:
        records, report = Records(self.config.database_url), self.report
        with records.read() as session:
            images = {image.sop: image for image in session.scalars(select(Image))}
            report.images = session.scalar(select(func.count()).select_from(Image)) or 0
            results = list(session.scalars(select(Result)))
            deliveries = list(session.scalars(select(Delivery)))
        records.close()
        report.acknowledged, report.results = len(self.acknowledged), len(results)
        report.delivered = sum(one.state == "delivered" for one in deliveries)
        lost = [uid for uid in self.acknowledged if uid not in images]
        undone = [one for one in images.values() if one.state != "analysed"]
        held = {image.id for image in images.values()}
        wrong = [r for r in results if r.id != hashed(r.image, r.fingerprint)]
        problems = {
            "acknowledged and lost": len(lost),
            "acknowledged and not analysed": len(undone),
            "results twice": len(results) - len({one.image for one in results}),
            "results without their image": len({one.image for one in results} - held),
            "results of a wrong id": len(wrong),
            "not delivered": len(results) - report.delivered,
            "objects in the archive, more or fewer": abs(len(self.pacs.objects) - len(results)),
        }
        report.problems = [f"{number} {what}" for what, number in problems.items() if number]


def _kill(pid: int) -> None:
    """And wait until it is gone, as a supervisor does: a folder is one service's alone."""
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.005)


def _associate(port: int) -> Any:
    entity = AE(ae_title="CR1")
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.1", ["1.2.840.10008.1.2.1"])
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 5
    try:
        return entity.associate("127.0.0.1", port, ae_title="HILUM")
    except OSError:
        return None


def killed(
    folder: Path,
    kills: int,
    *,
    mean_s: float,
    seconds: float = 7200.0,
    database: str = "",
    seed: int = 0,
) -> Report:
    """Kill a service so often, or for so long; what is left."""
    silence()
    with warnings.catch_warnings(), archive() as pacs:
        # pynetdicom leaves a sender's socket to the garbage collector when its other side dies.
        warnings.simplefilter("ignore", ResourceWarning)
        report = Killer(folder, pacs, database, seed).run(kills, mean_s, seconds)
        gc.collect()
    return report


def to_json(report: Report) -> str:
    return json.dumps(report.__dict__)
