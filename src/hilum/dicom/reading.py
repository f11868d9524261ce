"""How a run reads its inputs: one value that travels from the command line to every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hilum.core.radiograph import Window

if TYPE_CHECKING:
    from hilum.core.radiograph import Radiograph
    from hilum.dicom.source import Source
    from hilum.dicom.stored import StoredImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Options of reading that hold for all images of a run."""

    window: Window | None = None  # (centre, width) instead of each file's own VOI
    full_range: bool = False  # the whole stored range, without windows and VOI LUTs
    untrusted: bool = False  # parse and decode in a guarded child: see guard.py
    child: Mapping[str, Any] = field(default_factory=dict)  # its `timeout_s`, `memory_bytes`

    def open(self, source: Source) -> StoredImage:
        """As `open_stored`."""
        if self.untrusted:
            from hilum.dicom.guard import open_guarded

            return open_guarded(source, **self.child)
        from hilum.dicom.stored import open_stored

        return open_stored(source)

    def decode(self, stored: StoredImage) -> Radiograph:
        """As `StoredImage.radiograph`."""
        return stored.radiograph(window=self.window, full_range=self.full_range)


DEFAULT_READING = Reading()
