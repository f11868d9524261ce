"""What a bundle says about itself: `manifest.json`, schema hilum.bundle/1, as validated values.

Knows no file format, no runtime and no pipeline. Unknown keys are errors: a manifest written by a
newer hilum must not be half understood.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field, field_validator, model_validator

from hilum.core.anchors import AnchorGrid
from hilum.core.calibration import ScoreMap, Shift, Slope
from hilum.core.labels import is_name
from hilum.core.options import Options
from hilum.core.prepare import Preprocessing

SCHEMA = "hilum.bundle/1"
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Data only. Anything that a loader might run (pickles, scripts, shared libraries) is not listed.
SUFFIXES = (".onnx", ".json", ".md", ".txt", ".csv", ".png", ".svg")
MOST_ANCHORS = 2_000_000
REQUIRED_FILES = ("card.md", "LICENSE.md")


Factor = Annotated[float, Field(ge=1e-3, le=1e3)]


class PreprocessingSpec(Options):
    """The fields of core.prepare.Preprocessing, as stored."""

    size: int = Field(ge=32, le=4096)
    mean: float = Field(default=0.5, ge=-1e3, le=1e3)
    std: float = Field(default=0.5, ge=1e-6, le=1e3)
    stretch: tuple[float, float] = (0.5, 99.5)
    window: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.value()
        return self

    def value(self) -> Preprocessing:
        return Preprocessing(
            size=self.size, mean=self.mean, std=self.std, stretch=self.stretch, window=self.window
        )


class AnchorSpec(Options):
    """The fields of core.anchors.AnchorGrid, as stored."""

    levels: tuple[int, ...] = Field(min_length=1, max_length=16)
    ratios: tuple[Factor, ...] = Field(min_length=1, max_length=64)
    scales: tuple[Factor, ...] = Field(min_length=1, max_length=64)
    box_weights: tuple[Factor, Factor, Factor, Factor]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if min(self.levels) < 0 or max(self.levels) > 12:
            raise ValueError("pyramid levels must lie in 0..12")
        self.value()
        return self

    def value(self) -> AnchorGrid:
        return AnchorGrid(self.levels, self.ratios, self.scales, self.box_weights)


class ProposalSpec(Options):
    """How the deltas on the graph's own proposals are coded: divided by these, as on anchors."""

    box_weights: tuple[Factor, Factor, Factor, Factor] = (0.1, 0.1, 0.2, 0.2)


class Outputs(Options):
    """Names in the graph of the input and of each raw output; None where a head is absent.

    Shapes: image (B, 1, S, S); class_logits (B, N, K); box_deltas (B, N, 4); proposals (B, N, 4)
    x1, y1, x2, y2 in the square, on which the deltas rest instead of on anchors;
    mask_logits (B, M, s, s); global_logits (B, C) of exclusive classes; finding_logits (B, F) of
    findings of which any number may be there; activations (B, C or F, h, w) of a classifier of one
    linear layer: what each place adds to the logits, of which their mean is the part without bias.
    """

    image: str = "image"
    class_logits: str | None = "class_logits"
    box_deltas: str | None = "box_deltas"
    proposals: str | None = None
    finding_logits: str | None = None
    mask_logits: str | None = "mask_logits"
    global_logits: str | None = "global_logits"
    activations: str | None = None


class Decoding(Options):
    """From raw outputs to boxes.

    A candidate's score is multiplied by the mean probability of a mask inside its box, to the
    power of `mask_weights[mask]`, and by the probability of a global class to the power of
    `image_weights[class]`: boxes outside the lungs or on calm images lose, none appear.
    """

    score_floor: float = Field(default=0.05, gt=0, lt=1)  # on the class score, before weights
    pre_nms_top: int = Field(default=1000, ge=1, le=100_000)
    nms_iou: float = Field(default=0.5, gt=0, le=1)
    vote_iou: float | None = Field(default=None, gt=0, lt=1)  # see `fuse.suppress.keep_voted`
    # What a box inside a stronger one (`fuse.suppress.nested`) keeps of its score: it stays a
    # candidate, and is not shown beside the box that marks the same opacity.
    nested_weight: float = Field(default=1.0, ge=0, le=1)
    max_boxes: int = Field(default=50, ge=1, le=1000)
    mask_weights: dict[str, float] = Field(default_factory=dict)
    image_weights: dict[str, float] = Field(default_factory=dict)
    # Label -> weight of the components of the mask of that name, fused with the label's boxes
    # (weighted boxes fusion, the detector's weight is 1). Empty: the detector's boxes alone.
    component_weights: dict[str, float] = Field(default_factory=dict)
    component_iou: float = Field(default=0.55, gt=0, le=1)

    @field_validator("mask_weights", "image_weights", "component_weights")
    @classmethod
    def _not_negative(cls, weights: dict[str, float]) -> dict[str, float]:
        if any(not 0 <= weight <= 10 for weight in weights.values()):
            raise ValueError("weights must lie in 0..10")
        return weights


