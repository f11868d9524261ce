"""Predictions find the image they were made of, in its pixels, or are counted as left out."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog, build
from hilum.evaluate.answers import match_answers, match_names
from hilum.evaluate.asked import check_asked
from hilum.evaluate.cases import join
from hilum.evaluate.evaluation import evaluate_cases
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile, read_predictions

BOX = np.array([[200.0, 200.0, 600.0, 600.0]])


def _catalog(paths: list[str], side: int = 1024, **columns: Any) -> Catalog:
    rows = pd.DataFrame(
        {
            "image_id": paths,
            "path": paths,
            "patient": [f"p{k}" for k in range(len(paths))],
            "width": side,
            "height": side,
            "boxes": [BOX.ravel().tolist() if k % 2 else [] for k in range(len(paths))],
            "box_labels": [["opacity"] if k % 2 else [] for k in range(len(paths))],
            **columns,
        }
    )
    return build("toy", rows, Path())


def _one(scale: float = 1.0, size: tuple[int, int] | None = None, **entry: Any) -> ImagePredictions:
    return ImagePredictions(BOX * scale, np.array([0.9]), ("opacity",), {}, entry, size)


def _empty(size: tuple[int, int] | None = None) -> ImagePredictions:
    return ImagePredictions(np.zeros((0, 4)), np.zeros(0), (), {"opacity": 0.1}, {}, size)


def _file(images: dict[str, ImagePredictions]) -> PredictionFile:
    return PredictionFile("findings", images)


def _perfect(paths: list[str], side: int | None) -> PredictionFile:
    """The truth itself, as predicted on copies of `side` px; None does not say."""
    size = None if side is None else (side, side)
    scale = (side or 1024) / 1024
    return _file({p: _one(scale, size) if k % 2 else _empty(size) for k, p in enumerate(paths)})


@pytest.mark.parametrize("side", [1024, 512, 300, 2048])
def test_a_perfect_model_is_perfect_on_copies_of_any_size(side: int) -> None:
    paths = [f"i{k}.png" for k in range(6)]
    cases = join(_catalog(paths), _perfect(paths, side))
    numbers = evaluate_cases(cases, repeats=2).boxes
    assert numbers["ap50_95"].value == pytest.approx(1)
    assert numbers["rsna_score"].value == pytest.approx(1)
    assert cases.account is not None
    assert cases.account.scaled == (0 if side == 1024 else 6)


def test_predictions_of_another_shape_of_image_are_refused() -> None:
    catalog = _catalog(["a.png", "b.png"])
    with pytest.raises(DataError, match="512 × 300 px, but the catalog's image has 1024 × 1024"):
        match_answers(catalog, _file({"b.png": _one(0.25, (512, 300))}))


def test_a_squeezed_copy_is_known_by_its_scales() -> None:
    catalog = _catalog(["a.png", "b.png"], 512, scale_x=0.5, scale_y=0.25)
    result = match_answers(catalog, _file({"b.png": _one(1.0, (1024, 2048))})).images[1]
    assert result is not None
    assert result.boxes.tolist() == [[100, 50, 300, 150]]


def test_boxes_beyond_the_image_are_of_another_size() -> None:
    """A CSV does not say the size its boxes are of."""
    with pytest.raises(DataError, match="to 600 × 600 px"):
        match_answers(_catalog(["a", "b"], 512), _file({"a": _empty(), "b": _one()}))


def test_sizes_that_nobody_states_are_told() -> None:
    account = match_answers(_catalog(["a", "b"]), _perfect(["a", "b"], None)).account
    assert account.unstated == 1
    assert "without a stated size" in " ".join(account.lines())


def test_images_of_one_name_in_two_folders_are_told_apart() -> None:
    paths = ["train/1.png", "train/2.png", "val/1.png", "val/2.png"]
    names = [f"elsewhere/pngs/{p}" for p in reversed(paths)]
    matched, ambiguous, by_name = match_names(paths, paths, names)
    assert matched == [f"elsewhere/pngs/{p}" for p in paths]
    assert not ambiguous
    assert not by_name


def test_a_bare_name_that_two_images_have_is_nobodys() -> None:
    paths = ["train/1.png", "val/1.png", "val/2.png"]
    matched, ambiguous, _ = match_names(paths, paths, ["1.png", "2.png"])
    assert matched == [None, None, "2.png"]
    assert ambiguous == {"train/1.png", "val/1.png"}


def test_an_image_of_another_set_takes_no_images_place() -> None:
    paths = ["train/1.png", "val/1.png"]
    matched, ambiguous, _ = match_names(paths, paths, ["train/1.png", "other/1.png"])
    assert matched == ["train/1.png", None]
    assert ambiguous == {"val/1.png"}


def test_a_split_does_not_make_an_ambiguous_name_unique() -> None:
    paths = ["train/1.png", "val/1.png"]
    catalog = _catalog(paths, split=["train", "val"])
    whole = match_answers(catalog, _file({"1.png": _empty((1024, 1024))}))
    part = whole.where(np.array([False, True]))
    assert part.images == (None,)
    assert part.account.ambiguous == ("val/1.png",)


def test_a_root_that_explains_all_names_decides() -> None:
    paths = ["view.png", "p1/view.png"]
    matched, _, _ = match_names(paths, paths, ["data/view.png", "data/p1/view.png"])
    assert matched == ["data/view.png", "data/p1/view.png"]


def test_two_suffixes_of_one_stem_are_two_images() -> None:
    paths = ["a/x.png", "a/x.jpg"]
    matched, ambiguous, _ = match_names(paths, paths, ["b/x.jpg", "b/x.dcm"])
    assert matched == [None, "b/x.jpg"]
    assert ambiguous == {"a/x.png"}


@pytest.mark.parametrize(
    "name", ["uid.1.2", "x/uid.1.2.dcm", "uid.1.2_image", "set.zip!uid.1.2.png"]
)
def test_an_id_finds_its_image_whatever_the_file_is_called(name: str) -> None:
    matched, _, _ = match_names(["uid.1.2", "uid.1.3"], ["s/1.dcm", "s/2.dcm"], [name])
    assert matched == [name, None]


def test_everything_left_out_is_counted(tmp_path: Path) -> None:
    catalog = _catalog([f"set/i{k}.png" for k in range(5)])
    file = _file(
        {
            "set/i0.png": _empty((1024, 1024)),
            "set/i1.png": _one(1.0, (1024, 1024)),
            "set/i2.png": _one(status="refused"),
            "set/i3.png": _one(status="failed"),
            "other/z.png": _one(),
        }
    )
    account = match_answers(catalog, file).account
    assert (account.images, account.answered, account.refused, account.failed) == (5, 2, 1, 1)
    assert account.missing == ("set/i4.png",)
    assert account.unknown == ("other/z.png",)
    assert account.to_json()["first_unknown"] == ["other/z.png"]
    assert len(account.lines()) == 4
    assert account.answered + account.unanswered == len(catalog)


def test_an_image_twice_in_findings_is_an_error_that_names_it(tmp_path: Path) -> None:
    entry = {"path": "a.png", "status": "analysed", "scores": {}, "findings": []}
    file = tmp_path / "f.json"
    file.write_text(json.dumps({"schema": "hilum.findings/1", "images": [entry, entry]}))
    with pytest.raises(DataError, match=r"'a\.png'"):
        read_predictions(file)


def test_a_copy_of_an_id_with_an_ending_is_found() -> None:
    """NIH's ids are file names: `hilum data convert` writes 1_000.png as 1_000.png.png."""
    ids = ["1_000.png", "1_001.png"]
    names = ["test/images/1_001.png.png", "test/images/1_000.png.png", "test/images/2_000.png.png"]
    matched, ambiguous, _ = match_names(ids, ["", ""], names)
    assert matched == [names[1], names[0]]
    assert not ambiguous


