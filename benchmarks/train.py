"""Images a second: our training loop against torchvision's own RetinaNet loop, in one run.

    python benchmarks/train.py [--steps 12] [--size 256] [--batch 8] [--threads 2]

Four rows on the same random images and boxes: torchvision's RetinaNet-ResNet-50 as its reference
trains it (fp32, contiguous, SGD), ours (channels_last, bf16, AdamW),
and the two around EfficientNet-lite0. The first steps are left out; medians over the others. Rounds
alternate, so that a noisy machine is noisy for all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from hilum.models.baselines import TorchvisionRetinaNet
from hilum.models.model import Batch, Model, Targets
from hilum.models.options import RetinaNetOptions, TorchvisionRetinaNetOptions
from hilum.models.registry import build_model

TARGETS = Targets(masks=())


def batch(size: int, count: int) -> Batch:
    """Images of noise with two boxes each."""
    torch.manual_seed(0)
    low = torch.rand(count, 2, 2) * size / 2
    boxes = torch.cat([low, low + size / 4], dim=2)
    return Batch(
        torch.randn(count, 1, size, size),
        list(boxes),
        [torch.zeros(2, dtype=torch.int64)] * count,
        torch.zeros(count, 0, size, size, dtype=torch.uint8),
        torch.full((count, 3), float("nan")),
        torch.zeros(count, 0),
    )


def reference(net: Model, told: argparse.Namespace, device: str) -> Callable[[], None]:
    """A step as torchvision's reference training does it."""
    data = batch(told.size, told.batch).to(device)
    net = net.to(device).train()
    made = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        loss = torch.stack(list(net.loss(data).values())).sum()
        made.zero_grad()
        loss.backward()
        made.step()

    return step


def ours(net: Model, told: argparse.Namespace, device: str) -> Callable[[], None]:
    """A step as hilum.train.loop does it."""
    data = batch(told.size, told.batch).to(device)
    data.image_B1SS = data.image_B1SS.contiguous(memory_format=torch.channels_last)
    net = net.to(device, memory_format=torch.channels_last).train()
    made = torch.optim.AdamW(net.parameters(), lr=1e-4)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            loss: Tensor = torch.stack(list(net.loss(data).values())).sum()
        made.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        made.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain = TorchvisionRetinaNetOptions(kind="torchvision-retinanet-resnet50", pretrained=False)
    small = TorchvisionRetinaNetOptions(kind="torchvision-retinanet-encoder", pretrained=False)
    own = {"kind": "retinanet", "pretrained": False, "global_head": False}
    r50 = RetinaNetOptions.model_validate({**own, "encoder": "resnet50"})
    lite = RetinaNetOptions.model_validate({**own, "channels": 64, "tower": 2})
    steps = {
        "torchvision RetinaNet-R50, reference loop": reference(
            TorchvisionRetinaNet(plain, told.size, TARGETS), told, device
        ),
        "hilum RetinaNet-R50": ours(build_model(r50, told.size, TARGETS, 0), told, device),
        "torchvision RetinaNet-lite0, reference loop": reference(
            TorchvisionRetinaNet(small, told.size, TARGETS), told, device
        ),
        "hilum RetinaNet-lite0, 64 channels": ours(
            build_model(lite, told.size, TARGETS, 0), told, device
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(told.steps):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn >= 2:
                taken[name].append(time.perf_counter() - started)
    rates = {name: told.batch / statistics.median(values) for name, values in taken.items()}
    print(f"{device}, {told.threads} threads, batch {told.batch}, {told.size} px")
    for first, second in zip(list(rates)[::2], list(rates)[1::2], strict=True):
        print(f"{first:46} {rates[first]:7.1f} images/s")
        print(f"{second:46} {rates[second]:7.1f} images/s  × {rates[second] / rates[first]:.2f}")


if __name__ == "__main__":
    main()
