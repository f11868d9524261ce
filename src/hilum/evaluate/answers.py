"""A catalog's images and the predictions about them, matched by identity and brought to one frame.

An image's identity is its path under the root, or its id; a bare file name counts only where it
is the only one of its kind on both sides. Predictions made on copies of another size are scaled
by the stated sizes or refused. What could not be used is counted, never dropped in silence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile
from hilum.evaluate.truth import ROUNDING, Size, truths_of

Parts = tuple[str, ...]

BEYOND = 1.01  # boxes may reach this far past the image before the frame must be another one
SHOWN = 3  # names in a sentence, and in JSON


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the images of a catalog and of the predictions."""

    images: int
    answered: int
    refused: int  # by the model: no answer, never a normal image
    failed: int
    missing: tuple[str, ...]  # images without a prediction
    ambiguous: tuple[str, ...]  # images that several predictions may mean, or share one
    unknown: tuple[str, ...]  # predictions of no image of the catalog
    by_name: tuple[str, ...]  # predictions matched by file name: their folders differ
    scaled: int  # predictions of another size than the catalog's
    unstated: int  # predictions that do not say the size of their image

    @property
    def unanswered(self) -> int:
        return self.images - self.answered

    def to_json(self) -> dict[str, Any]:
        """Counts, and the first names of each list."""
        out: dict[str, Any] = {}
        for name, value in asdict(self).items():
            out[name] = len(value) if isinstance(value, tuple) else value
            if isinstance(value, tuple) and value:
                out[f"first_{name}"] = list(value[:SHOWN])
        return out

    def lines(self) -> list[str]:
        """What a reader must know, in sentences; none if every image has its one prediction."""
        told = (
            (self.refused, "images were refused by the model", ()),
            (self.failed, "images failed in the model", ()),
            (len(self.missing), "images have no prediction", self.missing),
            (len(self.ambiguous), "images have no one prediction that is theirs", self.ambiguous),
            (len(self.unknown), "predictions are of no image of the catalog", self.unknown),
            (len(self.by_name), "predictions were matched by file name alone", self.by_name),
            (self.scaled, "predictions were made at another size and scaled to the catalog's", ()),
            (
                self.unstated,
                "predictions or their images state no size: taken to be of the catalog's pixels",
                (),
            ),
        )
        return [f"{n:,} {words}{_first(names)}" for n, words, names in told if n]


