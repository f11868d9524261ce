"""`hilum evaluate report`: truth and predictions joined, evaluated and written."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hilum.cli.main import app
from hilum.core.errors import ConfigError, DataError
from hilum.data.catalog import Catalog, build, open_catalog
from hilum.evaluate.answers import match_answers
from hilum.evaluate.cases import join
from hilum.evaluate.compare import answered_by_all, compare
from hilum.evaluate.evaluation import evaluate_cases
from hilum.evaluate.models import EvaluatedModel, Settings, evaluate_models
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile, read_predictions
from hilum.evaluate.studies import evaluate_studies, study_cases
from hilum.report.gallery import SIDE, chosen, galleries

BOX = [10.0, 10.0, 60.0, 60.0]


def _catalog(images: int = 40) -> Catalog:
    sick = [i % 2 == 0 for i in range(images)]
    rows = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(images)],
            "path": [f"set/i{i}.png" for i in range(images)],
            "patient": [f"p{i // 2}" for i in range(images)],
            "sex": ["F" if i < 32 else "<b>M$</b>" for i in range(images)],
            "age": [float(i) for i in range(images)],
            "split": ["test" if i < 38 else "train" for i in range(images)],
            "boxes": [BOX if s else [] for s in sick],
            "box_labels": [["opacity"] if s else [] for s in sick],
        }
    )
    return build("toy", rows, Path())


def _predictions(path: Path, images: int = 40, seed: int = 0, gap: float = 0.4) -> Path:
    """Scores of sick images lie `gap` above those of the others; image 5 is refused."""
    rng = np.random.default_rng(seed)
    entries: list[dict[str, Any]] = []
    for i in range(images):
        score = float(np.clip(rng.normal(0.3 + gap * (i % 2 == 0), 0.2), 0, 1))
        box = {"label": "opacity", "score": score, "box_px": BOX}
        entries.append(
            {
                "path": f"elsewhere/i{i}.png",
                "status": "refused" if i == 5 else "analysed",
                "scores": {"opacity": score} if i != 5 else {},
                "findings": [box] if i != 5 else [],
            }
        )
    document = {"schema": "hilum.findings/1", "images": entries}
    path.write_text(json.dumps(document))
    return path


def test_images_without_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    cases = join(_catalog(), read_predictions(_predictions(tmp_path / "f.json")))
    assert len(cases) == 39
    assert cases.unanswered == 1
    assert "i5" not in set(cases.rows["image_id"])
    assert (cases.label == [len(t) > 0 for t in cases.truth]).all()


def test_predictions_of_other_images_are_refused(tmp_path: Path) -> None:
    catalog = _catalog(2)
    catalog.table["image_id"] = ["x", "y"]
    catalog.table["path"] = ["x.png", "y.png"]
    with pytest.raises(DataError, match="no image"):
        join(catalog, read_predictions(_predictions(tmp_path / "f.json")))


def test_the_numbers_are_those_of_the_metrics(tmp_path: Path) -> None:
    cases = join(_catalog(), read_predictions(_predictions(tmp_path / "f.json")))
    evaluation = evaluate_cases(cases, threshold=0.5, repeats=20)
    called = cases.score >= 0.5
    sick = cases.label == 1
    assert evaluation.image["sensitivity"].value == pytest.approx(
        (called & sick).sum() / sick.sum()
    )
    marks = (called & ~sick).sum() / (~sick).sum()
    assert evaluation.boxes["fp_per_normal_image"].value == pytest.approx(marks)
    few = {g.value: g.few for g in evaluation.subgroups if g.column == "sex"}
    assert few == {"F": False, "<b>M$</b>": True}


def test_the_report_is_one_file_without_network_and_escapes_names(tmp_path: Path) -> None:
    _catalog().save(tmp_path / "c.parquet")
    out = tmp_path / "report.html"
    arguments = ["evaluate", "report", tmp_path / "c.parquet", _predictions(tmp_path / "f.json")]
    result = CliRunner().invoke(
        app, [str(a) for a in (*arguments, "--out", out, "--part", "test", "--repeats", "20")]
    )
    assert result.exit_code == 0, result.output
    html = out.read_text()
    assert "<b>M" not in html
    assert "src=" not in html
    assert "<link" not in html
    for figure in ("FROC", "ROC", "Precision and recall", "Reliability", "Subgroups"):
        assert f'aria-label="{figure}"' in html
    numbers = json.loads(out.with_suffix(".json").read_text())
    assert numbers["images"] == 37
    area = numbers["models"][0]["image"]["auc"]
    assert area["low"] <= area["value"]
    assert numbers["comparisons"] == []
    assert len(pd.read_parquet(out.with_suffix(".parquet"))) == 37


def _two(tmp_path: Path, **second: float) -> tuple[Any, Any]:
    files = _predictions(tmp_path / "a.json"), _predictions(tmp_path / "b.json", **second)
    first, other = answered_by_all([join(_catalog(), read_predictions(f)) for f in files])
    return first, other


def test_a_model_is_not_shown_to_differ_from_itself(tmp_path: Path) -> None:
    result = compare(dict(zip("ab", _two(tmp_path), strict=True)), [0.5, 0.5], repeats=50)
    assert {pair.metric for pair in result} >= {"auc", "rsna_score", "ap50", "sensitivity"}
    assert all(pair.verdict == "no difference shown" for pair in result)
    assert all(pair.comparison.difference.value == 0 for pair in result)


def test_a_blind_model_is_shown_to_be_worse_on_the_same_patients(tmp_path: Path) -> None:
    first, blind = _two(tmp_path, gap=0.0, seed=1)
    result = {p.metric: p for p in compare({"sees": first, "blind": blind}, [0.5] * 2, repeats=20)}
    area = result["auc"]
    assert area.verdict == "higher for sees"  # however few replicates were asked for
    assert area.test == "paired bootstrap"  # two images a patient: DeLong's rows would be too many
    assert area.corrected >= area.comparison.p_value  # Holm
    single = (
        evaluate_cases(first, repeats=5).image["auc"].value
        - evaluate_cases(blind, repeats=5).image["auc"].value
    )
    assert area.comparison.difference.value == pytest.approx(single)


def test_models_are_compared_on_the_images_that_all_answered(tmp_path: Path) -> None:
    first = join(_catalog(), read_predictions(_predictions(tmp_path / "a.json")))
    fewer = join(_catalog(), read_predictions(_predictions(tmp_path / "b.json", images=30)))
    with pytest.raises(DataError, match="same images"):
        compare({"a": first, "b": fewer}, [0.5, 0.5])
    a, b = answered_by_all([first, fewer])
    assert a.rows["image_id"].tolist() == b.rows["image_id"].tolist()
    assert len(a) == 29
    assert [len(t) for t in a.truth] == [len(t) for t in b.truth]


def test_several_models_stand_side_by_side(tmp_path: Path) -> None:
    _catalog().save(tmp_path / "c.parquet")
    files = _predictions(tmp_path / "good.json"), _predictions(tmp_path / "bad.json", gap=0.0)
    out = tmp_path / "report.html"
    arguments = ["evaluate", "report", tmp_path / "c.parquet", *files, "--out", out]
    result = CliRunner().invoke(app, [str(a) for a in (*arguments, "--repeats", "20", "--json")])
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.output)
    assert [m["name"] for m in numbers["models"]] == ["good", "bad"]
    assert {c["verdict"] for c in numbers["comparisons"]} <= {
        *("no difference shown", "higher for good", "higher for bad"),
    }
    assert "Differences between models" in out.read_text()
    assert set(pd.read_parquet(out.with_suffix(".parquet"))["model"]) == {"good", "bad"}
    with pytest.raises(ConfigError, match="names"):
        CliRunner().invoke(
            app,
            [str(a) for a in (*arguments[:3], files[0], files[0], "--out", out)],
            catch_exceptions=False,
        )


def test_masks_of_all_models_are_of_the_same_images(tmp_path: Path) -> None:
    mask = np.zeros((80, 80), np.uint8)
    mask[10:60, 10:60] = 255
    assert cv2.imwrite(str(tmp_path / "m.png"), mask)
    catalog = _catalog(12)
    table = catalog.table.assign(mask_lungs="m.png", width=80, height=80)
    Catalog("toy", table, tmp_path).save(tmp_path / "c.parquet")
    files = []
    for name, images in (("a", 12), ("b", 8)):
        file = _predictions(tmp_path / f"{name}.json", images=images)
        document = json.loads(file.read_text())
        for entry in document["images"]:
            entry["masks"] = {"lungs": "m.png"}
        file.write_text(json.dumps(document))
        files.append(file)
    evaluated = evaluate_models(
        open_catalog(tmp_path / "c.parquet"), files, Settings(repeats=2), max
    )
    assert [len(model.cases) for model in evaluated.models] == [7, 7]  # i5 is refused
    assert [model.masks[0].images for model in evaluated.models] == [7, 7]
    accounts = [model.cases.account for model in evaluated.models]
    assert [account and len(account.missing) for account in accounts] == [0, 4]


def test_galleries_show_what_their_titles_say(tmp_path: Path) -> None:
    cases = join(_catalog(), read_predictions(_predictions(tmp_path / "f.json")))
    rows = chosen(cases, 0.5)
    sick, called = cases.label == 1, cases.score >= 0.5
    assert set(rows["Missed"]) == set(np.flatnonzero(sick & ~called))
    assert set(rows["False alarms"]) == set(np.flatnonzero(~sick & called))
    for title, sign in (("Missed", 1), ("False alarms", -1), ("Best", -1)):
        assert (np.diff(sign * cases.score[rows[title]]) >= 0).all(), title


def test_a_gallery_draws_truth_and_prediction_on_the_pixels(tmp_path: Path) -> None:
    catalog = _catalog(8)
    (tmp_path / "set").mkdir()
    grey = np.tile(np.linspace(40, 200, 80, dtype=np.uint8), (80, 1))
    for name in catalog.table["path"]:
        assert cv2.imwrite(str(tmp_path / name), grey)
    catalog = Catalog(catalog.name, catalog.table, tmp_path)
    cases = join(catalog, read_predictions(_predictions(tmp_path / "f.json", images=8)))
    model = EvaluatedModel("m", cases, evaluate_cases(cases, repeats=5))
    best = galleries(catalog, [model], each=2)[0]
    assert best.title == "Best"
    assert len(best.shots) == 2
    truth, answer = (_decoded(panel.picture) for panel in best.shots[0].panels)
    edge = truth[round(35 / 80 * SIDE), round(10 / 80 * SIDE)].astype(int)  # left side of BOX
    assert edge[1] > edge[0] + 60  # teal in the truth
    over = answer[round(35 / 80 * SIDE), round(10 / 80 * SIDE)].astype(int)
    assert over[0] > over[2] + 60  # amber over it


def test_a_gallery_of_masks_shows_each_kind_of_answer(tmp_path: Path) -> None:
    """A segmenter has no boxes: its gallery was empty, without a word."""
    square, moved = np.zeros((80, 80), np.uint8), np.zeros((80, 80), np.uint8)
    square[20:60, 20:60], moved[20:60, 30:70] = 255, 255
    nothing = np.zeros_like(square)
    kinds = {
        **{"found": (square, square), "near": (square, moved), "lost": (square, nothing)},
        **{"invented": (nothing, square), "none": (nothing, nothing)},
    }
    (tmp_path / "masks").mkdir()
    for name, (truth, answer) in kinds.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((80, 80), 90, np.uint8))
        cv2.imwrite(str(tmp_path / f"{name}_truth.png"), truth)
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), answer)
    names = pd.Series(list(kinds))
    rows = pd.DataFrame(
        {
            **{"image_id": names, "path": names + ".png", "patient": names},
            **{"mask_pneumothorax": names + "_truth.png", "width": 80, "height": 80},
            "label_pneumothorax": [float(truth.any()) for truth, _ in kinds.values()],
        }
    )
    entries = [
        {
            **{"path": f"{n}.png", "status": "analysed", "scores": {"pneumothorax": 0.5}},
            **{"findings": [], "masks": {"pneumothorax": f"masks/{n}.png"}},
            **{"width": 80, "height": 80},
        }
        for n in kinds
    ]
    file = tmp_path / "findings.json"
    file.write_text(json.dumps({"schema": "hilum.findings/1", "images": entries}))
    catalog = build("toy", rows, tmp_path)
    settings = Settings(finding="pneumothorax", repeats=2)
    models = evaluate_models(catalog, [file], settings, max).models
    shown = {g.title: [s.image_id for s in g.shots] for g in galleries(catalog, models, each=2)}
    assert shown == {
        "Best outlines": ["found", "near"],
        "Worst outlines": ["near", "found"],
        "Nothing outlined": ["lost"],
        "Outlined without finding": ["invented"],
    }
    near = galleries(catalog, models, each=2)[1].shots[0]
    assert [panel.words for panel in near.panels][1].endswith("Dice 0.75")
    truth, answer = (_decoded(panel.picture) for panel in near.panels)

    def over(picture: Any, x: int, more: int, less: int) -> int:
        """By how much one colour is above another near (x, 40)."""
        row, column = round(40 / 80 * SIDE), round(x / 80 * SIDE)
        part = picture[row, column - 4 : column + 5].astype(int)
        return int((part[:, more] - part[:, less]).max())

    assert over(truth, 20, 1, 0) > 40  # teal: the left side of what is true
    assert over(answer, 20, 1, 0) > 40
    assert over(answer, 70, 0, 2) > 40  # amber: the right side of what was outlined
    assert over(truth, 70, 0, 2) < 10


def _decoded(uri: str) -> Any:
    content = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[:, :, ::-1]


def _report(tmp_path: Path, *more: object, images: int = 40) -> dict[str, Any]:
    _catalog(images).save(tmp_path / "c.parquet")
    file = _predictions(tmp_path / "f.json", images=images)
    arguments = ["evaluate", "report", tmp_path / "c.parquet", file, "--repeats", "20", "--json"]
    out = tmp_path / "report.html"
    result = CliRunner().invoke(
        app, [str(a) for a in (*arguments, "--out", out, *more)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    numbers: dict[str, Any] = json.loads(result.output)
    return numbers


SPLIT = ("--part", "test", "--validation-part", "train")


def _half_and_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second patient is in the training split."""
    whole = _catalog

    def halves(images: int = 40) -> Catalog:
        catalog = whole(images)
        number = catalog.table["patient"].str[1:].astype(int)
        table = catalog.table.assign(split=np.where(number % 2, "train", "test"))
        return Catalog(catalog.name, table, catalog.root)

    monkeypatch.setitem(globals(), "_catalog", halves)


