"""A catalog's images and the predictions about them, matched by identity and brought to one frame.

An image's identity is its path under the root, or its id; a bare file name counts only where it
is the only one of its kind on both sides. Predictions made on copies of another size are scaled
by the stated sizes or refused. What could not be used is counted, never dropped in silence.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.data.frames import ROUNDING_PX
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile
from hilum.evaluate.truth import Size, truths_of

Parts = tuple[str, ...]

BEYOND = 1.01  # boxes may reach this far past the image before the frame must be another one
SHOWN = 3  # names in a sentence, and in JSON


Fate = Literal["answered", "refused", "failed", "missing", "ambiguous"]


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the images of a catalog and of the predictions."""

    images: int
    answered: int
    refused: int  # by the model: no answer, never a normal image
    failed: int
    missing: tuple[str, ...]  # images without a prediction
    ambiguous: tuple[str, ...]  # images that several predictions may mean, or share one
    unknown: tuple[str, ...]  # predictions of no image of the whole catalog
    by_name: tuple[str, ...]  # predictions matched by file name (folders differ) or its number
    scaled: int  # predictions of another size than the catalog's
    unstated: int  # predictions that do not say the size of their image
    floor: float  # score below which the run kept no box; 0: all, or nobody says
    columns: tuple[str, ...] = ()  # of a table of scores, that were not read

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
        sentences = (
            (self.refused, "image|refused by the model", ()),
            (self.failed, "image|failed in the model", ()),
            (len(self.missing), "image|without a prediction", self.missing),
            (len(self.ambiguous), "image|without one prediction of its own", self.ambiguous),
            (len(self.unknown), "prediction|of no image of the catalog", self.unknown),
            (len(self.by_name), "prediction|matched by file name or number alone", self.by_name),
            (self.scaled, "prediction|made at another size, scaled to the catalog's", ()),
            (self.unstated, "prediction|without a stated size, taken in the catalog's pixels", ()),
            (len(self.columns), "column|of the table not read as scores", self.columns),
        )
        lines = [_sentence(n, words, names) for n, words, names in sentences if n]
        if self.floor:
            lines.append(
                f"no box below {self.floor:.3g} was kept: AP, FROC and curves of boxes end there, "
                "and fall short; hilum predict --threshold 0 keeps all"
            )
        return lines


