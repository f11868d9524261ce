"""How often readers accept what was found."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from hilum.serve.service import Service
from hilum.serve.tables import Feedback


def agreement(service: Service) -> dict[str, Any]:
    """Verdicts by pipeline; `accepted` is a share with its Wilson interval of 95 %."""
    query = select(Feedback.pipeline, Feedback.verdict, func.count())
    counts: dict[str, dict[str, int]] = {}
    with service.records.read() as session:
        for name, verdict, n in session.execute(
            query.group_by(Feedback.pipeline, Feedback.verdict)
        ):
            counts.setdefault(name or service.pipelines.default, {})[verdict] = int(n)
    return {name: verdicts | _share(verdicts) for name, verdicts in counts.items()}


def _share(verdicts: dict[str, int]) -> dict[str, Any]:
    total = sum(verdicts.get(one, 0) for one in ("accept", "reject", "redraw"))
    if not total:
        return {"accepted": None, "interval": None}
    share = verdicts.get("accept", 0) / total
    return {"accepted": share, "interval": wilson(share, total)}


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share (Wilson 1927)."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
