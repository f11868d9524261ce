"""The sections of a recipe: fields with ranges, checked when read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hilum.core.labels import is_name
from hilum.core.options import Options
from hilum.data.sets import NIH_FINDINGS

# A list of names; one alone need not stand in brackets.
Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class PreprocessingOptions(Options):
    size: int = Field(default=256, ge=64, le=4096, multiple_of=32)
    stretch: tuple[float, float] = (0.5, 99.5)
    # Centre and width in modality units with which every source is read, and what the bundle reads
    # (B1); None: as each file says.
    window: tuple[float, float] | None = None


class OptimiserOptions(Options):
    kind: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: float = Field(default=0.05, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)  # of SGD
    nesterov: bool = False
    encoder_factor: float = Field(default=0.3, ge=0)  # the encoder's rate against the heads'


class ScheduleOptions(Options):
    """Plateau is stepped by epochs on `watch`, without warm-up; the others by steps."""

    kind: Literal["cosine", "cosine-floor", "plateau", "constant"] = "cosine"
    floor: float = Field(default=0.05, ge=0, lt=1)  # of cosine-floor (D1)
    cycles: int = Field(default=1, ge=1)  # of cosine: it begins anew so often less one (E5)
    warmup: int = Field(default=30, ge=0)  # steps
    every: int = Field(default=1, ge=1)  # cosine-floor moves after so many epochs; 1: each step
    watch: str = "val_loss"
    patience: int = Field(default=4, ge=0)
    factor: float = Field(default=0.2, gt=0, lt=1)


class StageOptions(Options):
    """One stretch of training, of so many steps or epochs.

    `mix` gives each group of sources its share of every batch; without it, and without weights of
    the sources, an epoch passes over every training image once. A stage that `continues` takes
    optimiser, running average and schedule over from the one before, as if both were one: so one
    cosine goes from small to large images.
    """

    steps: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    # px; None: preprocessing.size
    size: int | None = Field(default=None, ge=64, le=4096, multiple_of=32)
    learning_rate: float | None = Field(default=None, gt=0)
    schedule: ScheduleOptions = ScheduleOptions()
    # stem: the encoder up to stride 4, so that three of its stages learn
    freeze: Literal["none", "encoder", "stem", "first-half"] = "none"
    frozen_batch_norm: bool = False
    learns: Names = ()  # parts of the network, such as mask_head, that alone learn; none: all
    continues: bool = False
    positives: float | None = Field(default=None, gt=0, le=1)  # instead of train.positives
    mix: dict[str, Annotated[float, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("needed: either steps or epochs")
        shared = ("learning_rate", "schedule", "freeze", "frozen_batch_norm", "learns")
        if self.continues and any(
            getattr(self, name) != type(self).model_fields[name].default for name in shared
        ):
            raise ValueError(f"continues: {', '.join(shared)} are those of the stage before")
        if not self.continues and self.learning_rate is None:
            raise ValueError("needed: a learning_rate")
        if self.mix is not None and not sum(self.mix.values()) > 0:
            raise ValueError("mix: needed: at least one group with a share above 0")
        return self


class AverageOptions(Options):
    """Stochastic weight averaging (E5): within a stage over the named epochs, or over the best few;
    after the last of the named stages over what these left."""

    epochs: tuple[int, ...] = ()  # counted from 1 over all stages
    best: int = Field(default=0, ge=0)
    stages: Names = ()


class KeptPredictions(Options):
    """Epochs (counted from 1 over all stages) whose boxes are kept unsuppressed, for heat-maps of
    thresholds (A10): `all`, a list of epochs, or `{last: 4}`."""

    every: bool = False
    epochs: tuple[int, ...] = ()
    last: int = Field(default=0, ge=0)
    floor: float = Field(default=0.01, gt=0, lt=1)  # of the score

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if value == "all":
            return {"every": True}
        return {"epochs": value} if isinstance(value, list | tuple) else value

    def wants(self, epoch: int) -> bool:
        """Whether an epoch's are written; `spare` says which are gone once later ones are."""
        return self.every or self.last > 0 or epoch in self.epochs

    def spare(self, epochs: Sequence[int]) -> list[int]:
        """Of the epochs so far those that are not kept."""
        late = sorted(epochs)[len(epochs) - self.last :] if self.last else []
        return [e for e in epochs if not (self.every or e in self.epochs or e in late)]


