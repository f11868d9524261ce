"""A map shows what a score rests on: planted evidence is found, and unlearnt weights lose it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Tensor, nn

from helpers.toy import write_classifier
from hilum.core.errors import ConfigError, ModelOutputError
from hilum.core.geometry import Letterbox
from hilum.core.radiograph import Radiograph
from hilum.explain.activation import class_activation
from hilum.explain.gradients import METHODS, heat_of, last_map
from hilum.explain.heat import Heat
from hilum.explain.occlusion import losses
from hilum.explain.pointing import pointed, rates, within
from hilum.explain.sanity import cascade, randomised, rank_correlation
from hilum.inference.predictor import Predictor
from hilum.models.classifier import Classifier
from hilum.models.model import Batch, Model, Prediction, Targets
from hilum.models.options import ClassifierOptions

SIDE = 64
TARGETS = Targets(labels=(), classes=("normal", "opacity"), masks=(), positive=("opacity",))


class Corner(Model):
    """A linear head on a feature map: only what is bright in the upper left counts."""

    def __init__(self, weighed: bool = True):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Conv2d(1, 4, 8, stride=8, bias=False)
        with torch.no_grad():
            self.encoder.weight.fill_(1 / 64)
        self.head = nn.Linear(4 * 8 * 8, 2, bias=False)
        with torch.no_grad():
            weight = torch.zeros(2, 4, 8, 8)
            weight[1, :, :3, :3] = 1.0
            self.head.weight.copy_(weight.reshape(2, -1))

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        return {"global_logits": self.head(self.encoder(image_B1SS).flatten(1))}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def _predict(self, image_B1SS: Tensor) -> list[Prediction]:
        raise NotImplementedError


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, SIDE, SIDE)).astype(np.float32)


FRAME = Letterbox(SIDE, SIDE, SIDE)


def test_hirescam_of_a_linear_head_adds_up_to_the_logit() -> None:
    """Its places are the terms of the sum (Draelos and Carin 2020)."""
    net, given_image = Corner(), image()
    heat = heat_of(net, TARGETS, given_image, FRAME, method="hirescam")
    logit = net(torch.from_numpy(given_image[None]))["global_logits"][0, 1]
    assert float(heat.grid.sum()) == pytest.approx(float(logit.detach()), rel=1e-5)
    assert (heat.grid[3:] == 0).all()
    assert (heat.grid[:, 3:] == 0).all()
    assert heat.score_name == "opacity"


def test_grad_cam_lights_up_what_the_score_does_not_rest_on() -> None:
    """Why both are there: a channel's mean gradient knows no place."""
    heat = heat_of(Corner(), TARGETS, image(), FRAME, method="grad-cam")
    assert (heat.grid[4:, 4:] > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_network_is_left_as_it_was(method: str) -> None:
    net = Corner().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    first = heat_of(net, TARGETS, image(), FRAME, method=method)
    again = heat_of(net, TARGETS, image(), FRAME, method=method)
    np.testing.assert_array_equal(first.grid, again.grid)
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_what_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="opacity"):
        heat_of(Corner(), TARGETS, image(), FRAME, score="opacty")
    with pytest.raises(ConfigError, match="hirescam"):
        heat_of(Corner(), TARGETS, image(), FRAME, method="hires")
    with pytest.raises(ConfigError, match="no encoder"):
        last_map(nn.Linear(1, 1))


def test_occlusion_finds_the_place_that_the_score_looks_at() -> None:
    def ask(square: np.ndarray) -> float:
        return float(square[0, 40:48, 8:16].mean())

    bright = np.zeros((1, SIDE, SIDE), np.float32)
    bright[0, 40:48, 8:16] = 1
    grid = losses(bright, ask, ask(bright), 16)
    heat = Heat("opacity", 1.0, "occlusion", grid, FRAME)
    x, y = heat.hottest()
    assert 6 <= x <= 18
    assert 38 <= y <= 50
    assert grid[:4, 8:].max() == pytest.approx(0, abs=1e-6)


def test_class_activations_of_a_bundle_point_at_what_the_class_looks_for(tmp_path: Path) -> None:
    """The toy's two maps, bright and dark, taken as those of its classes; no PyTorch."""
    heads = {"class_logits": None, "box_deltas": None, "mask_logits": None}
    bundle = write_classifier(tmp_path / "c.zip", outputs=heads | {"activations": "mask_logits"})
    pixels = np.full((SIDE, SIDE), 0.8, np.float32)
    pixels[8:24, 40:56] = 0.1
    dark = Radiograph(pixels)
    heat = class_activation(Predictor(bundle), dark)
    assert (heat.score_name, heat.method) == ("opacity", "class-activation")
    x, y = heat.hottest()
    assert 40 <= x <= 56
    assert 8 <= y <= 24
    x, y = class_activation(Predictor(bundle), dark, "normal").hottest()
    assert not (40 <= x <= 56 and 8 <= y <= 24)
    without = Predictor(write_classifier(tmp_path / "without.zip"))
    with pytest.raises(ConfigError, match=r"no class activations.*occlusion"):
        class_activation(without, dark)
    three = write_classifier(
        tmp_path / "three.zip",
        outputs=heads | {"activations": "class_logits"},
    )
    with pytest.raises(ModelOutputError, match="activations"):
        class_activation(Predictor(three), dark)


