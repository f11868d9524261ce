"""Opening and decoding in child processes with an address-space limit and a clock, for untrusted
files.

Whatever a parser or decoder does (crash, hang, eat memory), the caller gets a StoredImage and a
Radiograph, or a typed refusal. One child serves file after file, since starting one costs half a
second; after a failure, or a hundred files, the next file gets a new one. Threads that ask at the
same time get children of their own, up to `CHILDREN`, of which one asker has two at most: the slow
files of one hold up nobody else.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import pickle
import selectors
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, TypeVar

from hilum.core.errors import InputRefused, LimitRefused, UnreadableRefused
from hilum.core.processes import deaf_children
from hilum.core.radiograph import Radiograph, Window
from hilum.core.turns import Asker, Busy, Turns
from hilum.dicom import codecs
from hilum.dicom.frames import Frame
from hilum.dicom.limits import Limits
from hilum.dicom.source import DEFAULT_LIMITS, NO_MEMORY, Source, load
from hilum.dicom.stored import StoredImage, check_window, open_stored
from hilum.dicom.syntaxes import supported

T = TypeVar("T")
Call = Callable[[StoredImage], Any]  # by name, or a partial of one: it travels to the child
TIMEOUT_S, MEMORY_BYTES = 10.0, 2**30
FILES_A_CHILD = 100
CHILDREN = 4  # of one guard at once; each may need its time and its memory
SHARE, WAITING, LINE = 2, 6, 20  # of one asker: children, questions that wait; of all: the latter
_ANSWERS = frozenset(
    (
        "hilum.core.radiograph.Radiograph",
        "hilum.core.radiograph.Identifiers",
        "hilum.core.radiograph.Decoding",
        "hilum.dicom.frames.Frame",
        "hilum.dicom.image.Layout",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy._core.numeric._frombuffer",
        *(f"hilum.core.errors.{kind.__name__}" for kind in InputRefused.__subclasses__()),
    )
)
_START_S = 300.0  # importing the decoders on a busy machine
_OUT_OF_MEMORY = 17  # exit status of a child that ran into its limit
_CHILD = "import sys; from hilum.dicom.guard import child; child(int(sys.argv[1]))"


@dataclass(frozen=True, eq=False)
class GuardedImage(StoredImage):
    """A StoredImage whose pixels are decoded in the child. Its header was parsed there first, so
    parsing it here again is known to end."""

    guard: Guard | None = field(default=None, repr=False)
    asker: Asker = None  # whose children are asked

    def __reduce__(self) -> tuple[Any, ...]:
        guard = self.guard or _shared(TIMEOUT_S, MEMORY_BYTES)
        key = (guard.timeout_s, guard.memory_bytes)
        return _reopened, (self.source, self.data, self.limits, *key)

    def radiograph(
        self, *, window: Window | None = None, voi_index: int = 0, full_range: bool = False
    ) -> Radiograph:
        check_window(window, full_range)
        call = partial(
            StoredImage.radiograph, window=window, voi_index=voi_index, full_range=full_range
        )
        return self._asked(call, Radiograph)

    def values(self) -> Frame:
        return self._asked(StoredImage.values, Frame)

    def _asked(self, call: Callable[[StoredImage], T], kind: type[T]) -> T:
        guard = self.guard or _shared(TIMEOUT_S, MEMORY_BYTES)
        answer = guard.ask(self.source, self.data, self.limits, call, asker=self.asker)
        if not isinstance(answer, kind):
            raise UnreadableRefused(self.source, "its reader gave no answer.", "Export it again.")
        return answer


class Guard:
    """Asks a child process about one file; a thread waits where all children are busy."""

    def __init__(
        self,
        *,
        timeout_s: float = TIMEOUT_S,
        memory_bytes: int = MEMORY_BYTES,
        children: int = CHILDREN,
    ) -> None:
        self.timeout_s, self.memory_bytes, self.children = timeout_s, memory_bytes, children
        self.forked()
        _every.add(self)

    def forked(self) -> None:
        """Begin without children: those there are belong to the process that this is a copy of,
        and a thread of it may have been in its turn that is not here to end it."""
        self._idle: list[_Child] = []
        self._turns = Turns(self.children, share=SHARE, waiting=WAITING, line=LINE)
        self._closing = threading.Lock()

    def open(
        self, source: Source, *, limits: Limits = DEFAULT_LIMITS, asker: Asker = None
    ) -> StoredImage:
        """As `open_stored`, parsed in a child first."""
        name, data = load(source, limits)
        self.ask(name, data, limits, None, asker=asker)
        opened = open_stored((name, data), limits=limits)
        return GuardedImage(
            source=opened.source,
            kind=opened.kind,
            data=data,
            header=opened.header,
            parsed=opened.parsed,
            limits=limits,
            guard=self,
            asker=asker,
        )

    def ask(
        self,
        name: str,
        data: bytes,
        limits: Limits,
        call: Call | None,
        asker: Asker = None,
    ) -> Any:
        """Parse, and what `call` makes of the image; the answer of a child.

        Raises:
            InputRefused: what the child refuses, or more time or memory than it may use.
            Busy: the asker has enough that waits, or no child starts.
        """
        with self._turn(asker) as child:
            return child.ask(name, data, limits, call)

    @contextlib.contextmanager
    def _turn(self, asker: Asker = None) -> Iterator[_Child]:
        """A child for one question: the one that was free last, so that one thread needs one."""
        with self._turns.one(asker):
            try:
                child = self._idle.pop()
            except IndexError:
                child = _Child(self.timeout_s, self.memory_bytes)
            try:
                yield child
            finally:
                self._idle.append(child)

    def close(self) -> None:
        """End the children, once each has answered; the next question starts another one."""
        with self._closing, contextlib.ExitStack() as all_of_them:
            for _ in range(self.children):
                all_of_them.enter_context(self._turns.one())
            while self._idle:
                self._idle.pop().end()


class _Child:
    """One child process, started when it is first asked and again after a failure."""

    def __init__(self, timeout_s: float, memory_bytes: int) -> None:
        self.timeout_s, self.memory_bytes = timeout_s, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._files = 0

    def ask(self, name: str, data: bytes, limits: Limits, call: Call | None) -> Any:
        process = self.running()
        try:
            _send(process.stdin, pickle.dumps((name, data, limits, call), protocol=5))
            content = _received(process.stdout, self.timeout_s)
        except TimeoutError as error:
            self.end()
            reason = f"reading takes longer than {self.timeout_s:g} s."
            raise LimitRefused(name, reason, "Raise the limit if you trust it.") from error
        except OSError as error:
            if _exit_status(process) == _OUT_OF_MEMORY:
                raise self._too_large(name) from error
            self.end()
            raise UnreadableRefused(name, "it crashes its decoder.", "Export it again.") from error
        try:
            answer = _Answer(io.BytesIO(content)).load()
        except Exception as error:
            self.end()
            raise UnreadableRefused(
                name, "its reader gave no answer.", "Export it again."
            ) from error
        if isinstance(answer, InputRefused):
            raise answer
        return answer

    def _too_large(self, name: str) -> LimitRefused:
        self.end()
        reason = f"reading needs more than {self.memory_bytes >> 20} MiB."
        return LimitRefused(name, reason, "Raise the limit if you trust it.")

    def end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what was not sent is of no use
                    stream.close()

    def running(self) -> subprocess.Popen[bytes]:
        """The process, ready for a question."""
        if self._files >= FILES_A_CHILD or (self._process and self._process.poll() is not None):
            self.end()
        if self._process is None:
            self._files = 0
            with deaf_children():
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _CHILD, str(self.memory_bytes)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # a decoder's messages may quote the file
                )
            try:
                _received(self._process.stdout, _START_S)
            except OSError as error:
                self.end()  # else what it says when it is ready were the answer to a question
                raise Busy("a decoder does not start: this machine has too much to do") from error
        self._files += 1
        return self._process


_every: weakref.WeakSet[Guard] = weakref.WeakSet()
_guards: dict[tuple[float, int], Guard] = {}


def _shared(timeout_s: float, memory_bytes: int) -> Guard:
    key = (timeout_s, memory_bytes)
    return _guards.get(key) or _guards.setdefault(key, Guard(timeout_s=key[0], memory_bytes=key[1]))


def _forked() -> None:
    for guard in _every:
        guard.forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


@atexit.register
def _close_all() -> None:
    for guard in _guards.values():
        guard.close()


def open_guarded(
    source: Source,
    *,
    limits: Limits = DEFAULT_LIMITS,
    timeout_s: float = TIMEOUT_S,
    memory_bytes: int = MEMORY_BYTES,
    asker: Asker = None,
) -> StoredImage:
    """As `open_stored`, parsed and later decoded in a guarded child of this process.

    Args:
        asker: who shares the children with others; None: this program, for itself.

    Raises:
        Busy: the asker has enough that waits already, here or when it is decoded.
        LimitRefused: more time or memory than allowed.
        UnreadableRefused: the parser or decoder crashed.
        InputRefused: whatever `open_stored` and its `radiograph` refuse.
    """
    return _shared(timeout_s, memory_bytes).open(source, limits=limits, asker=asker)


def _reopened(
    source: str, data: bytes, limits: Limits, timeout_s: float, memory_bytes: int
) -> StoredImage:
    return open_guarded(
        (source, data), limits=limits, timeout_s=timeout_s, memory_bytes=memory_bytes
    )


class _Answer(pickle.Unpickler):
    """Unpickles what a child may answer, and nothing else: it has read hostile bytes."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" in _ANSWERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")


