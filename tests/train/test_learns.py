"""Proof that they learn: a classifier and a segmenter know eight real images by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.core.prepare import Preprocessing
from hilum.data.catalog import Catalog
from hilum.data.sets import load_set
from hilum.models.model import Batch, Model, Targets
from hilum.models.options import ClassifierOptions, SegmenterOptions
from hilum.models.registry import build_model
from hilum.train.loader import plain
from hilum.train.options import SourceOptions
from hilum.train.samples import PreparedImage, prepare_rows
from hilum.train.sources import Source

SIZE = 128
CLASSES = ("normal", "opacity")


def prepared(catalog: Catalog, targets: Targets, spec: Preprocessing) -> list[PreparedImage]:
    source = Source(SourceOptions(set=catalog.name), catalog, targets, {})
    return prepare_rows(source, range(len(catalog)), spec).images


def by_heart(net: Model, batch: Batch, steps: int) -> None:
    torch.set_num_threads(1)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    net.train()
    for _ in range(steps):
        optimiser.zero_grad()
        torch.stack(list(net.loss(batch).values())).sum().backward()
        optimiser.step()


@pytest.mark.slow
def test_a_classifier_learns_eight_radiographs(hilum_data: Path) -> None:
    targets = Targets(classes=CLASSES, masks=())
    nih = load_set("nih_128", hilum_data)
    keep = np.zeros(len(nih), bool)
    for name in CLASSES:
        keep[np.flatnonzero(nih.table[f"label_{name}"] == 1)[:4]] = True
    spec = Preprocessing(SIZE)
    images = prepared(nih.where(keep), targets, spec)
    batch = next(plain(images, spec, Targets(classes=CLASSES, masks=("opacity",)), 8))
    net = build_model(ClassifierOptions(kind="classifier"), SIZE, targets, seed=0)
    by_heart(net, batch, 30)
    findings = [int(one.classes.argmax()) for one in net.predict(batch.image_B1SS)]  # type: ignore[union-attr]
    assert findings == batch.label_BC.argmax(dim=1).tolist()
    assert sorted(findings) == [0] * 4 + [1] * 4


@pytest.mark.slow
def test_a_segmenter_learns_eight_radiographs(hilum_data: Path) -> None:
    targets = Targets(masks=("lungs",))
    jsrt = load_set("jsrt_128", hilum_data)
    spec = Preprocessing(SIZE)
    images = prepared(jsrt.where(np.arange(len(jsrt)) < 8), targets, spec)
    batch = next(plain(images, spec, targets, 8))
    options = SegmenterOptions(kind="segmenter", loss={"focal": 1.0, "dice": 1.0})
    net = build_model(options, SIZE, targets, seed=0)
    by_heart(net, batch, 30)
    findings = torch.stack([one.masks for one in net.predict(batch.image_B1SS)]) >= 0.5  # type: ignore[misc]
    true = batch.mask_BMSS == 1
    both = (findings & true).sum(dim=(1, 2, 3))
    dice = 2 * both / (findings.sum(dim=(1, 2, 3)) + true.sum(dim=(1, 2, 3)))
    assert dice.min().item() >= 0.9
