"""Draw the charts of docs/results.md from its summary of the sweep, each for light and for dark
pages.

    python benchmarks/recipe_charts.py            # reads docs/recipe-sweep.csv, writes docs/recipe-*.svg

Only Python's standard library and the recipe itself are used, so the same summary gives the same
bytes.
"""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from charrnn.config.settings import Config, resolved
from charrnn.training.recipe import CPU_RATE, choose_sizes

DOCS = Path(__file__).parents[1] / "docs"
"""Where the summary is and the charts go."""
PANEL = (260.0, 200.0)
"""Width and height of a panel's plot."""
LEFT, TOP, RIGHT, BOTTOM = 52.0, 34.0, 44.0, 44.0
"""Space around a panel's plot, for its title, its labels and the names of its lines."""
SHORT_TEXTS = [(kind, 100_000) for kind in ("play", "code", "russian", "markup")]
SHORT_TEXTS += [("play", 20_000), ("code", 20_000), ("play", 300_000)]
"""Kinds and characters of the texts that are read often."""
LONG_TEXTS = [
    ("play", 10**6),
    ("novel", 3 * 10**6),
    ("code", 10**7),
    ("markup", 10**7),
    ("russian", 2_400_000),
]
"""Kinds and characters of the long texts."""
FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
"""Fonts, the preferred one first."""


@dataclass(frozen=True)
class Theme:
    """Colours of a page."""

    name: str
    paper: str
    ink: str
    faint: str
    grid: str
    lines: dict[int, str]
    """Colours of the lines and areas by number of units."""


THEMES = (
    Theme(
        "light",
        "#ffffff",
        "#1f2328",
        "#59636e",
        "#e1e4e8",
        {
            64: "#b07d00",
            128: "#00857a",
            256: "#2563c9",
            512: "#8b2fb3",
            1024: "#c4265a",
            2048: "#6b4a2b",
        },
    ),
    Theme(
        "dark",
        "#0d1117",
        "#e6edf3",
        "#9198a1",
        "#2b323b",
        {
            64: "#e3b341",
            128: "#3fc7b8",
            256: "#79a8ff",
            512: "#cf8df0",
            1024: "#ff7b9c",
            2048: "#c9a27e",
        },
    ),
)


@dataclass(frozen=True)
class Line:
    """A named line through points; `units` is its colour."""

    name: str
    units: int
    points: tuple[tuple[float, float], ...]
    is_dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """A plot with a logarithmic x axis."""

    title: str
    x_title: str
    lines: tuple[Line, ...]
    ticks: tuple[float, ...]


Rows = list[dict[str, str]]


def text_at(x: float, y: float, text: str, fill: str, size: int = 12, anchor: str = "start") -> str:
    """Return one line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )


def short(number: float) -> str:
    """Format a number as 30k, 1.5M or 1G."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:g}{suffix}"
    return f"{number:g}"


