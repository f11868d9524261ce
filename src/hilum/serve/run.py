"""Everything started and stopped together: node, web, senders, workers and their supervisor."""

from __future__ import annotations

import fcntl
import importlib
import logging
import threading
import time
from typing import IO, Any

from sqlalchemy import select, update

from hilum.core.errors import ConfigError, HilumError
from hilum.serve import worklist
from hilum.serve.check import unsafe
from hilum.serve.config import Config, Tls
from hilum.serve.monitor import watch
from hilum.serve.node import DicomNode
from hilum.serve.service import Service
from hilum.serve.supervisor import Supervisor
from hilum.serve.tables import Work
from hilum.serve.tls import remarks, server_context
from hilum.serve.work import SENDING
from hilum.serve.worker import Worker

log = logging.getLogger(__name__)
SENDERS, SHARE = 4, 2  # in all; to one destination: a slow one leaves some to the others
SWEEP_S = 3600.0
_DYING_S = 3.0  # one that was killed holds the lock a moment longer


class Running:
    """A service at work: `with Running(config) as running: ...`."""

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ConfigError: it would be open to others without TLS and credentials, or another
                service works in its folder.
            HilumError: folder or database cannot be used.
        """
        if wrong := unsafe(config):
            raise ConfigError("; ".join(wrong))
        config.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.config = config
        self._lock = _lock(config)
        self.service = Service(config)
        self.service.records.upgrade()
        self.node: DicomNode | None = None
        self.supervisor = Supervisor(config, self.service.queue)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._web: Any = None

    def __enter__(self) -> Running:
        service, config = self.service, self.config
        service.store.sweep(0 if self._alone else SWEEP_S)
        if self._alone:
            _free_all(service)
        service.audit.tell("start")
        if config.node.enabled:
            earlier = config.priors.dicom if config.priors else None
            title = earlier.ae_title if earlier else None
            self.node = DicomNode(config.node, service.intake, archive=title)
            self.node.start()
        for number in range(SENDERS):
            sender = Worker(service, SENDING, share=SHARE)
            self._thread(f"sender-{number}", sender.run, self._stop)
        if config.worklist is not None:
            self._thread("worklist", worklist.run, service, self._stop)
        self._thread("sweeper", self._sweep)
        self.supervisor.start()
        if config.web.enabled:
            self._start_web()
        return self

    def __exit__(self, *_: object) -> None:
        """Nobody new is let in, what has begun is ended, the rest waits in the records."""
        if self._web is not None:
            self._web.config.app.state.closing = True  # else who listens would be waited for
            self._web.should_exit = True
        if self.node is not None:
            self.node.stop()
        self._stop.set()
        self.supervisor.stop()
        for thread in self._threads:
            thread.join(timeout=30.0)
        try:
            self.service.audit.tell("stop")
        except HilumError as error:
            log.warning("%s", error)
        self.service.close()
        self._lock.close()

    @property
    def _alone(self) -> bool:
        """With SQLite nobody else works on these records: the folder's lock is ours."""
        return self.config.database_url.startswith("sqlite")

    def _thread(self, name: str, function: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _sweep(self) -> None:
        while not self._stop.wait(SWEEP_S):
            try:
                self.service.store.sweep()
                watch.check(self.service)
                for tls in filter(None, (self.config.web.tls, self.config.node.tls)):
                    for remark in remarks(tls):
                        log.warning("%s", remark)
            except (HilumError, OSError) as error:
                log.warning("hourly look: %s", error)

    def _start_web(self) -> None:
        try:
            module = importlib.import_module("hilum.serve.web.app")
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith("hilum.serve.web"):
                raise
            log.warning("this build has no web application")
            return
        import uvicorn

        web = self.config.web
        settings = uvicorn.Config(
            module.create_app(self.service),
            host=web.host,
            port=web.port,
            log_config=None,  # ours: its own prints what exceptions say
            log_level="warning",
            access_log=False,  # its lines would hold what people search for
            server_header=False,
            timeout_graceful_shutdown=5,
            ssl_context_factory=_tls(web.tls),
        )
        self._web = uvicorn.Server(settings)
        self._thread("web", self._web.run)


def _tls(tls: Tls | None) -> Any:
    """What uvicorn asks for a context; ours, so that `ca` and renewed files count there too."""
    if tls is None:
        return None
    context = server_context(tls)
    return lambda *_: context


def _lock(config: Config) -> IO[bytes]:
    """Ours while the file is open; the system lets go of it whatever happens to us."""
    lock = (config.root / "lock").open("ab")
    if not config.database_url.startswith("sqlite"):
        return lock
    deadline = time.monotonic() + _DYING_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError as error:
            if time.monotonic() > deadline:
                lock.close()
                raise ConfigError(
                    f"another hilum serve works in {config.root}; needed: another `folder`, or "
                    "PostgreSQL for several"
                ) from error
            time.sleep(0.05)


def _free_all(service: Service) -> None:
    """Whoever had claimed work before is dead."""
    now = service.clock()
    with service.records.write() as session:
        held = session.scalars(select(Work.id).where(Work.state == "running")).all()
        session.execute(
            update(Work)
            .where(Work.id.in_(held))
            .values(state="waiting", owner=None, lease=None, due=now, asked=now)
        )
    if held:
        log.info("%d pieces of work go on", len(held))
