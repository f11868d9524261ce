"""The service in a folder of a test: a clock that the test sets, a toy pipeline, no processes."""

from __future__ import annotations

import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from helpers.dicom_files import dataset, stored, to_bytes
from helpers.toy import write_toy_pipeline
from hilum.serve.config import Config
from hilum.serve.intake import Receipt
from hilum.serve.records import Records
from hilum.serve.service import Service
from hilum.serve.tables import Image
from hilum.serve.work import ANALYSING, SENDING
from hilum.serve.worker import Worker


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Parts:
    """One service and its parts. Nothing runs by itself: `work()` does what is due."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder, self.clock = folder, Clock()
        database = folder / "hilum.sqlite"
        if not database.exists():
            database.write_bytes(empty_database())
        pipelines = {"default": str(toy_pipeline())}
        plain = {"pipelines": pipelines, "reserve_bytes": 0, "write": "picture,mask"}
        config = Config.model_validate({"folder": folder, **plain, **options})
        self.service = Service(config, clock=self.clock)
        self.records, self.store = self.service.records, self.service.store
        self.queue, self.intake = self.service.queue, self.service.intake

    def receive(self, data: bytes, **options: Any) -> Receipt:
        return self.intake.receive(data, **{"origin": "upload"} | options)

    def work(self, *, send: bool = True) -> int:
        """Do all that is due; how many pieces that was."""
        worker, done = Worker(self.service, ANALYSING + (SENDING if send else ()), "test"), 0
        while worker.once():
            done += 1
        return done

    def image(self, id: str) -> Image:
        image = self.records.image(id)
        assert image is not None
        return image

    def said(self, id: str) -> list[str]:
        """The history of an image."""
        return [event.what for event in self.records.history(id)]

    def close(self) -> None:
        self.service.close()


@cache
def empty_database() -> bytes:
    """A migrated SQLite file; migrating one for every test takes longer than the tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite"
        records = Records(f"sqlite:///{path}")
        records.upgrade()
        records.close()
        return path.read_bytes()


_kept: list[tempfile.TemporaryDirectory[str]] = []


@cache
def toy_pipeline() -> Path:
    """A pipeline that finds one opacity on every picture."""
    _kept.append(tempfile.TemporaryDirectory())
    return write_toy_pipeline(Path(_kept[-1].name))


def radiograph_file(uid: str = "1.2.3.4", **elements: Any) -> bytes:
    """A small CR image."""
    pixels = stored((96, 80))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some UIDs are hostile
        return to_bytes(dataset(pixels, SOPInstanceUID=uid, **elements), pixels)
