"""Shapes of a made-up chest -> grey values that look like an image.

Adds up densities along the beam (tissue, air, bone, disease), passes the sum through an image
curve and adds blur and grain. Knows no file; the shapes come from `anatomy`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.data.phantom.anatomy import Anatomy, Frame, smooth

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

CANVAS = 1000  # shorter side on which smooth densities are drawn; larger images enlarge it
EDGE = 0.13  # softness of an opacity's border, in parts of its radius


@dataclass(frozen=True, slots=True, eq=False)
class Opacity:
    """A soft patch: a star-shaped outline around (u, v), 0.5 of its density on the outline."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    angle: float  # radians
    waves: Float64  # (4, 2) cosine and sine amplitudes of the outline's radius
    density: float

    def distance(self, u: Float64, v: Float64) -> Float32:
        """Distance from the centre in parts of the outline's radius; 1 on the outline."""
        du, dv = u - self.centre[0], v - self.centre[1]
        c, s = np.cos(self.angle), np.sin(self.angle)
        a, b = (c * du + s * dv) / self.radii[0], (c * dv - s * du) / self.radii[1]
        theta = np.arctan2(b, a)
        radius = 1 + sum(
            w[0] * np.cos((k + 2) * theta) + w[1] * np.sin((k + 2) * theta)
            for k, w in enumerate(self.waves)
        )
        distance: Float32 = (np.hypot(a, b) / radius).astype(np.float32)
        return distance


@dataclass(frozen=True, slots=True, eq=False)
class Disease:
    """What is wrong with the chest: opacities, and the lung that is left of a collapsed one."""

    opacities: tuple[Opacity, ...] = ()
    collapsed: int | None = None  # index of the lung with the pneumothorax
    lung_left: Float64 | None = None  # (n, 2) outline of what is still inflated

    def pleural_air(self, anatomy: Anatomy, frame: Frame) -> Bool:
        """(height, width) the air between chest wall and lung."""
        if self.collapsed is None or self.lung_left is None:
            return np.zeros((frame.height, frame.width), np.bool_)
        lung = frame.fill(anatomy.lungs[self.collapsed]) > 0
        air: Bool = lung & ~(frame.fill(self.lung_left) > 0)
        return air


def collapse(lung: Float64, degree: float) -> Float64:
    """A lung drawn away from apex and side wall towards its hilum; the base stays where it is."""
    side = np.sign(lung[:, 0].mean())
    hilum = np.array([side * 0.09, 0.0])
    low = np.clip(lung[:, 1:] / 0.13, 0, 1) ** 2  # pleural air stays above the dome
    medial = np.exp(-((np.abs(lung[:, :1]) / 0.13) ** 4))
    left: Float64 = hilum + (lung - hilum) * (1 - degree * (1 - low) * (1 - 0.75 * medial))
    return left


def expose(anatomy: Anatomy, disease: Disease, frame: Frame, rng: np.random.Generator) -> Float32:
    """(height, width) float32 image in [0, 1], air dark."""
    reduced = min(1.0, CANVAS / frame.unit)
    small = Frame(
        max(1, round(frame.width * reduced)), max(1, round(frame.height * reduced)), frame.shift
    )
    density = _density(anatomy, disease, small, rng)
    # Scattered radiation lifts and softens everything; the image's curve follows.
    density = 0.88 * density + 0.12 * _blur(density, 0.05 * small.unit)
    contrast, middle = rng.uniform(3.3, 4.1), rng.uniform(0.60, 0.68)
    grey = 1 / (1 + np.exp(-contrast * (density - middle)))
    black = 1 / (1 + np.exp(contrast * middle))
    grey = np.clip((grey - black) / (0.97 - black), 0, 1)
    if reduced < 1:
        grey = cv2.resize(grey, (frame.width, frame.height), interpolation=cv2.INTER_CUBIC)
    return _grain(grey, rng)


def _grain(grey: Float32, rng: np.random.Generator) -> Float32:
    """Quantum noise, blurred by the detector; stronger where little radiation arrived."""
    noise = rng.standard_normal(grey.shape, np.float32)
    noise = 0.75 * cv2.GaussianBlur(noise, (0, 0), 0.6) + 0.6 * cv2.GaussianBlur(noise, (0, 0), 1.4)
    level = rng.uniform(0.010, 0.020)
    grainy: Float32 = np.clip(grey + level * (0.45 + grey) * noise, 0, 1).astype(np.float32)
    return grainy


