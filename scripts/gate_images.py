"""The images that the gate's network learns from, and their views: `scripts/train_gate.py`.

Frontal chests of every set, what is no chest by kind, and made-up pages, charts, noise. Five
classes are made of turned, inverted or cut frontals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.prepare import Preprocessing, prepare
from hilum.core.radiograph import Radiograph
from hilum.data.images import open_radiograph
from hilum.data.phantom.phantom import phantom
from hilum.data.sets import load_set

Float32 = NDArray[np.float32]
Rng = np.random.Generator

CLASSES = (
    *("frontal", "lateral-chest", "other-body-part", "mammogram", "ct-mr-or-ultrasound"),
    *("photograph-or-document", "blank-or-noise", "upside-down-chest", "chest-turned-left"),
    *("chest-turned-right", "inverted-greys", "half-a-chest"),
)
FRONTAL, MADE_OF_FRONTALS, HALF_A_CHEST = 0, range(7, 12), 11
KIND_CLASS = {
    **{"chest_lateral": 1, "mammogram": 3, "photo_natural": 5, "document_or_graphic": 5},
    **dict.fromkeys(("ct_chest_coronal", "ct_chest_slice", "ct_head_slice", "ct_misc"), 4),
    **{"brain_mri": 4, "ultrasound_breast": 4, "frontal_radiopaedia": FRONTAL},
}
BODY_PART = 2  # every other kind
SAMPLE = {
    **{"siim_covid_256": 450, "rsna_128": 350, "rsna_256": 125, "nih_512": 175, "nih_128": 250},
    **{"covid_qu_256": 175, "covid_opacity_512": 42, "covid_adult_512": 250, "shenzhen_512": 175},
    **{"jsrt_128": 122, "kermany_lungs_320": 450, "siim_unlabelled_512": 300},
}
PHANTOMS, MADE = 120, 200  # images
SPEC = Preprocessing(160)
SIDE, SEED = 232, 7


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, at most SIDE px, and whose it is."""

    pixels: Float32
    kind: str
    label: int  # of CLASSES
    patient: str


# --- images


def every_image(data: Path, rng: Rng) -> Iterator[Sample]:
    """Frontals of every set, other kinds, and what is made up."""
    yield from frontals(data, 0)
    for name in ("gate_320", "not_chest"):
        catalog = load_set(name, data)
        kinds = catalog.table.filter(like="label_kind_")
        for row, kind in enumerate(kinds.idxmax(axis=1).str.removeprefix("label_kind_")):
            record = catalog.table.iloc[row]
            pixels = open_radiograph(catalog.root, record["path"]).pixels
            yield Sample(_small(pixels), kind, KIND_CLASS.get(kind, BODY_PART), record["patient"])
    for i in range(PHANTOMS):
        width, height = (int(side) for side in rng.integers(200, 400, 2))
        pixels = phantom(seed=1000 + i, width=width, height=height, opacities=i % 4).pixels
        yield Sample(_small(pixels), "phantom", FRONTAL, f"phantom-{i}")
    for kind, (make, label) in MADE_UP.items():
        for i in range(MADE):
            yield Sample(make(np.random.default_rng((SEED, label, i))), kind, label, f"{kind}-{i}")


def frontals(data: Path, turn: int) -> Iterator[Sample]:
    """Of every set its share, in a drawn order: turn 0 is learnt from, turn 1 never."""
    for name, wanted in SAMPLE.items():
        catalog = load_set(name, data)
        order = np.random.default_rng((SEED, len(catalog))).permutation(len(catalog))
        for row in order[turn * wanted : (turn + 1) * wanted]:
            record = catalog.table.iloc[row]
            pixels = open_radiograph(catalog.root, record["path"]).pixels
            yield Sample(_small(pixels), name, FRONTAL, record["patient"])


def _small(pixels: Float32) -> Float32:
    scale = SIDE / max(pixels.shape)
    if scale >= 1:
        return pixels
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _page(rng: Rng) -> Float32:
    """Lines of text, dark on bright or bright on dark."""
    words = ("chest", "report", "patient", "lung", "opacity", "normal", "the", "of", "left", "date")
    page = np.full((280, 240), 240, np.uint8)
    row = int(rng.integers(10, 30))
    while row < 280:
        line = " ".join(rng.choice(words, int(rng.integers(1, 8))))
        size = float(rng.uniform(0.3, 0.6))
        cv2.putText(page, line, (int(rng.integers(2, 20)), row), 0, size, 20, 1, cv2.LINE_AA)
        row += int(rng.integers(12, 34))
    grey = page.astype(np.float32) / 255
    return 1 - grey if rng.random() < 0.4 else grey


def _noise(rng: Rng) -> Float32:
    """White to brown noise."""
    side = int(rng.integers(64, 230))
    y, x = np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None]
    power = np.maximum(np.hypot(x, y), 1 / side) ** rng.uniform(0, 3)
    wave = np.real(np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) / power))
    return ((wave - wave.min()) / np.ptp(wave)).astype(np.float32)


