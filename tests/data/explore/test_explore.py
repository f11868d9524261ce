"""Every adapter's catalog can be explored, whatever it does not know."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hilum.data import Catalog
from hilum.data.catalog import build
from hilum.data.explore.explore import Summary, read_files, sampled
from hilum.data.explore.figures import plots
from hilum.data.phantom.encode import dicom_bytes
from hilum.data.phantom.phantom import phantom
from hilum.report.explore import explore_page


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    root = tmp_path / "set"
    root.mkdir()
    rows = []
    for seed in range(4):
        image = phantom(seed, 96, 64, opacities=seed % 3)
        (root / f"{seed}.dcm").write_bytes(dicom_bytes(image.pixels, seed=seed))
        rows.append(
            {
                "image_id": f"<i{seed}>",
                "path": f"{seed}.dcm",
                "patient": f"p{seed // 2}",
                "sex": "FM"[seed % 2],
                "age": 20.0 + 30 * seed,
                "view": "PA",
                "width": 96,
                "height": 64,
                "boxes": image.boxes_px.ravel().tolist() if seed < 3 else None,
                "box_labels": ["opacity"] * len(image.boxes_px) if seed < 3 else None,
                "label_opacity": [0.0, 1.0, 1.0, None][seed],
            }
        )
    (root / "3.dcm").write_bytes(b"damaged")
    return build("phantoms", pd.DataFrame(rows), root, ("assumed nothing",))


def test_the_table_of_classes_counts_exams_targets_and_boxes(catalog: Catalog) -> None:
    row = Summary(catalog).classes().loc["opacity"]
    assert row.to_dict() == {
        "present": 2,
        "absent": 1,
        "unknown": 1,
        "patients with it": 2,
        "present, with boxes": 2,
        "present, boxes none": 0,
        "boxes in them": 3,
    }
    assert Summary(catalog).boxes_per_image().to_dict() == {0: 1, 1: 1, 2: 1}


def test_exams_are_counted_by_class_and_by_how_many_boxes_they_have(catalog: Catalog) -> None:
    exams = Summary(catalog).exams()
    assert exams.loc["opacity"].to_dict() == {"1": 1, "2": 1}  # the one without boxes is absent
    assert Summary(catalog).images_per_patient().to_dict() == {"2": 2}


def test_boxes_know_their_view_and_their_shape_in_pixels(catalog: Catalog) -> None:
    boxes = Summary(catalog).boxes
    assert set(boxes["view"]) == {"PA"}
    x1, y1, x2, y2 = catalog.table["boxes"][1]
    assert boxes["aspect"][0] == pytest.approx((y2 - y1) / (x2 - x1))


def test_densities_are_of_a_kind_of_box_each(catalog: Catalog) -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 40, (12, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 20, (12, 2))], axis=1)
    table = catalog.table.assign(view=["PA", "AP", "PA", "AP"])
    table["boxes"] = [boxes.ravel().tolist()] * 4
    table["box_labels"] = [["opacity"] * 12] * 4
    drawn = {plot.name: plot for plot in plots(Summary(Catalog("many", table, catalog.root)))}
    assert drawn["densities"].caption.endswith("by view.")


def test_the_files_say_which_part_of_the_body_they_show(catalog: Catalog) -> None:
    summary = Summary(catalog, read_files(catalog))
    assert summary.files.body_parts().tolist() == ["CHEST"] * 3


def test_what_only_the_files_say_stands_under_samples_and_is_counted(catalog: Catalog) -> None:
    """As in RSNA, whose tables know neither age nor sex nor view."""
    table = catalog.table.assign(age=np.nan, sex="", view="")
    silent = Catalog("silent", table, catalog.root)
    summary = Summary(silent, read_files(silent))
    assert "PA" in explore_page(summary, [])
    people = next(plot for plot in plots(summary) if plot.name == "people")
    ages, sexes = len(summary.ages()), len(summary.column("sex"))
    assert ages == sexes == 3  # the fourth cannot be read
    assert f"age of {ages}, sex of {sexes}, view of 3 of 4 images" in people.caption


def test_box_centres_are_shares_of_their_own_image(catalog: Catalog) -> None:
    boxes = Summary(catalog).boxes
    assert len(boxes) == 3
    flat = np.array(catalog.table["boxes"][1])
    assert boxes["x"][0] == pytest.approx((flat[0] + flat[2]) / 2 / 96)
    assert boxes["h"][0] == pytest.approx((flat[3] - flat[1]) / 64)


def test_files_are_sampled_and_damaged_ones_counted(catalog: Catalog) -> None:
    files = read_files(catalog)
    assert (files.sampled, len(files.facts)) == (4, 3)
    assert files.average is not None
    assert set(files.facts["photometric"]) == {"MONOCHROME2"}
    assert len(sampled(catalog, 2)) == 2
    assert sampled(catalog, 2, 1).table.equals(sampled(catalog, 2, 1).table)


def test_a_catalog_that_knows_nothing_is_explored(tmp_path: Path) -> None:
    bare = build("bare", pd.DataFrame({"image_id": ["a"], "patient": ["a"]}), tmp_path)
    summary = Summary(bare)
    assert list(plots(summary)) == []
    assert "<h1>bare</h1>" in explore_page(summary, [])


def test_real_counts_of_rsna(hilum_data: Path) -> None:
    from hilum.data import load

    summary = Summary(load("rsna", hilum_data / "tables"))
    assert summary.boxes_per_image().mul(summary.boxes_per_image().index).sum() == 9555
    assert summary.exams().loc["opacity"].to_dict() == {
        **{"0": 0, "1": 2614, "2": 3266, "3": 119, "4+": 13},
    }
    assert summary.classes()["present"].to_dict() == {
        "normal": 8851,
        "not-normal": 11821,
        "opacity": 6012,
    }


def test_command_writes_one_page_without_outside_parts(catalog: Catalog, tmp_path: Path) -> None:
    from hilum.cli.main import app

    catalog.save(tmp_path / "c.parquet")
    out = tmp_path / "out"
    words = ["data", "explore", str(tmp_path / "c.parquet"), "--out", str(out), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1, "one file cannot be read"
    document = json.loads(result.stdout)
    assert (document["images"], document["files_sampled"], document["files_read"]) == (
        len(catalog),
        4,
        3,
    )
    assert document["images_by_boxes"] == {"0": 1, "1": 1, "2": 1}
    html = (out / "index.html").read_text()
    assert not re.search(r"(src|href)=\"?(http|//|/)", html)
    assert "&lt;i1&gt; · opacity · PA · M · 50 years" in html
    assert "assumed nothing" in html
    names = {path.stem for path in (out / "figures").iterdir()}
    assert names == set(document["figures"])
    assert names == {
        *("classes", "exams", "boxes-per-image", "centres", "box-sizes", "aspect-area"),
        *("people", "files"),  # and no densities: three boxes have none
    }
