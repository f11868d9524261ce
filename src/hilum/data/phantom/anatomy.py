"""Shapes of a made-up frontal chest: outlines and centre lines, no pixels.

Knows no grey values, no noise and no file. Everything is in chest coordinates (u, v): u to the
viewer's right, v down, the origin between the lungs, one unit the shorter side of a square image.
Mirrored shapes take `side` -1 (viewer's left, the patient's right) or +1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Uint8 = NDArray[np.uint8]

SIDES = (-1, 1)
MAX_STRETCH = 1.15  # a chest may fill a mildly wide or tall image, but is not squashed into it
SUBPIXEL_BITS = 4  # cv2 draws at 1/16 px

# Lung fields without the lung behind the heart, clockwise from the apex, for each side; the
# lateral half of both is drawn on the viewer's left and mirrored.
_LATERAL = [(-0.17, -0.405), (-0.235, -0.37), (-0.30, -0.29), (-0.345, -0.19), (-0.375, -0.07)]
_LATERAL += [(-0.395, 0.06), (-0.403, 0.18), (-0.404, 0.245)]
_RIGHT = [(-0.397, 0.272), (-0.375, 0.243), (-0.32, 0.198), (-0.25, 0.172), (-0.18, 0.170)]
_RIGHT += [(-0.12, 0.188), (-0.085, 0.213), (-0.082, 0.18), (-0.097, 0.12), (-0.095, 0.05)]
_RIGHT += [(-0.075, -0.02), (-0.07, -0.11), (-0.062, -0.20), (-0.066, -0.29), (-0.09, -0.36)]
_LEFT = [(-0.397, 0.290), (-0.375, 0.262), (-0.325, 0.222), (-0.275, 0.205), (-0.23, 0.207)]
_LEFT += [(-0.205, 0.220), (-0.205, 0.185), (-0.185, 0.115), (-0.145, 0.04), (-0.105, -0.02)]
_LEFT += [(-0.088, -0.085), (-0.085, -0.13), (-0.094, -0.175), (-0.088, -0.21), (-0.068, -0.235)]
_LEFT += [(-0.066, -0.30), (-0.09, -0.36)]
_TRUNK = [(0.115, -1.6), (0.115, -0.56), (0.135, -0.49), (0.22, -0.455), (0.36, -0.435)]
_TRUNK += [(0.48, -0.41), (0.565, -0.36), (0.61, -0.27), (0.635, -0.15), (0.70, 0.05)]
_TRUNK += [(0.80, 0.30), (1.05, 0.9), (0.93, 0.95), (0.68, 0.36), (0.57, 0.10), (0.50, -0.04)]
_TRUNK += [(0.468, -0.06), (0.455, 0.02), (0.452, 0.2), (0.45, 0.45), (0.47, 0.8), (0.49, 1.6)]
_HEART = [(-0.085, -0.04), (-0.103, 0.06), (-0.104, 0.13), (-0.085, 0.20), (0.03, 0.235)]
_HEART += [(0.15, 0.245), (0.208, 0.222), (0.21, 0.175), (0.185, 0.11), (0.14, 0.035)]
_HEART += [(0.095, -0.03), (0.0, -0.09)]
_MEDIASTINUM = [(-0.075, -0.36), (-0.068, -0.2), (-0.078, -0.05), (-0.09, 0.1), (-0.09, 0.3)]
_MEDIASTINUM += [(0.1, 0.3), (0.11, 0.1), (0.095, -0.05), (0.092, -0.12), (0.098, -0.175)]
_MEDIASTINUM += [(0.09, -0.215), (0.068, -0.25), (0.07, -0.36)]
_CLAVICLE = [(0.045, -0.305), (0.10, -0.320), (0.17, -0.352), (0.25, -0.385), (0.33, -0.398)]
_CLAVICLE += [(0.42, -0.398), (0.47, -0.392)]
_SCAPULA = [(0.44, -0.37), (0.385, -0.31), (0.372, -0.20), (0.40, -0.02), (0.425, 0.03)]
_SCAPULA += [(0.445, -0.06), (0.49, -0.22), (0.50, -0.33)]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the chest lies on an image of (height, width) px."""

    width: int
    height: int
    shift: tuple[float, float] = (0.0, 0.03)

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels per unit of u and of v."""
        w, h = self.width, self.height
        return min(w, MAX_STRETCH * h), min(h, MAX_STRETCH * w)

    @property
    def unit(self) -> float:
        """One length for widths and blurs, px."""
        return float(min(self.scale))

    def to_px(self, points: Float64) -> Float64:
        """(n, 2) u, v to x, y on pixel edges."""
        centre = np.array([self.width, self.height]) / 2
        placed: Float64 = centre + (points + np.array(self.shift)) * np.array(self.scale)
        return placed

    def grid(self) -> tuple[Float64, Float64]:
        """u as (1, width) and v as (height, 1) of the pixel centres."""
        sx, sy = self.scale
        u = (np.arange(self.width) + 0.5 - self.width / 2) / sx - self.shift[0]
        v = (np.arange(self.height) + 0.5 - self.height / 2) / sy - self.shift[1]
        return u[None, :].astype(np.float64), v[:, None].astype(np.float64)

    def fill(self, *outlines: Float64) -> Uint8:
        """(height, width) 0/255 image of closed outlines."""
        image = np.zeros((self.height, self.width), np.uint8)
        for outline in outlines:
            cv2.fillPoly(image, [self._fixed(outline)], 255, shift=SUBPIXEL_BITS)
        return image

    def stroke(self, lines: list[Float64], width: float) -> Uint8:
        """(height, width) 0..255 image of open lines of one width (units of the chest)."""
        image = np.zeros((self.height, self.width), np.uint8)
        thickness = max(1, round(width * self.unit))
        fixed = [self._fixed(line) for line in lines]
        cv2.polylines(image, fixed, False, 255, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
        return image

    def _fixed(self, points: Float64) -> NDArray[np.int32]:
        fixed: NDArray[np.int32] = np.round((self.to_px(points) - 0.5) * 2**SUBPIXEL_BITS).astype(
            np.int32
        )
        return fixed


def smooth(points: Float64, closed: bool, steps: int = 12) -> Float64:
    """A Catmull-Rom curve through (n, 2) points."""
    if closed:
        p = np.concatenate([points[-1:], points, points[:2]])
    else:
        p = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    flat: Float64 = curve.transpose(1, 0, 2).reshape(-1, 2)
    return flat if closed else np.concatenate([flat, points[-1:]])


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """One person's shapes. Lines and outlines are (n, 2) u, v."""

    lungs: tuple[Float64, Float64]  # viewer's left, viewer's right
    body: Float64
    heart: Float64
    mediastinum: Float64
    clavicles: list[Float64]
    scapulae: list[Float64]
    ribs_back: list[Float64]
    ribs_front: list[Float64]
    humeri: list[Float64]
    vessels: list[tuple[float, Float64]]  # width, line
    bubble: Float64  # air in the stomach
    tilt: float  # radians


