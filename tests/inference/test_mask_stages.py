"""Flows of masks, and models that are asked only if another one says so."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.toy import write_classifier, write_segmenter, write_text
from hilum.core.errors import ConfigError, ModelOutputError
from hilum.core.prediction import ProbabilityMap, sigmoid
from hilum.core.radiograph import Radiograph
from hilum.core.results import ImageResult
from hilum.dicom.discover import discover
from hilum.inference.answer import answer
from hilum.inference.folder import analyse
from hilum.inference.loaded import LoadedPipeline, load_pipeline
from hilum.inference.pipeline import Pipeline
from hilum.report.results import ResultFolder
from hilum.report.writers import parse

# The toy's mask is bright where the picture is: two squares of 40 and 12 px on 128.
PIXELS = np.zeros((128, 128), np.float32)
PIXELS[20:60, 20:60] = 1
PIXELS[100:112, 100:112] = 1
IMAGE = Radiograph(PIXELS)
DARK = {"masks": {"opacity": {"channel": 1}, "lungs": {"channel": 0}}}


def loaded(folder: Path, masks: str, models: str = "{seg: {bundle: seg.zip}}") -> LoadedPipeline:
    write_segmenter(folder / "seg.zip")
    text = f"models: {models}\nmasks: {masks}\nboxes: []\nscores: []\n"
    return load_pipeline(write_text(folder / "p.yaml", text))


def area(folder: Path, steps: str, image: Radiograph = IMAGE) -> int:
    findings = loaded(folder, f"{{opacity: [{{use: map, of: seg}}, {steps}]}}")(image)
    return int(findings.masks["opacity"].sum())


def test_a_threshold_of_the_text_goes_before_the_models_own(tmp_path: Path) -> None:
    own, sure = area(tmp_path, "threshold"), area(tmp_path, "{use: threshold, at: 0.999}")
    assert 0 < sure < own
    assert abs(own - 40**2 - 12**2) < 400  # cells of 4 px


def test_parts_are_removed_by_their_size_at_a_size(tmp_path: Path) -> None:
    whole = area(tmp_path, "threshold")
    # 128 px shown at 1024: a square of 12 px is about 96 x 96 = 9,216 px there.
    kept = area(tmp_path, "threshold, {use: remove-small, pixels: 12000, at: 1024}")
    assert 40**2 - 300 < kept < whole
    assert area(tmp_path, "threshold, {use: remove-small, pixels: 3500, at: 1024}") == whole
    assert area(tmp_path, "threshold, {use: remove-small, pixels: 3500, at: 128}") == 0


@pytest.mark.parametrize("times", [1, 3])
def test_a_size_means_the_same_in_a_larger_image(tmp_path: Path, times: int) -> None:
    large = Radiograph(np.kron(PIXELS, np.ones((times, times), np.float32)))
    kept = area(tmp_path, "threshold, {use: remove-small, pixels: 12000, at: 1024}", large)
    assert abs(kept / times**2 - 40**2) < 300


def test_a_triplet_needs_a_sure_core(tmp_path: Path) -> None:
    reach = area(tmp_path, "{use: threshold, at: 0.3}")
    steps = "{use: triplet, top: 0.75, min_pixels: %d, bottom: 0.3, at: 128}"
    assert area(tmp_path, steps % 100) == pytest.approx(reach, abs=2)
    assert area(tmp_path, steps % 3000) == 0


def test_the_mask_of_several_models_is_the_mean_of_maps_and_no_union(tmp_path: Path) -> None:
    """One model outlines what is bright, the other what is dark: a union would be everything."""
    write_segmenter(tmp_path / "dark.zip", **DARK)
    models = "{seg: {bundle: seg.zip}, dark: {bundle: dark.zip}}"
    bright, other = area(tmp_path, "threshold"), None
    for of, share in (("{seg: 2, dark: 1}", bright), ("{seg: 1, dark: 2}", 128**2 - bright)):
        flow = f"{{opacity: [{{use: mean-maps, of: {of}}}, {{use: threshold, at: 0.5}}]}}"
        mask = loaded(tmp_path, flow, models)(IMAGE).masks["opacity"]
        assert abs(int(mask.sum()) - share) < 600
        assert not mask.all()
        assert other is None or not (mask & other).any()
        other = mask


def test_maps_of_folds_are_averaged_before_the_threshold(tmp_path: Path) -> None:
    write_segmenter(tmp_path / "dark.zip", **DARK)
    models = "{seg: {bundles: [seg.zip, dark.zip], combine: mean-maps}}"
    pipeline = loaded(tmp_path, "{opacity: [{use: map, of: seg}, threshold]}", models)
    probability = pipeline.models["seg"](IMAGE).maps["opacity"].probabilities
    np.testing.assert_allclose(probability, 0.5, atol=1e-6)
    write_segmenter(tmp_path / "dark.zip", masks={"lungs": {"channel": 0}})
    with pytest.raises(ConfigError, match="differ in masks: lungs, opacity against lungs"):
        loaded(tmp_path, "{opacity: [{use: map, of: seg}, threshold]}", models)


def test_one_mask_may_be_cut_by_another(tmp_path: Path) -> None:
    flow = (
        "{lungs: [{use: map, of: seg}, threshold], "
        "opacity: [{use: map, of: seg}, {use: threshold, at: 0.001}, inside-mask]}"
    )
    masks = loaded(tmp_path, flow)(IMAGE).masks
    assert masks["opacity"].any()
    assert not (masks["opacity"] & ~masks["lungs"]).any()


@pytest.mark.parametrize(("opacity", "asked"), [(0.39, False), (0.41, True)])
def test_an_image_the_classifier_declines_has_an_empty_mask_and_says_so(
    tmp_path: Path, opacity: float, asked: bool
) -> None:
    write_segmenter(tmp_path / "seg.zip")
    write_classifier(tmp_path / "cls.zip", opacity)
    text = (
        "models:\n"
        "  seg: {bundle: seg.zip, when: {score: cls.opacity, at: best-mcc}}\n"
        "  cls: {bundle: cls.zip}\n"
        "masks: {opacity: [{use: map, of: seg}, triplet]}\nboxes: []\n"
        "scores: [{use: scores, of: cls}]\n"
    )
    text = text.replace("triplet", "{use: triplet, min_pixels: 10}")
    result = answer(load_pipeline(write_text(tmp_path / "p.yaml", text)), IMAGE)
    assert result.status == "analysed"
    assert result.findings is not None
    assert bool(result.findings.masks["opacity"].any()) == asked
    assert result.findings.image_scores["opacity"] == pytest.approx(opacity)
    reason = "not asked: cls.opacity 0.390 is below 0.400 (best-mcc)"
    assert result.to_json()["declined"] == ({} if asked else {"seg": reason})
    again = ImageResult.from_json(result.to_json())
    assert again.findings is not None
    assert again.findings.declined == result.findings.declined


def test_nothing_is_lost_between_probabilities_and_mask() -> None:
    """Maps are kept as logits, so sure cells stay apart and the outline stays smooth."""
    logits = np.linspace(-40, 40, 16, dtype=np.float32).reshape(4, 4)
    one = ProbabilityMap(logits, np.diag([0.5, 0.5, 1.0]), width=8, height=8)
    np.testing.assert_array_equal(one.probabilities, sigmoid(logits))
    np.testing.assert_array_equal(one.cut(0.5), one.at_source() >= 0.5)


def test_a_mask_that_cannot_be_made_fails_its_image_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks are made late; a boxes-only answer would look like a lung without findings."""
    write_segmenter(tmp_path / "seg.zip")
    text = "models: {seg: {bundle: seg.zip}}\nmasks: {opacity: [{use: map, of: seg}, threshold]}\n"
    pipeline = write_text(tmp_path / "p.yaml", text + "boxes: []\nscores: []\n")

    def broken(*_: object) -> None:
        raise ModelOutputError("seg: mask_logits holds NaN; no result is given")

    monkeypatch.setattr(LoadedPipeline, "_mask", broken)
    cv2.imwrite(str(tmp_path / "a.png"), (PIXELS * 200).astype(np.uint8))
    for write in ("picture,mask", "picture", ""):
        out = tmp_path / f"out-{write}"
        results = ResultFolder(out, parse(write))
        inputs = list(discover([tmp_path / "a.png"]))
        (image,) = analyse(inputs, Pipeline.load(pipeline), results).images
        assert image.status == "failed"
        assert "mask_logits holds NaN" in image.reason
        assert not [file for file in out.rglob("*") if file.suffix in (".png", ".jpg")]
