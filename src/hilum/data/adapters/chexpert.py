"""CheXpert: 14 findings mined from reports, each present, absent, uncertain or not mentioned."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.match import file_ids, join_files, stem
from hilum.data.adapters.mined import check_policies, mined_labels
from hilum.data.adapters.source import IMAGES, Source
from hilum.data.adapters.values import ages, first_per_image, sexes
from hilum.data.catalog import Catalog

TABLES = {"train.csv": "train", "valid.csv": "validation"}
FOLDERS = {"train": "train", "valid": "validation", "test": "test"}
NOT_FINDINGS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")


def load(path: Path, uncertain: str = "ignore", unmentioned: str = "ignore") -> Catalog:
    """The directory that holds train.csv, valid.csv and train/patient…, or the tables alone.

    Args:
        uncertain: what -1 becomes: "ones", "zeros", or "ignore" (not annotated).
        unmentioned: what a blank becomes: "zeros" (as most papers do) or "ignore".

    Raises:
        DataError: no table, or an unknown policy.
    """
    check_policies(uncertain, unmentioned)
    source = Source("chexpert", path)
    source.require(*TABLES)
    present = [(file, s) for name, s in TABLES.items() if (file := source.find(name))]
    rows = pd.concat(
        [source.table(file, NOT_FINDINGS).assign(split=split) for file, split in present],
        ignore_index=True,
    )
    # Paths start with the archive's own name, which the user's directory may not have.
    paths = rows["Path"].str.strip().str.replace("\\", "/")
    parts = paths.str.extract(r"((?:train|valid)/(patient\w+)/(study\w+)/.+)$")
    bad = parts[0].isna()
    if bad.any():
        raise DataError(
            f"set 'chexpert': Path {rows.loc[bad, 'Path'].iat[0]!r}; needed: "
            ".../train/patientN/studyN/viewN_frontal.jpg"
        )
    lateral = rows["Frontal/Lateral"].str.strip().str.lower() == "lateral"
    table = pd.DataFrame(
        {
            "image_id": parts[0].map(stem),
            "file": parts[0],
            "patient": parts[1],
            "study": parts[1] + "/" + parts[2],
            "view": rows["AP/PA"].str.strip().where(~lateral, "LATERAL"),
            "sex": sexes(rows["Sex"], source),
            "age": ages(rows["Age"], source),
            "split": rows["split"],
        }
    )
    findings = [c for c in rows.columns if c not in (*NOT_FINDINGS, "split")]
    labels = mined_labels(
        rows, findings, table["image_id"], uncertain=uncertain, unmentioned=unmentioned
    )
    table = first_per_image(pd.concat([table, labels], axis=1), ["split", *labels], source)
    return source.catalog(_with_files(table, source))


def _with_files(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """File names repeat in every study, so images are matched by their whole path."""
    here = [folder for folder in FOLDERS if (source.root / folder).is_dir()]
    files = source.files(IMAGES, *here) if here else []
    out = join_files(table, files, source, FOLDERS, named=file_ids)
    place = out["image_id"].str.split("/")
    out["patient"] = out["patient"].fillna(place.str[1])
    out["study"] = out["study"].fillna(place.str[1] + "/" + place.str[2])
    return out
