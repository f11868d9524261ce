"""The five systems as texts: each names its recipes, says what is missing, runs with bundles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.toy import NO_BOXES, write_classifier, write_segmenter, write_toy
from hilum.cli.main import app
from hilum.core.errors import ConfigError
from hilum.core.prediction import sigmoid
from hilum.core.radiograph import Radiograph
from hilum.inference import diagram
from hilum.inference.loaded import load_pipeline
from hilum.inference.pipeline import Pipeline, shipped_pipelines

SYSTEMS = (
    *("rsna-retinanet", "rsna-maskrcnn-yolo", "replication-retinanet"),
    *("siim-covid", "pneumothorax"),
)
RECIPES = Path(__file__).parents[2] / "recipes"
BOXES = ((30.0, 40.0, 62.0, 80.0), (80.0, 40.0, 110.0, 90.0))
PIXELS = np.random.default_rng(0).random((128, 128), np.float32)
CLASSES = ("negative", "typical", "indeterminate", "atypical")


def said(name: str, bundles: dict[str, list[Path]], pixels: np.ndarray = PIXELS):  # type: ignore[no-untyped-def]
    return load_pipeline(Pipeline.load(name).with_bundles(bundles))(Radiograph(pixels.copy()))


def three_classes(path: Path, **changes: object) -> Path:
    scores = {"normal": "normal", "not-normal": "not-normal", "opacity": "opacity"}
    write_toy(path, **({"boxes": BOXES, "image_scores": scores} | changes))
    return path


def test_the_five_systems_and_the_default_come_with_hilum() -> None:
    assert {"default", *SYSTEMS} <= set(shipped_pipelines())  # hilum-models adds its own


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_without_bundles_says_which_and_how_they_are_made(name: str) -> None:
    pipeline = Pipeline.load(name)
    for model, spec in pipeline.models.items():
        assert (RECIPES / f"{spec.recipe}.yaml").is_file(), model
    with pytest.raises(ConfigError, match="--bundle"):
        load_pipeline(name)
    done = CliRunner().invoke(app, ["pipeline", "check", name, "--json"])
    assert done.exit_code == 1
    problems = json.loads(done.output)["problems"]
    assert len(problems) == len(pipeline.models)
    for model, spec in pipeline.models.items():
        assert any(f"--bundle {model}=PATH" in one and str(spec.recipe) in one for one in problems)


@pytest.mark.parametrize("name", ["default", *SYSTEMS])
def test_a_drawing_names_every_model_step_and_option(name: str, tmp_path: Path) -> None:
    pipeline = Pipeline.load(name)
    text, drawn = "\n".join(diagram.tree(pipeline)), diagram.svg(pipeline)
    for steps in (pipeline.boxes, pipeline.scores, *pipeline.masks.values()):
        for step in steps:
            assert step.use in text
            assert step.use in drawn
            assert all(f"{key} " in text for key in step.options)
    assert all(model in drawn for model in pipeline.models)
    out = tmp_path / "p.png"
    assert CliRunner().invoke(app, ["pipeline", "show", name, "--png", str(out)]).exit_code == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_folds_shrink_and_weak_boxes_go_by_the_second_places_filter(tmp_path: Path) -> None:
    wide, narrow = ((30.0, 40.0, 70.0, 80.0),), ((32.0, 40.0, 68.0, 80.0),)
    logits = (-2.2,)  # a weak box that the image's score carries
    a = three_classes(tmp_path / "a.zip", boxes=wide, logits=logits)
    b = three_classes(tmp_path / "b.zip", boxes=narrow, logits=logits)
    findings = said("rsna-retinanet", {"retinanet": [a, b]})
    assert findings.scores == pytest.approx(sigmoid(list(logits)), abs=1e-5)
    width = float(findings.boxes_px[0, 2] - findings.boxes_px[0, 0])
    assert width < 36  # smaller than either fold's
    assert set(findings.image_scores) == {"normal", "not-normal", "opacity"}
    none = three_classes(tmp_path / "c.zip", logits=(-5.0, -6.0))
    assert len(said("rsna-retinanet", {"retinanet": [none]}).scores) == 0


def test_either_confident_detector_counts_if_the_classifier_agrees(tmp_path: Path) -> None:
    one = three_classes(tmp_path / "m.zip", boxes=BOXES[:1], logits=(2.0,))
    two = three_classes(tmp_path / "y.zip", boxes=BOXES, logits=(-3.0, 3.0))
    for opacity, scores in ((0.5, [3.0, 2.0]), (0.1, [])):
        write_classifier(tmp_path / "c.zip", opacity)
        bundles = {"maskrcnn": [one], "yolo": [two], "classifier": [tmp_path / "c.zip"]}
        findings = said("rsna-maskrcnn-yolo", bundles)
        np.testing.assert_allclose(findings.scores, sigmoid(scores), atol=1e-5)
        best = float(sigmoid(scores[0])) if scores else 0.0
        assert findings.image_scores["any-box"] == pytest.approx(best, abs=1e-5)


def test_the_replication_study_is_one_network(tmp_path: Path) -> None:
    findings = said(
        "replication-retinanet",
        {"retinanet": [three_classes(tmp_path / "r.zip", logits=(2.0, -2.0))]},
    )
    assert len(findings.scores) == 1  # above its own operating point
    with pytest.raises(ConfigError, match="takes one bundle"):
        said("replication-retinanet", {"retinanet": [tmp_path / "r.zip", tmp_path / "s.zip"]})


@pytest.mark.parametrize("calibrated", [False, True])
def test_covid_detectors_are_fused_and_none_is_what_they_leave(
    tmp_path: Path, calibrated: bool
) -> None:
    """The four appearances of a study are exclusive, so they are 1 together, also where each was
    calibrated by itself."""
    maps = {name: [{"kind": "logistic", "slope": 0.5, "shift": -1.0}] for name in CLASSES}
    one = three_classes(tmp_path / "f.zip", logits=(2.0, 1.0))
    two = three_classes(tmp_path / "y.zip", logits=(0.5, 3.0))
    study = tmp_path / "s.zip"
    write_toy(
        study,
        classes=(1.0, 0.0, 2.0, 0.0),
        **(
            NO_BOXES
            | {
                "outputs": NO_BOXES["outputs"] | {"mask_logits": None},
                "masks": {},
                "global_classes": list(CLASSES),
                "image_scores": {name: name for name in CLASSES} | {"pneumonia": list(CLASSES[1:])},
                "positive": "pneumonia",
            }
            | ({"calibration": {"scores": maps}} if calibrated else {})
        ),
    )
    bundles = {"fasterrcnn": [one], "yolo": [two], "study": [study]}
    findings = said("siim-covid", bundles)
    p = np.sort(sigmoid([[2.0, 1.0], [0.5, 3.0]]).mean(axis=0))[::-1]
    np.testing.assert_allclose(findings.scores, p, atol=1e-5)
    scores = findings.image_scores
    assert scores["none"] == pytest.approx(1 - p[0], abs=1e-5)
    assert sum(scores[name] for name in CLASSES) == pytest.approx(1)
    if not calibrated:
        assert scores["pneumonia"] == pytest.approx(1 - scores["negative"])
    each = Pipeline.load("siim-covid", ("scores.0.exclusive=false",)).with_bundles(bundles)
    alone = load_pipeline(each)(Radiograph(PIXELS.copy())).image_scores
    own = np.array([alone[name] for name in CLASSES])
    assert (own.sum() == pytest.approx(1)) != calibrated
    np.testing.assert_allclose([scores[name] for name in CLASSES], own / own.sum(), rtol=1e-6)


@pytest.mark.parametrize(("opacity", "empty"), [(0.39, True), (0.41, False)])
def test_pneumothorax_is_classified_segmented_and_cleaned(
    tmp_path: Path, opacity: float, empty: bool
) -> None:
    write_classifier(
        tmp_path / "c.zip",
        opacity,
        image_scores={"pneumothorax": "opacity"},
        positive="pneumothorax",
        operating_points={"best-mcc": {"threshold": 0.4, "reason": "r", "score": "pneumothorax"}},
    )
    masks = {"pneumothorax": {"channel": 0}}
    for fold in "ab":
        write_segmenter(tmp_path / f"{fold}.zip", masks=masks)
    pixels = np.zeros((256, 256), np.float32)
    pixels[40:120, 40:120] = 1  # 320 px at 1024
    pixels[200:208, 200:208] = 1  # 32 x 32 = 1,024 px at 1024: removed
    bundles = {"classifier": [tmp_path / "c.zip"]}
    bundles["segmenter"] = [tmp_path / "a.zip", tmp_path / "b.zip"]
    findings = said("pneumothorax", bundles, pixels)
    mask = findings.masks["pneumothorax"]
    assert findings.image_scores["pneumothorax"] == pytest.approx(opacity)
    assert bool(findings.declined) == empty
    assert mask.any() != empty
    assert not mask[190:220, 190:220].any()
    assert empty or abs(int(mask.sum()) - 80 * 80) < 900


def test_bundles_are_named_on_the_command_line(tmp_path: Path) -> None:
    three_classes(tmp_path / "m.zip")
    write_classifier(tmp_path / "c.zip", 0.5)
    words = [f"{n}={tmp_path / 'm.zip'}" for n in ("maskrcnn", "yolo")]
    words.append(f"classifier={tmp_path / 'c.zip'}")
    options = [part for word in words for part in ("--bundle", word)]
    done = CliRunner().invoke(app, ["pipeline", "check", "rsna-maskrcnn-yolo", *options])
    assert done.exit_code == 0, done.output
    assert "everything fits" in done.output
    swapped = [
        "--bundle",
        words[0],
        "--bundle",
        words[1],
        "--bundle",
        f"classifier={tmp_path}/m.zip",
    ]
    done = CliRunner().invoke(app, ["pipeline", "check", "rsna-maskrcnn-yolo", *swapped])
    assert done.exit_code == 0  # it has that score as well
    with pytest.raises(ConfigError, match="Did you mean 'yolo'"):
        Pipeline.load("rsna-maskrcnn-yolo").with_named(["yoloo=x.zip"])
    with pytest.raises(ConfigError, match="name one: --bundle NAME=PATH"):
        Pipeline.load("rsna-maskrcnn-yolo").with_named(["x.zip"])


def _changed(name: str, *changes: str) -> Pipeline:
    return Pipeline.load(name, changes)


def test_any_step_is_swapped_from_outside() -> None:
    """E's stages by name, D's members alone, A's two ways of shrinking."""
    gate = Pipeline.load("pneumothorax")
    swapped = _changed("pneumothorax", "masks.pneumothorax.1={use: threshold, at: 0.5}")
    assert [step.use for step in swapped.masks["pneumothorax"]] == [
        "map",
        "threshold",
        "remove-small",
    ]
    assert swapped.models == gate.models
    open_ = _changed("pneumothorax", "models.segmenter.when=null", "masks.pneumothorax.2=null")
    assert open_.models["segmenter"].when is None
    assert [step.use for step in open_.masks["pneumothorax"]] == ["map", "triplet"]
    alone = _changed("siim-covid", "boxes=[{use: boxes, of: yolo}]", "models.fasterrcnn=null")
    assert set(alone.models) == {"yolo", "study"}
    uniform = _changed("rsna-retinanet", "models.retinanet.combine=mean-outputs", "boxes.2=scale")
    assert [step.use for step in uniform.boxes] == ["boxes", "second-place", "scale"]


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("pneumothorax", "masks.pneumothorax.1={use: nms}", "stage of boxes and does not fit"),
        ("pneumothorax", "masks.pneumothorax.1=null", "the order is a map, one threshold"),
        ("pneumothorax", "masks.pneumothoraks=[]", "pneumothoraks: ends with nothing"),
        ("siim-covid", "boxes=[{use: boxes, of: yolo}]", "models.fasterrcnn: no flow"),
        ("siim-covid", "boxes.0.of=[yolo, retina]", "unknown model 'retina'"),
        ("rsna-maskrcnn-yolo", "models.classifier=null", "unknown model 'classifier'"),
    ],
)
def test_a_swap_that_does_not_fit_is_refused_with_the_reason(
    name: str, change: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        _changed(name, change)


def test_the_command_line_swaps_steps_too() -> None:
    change = ["--set", "masks.pneumothorax.1={use: threshold, at: 0.5}"]
    done = CliRunner().invoke(app, ["pipeline", "show", "pneumothorax", *change, "--json"])
    assert done.exit_code == 0, done.output
    steps = json.loads(done.output)["masks"]["pneumothorax"]
    assert [step["use"] for step in steps] == ["map", "threshold", "remove-small"]
    done = CliRunner().invoke(app, ["pipeline", "check", "pneumothorax", "--set", "boxes"])
    assert done.exit_code != 0
    assert "KEY=VALUE" in str(done.exception)
