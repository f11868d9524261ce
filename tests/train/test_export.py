"""A run becomes a bundle that says what the network says, and what was settled on validation."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from helpers.phantom_set import catalog, small
from hilum.core.errors import ConfigError, ModelOutputError
from hilum.core.findings import Findings
from hilum.core.geometry import Letterbox
from hilum.core.manifest import Manifest, PreprocessingSpec
from hilum.data.phantom.phantom import phantom, write_png
from hilum.dicom.read import read
from hilum.evaluate.truth import ImageTruth, Size
from hilum.inference.decode import Decoder
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.inference.session import RawOutputs
from hilum.models.model import Targets
from hilum.models.opacity_net import OpacityNet
from hilum.models.options import OpacityNetOptions
from hilum.train.evaluation import HeldOut
from hilum.train.export.bundle import Choice, export, export_best
from hilum.train.export.int8 import to_int8
from hilum.train.export.licences import licences
from hilum.train.export.onnx import check_export, to_onnx
from hilum.train.export.settings import of_classes, of_scores, operating_points
from hilum.train.folder import RunFolder
from hilum.train.run import run
from hilum.train.samples import PreparedImage

SIZE = 64
BOX = np.array([[10, 10, 60, 60]], np.float32)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose last two epochs are kept."""
    recipe = small("train.keep_best=2", "train.watch=val_loss")
    return run(recipe, data, tmp_path_factory.mktemp("runs") / "run")


def predicts(bundle: Path, tmp_path: Path) -> Findings:
    write_png(phantom(3, 200, 160), tmp_path / "image.png")
    loaded = LoadedPipeline(Pipeline.load().with_bundle(bundle))
    findings = loaded(read(tmp_path / "image.png"))
    assert (findings.width, findings.height) == (200, 160)
    return findings


def test_a_run_becomes_a_bundle_that_predicts(finished: Path, tmp_path: Path) -> None:
    bundle = export(finished, tmp_path / "made.zip")
    manifest = bundle.manifest
    assert set(manifest.precisions) == {"fp32", "int8"}
    assert manifest.positive == "opacity"
    assert str(manifest.provenance.command).endswith("--data $HILUM_DATA")
    assert {"default", "sensitivity-95"} <= set(manifest.operating_points)
    assert manifest.operating_points["sensitivity-95"].score == "opacity"
    card = bundle.read("card.md").decode()
    assert "rsna-retinanet" in card
    assert "The positive score is `opacity`" in card
    assert "say little" in card  # four images
    result = predicts(tmp_path / "made.zip", tmp_path)
    assert set(result.image_scores) == {"normal", "not-normal", "opacity"}


def test_an_epoch_a_size_and_the_decoding_can_be_chosen(finished: Path, tmp_path: Path) -> None:
    choice = Choice(epoch=1, size=96, nms_iou=0.2, score_floor=0.1, int8=False)
    bundle = export(finished, tmp_path / "made", choice=choice)
    manifest = bundle.manifest
    assert manifest.preprocessing.size == 96
    assert (manifest.decoding.nms_iou, manifest.decoding.score_floor) == (0.2, 0.1)
    assert set(manifest.precisions) == {"fp32"}
    predicts(tmp_path / "made", tmp_path)
    with pytest.raises(ConfigError, match="it has 1, 2"):
        export(finished, tmp_path / "other.zip", choice=Choice(epoch=7))
    with pytest.raises(ConfigError, match="32"):
        export(finished, tmp_path / "other.zip", choice=Choice(size=100))


def test_the_best_kept_epochs_are_exported_best_first(finished: Path, tmp_path: Path) -> None:
    rows = pd.read_parquet(finished / "metrics.parquet").set_index("epoch")["val_loss"]
    made = export_best(finished, tmp_path / "best", count=2, choice=Choice(int8=False))
    want = [f"epoch-{int(epoch):03d}.zip" for epoch in rows.sort_values().index[:2]]
    assert [Path(one.path).name for one in made] == want
    assert made[0].sha256 != made[1].sha256
    with pytest.raises(ConfigError, match="has kept 2 epochs; needed: 3"):
        export_best(finished, tmp_path / "more", count=3)


