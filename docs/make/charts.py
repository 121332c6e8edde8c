"""Draw the charts of the pages, each for light and for dark pages; `docs/make/figures.py` calls this.

- `draw_bars`: time and loss on tiny Shakespeare, of docs/results.csv
- `draw_choice`: the number of units that the recipe chooses, computed here
- `draw_gradients`: trains five cell types briefly, and draws how their gradients vanish or explode
"""

import csv
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

import charrnn
from charrnn.analyses.gradients import GradientReach
from charrnn.config.settings import Config, resolved
from charrnn.errors import CharRNNError
from charrnn.runs.logs import MetricsLog
from charrnn.training.recipe import CPU_RATE, choose_sizes

DOCS = Path(__file__).parents[1]
"""Where the figures are and the charts go."""
FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
"""Fonts, the preferred one first."""
NUM_CHARS = 20_000
"""Held-out characters on which gradients are measured."""
MAX_LAG = 50
"""Characters over which gradients are followed."""
LOWEST = -10
"""Power of ten below which nothing is drawn."""


@dataclass(frozen=True)
class Theme:
    """Colours of a page."""

    name: str
    paper: str
    ink: str
    faint: str
    grid: str
    others: str
    """What other programs are drawn in."""
    lines: tuple[str, ...]
    """Lines and areas, one after the other."""


THEMES = (
    Theme(
        name="light",
        paper="#ffffff",
        ink="#1f2328",
        faint="#59636e",
        grid="#e1e4e8",
        others="#a3abb5",
        lines=("#2563c9", "#b07d00", "#00857a", "#8b2fb3", "#c4265a"),
    ),
    Theme(
        name="dark",
        paper="#0d1117",
        ink="#e6edf3",
        faint="#9198a1",
        grid="#2b323b",
        others="#59626d",
        lines=("#79a8ff", "#e3b341", "#3fc7b8", "#cf8df0", "#ff7b9c"),
    ),
)
"""The colours of a light and of a dark page."""

Body = Callable[[Theme], tuple[float, float, str]]
"""Returns width, height and elements of a chart."""
Points = list[tuple[float, float]]


def text_at(x: float, y: float, text: str, fill: str, size: int = 12, anchor: str = "start") -> str:
    """Return one line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )


def write_chart(name: str, title: str, body: Body, folder: Path) -> None:
    """Write a chart as `NAME-THEME.svg` for each theme."""
    for theme in THEMES:
        width, height, elements = body(theme)
        (folder / f"{name}-{theme.name}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
            f' viewBox="0 0 {width:g} {height:g}" role="img"'
            f' font-family="{FONT}">\n<title>{escape(title)}</title>\n<rect width="100%"'
            f' height="100%" rx="8" fill="{theme.paper}"/>\n{elements}</svg>\n',
            encoding="utf-8",
            newline="\n",
        )


def draw_bars(folder: Path = DOCS / "pictures") -> None:
    """Draw the minutes and the loss of each row of docs/results.csv, the highest loss first, as
    bars from zero."""
    with (DOCS / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: -float(row["windowed_nats"]))
    names, minutes_at, nats_at = 268, (280, 190), (556, 230)
    longest = max(float(row["seconds"]) for row in rows)
    highest = max(float(row["windowed_nats"]) for row in rows)

    def body(theme: Theme) -> tuple[float, float, str]:
        parts = [
            text_at(minutes_at[0], 30, "minutes", theme.faint, 14),
            text_at(nats_at[0], 30, "validation loss, nats per character", theme.faint, 14),
        ]
        for number, row in enumerate(rows):
            y = 52 + 34 * number
            seconds, nats = float(row["seconds"]), float(row["windowed_nats"])
            name = f"{row['model'].split(' (')[0]}, {row['machine']}"
            fill, minutes = theme.others, f"about {seconds / 60:g}"
            if row["source"] == "measured":
                fill, minutes = theme.lines[0], f"{seconds / 60:.1f}"
            if row["source"] == "measured" and seconds < 30:
                minutes = f"{seconds / 60:.2f}"
            parts.append(text_at(names, y + 17, name, theme.ink, 14, "end"))
            for (left, most), share, label in (
                (minutes_at, seconds / longest, minutes),
                (nats_at, nats / highest, row["windowed_nats"]),
            ):
                width = max(2, share * most)
                parts.append(
                    f'<rect x="{left}" y="{y}" width="{width:.1f}" height="24" rx="3"'
                    f' fill="{fill}"/>'
                )
                parts.append(text_at(left + width + 7, y + 17, label, theme.ink, 14))
        return 860, 62 + 34 * len(rows), "\n".join(parts) + "\n"

    write_chart(
        "shakespeare",
        title="Minutes and validation loss on tiny Shakespeare",
        body=body,
        folder=folder,
    )


def _short(number: float) -> str:
    """Format a number as 30k, 1.5M or 1G."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:g}{suffix}"
    return f"{number:g}"


