"""Full circle: predict, submit, score as the challenge does; what is blank or left out is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.toy import write_toy_pipeline
from hilum.cli.main import app
from hilum.core.errors import ConfigError, DataError
from hilum.data.formats import runs

SIDE = 1024


def hilum(*arguments: object, code: int = 0) -> Any:
    """JSON of a command."""
    result = CliRunner().invoke(app, [*(str(a) for a in arguments), "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


LEFT = np.zeros((SIDE, SIDE), bool)
LEFT[:, : SIDE // 2] = True


def _image(path: Path, bright: np.ndarray) -> Path:
    """Noise with a bright half, which the toy's opacity mask follows."""
    pixels = np.random.default_rng(0).integers(0, 60, (SIDE, SIDE), np.uint8)
    pixels[bright] += 190
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """Two studies of one image each, and a damaged file."""
    for study, image, bright in (("s1", "a", LEFT), ("s2", "b", ~LEFT)):
        _image(tmp_path / "set" / study / "1" / f"{image}.png", bright)
    write(tmp_path / "set" / "s3" / "1" / "c.png", "no picture")
    pipeline = write_toy_pipeline(tmp_path)
    out = tmp_path / "run"
    hilum(
        "predict", tmp_path / "set", "--pipeline", pipeline, "--out", out, "--threshold", 0, code=1
    )
    return out / "findings.json"


