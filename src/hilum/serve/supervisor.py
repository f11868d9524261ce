"""Keeps worker processes running, and frees at once the work of those that die."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from hilum.core.processes import deaf_children
from hilum.serve.config import Config
from hilum.serve.pipelines import workers_of
from hilum.serve.records import RecordsUnavailable
from hilum.serve.work import Queue
from hilum.serve.worker import new_owner

log = logging.getLogger(__name__)
LOOK_S = 0.2
ENDING_S = 30.0  # what an analysis that has begun may still take
SOON_S, LATER_S = 0.2, 30.0  # before a worker that died is started again; doubled each time
HEALTHY_S = 60.0


@dataclass
class _Place:
    """One worker process after the other."""

    owner: str = ""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait_s: float = SOON_S
    due: float = 0.0
    deaths: int = field(default=0)


class Supervisor:
    """`start()`, then `stop()`."""

    def __init__(self, config: Config, queue: Queue) -> None:
        self._config, self._queue = config, queue
        self._places = [_Place() for _ in range(workers_of(config))]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the workers: what they have begun is ended, for a while."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for place in self._places:
            if place.process is not None:
                place.process.terminate()
        deadline = time.monotonic() + ENDING_S
        for place in self._places:
            self._end(place, max(0.1, deadline - time.monotonic()))

    @property
    def alive(self) -> int:
        """Workers that run now."""
        return sum(p.process is not None and p.process.poll() is None for p in self._places)

    @property
    def deaths(self) -> int:
        """Workers that died by themselves."""
        return sum(place.deaths for place in self._places)

    def _run(self) -> None:
        while not self._stop.is_set():
            for place in self._places:
                try:
                    self._look(place)
                except (RecordsUnavailable, OSError) as error:
                    log.warning("workers: %s", error)
            self._stop.wait(LOOK_S)

    def _look(self, place: _Place) -> None:
        now = time.monotonic()
        if place.process is None:
            if now >= place.due:
                self._begin(place, now)
            return
        status = place.process.poll()
        if status is None:
            return
        freed = self._queue.release(place.owner, crashed=True)
        healthy = now - place.started > HEALTHY_S
        place.wait_s = SOON_S if healthy else min(2 * place.wait_s, LATER_S)
        place.process, place.due, place.deaths = None, now + place.wait_s, place.deaths + 1
        log.error("a worker died (status %d); %d pieces of its work are free again", status, freed)

    def _begin(self, place: _Place, now: float) -> None:
        place.owner, place.started = new_owner(), now
        with deaf_children():  # a terminal's Ctrl-C: the supervisor decides
            place.process = subprocess.Popen(
                [sys.executable, "-m", "hilum.serve.worker"], stdin=subprocess.PIPE
            )
        assert place.process.stdin is not None
        line = f"{place.owner} {self._config.model_dump_json()}\n"
        place.process.stdin.write(line.encode())
        place.process.stdin.flush()

    def _end(self, place: _Place, seconds: float) -> None:
        process = place.process
        if process is None:
            return
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self._queue.release(place.owner, crashed=False)
        if process.stdin is not None:
            process.stdin.close()
