"""A stored image: its header is known before a pixel is decoded, and travels with it."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from helpers.dicom_files import dataset, image, stored, to_bytes
from hilum.core.errors import (
    ConfigError,
    LimitRefused,
    NotChestRadiographRefused,
    UnreadableRefused,
    UnsupportedRefused,
)
from hilum.dicom import codecs
from hilum.dicom.dump import elements
from hilum.dicom.gate import check_chest_header
from hilum.dicom.limits import Limits
from hilum.dicom.read import read
from hilum.dicom.stored import open_stored

GREY = stored((30, 20))


def test_the_header_is_known_and_gated_before_anything_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = image(GREY, 8, uids.JPEG2000Lossless, Modality="MR", ViewPosition="PA")
    decoded: list[Any] = []
    monkeypatch.setattr(codecs, "decode", lambda *a, **k: decoded.append(a))
    opened = open_stored(("a", file))
    assert (opened.kind, opened.modality, opened.view) == ("dicom", "MR", "PA")
    assert opened.ids.patient_id == "p1"
    assert opened.header.integer("Rows") == 30
    with pytest.raises(NotChestRadiographRefused, match=r"a: .* of modality MR"):
        check_chest_header(opened)
    assert not decoded


def test_a_gate_answers_even_where_the_pixels_are_damaged() -> None:
    file = to_bytes(dataset(GREY, ViewPosition="LL"), None, uids.JPEG2000, frame=b"damaged")
    opened = open_stored(file)
    with pytest.raises(NotChestRadiographRefused, match="lateral"):
        check_chest_header(opened)
    with pytest.raises(UnreadableRefused):
        opened.radiograph()


@pytest.mark.parametrize("file", [image(GREY), bytes(imagecodecs.png_encode(GREY))])
def test_reading_is_opening_and_decoding(file: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(file)
    opened, whole = open_stored(path), read(path)
    halves = opened.radiograph()
    np.testing.assert_array_equal(halves.pixels, whole.pixels)
    assert (halves.source, halves.ids, halves.decoding) == (whole.source, whole.ids, whole.decoding)
    assert opened.sha256 == hashlib.sha256(file).hexdigest()
    assert opened.kind == whole.decoding.format


def test_it_is_frozen_and_travels_to_other_processes() -> None:
    opened = open_stored(("a.dcm", image(GREY, PatientName="Müller^Ä")), limits=Limits(depth=9))
    with pytest.raises(dataclasses.FrozenInstanceError):
        opened.source = "b"  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(opened))  # noqa: S301  our own bytes
    assert (again.source, again.ids, again.limits) == ("a.dcm", opened.ids, opened.limits)
    np.testing.assert_array_equal(again.radiograph().pixels, opened.radiograph().pixels)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "山田^太郎"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 144", "Люкceмбypг"),
    ],
)
def test_the_data_set_has_its_text_decoded_and_no_pixels(charset: Any, name: str) -> None:
    item = Dataset()
    item.CodeMeaning = name.split("=")[-1]
    kw = {
        "SpecificCharacterSet": charset,
        "PatientName": name,
        "ViewCodeSequence": Sequence([item]),
    }
    got = open_stored(image(GREY, **kw)).dataset()
    assert str(got.PatientName) == name
    assert got.ViewCodeSequence[0].CodeMeaning == item.CodeMeaning
    assert got.Rows == 30
    assert "PixelData" not in got
    assert got.file_meta.TransferSyntaxUID == uids.ExplicitVRLittleEndian


def test_the_data_set_is_a_copy_of_ones_own() -> None:
    opened = open_stored(image(GREY))
    opened.dataset().PatientID = "other"
    assert opened.dataset().PatientID == "p1"
    assert opened.radiograph().ids.patient_id == "p1"


def test_damaged_elements_are_shown_as_such() -> None:
    whole = image(GREY, ExposureTimeInms=5.0)
    damaged = whole.replace(b"FD\x08\0" + struct.pack("<d", 5), b"FD\x04\0abcd")
    shown = {element["name"]: element["value"] for element in elements(open_stored(damaged))}
    assert shown["Exposure Time in ms"].startswith("(unreadable")
    assert shown["Rows"] == "30"


def test_unknown_escapes_in_text_do_not_warn() -> None:
    """Also where the header is asked outside of reading (found by scripts/gates/fuzz.sh)."""
    file = image(GREY, SpecificCharacterSet=["", "ISO 2022 IR 87"], StudyDescription="Chest PA")
    opened = open_stored(file.replace(b"Chest PA", b"C\x1b$Zt PA"))
    assert opened.descriptions
    check_chest_header(opened)


def test_looking_at_all_elements_changes_nothing() -> None:
    opened = open_stored(image(GREY, WindowCenter=9, WindowWidth=99))
    assert any(element["name"] == "Rows" for element in elements(opened))
    opened.dataset()
    assert opened.header.integer("Rows") == 30
    assert opened.radiograph().decoding.voi == "window 9/99 linear"


def test_values_that_are_none_are_left_out_of_the_data_set() -> None:
    whole = image(GREY, ExposureTimeInms=5.0, PatientWeight=70)
    damaged = whole.replace(b"FD\x08\0" + struct.pack("<d", 5), b"FD\x04\0abcd")
    assert "ExposureTimeInms" in open_stored(whole).dataset()
    got = open_stored(damaged).dataset()
    assert "ExposureTimeInms" not in got
    assert got.PatientWeight == 70


def test_pictures_have_no_data_set_and_say_so() -> None:
    opened = open_stored(("a.png", bytes(imagecodecs.png_encode(GREY))))
    assert opened.ids.patient_id is None
    with pytest.raises(UnsupportedRefused, match=r"a\.png: it is a PNG image"):
        opened.dataset()
    check_chest_header(opened)


def test_limits_hold_in_both_steps() -> None:
    file = image(GREY)
    with pytest.raises(LimitRefused):
        open_stored(file, limits=Limits(file_bytes=500))
    with pytest.raises(LimitRefused):
        open_stored(file, limits=Limits(pixels=599)).radiograph()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MemoryError(), LimitRefused, "memory"),
        (RecursionError(), LimitRefused, "too deep"),
        (ZeroDivisionError("CANARY"), UnreadableRefused, "damaged"),
    ],
)
def test_foreign_errors_of_both_steps_are_refusals(
    error: Exception, kind: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: Any, **__: Any) -> None:
        raise error

    opened = open_stored(("a", image(GREY)))
    with monkeypatch.context() as patch:
        patch.setattr("hilum.dicom.image.layout", raises)
        with pytest.raises(kind, match=words) as caught:
            opened.radiograph()
    assert str(caught.value).startswith("a: ")
    assert "CANARY" not in str(caught.value)
    monkeypatch.setattr("hilum.dicom.stored.parse", raises)
    with pytest.raises(kind, match=words):
        open_stored(("a", image(GREY)))


@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        (uids.ComprehensiveSRStorage, "Comprehensive SR"),
        (uids.SegmentationStorage, "Segmentation"),
        (uids.GrayscaleSoftcopyPresentationStateStorage, "Grayscale Softcopy Presentation State"),
        (uids.EncapsulatedPDFStorage, "Encapsulated PDF"),
    ],
)
def test_objects_that_are_no_image_say_what_they_are(sop_class: Any, name: str) -> None:
    opened = open_stored(image(GREY, SOPClassUID=sop_class))
    assert (opened.is_image, opened.object_name) == (False, name)
    with pytest.raises(UnsupportedRefused, match=f"it is no image but a {name} object"):
        opened.radiograph()


@pytest.mark.parametrize("sop_class", [uids.SecondaryCaptureImageStorage, "1.2.3"])
def test_images_of_unknown_classes_are_still_images(sop_class: str) -> None:
    assert read(image(GREY, SOPClassUID=sop_class)).height == 30


def test_the_full_range_is_as_if_there_was_no_window() -> None:
    deep = stored(bits=12)
    windowed = image(deep, 12, WindowCenter=127, WindowWidth=256)
    plain = read(image(deep, 12)).pixels
    got = read(windowed, full_range=True)
    np.testing.assert_array_equal(got.pixels, plain)
    assert "full range" in got.decoding.voi
    assert not np.array_equal(read(windowed).pixels, plain)


@pytest.mark.parametrize("window", [(1, 0), (1, 0.5), (1, float("nan")), (float("inf"), 2)])
def test_an_impossible_window_is_our_callers_mistake(window: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="the window is"):
        read(image(GREY), window=window)


def test_a_window_and_the_full_range_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="one of them"):
        read(image(GREY), window=(1, 2), full_range=True)
