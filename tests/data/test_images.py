"""Radiographs as PNG and WebP: same greys, boxes that map back, and nothing lost on the way."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hilum.core.errors import ConfigError, DataError
from hilum.data import Catalog, open_catalog
from hilum.data.catalog import build
from hilum.data.export import export
from hilum.data.images import ImageFormat, finish, write_images
from hilum.data.phantom.encode import dicom_bytes
from hilum.data.phantom.phantom import phantom, write_mask
from hilum.data.pixels import open_mask, open_radiograph

SIZES = ((96, 64), (64, 81), (70, 70))  # width, height


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    root = tmp_path / "set"
    root.mkdir()
    rows = []
    for seed, (width, height) in enumerate(SIZES):
        image = phantom(seed, width, height, opacities=seed)
        (root / f"{seed}.dcm").write_bytes(
            dicom_bytes(
                image.pixels,
                seed=seed,
                bits=16,
                photometric=f"MONOCHROME{1 + seed % 2}",
                spacing_mm=(0.2, 0.1),
            )
        )
        write_mask(image.masks["opacity"], root / f"m{seed}.png")
        rows.append(
            {
                "image_id": f"a/{seed}",
                "path": f"{seed}.dcm",
                "patient": f"p{seed // 2}",
                "split": "train",
                "boxes": (image.boxes_px + 0.3).ravel().tolist() if seed else None,
                "box_labels": ["opacity"] * len(image.boxes_px) if seed else None,
                "label_opacity": float(seed > 0),
                "mask_opacity": f"m{seed}.png" if seed else None,
            }
        )
    (root / "bad.dcm").write_bytes((root / "0.dcm").read_bytes()[:2000])
    rows += [
        {"image_id": "bad", "path": "bad.dcm", "patient": "q"},
        {"image_id": "lost", "path": "", "patient": "q"},
    ]
    return build("phantoms", pd.DataFrame(rows), root)


def run(catalog: Catalog, wanted: ImageFormat, out: Path) -> tuple[Catalog, pd.DataFrame]:
    return finish(catalog, list(write_images(catalog, wanted, out)), out)


@pytest.mark.parametrize(("form", "bits"), [("png", 8), ("png", 16), ("webp", 8)])
def test_greys_are_those_of_the_radiograph(
    catalog: Catalog, tmp_path: Path, form: str, bits: int
) -> None:
    copies, _ = run(catalog, ImageFormat(form, bits), tmp_path / "out")
    for i in range(3):
        want = open_radiograph(catalog.root, f"{i}.dcm")
        got = open_radiograph(copies.root, copies.table["path"][i])
        assert got.decoding.bits_stored == bits
        assert np.abs(got.pixels - want.pixels).max() <= 0.5001 / (2**bits - 1)


def test_boxes_masks_and_spacing_are_scaled_and_map_back(catalog: Catalog, tmp_path: Path) -> None:
    copies, _ = run(catalog, ImageFormat("png", 8, 48), tmp_path / "out")
    for i, (width, height) in enumerate(SIZES):
        row = copies.table.iloc[i]
        assert max(row["width"], row["height"]) == 48
        assert row["width"] / row["height"] == pytest.approx(width / height, rel=0.02)
        picture = cv2.imread(str(copies.root / row["path"]), cv2.IMREAD_UNCHANGED)
        assert picture.shape == (row["height"], row["width"])
        assert row["spacing_column_mm"] * row["width"] == pytest.approx(0.1 * width)
        assert row["spacing_row_mm"] * row["height"] == pytest.approx(0.2 * height)
        if not i:
            assert copies.boxes(i) is None
            assert row["mask_opacity"] is None
            continue
        back, flat = copies.original_boxes(i), catalog.table["boxes"][i]
        assert back is not None
        np.testing.assert_allclose(back[0].ravel(), flat, rtol=1e-14)
        small = copies.boxes(i)
        assert small is not None
        np.testing.assert_allclose(small[0][:, 0] / row["width"], np.array(flat)[::4] / width, 1e-6)
        mask = open_mask(copies.root, row["mask_opacity"], row["height"], row["width"])
        whole = open_mask(catalog.root, f"m{i}.png", height, width)
        assert mask.mean() == pytest.approx(whole.mean(), rel=0.1)


def test_metadata_stays_and_headers_fill_the_blanks(catalog: Catalog, tmp_path: Path) -> None:
    copies, left = run(catalog, ImageFormat(side=32), tmp_path / "out")
    first = copies.table.iloc[0]
    assert (first["image_id"], first["patient"], first["split"]) == ("a/0", "p0", "train")
    assert (first["view"], first["modality"], first["original"]) == ("PA", "CR", "0.dcm")
    assert first["sex"] in ("F", "M")
    assert first["age"] > 0
    assert left["image_id"].tolist() == ["bad", "lost"]
    assert left["reason"].str.len().min() > 10


def test_copies_of_copies_still_map_to_the_first_file(catalog: Catalog, tmp_path: Path) -> None:
    once, _ = run(catalog, ImageFormat(side=60), tmp_path / "once")
    twice, _ = run(once, ImageFormat(side=40), tmp_path / "twice")
    back = twice.original_boxes(2)
    assert back is not None
    np.testing.assert_allclose(back[0].ravel(), catalog.table["boxes"][2], rtol=1e-13)
    assert twice.table["original"][2] == "2.dcm"


def test_a_rerun_writes_only_what_is_missing(catalog: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    copies, _ = run(catalog, ImageFormat(side=32), out)
    files = [out / path for path in copies.table["path"]]
    files[1].unlink()
    stamps = [f.stat().st_mtime_ns for f in (files[0], files[2])]
    again, _ = run(catalog, ImageFormat(side=32), out)
    assert files[1].is_file()
    assert [f.stat().st_mtime_ns for f in (files[0], files[2])] == stamps
    pd.testing.assert_frame_equal(again.table, copies.table)
    with pytest.raises(ConfigError, match="not empty"):
        export(catalog, ImageFormat(side=40), out)
    assert not list(out.rglob(".*"))


def test_what_cannot_be_written_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="WebP holds 8 bits only"):
        ImageFormat("webp", 16)
    with pytest.raises(ConfigError, match="known: png, webp"):
        ImageFormat("tiff")
    with pytest.raises(ConfigError, match="known: 8, 16"):
        ImageFormat("png", 12)
    nothing = catalog.where(catalog.table["path"] == "bad.dcm")
    with pytest.raises(DataError, match="no image could be written"):
        run(nothing, ImageFormat(), tmp_path / "out")


def test_command_keeps_the_rest_and_says_what_failed(catalog: Catalog, tmp_path: Path) -> None:
    from hilum.cli.main import app

    catalog.save(tmp_path / "c.parquet")
    out = tmp_path / "out"
    words = ["data", "convert", str(tmp_path / "c.parquet"), "--out", str(out), "--to", "png"]
    result = CliRunner().invoke(app, [*words, "--size", "48", "--bits", "16", "--json"])
    assert result.exit_code == 1, result.output
    answer = json.loads(result.stdout)
    assert (answer["images"], answer["left_out"]) == (3, 2)
    assert answer["skips"] == {"left-out": 2}
    assert list(pd.read_csv(out / "left_out.csv")["image_id"]) == ["bad", "lost"]
    moved = out.rename(tmp_path / "elsewhere")  # images and catalog travel together
    copies = open_catalog(moved / "catalog.parquet")
    assert open_radiograph(copies.root, copies.table["path"][0]).width == 48


def test_a_fixed_window_decides_the_greys(catalog: Catalog, tmp_path: Path) -> None:
    narrow = ImageFormat("png", 16, window=(20000, 9000))
    copies, _ = run(catalog, narrow, tmp_path / "narrow")
    got = open_radiograph(copies.root, copies.table["path"][1]).pixels
    want = open_radiograph(catalog.root, "1.dcm", (20000, 9000)).pixels
    np.testing.assert_allclose(got, want, atol=1 / 65535)
    assert not np.allclose(want, open_radiograph(catalog.root, "1.dcm").pixels, atol=0.01)
    with pytest.raises(ConfigError, match="not empty"):  # greys of two windows never mix
        export(catalog, ImageFormat("png", 16), tmp_path / "narrow")
    with pytest.raises(ConfigError, match="a width >= 1"):
        ImageFormat(window=(0, 0))
