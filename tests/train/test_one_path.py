"""Training and prediction see the same tensor of the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hilum.core.prepare import Preprocessing, normalise, prepare
from hilum.data.catalog import Catalog
from hilum.data.sets import load_set
from hilum.dicom.read import read
from hilum.train.judge import open_cases
from hilum.train.store import prepare_items


def test_the_tensor_a_bundle_sees_is_the_one_it_was_trained_on(hilum_data: Path) -> None:
    full = load_set("covid_opacity_512", hilum_data)
    catalog: Catalog = full.where(np.arange(len(full)) < 3)
    spec = Preprocessing(128)
    items = prepare_items("covid_opacity_512", catalog, spec)
    cases = open_cases(catalog, list(catalog.table["image_id"]), spec)
    for item, case, path in zip(items, cases, catalog.table["path"], strict=True):
        archive, member = path.split("!")
        predicted, _ = prepare(read_member(hilum_data / archive, member), spec)
        np.testing.assert_array_equal(case.image, predicted)
        # Training keeps images as float16 in memory.
        trained = normalise(item.image.astype(np.float32), spec)
        np.testing.assert_allclose(trained, predicted[0], atol=2e-3)


def read_member(archive: Path, member: str) -> object:
    from zipfile import ZipFile

    with ZipFile(archive) as opened:
        return read((member, opened.read(member)))
