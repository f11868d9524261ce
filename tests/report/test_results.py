"""Result files say what the run said, under safe names, and the page runs nothing of an input."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.core.errors import ConfigError, DataError, NotWritten
from hilum.core.findings import Findings, StudyResult
from hilum.core.manifest import OperatingPoint
from hilum.core.outlines import svg_path
from hilum.core.radiograph import Identifiers, Radiograph
from hilum.core.results import ImageResult, PipelineInfo, RunResult, load_results, masks_of
from hilum.dicom.analysed import Analysed
from hilum.report import overlay
from hilum.report.page import data, page, write_page
from hilum.report.results import ResultFolder, stem, to_csv
from hilum.report.writers import WRITERS, make, parse

EVIL = "study/<script>alert(1)</script>\"'&.dcm"


def result(name: str = "a.dcm", **changes: object) -> ImageResult:
    mask = np.zeros((60, 80), bool)
    mask[10:30, 20:50] = True
    findings = Findings(
        80,
        60,
        np.array([[20, 10, 50, 30.123456]], np.float32),
        np.array([0.87], np.float32),
        ("opacity",),
        {"opacity": 0.93},
        {"lungs": mask},
    )
    base = ImageResult(name, "analysed", findings=findings, width=80, height=60)
    return replace(base, **changes)  # type: ignore[arg-type]


INFO = PipelineInfo("toy", "1", (("toy", "0" * 64),))
BLANK = Radiograph(np.zeros((60, 80), np.float32))


def analysed(radiograph: Radiograph, one: ImageResult | None = None) -> Analysed:
    return Analysed(stored=None, radiograph=radiograph, result=one or result(), pipeline=INFO)


def whole(*images: ImageResult) -> RunResult:
    studies = (StudyResult(None, {"opacity": 0.93}, (0,)),)
    return RunResult(INFO, images, studies)


def written(folder: Path, text: str, one: ImageResult | None = None) -> ImageResult:
    return ResultFolder(folder, parse(text))(analysed(BLANK, one))


REFUSED = ImageResult(EVIL, "refused", "unreadable: it is <b>damaged</b>.")


def test_findings_json_has_the_documented_keys(tmp_path: Path) -> None:
    ResultFolder(tmp_path, {}).finish(whole(result(), REFUSED))
    value = json.loads((tmp_path / "findings.json").read_text())
    assert value["schema"] == "hilum.findings/1"
    assert list(value) == ["schema", "pipeline", "counts", "images", "studies"]
    assert value["counts"] == {"analysed": 1, "refused": 1, "failed": 0, "warned": 0}
    assert list(value["images"][0]) == [
        *("path", "content_sha256", "sop_instance_uid", "series_instance_uid"),
        *("study_instance_uid", "status", "reason", "warnings", "width", "height", "scores"),
        *("findings", "outlines", "masks", "files", "declined", "seconds"),
    ]
    assert value["images"][0]["sop_instance_uid"] is None
    assert value["images"][0]["findings"][0]["box_px"] == [20.0, 10.0, 50.0, 30.12]
    assert value["images"][1]["findings"] == []
    assert value["studies"] == [
        {"study_instance_uid": None, "scores": {"opacity": 0.93}, "images": [0]}
    ]


def test_every_key_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "findings-json.md").read_text()
    for key in (*whole(result()).to_json(), *result().to_json()):
        assert f'"{key}"' in text


def test_every_writer_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "findings-json.md").read_text()
    for name in WRITERS:
        assert f"`{name}/" in text, name


def test_a_result_folder_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    one = written(tmp_path, "picture,mask").light()
    run = whole(one, REFUSED)
    ResultFolder(tmp_path, {}).finish(run)
    assert load_results(tmp_path).to_json() == run.to_json()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[]",
        b'{"schema": "hilum.findings/1"}',
        b'{"schema": "other/1", "images": []}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_findings_file_is_a_data_error(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "findings.json").write_bytes(damage)
    with pytest.raises(DataError, match=r"findings\.json"):
        load_results(tmp_path)


def test_the_mask_file_is_the_mask_at_source_size(tmp_path: Path) -> None:
    one = result()
    assert one.findings is not None
    after = written(tmp_path, "picture,mask,overlay", one)
    mask = cv2.imread(str(tmp_path / after.masks["lungs"]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask != 0, one.findings.masks["lungs"])
    back = masks_of(after.light(), tmp_path)
    np.testing.assert_array_equal(back["lungs"], one.findings.masks["lungs"])
    assert after.files.keys() == {"picture", "overlay"}
    assert all((tmp_path / path).is_file() for path in after.files.values())
    assert not list(tmp_path.rglob(".*"))  # no temporary file is left behind


@pytest.mark.parametrize("file", ["../outside.png", "/etc/hostname", "mask/gone.png"])
def test_a_mask_is_never_read_from_outside_its_folder(tmp_path: Path, file: str) -> None:
    cv2.imwrite(str(tmp_path / "outside.png"), np.ones((60, 80), np.uint8))
    (tmp_path / "run").mkdir()
    stranger = replace(result().light(), masks={"lungs": file})
    with pytest.raises(DataError):
        masks_of(stranger, tmp_path / "run")


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    after = written(tmp_path, "mask").light()
    cv2.imwrite(str(tmp_path / after.masks["lungs"]), np.ones((6, 8), np.uint8))
    with pytest.raises(DataError, match="needed"):
        masks_of(after, tmp_path)


class _Broken:
    suffix = ".txt"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, *values: object) -> dict[str, bytes]:
        raise self.error


def test_what_a_writer_cannot_write_is_a_warning_and_keeps_the_findings(tmp_path: Path) -> None:
    writers = {
        "sr": _Broken(NotWritten("it is no DICOM.")),
        "seg": _Broken(ValueError("PATIENT^NAME")),
        **parse("picture"),
    }
    after = ResultFolder(tmp_path, writers)(analysed(BLANK))
    assert after.findings is not None
    assert after.files.keys() == {"picture"}
    assert after.warnings[0] == "not-written: sr: it is no DICOM."
    assert "ValueError" in after.warnings[1]
    assert "PATIENT" not in after.warnings[1]
    assert whole(after).counts["warned"] == 1


def test_the_picture_is_never_larger_than_asked_and_shows_the_contrast() -> None:
    ramp = np.linspace(0.4, 0.6, 200, dtype=np.float32)[None].repeat(300, axis=0)
    for side, size in ((100, (100, 67)), (1024, (300, 200))):
        content = make("picture", {"side": side})(analysed(Radiograph(ramp)))["picture"]
        grey = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert grey.shape == size
        assert grey.min() < 5
        assert grey.max() > 250


def test_writers_are_named_with_their_options_or_refused_with_the_nearest() -> None:
    assert parse("picture:side=512:quality=90")["picture"] == make(
        "picture", {"side": 512, "quality": 90}
    )
    assert parse("") == {}
    for text, words in (
        ("overlai", "'overlay'"),
        ("picture:sides=5", "'side'"),
        ("picture:side=x", "side"),
        ("picture:side", "key=value"),
        ("mask,mask", "twice"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse(text)


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
    ids = Identifiers(study_instance_uid="<img src=x onerror=alert(1)>')//")
    run = whole(result(EVIL, ids=ids, files={"picture": "p.jpg"}), REFUSED)
    parsed = _Page()
    parsed.feed(page(run))
    scripts = [attributes for tag, attributes in parsed.tags if tag == "script"]
    assert scripts == [{}, {"src": "page.js"}]  # ours, and the data
    assert not any(key.startswith("on") for _, a in parsed.tags for key in a)
    links = [a.get("src") or a.get("href") for _, a in parsed.tags if "src" in a or "href" in a]
    assert not any(str(link).startswith(("http:", "https:", "//", "javascript:")) for link in links)
    assert "not for diagnosis" in page(run)


def test_the_data_of_the_page_is_one_text_that_no_input_breaks_out_of() -> None:
    odd = "a'b\\'\"</script><!--\u2028\u00e9"
    text = data(whole(result(odd), replace(REFUSED, reason=odd)))
    inner = text.removeprefix("hilum(JSON.parse('").removesuffix("'))\n")
    assert text.isascii()
    assert "<" not in text
    # As a browser reads a text in single quotes.
    value = json.loads(inner.replace("\\x3c", "<").replace("\\'", "'").replace("\\\\", "\\"))
    assert "'" not in inner.replace("\\'", "")
    assert value["images"][0][0] == odd
    assert value["images"][1][2] == odd


def test_the_page_never_gives_a_verdict_of_normal() -> None:
    findings = result().findings
    assert findings is not None
    calm = replace(
        result(), findings=replace(findings, image_scores={"normal": 0.99, "opacity": 0.1})
    )
    run = whole(calm)
    assert "normal" not in data(run)
    assert "normal" not in page(run).replace("white-space: normal", "")
    assert "no target finding above the threshold" in page(run)


def test_what_is_outlined_without_a_box_is_marked_also_when_its_pixels_are_gone() -> None:
    blob = np.zeros((60, 80), bool)
    blob[10:30, 20:50] = True
    masks = {"opacity": blob, "lungs": blob, "pneumothorax": np.zeros((60, 80), bool)}
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ()
    findings = Findings(80, 60, *none, masks=masks)
    known = result(
        findings=findings, outlines={name: svg_path(mask) for name, mask in masks.items()}
    )
    assert known.marked == ("opacity",)
    assert ImageResult.from_json(known.to_json()).marked == ("opacity",)
    assert replace(known, outlines={"lungs": "M0 0"}).light().marked == ()
    assert result().marked == ("opacity",)


@pytest.mark.slow
def test_the_page_says_what_is_outlined_without_a_box(tmp_path: Path, browser: Any) -> None:
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ()
    findings = Findings(80, 60, *none, image_scores={"opacity": 0.93})
    empty = result("nothing.dcm", findings=findings, outlines={"lungs": "M1 1H9V9Z", "opacity": ""})
    outlined = replace(empty, name="outlined.dcm", outlines={"opacity": "M20 10H50V30H20Z"})
    ResultFolder(tmp_path, {}).finish(whole(outlined, empty))
    opened = browser.new_page()
    opened.goto((tmp_path / "index.html").as_uri())
    cards = {name: opened.locator(f".body:has-text('{name}')") for name in ("outlined", "nothing")}
    assert "no box; outlined: Lung opacity" in cards["outlined"].inner_text()
    assert "no target finding above the threshold" in cards["nothing"].inner_text()
    opened.select_option("#status", "boxes")
    assert [cards[name].count() for name in ("outlined", "nothing")] == [1, 0]
    opened.close()


@pytest.mark.slow
def test_the_page_of_ten_thousand_images_holds_those_in_view_and_asks_no_network(
    tmp_path: Path, browser: Any
) -> None:
    one, count = result(), 10_000
    findings = one.findings
    assert findings is not None
    images = [
        replace(
            one,
            name=f"archive/{number:05}.dcm",
            findings=replace(findings, image_scores={"opacity": number * 7919 % count / count}),
        )
        for number in range(count)
    ]
    write_page(tmp_path, whole(*images))
    opened, asked = browser.new_page(), list[str]()
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto((tmp_path / "index.html").as_uri(), timeout=120_000)  # for busy machines
    assert opened.inner_text("#count") == str(count)
    opened.select_option("#order", "highest opacity")
    first = opened.locator(".body").first.inner_text()
    best = max(images, key=lambda image: _opacity(image)).name
    assert Path(best).name in first
    assert opened.locator(".body").count() < 100
    opened.fill("#search", "/0777")  # archive/07770.dcm to 07779.dcm
    assert opened.inner_text("#count") == "10"
    opened.close()
    assert {url.partition(":")[0] for url in asked} == {"file"}


def _opacity(image: ImageResult) -> float:
    assert image.findings is not None
    return image.findings.image_scores["opacity"]


def test_an_empty_run_has_a_page_and_tables(tmp_path: Path) -> None:
    ResultFolder(tmp_path, {}).finish(RunResult(PipelineInfo("toy", "1", ()), (), ()))
    assert "0 radiographs" in (tmp_path / "index.html").read_text()
    assert load_results(tmp_path).images == ()


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
    run = RunResult(info, (result(),), ())
    html = page(run)
    assert "best &lt;F1&gt;" in html
    assert "Assumes: luck" in html
    assert "calibrated on validation images (some images)" in html
    assert '"box":0.42' in data(run)
    findings = result().findings
    assert findings is not None
    with_points = overlay.draw(BLANK, findings, points)
    assert with_points.shape[0] >= overlay.draw(BLANK, findings).shape[0]
    assert (with_points[-40:] != overlay.draw(BLANK, findings)[-40:]).any()