def _first(names: Sequence[str]) -> str:
    more = ", …" if len(names) > SHOWN else ""
    return f": {', '.join(names[:SHOWN])}{more}" if names else ""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """(n,) predictions of the catalog's images, in the catalog's pixels."""

    names: tuple[str | None, ...]  # which prediction, None without one
    images: tuple[ImagePredictions | None, ...]  # None without an answer
    account: Account

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(n,) whether the image has an answer."""
        return np.array([image is not None for image in self.images], np.bool_)

    def where(self, keep: NDArray[np.bool_], ids: Sequence[str]) -> Answers:
        """The images for which `keep` is true; `ids` are those of all."""
        chosen = np.flatnonzero(keep).tolist()
        names = tuple(self.names[i] for i in chosen)
        images = tuple(self.images[i] for i in chosen)
        kept = {ids[i] for i in chosen}
        account = replace(
            self.account,
            images=len(chosen),
            answered=sum(one is not None for one in images),
            missing=tuple(i for i in self.account.missing if i in kept),
            ambiguous=tuple(i for i in self.account.ambiguous if i in kept),
        )
        return Answers(names=names, images=images, account=account)


def match_answers(catalog: Catalog, predictions: PredictionFile) -> Answers:
    """What was predicted of each image of the catalog.

    Give the whole catalog, and take a split of the result: a name is only as good as it is
    unique among all images.

    Raises:
        DataError: a prediction whose size is neither that of the image nor of a scaled copy, or
            boxes that lie outside.
    """
    names = tuple(n for n in predictions.images if not n.endswith("_study"))
    ids = catalog.table["image_id"].astype(str).tolist()
    matched, ambiguous, by_name = match_names(ids, catalog.table["path"].tolist(), names)
    sizes = [truth.size for truth in truths_of(catalog)]
    images: list[ImagePredictions | None] = []
    for row, name in enumerate(matched):
        one = None if name is None else predictions.images[name]
        analysed = one is not None and one.status == "analysed"
        images.append(in_frame(one, sizes[row], ids[row]) if one and analysed else None)
    given = [predictions.images[n] for n in matched if n is not None]
    heard = [one for one in given if one.status == "analysed"]
    account = Account(
        images=len(ids),
        answered=len(heard),
        refused=sum(one.status == "refused" for one in given),
        failed=sum(one.status == "failed" for one in given),
        missing=tuple(
            i for i, n in zip(ids, matched, strict=True) if n is None and i not in ambiguous
        ),
        ambiguous=tuple(i for i in ids if i in ambiguous),
        unknown=tuple(n for n in names if n not in set(matched)),
        by_name=by_name,
        scaled=sum(
            one.size is not None and size.known and one.size != size.own
            for one, size in _both(matched, predictions, sizes)
        ),
        unstated=sum(
            (one.size is None or not size.known) and len(one.boxes) > 0
            for one, size in _both(matched, predictions, sizes)
        ),
    )
    return Answers(names=tuple(matched), images=tuple(images), account=account)


def _both(
    matched: Sequence[str | None], predictions: PredictionFile, sizes: Sequence[Size]
) -> Iterator[tuple[ImagePredictions, Size]]:
    """Analysed predictions with the size of their image."""
    for name, size in zip(matched, sizes, strict=True):
        if name is not None and predictions.images[name].status == "analysed":
            yield predictions.images[name], size


def in_frame(one: ImagePredictions, size: Size, image: str) -> ImagePredictions:
    """The predictions in the pixels of the catalog's image.

    Raises:
        DataError: made on something else than the image or a scaled copy of it.
    """
    if not size.known:
        return one
    boxes = one.boxes
    if one.size is not None and one.size != size.own:
        scale = size.scale(one.size)
        if scale is None:
            raise DataError(
                f"{image}: predicted on {_by(one.size)} px, but the catalog's image has "
                f"{_by(size.own)} px, another shape; needed: predictions of this image or of a "
                "copy of its shape. Predict on the catalog's own files"
            )
        boxes = boxes * np.array(scale * 2)
    if len(boxes) and (boxes[:, 2:].max(axis=0) > np.array(size.own) * BEYOND + ROUNDING).any():
        reach = boxes[:, 2:].max(axis=0).round().astype(int).tolist()
        raise DataError(
            f"{image}: boxes reach to {_by(reach)} px, but the catalog's image has "
            f"{_by(size.own)} px; needed: boxes in the pixels of the catalog's images. The "
            "predictions were made on files of another size: predict on the catalog's own files"
        )
    return replace(one, boxes=boxes, size=size.own)


def _by(size: Sequence[int]) -> str:
    return f"{size[0]} × {size[1]}"


def match_names(
    ids: Sequence[str], paths: Sequence[str], names: Sequence[str]
) -> tuple[list[str | None], set[str], tuple[str, ...]]:
    """Which prediction is of which image.

    In this order: equal to id or path; under one root that explains every prediction of a known
    file name; the longest end of a path that no other image and no other prediction has; the
    file's stem or the id, where it is the only one on both sides.

    Returns:
        The prediction's name for each image or None; ids that fit several; predictions matched
        by a part of the path that leaves out folders of both sides.
    """
    sides = _Sides.of(ids, paths, names)
    depth = max((len(parts) for parts in sides.paths), default=1)
    steps = [_exact(sides), _under_root(sides)]
    steps += [_only_ones(sides, sides.ends(k)) for k in range(depth, 0, -1)]
    steps.append(_only_ones(sides, sides.stems()))
    found: dict[int, str] = {}
    used: set[str] = set()
    for pairs in steps:
        for row, name in pairs:
            if row not in found and name not in used:
                found[row] = name
                used.add(name)
    left = {_stem(name) for name in names if name not in used}
    ambiguous = {
        image
        for row, image in enumerate(ids)
        if row not in found and {_stem(paths[row]), _stem(image)} & left
    }
    by_name = tuple(n for row, n in found.items() if _folders_differ(sides, row, n))
    return [found.get(row) for row in range(len(ids))], ambiguous, by_name


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """Both sides of the match, names as their parts."""

    ids: Sequence[str]
    paths: Sequence[Parts]  # of the images, () without a file
    names: Mapping[Parts, str]  # of the predictions

    @classmethod
    def of(cls, ids: Sequence[str], paths: Sequence[str], names: Sequence[str]) -> _Sides:
        parts = [_parts(path) if path else () for path in paths]
        return cls(ids=ids, paths=parts, names={_parts(name): name for name in names})

    def ends(self, k: int) -> tuple[list[set[Parts]], dict[str, Parts]]:
        """The last `k` parts of each image's path and each prediction's name."""
        images = [{parts[-k:]} if len(parts) >= k else set[Parts]() for parts in self.paths]
        return images, {name: p[-k:] for p, name in self.names.items() if len(p) >= k}

    def stems(self) -> tuple[list[set[Parts]], dict[str, Parts]]:
        """Stems of path and id, and of each prediction's name."""
        images: list[set[Parts]] = [
            {(_stem(image),), *([(_stem(parts[-1]),)] if parts else [])}
            for image, parts in zip(self.ids, self.paths, strict=True)
        ]
        return images, {name: (_stem(parts[-1]),) for parts, name in self.names.items()}


