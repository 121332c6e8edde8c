"""Vectors and matrices with names, and the tables of numbers that show them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from charrnn.system.words import prints_words
from charrnn.views.theme import all_visible, shown_character

GAP = "  "
"""What is between two tables side by side."""
MAX_ROWS = 16
"""Rows of a matrix that is shown, and entries of a vector: of a larger one over the vocabulary, the
most likely characters."""
DECIMALS = 3
"""Decimals of the numbers of a network."""
OTHER_COLUMNS = 4
"""Columns of the terminal that a number takes beside its decimals: a space, a sign, a digit and the
point."""


@dataclass(frozen=True, slots=True)
class NumberRow:
    """A vector of the network at one time step."""

    name: str
    """Its formula or symbol: `W_ih x`, `b_ih`, `h`, `logits`."""
    labels: tuple[str, ...]
    """The name of each entry: a unit, a gate block and a unit (`i0`), or a character."""
    values: tuple[float, ...]
    """The entries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightNumbers:
    """A matrix of the network, with the bias that is added to its product."""

    layer: int | None
    """None for the embedding and the output layer."""
    name: str
    """`W_ih`, `W_hh`, `W_hy`, `embedding`, or the name of another weight of the cell."""
    labels: tuple[str, ...]
    """The name of each row, as in the vectors: `0`, `i0` or a character."""
    columns: tuple[str, ...]
    """The name of each column: the entry of the vector that the column is multiplied with."""
    values: tuple[tuple[float, ...], ...]
    """The entries, row by row."""
    bias_name: str = ""
    """`b_ih`; "" for a matrix without a bias."""
    bias: tuple[float, ...] = ()
    """The entries of the bias; () for a matrix without a bias."""


class Line(NamedTuple):
    """A line of a table: a cell for each time step, or for each column of a matrix."""

    name: str
    cells: list[str]
    label: str = ""
    """Of one entry of a vector."""
    is_bold: bool = False


class Panel:
    """Lines with their names and labels in common columns."""

    def __init__(self, lines: Sequence[Line], *, decimals: int) -> None:
        # A checkpoint of someone else may name its weights as it likes.
        self._lines = [line._replace(name=all_visible(line.name)) for line in lines]
        self._name_width = max(len(line.name) for line in self._lines)
        self.margin = self._name_width + 1 + max(len(line.label) for line in lines) + 1
        """Columns before the numbers."""
        self.column_width = OTHER_COLUMNS + decimals
        """Columns of a number."""

    def drawn(self, begin: int = 0, end: int | None = None) -> Iterator[Text]:
        """Yield the lines with the cells from `begin` to `end`."""
        for line in self._lines:
            label_style = "dim"
            style = ""
            if line.is_bold:
                label_style = style = "bold"
            start = set_cell_size(f"{line.name:<{self._name_width}} {line.label}", self.margin)
            numbers = ""
            for cell in line.cells[begin:end]:
                numbers += " " * max(1, self.column_width - cell_len(cell)) + cell

            # The numbers are the result, and as bright as other text.
            pieces = ((start, label_style), (numbers, style))
            yield Text.assemble(*pieces, no_wrap=True, overflow="crop")


def vector_lines(
    steps: Iterable[Iterable[tuple[str, NumberRow]]],
    shown: Sequence[int],
    *,
    vocabulary: Sequence[str],
    hidden: Collection[str] = (),
    decimals: int = DECIMALS,
) -> Iterator[Line]:
    """Yield a line for each entry of the vectors of all steps, which come with their names.

    Of the vectors over the vocabulary only the entries `shown` have a line, of those with a name in
    `hidden` none.
    """
    for same in zip(*steps, strict=True):
        name, first = same[0]
        if name in hidden:
            continue

        # A vocabulary of a hundred characters would be a hundred lines for each vector over it.
        entries: Sequence[int] = range(len(first.values))
        if first.labels == vocabulary:
            entries = shown
        elif name == "x":
            entries = entries[:MAX_ROWS]
        for entry in entries:
            values = [number_cell(row.values[entry], decimals) for _, row in same]
            yield Line(name, values, label=character_cell(first.labels[entry]))
            # The name of the vector stands at its first entry.
            name = ""


