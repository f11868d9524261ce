"""MIMIC-CXR and MIMIC-CXR-JPG: studies of several views, findings mined from their reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.match import join_files
from hilum.data.adapters.mined import check_policies, mined_labels
from hilum.data.adapters.source import DICOM, IMAGES, Source
from hilum.data.adapters.values import check_ids, first_per_image, patients, splits, texts
from hilum.data.catalog import Catalog
from hilum.data.report_text import TERMS, Mention, label_report
from hilum.dicom.plane import view_meant

VERSIONS = ("2.1.0", "2.0.0")
KEYS = ("dicom_id", "subject_id", "study_id")
# Where a study's labels come from -> the end of its table's name.
LABELS = {
    "chexpert": "chexpert.csv",
    "negbio": "negbio.csv",
    "readers": "test-set-labeled.csv",  # radiologists, test part only
}
REPORTS, NONE = "reports", "none"
LATERAL = ("XTABLE LATERAL", "SWIMMERS")  # a horizontal beam, and one through the raised arm
PLACE = r"(?:^|/)(p\d+)/(s\d+)(?:/[^/]+|\.txt)$"  # files/p10/p10000032/s50414267/ID.jpg
CELLS = {"present": "1", "absent": "0", "doubt": "-1"}


def load(
    path: Path, labels: str = "chexpert", uncertain: str = "ignore", unmentioned: str = "ignore"
) -> Catalog:
    """The directory with files/p10 … and the tables, or the tables alone.

    Args:
        labels: "chexpert" or "negbio", the labellers of the set; "readers", of the test part;
            "reports", our own rules on the texts beside the images; "none".
        uncertain: what -1 becomes: "ones", "zeros", or "ignore" (not annotated).
        unmentioned: what a blank becomes: "zeros" or "ignore".

    Raises:
        DataError: no table of images, or of these labels, or an unknown option.
    """
    check_policies(uncertain, unmentioned)
    if labels not in (*LABELS, REPORTS, NONE):
        raise DataError(f"labels={labels!r}; known: {', '.join((*LABELS, REPORTS, NONE))}")
    source = Source("mimic-cxr", path)
    table = _images(source)
    cells = _reports(source) if labels == REPORTS else _labels(table, source, labels)
    findings = mined_labels(
        cells, cells.columns, pd.Series(cells.index), uncertain=uncertain, unmentioned=unmentioned
    )
    _count_studies(table, cells, labels, source)
    files = source.files(DICOM + IMAGES, "files")
    table = join_files(table, files, source, splits={}, wanted=lambda i: (_is_dicom,))
    place = table["path"].str.extract(PLACE)
    table["patient"] = table["patient"].fillna(place[0])
    table["study"] = table["study"].fillna(place[1])
    table["patient"] = patients(table, source)
    return source.catalog(table.join(findings, on="study"))


def _is_dicom(path: str) -> bool:
    """Of both releases in one tree the original counts."""
    return path.lower().endswith(DICOM)


def _images(source: Source) -> pd.DataFrame:
    """image_id, patient, study, view, split of every image that the tables name.

    Raises:
        DataError: one image in two studies or of two patients.
    """
    file = source.require(*_names("metadata.csv"), "cxr-record-list.csv", *_names("split.csv"))
    rows = _table(source, file)
    view = rows.get("ViewPosition", pd.Series("", index=rows.index)).str.strip().str.upper()
    if "ViewPosition" not in rows:
        source.notes.append(f"{file.name} has no ViewPosition: views are unknown")
    meant = rows.get("ViewCodeSequence_CodeMeaning", view).map(lambda s: view_meant(str(s)) or "")
    view = view.where(view != "", meant).where(~view.isin(LATERAL), "LATERAL")
    table = rows[["image_id", "patient", "study"]].assign(view=view)
    table = first_per_image(table, ["patient", "study"], source)
    return table.assign(split=_splits(table, source))


def _splits(table: pd.DataFrame, source: Source) -> pd.Series[str]:
    file = source.find(*_names("split.csv"))
    if file is None:
        source.notes.append("no mimic-cxr-…-split.csv: the official split is unknown")
        return pd.Series("", index=table.index)
    rows = _table(source, file, ["split"])
    rows["split"] = splits(rows["split"])
    rows = first_per_image(rows[["image_id", "split"]], ["split"], source)
    own = table["image_id"].map(rows.set_index("image_id")["split"])
    source.note(int(own.isna().sum()), f"images are not in {file.name}: in no part")
    return own.fillna("")


def _labels(table: pd.DataFrame, source: Source, kind: str) -> pd.DataFrame:
    """Cells of a study's findings, by study."""
    if kind == NONE:
        return pd.DataFrame()
    rows = _table(source, source.require(*_names(LABELS[kind])), needed=("study_id",))
    findings = [c for c in map(str, rows) if c not in (*KEYS, "image_id", "patient", "study")]
    if "patient" in rows:  # a column that was sorted alone gives a study another's labels
        owner = rows["study"].map(table.drop_duplicates("study").set_index("study")["patient"])
        torn = owner.notna() & (owner != rows["patient"])
        text = f"rows of {kind} have another subject_id than their study: unknown"
        source.skip(
            "patient-differs", int(torn.sum()), text, next(iter(rows.loc[torn, "study"]), "")
        )
        rows = rows[~torn]
    rows = rows.assign(image_id=rows["study"])
    return first_per_image(rows, findings, source).set_index("study")[findings]


