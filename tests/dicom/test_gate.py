"""The gate refuses what its own header says, and nothing on a guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import uid as uids

from helpers.dicom_files import image, stored
from hilum.core.errors import NotChestRadiographRefused
from hilum.dicom.gate import check_chest_header
from hilum.dicom.read import read


def radiograph(**elements: Any) -> Any:
    return read(image(stored(), **elements))


@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "OT", ""])
def test_radiographs_pass(modality: str) -> None:
    check_chest_header(radiograph(Modality=modality, ViewPosition="PA"))


@pytest.mark.parametrize("part", ["CHEST", "SKULL", "PORT CHEST", "THORAX", "ABDOMEN", "", "RIBS"])
def test_body_parts_that_chest_sets_carry_pass(part: str) -> None:
    check_chest_header(radiograph(BodyPartExamined=part))


@pytest.mark.parametrize("view", ["PA", "AP", "AP ERECT", "LLD", ""])
def test_frontal_views_pass(view: str) -> None:
    check_chest_header(radiograph(ViewPosition=view))


@pytest.mark.parametrize(
    "elements",
    [
        *({"Modality": m} for m in ("CT", "MR", "US", "MG", "PT", "NM", "IO", "PX", "SEG")),
        *({"ViewPosition": v} for v in ("LL", "RL", "LATERAL")),
        *({"BodyPartExamined": b} for b in ("HAND", "EXTREMITY", "KNEE", "foot")),
        {"StudyDescription": "MODALITYLUT - TEETH"},
        {"SeriesDescription": "Both knees, standing", "BodyPartExamined": "SKULL"},
        {"ProtocolName": "hand_pa"},
        {"SOPClassUID": uids.CTImageStorage},
        {"SOPClassUID": uids.DigitalMammographyXRayImageStorageForPresentation},
        {"SeriesDescription": "hilum AI result"},
        {"ManufacturerModelName": "hilum 0.1"},
    ],
)
def test_others_are_refused(elements: dict[str, str]) -> None:
    with pytest.raises(NotChestRadiographRefused, match="by its own header"):
        check_chest_header(radiograph(**elements))


@pytest.mark.parametrize(
    "elements",
    [
        {"StudyDescription": "Thorax and left hand"},
        {"StudyDescription": "TEETH", "BodyPartExamined": "CHEST"},
        {"StudyDescription": "PICC line in arm, C-arm"},
        {"ProtocolName": "portable"},
        {"StudyDescription": "handover from ward, old breast cancer"},
    ],
)
def test_descriptions_refuse_nothing_on_a_guess(elements: dict[str, str]) -> None:
    check_chest_header(radiograph(**elements))


def test_pictures_without_a_header_pass() -> None:
    import imagecodecs

    check_chest_header(read(imagecodecs.png_encode(stored())))


def test_real_files() -> None:
    data_store = pytest.importorskip("data_store")
    folder = Path(data_store.__file__).parent / "data"
    check_chest_header(read(folder / "RG1_UNCR.dcm"))
    for name in ("RG3_UNCR.dcm", "693_UNCR.dcm", "MR2_UNCR.dcm"):
        with pytest.raises(NotChestRadiographRefused):
            check_chest_header(read(folder / name))


def test_real_chest_files_pass(hilum_data: Path) -> None:
    for name in ("Fake_MONOHR1.dcm", "RG1_J2KI.dcm"):
        check_chest_header(read(hilum_data / "dicom" / name))


def test_a_real_dental_image_is_refused(hilum_data: Path) -> None:
    with pytest.raises(NotChestRadiographRefused, match=r"described as .* \(TEETH\)"):
        check_chest_header(read(hilum_data / "dicom" / "CR-ModalitySequenceLUT.dcm"))
