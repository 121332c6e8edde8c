"""Draw every number of a small network, as the slides of lectures do: a column per time step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from charrnn.lab.numbers_records import LayerNumbers, NetworkNumbers, NumberRow, StepNumbers
from charrnn.views.theme import all_visible, visible

COLUMN_WIDTH = 9
"""Columns of the terminal for the numbers of a time step."""
MAX_ROWS = 16
"""Entries of a vector that are shown: of a larger one over the vocabulary, the most likely characters."""
DIGITS = 3
"""Decimals of a number."""
HIDDEN_ROWS = ("h before", "c before")
"""Rows that repeat the column before."""


@dataclass(frozen=True)
class NumbersTable:
    """A renderable of a network's numbers: input, layers, output and target by time step, folded to the width."""

    numbers: NetworkNumbers

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        steps = self.numbers.steps
        shown = _shown_characters(steps)
        names = [row.name for row, _ in _rows(steps[0], shown, repeats_state=self._repeats_state)]
        labels = [
            label
            for row, entries in _rows(steps[0], shown, repeats_state=self._repeats_state)
            for label in (row.labels[entry] for entry in entries)
        ]
        name_width = max(map(len, names))
        margin = name_width + 1 + max(len(_character(label)) for label in labels) + 1
        num_columns = max(1, (options.max_width - margin) // COLUMN_WIDTH)
        for first in range(0, len(steps), num_columns):
            if first:
                yield Text()
            for line in self._block(first, steps[first : first + num_columns], shown, margin, name_width):
                line.no_wrap, line.overflow = True, "crop"
                yield line
        yield Text()
        yield from self._captions(len(shown))

    @property
    def _repeats_state(self) -> bool:
        # There the state before a step is not that of the column before.
        return self.numbers.depth == "dilated"

    def _block(
        self, first: int, steps: Sequence[StepNumbers], shown: Sequence[int], margin: int, name_width: int
    ) -> Iterator[Text]:
        """Yield the lines of some time steps, of which `first` is the number of the first."""

        def line(name: str, label: str, cells: Sequence[str], style: str = "") -> Text:
            start = set_cell_size(f"{name:<{name_width}} {label}", margin)
            padded = "".join(" " * max(1, COLUMN_WIDTH - cell_len(cell)) + cell for cell in cells)
            return Text(start, style=style or "dim").append_text(Text(padded, style=style or "default"))

        yield line("step", "", [str(first + number + 1) for number in range(len(steps))], "bold")
        yield line("input", "", [_character(step.character) for step in steps], "bold")
        all_rows = [list(_rows(step, shown, repeats_state=self._repeats_state)) for step in steps]
        for number, (row, entries) in enumerate(all_rows[0]):
            for place, entry in enumerate(entries):
                values = [_number(rows[number][0].values[entry]) for rows in all_rows]
                name = row.name if place == 0 else ""
                yield line(name, _character(row.labels[entry]), values)
        yield line("target", "", ["" if step.target is None else _character(step.target) for step in steps], "bold")
        yield line("loss", "", ["" if step.loss is None else _number(step.loss) for step in steps], "bold")

    def _captions(self, num_shown: int) -> Iterator[Text]:
        if self.numbers.mean_loss is not None:
            yield Text(f"mean loss {self.numbers.mean_loss:.4f} nats per character")
        num_hidden = len(self.numbers.vocabulary) - num_shown
        if num_hidden:
            yield Text(f"{num_hidden:,} other characters are left out; the JSON has all numbers")


def _rows(step: StepNumbers, shown: Sequence[int], *, repeats_state: bool) -> Iterator[tuple[NumberRow, Sequence[int]]]:
    """Yield the vectors of a time step, from the input to the output, and which of their entries are shown."""
    is_one_hot = len(step.input.labels) == len(step.logits.labels) and step.input.labels == step.logits.labels
    yield step.input, shown if is_one_hot else range(min(MAX_ROWS, len(step.input.values)))
    for number, layer in enumerate(step.layers):
        prefix = f"{number}: " if len(step.layers) > 1 else ""
        for row in _rows_of(layer, repeats_state=repeats_state):
            yield NumberRow(prefix + row.name, row.labels, row.values), range(len(row.values))
    for row in (*step.output, step.logits, step.probabilities):
        yield row, shown if row.labels == step.logits.labels else range(len(row.values))


def _rows_of(layer: LayerNumbers, *, repeats_state: bool) -> Iterator[NumberRow]:
    for row in layer.rows:
        if repeats_state or row.name not in HIDDEN_ROWS:
            yield row


def _shown_characters(steps: Sequence[StepNumbers]) -> list[int]:
    """Return the entries of the vocabulary that are shown, in order: all, or the text's and the most likely ones."""
    labels = steps[0].logits.labels
    in_text = {character for step in steps for character in (step.character, step.target)}
    best = [max(step.probabilities.values[entry] for step in steps) for entry in range(len(labels))]
    ranked = sorted(range(len(labels)), key=lambda entry: (labels[entry] not in in_text, -best[entry]))
    return sorted(ranked[:MAX_ROWS])


def _character(label: str) -> str:
    if len(label) != 1:
        return all_visible(label) or "?"
    return "␣" if label == " " else visible(label).strip()


def _number(value: float) -> str:
    text = f"{value:.{DIGITS}f}"
    if len(text) >= COLUMN_WIDTH:
        return f"{value:.2g}"
    return text.replace("-0.000", "0.000") if float(text) == 0 else text
