"""A sheet of validation images, what a network says of them beside the truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.files import atomic_path
from hilum.core.prepare import Preprocessing
from hilum.models.model import Model, Prediction, Targets
from hilum.train.feed import plain
from hilum.train.store import LUNGS, Item

TRUTH, FOUND = (80, 220, 80), (60, 140, 255)  # BGR: green is true, orange is said
EVERY, MOST, SIDE = 5, 8, 256
FLOOR = 0.3  # boxes below this score are not drawn


def draw_samples(
    net: Model,
    items: list[Item],
    spec: Preprocessing,
    targets: Targets,
    folder: Path,
    epoch: int,
) -> None:
    """`folder/epoch-NNN.png` for the first and every fifth epoch; positives first."""
    if epoch != 1 and epoch % EVERY:
        return
    chosen = sorted(items, key=lambda item: not item.positive)[: MOST // 2]
    chosen += [item for item in items if not item.positive][: MOST - len(chosen)]
    folder.mkdir(parents=True, exist_ok=True)
    device = next(net.parameters()).device
    said = [
        one
        for batch in plain(chosen, spec, targets, MOST)
        for one in net.predict(batch.to(device).image_B1SS)
    ]
    tiles = [_tile(item, one, targets) for item, one in zip(chosen, said, strict=True)]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 4)
    rows = [np.hstack(tiles[i : i + 4]) for i in range(0, len(tiles), 4)]
    with atomic_path(folder / f"epoch-{epoch:03d}.png") as temporary:
        temporary.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())


def _tile(item: Item, said: Prediction, targets: Targets) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8]
    grey = cv2.resize(item.image.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    picture = cv2.cvtColor((grey.clip(0, 1) * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    scale = SIDE / item.image.shape[0]
    for channel, name in enumerate(targets.masks):
        if name in LUNGS:
            continue
        if name in item.masks:
            _outline(picture, item.masks[name] == 1, TRUTH)
        if said.masks is not None:
            _outline(picture, said.masks[channel].cpu().numpy() >= 0.5, FOUND)
    for box in item.boxes if item.boxes is not None else ():
        _box(picture, box * scale, TRUTH)
    if said.boxes is not None and said.scores is not None:
        scores = said.scores.cpu().numpy()
        for box, score in zip(said.boxes.cpu().numpy(), scores, strict=True):
            if score >= FLOOR:
                _box(picture, box * scale, FOUND)
                _text(picture, f"{score:.2f}", int(box[0] * scale) + 2, int(box[1] * scale) + 12)
    if said.classes is not None:
        place = int(said.classes.argmax())
        words = f"{targets.classes[place]} {float(said.classes[place]):.2f}"
        _text(picture, words, 4, SIDE - 6)
    return picture


def _outline(picture: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, ...]) -> None:
    big = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(big, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, lines, -1, colour, 1, cv2.LINE_AA)


def _box(picture: NDArray[np.uint8], box: NDArray[np.float32], colour: tuple[int, ...]) -> None:
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 1, cv2.LINE_AA)


def _text(picture: NDArray[np.uint8], words: str, x: int, y: int) -> None:
    for colour, width in (((0, 0, 0), 3), (FOUND, 1)):
        cv2.putText(
            picture, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, width, cv2.LINE_AA
        )