def _middle(places: list[tuple[int, int]]) -> tuple[int, int]:
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


def draw_choice(folder: Path = DOCS) -> None:
    """Draw the number of units that the recipe chooses by text and minutes."""
    texts = [20_000 * 50_000 ** (k / 47) for k in range(48)]
    budgets = [2 * 43_200 ** (k / 39) for k in range(40)]
    units = {
        (column, row): resolved(
            choose_sizes(
                Config(minutes=seconds / 60),
                num_train_chars=int(0.9 * chars),
                operations_per_second=CPU_RATE * math.sqrt(2),
            ).hidden_size
        )
        for column, chars in enumerate(texts)
        for row, seconds in enumerate(budgets)
    }
    sizes = sorted(set(units.values()))
    cell, left, top = 12.0, 70, 40

    def body(theme: Theme) -> tuple[float, float, str]:
        title = "Units by text and budget: two threads with bf16"
        parts = [text_at(left, 26, title, theme.ink, 14)]
        for row in range(len(budgets)):
            y, column = top + (len(budgets) - 1 - row) * cell, 0
            for size, group in groupby(units[place, row] for place in range(len(texts))):
                num_cells = len(list(group))
                parts.append(
                    f'<path d="M{left + column * cell:g} {y:g}h{num_cells * cell:g}v{cell:g}'
                    f'h-{num_cells * cell:g}z" fill="{theme.lines[sizes.index(size)]}"/>'
                )
                column += num_cells
        for size in sizes:
            x, y = _middle([place for place, other in units.items() if other == size])
            x, y = left + (x + 0.5) * cell, top + (len(budgets) - 0.5 - y) * cell
            parts.append(text_at(x, y + 4, str(size), theme.paper, 13, "middle"))

        # The axes.
        bottom = top + len(budgets) * cell
        for chars in (20_000, 100_000, 10**6, 10**7, 10**8, 10**9):
            x = left + math.log(chars / 20_000) / math.log(50_000) * 47 * cell + cell / 2
            parts.append(text_at(x, bottom + 16, _short(chars), theme.faint, 11, "middle"))
        for seconds, name in (
            (2, "2 s"),
            (10, "10 s"),
            (60, "1 min"),
            (600, "10 min"),
            (3600, "1 h"),
            (86_400, "1 day"),
        ):
            y = bottom - cell / 2 - math.log(seconds / 2) / math.log(43_200) * 39 * cell
            parts.append(text_at(left - 8, y + 4, name, theme.faint, 11, "end"))
        middle = left + 24 * cell
        parts.append(
            text_at(middle, bottom + 34, "characters of the text", theme.faint, 11, "middle")
        )
        return left + 48 * cell + 24, bottom + 48, "\n".join(parts) + "\n"

    write_chart(
        "recipe-choice",
        title="Units that the recipe chooses by text and budget",
        body=body,
        folder=folder,
    )


@dataclass(frozen=True)
class Panel:
    """A plot of named lines; its vertical axis shows powers of ten."""

    title: str
    across: str
    lines: dict[str, Points]


def _train(corpus: Path, out: Path, cell: str, **options: object) -> Path:
    """Train a run of 64 units, whose weights are not averaged, so that those are seen that the
    gradients are of, and return its folder."""
    config = Config(
        corpus=(str(corpus),),
        cell=cell,
        hidden_size=64,
        steps=100,
        bptt_length=64,
        threads=1,
        weight_average=0.0,
        evaluate_every=100,
        **options,  # type: ignore[arg-type]
    )
    try:
        for _ in charrnn.train(config, out=out):
            pass
    except CharRNNError as error:
        # Without clipping, training may diverge: what is logged until then is drawn.
        print(f"{out.name}: {error}")
    return out


def _reach_points(reach: GradientReach) -> Points:
    """Return log10 of the norm by lag, as far as it is drawn."""
    pairs = zip(reach.lags, reach.norms[0], strict=True)
    return [(lag, math.log10(norm)) for lag, norm in pairs if norm >= 10.0**LOWEST]


def _norm_points(run: Path) -> Points:
    """Return log10 of the gradient's norm before clipping by step, as far as it is finite."""
    log = MetricsLog(run / "metrics.jsonl").read()
    steps = [one for one in log if one["event"] == "step" and one["grad_norm"] is not None]
    return [(one["step"], math.log10(one["grad_norm"])) for one in steps]


