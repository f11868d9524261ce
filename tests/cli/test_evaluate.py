"""`hilum evaluate challenge` and `hilum ensemble` on the challenges' own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hilum.cli.main import app
from hilum.core.errors import ConfigError, DataError
from hilum.data.catalog import build

LABELS = """patientId,x,y,width,height,Target
a,100,100,200,200,1
b,,,,,0
c,,,,,0
"""
STUDIES = (
    "id,Negative for Pneumonia,Typical Appearance,Indeterminate Appearance,Atypical Appearance\n"
    "s_study,0,1,0,0\n"
)
IMAGES = "id,boxes,label,StudyInstanceUID\ni_image,,opacity 1 0 0 10 10,s\n"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_an_rsna_submission_is_scored(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", LABELS)
    given = write(
        tmp_path / "given.csv",
        "patientId,PredictionString\na,0.9 100 100 200 200\nb,\nc,.1 0 0 9 9\n",
    )
    got = json.loads(
        run("evaluate", "challenge", "rsna", "--truth", truth, "--submission", given, "--json")
    )
    assert got == {"challenge": "rsna", "score": 0.5, "images": 3, "counted": 2}
    assert "0.500000" in run(
        "evaluate", "challenge", "rsna", "--truth", truth, "--submission", given
    )


def test_a_submission_in_other_pixels_is_noted(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", LABELS)
    half = write(tmp_path / "half.csv", "patientId,PredictionString\na,0.9 50 50 100 100\nb,\nc,\n")
    got = json.loads(
        run("evaluate", "challenge", "rsna", "--truth", truth, "--submission", half, "--json")
    )
    assert got["score"] == 0
    assert "reach to 150 px, true ones to 300" in got["note"]


def test_a_siim_covid_submission_is_scored_against_the_published_tables(tmp_path: Path) -> None:
    studies, images = write(tmp_path / "s.csv", STUDIES), write(tmp_path / "i.csv", IMAGES)
    given = write(
        tmp_path / "given.csv",
        "id,PredictionString\ni_image,opacity 0.5 0 0 10 10 none 0.2 0 0 1 1\n"
        "s_study,typical 0.9 0 0 1 1\n",
    )
    got = json.loads(
        run(
            *("evaluate", "challenge", "siim-covid", "--truth", studies, "--truth", images),
            *("--submission", given, "--json"),
        )
    )
    assert got["score"] == 1
    assert got["typical"] == got["opacity"] == 1
    assert got["negative"] is None  # no such study: not a number


def test_a_siim_acr_submission_is_scored(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", "ImageId, EncodedPixels\na, 0 10\nb, -1\n")
    given = write(tmp_path / "given.csv", "ImageId,EncodedPixels\na,5 10\nb,-1\n")
    got = json.loads(
        run("evaluate", "challenge", "siim-acr", "--truth", truth, "--submission", given, "--json")
    )
    assert got == {"challenge": "siim-acr", "score": 0.75, "images": 2}


def test_a_submission_with_missing_images_is_refused(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", LABELS)
    given = write(tmp_path / "given.csv", "patientId,PredictionString\na,\n")
    with pytest.raises(DataError, match="missing"):
        run("evaluate", "challenge", "rsna", "--truth", truth, "--submission", given)


@pytest.mark.parametrize("method", ["weighted-boxes", "nms", "soft-nms", "nmw", "union", "vote"])
def test_rsna_files_are_fused_in_their_own_form(tmp_path: Path, method: str) -> None:
    text = "patientId,PredictionString\na,0.8 0 0 100 100\nb,\n"
    files = [write(tmp_path / f"{i}.csv", text) for i in range(2)]
    out = tmp_path / "fused.csv"
    run("ensemble", *files, "--method", method, "--out", out)
    lines = out.read_text().splitlines()
    assert lines[0] == "patientId,PredictionString"
    assert lines[1].startswith("a,0.8 0 0 100 100")
    assert lines[2] == "b,"


def test_siim_scores_without_a_place_become_weighted_means(tmp_path: Path) -> None:
    head = "id,PredictionString\n"
    a = write(
        tmp_path / "a.csv",
        head + "i_image,none 0.2 0 0 1 1\nj_image,opacity 0.4 1 1 9 9\ns_study,typical 1 0 0 1 1\n",
    )
    b = write(
        tmp_path / "b.csv",
        head + "s_study,typical 0.4 0 0 1 1\ni_image,opacity 0.6 5 5 9 9 none 0.8 0 0 1 1\n"
        "j_image,\n",
    )
    out = tmp_path / "fused.csv"
    run("ensemble", a, b, "--weights", "1,3", "--out", out)
    assert out.read_text().splitlines() == [
        "id,PredictionString",
        "i_image,opacity 0.45 5 5 9 9 none 0.65 0 0 1 1",
        "j_image,opacity 0.1 1 1 9 9",
        "s_study,typical 0.55 0 0 1 1",
    ]


def _findings(path: Path, score: float, status: str = "analysed") -> Path:
    box = {"label": "opacity", "score": score, "box_px": [10.0, 10.0, 50.0, 50.0]}
    totals = status == "analysed"
    image: dict[str, Any] = {
        "path": "a.dcm",
        "status": status,
        "width": 100,
        "height": 100,
        "scores": {"opacity": score} if totals else {},
        "findings": [box] if totals else [],
        "masks": {},
    }
    study = {"study_instance_uid": "1.2", "scores": {"opacity": score}, "images": [0]}
    bundle = {"name": path.stem, "sha256": path.stem}
    document = {
        "schema": "hilum.findings/1",
        "pipeline": {"name": path.stem, "version": "1", "bundles": [bundle]},
        "images": [image],
        "studies": [study],
    }
    return write(path, json.dumps(document))


def test_findings_are_fused_with_their_bundles_named(tmp_path: Path) -> None:
    files = [_findings(tmp_path / "x.json", 0.9), _findings(tmp_path / "y.json", 0.5)]
    out = tmp_path / "fused.json"
    run("ensemble", *files, "--out", out)
    got = json.loads(out.read_text())
    assert got["schema"] == "hilum.findings/1"
    assert [b["name"] for b in got["pipeline"]["bundles"]] == ["x", "y"]
    assert got["images"][0]["findings"][0]["score"] == pytest.approx(0.7)
    assert got["images"][0]["scores"]["opacity"] == pytest.approx(0.7)
    assert got["studies"][0]["scores"]["opacity"] == pytest.approx(0.7)


def test_a_model_that_failed_has_no_voice(tmp_path: Path) -> None:
    files = [_findings(tmp_path / "x.json", 0.9), _findings(tmp_path / "y.json", 0.5, "failed")]
    out = tmp_path / "fused.json"
    run("ensemble", *files, "--out", out)
    image = json.loads(out.read_text())["images"][0]
    assert image["status"] == "analysed"
    assert image["scores"]["opacity"] == 0.9
    assert image["findings"][0]["score"] == pytest.approx(0.9)  # not halved by a silent model


def test_a_file_without_any_box_has_no_voice_among_detectors(tmp_path: Path) -> None:
    """A classifier's file was counted as a detector that found nothing, and halved every score."""
    detector, classifier = _findings(tmp_path / "d.json", 0.9), tmp_path / "c.json"
    document = json.loads(detector.read_text())
    document["images"][0] |= {"findings": [], "scores": {"opacity": 0.5}}
    write(classifier, json.dumps(document))
    out = tmp_path / "fused.json"
    content = json.loads(run("ensemble", detector, classifier, "--out", out, "--json"))
    assert content["without_boxes"] == ["c"]
    image = json.loads(out.read_text())["images"][0]
    assert image["findings"][0]["score"] == pytest.approx(0.9)
    assert image["scores"]["opacity"] == pytest.approx(0.7)
    # Of a detector the head says so, though it found nothing.
    document["pipeline"]["operating_points"] = {
        "given": {"threshold": 0.1, "reason": "given", "score": "box"}
    }
    write(classifier, json.dumps(document))
    run("ensemble", detector, classifier, "--out", out)
    halved = json.loads(out.read_text())["images"][0]["findings"][0]["score"]
    assert halved == pytest.approx(0.45)


