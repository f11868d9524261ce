"""Proof that a detector learns: it finds every opacity of eight images it has seen."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.core.prepare import Preprocessing
from hilum.data.sets import load_set
from hilum.evaluate.metrics.detection import detection_ap
from hilum.models.model import Targets
from hilum.models.options import RetinaNetOptions
from hilum.models.retinanet import RetinaNet
from hilum.train.loader import plain
from hilum.train.options import SourceOptions
from hilum.train.samples import prepare_rows
from hilum.train.sources import Source

SIZE, IMAGES, PATIENCE_S = 128, 8, 60


@pytest.mark.slow
def test_retinanet_overfits_eight_radiographs(hilum_data: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    catalog = load_set("covid_opacity_512", hilum_data)
    catalog = catalog.where(np.arange(len(catalog)) < IMAGES)
    spec, targets = Preprocessing(SIZE), Targets()
    source = Source(SourceOptions(set="covid_opacity_512"), catalog, targets, {})
    images = prepare_rows(source, range(IMAGES), spec).images
    (batch,) = plain(images, spec, targets, IMAGES)
    truth = [image.boxes for image in images]
    assert sum(map(len, truth)) > 10
    options = RetinaNetOptions.model_validate(
        {
            "kind": "retinanet",
            "channels": 32,
            "tower": 2,
            "tower_norm": "group",
            "dropout": 0.0,
            "anchors": {"levels": [2, 3, 4, 5]},
        }
    )
    net = RetinaNet(options, SIZE, targets)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0)
    reached, began = 0.0, time.process_time()
    while reached < 0.9 and time.process_time() - began < PATIENCE_S:
        net.train()
        for _ in range(10):
            optimiser.zero_grad()
            torch.stack(list(net.loss(batch).values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
        findings = net.predict(batch.image_B1SS)
        answer = [(one.boxes.numpy(), one.scores.numpy()) for one in findings]
        reached = detection_ap(truth, answer)
    assert reached >= 0.9
