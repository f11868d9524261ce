"""CheXpert: 14 findings mined from reports, each present, absent, uncertain or not mentioned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.common import PICTURES, Source, join_files, numbers
from hilum.data.catalog import Catalog, build

TABLES = {"train.csv": "train", "valid.csv": "valid"}
NOT_FINDINGS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
UNCERTAIN = {"ones": 1.0, "zeros": 0.0, "ignore": float("nan")}
UNMENTIONED = {"zeros": 0.0, "ignore": float("nan")}
UNCERTAIN_CODE = -1.0


def load(path: Path, uncertain: str = "ignore", unmentioned: str = "ignore") -> Catalog:
    """The directory that holds train.csv, valid.csv and train/patient…, or the tables alone.

    Args:
        uncertain: what -1 becomes: "ones", "zeros", or "ignore" (not annotated).
        unmentioned: what a blank becomes: "zeros" (as most papers do) or "ignore".

    Raises:
        DataError: no table, or an unknown policy.
    """
    if uncertain not in UNCERTAIN or unmentioned not in UNMENTIONED:
        raise DataError(
            f"uncertain={uncertain!r}, unmentioned={unmentioned!r}; known: "
            f"{', '.join(UNCERTAIN)}; {', '.join(UNMENTIONED)}"
        )
    source = Source("chexpert", path)
    source.require(*TABLES)
    present = [(found, s) for name, s in TABLES.items() if (found := source.find(name))]
    rows = pd.concat(
        [source.table(found, NOT_FINDINGS).assign(split=split) for found, split in present],
        ignore_index=True,
    )
    # Paths start with the archive's own name, which the user's directory may not have.
    parts = rows["Path"].str.strip().str.extract(r"((?:train|valid)/(patient\w+)/(study\w+)/.+)$")
    bad = parts[0].isna()
    if bad.any():
        raise DataError(
            f"set 'chexpert': Path {rows.loc[bad, 'Path'].iat[0]!r}; needed: "
            ".../train/patientN/studyN/viewN_frontal.jpg"
        )
    lateral = rows["Frontal/Lateral"].str.strip().str.lower() == "lateral"
    table = pd.DataFrame(
        {
            "image_id": parts[0].str.rsplit(".", n=1).str[0],
            "patient": parts[1],
            "study": parts[1] + "/" + parts[2],
            "view": rows["AP/PA"].str.strip().where(~lateral, "LATERAL"),
            "sex": rows["Sex"].str.strip().map({"Male": "M", "Female": "F"}),
            "age": numbers(rows["Age"]),
            "split": rows["split"],
        }
    )
    findings = [c for c in rows.columns if c not in (*NOT_FINDINGS, "split")]
    for finding in findings:
        values = numbers(rows[finding])
        values = values.where(values.notna(), UNMENTIONED[unmentioned])
        values = values.where(values != UNCERTAIN_CODE, UNCERTAIN[uncertain])
        table[f"label_{'-'.join(finding.lower().split())}"] = values.astype("float32")
    twice = table["image_id"].duplicated()
    source.note(int(twice.sum()), "rows repeat an image and were left out")
    table = _with_files(table[~twice].reset_index(drop=True), source)
    return build("chexpert", table, path, tuple(source.notes))


def _with_files(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """File names repeat in every study, so images are matched by their whole path."""
    files: list[str] = []
    for split in TABLES.values():
        base = source.root / split
        files += [
            p.relative_to(source.root).as_posix()
            for p in sorted(base.rglob("*"))
            if p.suffix.lower() in PICTURES
        ]
    paths = pd.Series(files, dtype=object)
    found = pd.DataFrame({"image_id": paths.str.rsplit(".", n=1).str[0], "path": paths})
    out = join_files(table, found, source, {s: s for s in TABLES.values()})
    place = out["image_id"].str.split("/")
    out["patient"] = out["patient"].fillna(place.str[1])
    out["study"] = out["study"].fillna(place.str[1] + "/" + place.str[2])
    return out.replace({"path": {np.nan: ""}})
