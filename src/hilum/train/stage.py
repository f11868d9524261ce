"""A network under its optimiser and schedule: steps, evaluated epochs, what a kill must not lose.

A stage is cut into epochs (of `save_every` steps where it has none of its own). What a killed stage
needs to end with the same numbers is saved whole after each of them, and now and then between.
Lightning's own resume is not used: it went on in evaluation mode, one step into an epoch.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hilum.core.errors import ConfigError
from hilum.core.files import atomic_path
from hilum.core.prepare import Preprocessing
from hilum.core.processes import interrupted, patient
from hilum.core.progress import doing, say
from hilum.evaluate.metrics.names import higher_is_better
from hilum.models import ranks
from hilum.models.model import Batch, Model
from hilum.models.precision import usable_precision
from hilum.train.optim import freeze, optimiser, schedule, still
from hilum.train.options import StageOptions
from hilum.train.recipe import Recipe

Weights: TypeAlias = dict[str, Tensor]
# A network after an epoch of that number, on the validation images.
Evaluate: TypeAlias = Callable[[Model, int], dict[str, float]]
EpochEnd: TypeAlias = Callable[[Model, int], None]  # the averaged network, the epoch's number
STATE = "last.ckpt"
LOGGED = ("loss", "val_loss", "learning_rate", "ap50", "auc", "class_accuracy", "dice")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one stage is to do. `options` are those of the first of the stages it continues."""

    name: str
    options: StageOptions
    recipe: Recipe
    spec: Preprocessing  # at the stage's size
    steps: int
    chunk: int  # steps of an epoch
    seed: int
    first: int = 0  # epochs that earlier stages did
    offset: int = 0  # steps of the stages that it continues
    span: int = 0  # steps of all stages under one schedule
    begin: Path | None = None  # the folder of the stage that it continues


def better(name: str, value: float, than: float) -> bool:
    """Losses fall, most other metrics rise; any number is better than an undefined one (NaN)."""
    if than != than:
        return value == value
    return value > than if higher_is_better(name) else value < than


