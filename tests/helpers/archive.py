"""A small DICOMweb server on loopback: STOW-RS, QIDO-RS, WADO-RS, UPS-RS of what it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom import dcmread
from pydicom.dataset import Dataset

from helpers.certificates import Pair
from helpers.loopback import Handler, serving
from hilum.dicom.web import parts


class Archive:
    """What it holds and how it behaves."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}  # by SOPInstanceUID
        self.workitems: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []  # "POST /studies"
        self.away = False
        self.lies = False  # answers success and stores nothing
        self.forgets = False  # lists it as stored and does not have it
        self.refuses: dict[str, list[int]] = {}  # statuses of the next answers, by path
        self.credentials: set[str | None] = set()
        self.url = ""

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> Any:
        """Status and what is answered: JSON, or a list of objects."""
        self.calls.append(f"{method} {path}")
        if self.away or self.refuses.get(path):
            return 503 if self.away else self.refuses[path].pop(0), {}
        parts_of_path = path.strip("/").split("/")
        if parts_of_path[0] == "workitems":
            return self._workitems(method, parts_of_path, query, body)
        if method == "POST":
            return 200, self._stored(parts(body, kind))
        return self._asked(parts_of_path, query)

    def _stored(self, contents: list[bytes]) -> Any:
        stored = []
        for content in contents:
            uid = str(_header(content).SOPInstanceUID)
            if not self.lies:
                stored.append({"00081155": {"vr": "UI", "Value": [uid]}})
            if not self.lies and not self.forgets:
                self.objects[uid] = content
        return {"00081199": {"vr": "SQ", "Value": stored}}

    def _asked(self, path: list[str], query: dict[str, str]) -> Any:
        held = [(_header(content), content) for content in [*self.objects.values()]]
        if len(path) > 1:
            held = [one for one in held if one[0].StudyInstanceUID == path[1]]
        if len(path) in (4, 6):  # WADO-RS of a series, of an instance
            held = [one for one in held if one[0].SeriesInstanceUID == path[3]]
            found = [c for ds, c in held if len(path) == 4 or ds.SOPInstanceUID == path[5]]
            return (200, found) if found else (404, {})
        first, most = int(query.pop("offset", 0)), int(query.pop("limit", len(held)))
        held = [one for one in held if _matches(one[0], query)]
        if path[-1] == "studies":
            return 200, [*_studies([ds for ds, _ in held])][first : first + most]
        found = [json.loads(_short(ds).to_json()) for ds, _ in held]
        return 200, found[first : first + most]

    def _workitems(self, method: str, path: list[str], query: dict[str, str], body: bytes) -> Any:
        """UPS-RS: an item in progress takes changes from who knows its transaction."""
        if method == "GET" and len(path) == 1:
            found = [i for i in self.workitems.values() if _state(i) == query["ProcedureStepState"]]
            return 200, [_without_transaction(one) for one in found]
        item = self.workitems.get(path[1])
        if item is None:
            return 404, {}
        if method == "GET":
            return 200, [_without_transaction(item)]
        change = json.loads(body)[0]
        ours = change["00081195"] == item.get("00081195")
        if path[-1] != "state":
            named = query.get(change["00081195"]["Value"][0])
            if _state(item) != "IN PROGRESS" or not ours or named is None:
                return 409, {}
        elif (_state(item), _state(change)) == ("SCHEDULED", "IN PROGRESS"):
            pass
        elif _state(item) != "IN PROGRESS" or not ours or not _may_end(item, _state(change)):
            return 409, {}
        item.update(change)
        return 200, {}

    def ask_to_cancel(self, uid: str) -> int:
        """PS3.4 CC.2.2.3: an item that nobody has claimed is cancelled at once; the performer of
        one in progress is told by an event and decides; one that has ended stays as it is."""
        item = self.workitems[uid]
        if _state(item) == "SCHEDULED":
            item["00741000"] = {"vr": "CS", "Value": ["CANCELED"]}
        return 202 if _state(item) in ("CANCELED", "IN PROGRESS") else 409


def _without_transaction(item: dict[str, Any]) -> dict[str, Any]:
    return {tag: value for tag, value in item.items() if tag != "00081195"}


def _may_end(item: dict[str, Any], state: str) -> bool:
    """Whether an item has what its final state must have (PS3.4 table CC.2.5-3)."""
    if state == "COMPLETED":
        (done,) = item.get("00741216", {"Value": [{}]})["Value"]
        return {"00404028", "00404050", "00404051", "00404019", "00404033"} <= set(done)
    (progress,) = item.get("00741002", {"Value": [{}]})["Value"]
    return state == "CANCELED" and {"00404052", "0074100E"} <= set(progress)


@cache
def _header(content: bytes) -> Dataset:
    return dcmread(BytesIO(content), stop_before_pixels=True)


def _matches(ds: Dataset, query: dict[str, str]) -> bool:
    return all(str(ds.get(keyword, "")) == value for keyword, value in query.items())


def _short(ds: Any) -> Any:
    out = Dataset()
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "StudyDate"):
        setattr(out, keyword, ds.get(keyword, ""))
    out.Modality, out.PatientID = ds.get("Modality", ""), ds.get("PatientID", "")
    return out


def _studies(held: list[Dataset]) -> Iterator[Any]:
    """One row a study, with the modalities in it."""
    for uid in dict.fromkeys(ds.StudyInstanceUID for ds in held):
        ours = [ds for ds in held if uid == ds.StudyInstanceUID]
        row = _short(ours[0])
        row.ModalitiesInStudy = sorted({ds.Modality for ds in ours})
        yield json.loads(row.to_json())


def _state(item: dict[str, Any]) -> str:
    return str(item["00741000"]["Value"][0])


@contextmanager
def archive(pair: Pair | None = None) -> Iterator[Archive]:
    """A running one; with a certificate it speaks TLS."""
    made = Archive()

    class One(Handler):
        def do(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            query = {key: values[0] for key, values in parse_qs(url.query, True).items()}
            kind = self.headers.get("Content-Type", "")
            made.credentials.add(self.headers.get("Authorization"))
            status, value = made.answer(self.command, url.path, query, body, kind)
            if isinstance(value, list) and value and isinstance(value[0], bytes):
                head = b"--cut\r\nContent-Type: application/dicom\r\n\r\n"
                content = b"".join(head + one + b"\r\n" for one in value) + b"--cut--"
                kind = 'multipart/related; type="application/dicom"; boundary=cut'
            else:
                content, kind = json.dumps(value).encode(), "application/dicom+json"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.finish_with(content)

        do_GET = do_POST = do_PUT = do

    with serving(One, pair) as made.url:
        yield made
