"""The challenges' scores of a submission file, by the challenge's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.errors import ConfigError
from hilum.evaluate.challenges.rsna import rsna_per_image
from hilum.evaluate.challenges.siim_acr import siim_acr_per_image
from hilum.evaluate.challenges.siim_covid import siim_covid_score, siim_covid_solution
from hilum.evaluate.challenges.tables import rsna_predictions, rsna_truth, same_ids

Score = Callable[[Sequence[Path], Path], dict[str, Any]]


def score_submission(name: str, truth: Sequence[Path], submission: Path) -> dict[str, Any]:
    """The score and what it is made of.

    Args:
        name: a key of `SCORES`.
        truth: the true table; of siim-covid the solution, or its study and its image table.

    Raises:
        ConfigError: too many tables, or an unknown challenge.
        DataError: tables that are malformed or do not name the same images.
    """
    if name not in SCORES:
        raise ConfigError(f"unknown challenge {name!r}; known: {', '.join(SCORES)}")
    if len(truth) > (2 if name == "siim-covid" else 1):
        raise ConfigError(f"{len(truth)} --truth files are too many for {name}")
    return {"challenge": name, **SCORES[name](truth, submission)}


def _rsna(truth: Sequence[Path], submission: Path) -> dict[str, Any]:
    wanted, given = rsna_truth(truth[0]), rsna_predictions(submission)
    same_ids(wanted, given)
    scores = rsna_per_image(list(wanted.values()), [given[image] for image in wanted])
    counted = scores[~np.isnan(scores)]
    return {
        "score": float(counted.mean()) if len(counted) else float("nan"),
        "images": len(scores),
        "counted": len(counted),
    }


def _siim_covid(truth: Sequence[Path], submission: Path) -> dict[str, Any]:
    solution = truth[0] if len(truth) == 1 else siim_covid_solution(truth[0], truth[1])
    values = siim_covid_score(solution, submission)
    return {"score": values.pop("mean"), **values}


def _siim_acr(truth: Sequence[Path], submission: Path) -> dict[str, Any]:
    values = siim_acr_per_image(truth[0], submission)
    score = sum(values.values()) / len(values) if values else float("nan")
    return {"score": score, "images": len(values)}


SCORES: dict[str, Score] = {"rsna": _rsna, "siim-covid": _siim_covid, "siim-acr": _siim_acr}
