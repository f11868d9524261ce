"""What a finished network says of a held-out part, beside the truth, kept as one Parquet file.

Two numbers tell how two runs differ; the images of both tell, too, whether other patients would
show it. Of boxes and scores everything is kept, of masks how well they overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.files import atomic_path
from hilum.evaluate.cases import Cases

ROW = ["image_id", "patient", "width", "height"]
CASE = ["finding", "boxed", "label", "score", "truth", "boxes", "scores"]
NO_FINDING = ""  # rows of a network that draws masks alone


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Images of one part, and what their numbers are made of."""

    rows: pd.DataFrame  # image_id, patient, width, height
    cases: Mapping[str, Cases]  # finding -> the same images
    overlaps: Mapping[str, NDArray[np.float64]]  # dice_lungs -> (n,), NaN without both masks

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: NDArray[np.int64]) -> Kept:
        """The images at these places, in their order."""
        return Kept(
            rows=self.rows.iloc[places].reset_index(drop=True),
            cases={finding: own.at(places) for finding, own in self.cases.items()},
            overlaps={name: values[places] for name, values in self.overlaps.items()},
        )


def write_kept(file: Path, kept: Kept) -> None:
    """One row an image and finding: image_id, patient, width, height, finding, boxed, label,
    score, truth (4 n numbers), boxes (4 m), scores (m), and the image's overlaps by name."""
    columns: list[dict[str, Any]] = [
        {
            "finding": finding,
            "boxed": one.boxed,
            "label": one.label,
            "score": one.score,
            "truth": pd.Series([box.ravel() for box in one.truth], dtype=object),
            "boxes": pd.Series([box.ravel() for box, _ in one.predictions], dtype=object),
            "scores": pd.Series([score for _, score in one.predictions], dtype=object),
        }
        for finding, one in kept.cases.items()
    ]
    columns = columns or [dict.fromkeys(CASE) | {"finding": NO_FINDING}]
    tables = [kept.rows[ROW].assign(**own, **kept.overlaps) for own in columns]
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        pd.concat(tables).to_parquet(temporary, compression="zstd", index=False)


def read_kept(file: Path) -> Kept:
    """What `write_kept` wrote."""
    table = pd.read_parquet(file)
    of = {str(finding): own for finding, own in table.groupby("finding", sort=False)}
    first = next(iter(of.values()), table).reset_index(drop=True)
    return Kept(
        rows=first[ROW],
        cases={finding: _cases(finding, own) for finding, own in of.items() if finding},
        overlaps={
            str(name): values.to_numpy(np.float64)
            for name, values in first.items()
            if name not in (*ROW, *CASE)
        },
    )


def _cases(finding: str, own: pd.DataFrame) -> Cases:
    return Cases(
        catalog="",
        finding=finding,
        rows=own[ROW].reset_index(drop=True),
        truth=[box.reshape(-1, 4) for box in own["truth"]],
        predictions=[
            (box.reshape(-1, 4), score)
            for box, score in zip(own["boxes"], own["scores"], strict=True)
        ],
        boxed=own["boxed"].to_numpy(np.bool_),
        label=own["label"].to_numpy(np.float64),
        score=own["score"].to_numpy(np.float64),
    )


def shared(first: Kept, second: Kept) -> tuple[Kept, Kept]:
    """Both, of the images that stand in both, in one order."""
    a, b = (one.rows["image_id"].to_numpy() for one in (first, second))
    _, *places = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    return first.at(places[0]), second.at(places[1])
