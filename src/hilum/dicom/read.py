"""A path, bytes or stream -> Radiograph in one step; stored.py has the two halves of it."""

from __future__ import annotations

from hilum.core.radiograph import Radiograph, Window
from hilum.dicom.limits import Limits
from hilum.dicom.source import DEFAULT_LIMITS, Source
from hilum.dicom.stored import open_stored


def read(
    source: Source,
    *,
    limits: Limits = DEFAULT_LIMITS,
    window: Window | None = None,
    voi_index: int = 0,
    full_range: bool = False,
) -> Radiograph:
    """Read one image: `open_stored(source).radiograph()`.

    Args:
        source: path, bytes, binary stream, or (name, bytes).
        window: (centre, width) in modality units, used instead of the file's own VOI.
        voi_index: which VOI LUT or window, where a file has several.
        full_range: the whole stored range is [0, 1]; windows and VOI LUTs are not used.

    Returns:
        Pixels (H, W) float32 in [0, 1], air dark, and what the header says about them.

    Raises:
        InputRefused: one of its kinds, naming the file, the reason and the remedy.
    """
    stored = open_stored(source, limits=limits)
    return stored.radiograph(window=window, voi_index=voi_index, full_range=full_range)
