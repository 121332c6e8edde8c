"""Train five cell types briefly, and draw how their gradients vanish or explode: the picture of
docs/theory.md.

    python benchmarks/gradients.py shakespeare.txt             # about two minutes; writes docs/gradients-*.svg
    python benchmarks/gradients.py shakespeare.txt --steps 30 --out /tmp
    python benchmarks/gradients.py shakespeare.txt --runs runs # keeps the runs, and trains what is missing

Three panels: the gradient's norm by lag before and after training, and the gradient's norm of a
plain rnn trained by SGD with and without clipping.
"""

import argparse
import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe_charts import BOTTOM, DOCS, FONT, LEFT, PANEL, RIGHT, THEMES, TOP, Theme, text_at

import charrnn
from charrnn.analyses.gradients import GradientReach
from charrnn.errors import CharRNNError
from charrnn.runs.logs import MetricsLog

CELLS = ("rnn", "irnn", "lstm", "gru", "unitary")
"""Cell types that are compared."""
LARGE_NORM = 1e9
"""A norm to which no gradient is clipped."""
SGD_RATE = 1.0
"""Learning rate of SGD at which the gradients of a plain rnn explode."""
NUM_CHARS = 20_000
"""Held-out characters on which the gradients are measured."""
MAX_LAG = 50
"""Characters over which the gradients are followed."""
LOWEST = -10
"""Power of ten below which nothing is drawn."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """A plot of named lines; its vertical axis shows powers of ten."""

    title: str
    across: str
    lines: dict[str, Points]


def train(corpus: str, out: Path, cell: str, steps: int, **options: object) -> Path:
    """Train a run of 64 units without averaging, and return its folder, if it does not exist
    yet."""
    if (out / f"step-{steps:08d}").exists():
        return out
    shutil.rmtree(out, ignore_errors=True)  # of a call that was interrupted
    config = charrnn.Config(
        corpus=(corpus,),
        cell=cell,
        num_layers=1,
        hidden_size=64,
        steps=steps,
        batch_size=32,
        bptt_length=64,
        dropout=0.0,
        weight_average=0.0,
        evaluate_every=steps,
        validation_chars=20_000,
        **options,  # type: ignore[arg-type]
    )
    try:
        for _ in charrnn.train(config, out=out):
            pass
    except (
        CharRNNError
    ) as error:  # Without clipping, training may diverge: what is logged until then is drawn.
        print(f"{out.name}: {error}")
    return out


def reach_points(reach: GradientReach) -> Points:
    """Return log10 of the norm by lag, as far as it is drawn."""
    pairs = zip(reach.lags, reach.norms[0], strict=True)
    return [(lag, math.log10(norm)) for lag, norm in pairs if norm >= 10.0**LOWEST]


def norm_points(run: Path) -> Points:
    """Return the norm of the gradient, before clipping, of each step of a run, as far as it is finite."""
    log = MetricsLog(run / "metrics.jsonl").read()
    steps = [one for one in log if one["event"] == "step" and one["grad_norm"] is not None]
    return [(one["step"], one["grad_norm"]) for one in steps]


def measure(corpus: str, folder: Path, steps: int) -> list[Panel]:
    """Train all runs in a folder and return the panels."""
    runs = {cell: train(corpus, folder / cell, cell, steps) for cell in CELLS}
    first, *others = (charrnn.load(run) for run in runs.values())
    text, context = first.held_out_text()
    reaches = first.gradients_with(others, text[:NUM_CHARS], context=context, max_lag=MAX_LAG)
    norms = {}
    for name, clip_norm in (("clipped", 1.0), ("unclipped", LARGE_NORM)):
        run = train(
            corpus,
            folder / name,
            "rnn",
            steps,
            optimizer="sgd",
            learning_rate=SGD_RATE,
            clip_norm=clip_norm,
        )
        points = norm_points(run)
        norms[name] = [(step, math.log10(norm)) for step, norm in points]
        print(f"rnn, sgd, {name}: largest norm {max(norm for _, norm in points):.3g}")
    for reach in reaches:
        print(
            f"{reach.name}: norm at lag 1 {reach.norms[0][0]:.2g}, at lag {reach.lags[-1]}"
            f" {reach.norms[0][-1]:.2g}"
        )
    title = "Gradient by the state k characters before"
    trained = {cell: reach_points(reach) for cell, reach in zip(CELLS, reaches[::2], strict=True)}
    untrained = {
        cell: reach_points(reach) for cell, reach in zip(CELLS, reaches[1::2], strict=True)
    }
    return [
        Panel(f"{title}, untrained", "k", untrained),
        Panel(f"{title}, trained", "k", trained),
        Panel("Gradient norm before clipping, rnn, SGD", "step", norms),
    ]


def draw_panel(panel: Panel, theme: Theme) -> str:
    """Return the elements of a panel."""
    width, height = PANEL
    points = [point for line in panel.lines.values() for point in line]
    right = max(x for x, _ in points)
    low = math.floor(min(y for _, y in points))
    high = math.ceil(max(y for _, y in points))
    at_x = lambda x: x / right * width  # noqa: E731
    at_y = lambda y: height - (y - low) / (high - low) * height  # noqa: E731
    parts = [text_at(-40, -14, panel.title, theme.ink, 14)]
    for tick in range(low, high + 1, max(1, (high - low) // 5)):
        parts.append(f'<path d="M0 {at_y(tick):.1f}H{width:g}" stroke="{theme.grid}"/>')
        parts.append(
            text_at(
                -7,
                at_y(tick) + 4,
                f"1e{tick}",
                theme.faint,
                11,
                "end",
            )
        )
    for share in (0, 0.5, 1):
        parts.append(
            text_at(share * width, height + 17, f"{share * right:.0f}", theme.faint, 11, "middle")
        )
    parts.append(text_at(width / 2, height + 34, panel.across, theme.faint, 11, "middle"))
    ends: list[float] = []
    colours = list(theme.lines.values())
    ordered = sorted(enumerate(panel.lines.items()), key=lambda one: one[1][1][-1][1])
    for number, (name, line) in ordered:
        route = "L".join(f"{at_x(x):.1f} {at_y(y):.1f}" for x, y in line)
        parts.append(
            f'<path d="M{route}" fill="none" stroke="{colours[number]}" stroke-width="1.5"/>'
        )
        # Names of lines that end at the same height are moved apart.
        x, y = at_x(line[-1][0]), at_y(line[-1][1])
        taken = [end for end in ends if abs(end - y) < 12]
        ends.append(min(ends) - 12 if taken else y)
        parts.append(text_at(x + 5, ends[-1] + 4, name, colours[number], 12))
    return "".join(parts)


def write_pictures(panels: Sequence[Panel], folder: Path) -> None:
    """Write the panels in two columns as `gradients-THEME.svg`, for each theme."""
    each = (PANEL[0] + LEFT + RIGHT + 30, PANEL[1] + TOP + BOTTOM)
    for theme in THEMES:
        elements = ""
        for number, panel in enumerate(panels):
            x, y = number % 2 * each[0] + LEFT, number // 2 * each[1] + TOP
            elements += f'<g transform="translate({x:g} {y:g})">{draw_panel(panel, theme)}</g>\n'
        width, height = 2 * each[0], -(-len(panels) // 2) * each[1]
        (folder / f"gradients-{theme.name}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" role="img" font-family="{FONT}">\n'
            "<title>Gradients of five cell types</title>\n"
            f'<rect width="100%" height="100%" rx="8" fill="{theme.paper}"/>\n{elements}</svg>\n',
            encoding="utf-8",
            newline="\n",
        )


def main() -> None:
    """Train, measure and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", help="a text, such as shakespeare.txt of charrnn corpora")
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps of each run")
    parser.add_argument("--runs", type=Path, help="a folder in which the runs are kept")
    parser.add_argument("--out", type=Path, default=DOCS, help="the folder of the pictures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) if arguments.runs is None else arguments.runs
        write_pictures(measure(arguments.corpus, runs, arguments.steps), arguments.out)


if __name__ == "__main__":
    main()
