"""What every part of the service holds: configuration, records, store, queue, pipelines, audit.

Opening it starts nothing; `run.py` does that.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

from hilum.core.turns import Asker
from hilum.dicom.guard import open_guarded
from hilum.dicom.stored import StoredImage
from hilum.report.writers import Writer, parse
from hilum.serve.audit import Audit
from hilum.serve.config import Config
from hilum.serve.events import Events
from hilum.serve.intake import Intake
from hilum.serve.pipelines import Pipelines
from hilum.serve.records import Clock, Records
from hilum.serve.store import Store
from hilum.serve.work import Queue


class Service:
    """The parts, each made once in a process."""

    def __init__(self, config: Config, *, clock: Clock = time.time) -> None:
        """
        Raises:
            StoreUnavailable: the folder cannot be made.
            ConfigError: the database's URL is wrong.
        """
        self.config, self.clock = config, clock
        self.store = Store(
            config.root / "store",
            limit_bytes=config.limit_bytes,
            reserve_bytes=config.reserve_bytes,
        )
        self.records = Records(config.database_url, clock=clock)
        self.queue = Queue(self.records)
        self.audit = Audit(self.records)
        self.intake = Intake(
            records=self.records,
            store=self.store,
            queue=self.queue,
            audit=self.audit,
            waiting=config.waiting,
        )
        self.events = Events(self.records)
        self.pipelines = Pipelines(config)

    @cached_property
    def writers(self) -> dict[str, Writer]:
        """What is written about each analysed image."""
        return parse(self.config.write)

    @cached_property
    def child(self) -> dict[str, Any]:
        """Limits of a guarded child."""
        return {"timeout_s": self.config.parse_s, "memory_bytes": self.config.parse_bytes}

    def opened(self, name: str, data: bytes, asker: Asker = None) -> StoredImage:
        """An object of somebody else's, parsed and decoded in a guarded child.

        Args:
            asker: the user who waits for it; None: a worker.

        Raises:
            InputRefused: it cannot be read, or not within time and memory.
            Busy: the user has enough that waits already.
        """
        return open_guarded((name, data), **self.child, asker=asker)

    def close(self) -> None:
        self.events.close()
        self.records.close()
