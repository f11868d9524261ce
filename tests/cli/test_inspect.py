"""`hilum inspect` shows what matters and hides who it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom import uid as uids
from typer.testing import CliRunner

from helpers.dicom_files import dataset, image, stored, to_bytes
from hilum.cli.main import app

CANARY = "CANARY"


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    path = tmp_path / "chest.dcm"
    path.write_bytes(
        image(
            stored(bits=12),
            12,
            ViewPosition="PA",
            PatientName=CANARY,
            PatientID=CANARY,
            StudyDescription=CANARY,
            StudyID=CANARY,
            OperatorsName=CANARY,
            ImageComments=CANARY,
            FilterType=CANARY,
            StudyDate="20200102",
            WindowCenter=2048,
            WindowWidth=4096,
            PixelSpacing=[0.2, 0.2],
        )
    )
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments)])
    return result.exit_code, result.output


def test_one_line_says_what_it_is(chest: Path) -> None:
    code, out = run(chest)
    assert code == 0
    assert len(out.splitlines()) == 1
    for part in ("24 x 20 px", "12 bit", "MONOCHROME2", "Explicit VR", "2048/4096", "0.2", "PA"):
        assert part in out


@pytest.mark.parametrize("options", [(), ("--full",), ("--json",), ("--json", "--full")])
def test_identifiers_are_hidden(chest: Path, options: tuple[str, ...]) -> None:
    _, out = run(chest, *options)
    assert CANARY not in out
    assert "20200102" not in out
    assert "1.2.3.4" not in out


def test_identifiers_are_shown_when_asked(chest: Path) -> None:
    code, out = run(chest, "--full", "--show-identifiers")
    assert code == 0
    assert CANARY in out
    assert "1.2.3.4" in out
    assert "Window Center = 2048" in out


def test_refused_files_give_exit_code_one(chest: Path, tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_bytes(b"only text, nothing else, no image here")
    code, out = run(chest, tmp_path / "text.dcm", "--json")
    assert code == 1
    good, bad = json.loads(out)["images"]
    assert (good["status"], bad["status"], bad["code"]) == ("read", "refused", "unreadable")
    code, out = run(tmp_path)
    assert code == 1
    assert len(out.splitlines()) == 2


def test_other_modalities_are_read_and_marked(tmp_path: Path) -> None:
    path = tmp_path / "ct.dcm"
    path.write_bytes(image(stored(), Modality="CT"))
    code, out = run(path)
    assert code == 0
    assert "would not be analysed: of modality CT" in out


@pytest.mark.parametrize(
    ("sop_class", "words"),
    [
        (uids.ComprehensiveSRStorage, "no image but a Comprehensive SR object"),
        (uids.SegmentationStorage, "no image but a Segmentation object"),
        (uids.EncapsulatedPDFStorage, "no image but a Encapsulated PDF object"),
    ],
)
def test_objects_that_are_no_image_say_what_they_are(
    tmp_path: Path, sop_class: str, words: str
) -> None:
    path = tmp_path / "other.dcm"
    path.write_bytes(image(stored(), SOPClassUID=sop_class, PatientName=CANARY))
    code, out = run(path)
    assert code == 1
    assert words in out
    _, out = run(path, "--full")
    assert "SOP Class UID" in out
    assert CANARY not in out


def test_a_header_is_shown_even_where_the_pixels_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "damaged.dcm"
    damaged = to_bytes(dataset(stored(), Modality="MR"), None, uids.JPEG2000, frame=b"nothing")
    path.write_bytes(damaged)
    code, out = run(path, "--json", "--full")
    (row,) = json.loads(out)["images"]
    assert (code, row["status"]) == (1, "refused")
    assert row["not_a_chest_radiograph"] == "of modality MR"
    assert any(element["name"] == "Rows" for element in row["elements"])


def test_a_window_that_loses_nearly_all_is_shown_and_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "white.dcm"
    path.write_bytes(image(stored((64, 64), 12), 12, WindowCenter=127, WindowWidth=256))
    code, out = run(path)
    assert code == 0
    assert "warning: window 127/256 linear leaves" in out
    code, out = run(path, "--full-range", "--json")
    (row,) = json.loads(out)["images"]
    assert (row["warnings"], row["voi"]) == ([], "none (full range asked for)")
    (row,) = json.loads(run(path, "--json")[1])["images"]
    assert row["clipped_white"] > 0.9


def test_a_wrong_transfer_syntax_is_shown(tmp_path: Path) -> None:
    file = image(stored(), 8, uids.JPEG2000Lossless)
    path = tmp_path / "label.dcm"
    path.write_bytes(file.replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.50"))
    _, out = run(path)
    assert "warning: its transfer syntax says JPEG Baseline (Process 1), its pixels are JPEG" in out