def draw(rng: np.random.Generator) -> Anatomy:
    """A person: the standard shapes, bent by one smooth random map and some sizes of their own."""
    bend = _Bend(rng)
    heart = rng.uniform(0.88, 1.14)
    lungs = (_lung(-1, heart), _lung(1, heart))
    spacing = rng.uniform(0.063, 0.071)
    back = [bend(rib) for side in SIDES for rib in _back_ribs(side, spacing, rng)]
    front = [bend(rib) for side in SIDES for rib in _front_ribs(side, spacing, rng)]
    trunk = np.array(_TRUNK)
    outline = np.concatenate([trunk, trunk[::-1] * [-1, 1]])
    mirror = [np.array([side, 1]) for side in SIDES]
    vessels = [
        (w, bend(line)) for side in SIDES for w, line in _vessel_tree(side, lungs[side > 0], rng)
    ]
    return Anatomy(
        lungs=(bend(lungs[0]), bend(lungs[1])),
        body=bend(smooth(outline, True)),
        heart=bend(smooth(_widened(np.array(_HEART), heart), True)),
        mediastinum=bend(smooth(np.array(_MEDIASTINUM), True)),
        clavicles=[bend(smooth(np.array(_CLAVICLE) * m, False)) for m in mirror],
        scapulae=[bend(smooth(np.array(_SCAPULA) * m, True)) for m in mirror],
        ribs_back=back,
        ribs_front=front,
        humeri=[bend(np.array([(0.53, -0.335), (0.63, 0.0), (0.86, 0.6)]) * m) for m in mirror],
        vessels=vessels,
        bubble=bend(_ellipse(0.20, 0.285, rng.uniform(0.03, 0.055), rng.uniform(0.018, 0.03))),
        tilt=float(rng.normal(0, 0.015)),
    )


