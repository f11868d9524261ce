"""Predictions -> a challenge's exact submission file, checked as the challenge reads it.

Ids come from the file's name and the study; images without an answer get a valid blank row, as
the challenges want one for every image, and are counted. With the sample submission, its ids and
their order are the file's.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.core.errors import ConfigError, DataError
from hilum.core.files import write_text
from hilum.data.catalog import open_catalog
from hilum.data.formats import runs
from hilum.data.frames import same_shape
from hilum.evaluate.answers import image_stem, match_names
from hilum.evaluate.challenges.from_catalog import SUFFIX, challenge_table
from hilum.evaluate.challenges.siim_acr import masks_of
from hilum.evaluate.challenges.siim_covid import STUDY_COLUMNS, read_boxes
from hilum.evaluate.challenges.tables import challenge_csv, read_table, rsna_predictions
from hilum.evaluate.prediction_files import (
    ImagePredictions,
    PredictionFile,
    number_text,
    rsna_text,
    siim_text,
)

Scores = Mapping[str, float]

SIDE = 1024  # px of every RSNA image and every SIIM-ACR mask
BEST_BOX = "best-box"
IMAGE, STUDY = "_image", "_study"
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """What is written of the predictions."""

    finding: str = ""  # label of boxes, or name of masks; "" is the challenge's own
    threshold: float = 0.0  # boxes of a lower score are left out
    none: str = BEST_BOX  # siim-covid: 1 - best box, a score's name, or "not:NAME" for 1 - it


@dataclass(frozen=True, slots=True)
class Submission:
    """The file and what it is made of."""

    challenge: str
    text: str
    rows: int
    answered: int
    blank: tuple[str, ...]  # refused, failed or without a prediction: valid blank rows
    unknown: tuple[str, ...] = ()  # predictions that the sample does not ask for: left out
    clipped: int = 0  # boxes cut at the image's border
    dropped: Mapping[str, int] = field(default_factory=dict)  # boxes left out, by reason
    unstated: int = 0  # images with boxes of no stated size: taken in the challenge's pixels
    loose: int = 0  # ids that differ from the predictions' in case or leading zeros

    def to_json(self) -> dict[str, Any]:
        out = asdict(self)
        del out["text"]
        for name in ("blank", "unknown"):
            names = out.pop(name)
            out[name] = len(names)
            if names:
                out[f"first_{name}"] = list(names[:SHOWN])
        return out

    def lines(self) -> list[str]:
        """For the terminal."""
        out = [f"{self.challenge}: {self.rows} rows, {self.answered} answered"]
        if self.blank:
            out.append(f"{len(self.blank)} blank: {', '.join(self.blank[:SHOWN])}")
        if self.unknown:
            first = ", ".join(self.unknown[:SHOWN])
            out.append(f"{len(self.unknown)} predictions are not in the sample: {first}")
        if self.loose:
            out.append(f"{self.loose} ids differ from the predictions' in case or leading zeros")
        if self.clipped:
            out.append(f"{self.clipped} boxes cut at the border of their image")
        if self.unstated:
            out.append(f"{self.unstated} images state no size: taken in the challenge's pixels")
        return out + [f"{n} boxes left out: {why}" for why, n in self.dropped.items()]


@dataclass(slots=True)
class _Counts:
    """What happened to boxes while rows were made."""

    clipped: int = 0
    unstated: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def write_submission(
    path: str | Path,
    challenge: str,
    predictions: PredictionFile,
    *,
    sample: Path | None = None,
    settings: Settings | None = None,
) -> Submission:
    """Make, check and write a submission; nothing is written if the check fails.

    Args:
        challenge: a key of `CHALLENGES`.
        predictions: findings.json of `hilum predict`, or a CSV in the challenge's own form.
        sample: the challenge's sample submission, or a catalog (.parquet) of held out images;
            without it the rows are the predictions'.

    Raises:
        ConfigError: an unknown challenge, or predictions of another form.
        DataError: predictions that the challenge would refuse, or none that the sample asks for.
    """
    if challenge not in CHALLENGES:
        raise ConfigError(f"unknown challenge {challenge!r}; known: {', '.join(CHALLENGES)}")
    if predictions.form not in ("findings", challenge):
        raise ConfigError(
            f"predictions are a {predictions.form} file; needed for {challenge}: findings.json of "
            f"hilum predict, or a {challenge} file"
        )
    submission = CHALLENGES[challenge](predictions, sample, settings or Settings())
    write_text(path, submission.text)
    return submission


def _rsna(predictions: PredictionFile, sample: Path | None, settings: Settings) -> Submission:
    columns = ("patientId", "PredictionString")
    wanted = _asked("rsna", sample, columns)
    named = _images(predictions, wanted)
    counts = _Counts()
    rows: dict[str, str] = {}
    for name, image in named.rows.items():
        rows[name] = ""
        if image is not None:
            boxes = _boxes(image, settings, counts, name, square=True)
            rows[name] = rsna_text(boxes)
    text = challenge_csv(columns, rows.items())
    rsna_predictions(_read(text))
    return _submission("rsna", text, len(rows), named, counts=counts)


def _siim_covid(predictions: PredictionFile, sample: Path | None, settings: Settings) -> Submission:
    columns = ("id", "PredictionString")
    wanted = _asked("siim-covid", sample, columns)
    images = None if wanted is None else [i for i in wanted if i.endswith(IMAGE)]
    named = _images(predictions, images, IMAGE)
    counts = _Counts()
    studies = _study_rows(predictions, wanted, _catalog_scores(named, sample))
    rows: dict[str, str] = {name: text for name, (text, _) in studies.items()}
    for name, image in named.rows.items():
        rows[name] = "none 1 0 0 1 1"
        if image is not None:
            boxes = _boxes(image, settings, counts, name)
            score = {"none": _none(image, boxes, settings.none)}
            rows[name] = siim_text(replace(boxes, whole=score))
    ordered = rows if wanted is None else {name: rows[name] for name in wanted}
    text = challenge_csv(columns, ordered.items())
    read_boxes(_read(text), "submission")
    blank = [name for name, (_, known) in studies.items() if not known]
    submission = _submission("siim-covid", text, len(ordered), named, counts=counts)
    return replace(
        submission,
        answered=submission.answered + len(studies) - len(blank),
        blank=(*submission.blank, *blank),
    )


def _siim_acr(predictions: PredictionFile, sample: Path | None, settings: Settings) -> Submission:
    columns = ("ImageId", "EncodedPixels")
    named = _images(predictions, _asked("siim-acr", sample, columns))
    finding = settings.finding or "pneumothorax"
    known = {n for image in named.rows.values() if image for n in image.entry.get("masks", {})}
    if finding not in known:
        raise DataError(
            f"no image has a mask {finding!r}; the predictions have "
            f"{', '.join(sorted(known)) or 'none'}. Predict with a pipeline that writes masks, or "
            "name one with --finding"
        )
    rows: dict[str, str] = {}
    for name, image in named.rows.items():
        rows[name] = runs.EMPTY
        if image is not None and finding in image.entry.get("masks", {}):
            _square(name, image.size)
            rows[name] = runs.encode(predictions.mask(image, finding, SIDE, SIDE))
    text = challenge_csv(columns, rows.items())
    masks_of(_read(text), "submission")
    return _submission("siim-acr", text, len(rows), named)


CHALLENGES: dict[str, Callable[[PredictionFile, Path | None, Settings], Submission]] = {
    "rsna": _rsna,
    "siim-covid": _siim_covid,
    "siim-acr": _siim_acr,
}


@dataclass(frozen=True, slots=True)
class _Named:
    """Images by the challenge's id, None without an answer, and what nobody asked for."""

    rows: Mapping[str, ImagePredictions | None]
    unknown: tuple[str, ...]
    loose: int = 0  # matched without letters' case or leading zeros


