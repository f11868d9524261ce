"""No word of the original survives de-identification; the image and its geometry do."""

from __future__ import annotations

import warnings
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, config, dcmread
from pydicom import uid as uids
from pydicom.datadict import DicomDictionary
from pydicom.sequence import Sequence
from typer.testing import CliRunner

from helpers.dicom_files import dataset, encode, image, lut, stored, to_bytes
from hilum import read
from hilum.core.errors import ConfigError, InputRefused
from hilum.dicom.deidentify import Options, deidentify
from hilum.dicom.pseudonyms import Pseudonyms

SECRET = Pseudonyms(b"0123456789abcdef")
OTHER = Pseudonyms(b"another secret 16")
EVERYTHING = Options("shifted", patient=True, descriptors=True)
CANARY = "CANARY"
NUMBER = "424242"  # pydicom writes no letters into IS and DS; replaced in the bytes
TEXT_VRS = {
    "AE": CANARY,
    "AS": "CANA",
    "CS": CANARY,
    "DA": CANARY,
    "DS": NUMBER,
    "DT": CANARY,
    "IS": NUMBER,
    "LO": CANARY,
    "LT": CANARY,
    "PN": f"{CANARY}^{CANARY}",
    "SH": CANARY,
    "ST": CANARY,
    "TM": CANARY,
    "UC": CANARY,
    "UI": "1.2.CANARY",
    "UR": f"http://{CANARY}",
    "UT": CANARY,
    "UN": CANARY.encode(),
    "OB": CANARY.encode(),
}
STRUCTURE = ("SOPClassUID", "PhotometricInterpretation", "NumberOfFrames")


def poison(ds: Dataset, vrs: dict[str, Any] = TEXT_VRS) -> None:
    """Canaries in every text element of the dictionary and in private ones."""
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
            if tag >> 16 in (0, 2, 4) or tag >= 0x7FE00000 or keyword in STRUCTURE:
                continue
            if vr in vrs and vr not in ("UN", "OB"):
                ds.add_new(tag, vr, vrs[vr])
        block = ds.private_block(0x0009, CANARY, create=True)
        for at, (vr, value) in enumerate(vrs.items()):
            block.add_new(at, vr, value)


@cache
def poisoned(syntax: str = uids.ExplicitVRLittleEndian) -> bytes:
    pixels = stored(bits=12)
    ds = dataset(pixels, 12)
    poison(ds)
    for keyword in ("ViewCodeSequence", "SourceImageSequence", "RequestAttributesSequence"):
        inner = Dataset()
        poison(inner)
        deeper = Dataset()
        poison(deeper)
        inner.ViewModifierCodeSequence = Sequence([deeper])
        inner.ContentSequence = Sequence([deeper])
        setattr(ds, keyword, Sequence([inner]))
    ds.VOILUTSequence = lut(0, 8, np.arange(16))
    poison(ds.VOILUTSequence[0])
    with config.disable_value_validation():
        data = to_bytes(ds, pixels, syntax)
    return data.replace(NUMBER.encode(), CANARY.encode())


