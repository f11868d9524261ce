"""Enrichment makes the classes equal, in the training part only, and moves what is drawn along."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hilum.core.errors import ConfigError, DataError
from hilum.data import Catalog, open_catalog
from hilum.data.catalog import build
from hilum.data.enrich import Enrichment, enrich
from hilum.data.images import ImageFormat, finish, write_images
from hilum.data.phantom.phantom import phantom, write_mask, write_png
from hilum.data.pixels import open_mask, open_radiograph

E3 = Enrichment("pneumothorax", "opacity", seed=3)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Two positives and nine negatives to train on, one of each to test; not square."""
    rows = []
    for seed in range(13):
        positive = seed in (0, 1, 11)
        image = phantom(seed, 96, 128, opacities=int(positive))
        write_png(image, tmp_path / f"set/{seed}.png")
        if positive:
            write_mask(image.masks["opacity"], tmp_path / f"set/m{seed}.png")
        rows.append(
            {
                "image_id": f"a/{seed}",
                "path": f"{seed}.png",
                "patient": f"p{seed}",
                "split": "train" if seed < 11 else "test",
                "label_opacity": float(positive),
                "boxes": image.boxes_px.ravel().tolist() if seed else None,
                "box_labels": ["opacity"] * len(image.boxes_px) if seed else None,
                "mask_opacity": f"m{seed}.png" if positive else "",
            }
        )
    return build("made-up", pd.DataFrame(rows), tmp_path / "set")


def written(catalog: Catalog, out: Path) -> Catalog:
    return finish(catalog, list(write_images(catalog, ImageFormat(), out)), out)[0]


def test_classes_become_equal_and_what_is_drawn_moves_along(
    catalog: Catalog, tmp_path: Path
) -> None:
    plain = written(catalog, tmp_path / "out")
    rich = enrich(plain, E3, ImageFormat())
    copies = rich.table[rich.table["copy_of"] != ""]
    assert len(copies) == 9 - 2
    train = rich.table[rich.table["split"] == "train"]
    assert (train["label_opacity"] == 1).sum() == (train["label_opacity"] == 0).sum() == 9
    assert sorted(copies["copy_of"].value_counts()) == [3, 4]
    assert copies["augment"].value_counts().to_dict() == {  # 7 / 4 of each
        "pneumothorax: 1 Clahe": 2,
        "pneumothorax: 2 Optical": 2,
        "pneumothorax: 3 Affine": 2,
        "pneumothorax: 4 Affine": 1,
    }
    pd.testing.assert_frame_equal(rich.table[: len(plain)][plain.table.columns], plain.table)
    first = plain.table.set_index("image_id")
    for row, copy in copies.iterrows():
        of = first.loc[copy["copy_of"]]
        assert (copy["patient"], copy["split"]) == (of["patient"], "train")
        assert copy["original"] == of["original"]
        assert np.isnan(copy["scale_x"])
        picture = open_radiograph(rich.root, copy["path"])
        assert (picture.width, picture.height) == (copy["width"], copy["height"]) == (128, 128)
        mask = open_mask(rich.root, copy["mask_opacity"], 128, 128)
        assert mask.any()
        result = rich.boxes(int(str(row)))
        assert (result is None) == (copy["copy_of"] == "a/0")  # nobody drew boxes there
        if result is not None:
            y, x = np.nonzero(mask)
            drawn = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            np.testing.assert_allclose(result[0][0], drawn, atol=2.5)
            assert result[1] == ["opacity"]
    zoomed = copies[copies["augment"].str.contains("3 Affine")]
    area = open_mask(rich.root, zoomed["mask_opacity"].iat[0], 128, 128).sum()
    whole = open_mask(rich.root, first.loc[zoomed["copy_of"].iat[0], "mask_opacity"], 128, 96).sum()
    assert 1.05 < area / whole < 1.3  # 1.05 to 1.1 a side


def test_the_same_seed_makes_the_same_copies_and_a_rerun_goes_on(
    catalog: Catalog, tmp_path: Path
) -> None:
    plain = written(catalog, tmp_path / "out")
    rich = enrich(plain, E3, ImageFormat())
    files = [rich.root / path for path in rich.table["path"][len(plain) :]]
    before = [file.read_bytes() for file in files]
    stamps = [file.stat().st_mtime_ns for file in files]
    files[0].unlink()
    again = enrich(plain, E3, ImageFormat())
    pd.testing.assert_frame_equal(again.table, rich.table)
    assert [file.read_bytes() for file in files] == before
    other = (rich.table["copy_of"] != rich.table["copy_of"].iat[len(plain)])[len(plain) :]
    for file, stamp, apart in zip(files, stamps, other, strict=True):
        assert not apart or file.stat().st_mtime_ns == stamp
    with pytest.raises(ConfigError, match="other options"):
        enrich(plain, Enrichment("pneumothorax", "opacity", seed=4), ImageFormat())


def test_what_cannot_be_enriched_says_why(catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match="changes nothing"):
        Enrichment("none", "opacity")
    with pytest.raises(DataError, match="split it first"):
        E3.check(catalog.where(catalog.table["split"] == "test"))
    with pytest.raises(DataError, match="both positives and negatives"):
        E3.check(catalog.where(catalog.table["label_opacity"] == 0))


def test_command(catalog: Catalog, tmp_path: Path) -> None:
    from hilum.cli.main import app
    from hilum.data.split import hold_out

    catalog.save(tmp_path / "c.parquet")
    hold_out(catalog, (0.7, 0.3)).save(tmp_path / "split.json")
    out = tmp_path / "out"
    words = ["data", "convert", str(tmp_path / "c.parquet"), "--to", "png", "--out", str(out)]
    words += ["--size", "64", "--enrich", "light", "--label", "opacity", "--json"]
    result = CliRunner().invoke(app, [*words, "--split", str(tmp_path / "split.json")])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    rich = open_catalog(out / "catalog.parquet")
    train = rich.table[rich.table["split"] == "train"]["label_opacity"]
    assert (train == 1).sum() == (train == 0).sum()
    assert (
        len(rich)
        == document["images"] + document["augmented_copies"]
        == 13 + document["augmented_copies"]
    )
