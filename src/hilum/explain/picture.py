"""A map beside what was found and what readers drew, as a PNG file."""

from __future__ import annotations

from hilum.core.findings import Findings
from hilum.core.radiograph import Radiograph
from hilum.explain.heat import Heat
from hilum.explain.occlusion import METHOD as OCCLUSION
from hilum.report.drawing import encoded
from hilum.report.explanation import Annotations, Words, explanation


def picture(
    heat: Heat,
    radiograph: Radiograph,
    findings: Findings,
    *,
    of: str,
    found_by: str,
    readers: Annotations | None = None,
) -> bytes:
    """
    Args:
        of: whose score is explained.
        found_by: who found the findings.
    """
    words = Words(
        score=f"{heat.score_name} {heat.score:.2f} of {of}",
        method=_method(heat),
        found_by=found_by,
    )
    return encoded(explanation(radiograph, heat.shown(), findings, words, readers=readers))


def _method(heat: Heat) -> str:
    """How strong the map is, too: its colours are those of its own strongest place."""
    if heat.flat:
        return f"{heat.method}, nothing speaks for the score"
    if heat.method == OCCLUSION:
        return f"{heat.method}, hiding the brightest place takes {heat.grid.max():.2f}"
    return heat.method