def step_tables(
    step: Line, left: Sequence[Line], right: Sequence[Line], *, width: int, decimals: int = DECIMALS
) -> Iterator[Text]:
    """Yield the lines of two tables whose columns are the steps: side by side if they fit, or below
    each other, folded into parts of as many steps as fit."""
    both = _beside(
        [*Panel([step, *left], decimals=decimals).drawn()],
        [*Panel([step, *right], decimals=decimals).drawn()],
    )
    if _width(both) <= width and not prints_words():
        yield from both
        return

    panel = Panel([step, *left, *right], decimals=decimals)
    num_columns = max(1, (width - panel.margin) // panel.column_width)
    for first in range(0, len(step.cells), num_columns):
        if first > 0:
            yield Text()
        yield from panel.drawn(first, first + num_columns)


def matrix_tables(
    weights: Sequence[WeightNumbers], *, width: int, decimals: int = DECIMALS, mark: str = ""
) -> Iterator[Text]:
    """Yield the lines of the matrices, side by side as far as they fit. Of matrices that are too
    large the shapes are shown. `mark` stands before the names."""
    left_out = []
    together: list[Text] = []
    for weight in weights:
        prefix = layer_prefix(weight.layer, weights)
        marked = replace(weight, name=mark + weight.name, bias_name=mark + weight.bias_name)
        matrix = draw_matrix(marked, prefix=prefix, width=width, decimals=decimals)
        if not matrix:
            shape = f"{len(weight.labels)} × {len(weight.columns)}"
            left_out.append(all_visible(f"{prefix}{marked.name} {shape}"))
            continue

        joined = _beside(together, matrix)
        if _width(joined) > width or prints_words():
            yield from together
            joined = matrix
        together = joined
    yield from together
    if left_out:
        yield Text(
            f"{', '.join(left_out)}: too large for {width} columns and {MAX_ROWS} rows; the JSON"
            " has all numbers"
        )


def draw_matrix(
    weight: WeightNumbers, *, prefix: str = "", width: int, decimals: int = DECIMALS
) -> list[Text]:
    """Return the lines of a matrix, with its bias as the last column; none if it is too large."""
    heads = [character_cell(column) for column in weight.columns]
    rows = [list(row) for row in weight.values]
    if weight.bias:
        heads.append(all_visible(weight.bias_name))
        for row, bias in zip(rows, weight.bias, strict=True):
            row.append(bias)

    lines = [Line(prefix + weight.name, cells=heads, is_bold=True)]
    for label, row in zip(weight.labels, rows, strict=True):
        cells = [number_cell(value, decimals) for value in row]
        lines.append(Line(character_cell(label), cells))
    drawn = [*Panel(lines, decimals=decimals).drawn()]
    if len(rows) > MAX_ROWS or _width(drawn) > width:
        return []
    return drawn


def layer_prefix(layer: int | None, weights: Sequence[WeightNumbers]) -> str:
    """Return what stands before the name of a vector or a weight of a layer.

    The only layer needs no number.
    """
    if layer is None or not any(weight.layer for weight in weights):
        return ""
    return f"{layer}: "


def _beside(left: Sequence[Text], right: Sequence[Text]) -> list[Text]:
    """Return the lines of two tables side by side."""
    if not left:
        return [*right]
    rows = []
    width = _width(left)
    for first, second in zip_longest(left, right, fillvalue=Text()):
        space = " " * (width - first.cell_len) + GAP
        row = Text.assemble(first, space, second, no_wrap=True, overflow="crop")
        row.rstrip()
        rows.append(row)
    return rows


def _width(lines: Iterable[Text]) -> int:
    """Return the columns of the longest line."""
    return max(line.cell_len for line in lines)


def character_cell(label: str) -> str:
    """Return a label as it is shown; the unknown symbol has none."""
    if not label:
        return "?"
    return shown_character(label).strip()


def number_cell(value: float, decimals: int = DECIMALS) -> str:
    """Return a number with as many digits as its column has room for."""
    width = OTHER_COLUMNS + decimals
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        return text.replace("-", "")
    if len(text) >= width:
        text = f"{value:.3g}"
    if len(text) >= width:
        text = f"{value:.0e}"
    return text