def test_points_are_chosen_on_validation_and_applied_on_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _half_and_half(monkeypatch)
    numbers = _report(tmp_path, *SPLIT, "--choose", "sensitivity=.95", "--choose", "false-boxes")
    model = numbers["models"][0]
    catalog = _catalog()
    cases = join(catalog, read_predictions(tmp_path / "f.json"))
    split = catalog.table.set_index("image_id")["split"][cases.rows["image_id"]].to_numpy()
    train, test = cases.where(split == "train"), cases.where(split == "test")
    sick = train.label == 1
    threshold = np.sort(train.score[sick])[: int(0.05 * sick.sum()) + 1][-1]
    assert model["image_threshold"] == pytest.approx(threshold)
    assert model["threshold"] != model["image_threshold"]
    result = (test.score[test.label == 1] >= threshold).mean()
    assert model["image"]["sensitivity"]["value"] == pytest.approx(result)
    assert [p["score"] for p in model["operating_points"]] == ["opacity", "box"]
    assert "Operating points" in (tmp_path / "report.html").read_text()


def test_reliability_is_shown_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _half_and_half(monkeypatch)
    plain = _report(tmp_path, *SPLIT)["models"][0]
    model = _report(tmp_path, *SPLIT, "--calibrate", "logistic")["models"][0]
    assert model["ece_before_calibration"] == pytest.approx(plain["image"]["ece"]["value"])
    assert model["image"]["auc"] == plain["image"]["auc"]  # a rising map keeps every rank
    html = (tmp_path / "report.html").read_text()
    for figure in ("Reliability before calibration", "Reliability after calibration"):
        assert f'aria-label="{figure}"' in html


