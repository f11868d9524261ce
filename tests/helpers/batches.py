"""Small batches for networks: noise with boxes, without boxes, and unannotated."""

from __future__ import annotations

import torch
from torch import Tensor

from hilum.models.model import Batch, Targets

SIZE = 64
TARGETS = Targets()
TWO = torch.tensor([[10.0, 10, 40, 50], [4, 6, 30, 30]])
EMPTY = torch.zeros(0, 4)


def batch(*boxes: Tensor | None, mask: int = 255, seed: int = 1) -> Batch:
    """One image for each entry; None is an image whose boxes nobody annotated."""
    n, nan = len(boxes), float("nan")
    return Batch(
        torch.randn(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)),
        list(boxes),
        [None if b is None else torch.zeros(len(b), dtype=torch.int64) for b in boxes],
        torch.full((n, len(TARGETS.masks), SIZE, SIZE), mask, dtype=torch.uint8),
        torch.full((n, len(TARGETS.classes)), nan),
        torch.full((n, 0), nan),
    )