class TrainOptions(Options):
    batch: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)  # batches a step
    epochs: int | None = Field(default=None, ge=1)  # stop every stage after so many
    start: str | None = None  # weights, or the run, of a network of this kind to go on from
    threads: int = Field(default=2, ge=1)
    workers: int = Field(default=0, ge=0)  # processes that prepare batches, beside the training
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    ema: float = Field(default=0.99, ge=0, lt=1)  # 0: no average
    clip_norm: float = Field(default=5.0, gt=0)
    save_every: int = Field(default=50, ge=1)  # steps, where a stage has no epochs of its own
    save_s: float = Field(default=300.0, ge=0)  # between two states saved inside an epoch
    # An epoch shows all images with a finding, and others until these are so large a share.
    positives: float | None = Field(default=None, gt=0, le=1)
    # Images of classes, findings or box labels rarer than this share come again in an epoch (D12).
    oversample: float | None = Field(default=None, gt=0, le=1)
    watch: str = "val_loss"  # what the best epoch is best at
    patience: int | None = Field(default=None, ge=1)  # epochs without a better one, then stop
    keep_best: int = Field(default=1, ge=1)
    average: AverageOptions = AverageOptions()
    keep_predictions: KeptPredictions = KeptPredictions()


class HoldOut(Options):
    """Shares of a source's patients that are kept out of training."""

    validation: float = Field(default=0.0, ge=0, le=1)
    test: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _some_are_left(self) -> Self:
        if not 0 < self.validation + self.test <= 1:
            raise ValueError(
                "needed: shares of validation and test that add up to above 0, at most 1"
            )
        return self


class SourceOptions(Options):
    """Images of one set or catalog file: which, what they teach, who is held out.

    Sources of one `pool` are split together, as one set (default: each by itself). Whoever is held
    out of one source is held out of all.
    """

    set: str  # a reader's name, or a catalog file (.parquet)
    name: str = ""  # of the source, unique; default: the set's
    group: str = ""  # what mix weighs; default: the name
    pool: str = ""
    weight: float | None = Field(default=None, ge=0)  # share of every batch, where no mix is given
    options: dict[str, Any] = Field(default={})  # what the set's reader offers
    cache: bool = False  # prepared images on disk, memory-mapped
    # Which rows.
    known: Names = ()  # catalog columns that must be annotated
    unknown: Names = ()  # and columns that must not be
    adults: bool = False
    frontal: bool = False  # no lateral views; an unknown view is taken for frontal
    sample: int | None = Field(default=None, ge=1)  # whole patients, classes in proportion
    hold_out: HoldOut | None = None
    folds: int | None = Field(default=None, ge=2)
    # What they teach; the rest of their annotations is unknown to the network.
    teaches: tuple[Literal["boxes", "masks", "classes", "findings"], ...] = (
        *("boxes", "masks", "classes", "findings"),
    )
    masks: dict[str, Names] = Field(default={})  # target -> the masks that make it up
    box_labels: dict[str, Names] = Field(default={})  # target -> the set's box labels
    box_masks: bool = (
        False  # its boxes, filled, are a mask: of their label, or `boxes` if of several
    )
    # Masks of which only what is marked is sure: the rest of the lungs is unknown.
    weak_masks: Names = ()
    # Annotation (boxes, or a mask, class or finding) -> {column: value, null for unknown}: images
    # where any of these holds do not teach it.
    distrust: dict[str, dict[str, float | None]] = Field(default={})

    @model_validator(mode="after")
    def _one_way_to_split(self) -> Self:
        if self.hold_out is not None and self.folds is not None:
            raise ValueError("needed: hold_out or folds, not both")
        return self

    @property
    def own_name(self) -> str:
        return self.name or Path(self.set).stem

    @property
    def own_group(self) -> str:
        return self.group or self.own_name


class TargetOptions(Options):
    """Names of box labels, of catalog columns label_<name>, and of masks."""

    labels: Names = ("opacity",)
    classes: Names = ("normal", "not-normal", "opacity")
    findings: Names = tuple(f"nih_{name}" for name in NIH_FINDINGS)
    masks: Names = ("opacity", "lungs", "lungs_full")
    # The exclusive classes that say "there is a finding": AUC, operating point, share of positives.
    positive: Names = ("opacity",)

    @model_validator(mode="after")
    def _shown_by_results(self) -> Self:
        for name in (*self.labels, *self.masks):
            if not is_name(name):
                raise ValueError(
                    f"{name!r} cannot be the name of a finding in a result; needed: letters, "
                    "digits, blanks, - and _. Give it another one (data.box_labels.NAME=OLD, "
                    "data.masks.NAME=OLD, or hilum data catalog --rename OLD=NAME)"
                )
        return self

    @model_validator(mode="after")
    def _known_positive(self) -> Self:
        known = set(self.positive) <= set(self.classes)
        if self.classes and not (
            self.positive and known and len(self.positive) < len(self.classes)
        ):
            raise ValueError(
                f"positive: {', '.join(self.positive) or 'nothing'}; needed: which of the classes "
                f"{', '.join(self.classes)} say that there is a finding, and not all of them"
            )
        return self
