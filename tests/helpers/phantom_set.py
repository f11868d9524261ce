"""A small set of phantoms in the layout of YOLO, for trainings that take seconds."""

from __future__ import annotations

from pathlib import Path

from hilum.data.phantom.phantom import phantom, write_png

SIDE = 96


def yolo_set(folder: Path, count: int = 20) -> Path:
    """So many phantoms of SIDE px, every third without an opacity."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    (folder / "data.yaml").write_text("names: [opacity]\n")
    for seed in range(count):
        made = phantom(seed, SIDE, SIDE, opacities=0 if seed % 3 == 0 else 1)
        write_png(made, folder / "images" / f"{seed:02d}.png", bits=8)
        rows = [
            f"0 {(x1 + x2) / 2 / SIDE} {(y1 + y2) / 2 / SIDE} {(x2 - x1) / SIDE} {(y2 - y1) / SIDE}"
            for x1, y1, x2, y2 in made.boxes_px
        ]
        (folder / "labels" / f"{seed:02d}.txt").write_text("\n".join(rows))
    return folder


# What makes rsna-retinanet-seresnext101-small learn from it, tiny and quickly.
CHANGES = (
    *("data.set=yolo", "data.known=[]", "data.adults=false", "data.fractions=[.6,.2,.2]"),
    *("model.encoder=test_efficientnet", "model.pretrained=false", "model.channels=16"),
    *("model.tower=1", "model.anchors.levels=[2,3,4,5]", "preprocessing.size=64"),
    *("train.batch=6", "train.threads=1", "train.precision=fp32", "train.epochs=2"),
)
