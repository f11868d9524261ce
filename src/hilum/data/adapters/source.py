"""The directory of one set: its tables and files, and a ledger of what could not be used.

Knows no set. Opens tables only; of other files it reads the names.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from hilum.core.errors import DataError
from hilum.core.files import OWN_MARK, OWN_PICTURES
from hilum.data.catalog import Catalog, build
from hilum.data.cells import read_cells

DICOM = (".dcm", ".dicom")
IMAGES = (".png", ".jpg", ".jpeg", ".webp")
OTHER_IMAGES = (
    *(".tif", ".tiff", ".bmp", ".gif", ".jp2", ".jxl", ".heic", ".avif", ".jpe", ".jfif", ".npy"),
    *(".nii", ".nii.gz", ".mha", ".mhd", ".nrrd"),
)
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
NOT_FOLDERS = ("__MACOSX", "@eaDir")  # what systems put beside the user's own files


@dataclass(slots=True)
class Source:
    """The directory of one set, what had to be assumed while reading it, and what was lost."""

    name: str
    root: Path
    notes: list[str] = field(default_factory=list)
    skips: Counter[str] = field(default_factory=Counter)
    _passed: set[str] = field(default_factory=set)  # files that were counted as of no use

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            hint = "; unzip it first" if self.root.is_file() else ""
            raise DataError(f"set {self.name!r}: there is no directory {self.root}{hint}")

    def note(self, count: int, text: str) -> None:
        """Remember an assumption about `count` rows; nothing if there are none."""
        if count:
            self.notes.append(f"{count} {text}")

    def skip(self, kind: str, count: int, text: str, first: object = "") -> None:
        """Count what could not be used, and say it; nothing if there is none."""
        if count:
            self.skips[kind] += count
            self.notes.append(f"{count} {text}" + (f" (first: {str(first)!r})" if first else ""))

    def catalog(self, table: pd.DataFrame) -> Catalog:
        """The catalog of what was read."""
        return build(self.name, table, self.root, notes=tuple(self.notes), skips=dict(self.skips))

    def find(self, *names: str) -> Path | None:
        """The first of these files, plain or gzipped."""
        for name in names:
            for candidate in (self.root / name, self.root / f"{name}.gz"):
                if candidate.is_file():
                    return candidate
        return None

    def require(self, *names: str) -> Path:
        """As `find`.

        Raises:
            DataError: none is there; names the files looked for.
        """
        file = self.find(*names)
        if file is None:
            raise DataError(
                f"set {self.name!r}: {self.root} holds none of the files looked for: "
                f"{', '.join(names)} (or .gz). Is it the directory of that set?"
            )
        return file

    def table(self, path: Path, columns: Sequence[str]) -> pd.DataFrame:
        """A CSV as text with trimmed column names, whatever its delimiter and encoding.

        Rows that are too short have blank cells, and are counted.

        Raises:
            DataError: not a table, columns are missing, or a row has more cells than columns.
        """
        try:
            cells = read_cells(path)
        except DataError as error:
            raise DataError(f"set {self.name!r}: {error}") from error
        header = [*map(str, cells.table)]
        missing = [c for c in columns if c not in header]
        if missing:
            raise DataError(
                f"set {self.name!r}: {path.name} lacks the columns {', '.join(missing)}; "
                f"it has {', '.join(header)}"
            )
        text = f"rows of {path.name} have too few cells: the rest is blank"
        self.skip("row-cut", len(cells.short), text)
        self.skip("row-header", cells.headers, f"rows of {path.name} repeat its header: left out")
        self.skip("row-comment", cells.comments, f"rows of {path.name} are comments: left out")
        text = f"rows of {path.name} are sums or means, no images: left out"
        self.skip("row-total", len(cells.totals), text, next(iter(cells.totals), ""))
        names = ", ".join(map(repr, cells.twins[:5]))
        text = f"columns of {path.name} stand there twice: the first of each counts ({names})"
        self.note(len(cells.twins), text)
        return cells.table

    def files(self, suffixes: Iterable[str], *folders: str) -> list[str]:
        """Paths below the root ("/"), sorted.

        Only below `folders` where any of them exists, else below the whole root. Hidden files and
        what systems leave (._a.png, __MACOSX) are no files of a set.
        """
        starts = [self.root / f for f in folders if (self.root / f).is_dir()] or [self.root]
        wanted = tuple(suffixes)
        everything = sorted(self._walk(starts))
        matching = [path for path in everything if path.lower().endswith(wanted)]
        self.skip_kinds(set(everything) - set(matching))
        return matching

    def everything(self) -> list[str]:
        """As `files`, whatever the suffix."""
        return sorted(self._walk([self.root]))

    def skip_kinds(self, paths: Iterable[str]) -> None:
        """Count those that are images of kinds that hilum does not read, and tell of archives."""
        new = sorted(set(paths) - self._passed)
        self._passed.update(new)
        packed = [path for path in new if path.lower().endswith(ARCHIVES)]
        text = "archives are not looked into: unpack those that hold images"
        self.note(len(packed), f"{text} (first: {next(iter(packed), '')!r})")
        lower = [path.lower() for path in new]
        kinds = Counter(os.path.splitext(p)[1] for p in lower if p.endswith(OTHER_IMAGES))
        text = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        self.skip("unread-kind", kinds.total(), f"files are of kinds that are not read: {text}")

    def _walk(self, starts: Iterable[Path]) -> Iterator[str]:
        seen: set[str] = set()
        for start in starts:
            for folder, inside, names in os.walk(start, followlinks=True):
                real = os.path.realpath(folder)
                if real in seen:  # a link back, or a second way to the same folder
                    inside.clear()
                    continue
                seen.add(real)
                ours = OWN_PICTURES if OWN_MARK in inside else ()
                inside[:] = [
                    f for f in inside if f[0] != "." and f not in NOT_FOLDERS and f not in ours
                ]
                below = Path(folder).relative_to(self.root).as_posix()
                prefix = "" if below == "." else below + "/"
                yield from self._sound(prefix + n for n in names if n[0] != ".")

    def _sound(self, paths: Iterable[str]) -> Iterator[str]:
        for path in paths:
            try:
                path.encode()
            except UnicodeEncodeError:
                shown = path.encode(errors="replace").decode()
                self.skip("name-unread", 1, "files have a name that is no UTF-8: rename it", shown)
                continue
            yield path
