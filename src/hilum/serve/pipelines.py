"""The pipelines of the configuration, each opened once in a process, when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from hilum.core.errors import HilumError
from hilum.inference.loaded import LoadedPipeline, load_pipeline


class NotLoaded(HilumError):
    """A pipeline of the configuration cannot be used: bundle missing or damaged, wrong text."""


class Pipelines:
    """Loaded pipelines by their names in the configuration."""

    def __init__(self, sources: Mapping[str, str], default: str, *, threads: int = 1) -> None:
        self.sources, self.default, self.threads = dict(sources), default, threads
        self._lock, self._loaded = threading.Lock(), dict[str, LoadedPipeline]()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sources)

    def loaded(self, name: str) -> LoadedPipeline:
        """A pipeline; its graphs open at the first image.

        Raises:
            NotLoaded: no such name, or what it needs is missing or damaged. Asked again, it is
                looked for again.
        """
        if name not in self.sources:
            raise NotLoaded("it is not in the configuration")
        with self._lock:
            if name not in self._loaded:
                try:
                    self._loaded[name] = load_pipeline(self.sources[name], threads=self.threads)
                except HilumError as error:
                    raise NotLoaded(str(error)) from error
            return self._loaded[name]
