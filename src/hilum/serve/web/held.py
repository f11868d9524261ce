"""The DICOM objects that are held: images as received, and our own results of them.

Headers of images are parsed in the guarded child; those of our own results here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import Any, TypeVar

from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute

from hilum.core.errors import InputRefused
from hilum.core.turns import Asker
from hilum.dicom.several import count_of
from hilum.dicom.stored import StoredImage
from hilum.dicom.transcode import single
from hilum.serve.analysis import CONFLICT, OWN
from hilum.serve.service import Service
from hilum.serve.store import FileMissing
from hilum.serve.tables import Image, Result
from hilum.serve.web.query import Query, literal_of, range_of

log = logging.getLogger(__name__)
S = TypeVar("S")
T = TypeVar("T")
_COLUMNS: dict[str, InstrumentedAttribute[str | None]] = {
    "StudyInstanceUID": Image.study,
    "PatientID": Image.patient,
    "AccessionNumber": Image.accession,
}
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

    def check_there(self) -> None:
        """
        Raises:
            StoreUnavailable: its file is not there.
        """
        store = self.service.store
        path = store.path(self.image.id)
        if self.result is not None:
            path = store.result_path(self.result.id, self.result.files[self.kind])
        store.check_there(path)

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

    def frame(self, number: int) -> StoredImage:
        """One frame by its number, as an image of its own.

        Raises:
            InputRefused: it cannot be read, or is not there.
            Busy: who asks has enough that waits already.
        """
        if number == count_of(self.stored.header) == 1:
            return self.stored
        return self.service.opened(self.image.id, single(self.stored, number), self.asker)

    def uid(self, level: str) -> str:
        """Of its "study", "series" or instance ("sop")."""
        if self.result is None or level == "study":
            return getattr(self.image, level) or ""
        keyword = "SeriesInstanceUID" if level == "series" else "SOPInstanceUID"
        return str(self.dataset.get(keyword, ""))

    @property
    def id(self) -> str:
        """A hash, as in the audit trail; all objects of one result have the same."""
        return self.result.id if self.result else self.image.id

    @property
    def sop_class(self) -> str:
        """ "" where the file of a result is gone."""
        if self.result is None:
            return self.image.sop_class or ""
        try:
            return str(self.dataset.get("SOPClassUID", ""))
        except FileMissing:
            return ""

    @property
    def syntax(self) -> str:
        return str(self.dataset.file_meta.TransferSyntaxUID)


def objects(service: Service, where: Mapping[str, str], *, asker: Asker = None) -> Iterator[Held]:
    """Objects by their "study", "series", "sop"; `asker` waits for them."""
    conditions = [Image.study == where["study"]] if "study" in where else []
    for held in _studies(service, conditions, asker):
        yield from (one for one in held if all(one.uid(key) == where[key] for key in where))


def studies(
    service: Service, conditions: Sequence[ColumnElement[bool]], asker: Asker
) -> Iterator[list[Held]]:
    """All readable objects of each study of which one image fits; the newest received first."""
    for held in _studies(service, conditions, asker):
        if known := list(readable(iter(held))):
            yield known


def narrowed(query: Query, path: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """What a row must be of whose study something fits a query, so that few headers are read."""
    conditions: list[ColumnElement[bool]] = []
    for keyword, value in {**query.wanted, **path}.items():
        if keyword in _COLUMNS and not re.search(r"[*?,\\\0]", value):
            conditions.append(_COLUMNS[keyword] == value)
        if keyword == "StudyDate" and (days := range_of(keyword, value)):
            conditions += [Image.study_date >= days.first] if days.first else []
            conditions += [Image.study_date <= days.last] if days.last else []
        if keyword == "PatientName" and not query.fuzzy and (part := literal_of(value)):
            conditions.append(Image.patient_name.icontains(part, autoescape=True))
    return conditions


def _studies(
    service: Service, conditions: Sequence[ColumnElement[bool]], asker: Asker
) -> Iterator[list[Held]]:
    held = (
        Image.sop.is_not(None),
        Image.state.in_(("checked", "analysed", "refused", "failed")),
        Image.reason.is_(None) | ~Image.reason.startswith(CONFLICT),
    )
    newest = func.max(Image.received).desc()
    query = select(Image.study).where(*held, *conditions).group_by(Image.study)
    with service.records.read() as session:
        uids = session.scalars(query.order_by(newest, Image.study)).all()
    for uid in uids:
        here = *held, Image.study.is_not_distinct_from(uid)
        images = select(Image).where(*here).order_by(Image.received.desc(), Image.id)
        # By a question and not by a list of ids: databases bound the length of a list.
        shown = Result.image.in_(select(Image.id).where(*here)), ~Result.shadow
        with service.records.read() as session:
            rows = session.scalars(images).all()
            results = session.scalars(select(Result).where(*shown).order_by(Result.made)).all()
        yield _once(service, rows, results, asker)


def _once(
    service: Service, images: Sequence[Image], results: Sequence[Result], asker: Asker
) -> list[Held]:
    """The objects of a study, each once: results of ours that somebody sent back are there."""
    by_id = {image.id: image for image in images}
    made = [
        Held(service, by_id[result.image], result=result, kind=kind, asker=asker)
        for result in results
        if result.image in by_id  # an image may come between the two questions
        for kind in OBJECTS
        if kind in result.files
    ]
    back = {image.id for image in images if (image.reason or "").startswith(OWN)}
    known = {one.uid("sop") for one in readable(iter(made))} if back else set[str]()
    once = (image for image in images if image.id not in back or image.sop not in known)
    return [Held(service, image, asker=asker) for image in once] + made


def readable(held: Iterator[Held]) -> Iterator[Held]:
    """Those whose header can be read; one that is missing hides no other."""
    for one in held:
        try:
            _ = one.dataset
        except InputRefused:
            continue
        except FileMissing as error:
            log.error("the %s of image %s: %s", one.kind, one.image.id, error)
            continue
        yield one


def of_each(items: Sequence[S], make: Callable[[S], T]) -> tuple[list[T], dict[str, str]]:
    """What `make` makes of each that can be read, and the headers that count the others.

    Raises:
        InputRefused: none can be read, the first is damaged.
        FileMissing: none can be read, the first is gone.
    """
    made, failed = list[T](), list[InputRefused | FileMissing]()
    for item in items:
        try:
            made.append(make(item))
        except (InputRefused, FileMissing) as error:
            if isinstance(error, FileMissing):
                log.error("left out of an answer: %s", error)
            failed.append(error)
    if failed and not made:
        raise failed[0]
    counted = f'299 hilum "{len(failed)} of {len(items)} cannot be read"'
    return made, {"Warning": counted} if failed else {}


def _positive(value: Any) -> bool:
    try:
        return float(value) > 0
    except (TypeError, ValueError):
        return False
