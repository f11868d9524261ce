"""One fact each: evidence -> words and where they come from, or None where nothing says it.

Nothing is inferred beyond what a file states; general truths of hilum name their document.
data: sets and parts; model: what was built and how; figures: what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hilum.report.checklist.evidence import Evidence
from hilum.report.checklist.facts import data, figures, model
from hilum.report.checklist.facts.fact import Fact

FACTS: Mapping[str, Callable[[Evidence], Fact | None]] = {
    one.__name__: one
    for one in (
        data.data_sources,
        data.selection_of_rows,
        data.left_out,
        data.preprocessing,
        data.missing_annotations,
        data.reference_standard,
        data.partition,
        data.shares_of_patients,
        data.disjoint,
        data.images_tested,
        data.shares_in_a_batch,
        model.technology,
        model.about,
        model.use,
        model.task,
        model.architecture,
        model.software,
        model.initialisation,
        model.training,
        model.choice_of_model,
        model.ensemble,
        model.how_to_predict,
        model.availability,
        model.poor_input,
        figures.metrics,
        figures.intervals,
        figures.robustness,
        figures.internal_test,
        figures.external_test,
        figures.performance,
        figures.subgroups,
        figures.thresholds,
        figures.calibration,
        figures.limits,
    )
}

__all__ = ["FACTS", "Fact"]
