"""A pipeline drawn: as lines of text for a terminal, and as boxes and arrows (SVG, PNG).

Knows the text alone, no bundle: it draws what will be done, whether or not it can be.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from hilum.inference.check import needs_of
from hilum.inference.pipeline import Pipeline
from hilum.inference.stages import StageSpec
from hilum.inference.text import ModelSpec

LINE, CHARACTER, PAD, GAP, COLUMN = 17, 7.0, 9, 20, 74  # px
LONGEST = 44  # letters of a line
INK, QUIET, RULE, PAPER = "#1d2733", "#5b6b7c", "#9aa8b5", "#ffffff"
Point = tuple[float, float]
FILLS = {"gates": "#f3e9d2", "models": "#dce9f5", "flows": "#e2f0e4", "out": "#ece4f2"}


@dataclass(frozen=True, slots=True)
class Block:
    """One box of the drawing."""

    name: str
    kind: str  # of FILLS
    lines: tuple[str, ...]  # the first is its title
    x: float = 0
    y: float = 0
    width: float = 0

    @property
    def least_width(self) -> float:
        return max(map(len, self.lines)) * CHARACTER + 2 * PAD

    @property
    def height(self) -> float:
        return len(self.lines) * LINE + 2 * PAD


class Arrow(NamedTuple):
    """From one point to another, px."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def head(self) -> list[Point]:
        """The three points of its head."""
        x1, y1, x2, y2 = self
        if x1 == x2:
            back = y2 - 7 if y1 < y2 else y2 + 7
            return [(x2 - 4, back), (x2, y2), (x2 + 4, back)]
        return [(x2 - 7, y2 - 4), (x2, y2), (x2 - 7, y2 + 4)]

    @property
    def curve(self) -> list[Point]:
        """The curve of the SVG as points."""
        x1, y1, x2, y2 = self
        middle, points = (x1 + x2) / 2, []
        for step in range(25):
            t = step / 24
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            points.append(((a * x1) + (b + c) * middle + d * x2, (a + b) * y1 + (c + d) * y2))
        return points


@dataclass(frozen=True, slots=True)
class Layout:
    """Blocks at their places, arrows between them, and the size of the whole, px."""

    blocks: list[Block]
    arrows: list[Arrow]
    width: float
    height: float


def tree(pipeline: Pipeline) -> list[str]:
    """The pipeline from top to bottom, one line a step."""
    lines = [f"{pipeline.name} {pipeline.version}"]
    if pipeline.about:
        lines.append(f"  {pipeline.about}")
    for title, blocks in _sections(pipeline):
        lines += ["", title]
        for block in blocks:
            first, *rest = block.lines
            lines.append(f"  {first}")
            lines += [f"    {line}" for line in rest]
    return lines


def svg(pipeline: Pipeline) -> str:
    """A drawing of blocks and arrows."""
    layout = _layout(pipeline)
    width, height = layout.width, layout.height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans Mono, monospace" '
        f'font-size="11.6"><rect width="100%" height="100%" fill="{PAPER}"/>'
    ]
    for arrow in layout.arrows:
        x1, y1, x2, y2 = arrow
        middle = (x1 + x2) / 2
        parts.append(
            f'<path d="M{x1:.0f} {y1:.0f}C{middle:.0f} {y1:.0f} {middle:.0f} {y2:.0f} '
            f'{x2:.0f} {y2:.0f}" fill="none" stroke="{RULE}" stroke-width="1.4"/>'
            f'<path d="M{"L".join(f"{x:.0f} {y:.0f}" for x, y in arrow.head)}" '
            f'fill="none" stroke="{RULE}" stroke-width="1.4"/>'
        )
    for one in layout.blocks:
        parts.append(
            f'<rect x="{one.x:.0f}" y="{one.y:.0f}" width="{one.width:.0f}" '
            f'height="{one.height:.0f}" rx="5" fill="{FILLS[one.kind]}" stroke="{RULE}"/>'
        )
        for row, text in enumerate(one.lines):
            weight = ' font-weight="bold"' if row == 0 else ""
            y = one.y + PAD + (row + 0.75) * LINE
            parts.append(
                f'<text x="{one.x + PAD:.0f}" y="{y:.0f}" fill="{INK if row == 0 else QUIET}"'
                f'{weight} xml:space="preserve">{escape(text)}</text>'
            )
    return "".join([*parts, "</svg>\n"])


def png(pipeline: Pipeline, scale: int = 2) -> bytes:
    """The same drawing as pixels; drawn twice as large, as Pillow smooths no line."""
    layout = _layout(pipeline)
    fine, width, height = 2 * scale, int(layout.width), int(layout.height)
    picture = Image.new("RGB", (width * fine, height * fine), PAPER)
    draw = ImageDraw.Draw(picture)
    font = _fitting_font(CHARACTER * fine)
    for arrow in layout.arrows:
        for points in (arrow.curve, arrow.head):
            draw.line([(round(x * fine), round(y * fine)) for x, y in points], RULE, fine, "curve")
    for one in layout.blocks:
        box = [one.x, one.y, one.x + one.width, one.y + one.height]
        corners = [value * fine for value in box]
        draw.rounded_rectangle(
            corners, radius=5 * fine, fill=FILLS[one.kind], outline=RULE, width=scale
        )
        for row, text in enumerate(one.lines):
            place = (one.x + PAD) * fine, (one.y + PAD + row * LINE + 2) * fine
            draw.text(place, text, INK if row == 0 else QUIET, font)
    picture = picture.resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _sections(pipeline: Pipeline) -> list[tuple[str, list[Block]]]:
    """Title and blocks, in the order of the flow."""
    gates = tuple(_step(gate) for gate in pipeline.gates) or ("none",)
    models = [_model(name, spec) for name, spec in pipeline.models.items()]
    flows = [
        *(_flow(f"masks.{name}", f"mask {name}", s) for name, s in pipeline.masks.items()),
        *([_flow("boxes", "boxes", pipeline.boxes)] if pipeline.boxes else []),
        *([_flow("scores", "scores", pipeline.scores)] if pipeline.scores else []),
    ]
    shown = pipeline.thresholds
    points = [f"boxes from score {_value(shown.boxes)}"] if pipeline.boxes else []
    points += [f"beside scores: {name}" for name in shown.images]
    return [
        ("gates", [Block("gates", "gates", ("image passes", *gates))]),
        ("models", models),
        ("flows", flows),
        (
            "results",
            [
                Block("findings", "out", ("findings", *points)),
                Block("study", "out", ("study", _step(pipeline.study))),
            ],
        ),
    ]


