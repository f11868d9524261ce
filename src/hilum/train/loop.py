"""One stage of training, driven by Lightning: steps, evaluated epochs, averaged weights, resume.

A stage is cut into epochs (of `save_every` steps where it has none of its own). What a killed stage
needs to end with the same numbers is saved whole after each of them, and now and then between.
Lightning's own resume is not used: it went on in evaluation mode, one step into an epoch.

Knows the sampler of its images and how to evaluate, no data set and no folder but the stage's own.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from hilum.augment.policy import policy
from hilum.core.errors import ConfigError
from hilum.core.files import atomic_path, write_text
from hilum.core.prepare import Preprocessing
from hilum.models.model import Batch, Model
from hilum.train.loader import Batches, Draw
from hilum.train.optim import batch_norms, freeze, optimiser, schedule, still
from hilum.train.options import StageOptions
from hilum.train.progress import doing, say
from hilum.train.recipe import Recipe

Weights: TypeAlias = dict[str, Tensor]
Evaluate: TypeAlias = Callable[[Model], dict[str, float]]  # a network on the validation images
EpochEnd: TypeAlias = Callable[[Model, int], None]  # the averaged network, the epoch's number
PRECISION = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}
SAVE_S = 300.0  # between two states saved inside an epoch
STATE, FINISHED, LAST = "last.ckpt", "weights.safetensors", "last.safetensors"


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
    """Losses fall, every other metric rises."""
    return value < than if name.startswith("val_") else value > than


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
        self.state = _kept(out) or (_continued(plan.begin) if plan.begin else None)
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

    def on_train_epoch_start(self) -> None:
        self.net.train()  # Lightning keeps the mode it finds
        still(self.net, self.plan.options)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        try:
            parts = self.net.loss(batch)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(
                f"{len(batch.boxes)} image a batch gives a batch norm of {type(self.net).__name__} "
                "one value, of which it can learn nothing; raise train.batch or "
                "preprocessing.size, or set frozen_batch_norm"
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
        made = optimiser(
            self.net,
            options.learning_rate or 0.0,
            recipe.optimiser,
            fused=recipe.train.precision == "fp32",
        )
        rate = schedule(made, options, self.plan.span or self.plan.steps, self.plan.chunk)
        if isinstance(rate, ReduceLROnPlateau):
            self.plateau = rate
            return made
        return [made], [{"scheduler": rate, "interval": "step"}]

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
        if time.monotonic() - self.saved > SAVE_S and self.step % self.plan.chunk:
            self.save()

    # --- epochs ---

    def on_train_epoch_end(self) -> None:
        row = self._row()
        self.sums = {}
        if self.evaluate is not None:
            doing(f"{self.plan.name}: evaluating epoch {row['epoch']:.0f}")
            row |= self.evaluate(self.averaged())
        self.rows.append(row)
        self._keep(int(row["epoch"]))
        watched = self.plan.options.schedule.watch
        if self.plateau is not None and watched in row:
            self.plateau.step(row[watched])
        with atomic_path(self.out / "metrics.parquet") as temporary:
            pd.DataFrame(self.rows).to_parquet(temporary)
        for logger in self.loggers:
            logger.log_metrics(row, self.step)
        words = " ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in ("epoch", "step"))
        say("%s: %s: %s", self.plan.name, self._place(), words)
        if self.epoch_end is not None:
            self.epoch_end(self.averaged(), int(row["epoch"]))
        if self.late:
            train = self.plan.recipe.train
            say("no better %s for %d epochs: stopped", train.watch, train.patience)
            self.trainer.should_stop = True
        self.save()  # last: whatever drew random numbers above has drawn them

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
            key=lambda row: row[name] if name.startswith("val_") else -row[name],
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
        """Everything that the numbers of the steps to come depend on, atomically."""
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


class _Loader(pl.LightningDataModule):  # type: ignore[misc]
    """Hands out the batches of the current epoch that are left."""

    def __init__(self, draw: Draw, plan: Plan, stage: Stage | None = None):
        super().__init__()
        self.draw, self.plan, self.stage = draw, plan, stage

    def train_dataloader(self) -> DataLoader[Batch]:
        recipe, done = self.plan.recipe, self.stage.step if self.stage is not None else 0
        several = recipe.train.accumulate
        left = self.plan.chunk - done % self.plan.chunk
        batches = Batches(
            self.draw,
            policy(recipe.augment),
            self.plan.spec,
            recipe.names,
            batch=recipe.train.batch,
            start=done * several,
            batches=min(left, self.plan.steps - done) * several,
            seed=self.plan.seed,
        )
        # A generator of its own: the loader must not take numbers from dropout's.
        return DataLoader(
            batches,
            batch_size=None,
            shuffle=False,
            generator=torch.Generator(),
            num_workers=recipe.train.workers,
            pin_memory=torch.cuda.is_available(),
        )


def fit(
    net: Model,
    plan: Plan,
    draw: Draw,
    out: Path,
    *,
    evaluate: Evaluate | None = None,
    epoch_end: EpochEnd | None = None,
) -> None:
    """Train `net` through one stage and leave its weights in it and in `out`.

    A finished stage (`weights.safetensors` is there) is loaded instead; a started one goes on.
    `last.safetensors` holds the weights after the last step, not averaged and not chosen.

    Args:
        draw: picks the image of each sample.
        evaluate: metrics of the averaged network after each epoch; with it the best epoch, or the
            average that the recipe asks for, is what remains. Without it the last.
        epoch_end: called after each epoch, to draw it.
    """
    finished = out / FINISHED
    if finished.is_file():
        net.load_state_dict(load_file(finished), strict=False)
        return
    torch.set_num_threads(plan.recipe.train.threads)
    pl.seed_everything(plan.seed, verbose=False)
    out.mkdir(parents=True, exist_ok=True)
    net.to(memory_format=torch.channels_last)
    stage = Stage(net, plan, out, evaluate, epoch_end)
    if stage.done < plan.steps and not stage.late:
        _train(stage, draw)
    net.cpu()
    save_weights(net.state_dict(), out / LAST)
    net.load_state_dict(_chosen(stage, draw))
    cpu_minutes = (stage.cpu_s + time.process_time()) / 60
    save_weights(net.state_dict(), finished)
    write_text(out / "cost.json", json.dumps({"cpu_minutes": cpu_minutes, "steps": plan.steps}))
    say("%s: %d steps, %.1f CPU minutes", out.name, plan.steps, cpu_minutes)


def _train(stage: Stage, draw: Draw) -> None:
    """The steps that are left."""
    train = stage.plan.recipe.train
    for talker in ("pytorch_lightning", "lightning.pytorch"):  # their tips are no log of ours
        logging.getLogger(talker).setLevel(logging.WARNING)
    trainer = pl.Trainer(
        accelerator="auto",
        devices=1,
        max_steps=stage.plan.steps - stage.done,
        max_epochs=-1,
        precision=PRECISION[train.precision],
        accumulate_grad_batches=train.accumulate,
        gradient_clip_val=train.clip_norm,
        reload_dataloaders_every_n_epochs=1,
        logger=TensorBoardLogger(stage.out, name="", version="tensorboard"),
        callbacks=[RichProgressBar()] if sys.stderr.isatty() else [],
        enable_checkpointing=False,
        enable_progress_bar=sys.stderr.isatty(),
        log_every_n_steps=10,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*logging interval.*")
        warnings.filterwarnings("ignore", message=".*in eval mode.*")  # frozen on purpose
        warnings.filterwarnings("ignore", message=".*treespec.*")  # Lightning's own affair
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(stage, datamodule=_Loader(draw, stage.plan, stage))
        except SystemExit as stop:  # what Lightning makes of Ctrl-C, and it stops listening
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from stop


def _chosen(stage: Stage, draw: Draw) -> Weights:
    """The weights that remain of a stage."""
    train = stage.plan.recipe.train
    if stage.evaluate is None:
        return {key: value.cpu() for key, value in stage.average.items()}
    names = train.average.epochs
    if train.average.best or names:
        files = sorted(stage.out.glob("epoch-*.safetensors"))
        wanted = [f for f in files if not names or int(f.stem.removeprefix("epoch-")) in names]
        if wanted:
            return average_epochs(stage.net, stage.plan, wanted, draw)
        say("%s: none of the epochs %s: the best is taken", stage.out.name, names)
    best = int(stage.rows[stage.best]["epoch"])
    weights: Weights = load_file(stage.out / f"epoch-{best:03d}.safetensors")
    return weights


def average_epochs(net: Model, plan: Plan, files: list[Path], draw: Draw) -> Weights:
    """The mean of several epochs' weights, batch-norm statistics taken anew (E5).

    Frozen batch norm had the same statistics in all of them and keeps these.
    """
    parts = [load_file(file) for file in files]
    mean = {
        key: torch.stack([part[key].float() for part in parts]).mean(0).to(value.dtype)
        for key, value in parts[0].items()
    }
    twin = copy.deepcopy(net).cpu()
    twin.load_state_dict(mean)
    still(twin.train(), plan.options)
    moving = [layer for layer in batch_norms(twin) if layer.training]
    for layer in moving:
        layer.reset_running_stats()  # type: ignore[operator]
        layer.momentum = None  # type: ignore[assignment]  # the plain mean over all batches
    if moving:
        with torch.no_grad():
            for batch in _Loader(draw, plan).train_dataloader():
                twin(batch.image_B1SS)
    say("weights averaged over %s", ", ".join(file.stem for file in files))
    return {key: value.detach().clone() for key, value in twin.state_dict().items()}


def save_weights(weights: Weights, path: Path) -> None:
    """One safetensors file, atomically."""
    with atomic_path(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, temporary)
