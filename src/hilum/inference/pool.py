"""Worker processes under supervision: one input at a time each, replaced when they die.

concurrent.futures gives up the whole pool when one process is killed; here it costs one answer.
Knows nothing of what a worker does with an input.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Self

from hilum.core.errors import HilumError
from hilum.core.processes import IMPORTED, deaf_children, nursery
from hilum.core.results import ImageResult
from hilum.inference.answer import Input, name_of
from hilum.inference.job import Job

SECONDS_PER_INPUT = 300.0
STARTS_WITHOUT_WORK = 3  # a worker that dies before its first input, this often, is hopeless


@dataclass(slots=True, eq=False)
class _Hand:
    """One worker process and what it works on."""

    process: BaseProcess
    pipe: Connection
    ready: bool = False
    index: int | None = None
    since: float = 0.0


class Pool:
    """`with Pool(job, 2) as pool: pool.run(inputs, finish)`."""

    def __init__(self, job: Job, workers: int, seconds: float = SECONDS_PER_INPUT) -> None:
        self._context = nursery(*IMPORTED)
        self._job, self._workers, self._seconds = job, workers, seconds
        self._hands: list[_Hand] = []
        self._lost_starts = 0

    def __enter__(self) -> Self:
        self._hands = [self._hire() for _ in range(self._workers)]
        return self

    def __exit__(self, *error: object) -> None:
        for hand in self._hands:
            hand.pipe.close()  # an idle worker ends by itself
            if hand.index is not None or any(error):
                hand.process.terminate()
        for hand in self._hands:
            hand.process.join(5)
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()

    def wait(self) -> None:
        """Until every worker has opened what it needs; `run` begins with the first.

        Raises:
            HilumError: as `run`.
        """
        while not all(hand.ready for hand in self._hands):
            self._collect([])

    def run(self, inputs: Sequence[Input], finish: Callable[[int, ImageResult], None]) -> None:
        """Give every input to a worker; `finish` gets each answer as it comes.

        Raises:
            HilumError: the job itself is wrong, its results cannot be written, or workers die
                before they begin.
        """
        waiting, open_answers = deque(range(len(inputs))), len(inputs)
        while open_answers:
            for hand in list(self._hands):
                self._give(hand, waiting, inputs)
            for index, answer in self._collect(inputs):
                finish(index, answer)
                open_answers -= 1

    def _hire(self) -> _Hand:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._job), daemon=True)
        with deaf_children():  # the parent decides when to stop
            process.start()
        theirs.close()
        return _Hand(process, ours)

    def _give(self, hand: _Hand, waiting: deque[int], inputs: Sequence[Input]) -> None:
        if not hand.ready or hand.index is not None or not waiting:
            return
        hand.index, hand.since = waiting.popleft(), time.monotonic()
        try:
            hand.pipe.send(inputs[hand.index])
        except OSError:
            # It died while idle: the input never arrived, so another worker gets it.
            waiting.appendleft(hand.index)
            hand.index = None
            self._replace(hand)

    def _collect(self, inputs: Sequence[Input]) -> list[tuple[int, ImageResult]]:
        ready = wait([hand.pipe for hand in self._hands], timeout=1.0)
        answers = []
        for hand in list(self._hands):
            if hand.pipe in ready:
                answers += self._hear(hand, inputs)
            elif hand.index is not None and time.monotonic() - hand.since > self._seconds:
                hand.process.kill()
                why = f"timeout: no answer within {self._seconds:.0f} s."
                answers.append((hand.index, _lost(inputs[hand.index], why)))
                self._replace(hand)
        return answers

    def _hear(self, hand: _Hand, inputs: Sequence[Input]) -> list[tuple[int, ImageResult]]:
        try:
            message = hand.pipe.recv()
        except (EOFError, OSError):
            return self._died(hand, inputs)
        if isinstance(message, HilumError):
            raise message
        if message is None:
            hand.ready, self._lost_starts = True, 0
            return []
        index, hand.index = hand.index, None
        assert index is not None
        return [(index, message)]

    def _died(self, hand: _Hand, inputs: Sequence[Input]) -> list[tuple[int, ImageResult]]:
        hand.process.join(5)
        how = _cause(hand.process.exitcode)
        self._replace(hand)
        if hand.index is not None:
            return [(hand.index, _lost(inputs[hand.index], f"crashed: its worker {how}."))]
        self._lost_starts += 1
        if self._lost_starts >= STARTS_WITHOUT_WORK:
            raise HilumError(f"worker processes do not start: the last one {how}")
        return []

    def _replace(self, hand: _Hand) -> None:
        hand.pipe.close()
        hand.process.join(5)
        self._hands[self._hands.index(hand)] = self._hire()


def _lost(source: Input, why: str) -> ImageResult:
    return ImageResult(name_of(source), "failed", why)


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"was killed ({name}{', often for want of memory' if name == 'SIGKILL' else ''})"
    return f"ended (exit code {code})"


def _serve(pipe: Connection, job: Job) -> None:
    """The worker process: one answer for each input, until the pipe closes."""
    import cv2

    import hilum.dicom.stored  # noqa: F401  before the clock of the first input runs

    cv2.setNumThreads(job.threads)
    try:
        worker = job.worker()
    except HilumError as error:
        pipe.send(error)
        return
    try:
        pipe.send(None)
    except OSError:  # others have answered everything before this one was ready
        return
    while True:
        try:
            source = pipe.recv()
            pipe.send(worker(source))
        except (EOFError, OSError):
            return
        except HilumError as error:  # of the run, not of the input
            pipe.send(error)
            return
