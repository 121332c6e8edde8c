"""Vectors and matrices with names, and the tables of numbers that show them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from charrnn.views.theme import all_visible, shown_character

MAX_ROWS = 16
"""Rows and columns of the largest matrix that is shown, and entries of a vector: of a larger one
over the vocabulary, the most likely characters."""
OTHER_COLUMNS = 4
"""Columns of the terminal that a number takes beside its decimals: a space, a sign, a digit and the
point."""


@dataclass(frozen=True)
class NumberRow:
    """A vector of the network at one time step.

    `labels` say to what each value belongs, because the rows of one step have different lengths.
    """

    name: str
    """Its formula or symbol: `W_ih x`, `b_ih`, `h`, `logits`."""
    labels: tuple[str, ...]
    """The name of each entry: a unit, a gate block and a unit (`i0`), or a character."""
    values: tuple[float, ...]
    """The entries."""

    def to_rows(self, **place: Any) -> list[dict[str, Any]]:
        """Return a row of a table for each entry, which has the `place` of the vector."""
        entries = zip(self.labels, self.values, strict=True)
        return [
            {"name": self.name, "row": all_visible(label), "value": value, **place}
            for label, value in entries
        ]


@dataclass(frozen=True, kw_only=True)
class WeightNumbers:
    """A matrix of the network, with the bias that is added to its product.

    With it and the vector before it, the next vector of a step can be computed by hand.
    """

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

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a row of a table for each entry, of the matrix and then of the bias."""
        rows = []
        for column, values in zip(self.columns, zip(*self.values, strict=True), strict=True):
            matrix_column = NumberRow(self.name, labels=self.labels, values=values)
            rows += matrix_column.to_rows(layer=self.layer, column=all_visible(column))
        bias = NumberRow(self.bias_name, labels=self.labels[: len(self.bias)], values=self.bias)
        return rows + bias.to_rows(layer=self.layer)


class TableLine(NamedTuple):
    """A line of a table: a cell for each time step, or for each column of a matrix."""

    name: str
    cells: list[str]
    label: str = ""
    """Of one entry of a vector."""
    style: str = ""


@dataclass(frozen=True)
class NumberTables:
    """Draws tables of numbers, each in the columns of a terminal.

    The table of a forward and that of a backward pass have the same columns by it.
    """

    vocabulary: Sequence[str]
    """The characters that the entries of some vectors belong to."""
    shown: Sequence[int]
    """Those of which a vector shows the entries."""
    width: int
    """Columns of the terminal."""
    decimals: int = 3
    """Decimals of a number."""

    def table(self, lines: Sequence[TableLine]) -> Iterator[Text]:
        """Yield the lines of a table, folded into parts of as many columns as fit."""
        # A checkpoint of someone else may name its weights as it likes.
        names = [all_visible(line.name) for line in lines]
        name_width = max(map(len, names))
        margin = name_width + 1 + max(len(line.label) for line in lines) + 1
        column_width = OTHER_COLUMNS + self.decimals
        num_columns = max(1, (self.width - margin) // column_width)

        for first in range(0, len(lines[0].cells), num_columns):
            if first > 0:
                yield Text()
            for name, line in zip(names, lines, strict=True):
                start = set_cell_size(f"{name:<{name_width}} {line.label}", margin)
                numbers = ""
                for cell in line.cells[first : first + num_columns]:
                    numbers += " " * max(1, column_width - cell_len(cell)) + cell
                # The numbers are the result, and as bright as other text.
                pieces = ((start, line.style or "dim"), (numbers, line.style))
                yield Text.assemble(*pieces, no_wrap=True, overflow="crop")

    def vectors(self, steps: Sequence[Sequence[NumberRow]]) -> list[TableLine]:
        """Return a line for each entry of the vectors of all steps, whose names are the same."""
        lines = []
        for same in zip(*steps, strict=True):
            # A vocabulary of a hundred characters would be a hundred lines for each vector over it.
            labels = same[0].labels
            entries: Sequence[int] = range(len(labels))
            if labels == self.vocabulary:
                entries = self.shown
            # The name of the vector stands at its first entry.
            name = same[0].name
            for entry in entries:
                cells = [self._number(row.values[entry]) for row in same]
                lines.append(TableLine(name, cells=cells, label=character_cell(labels[entry])))
                name = ""
        return lines

    def matrices(self, weights: Sequence[WeightNumbers], mark: str = "") -> Iterator[Text]:
        """Yield the lines of the matrices, each with its bias as the last column. Of those that are
        too large the shapes are shown. `mark` stands before the names."""
        for weight in weights:
            name = layer_prefix(weight.layer, weights) + mark + weight.name
            if max(len(weight.labels), len(weight.columns)) > MAX_ROWS:
                shape = f"{len(weight.labels)} × {len(weight.columns)}"
                yield Text(
                    f"{all_visible(name)} {shape}: too large for the screen; the JSON has all"
                    " numbers"
                )
                continue

            heads = list(map(character_cell, weight.columns))
            if weight.bias:
                heads.append(all_visible(mark + weight.bias_name))
            lines = [TableLine(name, cells=heads, style="bold")]
            for row, label in enumerate(weight.labels):
                values = [*weight.values[row], *weight.bias[row : row + 1]]
                cells = list(map(self._number, values))
                lines.append(TableLine(character_cell(label), cells=cells))
            yield from self.table(lines)

    def _number(self, value: float) -> str:
        return number_cell(value, self.decimals)


def layer_prefix(layer: int | None, weights: Sequence[WeightNumbers]) -> str:
    """Return what stands before the name of a vector or a weight of a layer.

    The only layer needs no number.
    """
    if layer is None or not any(weight.layer for weight in weights):
        return ""
    return f"{layer}: "


def character_cell(label: str) -> str:
    """Return a label as it is shown; the unknown symbol has none."""
    if not label:
        return "?"
    return shown_character(label).strip()


def number_cell(value: float, decimals: int) -> str:
    """Return a number with as many digits as its column has room for."""
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        return text.replace("-", "")
    if len(text) >= OTHER_COLUMNS + decimals:
        text = f"{value:.3g}"
    return text