Pairs = Iterable[tuple[int, str]]


def _exact(sides: _Sides) -> Pairs:
    for row, (image, path) in enumerate(zip(sides.ids, sides.paths, strict=True)):
        for key in (_parts(image), (f"{image}_image",), path):
            if key in sides.names:
                yield row, sides.names[key]
                break


def _under_root(sides: _Sides) -> Pairs:
    """Predictions below one folder, whatever it is called."""
    by_path = {parts: row for row, parts in enumerate(sides.paths) if parts}
    last = {parts[-1] for parts in by_path}
    candidates = [parts for parts in sides.names if parts[-1] in last]
    first = candidates[0] if candidates else ()
    for k in range(len(first)):
        tails = {parts: parts[k:] for parts in candidates if parts[:k] == first[:k]}
        if len(tails) == len(candidates) and all(tail in by_path for tail in tails.values()):
            return [(by_path[tail], sides.names[parts]) for parts, tail in tails.items()]
    return []


def _only_ones(sides: _Sides, keys: tuple[list[set[Parts]], dict[str, Parts]]) -> Pairs:
    """Pairs of one key that no other image and no other prediction has."""
    of_images, of_names = keys
    images = Counter(key for own in of_images for key in own)
    predictions = Counter(of_names.values())
    only = {key: name for name, key in of_names.items() if predictions[key] == 1}
    for row, own in enumerate(of_images):
        fits = {only[key] for key in own if images[key] == 1 and key in only}
        if len(fits) == 1:
            yield row, fits.pop()


def _folders_differ(sides: _Sides, row: int, name: str) -> bool:
    """Whether neither name is the end of the other."""
    path, parts = sides.paths[row], _parts(name)
    if parts in (_parts(sides.ids[row]), (f"{sides.ids[row]}_image",)):
        return False
    k = min(len(path), len(parts))
    return k > 1 and path[-k:] != parts[-k:]


def _parts(name: str) -> Parts:
    """ "set.zip!a/b.png" -> ("set.zip", "a", "b.png"); "." and double bars say nothing."""
    return tuple(p for p in re.split(r"[/\\!]+", name) if p not in ("", ".")) or ("",)


def _stem(name: str) -> str:
    """The file's name without its ending, or the id; those of uids are no endings."""
    last = re.sub(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", "", _parts(name)[-1])
    return last.removesuffix("_image")