def _density(anatomy: Anatomy, disease: Disease, frame: Frame, rng: np.random.Generator) -> Float32:
    lungs = _soft(frame.fill(*anatomy.lungs), 0.0022 * frame.unit)
    total = _body(anatomy, frame) - 0.50 * _air(anatomy, frame)
    total += _middle(anatomy, frame)
    bones = _bones(anatomy, frame)
    vessels = _vessels(anatomy, frame) + _texture(frame, rng, (0.005, 0.012, 0.03, 0.09), 0.032)
    air = _soft(disease.pleural_air(anatomy, frame).astype(np.uint8) * 255, 0.0015 * frame.unit)
    total += lungs * (1 - air) * vessels - 0.10 * air
    total += bones
    total += lungs * (1 - air) * _opacities(disease, frame, rng)
    if disease.lung_left is not None:
        inside = frame.fill(disease.lung_left)
        rim = _soft(frame.stroke([smooth(disease.lung_left[::6], True)], 0.0028), 0.8)
        near_air = np.clip(3 * _blur(air, 0.006 * frame.unit), 0, 1)
        total += 0.10 * rim * near_air + 0.05 * _soft(inside, 2.0)
    return total


def _body(anatomy: Anatomy, frame: Frame) -> Float32:
    """Thickness of the soft tissue: falls to nothing at the skin, more below than above."""
    skin = frame.fill(anatomy.body)
    depth = cv2.distanceTransform(np.pad(skin, 1, mode="edge"), cv2.DIST_L2, 3)[1:-1, 1:-1]
    depth = np.clip(depth / (0.13 * frame.unit), 0, 1)
    thickness = np.sqrt(1 - (1 - depth) ** 2)
    _, v = frame.grid()
    rise = (0.84 + 0.30 / (1 + np.exp(-(v - 0.12) / 0.09))).astype(np.float32)
    return _blur(0.12 * _soft(skin, 1.0) + 0.86 * thickness * rise, 0.002 * frame.unit)


def _air(anatomy: Anatomy, frame: Frame) -> Float32:
    """Depth of air in the lungs: steep at heart and diaphragm, rounded at the chest wall."""
    out = np.zeros((frame.height, frame.width), np.float32)
    for lung in anatomy.lungs:
        inside = frame.fill(lung)
        inner = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 3)[1:-1, 1:-1] / frame.unit
        out += (0.62 + 0.38 * (1 - np.exp(-inner / 0.045))) * (inside > 0)
    out = _blur(out, 0.0025 * frame.unit)
    u, v = frame.grid()
    trachea = np.exp(-((u / 0.022) ** 4)) * (1 / (1 + np.exp((v + 0.13) / 0.012)))
    trachea *= 1 / (1 + np.exp(-(v + 0.62) / 0.03))
    out += 0.22 * trachea.astype(np.float32)
    out += 0.30 * _soft(frame.fill(anatomy.bubble), 0.006 * frame.unit)
    return out


def _middle(anatomy: Anatomy, frame: Frame) -> Float32:
    """Heart, great vessels and spine."""
    heart = _soft(frame.fill(anatomy.heart), 0.010 * frame.unit)
    vessels = _soft(frame.fill(anatomy.mediastinum), 0.008 * frame.unit)
    u, v = frame.grid()
    lean = u - anatomy.tilt * v
    column = np.exp(-((lean / 0.048) ** 6))
    # Discs are darker lines across the column; pedicles bright dots beside the middle.
    disc = np.exp(-((((v + 3.017) % 0.064) - 0.032) ** 2) / 0.007**2)
    pedicle = np.exp(-(((np.abs(lean) - 0.030) / 0.007) ** 2))
    pedicle = pedicle * np.exp(-((((v + 3.0) % 0.064) - 0.032) ** 2) / 0.010**2)
    edge = np.exp(-(((np.abs(lean) - 0.046) / 0.004) ** 2))
    spine = column * (0.14 - 0.06 * disc) + 0.08 * pedicle + 0.05 * edge
    hila = sum(
        np.exp(-(((u - side * 0.105) / 0.035) ** 2) - (((v + 0.04) / 0.06) ** 2))
        for side in (-1, 1)
    )
    return 0.15 * heart + 0.10 * vessels + (spine + 0.13 * hila).astype(np.float32)