def draw_panel(panel: Panel, theme: Theme, span: float) -> str:
    """Return the elements of a panel whose y axis shows `span` nats above its lowest loss."""
    width, height = PANEL
    xs = [x for line in panel.lines for x, _ in line.points] + list(panel.ticks)
    low, high = math.log(min(xs)), math.log(max(xs))
    least = min(y for line in panel.lines for _, y in line.points)
    floor = math.floor(least * 20 - 0.2) / 20
    at_x = lambda x: (math.log(x) - low) / (high - low) * width  # noqa: E731
    at_y = lambda y: height - (y - floor) / span * height  # noqa: E731
    parts = [text_at(0, -14, panel.title, theme.ink, 14)]
    ticks = [floor + 0.05 * k for k in range(1, round(span / 0.05) + 1)]
    stride = max(1, len(ticks) // 5)
    for y in ticks[::stride]:
        parts.append(f'<path d="M0 {at_y(y):.1f}H{width:g}" stroke="{theme.grid}"/>')
        parts.append(text_at(-7, at_y(y) + 4, f"{y:.2f}", theme.faint, 11, "end"))
    for x in panel.ticks:
        parts.append(f'<path d="M{at_x(x):.1f} {height:g}v4" stroke="{theme.faint}"/>')
        parts.append(text_at(at_x(x), height + 17, short(x), theme.faint, 11, "middle"))
    parts.append(f'<path d="M0 {height:g}H{width:g}" stroke="{theme.faint}"/>')
    parts.append(text_at(width / 2, height + 34, panel.x_title, theme.faint, 11, "middle"))
    ends: list[float] = []
    for line in sorted(panel.lines, key=lambda line: line.points[-1][1]):
        points = [(at_x(x), at_y(y)) for x, y in line.points if y <= floor + span]
        if not points:
            continue
        colour, dash = theme.lines[line.units], ' stroke-dasharray="5 4"' * line.is_dashed
        route = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="M{route}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        # Names of lines that end at the same height are moved apart.
        x, y = points[-1]
        taken = [end for end in ends if abs(end - y) < 12]
        ends.append(y if not taken else min(taken) - 12)
        parts.append(text_at(x + 7, ends[-1] + 4, line.name, colour, 12))
    return "".join(parts)


def write_chart(name: str, title: str, panels: Sequence[Panel], columns: int, span: float) -> None:
    """Write a chart of panels in rows, once for each theme."""
    each = (PANEL[0] + LEFT + RIGHT, PANEL[1] + TOP + BOTTOM)

    def body(theme: Theme) -> tuple[float, float, str]:
        parts = []
        for number, panel in enumerate(panels):
            x, y = number % columns * each[0] + LEFT, number // columns * each[1] + TOP
            parts.append(
                f'<g transform="translate({x:g} {y:g})">{draw_panel(panel, theme, span)}</g>\n'
            )
        return columns * each[0], -(-len(panels) // columns) * each[1], "".join(parts)

    write_svg(name, title, body)


def write_svg(name: str, title: str, body: Callable[[Theme], tuple[float, float, str]]) -> None:
    """Write `docs/recipe-NAME-THEME.svg` for each theme; `body` returns width, height and
    elements."""
    for theme in THEMES:
        width, height, elements = body(theme)
        (DOCS / f"recipe-{name}-{theme.name}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
            f' viewBox="0 0 {width:g} {height:g}" role="img"'
            f' font-family="{FONT}">\n<title>{escape(title)}</title>\n<rect width="100%"'
            f' height="100%" rx="8" fill="{theme.paper}"/>\n{elements}</svg>\n',
            encoding="utf-8",
            newline="\n",
        )


def is_plain(row: dict[str, str]) -> bool:
    """Tell whether only text, size, dropout and characters read differ from the recipe's
    settings."""
    return (row["lanes"], row["window"], row["weight_decay"], row["rate"], row["seed"]) == (
        "32",
        "128",
        "0.1",
        "1.0",
        "0",
    )


def lines_by_units(rows: Rows, x_of: Callable[[dict[str, str]], float]) -> tuple[Line, ...]:
    """Return one line for each model size, and one for each with more dropout than the recipe's
    limit."""
    lines = []
    order = lambda row: (  # noqa: E731
        int(row["layers"]),
        int(row["units"]),
        float(row["dropout"]) > 0.4,
    )
    for (layers, units, is_strong), group in groupby(sorted(rows, key=order), order):
        points = tuple(sorted((x_of(row), float(row["val_nats"])) for row in group))
        name = f"{layers}×{units}" if layers > 1 else str(units)
        lines.append(
            Line(name + (" · 0.6" if is_strong else ""), units, points, is_strong or layers > 1)
        )
    return tuple(lines)


def size_of(row: dict[str, str]) -> tuple[int, int]:
    """Return the layers and units of a point."""
    return int(row["layers"]), int(row["units"])


def seconds_per_char(row: dict[str, str]) -> float:
    """Return the processor time of a point per character read."""
    return float(row["cpu_seconds"]) / int(row["read"])


def draw_repeated(rows: Rows) -> None:
    """Draw what reading a short text more often does to models of several sizes."""
    panels = []
    for kind, chars in SHORT_TEXTS:
        some = [
            row
            for row in rows
            if row["kind"] == kind and int(row["chars"]) == chars and float(row["dropout"]) > 0
        ]
        lines = lines_by_units(some, lambda row: int(row["read"]) / int(row["chars"]))
        ticks = tuple(sorted({int(row["read"]) / int(row["chars"]) for row in some}))
        panels.append(Panel(f"{kind}, {chars:,} characters", "epochs", lines, ticks))
    panels = [panel for panel in panels if len(panel.ticks) > 1 and panel.lines]
    write_chart("epochs", "Validation loss by epochs, short texts", panels, 2, 0.5)


def draw_sizes(rows: Rows) -> None:
    """Draw which size is best for which time, on long texts.

    The time is that of the characters read at the highest speed of any model of that size: other
    processes slowed down some of them.
    """
    panels = []
    sizes = sorted(rows, key=size_of)
    fastest = {size: min(map(seconds_per_char, group)) for size, group in groupby(sizes, size_of)}
    for kind, chars in LONG_TEXTS:
        some = [row for row in rows if row["kind"] == kind and int(row["chars"]) == chars]
        lines = lines_by_units(some, lambda row: int(row["read"]) * fastest[size_of(row)])
        panels.append(
            Panel(
                f"{kind}, {short(chars)} characters",
                "seconds of one thread",
                lines,
                (5, 20, 60, 240),
            )
        )
    panels = [panel for panel in panels if len(panel.ticks) > 1 and panel.lines]
    write_chart("time", "Validation loss by time, long texts", panels, 2, 0.7)


def inside(places: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the place that is furthest from the edge of an area."""
    area = set(places)

    def depth(place: tuple[int, int]) -> int:
        x, y = place
        for radius in range(1, 50):
            if not area.issuperset(
                {(x - radius, y), (x + radius, y), (x, y - radius), (x, y + radius)}
            ):
                return radius
        return 50

    return max(places, key=depth)


def draw_choice() -> None:
    """Draw the number of units that the recipe chooses by text and minutes."""
    sizes = [20_000 * 1e9**0 * (50_000 ** (k / 47)) for k in range(48)]
    seconds = [2 * 43_200 ** (k / 39) for k in range(40)]
    cell = 12.0

    def body(theme: Theme) -> tuple[float, float, str]:
        parts = [text_at(70, 26, "Units by text and budget: two threads with bf16", theme.ink, 14)]
        chosen = {
            (column, row): choose_sizes(
                Config(minutes=budget / 60), int(0.9 * chars), CPU_RATE * math.sqrt(2)
            )
            for column, chars in enumerate(sizes)
            for row, budget in enumerate(seconds)
        }
        units = {place: resolved(sized.hidden_size) for place, sized in chosen.items()}
        for row in range(len(seconds)):
            y, column = 40 + (len(seconds) - 1 - row) * cell, 0
            for size, group in groupby(units[place, row] for place in range(len(sizes))):
                width = len(list(group)) * cell
                x = 70 + column * cell
                parts.append(
                    f'<path d="M{x:g} {y:g}h{width:g}v{cell:g}h-{width:g}z"'
                    f' fill="{theme.lines[size]}"/>'
                )
                column += round(width / cell)
        for size in sorted(set(units.values())):
            x, y = inside([place for place, other in units.items() if other == size])
            x, y = 70 + (x + 0.5) * cell, 40 + (len(seconds) - 0.5 - y) * cell
            parts.append(text_at(x, y + 4, str(size), theme.paper, 13, "middle"))
        for chars in (20_000, 100_000, 10**6, 10**7, 10**8, 10**9):
            x = 70 + math.log(chars / 20_000) / math.log(50_000) * 47 * cell + cell / 2
            parts.append(text_at(x, 40 + 40 * cell + 16, short(chars), theme.faint, 11, "middle"))
        for budget, name in (
            (2, "2 s"),
            (10, "10 s"),
            (60, "1 min"),
            (600, "10 min"),
            (3600, "1 h"),
            (86_400, "1 day"),
        ):
            y = 40 + (39 - math.log(budget / 2) / math.log(43_200) * 39) * cell + cell / 2
            parts.append(text_at(62, y + 4, name, theme.faint, 11, "end"))
        parts.append(
            text_at(
                70 + 24 * cell,
                40 + 40 * cell + 34,
                "characters of the text",
                theme.faint,
                11,
                "middle",
            )
        )
        return 70 + 48 * cell + 24, 40 + 40 * cell + 48, "".join(parts) + "\n"

    write_svg("choice", "Units that the recipe chooses by text and budget", body)


def main() -> None:
    """Draw all charts."""
    with (DOCS / "recipe-sweep.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if is_plain(row)]
    draw_repeated(rows)
    draw_sizes(rows)
    draw_choice()


if __name__ == "__main__":
    main()
