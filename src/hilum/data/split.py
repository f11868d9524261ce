"""Catalog -> parts by patient: hold-out or folds, stratified, seeded, written down and proved.

Patients, and images that stand under several ids, never fall apart. Images whose truth nobody
here knows (`Catalog.withheld`) are in no part. Reads no pixels (keys of contents come from
`duplicates`) and trains nothing.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hilum.core.documents import parse_foreign_json, parse_json, read_document
from hilum.core.errors import ConfigError, DataError
from hilum.core.files import need_writable, write_text
from hilum.core.options import checked
from hilum.data.catalog import Catalog

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

SCHEMA = "hilum.split/1"
PATIENTS = "hilum.patients/1"  # parts as lists of patients; whoever is not named trains
HOLD_OUT = {2: ("train", "test"), 3: ("train", "validation", "test")}
MOST_PATIENTS = 3  # of one study: a slip of the pen, not a stand-in for all
STAND_INS = ("image:", "study:")  # of patients without an id
EXTRA_STRATA = ("age", "sex", "view")  # beside the classes; age by decade


Name = Annotated[str, Field(min_length=1)]
Cell = Annotated[Name | None, BeforeValidator(lambda one: None if one != one else one)]


class _SplitForm(BaseModel):
    """What `Split.save` writes. A row is an image, its patient, and where images were compared
    the key of its content; older versions wrote NaN where there is none."""

    model_config = ConfigDict(strict=True)

    catalog: str
    seed: int
    parts: dict[Name, list[Annotated[list[Cell], Field(min_length=2, max_length=3)]]]
    proof: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _everyone_has_a_name(self) -> Self:
        for row in (row for own in self.parts.values() for row in own):
            if row[0] is None or row[1] is None:
                raise ValueError(f"{row}: needed: an image and its patient")
        return self


class _PatientsForm(BaseModel):
    """A list of patients by part."""

    model_config = ConfigDict(strict=True)

    parts: dict[Name, list[Name]]


def need_new(path: str | Path) -> None:
    """Raises ConfigError where the file is there already; a split is never overwritten. OSError
    where it could not be written."""
    if Path(path).exists():
        raise ConfigError(f"{path} is there already; a split is never overwritten")
    need_writable(path)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Which image and patient is in which part.

    `table` has image_id, patient, part, content (a key that duplicates and copies share; null
    where the image was not compared); every image of the catalog once, but for the withheld ones.
    """

    table: pd.DataFrame
    seed: int
    catalog: str  # its name

    def __post_init__(self) -> None:
        if "content" not in self.table:
            object.__setattr__(self, "table", self.table.assign(content=None))
        people = self.table["patient"].map(person)
        for what, keys in (("patient", people), ("content", self.table["content"])):
            torn = self.table.groupby(keys)["part"].nunique() > 1
            if torn.any():
                raise DataError(f"{what} {torn.idxmax()!r} is in more than one part")
        if self.table["image_id"].duplicated().any():
            raise DataError("an image stands twice in the split")

    @property
    def parts(self) -> list[str]:
        return sorted(self.table["part"].unique())

    def apply(self, catalog: Catalog) -> Catalog:
        """The catalog's rows that the split names, with its parts in column `split`.

        Rows that it does not name are left out, and counted.

        Raises:
            DataError: the split names images that the catalog lacks, or a patient of the catalog
                would be in two parts (the split was made from other patient ids).
        """
        parts = self.table.set_index("image_id")["part"]
        lost = ~parts.index.isin(catalog.table["image_id"])
        if lost.any():
            raise DataError(
                f"the split names {int(lost.sum())} images that catalog {catalog.name!r} lacks, "
                f"the first is {parts.index[lost][0]!r}"
            )
        unnamed = ~catalog.table["image_id"].isin(parts.index).to_numpy(bool)
        kept = catalog.without(unnamed, "not-in-split", "images are in no part of the split")
        table = kept.table.assign(split=kept.table["image_id"].map(parts))
        torn = table.groupby(table["patient"].map(person))["split"].nunique() > 1
        if torn.any():
            raise DataError(
                f"patient {torn.idxmax()!r} of catalog {catalog.name!r} is in more than one part "
                "of the split, which knows other patients: make it again from this catalog"
            )
        return replace(kept, table=table)

    def proof(self, catalog: Catalog | None = None) -> dict[str, Any]:
        """Counts, and how many patients and contents each two parts share: none, or it is broken.

        Contents are counted among the images compared, which may be none of them.

        Args:
            catalog: whose patients are counted, as they are now; else those the split was made of.
        """
        rows = self.table
        if catalog is not None:
            now = catalog.table.set_index("image_id")["patient"]
            rows = rows.assign(patient=rows["image_id"].map(now))
        people = _sets(rows.assign(patient=rows["patient"].map(person)), "patient")
        contents = _sets(rows, "content")
        compared = self.table["content"].dropna()
        return {
            "images": {p: int((self.table["part"] == p).sum()) for p in self.parts},
            "patients": {p: len(people[p]) for p in self.parts},
            "patients_in_both": _shared(people),
            "images_compared": len(compared),
            "images_that_stand_twice": int(compared.duplicated().sum()),
            "contents_in_both": _shared(contents),
        }

    def save(self, path: str | Path) -> None:
        """Write one JSON file.

        Raises:
            ConfigError: the file is there already; a split is never overwritten.
        """
        need_new(path)
        rows = self.table.sort_values("image_id")
        columns = ["image_id", "patient", *(["content"] if rows["content"].notna().any() else [])]
        contents = rows["content"].astype(object)
        rows["content"] = contents.where(contents.notna(), None)
        images = {part: own[columns].to_numpy().tolist() for part, own in rows.groupby("part")}
        content = {
            "schema": SCHEMA,
            "catalog": self.catalog,
            "seed": self.seed,
            "proof": self.proof(),
            "parts": images,
        }
        write_text(path, json.dumps(content, indent=0, ensure_ascii=False, allow_nan=False))