class Stage(pl.LightningModule):  # type: ignore[misc]
    """A network under its optimiser and schedule, and the running average of its weights."""

    def __init__(
        self,
        net: Model,
        plan: Plan,
        out: Path,
        evaluate: Evaluate | None = None,
        epoch_end: EpochEnd | None = None,
    ):
        super().__init__()
        self.net, self.plan, self.out = net, plan, out
        self.evaluate, self.epoch_end = evaluate, epoch_end
        self.precision = usable_precision(plan.recipe.train.precision)
        self.state = ranks.from_first(
            lambda: _kept(out) or (_continued(plan.begin) if plan.begin else None)
        )
        self.losses: Callable[[Batch, bool], dict[str, Tensor]] | None = None  # while it trains
        self.done = 0  # steps of earlier processes
        self.rows: list[dict[str, float]] = []  # one an epoch
        self.sums: Weights = {}  # of the losses of the epoch that runs
        self.average: Weights = {}
        self.began = self.saved = time.monotonic()
        self.cpu_s = -time.process_time()  # of earlier processes, less what this one had
        self.plateau: ReduceLROnPlateau | None = None
        if (state := self.state) is not None:
            net.load_state_dict(state["net"])
            self.done, self.rows, self.sums = state["step"], state["rows"], state["sums"]
            self.average = state["average"]
            self.cpu_s += state["cpu_s"]
        freeze(net, plan.options)

    @property
    def step(self) -> int:
        """Steps of the stage that are done."""
        return self.done + (self._trainer.global_step if self._trainer is not None else 0)

    # --- steps ---

    def on_train_start(self) -> None:
        """The state of a killed process, once optimiser and schedule are there to take it."""
        live = self.net.state_dict()
        average = self.average or live
        self.average = {k: average[k].detach().to(v.device, copy=True) for k, v in live.items()}
        self.sums = {k: v.to(self.device) for k, v in self.sums.items()}
        if self.state is not None:
            self.trainer.optimizers[0].load_state_dict(self.state["optimiser"])
            rate = self._rate()
            if rate is not None and self.state["rate"] is not None:
                rate.load_state_dict(self.state["rate"])
            self.trainer.precision_plugin.load_state_dict(self.state["precision"])
            if self.state["rng"] is not None:
                torch.set_rng_state(self.state["rng"])  # dropout goes on as it would have
            self.state = None
        self.losses = ranks.losses_of(self.net)

    def on_train_epoch_start(self) -> None:
        self.net.train()  # Lightning keeps the mode it finds
        still(self.net, self.plan.options)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        assert self.losses is not None
        several = self.plan.recipe.train.accumulate
        if ranks.rank():  # the first has a stream of its own, which is saved
            number = self.step * several + index % several
            rng = np.random.default_rng((self.plan.seed, number, ranks.rank()))
            torch.manual_seed(int(rng.integers(2**63)))
        try:
            parts = self.losses(batch, (index + 1) % several == 0)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(
                f"{len(batch.boxes)} image a batch gives a batch norm of {type(self.net).__name__} "
                "one value, of which it can learn nothing; raise train.batch or "
                "preprocessing.size, or set frozen_batch_norm"
                + ("; or train with fewer workers" if ranks.world() > 1 else "")
            ) from error
        total = torch.stack(list(parts.values())).sum()
        for name, value in {**parts, "loss": total}.items():
            before = self.sums.get(name, torch.zeros((), dtype=torch.float64, device=value.device))
            self.sums[name] = before + value.detach().double()
        if sys.stderr.isatty():
            self.log("loss", total.detach(), prog_bar=True, logger=False)
        return total

    def configure_optimizers(self) -> Any:
        options, recipe = self.plan.options, self.plan.recipe
        optim = optimiser(
            self.net,
            options.learning_rate or 0.0,
            recipe.optimiser,
            fused=self.precision == "fp32",
        )
        rate = schedule(optim, options, self.plan.span or self.plan.steps, self.plan.chunk)
        if isinstance(rate, ReduceLROnPlateau):
            self.plateau = rate
            return optim
        return [optim], [{"scheduler": rate, "interval": "step"}]

    def on_train_batch_end(self, _: Any, __: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % self.plan.recipe.train.accumulate:
            return
        # The average forgets its random start: a short memory early, the recipe's later.
        done = self.plan.offset + self.step
        decay = min(self.plan.recipe.train.ema, (1 + done) / (10 + done))
        for key, value in self.net.state_dict().items():
            kept = self.average[key]
            if kept.dtype.is_floating_point:
                kept.lerp_(value.detach(), 1 - decay)
            else:
                kept.copy_(value)
        doing(f"{self.plan.name}: {self._place()}")
        late = time.monotonic() - self.saved > self.plan.recipe.train.save_s
        if not self.step % self.plan.chunk:
            return  # saved once it is evaluated
        if late or interrupted():
            self.save()
        if interrupted():
            raise KeyboardInterrupt

    # --- epochs ---

    def on_train_epoch_end(self) -> None:
        own = self._row()
        self.sums = {}
        row = ranks.from_first(lambda: own | self._numbers(int(own["epoch"])))
        self.rows.append(row)
        watched = self.plan.options.schedule.watch
        if self.plateau is not None and watched in row:
            self.plateau.step(row[watched])
        if ranks.first():
            self._record(row)
        if self.late:
            train = self.plan.recipe.train
            say("no better %s for %d epochs: stopped", train.watch, train.patience)
            self.trainer.should_stop = True
        self.save()  # last: whatever drew random numbers above has drawn them
        if interrupted():
            raise KeyboardInterrupt

    def _numbers(self, epoch: int) -> dict[str, float]:
        if self.evaluate is None:
            return {}
        doing(f"{self.plan.name}: evaluating epoch {epoch}")
        with patient(False):  # it may take minutes
            return self.evaluate(self.averaged(), epoch)

    def _record(self, row: dict[str, float]) -> None:
        """An epoch on disk, in the log, and drawn."""
        self._keep(int(row["epoch"]))
        with atomic_path(self.out / "metrics.parquet") as temporary:
            pd.DataFrame(self.rows).to_parquet(temporary)
        for logger in self.loggers:
            logger.log_metrics(row, self.step)
        watch = self.plan.recipe.train.watch
        shown = dict.fromkeys((*LOGGED, watch))  # metrics.parquet has all
        words = " ".join(f"{name} {row[name]:.4g}" for name in shown if name in row)
        if self.evaluate is not None and watch not in row:
            words += f" {watch} undefined"
        say("%s: %s: %s", self.plan.name, self._place(), words)
        if self.epoch_end is not None:
            self.epoch_end(self.averaged(), int(row["epoch"]))

    def _row(self) -> dict[str, float]:
        """The epoch's mean losses.

        Raises:
            ConfigError: one is no finite number.
        """
        done = len(self.rows) * self.plan.chunk
        batches = (self.step - done) * self.plan.recipe.train.accumulate
        means = {name: float(value) / batches for name, value in self.sums.items()}
        epoch = self.plan.first + len(self.rows) + 1
        lost = [name for name, value in means.items() if not math.isfinite(value)]
        if lost:  # before anything is saved: the last good state stays
            raise ConfigError(
                f"{', '.join(lost)} left the finite numbers in epoch {epoch}; lower the learning "
                "rate or set train.precision=fp32, in a new folder"
            )
        rate = float(self.trainer.optimizers[0].param_groups[-1]["lr"])
        return {"epoch": epoch, "step": self.step, **means, "learning_rate": rate}

    @property
    def late(self) -> bool:
        """Whether too many epochs have passed without a better one."""
        patience = self.plan.recipe.train.patience
        return bool(patience and self.rows and len(self.rows) - 1 - self.best >= patience)

    @property
    def best(self) -> int:
        """The place of the best epoch among the stage's."""
        name, place = self.plan.recipe.train.watch, 0
        for i, row in enumerate(self.rows):
            if better(name, row.get(name, math.nan), self.rows[place].get(name, math.nan)):
                place = i
        return place

    def averaged(self) -> Model:
        """A copy of the network with the averaged weights."""
        twin = copy.deepcopy(self.net)
        twin.load_state_dict(self.average)
        return twin.eval()

    def _keep(self, epoch: int) -> None:
        """Weights of the epochs that may be averaged or taken; the others go."""
        if self.evaluate is None:
            return
        train = self.plan.recipe.train
        save_weights(self.average, self.out / f"epoch-{epoch:03d}.safetensors")
        name = train.watch
        ranked = sorted(
            (row for row in self.rows if name in row),
            key=lambda row: -row[name] if higher_is_better(name) else row[name],
        )
        kept = {int(row["epoch"]) for row in ranked[: max(train.keep_best, train.average.best)]}
        kept |= set(train.average.epochs)
        for file in self.out.glob("epoch-*.safetensors"):
            if int(file.stem.removeprefix("epoch-")) not in kept:
                file.unlink()

    def _place(self) -> str:
        run = self.step - self.done
        spent = time.monotonic() - self.began
        left = spent * (self.plan.steps - self.step) / run if run else math.nan
        words = f"step {self.step} of {self.plan.steps}"
        return f"{words}, about {left:.0f} s left" if run else words

    # --- what a killed process leaves ---

    def save(self) -> None:
        """Everything that the numbers of the steps to come depend on, atomically; the first rank's:
        the others have the same, or draw it from the seed."""
        if not ranks.first():
            return
        rate = self._rate()
        state = {
            "net": self.net.state_dict(),
            "optimiser": self.trainer.optimizers[0].state_dict(),
            "rate": None if rate is None else rate.state_dict(),
            "precision": self.trainer.precision_plugin.state_dict(),
            "average": self.average,
            "rows": self.rows,
            "sums": self.sums,
            "step": self.step,
            "cpu_s": self.cpu_s + time.process_time(),
            "rng": torch.get_rng_state(),
        }
        with atomic_path(self.out / STATE) as temporary:
            torch.save(state, temporary)
        self.saved = time.monotonic()

    def _rate(self) -> Any:
        """The schedule of the rate; None while none is set up."""
        if self.plateau is not None:
            return self.plateau
        configs = self.trainer.lr_scheduler_configs
        return configs[0].scheduler if configs else None


def _kept(out: Path) -> dict[str, Any] | None:
    """The state that a killed process left; our own file, with the optimiser in it."""
    file = out / STATE
    if not file.is_file():
        return None
    state: dict[str, Any] = torch.load(file, weights_only=False, map_location="cpu")
    return state


def _continued(out: Path) -> dict[str, Any]:
    """The last state of the stage before, as the first of the one that continues it."""
    state = _kept(out)
    if state is None:
        raise ConfigError(f"{out / STATE} is gone, which the next stage continues; train it anew")
    return state | {"step": 0, "rows": [], "sums": {}, "cpu_s": 0.0, "rng": None}


def save_weights(weights: Weights, path: Path) -> None:
    """One safetensors file, atomically."""
    with atomic_path(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, temporary)