class _Bend:
    """A smooth map of the plane: size, lean and two slow waves, the same for every shape."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.size = rng.uniform([0.95, 0.93], [1.07, 1.06])
        self.lean = rng.normal(0, 0.02)
        self.waves = rng.normal(0, [[0.007], [0.007]], (2, 2))
        self.phase = rng.uniform(0, 2 * np.pi, (2, 2))

    def __call__(self, points: Float64) -> Float64:
        u, v = points[:, 0], points[:, 1]
        du = self.waves[0] @ np.sin(np.outer([5.0, 9.0], v) + self.phase[0][:, None])
        dv = self.waves[1] @ np.sin(np.outer([5.0, 9.0], u) + self.phase[1][:, None])
        return np.stack([u * self.size[0] + du + self.lean * v, v * self.size[1] + dv], axis=1)


def _lung(side: int, heart: float) -> Float64:
    own = np.array(_LATERAL + (_RIGHT if side < 0 else _LEFT))
    if side > 0:
        own = _widened(own * [-1, 1], heart)
    return smooth(own, True)


def _widened(points: Float64, factor: float) -> Float64:
    """Points of the heart's left border moved out, the rest of the outline left alone."""
    u, v = points[:, 0], points[:, 1]
    near = np.exp(-(((u - 0.17) / 0.09) ** 2) - ((v - 0.13) / 0.11) ** 2)
    return np.stack([u * (1 + (factor - 1) * near), v], axis=1)


def _wall(v: Float64) -> Float64:
    lateral = np.array(_LATERAL)
    reach: Float64 = np.interp(v, lateral[:, 1], -lateral[:, 0]) + 0.006
    return reach


def _back_ribs(side: int, spacing: float, rng: np.random.Generator) -> list[Float64]:
    """Posterior arcs, spine to chest wall: up a little, then ever steeper down."""
    t = np.linspace(0, 1, 24)
    out = []
    for i in range(9):
        start = -0.385 + i * spacing + rng.normal(0, 0.002)
        drop = 0.05 + 0.0105 * i
        v = start - 0.030 * np.sin(np.pi * np.minimum(t * 1.25, 1)) + drop * t**2.2
        reach = float(_wall(v[-1:] - 0.01)[0]) + rng.normal(0, 0.003)
        u = 0.045 + (reach - 0.045) * np.sin(t * np.pi / 2) ** 0.92
        out.append(np.stack([side * u, v], axis=1))
    return out


def _front_ribs(side: int, spacing: float, rng: np.random.Generator) -> list[Float64]:
    """Anterior arcs, chest wall to cartilage: down and inwards, fading before the sternum."""
    t = np.linspace(0, 1, 20)
    out = []
    for i in range(6):
        start = -0.300 + i * spacing * 1.12 + rng.normal(0, 0.003)
        reach = float(_wall(np.array([start]))[0])
        inner = 0.13 + 0.012 * i
        u = inner + (reach - inner) * np.cos(t * np.pi / 2) ** 0.9
        v = start + (0.085 + 0.006 * i) * np.sin(t * np.pi / 2) ** 1.4
        out.append(np.stack([side * u, v], axis=1))
    return out


def _vessel_tree(side: int, lung: Float64, rng: np.random.Generator) -> list[tuple[float, Float64]]:
    """Branching lines from the hilum outwards, thinner at every fork."""
    out: list[tuple[float, Float64]] = []
    hilum = np.array([side * 0.095, -0.045 if side > 0 else -0.03])
    for angle in np.linspace(-1.25, 1.35, 9):
        _branch(out, hilum, angle + rng.normal(0, 0.12), width=0.0125, forks=3, side=side, rng=rng)
    outline = lung.astype(np.float32)
    return [
        (w, line)
        for w, line in out
        if cv2.pointPolygonTest(outline, (float(line[-1, 0]), float(line[-1, 1])), False) > 0
    ]


def _branch(
    out: list[tuple[float, Float64]],
    start: Float64,
    angle: float,
    width: float,
    forks: int,
    side: int,
    rng: np.random.Generator,
) -> None:
    length = rng.uniform(0.05, 0.085)
    bend = rng.normal(0, 0.25)
    t = np.linspace(0, 1, 6)
    direction = angle + bend * t
    steps = np.stack([side * np.cos(direction), np.sin(direction)], axis=1) * length / 5
    line = start + np.concatenate([[[0, 0]], np.cumsum(steps[1:], axis=0)])
    out.append((width, line))
    if forks:
        for turn in (-0.38, 0.32):
            turned = float(direction[-1]) + turn + rng.normal(0, 0.15)
            _branch(out, line[-1], turned, width=width * 0.68, forks=forks - 1, side=side, rng=rng)


def _ellipse(u: float, v: float, a: float, b: float) -> Float64:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([u + a * np.cos(t), v + b * np.sin(t)], axis=1)
