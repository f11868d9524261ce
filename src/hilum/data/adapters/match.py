"""Which file an annotation means: an image is its path under the root, never its bare name.

A name fits a file where one is the end of the other ("a.png" and "train/a.png"), with the suffix
or without. Where several fit, the best does if it is better than all others, or if the annotation
says in which folder it is; else nobody knows, and that is an error.
"""

from __future__ import annotations

import filecmp
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import ne
from pathlib import Path
from urllib.parse import unquote

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.source import DICOM, IMAGES, OTHER_IMAGES, Source
from hilum.data.adapters.values import check_ids, split_of
from hilum.data.references import archive_and_member, inner

SUFFIXES = (*DICOM, *IMAGES, *OTHER_IMAGES)
# Folders whose name says nothing about which image is meant.
NEUTRAL = frozenset(
    ("images", "image", "img", "imgs", "jpegimages", "data", "dicom", "dicoms", "png", "jpg")
)
Wanted = Callable[[str], bool]  # whether a path is where the annotation says that it is


def stem(path: str) -> str:
    """The path without a suffix that images have; 1.2.840.1 has none."""
    lower = path.lower()
    if not lower.endswith(SUFFIXES):
        return path
    return path[: -len(next(s for s in SUFFIXES if lower.endswith(s)))]


def file_ids(paths: Sequence[str]) -> list[str]:
    """The image id of each file: its path without suffix, with it where a twin needs it."""
    ids = [stem(p) for p in paths]
    while True:
        counts = Counter(ids)
        new = [p if counts[i] > 1 else i for i, p in zip(ids, paths, strict=True)]
        if new == ids:
            return ids
        ids = new


def within(*folders: str) -> Wanted:
    """Below one of these folders (or "", anywhere)."""
    return lambda path: any(f in path.split("/")[:-1] for f in folders)


def of_split(split: str) -> Wanted:
    """Below a folder that is named as the split is: train2017 for train."""
    return lambda path: any(split_of(f) == split for f in path.split("/")[:-1])


class Files:
    """The files of a set, found by what annotations call them."""

    def __init__(self, paths: Iterable[str], root: Path) -> None:
        self.root = root
        self.paths = set(paths)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.paths):
            self._by_stem[_key(_inside(path)[-1])].append(path)

    def find(self, name: str, wanted: Sequence[Wanted] = ()) -> tuple[str, bool]:
        """The file that `name` means ("" for none), and whether the name says where it is.

        Args:
            wanted: tried one after the other where several files fit.

        Raises:
            DataError: several fit; names two of them.
        """
        if name in self.paths:
            return name, True
        for spelling in dict.fromkeys((name, _plain(name), before_upload(name))):
            ranks = {p: r for p in self._candidates(spelling) if (r := _rank(spelling, p))}
            if ranks:
                chosen = self._best(ranks, spelling, wanted)
                return chosen, bool(chosen) and ranks[chosen][-1] < _LOOSE
        return "", False

    def _candidates(self, name: str) -> list[str]:
        return self._by_stem.get(_key(_parts(name)[-1]), []) if _parts(name) else []

    def _best(self, ranks: Mapping[str, Rank], name: str, wanted: Sequence[Wanted]) -> str:
        exact = [p for p, r in ranks.items() if r == min(ranks.values()) and r[-1] == _WHOLE]
        here = exact or list(ranks)
        for ask in () if exact else wanted:
            agree = [p for p in here if ask(p)]
            if agree:
                here = agree
                break
        least = min(ranks[p] for p in here)
        best = [p for p in here if ranks[p] == least]
        if len(best) > 1 and least[-1] == _LOOSE:
            return ""
        if len(best) > 1 and not self._equal(best):
            raise DataError(
                f"{name!r} may be {best[0]!r} or {best[1]!r}; needed: the path of one of them "
                "under the set's directory"
            )
        return best[0]

    def _equal(self, paths: Sequence[str]) -> bool:
        """Whether these are copies of one file."""
        if any(archive_and_member(p)[0] for p in paths):
            return False
        first = self.root / paths[0]
        return all(filecmp.cmp(first, self.root / p, shallow=False) for p in paths[1:])


Rank = tuple[bool, bool, int]  # suffix differs, letters differ in case, where in the path
_WHOLE, _NEAR, _TAIL, _LOOSE = range(4)


def _rank(name: str, path: str) -> Rank | None:
    """How well a name fits a path, None where it does not."""
    words, real = _parts(name), _inside(path)
    suffix_differs = words[-1] not in (real[-1], stem(real[-1]))
    a, b = [*words[:-1], stem(words[-1])], [*real[:-1], stem(real[-1])]
    if suffix_differs and words[-1].casefold() in (real[-1].casefold(), b[-1].casefold()):
        suffix_differs = False
    agree = 0
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x.casefold() != y.casefold():
            break
        agree += 1
    if agree == len(a):
        rest = b[: len(b) - agree]
        where = (_NEAR if all(map(_neutral, rest)) else _TAIL) if rest else _WHOLE
    elif agree == len(b) or all(map(_neutral, b[: len(b) - agree])):
        # The file is the end of the name: what stands before is a folder that is not here.
        where = _TAIL if agree == len(b) > 1 else _LOOSE
    else:
        return None
    case_differs = a[len(a) - agree :] != b[len(b) - agree :]
    return suffix_differs, case_differs, where


def _neutral(folder: str) -> bool:
    return folder.lower() in NEUTRAL


def _plain(name: str) -> str:
    """A name from Windows, or one with ./ or // in it, as the others are written."""
    parts = [p for p in name.strip().replace("\\", "/").split("/") if p not in ("", ".", "..")]
    return "/".join(parts)