@pytest.mark.parametrize(
    "syntax",
    [uids.ExplicitVRLittleEndian, uids.ImplicitVRLittleEndian, uids.ExplicitVRBigEndian],
)
@pytest.mark.parametrize("options", [EVERYTHING])
def test_no_canary_survives(
    syntax: str, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    data = poisoned(syntax)
    caplog.clear()
    caplog.set_level(0)
    assert data.count(b"CANA") > 1000
    copy = deidentify(data, SECRET, options)
    assert b"CANA" not in copy.data
    assert "CANA" not in repr(copy) + "".join(copy.warnings) + caplog.text
    assert np.array_equal(dcmread(BytesIO(copy.data)).pixel_array, stored(bits=12))
    assert read(copy.data).decoding.voi == "lut 16"


def test_no_canary_survives_deflated() -> None:
    radiograph = deidentify(poisoned(uids.DeflatedExplicitVRLittleEndian), SECRET)
    again = dcmread(BytesIO(radiograph.data))
    assert CANARY not in str(again)
    assert again.file_meta.TransferSyntaxUID == uids.DeflatedExplicitVRLittleEndian


def test_text_around_the_pixels_goes() -> None:
    pixels = stored(bits=8)
    ds = dataset(pixels)
    ds.DataSetTrailingPadding = CANARY.encode()
    long = to_bytes(ds, pixels)
    preamble = CANARY.encode().ljust(128, b" ") + long[128:]
    assert CANARY.encode() not in deidentify(preamble, SECRET).data
    ds.PixelData = pixels.tobytes() + CANARY.encode()
    assert CANARY.encode() not in deidentify(to_bytes(ds), SECRET).data


@pytest.mark.parametrize(
    "syntax",
    [uids.JPEGBaseline8Bit, uids.JPEGLosslessSV1, uids.JPEGLSLossless, uids.JPEG2000Lossless],
)
def test_comments_in_compressed_streams_go(syntax: str) -> None:
    pixels = stored((40, 36), bits=8)
    frame = encode(pixels, 8, syntax)
    if syntax == uids.JPEG2000Lossless:
        text = b"\xff\x64" + (4 + len(CANARY)).to_bytes(2) + b"\0\1" + CANARY.encode()
        at = frame.index(b"\xff\x52")
    else:
        text = b"\xff\xfe" + (2 + len(CANARY)).to_bytes(2) + CANARY.encode()
        text += b"\xff\xe1" + (2 + len(CANARY)).to_bytes(2) + CANARY.encode()
        at = 2
    data = to_bytes(
        dataset(pixels), syntax=syntax, frame=frame[:at] + text + frame[at:] + CANARY.encode()
    )
    assert CANARY.encode() in data
    copy = deidentify(data, SECRET)
    assert CANARY.encode() not in copy.data
    assert copy.warnings == ()
    assert np.array_equal(read(copy.data).pixels, read(data).pixels)


def test_comments_go_also_from_frames_that_are_called_rle() -> None:
    pixels = stored((40, 36), bits=8)
    frame = encode(pixels, 8, uids.JPEGBaseline8Bit)
    text = b"\xff\xfe" + (2 + len(CANARY)).to_bytes(2) + CANARY.encode()
    mislabelled = frame[:2] + text + frame[2:]
    copy = deidentify(to_bytes(dataset(pixels), syntax=uids.RLELossless, frame=mislabelled), SECRET)
    assert CANARY.encode() not in copy.data


def test_colour_transforms_of_streams_stay() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    frame = bytes(imagecodecs.jpeg8_encode(rgb, 95))
    from hilum.dicom.codestream import without_comments

    cleaned, understood = without_comments(frame)
    assert understood
    assert np.array_equal(imagecodecs.jpeg8_decode(cleaned), imagecodecs.jpeg8_decode(frame))


def test_what_training_needs_stays() -> None:
    pixels = stored(bits=12)
    data = image(
        pixels,
        12,
        PixelSpacing=[0.143, 0.143],
        WindowCenter=2047.5,
        WindowWidth=4096,
        ViewPosition="PA",
        BodyPartExamined="CHEST",
        PatientOrientation=["L", "F"],
        PatientSex="F",
        PatientAge="093Y",
        StudyDescription="Chest PA and lateral, Mrs Miller 2 views",
        StudyDate="20200301",
        AcquisitionDateTime="20200301120000.5+0100",
        InstanceNumber=3,
        ViewCodeSequence=Sequence([_code("R-10206", "SRT", "typed by Miller")]),
        AnatomicRegionSequence=Sequence([_code("1234", "99LOCAL", "Miller")]),
    )
    bare = dcmread(BytesIO(deidentify(data, SECRET).data))
    assert [float(v) for v in bare.PixelSpacing] == [0.143, 0.143]
    assert (bare.WindowCenter, bare.ViewPosition, bare.InstanceNumber) == (2047.5, "PA", 3)
    assert bare.ViewCodeSequence[0].CodeMeaning == "antero-posterior"
    assert "AnatomicRegionSequence" not in bare
    for keyword in ("PatientSex", "StudyDate", "PatientBirthDate", "AccessionNumber"):
        assert bare[keyword].value in ("", None)
    assert "PatientAge" not in bare
    rich = dcmread(BytesIO(deidentify(data, SECRET, EVERYTHING).data))
    assert (rich.PatientSex, rich.PatientAge) == ("F", "090Y")
    assert rich.StudyDescription == "Chest PA lateral 2 views"
    assert rich.StudyDate < "20200301"
    assert rich.AcquisitionDateTime == rich.StudyDate + "120000.5"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def test_signed_pixels_stay_signed_beside_a_sequence() -> None:
    pixels = stored(bits=12, signed=True)
    data = image(pixels, 12, VOILUTSequence=lut(-2048, 8, np.arange(256), vr="SS"))
    radiograph = deidentify(data, SECRET)
    assert dcmread(BytesIO(radiograph.data)).PixelRepresentation == 1
    assert np.array_equal(read(radiograph.data).pixels, read(data).pixels)


def test_the_file_says_how_it_was_made() -> None:
    ds = dcmread(BytesIO(deidentify(image(stored()), SECRET, EVERYTHING).data))
    assert ds.PatientIdentityRemoved == "YES"
    assert ds.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [item.CodeValue for item in ds.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113105", "113108"]
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert ds.SOPInstanceUID.startswith("2.25.")


def test_pseudonyms_hold_across_files_and_differ_by_secret() -> None:
    first = deidentify(image(stored(), SOPInstanceUID="1.2.5"), SECRET)
    second = deidentify(image(stored(), SOPInstanceUID="1.2.6"), SECRET)
    stranger = deidentify(image(stored(), SOPInstanceUID="1.2.6", PatientID="p2"), SECRET)
    elsewhere = deidentify(image(stored(), SOPInstanceUID="1.2.5"), OTHER)
    assert (first.patient, first.study) == (second.patient, second.study)
    assert first.instance != second.instance
    assert first.patient != stranger.patient
    assert not {first.patient, first.study, first.instance} & {elsewhere.patient, elsewhere.study}
    assert first.data == deidentify(image(stored(), SOPInstanceUID="1.2.5"), SECRET).data


def test_intervals_between_dates_of_a_patient_stay() -> None:
    def day(text: str, person: str) -> Any:
        data = image(stored(), StudyDate=text, PatientID=person)
        return dcmread(BytesIO(deidentify(data, SECRET, EVERYTHING).data)).StudyDate

    from datetime import date

    gap = date.fromisoformat(day("20210228", "a")) - date.fromisoformat(day("20200228", "a"))
    assert gap.days == 366
    assert day("20200228", "a") != day("20200228", "b")


def test_invalid_uids_are_replaced_even_when_uids_stay() -> None:
    with config.disable_value_validation():
        data = image(stored(), SOPInstanceUID="ID_0011fe81e", StudyInstanceUID="1.2.3")
    copy = deidentify(data, SECRET, Options(uids=True))
    assert copy.study == "1.2.3"
    assert copy.instance.startswith("2.25.")


def test_burned_in_text_is_refused_or_warned_of() -> None:
    marked = image(stored(), BurnedInAnnotation="YES")
    with pytest.raises(InputRefused, match="burned-in"):
        deidentify(marked, SECRET)
    assert deidentify(marked, SECRET, Options(burned_in=True)).warnings
    capture = image(stored(), SOPClassUID=uids.SecondaryCaptureImageStorage)
    assert "burned-in" in deidentify(capture, SECRET).warnings[0]
    clean = image(stored(), BurnedInAnnotation="NO", Modality="OT")
    assert deidentify(clean, SECRET).warnings == ()


def test_what_cannot_be_cleaned_is_refused_without_quoting_it() -> None:
    report = image(stored(), SOPClassUID="1.2.3.4.5", PatientName=CANARY)
    for data in (report, b"\x89PNG canary", to_bytes(dataset(stored())), report[:300]):
        with pytest.raises(InputRefused) as caught:
            deidentify(data, SECRET)
        assert CANARY not in str(caught.value)
        assert caught.value.__cause__ is None
    with pytest.raises(ConfigError, match="16"):
        Pseudonyms(b"short")
    assert "0123" not in repr(SECRET)


def test_real_files(hilum_data: Path) -> None:
    for path in sorted((hilum_data / "dicom").glob("*.dcm")):
        data = path.read_bytes()
        radiograph = deidentify(data, SECRET)
        assert np.array_equal(read(radiograph.data).pixels, read(data).pixels)
        again = dcmread(BytesIO(radiograph.data))
        assert again.PatientID == radiograph.patient


def test_command(tmp_path: Path) -> None:
    from hilum.cli.main import app

    source = tmp_path / f"{CANARY}_in"
    source.mkdir()
    (source / f"{CANARY}.dcm").write_bytes(poisoned())
    (source / f"{CANARY}_2.dcm").write_bytes(b"no picture " + CANARY.encode())
    words = ["deidentify", str(source), "--out", str(tmp_path / "out")]
    words += ["--secret", str(tmp_path / "key")]
    for extra in ([], ["--json"]):
        result = CliRunner().invoke(app, words + extra)
        assert result.exit_code == 1
        assert CANARY not in result.output
    assert "1 written, 1 refused" in CliRunner().invoke(app, words).output
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    (file,) = (tmp_path / "out").rglob("*.dcm")
    assert CANARY not in str(file.relative_to(tmp_path / "out"))
    assert CANARY.encode() not in file.read_bytes()
