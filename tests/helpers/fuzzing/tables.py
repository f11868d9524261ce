"""Doors of tables: catalogs (Parquet), splits (JSON), challenge tables and annotations (CSV, JSON,
XML)."""

from __future__ import annotations

import io
import json
import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.fuzzing.door import Door
from helpers.fuzzing.trees import TEXTS, csv_shape, json_shape, value
from hilum.core.errors import DataError
from hilum.core.geometry import FARTHEST_PX
from hilum.data.catalog import Catalog, build, open_catalog
from hilum.data.registry import load
from hilum.data.split import held_patients, hold_out, open_split, person
from hilum.evaluate.challenges.scores import score_submission
from hilum.evaluate.prediction_files import read_predictions
from hilum.evaluate.truth import truths_of

# --- Catalogs -----------------------------------------------------------------------------------


@cache
def catalog() -> Catalog:
    rows = {
        "image_id": ["a", "b", "c", "d", "e", "f"],
        "path": ["x/a.png", "b.png", "c.png", "d.dcm", "", "z.zip!f.png"],
        "patient": ["1", "2", "2", "3", "4", "005"],
        "study": ["s", "t", "t", "u", "v", "w"],
        "split": ["train", "test", "test", "train", "validation", "train"],
        "age": [40.0, np.nan, 7.5, 90.0, 55.0, 60.0],
        "width": [128, 128, 0, 64, 128, 100],
        "height": [128, 128, 0, 80, 128, 100],
        "boxes": [[1.0, 2, 5, 7, 3, 3, 9, 9], [], None, [0.0, 0, 64, 80], None, [1.0, 1, 2, 2]],
        "box_labels": [["opacity", "mass"], [], None, ["opacity"], None, ["opacity"]],
        "label_opacity": [1.0, 0.0, np.nan, 1.0, 0.0, 1.0],
        "study_negative": [0.0, 1.0, 1.0, 0.0, np.nan, 0.0],
        "mask_lungs": ["rle:128x128:1 5", "", None, "d-lungs.png", None, None],
        "scale_x": 0.5,
        "scale_y": 0.25,
    }
    return build("toy", pd.DataFrame(rows), Path(), ("a note",), {"row-cut": 1})


@cache
def _catalog_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c.parquet")
        catalog().save(path)
        whole = path.read_bytes()
        catalog().where(catalog().table["image_id"] == "c").save(path)
        return [whole, path.read_bytes()]


def _catalog_shape(rng: random.Random, data: bytes) -> bytes:
    """Columns of other types, lost or added, cells and metadata that are none."""
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError):
        return data
    columns: dict[str, Any] = {name: table[name].to_pylist() for name in table.column_names}
    meta = dict(table.schema.metadata or {})
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(list(columns))
        kind, rows = rng.randrange(8), columns[name]
        if kind < 3 and rows:
            rows[rng.randrange(len(rows))] = _cell(rng, rows[0])
        elif kind == 3:
            columns[name] = [value(rng)] * len(rows)
        elif kind == 4:
            del columns[name]
        elif kind == 5:
            columns[rng.choice((*TEXTS[:30], "label_x", "mask_x", "study_x"))] = list(rows)
        elif kind == 6:
            where = rng.randrange(len(rows) + 1)
            columns = {k: [*v[:where], *v[where + 1 :], *v[:1]] for k, v in columns.items()}
        else:
            key = rng.choice(list(meta))
            meta[key] = rng.choice(
                (b"", b"\xff\xfe", b"[1]", b"{}", b'{"a": -1}', b"[" * 9999, b"a\0b", b"null")
            )
    arrays = {}
    for name, rows in columns.items():
        try:
            arrays[name.encode(errors="replace").decode()] = pa.array(rows)
        except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError):
            arrays[name.encode(errors="replace").decode()] = pa.nulls(len(rows))
    out = io.BytesIO()
    try:
        pq.write_table(pa.table(arrays).replace_schema_metadata(meta), out)
    except pa.ArrowException:  # what Parquet has no word for
        return data
    return out.getvalue()