@pytest.mark.parametrize("order", [("full", "half"), ("half", "full")])
def test_boxes_of_a_smaller_copy_are_scaled_to_the_first_file(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    files = {name: _findings(tmp_path / f"{name}.json", 0.9) for name in order}
    document = json.loads(files["half"].read_text())
    document["images"][0] |= {"width": 50, "height": 50}
    document["images"][0]["findings"][0]["box_px"] = [5.0, 5.0, 25.0, 25.0]
    write(files["half"], json.dumps(document))
    out = tmp_path / "fused.json"
    content = json.loads(run("ensemble", *files.values(), "--out", out, "--json"))
    assert content["scaled"] == 1
    (one,) = json.loads(out.read_text())["images"][0]["findings"]
    want = [10.0, 10.0, 50.0, 50.0] if order[0] == "full" else [5.0, 5.0, 25.0, 25.0]
    assert one["box_px"] == want
    assert one["score"] == pytest.approx(0.9)  # one box of two voices, not two of one


def test_boxes_of_an_image_of_another_shape_are_refused(tmp_path: Path) -> None:
    files = [_findings(tmp_path / f"{name}.json", 0.9) for name in "ab"]
    document = json.loads(files[1].read_text())
    document["images"][0] |= {"width": 50, "height": 80}
    write(files[1], json.dumps(document))
    with pytest.raises(DataError, match="another shape"):
        run("ensemble", *files, "--out", tmp_path / "fused.json")


def test_the_fused_file_is_what_its_name_says(tmp_path: Path) -> None:
    files = [_findings(tmp_path / f"{name}.json", 0.9) for name in "ab"]
    for file in files:
        whole = {"reason": None, "warnings": [], "seconds": 0.1, "outlines": {}, "files": {}}
        whole |= dict.fromkeys(("content_sha256", "sop_instance_uid", "series_instance_uid"))
        document = json.loads(file.read_text())
        document["images"][0] |= whole | {"study_instance_uid": None, "declined": {}}
        write(file, json.dumps(document))
    table = tmp_path / "fused.csv"
    run("ensemble", *files, "--out", table)
    (row,) = pd.read_csv(table).to_dict("records")
    assert (row["label"], row["x1"], row["y2"]) == ("opacity", 10.0, 50.0)
    assert row["score"] == pytest.approx(0.9)
    rsna = write(tmp_path / "r.csv", "patientId,PredictionString\na,\n")
    other = write(tmp_path / "s.csv", "patientId,PredictionString\na,\n")
    with pytest.raises(ConfigError, match=r"fused\.json.*needed: a name that ends in \.csv"):
        run("ensemble", rsna, other, "--out", tmp_path / "fused.json")
    with pytest.raises(ConfigError, match=r"\.json or \.csv"):
        run("ensemble", *files, "--out", tmp_path / "fused.txt")


def test_the_stages_of_pipelines_are_those_of_an_ensemble(tmp_path: Path) -> None:
    files = [_findings(tmp_path / f"{name}.json", 0.9) for name in "ab"]
    out = tmp_path / "fused.json"
    run("ensemble", *files, "--then", "{use: scale, sides: 0.5}", "--then", "nms", "--out", out)
    (one,) = json.loads(out.read_text())["images"][0]["findings"]
    assert one["box_px"] == [20.0, 20.0, 40.0, 40.0]
    for words, message in (
        (("--method", "weighted"), "Did you mean 'weighted-boxes'"),
        (("--method", "triplet"), "is a stage of masks"),
        (("--set", "iuo=0.5"), "Did you mean 'iou'"),
        (("--set", "iou"), "KEY=VALUE"),
        (("--method", "union", "--weights", "1,2"), "weights of models do not count"),
        (("--method", "scale"), "does not fuse"),
        (("--then", "inside-mask"), "needs lungs, which prediction files do not hold"),
        (("--weights", "1,0"), "greater than 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            run("ensemble", *files, *words, "--out", out)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    rsna = write(tmp_path / "a.csv", "patientId,PredictionString\na,\n")
    other = write(tmp_path / "b.csv", "patientId,PredictionString\nb,\n")
    siim = write(tmp_path / "c.csv", "id,PredictionString\na,\n")
    unknown = write(tmp_path / "d.csv", "name,PredictionString\na,\n")
    broken = write(tmp_path / "e.json", "{}")
    out = tmp_path / "out.csv"
    for files, error in [
        ((rsna, other), DataError),
        ((rsna, siim), ConfigError),
        ((rsna,), ConfigError),
        ((rsna, unknown), DataError),
        ((rsna, broken), DataError),
    ]:
        with pytest.raises(error):
            run("ensemble", *files, "--out", out)
    with pytest.raises(ConfigError):
        run("ensemble", rsna, rsna, "--weights", "1,x", "--out", out)
    assert not out.exists()


def _searched(tmp_path: Path) -> tuple[Path, list[Path]]:
    """True boxes shifted either way by two models, and marks that only the second makes."""
    rng = np.random.default_rng(0)
    ids = [f"i{k}" for k in range(40)]
    corner = rng.uniform(0, 100, (40, 2))
    boxes = np.concatenate([corner, corner + 100], axis=1)
    rows = pd.DataFrame(
        {
            **{"image_id": ids, "path": ids, "patient": [f"p{k // 2}" for k in range(40)]},
            "split": ["validation" if k < 30 else "test" for k in range(40)],
            **{"boxes": boxes.tolist(), "box_labels": [["opacity"]] * 40},
        }
    )
    build("toy", rows, Path()).save(tmp_path / "c.parquet")
    files = []
    for n, shift in enumerate((-30.0, 30.0)):
        lines = ["patientId,PredictionString"]
        for i, (x, y, *_) in zip(ids, boxes, strict=True):
            text = f"0.9 {x + shift:.1f} {y:.1f} 100 100"
            lines.append(f"{i},{text + ' 0.95 300 300 50 50' * n}")
        files.append(write(tmp_path / f"m{n}.csv", "\n".join(lines) + "\n"))
    return tmp_path / "c.parquet", files


def test_a_search_finds_options_on_validation_folds_and_writes_them(tmp_path: Path) -> None:
    catalog, files = _searched(tmp_path)
    out = tmp_path / "fused.csv"
    document = json.loads(run("ensemble", *files, "--search", catalog, "--out", out, "--json"))
    content = json.loads((tmp_path / "fused.search.json").read_text())
    assert content["images"] == 30  # no image of the test split was looked at
    assert document["options"] == content["options"]
    assert content["options"]["iou"] <= 0.5  # the two must be joined: their IoU is .54 at most
    assert len(content["fold_scores"]) == 5
    assert content["score"] == pytest.approx(np.mean(content["fold_scores"]))
    assert content["score"] >= max(np.mean(t["fold_scores"]) for t in content["tried"]) - 1e-12
    best = content["options"]
    again = tmp_path / "again.csv"
    words = [word for k in ("iou", "skip", "mode") for word in ("--set", f"{k}={best[k]}")]
    weights = ",".join(map(str, best["weights"].values()))
    run("ensemble", *files, *words, "--weights", weights, "-o", again)
    assert again.read_text() == out.read_text()
    with pytest.raises(ConfigError, match="unknown part"):
        run("ensemble", *files, "--search", catalog, "--search-part", "x", "--out", out)