def _exit_status(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(1)
    except subprocess.TimeoutExpired:
        return None  # it closed its answers and goes on: it will be killed


def _send(stream: Any, content: bytes) -> None:
    stream.write(len(content).to_bytes(8, "little"))
    stream.write(content)
    stream.flush()


def _received(stream: Any, seconds: float) -> bytes:
    """One message within a time.

    Raises:
        TimeoutError: it took longer.
        ConnectionError: the other side has ended.
    """
    deadline, content = time.monotonic() + seconds, bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while len(content) < 8 or len(content) < 8 + int.from_bytes(content[:8], "little"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            part = os.read(stream.fileno(), 1 << 20)
            if not part:
                raise ConnectionError
            content += part
    return bytes(content[8:])


def child(memory_bytes: int) -> None:
    """The child's side: questions on stdin, answers on what was stdout."""
    import resource

    import cv2

    cv2.setNumThreads(1)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what decoders print is no answer
    _warm_up()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    _send(answers, b"ready")
    try:
        while size := sys.stdin.buffer.read(8):
            _send(answers, _answer(sys.stdin.buffer, int.from_bytes(size, "little")))
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)


def _warm_up() -> None:
    """Loads what is loaded at the first use, while there is no limit."""
    from PIL import JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401

    for syntax in supported():
        codecs.plugins(syntax)


def _answer(questions: BinaryIO, size: int) -> bytes:
    # Written by our own parent.
    name, data, limits, call = pickle.loads(questions.read(size))  # noqa: S301
    try:
        opened = open_stored((name, data), limits=limits)
        answer = call(opened) if call is not None else None
        return pickle.dumps(answer, protocol=5)
    except InputRefused as error:
        if error.reason == NO_MEMORY:
            raise MemoryError from error
        return pickle.dumps(error)