def _document(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def _best(file: Path, name: str) -> list[float]:
    images = {Path(i["path"]).stem: i for i in _document(file)["images"]}
    box: list[float] = images[name]["findings"][0]["box_px"]
    return box


def test_rsna_predict_submit_score(tmp_path: Path, predicted: Path) -> None:
    x1, y1, x2, y2 = _best(predicted, "a")
    sample = write(tmp_path / "sample.csv", "patientId,PredictionString\nb,\nc,\na,\nd,\n")
    out = tmp_path / "s.csv"
    text = hilum("submit", "rsna", predicted, "--sample", sample, "--out", out, code=1)
    lines = out.read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["patientId", "b", "c", "a", "d"]
    assert lines[2] == "c,"  # refused: valid, blank, and told
    assert (text["rows"], text["answered"], text["blank"]) == (4, 2, 2)
    assert text["first_blank"] == ["c", "d"]
    truth = write(
        tmp_path / "truth.csv",
        "patientId,x,y,width,height,Target\n"
        + "".join(f"{i},{x1},{y1},{x2 - x1},{y2 - y1},1\n" for i in "ab")
        + "c,,,,,0\nd,,,,,0\n",
    )
    score = hilum("evaluate", "challenge", "rsna", "--truth", truth, "--submission", out)
    assert score["score"] == pytest.approx(1, abs=0.01)
    assert score["counted"] == 2


def test_siim_acr_predict_submit_score(tmp_path: Path, predicted: Path) -> None:
    out = tmp_path / "s.csv"
    text = hilum("submit", "siim-acr", predicted, "--finding", "opacity", "--out", out, code=1)
    assert text["blank"] == 1
    rows = f"a,{runs.encode(LEFT)}\nb,{runs.encode(~LEFT)}\nc,-1\n"
    truth = write(tmp_path / "truth.csv", f"ImageId,EncodedPixels\n{rows}")
    score = hilum("evaluate", "challenge", "siim-acr", "--truth", truth, "--submission", out)
    assert score["score"] > 0.98
    with pytest.raises(DataError, match="no image has a mask 'pneumothorax'; the predictions have"):
        hilum("submit", "siim-acr", predicted, "--out", out)


def test_siim_covid_predict_submit_score(tmp_path: Path, predicted: Path) -> None:
    document = _document(predicted)
    for index, (_, scores) in enumerate(
        (("s1", {"negative": 0.1, "typical": 0.8}), ("s2", {"negative": 0.9, "typical": 0.2}))
    ):
        entry = document["images"][index]
        study = {"study_instance_uid": None, "scores": scores, "images": [index]}
        document["studies"] = [*document["studies"][:index], study]
        assert Path(entry["path"]).parts[-3] == f"s{index + 1}"
    predicted.write_text(json.dumps(document))
    ids = ["s1_study", "s2_study", "s3_study", "a_image", "b_image", "c_image"]
    sample = write(
        tmp_path / "sample.csv", "id,PredictionString\n" + "".join(f"{i},x\n" for i in ids)
    )
    out = tmp_path / "s.csv"
    text = hilum("submit", "siim-covid", predicted, "--sample", sample, "--out", out, code=1)
    assert text["first_blank"] == ["c_image", "s3_study"]
    rows = dict(line.split(",") for line in out.read_text().splitlines())
    assert list(rows) == ["id", *ids]
    assert rows["s1_study"] == "negative 0.1 0 0 1 1 typical 0.8 0 0 1 1"
    assert rows["c_image"] == "none 1 0 0 1 1"
    box = _document(predicted)["images"][0]["findings"][0]
    words = rows["a_image"].split()
    assert words[:2] == ["opacity", f"{box['score']:g}"]
    none = words[words.index("none") + 1]
    assert float(none) == pytest.approx(1 - box["score"])  # 1 - best box
    truth = write(
        tmp_path / "truth.csv",
        "id,PredictionString\ns1_study,typical 1 0 0 1 1\ns2_study,negative 1 0 0 1 1\n"
        "s3_study,negative 1 0 0 1 1\nc_image,none 1 0 0 1 1\n"
        + "".join(f"{i}_image,opacity 1 {' '.join(map(str, _best(predicted, i)))}\n" for i in "ab"),
    )
    score = hilum("evaluate", "challenge", "siim-covid", "--truth", truth, "--submission", out)
    assert score["opacity"] == score["typical"] == score["none"] == 1


def _findings(path: Path, *images: dict[str, Any]) -> Path:
    usual = {
        **{"status": "analysed", "width": SIDE, "height": SIDE, "scores": {"normal": 0.3}},
        "findings": [],
    }
    document = {
        "schema": "hilum.findings/1",
        "pipeline": None,
        "images": [usual | image for image in images],
        "studies": [],
    }
    return write(path, json.dumps(document))


def _box(score: float, *edges: float, label: str = "opacity") -> dict[str, Any]:
    return {"label": label, "score": score, "box_px": list(edges)}


def test_boxes_are_cut_at_the_border_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    boxes = [
        *(_box(0.9, -5, 10, 100, 1100), _box(0.2, 1, 1, 9, 9), _box(0.8, 30, 30, 30, 90)),
        _box(0.9, 1, 1, 9, 9, label="effusion"),
    ]
    file = _findings(tmp_path / "f.json", {"path": "x/a.dcm", "findings": boxes})
    text = hilum("submit", "rsna", file, "--threshold", 0.5, "--out", tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().splitlines()[1] == "a,0.9 0 10 100 1014"
    assert text["clipped"] == 1
    assert text["dropped"] == {
        **{"of another label": 1, "under the threshold": 1, "without an area": 1},
    }


def test_predictions_on_copies_are_written_in_the_challenges_pixels(tmp_path: Path) -> None:
    half = {"width": 512, "height": 512, "findings": [_box(0.9, 10, 20, 110, 220)]}
    file = _findings(tmp_path / "f.json", {"path": "a.png"} | half)
    hilum("submit", "rsna", file, "--out", tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().splitlines()[1] == "a,0.9 20 40 200 400"
    other = _findings(tmp_path / "g.json", {"path": "a.png"} | half | {"height": 300})
    with pytest.raises(DataError, match="512 × 300"):
        hilum("submit", "rsna", other, "--out", tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(("none", "expected"), [("normal", "0.3"), ("not:normal", "0.7")])
def test_none_may_be_a_classifiers(tmp_path: Path, none: str, expected: str) -> None:
    file = _findings(tmp_path / "f.json", {"path": "a.dcm", "findings": [_box(0.9, 1, 1, 9, 9)]})
    out = tmp_path / "s.csv"
    hilum("submit", "siim-covid", file, "--none", none, "--out", out)
    assert out.read_text().splitlines()[1].endswith(f"none {expected} 0 0 1 1")
    with pytest.raises(DataError, match="no image score 'nothing'"):
        hilum("submit", "siim-covid", file, "--none", "nothing", "--out", out)


def test_ids_that_do_not_fit_are_refused_or_told(tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    twice = _findings(tmp_path / "f.json", {"path": "1/a.dcm"}, {"path": "2/a.dcm"})
    with pytest.raises(DataError, match="would both be 'a'"):
        hilum("submit", "rsna", twice, "--out", out)
    sample = write(tmp_path / "sample.csv", "patientId,PredictionString\na,\n")
    with pytest.raises(DataError, match="fit several"):
        hilum("submit", "rsna", twice, "--sample", sample, "--out", out)
    other = _findings(tmp_path / "g.json", {"path": "b.dcm"})
    with pytest.raises(DataError, match="no id of the sample"):
        hilum("submit", "rsna", other, "--sample", sample, "--out", out)
    more = _findings(tmp_path / "h.json", {"path": "a.dcm"}, {"path": "z.dcm"})
    text = hilum("submit", "rsna", more, "--sample", sample, "--out", out)
    assert (text["unknown"], text["first_unknown"]) == (1, ["z.dcm"])
    wrong = write(tmp_path / "wrong.csv", "id,PredictionString\na,\n")
    with pytest.raises(DataError, match="patientId"):
        hilum("submit", "rsna", more, "--sample", wrong, "--out", out)


def test_a_uid_keeps_its_dots(tmp_path: Path) -> None:
    uid = "1.2.276.0.7230010.3.1.4.8323329.1000"
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[5:9, 3:6] = 255
    assert cv2.imwrite(str(tmp_path / "m.png"), mask)
    entry = {"path": f"d/{uid}.dcm", "masks": {"pneumothorax": "m.png"}}
    file = _findings(tmp_path / "f.json", entry)
    hilum("submit", "siim-acr", file, "--out", tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().splitlines() == [
        *("ImageId,EncodedPixels", f"{uid},{runs.encode(mask > 0)}"),
    ]


def test_a_file_of_another_challenge_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "p.csv", "patientId,PredictionString\na,0.5 1 1 9 9\n")
    out = tmp_path / "s.csv"
    hilum("submit", "rsna", file, "--out", out)
    assert out.read_text() == file.read_text()
    with pytest.raises(ConfigError, match="predictions are a rsna file"):
        hilum("submit", "siim-covid", file, "--out", out)


def test_boxes_of_no_stated_size_are_told(tmp_path: Path) -> None:
    unstated = {"width": None, "height": None, "findings": [_box(0.9, 10, 20, 110, 220)]}
    file = _findings(tmp_path / "f.json", {"path": "a.png"} | unstated)
    assert hilum("submit", "rsna", file, "--out", tmp_path / "s.csv")["unstated"] == 1
