"""Modality and VOI transformations are the standard's formulas; a header is what its bytes say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from helpers.dicom_files import dataset, lut, stored, to_bytes
from hilum.core.errors import ConfigError, UnreadableRefused, UnsupportedRefused
from hilum.dicom.header import Header
from hilum.dicom.limits import Limits
from hilum.dicom.lookup import Table, modality, voi, window
from hilum.dicom.part10 import parse
from hilum.dicom.pseudonyms import MAX_DAYS, Pseudonyms, open_secret

few = settings(max_examples=30, deadline=None)
VALUES = np.arange(-50, 300, dtype=np.float64)


def header(**elements: Any) -> Header:
    """As it is read from a file."""
    ds = dataset(stored(), **elements)
    return parse(to_bytes(ds, stored()), Limits()).header


# --- windows ---


def linear(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.2.1, word by word."""
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 1.0
    return (x - (c - 0.5)) / (w - 1) + 0.5


def exact(x: float, c: float, w: float) -> float:
    """C.11.2.1.3.2."""
    if x <= c - w / 2:
        return 0.0
    if x > c + w / 2:
        return 1.0
    return (x - c) / w + 0.5


def sigmoid(x: float, c: float, w: float) -> float:
    """C.11.2.1.3.1."""
    return float(1 / (1 + np.exp(-4 * (x - c) / w)))


FORMULAS = {"LINEAR": linear, "LINEAR_EXACT": exact, "SIGMOID": sigmoid}


@few
@given(st.floats(-100, 300), st.floats(1.5, 400), st.sampled_from(sorted(FORMULAS)))
def test_a_window_is_the_standards_formula(centre: float, width: float, function: str) -> None:
    shown = window(VALUES, centre, width, function)
    expected = [FORMULAS[function](x, centre, width) for x in VALUES.tolist()]
    np.testing.assert_allclose(shown, expected, atol=1e-6)
    assert (np.diff(shown) >= 0).all()
    assert shown.min() >= 0
    assert shown.max() <= 1


def test_a_window_of_one_is_a_threshold() -> None:
    shown = window(np.array([9.0, 9.5, 9.6, 10.0]), 10, 1)
    assert shown.tolist() == [0, 0, 1, 1]


def test_of_several_windows_the_first_usable_or_the_one_asked_for() -> None:
    own = header(WindowCenter=["", 40, 100], WindowWidth=[200, 0, 50])
    first = voi(own, VALUES, None, 0)
    np.testing.assert_allclose(first.values, window(VALUES, 100, 50))
    assert first.warnings == ("its first usable window is number 3",)
    np.testing.assert_allclose(voi(own, VALUES, None, 2).values, window(VALUES, 100, 50))
    for index, message in ((1, "no usable window"), (5, "it has 3"), (-1, "it has 3")):
        with pytest.raises(UnsupportedRefused, match=message):
            voi(own, VALUES, None, index)


@pytest.mark.parametrize("elements", [{}, {"WindowCenter": 5, "WindowWidth": 0}])
def test_without_a_usable_window_the_whole_range_is_shown(elements: dict[str, Any]) -> None:
    shown = voi(header(**elements), VALUES, None, 0)
    assert (shown.values.min(), shown.values.max()) == (0, 1)
    np.testing.assert_allclose(np.diff(shown.values), 1 / (len(VALUES) - 1))
    assert bool(shown.warnings) == bool(elements)
    flat = voi(header(**elements), np.full(5, 7.0), None, 0)
    assert not flat.values.any()


def test_what_is_given_beats_the_file_and_the_full_range_beats_both() -> None:
    own = header(WindowCenter=40, WindowWidth=80, VOILUTFunction="SIGMOID")
    np.testing.assert_allclose(voi(own, VALUES, None, 0).values, window(VALUES, 40, 80, "SIGMOID"))
    np.testing.assert_allclose(voi(own, VALUES, (10, 20), 0).values, window(VALUES, 10, 20))
    whole = voi(own, VALUES, (10, 20), 0, full_range=True)
    np.testing.assert_allclose(np.diff(whole.values), 1 / (len(VALUES) - 1))
    strange = header(WindowCenter=40, WindowWidth=80, VOILUTFunction="CURVED")
    np.testing.assert_allclose(voi(strange, VALUES, None, 0).values, window(VALUES, 40, 80))