def test_a_map_lies_on_the_image_and_not_on_its_padding() -> None:
    """A wide image in the square: rows of padding are cut away, places scaled back."""
    frame = Letterbox(200, 100, SIDE)
    grid = np.zeros((8, 8), np.float32)
    grid[4, 6] = 1
    heat = Heat("opacity", 0.5, "occlusion", grid, frame)
    assert heat.shown().shape == (32, 64)
    assert heat.shown().max() == 1
    x, y = heat.hottest()
    assert x == pytest.approx(6.5 / 8 * 200, abs=8)
    assert y == pytest.approx((4.5 / 8 * 64 - 16) / 32 * 100, abs=8)
    flat = Heat("opacity", 0.5, "occlusion", -grid, frame)
    assert flat.flat
    assert flat.hottest() == (100, 50)


def test_randomised_weights_change_the_map_and_an_edge_filter_does_not_notice() -> None:
    torch.manual_seed(1)
    net = Corner()

    def explained(one: nn.Module) -> np.ndarray:
        assert isinstance(one, Model)
        return heat_of(one, TARGETS, image(), FRAME, method="hirescam").grid

    fallen = cascade(net, explained, (0.5, 1.0))
    assert max(fallen.values()) < 0.7
    edges = cascade(net, lambda _: np.abs(np.diff(image()[0], axis=0)), (0.5, 1.0))
    assert min(edges.values()) == pytest.approx(1)
    twin = randomised(net, 0.5)
    assert isinstance(twin, Corner)
    assert torch.equal(twin.encoder.weight, net.encoder.weight)
    assert not torch.equal(twin.head.weight, net.head.weight)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_rank_correlation_is_spearmans(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 6, 7))
    if ties:
        a = a.round(0)
    if a.std() == 0:
        return
    expected = spearmanr(a.reshape(-1), b.reshape(-1)).statistic
    assert rank_correlation(a, b) == pytest.approx(expected, abs=1e-9)


def test_the_pointing_game_stands_beside_chance() -> None:
    boxes = np.array([[0, 0, 50, 50], [25, 25, 75, 75]], float)
    hit, missed = pointed((10, 10), boxes, 100, 100), pointed((90, 90), boxes, 100, 100)
    assert (hit.hit, missed.hit) == (True, False)
    assert hit.anywhere == pytest.approx((2500 + 2500 - 625) / 10_000)  # overlap counts once
    assert hit.middle
    assert {k: np.mean(v) for k, v in rates([hit, missed]).items()} == {
        "hottest point in a true box": 0.5,
        "chance: a point anywhere": pytest.approx(hit.anywhere),
        "chance: the middle of the image": 1.0,
    }


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_random_points_hit_as_often_as_the_boxes_are_large(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60, (2, 2))
    boxes = np.concatenate([corner, corner + rng.integers(10, 40, (2, 2))], axis=1).astype(float)
    points = rng.random((4000, 2)) * 100
    share = np.mean([within((x, y), boxes) for x, y in points])
    assert share == pytest.approx(pointed((0, 0), boxes, 100, 100).anywhere, abs=0.03)


@pytest.mark.parametrize("score", TARGETS.classes)
def test_the_number_on_a_picture_is_that_of_the_prediction(score: str) -> None:
    """Of exclusive classes it is their softmax, not the sigmoid of one logit."""
    net, given_image = Corner(), image()
    heat = heat_of(net, TARGETS, given_image, FRAME, score=score)
    with torch.no_grad():
        logits = net(torch.from_numpy(given_image[None]))["global_logits"][0]
    wanted = logits.softmax(dim=0)[TARGETS.classes.index(score)]
    assert heat.score == pytest.approx(float(wanted), rel=1e-5)


class Pyramid(Corner):
    """An encoder of two levels, of which the score looks at the deeper one alone."""

    class Levels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine, self.coarse = nn.Conv2d(1, 3, 4, stride=4), nn.Conv2d(3, 4, 2, stride=2)

        def forward(self, image_B1SS: Tensor) -> list[Tensor]:
            fine = self.fine(image_B1SS)
            return [fine, self.coarse(fine)]

    def __init__(self) -> None:
        super().__init__()
        self.encoder = self.Levels()  # type: ignore[assignment]

    def features(self, image_B1SS: Tensor) -> Tensor:
        return self.encoder(image_B1SS)[-1]  # type: ignore[no-any-return]

    def of_features(self, features: Tensor) -> Tensor:
        return self.head(features.relu().flatten(1).square())[0, 1]  # type: ignore[no-any-return]

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        logit = self.of_features(self.features(image_B1SS))
        return {"global_logits": torch.stack([-logit, logit])[None]}


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_a_pyramid_are_the_papers_formulas_on_its_deepest_level(method: str) -> None:
    net, given_image = Pyramid(), image()
    features = net.features(torch.from_numpy(given_image[None])).detach().requires_grad_(True)
    gradient = torch.autograd.grad(net.of_features(features), features)[0]
    weights = gradient.mean(dim=(2, 3), keepdim=True) if method == "grad-cam" else gradient
    wanted = (weights * features).sum(dim=1)[0].clamp(min=0).detach().numpy()
    heat = heat_of(net, TARGETS, given_image, FRAME, method=method)
    np.testing.assert_allclose(heat.grid, wanted, rtol=1e-5, atol=1e-8)
    assert not heat.flat


def test_a_frozen_encoder_has_the_same_map() -> None:
    """A head on features that do not learn (D7)."""
    settings = {"kind": "classifier", "encoder": "resnet18", "pretrained": False}
    torch.manual_seed(0)
    nets = [
        Classifier(ClassifierOptions.model_validate(settings | {"frozen": one}), SIDE, TARGETS)
        for one in (True, False)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    frozen, learning = (heat_of(net, TARGETS, image(), FRAME) for net in nets)
    np.testing.assert_array_equal(frozen.grid, learning.grid)
    assert not frozen.flat