def test_nothing_is_chosen_on_the_evaluation_patients(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--validation-part"):
        _report(tmp_path, "--choose", "best-f1")
    with pytest.raises(DataError, match="patients"):
        _report(tmp_path, "--validation-part", "test", "--choose", "best-f1")
    with pytest.raises(ConfigError, match="known: sensitivity"):
        _report(tmp_path, *SPLIT, "--choose", "sensitivty=.9")
    with pytest.raises(ConfigError, match="two targets"):
        _report(
            tmp_path,
            "--part",
            "test",
            "--validation-part",
            "train",
            "--choose",
            "conformal-missed-boxes=.9",
            "--choose",
            "false-boxes=9",
        )


def test_a_report_takes_the_points_of_the_run_that_it_reports(tmp_path: Path) -> None:
    _report(tmp_path)
    document = json.loads((tmp_path / "f.json").read_text())
    point = {"reason": "sensitivity >= 0.95", "chosen_on": "validation"}
    points = {
        "other": {**point, "threshold": 0.9, "score": "pneumothorax"},
        "own": {**point, "threshold": 0.2, "score": "opacity"},
        "given": {**point, "threshold": 0.0, "score": "box", "chosen_on": "no data"},
    }
    bundle = {"name": "b", "sha256": "0" * 64}
    document["pipeline"] = {
        **{"name": "p", "version": "1", "bundles": [bundle], "operating_points": points},
        **{"calibrated_on": "", "fingerprint": "f"},
    }
    file, catalog, page = (tmp_path / name for name in ("g.json", "c.parquet", "page.html"))
    file.write_text(json.dumps(document))
    words = ["evaluate", "report", catalog, file, "--repeats", "2", "--out", page]

    def of(*more: str) -> tuple[dict[str, Any], str]:
        result = CliRunner().invoke(app, [str(a) for a in (*words, *more)], catch_exceptions=False)
        model: dict[str, Any] = json.loads(page.with_suffix(".json").read_text())["models"][0]
        return model, result.output

    model, said = of()
    assert (model["threshold"], model["image_threshold"]) == (0.5, 0.2)
    assert [p["threshold"] for p in model["operating_points"]] == [0.2]
    assert "boxes threshold: 0.5, as neither the run nor --threshold says one" in said
    assert "image threshold" not in said
    whole = open_catalog(catalog)
    bare = whole.table.assign(boxes=None, label_opacity=[float(n % 2 == 0) for n in range(40)])
    Catalog(whole.name, bare, whole.root).save(catalog)
    assert "threshold:" not in of()[1]  # of boxes that nobody annotated none is needed
    model, said = of("--threshold", "0.3")
    assert (model["threshold"], model["image_threshold"]) == (0.3, 0.3)
    assert "threshold:" not in said


def test_a_report_does_not_overwrite_its_catalog(tmp_path: Path) -> None:
    _report(tmp_path)
    before = (tmp_path / "c.parquet").read_bytes()
    words = ["evaluate", "report", tmp_path / "c.parquet", tmp_path / "f.json"]
    with pytest.raises(ConfigError, match="overwrite"):
        CliRunner().invoke(
            app, [str(a) for a in (*words, "--out", tmp_path / "c.html")], catch_exceptions=False
        )
    assert (tmp_path / "c.parquet").read_bytes() == before


def test_epochs_become_heat_maps(tmp_path: Path) -> None:
    for n, gap in ((1, 0.0), (2, 0.4), (10, 0.6)):
        _predictions(tmp_path / f"{n}.json", gap=gap)
    epochs = [("--epoch", f"{n}={tmp_path / f'{n}.json'}") for n in (10, 1, 2)]
    numbers = _report(tmp_path, *(word for pair in epochs for word in pair))
    f1, rsna, nms, _ = numbers["epochs"]
    assert [grid["metric"] for grid in numbers["epochs"]] == [
        *("box_f1", "rsna_score", "ap50", "rsna_score"),
    ]
    assert f1["epoch"] == rsna["epoch"] == nms["epoch"] == [1.0, 2.0, 10.0]
    assert nms["nms"][-1] == 1.0  # unsuppressed
    values = np.array(nms["values"])
    assert (np.diff(values[0]) > 0).all()  # a model that learns
    html = (tmp_path / "report.html").read_text()
    assert 'aria-label="Score threshold × epoch: RSNA score"' in html
    assert 'aria-label="NMS threshold × epoch: AP at IoU .5"' in html
    with pytest.raises(ConfigError, match="N=FILE"):
        _report(tmp_path, "--epoch", "a=b.json")


def test_studies_are_evaluation_by_their_own_score_or_by_their_images(tmp_path: Path) -> None:
    catalog = _catalog()
    studies = [f"s{i // 4}" for i in range(40)]
    typical = [float(i // 4 % 2) for i in range(40)]
    table = catalog.table.assign(study=studies, study_typical=typical, label_opacity=typical)
    catalog = Catalog("toy", table, Path())
    images = {
        f"i{i}": ImagePredictions(
            np.zeros((0, 4)), np.zeros(0), (), {"opacity": 0.9 if i % 8 == 5 else 0.1}
        )
        for i in range(40)
    }
    own = {
        f"s{k}_study": ImagePredictions(
            np.zeros((0, 4)), np.zeros(0), (), {"typical": 0.2 + 0.6 * (k % 2)}
        )
        for k in range(9)
    }
    file = PredictionFile("siim-covid", images | own)
    cases = study_cases(catalog, match_answers(catalog, file), file, finding="opacity", combine=max)
    by_name = {one.name: one for one in cases}
    assert (by_name["typical"].own, by_name["typical"].unanswered) == (9, 1)
    assert (by_name["opacity"].own, len(by_name["opacity"].label)) == (0, 10)
    for evaluation in evaluate_studies(cases, 0.5, repeats=10):
        assert evaluation.numbers["auc"].value == 1
        assert evaluation.numbers["sensitivity"].value == 1
