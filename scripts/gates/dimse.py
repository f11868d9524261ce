"""Run by dimse.sh inside a network namespace of its own; see there."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from archive import send, service
from orthanc import DICOM, c_store, orthanc, written
from pydicom import dcmread
from pydicom.uid import generate_uid
from sqlalchemy import select

from hilum.data.phantom.phantom import phantom, write_dicom
from hilum.serve.config import Config
from hilum.serve.records import Records
from hilum.serve.tables import Delivery, Event, Image

OWN_PORT = 11112
WAIT_S = 300.0


def chest(path: Path, date: str, seed: int) -> Any:
    """A radiograph of the one patient."""
    write_dicom(phantom(seed=seed), path)
    ds = dcmread(path)
    ds.PatientID, ds.StudyDate = "GATE-1", date
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(ds, keyword, generate_uid())
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path)
    return ds


def config(folder: Path) -> Config:
    peer = {"host": "127.0.0.1", "port": int(DICOM), "ae_title": "ORTHANC"}
    values: dict[str, Any] = {"folder": folder, "reserve_bytes": 0, "write": "sr"}
    values |= {"node": {"port": OWN_PORT}, "web": {"enabled": False}, "priors": {"dicom": peer}}
    pacs = {"dicom": peer, "verify": "commitment", "report_s": 120}
    values |= {"destinations": {"pacs": pacs}, "rules": [{"destinations": ["pacs"]}]}
    return Config.model_validate(values)


def state(records: Records) -> tuple[Delivery | None, Image | None, list[str]]:
    """The SR's delivery, the prior, and what was said of the image."""
    with records.read() as session:
        prior = session.scalar(select(Image).where(Image.origin == "prior"))
        said = session.scalars(select(Event.what).order_by(Event.number))
        return session.scalar(select(Delivery)), prior, list(said)


def main() -> int:
    own = {"DicomModalities": {"hilum": ["HILUM", "127.0.0.1", OWN_PORT]}}
    with tempfile.TemporaryDirectory() as name, orthanc(Path(name), own):
        folder = Path(name)
        chest(folder / "earlier.dcm", "20200101", 1)
        newer = chest(folder / "newer.dcm", "20260101", 2)
        (folder / "sr.dcm").write_bytes(written(folder / "earlier.dcm", 0.5)[0]["sr"])
        if not (c_store(folder / "earlier.dcm") and c_store(folder / "sr.dcm")):
            print("the archive does not take the prior")
            return 1
        settings = config(folder / "service")
        with service(settings) as port:
            records = Records(settings.database_url)
            began = time.monotonic()
            send(port, newer)
            delivery: Delivery | None = None
            prior: Image | None = None
            while time.monotonic() - began < WAIT_S:
                delivery, prior, said = state(records)
                if delivery and delivery.state == "delivered" and prior:
                    break
                time.sleep(0.5)
            took = time.monotonic() - began
        records.close()
    print("\n".join(said))
    committed = bool(delivery and delivery.state == "delivered" and delivery.report)
    print(f"storage commitment: {delivery and (delivery.state, delivery.report, delivery.reason)}")
    print(f"prior: {prior and (prior.study_date, prior.state)}; {took:.1f} s")
    return 0 if committed and prior is not None and prior.study_date == "20200101" else 1


if __name__ == "__main__":
    sys.exit(main())
