"""Findings mined from reports: each present, absent, uncertain (-1) or not mentioned (blank).

Knows no set; which of the last two is what label, the user decides.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.values import flags

UNCERTAIN = {"ones": 1.0, "zeros": 0.0, "ignore": float("nan")}
UNMENTIONED = {"zeros": 0.0, "ignore": float("nan")}
UNCERTAIN_CODES = ("-1", "-1.0", "u")


def check_policies(uncertain: str, unmentioned: str) -> None:
    """Raises DataError for a policy that is none."""
    if uncertain not in UNCERTAIN or unmentioned not in UNMENTIONED:
        raise DataError(
            f"uncertain={uncertain!r}, unmentioned={unmentioned!r}; known: "
            f"{', '.join(UNCERTAIN)}; {', '.join(UNMENTIONED)}"
        )


def mined_labels(
    rows: pd.DataFrame,
    findings: Iterable[str],
    images: pd.Series[str],
    uncertain: str,
    unmentioned: str,
) -> pd.DataFrame:
    """label_<finding>, lower case with hyphens: 1, 0 or NaN (not annotated).

    Args:
        rows: columns of cells, one a finding.
        images: what each row is of, for messages.
        uncertain, unmentioned: keys of `UNCERTAIN`, `UNMENTIONED`.

    Raises:
        DataError: a cell that is none of 1, 0, -1, blank, or their words.
    """
    out = {}
    for finding in findings:
        text = rows[finding].str.strip().str.lower()
        unsure = text.isin(UNCERTAIN_CODES)
        values = flags(text.where(~unsure, ""), finding, images)
        values = values.where(values.notna(), UNMENTIONED[unmentioned])
        values = values.where(~unsure, UNCERTAIN[uncertain])
        out[f"label_{'-'.join(finding.lower().split())}"] = values.astype("float32")
    return pd.DataFrame(out, index=rows.index)
