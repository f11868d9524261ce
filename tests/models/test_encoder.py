"""Encoders of the studies: maps where anchors expect them, and weights from wherever they come."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from hilum.core.errors import ConfigError
from hilum.models.encoder import (
    PACKAGED,
    STUDY,
    encoder,
    load_weights,
    packaged_weights,
    source_weights,
    widths,
)

SMALL = "tf_efficientnet_lite0"


@pytest.mark.parametrize(
    "name",
    [*STUDY, "resnet34", "resnet50", "resnet101", "resnet152", "dpn92", "inception_resnet_v2"],
)
def test_every_encoder_of_the_studies_has_maps_of_side_over_stride(name: str) -> None:
    with torch.device("meta"):  # shapes only
        net = encoder(name, pretrained=False, levels=(1, 2, 3, 4, 5)).eval()
        maps = net(torch.zeros(1, 1, 96, 96))
    assert [tuple(m.shape[2:]) for m in maps] == [(s, s) for s in (48, 24, 12, 6, 3)]
    assert [m.shape[1] for m in maps] == widths(net)


def test_levels_are_strides_whatever_timm_counts_from() -> None:
    with torch.device("meta"):
        for name in ("cspdarknet53", "convnext_tiny", SMALL):  # from stride 1, 4 and 2
            maps = encoder(name, pretrained=False, levels=(3, 5)).eval()(torch.zeros(1, 1, 64, 64))
            assert [m.shape[-1] for m in maps] == [8, 2], name


def test_a_model_without_such_maps_is_refused_with_what_it_has() -> None:
    with pytest.raises(ConfigError, match=r"\[16, 16, 16\]"):
        encoder("vit_tiny_patch16_224", pretrained=False)
    with pytest.raises(ConfigError, match="resnet50"):
        encoder("resnet51", pretrained=False)


def test_packaged_weights_load_strictly_and_grey_equals_rgb() -> None:
    full = timm.create_model(SMALL, features_only=True, out_indices=(1,))
    weights = packaged_weights(SMALL)
    full.load_state_dict({k: weights[k] for k in full.state_dict()})
    grey = encoder(SMALL, pretrained=True, levels=(2,))
    image = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        a = full.eval()(image.expand(-1, 3, -1, -1))[0]
        b = grey.eval()(image)[0]
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_colour_weights_of_another_normalisation_see_grey_at_its_old_strength() -> None:
    torch.manual_seed(0)
    full = timm.create_model("resnet18")
    net = encoder("resnet18", pretrained=False, levels=(2,))
    from hilum.models.encoder import _input_factor

    load_weights(net, full.state_dict(), "timm", _input_factor("resnet18"))
    grey = torch.rand(1, 1, 32, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    theirs = full.conv1((grey.expand(-1, 3, -1, -1) - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    ours = net.conv1((grey - 0.5) / 0.5)
    inner = (theirs - ours)[:, :, 3:-3, 3:-3]  # away from the zero border
    # What is left is one constant a channel: the means' difference.
    assert inner.std(dim=(2, 3)).max().item() < 1e-5


def test_the_encoder_of_a_run_starts_another_with_an_account(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    trained = encoder(SMALL, pretrained=False)
    inside = {f"net.encoder.{key}": value for key, value in trained.state_dict().items()}
    lost = next(key for key in inside if key.endswith("blocks.0.0.conv_dw.weight"))
    del inside[lost]
    (tmp_path / "final").mkdir()
    save_file({**inside, "net.head.weight": torch.zeros(3)}, tmp_path / "final/weights.safetensors")
    with caplog.at_level(logging.INFO, "hilum.models"):
        started = encoder(SMALL, pretrained=str(tmp_path))
    assert "1 missing (blocks.0.0.conv_dw.weight)" in caplog.text
    assert "1 unexpected (net.head.weight)" in caplog.text
    for key, value in started.state_dict().items():
        same = torch.equal(value, trained.state_dict()[key])
        assert same != (key == "blocks.0.0.conv_dw.weight"), key


@pytest.mark.parametrize("name", ["cspdarknet53", "dpn92", "legacy_xception", "resnet18"])
def test_full_models_fill_feature_extractors_whole(name: str) -> None:
    with torch.device("meta"):
        full = timm.create_model(name).state_dict()
        net = encoder(name, pretrained=False)
    full = {key: torch.zeros(value.shape) for key, value in full.items()}
    account = load_weights(net.to_empty(device="cpu"), full, "timm")
    assert account.missing == account.reshaped == ()


def test_weights_that_do_not_exist_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no weights at"):
        encoder(SMALL, pretrained=str(tmp_path / "none.safetensors"))
    with pytest.raises(ConfigError, match="needed: one"):
        encoder(SMALL, pretrained=str(tmp_path))
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(ConfigError, match="no safetensors"):
        encoder(SMALL, pretrained=str(tmp_path / "x.safetensors"))
    save_file({"a": torch.zeros(1)}, tmp_path / "y.safetensors")
    with pytest.raises(ConfigError, match="nothing in"):
        encoder(SMALL, pretrained=str(tmp_path / "y.safetensors"))
    with pytest.raises(ConfigError, match="published"):
        source_weights("nasnet_mobile", "timm")


def test_an_encoder_without_packaged_weights_says_which_have_them() -> None:
    with pytest.raises(ConfigError, match=next(iter(PACKAGED))):
        packaged_weights("resnet18")