def _sentence(count: int, words: str, names: Sequence[str]) -> str:
    noun, _, rest = words.partition("|")
    more = ", …" if len(names) > SHOWN else ""
    listed = f": {', '.join(names[:SHOWN])}{more}" if names else ""
    return f"{count:,} {noun}{'' if count == 1 else 's'} {rest}{listed}"


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """(n,) predictions of a catalog's images, in the catalog's pixels."""

    ids: tuple[str, ...]
    images: tuple[ImagePredictions | None, ...]  # None without an answer
    fates: tuple[Fate, ...]
    names: tuple[str | None, ...]  # which prediction
    by_name: frozenset[str]
    scaled: NDArray[np.bool_]
    unstated: NDArray[np.bool_]
    unknown: tuple[str, ...]  # predictions of none of the whole catalog's images
    floor: float = 0.0  # of the boxes' scores
    columns: tuple[str, ...] = ()  # of a table of scores, that were not read

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(n,) whether the image has an answer."""
        return np.array([image is not None for image in self.images], np.bool_)

    @property
    def account(self) -> Account:
        def of(fate: Fate) -> tuple[str, ...]:
            return tuple(i for i, own in zip(self.ids, self.fates, strict=True) if own == fate)

        return Account(
            images=len(self.ids),
            answered=len(of("answered")),
            refused=len(of("refused")),
            failed=len(of("failed")),
            missing=of("missing"),
            ambiguous=of("ambiguous"),
            unknown=self.unknown,
            by_name=tuple(n for n in self.names if n in self.by_name),
            scaled=int(self.scaled.sum()),
            unstated=int(self.unstated.sum()),
            floor=self.floor,
            columns=self.columns,
        )

    def only(self, ids: Collection[str]) -> Answers:
        """The same, with the answers of these images alone."""
        pairs = zip(self.ids, self.images, strict=True)
        return replace(self, images=tuple(one if i in ids else None for i, one in pairs))

    def where(self, keep: NDArray[np.bool_]) -> Answers:
        """The images for which `keep` is true."""
        rows = np.flatnonzero(keep).tolist()
        return replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            images=tuple(self.images[i] for i in rows),
            fates=tuple(self.fates[i] for i in rows),
            names=tuple(self.names[i] for i in rows),
            scaled=self.scaled[keep],
            unstated=self.unstated[keep],
        )


def match_answers(catalog: Catalog, predictions: PredictionFile) -> Answers:
    """What was predicted of each image of the catalog.

    Give the whole catalog, and take a split of the result: a name is only as good as it is
    unique among all images.

    Raises:
        DataError: a prediction whose size is neither that of the image nor of a scaled copy, or
            boxes that lie outside.
    """
    truths = truths_of(catalog)
    names = tuple(n for n in predictions.images if not n.endswith("_study"))
    ids = [truth.image_id for truth in truths]
    matched, ambiguous, by_name = match_names(ids, catalog.table["path"].tolist(), names)
    given = [None if name is None else predictions.images[name] for name in matched]
    images = [one if one is not None and one.status == "analysed" else None for one in given]
    pairs, used = list(zip(images, truths, strict=True)), set(matched)
    return Answers(
        ids=tuple(ids),
        images=tuple(one and in_frame(one, t.size, t.image_id) for one, t in pairs),
        fates=tuple(_fate(one, i in ambiguous) for one, i in zip(given, ids, strict=True)),
        names=tuple(matched),
        by_name=frozenset(by_name),
        scaled=np.array([one is not None and t.size.scales(one.size) for one, t in pairs], bool),
        unstated=np.array(
            [
                one is not None and len(one.boxes) > 0 and (one.size is None or not t.size.known)
                for one, t in pairs
            ],
            bool,
        ),
        unknown=tuple(dict.fromkeys(n for n in names if n not in used)),
        floor=predictions.floor,
        columns=predictions.left_out,
    )


def _fate(given: ImagePredictions | None, ambiguous: bool) -> Fate:
    if given is None:
        return "ambiguous" if ambiguous else "missing"
    if given.status == "analysed":
        return "answered"
    return "refused" if given.status == "refused" else "failed"


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
    own = np.array(size.own)
    slack = own * (BEYOND - 1) + ROUNDING_PX
    ends = boxes.reshape(-1, 2)  # of all boxes, from corner to corner
    if ((ends < -slack) | (ends > own + slack)).any():
        low, high = (end.round().astype(int).tolist() for end in (ends.min(0), ends.max(0)))
        raise DataError(
            f"{image}: boxes reach from {_by(low)} to {_by(high)} px, but the catalog's image has "
            f"{_by(size.own)} px; needed: boxes in the pixels of the catalog's images. The "
            "predictions were made on files of another size: predict on the catalog's own files"
        )
    return replace(one, boxes=boxes, size=size.own)


def _by(size: Sequence[int]) -> str:
    return f"{size[0]} × {size[1]}"


class Matched(NamedTuple):
    """Which prediction is of which image."""

    names: list[str | None]  # the prediction of each image
    ambiguous: set[str]  # ids that fit several
    by_name: tuple[str, ...]  # matched by a part of the path that leaves out folders of both sides


def match_names(ids: Sequence[str], paths: Sequence[str], names: Sequence[str]) -> Matched:
    """Which prediction is of which image.

    In this order: equal to id or path; under one root that explains every prediction of a known
    file name; the longest end of a path that no other image and no other prediction has; the
    file's stem or the id, where it is the only one on both sides; the number that both are, where
    a spreadsheet took its leading zeros. Letters' case and how marks on them are typed say nothing
    where nothing else fits.
    """
    sides = _Sides.of(ids, paths, names)
    depth = max((len(parts) for parts in sides.paths), default=1)
    steps = [_exact(sides), _under_root(sides)]
    steps += [_only_ones(sides, sides.ends(k)) for k in range(depth, 0, -1)]
    steps.append(_only_ones(sides, sides.stems()))
    loose = [_only_ones(sides, sides.stems(plain)) for plain in (str.casefold, _number)]
    by_row: dict[int, str] = {}
    used: set[str] = set()
    alike: set[str] = set()
    for pairs in (*steps, *loose):
        for row, name in pairs:
            if row not in by_row and name not in used:
                by_row[row] = name
                used.add(name)
                alike |= {name} if pairs in loose else set()
    left = {image_stem(name) for name in names if name not in used}
    ambiguous = {
        image
        for row, image in enumerate(ids)
        if row not in by_row and {image_stem(paths[row]), image_stem(image)} & left
    }
    by_name = tuple(n for row, n in by_row.items() if n in alike or _folders_differ(sides, row, n))
    return Matched(
        names=[by_row.get(row) for row in range(len(ids))], ambiguous=ambiguous, by_name=by_name
    )


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

    def stems(self, plain: Callable[[str], str] = str) -> tuple[list[set[Parts]], dict[str, Parts]]:
        """Stems of path and id, and of each prediction's name; the id too, which may end in .png
        (NIH's do) where its copy is called .png.png.

        Args:
            plain: what of a stem is compared; "" is nothing.
        """
        images: list[set[Parts]] = [
            {
                (plain(stem),)
                for stem in (
                    *(image_stem(image), *_parts(image)[-1:]),
                    *([image_stem(parts[-1])] if parts else []),
                )
                if plain(stem)
            }
            for image, parts in zip(self.ids, self.paths, strict=True)
        ]
        stems = {name: plain(image_stem(parts[-1])) for parts, name in self.names.items()}
        return images, {name: (stem,) for name, stem in stems.items() if stem}


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
    same = unicodedata.normalize("NFC", name)
    return tuple(p for p in re.split(r"[/\\!]+", same) if p not in ("", ".")) or ("",)


def _number(stem: str) -> str:
    """The number that a stem is, without leading zeros and an end of .0; else nothing."""
    match = re.fullmatch(r"0*(\d{1,30}?)(\.0+)?", stem.strip(), re.ASCII)
    return match[1] if match else ""


def image_stem(name: str) -> str:
    """The file's name without its ending, or the id; those of uids are no endings."""
    last = re.sub(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", "", _parts(name)[-1])
    return last.removesuffix("_image")
