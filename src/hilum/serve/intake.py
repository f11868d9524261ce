"""The one door: bytes -> a file on the disk and a row with its work, then an answer.

C-STORE, STOW-RS and uploads come through here. Whoever gets a `Receipt` may forget the image: it
is on the disk and will be analysed. Looks at nothing but the few bytes that name the object; they
are parsed later, in a guarded child.
"""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hilum.core.turns import Busy
from hilum.serve import tables
from hilum.serve.audit import Audit
from hilum.serve.records import Records, hashed, plain
from hilum.serve.store import Store, StoreUnavailable
from hilum.serve.work import CHECK, Queue

_PREAMBLE = 128
_META_LIMIT = 64 * 2**10
_SOP_UID = b"\x02\x00\x03\x00UI"
_OWN = ("sample", "prior", "worklist")  # asked for by ourselves


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sender is told."""

    id: str
    state: str
    duplicate: bool  # the same object was received before


@dataclass(frozen=True, slots=True)
class Intake:
    """Receives objects."""

    records: Records
    store: Store
    queue: Queue
    audit: Audit
    waiting: int  # images of one sender that may wait

    def receive(
        self,
        data: bytes | Path,
        *,
        origin: str,
        sender: str | None = None,
        name: str | None = None,
        pipeline: str | None = None,
        priority: int = tables.ROUTINE,
        peer: str | None = None,
    ) -> Receipt:
        """Keep one object and the work that it makes; both are on the disk when this returns.

        Args:
            data: a whole file (DICOM, PNG, JPEG), or one in the store's `incoming`, which is
                then the store's.
            origin: "c-store", "stow", "upload", "sample", "prior" or "worklist".
            sender: AE title or user.
            name: of an uploaded file, for its owner to see.
            pipeline: asked for by the sender; else the routing rules choose.
            peer: the sender's address, for the audit trail.

        Raises:
            StoreUnavailable, RecordsUnavailable: nothing was kept; ask again later.
            Busy: likewise; so many images of this sender wait already.
        """
        if origin not in _OWN:
            self._check_line(sender)
        if isinstance(data, Path):
            identity, size = _identify_file(data)
        else:
            identity, size = identify(data), len(data)
        content, id = identity
        self.store.keep(id, data)
        image = tables.Image(
            id=id,
            content=content,
            bytes=size,
            state="received",
            received=self.records.clock(),
            origin=origin,
            sender=plain(sender),
            name=plain(name, 255),
            wanted=pipeline,
            priority=priority,
            inverted=False,
        )
        with self.records.write() as session:
            if self.records.add_once(session, image):
                self.records.say(session, id, "received", "received")
                self.queue.add(session, CHECK, id, priority=priority, asker=sender)
                self.audit.add(session, "received", user=sender, peer=peer, image=id, text=origin)
                return Receipt(id, "received", duplicate=False)
            known = session.get(tables.Image, id)
            return Receipt(id, known.state if known else "received", duplicate=True)

    def _check_line(self, sender: str | None) -> None:
        with self.records.read() as session:
            place, begin = self.queue.turn(session, CHECK, sender)
        if place - begin >= self.waiting:
            raise Busy(
                f"{place - begin} images of this sender wait to be analysed; "
                "send more when some are done, or raise `waiting`"
            )


def _identify_file(path: Path) -> tuple[Identity, int]:
    """As `identify`, and the size, without holding the file in memory."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return identify(m), len(m)
    except (OSError, ValueError) as error:
        raise StoreUnavailable("an arriving file is gone or empty") from error


class Identity(NamedTuple):
    """What an object is known by."""

    content: str  # SHA-256 of what it holds
    id: str


def identify(data: bytes | mmap.mmap) -> Identity:
    """Content and id.

    The file meta information is left out: every node on the way writes its own. SOP instance UID
    and content make the id, so the same object is the same image by whatever way it comes.
    """
    start, uid = 0, ""
    if data[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        start, uid = _meta(data)
    with memoryview(data) as whole, whole[start:] as part:
        content = hashlib.sha256(part).hexdigest()
    return Identity(content, hashed(uid, content))


def _meta(data: bytes | mmap.mmap) -> tuple[int, str]:
    """Where the data set begins, and the SOP instance UID; (0, "") where the meta group is odd."""
    head = data[_PREAMBLE + 4 : _PREAMBLE + 16]
    if len(head) < 12 or head[:6] != b"\x02\x00\x00\x00UL":
        return 0, ""
    length = int.from_bytes(head[8:12], "little")
    start = _PREAMBLE + 16 + length
    if length > _META_LIMIT or start > len(data):
        return 0, ""
    at = data.find(_SOP_UID, _PREAMBLE + 16, start)
    if at < 0:
        return start, ""
    size = int.from_bytes(data[at + 6 : at + 8], "little")
    return start, data[at + 8 : min(at + 8 + size, start)].strip(b" \0").decode("latin-1")