def _measure_gradients(corpus: Path, runs: Path) -> list[Panel]:
    """Train all runs, print what the page quotes, and return the panels."""
    cells = ("rnn", "irnn", "lstm", "gru", "unitary")
    folders = {cell: _train(corpus, out=runs / cell, cell=cell) for cell in cells}
    first, *others = (charrnn.load(folder) for folder in folders.values())
    text, context = first.held_out_text()
    reaches = first.gradients_with(others, text[:NUM_CHARS], context=context, max_lag=MAX_LAG)

    # Each reach is followed by that of its untrained baseline.
    trained = dict(zip(cells, reaches[::2], strict=True))
    untrained = dict(zip(cells, reaches[1::2], strict=True))
    for cell in cells:
        print(
            f"| `{cell}` | {untrained[cell].norms[0][-1]:.1e} | {trained[cell].norms[0][-1]:.1e} |"
        )

    norms = {}
    for name, clip_norm in (("clipped", 1.0), ("unclipped", 1e9)):
        run = _train(
            corpus,
            out=runs / name,
            cell="rnn",
            optimizer="sgd",
            learning_rate=1.0,
            clip_norm=clip_norm,
        )
        norms[name] = _norm_points(run)
        print(f"rnn, sgd, {name}: largest norm {10 ** max(y for _, y in norms[name]):.3g}")

    title = "Gradient by the state k characters before"
    return [
        Panel(
            f"{title}, untrained",
            across="k",
            lines={cell: _reach_points(reach) for cell, reach in untrained.items()},
        ),
        Panel(
            f"{title}, trained",
            across="k",
            lines={cell: _reach_points(reach) for cell, reach in trained.items()},
        ),
        Panel("Gradient norm before clipping, rnn, SGD", across="step", lines=norms),
    ]


def _draw_panel(panel: Panel, theme: Theme) -> str:
    """Return the elements of a panel of 260 x 200 pixels."""
    width, height = 260.0, 200.0
    points = [point for line in panel.lines.values() for point in line]
    right = max(x for x, _ in points)
    low, high = math.floor(min(y for _, y in points)), math.ceil(max(y for _, y in points))

    def at(x: float, y: float) -> tuple[float, float]:
        return x / right * width, height - (y - low) / (high - low) * height

    # The axes.
    parts = [text_at(-40, -14, panel.title, theme.ink, 14)]
    for tick in range(low, high + 1, max(1, (high - low) // 5)):
        _, y = at(0, tick)
        parts.append(f'<path d="M0 {y:.1f}H{width:g}" stroke="{theme.grid}"/>')
        parts.append(text_at(-7, y + 4, f"1e{tick}", theme.faint, 11, "end"))
    for share in (0, 0.5, 1):
        label = f"{share * right:.0f}"
        parts.append(text_at(share * width, height + 17, label, theme.faint, 11, "middle"))
    parts.append(text_at(width / 2, height + 34, panel.across, theme.faint, 11, "middle"))

    # The lines, the lowest end first: names of lines that end at the same height are moved apart.
    ends: list[float] = []
    ordered = sorted(enumerate(panel.lines.items()), key=lambda one: one[1][1][-1][1])
    for number, (name, line) in ordered:
        route = "L".join("{:.1f} {:.1f}".format(*at(x, y)) for x, y in line)
        colour = theme.lines[number]
        parts.append(f'<path d="M{route}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        x, y = at(*line[-1])
        if any(abs(end - y) < 12 for end in ends):
            y = min(ends) - 12
        ends.append(y)
        parts.append(text_at(x + 5, y + 4, name, colour, 12))
    return "".join(parts)


def write_panels(panels: Sequence[Panel], folder: Path) -> None:
    """Write the panels in two columns as `gradients-THEME.svg`."""
    column, row = 386.0, 278.0

    def body(theme: Theme) -> tuple[float, float, str]:
        elements = ""
        for number, panel in enumerate(panels):
            x, y = number % 2 * column + 52, number // 2 * row + 34
            elements += f'<g transform="translate({x:g} {y:g})">{_draw_panel(panel, theme)}</g>\n'
        return 2 * column, -(-len(panels) // 2) * row, elements

    write_chart("gradients", title="Gradients of five cell types", body=body, folder=folder)


def draw_gradients(corpus: Path, folder: Path = DOCS) -> None:
    """Train seven runs on a text, and draw three panels: the gradient's norm by lag before and after
    training, and the gradient's norm of a plain rnn trained by SGD with and without clipping."""
    with tempfile.TemporaryDirectory() as runs:
        write_panels(_measure_gradients(corpus, runs=Path(runs)), folder)


if __name__ == "__main__":
    draw_gradients(Path(sys.argv[1]))
