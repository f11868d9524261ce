"""What the folders of a tree say of its images: their class, their part, where their masks lie.

Knows no table and no pixels. Nothing is taken from folders unasked: a ward is no class. What looks
like classes or masks and was not asked for is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.match import NEUTRAL, Files, match, stem
from hilum.data.adapters.source import Source
from hilum.data.adapters.values import split_of, split_of_path
from hilum.data.references import inner

MOST_CLASSES = 30  # more folders than these are rather patients or studies
MASK_FOLDERS = frozenset(("mask", "masks", "segmentation", "segmentations"))
STAR = "*"
MASK_ENDINGS = ("_mask", "-mask", "_seg")  # of a mask's name beyond its image's


def labels(paths: Sequence[str], source: Source) -> pd.DataFrame:
    """path, split and label_<class> (1 or 0, exclusive) of images in a folder a class.

    Of train/NORMAL/images/a.png the class is NORMAL: folders that name a part or say nothing
    (images), and those that all images share, are none. An image outside of them is unknown.

    Raises:
        DataError: fewer than two classes, or so many folders that they can be no classes.
    """
    classes = _classes(paths)
    names = sorted({*classes} - {""})
    if not 2 <= len(names) <= MOST_CLASSES:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise DataError(
            f"set 'folder': classes=folders: {len(names)} folders of images ({shown or 'none'}); "
            f"needed: 2 to {MOST_CLASSES}, one a class. Give a table otherwise: table=labels.csv"
        )
    out = pd.DataFrame({"path": list(paths), "split": [split_of_path(p) for p in paths]})
    outside = [p for p, name in zip(paths, classes, strict=True) if not name]
    text = "images lie in no folder of a class: their classes are unknown"
    source.skip("no-row", len(outside), text, next(iter(outside), ""))
    for name in names:
        out[f"label_{name}"] = [float(name == f) if f else float("nan") for f in classes]
    return out


def masks(
    places: Mapping[str, str],
    everything: Iterable[str],
    kinds: tuple[str, ...],
    source: Source,
    without_is_empty: bool = False,
) -> tuple[pd.DataFrame, set[str]]:
    """path and mask_<name> of images whose masks lie in a folder under the images' names, or beside
    the images under a name of their own.

    Args:
        places: mask -> its folder, anywhere in the tree: masks/a.png, train/masks/a_mask.png; or,
            with a star for the image's name, what it is called in the image's folder: *_mask.
        everything: all paths of the set.
        kinds: suffixes that masks may have.
        without_is_empty: an image without a mask has nothing drawn; else it is unknown.

    Raises:
        DataError: a folder without masks, none of which is an image's, or two masks of one image.
    """
    files = [p for p in everything if p.lower().endswith(kinds)]
    placed = {p: n for n, place in places.items() for p in files if _is_mask(place, p)}
    images = Files([p for p in files if p not in placed], source.root)
    beside = sorted({f for p in images.paths for f in _folders(p) if f.lower() in NEUTRAL})
    out = pd.DataFrame({"path": sorted(images.paths)})
    for name, place in places.items():
        own = [p for p, n in placed.items() if n == name]
        owners = [""] * len(own)
        for folder in ("", *beside):  # Train/COVID/masks/a.png is of Train/COVID/images/a.png
            tried = match([_image_of(p, place, folder) for p in own], images)
            owners = [before or now for before, now in zip(owners, tried, strict=True)]
        lost = [p for p, image in zip(own, owners, strict=True) if not image]
        if len(lost) == len(own):
            raise DataError(
                f"set 'folder': masks.{name}={place}: {len(own)} masks in folders of that name, "
                f"none of an image{f' (first: {lost[0]})' if lost else ''}; needed: a folder whose "
                f"files are named as the images are, or so and {', '.join(MASK_ENDINGS)}; or, of "
                f"masks beside their images, their names with a star: masks.{name}=*_mask"
            )
        text = f"masks of {name} have no image"
        source.skip("annotation-lost", len(lost), text, next(iter(lost), ""))
        of = _one_each(own, owners)
        out[f"mask_{name}"] = out["path"].map(of)
        text = f"images have no mask of {name}: "
        if without_is_empty:
            out[f"mask_{name}"] = out[f"mask_{name}"].fillna("")
            source.note(len(out) - len(of), text + "nothing drawn (no_mask=empty)")
        else:
            text += "unknown; if that means that nothing is there: --option no_mask=empty"
            source.note(len(out) - len(of), text)
    return out, set(placed)


def hint(paths: Sequence[str], source: Source) -> None:
    """Say what folders look like, where nobody said what they are."""
    for folder in sorted({f for p in paths for f in _folders(p) if f.lower() in MASK_FOLDERS}):
        count = sum(folder in _folders(p) for p in paths)
        text = f"images lie in {folder!r} and are taken for radiographs"
        source.note(count, f"{text}; if they are masks: --option masks.NAME={folder}")
    stems = {stem(p) for p in paths}
    for end in MASK_ENDINGS:
        own = [s for s in sorted(stems) if s.endswith(end) and s.removesuffix(end) in stems]
        text = f"images are named as others and {end}, and are taken for radiographs"
        option = f"--option masks.NAME=*{end}"
        source.note(len(own), f"{text} (first: {next(iter(own), '')!r}); if masks: {option}")
    names = sorted({*_classes(paths)} - {""} - NEUTRAL - MASK_FOLDERS)
    if 2 <= len(names) <= MOST_CLASSES and len(paths) > 2 * len(names):
        shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        source.notes.append(
            f"no labels; if folders are classes ({shown}): --option classes=folders"
        )


def _classes(paths: Sequence[str]) -> list[str]:
    """The folder of each image that may be its class, "" for none."""
    ways = [[f for f in _folders(p) if not _says_no_class(f)] for p in paths]
    level = 0
    while ways and all(len(way) > level for way in ways) and len({w[level] for w in ways}) == 1:
        level += 1
    return [way[level] if len(way) > level else "" for way in ways]


def _folders(path: str) -> list[str]:
    return inner(path).replace("\\", "/").split("/")[:-1]


def _says_no_class(folder: str) -> bool:
    return bool(split_of(folder)) or folder.lower() in NEUTRAL


def _is_mask(place: str, path: str) -> bool:
    if STAR in place:
        return bool(_starred(place).fullmatch(stem(inner(path))))
    return f"/{place.strip('/')}/" in f"/{inner(path)}"


def _starred(place: str) -> re.Pattern[str]:
    """Of *_mask: a path whose file is called so; what the star stands for is the group image."""
    before, _, after = place.partition(STAR)
    name = f"{re.escape(before)}(?P<image>[^/]+){re.escape(stem(after))}"
    return re.compile(f"(?P<folders>.*/)?{name}")


def _image_of(mask: str, place: str, folder: str) -> str:
    """What the image of a mask may be called: its path with another folder and no ending."""
    if STAR in place:
        match = _starred(place).fullmatch(stem(inner(mask)))
        return (match["folders"] or "") + match["image"] if match else ""
    instead = f"/{folder}/" if folder else "/"
    name = stem(f"/{inner(mask)}".replace(f"/{place.strip('/')}/", instead, 1).lstrip("/"))
    return next((name.removesuffix(end) for end in MASK_ENDINGS if name.endswith(end)), name)


def _one_each(masks: Sequence[str], images: Sequence[str]) -> dict[str, str]:
    of: dict[str, str] = {}
    for mask, image in zip(masks, images, strict=True):
        if image and of.setdefault(image, mask) != mask:
            raise DataError(f"set 'folder': {of[image]!r} and {mask!r} are both masks of {image!r}")
    return of
