"""CONTRIBUTING's "Where to add": a file and a line of a registry, seen from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from helpers.dicom_files import image, stored
from hilum import cli
from hilum.augment import policy
from hilum.cli.common import add_verbs
from hilum.cli.main import app
from hilum.core.bundle import load_bundle
from hilum.data import registry
from hilum.data.phantom.phantom import phantom, write_dicom, write_png
from hilum.dicom import syntaxes
from hilum.dicom.read import read
from hilum.inference import stages
from hilum.report import writers

FILE = '''
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from hilum.augment.intensity import Gamma
from hilum.core.options import Options
from hilum.data.adapters import headers
from hilum.data.adapters.source import Source
from hilum.inference.stages.boxes import BoxStage


def load(path):
    """An adapter: list.csv names image and patient."""
    source = Source("toy", path)
    table = source.table(source.require("list.csv"), ["path", "patient"])
    table["image_id"] = table["path"].map(lambda one: Path(one).stem)
    return source.catalog(headers.fill(table, headers.read_headers(table["path"], source)))


class Left(BoxStage):
    """A stage: boxes in the left half of the image."""

    def __call__(self, boxes, image):
        return boxes.at(np.flatnonzero(boxes.boxes_px[:, [0, 2]].mean(axis=1) < image.width / 2))


class Count(Options):
    """A writer: how many boxes there are."""

    suffix: ClassVar[str] = ".txt"

    def __call__(self, image):
        return {"count": f"{len(image.result.findings.boxes_px)}".encode()}
'''


@pytest.fixture(autouse=True)
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_additions.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)


NETWORK = '''
from typing import ClassVar, Literal

import torch
from torch import nn

from hilum.models.model import Model, Prediction
from hilum.models.options import NetworkOptions


class ToyOptions(NetworkOptions):
    network: ClassVar[str] = "toy:Toy"
    kind: Literal["toy"]
    pretrained: bool = False

    @property
    def learns(self):
        return ("findings",)


class Toy(Model):
    """The mean grey decides."""

    def __init__(self, options, size, targets):
        super().__init__()
        self.last = nn.Linear(1, len(targets.findings))

    def forward(self, image_B1SS):
        return {"finding_logits": self.last(image_B1SS.mean(dim=(2, 3)))}

    def loss(self, batch):
        from hilum.models.losses import masked_bce

        return {"finding": masked_bce(self(batch.image_B1SS)["finding_logits"], batch.finding_BF)}

    def _predict(self, image_B1SS):
        raw = self(image_B1SS)["finding_logits"].sigmoid()
        return [Prediction(findings=one) for one in raw]
'''

VERB = '''
import typer


def toy(name: str = typer.Argument(...)) -> None:
    """Say it.

    Example: hilum toy lung
    """
    typer.echo(f"the root of the {name}")
'''


def hilum(*words: object) -> str:
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.stdout


def test_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ADAPTERS, "toy", "toy_additions:load")
    for seed in range(3):
        write_png(phantom(seed, 64, 64), tmp_path / "set" / f"{seed}.png")
    with (tmp_path / "set" / "list.csv").open("w") as file:
        csv.writer(file).writerows([["path", "patient"], *([f"{n}.png", "p"] for n in range(3))])
    out = tmp_path / "catalog.parquet"
    hilum("data", "catalog", tmp_path / "set", "--kind", "toy", "--out", out)
    assert out.is_file()


def test_a_stage_and_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stages.STAGES["boxes"], "left", "toy_additions:Left")
    monkeypatch.setitem(writers.WRITERS, "count", "toy_additions:Count")
    write_dicom(phantom(3, 320, 280, opacities=2), tmp_path / "chest.dcm")
    boxes = {}
    for name, steps in {"all": "", "left": ", left"}.items():
        flow = f"boxes=[{{use: boxes, of: chest}}{steps}]"
        out = tmp_path / name
        hilum(
            *("predict", tmp_path / "chest.dcm", "--out", out, "--workers", 1),
            *("--threshold", 0, "--set", flow, "--write", "count"),
        )
        (found,) = json.loads((out / "findings.json").read_text())["images"]
        boxes[name] = [one["box_px"] for one in found["findings"] if one.get("box_px")]
        (written,) = (out / "count").rglob("*.txt")
        assert int(written.read_text()) == len(boxes[name])
    assert boxes["left"] == [box for box in boxes["all"] if (box[0] + box[2]) / 2 < 160]
    assert 0 < len(boxes["left"]) < len(boxes["all"])


def test_a_transfer_syntax(monkeypatch: pytest.MonkeyPatch) -> None:
    """JPEG 2000 of part 2, whose frames say that they are of part 1."""
    part_1, part_2 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.92"
    known = syntaxes.CODECS[syntaxes.J2K]
    file = image(stored((40, 30), bits=12), 12, part_1)
    other = file.replace(part_1.encode(), part_2.encode())
    wide = syntaxes.Codec((*known.syntaxes, part_2), known.decoded_as, known.decoder)
    monkeypatch.setitem(syntaxes.CODECS, syntaxes.J2K, wide)
    assert not read(other).decoding.warnings
    assert (read(other).pixels == read(file).pixels).all()


def test_an_augmentation_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="training is not installed")
    from helpers.phantom_set import CHANGES, yolo_set

    turned = policy.Policy((policy.Gamma(policy.Octaves(0.1)),))
    monkeypatch.setitem(policy.POLICIES, "toy", turned)
    changes = [word for change in (*CHANGES, "augment=toy") for word in ("--set", change)]
    data, out = yolo_set(tmp_path / "set", 6), tmp_path / "sheet.png"
    recipe = "rsna-retinanet-seresnext101-small"
    hilum("data", "preview", recipe, "--data", data, "--out", out, *changes)
    assert out.is_file()


def test_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained, exported and asked by way of a recipe that names it."""
    pytest.importorskip("torch", reason="training is not installed")
    from helpers.phantom_set import CHANGES, catalog
    from hilum import models
    from hilum.models import options

    (tmp_path / "toy.py").write_text(NETWORK)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    monkeypatch.setitem(options.NETWORKS, "toy", "toy:ToyOptions")
    catalog(tmp_path, "own", 12)
    plain = [change for change in CHANGES if not change.startswith("model.")]
    targets = "{classes: [], labels: [opacity], masks: [], findings: [opacity]}"
    own = ["model={kind: toy}", f"targets={targets}", "train.epochs=1"]
    changes = [word for change in (*plain, *own) for word in ("--set", change)]
    run, recipe = tmp_path / "run", "rsna-retinanet-seresnext101-small"
    hilum("train", recipe, "--data", tmp_path / "own.parquet", "--out", run, *changes)
    hilum("export", run, "--no-int8", "--out", tmp_path / "toy.zip")
    assert load_bundle(tmp_path / "toy.zip").manifest.findings == ("opacity",)


def test_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(VERB)
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    own = typer.Typer()
    add_verbs(own, "hilum.cli", ("toy", "report"))
    result = CliRunner().invoke(own, ["toy", "lung"])
    assert result.stdout == "the root of the lung\n"
