"""Draw directions: their cells and scores, and what they contribute beside their best cell."""

from collections.abc import Sequence
from statistics import fmean

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.cells.directions import DirectionAblation, DirectionContribution
from charrnn.cells.records import AblationEffect
from charrnn.model.clamping import Direction
from charrnn.views.tables import plain_table, skipped_lines
from charrnn.views.theme import all_visible

MOST_CELLS = 8
"""Cells of a direction whose weights are shown, those with the largest."""
ABOUT_DIRECTIONS = (
    "A direction is a weighted sum of cells that predicts the label, fitted on the first half of the text and scored "
    "on the second. Weights are per standard deviation, as a share of all"
)
"""What stands under directions."""


def cells_text(direction: Direction) -> str:
    """Return the cells with the largest weights, and how many others there are: 0:17 +60 %, 1:3 -40 %."""
    largest = sorted(zip(direction.cells, direction.shares, strict=True), key=lambda pair: -abs(pair[1]))
    shown = ", ".join(f"{layer}:{unit} {share:+.0%}" for (layer, unit), share in largest[:MOST_CELLS])
    num_others = len(largest) - MOST_CELLS
    return shown + (f", and {num_others:,} others" if num_others > 0 else "")


def score_line(direction: Direction) -> str:
    """Return the score of a direction beside that of its best cell, with the interval of the difference."""
    kind, sign = ("AUC", "") if direction.is_yes_no else ("ρ", "+")
    low, high = direction.gain_ci
    return (
        f"{kind} {direction.score:{sign}.3f}, best cell {direction.cell_score:{sign}.3f}: {direction.gain:+.3f} "
        f"({low:+.3f}…{high:+.3f})"
    )


def directions_table(directions: Sequence[Direction]) -> Table:
    """Build the table of directions beside the best cells: one row each."""
    columns = ("direction", "score", "best cell", "gain", "95 % interval", "cells and weights")
    table = plain_table(*columns, right=columns[1:5])
    for direction in directions:
        sign = "" if direction.is_yes_no else "+"
        low, high = direction.gain_ci
        table.add_row(
            all_visible(direction.name),
            f"{direction.score:{sign}.3f}",
            f"{direction.cell_score:{sign}.3f}",
            f"{direction.gain:+.3f}",
            f"{low:+.3f}…{high:+.3f}",
            cells_text(direction),
        )
    return table


def direction_pictures(direction: Direction, title: str = "") -> list[RenderableType]:
    """Draw the score of a direction, and its cells; `title` is its name by default."""
    title = title or f"direction {all_visible(direction.name)}"
    return [
        Text.assemble((title, "bold"), f": {score_line(direction)}"),
        Text(f"cells: {cells_text(direction)}", style="dim"),
    ]


def contribution_pictures(found: DirectionContribution, title: str = "") -> list[RenderableType]:
    """Draw a direction, and the table of its contribution beside its best cell and random directions."""
    pictures = [
        *direction_pictures(found.direction, title),
        Text(),
        Text(f"Clamped at its mean: rise of the loss over {found.ablation.num_chars:,} characters"),
        contribution_table(found),
    ]
    return [*pictures, skipped_lines(found.skipped)] if found.skipped else pictures


def contribution_table(found: DirectionContribution) -> Table:
    """Build the table of the rise of the loss: of the direction, of its best cell, and of random directions on average.

    Over the whole text, then inside and outside the spans of each detector: its own first, then by the contribution
    inside.
    """
    layer, unit = found.best_cell.cells[0]
    numbers = ("direction", "95 % interval", f"cell {layer}:{unit}", "random")
    table = plain_table("nats/character", *numbers, right=numbers)
    ablations = (found.ablation, found.best_cell, *found.random)

    def row(name: str, changes: Sequence[float], ci: tuple[float, float]) -> None:
        whole, best, *random = changes
        average = f"{fmean(random):+.4f}" if random else ""
        table.add_row(name, f"{whole:+.4f}", f"{ci[0]:+.4f}…{ci[1]:+.4f}", f"{best:+.4f}", average)

    row("whole text", [one.change for one in ablations], found.ablation.ci)
    own = found.direction.detector
    for effect in sorted(found.ablation.effects, key=lambda one: (one.detector != own, -one.change_inside)):
        name = all_visible(effect.detector)
        inside, outside = (f"{name} over 0", "  at 0") if effect.is_count else (f"inside {name}", "  outside")
        effects = [_effect(one, effect.detector) for one in ablations]
        row(inside, [one.change_inside for one in effects], effect.ci_inside)
        row(outside, [one.change_outside for one in effects], effect.ci_outside)
    return table


def _effect(ablation: DirectionAblation, detector: str) -> AblationEffect:
    return next(effect for effect in ablation.effects if effect.detector == detector)
