"""A sheet of validation images, what a network says of them beside the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.files import write_bytes
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
    write_bytes(folder / f"epoch-{epoch:03d}.png", sheet(tiles, 4))


def _tile(item: Item, said: Prediction, targets: Targets) -> NDArray[np.uint8]:
    picture = tile(item.image)
    scale = SIDE / item.image.shape[0]
    for channel, name in enumerate(targets.masks):
        if name in LUNGS:
            continue
        if name in item.masks:
            outline(picture, item.masks[name] == 1, TRUTH)
        if said.masks is not None:
            outline(picture, said.masks[channel].cpu().numpy() >= 0.5, FOUND)
    for box in item.boxes if item.boxes is not None else ():
        rectangle(picture, box * scale, TRUTH)
    if said.boxes is not None and said.scores is not None:
        scores = said.scores.cpu().numpy()
        for box, score in zip(said.boxes.cpu().numpy(), scores, strict=True):
            if score >= FLOOR:
                rectangle(picture, box * scale, FOUND)
                text(picture, f"{score:.2f}", int(box[0] * scale) + 2, int(box[1] * scale) + 12)
    if said.classes is not None:
        place = int(said.classes.argmax())
        words = f"{targets.classes[place]} {float(said.classes[place]):.2f}"
        text(picture, words, 4, SIDE - 6)
    return picture


def tile(image: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) picture of an (s, s) image in [0, 1]."""
    method = cv2.INTER_AREA if image.shape[0] > SIDE else cv2.INTER_CUBIC
    grey = cv2.resize(image.astype(np.float32), (SIDE, SIDE), interpolation=method)
    picture: NDArray[np.uint8] = cv2.cvtColor(
        (grey.clip(0, 1) * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR
    )
    return picture


def sheet(tiles: list[NDArray[np.uint8]], columns: int) -> bytes:
    """PNG of the tiles in rows, black where a row is not full."""
    full = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % columns)]
    rows = [np.hstack(full[i : i + columns]) for i in range(0, len(full), columns)]
    return bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())


def outline(picture: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, ...]) -> None:
    """The border of an (s, s) mask."""
    big = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(big, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, lines, -1, colour, 1, cv2.LINE_AA)


def rectangle(
    picture: NDArray[np.uint8], box: NDArray[np.float32], colour: tuple[int, ...]
) -> None:
    """A box in pixels of the tile."""
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 1, cv2.LINE_AA)


def text(picture: NDArray[np.uint8], words: str, x: int, y: int, colour: Any = FOUND) -> None:
    """Words on a plate, moved so that nothing is cut off."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.4
    (width, height), _ = cv2.getTextSize(words, font, size, 1)
    x, y = max(2, min(x, picture.shape[1] - width - 2)), max(y, height + 2)
    cv2.rectangle(picture, (x - 2, y - height - 2), (x + width + 1, y + 3), (0, 0, 0), -1)
    cv2.putText(picture, words, (x, y), font, size, colour, 1, cv2.LINE_AA)