def test_an_export_says_what_is_missing(data: Path, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run"):
        export(tmp_path, tmp_path / "made.zip")
    folder = tmp_path / "begun"
    folder.mkdir()
    for name in ("recipe.yaml", "data.json", "split.json"):
        (folder / name).write_bytes((finished / name).read_bytes())
    assert RunFolder.of(folder).recipe.name == "rsna-retinanet-seresnext101-small"
    with pytest.raises(ConfigError, match="not finished"):
        export(folder, tmp_path / "made.zip")


def test_the_graph_is_refused_where_it_differs_from_pytorch() -> None:
    """The tolerance is looked at: a network whose weights moved since is not its graph."""
    torch.manual_seed(3)
    options = OpacityNetOptions(
        encoder="test_efficientnet", pretrained=False, channels=8, dropout=0.5
    )
    net = OpacityNet(options, SIZE, Targets(findings=("a", "b"))).eval()
    images = np.random.default_rng(0).normal(0, 0.5, (4, 1, SIZE, SIZE)).astype(np.float32)
    graph = to_onnx(net, SIZE)
    assert check_export(net, graph, images) <= 1e-4
    assert b"/site-packages/" not in graph
    assert str(Path(__file__).parents[2]).encode() not in graph  # no path of this machine
    before = logging.getLogger().level
    assert len(to_int8(graph, images)) < len(graph)
    assert logging.getLogger().level == before  # what comes after is still logged
    head = net.mask_head[-1]
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None
    with torch.no_grad():
        head.bias += 3e-4
    with pytest.raises(ModelOutputError, match="differs from PyTorch by 3"):
        check_export(net, graph, images)
    assert check_export(net, graph, images, tolerance=1e-3) <= 1e-3


MANIFEST = Manifest.model_construct(
    preprocessing=PreprocessingSpec(size=64),
    anchors=None,
    labels=("opacity",),
    global_classes=("normal", "not-normal", "opacity"),
    calibration=None,
    image_scores={name: name for name in ("normal", "not-normal", "opacity")},
    positive="opacity",
    findings=(),
)


def answered(count: int, seed: int) -> tuple[HeldOut, list[Findings]]:
    """Images of three kinds, and answers that are twice too sure and lean to opacity."""
    rng = np.random.default_rng(seed)
    held_out, result = HeldOut(), []
    for i in range(count):
        logit = rng.normal(-1, 1.5)
        ill = bool(rng.random() < 1 / (1 + np.exp(-logit)))
        score = float(1 / (1 + np.exp(-(2 * logit + 1))))
        boxes = BOX if ill else np.zeros((0, 4), np.float32)
        normal = float(not ill and i % 2 == 0)
        nothing = np.zeros(0, np.float32)
        frame = Letterbox(80, 80, 64)
        blank = np.zeros((8, 8), np.float16)
        held_out.images.append(
            PreparedImage(f"i{i}", "s", "s", f"p{i}", blank, frame, None, {}, nothing, nothing)
        )
        held_out.truths.append(
            ImageTruth(
                image_id=f"i{i}",
                patient=f"p{i}",
                size=Size.of(80, 80),
                boxes_px=boxes.astype(float),
                box_labels=("opacity",) * len(boxes),
                image_labels={
                    "opacity": float(ill),
                    "normal": normal,
                    "not-normal": 1 - normal - float(ill),
                },
            )
        )
        rest = (1 - score) / 2
        result.append(
            Findings(
                width=80,
                height=80,
                boxes_px=BOX,
                scores=np.array([score], np.float32),
                labels=("opacity",),
                image_scores={"opacity": score, "normal": rest, "not-normal": rest},
            )
        )
    return held_out, result


def test_operating_points_reach_their_aims_where_they_were_chosen() -> None:
    held_out, result = answered(300, 0)
    score = np.array([one.image_scores["opacity"] for one in result])
    ill = np.array([truth.image_labels["opacity"] == 1 for truth in held_out.truths])
    points = operating_points(held_out, result, MANIFEST)
    assert points["default"].score == points["rsna-score"].score == "box"
    for name in ("sensitivity-95", "conformal-sensitivity-90"):
        assert points[name].score == "opacity"
    assert (score[ill] >= points["sensitivity-95"].threshold).mean() >= 0.95
    assert (score[~ill] >= points["false-positives-10"].threshold).mean() <= 0.10
    assert "exchangeable" in points["conformal-sensitivity-90"].assumes
    assert points["one-false-box"].achieved["fp_per_image"] <= 1


def test_box_scores_and_classes_are_calibrated_each_in_its_way() -> None:
    """Boxes by a map of their own, exclusive classes on their logits: they stay a sum of 1."""
    held_out, result = answered(1500, 0)
    raw = [
        RawOutputs(
            global_logits=np.log([one.image_scores[n] for n in MANIFEST.global_classes]).astype("f")
        )
        for one in result
    ]
    classes = of_classes(held_out, raw, MANIFEST)
    assert classes is not None
    whole = of_scores(held_out, result, MANIFEST.model_copy(update={"calibration": classes}))
    assert whole is not None
    assert set(whole.scores) == {"box"}
    assert whole.global_temperature == classes.global_temperature > 1.3  # they were twice too sure
    decoder = Decoder(MANIFEST.model_copy(update={"calibration": whole, "labels": ()}))
    scores = [decoder.image_scores(decoder.probabilities(one)) for one in raw]
    assert [sum(one.values()) for one in scores] == pytest.approx([1.0] * 1500, abs=1e-5)
    ill = np.mean([truth.image_labels["opacity"] for truth in held_out.truths])
    before = abs(np.mean([one.image_scores["opacity"] for one in result]) - ill)
    assert abs(np.mean([one["opacity"] for one in scores]) - ill) < before / 2


def test_classes_of_which_nobody_knows_anything_stay_as_they_are() -> None:
    held_out, _ = answered(4, 0)
    blank = [replace(truth, image_labels={}, boxes_px=None) for truth in held_out.truths]
    raw = [RawOutputs(global_logits=np.zeros(3, np.float32))] * 4
    assert of_classes(replace(held_out, truths=blank), raw, MANIFEST) is None
    assert of_classes(held_out, [RawOutputs()] * 4, MANIFEST) is None


def test_a_network_that_finds_nothing_has_a_point_that_says_so() -> None:
    held_out, result = answered(60, 0)
    none = np.zeros((0, 4), np.float32)
    blind = [
        Findings(80, 80, none, none[:, 0], (), image_scores=one.image_scores) for one in result
    ]
    points = operating_points(held_out, blind, MANIFEST)
    assert points["default"].reason.startswith("not chosen")
    assert points["best-f1"].reason.startswith("best")


def test_several_positive_classes_are_one_score_of_the_bundle(tmp_path: Path) -> None:
    """The study head's: typical, indeterminate and atypical against negative."""
    catalog(tmp_path, "own", 24)
    recipe = small(
        "model={kind: classifier, encoder: test_efficientnet, pretrained: false}",
        "targets={masks: [], labels: [], classes: [normal, not-normal, opacity]}",
        "targets.positive=[not-normal, opacity]",
        "train={epochs: 1, watch: auc}",
    )
    folder = run(recipe, tmp_path / "own.parquet", tmp_path / "run")
    manifest = export(folder, tmp_path / "made.zip", choice=Choice(int8=False)).manifest
    assert manifest.positive == "positive"
    assert str(manifest.provenance.command).endswith("--data CATALOG.parquet")
    assert manifest.image_scores["positive"] == ("not-normal", "opacity")
    assert manifest.operating_points["sensitivity-95"].score == "positive"
    scores = predicts(tmp_path / "made.zip", tmp_path).image_scores
    assert set(scores) == {"normal", "not-normal", "opacity", "positive"}


def test_a_sweeps_variants_stand_on_the_card(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    folder.mkdir()
    row = {"variant": "no-head", "runs": 3, "value": 0.2, "low": 0.1, "high": 0.3}
    pd.DataFrame([row]).to_csv(folder / "sweep.csv", index=False)
    (folder / "sweep.json").write_text('{"metric": "ap50"}')
    bundle = export(finished, tmp_path / "made", choice=Choice(int8=False, sweep=folder))
    assert "| no-head | 3 | 0.200 (0.100–0.300) |" in bundle.read("card.md").decode()


def test_a_bundle_names_what_its_encoder_learnt_from(tmp_path: Path) -> None:
    """Two runs back, too; what was only held out is no training data."""

    def begun(name: str, pretrained: object, **train: int) -> RunFolder:
        recipe = small(f"model.pretrained={pretrained}")
        folder = RunFolder(tmp_path / name, recipe)
        folder.path.mkdir()
        (folder.path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
        sources = {key: {"set": key, "train": images} for key, images in train.items()}
        if "own" in sources:  # as its catalog states it
            sources["own"]["licence"] = "CC BY 4.0"
        (folder.path / "data.json").write_text(json.dumps({"sources": sources}))
        return folder

    begun("first", "true", nih=9)
    begun("second", tmp_path / "first", rsna_128=5, covid_opacity_512=0)
    known = licences(begun("third", tmp_path / "second", own=3, nih=0))
    before = "training of the weights it began with"
    uses = {one.name: one.use for one in known}
    package = uses.pop("the encoder's package")
    assert uses == {"own": "training", "nih": before, "rsna_128": before}
    (own,) = (one.licence for one in known if one.name == "own")
    assert own == "CC BY 4.0"
    assert package == "pretrained encoder (ImageNet) of the weights it began with"


def test_a_bundle_begun_from_a_bundle_names_its_data(tmp_path: Path) -> None:
    recipe = small("train.start=default")
    folder = RunFolder(tmp_path / "run", recipe)
    folder.path.mkdir()
    (folder.path / "data.json").write_text(json.dumps({"sources": {"a": {"set": "a", "train": 1}}}))
    uses = {one.name: one.use for one in licences(folder)}
    assert uses["a"] == "training"
    assert uses["siim_covid_256"] == "training of the weights it began with"
    assert "covid_opacity_512" not in uses  # was only evaluated on


def test_int8_alone_ships_as_what_runs(finished: Path, tmp_path: Path) -> None:
    bundle = export(finished, tmp_path / "small", choice=Choice(fp32=False))
    assert dict(bundle.manifest.precisions) == {"int8": "model.int8.onnx"}
    assert bundle.manifest.default_precision == "int8"
    assert not (tmp_path / "small" / "model.onnx").exists()
    assert "(fp32)" in bundle.read("card.md").decode()  # what eight bits cost is still said
    predicts(tmp_path / "small", tmp_path)
    with pytest.raises(ConfigError, match="neither fp32 nor int8"):
        Choice(fp32=False, int8=False)
