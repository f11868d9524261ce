"""Pipelines of the service: a list of them opens no graph, and one that does not open is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import BundleError
from hilum.inference.loaded import LoadedPipeline
from hilum.serve.check import problems
from hilum.serve.config import Config
from hilum.serve.pipelines import NotLoaded, Pipelines


def test_a_graph_opens_when_it_is_needed() -> None:
    pipelines = Pipelines(Config(pipelines={"default": "default"}))
    listed = pipelines.loaded("default")
    assert "models" not in vars(listed)
    assert pipelines.opened("default") is listed
    assert "models" in vars(listed)


def test_a_graph_that_does_not_open_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: LoadedPipeline) -> LoadedPipeline:
        raise BundleError("ONNX Runtime refuses the graph")

    monkeypatch.setattr(LoadedPipeline, "opened", refused)
    config = Config(folder=tmp_path, pipelines={"default": "default"})
    with pytest.raises(NotLoaded, match="refuses the graph"):
        Pipelines(config).opened("default")
    assert "pipeline default: ONNX Runtime refuses the graph" in problems(config, ports=False)
