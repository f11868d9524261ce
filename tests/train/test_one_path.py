"""Training, evaluation and inference see the same tensor of the same file: on phantoms, always."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hilum
from helpers.phantom_set import catalog
from helpers.toy import SIZE, write_toy_pipeline
from hilum.core.prepare import Preprocessing, prepare
from hilum.data.catalog import Catalog, build
from hilum.data.phantom.phantom import phantom, write_dicom
from hilum.dicom.read import read
from hilum.inference.session import RawOutputs, Session
from hilum.models.model import Targets
from hilum.train.evaluation import hold, tensor
from hilum.train.options import SourceOptions
from hilum.train.samples import prepare_rows
from hilum.train.sources import Source

SPEC = Preprocessing(64)


def mixed_catalog(folder: Path) -> Catalog:
    """PNGs, and DICOMs of another shape, depth and photometric interpretation."""
    images = catalog(folder, "own", 4, side=90)
    table = images.table.copy()
    for i, photometric in ((1, "MONOCHROME1"), (2, "MONOCHROME2")):
        image = phantom(i, 120, 150, opacities=1)
        write_dicom(image, folder / f"{i}.dcm", photometric=photometric, bits=12)
        table.loc[i, ["path", "width", "height"]] = [f"{i}.dcm", 120, 150]
        table.at[i, "boxes"] = image.boxes_px.ravel().tolist()
        table.at[i, "box_labels"] = ["opacity"] * len(image.boxes_px)
        table.loc[i, ["mask_opacity", "mask_lungs"]] = None
    return Catalog("own", table, folder)


def test_the_tensor_is_the_same_in_training_evaluation_and_inference(tmp_path: Path) -> None:
    images = mixed_catalog(tmp_path)
    source = Source(SourceOptions(set="own"), images, Targets(), {})
    ready = prepare_rows(source, range(4), SPEC)
    held = hold([source], {"own": ready})
    assert len(ready.images) == len(held) == 4
    for image, truth, path in zip(ready.images, held.truths, images.table["path"], strict=True):
        predicted, frame = prepare(read(tmp_path / path), SPEC)
        # Images wait as float16: a quarter of a grey level of 8 bits.
        np.testing.assert_allclose(tensor(image, SPEC), predicted, atol=2e-3)
        np.testing.assert_allclose(image.sample(("lungs",)).image * 2 - 1, predicted[0], atol=2e-3)
        assert image.frame == frame
        assert (truth.width, truth.height) == (frame.width, frame.height)
        assert image.boxes is not None
        assert truth.boxes_px is not None
        np.testing.assert_allclose(frame.boxes_to_source(image.boxes), truth.boxes_px, atol=1e-3)


def test_a_fixed_window_is_the_same_in_training_and_inference(tmp_path: Path) -> None:
    spec = Preprocessing(64, window=(20000, 9000))
    write_dicom(phantom(1, 90, 90, opacities=1), tmp_path / "a.dcm", bits=16)
    found = mixed_catalog(tmp_path)
    table = found.table.iloc[:1].copy()
    table.loc[0, "path"] = "a.dcm"
    table.loc[0, ["mask_opacity", "mask_lungs"]] = None
    source = Source(SourceOptions(set="own"), Catalog("own", table, tmp_path), Targets(), {})
    (image,) = prepare_rows(source, [0], spec).images
    want, _ = prepare(read(tmp_path / "a.dcm", window=(20000, 9000)), spec)
    np.testing.assert_allclose(tensor(image, spec), want, atol=2e-3)
    assert not np.allclose(want, prepare(read(tmp_path / "a.dcm"), spec)[0], atol=0.05)


def test_a_bundle_is_given_the_same_tensor_by_command_and_service_and_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reaches ONNX Runtime, bit by bit; what training keeps within its float16."""
    service = pytest.importorskip("helpers.service", reason="the service is not installed")
    given: list[np.ndarray] = []
    run = Session.run

    def seen(self: Session, image: np.ndarray) -> RawOutputs:
        given.append(image.copy())
        return run(self, image)

    monkeypatch.setattr(Session, "run", seen)
    pipeline = write_toy_pipeline(tmp_path)
    write_dicom(phantom(2, 120, 150, opacities=1), tmp_path / "own" / "a.dcm", bits=12)
    (answer,) = hilum.predict(tmp_path / "own" / "a.dcm", pipeline=pipeline)
    (tmp_path / "kept").mkdir()
    parts = service.Parts(tmp_path / "kept", pipelines={"default": str(pipeline)})
    parts.receive((tmp_path / "own" / "a.dcm").read_bytes())
    parts.work()
    parts.close()
    assert answer.status == "analysed"
    by_command, by_service = given
    np.testing.assert_array_equal(by_command, by_service)
    rows = {"image_id": ["a"], "path": ["own/a.dcm"], "patient": ["p"]}
    source = Source(
        SourceOptions(set="own"), build("own", pd.DataFrame(rows), tmp_path), Targets(), {}
    )
    spec = Preprocessing(SIZE)
    (image,) = prepare_rows(source, [0], spec).images
    np.testing.assert_allclose(tensor(image, spec), by_command, atol=2e-3)


@pytest.mark.slow
def test_real_files_too(hilum_data: Path) -> None:
    from hilum.data.pixels import open_radiograph
    from hilum.data.sets import load_set

    full = load_set("covid_opacity_512", hilum_data)
    result = full.where(np.arange(len(full)) < 3)
    source = Source(SourceOptions(set="covid_opacity_512"), result, Targets(masks=()), {})
    for image, path in zip(
        prepare_rows(source, range(3), SPEC).images, result.table["path"], strict=True
    ):
        predicted, _ = prepare(open_radiograph(hilum_data, path), SPEC)
        np.testing.assert_allclose(tensor(image, SPEC), predicted, atol=2e-3)