def before_upload(name: str) -> str:
    """A name as it was before Label Studio took the file: 1a2b3c4d-a.png, ?d=b%2Fa.png."""
    plain = _plain(unquote(name.rpartition("?d=")[2]))
    folder, slash, own = plain.rpartition("/")
    return folder + slash + re.sub(r"^[0-9a-f]{8}-(?=.)", "", own)


def _parts(name: str) -> list[str]:
    return unicodedata.normalize("NFC", inner(name)).split("/")


def _inside(path: str) -> list[str]:
    return _parts(path.replace("\\", "/") if archive_and_member(path)[0] else path)


def _key(file_name: str) -> str:
    return stem(file_name).casefold()


def match(
    names: Iterable[str], files: Files, wanted: Callable[[int], Sequence[Wanted]] = lambda i: ()
) -> list[str]:
    """The file of each name, "" for none.

    A file that one name means exactly is no file of a name that merely ends like it.

    Args:
        wanted: for the number of a name, as `Files.find`.
    """
    if not files.paths:
        return ["" for _ in names]
    matches = [files.find(name, wanted(i)) for i, name in enumerate(names)]
    taken = {path for path, exact in matches if exact}
    return [path if exact or path not in taken else "" for path, exact in matches]


def restored(
    names: Sequence[str], places: Sequence[str], paths: Iterable[str], source: Source
) -> list[str]:
    """`places`, also of numbers that only leading zeros or a ".0" part from one file's name, as a
    spreadsheet leaves ids: 12 and 12.0 are 0012.png, if no other file is and no other name."""
    wanted = Counter(
        number for n, p in zip(names, places, strict=True) if not p for number in _id(n)
    )
    files = defaultdict[int, list[str]](list)
    for path in set(paths) - set(places):
        for number in _id(stem(_inside(path)[-1])):
            files[number].append(path)
    out = list(places)
    for row, (name, place) in enumerate(zip(names, places, strict=True)):
        for number in _id(name) if not place else ():
            if wanted[number] == len(files[number]) == 1:
                out[row] = files[number][0]
    agreeing = sum(map(ne, out, places))
    source.note(agreeing, "ids are numbers that lost their leading zeros: matched by their value")
    return out


def _id(name: str) -> list[int]:
    """The number that a name is, if it is one."""
    number = re.fullmatch(r"(\d{1,30})(\.0+)?", name.strip(), re.ASCII)
    return [int(number[1])] if number else []


def need_one(lost: Sequence[str], count: int, paths: Sequence[str], source: Source) -> None:
    """Raises DataError where files are there, and none of `count` names means one."""
    if paths and lost and len(lost) == count:
        raise DataError(
            f"set {source.name!r}: no image of the annotations has a file: {lost[0]!r} is none of "
            f"{len(paths)} like {paths[0]!r}; are they the files that were annotated?"
        )


def unshared(names: Sequence[str], paths: Sequence[str], source: Source) -> None:
    """Raises DataError where two names mean one file."""
    first: dict[str, str] = {}
    for name, path in zip(names, paths, strict=True):
        if path and first.setdefault(path, name) != name:
            raise DataError(
                f"set {source.name!r}: {first[path]!r} and {name!r} both mean the file {path!r}"
            )


def join_files(
    rows: pd.DataFrame,
    paths: Sequence[str],
    source: Source,
    splits: Mapping[str, str],
    wanted: Callable[[int], Sequence[Wanted]] = lambda i: (),
    named: Callable[[Sequence[str]], list[str]] | None = None,
) -> pd.DataFrame:
    """Rows with their files: `path` "" where there is none; files without a row are appended.

    Args:
        rows: one per image, with image_id (the set's own, the end of a file's path), perhaps
            file (its name with suffix) and split.
        splits: folder at the start of a path -> split, for files without a row.
        wanted: as `match`.
        named: paths of files without a row -> their image ids; else `short_ids`.

    Raises:
        DataError: a name that may mean several files, or a file that several names mean; a name
            that a spreadsheet changed.
    """
    out = rows.reset_index(drop=True)
    ids = out["image_id"].tolist()
    names = out.pop("file").tolist() if "file" in out else ids
    places = match(names, Files(paths, source.root), wanted)
    out["path"] = restored(names, places, paths, source)
    unshared(ids, out["path"].tolist(), source)
    lost = out.loc[out["path"] == "", "image_id"]
    check_ids(lost, "image_id")
    if paths:
        source.skip("no-file", len(lost), "labelled images have no file", next(iter(lost), ""))
    else:
        source.notes.append("without pixels: no image file is here, only the tables")
    taken = set(out["path"])
    extra = pd.DataFrame({"path": [p for p in paths if p not in taken]}, dtype=object)
    if extra.empty:
        return out
    left = extra["path"].tolist()
    choices = zip((named or short_ids)(left), file_ids(left), left, strict=True)
    used = set(ids)
    extra["image_id"] = [next(name for name in own if name not in used) for own in choices]
    extra["split"] = extra["path"].str.split("/").str[0].map(splits).astype(object).fillna("")
    test = extra["split"] == "test"
    source.note(int(test.sum()), "test images have no truth here: they are in no split or sample")
    first = next(iter(extra.loc[~test, "path"]), "")
    text = "files have no label row and are kept without labels"
    source.skip("no-row", int((~test).sum()), text, first)
    return pd.concat([out, extra], ignore_index=True)


def short_ids(paths: Sequence[str]) -> list[str]:
    """As the set names its images, without folders, where that is one name for one file."""
    short = [stem(p.rpartition("/")[2]) for p in paths]
    counts = Counter(short)
    return [w if counts[s] > 1 else s for s, w in zip(short, file_ids(paths), strict=True)]
