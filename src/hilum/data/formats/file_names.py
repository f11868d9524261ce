"""Names of images -> names of files, each its own on every file system."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

MOST_BYTES = 200  # of a name; file systems hold 255 with the suffix
SUFFIXES = (".txt", ".xml", ".png")  # that exports add


def file_names(image_ids: Iterable[str]) -> dict[str, str]:
    """Image id -> stem without folders. Characters that file systems refuse become "_"; twins get
    a hash.

    Args:
        image_ids: of one catalog; may hold "/" (the folder and CheXpert adapters do).

    >>> file_names(["a/b", "c"])
    {'a/b': 'a__b', 'c': 'c'}
    """
    return _unique({i: _safe(i.replace("/", "__")) for i in image_ids})


def tree_names(paths: Iterable[str]) -> dict[str, str]:
    """Path -> the same path of safe names, that no other path has.

    >>> tree_names(["a/b", "a/B", "../c"])
    {'a/b': 'a/b-c14cddc033', 'a/B': 'a/B-f42815d162', '../c': '_/c'}
    """
    return _unique({p: "/".join(map(_safe, p.split("/"))) for p in paths})


def _safe(name: str) -> str:
    safe = re.sub(r'[\\:*?"<>|\x00-\x1f\x7f]', "_", name)
    safe = re.sub(r"^\.+", "_", safe) or "_"  # a leading dot would hide it
    cut = safe.encode()[:MOST_BYTES].decode(errors="ignore")
    return cut if cut == safe else f"{cut[:-11]}-{_hash(name)}"


def _unique(names: dict[str, str]) -> dict[str, str]:
    shared = Counter(map(_seen, names.values()))
    folders = {_seen(n).rpartition("/")[0] for n in names.values()}
    folders |= {f[: at.start()] for f in folders for at in re.finditer("/", f)}

    def alone(name: str) -> bool:
        low = _seen(name)
        return shared[low] == 1 and not any(low + suffix in folders for suffix in SUFFIXES)

    return {key: n if alone(n) else f"{n}-{_hash(key)}" for key, n in names.items()}


def _seen(name: str) -> str:
    """A name as some file systems see it: a is A, and "ö" is one however it is typed."""
    return unicodedata.normalize("NFC", name).casefold()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
