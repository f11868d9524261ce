"""A pipeline is what its text says, or an error that helps before the first image."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import hilum
from helpers.pictures import radiograph
from helpers.toy import write_classifier, write_segmenter, write_text, write_toy, write_toy_pipeline
from hilum.core.errors import BundleError, ConfigError, NotChestRadiographRefused
from hilum.core.findings import Findings
from hilum.core.radiograph import Identifiers, Radiograph
from hilum.core.results import ImageResult
from hilum.data.phantom.phantom import phantom
from hilum.inference.answer import answer
from hilum.inference.loaded import LoadedPipeline, load_pipeline
from hilum.inference.pipeline import Pipeline, shipped_pipelines
from hilum.inference.stages import STAGES, StageSpec, make

BOXES = ((30.0, 40.0, 62.0, 80.0), (80.0, 40.0, 110.0, 90.0))


def test_the_default_pipeline_is_valid() -> None:
    pipeline = Pipeline.load()
    assert pipeline.name == "default"
    assert pipeline == Pipeline.load("default")
    assert "default" in shipped_pipelines()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("treshold: 1\n", "unknown key 'treshold'. Did you mean 'thresholds'"),
        ("thresholds: {box: 0.5}\n", "Did you mean 'boxes'"),
        ("boxes: [{use: weighted-boxs, of: toy}]\n", "Did you mean 'weighted-boxes'"),
        ("boxes: [{use: weighted-boxes, of: toy, iuo: 0.5}]\n", "Did you mean 'iou'"),
        ("boxes: [{use: boxes, of: toy}, {use: minimum-score, score: 7}]\n", "less than or equal"),
        ("boxes: [{of: toy}]\n", "names itself by `use`"),
        ("study: {use: mean, least: [normal]}\n", "unknown key 'least'"),
        ("version: [1]\n", "version"),
        ("thresholds: {boxes: 7}\n", "less than or equal to 1"),
        ("study: max\nstudy: mean\n", "'study' stands there twice"),
        ("models: {TOY: {bundle: toy.zip}}\n", "model name 'TOY'"),
        ("models: {toy: {bundle: toy.zip, bundles: [a.zip]}}\n", "both bundle and bundles"),
        ("models: {toy: {bundles: [a.zip, b.zip]}}\n", "say how they are combined"),
        ("models: {toy: {bundles: [a.zip, a.zip], combine: mean-maps}}\n", "twice"),
        ("models: {toy: {bundle: toy.zip, weight: 2}}\n", "unknown key 'weight'"),
        ("models: {toy: {bundle: toy.zip, views: [plian]}}\n", "Did you mean 'plain'"),
        ("models: {toy: {bundle: toy.zip, size: 500}}\n", "multiple of 32"),
        ("schema: hilum.pipeline/1\n", "read no more"),
    ],
)
def test_a_wrong_key_names_the_nearest(tmp_path: Path, text: str, message: str) -> None:
    path = write_text(tmp_path / "toy.yaml", text)
    with pytest.raises(ConfigError, match=message) as caught:
        Pipeline.load(path)
    assert str(path) in str(caught.value)
    assert "at least 1 item" not in str(caught.value)  # the item is wrong, the list is not short


@pytest.mark.parametrize("text", ["", "- a", "a: [", "!!python/object/apply:os.system [ls]", "\0"])
def test_what_is_not_a_pipeline_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        Pipeline.load(path)


def test_an_unknown_pipeline_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'default'"):
        Pipeline.load("defualt")


# What does not fit is known from the text alone: no bundle is there.
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("boxes: [{use: triplet}]\n", "'triplet' is a stage of masks and does not fit into boxes"),
        ("masks: {lungs: [{use: nms}]}\n", "'nms' is a stage of boxes and does not fit into masks"),
        ("scores: [{use: map, of: toy}]\n", "'map' is a stage of masks"),
        ("gates: [max]\n", "'max' is a stage of study"),
        ("boxes: [{use: boxes, of: tyo}]\n", "unknown model 'tyo'. Did you mean 'toy'"),
        ("boxes: [{use: nms}]\n", "the first step takes boxes of models"),
        ("boxes: [{use: boxes, of: toy}, {use: nms, of: toy}]\n", "only the first step does"),
        ("boxes: [{use: boxes, of: [toy, other]}]\n", "needed: one. To fuse use weighted-boxes"),
        ("boxes: [{use: boxes, of: toy}, {use: inside-mask, mask: lungz}]\n", "mean 'lungs'"),
        ("masks: {a/b: [{use: map, of: toy}, threshold]}\n", "can be no mask's name"),
        ("masks: {lungs: [{use: map, of: toy}]}\n", "ends with a map"),
        ("masks: {lungs: [threshold]}\n", "takes a map, but nothing came"),
        ("masks: {lungs: [{use: map, of: toy}, remove-small]}\n", "takes a mask, but a map came"),
        ("masks: {lungs: [{use: map, of: toy}, threshold, triplet]}\n", "but a mask came"),
        (
            "masks: {opacity: [{use: map, of: toy}, threshold, inside-mask], "
            "lungs: [{use: map, of: toy}, threshold]}\n",
            "mask 'lungs' is made later",
        ),
        ("boxes: []\nscores: [none]\n", "no flow of boxes"),
        ("boxes: [{use: boxes, of: toy}, {use: classifier-check, of: a.b.c}]\n", "at"),
        (
            "models: {toy: {bundle: toy.zip}, spare: {bundle: b.zip}}\n",
            "models.spare: no flow, gate or `when` uses it",
        ),
        ("boxes: [{use: union, of: {toy: 2, other: 1}}]\n", "weights of models do not count"),
        ("boxes: [{use: union, of: toy, confident: {tyo: 0.5}}]\n", "confident names tyo"),
        ("masks: {lungs: [{use: map, of: toy}, {use: triplet, bottom: 0.8}]}\n", "above top"),
        ("models: {toy: {bundle: t.zip, fuse: scale}}\n", "needed: a fusion of boxes without"),
        ("boxes: []\nmasks: {}\nscores: []\n", "nothing would come out"),
    ],
)
def test_a_misfit_is_refused_with_its_reason(tmp_path: Path, text: str, message: str) -> None:
    if "other" in text or "spare" in text:
        models = "{toy: {bundle: toy.zip}, other: {bundle: other.zip}}"
        text = text if "models" in text else f"{text}models: {models}\n"
    with pytest.raises(ConfigError, match=message):
        Pipeline.load(write_text(tmp_path / "toy.yaml", text))


# What does not fit is known from the bundles' manifests: no image is needed.
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "boxes: [{use: weighted-boxes, of: [toy, cls]}]\n",
            "'cls' has no boxes: its bundle .* gives score .*; needed: a detector",
        ),
        ("boxes: [{use: boxes, of: seg}]\n", "'seg' has no boxes"),
        ("masks: {pneumothorax: [{use: map, of: seg}, threshold]}\n", "mask 'pneumothorax'"),
        (
            "masks: {lungs: [{use: map, of: cls}, threshold]}\n",
            "'cls' has no masks: .*; needed: a segmenter",
        ),
        ("scores: [{use: scores, of: seg}]\n", "'seg' has no image scores"),
        ("scores: [{use: scores, of: cls, only: [opaciti]}]\n", "Did you mean 'opacity'"),
        ("scores: [{use: scores, of: cls}, {use: scores, of: toy}]\n", "'normal' is there already"),
        (
            "boxes: [{use: boxes, of: toy}, {use: times-image-score, of: cls.opaciti}]\n",
            "Did you mean 'opacity'",
        ),
        (
            "boxes: [{use: boxes, of: toy}, {use: times-image-score, of: toy}]\n",
            "several scores; say which: toy.normal or toy.opacity",
        ),
        (
            "boxes: [{use: boxes, of: toy}, {use: classifier-check, of: cls, at: best-mc}]\n",
            "Did you mean 'best-mcc'",
        ),
        (
            "boxes: [{use: boxes, of: toy}, "
            "{use: classifier-check, of: cls.normal, at: best-mcc}]\n",
            "is for 'opacity', not for 'normal'",
        ),
        ("study: {use: max, least: [nromal]}\n", "Did you mean 'normal'"),
        (
            "scores: [{use: scores, of: toy, exclusive: true}]\n",
            "each of a model's exclusive classes; 'toy' has the classes normal, not-normal",
        ),
        ("operating_points: {a: {threshold: 0.1, reason: r, score: opaciti}}\n", "'opaciti'"),
        ("calibration: {scores: {opaciti: []}}\n", "Did you mean 'opacity'"),
        ("calibration: {class_temperature: 2}\n", "temperatures and biases are on logits"),
        ("thresholds: {boxes: defautl}\n", "Did you mean 'default'"),
        ("thresholds: {images: [default]}\n", "is for the score 'box'"),
        (
            "thresholds: {boxes: cls.best-mcc}\nscores: [{use: scores, of: cls}]\n",
            "is for the score 'opacity'",
        ),
    ],
)
def test_a_misfit_of_bundles_is_refused_when_loaded(
    tmp_path: Path, text: str, message: str
) -> None:
    write_toy(tmp_path / "toy.zip")
    write_classifier(tmp_path / "cls.zip")
    write_segmenter(tmp_path / "seg.zip")
    used = {name for name in ("cls", "seg") if name in text}
    models = ", ".join(f"{name}: {{bundle: {name}.zip}}" for name in ("toy", *sorted(used)))
    with pytest.raises(ConfigError, match=message):
        load_pipeline(write_text(tmp_path / "p.yaml", f"{text}models: {{{models}}}"))


def test_models_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        write_classifier(tmp_path / f"{name}.zip")
    path = write_text(
        tmp_path / "p.yaml",
        "models:\n"
        "  a: {bundle: a.zip, when: {score: b.opacity, at: 0.5}}\n"
        "  b: {bundle: b.zip, when: {score: a.opacity, at: 0.5}}\n"
        "masks: {}\nboxes: []\nscores: [{use: mean-scores, of: [a, b]}]\n",
    )
    with pytest.raises(ConfigError, match="may be missing, since its model has a `when`"):
        Pipeline.load(path)


def test_a_graph_of_another_size_is_refused(tmp_path: Path) -> None:
    path = write_toy_pipeline(tmp_path, "models: {toy: {bundle: toy.zip, size: 256}}\n")
    with pytest.raises(BundleError, match=r"128 x 128 px and is asked for 256.*--size 256"):
        load_pipeline(path)


def test_a_missing_bundle_is_a_bundle_error_and_one_without_a_name_says_what_to_do(
    tmp_path: Path,
) -> None:
    with pytest.raises(BundleError, match=r"toy\.zip"):
        load_pipeline(write_text(tmp_path / "p.yaml"))
    path = write_text(tmp_path / "p.yaml", "models: {toy: {recipe: rsna-yolo}}\n")
    with pytest.raises(ConfigError, match=r"train recipe rsna-yolo .* --bundle toy=PATH"):
        load_pipeline(path)
    write_toy(tmp_path / "mine.zip")
    named = Pipeline.load(path).with_bundles({"toy": [tmp_path / "mine.zip"]})
    assert load_pipeline(named)(radiograph()).labels == ("opacity",)
    with pytest.raises(ConfigError, match="Did you mean 'toy'"):
        named.with_bundles({"tyo": [tmp_path / "mine.zip"]})
    with pytest.raises(ConfigError, match="takes one bundle, 2 came"):
        named.with_bundles({"toy": ["a.zip", "b.zip"]})


def test_boxes_below_the_operating_point_are_not_shown(tmp_path: Path) -> None:
    path = write_toy_pipeline(tmp_path, boxes=BOXES, logits=(2.0, -2.0))
    assert len(load_pipeline(path)(radiograph()).scores) == 1
    assert len(load_pipeline(path, threshold=0.06)(radiograph()).scores) == 2


def test_masks_stay_out_of_borders_and_shutters(tmp_path: Path) -> None:
    valid = np.zeros((100, 100), bool)
    valid[20:80, 20:80] = True
    dark = Radiograph(np.zeros((100, 100), np.float32), valid=valid)
    answer = load_pipeline(write_toy_pipeline(tmp_path))(dark)
    assert answer.masks["lungs"].any()
    assert not any((mask & ~valid).any() for mask in answer.masks.values())


def test_without_masks_the_boxes_are_the_same(tmp_path: Path) -> None:
    inside = "boxes: [{use: boxes, of: toy}, {use: inside-mask, part: 0.01}]\n"
    loaded = load_pipeline(write_toy_pipeline(tmp_path, inside, boxes=BOXES, logits=(2.0, 1.0)))
    whole, bare = loaded(radiograph()), loaded(radiograph(), masks=False)
    np.testing.assert_array_equal(whole.boxes_px, bare.boxes_px)
    assert set(whole.masks) == {"lungs", "opacity"}
    assert bare.masks == {}


def test_the_fingerprint_follows_content_not_places(tmp_path: Path) -> None:
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(write_toy_pipeline(tmp_path / name))
    a, b = (LoadedPipeline(Pipeline.load(path)) for path in paths)
    assert a.fingerprint == b.fingerprint
    assert a.fingerprint != load_pipeline(paths[0], threshold=0.5).fingerprint
    write_toy(paths[1].parent / "toy.zip", logits=(1.0,))
    assert a.fingerprint != LoadedPipeline(Pipeline.load(paths[1])).fingerprint


def test_a_loaded_pipeline_travels_as_its_description(tmp_path: Path) -> None:
    loaded = load_pipeline(write_toy_pipeline(tmp_path), threshold=0.1)
    sent = pickle.loads(pickle.dumps(loaded))  # noqa: S301  our own
    np.testing.assert_array_equal(sent(radiograph()).boxes_px, loaded(radiograph()).boxes_px)
    assert sent.fingerprint == loaded.fingerprint


def test_an_answer_never_raises_because_of_one_input(tmp_path: Path) -> None:
    loaded = hilum.load_pipeline(write_toy_pipeline(tmp_path, "gates: [not-blank]\n"))
    blank = Radiograph(np.full((100, 100), 0.5, np.float32))
    assert answer(loaded, radiograph()).status == "analysed"
    refused = answer(loaded, blank)
    assert (refused.status, refused.findings) == ("refused", None)


def test_the_header_is_asked_before_pixels_are_decoded(tmp_path: Path) -> None:
    class Stored:
        """A CT slice whose pixels nobody may touch."""

        source, modality, view, body_part, sop_class = "slice", "CT", None, None, None
        descriptions, own_result = (), False

        def radiograph(self, **_: object) -> Radiograph:
            raise AssertionError("decoded")

    loaded = load_pipeline(write_toy_pipeline(tmp_path))
    with pytest.raises(NotChestRadiographRefused):
        loaded(Stored())  # type: ignore[arg-type]
    bare = load_pipeline(write_toy_pipeline(tmp_path, "gates: []\n"))
    with pytest.raises(AssertionError, match="decoded"):
        bare(Stored())  # type: ignore[arg-type]


def test_findings_have_stable_ids_and_their_part_of_the_mask(tmp_path: Path) -> None:
    loaded = load_pipeline(write_toy_pipeline(tmp_path, boxes=BOXES, logits=(2.0, 1.0)))
    first, second = loaded(radiograph())
    again = loaded(radiograph())
    assert [one.id for one in again] == [first.id, second.id]
    assert first.id != second.id
    entry = ImageResult("a", "analysed", findings=again, width=160, height=128).to_json()
    assert [one["id"] for one in entry["findings"]] == [first.id, second.id]
    read = ImageResult.from_json(entry).findings
    assert read is not None
    assert read.ids == again.ids  # as far as findings.json rounds
    x1, y1, x2, y2 = first.box_px
    assert first.mask is not None
    assert first.mask.shape == (np.ceil(y2) - np.floor(y1), np.ceil(x2) - np.floor(x1))


def test_a_blank_or_tiny_image_is_refused() -> None:
    gates = [make("gates", StageSpec(use=use), "test") for use in ("not-blank", "minimum-size")]
    with pytest.raises(NotChestRadiographRefused, match="blank"):
        gates[0](Radiograph(np.full((100, 100), 0.5, np.float32)))
    with pytest.raises(NotChestRadiographRefused, match="20 x 100"):
        gates[1](Radiograph(np.zeros((100, 20), np.float32)))
    for gate in gates:
        gate(radiograph())


@pytest.mark.parametrize(("opacity", "refused"), [(0.2, True), (0.6, False)])
def test_the_gate_on_pixels_says_what_it_saw(tmp_path: Path, opacity: float, refused: bool) -> None:
    write_classifier(
        tmp_path / "gate.zip",
        opacity,
        global_classes=["other-body-part", "frontal-chest"],
        image_scores={"other-body-part": "other-body-part", "frontal-chest": "frontal-chest"},
        positive="frontal-chest",
        operating_points={"default": {"threshold": 0.5, "reason": "r", "score": "frontal-chest"}},
    )
    path = write_toy_pipeline(tmp_path, "gates: [{use: frontal-chest, bundle: gate.zip}]\n")
    loaded = load_pipeline(path)
    assert [name for name, _ in loaded.info.bundles] == ["toy", "gate"]
    if refused:
        with pytest.raises(NotChestRadiographRefused, match="looks like: other body part"):
            loaded(radiograph())
    else:
        assert len(loaded(radiograph()).scores) == 1
    with pytest.raises(ConfigError, match="unknown operating point 'sure'"):
        load_pipeline(
            write_toy_pipeline(
                tmp_path, "gates: [{use: frontal-chest, bundle: gate.zip, at: sure}]\n"
            )
        )


def test_every_registered_stage_exists() -> None:
    needed = {
        "boxes": {
            **{"boxes": {"of": "a"}, "times-image-score": {"of": "a"}},
            **{"classifier-check": {"of": "a", "at": 0.5}, "minimum-score": {"score": 0.5}},
            **{"minimum-area": {"part": 0.1}, "at-most": {"boxes": 3}},
            "calibrate": {"map": {"kind": "temperature", "temperature": 2}},
        },
        "masks": {"map": {"of": "a"}, "mean-maps": {"of": ["a", "b"]}},
        "scores": {
            **{"scores": {"of": "a"}, "mean-scores": {"of": ["a", "b"]}},
            "best-box": {"name": "opacity"},
        },
    }
    for kind, names in STAGES.items():
        for name in names:
            options = needed.get(kind, {}).get(name, {})
            assert make(kind, StageSpec(use=name, options=options), "test")


def findings(**scores: float) -> Findings:
    return Findings(
        width=9,
        height=9,
        boxes_px=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        labels=(),
        image_scores=scores,
    )


@pytest.mark.parametrize(
    ("study", "scores"),
    [
        ("max", {"opacity": 0.7, "normal": 0.2}),
        ("{use: max, least: []}", {"opacity": 0.7, "normal": 0.9}),
        ("mean", {"opacity": 0.4, "normal": 0.55}),
        ("noisy-or", {"opacity": 1 - 0.9 * 0.3, "normal": 1 - 0.1 * 0.8}),
    ],
)
def test_a_study_is_combined_from_its_analysed_images(
    tmp_path: Path, study: str, scores: dict[str, float]
) -> None:
    ids = Identifiers(study_instance_uid="1.2")
    images = [
        ImageResult("a", "analysed", findings=findings(opacity=0.1, normal=0.9), ids=ids),
        ImageResult("b", "refused", "x", ids=ids),
        ImageResult("c", "analysed", findings=findings(opacity=0.7, normal=0.2), ids=ids),
        ImageResult("d", "analysed", findings=findings(opacity=0.3, normal=0.6)),
    ]
    path = write_toy_pipeline(tmp_path, f"study: {study}\n")
    first, alone = LoadedPipeline(Pipeline.load(path)).combine(images)
    assert first.images == (0, 2)
    assert first.scores == pytest.approx(scores)
    assert (alone.study_instance_uid, alone.images) == (None, (3,))


def test_operating_points_and_calibration_stand_beside_the_scores(tmp_path: Path) -> None:
    points = {
        "default": {"threshold": 0.3, "reason": "best F1", "chosen_on": "validation"},
        "sure": {"threshold": 0.9, "reason": "r", "chosen_on": "c", "score": "opacity"},
    }
    maps = {
        "opacity": [{"kind": "temperature", "temperature": 2.0}],
        "study:opacity": [{"kind": "isotonic", "scores": [0, 1], "probabilities": [0, 0.5]}],
    }
    path = write_toy_pipeline(
        tmp_path,
        "thresholds: {boxes: default, images: [sure]}\n",
        operating_points=points,
        calibration={"scores": maps, "fitted_on": "a test"},
    )
    (image,) = run = hilum.predict(radiograph(), pipeline=path)
    p = np.exp(2) / (1 + np.e + np.exp(2))
    want = 1 / (1 + np.sqrt((1 - p) / p))
    assert image.findings.image_scores["opacity"] == pytest.approx(want, abs=1e-5)
    assert run.studies[0].scores["opacity"] == pytest.approx(want / 2, abs=1e-5)
    head = run.to_json()["pipeline"]
    assert head["calibrated_on"] == "a test"
    assert list(head["operating_points"]) == ["default", "sure"]
    assert head["operating_points"]["sure"]["threshold"] == 0.9


def test_a_fused_pipeline_has_its_own_calibration_and_operating_points(tmp_path: Path) -> None:
    for name in "ab":
        write_toy(tmp_path / f"{name}.zip")
    text = (
        "models: {a: {bundle: a.zip}, b: {bundle: b.zip}}\n"
        "masks: {}\nboxes: [{use: weighted-boxes, of: [a, b]}]\n"
        "scores: [{use: mean-scores, of: [a, b]}]\n"
    )
    with pytest.raises(ConfigError, match="were not chosen for all"):
        load_pipeline(write_text(tmp_path / "p.yaml", text))
    own = (
        "operating_points: {default: {threshold: 0.2, reason: best F1}}\n"
        "calibration: {fitted_on: own, scores: {box: [{kind: logistic, slope: 1, shift: -2}], "
        "'study:opacity': [{kind: isotonic, scores: [0, 1], probabilities: [0, 0.5]}]}}\n"
    )
    loaded = load_pipeline(write_text(tmp_path / "p.yaml", text + own))
    answer = loaded(radiograph())
    assert answer.scores == pytest.approx([0.5])  # logit 2 of both, shifted by -2
    assert loaded.info.operating_points["default"].threshold == 0.2
    assert loaded.info.calibrated_on == "own"
    result = ImageResult("a", "analysed", findings=answer)
    (study,) = loaded.combine([result])
    assert study.scores["opacity"] == pytest.approx(answer.image_scores["opacity"] / 2)
    of_one = write_text(tmp_path / "p.yaml", text + "thresholds: {boxes: b.default}\n")
    assert load_pipeline(of_one).threshold == 0.3


@pytest.mark.parametrize(
    "falling",
    [
        "{kind: isotonic, scores: [0.2, 0.8], probabilities: [0.9, 0.1]}",
        "{kind: isotonic, scores: [0.8, 0.2], probabilities: [0.1, 0.9]}",
        "{kind: logistic, slope: -1}",
        "{kind: temperature, temperature: -2}",
    ],
)
def test_a_calibration_map_that_falls_is_refused(tmp_path: Path, falling: str) -> None:
    for text in (
        f"calibration: {{scores: {{box: [{falling}]}}}}\n",
        f"boxes: [{{use: boxes, of: toy}}, {{use: calibrate, map: {falling}}}]\n",
        f"models: {{toy: {{bundle: t.zip, calibration: {{scores: {{box: [{falling}]}}}}}}}}\n",
    ):
        with pytest.raises(ConfigError):
            Pipeline.load(write_text(tmp_path / "p.yaml", text))


def test_the_default_pipeline_takes_what_another_bundle_has(tmp_path: Path) -> None:
    write_classifier(tmp_path / "cls.zip")
    write_segmenter(tmp_path / "seg.zip")
    chest = Radiograph(phantom(seed=5, width=320, height=320).pixels)  # noise would be refused
    scores = load_pipeline(Pipeline.load().with_bundle(tmp_path / "cls.zip"))
    result = scores(chest)
    assert (len(result.scores), result.masks) == (0, {})
    assert set(result.image_scores) == {"opacity", "normal"}
    masks = load_pipeline(Pipeline.load().with_bundle(tmp_path / "seg.zip"))(chest)
    assert set(masks.masks) == {"opacity", "lungs"}
    own = Pipeline.load().with_bundle("default")  # by the name it comes under
    assert own.models["chest"].bundle == "default"