def open_split(path: str | Path) -> Split:
    """Read what `Split.save` wrote; patients and contents are checked again.

    Raises:
        DataError: not a split, a damaged one, or a patient or content stands in two parts.
    """
    content = read_document(path, parse_foreign_json, DataError)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DataError(f"{path} is not a split of schema {SCHEMA}")
    form = checked(_SplitForm, content, f"{path} is a damaged split", DataError)
    rows = [(*(*row, None)[:3], part) for part, own in form.parts.items() for row in own]
    table = pd.DataFrame(rows, columns=["image_id", "patient", "content", "part"])
    table = table[["image_id", "patient", "part", "content"]]
    try:
        split = Split(table=table, seed=form.seed, catalog=form.catalog)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    stated = form.proof.get("images", {})
    if stated and stated != (there := split.proof()["images"]):
        raise DataError(
            f"{path}: its own proof counts images {stated}, there are {there}: some were lost or "
            "added by hand; make it again"
        )
    return split


def held_patients(path: str | Path) -> dict[str, str] | None:
    """Patient -> part of a file that names patients instead of images, of whatever catalog; None
    for a split of images.

    Raises:
        DataError: damaged, or a patient stands in two parts.
    """
    content = read_document(path, parse_json, DataError)
    if not isinstance(content, dict) or content.get("schema") != PATIENTS:
        return None
    form = checked(_PatientsForm, content, f"{path} is a damaged split", DataError)
    rows = [(person(one), part) for part, own in form.parts.items() for one in own]
    out = dict(rows)
    torn = [patient for patient, part in rows if out[patient] != part]
    if torn:
        raise DataError(f"{path}: patient {torn[0]!r} is in more than one part")
    return out


def by_patient(parts: Mapping[str, str], table: pd.DataFrame, name: str, seed: int = 0) -> Split:
    """Who is named stays in his part, all others train.

    Args:
        parts: of `held_patients`.
        table: image_id and patient.
        name: of the catalog.

    Raises:
        DataError: none of these patients is named.
    """
    part = table["patient"].map(person).map(parts).fillna("train")
    if (part == "train").all():
        raise DataError(f"the list of held-out patients names nobody of {name!r}")
    return Split(table[["image_id", "patient"]].assign(part=part), seed, name)


def split_of(path: str | Path, catalog: Catalog) -> Split:
    """A file of images, or of held-out patients of whatever catalog, for this one.

    Raises:
        DataError: as `open_split`, `held_patients` and `by_patient`.
    """
    patients = held_patients(path)
    return (
        open_split(path) if patients is None else by_patient(patients, catalog.table, catalog.name)
    )


