"""What holds for every detector, and what is special to each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torchvision.models.detection.roi_heads import paste_masks_in_image

from helpers.batches import EMPTY, SIZE, TARGETS, TWO, batch
from hilum.core.anchors import AnchorGrid
from hilum.core.errors import ConfigError
from hilum.models.model import Batch, Model, Targets
from hilum.models.options import ModelOptions
from hilum.models.registry import build_model
from hilum.models.two_stage import (
    TwoStage,
    ellipses,
    instances,
    one_against_all,
    pairwise_iou,
    pasted,
)
from hilum.models.yolo import Yolo, product_logit

SMALL: dict[str, dict[str, Any]] = {
    "retinanet": {"channels": 16, "tower": 1},
    "retinanet-p2": {
        "kind": "retinanet",
        "channels": 16,
        "tower": 1,
        "anchors": {"levels": [2, 3, 4, 5, 6, 7]},
        "box_loss": "giou",
        "tower_norm": "group",
    },
    "efficientdet": {
        "kind": "retinanet",
        "neck": "bifpn",
        "neck_layers": 2,
        "channels": 16,
        "tower": 1,
        "tower_conv": "separable",
    },
    "faster-rcnn": {"channels": 16, "head_width": 32, "proposals": 40},
    "faster-rcnn-ciou": {
        "kind": "faster-rcnn",
        "channels": 16,
        "head_width": 32,
        "proposals": 40,
        "box_loss": "ciou",
    },
    "mask-rcnn": {"channels": 16, "head_width": 32, "proposals": 40},
    "mask-rcnn-real": {
        "kind": "mask-rcnn",
        "channels": 16,
        "head_width": 32,
        "proposals": 40,
        "masks": "real",
    },
    "yolo": {"channels": 16},
    "yolo-ciou": {"kind": "yolo", "channels": 16, "box_loss": "ciou", "nominal_batch": 64},
    "rt-detr": {"channels": 32, "queries": 20, "decoder_layers": 2},
}


def build(name: str, targets: Targets = TARGETS, seed: int = 0, **changes: object) -> Model:
    torch.set_num_threads(1)
    plain = {"kind": name, "encoder": "test_efficientnet", "pretrained": False}
    options = TypeAdapter(ModelOptions).validate_python(plain | SMALL[name] | changes)
    return build_model(options, SIZE, targets, seed)


@pytest.fixture(params=SMALL, scope="module")
def net(request: pytest.FixtureRequest) -> Model:
    return build(request.param)


def total(net: Model, one: Batch) -> torch.Tensor:
    torch.manual_seed(0)  # of what the loss draws: proposals, noise
    return torch.stack(list(net.loss(one).values())).sum()


def test_the_loss_is_finite_and_reaches_every_weight(net: Model) -> None:
    net.train().zero_grad()
    total(net, batch(TWO, EMPTY, None, mask=1)).backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def test_images_nobody_annotated_teach_nothing(net: Model) -> None:
    net.eval()
    whole = batch(TWO, EMPTY, None)
    without = batch(TWO, EMPTY)
    without.image_B1SS = whole.image_B1SS[:2]
    torch.testing.assert_close(total(net, whole), total(net, without), rtol=1e-5, atol=1e-5)
    nothing = total(net, batch(None, None))
    assert nothing.item() == 0
    nothing.backward()  # a step on such a batch is possible


def test_images_without_boxes_are_background(net: Model) -> None:
    net.eval()
    parts = net.loss(batch(EMPTY, EMPTY))
    assert sum(value.item() for value in parts.values()) > 0
    assert parts["box"].item() == 0


def test_boxes_lie_in_the_square_best_first(net: Model) -> None:
    with torch.no_grad():
        for weight in net.parameters():  # fresh heads say nothing above the floor
            weight.add_(0.02 * torch.randn_like(weight))
    findings = net.predict(batch(None, None).image_B1SS)
    assert len(findings) == 2
    for one in findings:
        assert one.boxes is not None
        assert one.scores is not None
        assert one.labels is not None
        assert one.boxes.shape == (len(one.scores), 4)
        assert ((one.boxes >= 0) & (one.boxes <= SIZE)).all()
        assert (one.boxes[:, 2:] > one.boxes[:, :2]).all()
        assert (one.scores.diff() <= 0).all()
        assert ((one.scores >= 0) & (one.scores <= 1)).all()
        assert (one.labels == 0).all()


def test_raw_heads_decode_without_torch(net: Model) -> None:
    """The contract with the bundle: deltas rest on the grid's anchors, or on proposals."""
    net.eval()
    image = batch(None).image_B1SS
    with torch.inference_mode():
        raw = {name: value[0].numpy() for name, value in net(image).items()}
    grid = getattr(net, "grid", AnchorGrid())
    places = raw["proposals"] if "proposals" in raw else grid.anchors(SIZE)
    boxes = grid.decode(raw["box_deltas"], places).clip(0, SIZE)
    score = 1 / (1 + np.exp(-raw["class_logits"]))
    best = int(score.argmax())
    findings = net.predict(image)[0]
    assert findings.boxes is not None
    assert findings.scores is not None
    if len(findings.boxes):
        np.testing.assert_allclose(findings.scores[0], score.max(), atol=1e-5)
        np.testing.assert_allclose(findings.boxes[0], boxes[best], atol=1e-2)


