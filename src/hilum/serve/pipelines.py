"""The pipelines of the configuration, each opened once in a process, when it is first needed."""

from __future__ import annotations

import logging
import threading

from hilum.core.errors import HilumError
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.inference.tuning import running
from hilum.serve.config import Config

log = logging.getLogger(__name__)


class NotLoaded(HilumError):
    """A pipeline of the configuration cannot be used: bundle missing or damaged, wrong text."""


class Pipelines:
    """Loaded pipelines by their names in the configuration."""

    def __init__(self, config: Config) -> None:
        self.sources, self.default = dict(config.pipelines), config.default
        self.workers, self.threads = config.workers, config.threads
        self._lock, self._loaded = threading.Lock(), dict[str, LoadedPipeline]()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sources)

    def loaded(self, name: str) -> LoadedPipeline:
        """A pipeline; its bundles are checked, its graphs open when they are needed.

        Raises:
            NotLoaded: no such name, or what it needs is missing or damaged. Asked again, it is
                looked for again.
        """
        if name not in self.sources:
            raise NotLoaded("it is not in the configuration")
        with self._lock:
            try:
                if name not in self._loaded:
                    self._loaded[name] = self._load(name)
                return self._loaded[name]
            except HilumError as error:
                raise NotLoaded(str(error)) from error

    def opened(self, name: str) -> LoadedPipeline:
        """A pipeline with every graph open.

        Raises:
            NotLoaded: as `loaded`, or ONNX Runtime refuses a graph.
        """
        loaded = self.loaded(name)
        with self._lock:
            try:
                return loaded.opened()
            except HilumError as error:
                raise NotLoaded(str(error)) from error

    def _load(self, name: str) -> LoadedPipeline:
        text = Pipeline.load(self.sources[name])
        how = running(text, workers=self.workers, threads=self.threads)
        if how.why:
            log.info("pipeline %s: %s", name, how.why)
        return LoadedPipeline(text.changed(precision=how.precision), threads=how.threads)


def workers_of(config: Config) -> int:
    """Processes that analyse: as configured, else as measured for the default pipeline, else 1."""
    if config.workers is not None:
        return config.workers
    try:
        text = Pipeline.load(config.pipelines[config.default])
        return running(text, threads=config.threads).workers
    except HilumError as error:  # said again, and in full, where the pipeline is used
        log.warning("pipeline %s: %s; one worker", config.default, error)
        return 1
