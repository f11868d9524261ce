"""A findings.json is taken by all of its readers or by none, and never half."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import DataError
from hilum.core.findings_schema import SCHEMA, check_document, check_entry
from hilum.core.results import ImageResult, load_results
from hilum.evaluate.prediction_files import read_predictions

BOX: dict[str, Any] = {"id": "a", "label": "opacity", "score": 0.5, "box_px": [1, 2.5, 30, 40]}
IMAGE: dict[str, Any] = {
    "path": "a.png",
    "content_sha256": None,
    **dict.fromkeys(("sop_instance_uid", "series_instance_uid", "study_instance_uid")),
    "status": "analysed",
    "reason": None,
    "warnings": [],
    "width": 100,
    "height": 80,
    "scores": {"opacity": 0.9},
    "findings": [BOX],
    "outlines": {"lungs": "M1 2l3-4 5 6z"},
    "masks": {"lungs": "mask/a-lungs.png"},
    "files": {"picture": "picture/a.jpg"},
    "declined": {},
    "seconds": 0,
}
REFUSED = IMAGE | {"status": "refused", "findings": [], "scores": {}, "path": "b.png"}
DOCUMENT: dict[str, Any] = {
    "schema": SCHEMA,
    "pipeline": {
        **{"name": "p", "version": "1", "bundles": [], "operating_points": {}},
        **{"calibrated_on": "", "fingerprint": ""},
    },
    "counts": {"analysed": 1, "refused": 1, "failed": 0, "warned": 0},
    "images": [IMAGE, REFUSED],
    "studies": [{"study_instance_uid": None, "scores": {"opacity": 0.9}, "images": [0]}],
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """The document with another value at "images.0.width"."""
    tree: Any = copy.deepcopy(DOCUMENT)
    *parents, last = (int(part) if part.isdigit() else part for part in place.split("."))
    holder = tree
    for part in parents:
        holder = holder[part]
    holder[last] = value
    return tree  # type: ignore[no-any-return]


def write(folder: Path, value: Any) -> Path:
    file = folder / "findings.json"
    file.write_text(json.dumps(value))
    return file


def test_the_whole_is_read_by_every_reader(tmp_path: Path) -> None:
    assert check_document(DOCUMENT) is DOCUMENT
    assert check_entry(IMAGE) is IMAGE
    file = write(tmp_path, DOCUMENT)
    assert load_results(tmp_path).to_json()["images"][0]["findings"][0]["score"] == 0.5
    assert read_predictions(file).images["a.png"].boxes.tolist() == [[1, 2.5, 30, 40]]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("images.0.findings.0.score", float("nan")),
        ("images.0.findings.0.score", 1.5),
        ("images.0.findings.0.score", "0.5"),
        ("images.0.findings.0.score", True),
        ("images.0.findings.0.box_px", [30, 2, 1, 40]),
        ("images.0.findings.0.box_px", [1, 2, 30]),
        ("images.0.findings.0.box_px", [1, 2, 30, 1e300]),
        ("images.0.findings.0.box_px", [1, 2, float("inf"), 40]),
        ("images.0.findings.0.box_px", "1234"),
        ("images.0.findings.0.label", ""),
        ("images.0.findings.0", None),
        ("images.0.findings", {"a": 1}),
        ("images.0.scores.opacity", float("nan")),
        ("images.0.scores.opacity", -0.1),
        ("images.0.scores", None),
        ("images.0.width", 0),
        ("images.0.width", 99.5),
        ("images.0.width", "100"),
        ("images.0.width", None),
        ("images.0.path", ""),
        ("images.0.path", 5),
        ("images.0.status", "normal"),
        ("images.0.status", "refused"),  # with findings: no answer is not an answer
        ("images.0.seconds", -1),
        ("images.0.warnings", "odd"),
        ("images.0.masks.lungs", "../../etc/passwd"),
        ("images.0.masks.lungs", "/etc/passwd"),
        ("images.0.files.picture", "javascript:alert(1)"),
        ("images.0.files.picture", "a\\..\\..\\x"),
        ("images.0.outlines.lungs", "M1 2<script>"),
        ("images.1", []),
        ("images", {}),
        ("studies.0.images", [2]),
        ("studies.0.images", [-1]),
        ("studies.0.scores.opacity", float("nan")),
        ("counts.analysed", 2),  # an image was lost
        ("pipeline.name", 5),
        ("pipeline.operating_points", {"default": {"threshold": 2, "reason": "x"}}),
        ("schema", "hilum.findings/2"),
    ],
)
def test_what_is_no_finding_is_refused_by_every_reader(
    tmp_path: Path, place: str, value: Any
) -> None:
    file = write(tmp_path, changed(place, value))
    for reader in (lambda: load_results(tmp_path), lambda: read_predictions(file)):
        with pytest.raises(DataError) as caught:
            reader()
        assert "findings.json" in str(caught.value)


def test_an_entry_that_lacks_a_key_is_one_typed_error() -> None:
    for key in IMAGE:
        entry = {name: value for name, value in IMAGE.items() if name != key}
        if key != "patient_id":
            with pytest.raises(DataError):
                ImageResult.from_json({**entry, "status": entry.get("status")})


@pytest.mark.parametrize("key", ["study_instance_uid", "scores", "images"])
def test_a_study_says_who_it_is(tmp_path: Path, key: str) -> None:
    study = {name: value for name, value in DOCUMENT["studies"][0].items() if name != key}
    with pytest.raises(DataError, match=key):
        read_predictions(write(tmp_path, changed("studies.0", study)))


def test_keys_of_a_newer_hilum_pass() -> None:
    assert check_entry(IMAGE | {"newer": {"a": 1}})