class MaskSpec(Options):
    """Which channel of which output is a mask, and where it is cut."""

    output: str = "mask_logits"
    channel: int = Field(ge=0)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    # Parts smaller than this part of the largest are dropped: a lung is no speck in the stomach.
    least_part: float = Field(default=0.0, ge=0, le=1)


BOX, STUDY = "box", "study:"  # names of scores that are no image scores
NO_DATA = "no data"  # on which a threshold was chosen that a user gave


class OperatingPoint(Options):
    """A threshold with its aim, chosen on validation data: positive at score >= threshold.

    `achieved` is what it reached where it was chosen, and is optimistic.
    """

    threshold: float = Field(ge=0, le=1)  # on calibrated scores, where the bundle calibrates
    reason: str  # the aim, e.g. "sensitivity >= 0.95"
    chosen_on: str = "validation"
    score: str = BOX  # "box"; a key of image_scores; or "study:" and such a key
    achieved: dict[str, float] = Field(default_factory=dict)
    assumes: str = ""  # what a guarantee rests on, in words; empty: there is no guarantee

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return self.model_dump(mode="json")

    @property
    def words(self) -> str:
        """For a reader, beside a score."""
        return f"{self.threshold:.2f} ({self.reason}, chosen on {self.chosen_on})"


class Calibration(Options):
    """From a model's numbers to probabilities.

    On logits, before decoding: divided by the temperature, then the bias is added. On finished
    scores: `scores` names maps that are applied in their order ("box", a key of image_scores, or
    "study:" and such a key for the score of a study combined by `study_how`). Every map keeps the
    order of scores or makes ties, so no box or image overtakes another; a temperature keeps the
    likeliest class, a bias need not.
    """

    class_temperature: Slope = 1.0
    class_bias: Shift = 0.0
    global_temperature: Slope = 1.0
    global_bias: tuple[Shift, ...] = ()  # one a class, or none
    scores: dict[str, tuple[ScoreMap, ...]] = Field(default_factory=dict)
    study_how: Literal["max", "mean", "noisy-or"] = "max"
    fitted_on: str = ""

    def fits(self, global_classes: Sequence[str]) -> bool:
        """Whether there is a bias for each class, or none at all."""
        return len(self.global_bias) in (0, len(global_classes))

    def apply(self, name: str, scores: ArrayLike) -> NDArray[np.float64]:
        """Finished scores of that name through its maps; as they are without one."""
        values = np.asarray(scores, np.float64)
        for one in self.scores.get(name, ()):
            values = one.apply(values)
        return values


class Provenance(Options):
    """How the weights came to be, enough to make them again."""

    recipe: str
    seed: int
    commit: str
    command: str
    created: str  # ISO 8601, UTC
    data: dict[str, str] = Field(default_factory=dict)  # set name -> fingerprint
    libraries: dict[str, str] = Field(default_factory=dict)  # name -> version
    notes: str = ""


TRAINING, EVALUATION, WEIGHTS = "training", "evaluation", "weights to begin with"  # uses of data


class DataLicence(Options):
    """One data set or set of pretrained weights the bundle learnt from, or was evaluated on."""

    name: str
    licence: str
    source: str = ""
    use: str = TRAINING
    attribution: str = ""