@pytest.mark.parametrize(
    ("id_", "name"),
    [
        ("0007", "7"),
        ("0007", "7.0"),
        ("Rö-1", unicodedata.normalize("NFD", "Rö-1.png")),
        ("Case-A", "case-a.PNG"),
    ],
)
def test_an_id_is_found_however_a_spreadsheet_or_a_system_wrote_it(id_: str, name: str) -> None:
    paths = [f"set/{id_}.png", "set/0012.png"]
    answers = match_answers(_catalog(paths), _file({name: _one(), "12": _empty()}))
    assert answers.names == (name, "12")
    assert "12" in answers.by_name
    twins = match_answers(_catalog([*paths, "set/012.png"]), _file({"12": _one()}))
    assert twins.names == (None, None, None)  # two images it may be of


@pytest.mark.parametrize("label", ["Opacity", "opacity "])
def test_boxes_in_another_spelling_are_no_silence(label: str) -> None:
    other = replace(_one(), labels=(label,), whole={"opacity": 0.9})
    with pytest.raises(DataError, match=r"have boxes of .*one spelling on both sides"):
        check_asked(_catalog(["a.png", "b.png"]), _file({"b.png": other}), "opacity")


def test_boxes_before_the_images_corner_are_of_another_frame() -> None:
    file = _file({"a.png": ImagePredictions(BOX - 600, np.array([0.9]), ("opacity",))})
    with pytest.raises(DataError, match="reach from"):
        match_answers(_catalog(["a.png"]), file)


