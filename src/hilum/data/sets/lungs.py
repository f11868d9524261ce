"""The sets whose annotation is one lung mask per image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.data.catalog import Catalog, build
from hilum.data.sets.common import table_of


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
    rows, members = table_of(folder, name)
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
    return _with_lungs(
        folder, "shenzhen_512", "id", patient=lambda r: "shenzhen-" + r["patient"], normal="Normal"
    )


def jsrt_128(folder: Path) -> Catalog:
    """245 adults with lung masks (without the lung behind the heart)."""
    return _with_lungs(
        folder, "jsrt_128", "id", patient=lambda r: "jsrt-" + r["patient"], normal="Normal"
    )


def kermany_lungs_320(folder: Path) -> Catalog:
    """2,125 children with lung masks (lung behind the heart included)."""

    def patient(rows: pd.DataFrame) -> pd.Series[str]:
        stem = rows["image"].str
        person = stem.extract(r"^(person\d+)_")[0]
        return "kermany-" + person.fillna(stem.replace(r"-\d+$", "", regex=True))

    return _with_lungs(folder, "kermany_lungs_320", "image", patient)
