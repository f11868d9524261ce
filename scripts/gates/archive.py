"""Run by archive.sh inside a network namespace of its own; see there."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orthanc import HTTP, http, orthanc
from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE
from sqlalchemy import select

from hilum.data.phantom.phantom import phantom, write_dicom
from hilum.serve.config import Config
from hilum.serve.records import Records
from hilum.serve.tables import Delivery, Event, Image

CODE = """
import sys
from hilum.serve.config import Config
from hilum.serve.run import Running
with Running(Config.model_validate_json(sys.stdin.readline())) as running:
    print(running.node.port, flush=True)
    sys.stdin.read()
"""


@contextmanager
def service(config: Config) -> Iterator[int]:
    """A running one; its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(config.model_dump_json() + "\n")
    process.stdin.flush()
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()


def send(port: int, ds: Any) -> None:
    """A study of one CR, new to everybody."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(ds, keyword, generate_uid())
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    entity = AE(ae_title="CR1")
    entity.add_requested_context(ds.SOPClassUID, [ds.file_meta.TransferSyntaxUID])
    sending = entity.associate("127.0.0.1", port, ae_title="HILUM")
    status = sending.send_c_store(ds).Status
    sending.release()
    assert status == 0, f"C-STORE answered {status:#x}"


def latencies(records: Records) -> list[float]:
    """Seconds from the acknowledgement of an image to its SR, verified in the archive."""
    with records.read() as session:
        rows = session.execute(
            select(Event.at - Image.received)
            .join(Image, Image.id == Event.image)
            .where(Event.what.startswith("sr delivered"))
        )
        return sorted(float(seconds) for (seconds,) in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between studies")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", module="pydicom")  # the UIDs of some public files
    with tempfile.TemporaryDirectory() as name, orthanc(Path(name)):
        folder = Path(name)
        files = given.files or [folder / "phantom.dcm"]
        if not given.files:
            write_dicom(phantom(seed=1), files[0], syntax="jpeg-baseline", bits=8)
        pacs = {"web": {"url": f"{HTTP}/dicom-web"}, "objects": ["sr"]}
        values: dict[str, Any] = {"folder": folder / "service", "reserve_bytes": 0}
        values |= {"node": {"port": 0}, "web": {"enabled": False}}
        values |= {"destinations": {"pacs": pacs}, "rules": [{"destinations": ["pacs"]}]}
        config = Config.model_validate(values)
        with service(config) as port:
            records = Records(config.database_url)
            time.sleep(10)  # the worker opens its bundle
            for number in range(given.studies):
                started = time.monotonic()
                send(port, dcmread(files[number % len(files)]))
                time.sleep(max(0.0, given.every - (time.monotonic() - started)))
            for _ in range(300):
                if len(latencies(records)) >= given.studies:
                    break
                time.sleep(0.2)
        took, counts = latencies(records), records.counts()
        with records.read() as session:
            dead = [one.reason for one in session.scalars(select(Delivery)) if one.reason]
        records.close()
        held = len(json.loads(http("GET", "/instances")[1]))
        p95 = took[max(0, -(-95 * len(took) // 100) - 1)] if took else float("nan")
        print(
            f"{given.studies} studies, one in {given.every:g} s: {counts}; {held} SR in the "
            f"archive; acknowledged to verified: median {statistics.median(took or [0]):.2f} s, "
            f"p95 {p95:.2f} s, longest {max(took or [0]):.2f} s"
        )
        for reason in dead[:5]:
            print(reason)
        return 0 if len(took) == held == given.studies and p95 <= 10 else 1


if __name__ == "__main__":
    sys.exit(main())
