"""Write the drawings of docs/understand/theory.md: `python docs/make/figures.py theory`.

Each is one SVG that follows the light or dark scheme of the reader. Nothing in them is measured,
but the bars of the temperatures, which are computed here.

Letters are shapes, which look the same everywhere: their outlines are those of DejaVu Sans Mono in
`letters.json`, which `docs/make/letters.py` writes. The words of a drawing are in its description.
"""

import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parents[1] / "pictures"
"""Where the drawings are written."""
LETTERS = Path(__file__).with_name("letters.json")
"""The outlines of the letters."""
SIZE, SMALL_SIZE = 15, 12
"""Sizes of text in pixels."""
STYLE = """
.text { fill: #1f2328; }
.small { fill: #59636e; }
.line { stroke: #59636e; stroke-width: 1.5; fill: none; }
.box { stroke: #59636e; stroke-width: 1.5; fill: #f6f8fa; }
.a { fill: #cfe3fc; } .b { fill: #fbd5d0; } .bar { fill: #3b78c4; } .head { fill: #59636e; }
@media (prefers-color-scheme: dark) {
  .text { fill: #f0f6fc; } .small { fill: #9198a1; } .line, .box { stroke: #9198a1; } .box { fill: #151b23; }
  .a { fill: #173a66; } .b { fill: #6b2a22; } .bar { fill: #6ea8f0; } .head { fill: #9198a1; }
}
"""
"""Colours of both schemes."""
LOGITS = {"e": 2.0, "a": 1.4, "i": 0.9, "o": 0.2, "u": -0.8}
"""Scores of five characters, for the drawing of the temperatures."""


@cache
def read_letters() -> dict[str, Any]:
    """Read the outlines by letter, with the width of each and the units of a font size."""
    letters: dict[str, Any] = json.loads(LETTERS.read_text(encoding="utf-8"))
    return letters


def text(x: float, y: float, content: str, *, small: bool = False, anchor: str = "middle") -> str:
    """Draw a text as shapes; y is its baseline. `page` defines the shape of each letter."""
    letters = read_letters()
    scale = (SMALL_SIZE if small else SIZE) / letters["units"]
    if anchor == "middle":
        x -= scale * letters["width"] * len(content) / 2
    style = "small" if small else "text"
    uses = []
    for place, letter in enumerate(content):
        if letter != " ":
            uses.append(f'<use href="#u{ord(letter):x}" x="{place * letters["width"]}"/>')
    return (
        f'<g class="{style}" data-text="{escape(content, {chr(34): "&quot;"})}"'
        f' transform="translate({x:.2f} {y:g}) scale({scale:.6f} {-scale:.6f})">{"".join(uses)}</g>'
    )


def box(x: float, y: float, width: float, height: float, kind: str = "", label: str = "") -> str:
    """Draw a rectangle with a label in its middle."""
    shape = (
        f'<rect class="box {kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
        ' rx="4"/>'
    )
    return shape + (text(x + width / 2, y + height / 2 + 5, label) if label else "")


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """Draw an arrow from (x, y)."""
    angle = math.atan2(to_y - y, to_x - x)
    corners = [(to_x, to_y)]
    for side in (-0.4, 0.4):
        corners.append((to_x - 9 * math.cos(angle + side), to_y - 9 * math.sin(angle + side)))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    line = (
        f'<path class="line" d="M{x:g} {y:g}L{to_x - 5 * math.cos(angle):.1f}'
        f' {to_y - 5 * math.sin(angle):.1f}"/>'
    )
    return f'{line}<polygon class="head" points="{points}"/>'


def page(width: int, height: int, title: str, parts: list[str]) -> str:
    """Return an SVG document. Its description has all words, for search and screen readers."""
    drawn = "\n".join(parts)
    words = " · ".join(re.findall('data-text="([^"]*)"', drawn))
    used = sorted(set(re.findall('href="#u([0-9a-f]+)"', drawn)))
    outlines = read_letters()["outlines"]
    shapes = "".join(f'<path id="u{code}" d="{outlines[chr(int(code, 16))]}"/>' for code in used)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' role="img"><title>{escape(title)}</title><desc>{words}</desc><style>{STYLE}</style>'
        f"<defs>{shapes}</defs>\n{drawn}</svg>\n"
    )


def draw_unrolled() -> str:
    """Draw a network that reads "hell" and guesses "ello"."""
    parts = [
        text(20, 55, "guess", small=True, anchor="start"),
        text(20, 125, "state", small=True, anchor="start"),
    ]
    parts.append(text(20, 195, "input", small=True, anchor="start"))
    for step, (read, guessed) in enumerate(zip("hell", "ello", strict=True)):
        x = 110 + 135 * step
        parts += [box(x, 35, 60, 32, "b", guessed), box(x, 100, 60, 40, "", f"h{'₁₂₃₄'[step]}")]
        parts.append(box(x, 175, 60, 32, "a", read))
        parts += [arrow(x + 30, 175, x + 30, 141), arrow(x + 30, 100, x + 30, 68)]
        if step < 3:
            parts.append(arrow(x + 60, 120, x + 134, 120))
    return page(640, 235, "A recurrent network reads hell and guesses ello", parts)