def _reports(source: Source) -> pd.DataFrame:
    """As `_labels`, by our own rules from the texts s….txt.

    Raises:
        DataError: no text.
    """
    texts_of = pd.Series(source.everything(), dtype=object)
    texts_of = texts_of[texts_of.str.lower().str.endswith(".txt")]
    place = texts_of.str.extract(PLACE)[1]
    if not place.notna().any():
        raise DataError(
            f"set {source.name!r}: {source.root} holds no reports; needed for labels=reports: "
            "files/p10/p10000032/s50414267.txt and so on (mimic-cxr-reports.zip, unpacked there)"
        )
    out = {}
    for study, file in zip(place, texts_of, strict=True):
        if isinstance(study, str):
            words = (source.root / file).read_text(encoding="utf-8", errors="replace")
            out[study] = _cells(label_report(words))
    source.note(len(out), "reports were labelled by rules: weak labels")
    return pd.DataFrame.from_dict(out, orient="index", columns=list(TERMS), dtype=object)


def _cells(mentions: Mapping[str, Mention]) -> list[str]:
    return [CELLS[mentions[name].says] if name in mentions else "" for name in TERMS]


def _count_studies(table: pd.DataFrame, cells: pd.DataFrame, kind: str, source: Source) -> None:
    if kind == NONE:
        return
    without = ~table["study"].isin(cells.index)
    source.note(int(without.sum()), f"images are of studies without labels of {kind}: unknown")
    lost = cells.index[~cells.index.isin(table["study"])]
    text = f"studies with labels of {kind} have no image in the tables"
    source.skip("annotation-lost", len(lost), text, next(iter(lost), ""))


def _names(end: str) -> list[str]:
    return [f"mimic-cxr-{version}-{end}" for version in VERSIONS]


def _table(
    source: Source, file: Path, columns: Sequence[str] = (), needed: Sequence[str] = KEYS
) -> pd.DataFrame:
    """A table, with ids as the folders are called: p10000032, s50414267."""
    rows = source.table(file, [*needed, *columns])
    for key in set(KEYS) & {*rows}:
        check_ids(rows[key], key)
    blank = (rows[[*needed]].apply(lambda cells: cells.str.strip()) == "").any(axis=1)
    text = f"rows of {file.name} lack {' or '.join(needed)}: left out"
    source.skip("row-blank", int(blank.sum()), text)
    rows = pd.DataFrame(rows[~blank]).reset_index(drop=True)
    rows["study"] = _called("s", rows["study_id"])
    if "subject_id" in rows:
        rows["patient"] = _called("p", rows["subject_id"])
    if "dicom_id" in rows:
        rows["image_id"] = rows["dicom_id"].str.strip()
    return rows


def _called(letter: str, ids: pd.Series[str]) -> pd.Series[str]:
    plain = texts(ids).str.lower().str.removeprefix(letter)
    return (letter + plain).where(plain != "", "")
