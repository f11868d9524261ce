"""What a header contradicts itself in is read in one way and said, or refused: never in silence."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from helpers.dicom_files import image, lut, stored
from hilum.core.errors import NotChestRadiographRefused
from hilum.core.radiograph import Radiograph
from hilum.dicom.gate import check_chest_header
from hilum.dicom.read import read
from hilum.dicom.stored import open_stored

PICTURE = stored((40, 50), bits=12)


def shown(**elements: Any) -> Radiograph:
    return read(image(PICTURE, 12, **elements))


def said(**elements: Any) -> str:
    return "; ".join(shown(**elements).decoding.warnings)


def coded(meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99TEST", meaning
    return Sequence([item])


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewCodeSequence": coded("left lateral")},
        {"ViewCodeSequence": coded("Lateral")},
        {"PatientOrientation": ["P", "F"]},
        {"PatientOrientation": ["A", "F"], "ViewPosition": ""},
        {"AnatomicRegionSequence": coded("Hand")},
    ],
)
def test_what_a_dx_image_says_in_codes_is_heard(elements: dict[str, Any]) -> None:
    data = image(PICTURE, 12, **elements)
    for one in (open_stored(data), read(data)):
        with pytest.raises(NotChestRadiographRefused, match="by its own header"):
            check_chest_header(one)


@pytest.mark.parametrize(
    ("meaning", "view"),
    [
        ("postero-anterior", "PA"),
        ("antero-posterior", "AP"),
        ("antero-posterior left lateral decubitus", None),
        ("left posterior oblique", None),
    ],
)
def test_coded_frontal_views_pass(meaning: str, view: str | None) -> None:
    got = shown(ViewCodeSequence=coded(meaning), AnatomicRegionSequence=coded("Chest"))
    assert (got.view, got.body_part) == (view, "CHEST")
    check_chest_header(got)


def test_a_frontal_view_outweighs_a_lateral_orientation_and_that_is_said() -> None:
    contradiction = {"PatientOrientation": ["A", "F"], "ViewPosition": "PA"}
    check_chest_header(shown(**contradiction))
    assert "as in a lateral view" in said(**contradiction)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (["L", "F"], ""),
        (["L", "FP"], ""),
        (["R", "F"], "mirrored"),
        (["R", "H"], "turned"),
        (["L", "H"], "turned"),
        (["H", "L"], "turned"),
        (["F", "R"], "turned"),
    ],
)
def test_an_image_that_lies_otherwise_is_told(runs: list[str], words: str) -> None:
    assert words in said(PatientOrientation=runs)
    assert bool(said(PatientOrientation=runs)) == bool(words)


@pytest.mark.parametrize(
    "elements",
    [{"PixelSpacing": [0.1, 0.2]}, {"PixelAspectRatio": ["1", "2"]}],
)
def test_pixels_that_are_no_squares_are_told(elements: dict[str, Any]) -> None:
    assert "squeezed" in said(**elements)
    assert not said(PixelSpacing=[0.143, 0.1431], PixelAspectRatio=["1", "1"])


def test_a_spacing_that_no_radiograph_has_is_not_used() -> None:
    got = shown(PixelSpacing=[0.000143, 0.000143], ImagerPixelSpacing=[0.143, 0.143])
    assert got.spacing_source == "ImagerPixelSpacing"
    assert "PixelSpacing is 0.000143 x 0.000143 mm" in got.decoding.warnings[0]


EDGES = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")


@pytest.mark.parametrize(
    "elements",
    [
        {"ShutterShape": "BITMAP"},
        {"ShutterShape": "CIRCULAR"},
        {
            "ShutterShape": "CIRCULAR",
            "CenterOfCircularShutter": [900, 900],
            "RadiusOfCircularShutter": 9,
        },
        *(
            {"ShutterShape": "RECTANGULAR"}
            | {f"Shutter{e}Edge": n for e, n in zip(EDGES, at, strict=True)}
            for at in ((45, 5, 1, 40), (5, 500, 5, 400))  # reversed; of a larger image
        ),
        {
            "ShutterShape": "POLYGONAL",
            "VerticesOfThePolygonalShutter": [9, 9, 9, 400, 300, 400, 300, 9],
        },
    ],
)
def test_a_shutter_that_cannot_be_hides_nothing_and_is_told(elements: dict[str, Any]) -> None:
    assert shown(**elements).valid is None
    assert "shutter" in said(**elements)


def test_polarity_said_in_one_place_only_inverts_once_and_is_told() -> None:
    plain = shown().pixels
    for photometric, shape in (("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "IDENTITY")):
        elements = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
        np.testing.assert_array_equal(shown(**elements).pixels, 1 - plain)
        assert "inverted" in said(**elements)
    for photometric, shape in (("MONOCHROME2", "IDENTITY"), ("MONOCHROME1", "INVERSE")):
        assert not said(PhotometricInterpretation=photometric, PresentationLUTShape=shape)


def test_two_modality_transformations_and_an_unknown_voi_function_are_told() -> None:
    table = lut(0, 12, np.arange(4096))
    assert "Modality LUT and a rescale" in said(ModalityLUTSequence=table, RescaleSlope="2")
    assert not said(ModalityLUTSequence=table, RescaleSlope="1", RescaleIntercept="0")
    window = {"WindowCenter": "2048", "WindowWidth": "4096"}
    assert "VOILUTFunction is SPLINE" in said(VOILUTFunction="SPLINE", **window)


def test_padding_that_covers_every_value_is_not_used_and_told() -> None:
    covered = {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}
    np.testing.assert_array_equal(shown(**covered).pixels, shown().pixels)
    assert "padding covers every value" in said(**covered)


def test_a_sign_that_tears_the_image_is_told() -> None:
    y, x = np.mgrid[:200, :200]
    smooth = (2048 + 900 * np.sin(x / 9) * np.sin(y / 7)).astype(np.uint16)  # as if of ribs
    wrong = read(image(smooth, 12, PixelRepresentation=1)).decoding.warnings
    assert any("tears the image" in text for text in wrong)
    assert read(image(smooth, 12)).decoding.warnings == ()
    signed = smooth.astype(np.int16) - 2048
    assert read(image(signed, 12, PixelRepresentation=1)).decoding.warnings == ()


@pytest.mark.parametrize(("spacing", "odd"), [(0.1, True), (0.7, False), (2.0, True)])
def test_no_detector_is_a_metre_wide_and_no_chest_a_thumb(spacing: float, odd: bool) -> None:
    pixels = stored((530, 540), 12)
    warnings = read(image(pixels, 12, PixelSpacing=[spacing, spacing])).decoding.warnings
    assert any("by its spacing" in text for text in warnings) == odd


def test_padding_and_shutters_that_hide_most_of_an_image_are_told() -> None:
    pixels = stored((64, 64), 12)
    pixels[:40] = 0
    told = read(image(pixels, 12, PixelPaddingValue=0)).decoding.warnings
    assert told == ("its padding and shutters are 62% of the image: left out",)
    circle = {"CenterOfCircularShutter": [9, 9], "RadiusOfCircularShutter": 5}
    assert "padding and shutters are" in said(ShutterShape="CIRCULAR", **circle)


def test_values_of_the_image_itself_are_no_padding() -> None:
    greys = {"PixelPaddingValue": 500, "PixelPaddingRangeLimit": 2500}
    np.testing.assert_array_equal(shown(**greys).pixels, shown().pixels)
    assert "lie amid the image: not used" in said(**greys)
    pixels = stored((64, 64), 12)
    pixels[:, :20] = 2000  # around it, of whatever value
    told = read(image(pixels, 12, PixelPaddingValue=2000))
    assert told.decoding.warnings == ()
    assert told.pixels[:, :20].max() == 0


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"RescaleSlope": "-1", "RescaleIntercept": "4095"}, "its rescaling or LUT falls"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw values of the detector"),
        (
            {"PresentationIntentType": "FOR PROCESSING", "PixelIntensityRelationshipSign": 1},
            "air is bright in it",
        ),
        (
            {"PixelSpacing": [0.3, 0.3], "ImagerPixelSpacing": [0.2, 0.2]},
            "larger than ImagerPixelSpacing",
        ),
    ],
)
def test_what_may_be_otherwise_than_it_looks_is_told(elements: dict[str, Any], words: str) -> None:
    assert words in said(**elements)


def test_nobody_is_999_years_old() -> None:
    assert shown(PatientAge="999Y").age_years is None
    assert shown(PatientAge="103Y").age_years == 103


def test_colour_in_an_image_is_told() -> None:
    grey = np.repeat(stored((40, 50))[..., None], 3, axis=2)
    arrow = grey.copy()
    arrow[10:20, 10:20] = (255, 0, 0)
    tinted = grey.astype(int) + np.array([4, -4, 2])
    for pixels, words in ((grey, ""), (tinted.clip(0, 255).astype("u1"), ""), (arrow, "in colour")):
        warnings = read(imagecodecs.png_encode(pixels)).decoding.warnings
        assert bool(warnings) == bool(words)
        assert words in "".join(warnings)


@pytest.mark.parametrize(
    ("description", "view", "told"),
    [
        ("Chest LAT", "", True),
        ("THORAX LATERAL", "PA", True),
        ("Chest PA/LAT", "PA", False),
        ("AP left lateral decubitus", "AP", False),
        ("Thorax p.a.", "", False),
        ("Chest LAT", "LL", False),
    ],
)
def test_a_series_described_as_lateral_is_told(description: str, view: str, told: bool) -> None:
    words = said(SeriesDescription=description, ViewPosition=view)
    assert ("described as lateral" in words) == told


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"ViewPosition": "PA", "ViewCodeSequence": coded("left lateral")}, "coded view LL"),
        ({"BodyPartExamined": "CHEST", "AnatomicRegionSequence": coded("Hand")}, "region HAND"),
        ({"PresentationLUTShape": "LIN OD"}, "LIN OD, which no image has"),
        ({"PixelPaddingRangeLimit": 9}, "a limit of padding and no padding value"),
        ({"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [1, 2]}, "the spacing is used"),
        ({"PixelSpacing": [0.2]}, "PixelSpacing is no two distances"),
        (
            {"VOILUTSequence": lut(0, 16, np.arange(4096))},
            "leaves all pixels between 0.00 and 0.06",
        ),
        ({"WindowCenter": 2048, "WindowWidth": 60000}, "leaves all pixels between 0.47 and 0.53"),
    ],
)
def test_what_two_elements_say_otherwise_or_one_cannot_say_is_told(
    elements: dict[str, Any], words: str
) -> None:
    assert words in said(**elements)


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": "PA", "ViewCodeSequence": coded("postero-anterior")},
        {"ViewPosition": "AP", "ViewCodeSequence": coded("frontal, of the ward")},
        {"BodyPartExamined": "CHEST", "AnatomicRegionSequence": coded("Thoracic structure")},
        {"PresentationLUTShape": "IDENTITY"},
        {"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [1, 1]},
        {"PixelPaddingValue": 5000, "PixelPaddingRangeLimit": 5001},
        {"WindowCenter": 2048, "WindowWidth": 9000},
    ],
)
def test_what_agrees_is_not_told(elements: dict[str, Any]) -> None:
    assert not said(**elements)


@pytest.mark.parametrize(
    "place", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]
)
def test_the_one_frame_of_an_enhanced_image_is_shown_as_its_groups_say(place: str) -> None:
    """PS3.3 C.7.6.16: windows, rescaling and spacing stand there, and nowhere else."""
    own = {"WindowCenter": 1000, "WindowWidth": 500, "RescaleSlope": -1, "RescaleIntercept": 4095}
    macros = {
        "FrameVOILUTSequence": ("WindowCenter", "WindowWidth"),
        "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    }
    groups = Dataset()
    for macro, keywords in macros.items():
        item = Dataset()
        for keyword in keywords:
            setattr(item, keyword, own[keyword])
        setattr(groups, macro, Sequence([item]))
    measures = Dataset()
    measures.PixelSpacing = [0.3, 0.3]
    groups.PixelMeasuresSequence = Sequence([measures])
    enhanced = shown(NumberOfFrames=1, **{place: Sequence([groups])})
    plain = shown(PixelSpacing=[0.3, 0.3], **own)
    assert plain.decoding.voi == enhanced.decoding.voi == "window 1000/500 linear"
    np.testing.assert_array_equal(enhanced.pixels, plain.pixels)
    assert enhanced.spacing_mm == plain.spacing_mm == (0.3, 0.3)
    outer = shown(NumberOfFrames=1, **{place: Sequence([groups])}, **{**own, "WindowCenter": 2000})
    assert outer.decoding.voi == "window 2000/500 linear"  # the image's own come first
