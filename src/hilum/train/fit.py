"""One stage of training, driven by Lightning: optimiser, schedule, averaged weights, resume.

A stage is cut into chunks of `save_every` steps (Lightning's epochs); after each the whole state
is saved, so a killed stage goes on from there to the same numbers.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import CSVLogger
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hilum.augment.policy import policy
from hilum.core.files import atomic_path, write_text
from hilum.core.prepare import Preprocessing
from hilum.models.model import Batch
from hilum.train.feed import Groups, MixedFeed
from hilum.train.recipe import Recipe, StageOptions

log = logging.getLogger("hilum.train")


class Stage(pl.LightningModule):  # type: ignore[misc]
    """A detector under AdamW with warm-up and cosine, and an exponential average of its weights."""

    def __init__(self, net: nn.Module, options: StageOptions, recipe: Recipe):
        super().__init__()
        self.net, self.options, self.recipe = net, options, recipe
        self.average = {k: v.detach().clone() for k, v in net.state_dict().items()}

    def training_step(self, batch: Batch, _: int) -> Tensor:
        parts = self.net.loss(batch)  # type: ignore[operator]
        total = torch.stack(list(parts.values())).sum()
        self.log_dict(
            {**{k: v.detach() for k, v in parts.items()}, "loss": total.detach()},
            prog_bar=True,
            batch_size=len(batch.boxes),
        )
        return total

    def configure_optimizers(self) -> Any:
        slow: list[nn.Parameter] = []
        fast: list[nn.Parameter] = []
        for name, parameter in self.net.named_parameters():
            inner = "encoder." in name
            (slow if inner else fast).append(parameter)
        rate = self.options.learning_rate
        optimiser = torch.optim.AdamW(
            [
                {"params": slow, "lr": rate * self.options.encoder_factor},
                {"params": fast, "lr": rate},
            ],
            weight_decay=self.recipe.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._factor)
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]

    def _factor(self, step: int) -> float:
        warm = min(1.0, (step + 1) / max(1, self.options.warmup))
        return warm * (0.5 * (1 + math.cos(math.pi * min(1, step / self.options.steps))) + 1e-3)

    def on_train_batch_end(self, *_: Any) -> None:
        # The average forgets its random start: a short memory early, the recipe's later.
        decay = min(self.recipe.ema, (1 + self.global_step) / (10 + self.global_step))
        for key, value in self.net.state_dict().items():
            kept = self.average[key]
            if kept.dtype.is_floating_point:
                kept.lerp_(value.detach(), 1 - decay)
            else:
                kept.copy_(value)

    def on_train_epoch_end(self) -> None:
        values = self.trainer.callback_metrics
        parts = " ".join(f"{name} {float(value):.3f}" for name, value in values.items())
        log.info("step %d of %d: %s", self.global_step, self.options.steps, parts)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["average"] = self.average

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.average = checkpoint["average"]


class _Feed(pl.LightningDataModule):  # type: ignore[misc]
    """Hands out the chunk of batches that belongs to the current epoch."""

    def __init__(self, groups: Groups, options: StageOptions, recipe: Recipe, seed: int):
        super().__init__()
        self.groups, self.options, self.recipe, self.seed = groups, options, recipe, seed

    def train_dataloader(self) -> DataLoader[Batch]:
        done = self.trainer.global_step if self.trainer else 0
        feed = MixedFeed(
            self.groups,
            self.options.mix,
            policy(self.recipe.augment),
            spec_of(self.recipe),
            batch=self.recipe.batch,
            start=done,
            steps=min(self.recipe.save_every, self.options.steps - done),
            seed=self.seed,
        )
        return DataLoader(feed, batch_size=None, shuffle=False, num_workers=0)


def spec_of(recipe: Recipe) -> Preprocessing:
    options = recipe.preprocessing
    return Preprocessing(options.size, stretch=options.stretch)


def fit(
    net: nn.Module, stage: str, recipe: Recipe, groups: Groups, out: Path, *, seed: int
) -> None:
    """Train `net` through one stage and leave the averaged weights in it and in `out`.

    A finished stage (`weights.safetensors` is there) is loaded instead; a started one goes on.
    """
    options = recipe.stages[stage]
    finished = out / "weights.safetensors"
    if finished.is_file():
        net.load_state_dict(load_file(finished), strict=False)
        return
    torch.set_num_threads(recipe.threads)
    pl.seed_everything(seed, verbose=False)
    out.mkdir(parents=True, exist_ok=True)
    module = Stage(net.to(memory_format=torch.channels_last), options, recipe)
    last = out / "last.ckpt"
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=options.steps,
        max_epochs=-1,
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
        gradient_clip_val=recipe.clip_norm,
        reload_dataloaders_every_n_epochs=1,
        logger=CSVLogger(out, name="", version="log"),
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
        trainer.fit(
            module,
            datamodule=_Feed(groups, options, recipe, seed),
            ckpt_path=last if last.is_file() else None,
            weights_only=False if last.is_file() else None,  # our own file, with the optimiser
        )
    if trainer.interrupted:
        raise KeyboardInterrupt
    net.load_state_dict(module.average)
    cpu_minutes = (time.process_time() - started) / 60
    with atomic_path(finished) as temporary:
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, temporary)
    write_text(out / "cost.json", json.dumps({"cpu_minutes": cpu_minutes, "steps": options.steps}))
    last.unlink(missing_ok=True)
    log.info("%s: %d steps, %.1f CPU minutes", out.name, options.steps, cpu_minutes)