def test_a_lut_beats_a_window_and_its_range_is_that_of_its_bits() -> None:
    data = (np.arange(256) ** 2 // 255).astype(int)
    own = header(VOILUTSequence=lut(0, 8, data), WindowCenter=40, WindowWidth=80)
    shown = voi(own, VALUES, None, 0)
    expected = data[np.clip(VALUES, 0, 255).astype(int)] / 255
    np.testing.assert_allclose(shown.values, expected)
    with pytest.raises(UnsupportedRefused):
        voi(own, VALUES, None, 1)


@few
@given(st.integers(-40, 40), st.integers(2, 30))
def test_beyond_its_ends_a_table_goes_on_with_its_last_entries(first: int, count: int) -> None:
    entries = np.arange(count, dtype=np.float64) * 3
    table = Table(first, 8, entries)
    for x in range(first - 5, first + count + 5):
        place = min(max(x - first, 0), count - 1)
        assert table.apply(np.array([float(x)]))[0] == entries[place]


def test_modality_values_are_slope_times_value_plus_intercept() -> None:
    np.testing.assert_array_equal(modality(header(), VALUES)[0], VALUES)
    own = header(RescaleSlope="2.5", RescaleIntercept="-100")
    np.testing.assert_allclose(modality(own, VALUES)[0], VALUES * 2.5 - 100)
    table = header(ModalityLUTSequence=lut(0, 16, np.arange(256) * 7), RescaleSlope="2")
    np.testing.assert_array_equal(
        modality(table, np.array([0.0, 10, 255]))[0], [0, 70, 255 * 7]
    )  # the table wins
    for damage in ({"RescaleSlope": "0"}, {"RescaleIntercept": "1_0"}):
        plain = {"RescaleSlope": "1", "RescaleIntercept": "0"}
        with pytest.raises(UnreadableRefused, match="Rescale"):
            modality(header(**(plain | damage)), VALUES)


# --- headers ---


def test_numbers_are_finite_numbers_or_none_at_all() -> None:
    own = header(WindowCenter=["1", "2.5"], RescaleSlope="1e3", RescaleIntercept="1_0")
    assert own.numbers("WindowCenter") == (1.0, 2.5)
    assert own.numbers("RescaleSlope") == (1000.0,)
    assert own.numbers("RescaleIntercept") is None  # Python's own underscore
    assert own.numbers("WindowWidth") == ()
    assert own.numbers("Rows") == (24.0,)
    assert own.integer("Rows") == 24
    assert own.integer("NumberOfFrames", 1) == 1
    with pytest.raises(UnreadableRefused, match="NumberOfFrames is missing"):
        own.integer("NumberOfFrames")
    with pytest.raises(UnreadableRefused, match="not a whole number"):
        header(RescaleSlope="1.5").integer("RescaleSlope")


def test_every_value_keeps_its_place() -> None:
    own = header(WindowCenter=["", "2", "1_0"])
    assert own.places("WindowCenter") == (None, 2.0, None)
    assert own.places("WindowWidth") == ()


def test_codes_are_upper_case_and_what_is_no_code_is_blank() -> None:
    own = header(BodyPartExamined="chest", ImageType=["ORIGINAL", "primary", "a-b"])
    assert own.code("BodyPartExamined") == "CHEST"
    assert own.codes("ImageType") == ("ORIGINAL", "PRIMARY", "")
    assert own.codes("Laterality") == ()
    assert own.code("Laterality") is None
    assert header(Laterality=" ").code("Laterality") is None


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^Jürgen"), ("ISO_IR 192", "Ωμέγα^山田"), ("ISO_IR 144", "Иванов^Иван")],
)
def test_text_is_read_in_the_character_set_of_the_file(charset: str, name: str) -> None:
    own = header(SpecificCharacterSet=charset, PatientName=name, PatientID="plain")
    assert own.text("PatientName") == name
    assert own.text("PatientID") == "plain"
    assert own.text("PatientComments") is None
    assert header(PatientID="  ").text("PatientID") is None


def test_items_of_a_sequence_are_headers_and_of_anything_else_none() -> None:
    item = Dataset()
    item.CodeValue = "T-A0"
    own = header(AnatomicRegionSequence=Sequence([item, Dataset()]))
    items = own.items("AnatomicRegionSequence")
    assert [one.text("CodeValue") for one in items] == ["T-A0", None]
    assert own.items("PatientID") == []
    assert own.items("ViewCodeSequence") == []
    assert own.has("PatientID")
    assert not own.has("NoSuchKeyword")


# --- limits and pseudonyms ---


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", None])
def test_a_limit_is_a_whole_number_above_zero(value: Any) -> None:
    with pytest.raises(ConfigError, match="limit pixels"):
        Limits(pixels=value)


SECRET = Pseudonyms(b"0123456789abcdef")


@few
@given(st.text(max_size=20), st.text(max_size=20))
def test_one_patient_is_one_pseudonym_and_two_are_two(a: str, b: str) -> None:
    again = Pseudonyms(b"0123456789abcdef")
    assert SECRET.patient(a) == again.patient(a)
    assert (SECRET.patient(a) == SECRET.patient(b)) == (a == b)
    assert (SECRET.uid(a) == SECRET.uid(b)) == (a == b)
    assert len(SECRET.patient(a)) == 17
    assert 1 <= SECRET.days(a) <= MAX_DAYS
    other = Pseudonyms(b"another-secret-of-many-bytes")
    assert other.patient(a) != SECRET.patient(a)
    uid = SECRET.uid(a)
    assert uid.startswith("2.25.")
    assert len(uid) <= 64
    assert SECRET.patient(a) != SECRET.uid(a)


def test_a_secret_is_made_once_and_shown_to_nobody(tmp_path: Any) -> None:
    file = tmp_path / "study.key"
    secret, is_new = open_secret(file)
    assert is_new
    assert open_secret(file) == (secret, False)
    assert len(secret) >= 32
    assert file.stat().st_mode & 0o077 == 0
    assert secret.decode() not in repr(Pseudonyms(secret)) + str(Pseudonyms(secret))
    with pytest.raises(ConfigError, match="at least 16"):
        Pseudonyms(b"short")
    with pytest.raises(ConfigError, match="cannot be made"):
        open_secret(tmp_path / "none" / "study.key")
    with pytest.raises(ConfigError, match="cannot be read"):
        open_secret(tmp_path)