def draw_lanes() -> str:
    """Draw how a text is cut into lanes, and these into windows."""
    parts = [text(20, 30, "the training text", small=True, anchor="start")]
    names = ("a", "", "b")
    for lane in range(3):
        parts.append(box(20 + 200 * lane, 40, 200, 28, names[lane], f"row {lane}"))
    parts.append(arrow(320, 75, 320, 103))
    for lane in range(3):
        y = 112 + 42 * lane
        parts.append(text(20, y + 19, f"row {lane}", small=True, anchor="start"))
        for window in range(4):
            x = 90 + 135 * window
            parts.append(box(x, y, 110, 28, names[lane], f"step {window + 1}"))
            if window < 3:
                parts.append(arrow(x + 110, y + 14, x + 134, y + 14))
    parts.append(
        text(
            90,
            260,
            "arrow: the state is carried on, its gradient is not",
            small=True,
            anchor="start",
        )
    )
    return page(640, 275, "A text is cut into batch rows, and those into windows", parts)


def draw_lstm() -> str:
    """Draw the memory of an LSTM between two characters."""
    parts = [
        text(30, 75, "c", anchor="middle"),
        arrow(45, 70, 150, 70),
        box(150, 50, 50, 40, "a", "×"),
    ]
    parts += [
        arrow(200, 70, 320, 70),
        box(320, 50, 50, 40, "a", "+"),
        arrow(370, 70, 600, 70),
        text(615, 75, "c′"),
    ]
    for x, name, meaning in (
        (175, "f", "forget"),
        (300, "i", "input"),
        (390, "g", "candidate"),
        (520, "o", "output"),
    ):
        parts += [
            box(x - 25, 190, 50, 36, "b" if name != "g" else "", name),
            text(x, 246, meaning, small=True),
        ]
    parts += [arrow(175, 190, 175, 91), box(320, 120, 50, 36, "a", "×"), arrow(345, 120, 345, 91)]
    parts += [arrow(300, 190, 332, 157), arrow(390, 190, 358, 157)]
    parts += [
        box(450, 110, 70, 36, "", "tanh"),
        arrow(485, 70, 485, 109),
        arrow(520, 128, 555, 128),
    ]
    parts += [box(555, 110, 40, 36, "a", "×"), arrow(525, 190, 563, 147)]
    parts += [arrow(595, 128, 612, 128), text(625, 132, "h′")]
    parts.append(
        text(320, 275, "each of f, i, g, o is computed from the character and from h", small=True)
    )
    return page(
        650, 290, "The memory c of an LSTM is multiplied by f, then i times g is added", parts
    )


def draw_temperatures() -> str:
    """Draw the probabilities of five characters at three temperatures."""
    parts = []
    for column, temperature in enumerate((0.5, 1.0, 2.0)):
        weights = {name: math.exp(score / temperature) for name, score in LOGITS.items()}
        total = sum(weights.values())
        left = 30 + 205 * column
        parts.append(text(left + 80, 25, f"temperature {temperature:g}", small=True))
        for place, (name, weight) in enumerate(weights.items()):
            share, x = weight / total, left + 34 * place
            height = 150 * share
            size = f'x="{x:g}" y="{195 - height:.1f}" width="26" height="{height:.1f}"'
            parts.append(f'<rect class="bar" {size} rx="2"/>')
            parts += [
                text(x + 13, 188 - height, f"{share:.2f}", small=True),
                text(x + 13, 214, name),
            ]
    return page(640, 230, "Probabilities of five characters at temperatures 0.5, 1 and 2", parts)


def draw_search() -> str:
    """Draw how a cell is chosen on one half of a text and scored on the other."""
    parts = [text(20, 30, "held-out text", small=True, anchor="start")]
    parts += [
        box(150, 12, 230, 28, "a", "choosing half"),
        box(380, 12, 230, 28, "b", "scoring half"),
    ]
    # Each row: how much of the label is in it, how much else, and the phase of that.
    rows = {
        "labels": (1, 0.0, 0),
        "cell 0:0": (0, 1.3, 2.1),
        "cell 0:1": (1, 0.35, 0),
        "cell 0:2": (0.2, 1.2, 0.9),
    }
    for row, (name, (signal, noise, phase)) in enumerate(rows.items()):
        y = 80 + 40 * row
        parts.append(text(20, y + 5, name, small=True, anchor="start"))
        points = []
        for index in range(231):
            label = 1 if math.sin(index / 14 + 0.6 * math.sin(index / 9)) > 0.2 else -1
            wave = signal * label + noise * math.sin(index / 5 + phase)
            points.append(f"{150 + 2 * index},{y - 11 * max(-1.2, min(1.2, wave)):.1f}")
        parts.append(f'<polyline class="line" points="{" ".join(points)}"/>')
    parts += [arrow(265, 222, 265, 250), text(265, 268, "best cell: 0:1", small=True)]
    parts += [
        arrow(495, 222, 495, 250),
        text(495, 268, "its score: is it above chance?", small=True),
    ]
    parts.append(arrow(325, 264, 380, 264))
    return page(640, 285, "A cell is chosen on one half of the text and scored on the other", parts)


DRAWINGS = {
    "unrolled": draw_unrolled,
    "lanes": draw_lanes,
    "lstm": draw_lstm,
    "temperature": draw_temperatures,
    "search": draw_search,
}
"""The drawings by the names of their files."""


def write_drawings() -> None:
    """Write all drawings."""
    for name, draw in DRAWINGS.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")