def hold_out(
    catalog: Catalog,
    fractions: Sequence[float],
    seed: int = 0,
    stratify: Sequence[str] = (),
    contents: pd.Series[str] | None = None,
) -> Split:
    """Train and test, or train, validation and test.

    Args:
        fractions: two or three shares of the images that add up to 1, e.g. .8, .1, .1.
        stratify: of `EXTRA_STRATA`, beside the catalog's classes.
        contents: for each row a key that duplicates and copies share; their patients stay together.

    Raises:
        ConfigError: shares or strata that cannot be.
    """
    if len(fractions) not in HOLD_OUT or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(f"fractions {tuple(fractions)}: needed: two or three that add up to 1")
    parts = dict(zip(HOLD_OUT[len(fractions)], fractions, strict=True))
    return _split(catalog, parts, seed, stratify=stratify, contents=contents)


def folds(
    catalog: Catalog,
    count: int,
    seed: int = 0,
    stratify: Sequence[str] = (),
    contents: pd.Series[str] | None = None,
) -> Split:
    """`count` equal parts, fold-0 …; arguments as `hold_out`."""
    if count < 2:
        raise ConfigError(f"{count} folds: needed: at least 2")
    width = len(str(count - 1))
    parts = {f"fold-{i:0{width}d}": 1 / count for i in range(count)}
    return _split(catalog, parts, seed, stratify=stratify, contents=contents)


def sample(catalog: Catalog, images: int, seed: int = 0) -> Catalog:
    """About `images` rows (whole patients) with the classes in the catalog's proportions, of those
    that have a file where any has one."""
    catalog = known(catalog).with_files()
    if images >= len(catalog):
        return catalog
    if images < 1:
        raise ConfigError(f"sample of {images} images: needed: at least 1")
    share = images / len(catalog)
    parts = _split(catalog, {"sample": share, "rest": 1 - share}, seed, stratify=(), contents=None)
    kept = set(parts.table.loc[parts.table["part"] == "sample", "image_id"])
    return catalog.where(catalog.table["image_id"].isin(kept))


def known(catalog: Catalog) -> Catalog:
    """Without the images of a challenge's test part whose truth nobody here knows; counted."""
    text = "test images without truth are in no split and no sample"
    return catalog.without(catalog.withheld, "withheld", text)


def person(patient: str) -> str:
    """A patient id as all ways to write it are compared: "P-001", "p_1" and "P 01" are one person.

    Zeros before a number, case, and the kind of mark between parts say nothing. Two people whom
    this takes for one stay in one part, which costs little; one whom it takes for two leaks. Where
    an image or study stands for its patient, its own name does.
    """
    if patient.startswith(STAND_INS):
        return patient
    same = unicodedata.normalize("NFKC", patient).casefold()
    parts = re.findall(r"\d+|[^\W\d_]+", same)
    return "-".join(part.lstrip("0") or "0" for part in parts) or patient


