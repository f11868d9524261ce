"""Image ids -> file names without folders, each its own."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable


def file_names(image_ids: Iterable[str]) -> dict[str, str]:
    """Image id -> stem. Characters that file systems refuse become "_"; twins get a hash.

    Args:
        image_ids: of one catalog; may hold "/" (the folder and CheXpert adapters do).

    >>> file_names(["a/b", "c"])
    {'a/b': 'a__b', 'c': 'c'}
    """
    ids = list(image_ids)
    plain = {i: re.sub(r'[\\:*?"<>|\x00-\x1f]', "_", i.replace("/", "__"))[:200] for i in ids}
    # Some file systems do not tell a from A.
    shared = Counter(name.lower() for name in plain.values())
    return {
        i: name if shared[name.lower()] == 1 and name.strip(".") else f"{name}-{_hash(i)}"
        for i, name in plain.items()
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
