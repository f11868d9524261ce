"""The sets made of NIH ChestX-ray14: one patient has one name, `nih-<patient>`, in all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from hilum.data.catalog import Catalog, build
from hilum.data.sets.common import corners, image_reference, one_hot, table_of, with_boxes

NIH_FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema"),
    *("Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening"),
    *("Pneumonia", "Pneumothorax"),
)
RSNA_SIDE, SIIM_SIDE = 1024, 1024  # px of the challenges' boxes and masks
RSNA_CLASSES = {
    "Normal": "normal",
    "No Lung Opacity / Not Normal": "not-normal",
    "Lung Opacity": "opacity",
}


def nih_128(folder: Path) -> Catalog:
    """7,115 frontals at 128 px; all carry the 14 NIH findings, 1,493 RSNA classes and boxes, 731
    the pneumothorax labels and masks of SIIM-ACR."""
    return _of_nih(folder, "nih_128", 128)


def rsna_128(folder: Path) -> Catalog:
    """11,406 RSNA images at 128 px, subsampled without smoothing: grainier than `nih_128`."""
    return _of_nih(folder, "rsna_128", 128)


def rsna_256(folder: Path) -> Catalog:
    """1,507 RSNA images at 256 px, 1,196 of them in `rsna_128` too; no "not normal"."""
    return _of_nih(folder, "rsna_256", 256)


def nih_512(folder: Path) -> Catalog:
    """795 frontals at 512 px, 288 of them with RSNA classes and boxes."""
    return _of_nih(folder, "nih_512", 512)


def siim_unlabelled_512(folder: Path) -> Catalog:
    """1,944 frontals at 512 px, for pretraining only: nobody said what they show.

    Where the NIH patient is unknown (1,847), each image is a patient of its own.
    """
    name = "siim_unlabelled_512"
    rows, _ = table_of(folder, name)
    table = _frame(rows, name, 512)
    table["patient"] = _patients(rows, "siim-acr-" + rows["id"])
    return build(name, table, folder)


def _of_nih(folder: Path, name: str, side: int) -> Catalog:
    rows, _ = table_of(folder, name)
    table = _frame(rows, name, side)
    unknown = rows["rsna_id"].fillna(rows["id"])
    table["patient"] = _patients(rows, "rsna-" + unknown)
    boxes = [
        corners(text, side / RSNA_SIDE) if kind in RSNA_CLASSES else None
        for text, kind in zip(rows["rsna_boxes_xywh_1024"], rows["rsna_class"], strict=True)
    ]
    table = with_boxes(table, boxes)
    table["label_pneumothorax"] = rows["siim_ptx"].astype("float32")
    table["mask_pneumothorax"] = _pneumothorax(rows)
    return build(
        name,
        pd.concat([table, one_hot(rows["rsna_class"], RSNA_CLASSES), _findings(rows)], axis=1),
        folder,
    )


def _frame(rows: pd.DataFrame, name: str, side: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": rows["id"],
            "path": image_reference(name, rows["id"]),
            "view": rows["view"],
            "sex": rows["sex"],
            "age": rows["age"],
            "width": side,
            "height": side,
            "source": name,
        }
    )


def _patients(rows: pd.DataFrame, otherwise: pd.Series[str]) -> pd.Series[str]:
    """The NIH patient, eight digits wide in every table; else a name of its own."""
    known = rows["patient"].notna()
    numbers = rows["patient"].str.removesuffix(".0").str.zfill(8)
    return ("nih-" + numbers).where(known, otherwise)


def _findings(rows: pd.DataFrame) -> pd.DataFrame:
    """The 14 text-mined findings; unknown where the NIH image is."""
    known = rows["finding"].notna()
    lists = rows["finding"].fillna("").str.split("|")
    return pd.DataFrame(
        {
            f"label_nih_{name}": lists.map(lambda names, name=name: float(name in names)).where(
                known
            )
            for name in NIH_FINDINGS
        },
        dtype="float32",
    )


def _pneumothorax(rows: pd.DataFrame) -> pd.Series[str]:
    drawn = rows["siim_ptx"].map({0: "", 1: None}).astype(object)
    coded = rows["siim_rle"].notna()
    drawn[coded] = rows.loc[coded, "siim_rle"].map(
        lambda text: f"rle:{SIIM_SIDE}x{SIIM_SIDE}:" + ";".join(json.loads(text))
    )
    return drawn.where(drawn.notna(), None)
