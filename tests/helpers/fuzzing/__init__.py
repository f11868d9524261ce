"""Hostile input for every door that files come through: seeds, mutations, and what may come out.

door        a door, changes of bytes, what may come out
trees       changes of what JSON, YAML, TOML and CSV mean
images      DICOM, PNG, JPEG, zips of them, DICOMDIR, de-identification
models      bundles, pipelines, recipes
tables      catalogs, splits, prediction and annotation tables
results     findings.json, journals, the service's configuration

Shared by tests/test_fuzz.py (2,000 in every run) and scripts/gates/fuzz.py (100,000 and more).
"""

from __future__ import annotations

from helpers.fuzzing.door import KINDS, Door, Mutation, mutated, mutations
from helpers.fuzzing.images import IMAGES
from helpers.fuzzing.models import MODELS
from helpers.fuzzing.results import RESULTS
from helpers.fuzzing.tables import TABLES

DOCUMENTS: dict[str, Door] = {**MODELS, **TABLES, **RESULTS}
DOORS: dict[str, Door] = {**IMAGES, **DOCUMENTS}

__all__ = ["DOCUMENTS", "DOORS", "IMAGES", "KINDS", "Door", "Mutation", "mutated", "mutations"]
