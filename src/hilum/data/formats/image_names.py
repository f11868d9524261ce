"""What an export calls each image and each split of a catalog: the tree of the files is kept, and
no two have one name.
"""

from __future__ import annotations

from collections import Counter

from hilum.data.adapters.match import stem
from hilum.data.adapters.values import split_of
from hilum.data.catalog import Catalog
from hilum.data.formats.file_names import file_names, tree_names
from hilum.data.references import inner

WITHOUT = "no-file"


def split_names(catalog: Catalog) -> dict[str, str]:
    """Split -> the name of its file or folder; images of no split are in "all"."""
    names = file_names([s for s in sorted(catalog.table["split"].unique()) if s])
    return {"": "all", **{s: f"{n}-split" if n.lower() == "all" else n for s, n in names.items()}}


def whole_paths(catalog: Catalog) -> dict[str, str]:
    """Image id -> the path of its file; without one a path that no file could be taken for."""
    names = dict(zip(catalog.table["image_id"], catalog.table["path"], strict=True))
    taken = {_bare(path) for path in names.values() if path}
    for image, name in tree_names([i for i, path in names.items() if not path]).items():
        names[image] = f"{name}-{WITHOUT}.png" if _bare(name) in taken else f"{name}.png"
    return names


def _bare(path: str) -> str:
    return stem(inner(path).rpartition("/")[2]).casefold()


def tree(catalog: Catalog) -> dict[str, str]:
    """Image id -> its file's path without suffix; with it where a.png and a.jpg are there."""
    whole = {image: inner(path) for image, path in whole_paths(catalog).items()}
    short = {image: stem(path) for image, path in whole.items()}
    twins = Counter(short.values())
    own = {i: whole[i] if twins[place] > 1 else place for i, place in short.items()}
    names = tree_names(own.values())
    return {i: names[place] for i, place in own.items()}


def split_tree(catalog: Catalog) -> dict[str, str]:
    """As `tree`, below folders of the splits: YOLO has labels/train/a for images/train/a."""
    parts = split_names(catalog)
    names = tree(catalog)
    out = {}
    for image, split in zip(catalog.table["image_id"], catalog.table["split"], strict=True):
        place = names[image].removeprefix("images/")
        first = place.partition("/")[0]
        inside = not split or first == parts[split] or split_of(first) == split
        out[image] = place if inside else f"{parts[split]}/{place}"
    names, twins = tree_names(out.values()), Counter(out.values())
    return {
        image: names[place] if twins[place] == 1 else f"{names[place]}-{number}"
        for number, (image, place) in enumerate(out.items())
    }
