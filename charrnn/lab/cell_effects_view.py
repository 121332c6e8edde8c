"""Draw what sets a cell's value, what the cell does to the prediction, and what changes where it is patched."""

import math
from collections.abc import Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from charrnn.cells.records import ColouredText
from charrnn.lab.cell_effects_records import (
    CellInputs,
    CellOutputs,
    CharacterEffect,
    ClampedPrediction,
    Driver,
    EarlierCharacters,
    InputPassage,
    Patch,
    PatchedPassage,
)
from charrnn.views.heatmap import HeatMap
from charrnn.views.tables import plain_table
from charrnn.views.theme import LINE_ENDS, all_visible, visible

NUM_DRIVERS = 4
"""Drivers of a gate that are shown: more do not fit a line of 80 columns."""
NUM_EFFECTS = 6
"""Characters that are shown of those a cell promotes, and of those it suppresses."""
NUM_PATCHED = 4
"""Patched cells whose values are shown."""
MAX_CHANGE = 1.0
"""Change of a character's loss, in nats, from which on its colour no longer changes."""
LEAST_EFFECT = 0.01
"""Share of a cell's range that erasing some character must change its value by; else the cell is saturated."""
LAGS = (0, 1, 2, 4, 8, 16, 23)
"""Distances from the strong positions whose mean effects are shown."""
ABOUT_DRIVERS = (
    "weight × standard deviation of the driver's output: how far it moves the gate before the sigmoid or tanh"
)
"""What the numbers of drivers are."""
ABOUT_EARLIER = (
    "attribution: gradient × (input - mean input); erased: the value minus that with the character replaced by the mean"
)
"""What the columns of the earlier characters are."""
ABOUT_PROMOTED = "change of the log-probability, in nats, if the cell rises by one standard deviation, to first order"
"""What the numbers of promoted and suppressed characters are."""


def inputs_pictures(inputs: CellInputs) -> list[RenderableType]:
    """Draw the cells that drive a cell and, if they were measured, the earlier characters that set its value."""
    pictures: list[RenderableType] = [
        Text(f"Driven by, over {inputs.num_positions:,} positions", style="bold"),
        drivers_table(inputs),
        Text(ABOUT_DRIVERS, style="dim"),
    ]
    return pictures if inputs.earlier is None else [*pictures, Text(), *_earlier_pictures(inputs.earlier)]


def outputs_pictures(outputs: CellOutputs) -> list[RenderableType]:
    """Draw the characters that a cell promotes and suppresses and, if it was measured, what clamping it changes."""
    pictures: list[RenderableType] = [
        Text(f"Writes: what it promotes as {outputs.quantity} rises", style="bold"),
        effects_lines("promotes  ", outputs.promoted),
        effects_lines("suppresses", outputs.suppressed),
        Text(ABOUT_PROMOTED, style="dim"),
    ]
    return pictures if outputs.clamped is None else [*pictures, Text(), *_clamped_pictures(outputs.clamped)]


def patch_pictures(patch: Patch) -> list[RenderableType]:
    """Draw what is patched, the next characters before and after, and what follows."""
    first = patch.cells[0]
    shown = ", ".join(
        f"{one.layer}:{one.unit} {one.target:+.2f} → {one.source:+.2f}" for one in patch.cells[:NUM_PATCHED]
    )
    others = f" and {len(patch.cells) - NUM_PATCHED:,} others" if len(patch.cells) > NUM_PATCHED else ""
    name = f"cell {first.layer}:{first.unit}" if len(patch.cells) == 1 else f"{len(patch.cells):,} cells"
    numbers = ("before", "after", "change")
    table = plain_table("next character", *numbers, right=numbers)
    for one in patch.characters:
        table.add_row(
            shown_character(one.character),
            f"{100 * one.before:.2f} %",
            f"{100 * one.after:.2f} %",
            f"{100 * (one.after - one.before):+.2f}",
        )
    pictures: list[RenderableType] = [
        Text(f"Patch of {name}: {shown}{others}", style="bold"),
        _passage_line("from", patch.source),
        _passage_line("into", patch.target),
        table,
        Text(f"KL(before ‖ after) {patch.divergence:.4f} nats"),
    ]
    if patch.loss_change is not None:
        pictures += [
            Text(f"rise of the loss of the next {len(patch.following)} characters {patch.loss_change:+.4f} nats each"),
            HeatMap(_following(patch)),
            Text("red: the patch makes it less likely; blue: more likely", style="dim"),
        ]
    return [
        *pictures,
        Text("most likely continuation", style="bold"),
        Text(f"  before  {all_visible(patch.continuation_before)}", overflow="fold"),
        Text(f"  after   {all_visible(patch.continuation_after)}", overflow="fold"),
    ]


def _passage_line(name: str, passage: PatchedPassage) -> Text:
    place = "" if passage.position is None else f"  (character {passage.position:,})"
    return Text(f"  {name}  …{all_visible(passage.text)}{place}", overflow="fold")


def _following(patch: Patch) -> ColouredText:
    """Return the characters after the patch with the fall of their losses; MAX_CHANGE is a full colour."""
    text, values = "", []
    for one in patch.following:
        shown = all_visible(one.character) or "�"
        text += shown
        values += [max(-1.0, min(1.0, (one.before - one.after) / MAX_CHANGE))] * len(shown)
    return ColouredText(text=text, values=tuple(values))


