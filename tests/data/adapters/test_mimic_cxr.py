"""MIMIC-CXR in its own layout, made of phantoms: views, studies, labels of reports, the split."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from helpers.trees import dicom, has_note, png, row, text
from hilum.core.errors import DataError
from hilum.data import load

METADATA = """dicom_id,subject_id,study_id,ViewPosition,Rows,ViewCodeSequence_CodeMeaning
a-1,10000032,50414267,PA,3056,postero-anterior
a-2,10000032,50414267,LATERAL,3056,lateral
b-1,10000764,57375967,,3056,antero-posterior
b-2,10000764,57375967,XTABLE LATERAL,3056,
c-1,10000980,59988438,AP,3056,
lost,10000980,59988438,AP,3056,
"""
CHEXPERT = """subject_id,study_id,Edema,Lung Opacity,No Finding
10000032,50414267,,,1.0
10000764,57375967,-1.0,1.0,
10000980,59988438,0.0,,
10000999,50000001,1.0,,
"""
SPLIT = """dicom_id,study_id,subject_id,split
a-1,50414267,10000032,train
a-2,50414267,10000032,train
b-1,57375967,10000764,validate
c-1,59988438,10000980,test
lost,59988438,10000980,test
"""
REPORT = """                                 FINAL REPORT
 INDICATION:  Fever.  Pneumonia?

 FINDINGS:  No pleural effusion or
 pneumothorax.  Pneumonia cannot be excluded.  New consolidation at the right base.
"""


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    """Two studies as JPEG's place, one as DICOM, a file without a row, a row without a file."""
    for place in ("p10000032/s50414267/a-1", "p10000032/s50414267/a-2", "p10000764/s57375967/b-1"):
        png(tmp_path / f"files/p10/{place}.png", len(place))
    png(tmp_path / "files/p10/p10000764/s57375967/b-2.png", 51)
    dicom(tmp_path / "files/p10/p10000980/s59988438/c-1.dcm", 3)
    png(tmp_path / "files/p10/p10000980/s59988438/c-1.png", 4)
    png(tmp_path / "files/p11/p11000001/s51000001/extra.png", 5)
    text(tmp_path / "files/p10/p10000764/s57375967.txt", REPORT)
    text(tmp_path / "mimic-cxr-2.0.0-metadata.csv", METADATA)
    text(tmp_path / "mimic-cxr-2.0.0-split.csv", SPLIT)
    (tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz").write_bytes(gzip.compress(CHEXPERT.encode()))
    return tmp_path


def test_each_view_has_its_study_its_patient_and_its_part(mimic: Path) -> None:
    catalog = load("mimic-cxr", mimic)
    assert len(catalog) == 8  # six rows, c-1 as PNG beside its DICOM, and extra
    first = row(catalog, "a-1")
    assert (first["patient"], first["study"], first["split"]) == ("p10000032", "s50414267", "train")
    assert first["path"] == "files/p10/p10000032/s50414267/a-1.png"
    views = {image: row(catalog, image)["view"] for image in ("a-1", "a-2", "b-1", "b-2")}
    assert views == {"a-1": "PA", "a-2": "LATERAL", "b-1": "AP", "b-2": "LATERAL"}
    assert row(catalog, "b-1")["split"] == "validation"
    assert row(catalog, "b-2")["split"] == ""  # not in the official list
    assert has_note(catalog, "1 images are not in mimic-cxr-2.0.0-split.csv")
    assert row(catalog, "c-1")["path"].endswith(".dcm")
    extra = row(catalog, "extra")
    assert (extra["patient"], extra["study"]) == ("p11000001", "s51000001")
    assert catalog.skips == {"no-file": 1, "no-row": 2, "annotation-lost": 1}


def test_labels_are_of_the_study_and_what_is_unsure_is_unknown(mimic: Path) -> None:
    table = load("mimic-cxr", mimic)
    for image in ("b-1", "b-2"):
        assert row(table, image)["label_lung-opacity"] == 1
        assert np.isnan(row(table, image)["label_edema"])
    assert row(table, "c-1")["label_edema"] == 0
    assert np.isnan(row(table, "a-1")["label_edema"])  # not mentioned
    assert np.isnan(row(table, "extra")["label_no-finding"])
    other = load("mimic-cxr", mimic, uncertain="ones", unmentioned="zeros")
    assert (row(other, "b-1")["label_edema"], row(other, "a-1")["label_edema"]) == (1, 0)
    assert np.isnan(row(other, "extra")["label_edema"])  # of no report nothing is known


def test_weak_labels_come_from_the_reports_where_asked_for(mimic: Path) -> None:
    catalog = load("mimic-cxr", mimic, labels="reports")
    own = row(catalog, "b-1")
    assert (own["label_effusion"], own["label_pneumothorax"]) == (0, 0)
    assert (own["label_consolidation"], own["label_opacity"]) == (1, 1)
    assert np.isnan(own["label_pneumonia"])
    assert np.isnan(row(catalog, "a-1")["label_effusion"])
    assert has_note(catalog, "4 images are of studies without labels of reports")
    assert load("mimic-cxr", mimic, labels="none").label_names == []
    with pytest.raises(DataError, match=r"negbio\.csv"):
        load("mimic-cxr", mimic, labels="negbio")
    with pytest.raises(DataError, match="known: chexpert, negbio, readers, reports, none"):
        load("mimic-cxr", mimic, labels="chexprt")


def test_ids_are_the_same_with_their_letters_and_through_floats(mimic: Path) -> None:
    before = load("mimic-cxr", mimic).table
    spelled = CHEXPERT.replace("50414267", "s50414267").replace("57375967", "57375967.0")
    (mimic / "mimic-cxr-2.0.0-chexpert.csv.gz").write_bytes(gzip.compress(spelled.encode()))
    text(mimic / "mimic-cxr-2.0.0-metadata.csv", METADATA.replace(",10000032", ",p10000032"))
    after = load("mimic-cxr", mimic).table
    assert before.equals(after)


def test_labels_under_another_subject_than_their_studys_are_not_used(mimic: Path) -> None:
    torn = CHEXPERT.replace("10000764,57375967", "10000032,57375967")
    (mimic / "mimic-cxr-2.0.0-chexpert.csv.gz").write_bytes(gzip.compress(torn.encode()))
    catalog = load("mimic-cxr", mimic)
    assert np.isnan(row(catalog, "b-1")["label_lung-opacity"])
    assert catalog.skips["patient-differs"] == 1
