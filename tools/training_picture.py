"""Draw a text that a network writes after more and more steps of its training, as a moving picture.

    charrnn train war-and-peace --type lstm --layers 1 --hidden-size 384 --split 80/10/10 --steps 6000 \\
        --seed 2 --set threads=1 --set save_every=10 --set keep=200 --out novel   # Ctrl-C after STEPS
    python tools/training_picture.py novel

This is the training of the included model `prose`, which is what comes out at the end. All write by the
same prime and seed, in the colours of the quotation cell of `prose`, so the same cell is seen as it
learns. A viewer without animations shows the end.
"""

import argparse
import re
from pathlib import Path

from coloured_texts import PICTURES, lines_of, written
from rich.text import Text

import charrnn
from charrnn.views.svg import to_svg

STEPS = (10, 100, 1000)
"""Steps after which the network writes; it also writes at the end."""
SECONDS = (2.5, 2.5, 2.5, 4.5)
"""How long each text is shown."""
CELL = (0, 97)
"""The quotation cell."""
PRIME = "said Pierre.\n\n"
"""What is continued, and not shown."""
OPTIONS = {"prime": PRIME, "length": 700, "temperature": 0.5, "seed": 5}
"""How the texts are written."""
WIDTH = 80
"""Columns of the picture."""
NUM_LINES = 6
"""Lines of each text."""
PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" class="charrnn">
<title>A network writes, after more and more steps of its training</title>
<style>
{styles}
</style>
{frames}
</svg>
"""


def draw_training(run: Path, path: Path) -> None:
    """Draw the texts of a run after its steps, and that of `prose`, one after the other, as an SVG."""
    frames = []
    for step in STEPS:
        model = charrnn.load(run, step=step)
        frames.append(frame_of(model, heading=f"after {step:,} steps"))
    model = charrnn.load("prose")
    frames.append(frame_of(model, heading=f"after {model.step:,} steps"))
    path.write_text(animated(frames), encoding="utf-8", newline="\n")


def frame_of(model: charrnn.Model, heading: str) -> str:
    """Draw what a network writes, below a heading."""
    coloured = written(model, CELL, polarity=1, **OPTIONS)
    lines = lines_of(coloured, width=WIDTH)[:NUM_LINES]
    return to_svg([Text(heading, "bold"), Text(), *lines], title=heading, columns=WIDTH)


def animated(frames: list[str]) -> str:
    """Show pictures of the same size one after the other, for SECONDS, again and again."""
    total = sum(SECONDS)
    begin = 0.0
    styles = []
    shown = []
    for number, (frame, seconds) in enumerate(zip(frames, SECONDS, strict=True)):
        begins = f"{100 * begin / total:.2f}%"
        ends = f"{100 * (begin + seconds) / total:.2f}%"
        begin += seconds
        styles += [
            f"@keyframes frame{number} {{ 0% {{ opacity: 0 }} {begins} {{ opacity: 1 }}"
            f" {ends} {{ opacity: 0 }} }}",
            f".frame{number} {{ animation: frame{number} {total:g}s step-end infinite }}",
        ]
        # Without animations, only the last one is visible.
        opacity = int(number == len(frames) - 1)
        shown.append(f'<g class="frame{number}" opacity="{opacity}">\n{frame}</g>')
    styles.append("@media (prefers-reduced-motion) { g { animation: none !important } }")
    size = re.findall(r'width="\d+" height="\d+"', frames[0])[0]
    return PICTURE.format(size=size, styles="\n".join(styles), frames="\n".join(shown))


def main() -> None:
    """Draw the run that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the folder of the run")
    parser.add_argument("--picture", type=Path, default=PICTURES / "training.svg")
    given = parser.parse_args()
    draw_training(given.run, path=given.picture)


if __name__ == "__main__":
    main()
