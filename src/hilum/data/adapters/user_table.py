"""A user's own table, in its own words -> columns of a catalog, and which images its rows are of.

A row is of an image by its file's name, or by what the header of its file says: a hospital's table
has a row a study, and its files are called IM-0001. Knows names of files and headers, no form of
annotations.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters import box_table, values
from hilum.data.adapters.match import Files, match, restored
from hilum.data.adapters.source import IMAGES, OTHER_IMAGES, Source
from hilum.data.columns import NUMBERS, PREFIXES, TEXT
from hilum.data.formats import runs

RLE = "rle:"
KINDS = (*IMAGES, *OTHER_IMAGES)  # that masks may be stored as
CLASS = "class"
SEVERAL = re.compile(r"[|;]")  # between classes of one cell
MOST_CLASSES = 30  # more values than these are rather names or remarks
# Header elements that say whose row it is; together where several are mapped.
KEYWORDS = (
    *("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber", "StudyID"),
    *("PatientID", "StudyDate"),
)
_DATES = (  # as spreadsheets write them; 3/4/2024 is two days
    re.compile(r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(\.0)?"),
    re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})([ T][\d:.]+)?"),
    re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})( [\d:.]+)?"),
)


def open_table(
    table: str | Path | None,
    columns: Mapping[str, str],
    source: Source,
    *,
    unknown: str = "",
    merged: str = "",
) -> pd.DataFrame | None:
    """The cells of the table that an option names, below the set's directory or as seen from here;
    None without one.

    Args:
        unknown: words, with commas, that say that nobody knows: fraglich,unclear. Their cells are
            blank then, and counted.
        merged: columns, with commas, whose cells were merged in a spreadsheet: a blank one says
            what the one above it says.

    Raises:
        DataError: no such table, columns without one, or columns that it does not have.
    """
    if table is None:
        if columns or unknown or merged:
            raise DataError(
                f"set {source.name!r}: columns, unknown and merged are of a table: name it "
                "(table=labels.csv)"
            )
        return None
    here = Path(table)
    file = source.find(str(table)) or (here if here.is_file() else None)
    if file is None:
        raise DataError(
            f"set {source.name!r}: there is no table {table}, neither below {source.root} nor here"
        )
    cells = source.table(file, [])
    if cells.empty:
        raise DataError(f"{file.name} has no rows below its header; needed: one an image or study")
    below = [name for name in map(str.strip, merged.split(",")) if name]
    for theirs in (*columns.values(), *below):
        if theirs not in cells:
            raise DataError(
                f"{file.name} has no column {theirs!r}; it has {', '.join(map(str, cells.columns))}"
            )
    _check_twins(cells, columns, file.name)
    cells = _filled_down(cells, below, source)
    _tell_merged(cells, columns, source)
    return _without(unknown, cells, [*dict.fromkeys(columns.values())], source)


def _filled_down(cells: pd.DataFrame, merged: Sequence[str], source: Source) -> pd.DataFrame:
    out = cells.copy()
    for column in merged:
        blank = cells[column].str.strip() == ""
        out[column] = cells[column].mask(blank).ffill().fillna("")
        source.note(int(blank.sum()), f"blank cells of {column!r} say what the one above says")
    return out


def _tell_merged(cells: pd.DataFrame, columns: Mapping[str, str], source: Source) -> None:
    """Patients that stand in the first of their rows only would all be torn apart."""
    patient = next((columns[key] for key in ("patient", "PatientID") if key in columns), None)
    if patient is None:
        return
    blank = (cells[patient].str.strip() == "").to_numpy(bool)
    if not blank[0]:
        text = f"rows have no {patient!r}: if its cells were merged, --option merged={patient}"
        source.note(int(blank.sum()), text)


def _check_twins(cells: pd.DataFrame, columns: Mapping[str, str], file: str) -> None:
    """Raises DataError where a column that is asked for stands twice, and says two things."""
    for theirs in columns.values():
        other = f"{theirs}.1"  # as `read_cells` calls it
        if other in cells and (torn := cells[theirs] != cells[other]).any():
            row = int(torn.to_numpy().argmax())
            raise DataError(
                f"{file} has two columns {theirs!r}, which differ: {cells[theirs].iat[row]!r} and "
                f"{cells[other].iat[row]!r}; rename one of them (the second is {other!r} here)"
            )


def _without(words: str, cells: pd.DataFrame, own: list[str], source: Source) -> pd.DataFrame:
    named = {word.strip().casefold() for word in words.split(",")} - {""}
    out = cells.copy()
    for column in own if named else ():
        here = cells[column].str.strip().str.casefold().isin(named)
        text = f"cells of {column!r} say that nobody knows: unknown"
        source.note(int(here.sum()), text)
        out[column] = cells[column].mask(here, "")
    return out


def keys_of(columns: Mapping[str, str]) -> list[str]:
    """The header elements by which rows are matched."""
    return [keyword for keyword in KEYWORDS if keyword in columns]


def read(
    cells: pd.DataFrame, columns: Mapping[str, str], source: Source, boxes: bool = True
) -> pd.DataFrame:
    """The columns of the mapping as values; `name` is what the table calls the image, and the
    columns of `KEYWORDS` stay text.

    Args:
        boxes: whether the table may hold boxes and masks.

    Raises:
        DataError: a mapping that does not fit, or a cell that means nothing.
    """
    _check(columns, boxes, source)
    keys = keys_of(columns)
    for own in {"image_id", "patient", "study", *keys} - {"StudyDate"} & set(columns):
        values.check_ids(cells[columns[own]], columns[own])
    names = cells[columns[keys[0] if keys else "image_id"]].str.strip()
    out: dict[str, Any] = {"name": names}
    for own, theirs in columns.items():
        if own in KEYWORDS:
            out[own] = _dates(cells[theirs], theirs) if own == "StudyDate" else cells[theirs]
        elif own == CLASS:
            out |= _classes(cells[theirs], theirs)
        elif own != "image_id" and own not in box_table.KEYS:
            out[own] = _values(own, theirs, cells[theirs], names=names, source=source)
    return pd.DataFrame(out)


def _check(columns: Mapping[str, str], boxes: bool, source: Source) -> None:
    known = (*TEXT, *NUMBERS, CLASS)
    prefixes = PREFIXES if boxes else PREFIXES[:2]
    for own in columns:
        of_boxes = boxes and own in box_table.KEYS
        if own not in (*known, *KEYWORDS) and not of_boxes and not own.startswith(prefixes):
            raise DataError(
                f"{own!r} is no catalog column; known: {', '.join(known)}, "
                + ", ".join(f"{p}*" for p in prefixes)
                + f"; of the header: {', '.join(KEYWORDS)}"
                + (f"; of boxes: {', '.join(sorted(box_table.KEYS))}" if boxes else "")
            )
    if ("image_id" in columns) == bool(keys_of(columns)):
        raise DataError(
            f"set {source.name!r}: which images are the table's rows of? Needed: one of "
            "columns.image_id=COLUMN, where a column has the names of the files, and, where it has "
            f"what their DICOM headers say, columns.KEYWORD=COLUMN: {', '.join(KEYWORDS)}"
        )


def _values(
    own: str, theirs: str, cells: pd.Series[str], *, names: pd.Series[str], source: Source
) -> pd.Series[Any]:
    if own.startswith(("label_", "study_")):
        return _flags(cells, theirs, names)
    if own == "age":
        return values.ages(cells, source)
    if own == "sex":
        return values.sexes(cells, source)
    if own == "split":
        return _parts(cells, source)
    if own in NUMBERS:
        return values.numbers(cells)
    return cells.str.strip() if own.startswith("mask_") else values.texts(cells)


def _flags(cells: pd.Series[str], theirs: str, names: pd.Series[str]) -> pd.Series[float]:
    try:
        return values.flags(cells, theirs, names)
    except DataError as error:
        raise DataError(
            f"{error}. A word for what nobody knows: --option unknown=WORD; a column that names "
            f"the class of each image: --option columns.class={theirs}"
        ) from error


def _classes(cells: pd.Series[str], theirs: str) -> dict[str, pd.Series[float]]:
    """label_<class> of a column that names the class of an image, or several: Effusion|Mass."""
    named = {
        cell: {name for part in SEVERAL.split(cell) if (name := values.text_of(part))}
        for cell in values.texts(cells).unique()
    }
    classes = values.texts(cells)
    names = sorted(set().union(*named.values()))
    if not 2 <= len(names) <= MOST_CLASSES:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise DataError(
            f"column {theirs!r} holds {len(names)} classes ({shown}); needed: 2 to {MOST_CLASSES}"
        )
    return {
        f"label_{name}": classes.map({c: float(name in own) for c, own in named.items() if own})
        for name in names
    }


def _parts(cells: pd.Series[str], source: Source) -> pd.Series[str]:
    """The column of splits; numbers are folds, other names of one's own are told."""
    parts = values.splits(values.texts(cells))
    own = parts[~parts.isin(["", "train", "validation", "test"]) & ~parts.str.isdigit()]
    names = ", ".join(map(repr, sorted(own.unique())[:5]))
    source.note(len(own), f"rows are of parts that are no train, validation or test: {names}")
    return parts


