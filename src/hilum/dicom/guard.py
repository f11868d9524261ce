"""Reading in a child process with an address-space limit and a clock, for untrusted files.

Whatever a decoder does (crash, hang, eat memory), the caller gets a Radiograph or a typed
refusal. The child is started anew for each file, which costs its imports (about half a second).
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import asdict

from hilum.core.errors import InputRefused, LimitRefused, UnreadableRefused
from hilum.core.radiograph import Radiograph
from hilum.dicom.limits import Limits
from hilum.dicom.read import read
from hilum.dicom.source import DEFAULT_LIMITS, NO_MEMORY, Source, load

_CHILD = "from hilum.dicom.guard import child; child()"
OUT_OF_MEMORY = 17  # exit status of a child that ran into its limit


def read_guarded(
    source: Source,
    *,
    limits: Limits = DEFAULT_LIMITS,
    timeout_s: float = 10.0,
    memory_bytes: int = 2**30,
) -> Radiograph:
    """As `read`, in a child process.

    Raises:
        LimitRefused: more time or memory than allowed.
        UnreadableRefused: the decoder crashed.
        InputRefused: whatever `read` refuses.
    """
    name, data = load(source, limits)
    request = pickle.dumps((memory_bytes, asdict(limits), name, data))
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=request,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a decoder's messages may quote the file
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        reason = f"reading takes longer than {timeout_s:g} s."
        raise LimitRefused(name, reason, "Raise the limit if you trust it.") from error
    if done.returncode == OUT_OF_MEMORY:
        reason = f"reading needs more than {memory_bytes >> 20} MiB."
        raise LimitRefused(name, reason, "Raise the limit if you trust it.")
    if done.returncode != 0:
        raise UnreadableRefused(name, "it crashes its decoder.", "Export it again.")
    # Written by our own child, which unpickles nothing but our own request.
    answer = pickle.loads(done.stdout)  # noqa: S301
    if isinstance(answer, InputRefused):
        raise answer
    if not isinstance(answer, Radiograph):
        raise UnreadableRefused(name, "its reader gave no answer.", "Export it again.")
    return answer


def child() -> None:
    """The child's side: request on stdin, answer on stdout."""
    import resource

    memory_bytes, limits, name, data = pickle.loads(sys.stdin.buffer.read())  # noqa: S301
    import cv2

    cv2.setNumThreads(1)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    answer: Radiograph | InputRefused
    try:
        answer = read((name, data), limits=Limits(**limits))
        out = pickle.dumps(answer, protocol=5)
    except InputRefused as error:
        if error.reason == NO_MEMORY:
            sys.exit(OUT_OF_MEMORY)
        out = pickle.dumps(error)
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)
    sys.stdout.buffer.write(out)
    sys.stdout.buffer.flush()
