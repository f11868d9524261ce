"""What a finished network says of a held-out part, beside the truth, kept as one Parquet file.

Two numbers tell how two runs differ; the cases of both tell, too, whether other patients would
show it. Boxes and scores of images are kept, masks are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.core.files import atomic_path
from hilum.evaluate.cases import Cases

KeptCases = Mapping[str, Cases]  # finding -> the same images
ROW = ["image_id", "patient", "width", "height"]


def write_cases(file: Path, cases: KeptCases) -> None:
    """One row an image and finding: image_id, patient, width, height, finding, boxed, label,
    score, truth (4 n numbers), boxes (4 m), scores (m)."""
    tables = [
        one.rows[ROW].assign(
            finding=finding,
            boxed=one.boxed,
            label=one.label,
            score=one.score,
            truth=pd.Series([box.ravel() for box in one.truth], dtype=object),
            boxes=pd.Series([box.ravel() for box, _ in one.predictions], dtype=object),
            scores=pd.Series([score for _, score in one.predictions], dtype=object),
        )
        for finding, one in cases.items()
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        pd.concat(tables).to_parquet(temporary, compression="zstd", index=False)


def read_cases(file: Path) -> KeptCases:
    """What `write_cases` wrote."""
    table = pd.read_parquet(file)
    return {
        str(finding): Cases(
            catalog="",
            finding=str(finding),
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
        for finding, own in table.groupby("finding", sort=False)
    }


def shared(first: KeptCases, second: KeptCases) -> list[KeptCases]:
    """Both, of the images that stand in both, in one order."""
    a, b = (next(iter(one.values())).rows["image_id"].to_numpy() for one in (first, second))
    _, *places = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    return [
        {finding: own.at(place) for finding, own in one.items()}
        for one, place in zip((first, second), places, strict=True)
    ]
