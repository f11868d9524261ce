"""Classifiers: the unknown costs nothing, and what is frozen stays."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from hilum.core.errors import ConfigError
from hilum.core.geometry import Letterbox
from hilum.explain.gradients import heat_of
from hilum.models.classifier import Classifier
from hilum.models.losses import masked_bce, partial_class_loss
from hilum.models.model import Batch, Targets
from hilum.models.options import ClassifierOptions

SIZE, NAN = 64, float("nan")
STUDY = Targets(classes=("negative", "typical", "indeterminate", "atypical"), findings=("a", "b"))


def build(**settings: object) -> Classifier:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    options = {"kind": "classifier", "encoder": "resnet18", "pretrained": False, **settings}
    return Classifier(ClassifierOptions.model_validate(options), SIZE, STUDY)


def batch(label: list[list[float]], finding: list[list[float]]) -> Batch:
    n = len(label)
    return Batch(
        torch.randn(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)),
        [None] * n,
        [None] * n,
        torch.full((n, 3, SIZE, SIZE), 255, dtype=torch.uint8),
        torch.tensor(label),
        torch.tensor(finding),
    )


def test_the_study_head_is_two_layers_of_xavier_on_a_frozen_backbone() -> None:
    net = build(hidden=1024, frozen=True, dropout=0.5)
    shapes = [tuple(p.shape) for p in net.head.parameters()]
    assert shapes == [(1024, 512), (1024,), (4, 1024), (4,)]
    bound = (6 / (512 + 1024)) ** 0.5
    first = next(net.head.parameters())
    assert first.abs().max().item() <= bound
    assert first.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)

    before = copy.deepcopy(net.encoder.state_dict())
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net.train()
    sum(net.loss(batch([[1.0, 0, 0, 0], [0, 1, 0, 0]], [[NAN] * 2] * 2)).values()).backward()
    optimiser.step()
    for key, value in net.encoder.state_dict().items():
        assert torch.equal(value, before[key]), key  # batch statistics too
    assert not torch.equal(first, build(hidden=1024, frozen=True).head[1].weight)


def test_activations_of_places_add_up_to_the_logits_and_are_hirescam() -> None:
    """Zhou et al. 2016; Draelos and Carin 2020: one map, where a linear layer follows the mean."""
    net = build().eval()
    last = net.head[-1]
    assert isinstance(last, nn.Linear)
    image = batch([[NAN] * 4], [[NAN] * 2]).image_B1SS
    raw = net(image)
    places = raw["activations"][0]
    torch.testing.assert_close(places.mean(dim=(1, 2)) + last.bias, raw["global_logits"][0])
    frame = Letterbox(SIZE, SIZE, SIZE)
    heat = heat_of(net, STUDY, image[0].numpy(), frame, score="typical", method="hirescam")
    own = places[1].clamp(min=0) / places[1].numel()
    torch.testing.assert_close(torch.from_numpy(heat.grid), own, rtol=1e-4, atol=1e-6)
    assert "activations" not in build(hidden=8).eval()(image)
    assert "activations" not in net.train()(image.repeat(2, 1, 1, 1))  # of no use there


def test_exclusive_classes_sum_to_one_and_findings_need_not() -> None:
    image = torch.zeros(2, 1, SIZE, SIZE)
    classes = build().predict(image)[0].classes
    assert classes is not None
    assert classes.sum().item() == pytest.approx(1, abs=1e-5)
    net = build(target="findings", loss="bce")
    findings = net.predict(image)[1]
    assert findings.classes is None
    assert findings.findings is not None
    assert findings.findings.shape == (2,)


@pytest.mark.parametrize("loss", ["cross-entropy", "bce", "focal"])
def test_unknown_labels_cost_nothing(loss: str) -> None:
    net = build(loss=loss, class_weights=[1, 2, 3, 4], label_smoothing=0.1).eval()
    nothing = net.loss(batch([[NAN] * 4], [[NAN] * 2]))
    assert {k: v.item() for k, v in nothing.items()} == {"global": 0.0}
    one = net.loss(batch([[1.0, 0, 0, 0], [NAN] * 4], [[NAN] * 2] * 2))["global"]
    alone = net.loss(batch([[1.0, 0, 0, 0]], [[NAN] * 2]))["global"]
    assert one.item() == pytest.approx(alone.item(), rel=1e-5)


def test_weights_and_smoothing_are_those_of_cross_entropy() -> None:
    logit = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([0, 3, 1, 1, 2])
    weight = torch.tensor([0.5, 1.0, 2.0, 4.0])
    ours = partial_class_loss(logit, F.one_hot(index, 4).float(), weight_C=weight, smoothing=0.1)
    theirs = F.cross_entropy(logit, index, weight=weight, label_smoothing=0.1)
    torch.testing.assert_close(ours, theirs)


def test_focal_forgives_what_is_nearly_right() -> None:
    logit = torch.tensor([[4.0, 0, 0], [0, 0.2, 0]])
    label = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    plain, focal = (
        torch.stack(
            [partial_class_loss(logit[i : i + 1], label[i : i + 1], gamma=g) for i in (0, 1)]
        )
        for g in (0.0, 2.0)
    )
    p = logit.softmax(1)[label == 1]
    torch.testing.assert_close(focal, plain * (1 - p) ** 2)
    torch.testing.assert_close(
        masked_bce(torch.tensor([[2.0]]), torch.tensor([[0.0]]), gamma=2.0),
        F.softplus(torch.tensor(2.0)) * torch.tensor(2.0).sigmoid() ** 2,
    )


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(ValidationError, match="bce or focal"):
        ClassifierOptions(kind="classifier", target="findings")
    with pytest.raises(ConfigError, match="needed: 4"):
        build(class_weights=[1.0, 2.0])
    options = ClassifierOptions(kind="classifier", target="findings", loss="bce", pretrained=False)
    with pytest.raises(ConfigError, match="findings"):
        Classifier(options, SIZE, Targets())
