"""Gates: what must not be analysed is refused, with a reason; that is never a normal result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from hilum.core.errors import NotChestRadiographRefused
from hilum.core.percentiles import percentiles
from hilum.core.radiograph import Radiograph
from hilum.core.shrink import shrink
from hilum.inference.predictor import Model
from hilum.inference.stages.base import Facts, Stage, Threshold

if TYPE_CHECKING:
    from hilum.dicom.stored import StoredImage


Float32 = NDArray[np.float32]

ROUGH = 32  # px a side, at which parts are compared
LIKE = 0.2  # correlation
# Rows and columns of radiographs in one image -> from which score on each part is one. None of
# 3,849 real ones of eight public sets is refused by these. Both sides of one reach .61 (SIIM-COVID:
# clear lungs in a wide image); of 1,500 others the upper and the lower half reach .65, and once
# .86: a whole chest, wider than two stacked ones are.
GRIDS = {(1, 2): 0.8, (2, 1): 0.8, (2, 2): 0.9}
STACKED, TALL = (2, 1), 1.5  # height by width of two radiographs that keep their shape
SHORT = 0.9  # score of stacked ones in an image that is not as tall


class Gate(Stage):
    """Called with the image; raises NotChestRadiographRefused."""

    of_header: ClassVar[bool] = False  # asked before pixels are decoded


class Header(Gate):
    """Refuses what its own header says is no frontal chest radiograph."""

    of_header: ClassVar[bool] = True

    def __call__(self, image: StoredImage | Radiograph) -> None:
        from hilum.dicom.gate import check_chest_header

        check_chest_header(image)


class MinimumSize(Gate):
    """Refuses images too small to show a finding."""

    pixels: int = Field(default=64, ge=1)

    def __call__(self, radiograph: Radiograph) -> None:
        if min(radiograph.width, radiograph.height) < self.pixels:
            raise NotChestRadiographRefused(
                radiograph.source,
                f"it is {radiograph.width} x {radiograph.height} px; needed: {self.pixels} px.",
                "Send the image at its original size.",
            )


class NotBlank(Gate):
    """Refuses images without any structure: a blank image is never reported normal."""

    spread: float = Field(default=0.005, gt=0, lt=1)  # 5th to 95th percentile, in [0, 1]

    def __call__(self, radiograph: Radiograph) -> None:
        step = max(1, max(radiograph.width, radiograph.height) // 256)
        pixels = radiograph.pixels[::step, ::step]
        if radiograph.valid is not None:
            pixels = pixels[radiograph.valid[::step, ::step]]
        sample = np.ascontiguousarray(pixels).reshape(-1)
        low, high = percentiles(sample, (5, 95)) if sample.size else (0.0, 0.0)
        if high - low < self.spread:
            raise NotChestRadiographRefused(
                radiograph.source, "it is blank: it shows no structure.", "Send another image."
            )


class FrontalChest(Gate):
    """Refuses what a small classifier does not take for a frontal chest radiograph.

    `bound` to its model when the pipeline is loaded.
    """

    bundle: str = "gate"
    at: Threshold = "default"
    _model: Model | None = PrivateAttr(default=None)
    _score: str = PrivateAttr(default="")
    _limit: float = PrivateAttr(default=1.0)

    def bound(self, facts: Facts, model: Model) -> Self:
        """The same gate with its model.

        Raises:
            ConfigError: the bundle has no such operating point, or does not say which of its
                scores is that of a frontal chest radiograph.
        """
        gate = self.model_copy()
        gate._model, gate._score = model, facts.score(facts.name)
        gate._limit = facts.threshold(facts.name, self.at)
        return gate

    def __call__(self, radiograph: Radiograph) -> None:
        assert self._model is not None  # bound by the loaded pipeline
        scores = self._model(radiograph).image_scores
        if scores[self._score] >= self._limit:
            self._check_single(radiograph)
            return
        rivals = {name: value for name, value in scores.items() if name != self._score}
        like = max(rivals, key=lambda name: rivals[name]).replace("-", " ") if rivals else ""
        raise NotChestRadiographRefused(
            radiograph.source,
            "by its pixels it is no frontal chest radiograph"
            + (f" but looks like: {like}" if like else "")
            + f" (frontal chest {scores[self._score]:.2f}; needed: {self._limit:.2f}).",
            "Send a frontal chest radiograph, or leave the gate out of the pipeline.",
        )

    def _check_single(self, radiograph: Radiograph) -> None:
        """Raises NotChestRadiographRefused where all parts are frontal chests of their own.

        Two that were squeezed into a square are hardly ever told.
        """
        rough = shrink(radiograph.pixels, 2 * ROUGH, 2 * ROUGH)
        short = radiograph.height < TALL * radiograph.width
        limits = GRIDS | ({STACKED: SHORT} if short else {})
        for grid, limit in limits.items():
            alike = _alike(_cells(rough, grid))
            if alike and self._are_chests(_cells(radiograph.pixels, grid), limit):
                raise NotChestRadiographRefused(
                    radiograph.source,
                    "it shows several frontal chest radiographs.",
                    "Send each as an image of its own.",
                )

    def _are_chests(self, parts: Sequence[Float32], limit: float) -> bool:
        assert self._model is not None
        images = (Radiograph(pixels=np.ascontiguousarray(part)) for part in parts)
        return all(self._model(one).image_scores[self._score] >= limit for one in images)


def _cells(pixels: Float32, grid: tuple[int, int]) -> list[Float32]:
    """The parts of an image by a grid of rows and columns."""
    rows = np.array_split(pixels, grid[0], axis=0)
    return [cell for row in rows for cell in np.array_split(row, grid[1], axis=1)]


def _alike(parts: Sequence[Float32]) -> bool:
    """Whether all look like the first and each is symmetrical, which costs less to see than a
    model's answer."""
    small = [cv2.resize(part, (ROUGH, ROUGH), interpolation=cv2.INTER_AREA) for part in parts]
    like_first = all(_likeness(small[0], other) > LIKE for other in small[1:])
    return like_first and all(_likeness(one, one[:, ::-1]) > 0 for one in small)


def _likeness(a: Float32, b: Float32) -> float:
    """Correlation of two images; 0 where one is blank."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else 0.0