def _dates(cells: pd.Series[str], theirs: str) -> pd.Series[str]:
    """As a header writes them, YYYYMMDD; blanks stay.

    Raises:
        DataError: text that is no date, or may be two.
    """
    out: dict[str, str] = {"": ""}
    for text in cells.str.strip().unique():
        match = next(filter(None, (form.fullmatch(text) for form in _DATES)), None)
        if text and match is None:
            raise DataError(
                f"column {theirs!r} holds {text!r}; needed: dates as 2024-03-31, 31.03.2024 or "
                "20240331"
            )
        if match:
            out[text] = f"{match['y']}{int(match['m']):02d}{int(match['d']):02d}"
    return cells.str.strip().map(out)


def with_masks(
    rows: pd.DataFrame, everything: Sequence[str], source: Source
) -> tuple[pd.DataFrame, set[str]]:
    """Rows with the paths of their masks, and all of those.

    Raises:
        DataError: run lengths that are none, a name of several files, a mask of two images.
    """
    out, masks = rows.copy(), set[str]()
    for column in (c for c in rows if str(c).startswith("mask_")):
        files = Files([p for p in everything if p.lower().endswith(KINDS)], source.root)
        cells = rows[column]
        drawn = cells.str.startswith(RLE)
        for name, text in zip(rows.loc[drawn, "name"], cells[drawn], strict=True):
            _check_rle(str(name), str(text), source)
        named = (cells != "") & ~drawn
        places = match(cells[named], files)
        # A folder that is ours (masks/ of phantoms) holds no radiographs, but masks.
        places = [
            p or (name if (source.root / name).is_file() else "")
            for p, name in zip(places, cells[named], strict=True)
        ]
        paths = pd.Series(places, index=cells.index[named], dtype=object)
        lost = cells[named][paths == ""]
        text = f"files of {column} are not there: unknown"
        source.skip("mask-without-file", len(lost), text, next(iter(lost), ""))
        out.loc[named, column] = paths.where(paths != "", None)
        source.note(int((cells == "").sum()), f"cells of {column} are blank: annotated, and empty")
        masks |= set(paths) - {""}
    return out, masks


