"""The shipped model does the main job, through the shipped pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hilum
from hilum.core.bundle import default_bundle
from hilum.core.radiograph import Radiograph
from hilum.data.phantom.phantom import phantom
from hilum.evaluate.metrics.masks import dice

data_store = pytest.importorskip("data_store", reason="pydicom-data is not installed")
IMAGES = Path(data_store.__file__).parent / "data"


def test_the_bundle_is_small_whole_and_says_what_it_is() -> None:
    bundle = default_bundle()
    size = sum(len(bundle.read(name)) for name in bundle.manifest.files)
    assert size <= 25 * 2**20
    card = bundle.read("card.md").decode()
    for word in ("Research use only", "95 %", "No patient is in two parts", "Shortcuts", "licence"):
        assert word in card
    assert bundle.manifest.data_licences
    assert bundle.manifest.figures
    figures = bundle.manifest.figures.values()
    assert all(f.low <= f.value <= f.high for f in figures if f.low is not None)
    assert bundle.manifest.figures["test, siim_covid_256 (int8): ap50"].low > 0.35


def test_one_image_in_two_transfer_syntaxes_has_the_same_findings() -> None:
    plain, packed = hilum.predict([IMAGES / "RG1_UNCR.dcm", IMAGES / "RG1_J2KR.dcm"])
    assert plain.status == packed.status == "analysed"
    for key in ("findings", "scores", "width", "height"):
        assert plain.to_json()[key] == packed.to_json()[key]
    for name, mask in plain.findings.masks.items():
        np.testing.assert_array_equal(mask, packed.findings.masks[name])
    assert len(plain.findings.boxes_px)  # this image shows rounded opacities in both lungs


@pytest.mark.parametrize(
    ("precision", "scores", "boxes", "opacity", "shares"),
    [
        (
            "fp32",
            [0.5946, 0.2791],
            [[124.0, 504.7, 741.8, 1514.1], [1103.4, 544.8, 1675.1, 1449.1]],
            0.9903,
            {"lungs": 0.3451, "opacity": 0.2977},
        ),
        (
            "int8",
            [0.6108, 0.2902],
            [[119.3, 497.0, 746.0, 1518.4], [1106.7, 541.8, 1678.3, 1450.4]],
            0.9901,
            {"lungs": 0.3450, "opacity": 0.3179},
        ),
    ],
)
def test_golden_answers_to_rg1_on_every_processor(
    precision: str,
    scores: list[float],
    boxes: list[list[float]],
    opacity: float,
    shares: dict[str, float],
) -> None:
    """What the card's bundle answered, with and without VNNI. A new bundle has new figures here."""
    (answer,) = hilum.predict(IMAGES / "RG1_UNCR.dcm", precision=precision)
    found = answer.findings
    assert found.image_scores["opacity"] == pytest.approx(opacity, abs=2e-3)
    np.testing.assert_allclose(found.scores, scores, atol=2e-3)
    np.testing.assert_allclose(found.boxes_px, boxes, atol=1.0)
    assert {name: mask.mean() for name, mask in found.masks.items()} == pytest.approx(
        shares, abs=2e-3
    )


@pytest.mark.parametrize(("width", "height"), [(640, 640), (800, 500), (520, 760)])
def test_lungs_of_a_phantom_are_outlined_where_they_are(width: int, height: int) -> None:
    findings = phantom(seed=5, width=width, height=height, opacities=1)
    (answer,) = hilum.predict(Radiograph(findings.pixels))
    assert answer.status == "analysed"
    assert dice(answer.findings.masks["lungs"], findings.masks["lungs"]) > 0.85


def test_opacities_raise_the_score_and_the_mask_finds_them() -> None:
    scores, hits = {0: [], 2: []}, []
    for seed in range(4):
        for count, values in scores.items():
            findings = phantom(seed=seed, width=560, height=560, opacities=count)
            (answer,) = hilum.predict(Radiograph(findings.pixels))
            values.append(answer.findings.image_scores["opacity"])
            if count:
                mask = answer.findings.masks["opacity"]
                hits.append(
                    mask[findings.masks["opacity"]].mean() - mask[~findings.masks["opacity"]].mean()
                )
    assert np.mean(scores[2]) > np.mean(scores[0])
    assert np.mean(hits) > 0.3


def test_the_same_input_gives_the_same_output_and_int8_stays_near_fp32() -> None:
    findings = Radiograph(phantom(seed=1, width=512, height=512, opacities=2).pixels)
    (one,) = hilum.predict(findings)
    (two,) = hilum.predict(findings)
    np.testing.assert_array_equal(one.findings.boxes_px, two.findings.boxes_px)
    np.testing.assert_array_equal(one.findings.scores, two.findings.scores)
    (full,) = hilum.predict(findings, precision="fp32")
    (small,) = hilum.predict(findings, precision="int8")
    for name, value in full.findings.image_scores.items():
        assert small.findings.image_scores[name] == pytest.approx(value, abs=0.1)
    assert dice(full.findings.masks["lungs"], small.findings.masks["lungs"]) > 0.95


def test_what_is_no_chest_radiograph_is_refused_and_never_called_normal() -> None:
    blank = Radiograph(np.full((300, 300), 0.5, np.float32), source="blank")
    ct, limb, empty = hilum.predict([IMAGES / "693_UNCR.dcm", IMAGES / "RG3_UNCR.dcm", blank])
    for image in (ct, limb, empty):
        assert image.status == "refused"
        assert image.findings is None
        assert image.to_json()["scores"] == {}
        assert image.reason
