"""Folders, zips, DICOMDIR and files -> items to read, one after the other, in a fixed order.

Knows where images lie; reads none of them before it is asked to. Nothing is ever unpacked to
disk, so a member called ../../x is only a name.
"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hilum.core.errors import (
    InputRefused,
    LimitRefused,
    NotFoundRefused,
    UnreadableRefused,
)
from hilum.core.files import OWN_MARK, OWN_PICTURES
from hilum.dicom.header import quiet
from hilum.dicom.limits import Limits
from hilum.dicom.part10 import looks_like_dicom, parse
from hilum.dicom.source import DEFAULT_LIMITS, load
from hilum.dicom.stored import StoredImage, open_stored

# What lies beside images in data sets; named explicitly they are tried, and refused.
# fmt: off
SIDECARS = frozenset((
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".xml", ".md", ".rst", ".html", ".htm",
    ".yaml", ".yml", ".toml", ".log", ".pdf", ".ini", ".py", ".ipynb", ".parquet", ".npy",
    ".npz", ".onnx", ".sha256", ".md5", ".doc", ".docx", ".xls", ".xlsx", ".css", ".js",
    ".bin",
))
# fmt: on
_BIG_MEMBER = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to read. Small and picklable: bytes are loaded by `open`."""

    name: str  # "dir/a.dcm", "study.zip!sub/a.dcm"
    path: str
    member: str | None = None  # inside a zip
    refusal: InputRefused | None = None  # known before reading

    def __post_init__(self) -> None:
        # A file may be called by bytes that are no UTF-8; what is written about it must be.
        object.__setattr__(self, "name", self.name.encode(errors="backslashreplace").decode())

    def load(self, limits: Limits = DEFAULT_LIMITS) -> bytes:
        """The bytes.

        Raises:
            InputRefused: missing, over a limit, damaged or encrypted.
        """
        if self.refusal is not None:
            raise self.refusal
        if self.member is None:
            return load(self.path, limits)[1]
        return _load_member(self.name, self.path, self.member, limits)

    def open(self, limits: Limits = DEFAULT_LIMITS) -> StoredImage:
        """The header parsed, the pixels undecoded, under the item's name.

        Raises:
            InputRefused: as `load` and `open_stored`.
        """
        return open_stored((self.name, self.load(limits)), limits=limits)


def discover(
    paths: Iterable[str | os.PathLike[str]],
    limits: Limits = DEFAULT_LIMITS,
    passed: Counter[str] | None = None,
) -> Iterator[Item]:
    """Expand files, folders, zips and DICOMDIRs, sorted inside each path.

    What cannot be read is an item, too, and says why when it is read. Hidden files and
    `SIDECARS` inside folders and zips are left out, unless they begin as DICOM does, and so are the
    pictures that hilum itself put there. Links to folders are followed, each folder once.

    Args:
        passed: counts what is left out, by its suffix, or "hidden".
    """
    passed = Counter() if passed is None else passed
    for path in paths:
        name = os.fspath(path)
        if os.path.isdir(name):
            yield from _folder(name, limits, passed)
        else:
            yield from _file(name, limits, passed)


def distinct(items: Iterable[Item]) -> tuple[list[Item], list[tuple[str, str]]]:
    """Each file once, by its first name, however often it was named or linked to.

    Items that are refused before they are read are told apart by name: several may have the path
    of the zip or DICOMDIR that speaks of them.

    Returns:
        The items; of each that was passed over its name and that of the first.
    """
    first: dict[tuple[Any, str | None], str] = {}
    once, again = list[Item](), list[tuple[str, str]]()
    for item in items:
        key = (item.name if item.refusal else _same_file(item.path)), item.member
        if key in first:
            again.append((item.name, first[key]))
        else:
            first[key] = item.name
            once.append(item)
    return once, again