@pytest.mark.parametrize("size", [(1024, 1024), None])
def test_boxes_in_parts_of_the_image_are_no_pixels(
    tmp_path: Path, size: tuple[int, int] | None
) -> None:
    width, height = size or (None, None)
    found = {"label": "opacity", "score": 0.9, "box_px": [0.2, 0.2, 0.6, 0.6]}
    entry = {"path": "a.png", "status": "analysed", "scores": {"opacity": 0.9}}
    entry |= {"width": width, "height": height, "findings": [found]}
    file = tmp_path / "findings.json"
    file.write_text(json.dumps({"schema": "hilum.findings/1", "images": [entry]}))
    with pytest.raises(DataError, match="parts of the image"):
        read_predictions(file)


# --- the finding that is asked for ---


def _scored(label: str, boxes: bool = True) -> PredictionFile:
    count = int(boxes)
    one = ImagePredictions(BOX[:count], np.full(count, 0.9), (label,) * count, {label: 0.9})
    return _file({"a.png": one, "b.png": one})


@pytest.mark.parametrize("boxes", [True, False])
@pytest.mark.parametrize("label", ["Opacity", "pneumonia"])
def test_a_model_that_never_heard_of_a_finding_has_not_denied_it(label: str, boxes: bool) -> None:
    catalog = _catalog(["a.png", "b.png"])
    check_asked(catalog, _scored("opacity", boxes), "opacity")
    with pytest.raises(DataError, match=label):
        check_asked(catalog, _scored(label, boxes), "opacity")


@pytest.mark.parametrize("label", ["Opacity", "consolidation"])
def test_annotators_who_never_drew_a_finding_have_not_denied_it(label: str) -> None:
    catalog = _catalog(["a.png", "b.png"], box_labels=[[], [label]], label_edema=[0.0, 1.0])
    with pytest.raises(DataError, match=label):
        check_asked(catalog, _scored("opacity"), "opacity")


def test_a_detector_that_found_nothing_was_still_asked() -> None:
    nothing = ImagePredictions(np.zeros((0, 4)), np.zeros(0), (), {"normal": 0.9})
    points = {"operating_points": {"default": {"threshold": 0.4, "score": "box"}}}
    file = PredictionFile("findings", {"a.png": nothing}, {"pipeline": points})
    check_asked(_catalog(["a.png", "b.png"]), file, "opacity")


@pytest.mark.parametrize(("threshold", "said"), [(0.25, True), (0.0, False)])
def test_boxes_that_a_run_did_not_keep_are_told(threshold: float, said: bool) -> None:
    paths = ["a.png", "b.png"]
    points = {
        "default": {"threshold": threshold, "score": "box"},
        "sensitivity-95": {"threshold": 0.9, "score": "opacity"},  # hides nothing
    }
    whole = _perfect(paths, None)
    run = PredictionFile("findings", whole.images, {"pipeline": {"operating_points": points}})
    account = match_answers(_catalog(paths), run).account
    told = [line for line in account.lines() if "no box below 0.25 was kept" in line]
    assert bool(told) == said
    assert account.to_json()["floor"] == threshold
    assert match_answers(_catalog(paths), whole).account.floor == 0
