"""The COVID sets: the SIIM-FISABIO-RSNA challenge, drawn opacities, weak infection masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hilum.data.adapters.siim_covid import APPEARANCE
from hilum.data.catalog import Catalog, build
from hilum.data.sets.common import corners, image_reference, one_hot, table_of, with_boxes


def siim_covid_256(folder: Path) -> Catalog:
    """5,065 challenge images, shorter side 256; 3,433 with 6,274 opacity boxes.

    `patient` is the group that joins studies and repeated images. Where the study is positive
    and the image has no box (232), the challenge's truth is "none": boxes are known to be empty,
    but whether the image shows an opacity is unknown.
    """
    name = "siim_covid_256"
    rows, _ = table_of(folder, name)
    boxes: list[list[float] | None] = [corners(text) for text in rows["boxes_xywh"]]
    negative = rows["study_class"] == APPEARANCE["negative"]
    drawn = np.array([bool(flat) for flat in boxes])
    table = pd.DataFrame(
        {
            "image_id": rows["id"],
            "path": image_reference(name, rows["id"]),
            "patient": "siim-" + rows["split_group"],
            "study": rows["study"],
            "width": rows["w"],
            "height": rows["h"],
            "source": name,
            "label_opacity": np.where(drawn, 1.0, np.where(negative, 0.0, np.nan)),
        }
    )
    appearance = {text: short for short, text in APPEARANCE.items()}
    studies = one_hot(rows["study_class"], appearance, "study")
    return build(name, pd.concat([with_boxes(table, boxes), studies], axis=1), folder)


def covid_qu_256(folder: Path) -> Catalog:
    """2,819 COVID frontals with lung masks and weak infection masks.

    Beside radiologists' boxes of the same images three quarters of the infection mask lie
    inside, at an IoU of .35: what is marked is opacity, what is not marked is unknown. The patient
    is the challenge's where the same image is in `siim_covid_256` (470). Where its radiologists
    called the study negative (37), the infection mask is unknown: nobody knows who is right.
    """
    name = "covid_qu_256"
    rows, _ = table_of(folder, name)
    challenge = table_of(folder, "siim_covid_256")[0].set_index("id")
    group = rows["siim_covid_id"].map(challenge["split_group"])
    study = rows["siim_covid_id"].map(challenge["study_class"])
    infection = f"{name}.zip!infection/" + rows["id"] + ".png"
    own = "siim-image-" + rows["siim_covid_id"]
    table = pd.DataFrame(
        {
            "image_id": rows["id"],
            "path": image_reference(name, rows["id"]),
            "patient": ("siim-" + group).fillna(own).fillna("covid-qu-" + rows["id"]),
            "width": 256,
            "height": 256,
            "source": name,
            "mask_infection": infection.mask(study == APPEARANCE["negative"], None),
            "mask_lungs": f"{name}.zip!lungs/" + rows["id"] + ".png",
        }
    )
    return build(name, table, folder)


def covid_opacity_512(folder: Path) -> Catalog:
    """83 adults with opacity masks; boxes are the components, in the pixels of the WebP."""
    rows, members = table_of(folder, "covid_opacity_512")
    listed = pd.read_csv(folder / "covid_opacity_512_boxes.csv")
    listed = listed[listed["class"].isin(["ggo", "consolidation"])]
    scale = (512 / rows[["w", "h"]].max(axis=1)).clip(upper=1).set_axis(rows["image"])
    factor = listed["image"].map(scale)
    edges = pd.DataFrame(
        {
            "x1": listed["x"] * factor,
            "y1": listed["y"] * factor,
            "x2": (listed["x"] + listed["w"]) * factor,
            "y2": (listed["y"] + listed["h"]) * factor,
        }
    )
    grouped = {
        image: edges.loc[index].to_numpy().ravel().tolist()
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
        there = member.isin(list(members))
        empty = None if mask.startswith("lung") else ""
        table[f"mask_{mask}"] = ("covid_opacity_512.zip!" + member).where(there, empty)
    return build("covid_opacity_512", table, folder)