def _cell(rng: random.Random, old: Any) -> Any:
    kinds: list[Any] = [old, value(rng)]
    if isinstance(old, list) and old:
        kinds += [[*old[:-1], value(rng)], old[:-1], [old[-1]] * 4, [np.nan] * 4]
    if isinstance(old, float):
        kinds += [-1.0, np.inf, 0.5, 1e30]
    return rng.choice(kinds)


def _catalog(data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c.parquet")
        path.write_bytes(data)
        opened = open_catalog(path)
        assert len(opened) == pq.ParquetFile(path).metadata.num_rows  # no row is lost in silence
        assert (opened.table["patient"] != "").all()
        for truth in truths_of(opened):
            if truth.boxes_px is not None:
                check_boxes(truth.boxes_px)
            assert min(truth.size.own) >= 0
        opened.save(Path(folder, "again.parquet"))
        again = open_catalog(Path(folder, "again.parquet"))
        assert again.table.equals(opened.table)
        try:
            proof = hold_out(opened, (0.5, 0.5)).proof()
        except DataError:
            return "read"  # too few to split
    assert not any(proof["patients_in_both"].values())
    return "read"


def check_boxes(boxes: np.ndarray) -> None:
    assert (np.abs(boxes) <= FARTHEST_PX).all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()


# --- Splits -------------------------------------------------------------------------------------


@cache
def _split_seeds() -> list[bytes]:
    pictures = pd.Series(["p", "q", "q", "r", None, "s"])
    with tempfile.TemporaryDirectory() as folder:
        plain, compared = Path(folder, "a.json"), Path(folder, "b.json")
        hold_out(catalog(), (0.6, 0.4)).save(plain)
        hold_out(catalog(), (0.4, 0.3, 0.3), contents=pictures).save(compared)
        patients = {
            "schema": "hilum.patients/1",
            "parts": {"test": ["1", "x"], "validation": ["2"]},
        }
        return [plain.read_bytes(), compared.read_bytes(), json.dumps(patients).encode()]


def _split(data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s.json")
        path.write_bytes(data)
        held = held_patients(path)
        if held is not None:
            assert all(isinstance(part, str) and part for part in held.values())
            named = {
                person(one) for own in json.loads(_text(data))["parts"].values() for one in own
            }
            assert set(held) == named
            return "read"
        split = open_split(path)
        own = json.loads(_text(data))["parts"]
        assert len(split.table) == sum(map(len, own.values()))  # everyone who is named
        proof = split.proof()
        assert not any({**proof["patients_in_both"], **proof["contents_in_both"]}.values())
        split.apply(catalog())
    return "read"


def _text(data: bytes) -> str:
    from hilum.core.documents import decoded

    return decoded(data)


# --- Tables of the challenges -------------------------------------------------------------------

_RSNA = (
    "patientId,x,y,width,height,Target\n"
    "a,10,20,30.5,40,1\na,1,2,3,4,1\nb,,,,,0\nc,100,200,50,60,1\nd,,,,,0\n"
)
_RSNA_SUBMISSION = (
    "patientId,PredictionString\na,0.9 10 20 30 40 0.5 1 2 3 4\nb,\nc,0.1 5 5 9 9\nd,\n"
)
_SIIM = (
    "id,PredictionString\n1_study,typical 1 0 0 1 1\n2_study,negative 1 0 0 1 1\n"
    "a_image,opacity 1 10 20 30 40 opacity 1 50 50 90 80\nb_image,none 1 0 0 1 1\n"
)
_SIIM_SUBMISSION = (
    "id,PredictionString\n1_study,typical 0.5 0 0 1 1 negative 0.25 0 0 1 1\n"
    "2_study,negative 0.75 0 0 1 1\na_image,opacity 0.9 10 20 30 40 none 0.1 0 0 1 1\n"
    "b_image,none 0.5 0 0 1 1\n"
)
_ACR = "ImageId,EncodedPixels\na,100 5 20 6\na,1000 50\nb,-1\nc, -1\n"
_ACR_SUBMISSION = "ImageId,EncodedPixels\na,100 5 20 6\nb,-1\nc,5 5\n"
_PAIRS = {
    "rsna": (_RSNA, _RSNA_SUBMISSION),
    "siim-covid": (_SIIM, _SIIM_SUBMISSION),
    "siim-acr": (_ACR, _ACR_SUBMISSION),
}


def _challenge_of(data: bytes) -> tuple[str, bool]:
    """Which challenge's table it is like, and whether its truth."""
    head = data[:400].replace(b"\0", b"")
    if b"Encoded" in head or b"ImageId" in head:
        return "siim-acr", b"1000 50" in data
    if b"patientId" in head or b"Target" in head:
        return "rsna", b"Target" in head
    return "siim-covid", b"typical 1 " in data


def _table(data: bytes) -> str:
    name, is_truth = _challenge_of(data)
    with tempfile.TemporaryDirectory() as folder:
        truth, submission = Path(folder, "truth.csv"), Path(folder, "submission.csv")
        for path, text in zip((truth, submission), _PAIRS[name], strict=True):
            path.write_text(text)
        (truth if is_truth else submission).write_bytes(data)
        scored = score_submission(name, [truth], submission)
        assert np.isnan(scored["score"]) or 0 <= scored["score"] <= 1
        if name != "siim-acr" and not is_truth:
            read = read_predictions(submission)
            for image in read.images.values():
                check_boxes(image.boxes)
                assert all(0 <= score <= 1 for score in (*image.scores, *image.whole.values()))
    return "read"


# --- Annotations in the forms of others ---------------------------------------------------------

_VINDR = (
    "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
    "a,Lung Opacity,7,R1,10,20,30,40\na,Lung Opacity,7,R2,11,20,30,40\nb,No finding,14,R1,,,,\n"
)
_COVID = (
    "id,boxes,label,StudyInstanceUID\n"
    "a_image,\"[{'x': 1.5, 'y': 2, 'width': 30, 'height': 40}]\",opacity 1 1.5 2 31.5 42,s\n"
    "b_image,,none 1 0 0 1 1,t\n"
)
_SIIM_ACR_TABLE = "ImageId, EncodedPixels\na, 100 5 20 6\nb, -1\n"
_NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
    "a.png,Mass|Nodule,0,1,058Y,M,PA\nb.png,No Finding,1,1,59,F,AP\n"
)
_CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Lung Opacity\n"
    "CheXpert-v1.0/train/patient1/study1/view1_frontal.jpg,Female,68,Frontal,AP,,1.0\n"
    "CheXpert-v1.0/train/patient2/study1/view1_frontal.jpg,Male,40,Frontal,PA,1.0,-1.0\n"
)
_MIMIC = (
    "dicom_id,subject_id,study_id,ViewPosition,ViewCodeSequence_CodeMeaning\n"
    "a,10000032,50414267,PA,postero-anterior\nb,10000764,57375967,,lateral\n"
)
_MIMIC_LABELS = "subject_id,study_id,Edema\n10000032,50414267,1.0\n10000764,57375967,-1.0\n"
_COCO = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": 64, "height": 48, "patient": "p"},
        {"id": 2, "file_name": "b.png", "width": 64, "height": 48, "patient": "q"},
    ],
    "categories": [{"id": 1, "name": "opacity"}, {"id": 2, "name": "mass"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 200},
        {
            **{"id": 2, "image_id": 1, "category_id": 2, "bbox": [5, 5, 9, 9], "iscrowd": 0},
            "segmentation": [[5, 5, 14, 5, 14, 14, 5, 14]],
        },
        {
            **{"id": 3, "image_id": 2, "category_id": 2, "bbox": [0, 0, 4, 4], "iscrowd": 1},
            "segmentation": {"counts": [0, 4, 3068], "size": [48, 64]},
        },
    ],
}
_VOC = """<?xml version="1.0"?>
<annotation><filename>a.png</filename>
<size><width>64</width><height>48</height><depth>1</depth></size>
<object><name>opacity</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax>
</bndbox></object></annotation>
"""
# Set -> the file that is changed, what it holds, what else lies there.
_SETS: dict[str, tuple[str, str, dict[str, str]]] = {
    "rsna": ("stage_2_train_labels.csv", _RSNA, {}),
    "vindr": ("train.csv", _VINDR, {}),
    "siim-covid": ("train_image_level.csv", _COVID, {}),
    "siim-acr": ("train-rle.csv", _SIIM_ACR_TABLE, {}),
    "nih": ("Data_Entry_2017.csv", _NIH, {}),
    "chexpert": ("train.csv", _CHEXPERT, {}),
    "mimic-cxr": (
        *("mimic-cxr-2.0.0-metadata.csv", _MIMIC),
        {"mimic-cxr-2.0.0-chexpert.csv": _MIMIC_LABELS},
    ),
    "coco": ("annotations/a.json", json.dumps(_COCO), {"a.png": "", "b.png": ""}),
    "voc": ("Annotations/a.xml", _VOC, {"a.png": ""}),
}


