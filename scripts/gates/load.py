"""Stores a second over several associations, and what the service's memory does meanwhile.

PYTHONPATH=tests scripts/gates/load.py [--associations 10] [--each 100] [FILE.dcm | FILES.zip ...]
                  [--idle 200 --limit 250]

Several files are sent in turn; each instance gets a UID of its own; analysis is left out
(`analyse = false`), the disk is not.
`--idle` associations are opened before and stay silent; the node takes `--limit` of all.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from hilum.data.phantom.phantom import phantom, write_dicom
from hilum.serve.config import Config
from hilum.serve.logs import silence

AGAIN = -1  # among the statuses: the association had ended
ACCEPTED = b"\x02"  # A-ASSOCIATE-AC
CODE = """
import sys, threading
from hilum.serve.config import Config
from hilum.serve.run import Running
with Running(Config.model_validate_json(sys.stdin.readline())) as running:
    print(running.node.port, flush=True)
    sys.stdin.read()
"""


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def contents(path: Path) -> Iterator[bytes]:
    """Of a file, or of the files in a zip."""
    if not zipfile.is_zipfile(path):
        yield path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        yield from (archive.read(one) for one in archive.infolist() if not one.is_dir())


def send(port: int, files: list[bytes], first: int, count: int, out: list[int]) -> None:
    """So many instances of the files in turn, as a modality does: where the association ends it
    associates again and sends the one again that was not acknowledged."""
    read: list[Any] = [dcmread(BytesIO(one)) for one in files]
    entity = AE(ae_title="CR1")
    for pair in {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in read}:
        entity.add_requested_context(pair[0], [pair[1]])
    sending = entity.associate("127.0.0.1", port, ae_title="HILUM")
    for number in range(first, first + count):
        ds = read[number % len(read)]
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        while (status := stored(sending, ds)) is None:
            out.append(AGAIN)
            sending = entity.associate("127.0.0.1", port, ae_title="HILUM")
        out.append(status)
    sending.release()


def stored(sending: Any, ds: Any) -> int | None:
    """The status of the answer; None where there is none."""
    try:
        answer = sending.send_c_store(ds)
    except RuntimeError:  # not established
        time.sleep(1)
        return None
    return int(answer.Status) if "Status" in answer else None


def silent(port: int, count: int) -> list[socket.socket]:
    """So many associations that say nothing; without a thread of ours for each."""
    entity = AE(ae_title="CR2")
    entity.add_requested_context(Verification)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # what a sender says at first
        where = {"addr": "127.0.0.1", "port": listener.getsockname()[1], "ae_title": "HILUM"}
        threading.Thread(target=entity.associate, kwargs=where).start()
        with listener.accept()[0] as sender:
            request = sender.recv(1 << 16)
    out = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for one in out:
        one.sendall(request)
    return out


def stands(one: socket.socket) -> bool:
    """Accepted, and not aborted since."""
    one.settimeout(60)
    answer = one.recv(1 << 16)
    one.setblocking(False)
    try:
        return answer[:1] == ACCEPTED and one.recv(1) != b""
    except BlockingIOError:
        return answer[:1] == ACCEPTED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--associations", type=int, default=10)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--limit", type=int, default=25, help="associations at once")
    given = parser.parse_args()
    silence()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not given.files:
            given.files = [folder / "cr.dcm"]
            write_dicom(phantom(seed=1), given.files[0], syntax="jpeg-baseline", bits=8)
        files = [one for path in given.files for one in contents(path)]
        values = {
            "folder": folder / "service",
            "workers": 0,
            "node": {"port": 0, "associations": given.limit, "idle_s": 3600},
        }
        values |= {"web": {"enabled": False}, "rules": [{"analyse": False}]}
        config = Config.model_validate(values)
        service = subprocess.Popen(
            [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert service.stdin is not None
        assert service.stdout is not None
        service.stdin.write(config.model_dump_json() + "\n")
        service.stdin.flush()
        port = int(service.stdout.readline())
        before, statuses = rss_mb(service.pid), list[int]()
        idle = silent(port, given.idle)
        if idle:
            held = sum(map(stands, idle))
            print(f"{held} of {len(idle)} silent associations stand; {rss_mb(service.pid):.0f} MB")
        threads = [
            threading.Thread(target=send, args=(port, files, n * given.each, given.each, statuses))
            for n in range(given.associations)
        ]
        started, memory = time.monotonic(), [before]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            memory.append(rss_mb(service.pid))
            time.sleep(0.5)
        seconds = time.monotonic() - started
        for one in idle:
            one.close()
        service.stdin.close()
        service.wait()
        kept = sum(p.is_file() for p in (config.root / "store" / "objects").rglob("*"))
    good, again = statuses.count(0), statuses.count(AGAIN)
    wanted = given.associations * given.each
    half = memory[len(memory) // 2]
    print(
        f"{good} of {wanted} stores of {sum(map(len, files)) / len(files) / 1e3:.0f} kB "
        f"({len(files)} files) acknowledged, {kept} kept, "
        f"{good / seconds:.1f} stores/s over {given.associations} associations; memory "
        f"{before:.0f} MB before, {half:.0f} half-way, {memory[-1]:.0f} at the end"
    )
    if again:
        print(f"{again} times an association had ended; what had no answer was sent again")
    return 0 if good == wanted <= kept <= wanted + again else 1


if __name__ == "__main__":
    sys.exit(main())
