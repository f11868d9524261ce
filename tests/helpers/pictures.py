"""Small pictures and DICOM files to read, and items that misbehave on purpose."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hilum.core.errors import UnreadableRefused
from hilum.core.radiograph import Radiograph


def radiograph(seed: int = 0, width: int = 160, height: int = 128) -> Radiograph:
    rng = np.random.default_rng(seed)
    return Radiograph(rng.random((height, width), np.float32), source=f"noise-{seed}")


def png_bytes(seed: int = 0, width: int = 160, height: int = 128) -> bytes:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height // 8, width // 8), np.uint8).repeat(8, 0).repeat(8, 1)
    return bytes(cv2.imencode(".png", pixels)[1])


def write_png(path: Path, seed: int = 0, width: int = 160, height: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(seed, width, height))
    return path


@dataclass(frozen=True)
class GoodItem:
    """An item with a picture in memory."""

    name: str
    seed: int = 0

    def load(self) -> bytes:
        return png_bytes(self.seed)


@dataclass(frozen=True)
class BadItem:
    """An item that is refused, breaks, hangs, or takes its whole process down."""

    name: str
    how: str

    def load(self) -> bytes:
        if self.how == "refused":
            raise UnreadableRefused(self.name, "it is a stone.", "Send an image.")
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "hangs":
            time.sleep(60)
        raise ZeroDivisionError("secret of the patient")