def _tagged(name: str, content: bytes) -> bytes:
    """The set's name is the first line: one door for all."""
    return name.encode() + b"\n" + content


def _untagged(data: bytes) -> tuple[str, bytes]:
    head, _, content = data.partition(b"\n")
    name = head.decode(errors="replace")
    return (name, content) if name in _SETS else ("rsna", data)


@cache
def _annotation_seeds() -> list[bytes]:
    return [_tagged(name, text.encode()) for name, (_, text, _) in _SETS.items()]


def _annotation_shape(rng: random.Random, data: bytes) -> bytes:
    name, content = _untagged(data)
    if name == "coco":
        return _tagged(name, json_shape(rng, content))
    if name == "voc":
        return _tagged(name, _xml_shape(rng, content))
    return _tagged(name, csv_shape(rng, content))


_ENTITIES = b"""<!DOCTYPE a [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">
<!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;">
<!ENTITY g "&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;"><!ENTITY h SYSTEM "file:///etc/passwd">]>
"""


def _xml_shape(rng: random.Random, content: bytes) -> bytes:
    words = [b"30", b"1", b"64", b"opacity", b"a.png", b"xmin", b"bndbox", b"object", b"size"]
    for _ in range(rng.choice((1, 1, 2))):
        new = rng.choice(
            (
                *(str(value(rng)).encode(errors="replace")[:200], b"", b"nan", b"1e999", b"-5"),
                *(b"<a>" * 3000, b"&g;", b"&h;", b"<b/>", b"<!-- -->", b"<![CDATA[x]]>"),
            )
        )
        content = content.replace(rng.choice(words), new, rng.choice((1, 2)))
    if rng.random() < 0.2:
        content = content.replace(b"<annotation>", _ENTITIES + b"<annotation>", 1)
    return content


def _annotation(data: bytes) -> str:
    name, content = _untagged(data)
    file, _, beside = _SETS[name]
    with tempfile.TemporaryDirectory() as folder:
        for other, text in {**beside, file: ""}.items():
            path = Path(folder, other)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        Path(folder, file).write_bytes(content)
        read = load(name, folder)
        for truth in truths_of(read):
            if truth.boxes_px is not None:
                check_boxes(truth.boxes_px)
        read.save(Path(folder, "c.parquet"))
        assert len(open_catalog(Path(folder, "c.parquet"))) == len(read)
    return "read"


TABLES: dict[str, Door] = {
    "catalog": Door(_catalog_seeds, _catalog, shape=_catalog_shape),
    "split": Door(_split_seeds, _split, shape=json_shape),
    "challenge table": Door(
        lambda: [text.encode() for pair in _PAIRS.values() for text in pair],
        _table,
        shape=csv_shape,
    ),
    "annotations": Door(_annotation_seeds, _annotation, shape=_annotation_shape),
}
