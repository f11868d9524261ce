"""The challenges' scores of a submission file, by the challenge's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hilum.core.errors import ConfigError
from hilum.evaluate.challenges.from_catalog import SUFFIX, challenge_table
from hilum.evaluate.challenges.rsna import rsna_per_image
from hilum.evaluate.challenges.siim_acr import siim_acr_per_image
from hilum.evaluate.challenges.siim_covid import read_boxes, siim_covid_score, siim_covid_solution
from hilum.evaluate.challenges.tables import Table, rsna_predictions, rsna_truth, same_ids

APART = (0.6, 1.5)  # of the reach of true boxes

Score = Callable[[Sequence[Table], Path], dict[str, Any]]


def score_submission(name: str, truth: Sequence[Path], submission: Path) -> dict[str, Any]:
    """The score and what it is made of.

    Args:
        name: a key of `SCORES`.
        truth: the true table; of siim-covid the solution, or its study and its image table. Or a
            catalog (.parquet) of images that were held out.

    Raises:
        ConfigError: too many tables, or an unknown challenge.
        DataError: tables that are malformed or do not name the same images.
    """
    if name not in SCORES:
        raise ConfigError(f"unknown challenge {name!r}; known: {', '.join(SCORES)}")
    if len(truth) > (2 if name == "siim-covid" else 1):
        raise ConfigError(f"{len(truth)} --truth files are too many for {name}")
    tables = [challenge_table(name, one) if one.suffix == SUFFIX else one for one in truth]
    return {"challenge": name, **SCORES[name](tables, submission)}


def _rsna(truth: Sequence[Table], submission: Path) -> dict[str, Any]:
    wanted, given = rsna_truth(truth[0]), rsna_predictions(submission)
    same_ids(wanted, given)
    scores = rsna_per_image(list(wanted.values()), [given[image] for image in wanted])
    counted = scores[~np.isnan(scores)]
    return {
        "score": float(counted.mean()) if len(counted) else float("nan"),
        "images": len(scores),
        "counted": len(counted),
        **_another_size(list(wanted.values()), [boxes for boxes, _ in given.values()]),
    }


def _another_size(truth: Sequence[ArrayLike], boxes: Sequence[ArrayLike]) -> dict[str, str]:
    """A note where boxes reach so far less or more than true ones that they may be of copies."""
    true, given = (
        max((float(np.max(b)) for b in part if np.size(b)), default=0.0) for part in (truth, boxes)
    )
    if not true or not given or APART[0] * true <= given <= APART[1] * true:
        return {}
    return {
        "note": f"boxes reach to {given:.0f} px, true ones to {true:.0f}: are they in pixels of "
        "the challenge's own images?"
    }


def _siim_covid(truth: Sequence[Table], submission: Path) -> dict[str, Any]:
    solution = truth[0] if len(truth) == 1 else siim_covid_solution(truth[0], truth[1])
    values = siim_covid_score(solution, submission)
    placed = (read_boxes(table, "")[0]["opacity"].boxes for table in (solution, submission))
    return {"score": values.pop("mean"), **values, **_another_size(*placed)}


def _siim_acr(truth: Sequence[Table], submission: Path) -> dict[str, Any]:
    values = siim_acr_per_image(truth[0], submission)
    score = sum(values.values()) / len(values) if values else float("nan")
    return {"score": score, "images": len(values)}


SCORES: dict[str, Score] = {"rsna": _rsna, "siim-covid": _siim_covid, "siim-acr": _siim_acr}
