"""The service's parts in a folder of a test, with a clock that the test sets."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from helpers.dicom_files import dataset, stored, to_bytes
from hilum.serve.intake import Intake, Receipt
from hilum.serve.records import Records
from hilum.serve.store import Store
from hilum.serve.work import Queue


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Parts:
    """Records, store, queue and intake of one service."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    store_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = self.folder / "test.sqlite"
        if not path.exists():
            path.write_bytes(empty_database())
        self.records = Records(f"sqlite:///{path}", clock=self.clock)
        self.store = Store(self.folder / "store", **self.store_options)
        self.queue = Queue(self.records)
        self.intake = Intake(self.records, self.store, self.queue)

    def receive(self, data: bytes, **options: Any) -> Receipt:
        return self.intake.receive(data, **{"origin": "upload"} | options)

    def close(self) -> None:
        self.records.close()


@cache
def empty_database() -> bytes:
    """A migrated SQLite file; migrating one for every test takes longer than the tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite"
        records = Records(f"sqlite:///{path}")
        records.upgrade()
        records.close()
        return path.read_bytes()


def radiograph_file(uid: str = "1.2.3.4", **elements: Any) -> bytes:
    """A small CR image."""
    pixels = stored()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some UIDs are hostile
        return to_bytes(dataset(pixels, SOPInstanceUID=uid, **elements), pixels)
