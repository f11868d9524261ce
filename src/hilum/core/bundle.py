"""The self-describing bundle: a folder or `.zip` with a manifest, ONNX graphs, card and licence.

Loading checks names, sizes and hashes before anything looks inside a model, and runs no code from
the bundle. Knows no runtime: `inference.session` opens the bytes that `read` hands out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from hilum.core.documents import parse_json
from hilum.core.errors import BundleError, ConfigError, DocumentError
from hilum.core.files import (
    OWN_MARK,
    atomic_path,
    is_file,
    need_writable,
    read_at_most,
    write_bytes,
)
from hilum.core.folders import claimed
from hilum.core.manifest import FILE_NAME, SCHEMA, SUFFIXES, Manifest
from hilum.core.options import checked

MANIFEST = "manifest.json"
LICENCE = "LICENSE.md"
DEFAULT = "default"  # the bundle that comes with the package
MODELS = "hilum_models"  # the second distribution: bundles and pipelines beside ours
SEAL = "sha256"  # key of the manifest: its hash without this key; older bundles have none
MAX_FILES = 64
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_FILE_BYTES = 2**30
MAX_TOTAL_BYTES = 2 * 2**30
# Pickle protocols 2-5, zip archives (torch.save) and NumPy files under an innocent name.
FORBIDDEN_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04", b"\x93NUMPY")
# A StringStringEntryProto with the key "location": ONNX external data, a path outside the bundle.
EXTERNAL_DATA = b"\x0a\x08location"


DAMAGED = "damaged or tampered with"


class Store(Protocol):
    """Where the files lie."""

    def names(self) -> list[str]: ...

    def read(self, name: str, limit: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle. Safe to send to another process; files are read when asked for."""

    path: Path
    manifest: Manifest
    sha256: str  # of the canonical manifest, which holds the hashes of all other files

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def licence(self) -> str:
        """In a line: the words in bold of LICENSE.md, else its first line that is no heading."""
        text = self.read(LICENCE).decode(errors="replace")
        bold = re.search(r"\*\*(.+?)\*\*", text)
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return bold[1] if bold else next(iter(lines), "not stated")

    def read(self, name: str) -> bytes:
        """The content of one listed file, its hash checked again.

        Raises:
            BundleError: not listed, gone, or changed since the bundle was loaded.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: the manifest lists no {name!r}")
        content = _store(self.path).read(name, MAX_FILE_BYTES)
        _refuse(_content_faults(self.path, name, content, self.manifest.files[name]))
        return content

    def model(self, precision: str | None = None) -> bytes:
        """The ONNX graph of a precision ("fp32", "int8"; None: the bundle's default)."""
        known: Mapping[str, str] = {str(k): v for k, v in self.manifest.precisions.items()}
        wanted = precision or self.manifest.default_precision
        if wanted not in known:
            raise BundleError(
                f"{self.path}: no {wanted!r} model; this bundle has {', '.join(known)}"
            )
        return self.read(known[wanted])


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Check a bundle folder or zip completely and return it.

    Raises:
        BundleError: missing, another schema, unlisted or forbidden files, links, absurd sizes, or
            a hash that does not match.
    """
    bundle, present = _described(Path(path))
    _refuse(_faults(bundle, present))
    return bundle


def bundle_faults(path: str | os.PathLike[str]) -> list[str]:
    """Everything that makes `load_bundle` refuse a bundle; where it cannot be read, that alone."""
    try:
        return list(_faults(*_described(Path(path))))
    except BundleError as error:
        return [str(error)]


def _described(source: Path) -> tuple[Bundle, set[str]]:
    """What the manifest says, its files unread, and the files that are there."""
    store = _store(source)
    names = store.names()
    for name in names:
        if not FILE_NAME.fullmatch(name) or not name.endswith(SUFFIXES):
            raise BundleError(f"{source}: {name[:80]!r} may not be part of a bundle; refused")
    if MANIFEST not in names:
        raise BundleError(f"{source}: no {MANIFEST}; this is not a bundle")
    raw = _parse(source, store.read(MANIFEST, MAX_MANIFEST_BYTES))
    digest = raw.pop(SEAL, None)
    manifest = _validate(source, raw)
    sha256 = _canonical_hash(raw)
    if digest not in (None, sha256):
        raise BundleError(f"{source}: {MANIFEST} does not match its own hash; {DAMAGED}")
    return Bundle(source, manifest, sha256), set(names) - {MANIFEST}


def _faults(bundle: Bundle, present: set[str]) -> Iterator[str]:
    """What is wrong with the files of a bundle, one at a time; too large ones end it."""
    source, files = bundle.path, bundle.manifest.files
    yield from _listing_faults(source, present, set(files))
    store, total = _store(source), 0
    for name in sorted(present & set(files)):
        content = store.read(name, MAX_FILE_BYTES)
        total += len(content)
        if total > MAX_TOTAL_BYTES:
            raise BundleError(f"{source}: more than {MAX_TOTAL_BYTES} bytes; refused")
        yield from _content_faults(source, name, content, files[name])


def shipped_bundles() -> dict[str, Path]:
    """The bundles that come with hilum, and with hilum-models where it is installed, by name."""
    folders = [place / "bundles" for place in shipped("hilum")]
    places = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    return {path.name: path for path in places if (path / MANIFEST).is_file()}


def shipped(package: str) -> list[Path]:
    """The folder of one of our packages, and that of hilum-models where it is installed."""
    names = [package, *([MODELS] if find_spec(MODELS) else [])]
    return [Path(str(resources.files(name))) for name in names]


def open_bundle(name: str | os.PathLike[str]) -> Bundle:
    """A bundle that comes with the package, by its name, or that of a path.

    Raises:
        BundleError: as `load_bundle`, or this installation came without a default one.
    """
    return load_bundle(bundle_path(name))


def bundle_path(name: str | os.PathLike[str]) -> Path:
    """Where the bundle of that name or path lies.

    Raises:
        BundleError: there is none.
    """
    known, path = shipped_bundles(), Path(name)
    if os.fspath(name) in known:
        return known[os.fspath(name)]
    if os.fspath(name) == DEFAULT and not os.path.exists(path):
        raise BundleError(
            "this installation has no default bundle; name one (a folder or .zip) in the pipeline"
        )
    if not os.path.exists(path):
        raise BundleError(
            f"{path}: there is no such bundle: needed a folder or .zip, or one that is installed "
            f"({', '.join(known) or 'none is'})"
        )
    return path


def default_bundle() -> Bundle:
    """The bundle that comes with the package."""
    return open_bundle(DEFAULT)


def need_new(path: Path) -> None:
    """To be asked before hours of work for a bundle.

    Raises:
        OSError, ConfigError: it could not be written there.
    """
    if path.suffix == ".zip":
        need_writable(path)
    elif path.exists() and any(path.iterdir()) and not (path / OWN_MARK).is_dir():
        raise ConfigError(f"{path} is not empty; choose a new folder, or remove it first")


def write_bundle(
    path: str | os.PathLike[str],
    manifest: Manifest | Mapping[str, Any],
    files: Mapping[str, bytes | Path],
) -> Bundle:
    """Write a bundle atomically and return it as loaded back.

    Args:
        path: a name ending in .zip gives a zip (the same bytes for the same content), any other a
            new folder.
        manifest: its `files` may be missing or empty; the hashes are computed here.
        files: every file of the bundle but the manifest, as bytes or as a path to copy from.

    Raises:
        BundleError: the result would not load.
        ConfigError: the folder holds something else.
    """
    target = Path(path)
    need_new(target)
    contents = {n: c if isinstance(c, bytes) else c.read_bytes() for n, c in files.items()}
    raw = manifest.to_json() if isinstance(manifest, Manifest) else dict(manifest)
    raw["files"] = {name: _sha256(contents[name]) for name in sorted(contents)}
    checked = _validate(target, {"schema": SCHEMA} | raw).to_json()
    for name, content in contents.items():
        _refuse(_content_faults(target, name, content, checked["files"][name]))
    checked[SEAL] = _canonical_hash(checked)
    text = json.dumps(checked, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    everything = {MANIFEST: text.encode()} | dict(sorted(contents.items()))
    if target.suffix == ".zip":
        _write_zip(target, everything)
    else:
        _write_folder(target, everything)
    return load_bundle(target)


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path

    def names(self) -> list[str]:
        names = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.is_symlink() or not entry.is_file():
                    raise BundleError(
                        f"{self.path}: {entry.name[:80]!r} is a link or folder; refused"
                    )
                names.append(entry.name)
                _check_count(self.path, len(names))
        return names

    def read(self, name: str, limit: int) -> bytes:
        path = self.path / name
        try:
            if path.is_symlink():
                raise BundleError(f"{self.path}: {name!r} is a link; refused")
            return _limited(self.path, name, read_at_most(path, limit), limit)
        except OSError as error:
            raise BundleError(f"{self.path}: {name!r} cannot be read ({error.strerror})") from error


@dataclass(frozen=True, slots=True)
class _Zip:
    path: Path

    def names(self) -> list[str]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = archive.infolist()
        except Exception as error:  # zipfile raises whatever it likes at hostile bytes
            raise BundleError(f"{self.path}: not a readable zip ({error})") from error
        _check_count(self.path, len(members))
        for member in members:
            # Not is_dir(): it raises where there is no name.
            folder = member.filename.endswith("/")
            if stat.S_ISLNK(member.external_attr >> 16) or folder or member.flag_bits & 1:
                raise BundleError(
                    f"{self.path}: {member.filename[:80]!r} is a link, folder or encrypted; refused"
                )
        names = [member.filename for member in members]
        if len(set(names)) != len(names):
            raise BundleError(f"{self.path}: a name occurs twice; refused")
        return names

    def read(self, name: str, limit: int) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(name) as stream:
                # The size in the header is the sender's word; what is inflated is counted.
                return _limited(self.path, name, stream.read(limit + 1), limit)
        except BundleError:
            raise
        except Exception as error:
            raise BundleError(f"{self.path}: {name!r} cannot be read ({error})") from error


def _store(path: Path) -> Store:
    if is_file(path):
        return _Zip(path)
    if os.path.isdir(path):
        return _Folder(path)
    raise BundleError(f"{path}: there is no such bundle (a folder or .zip)")


def _limited(path: Path, name: str, content: bytes, limit: int) -> bytes:
    if len(content) > limit:
        raise BundleError(f"{path}: {name!r} is larger than {limit} bytes; refused")
    return content


def _check_count(path: Path, count: int) -> None:
    if count > MAX_FILES:
        raise BundleError(f"{path}: more than {MAX_FILES} files; this is not a bundle")


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        raw = parse_json(content)
    except DocumentError as error:
        raise BundleError(f"{path}: {MANIFEST}: {error}") from error
    if not isinstance(raw, dict):
        raise BundleError(f"{path}: {MANIFEST} is not a JSON object")
    return raw


def _validate(path: Path, raw: Mapping[str, Any]) -> Manifest:
    schema = raw.get("schema")
    if schema != SCHEMA:
        raise BundleError(
            f"{path}: bundle schema {schema!r}; this hilum reads {SCHEMA!r}. "
            "Use the hilum version that wrote it, or export the bundle again."
        )
    return checked(Manifest, dict(raw), f"{path}: {MANIFEST}", BundleError)


def _refuse(faults: Iterable[str]) -> None:
    for fault in faults:
        raise BundleError(fault)


def _listing_faults(path: Path, present: set[str], listed: set[str]) -> Iterator[str]:
    if extra := sorted(present - listed):
        yield f"{path}: files the manifest does not list: {', '.join(extra[:5])}"
    if missing := sorted(listed - present):
        yield f"{path}: files are missing: {', '.join(missing[:5])}"


def _content_faults(path: Path, name: str, content: bytes, digest: str) -> Iterator[str]:
    if _sha256(content) != digest:
        yield f"{path}: {name!r} does not match its hash in the manifest; {DAMAGED}"
    if content.startswith(FORBIDDEN_STARTS):
        yield f"{path}: {name!r} holds a pickle or archive; refused"
    if name.endswith(".onnx") and EXTERNAL_DATA in content:
        yield f"{path}: {name!r} refers to data outside the bundle; refused"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _canonical_hash(raw: Mapping[str, Any]) -> str:
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return _sha256(text.encode())


def _write_zip(target: Path, everything: Mapping[str, bytes]) -> None:
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in everything.items():
            # Fixed time and mode: the same content gives the same bytes.
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 6)


def _write_folder(target: Path, everything: Mapping[str, bytes]) -> None:
    content = _canonical_hash({name: _sha256(one) for name, one in everything.items()})
    with claimed(target, "bundle", settings=content, stays=False):
        # The manifest last: without it the folder is no bundle.
        for name in sorted(everything, key=lambda name: name == MANIFEST):
            write_bytes(target / name, everything[name])
