"""Labels, scores and pipelines as coded concepts.

What DICOM and SNOMED CT have no code for gets one of our own scheme, declared in the object.
"""

from __future__ import annotations

import re

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import AlgorithmIdentification, CodedConcept

from hilum.core.labels import VOCABULARY
from hilum.core.results import PipelineInfo
from hilum.report.overlay import NONE_FOUND
from hilum.report.writers.dicom.analysis import Analysis

SCHEME = "99HILUM"
SCHEMES = [CodingSchemeIdentificationItem(SCHEME, name="Codes of hilum", version="1")]


def code(value: str, scheme: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)


ENGLISH = code("en-US", "RFC5646", "English (United States)")
CHEST_XRAY = code("399208008", "SCT", "Plain chest X-ray")
BOUNDED_BY = code("75958009", "SCT", "Bounded by")
CERTAINTY = code("111012", "DCM", "Certainty of Finding")
SUMMARY = code("111017", "DCM", "CAD Processing and Findings Summary")
EVALUATIONS = code("C0034375", "UMLS", "Qualitative Evaluations")
COMMENT = code("121106", "DCM", "Comment")
PERCENT = code("%", "UCUM", "Percent")
ABNORMAL = code("49755003", "SCT", "Morphologically Abnormal Structure")
BODY_STRUCTURE = code("123037004", "SCT", "Body structure")
NONE_ABOVE = code("none-above", SCHEME, NONE_FOUND)
SOME_ABOVE = code("some-above", SCHEME, "Target findings above the threshold")

# A score for "normal" is a number of a network, not a statement about a patient.
_SCORES = {"normal": code("no-target", SCHEME, "No target finding, score of the network")}


def concept(name: str) -> CodedConcept:
    """The code of a label or of what a score is about."""
    if name in VOCABULARY:
        known = VOCABULARY[name].code
        return code(known.value, known.scheme, known.meaning)
    if name in _SCORES:
        return _SCORES[name]
    text = re.sub(r"[^\x20-\x5b\x5d-\x7e]", "?", name)
    return code(text[:16], SCHEME, text[:64])


def algorithm_name(pipeline: PipelineInfo) -> tuple[str, str | None]:
    """Name and version: the bundle and its hash, or the pipeline where it has several."""
    if len(pipeline.bundles) == 1:
        return pipeline.bundles[0]
    return pipeline.name, None


def algorithm(analysis: Analysis) -> AlgorithmIdentification:
    """TID 4019: name, version (a SHA-256), and every part by name and hash."""
    pipeline = analysis.pipeline
    name, version = algorithm_name(pipeline)
    lines = [f"pipeline {pipeline.name} {pipeline.version}, SHA-256 {analysis.pipeline_hash}"]
    lines += [f"bundle {bundle}, SHA-256 {sha256}" for bundle, sha256 in pipeline.bundles]
    for point_name, point in pipeline.operating_points.items():
        lines.append(f"{point.score} from {point.threshold:.4g}: {point_name} ({point.reason})")
    known = pipeline.calibrated_on
    lines.append(f"calibrated on {known}" if known else "scores are no probabilities")
    return AlgorithmIdentification(
        name=name, version=version or analysis.pipeline_hash, parameters=lines
    )
