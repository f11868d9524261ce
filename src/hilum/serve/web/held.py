"""The DICOM objects that are held: images as received, and our own results of them.

Headers of images are parsed in the guarded child; those of our own results here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import ColumnElement, select

from hilum.core.errors import InputRefused
from hilum.core.turns import Asker
from hilum.dicom.stored import StoredImage
from hilum.serve.analysis import CONFLICT
from hilum.serve.service import Service
from hilum.serve.tables import Image, Result

OBJECTS = ("sr", "seg", "gsps", "sc")
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


@dataclass(frozen=True)
class Held:
    """One object."""

    service: Service = field(repr=False)
    image: Image = field(repr=False)
    result: Result | None = field(default=None, repr=False)
    kind: str = "image"
    asker: Asker = None

    @cached_property
    def content(self) -> bytes:
        """As received, or as written: bit by bit."""
        if self.result is None:
            return self.service.store.read(self.image.id)
        return self.service.store.read_result(self.result.id, self.result.files[self.kind])

    @cached_property
    def stored(self) -> StoredImage:
        """
        Raises:
            InputRefused: the image cannot be read.
            Busy: who asks has enough that waits already.
        """
        return self.service.opened(self.image.id, self.content, self.asker)

    @cached_property
    def dataset(self) -> Dataset:
        """Header without pixels; spacings of zero left out: viewers show nothing with them.

        Raises:
            InputRefused: the image cannot be read.
        """
        if self.result is None:
            ds = self.stored.dataset()
        else:
            ds = dcmread(BytesIO(self.content), stop_before_pixels=True)
        for name in _SPACINGS:
            if name in ds and not all(_positive(v) for v in ds[name].value or [0]):
                delattr(ds, name)
        return ds

    @property
    def syntax(self) -> str:
        return str(self.dataset.file_meta.TransferSyntaxUID)


def objects(
    service: Service, where: Mapping[str, str], *, asker: Asker = None, limit: int | None = None
) -> Iterator[Held]:
    """Readable objects; `where`: "study", "series", "sop" of the object asked for;
    "patient", "accession" narrow the images that are looked at; `asker` waits for them."""
    conditions: list[ColumnElement[bool]] = [
        Image.sop.is_not(None),
        Image.state.in_(("checked", "analysed", "refused", "failed")),
        Image.reason.is_(None) | ~Image.reason.startswith(CONFLICT),
    ]
    for name in ("study", "patient", "accession"):
        if name in where:
            conditions.append(getattr(Image, name) == where[name])
    with service.records.read() as session:
        query = select(Image).where(*conditions).order_by(Image.received.desc(), Image.id)
        images = session.scalars(query.limit(limit)).all()
        rows = session.scalars(
            select(Result).where(Result.image.in_([i.id for i in images]), ~Result.shadow)
        ).all()
    results: dict[str, list[Result]] = {}
    for result in rows:
        results.setdefault(result.image, []).append(result)
    for image in images:
        if _fits(image, where):
            yield Held(service, image, asker=asker)
        for result in results.get(image.id, ()):
            for kind in OBJECTS:
                if kind in result.files:
                    own = Held(service, image, result=result, kind=kind, asker=asker)
                    if _own_fits(own, where):
                        yield own


def _fits(image: Image, where: Mapping[str, str]) -> bool:
    known = {"study": image.study, "series": image.series, "sop": image.sop}
    return all(known[name] == value for name, value in where.items() if name in known)


def _own_fits(own: Held, where: Mapping[str, str]) -> bool:
    names = {"series": "SeriesInstanceUID", "sop": "SOPInstanceUID"}
    wanted = {names[key]: value for key, value in where.items() if key in names}
    return all(str(own.dataset.get(name, "")) == value for name, value in wanted.items())


def readable(held: Iterator[Held]) -> Iterator[Held]:
    """Those whose header can be read."""
    for one in held:
        try:
            _ = one.dataset
        except InputRefused:
            continue
        yield one


def _positive(value: Any) -> bool:
    try:
        return float(value) > 0
    except (TypeError, ValueError):
        return False