def _shapes(rng: Rng) -> Float32:
    """Filled and empty ellipses and boxes."""
    sheet = np.full((SIDE, SIDE), int(rng.integers(255)), np.uint8)
    for _ in range(int(rng.integers(1, 20))):
        a, b = ([int(v) for v in rng.integers(0, SIDE, 2)] for _ in range(2))
        grey, width = int(rng.integers(255)), int(rng.choice([-1, 1, 4]))
        if rng.random() < 0.5:
            cv2.rectangle(sheet, a, b, grey, width)
        else:
            axes = [int(v) for v in rng.integers(3, 90, 2)]
            cv2.ellipse(sheet, a, axes, float(rng.uniform(0, 180)), 0, 360, grey, width)
    return sheet.astype(np.float32) / 255


MADE_UP: dict[str, tuple[Callable[[Rng], Float32], int]] = {
    "made-page": (_page, 5),
    "made-shapes": (_shapes, 5),
    "made-noise": (_noise, 6),
}


# --- views


def augmented(pixels: Float32, rng: Rng, *, chest: bool) -> Float32:
    """Cropped, turned, stretched, of another contrast and resolution; chests only a little."""
    if not chest:
        pixels = np.rot90(pixels, int(rng.integers(4)))
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    height, width = pixels.shape
    h, w = (max(24, int(n * (1 - rng.uniform(0, 0.14 if chest else 0.4)))) for n in (height, width))
    y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    pixels = np.ascontiguousarray(pixels[y : y + h, x : x + w])
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), float(rng.normal(0, 5 if chest else 12)), 1)
    pixels = cv2.warpAffine(pixels, turn, (w, h))  # type: ignore[assignment]
    if rng.random() < 0.3:
        scale = rng.uniform(0.2, 0.9)
        low = cv2.resize(pixels, (max(16, int(w * scale)), max(16, int(h * scale))))
        pixels = cv2.resize(low, (w, h))  # type: ignore[assignment]
    pixels = cv2.resize(pixels, (max(24, int(w * np.exp(rng.normal(0, 0.1)))), h))  # type: ignore[assignment]
    pixels = np.clip(pixels, 0, 1) ** float(2 ** rng.normal(0, 0.35))
    if rng.random() < 0.3:
        pixels = pixels + rng.normal(0, rng.uniform(0.005, 0.06), pixels.shape)
    return np.clip(pixels, 0, 1).astype(np.float32)


def made_of(frontal: Float32, label: int, rng: Rng) -> Float32:
    """A frontal chest as one of the five classes that must be refused."""
    height, width = frontal.shape
    part = rng.uniform(0.35, 0.54)
    halves = (
        frontal[:, : int(width * part)],
        frontal[:, width - int(width * part) :],
        frontal[: int(height * part * 0.9)],
        frontal[height - int(height * part * 0.9) :],
    )
    result: dict[int, Callable[[], Float32]] = {
        7: lambda: frontal[::-1, ::-1],
        8: lambda: np.rot90(frontal, 1),
        9: lambda: np.rot90(frontal, -1),
        10: lambda: 1 - frontal,
        11: lambda: halves[int(rng.integers(4))],
    }
    return result[label]()


def corner_of(frontal: Float32, rng: Rng) -> Float32:
    """A quarter or so of a frontal chest: shoulders and upper arms look like the upper ones."""
    height, width = frontal.shape
    rows, columns = (max(24, int(n * rng.uniform(0.3, 0.6))) for n in (height, width))
    part = frontal[:rows] if rng.random() < 0.7 else frontal[-rows:]
    part = part[:, :columns] if rng.random() < 0.5 else part[:, -columns:]
    return np.rot90(part, int(rng.integers(1, 4))) if rng.random() < 0.3 else part


def views(one: Sample, rng: Rng) -> Iterator[tuple[Float32, int, bool]]:
    """(pixels, label, as it is) of an image: frontals are plenty, other kinds are not."""
    yield one.pixels, one.label, True
    chest = one.label == FRONTAL
    for _ in range(1 if chest or one.kind.startswith("made-") else 6):
        yield augmented(one.pixels, rng, chest=chest), one.label, False
    if chest:
        label = int(rng.choice(list(MADE_OF_FRONTALS)))
        yield made_of(augmented(one.pixels, rng, chest=True), label, rng), label, False
        yield corner_of(augmented(one.pixels, rng, chest=True), rng), HALF_A_CHEST, False


def tensor(pixels: Float32) -> Float32:
    """(1, 160, 160) as the gate sees it."""
    whole = np.ascontiguousarray(pixels, np.float32).clip(0, 1)  # resizing may round above 1
    return prepare(Radiograph(whole), SPEC)[0]