class Figure(Options):
    """A measured number with its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    on: str = ""

    @property
    def words(self) -> str:
        """ "0.474 (0.431–0.523)"."""
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


class Manifest(Options):
    """The whole manifest. `files` maps every other file of the bundle to its SHA-256."""

    schema_: Literal["hilum.bundle/1"] = Field(default="hilum.bundle/1", alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,31}$")
    task: Literal["detection", "classification", "segmentation"] = "detection"
    labels: tuple[str, ...] = ()  # (K,) of boxes, `core.labels` knows what they mean
    preprocessing: PreprocessingSpec
    outputs: Outputs = Outputs()
    anchors: AnchorSpec | None = None  # None: no boxes, or on proposals
    proposals: ProposalSpec | None = None  # with outputs.proposals only
    decoding: Decoding = Decoding()
    masks: dict[str, MaskSpec] = Field(default_factory=dict)
    global_classes: tuple[str, ...] = ("normal", "not-normal", "opacity")
    findings: tuple[str, ...] = ()  # (F,)
    # Name -> the class or finding it is the probability of, or the exclusive classes it sums.
    image_scores: dict[str, str | tuple[str, ...]] = Field(
        default_factory=lambda: dict[str, str | tuple[str, ...]](opacity="opacity")
    )
    positive: str | None = None  # the image score that says "there is a finding"
    operating_points: dict[str, OperatingPoint] = Field(default_factory=dict)
    calibration: Calibration | None = None
    provenance: Provenance
    data_licences: tuple[DataLicence, ...] = ()
    figures: dict[str, Figure] = Field(default_factory=dict)
    precisions: dict[Literal["fp32", "int8"], str] = Field(min_length=1)
    default_precision: Literal["fp32", "int8"] = "fp32"
    files: dict[str, str]

    model_config = ConfigDict(
        validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    @field_validator("files")
    @classmethod
    def _plain_files(cls, files: dict[str, str]) -> dict[str, str]:
        for name, digest in files.items():
            if not FILE_NAME.fullmatch(name) or not name.endswith(SUFFIXES):
                raise ValueError(f"file {name!r} may not be part of a bundle")
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise ValueError(f"the hash of {name!r} is not a SHA-256")
        missing = [name for name in REQUIRED_FILES if name not in files]
        if missing:
            raise ValueError(f"{', '.join(missing)} must be among the files")
        return files

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> list[str]:
        known = set(self.global_classes if self.outputs.global_logits else ())
        own = self.calibration or Calibration()
        graphs, boxes = set(self.precisions.values()), self.outputs.class_logits is not None
        placed = self.anchors is not None or self.outputs.proposals is not None
        heads = boxes == (self.outputs.box_deltas is not None) == bool(self.labels)
        coded = (self.outputs.proposals is None) == (self.proposals is None)
        sources = self.image_scores.values()
        summed = {name for of in sources for name in ((of,) if isinstance(of, str) else of)}
        wrong: dict[str, set[str]] = {
            "labels that no finding or mask can have": {
                repr(name) for name in (*self.labels, *self.masks) if not is_name(name)
            },
            "class logits without box deltas or labels, or these without the first": {
                *(() if heads else ("outputs",))
            },
            "boxes without anchors or proposals": {*(() if placed or not boxes else ("anchors",))},
            "image scores of unknown global classes or findings": summed
            - known
            - set(self.findings if self.outputs.finding_logits else ()),
            "sums of what is no exclusive class": {
                name
                for of in self.image_scores.values()
                if not isinstance(of, str)
                for name in of
                if name not in known
            },
            "a positive score that is no image score": {self.positive or ""}
            - {"", *self.image_scores},
            "proposals without their box coding, or this without them": {
                *(() if coded else ("proposals",))
            },
            "weights of unknown global classes": set(self.decoding.image_weights) - known,
            "weights of unknown masks": (
                set(self.decoding.mask_weights) | set(self.decoding.component_weights)
            )
            - set(self.masks),
            "components of unknown labels": set(self.decoding.component_weights) - set(self.labels),
            "masks of unknown outputs": {mask.output for mask in self.masks.values()}
            - {self.outputs.mask_logits or ""},
            "operating points on unknown scores": {
                point.score.removeprefix(STUDY) for point in self.operating_points.values()
            }
            - {BOX, *self.image_scores},
            "calibrations of unknown scores": {name.removeprefix(STUDY) for name in own.scores}
            - {BOX, *self.image_scores},
            "model files that are not listed": graphs - set(self.files),
            "models that are not ONNX": {name for name in graphs if not name.endswith(".onnx")},
            f"more than {MOST_ANCHORS:,} anchors": {*(("anchors",) if self._too_many else ())},
            "biases that are not one a global class": {
                *(() if own.fits(self.global_classes) else ("calibration.global_bias",))
            },
            "a default precision without a model": {str(self.default_precision)}
            - {str(name) for name in self.precisions},
        }
        return [f"{what}: {', '.join(sorted(bad))}" for what, bad in wrong.items() if bad]

    @property
    def _too_many(self) -> bool:
        grid = self.anchors
        return grid is not None and grid.value().count(self.preprocessing.size) > MOST_ANCHORS

    @property
    def has_boxes(self) -> bool:
        return self.outputs.class_logits is not None

    @property
    def positive_score(self) -> str | None:
        """The image score that is meant where none is named: the stated one, or the only one."""
        only = next(iter(self.image_scores)) if len(self.image_scores) == 1 else None
        return self.positive or only

    @property
    def learnt_from(self) -> tuple[DataLicence, ...]:
        return tuple(one for one in self.data_licences if one.use != EVALUATION)

    @property
    def tested(self) -> dict[str, Figure]:
        """The figures of test images by what runs by default, by "test, SET (int8): metric"."""
        mark = f"({self.default_precision})"
        rows = self.figures.items()
        return {row: one for row, one in rows if row.startswith("test, ") and mark in row}

    def to_json(self) -> dict[str, Any]:
        """The manifest as it stands in the file."""
        return self.model_dump(mode="json", by_alias=True)
