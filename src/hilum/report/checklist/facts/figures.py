"""What was measured: numbers, intervals, subgroups, thresholds, limits."""

from __future__ import annotations

from collections.abc import Iterable

from hilum.core.manifest import EVALUATION
from hilum.evaluate.metrics.names import text
from hilum.report.checklist.evidence import Evidence
from hilum.report.checklist.facts.fact import Fact, listed, tested


def metrics(known: Evidence) -> Fact | None:
    """Numbers that were computed."""
    names = dict.fromkeys(
        _number(key) for key in (known.manifest.figures if known.manifest else ())
    )
    names |= dict.fromkeys(
        name for own in (known.results or {}).values() for name in own if not known.manifest
    )
    if not names:
        return None
    where = "manifest.json, figures" if known.manifest else "results.json"
    return Fact(f"{', '.join(map(text, names))}.", f"{where}; docs/evaluate.md")


def intervals(known: Evidence) -> Fact | None:
    """How uncertainty is given."""
    figures = [*tested(known).values()]
    given = [f for f in figures if f.low is not None]
    if not given:
        return None
    return Fact(
        f"95 % intervals of {len(given)} of {len(figures)} test numbers.",
        "manifest.json, figures; card.md, Numbers says how",
    )


def robustness(known: Evidence) -> Fact | None:
    """Checks of what scores lean on, and of the precision."""
    checks = []
    if "Shortcuts" in known.card:
        checks.append(
            "Scores with the lungs hidden, with the border alone, by source (card.md, Shortcuts)."
        )
    if known.manifest and len(known.manifest.precisions) > 1:
        checks.append(f"Numbers in {' and '.join(known.manifest.precisions)} (card.md, Numbers).")
    return Fact(" ".join(checks), "card.md") if checks else None


def internal_test(known: Evidence) -> Fact | None:
    """Test numbers of sources that were learnt from."""
    return _performance(known, [row for row in tested(known) if not _external(known, row)])


def external_test(known: Evidence) -> Fact | None:
    """Test numbers of sources that were not."""
    return _performance(known, [row for row in tested(known) if _external(known, row)])


def performance(known: Evidence) -> Fact | None:
    """All test numbers that lead."""
    whole = _performance(known, tested(known))
    if whole or not known.results:
        return whole
    rows = [
        f"{part}: " + ", ".join(f"{text(n)} {value:.3f}" for n, value in own.items())
        for part, own in known.results.items()
    ]
    return Fact(listed(rows), "results.json", "intervals: hilum export, hilum evaluate report")


def subgroups(known: Evidence) -> Fact | None:
    if "Subgroups" not in known.card:
        return None
    return Fact(known.card["Subgroups"], "card.md, Subgroups")


def thresholds(known: Evidence) -> Fact | None:
    """Operating points and how they were chosen."""
    points = known.manifest.operating_points if known.manifest else {}
    rows = [
        f"{name}: {point.score} ≥ {point.threshold:.3f} ({point.reason}; chosen on "
        f"{point.chosen_on})"
        for name, point in points.items()
    ]
    return Fact(listed(rows), "manifest.json, operating_points") if rows else None


def calibration(known: Evidence) -> Fact | None:
    own = known.manifest.calibration if known.manifest else None
    if own is None or not own.fitted_on:
        return None
    return Fact(f"Scores are calibrated on {own.fitted_on} images.", "manifest.json, calibration")


def limits(known: Evidence) -> Fact | None:
    """What the card warns of."""
    lines = [
        line
        for section in ("Numbers", "Shortcuts", "Operating points")
        for line in known.card.get(section, "").splitlines()
        if line.startswith(("Fewer than", "For the reader:", "What a conformal"))
    ]
    return Fact(listed(lines), "card.md") if lines else None


def _number(key: str) -> str:
    return key.rsplit(": ", 1)[-1]


def _external(known: Evidence, row: str) -> bool:
    """Whether nothing was learnt from the row's source."""
    name = row.removeprefix("test, ").partition(" (")[0]
    uses = {
        one.use
        for one in (known.manifest.data_licences if known.manifest else ())
        if name == one.name or name.startswith(f"{one.name}-")
    }
    return uses == {EVALUATION}


def _performance(known: Evidence, rows: Iterable[str]) -> Fact | None:
    figures = known.manifest.figures if known.manifest else {}
    words = [
        f"{row}: {one.words}" + (f", {one.n} images" if one.n else "")
        for row in rows
        if (one := figures[row]).low is not None
    ]
    return Fact(listed(words), "manifest.json, figures") if words else None
