"""docs/pipelines.md says what the code does: its text loads, every stage and option is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hilum.inference.check import check_text
from hilum.inference.pipeline import Pipeline, shipped_pipelines
from hilum.inference.stages import STAGES, stage_class

DOCS = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text()


def test_the_text_of_the_page_is_a_pipeline(tmp_path: Path) -> None:
    (block,) = (text for text in re.findall(r"```yaml\n(.*?)```", DOCS, re.S) if "schema:" in text)
    path = tmp_path / "p.yaml"
    path.write_text(block)
    check_text(Pipeline.load(path), "docs")


@pytest.mark.parametrize("kind", STAGES)
def test_every_stage_and_each_of_its_options_is_documented(kind: str) -> None:
    for use in STAGES[kind]:  # type: ignore[index]
        assert f"`{use}`" in DOCS, use
        for option in stage_class(kind, use, "docs").model_fields:  # type: ignore[arg-type]
            assert re.search(rf"`{option}`|`{option}:", DOCS), f"{use}: {option}"


def test_every_shipped_pipeline_is_documented() -> None:
    for name in shipped_pipelines():
        assert f"`{name}`" in DOCS
