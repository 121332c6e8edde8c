"""Vectors with names, and the tables of numbers that show them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from charrnn.views.theme import shown_character

COLUMN_WIDTH = 7
"""Columns of the terminal for the numbers of a time step."""
GAP = "  "
"""What is between the layers and the output side by side."""
MAX_ROWS = 16
"""Entries of a vector that are shown: of a larger one over the vocabulary, the most likely
characters."""
DIGITS = 3
"""Decimals of a number."""


@dataclass(frozen=True, slots=True)
class NumberRow:
    """A vector of the network at one time step."""

    name: str
    """Its formula or symbol: `W_ih x`, `b_ih`, `h`, `logits`."""
    labels: tuple[str, ...]
    """The name of each entry: a unit, a gate block and a unit (`i0`), or a character."""
    values: tuple[float, ...]


class Line(NamedTuple):
    """A line of the table: a cell for each time step."""

    name: str
    cells: list[str]
    label: str = ""
    """Of one entry of a vector."""
    is_bold: bool = False


class Panel:
    """Lines with their names and labels in common columns."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        self._name_width = max(len(line.name) for line in lines)
        self.margin = self._name_width + 1 + max(len(line.label) for line in lines) + 1
        """Columns before the numbers."""

    def drawn(self, begin: int, end: int) -> Iterator[Text]:
        """Yield the lines with the time steps from `begin` to `end`."""
        for line in self._lines:
            label_style = "dim"
            style = ""
            if line.is_bold:
                label_style = style = "bold"
            start = set_cell_size(f"{line.name:<{self._name_width}} {line.label}", self.margin)
            numbers = ""
            for cell in line.cells[begin:end]:
                numbers += " " * max(1, COLUMN_WIDTH - cell_len(cell)) + cell

            # The numbers are the result, and as bright as other text.
            pieces = ((start, label_style), (numbers, style))
            yield Text.assemble(*pieces, no_wrap=True, overflow="crop")


def character_cell(label: str) -> str:
    """Return a label as it is shown; the unknown symbol has none."""
    if not label:
        return "?"
    return shown_character(label).strip()


def number_cell(value: float) -> str:
    """Return a number with as many digits as its column has room for."""
    text = f"{value:.{DIGITS}f}"
    if float(text) == 0:
        return text.replace("-", "")
    if len(text) >= COLUMN_WIDTH:
        text = f"{value:.3g}"
    if len(text) >= COLUMN_WIDTH:
        text = f"{value:.0e}"
    return text
