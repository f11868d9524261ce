"""Fixtures of the tests of training: everything on phantoms, in seconds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training is not installed")

import torch

from helpers.phantom_set import yolo_set


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set in the layout of YOLO: twenty phantoms, every third without an opacity."""
    return yolo_set(tmp_path_factory.mktemp("phantoms") / "set")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Lightning and the ONNX exporter lean on deprecated parts of others; ours stay errors."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