def _asked(challenge: str, sample: Path | None, columns: Sequence[str]) -> list[str] | None:
    """The ids of a sample submission in its order; several rows of one count once."""
    if sample is None:
        return None
    own = challenge_table(challenge, sample) if sample.suffix == SUFFIX else sample
    table = read_table(own, columns, f"sample {sample}")
    return list(dict.fromkeys(table[columns[0]].str.strip()))


def _images(predictions: PredictionFile, wanted: Sequence[str] | None, suffix: str = "") -> _Named:
    names = tuple(name for name in predictions.images if not name.endswith(STUDY))
    if wanted is None:
        ids = _own_ids(names, predictions.form, suffix)
        return _Named({i: _answered(predictions, n) for i, n in ids.items()}, ())
    bare = [name.removesuffix(suffix) for name in wanted]
    matched, ambiguous, loose = match_names(bare, [""] * len(bare), names)
    if ambiguous:
        raise DataError(
            f"{len(ambiguous)} ids fit several predictions, {min(ambiguous)!r} first; needed: one "
            "file of that name"
        )
    if not any(matched):
        raise DataError(
            f"no id of the sample is in the predictions: it asks for {wanted[0]!r}, they have "
            f"{next(iter(names), 'nothing')!r}"
        )
    used = set(matched)
    rows = {
        i: None if n is None else _answered(predictions, n)
        for i, n in zip(wanted, matched, strict=True)
    }
    return _Named(rows, tuple(name for name in names if name not in used), len(loose))


