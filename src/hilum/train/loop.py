"""One stage of training from its first step, or the one it was killed at, to the weights it leaves.

Knows the sampler of its images and how to evaluate, no data set and no folder but the stage's own.
"""

from __future__ import annotations

import copy
import itertools
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from hilum.augment.policy import policy
from hilum.core.files import write_text
from hilum.core.processes import deaf_children, patient, same_handlers
from hilum.core.progress import say
from hilum.models import ranks
from hilum.models.model import Batch, Model
from hilum.train.loader import Batches, Draw
from hilum.train.optim import batch_norms, still
from hilum.train.stage import EpochEnd, Evaluate, Plan, Stage, Weights, save_weights

PRECISION = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}
SOME = 8  # batches
FINISHED, LAST = "weights.safetensors", "last.safetensors"


class _Workers(DataLoader[Batch]):
    """A data loader whose processes leave Ctrl-C to their parent."""

    def __iter__(self) -> Any:
        with deaf_children():
            return super().__iter__()


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
            rank=0 if self.stage is None else ranks.rank(),
            world=1 if self.stage is None else ranks.world(),
        )
        # A generator of its own: the loader must not take numbers from dropout's.
        return _Workers(
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
    file = out / FINISHED
    finished = ranks.from_first(lambda: load_file(file) if file.is_file() else None)
    if finished is not None:
        net.load_state_dict(finished, strict=False)
        return
    torch.set_num_threads(plan.recipe.train.threads)
    pl.seed_everything(plan.seed, verbose=False)
    out.mkdir(parents=True, exist_ok=True)
    net.to(memory_format=torch.channels_last)
    stage = Stage(net, plan, out, evaluate=evaluate, epoch_end=epoch_end)
    if stage.done < plan.steps and not stage.late:
        _train(stage, draw)
    net.cpu()
    if ranks.first():
        save_weights(net.state_dict(), out / LAST)
    net.load_state_dict(ranks.from_first(lambda: _chosen(stage, draw)))
    cpu_minutes = ranks.total(stage.cpu_s + time.process_time()) / 60
    if ranks.first():
        save_weights(net.state_dict(), file)
        write_text(out / "cost.json", json.dumps({"cpu_minutes": cpu_minutes, "steps": plan.steps}))
        say("%s: %d steps, %.1f CPU minutes", out.name, plan.steps, cpu_minutes)


def _train(stage: Stage, draw: Draw) -> None:
    """The steps that are left."""
    train = stage.plan.recipe.train
    if stage.precision != train.precision:
        words = "%s: %s instead of %s, which this processor has not or only emulates"
        say(words, stage.out.name, stage.precision, train.precision)
    for talker in ("pytorch_lightning", "lightning.pytorch"):  # their tips are no log of ours
        logging.getLogger(talker).setLevel(logging.WARNING)
    trainer = pl.Trainer(
        accelerator="auto",
        devices=[torch.cuda.current_device()] if torch.cuda.is_available() else 1,
        max_steps=stage.plan.steps - stage.done,
        max_epochs=-1,
        precision=PRECISION[stage.precision],
        accumulate_grad_batches=train.accumulate,
        gradient_clip_val=train.clip_norm,
        reload_dataloaders_every_n_epochs=1,
        logger=ranks.first() and TensorBoardLogger(stage.out, name="", version="tensorboard"),
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
        try:
            with same_handlers(), patient():  # a step is ended and saved, see Stage
                trainer.fit(stage, datamodule=_Loader(draw, stage.plan, stage))
        except SystemExit as stop:  # what Lightning makes of an interrupt
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
            return average_weights(stage.net, stage.plan, wanted, draw)
        say("%s: none of the epochs %s: the best is taken", stage.out.name, names)
    best = int(stage.rows[stage.best]["epoch"])
    weights: Weights = load_file(stage.out / f"epoch-{best:03d}.safetensors")
    return weights


def some_images(plan: Plan, draw: Draw) -> Iterator[Tensor]:
    """(B, 1, S, S) images of the first batches of a stage."""
    for batch in itertools.islice(_Loader(draw, plan).train_dataloader(), SOME):
        yield batch.image_B1SS


def average_weights(net: Model, plan: Plan, files: list[Path], draw: Draw) -> Weights:
    """The mean of the weights of several epochs or stages, batch-norm statistics taken anew (E5).

    Frozen batch norm had the same statistics in all of them and keeps these.
    """
    parts = [load_file(file) for file in files]
    mean = {
        key: torch.stack([part[key].float() for part in parts]).mean(0).to(value.dtype)
        for key, value in parts[0].items()
    }
    # As the stages before were computed, though it may be another process that goes on here.
    torch.set_num_threads(plan.recipe.train.threads)
    twin = copy.deepcopy(net).cpu().to(memory_format=torch.channels_last)
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
    say("weights averaged over %s", ", ".join(f"{file.parent.name}/{file.stem}" for file in files))
    return {key: value.detach().clone() for key, value in twin.state_dict().items()}
