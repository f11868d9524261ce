"""A catalog comes back from every form of export as it went out, whatever its images are called."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.sets import picture
from hilum.data import Catalog, load
from hilum.data.catalog import build
from hilum.data.convert import convert
from hilum.data.formats.file_names import file_names, tree_names
from hilum.data.pixels import open_mask

SAME = ["patient", "study", "view", "sex", "split", "width", "height", "age", "label_opacity"]
NASTY = [
    *(
        "a",
        "b/a",
        "c/a",
        "a.b",
        "a.b.c",
        "x/a b",
        "x/ a",
        "é/ü",
        "A",
        "B/a",
        "images/a",
        "labels/a",
    ),
    *("train/a", "val/a", "images/train/a", "patient1/view1", "patient2/view1", "a.txt/b", "-a"),
    *(
        "x.png/a",
        "100%",
        "a#b",
        "a&b<c>",
        "it's",
        'quo"te',
        "a,b",
        "a;b",
        "wow!",
        "images/images/a",
    ),
]


def catalog_of(names: list[str], suffixes: list[str], root: Path) -> Catalog:
    """Four kinds of rows: boxes, none, a label without file, and text of every kind."""
    rows = []
    for i, (name, suffix) in enumerate(zip(names, suffixes, strict=True)):
        path = f"{name}{suffix}"
        rows.append(
            {
                "image_id": path if suffix == ".jpg" else name,
                "path": path if suffix else "",
                "patient": "0" if i == 0 else f"p {i // 2}",
                "study": f"1.2.{i}",
                "view": "PA",
                "sex": "F" if i % 2 else "",
                "split": ("train", "validation", "fold-1", "", "all")[i % 5],
                "age": float(i) if i % 3 else np.nan,
                "width": 40 + i,
                "height": 50,
                "boxes": [] if i % 3 == 1 else [1.0, 2, 11, 22, 5, 5, 9, 50],
                "box_labels": [] if i % 3 == 1 else ["opacity", "a nodule"],
                "label_opacity": (np.nan, 0.0, 1.0)[i % 3],
                "mask_lungs": f"rle:50x{40 + i}:{i + 1} 7",
            }
        )
    return build("nasty", pd.DataFrame(rows), root)


def same(want: Catalog, got: Catalog, form: str, mask: str = "") -> None:
    own = want.table.set_index("image_id").sort_index()
    back = got.table.set_index("image_id").sort_index()
    assert own.index.tolist() == back.index.tolist(), form
    pd.testing.assert_frame_equal(own[SAME], back[SAME], check_dtype=False)
    for image in own.index if not mask else ():
        assert back["boxes"][image] == pytest.approx(list(own["boxes"][image]), abs=1e-6), form
        assert back["box_labels"][image] == list(own["box_labels"][image]), form
    for image in own.index if mask else ():
        size = int(own["height"][image]), int(own["width"][image])
        a = open_mask(want.root, own["mask_lungs"][image], *size)
        np.testing.assert_array_equal(a, open_mask(got.root, back[mask][image], *size))


def pictures(catalog: Catalog, root: Path) -> None:
    for i, row in enumerate(catalog.table.itertuples()):
        if row.path:
            picture(root / str(row.path), int(row.width), int(row.height), seed=i)


def without_pictures(catalog: Catalog, form: str, out: Path) -> None:
    assert convert(catalog, form, out).images == len(catalog)
    same(catalog, load(form, out), form)


def there_and_back(catalog: Catalog, folder: Path) -> None:
    for form in ("coco", "voc", "yolo"):
        out = folder / form
        without_pictures(catalog, form, out)
        pictures(catalog, out)
        again = load(form, out)
        same(catalog, again, form)
        paths = dict(zip(catalog.table["image_id"], catalog.table["path"], strict=True))
        assert dict(zip(again.table["image_id"], again.table["path"], strict=True)) == paths
    convert(catalog, "rle", folder / "rle", "lungs")
    again = load("siim-acr", folder / "rle", headers=False)
    table = again.table.drop(columns="label_pneumothorax")
    same(catalog, Catalog("x", table, again.root), "rle", "mask_pneumothorax")
    there = catalog.where(catalog.table["path"] != "")
    if not len(there):
        return
    convert(there, "masks", folder / "masks", "lungs")
    pictures(there, folder / "masks/images")
    mapping = {"image_id": "image_id", "mask_lungs": "mask"}
    own: dict[str, Any] = {"folder": "images", "table": "masks.csv", "columns": mapping}
    same(there, load("folder", folder / "masks", **own), "masks", "mask_lungs")


def test_nasty_names(tmp_path: Path) -> None:
    suffixes = [(".png", "", ".PNG", ".jpg")[i % 4] for i in range(len(NASTY))]
    catalog = catalog_of(NASTY, suffixes, tmp_path / "source").with_files()
    there_and_back(catalog, tmp_path)


def test_one_stem_in_two_formats(tmp_path: Path) -> None:
    catalog = catalog_of(["x/a", "x/a", "y/a"], [".png", ".jpg", ".png"], tmp_path / "source")
    table = catalog.table.assign(image_id=["x/a.png", "x/a.jpg", "y/a"])
    there_and_back(Catalog("twins", table, catalog.root), tmp_path)


part = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Cn")), min_size=1
)
part = part.filter(lambda t: not set(t) & set("/\\!") and t.strip(".") and not t.startswith("."))
paths = st.lists(st.lists(part, min_size=1, max_size=3).map("/".join), min_size=1, max_size=6)


@settings(max_examples=12, deadline=None)
@given(paths, st.sampled_from(["coco", "voc", "yolo"]))
@example(["train/0001", "val/0001"], "voc")
@example(["patient1/view1", "patient2/view1", "patient3/view1"], "yolo")
def test_whatever_images_are_called(names: list[str], form: str) -> None:
    unique = list({n.casefold(): n for n in names if len(n.encode()) < 150}.values())
    unique = [n for n in unique if not any(o.casefold().startswith(f"{n}.") for o in unique)]
    if not unique:
        return
    with tempfile.TemporaryDirectory() as folder:
        catalog = catalog_of(unique, [""] * len(unique), Path(folder) / "source")
        without_pictures(catalog, form, Path(folder) / "out")


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
def test_no_two_files_have_one_name(names: list[str]) -> None:
    names = [n for n in names if n.isprintable()]
    for result in (file_names(names), tree_names(names)):
        lower = [name.casefold() for name in result.values()]
        assert len(set(lower)) == len(names)
        for name in result.values():
            parts = name.split("/")
            assert all(p not in ("", ".", "..") and len(p.encode()) < 240 for p in parts)
            assert not name.startswith(("/", "."))


def test_exports_never_overwrite(tmp_path: Path) -> None:
    """The case that was found: three patients with a view1.png each."""
    rows = [
        {"image_id": f"patient{p}/view1", "path": f"patient{p}/view1.png", "patient": f"p{p}",
         "width": 100, "height": 100, "boxes": [p * 10.0, 10, p * 10 + 20.0, 30],
         "box_labels": ["opacity"], "split": "train"}
        for p in (1, 2, 3)
    ]  # fmt: skip
    catalog = build("views", pd.DataFrame(rows), tmp_path)
    for form, suffix in (("yolo", "txt"), ("voc", "xml")):
        convert(catalog, form, tmp_path / form)
        folder = tmp_path / form / ("labels" if form == "yolo" else "Annotations")
        assert len(list(folder.rglob(f"*.{suffix}"))) == 3
    for p in (1, 2, 3):
        image = Image.fromarray(np.full((100, 100), p, np.uint8))
        (tmp_path / f"patient{p}").mkdir()
        image.save(tmp_path / f"patient{p}/view1.png")
    from hilum.data.images import ImageFormat, finish, write_images

    copies, _ = finish(
        catalog, list(write_images(catalog, ImageFormat(), tmp_path / "o")), tmp_path / "o"
    )
    assert copies.table["path"].nunique() == 3
    greys = [np.asarray(Image.open(copies.root / p)).max() for p in copies.table["path"]]
    assert greys == [1, 2, 3]
