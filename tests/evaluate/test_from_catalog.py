"""A catalog as truth and sample of a challenge: held out images, scored as the challenge does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import DataError
from hilum.core.findings_schema import SCHEMA
from hilum.data.catalog import Catalog, build
from hilum.evaluate.challenges.scores import score_submission
from hilum.evaluate.prediction_files import read_predictions
from hilum.report.submissions import write_submission

ROWS = {
    "image_id": ["a", "b", "c"],
    "path": ["a.png", "b.png", "c.png"],
    "patient": ["1", "2", "2"],
    "study": ["s", "t", "t"],
    "width": 128,
    "height": 128,
    "boxes": [[10.0, 20.0, 50.0, 70.0], [], None],
    "box_labels": [["opacity"], [], None],
    "study_negative": [0.0, 1.0, 1.0],
    "study_typical": [1.0, 0.0, 0.0],
    "study_indeterminate": 0.0,
    "study_atypical": 0.0,
    "mask_pneumothorax": ["rle:1024x1024:1 1024", "", None],
}


def _saved(folder: Path, **changes: object) -> Path:
    images: Catalog = build("held-out", pd.DataFrame(ROWS | changes), folder)
    images.save(folder / "test.parquet")
    return folder / "test.parquet"


def _file(folder: Path, text: str) -> Path:
    (folder / "s.csv").write_text(text)
    return folder / "s.csv"


def test_boxes_of_rsna_copies_are_those_of_the_challenge(tmp_path: Path) -> None:
    """Ten px of 128 are eighty of 1024; an image that nobody annotated is not asked for."""
    perfect = _file(tmp_path, "patientId,PredictionString\na,0.9 80 160 320 400\nb,\n")
    text = score_submission("rsna", [_saved(tmp_path)], perfect)
    assert (text["score"], text["images"], text["counted"]) == (1.0, 2, 1)


def test_copies_of_another_shape_are_no_rsna_images(tmp_path: Path) -> None:
    perfect = _file(tmp_path, "patientId,PredictionString\na,\n")
    with pytest.raises(DataError, match="square copies"):
        score_submission("rsna", [_saved(tmp_path, width=100)], perfect)


def test_covid_images_and_studies_are_both_asked_for(tmp_path: Path) -> None:
    text = "id,PredictionString\ns_study,typical 1 0 0 1 1\nt_study,negative 1 0 0 1 1\n"
    text += "a_image,opacity 1 10 20 50 70\nb_image,none 1 0 0 1 1\n"
    words = score_submission("siim-covid", [_saved(tmp_path)], _file(tmp_path, text))
    assert words["score"] == pytest.approx(1.0)
    assert np.isnan(words["atypical"])  # no study is


def test_pneumothorax_masks_are_run_lengths(tmp_path: Path) -> None:
    text = "ImageId,EncodedPixels\na,0 1024\nb,-1\n"
    words = score_submission("siim-acr", [_saved(tmp_path)], _file(tmp_path, text))
    assert words["images"] == 2
    assert words["score"] > 0.99


def test_pictures_of_one_study_are_joined_by_the_catalog(tmp_path: Path) -> None:
    """PNG files carry no study; the catalog says that b and c are of one: its score is a mean."""
    catalog = _saved(tmp_path, boxes=[[], [], []], box_labels=[[], [], []])
    scores = {"a": 0.2, "b": 0.4, "c": 0.8}
    images = [
        {
            "path": f"{name}.png",
            "status": "analysed",
            "width": 128,
            "height": 128,
            "scores": {"negative": score, "typical": 1 - score},
            "findings": [],
        }
        for name, score in scores.items()
    ]
    document = tmp_path / "findings.json"
    document.write_text(json.dumps({"schema": SCHEMA, "images": images}))
    write_submission(tmp_path / "s.csv", "siim-covid", read_predictions(document), sample=catalog)
    lines = dict(line.split(",") for line in (tmp_path / "s.csv").read_text().splitlines()[1:])
    assert lines["t_study"].startswith("negative 0.6")
    assert lines["s_study"].startswith("negative 0.2")
