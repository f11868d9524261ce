"""The default network: raw heads fit the anchors, and unannotated images teach nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hilum.models.baselines import TorchvisionRetinaNet
from hilum.models.dense import flattened
from hilum.models.model import Batch, Targets, evaluating
from hilum.models.opacity_net import OpacityNet, cells_of
from hilum.models.options import OpacityNetOptions, TorchvisionRetinaNetOptions

SIZE = 64
TARGETS = Targets(findings=tuple("abcdefghijklmn"))


@pytest.fixture(scope="module")
def net() -> OpacityNet:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return OpacityNet(OpacityNetOptions(pretrained=False, channels=16), SIZE, TARGETS)


def batch(boxes: list[torch.Tensor | None]) -> Batch:
    n, nan = len(boxes), float("nan")
    return Batch(
        torch.randn(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)),
        boxes,
        [None if b is None else torch.zeros(len(b), dtype=torch.int64) for b in boxes],
        torch.full((n, 3, SIZE, SIZE), 255, dtype=torch.uint8),
        torch.full((n, 3), nan),
        torch.full((n, 14), nan),
    )


def test_raw_heads_fit_the_anchor_grid(net: OpacityNet) -> None:
    raw = net(torch.zeros(2, 1, SIZE, SIZE))
    anchors = net.grid.anchors(SIZE)
    assert raw["class_logits"].shape == (2, len(anchors), 1)
    assert raw["box_deltas"].shape == (2, len(anchors), 4)
    assert raw["mask_logits"].shape == (2, 3, SIZE // 4, SIZE // 4)
    assert raw["global_logits"].shape == (2, 3)


def test_the_flat_axis_runs_row_column_anchor() -> None:
    cells = torch.arange(2 * 3).reshape(1, 1, 2, 3).float()
    maps = torch.cat([cells * 100 + k for k in range(4)], dim=1)  # 4 anchors a cell, K = 1
    flat = flattened(maps, 1)[0, :, 0]
    assert flat[:8].tolist() == [0, 1, 2, 3, 100, 101, 102, 103]


def test_images_nobody_annotated_give_no_detection_loss(net: OpacityNet) -> None:
    parts = net.loss(batch([None, None]))
    assert {name: value.item() for name, value in parts.items()} == dict.fromkeys(parts, 0.0)


def test_images_without_boxes_take_part_as_background(net: OpacityNet) -> None:
    net.eval()
    parts = net.loss(batch([torch.zeros(0, 4), None]))
    assert parts["focal"].item() > 0
    assert parts["box"].item() == 0


def test_a_perfect_delta_costs_nothing(net: OpacityNet) -> None:
    anchors = net.boxes.anchors
    box = anchors[100:101]
    target = net.boxes.encode(box.expand_as(anchors))
    assert target[100].abs().max().item() < 1e-5
    decoded = net.grid.decode(target.numpy(), anchors.numpy())
    np.testing.assert_allclose(decoded, np.tile(box.numpy(), (len(anchors), 1)), atol=1e-2)
    torch.testing.assert_close(net.boxes.decode(target).numpy(), decoded, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "kind", ["torchvision-retinanet-encoder", "torchvision-retinanet-resnet50"]
)
def test_baselines_train_on_the_same_batches(kind: str) -> None:
    torch.manual_seed(0)
    options = TorchvisionRetinaNetOptions.model_validate({"kind": kind, "pretrained": False})
    baseline = TorchvisionRetinaNet(options, SIZE, TARGETS)
    one = batch([torch.tensor([[10.0, 10, 40, 50]]), torch.zeros(0, 4), None])
    parts = baseline.train().loss(one)
    assert set(parts) == {"classification", "bbox_regression"}
    assert all(torch.isfinite(value) for value in parts.values())
    with evaluating(baseline), torch.no_grad():  # as for validation
        there = baseline.loss(one)
    assert set(there) == set(parts)
    assert all(torch.isfinite(value) for value in there.values())
    findings = baseline.predict(one.image_B1SS)
    assert len(findings) == 3


@pytest.mark.parametrize(
    ("targets", "heads"),
    [
        ({"labels": ("opacity",)}, ["class_logits", "box_deltas"]),
        ({"masks": ("heart",)}, ["mask_logits"]),
        ({"findings": ("nodule",)}, ["finding_logits"]),
    ],
)
def test_it_has_the_heads_that_its_targets_need(
    targets: dict[str, tuple[str, ...]], heads: list[str]
) -> None:
    none = dict.fromkeys(("labels", "classes", "findings", "masks", "positive"), ())
    options = OpacityNetOptions(pretrained=False, channels=16)
    net = OpacityNet(options, SIZE, Targets(**none | targets)).eval()
    one = batch([torch.zeros(0, 4)])
    one.mask_BMSS, one.finding_BF = one.mask_BMSS[:, :1], one.finding_BF[:, :1]
    raw, losses = net.evaluated(one)
    assert list(raw) == heads
    assert all(torch.isfinite(value) for value in losses.values())
    (found,) = net.predict(one.image_B1SS)
    assert (found.boxes is None) == ("labels" not in targets)
    assert (found.masks is None) == ("masks" not in targets)


def test_a_mask_is_learnt_where_it_was_drawn_and_as_large() -> None:
    """Over all places within a cell: its area is the drawing's, its centre on average, too."""
    centres = (torch.arange(SIZE // 4) + 0.5) * 4
    off = list[tuple[float, float]]()
    for start in range(4):
        mask = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.uint8)
        mask[..., 20 + start : 41 + start, 8 + start : 22 + start] = 1
        cells = cells_of(mask)[0, 0]
        assert cells.sum() * 16 == mask.sum()
        y, x = ((cells.sum(dim=i) * centres).sum() / cells.sum() for i in (1, 0))
        off.append((float(y) - 30.5 - start, float(x) - 15 - start))
    assert np.mean(off, axis=0) == pytest.approx([0, 0], abs=1e-5)


def test_a_cell_is_unknown_where_most_of_it_is() -> None:
    mask = torch.full((1, 1, 4, 12), 255, dtype=torch.uint8)
    mask[..., 4:6] = 1  # half of the second cell is known, and marked
    mask[..., 8:] = torch.tensor([0, 1, 1, 255], dtype=torch.uint8)
    assert cells_of(mask)[0, 0, 0].tolist() == pytest.approx([255, 1, 2 / 3])
