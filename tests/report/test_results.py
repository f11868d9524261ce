"""Result files say what the run said, under safe names, and the page runs nothing of an input."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hilum.core.findings import Findings, StudyResult
from hilum.core.manifest import OperatingPoint
from hilum.core.radiograph import Identifiers, Radiograph
from hilum.core.results import ImageResult, PipelineInfo, RunResult
from hilum.report import overlay
from hilum.report.page import page
from hilum.report.results import ImageWriter, stem, to_csv, write_results

EVIL = "study/<script>alert(1)</script>\"'&.dcm"


def result(name: str = "a.dcm", **changes: object) -> ImageResult:
    mask = np.zeros((60, 80), bool)
    mask[10:30, 20:50] = True
    found = Findings(
        80,
        60,
        np.array([[20, 10, 50, 30.123456]], np.float32),
        np.array([0.87], np.float32),
        ("opacity",),
        {"opacity": 0.93},
        {"lungs": mask},
    )
    base = ImageResult(name, "analysed", findings=found, width=80, height=60)
    return replace(base, **changes)  # type: ignore[arg-type]


def whole(*images: ImageResult) -> RunResult:
    studies = (StudyResult(None, {"opacity": 0.93}, (0,)),)
    return RunResult(PipelineInfo("toy", "1", (("toy", "0" * 64),)), images, studies)


REFUSED = ImageResult(EVIL, "refused", "unreadable: it is <b>damaged</b>.")


def test_findings_json_has_the_documented_keys(tmp_path: Path) -> None:
    write_results(tmp_path, whole(result(), REFUSED))
    value = json.loads((tmp_path / "findings.json").read_text())
    assert value["schema"] == "hilum.findings/1"
    assert list(value) == ["schema", "pipeline", "images", "studies"]
    assert list(value["images"][0]) == [
        *("path", "sop_instance_uid", "study_instance_uid", "status", "reason", "width"),
        *("height", "scores", "findings", "masks", "seconds"),
    ]
    assert value["images"][0]["sop_instance_uid"] is None
    assert value["images"][0]["findings"][0]["box_px"] == [20.0, 10.0, 50.0, 30.12]
    assert value["images"][1]["findings"] == []
    assert value["studies"] == [
        {"study_instance_uid": None, "scores": {"opacity": 0.93}, "images": [0]}
    ]


def test_every_key_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "findings-json.md").read_text()
    for key in result().to_json():
        assert f'"{key}"' in text


def test_the_mask_file_is_the_mask_at_source_size(tmp_path: Path) -> None:
    one = result()
    assert one.findings is not None
    written = ImageWriter(tmp_path)(Radiograph(np.zeros((60, 80), np.float32)), one)
    mask = cv2.imread(str(tmp_path / written.masks["lungs"]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, one.findings.masks["lungs"] * np.uint8(255))
    assert all((tmp_path / path).is_file() for path in written.extras.values())
    assert not list(tmp_path.rglob(".*"))  # no temporary file is left behind


def test_the_table_has_a_line_a_box_and_a_line_for_the_rest() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(whole(result("=cmd()"), REFUSED)))))
    assert [row["status"] for row in rows] == ["analysed", "refused"]
    assert rows[0]["path"] == "'=cmd()"
    assert (rows[0]["x2"], rows[0]["score_opacity"], rows[1]["label"]) == ("50.0", "0.93", "")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_runs_nothing_of_an_input_and_asks_no_network() -> None:
    ids = Identifiers(study_instance_uid="<img src=x onerror=alert(1)>")
    html = page(
        whole(
            result(EVIL, ids=ids, extras={"thumb": "t.jpg", "overlay": "o.png", "plain": "p.jpg"}),
            REFUSED,
        )
    )
    parsed = _Page()
    parsed.feed(html)
    tags = [tag for tag, _ in parsed.tags]
    assert tags.count("script") == 1  # ours
    assert not any(key.startswith("on") and key != "onsubmit" for _, a in parsed.tags for key in a)
    links = [a.get("src") or a.get("href") for _, a in parsed.tags if "src" in a or "href" in a]
    assert not any(str(link).startswith(("http:", "https:", "//", "javascript:")) for link in links)
    assert "not for diagnosis" in html
    assert "<b>damaged" not in html


def test_an_empty_run_has_a_page_and_tables(tmp_path: Path) -> None:
    write_results(tmp_path, RunResult(PipelineInfo("toy", "1", ()), (), ()))
    assert "0 radiographs" in (tmp_path / "index.html").read_text()


@given(st.text(max_size=300))
def test_any_name_gives_a_safe_file_name(name: str) -> None:
    safe = stem(name)
    assert safe.replace("-", "").isalnum()
    assert safe.isascii()
    assert len(safe) <= 60


def test_different_names_never_share_files() -> None:
    assert stem("a/1.dcm") != stem("b/1.dcm")


def test_operating_points_stand_where_scores_are_shown() -> None:
    points = {
        "default": OperatingPoint(threshold=0.42, reason="best <F1>", chosen_on="v"),
        "sure": OperatingPoint(threshold=0.13, reason="sens", score="opacity", assumes="luck"),
    }
    info = PipelineInfo("toy", "1", (("toy", "0" * 64),), points, "some images")
    empty = replace(
        result(),
        findings=replace(
            result().findings,
            boxes_px=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            labels=(),
        ),
    )
    html = page(RunResult(info, (empty,), ()))
    assert "no box of score 0.42 or more" in html
    assert "sure from 0.13" in html
    assert "best &lt;F1&gt;" in html
    assert "Assumes: luck" in html
    assert "calibrated on validation images (some images)" in html
    blank = Radiograph(np.zeros((60, 80), np.float32))
    found = result().findings
    assert found is not None
    with_points = overlay.pictures(blank, found, points=points).overlay
    assert with_points.shape[0] >= overlay.draw(blank, found).shape[0]
    assert (with_points[-40:] != overlay.draw(blank, found)[-40:]).any()
