"""What the commands of the documents take for granted: images, tables, prediction files, bundles.

    python scripts/docs_material.py FOLDER
    python scripts/docs_material.py --verdict FILE     # to the service here, and accepted

Phantoms and made-up tables only; called by run_docs.sh.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd

from hilum.client import Client, NotReached
from hilum.core.bundle import shipped_bundles
from hilum.core.files import write_text
from hilum.data.catalog import build
from hilum.data.phantom.phantom import Phantom, phantom, write_dicom, write_png

COUNT = 24
GRID = """recipe: rsna-yolo-small
common: {train.epochs: 1, data.sample: 200, preprocessing.size: 64, train.precision: fp32}
variants: {baseline: {}, light: {augment: light}}
seeds: [1]
metric: val_loss
"""


def main() -> None:
    if sys.argv[1] == "--verdict":
        verdict(Path(sys.argv[2]))
    else:
        material(Path(sys.argv[1]))


def verdict(file: Path, url: str = "http://127.0.0.1:8080", wait_s: float = 120) -> None:
    """Somebody agrees with what the service found on a file, once the service is there."""
    end = time.monotonic() + wait_s
    while True:
        try:
            with Client(url) as client:
                client.feedback(client.analyse(file).id, "accept")
            return
        except NotReached:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def material(out: Path) -> None:
    """Everything that commands name, in a folder."""
    images = [phantom(seed, 256, 256, opacities=seed % 2) for seed in range(COUNT)]
    for number, image in enumerate(images):
        write_png(image, out / "images" / f"i{number}.png", bits=8)
        write_dicom(image, out / "studies" / f"{number}.dcm")
    shutil.copy(out / "studies" / "1.dcm", out / "chest.dcm")
    with zipfile.ZipFile(out / "more.zip", "w") as archive:
        archive.write(out / "chest.dcm", "chest.dcm")
    catalog(out, images)
    challenges(out, images)
    write_text(out / "grid.yaml", GRID)
    (own,) = (path for name, path in shipped_bundles().items() if name == "default")
    with zipfile.ZipFile(out / "own.zip", "w") as archive:
        for file in sorted(own.iterdir()):
            archive.write(file, file.name)
    command = [sys.executable, "-m", "hilum", "predict", "images", "--threshold", "0"]
    subprocess.run([*command, "--out", "run"], cwd=out, check=True, env=os.environ)


def catalog(out: Path, images: list[Phantom]) -> None:
    """Of the images, half of them for validation: enough patients with boxes for five folds."""
    rows = pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(COUNT)],
            "path": [f"images/i{k}.png" for k in range(COUNT)],
            "patient": [f"p{k}" for k in range(COUNT)],
            "split": ["validation" if k < COUNT // 2 else "test" for k in range(COUNT)],
            **{"width": 256, "height": 256},
            "boxes": [image.boxes_px.ravel().tolist() for image in images],
            "box_labels": [["opacity"] * len(image.boxes_px) for image in images],
            "label_opacity": [float(len(image.boxes_px) > 0) for image in images],
        }
    )
    build("documents", rows, out).save(out / "catalog.parquet")


def challenges(out: Path, images: list[Phantom]) -> None:
    """Truth, sample and submission of each challenge, under the names that it gave them."""
    truth, boxes = ["patientId,x,y,width,height,Target"], ["patientId,PredictionString"]
    for number, image in enumerate(images):
        for x1, y1, x2, y2 in image.boxes_px.tolist():
            truth.append(f"i{number},{x1},{y1},{x2 - x1},{y2 - y1},1")
        if not len(image.boxes_px):
            truth.append(f"i{number},,,,,0")
        own = [f"0.9 {x1} {y1} {x2 - x1} {y2 - y1}" for x1, y1, x2, y2 in image.boxes_px.tolist()]
        boxes.append(f"i{number},{' '.join(own)}")
    for name in ("truth.csv", "stage_2_train_labels.csv"):
        write_text(out / name, "\n".join(truth) + "\n")
    for name in ("a.csv", "b.csv", "c.csv", "submission.csv", "mine.csv"):
        write_text(out / name, "\n".join(boxes) + "\n")
    ids = [f"i{number}" for number in range(COUNT)]
    lines = ["patientId,PredictionString", *(f"{name}," for name in ids)]
    write_text(out / "stage_2_sample_submission.csv", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