def _check_rle(image: str, text: str, source: Source) -> None:
    try:
        runs.union_of(text)
    except DataError as error:
        raise DataError(
            f"set {source.name!r}, image {image!r}: mask {text!r:.50}: {error}"
        ) from error


def placed(
    files: pd.DataFrame, headers: pd.DataFrame, rows: pd.DataFrame, source: Source
) -> pd.DataFrame:
    """The rows that have a file, with its path; by header, a row for each of its files.

    Args:
        files: image_id, path.
        headers: what each of `files` says, the columns of `KEYWORDS` that `rows` has among it.

    Raises:
        DataError: no row is of a file.
    """
    keys = keys_of(dict.fromkeys(map(str, rows), ""))
    own = (
        _by_header(files, headers, rows, keys=keys, source=source)
        if keys
        else _by_name(files, rows, source)
    )
    lost = own.loc[own["path"] == "", "name"]
    source.skip("no-file", len(lost), "rows of the table have no file", next(iter(lost), ""))
    own = own[own["path"] != ""]
    if own.empty:
        here = f"{len(files)} like {files['path'].iat[0]!r}"
        if keys:
            here = f"{len(files)} files, the first of which says {headers[keys[0]].iat[0]!r}"
        raise DataError(
            f"set {source.name!r}: no row of the table is of a file: {next(iter(lost), '')!r} is "
            f"none of {here}; is that the column of {' and '.join(keys) or 'image_id'}?"
        )
    return own


def _by_name(files: pd.DataFrame, rows: pd.DataFrame, source: Source) -> pd.DataFrame:
    by_id = dict(zip(files["image_id"], files["path"], strict=True))
    path = rows["name"].map(by_id).astype(object)
    path[path.isna()] = match(rows.loc[path.isna(), "name"], Files(files["path"], source.root))
    own = rows.assign(path=restored(rows["name"].tolist(), path.tolist(), files["path"], source))
    values.check_ids(own.loc[own["path"] == "", "name"], "image_id")
    return own


