"""Files of an upload -> the intake: zips opened, each file kept or refused with its reason.

Formats are told by their first bytes; everything else is looked at in the guarded child, later.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from starlette.datastructures import UploadFile

from hilum.core.extras import require
from hilum.dicom.part10 import looks_like_dicom
from hilum.dicom.raster import sniff
from hilum.serve.service import Service

FILES = 5000  # of one request
MEMBERS = 5000  # of one zip
RATIO = 200  # inflated : stored
_NOT_OURS = "it is neither DICOM nor a PNG, JPEG or WebP image"
SAMPLE = "RG1_UNCR.dcm"  # a real radiograph (pydicom-data, MIT), MONOCHROME1


def receive_files(
    service: Service, files: Iterable[UploadFile], sender: str, pipeline: str | None
) -> dict[str, Any]:
    """The fields of `shapes.Receipts`. What came before an error is kept.

    Raises:
        StoreUnavailable, RecordsUnavailable: ask again later; what was kept is found again.
    """
    images, refused = [], []
    for file in files:
        for name, data in _contents(service, file):
            if isinstance(data, str):
                refused.append({"name": name, "problem": data})
                continue
            receipt = service.intake.receive(
                data, origin="upload", sender=sender, name=name, pipeline=pipeline
            )
            images.append(
                {"id": receipt.id, "state": receipt.state, "name": name}
                | {"duplicate": receipt.duplicate}
            )
    return {"images": images, "refused": refused}


def sample(service: Service, sender: str) -> dict[str, Any]:
    """Receive the sample radiograph; the fields of `shapes.Receipts`.

    Raises:
        MissingExtraError: it is not installed.
    """
    folder = Path(str(require("demo").__file__)).parent / "data"
    data = (folder / SAMPLE).read_bytes()
    receipt = service.intake.receive(data, origin="sample", sender=sender, name=SAMPLE)
    image = {"id": receipt.id, "state": receipt.state, "name": SAMPLE}
    return {"images": [image | {"duplicate": receipt.duplicate}], "refused": []}


def _contents(service: Service, file: UploadFile) -> Iterator[tuple[str, bytes | str]]:
    """Names with bytes, or with the words why not."""
    name, limit = _shown(file.filename), service.config.node.object_bytes
    start = file.file.read(132)
    file.file.seek(0)
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        yield from _members(name, file, limit)
        return
    data = file.file.read(limit + 1)
    yield name, _problem(data, limit) or data


def _members(name: str, file: UploadFile, limit: int) -> Iterator[tuple[str, bytes | str]]:
    try:
        with zipfile.ZipFile(file.file) as archive:
            infos = [one for one in archive.infolist() if not one.is_dir()]
            if len(infos) > MEMBERS:
                yield name, f"the zip holds {len(infos)} files; needed: at most {MEMBERS}"
                return
            for info in infos:
                yield f"{name}!{_shown(info.filename)}", _member(archive, info, limit)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        yield name, "the zip is damaged; pack it again"


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes | str:
    if info.file_size > limit or info.file_size > RATIO * max(info.compress_size, 4096):
        return "it inflates too far; send it without the zip"
    try:
        with archive.open(info) as stream:
            data = stream.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, NotImplementedError, OSError):
        return "it is damaged or encrypted; pack it again"
    return _problem(data, limit) or data


def _problem(data: bytes, limit: int) -> str | None:
    if not data:
        return "it is empty"
    if len(data) > limit:
        return f"it is larger than {limit >> 20} MiB"
    return None if looks_like_dicom(data[:132]) or sniff(data) else _NOT_OURS


def _shown(name: str | None) -> str:
    """A name for its owner to see; it never chooses where something is written."""
    return "".join(c for c in (name or "file") if c.isprintable())[:200] or "file"