def _bones(anatomy: Anatomy, frame: Frame) -> Float32:
    out = 0.125 * _tubes(frame, anatomy.ribs_back, 0.025)
    out += 0.085 * _tubes(frame, anatomy.ribs_front, 0.030)
    out += 0.17 * _tubes(frame, anatomy.clavicles, 0.028)
    out += 0.18 * _tubes(frame, anatomy.humeri, 0.050)
    for scapula in anatomy.scapulae:
        rim = frame.stroke([np.concatenate([scapula, scapula[:1]])], 0.008)
        out += 0.06 * _soft(frame.fill(scapula), 0.004 * frame.unit)
        out += 0.09 * _soft(rim, 0.003 * frame.unit)
    return out


def _tubes(frame: Frame, lines: list[Float64], width: float) -> Float32:
    """Bones: bands with a denser rim, overlapping bands add up."""
    out = np.zeros((frame.height, frame.width), np.float32)
    for group in (lines[0::2], lines[1::2]):
        band = _soft(frame.stroke(group, width), 0.0022 * frame.unit)
        core = _soft(frame.stroke(group, width * 0.62), 0.0030 * frame.unit)
        out += band - 0.42 * core
    return out


def _vessels(anatomy: Anatomy, frame: Frame) -> Float32:
    out = np.zeros((frame.height, frame.width), np.float32)
    for width in sorted({w for w, _ in anatomy.vessels}):
        lines = [line for w, line in anatomy.vessels if w == width]
        drawn = _soft(frame.stroke(lines, width * 0.8), 0.30 * width * frame.unit)
        out += (0.06 + 7.5 * width) * drawn
    return 0.60 * out


def _opacities(disease: Disease, frame: Frame, rng: np.random.Generator) -> Float32:
    out = np.zeros((frame.height, frame.width), np.float32)
    u, v = frame.grid()
    for opacity in disease.opacities:
        patch = 1 / (1 + np.exp(np.clip((opacity.distance(u, v) - 1) / EDGE, -30, 30)))
        cloud = 1 + _texture(frame, rng, (0.010, 0.022, 0.05), 0.24)
        out = np.maximum(out, opacity.density * patch * np.clip(cloud, 0.5, 1.5))
    return out


def _texture(
    frame: Frame, rng: np.random.Generator, sizes: tuple[float, ...], level: float
) -> Float32:
    """Clouds of several sizes, standard deviation about `level`."""
    out = np.zeros((frame.height, frame.width), np.float32)
    sx, sy = frame.scale
    for size in sizes:
        cells = (
            max(2, round(frame.height / (size * sy))) + 3,
            max(2, round(frame.width / (size * sx))) + 3,
        )
        coarse = rng.standard_normal(cells, np.float32)
        out += cv2.resize(coarse, (frame.width, frame.height), interpolation=cv2.INTER_CUBIC)
    return out * np.float32(level / np.sqrt(len(sizes)))


def _soft(image: NDArray[np.uint8], sigma: float) -> Float32:
    """0..255 drawing to a blurred 0..1 map."""
    return _blur((image / 255).astype(np.float32), sigma)


def _blur(image: Float32, sigma: float) -> Float32:
    if sigma > 8:  # wide blurs on a small copy: the same to the eye, twenty times faster
        step = sigma / 4
        size = (max(1, round(image.shape[1] / step)), max(1, round(image.shape[0] / step)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        wide = cv2.GaussianBlur(small, (0, 0), 4, borderType=cv2.BORDER_REPLICATE)
        height, width = image.shape
        blurred: Float32 = cv2.resize(wide, (width, height), interpolation=cv2.INTER_LINEAR)
        return blurred
    out: Float32 = cv2.GaussianBlur(image, (0, 0), max(sigma, 0.3), borderType=cv2.BORDER_REPLICATE)
    return out
