"""The training sets of `$HILUM_DATA` (NAME.zip of WebP images and PNG masks + NAME.csv) -> Catalog.

Each function takes the data folder. Nothing here decodes pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog, build

NIH_FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema"),
    *("Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening"),
    *("Pneumonia", "Pneumothorax"),
)
SIIM_SIDE = 1024  # of the masks of the pneumothorax challenge
RSNA_CLASSES = {
    "Normal": "normal",
    "No Lung Opacity / Not Normal": "not-normal",
    "Lung Opacity": "opacity",
}


def _table(folder: Path, name: str) -> tuple[pd.DataFrame, set[str]]:
    csv, archive = folder / f"{name}.csv", folder / f"{name}.zip"
    for file in (csv, archive):
        if not file.is_file():
            raise DataError(f"set {name!r} needs {file}, which is not there")
    with ZipFile(archive) as opened:
        members = set(opened.namelist())
    return pd.read_csv(csv, dtype={"id": str, "patient": str, "patientid": str}), members


def _one_hot(names: pd.Series[str], classes: dict[str, str]) -> pd.DataFrame:
    """label_<class> columns: 1 / 0 where the class is known, NaN elsewhere."""
    known = names.isin(list(classes))
    columns = {
        f"label_{short}": np.where(known, names == text, np.nan) for text, short in classes.items()
    }
    return pd.DataFrame(columns, index=names.index, dtype="float32")


def nih_128(folder: Path) -> Catalog:
    """NIH frontals at 128 px; all carry the 14 NIH findings, 1,493 RSNA classes and boxes, 731 the
    pneumothorax labels and masks of SIIM-ACR."""
    rows, _ = _table(folder, "nih_128")
    findings = rows["finding"].fillna("").str.split("|")
    nih = pd.DataFrame(
        {f"label_nih_{f}": findings.map(lambda found, f=f: f in found) for f in NIH_FINDINGS},
        dtype="float32",
    )
    boxes: list[list[float] | None] = []
    labels: list[list[str] | None] = []
    for text, rsna_class in zip(rows["rsna_boxes_xywh_1024"], rows["rsna_class"], strict=True):
        if rsna_class not in RSNA_CLASSES:
            boxes.append(None)
            labels.append(None)
            continue
        xywh = np.array(json.loads(text) if isinstance(text, str) else [], float).reshape(-1, 4)
        corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1) / 8
        boxes.append(corners.ravel().tolist())
        labels.append(["opacity"] * len(corners))
    table = pd.DataFrame(
        {
            "image_id": rows["id"],
            "path": "nih_128.zip!images/" + rows["id"].str.removesuffix(".png") + ".webp",
            "patient": "nih-" + rows["patient"],
            "view": rows["view"],
            "sex": rows["sex"],
            "age": rows["age"],
            "width": rows["w"],
            "height": rows["h"],
            "source": "nih_128",
            "boxes": pd.Series(boxes, dtype=object),
            "box_labels": pd.Series(labels, dtype=object),
        }
    )
    drawn = rows["siim_ptx"].map({0: "", 1: None}).astype(object)
    coded = rows["siim_rle"].notna()
    drawn[coded] = rows.loc[coded, "siim_rle"].map(
        lambda text: f"rle:{SIIM_SIDE}x{SIIM_SIDE}:" + ";".join(json.loads(text))
    )
    table["label_pneumothorax"] = rows["siim_ptx"].astype("float32")
    table["mask_pneumothorax"] = drawn.where(drawn.notna(), None)
    table = pd.concat([table, _one_hot(rows["rsna_class"], RSNA_CLASSES), nih], axis=1)
    return build("nih_128", table, folder)


def covid_opacity_512(folder: Path) -> Catalog:
    """83 adults with opacity masks; boxes are the components, in the pixels of the WebP."""
    rows, members = _table(folder, "covid_opacity_512")
    listed = pd.read_csv(folder / "covid_opacity_512_boxes.csv")
    listed = listed[listed["class"].isin(["ggo", "consolidation"])]
    scale = (512 / rows[["w", "h"]].max(axis=1)).clip(upper=1).set_axis(rows["image"])
    factor = listed["image"].map(scale)
    corners = pd.DataFrame(
        {
            "x1": listed["x"] * factor,
            "y1": listed["y"] * factor,
            "x2": (listed["x"] + listed["w"]) * factor,
            "y2": (listed["y"] + listed["h"]) * factor,
        }
    )
    grouped = {
        image: corners.loc[index].to_numpy().ravel().tolist()
        for image, index in listed.groupby("image").groups.items()
    }
    boxes = rows["image"].map(lambda image: grouped.get(image, []))
    sizes = rows[["w", "h"]].mul(np.minimum(1, 512 / rows[["w", "h"]].max(axis=1)), axis=0)
    table = pd.DataFrame(
        {
            "image_id": rows["image"],
            "path": "covid_opacity_512.zip!images/" + rows["image"] + ".webp",
            "patient": "covid-" + rows["group"].astype(str),
            "view": rows["view"],
            "width": sizes["w"].round(),
            "height": sizes["h"].round(),
            "source": "covid_opacity_512",
            "boxes": boxes,
            "box_labels": boxes.map(lambda flat: ["opacity"] * (len(flat) // 4)),
            "label_opacity": boxes.map(lambda flat: float(len(flat) > 0)),
        }
    )
    for mask in ("ggo", "consolidation", "lung_l", "lung_r"):
        member = "masks/" + rows["image"] + f"__{mask}.png"
        found = member.isin(list(members))
        empty = None if mask.startswith("lung") else ""
        table[f"mask_{mask}"] = ("covid_opacity_512.zip!" + member).where(found, empty)
    return build("covid_opacity_512", table, folder)


def _with_lungs(
    folder: Path,
    name: str,
    ids: str,
    patient: Callable[[pd.DataFrame], pd.Series[str]],
    normal: str | None = None,
) -> Catalog:
    """A set whose annotation is one lung mask per image.

    Where `normal` names the normal finding, every other finding is "not normal" without saying
    whether it is an opacity: label_normal 0, the others unknown.
    """
    rows, members = _table(folder, name)
    member = "lung_masks/" + rows[ids] + ".png"
    table = pd.DataFrame(
        {
            "image_id": rows[ids],
            "path": f"{name}.zip!images/" + rows[ids] + ".webp",
            "patient": patient(rows),
            "view": rows.get("view"),
            "sex": rows.get("sex"),
            "age": rows.get("age"),
            "source": name,
            "mask_lungs": (f"{name}.zip!" + member).where(member.isin(list(members))),
        }
    )
    if normal is not None:
        healthy = rows["finding"] == normal
        table["label_normal"] = healthy.astype("float32")
        for other in ("not-normal", "opacity"):
            table[f"label_{other}"] = np.where(healthy, 0.0, np.nan)
    return build(name, table, folder)


def covid_adult_512(folder: Path) -> Catalog:
    """585 adults, 407 with lung masks (lung behind the heart included)."""
    return _with_lungs(folder, "covid_adult_512", "image", lambda r: "covid-" + r["patientid"])


def shenzhen_512(folder: Path) -> Catalog:
    """566 adults with lung masks (without the lung behind the heart)."""
    return _with_lungs(folder, "shenzhen_512", "id", lambda r: "shenzhen-" + r["patient"], "Normal")


def jsrt_128(folder: Path) -> Catalog:
    """245 adults with lung masks (without the lung behind the heart)."""
    return _with_lungs(folder, "jsrt_128", "id", lambda r: "jsrt-" + r["patient"], "Normal")


def kermany_lungs_320(folder: Path) -> Catalog:
    """2,125 children with lung masks (lung behind the heart included)."""

    def patient(rows: pd.DataFrame) -> pd.Series[str]:
        stem = rows["image"].str
        person = stem.extract(r"^(person\d+)_")[0]
        return "kermany-" + person.fillna(stem.replace(r"-\d+$", "", regex=True))

    return _with_lungs(folder, "kermany_lungs_320", "image", patient)


SETS: dict[str, Callable[[Path], Catalog]] = {
    made.__name__: made
    for made in (
        *(nih_128, covid_opacity_512, covid_adult_512, shenzhen_512, jsrt_128, kermany_lungs_320),
    )
}


def load_set(name: str, folder: str | Path) -> Catalog:
    """One of the sets of `$HILUM_DATA` by name.

    Raises:
        DataError: unknown name (the known ones are listed) or missing files.
    """
    if name not in SETS:
        raise DataError(f"unknown set {name!r}; known: {', '.join(SETS)}")
    return SETS[name](Path(folder))
