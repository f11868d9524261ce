"""Maps of many radiographs, drawn into a folder; the pointing game on those with true boxes.

Knows no method: what explains a radiograph is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import InputRefused
from hilum.core.files import write_bytes
from hilum.core.progress import counted
from hilum.core.radiograph import Radiograph
from hilum.dicom.discover import Item
from hilum.explain.heat import Heat
from hilum.explain.pointing import Pointed, pointed
from hilum.report.drawing import encoded
from hilum.report.explanation import explanation

Explain = Callable[[Radiograph], Heat]
Spread = Callable[[Radiograph], Mapping[str, float]]
DRAWN = 12  # images of the game


def drawn(
    radiograph: Radiograph,
    heat: Heat,
    boxes_px: ArrayLike | None = None,
    truth_px: ArrayLike = (),
) -> bytes:
    """PNG of the radiograph and of the same with its map; boxes as of `explanation`."""
    words = f"{heat.method}, {heat.score_name} {heat.score:.2f}"
    return encoded(
        explanation(radiograph, heat.shown(), words, boxes_px=boxes_px, truth_px=truth_px)
    )


def draw_all(
    items: Sequence[Item], explain: Explain, out: Path, spread: Spread | None = None
) -> list[dict[str, Any]]:
    """A PNG an image and its entry of explain.json; what cannot be read is an entry, too.

    Args:
        spread: how like the map that of a randomised network is, by the part randomised.
    """
    entries: list[dict[str, Any]] = []
    for number, item in enumerate(counted(items, "explaining", len(items))):
        try:
            radiograph = item.open().radiograph()
        except InputRefused as error:
            entries.append({"image": item.name, "refused": str(error)})
            continue
        heat = explain(radiograph)
        file = f"{number:04d}-{Path(item.name).stem[:60]}.png"
        write_bytes(out / file, drawn(radiograph, heat))
        entry: dict[str, Any] = {"image": item.name, "picture": file, "score": heat.score_name}
        entry |= {"value": round(heat.score, 4), "flat": heat.flat}
        entry |= {"hottest_px": [round(v, 1) for v in heat.hottest()]}
        if spread is not None:
            entry["rank_correlation"] = dict(spread(radiograph))
        entries.append(entry)
    return entries


def point_at_all(
    cases: Iterable[tuple[Radiograph, NDArray[np.floating[Any]]]], explain: Explain, out: Path
) -> list[Pointed]:
    """Of each radiograph with its (n, 4) true boxes in source pixels: does the hottest point hit?

    The first are drawn, 01.png and so on.
    """
    points: list[Pointed] = []
    for radiograph, boxes_px in cases:
        heat = explain(radiograph)
        points.append(pointed(heat.hottest(), boxes_px, radiograph.width, radiograph.height))
        if len(points) <= DRAWN:
            content = drawn(radiograph, heat, truth_px=boxes_px)
            write_bytes(out / f"{len(points):02d}.png", content)
    return points
