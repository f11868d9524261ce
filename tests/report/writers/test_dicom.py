"""Results as DICOM objects: read back, they say what the result says, in the right study."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom import uid as uids
from pydicom.dataset import Dataset

from helpers.dicom_files import image, lut, stored
from hilum.core.errors import ConfigError, InputRefused, NotWritten
from hilum.core.findings import Findings
from hilum.core.manifest import OperatingPoint
from hilum.core.results import ImageResult, PipelineInfo
from hilum.dicom.analysed import Analysed
from hilum.dicom.gate import check_chest_header
from hilum.dicom.stored import StoredImage, open_stored
from hilum.report.writers import make
from hilum.report.writers.dicom import KINDS, dicom_objects, to_bytes

pytest.importorskip("highdicom")

WHEN = datetime(2025, 1, 2, 3, 4, 5)
PIPELINE = PipelineInfo(
    name="default",
    version="1",
    bundles=(("opacity-net", "9f" * 32),),
    operating_points={"default": OperatingPoint(threshold=0.42, reason="best F1")},
    calibrated_on="phantoms",
)
IDS = {
    "SOPInstanceUID": "1.2.3.4",
    "PatientName": "Doe^Jane",
    "PatientID": "p1",
    "PatientBirthDate": "19500607",
    "PatientSex": "F",
    "StudyDate": "20250101",
    "StudyTime": "101112",
    "StudyID": "7",
    "AccessionNumber": "A7",
    "PatientOrientation": ["L", "F"],
}
GREY = stored((60, 50))
DEEP = stored((60, 50), 12)


def cr(pixels: Any = GREY, bits: int = 8, **elements: Any) -> StoredImage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some hold what should not be
        return open_stored(("cr.dcm", image(pixels, bits, **(IDS | elements))))


SOURCES = {
    "plain": lambda: cr(),
    "monochrome1": lambda: cr(
        DEEP, 12, PhotometricInterpretation="MONOCHROME1", WindowCenter="2000", WindowWidth="3000"
    ),
    "jpeg-2000": lambda: cr(DEEP, 12, syntax=uids.JPEG2000),
    "zero-spacing": lambda: cr(PixelSpacing=["0.000", "0.000"]),
    "spaced": lambda: cr(PixelSpacing=["0.2", "0.4"]),
    "no-orientation": lambda: cr(PatientOrientation=""),
    "luts": lambda: cr(
        ModalityLUTSequence=lut(0, 16, np.arange(256) * 257),
        VOILUTSequence=lut(0, 12, np.linspace(0, 4095, 65536)),
    ),
}


def result(source: StoredImage, found: bool = True) -> ImageResult:
    shape = source.radiograph().pixels.shape
    opacity, lungs = np.zeros(shape, bool), np.zeros(shape, bool)
    lungs[10:40, 5:45] = True
    opacity[12:20, 8:21] = found
    boxes = np.array([[8, 12, 21.25, 20.5], [30, 15, 50, 60]], np.float32)[: 2 * found]
    findings = Findings(
        width=shape[1],
        height=shape[0],
        boxes_px=boxes.reshape(-1, 4),
        scores=np.array([0.87, 0.55][: len(boxes)], np.float32),
        labels=("opacity", "pneumothorax")[: len(boxes)],
        image_scores={"opacity": 0.93, "normal": 0.02, "typical appearance": 0.5},
        masks={"opacity": opacity, "lungs": lungs},
    )
    return ImageResult(source.source, "analysed", findings=findings, ids=source.ids)


def analysed(
    source: StoredImage, answer: ImageResult | None = None, pipeline: PipelineInfo = PIPELINE
) -> Analysed:
    return Analysed(
        stored=source,
        radiograph=source.radiograph(),
        result=answer or result(source),
        pipeline=pipeline,
    )


def write(source: StoredImage, *kinds: str, found: bool = True) -> dict[str, Dataset]:
    """The objects as an archive would read them."""
    objects = dicom_objects(analysed(source, result(source, found)), kinds or KINDS, WHEN)
    return {kind: dcmread(BytesIO(to_bytes(ds))) for kind, ds in objects.items()}


def nodes(ds: Dataset) -> Iterator[Dataset]:
    """All content items of a report, depth first."""
    for item in ds.get("ContentSequence", ()):
        yield item
        yield from nodes(item)


def named(ds: Dataset, value: str) -> list[Dataset]:
    items = (item for item in nodes(ds) if "ConceptNameCodeSequence" in item)
    return [item for item in items if item.ConceptNameCodeSequence[0].CodeValue == value]


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_stands_in_a_new_series_of_its_patient_and_study(kind: str) -> None:
    ds = write(cr(), kind)[kind]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        assert ds[keyword].value == IDS[keyword]
    for keyword in ("StudyDate", "StudyTime", "StudyID", "AccessionNumber"):
        assert ds[keyword].value == IDS[keyword]
    assert ds.StudyInstanceUID == "1.2.3"
    assert ds.SeriesInstanceUID not in ("1.2.3.1", ds.SOPInstanceUID)
    assert ds.SeriesInstanceUID.is_valid
    assert ds.SOPInstanceUID.is_valid
    assert "1.2.3.4" in str(ds)  # refers to its source
    assert "not for diagnosis" in ds.SeriesDescription


@pytest.mark.parametrize("kind", ["sr", "sr-comprehensive"])
@pytest.mark.parametrize("name", ["plain", "monochrome1", "jpeg-2000"])
def test_the_report_has_the_boxes_of_the_result(kind: str, name: str) -> None:
    source = SOURCES[name]()
    ds = write(source, kind)[kind]
    regions = [item for item in named(ds, "111030") if item.ValueType == "SCOORD"]
    expected = result(source).findings
    assert expected is not None
    assert len(regions) == 2
    for region, box in zip(regions, expected.boxes_px, strict=True):
        points = np.array(region.GraphicData).reshape(5, 2)
        assert region.GraphicType == "POLYLINE"
        assert np.array_equal(points[0], points[-1])
        assert [*points.min(0), *points.max(0)] == box.tolist()
        assert region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == (
            "1.2.3.4"
        )
    children = [item.ContentSequence[0] for item in named(ds, "111012")]
    inferred = [item for item in children if item.RelationshipType == "INFERRED FROM"]
    assert [list(i.GraphicData) for i in inferred] == [list(r.GraphicData) for r in regions]


def test_the_report_says_who_found_what_and_how_surely() -> None:
    ds = write(cr(), "sr")["sr"]
    assert ds.SOPClassUID == uids.Comprehensive3DSRStorage
    assert (ds.PreliminaryFlag, ds.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert ds.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    outcome = [item.ConceptCodeSequence[0].CodeValue for item in named(ds, "121071")]
    assert outcome[:2] == ["128305008", "36118008"]  # opacity, pneumothorax (SNOMED CT)
    assert all(item.RelationshipType == "HAS CONCEPT MOD" for item in named(ds, "121071")[2:])
    sure = [float(item.MeasuredValueSequence[0].NumericValue) for item in named(ds, "111012")]
    assert sure == pytest.approx([87, 55, 93, 2, 50], abs=1e-3)  # boxes, then image scores
    assert {item.TextValue for item in named(ds, "111001")} == {"opacity-net"}
    assert {item.TextValue for item in named(ds, "111003")} == {"9f" * 32}
    trackers = [item.UID for item in named(ds, "112040")]
    assert len(set(trackers)) == len(trackers) == 2
    assert named(ds, "130400")[0].ConceptCodeSequence[0].CodeMeaning == "Bounded by"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_found_is_never_called_normal(kind: str) -> None:
    text = str(write(cr(), kind, found=False)[kind])
    assert "normal" not in text.lower().replace("abnormal", "")
    if kind.startswith(("sr", "gsps")):
        assert "No target finding above the threshold" in text


@pytest.mark.parametrize("kind", ["sr", "gsps"])
def test_what_is_outlined_without_a_box_is_not_said_to_be_absent(kind: str) -> None:
    """All that a segmenter finds."""
    source, said = cr(), result(cr())
    assert said.findings is not None
    outlined = replace(said, findings=said.findings.above(2.0))
    objects = dicom_objects(analysed(source, outlined), (kind,), WHEN)
    assert "No target finding above" not in str(objects[kind])
    if kind == "sr":
        comments = [item.TextValue for item in named(objects[kind], "121106")]
        assert "1 target finding above the threshold." in comments


@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize("name", SOURCES)
def test_segments_are_the_masks_bit_by_bit(name: str, found: bool) -> None:
    source = SOURCES[name]()
    ds = write(source, "seg", found=found)["seg"]
    expected = result(source, found).findings
    assert expected is not None
    assert (ds.SegmentationType, ds.Rows, ds.Columns) == ("BINARY", 60, 50)
    for number, mask in enumerate(expected.masks.values()):
        assert np.array_equal(ds.pixel_array[number], mask)
    labels = [segment.SegmentLabel for segment in ds.SegmentSequence]
    assert labels == ["Lung opacity", "Lungs"]
    reference = ds.ReferencedSeriesSequence[0]
    assert reference.SeriesInstanceUID == "1.2.3.1"
    algorithm = ds.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("opacity-net", "9f" * 32)


def test_no_spacing_is_invented() -> None:
    def spacing(**elements: Any) -> Any:
        shared = write(cr(**elements), "seg")["seg"].SharedFunctionalGroupsSequence[0]
        measures = shared.get("PixelMeasuresSequence")
        return measures and [float(mm) for mm in measures[0].PixelSpacing]

    assert spacing() is None
    assert spacing(PixelSpacing=["0.000", "0.000"]) is None
    assert spacing(ImagerPixelSpacing=["0.2", "0.2"]) is None  # at the detector, not the patient
    assert spacing(PixelSpacing=["0.2", "0.4"]) == [0.2, 0.4]


def test_a_segmentation_lies_on_the_grid_of_its_source() -> None:
    ds = write(cr(), "seg")["seg"]
    plane = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    assert list(plane.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    assert list(ds.PatientOrientation) == ["L", "F"]
    assert "FrameOfReferenceUID" not in ds


def test_a_presentation_state_shows_the_grey_scale_that_was_analysed() -> None:
    plain = write(cr(), "gsps")["gsps"]
    assert plain.PresentationLUTShape == "IDENTITY"
    assert "SoftcopyVOILUTSequence" not in plain
    windowed = write(SOURCES["monochrome1"](), "gsps")["gsps"]
    assert windowed.PresentationLUTShape == "INVERSE"
    voi = windowed.SoftcopyVOILUTSequence[0]
    assert (voi.WindowCenter, voi.WindowWidth) == (2000, 3000)
    tables = write(SOURCES["luts"](), "gsps")["gsps"]
    table = tables.ModalityLUTSequence[0]
    assert list(table.LUTDescriptor) == [256, 0, 16]
    assert np.array_equal(np.frombuffer(table.LUTData, "<u2"), np.arange(256) * 257)
    table = tables.SoftcopyVOILUTSequence[0].VOILUTSequence[0]
    assert np.frombuffer(table.LUTData, "<u2")[[0, -1]].tolist() == [0, 65535]


def test_a_presentation_state_has_the_boxes_and_their_scores() -> None:
    annotation = write(cr(), "gsps")["gsps"].GraphicAnnotationSequence[0]
    shapes = [np.reshape(g.GraphicData, (5, 2)) for g in annotation.GraphicObjectSequence]
    assert [[*s.min(0), *s.max(0)] for s in shapes] == [[8, 12, 21.25, 20.5], [30, 15, 50, 60]]
    assert {g.GraphicAnnotationUnits for g in annotation.GraphicObjectSequence} == {"PIXEL"}
    texts = [text.UnformattedTextValue for text in annotation.TextObjectSequence]
    assert texts == ["Lung opacity 0.87", "Pneumothorax 0.55", "AI result, not for diagnosis"]


def test_pixels_that_are_not_square_stay_so() -> None:
    area = write(SOURCES["spaced"](), "gsps")["gsps"].DisplayedAreaSelectionSequence[0]
    assert list(area.PresentationPixelAspectRatio) == [500, 1000]
    assert list(area.DisplayedAreaBottomRightHandCorner) == [50, 60]


def test_boxes_are_burned_in_where_they_belong() -> None:
    ds = write(cr(), "sc")["sc"]
    picture = ds.pixel_array
    scale = picture.shape[1] / 50  # the strip with the notice is below
    assert picture.shape[0] > 60 * scale
    amber = (picture[..., 0] > 200) & (picture[..., 1] > 130) & (picture[..., 2] < 60)
    amber = amber[: round(60 * scale)]
    rows, columns = np.nonzero(amber[round(16 * scale) :])  # below the tag: sides and bottom
    edges = [columns.min(), columns.max() + 1]
    assert edges == pytest.approx([8 * scale, 21.25 * scale], abs=4)
    assert rows.max() + 16 * scale == pytest.approx(20.5 * scale, abs=4)


def test_the_secondary_capture_carries_no_measure() -> None:
    ds = write(SOURCES["spaced"](), "sc")["sc"]
    assert "PixelSpacing" not in ds  # the picture is scaled
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"


@pytest.mark.parametrize("kind", ["seg", "sc"])
def test_once_lossy_is_lossy_for_ever(kind: str) -> None:
    answer = cr(LossyImageCompression="01", LossyImageCompressionRatio="10")
    coded = cr(syntax=uids.JPEGBaseline8Bit)
    for source in (answer, coded):
        assert write(source, kind)[kind].LossyImageCompression == "01"
    assert write(cr(), kind)[kind].get("LossyImageCompression", "00") == "00"


@pytest.mark.parametrize("kind", KINDS)
def test_a_retry_gives_the_same_bytes(kind: str) -> None:
    def once() -> bytes:
        return to_bytes(dicom_objects(analysed(cr()), [kind], WHEN)[kind])

    assert once() == once()


def test_identifiers_follow_from_source_pipeline_and_kind() -> None:
    source = cr()

    def uid(source: StoredImage, kind: str = "gsps", pipeline: PipelineInfo = PIPELINE) -> str:
        outcome = dicom_objects(analysed(source, pipeline=pipeline), [kind])
        return str(outcome[kind].SOPInstanceUID)

    moved = {"default": OperatingPoint(threshold=0.5, reason="given")}
    others = {
        uid(source),
        uid(source, "seg"),
        uid(cr(SOPInstanceUID="1.2.3.5")),
        uid(cr(GREY[::-1])),  # two contents of one UID
        uid(cr(PatientID="p2")),
        uid(source, pipeline=replace(PIPELINE, bundles=(("opacity-net", "00" * 32),))),
        uid(source, pipeline=replace(PIPELINE, operating_points=moved)),
    }
    assert len(others) == 7
    assert uid(source) == uid(cr())


@pytest.mark.parametrize("kind", KINDS)
def test_own_results_are_known_and_never_analysed(kind: str) -> None:
    outcome = dicom_objects(analysed(cr()), [kind])
    own = open_stored(("own.dcm", to_bytes(outcome[kind])))
    assert own.own_result
    with pytest.raises(InputRefused):
        check_chest_header(own)


@pytest.mark.parametrize(
    "elements",
    [
        {"StudyInstanceUID": ""},
        {"SeriesInstanceUID": ""},
        {"SOPInstanceUID": "ID_0221b902b"},
        {"SOPInstanceUID": "1.2.03"},
        {"StudyInstanceUID": "1." + "2" * 64},
        {"SOPClassUID": "1.2.3.4.5"},
        {"PatientID": "p" * 65},
    ],
)
def test_a_source_without_valid_identity_gets_no_object(elements: dict[str, Any]) -> None:
    source = cr(**elements)
    image = analysed(source)
    for kind in KINDS:
        missing = next(iter(elements)).replace("SOPClassUID", "SOP class")
        with pytest.raises(NotWritten, match=missing):
            dicom_objects(image, [kind])


def test_pictures_and_images_that_were_not_analysed_get_no_object() -> None:
    import imagecodecs

    png = open_stored(("a.png", bytes(imagecodecs.png_encode(GREY))))
    with pytest.raises(NotWritten, match="PNG"):
        dicom_objects(analysed(png), ["sr"])
    with pytest.raises(NotWritten, match="memory"):
        dicom_objects(replace(analysed(png), stored=None), ["sr"])
    for status in ("refused", "failed"):
        answer = ImageResult("a", status)  # type: ignore[arg-type]
        with pytest.raises(NotWritten, match=status):
            dicom_objects(analysed(cr(), answer), ["sr"])


def test_kinds_that_the_result_or_the_source_cannot_fill_say_so() -> None:
    source = cr()
    answer = result(source)
    assert answer.findings is not None
    bare = replace(answer, findings=replace(answer.findings, masks={}))
    with pytest.raises(NotWritten, match="no masks"):
        dicom_objects(analysed(source, bare), ["seg"])
    colour = cr(np.repeat(GREY[..., None], 3, axis=2))
    with pytest.raises(NotWritten, match="colour"):
        dicom_objects(analysed(colour), ["gsps"])
    with pytest.raises(ConfigError, match="gsps"):
        dicom_objects(analysed(source, answer), ["gps"])


def test_invalid_values_are_left_out_and_named() -> None:
    source = cr(PatientAge="62", PatientSex="W", PatientBirthDate="1950.13.40", StudyID="x" * 40)
    ds = write(source, "sr")["sr"]
    assert "PatientAge" not in ds
    assert not any((ds.PatientSex, ds.PatientBirthDate, ds.StudyID))
    remarks = " ".join(item.TextValue for item in named(ds, "121106"))
    for keyword in ("PatientAge", "PatientSex", "PatientBirthDate", "StudyID"):
        assert keyword in remarks


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^Jörg"), ("ISO_IR 144", "Люкceмбypг"), ("ISO_IR 192", "王^小東")],
)
def test_names_are_kept_whatever_their_alphabet(charset: str, name: str) -> None:
    for ds in write(cr(SpecificCharacterSet=charset, PatientName=name), "sr", "gsps").values():
        assert str(ds.PatientName) == name
        assert ds.SpecificCharacterSet == "ISO_IR 192"


def test_identifiers_reach_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    write(cr(PatientName="Canary", PatientID="canary-7", ReferringPhysicianName="Canary"))
    assert "canary" not in caplog.text.lower()
    assert "1.2.3" not in caplog.text


def test_without_highdicom_the_writers_are_known_and_say_what_they_need() -> None:
    code = """
import sys
sys.modules["highdicom"] = None
from hilum.core.errors import MissingExtraError
from hilum.report.writers import parse
writer = parse("sr:document=comprehensive,seg,gsps,sc")["sr"]
try:
    writer(None)
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'hilum[dicom]'" in done.stdout


def test_the_registry_knows_the_writers() -> None:
    source = cr()
    for name in ("sr", "seg", "gsps", "sc"):
        files = make(name)(analysed(source))
        assert open_stored(("own", files[name])).own_result
    flat = make("sr", {"document": "comprehensive"})
    content = flat(analysed(source))["sr"]
    assert dcmread(BytesIO(content)).SOPClassUID == uids.ComprehensiveSRStorage


@pytest.mark.parametrize(("name", "found"), [*((name, True) for name in SOURCES), ("plain", False)])
def test_dciodvfy_finds_no_error(name: str, found: bool, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    source = SOURCES[name]()
    for kind, ds in dicom_objects(analysed(source, result(source, found)), KINDS).items():
        path = tmp_path / f"{kind}.dcm"
        path.write_bytes(to_bytes(ds))
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        assert [line for line in lines if line.startswith(("Error", "Abort"))] == []