def _own_ids(names: Sequence[str], form: str, suffix: str) -> dict[str, str]:
    """Challenge id -> prediction; the id is the file's name without its ending."""
    ids: dict[str, str] = {}
    for name in names:
        own = name if form != "findings" else image_stem(name) + suffix
        if own in ids:
            raise DataError(
                f"{ids[own]!r} and {name!r} would both be {own!r}; predict on one of them, or "
                "give --sample"
            )
        ids[own] = name
    return ids


def _answered(predictions: PredictionFile, name: str) -> ImagePredictions | None:
    image = predictions.images[name]
    return image if image.status == "analysed" else None


def _boxes(
    image: ImagePredictions,
    settings: Settings,
    counts: _Counts,
    name: str,
    *,
    square: bool = False,
) -> ImagePredictions:
    """The finding's boxes from the threshold on, inside the image.

    Args:
        square: the challenge's images are `SIDE` px square; predictions on copies are scaled.
    """
    finding = settings.finding or "opacity"
    labels = np.array([label == finding for label in image.labels], np.bool_)
    shown = image.scores >= settings.threshold
    counts.dropped["of another label"] += int((~labels).sum())
    counts.dropped["under the threshold"] += int((labels & ~shown).sum())
    boxes, scores, size = image.boxes[labels & shown], image.scores[labels & shown], image.size
    # A CSV in the challenge's own form is in its pixels; findings.json says of what it is.
    counts.unstated += size is None and len(boxes) > 0 and bool(image.entry)
    if square and size is not None and size != (SIDE, SIDE):
        _square(name, size)
        boxes, size = boxes * (SIDE / size[0]), (SIDE, SIDE)
    if size is not None:
        inside = boxes.clip(0, [*size, *size])
        counts.clipped += int((inside != boxes).any(axis=1).sum())
        boxes = inside
    real = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    counts.dropped["without an area"] += int((~real).sum())
    kept = boxes[real]
    return ImagePredictions(
        boxes=kept,
        scores=scores[real],
        labels=(finding,) * len(kept),
        whole=image.whole,
        size=size,
    )


def _square(name: str, size: tuple[int, int] | None) -> None:
    """Raises DataError unless an image of `size` is one of the challenge's or a copy of one."""
    if size is not None and not same_shape(size, (SIDE, SIDE)):
        raise DataError(
            f"{name}: predicted on {size[0]} × {size[1]} px, but the challenge's images are "
            f"{SIDE} × {SIDE}; needed: its own files, or square copies of them"
        )