@pytest.mark.parametrize("name", ["retinanet", "faster-rcnn", "mask-rcnn", "yolo", "rt-detr"])
def test_several_labels_are_told_apart(name: str) -> None:
    net = build(name, Targets(labels=("opacity", "nodule", "effusion")))
    one = batch(TWO, EMPTY, None)
    one.classes = [torch.tensor([2, 0]), torch.zeros(0, dtype=torch.int64), None]
    assert torch.isfinite(total(net.train(), one))
    raw = net.eval()(one.image_B1SS)
    assert raw["class_logits"].shape[2] == 3
    assert len(net.predict(one.image_B1SS)) == 3


@pytest.mark.parametrize("name", ["retinanet", "yolo"])
def test_heads_of_two_networks_average_on_one_grid(name: str) -> None:
    image = batch(None).image_B1SS
    with torch.inference_mode():
        a, b = (build(name, seed=seed).eval()(image) for seed in (0, 1))
    assert {key: value.shape for key, value in a.items()} == {k: v.shape for k, v in b.items()}


# --- RetinaNet ---


def test_p2_adds_the_finer_anchors() -> None:
    options = {"kind": "retinanet", "encoder": "test_efficientnet", "pretrained": False}
    options |= {"channels": 8, "tower": 1, "anchors": {"levels": [2, 3, 4, 5, 6, 7]}}
    net = build_model(TypeAdapter(ModelOptions).validate_python(options), 512, TARGETS, 0)
    with torch.inference_mode():
        raw = net.eval()(torch.zeros(1, 1, 512, 512))
    assert raw["class_logits"].shape == (1, 196_560, 1)


def test_the_global_head_and_the_empty_images_are_options() -> None:
    bare = build("retinanet", global_head=False, empty_images=False)
    parts = bare.loss(batch(EMPTY, EMPTY))
    assert {name: value.item() for name, value in parts.items()} == {"focal": 0, "box": 0}
    assert bare.predict(batch(None).image_B1SS)[0].classes is None
    with pytest.raises(ConfigError, match="without a gap"):
        build("retinanet", anchors={"levels": [3, 5]})


def test_a_small_box_without_a_good_anchor_matches_none() -> None:
    """No low-quality matches: torchvision would give it its best anchor."""
    parts = build("retinanet").eval().loss(batch(torch.tensor([[20.0, 20, 24, 24]])))
    assert parts["box"].item() == 0


# --- two stages ---


def test_a_softmax_becomes_one_logit_a_class() -> None:
    logit = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)) * 3
    torch.testing.assert_close(one_against_all(logit).sigmoid(), logit.softmax(dim=2)[..., 1:])


def test_proposals_are_distinct_before_they_are_struck_out() -> None:
    net = build("faster-rcnn")
    assert isinstance(net, TwoStage)
    boxes = torch.tensor([[0.0, 0, 20, 20], [1, 1, 21, 21], [40, 40, 60, 60], [0, 0, 20, 21]])
    score = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    net.rpn._post_nms_top_n = {"training": 3, "testing": 3}
    kept, rank = net.rpn.filter_proposals(boxes[None], score, [(SIZE, SIZE)], [4])
    torch.testing.assert_close(kept[0], boxes[[0, 2, 1]])
    assert rank[0][2] < 0 < rank[0][1]
    torch.testing.assert_close(
        pairwise_iou(boxes[None])[0].diagonal(), torch.ones(4), rtol=1e-6, atol=1e-6
    )


def test_another_networks_proposals_can_be_judged() -> None:
    a, b = build("faster-rcnn").eval(), build("faster-rcnn", seed=1).eval()
    image = batch(None, None).image_B1SS
    with torch.inference_mode():
        first = a(image)
        second = b(image, first["proposals"])
    torch.testing.assert_close(first["proposals"], second["proposals"])
    assert (first["class_logits"] - second["class_logits"]).abs().max() > 0


def test_an_ellipse_fills_its_share_of_the_box() -> None:
    mask = ellipses(torch.tensor([[8.0, 16, 40, 56]]), SIZE)[0]
    assert mask.sum().item() == pytest.approx(np.pi / 4 * 32 * 40, rel=0.02)
    rows, columns = mask.nonzero(as_tuple=True)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (8, 39, 16, 55)


