"""Convolutions kept in fp32 say what they said before, and a copy of a network is its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hilum.models import precision
from hilum.models.precision import careful_in_bf16, usable_precision


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8))


def test_without_autocast_nothing_changes() -> None:
    plain, changed = _net(), _net()
    careful_in_bf16(changed)
    x = torch.randn(2, 1, 16, 16)
    assert torch.equal(plain(x), changed(x))
    assert list(changed.state_dict()) == list(plain.state_dict())


def test_under_autocast_the_depthwise_layer_computes_in_fp32() -> None:
    net, seen = _net(), []
    careful_in_bf16(net)
    net[1].register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    x = torch.randn(2, 1, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = net[0](x)
        y = net[1](half)
    assert y.dtype is torch.bfloat16
    assert torch.equal(y, net[1](half.float()).to(torch.bfloat16))


def test_a_copy_has_weights_of_its_own() -> None:
    net = _net()
    careful_in_bf16(net)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin[1].weight.zero_()
    x = torch.randn(1, 1, 8, 8)
    assert not torch.equal(twin(x), net(x))


def test_a_kernel_larger_than_its_map_has_a_true_gradient() -> None:
    """One cell is left of 64 px at stride 64: there oneDNN's bf16 gradient is NaN, or 1e30."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(16, 16, 3, stride=2, padding=1))
    x = torch.randn(2, 16, 1, 1)
    net(x).square().sum().backward()
    assert net[0].weight.grad is not None
    true = net[0].weight.grad.clone()
    careful_in_bf16(net)
    for _ in range(8):
        net.zero_grad()
        litter = [torch.full((16 * 16 * 9,), float("nan")) for _ in range(4)]
        del litter  # what it reads by mistake is memory that was used before
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = net(x)
        y.float().square().sum().backward()
        torch.testing.assert_close(net[0].weight.grad, true, rtol=0.05, atol=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has every precision")
def test_a_processor_that_only_emulates_bf16_computes_in_fp32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for has, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(precision, "_multiplies_bf16", lambda has=has: has)
        assert [usable_precision(name) for name in ("bf16", "fp16")] == [expected] * 2
        assert usable_precision("fp32") == "fp32"