def _by_header(
    files: pd.DataFrame,
    headers: pd.DataFrame,
    rows: pd.DataFrame,
    *,
    keys: Sequence[str],
    source: Source,
) -> pd.DataFrame:
    of_files = headers[[*keys]].assign(path=files["path"])
    of_files = of_files[(of_files[[*keys]] != "").all(axis=1)]
    own = rows.assign(
        **{key: _as_in_headers(rows[key], set(of_files[key]), source) for key in keys}
    )
    out = own.reset_index().merge(of_files, on=[*keys], how="left").set_index("index")
    out["path"] = out["path"].fillna("")
    shared = int(out["path"].ne("").sum() - own.index.isin(out.index[out["path"] != ""]).sum())
    text = f"images share a row: each with its {' and '.join(keys)} has its values"
    source.note(shared, text)
    return out.drop(columns=[*keys])


def _as_in_headers(cells: pd.Series[str], values: set[str], source: Source) -> pd.Series[str]:
    """Cells as headers write them: 17 is 0017, and ab-1 is AB-1, where that is all it can be."""
    words = cells.str.strip().str.replace(r"^(\d+)[.,]0+$", r"\1", regex=True)
    for plain, text in (
        (_number, "ids are numbers that lost their leading zeros: matched by their value"),
        (_letters, "ids differ in case or in how marks on letters are typed: matched all the same"),
    ):
        known: dict[str, str | None] = {}
        for own in sorted(values):
            if key := plain(own):
                known[key] = None if key in known else own
        lost = [word for word in words.unique() if word not in values]
        changed = {word: new for word in lost if (new := known.get(plain(word))) is not None}
        source.note(int(words.isin(list(changed)).sum()), text)
        words = words.replace(changed)
    return words


def _number(text: str) -> str:
    return str(int(text)) if text.isascii() and text.isdigit() else ""


def _letters(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def joined(files: pd.DataFrame, rows: pd.DataFrame, source: Source, boxed: bool) -> pd.DataFrame:
    """Files with their rows, of which those of a table of boxes repeat their image.

    Raises:
        DataError: two rows of one file contradict each other, or something else says the same.
    """
    twice = sorted(({*files} & {*rows}) - {"image_id", "path", "name"})
    if twice:
        raise DataError(
            f"set {source.name!r}: {', '.join(twice)}: of the table and of folders; needed: one"
        )
    rows = rows.assign(image_id=rows["path"])
    columns = [c for c in map(str, rows) if c not in ("image_id", "path", "name")]
    before = len(rows)
    rows = values.first_per_image(rows, columns, source).drop(columns="image_id")
    repeats = 0 if boxed else before - len(rows)
    source.note(repeats, "rows repeat an image and were left out")
    without = files[~files["path"].isin(rows["path"])]
    first = next(iter(without["path"]), "")
    source.skip("no-row", len(without), "files have no row in the table", first)
    return files.merge(rows, on="path", how="left")


def beside(
    images: pd.DataFrame,
    table: str | Path | None,
    columns: Mapping[str, str] | None,
    source: Source,
    *,
    unknown: str = "",
    merged: str = "",
) -> pd.DataFrame:
    """Images of a set of annotations with what a table beside it says of patients, sex, age, view,
    split and labels; it counts more than the annotations, where it says anything.

    Args:
        images: image_id, path and other columns of a catalog; those without a file get no row.

    Raises:
        DataError: as `open_table`, `read`, `placed`.
    """
    from hilum.data.adapters.headers import read_headers

    columns = columns or {}
    cells = open_table(table, columns, source, unknown=unknown, merged=merged)
    if cells is None:
        return images
    rows = read(cells, columns, source, boxes=False)
    files = images.loc[images["path"] != "", ["image_id", "path"]].reset_index(drop=True)
    if files.empty:
        raise DataError(f"set {source.name!r}: no image has a file: a table's rows are of none")
    keys = keys_of(columns)
    headers = read_headers(files["path"], source, keys) if keys else files
    own = joined(files, placed(files, headers, rows, source), source, boxed=False)
    own = own.set_index("path").reindex(images["path"]).set_axis(images.index)
    out = images.copy()
    for column in (c for c in own if c not in ("image_id", "name")):
        before = out[column] if column in out else pd.Series(None, out.index, dtype=object)
        says = own[column].notna() & (own[column] != "")
        out[column] = own[column].where(says, before)
    return out