def test_an_instance_is_its_boxs_part_of_the_mask() -> None:
    mask = torch.zeros(SIZE, SIZE, dtype=torch.uint8)
    mask[10:30, 10:30] = 1
    mask[20:22, 20:22] = 255
    mask[40:, 40:] = 255
    value, known = instances(mask, torch.tensor([[0.0, 0, 25, 25], [40, 40, 60, 60]]))
    assert value[0].sum().item() == 15 * 15 - 4
    assert known[0].sum().item() == SIZE**2 - 4
    assert known[1].sum().item() == 0  # nothing inside is annotated


def test_masks_are_painted_into_their_channel() -> None:
    images = build("mask-rcnn").predict(batch(None).image_B1SS)[0]
    assert images.masks is not None
    assert images.masks.shape == (len(TARGETS.masks), SIZE, SIZE)
    assert ((images.masks[0] >= 0) & (images.masks[0] <= 1)).all()
    assert images.masks[1:].isnan().all()


# --- YOLO ---


def test_a_product_of_probabilities_has_a_logit() -> None:
    a, b = 8 * torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(product_logit(a, b).sigmoid(), a.sigmoid() * b.sigmoid())


def test_a_box_is_answered_for_by_its_cell_and_the_two_nearest() -> None:
    net = build("yolo")
    assert isinstance(net, Yolo)
    box = torch.tensor([[12.0, 14, 32, 40]])  # centre 22, 27: between cells of every level
    anchor, which = net.match(box)
    assert (which == 0).all()
    cells = net.boxes.anchors[anchor]
    ratio = (box[:, 2:] - box[:, :2]) / (cells[:, 2:] - cells[:, :2])
    assert torch.maximum(ratio, 1 / ratio).max() < 4
    middles = ((cells[:, :2] + cells[:, 2:]) / 2).round()
    assert {tuple(m) for m in middles[net.stride[anchor] == 8].tolist()} == {
        (20.0, 28.0),
        (28.0, 28.0),
        (20.0, 20.0),
    }


def test_the_code_reaches_every_matched_box() -> None:
    """Centres within a cell and sides up to four times the anchor's."""
    net = build("yolo")
    assert isinstance(net, Yolo)
    far = torch.full((1, len(net.boxes.anchors), 4), 30.0)
    low, high = net._deltas(-far)[0], net._deltas(far)[0]
    rng = np.random.default_rng(0)
    for _ in range(20):
        corner = rng.uniform(0, 40, 2)
        box = torch.tensor([[*corner, *(corner + rng.uniform(6, 24, 2))]], dtype=torch.float32)
        anchor, _ = net.match(box)
        wanted = net.boxes.encode(box.expand_as(net.boxes.anchors))[anchor]
        assert (wanted > low[anchor]).all()
        assert (wanted < high[anchor]).all()


def test_the_class_term_is_skipped_with_one_label() -> None:
    assert set(build("yolo").loss(batch(TWO))) == {"box", "objectness"}
    three = build("yolo", Targets(labels=("a", "b", "c")))
    assert set(three.loss(batch(TWO))) == {"box", "objectness", "class"}
    plain, many = build("yolo", box_loss="ciou"), build("yolo-ciou")
    torch.testing.assert_close(64 * total(plain.eval(), batch(TWO)), total(many.eval(), batch(TWO)))


def test_a_mask_is_pasted_where_its_box_lies() -> None:
    """Against torchvision's own pasting, at the cells' centres; outside the box it is nothing."""
    mask = torch.rand(1, 2, 28, 28, generator=torch.Generator().manual_seed(0))
    box = torch.tensor([[[8.0, 16, 40, 60], [30.0, 4, 62, 20]]])
    result = pasted(mask, box, 64, 16)[0]
    whole = paste_masks_in_image(mask[0][:, None], box[0], (64, 64))[:, 0]
    coarse = whole.reshape(2, 16, 4, 16, 4)[:, :, 1:3, :, 1:3].mean(dim=(2, 4))
    assert (result - coarse).abs().mean() < 0.03
    assert result[0, 0].abs().max() == 0  # above the first box
    assert result[1, :, 0].abs().max() == 0


def test_a_mask_rcnn_gives_its_masks_to_the_bundle() -> None:
    options = {"kind": "mask-rcnn", "encoder": "test_efficientnet", "pretrained": False}
    options |= {"channels": 16, "head_width": 32, "proposals": 40}
    net = build_model(TypeAdapter(ModelOptions).validate_python(options), SIZE, TARGETS, 0).eval()
    with torch.inference_mode():
        raw = net(torch.randn(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)))
    assert raw["mask_logits"].shape == (2, 1, SIZE // 4, SIZE // 4)
    best = raw["class_logits"].sigmoid().amax(dim=(1, 2))
    assert (raw["mask_logits"].sigmoid().amax(dim=(1, 2, 3)) <= best + 1e-5).all()