def drivers_table(inputs: CellInputs) -> Table:
    """Build the table of the strongest drivers of a cell, one row per gate."""
    has_gates = any(driver.gate for driver in inputs.drivers)
    table = plain_table("gate" if has_gates else "", "strongest drivers: layer:unit and strength")
    by_gate: dict[str, list[Driver]] = {}
    for driver in inputs.drivers:
        by_gate.setdefault(driver.gate, []).append(driver)
    for gate, drivers in by_gate.items():
        shown = [f"{_driver_name(driver, inputs):>6} {driver.strength:+.2f}" for driver in drivers[:NUM_DRIVERS]]
        table.add_row(gate or "all", "   ".join(shown))
    return table


def effects_lines(name: str, effects: Sequence[CharacterEffect]) -> RenderableType:
    """Draw a name and some characters with their effects, folded at the width of the console."""
    return Text(f"  {name}  {effects_text(effects)}", overflow="fold")


def effects_text(effects: Sequence[CharacterEffect]) -> str:
    """Return the first NUM_EFFECTS characters with their effects."""
    shown = (f"{shown_character(one.character)} {one.effect:+.2f}" for one in effects[:NUM_EFFECTS])
    return "   ".join(shown) or "nothing"


def shown_character(character: str) -> str:
    """Return how a character is shown by itself: a space as ␣."""
    return "␣" if character == " " else all_visible(character)


def _driver_name(driver: Driver, inputs: CellInputs) -> str:
    is_itself = (driver.layer, driver.unit) == (inputs.layer, inputs.unit)
    return "itself" if is_itself else f"{driver.layer}:{driver.unit}"


def _earlier_pictures(earlier: EarlierCharacters) -> list[RenderableType]:
    agreement = "" if earlier.correlation is None else f"; correlation with the attribution {earlier.correlation:.2f}"
    largest = _largest_effect(earlier)
    if largest < LEAST_EFFECT * _range(earlier):
        bound = math.ceil(1000 * largest) / 1000
        return [
            Text("Set by the last characters", style="bold"),
            Text(f"saturated: erasing one character changes it by at most {bound:.3f}"),
        ]
    title = f"Set by the last characters, erased one by one at {earlier.num_positions:,} strong positions{agreement}"
    table = plain_table("character", "times", "attribution", "erased", right=("times", "attribution", "erased"))
    for one in earlier.characters:
        table.add_row(
            shown_character(one.character), f"{one.count:,}", f"{one.attribution:+.3f}", f"{one.measured:+.3f}"
        )
    shown = [lag for lag in LAGS if lag < len(earlier.measured_by_lag)]
    by_lag = ", ".join(f"{lag}: {earlier.measured_by_lag[lag]:.3f}" for lag in shown)
    distance = f"mean absolute effect of erasing, by characters back: {by_lag}"
    caption = "where it is strongest: coloured by the effect of erasing each character (blue: it raises the value)"
    passages: list[RenderableType] = [Padding(_passage(passage, largest), (0, 0, 0, 2)) for passage in earlier.passages]
    return [
        Text(title, style="bold"),
        table,
        Text(ABOUT_EARLIER, style="dim"),
        Text(distance),
        Text(caption),
        *passages,
    ]


def _largest_effect(earlier: EarlierCharacters) -> float:
    """Return the largest effect of erasing a character that was kept, without its sign."""
    of_passages = (abs(one.measured) for passage in earlier.passages for one in passage.characters)
    means = (abs(one.measured) for one in earlier.characters)
    return max((*of_passages, *means, *earlier.measured_by_lag), default=0.0)


def _range(earlier: EarlierCharacters) -> float:
    """Return by how much the highest value of the cell at a strong position, or 0 before a text, exceeds the lowest."""
    values = [0.0, *(passage.value for passage in earlier.passages)]
    return max(values) - min(values)


def _passage(passage: InputPassage, largest: float) -> Table:
    """Draw the value, and the characters coloured by their effects: `largest` is a full colour."""
    scale = largest or 1.0
    text, values = "", []
    for one in passage.characters:
        # A line end would begin another line.
        shown = "".join(visible(part) if part in LINE_ENDS else part for part in one.character)
        text += shown
        values += [one.measured / scale] * len(shown)
    row = Table.grid(padding=(0, 1))
    row.add_column(justify="right", no_wrap=True, min_width=6)
    row.add_column()
    row.add_row(Text(f"{passage.value:+.2f}"), HeatMap(ColouredText(text=text, values=tuple(values))))
    return row


def _clamped_pictures(clamped: ClampedPrediction) -> list[RenderableType]:
    title = f"Clamped low ({clamped.low:+.2f}) and high ({clamped.high:+.2f}), over {clamped.num_chars:,} characters"
    numbers = ("free", "low", "high", "high - low")
    table = plain_table("next character", *numbers, right=numbers)
    for one in clamped.characters:
        table.add_row(
            shown_character(one.character),
            *(f"{100 * share:.2f} %" for share in (one.free, one.low, one.high)),
            f"{100 * (one.high - one.low):+.2f}",
        )
    rise_low, rise_high = (loss - clamped.loss_free for loss in (clamped.loss_low, clamped.loss_high))
    table.add_row("rise of the loss, nats", "", f"{rise_low:+.4f}", f"{rise_high:+.4f}", "")
    table.add_row("KL(free ‖ clamped), nats", "", f"{clamped.divergence_low:.4f}", f"{clamped.divergence_high:.4f}", "")
    return [Text(title, style="bold"), table]