def _none(image: ImagePredictions, boxes: ImagePredictions, how: str) -> float:
    """Probability that the image shows nothing."""
    if "none" in image.whole and how == BEST_BOX and not image.entry:
        return image.whole["none"]  # a file of the challenge's own form says it
    if how == BEST_BOX:
        return 1.0 - float(boxes.scores.max(initial=0.0))
    negated, name = how.startswith("not:"), how.removeprefix("not:")
    if name not in image.whole:
        raise DataError(
            f"no image score {name!r} for `none`; the model gives "
            f"{', '.join(sorted(image.whole)) or 'none'}"
        )
    return 1.0 - image.whole[name] if negated else image.whole[name]


def _study_rows(
    predictions: PredictionFile, wanted: Sequence[str] | None, in_catalog: Mapping[str, Scores]
) -> dict[str, tuple[str, bool]]:
    """Study id -> its text, and whether the model has scores of the four appearances.

    A study is named by its uid or, where a sample asks for it, by the catalog or by the folder of
    study/series/image.
    """
    by_uid, by_folder = _study_scores(predictions)
    ids = list(by_uid) if wanted is None else [i for i in wanted if i.endswith(STUDY)]
    out = {}
    for name in ids:
        scores = by_uid.get(name) or in_catalog.get(name) or by_folder.get(name, {})
        parts = [
            f"{label} {number_text(scores[label])} 0 0 1 1"
            for label in STUDY_COLUMNS
            if label in scores
        ]
        out[name] = (" ".join(parts) or "negative 1 0 0 1 1", bool(parts))
    return out


def _study_scores(predictions: PredictionFile) -> tuple[dict[str, Scores], dict[str, Scores]]:
    """Scores of each study by the id of its uid, and by that of its folder."""
    by_uid: dict[str, Scores] = {
        name: image.whole for name, image in predictions.images.items() if name.endswith(STUDY)
    }
    by_folder: dict[str, Scores] = {}
    names = list(predictions.images)
    for study in predictions.header.get("studies") or []:
        folders = {_folder(names[i]) for i in study["images"]}
        if study["study_instance_uid"]:
            by_uid[f"{study['study_instance_uid']}{STUDY}"] = study["scores"]
        if len(folders) == 1:
            by_folder[f"{folders.pop()}{STUDY}"] = study["scores"]
    return by_uid, by_folder


def _catalog_scores(named: _Named, sample: Path | None) -> dict[str, Scores]:
    """Study id -> means over its images, where a catalog says which they are: images (PNG) carry
    no uid of their study."""
    if sample is None or sample.suffix != SUFFIX:
        return {}
    table = open_catalog(sample).table
    images: dict[str, list[Scores]] = {}
    for name, study in zip(table["image_id"], table["study"], strict=True):
        image = named.rows.get(f"{name}{IMAGE}")
        if study and image is not None:
            images.setdefault(f"{study}{STUDY}", []).append(image.whole)
    return {
        study: {n: float(np.mean([one[n] for one in own if n in one])) for n in own[0]}
        for study, own in images.items()
    }


def _folder(name: str) -> str:
    """The study's folder in study/series/image."""
    parts = name.replace("\\", "/").replace("!", "/").split("/")
    return parts[-3] if len(parts) > 2 else ""


def _read(text: str) -> pd.DataFrame:
    """As a challenge reads it."""
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


def _submission(
    challenge: str,
    text: str,
    rows: int,
    named: _Named,
    *,
    counts: _Counts | None = None,
) -> Submission:
    counts = counts or _Counts()
    blank = tuple(name for name, image in named.rows.items() if image is None)
    return Submission(
        challenge=challenge,
        text=text,
        rows=rows,
        answered=len(named.rows) - len(blank),
        blank=blank,
        unknown=named.unknown,
        clipped=counts.clipped,
        unstated=counts.unstated,
        loose=named.loose,
        dropped={why: n for why, n in counts.dropped.items() if n},
    )