def _model(name: str, spec: ModelSpec) -> Block:
    lines = [name]
    lines += [f"bundle {path}" for path in map(_short, spec.paths)]
    if not spec.paths:
        lines.append(f"bundle to be named; recipe {spec.recipe or 'any'}")
    if spec.combine is not None:
        lines.append(f"combine {_step(spec.combine)}")
    views = ["flip" * v.flip + " " * (v.flip and v.scale < 1) + _scale(v.scale) for v in spec.views]
    if views != [""]:
        lines.append(f"views {', '.join(view or 'plain' for view in views)}")
        if len(views) > 1 and spec.fuse != ModelSpec.model_fields["fuse"].default:
            lines.append(f"  boxes of views: {_step(spec.fuse)}")
    if spec.size:
        lines.append(f"size {spec.size} px")
    changes = spec.decoding.model_dump(exclude_none=True)
    if changes:
        lines.append("decoding " + ", ".join(f"{key} {value:g}" for key, value in changes.items()))
    if spec.when is not None:
        lines.append(f"asked only if {spec.when.score} >= {spec.when.at}")
    return Block(f"models.{name}", "models", tuple(lines))


def _scale(scale: float) -> str:
    return f"at {scale:g}" if scale < 1 else ""


def _short(path: str) -> str:
    return path if len(path) <= 40 else f"…{path[-39:]}"


def _flow(name: str, title: str, steps: Sequence[StageSpec]) -> Block:
    numbered = (f"{index}. {_step(step)}" for index, step in enumerate(steps, 1))
    return Block(name, "flows", (title, *numbered))


def _step(spec: StageSpec) -> str:
    options = ", ".join(f"{key} {_value(value)}" for key, value in spec.options.items())
    return f"{spec.use} ({options})" if options else spec.use


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()  # as in the YAML
    return f"{value:g}" if isinstance(value, float) else str(value)


def _layout(pipeline: Pipeline) -> Layout:
    """Column by column."""
    columns = [[_wrapped(one) for one in blocks] for _, blocks in _sections(pipeline)]
    heights = [sum(one.height + GAP for one in column) - GAP for column in columns]
    placed: dict[str, Block] = {}
    x = float(GAP)
    for column, height in zip(columns, heights, strict=True):
        y = GAP + (max(heights) - height) / 2
        width = max(one.least_width for one in column)
        for one in column:
            placed[one.name] = replace(one, x=x, y=y, width=width)
            y += one.height + GAP
        x += width + COLUMN
    return Layout(
        blocks=list(placed.values()),
        arrows=[_arrow(placed[a], placed[b]) for a, b in _edges(pipeline)],
        width=x - COLUMN + GAP,
        height=max(heights) + 2 * GAP,
    )


def _wrapped(block: Block) -> Block:
    """No line longer than `LONGEST`, so that a page holds the whole drawing."""
    lines = [
        textwrap.wrap(line, LONGEST, subsequent_indent="    ", break_on_hyphens=False)
        for line in block.lines
    ]
    return replace(block, lines=tuple(part for line in lines for part in line))


def _edges(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    for name in pipeline.models:
        yield "gates", f"models.{name}"
    made = pipeline.flows()
    seen = set[tuple[str, str]]()
    for place, needs in needs_of(pipeline, made):
        taker = place.partition(",")[0].removesuffix(".when")  # a flow, or a model that is gated
        seen |= {(f"models.{name}", taker) for name in needs.models if name in pipeline.models}
        seen |= {(f"masks.{name}", taker) for name in needs.masks if name in pipeline.masks}
    if pipeline.boxes and any(stage.of_boxes for stage in made.scores):
        seen.add(("boxes", "scores"))
    yield from sorted(seen)
    flows = [f"masks.{name}" for name in pipeline.masks]
    flows += [name for name in ("boxes", "scores") if getattr(pipeline, name)]
    for flow in flows:
        yield flow, "findings"
    if pipeline.scores:
        yield "scores", "study"


def _arrow(a: Block, b: Block) -> Arrow:
    """From side to side; inside a column straight down, or up."""
    if a.x == b.x:
        x = a.x + min(a.width, b.width) / 2
        down = a.y < b.y
        ends = (a.y + a.height, b.y - 3) if down else (a.y, b.y + b.height + 3)
        return Arrow(x1=x, y1=ends[0], x2=x, y2=ends[1])
    return Arrow(x1=a.x + a.width, y1=a.y + a.height / 2, x2=b.x - 3, y2=b.y + b.height / 2)


def _fitting_font(width: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font whose letters are at most so wide, px."""
    for size in range(80, 6, -1):
        font = ImageFont.load_default(size)
        if font.getlength("x" * 20) <= width * 20 * 0.98:
            return font
    return ImageFont.load_default(7)
