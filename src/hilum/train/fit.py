"""One stage of training, driven by Lightning: steps, judged epochs, averaged weights, resume.

A stage is cut into epochs (of `save_every` steps where it has none of its own); after each the
whole state is saved, so a killed stage goes on from there to the same numbers.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from hilum.augment.policy import policy
from hilum.core.errors import ConfigError
from hilum.core.files import atomic_path, write_text
from hilum.core.prepare import Preprocessing
from hilum.models.model import Batch, Model, Targets
from hilum.train.feed import Draw, Feed
from hilum.train.optim import batch_norms, freeze, optimiser, schedule, still
from hilum.train.recipe import Recipe, StageOptions

log = logging.getLogger("hilum.train")

Weights: TypeAlias = dict[str, Tensor]
Judge: TypeAlias = Callable[[Model], dict[str, float]]  # a network on the validation images
EpochEnd: TypeAlias = Callable[[Model, int], None]  # the averaged network, the epoch's number
PRECISION = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}


def spec_of(recipe: Recipe) -> Preprocessing:
    options = recipe.preprocessing
    return Preprocessing(options.size, stretch=options.stretch)


def targets_of(recipe: Recipe) -> Targets:
    return Targets(**recipe.targets.model_dump())


def better(name: str, value: float, than: float) -> bool:
    """Losses fall, every other metric rises."""
    return value < than if name.startswith("val_") else value > than


class Stage(pl.LightningModule):  # type: ignore[misc]
    """A network under its optimiser and schedule, and the running average of its weights."""

    def __init__(
        self,
        net: Model,
        options: StageOptions,
        recipe: Recipe,
        out: Path,
        judge: Judge | None,
        steps: int,
        chunk: int,
        first: int,
        epoch_end: EpochEnd | None,
    ):
        super().__init__()
        self.net, self.options, self.recipe, self.out = net, options, recipe, out
        self.judge, self.steps, self.chunk, self.first = judge, steps, chunk, first
        self.epoch_end = epoch_end
        self.average = _copied(net)
        self.rows: list[dict[str, float]] = []  # one an epoch
        self.began = time.monotonic()
        freeze(net, options)

    # --- steps ---

    def on_train_epoch_start(self) -> None:
        self.net.train()  # Lightning keeps the mode it finds, and judging left evaluation's
        still(self.net, self.options)

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
        self.log_dict(
            {**{k: v.detach() for k, v in parts.items()}, "loss": total.detach()},
            prog_bar=True,
            on_step=False,
            on_epoch=True,
            batch_size=len(batch.boxes),
        )
        return total

    def configure_optimizers(self) -> Any:
        made = optimiser(
            self.net,
            self.options.learning_rate,
            self.recipe.optimiser,
            fused=self.recipe.train.precision == "fp32",
        )
        rate = schedule(made, self.options, self.steps, self.chunk)
        if isinstance(rate, ReduceLROnPlateau):
            self.plateau = rate
            return made
        return [made], [{"scheduler": rate, "interval": "step"}]

    def on_train_batch_end(self, *_: Any) -> None:
        if self.trainer.fit_loop._should_accumulate():
            return
        # The average forgets its random start: a short memory early, the recipe's later.
        decay = min(self.recipe.train.ema, (1 + self.global_step) / (10 + self.global_step))
        for key, value in self.net.state_dict().items():
            kept = self.average[key]
            if kept.dtype.is_floating_point:
                kept.lerp_(value.detach(), 1 - decay)
            else:
                kept.copy_(value)

    # --- epochs ---

    def on_train_epoch_end(self) -> None:
        row = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        lost = [name for name, value in row.items() if not math.isfinite(value)]
        if lost:  # before anything is saved: the last good state stays
            raise ConfigError(
                f"{', '.join(lost)} left the finite numbers in epoch "
                f"{self.first + len(self.rows) + 1}; lower the learning rate or set "
                "train.precision=fp32, in a new folder"
            )
        row = {"epoch": self.first + len(self.rows) + 1, "step": self.global_step, **row}
        optimisers = self.trainer.optimizers
        row["learning_rate"] = float(optimisers[0].param_groups[-1]["lr"])
        if self.judge is not None:
            row |= self.judge(self.averaged())
        self.rows.append(row)
        self._keep(int(row["epoch"]))
        watched = self.options.schedule.watch
        if hasattr(self, "plateau") and watched in row:
            self.plateau.step(row[watched])
        with atomic_path(self.out / "metrics.parquet") as temporary:
            pd.DataFrame(self.rows).to_parquet(temporary)
        for logger in self.loggers:
            logger.log_metrics(row, self.global_step)
        self._say(row)
        if self.epoch_end is not None:
            self.epoch_end(self.averaged(), int(row["epoch"]))
        self._stop_when_late()

    def _stop_when_late(self) -> None:
        patience = self.recipe.train.patience
        if patience and self.rows and len(self.rows) - 1 - self._best_place() >= patience:
            log.info("no better %s for %d epochs: stopped", self.recipe.train.watch, patience)
            self.trainer.should_stop = True

    def averaged(self) -> Model:
        """A copy of the network with the averaged weights."""
        twin = copy.deepcopy(self.net)
        twin.load_state_dict(self.average)
        return twin.eval()

    def _best_place(self) -> int:
        name, place = self.recipe.train.watch, 0
        for i, row in enumerate(self.rows):
            if better(name, row.get(name, math.nan), self.rows[place].get(name, math.nan)):
                place = i
        return place

    def _keep(self, epoch: int) -> None:
        """Weights of the epochs that may be averaged or taken; the others go."""
        if self.judge is None:
            return
        train = self.recipe.train
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

    def _say(self, row: dict[str, float]) -> None:
        done = self.global_step / self.steps
        left = (time.monotonic() - self.began) * (1 - done) / max(done, 1e-9)
        words = " ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in ("epoch", "step"))
        log.info(
            "step %d of %d, about %d s left: %s", self.global_step, self.steps, round(left), words
        )

    # --- resume ---

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint |= {"average": self.average, "rows": self.rows, "rng": torch.get_rng_state()}
        if hasattr(self, "plateau"):
            checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.average, self.rows = checkpoint["average"], checkpoint["rows"]
        self.resumed = checkpoint

    def on_train_start(self) -> None:
        found = getattr(self, "resumed", None)
        if found is not None:
            torch.set_rng_state(found["rng"])  # dropout goes on as it would have
            if "plateau" in found:
                self.plateau.load_state_dict(found["plateau"])
            self._stop_when_late()  # killed after its last epoch, it must not train another


class _Feeds(pl.LightningDataModule):  # type: ignore[misc]
    """Hands out the batches of the current epoch."""

    def __init__(self, draw: Draw, recipe: Recipe, steps: int, chunk: int, seed: int):
        super().__init__()
        self.draw, self.recipe, self.steps, self.chunk = draw, recipe, steps, chunk
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Batch]:
        done = self.trainer.global_step if self.trainer else 0
        several = self.recipe.train.accumulate
        feed = Feed(
            self.draw,
            policy(self.recipe.augment),
            spec_of(self.recipe),
            targets_of(self.recipe),
            batch=self.recipe.train.batch,
            start=done * several,
            batches=min(self.chunk, self.steps - done) * several,
            seed=self.seed,
        )
        # A generator of its own: the loader must not take numbers from dropout's.
        return DataLoader(
            feed,
            batch_size=None,
            shuffle=False,
            generator=torch.Generator(),
            num_workers=self.recipe.train.workers,
            pin_memory=torch.cuda.is_available(),
        )


def length(stage: StageOptions, recipe: Recipe, images: int) -> tuple[int, int]:
    """(steps of the stage, steps of an epoch)."""
    train = recipe.train
    chunk = train.save_every
    if stage.mix is None:
        chunk = max(1, math.ceil(images / (train.batch * train.accumulate)))
    steps = stage.steps or chunk * (stage.epochs or 1)
    return (min(steps, chunk * train.epochs) if train.epochs else steps), chunk


def epochs(recipe: Recipe, stage: str, images: int = 0) -> int:
    """How many a stage has."""
    steps, chunk = length(recipe.stages[stage], recipe, images)
    return math.ceil(steps / chunk)


def fit(
    net: Model,
    stage: str,
    recipe: Recipe,
    draw: Draw,
    out: Path,
    *,
    seed: int,
    images: int = 0,
    judge: Judge | None = None,
    first: int = 0,
    epoch_end: EpochEnd | None = None,
) -> None:
    """Train `net` through one stage and leave its weights in it and in `out`.

    A finished stage (`weights.safetensors` is there) is loaded instead; a started one goes on.

    Args:
        draw: picks the item of each sample.
        images: how many make an epoch, for stages that do not mix groups.
        judge: metrics of the averaged network after each epoch; with it the best epoch, or the
            average that the recipe asks for, is what remains. Without it the last.
        first: epochs that earlier stages did.
        epoch_end: called after each epoch, to draw it.
    """
    options, train = recipe.stages[stage], recipe.train
    finished = out / "weights.safetensors"
    if finished.is_file():
        net.load_state_dict(load_file(finished), strict=False)
        return
    torch.set_num_threads(train.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # its tips are no log of ours
    pl.seed_everything(seed, verbose=False)
    out.mkdir(parents=True, exist_ok=True)
    steps, chunk = length(options, recipe, images)
    net.to(memory_format=torch.channels_last)
    module = Stage(net, options, recipe, out, judge, steps, chunk, first, epoch_end)
    last = out / "last.ckpt"
    trainer = pl.Trainer(
        accelerator="auto",
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        precision=PRECISION[train.precision],
        accumulate_grad_batches=train.accumulate,
        gradient_clip_val=train.clip_norm,
        reload_dataloaders_every_n_epochs=1,
        logger=TensorBoardLogger(out, name="", version="tensorboard"),
        callbacks=[
            ModelCheckpoint(out, filename="last", enable_version_counter=False),
            *([RichProgressBar()] if sys.stderr.isatty() else []),
        ],
        enable_progress_bar=sys.stderr.isatty(),
        log_every_n_steps=10,
        enable_model_summary=False,
    )
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*")
        warnings.filterwarnings("ignore", message=".*logging interval.*")
        warnings.filterwarnings("ignore", message=".*in eval mode.*")  # frozen on purpose
        warnings.filterwarnings("ignore", message=".*treespec.*")  # Lightning's own affair
        trainer.fit(
            module,
            datamodule=_Feeds(draw, recipe, steps, chunk, seed),
            ckpt_path=last if last.is_file() else None,
            weights_only=False if last.is_file() else None,  # our own file, with the optimiser
        )
    if trainer.interrupted:
        raise KeyboardInterrupt
    net.cpu().load_state_dict(_chosen(module, draw, seed))
    cpu_minutes = (time.process_time() - started) / 60
    save_weights(net.state_dict(), finished)
    write_text(out / "cost.json", json.dumps({"cpu_minutes": cpu_minutes, "steps": steps}))
    last.unlink(missing_ok=True)
    log.info("%s: %d steps, %.1f CPU minutes", out.name, steps, cpu_minutes)


def _chosen(module: Stage, draw: Draw, seed: int) -> Weights:
    """The weights that remain of a stage."""
    train = module.recipe.train
    if module.judge is None:
        return {key: value.cpu() for key, value in module.average.items()}
    names = train.average.epochs
    if train.average.best or names:
        files = sorted(module.out.glob("epoch-*.safetensors"))
        wanted = [f for f in files if not names or int(f.stem.removeprefix("epoch-")) in names]
        if wanted:
            return _swa(module, wanted, draw, seed)
        log.info("%s: none of the epochs %s: the best is taken", module.out.name, names)
    best = int(module.rows[module._best_place()]["epoch"])
    weights: Weights = load_file(module.out / f"epoch-{best:03d}.safetensors")
    return weights


def _swa(module: Stage, files: list[Path], draw: Draw, seed: int) -> Weights:
    """The mean of several epochs' weights, batch-norm statistics taken anew (E5).

    Frozen batch norm had the same statistics in all of them and keeps these.
    """
    parts = [load_file(file) for file in files]
    mean = {
        key: torch.stack([part[key].float() for part in parts]).mean(0).to(value.dtype)
        for key, value in parts[0].items()
    }
    twin = copy.deepcopy(module.net).cpu()
    twin.load_state_dict(mean)
    still(twin.train(), module.options)
    moving = [layer for layer in batch_norms(twin) if layer.training]
    for layer in moving:
        layer.reset_running_stats()  # type: ignore[operator]
        layer.momentum = None  # type: ignore[assignment]  # the plain mean over all batches
    if moving:
        feeds = _Feeds(draw, module.recipe, module.chunk, module.chunk, seed)
        with torch.no_grad():
            for batch in feeds.train_dataloader():
                twin(batch.image_B1SS)
    log.info("weights averaged over %s", ", ".join(file.stem for file in files))
    return _copied(twin)


def save_weights(weights: Weights, path: Path) -> None:
    """One safetensors file, atomically."""
    with atomic_path(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, temporary)


def _copied(net: Model) -> Weights:
    return {key: value.detach().clone() for key, value in net.state_dict().items()}
