"""The circle of feedback: an image, a verdict, the catalog, a network that learns from it (F10)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="training is not installed")

from helpers.dicom_files import image
from helpers.live import PASSWORD, serving
from helpers.phantom_set import CHANGES, SIDE
from helpers.service import toy_pipeline
from hilum.cli.main import app
from hilum.client import Client
from hilum.data.catalog import open_catalog
from hilum.data.phantom.phantom import Phantom, phantom

COUNT = 10


def radiographs() -> list[Phantom]:
    return [phantom(seed, SIDE, SIDE, opacities=int(seed % 3 > 0)) for seed in range(COUNT)]


def judge(client: Client, folder: Path, number: int, truth: Phantom) -> list[list[float]]:
    """Send one image and say what is true of it; the boxes that must come out."""
    path, uid = folder / f"{number}.dcm", f"1.2.3.{number}"
    pixels = np.rint(truth.pixels * 4095).astype(np.uint16)
    ids = {"SOPInstanceUID": uid, "StudyInstanceUID": f"{uid}.1", "PatientID": f"p{number}"}
    path.write_bytes(image(pixels, 12, **ids))
    found = client.analyse(path)
    (finding,) = found.result().findings.ids
    boxes = [[round(float(edge), 2) for edge in box] for box in truth.boxes_px]
    if not boxes:
        client.feedback(found.id, "reject", finding=finding)
    elif number % 2:
        client.feedback(found.id, "redraw", finding=finding, boxes=boxes, label="opacity")
    else:
        client.feedback(found.id, "reject", finding=finding)
        client.feedback(found.id, "add", boxes=boxes, label="opacity")
    return boxes


@pytest.mark.slow
def test_what_readers_say_on_the_page_trains_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "service").mkdir()
    with serving(tmp_path / "service", pipelines={"default": str(toy_pipeline())}) as url:
        with Client(url, user="anna", password=PASSWORD) as anna:
            said = [judge(anna, tmp_path, *one) for one in enumerate(radiographs())]
            anna.feedback(anna.analyse(_silent(tmp_path)).id, "comment", comment="blurred")
        monkeypatch.setenv("HILUM_PASSWORD", PASSWORD)
        out = tmp_path / "readers"
        fetched = CliRunner().invoke(
            app, ["feedback", "--out", str(out), "--url", url, "--user", "carla"]
        )
    assert fetched.exit_code == 0, fetched.output
    assert f"{COUNT} images of {COUNT} patients" in fetched.output
    catalog = open_catalog(out / "feedback.parquet")
    held = [np.reshape((catalog.boxes(row) or ([], []))[0], (-1, 4)) for row in range(COUNT)]
    expected = [np.reshape(boxes, (-1, 4)) for boxes in said]
    assert sorted(map(str, held)) == sorted(map(str, expected))
    settings = [f"--set={one}" for one in (*CHANGES, "train.epochs=1")]
    run = ["train", "rsna-retinanet-seresnext101-small", *settings]
    trained = CliRunner().invoke(
        app, [*run, "--data", str(out / "feedback.parquet"), "--out", str(tmp_path / "run")]
    )
    assert trained.exit_code == 0, trained.output
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def _silent(folder: Path) -> Path:
    """An image of which nobody says anything that teaches."""
    pixels = np.rint(phantom(99, SIDE, SIDE).pixels * 4095).astype(np.uint16)
    (folder / "silent.dcm").write_bytes(image(pixels, 12, SOPInstanceUID="1.2.9"))
    return folder / "silent.dcm"
