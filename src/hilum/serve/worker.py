"""Does work that is due: one thread, one piece at a time, whatever happens to it.

Run as a process (`python -m hilum.serve.worker`) it takes its configuration from its supervisor
on stdin and ends when that is closed. Senders are the same loop in threads of the service.
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Collection
from typing import Any

from hilum.core.errors import HilumError
from hilum.core.turns import Busy
from hilum.serve.logs import place
from hilum.serve.records import RecordsUnavailable
from hilum.serve.service import Service
from hilum.serve.store import FileMissing, StoreUnavailable
from hilum.serve.tables import Work
from hilum.serve.work import (
    ANALYSE,
    ANALYSING,
    CHECK,
    DELIVER,
    EXPLAIN,
    PRIOR,
    WORKITEM,
    Heartbeat,
    LeaseLost,
    worn_out,
)

log = logging.getLogger(__name__)

# The one registry: kind of work -> "module:function(service, work)", which ends the work.
HANDLERS: dict[str, str] = {
    CHECK: "hilum.serve.analysis:check",
    ANALYSE: "hilum.serve.analysis:analyse",
    EXPLAIN: "hilum.serve.explaining:explain",
    DELIVER: "hilum.serve.delivery:deliver",
    PRIOR: "hilum.serve.priors:fetch",
    WORKITEM: "hilum.serve.worklist:advance",
}
POLL_S = 0.1
TRIES = 3  # of work that fails in a way nobody foresaw
AGAIN_S = 5.0
AWAY_S = 30.0  # before what the store does not take is tried again
PAUSE_S = 5.0  # of a worker then


class Worker:
    """Claims work of some kinds until it is stopped."""

    def __init__(
        self,
        service: Service,
        kinds: Collection[str],
        owner: str | None = None,
        *,
        share: int | None = None,
    ) -> None:
        """
        Args:
            share: see `Queue.claim`.
        """
        self.service, self.kinds, self.share = service, tuple(kinds), share
        self.owner = owner or new_owner()
        self._pause_s = POLL_S

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`; what is begun is ended."""
        heartbeat = Heartbeat(self.service.queue, self.owner)
        while not stop.is_set():
            try:
                if not self.once():
                    stop.wait(self._pause_s)
            except RecordsUnavailable as error:
                log.warning("%s; trying again", error)
                stop.wait(1.0)
        heartbeat.stop()

    def once(self) -> bool:
        """One piece of work; False where there was none, or the store is away.

        Raises:
            RecordsUnavailable: the database is away.
        """
        self._pause_s = POLL_S
        work = self.service.queue.claim(self.owner, self.kinds, self.share)
        if work is None:
            return False
        log.debug("%s %s, attempt %d", work.kind, work.subject, work.attempts)
        try:
            if worn_out(work):
                self._give_up(work, "crashed: every worker that tried it died; see its file.")
            else:
                handler(work.kind)(self.service, work)
        except LeaseLost as error:
            log.warning("%s", error)
        except RecordsUnavailable:
            raise
        except FileMissing as error:
            self._stumbled(work, error)
        except (Busy, OSError, StoreUnavailable) as error:
            self._wait(work, error)
            return False
        except Exception as error:  # noqa: BLE001  the border of one piece of work
            self._stumbled(work, error)
        return True

    def _stumbled(self, work: Work, error: Exception) -> None:
        """Nobody's fault that we know: again a little later, and failed in the end."""
        # Messages of foreign exceptions may quote a header.
        why = str(error) if isinstance(error, HilumError) else f"internal: {place(error)}"
        log.warning("%s %s: %s", work.kind, work.subject, why)
        if work.attempts >= TRIES:
            self._give_up(work, why)
            return
        with self.service.records.write() as session:
            due = self.service.clock() + AGAIN_S * work.attempts
            self.service.queue.postpone(session, work, due, why)

    def _wait(self, work: Work, error: Exception) -> None:
        """The disk is full or away, the machine overloaded, for however long: no work is lost."""
        why = str(error) if isinstance(error, HilumError) else f"internal: {place(error)}"
        log.error("%s of %s waits: %s", work.kind, work.subject, why)
        self._pause_s = PAUSE_S
        with self.service.records.write() as session:
            due = self.service.clock() + AWAY_S
            self.service.queue.postpone(session, work, due, why, counted=False)

    def _give_up(self, work: Work, why: str) -> None:
        module = importlib.import_module(HANDLERS[work.kind].partition(":")[0])
        with self.service.records.write() as session:
            module.given_up(self.service, session, work, why)
            self.service.queue.finish(session, work, "failed", why)


def handler(kind: str) -> Any:
    module, name = HANDLERS[kind].split(":")
    return getattr(importlib.import_module(module), name)


def new_owner() -> str:
    """A name that no other worker ever has."""
    return f"{os.getpid()}-{secrets.token_hex(8)}"


def main() -> None:
    """A worker process: configuration on the first line of stdin, the end when stdin ends."""
    from hilum.serve.config import Config
    from hilum.serve.logs import configure

    owner, _, text = sys.stdin.readline().partition(" ")
    config = Config.model_validate_json(text)
    configure(config.log_level)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_watch, daemon=True).start()
    service = Service(config)
    _warm(service)
    Worker(service, ANALYSING, owner).run(stop)
    service.close()


def _watch() -> None:
    """The supervisor is gone: end now; whoever comes next takes over."""
    sys.stdin.read()
    os._exit(0)


def _warm(service: Service) -> None:
    """Open the default pipeline before the first image waits for it."""
    try:
        service.pipelines.opened(service.config.default)
    except HilumError as error:
        log.error("pipeline %s: %s", service.config.default, error)


if __name__ == "__main__":
    main()
