"""Cells of users' tables -> values. What means nothing here is named or counted, never 0 or NaN
in silence. Knows no set and no file.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.source import Source
from hilum.data.references import inner

UNKNOWN = frozenset(
    (
        *("", "nan", "na", "n/a", "<na>", "none", "null", "nat", "unknown", "missing", "?"),
        *("-", "--", "–", "—", ".", "#n/a", "n.a.", "k.a.", "unbekannt", "inconnu"),
    )
)
FLAGS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "positive", "pos", "present", "x", "+"), 1.0),
    **dict.fromkeys(("ja", "j", "wahr", "oui", "vrai", "si", "sí", "sim"), 1.0),
    **dict.fromkeys(("0", "false", "f", "no", "n", "negative", "neg", "absent"), 0.0),
    **dict.fromkeys(("nein", "falsch", "non", "faux", "não", "nao"), 0.0),
}
NOTHING = frozenset(("no-finding", "no-findings", "nofinding", "normal"))  # labels, `plain`
SEXES = {
    **dict.fromkeys(("m", "male", "man", "boy", "männlich", "masculin", "masculino"), "M"),
    **dict.fromkeys(("f", "female", "w", "woman", "girl"), "F"),
    **dict.fromkeys(("weiblich", "féminin", "feminin", "femenino", "feminino"), "F"),
    **dict.fromkeys(("o", "other"), "O"),
    "u": "",
}
SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
UNITS = {"d": 365.25, "w": 52.18, "m": 12.0, "y": 1.0}  # a year
OLDEST = 130.0  # years; the first edition of NIH's table has patients of 414
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_LOSSY = re.compile(  # 1.2E+10, 1-Feb, Feb-20, 01.02.2024, 1/2/2024, #REF!, ########
    rf"\d([.,]\d+)?E\+\d+|\d{{1,2}}-({_MONTHS})(-\d+)?|({_MONTHS})-\d{{2}}"
    r"|\d{1,2}(?P<bar>[./])\d{1,2}(?P=bar)\d{4}"
    r"|#(REF|NAME|VALUE|DIV/0|NUM|NULL)[!?]|#N/A|#{3,}",
    re.IGNORECASE,
)
_AGE = re.compile(
    r"[>≥]?\s*(\d+(?:[.,]\d*)?)\s*\+?\s*"
    r"(?:(y|w|m|d)|(y)(?:ea)?rs?|(y)\.?/?o\.?|(m)o(?:nth)?s?|(w)(?:ee)?ks?|(d)ays?)?(?:\s*old)?"
)


def text_of(value: Any) -> str:
    """A cell as text: "" where unknown, whole numbers without a point, so that 1, 1.0 and "1"
    are one; letters with marks as one character each (NFC), however they were typed."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = unicodedata.normalize("NFC", str(value)).strip()
    return "" if text.lower() in UNKNOWN else text


def texts(values: pd.Series[Any]) -> pd.Series[str]:
    """`text_of` each cell; "1.0" and "1,0" beside "1" are the same name written through a float."""
    out = values.astype(object).map({v: text_of(v) for v in values.unique()}).fillna("")
    return out.astype(object).str.replace(r"^(\d+)[.,]0+$", r"\1", regex=True)


def plain(name: str) -> str:
    """A label as its spellings are compared: "No Finding", "no_finding" are no-finding."""
    return re.sub(r"[\W_]+", "-", name.strip().casefold())


def numbers(values: pd.Series[str]) -> pd.Series[float]:
    """Text to float64; blank or not a number is NaN. A comma is a decimal one, as spreadsheets of
    half of Europe write it; blanks and apostrophes part thousands (1 024, 1'024), and so do the
    first of points and commas where a number has both (1.024,5).

    Raises:
        DataError: numbers whose only mark may be either: 1,024 or 1.024 beside whole numbers below
            a thousand.
    """
    words = values.fillna("").astype(str)
    words = words.map({word: _without_thousands(word.strip()) for word in words.unique()})
    _check_thousands(words)
    words = words.str.replace(r"^([+-]?\d*),(\d+)$", r"\1.\2", regex=True)
    return pd.to_numeric(words, errors="coerce").astype("float64")


def _without_thousands(word: str) -> str:
    """Without marks that can be of thousands only; where one mark is left, it may be either."""
    word = re.sub(r"(?<=\d)[\s'’](?=\d{3}(?!\d))", "", word)
    for mark, other in (".,", ",."):
        groups = rf"[+-]?\d{{1,3}}(\{mark}\d{{3}})+"
        if re.fullmatch(rf"{groups}\{other}\d*", word) or re.fullmatch(
            rf"{groups}\{mark}\d{{3}}", word
        ):
            word = word.replace(mark, "")
    return word


def number_of(value: Any) -> float:
    """A number as it stands in a file of annotations; NaN for what is none, or may be two."""
    word = _without_thousands(str(value).strip())
    if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", word):
        return math.nan
    try:
        return float(word.replace(",", "."))
    except ValueError:
        return math.nan


def _check_thousands(words: pd.Series[str]) -> None:
    """A decimal point is met in all numbers of a column or with other numbers of places."""
    whole = words[words.str.fullmatch(r"[+-]?\d+")]
    for mark in (",", "."):
        own = words[words.str.fullmatch(rf"[+-]?\d*\{mark}\d+")]
        parted = own.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}\{mark}\d{{3}}")
        beside = mark == "," or (len(whole) and whole.str.lstrip("+-").str.len().max() <= 3)
        if len(own) and parted.all() and beside:
            raise DataError(
                f"{len(own)} numbers such as {own.iat[0]!r} may have a decimal mark or one of "
                "thousands; write them without the latter, and with a decimal point"
            )


