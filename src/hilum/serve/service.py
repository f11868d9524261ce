"""What every part of the service holds: configuration, records, store, queue, pipelines, audit.

Opening it starts nothing; `run.py` does that.
"""

from __future__ import annotations

import time
from functools import cached_property

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
        self.intake = Intake(self.records, self.store, self.queue, self.audit)
        self.events = Events(self.records)
        self.pipelines = Pipelines(config)

    @cached_property
    def writers(self) -> dict[str, Writer]:
        """What is written about each analysed image."""
        return parse(self.config.write)

    def close(self) -> None:
        self.events.close()
        self.records.close()