def _same_file(path: str) -> Any:
    """Equal for links to one file; the path itself of what is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return path
    # Windows knows no number of some files.
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def is_sidecar(name: str) -> bool:
    """Whether a file of this name is met in folders and zips only to be left out."""
    base = name.rsplit("/", 1)[-1]
    return (
        base.startswith(".") or _is_dicomdir(base) or os.path.splitext(base)[1].lower() in SIDECARS
    )


def _is_dicomdir(name: str) -> bool:
    return _plain(name).partition(".")[0] == "dicomdir"


def _is_own(folder: str) -> bool:
    """Whether hilum put the pictures of its results there."""
    parent, name = os.path.split(os.path.abspath(folder))
    return name in OWN_PICTURES and os.path.isdir(os.path.join(parent, OWN_MARK))


def _count(name: str, passed: Counter[str]) -> None:
    base = name.rsplit("/", 1)[-1]
    if not _is_dicomdir(base):
        passed["hidden" if base.startswith(".") else os.path.splitext(base)[1].lower()] += 1


def _begins_as_dicom(path: str) -> bool:
    """Whether a file is DICOM whatever its name says; hidden ones are not looked into."""
    if os.path.basename(path).startswith(".") or _is_dicomdir(os.path.basename(path)):
        return False
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except (OSError, ValueError):
        return False


def _folder(root: str, limits: Limits, passed: Counter[str]) -> Iterator[Item]:
    if _is_own(root):
        problem = "it holds pictures that hilum made of its results."
        refusal = NotFoundRefused(root, problem, "Name the folder of the images.")
        yield Item(root, root, refusal=refusal)
        return
    any_file, seen = False, {os.path.realpath(root)}
    closed: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=closed.append, followlinks=True):
        own = OWN_PICTURES if OWN_MARK in folders else ()
        kept = (f for f in sorted(folders) if not f.startswith(".") and f not in ("__MACOSX", *own))
        folders[:] = [f for f in kept if _is_new(os.path.join(folder, f), seen)]
        for file in sorted(files):
            path = os.path.join(folder, file)
            if _is_dicomdir(file):  # its files are met anyway, but for those that are missing
                yield from (i for i in _dicomdir(path, limits) if i.refusal and i.name != path)
            if not is_sidecar(file) or _begins_as_dicom(path):
                any_file = True
                yield from _file(path, limits, passed)
            else:
                _count(file, passed)
    for error in closed:
        name = os.fspath(error.filename)
        refusal = NotFoundRefused(name, "the folder cannot be opened.", "Check its permissions.")
        yield Item(name, name, refusal=refusal)
    if not any_file and not closed:
        refusal = NotFoundRefused(root, "the folder holds no images.", "Name another folder.")
        yield Item(root, root, refusal=refusal)


def _is_new(folder: str, seen: set[str]) -> bool:
    """Whether a folder is met for the first time, by any link; remembers it."""
    real = os.path.realpath(folder)
    new = real not in seen
    seen.add(real)
    return new


def _file(path: str, limits: Limits, passed: Counter[str]) -> Iterator[Item]:
    if not os.path.isfile(path):
        yield Item(path, path)  # read() says what is wrong with it
        return
    try:
        with open(path, "rb") as stream:
            start = stream.read(132)
    except (OSError, ValueError):
        yield Item(path, path)
        return
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        yield from _zip(path, limits, passed)
    elif _is_dicomdir(os.path.basename(path)) and looks_like_dicom(start):
        yield from _dicomdir(path, limits)
    else:
        yield Item(path, path)


@lru_cache(maxsize=4)
def _open_zip(path: str, _stamp: tuple[int, int]) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _archive(path: str) -> zipfile.ZipFile:
    """The open archive, kept, since its directory is read anew on each opening."""
    status = os.stat(path)
    return _open_zip(os.path.abspath(path), (status.st_mtime_ns, status.st_size))


def _zip(path: str, limits: Limits, passed: Counter[str]) -> Iterator[Item]:
    try:
        listed = _archive(path).infolist()
        if not all(m.filename for m in listed):
            raise zipfile.BadZipFile("a member without a name")
        members = [m for m in listed if not m.is_dir()]
    except Exception:  # noqa: BLE001  zipfile raises anything on a damaged directory
        refusal = UnreadableRefused(path, "its zip directory is damaged.", "Copy it again.")
        yield Item(path, path, refusal=refusal)
        return
    total = sum(m.file_size for m in members)
    if len(members) > limits.zip_members or total > limits.zip_bytes:
        reason = f"the zip holds {len(members)} files, {total >> 20} MiB inflated."
        yield Item(path, path, refusal=LimitRefused(path, reason, "Split it, or raise the limits."))
        return
    members = [m for m in members if "__MACOSX/" not in m.filename]
    wanted = [m for m in members if not is_sidecar(m.filename)]
    for member in members:
        if is_sidecar(member.filename):
            _count(member.filename, passed)
    times = Counter(m.filename for m in wanted)
    for name in sorted(times):
        shown, count = f"{path}!{name}", times[name]
        reason = f"the zip holds {count} files of this name."
        unclear = UnreadableRefused(shown, reason, "Give each a name of its own.")
        yield Item(shown, path, name, unclear if count > 1 else None)
    if not wanted:
        yield Item(path, path, refusal=NotFoundRefused(path, "the zip holds no images."))


def _load_member(name: str, path: str, member: str, limits: Limits) -> bytes:
    try:
        archive = _archive(path)
        info = archive.getinfo(member)
        _check_member(name, info, limits)
        with archive.open(info) as stream:
            data = stream.read(limits.file_bytes + 1)
    except InputRefused:
        raise
    except Exception as error:
        # zipfile raises RuntimeError, zlib.error, BadZipFile, KeyError, EOFError, ...
        raise UnreadableRefused(
            name, "the zip is damaged or encrypted.", "Pack it again."
        ) from error
    if data[:4] == b"PK\x03\x04":
        raise UnreadableRefused(name, "it is a zip inside a zip.", "Unpack it first.")
    return load((name, data), limits)[1]


def _check_member(name: str, info: zipfile.ZipInfo, limits: Limits) -> None:
    if info.file_size > limits.file_bytes:
        raise LimitRefused(name, f"it inflates beyond {limits.file_bytes >> 20} MiB.")
    ratio = info.file_size / max(info.compress_size, 1)
    if info.file_size > _BIG_MEMBER and ratio > limits.zip_ratio:
        raise LimitRefused(name, f"it inflates {ratio:.0f}-fold.", "Send it without the zip.")


def _dicomdir(path: str, limits: Limits) -> Iterator[Item]:
    """The images a DICOMDIR refers to, in its order; never outside its folder."""
    try:
        references = _references(path, limits)
    except InputRefused as error:
        yield Item(path, path, refusal=type(error)(path, error.reason, error.remedy))
        return
    except Exception:  # noqa: BLE001  the same border as in read()
        yield Item(path, path, refusal=UnreadableRefused(path, "the DICOMDIR is damaged."))
        return
    medium = _Medium(Path(path).parent)
    for parts in references:
        yield _referenced(path, medium, parts)
    if not references:
        yield Item(path, path, refusal=NotFoundRefused(path, "the DICOMDIR names no images."))


def _references(path: str, limits: Limits) -> list[tuple[str, ...]]:
    _, data = load(path, limits)
    with quiet():
        records = parse(data, limits).header.items("DirectoryRecordSequence")
        images = [r for r in records if r.code("DirectoryRecordType") == "IMAGE"]
        texts = [r.value_bytes("ReferencedFileID").decode("iso8859").strip(" \0") for r in images]
    return [tuple(part.strip(" ") for part in text.split("\\")) for text in texts if text]


def _referenced(path: str, medium: _Medium, parts: tuple[str, ...]) -> Item:
    shown = f"{path}!{'/'.join(parts)}"
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        reason = "the DICOMDIR refers outside its folder."
        return Item(shown, path, refusal=UnreadableRefused(shown, reason))
    item = medium.find(parts)
    if not item:
        reason = "the DICOMDIR names a file that is not there."
        return Item(shown, path, refusal=NotFoundRefused(shown, reason, "Copy the whole medium."))
    if len(item) > 1:
        names = " and ".join(file.name for file in item[:2])
        reason = f"the DICOMDIR may mean {names}."
        return Item(shown, path, refusal=UnreadableRefused(shown, reason, "Name the file itself."))
    if not item[0].resolve().is_relative_to(medium.root.resolve()):
        reason = "the DICOMDIR refers outside its folder."
        return Item(shown, path, refusal=UnreadableRefused(shown, reason))
    return Item(str(item[0]), str(item[0]))


class _Medium:
    """The files below a DICOMDIR, by the names it may have for them: the very name, else in other
    case, else with a suffix. Media are copied by systems that change names, or by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: dict[Path, dict[tuple[int, str], list[Path]]] = {}

    def find(self, parts: tuple[str, ...]) -> list[Path]:
        """The files that a reference fits best; [] when there is none, several if undecided."""
        fits = [(0, self.root)]
        for part in parts:
            fits = [
                (distance + more, path)
                for distance, folder in fits
                for more, wanted in enumerate((part, _plain(part), _plain(part)))
                for path in self._names(folder).get((more, wanted), ())
            ]
        best_last = sorted(fits, reverse=True)
        files = {path: distance for distance, path in best_last if path.is_file()}
        return sorted(path for path in files if files[path] == min(files.values()))

    def _names(self, folder: Path) -> dict[tuple[int, str], list[Path]]:
        if folder not in self.folders:
            names: dict[tuple[int, str], list[Path]] = {}
            for path in _listed(folder):
                plain = _plain(path.name)
                for distance, name in enumerate((path.name, plain, plain.rpartition(".")[0])):
                    names.setdefault((distance, name), []).append(path)
            self.folders[folder] = names
        return self.folders[folder]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # no folder, or a closed one: its files are not there


def _plain(name: str) -> str:
    """Without case, and without the version that some systems show (ISO 9660: "A.;1")."""
    return name.lower().partition(";")[0].rstrip(".")