def check_ids(ids: pd.Series[str], column: str) -> None:
    """Raises DataError for ids that a spreadsheet has changed for good: no file is called so."""
    for text in ids.unique():
        word = str(text).strip()
        if _LOSSY.fullmatch(word):
            count = int((ids == text).sum())
            raise DataError(
                f"column {column!r} holds {word!r} ({count} times): a spreadsheet made that of an "
                "id, which is lost; export the table again with the column as text"
            )


def flags(values: pd.Series[str], column: str, images: pd.Series[str]) -> pd.Series[float]:
    """1 present, 0 absent, NaN blank; True, yes, positive, 1.0 and their opposites are read.

    Raises:
        DataError: anything else; names the values, the column and the first image.
    """
    meaning: dict[Any, float] = {}
    strange: list[str] = []
    words = {value: str(value).strip().lower() for value in values.unique()}
    known = FLAGS | ({"-": 0.0} if "+" in words.values() else {})  # beside + it is no blank
    for value, text in words.items():
        word = re.sub(r"^([01])[.,]0*$", r"\1", text)
        if word in known:
            meaning[value] = known[word]
        elif word not in UNKNOWN and value == value:
            strange.append(str(value))
    if strange:
        first = images[values == strange[0]].iat[0]
        raise DataError(
            f"column {column!r} holds {', '.join(map(repr, sorted(strange)[:5]))} (first of image "
            f"{first!r}); needed: 1 or 0, yes or no, true or false, positive or negative, or blank"
        )
    return values.map(meaning).astype("float64")


def ages(values: pd.Series[str], source: Source) -> pd.Series[float]:
    """Years; what is no age is unknown, and counted."""
    years = {text: age_years(str(text)) for text in values.unique()}
    out = values.map(years).astype("float64")
    _count_unread(values, out.isna(), "age", source)
    return out


def age_years(text: str) -> float:
    """An age string (PS3.5 AS, "058Y"), a number, "45 years" or "90+", in years; else NaN."""
    match = _AGE.fullmatch(text.strip().lower())
    if not match:
        return float("nan")
    unit = next(filter(None, match.groups()[1:]), "y")
    years = float(match[1].replace(",", ".")) / UNITS[unit]
    return years if years <= OLDEST else float("nan")


def sexes(values: pd.Series[str], source: Source) -> pd.Series[str]:
    """M, F, O or ""; what is none of them is unknown, and counted."""
    known = {text: SEXES.get(str(text).strip().lower()) for text in values.unique()}
    out = values.map(known)
    _count_unread(values, out.isna(), "sex", source)
    return out.fillna("")


def _count_unread(
    values: pd.Series[str], unread: pd.Series[bool], what: str, source: Source
) -> None:
    blank = values.isna() | values.astype(str).str.strip().str.lower().isin(list(UNKNOWN))
    lost = values[unread & ~blank]
    if len(lost):
        source.skip(f"{what}-unread", len(lost), f"cells are no {what}: unknown", lost.iat[0])


def split_of(name: str) -> str:
    """train, validation or test, as a file or folder is named (train2017, valid, dev), or ""."""
    words = re.findall(r"[a-z]+", name.lower())
    parts = {SPLITS[word] for word in words if word in SPLITS}
    if parts == {"test", "validation"} and "dev" in words:
        return "test"  # COCO's test-dev
    return parts.pop() if len(parts) == 1 else ""


def split_of_path(path: str) -> str:
    """Of the folders of a path, the nearest to the file that names a split."""
    folders = inner(path).split("/")[:-1]
    return next(filter(None, map(split_of, reversed(folders))), "")


def splits(values: pd.Series[str]) -> pd.Series[str]:
    """A column of splits: those known by another name renamed, folds and others as they are."""
    return values.map({v: split_of(str(v)) or str(v).strip() for v in values.unique()})


def patients(table: pd.DataFrame, source: Source) -> pd.Series[str]:
    """The patient of each row; without one the study is the patient, without that the image."""
    patient, study = (
        texts(table[c]) if c in table else pd.Series("", index=table.index)
        for c in ("patient", "study")
    )
    without = patient == ""
    source.note(
        int((without & (study != "")).sum()), "images have no patient id: each study is one patient"
    )
    source.note(
        int((without & (study == "")).sum()),
        "images have neither patient nor study id: each image is one patient",
    )
    substitute = ("study:" + study).where(study != "", "image:" + table["image_id"])
    out: pd.Series[str] = patient.where(~without, substitute)
    return out


def first_per_image(rows: pd.DataFrame, columns: list[str], source: Source) -> pd.DataFrame:
    """One row per image id: rows that say the same again are dropped, and counted.

    Raises:
        DataError: two rows of one image contradict each other in one of `columns`.
    """
    single = rows.drop_duplicates(["image_id", *columns])
    torn = single["image_id"].duplicated()
    if torn.any():
        image = single.loc[torn, "image_id"].iat[0]
        own = single[single["image_id"] == image]
        column = next(c for c in columns if own[c].nunique(dropna=False) > 1)
        raise DataError(
            f"set {source.name!r}: image {image!r} has two different values of {column}: "
            f"{text_of(own[column].iat[0])!r} and {text_of(own[column].iat[1])!r}"
        )
    return single.reset_index(drop=True)
