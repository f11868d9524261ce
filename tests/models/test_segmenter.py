"""Segmenters: every architecture on grey encoders, and losses that leave the unknown out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hilum.core.errors import ConfigError
from hilum.models.encoder import packaged_weights
from hilum.models.losses import mask_loss
from hilum.models.model import Batch, Targets
from hilum.models.options import SegmenterOptions
from hilum.models.segmenter import ARCHITECTURES, Segmenter

SIZE = 64
MASKS = Targets(masks=("pneumothorax", "lungs"))


def build(**settings: object) -> Segmenter:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    options = {"kind": "segmenter", "pretrained": False, **settings}
    return Segmenter(SegmenterOptions.model_validate(options), SIZE, MASKS)


def batch(mask: torch.Tensor) -> Batch:
    n = len(mask)
    return Batch(
        torch.randn(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)),
        [None] * n,
        [None] * n,
        mask,
        torch.zeros(n, 3),
        torch.zeros(n, 0),
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_draws_each_mask_at_full_size(architecture: str) -> None:
    net = build(architecture=architecture)
    mask = torch.zeros(2, 2, SIZE, SIZE, dtype=torch.uint8)
    mask[:, 0, :20] = 1
    parts = net.train().loss(batch(mask))
    assert set(parts) == {"pneumothorax", "lungs"}
    sum(parts.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    findings = net.predict(torch.zeros(1, 1, SIZE, SIZE))[0].masks
    assert findings is not None
    assert findings.shape == (2, SIZE, SIZE)
    assert findings.min() >= 0
    assert findings.max() <= 1


@pytest.mark.parametrize("encoder", ["inception_resnet_v2", "xception", "seresnext50", "dpn92"])
def test_encoders_of_the_study_fit_the_decoders(encoder: str) -> None:
    with torch.device("meta"):
        for architecture in ("fpn", "unet"):
            net = build(architecture=architecture, encoder=encoder).eval()
            assert net(torch.zeros(1, 1, SIZE, SIZE))["mask_logits"].shape == (1, 2, SIZE, SIZE)


def test_packaged_weights_fill_the_encoder() -> None:
    net = build(pretrained=True)
    weights = packaged_weights("tf_efficientnet_lite0")
    own = net.net.encoder.model.state_dict()
    assert own["conv_stem.weight"].shape[1] == 1
    torch.testing.assert_close(
        own["conv_stem.weight"], weights["conv_stem.weight"].sum(1, keepdim=True)
    )
    for key in own.keys() - {"conv_stem.weight"}:
        assert torch.equal(own[key], weights[key]), key


def test_a_pair_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="resnet50"):
        build(architecture="deeplabv3+", encoder="pnasnet5")
    with pytest.raises(ConfigError, match="nasnet_large"):
        build(encoder="nasnet_mobile")
    with pytest.raises(ConfigError, match="needed: 2"):
        build(mask_weights=[1.0])


def test_the_combo_loss_is_the_winners(oracles: Path) -> None:
    truth = json.loads((oracles / "siim_acr_combo_loss.json").read_text())
    logit, mask = torch.tensor(truth["logits"]), torch.tensor(truth["targets"]).byte()
    named = {
        "bce": {"bce": 1},
        "dice": {"dice": 1},
        "focal": {"focal": 1},
        **{
            f"{a}-{b}-{c}": {"bce": a, "dice": b, "focal": c}
            for a, b, c in ((1, 1, 1), (3, 1, 4), (2, 1, 2))
        },
    }
    assert named.keys() == truth["loss"].keys()
    for name, terms in named.items():
        value = mask_loss(logit, mask, terms, smooth=1e-6).item()
        assert value == pytest.approx(truth["loss"][name], rel=1e-5), name


def test_tversky_with_even_costs_is_dice_and_else_minds_what_it_is_told() -> None:
    logit = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = (torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.7).byte()

    def tversky(costs: tuple[float, float], shift: float = 0.0) -> float:
        return mask_loss(logit + shift, mask, {"tversky": 1}, smooth=1e-6, tversky=costs).item()

    even = mask_loss(logit, mask, {"dice": 1}, smooth=1e-6).item()
    assert tversky((0.5, 0.5)) == pytest.approx(even, rel=1e-5)
    # Costly misses: saying more is better than saying less.
    assert tversky((0.1, 0.9), 2.0) < tversky((0.1, 0.9), -2.0)


@pytest.mark.parametrize("term", ["bce", "dice", "focal", "tversky"])
def test_pixels_nobody_drew_cost_nothing(term: str) -> None:
    logit = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = torch.tensor([[[1, 255, 0, 0], [0, 255, 1, 0], [1, 1, 0, 0], [255, 0, 0, 1]]]).byte()
    mask_loss(logit, mask, {term: 1.0}).backward()
    assert logit.grad is not None
    assert (logit.grad[mask == 255] == 0).all()
    assert (logit.grad[mask != 255] != 0).all()


def test_a_masks_weight_scales_its_loss() -> None:
    mask = torch.zeros(2, 2, SIZE, SIZE, dtype=torch.uint8)
    mask[:, :, :20] = 1
    plain, weighted = (build(mask_weights=w).eval().loss(batch(mask)) for w in (None, (1.0, 0.25)))
    torch.testing.assert_close(weighted["lungs"], plain["lungs"] * 0.25)
    torch.testing.assert_close(weighted["pneumothorax"], plain["pneumothorax"])


def test_a_dilated_encoder_sees_what_its_weights_learnt_on() -> None:
    """Every second cell of its last map is the cell of the map that strides (E4)."""
    dilated = build(architecture="deeplabv3+", encoder="inception_resnet_v2").eval()
    plain = build(architecture="fpn", encoder="inception_resnet_v2").eval()
    plain.net.encoder.load_state_dict(dilated.net.encoder.state_dict())
    image = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        fine, coarse = (net.net.encoder(image)[-1] for net in (dilated, plain))
        assert dilated(image)["mask_logits"].shape[-2:] == (128, 128)
    assert fine.shape[-1] == 2 * coarse.shape[-1] == 8
    torch.testing.assert_close(fine[..., ::2, ::2], coarse, rtol=1e-3, atol=1e-4)