def strata(catalog: Catalog, extra: Sequence[str] = ()) -> Float64:
    """(images, n) 0/1: one column all ones, one a class, and a mask that no class is of, and one
    each age decade, sex and view."""
    unknown = set(extra) - set(EXTRA_STRATA)
    if unknown:
        raise ConfigError(
            f"cannot stratify by {', '.join(sorted(unknown))}; known: "
            f"{', '.join(EXTRA_STRATA)} (labels are balanced without being named)"
        )
    table = catalog.table
    unknown = {n for n in extra if not (table[n].notna() & (table[n] != "")).any()}
    if unknown:
        raise DataError(
            f"cannot stratify by {', '.join(sorted(unknown))}: catalog {catalog.name!r} knows it "
            "of no image; load the set with its headers, or leave it out"
        )
    columns: list[Float64] = [np.ones(len(table))]
    for name in table.columns[table.columns.str.startswith(("label_", "study_"))]:
        columns += [np.asarray(table[name] == value, np.float64) for value in (0, 1)]
    for name in map(str, table.columns[table.columns.str.startswith("mask_")]):
        drawn, empty = table[name].notna() & (table[name] != ""), table[name] == ""
        if f"label_{name.removeprefix('mask_')}" not in table and not drawn.all():
            columns += [np.asarray(rows, np.float64) for rows in (drawn, empty)]
    for name in extra:
        kind = (table["age"] // 10) if name == "age" else table[name]
        columns += list(pd.get_dummies(kind, dtype="float64").to_numpy().T)
    used = [c for c in columns if c.any()]
    return np.stack(used, axis=1)


def _split(
    catalog: Catalog,
    parts: Mapping[str, float],
    seed: int,
    stratify: Sequence[str],
    contents: pd.Series[str] | None,
) -> Split:
    whole, catalog = catalog, known(catalog)
    if contents is not None:
        contents = contents[~whole.withheld].reset_index(drop=True)
    if not len(catalog):
        raise DataError(f"catalog {catalog.name!r} has no image to split")
    patients = catalog.table["patient"].map(person)
    groups = _groups(patients, contents, _studies(catalog.table))
    if groups.max(initial=-1) + 1 < len(parts):
        raise DataError(
            f"catalog {catalog.name!r} has {groups.max(initial=-1) + 1} independent patients; "
            f"needed: at least {len(parts)}, one a part"
        )
    chosen = _assign(groups, strata(catalog, stratify), np.array(list(parts.values())), seed)
    table = catalog.table[["image_id", "patient"]].assign(part=np.array(list(parts))[chosen])
    if contents is not None:
        table["content"] = contents.to_numpy(object)
    return Split(table=table, seed=seed, catalog=catalog.name)


def _sets(rows: pd.DataFrame, what: str) -> dict[str, set[str]]:
    return {str(part): set(own[what].dropna()) for part, own in rows.groupby("part")}


def _shared(sets: Mapping[str, set[str]]) -> dict[str, int]:
    names = sorted(sets)
    return {f"{a} ∩ {b}": len(sets[a] & sets[b]) for a in names for b in names if a < b}


def _groups(patients: pd.Series[str], *shared: pd.Series[str] | None) -> Int64:
    """(images,) number of the group that must stay together: patients joined by what they share
    (contents, studies); missing keys join nothing."""
    codes = pd.factorize(patients)[0].astype(np.int64)
    keys = [pd.factorize(one)[0] for one in shared if one is not None]
    while True:
        new = codes
        for own in keys:
            new = _joined(new, own)
        if np.array_equal(new, codes):
            return pd.factorize(codes)[0].astype(np.int64)
        codes = new


def _joined(codes: Int64, keys: NDArray[np.int64]) -> Int64:
    """Codes of which all that have images of one key become the lowest."""
    known = keys >= 0
    lowest = np.full(keys.max(initial=-1) + 1, len(codes))
    np.minimum.at(lowest, keys[known], codes[known])
    joined = codes.copy()
    joined[known] = lowest[keys[known]]
    smallest = np.full(codes.max(initial=-1) + 1, len(codes))
    np.minimum.at(smallest, codes, joined)
    return np.asarray(smallest[codes])


def _studies(table: pd.DataFrame) -> pd.Series[str]:
    """Studies by their UIDs, which are unique in the world; null for other names (study 1 of each
    patient), and for one of so many patients that it stands for none."""
    studies = table["study"].where(table["study"].str.fullmatch(r"\d+(\.\d+){3,}"))
    people = table["patient"].map(person).groupby(studies).nunique()
    return studies.where(~studies.isin(people[people > MOST_PATIENTS].index))


def _assign(groups: Int64, marks: Float64, shares: Float64, seed: int) -> Int64:
    """(images,) part. Largest groups first, each to the part that lacks its classes most."""
    count = int(groups.max()) + 1
    sums = np.zeros((count, marks.shape[1]))
    np.add.at(sums, groups, marks)
    totals = marks.sum(axis=0)
    wanted = shares[:, None] * totals
    order = np.random.default_rng(seed).permutation(count)
    # Rare classes weigh more; a stable sort keeps the seeded order among equals.
    order = order[np.argsort(-(sums / totals).max(axis=1)[order], kind="stable")]
    filled = np.zeros_like(wanted)
    part = np.zeros(count, np.int64)
    for group in order:
        lack = ((wanted - filled) / wanted) @ (sums[group] / totals)
        part[group] = int(np.argmax(lack))
        filled[part[group]] += sums[group]
    return part[groups]
