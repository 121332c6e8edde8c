"""Build tables that fit 80 columns: predictions, losses, runs, corpora, settings. Those of findings
are in `findings_tables`.

A table of records is declared by its `Columns`, and `records_table` builds it:

    columns = {"cell": "{layer}:{unit}", "chance": "{null_level:.3f}"}
    records_table(columns, findings.scores)
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import PurePath
from string import Formatter
from types import MappingProxyType
from typing import Any

from rich import box
from rich.bar import Bar
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import measure_renderables
from rich.style import StyleType
from rich.table import Column, Table
from rich.text import Text

from charrnn.evaluation.loss_reports import (
    NGRAM,
    Evaluation,
    EvaluationRow,
)
from charrnn.evaluation.seed_groups import SeedGroup
from charrnn.generation.generated_text import Prediction
from charrnn.runs.overview import RunSummary, comparison_notes
from charrnn.text.sources import CatalogueEntry, path_of
from charrnn.views.scores import ends_text
from charrnn.views.theme import (
    END_MARK,
    all_visible,
    in_words,
    is_in_words,
    short_number,
    shown_character,
)

_MAX_NAME_WIDTH = 24
"""Terminal columns of the longest name that is not folded to make room for numbers."""
_MIN_TEXT_WIDTH = 8
"""Terminal columns that a text needs at least, however long its words are."""
_BETWEEN = 2
"""Columns between two columns of a table."""
_BAR_WIDTH = 30
"""Columns of a bar for the share 1."""


class PlainTable(Table):
    """A table that shows its strings literally: no markup, control characters made visible.

    Use it in place of rich's `Table` for whatever comes from a user or a model: `[red]` in a text
    is no colour.

    In a narrow console texts are folded; then columns are left out from the right, which a line
    below the table names. A console that gets words has a line of "heading: value" for each row,
    without bars.
    """

    def add_row(
        self,
        *cells: RenderableType | None,
        style: StyleType | None = None,
        end_section: bool = False,
    ) -> None:
        """Add a row of strings, which are shown as they are, or of renderables."""
        super().add_row(*map(_literal, cells), style=style, end_section=end_section)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Read aloud, each row is a sentence, and none of its columns is left out.
        if is_in_words(console):
            for cells in zip(*(column.cells for column in self.columns), strict=True):
                phrases = []
                for column, cell in zip(self.columns, cells, strict=True):
                    words = in_words(f"{cell}") if isinstance(cell, Text) else ""
                    if words:
                        phrases.append(f"{column.header}: {words}".removeprefix(": "))
                yield Text("; ".join(phrases))
            return

        # A grid has no headings, and folds its texts.
        table = copy(self)
        if self.box is not None:
            table.columns = self._fitting(console, options)
        yield from super(PlainTable, table).__rich_console__(console, options)
        left_out = [f"{column.header}" for column in self.columns[len(table.columns) :]]
        if any(left_out):
            names = ", ".join(filter(None, left_out))
            yield Text(f"A wider terminal also shows: {names}.", style="dim")

    def _fitting(self, console: Console, options: ConsoleOptions) -> list[Column]:
        """Return the first columns for which there is room, at least two."""
        fitting: list[Column] = []
        room = options.max_width
        for column in self.columns:
            # A number is useless without its last digits; a text and a long name are folded.
            cells = measure_renderables(console, options, [column.header, *column.cells])
            least = cells.maximum
            if not fitting:
                least = min(least, _MAX_NAME_WIDTH, room // 2)
                column = replace(column, no_wrap=least == cells.maximum)
            elif not column.no_wrap:
                least = min(cells.minimum, _MIN_TEXT_WIDTH)
            if len(fitting) > 1 and least + _BETWEEN > room:
                break
            fitting.append(column)
            room -= least + _BETWEEN
        return fitting


def _literal(cell: RenderableType | None) -> RenderableType | None:
    # A name can contain markup: a detector may be the regular expression `[/b]`.
    if isinstance(cell, str):
        return Text(all_visible(cell))
    return cell


def plain_table(
    *columns: str,
    right: Collection[str] = (),
    rows: Iterable[Sequence[RenderableType]] = (),
) -> PlainTable:
    """Build a table that shows strings literally, headings too; those of `right` are numbers.

    `records_table` needs no rows, where there are records to make them of.
    """
    table = PlainTable(
        box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0)
    )
    for column in columns:
        # A run, which can have any name, is the heading of some columns.
        heading = Text(all_visible(column))
        if column in right:
            # Names make room for numbers. A number that is cut nevertheless has an ellipsis:
            # without its last digits it would be another number.
            table.add_column(heading, justify="right", overflow="ellipsis", no_wrap=True)
        else:
            table.add_column(heading, overflow="fold")

    for row in rows:
        table.add_row(*row)
    return table


Cell = str | Callable[[Any], RenderableType]
"""How a record is shown in a cell: a format string with the names of its attributes, such as
`{layer}:{unit}` or `{loss.bpc:.4f}`, or a function of the record."""
Columns = Mapping[str, Cell]
"""The columns of a table of records: the cells of each by its heading."""


def record_cell(record: Any, cell: Cell) -> RenderableType:
    """Return the cell of a record. It is empty if an attribute of the format string is None."""
    if not isinstance(cell, str):
        return cell(record)
    text = ""
    for literal, path, form, _ in Formatter().parse(cell):
        text += literal
        if path is None:
            continue
        value = record
        for name in path.split("."):
            value = getattr(value, name)
            if value is None:
                return ""
        text += format(value, form or "")
    return text


def records_table(
    columns: Columns,
    records: Iterable[Any],
    *,
    left: Collection[str] = (),
    style: Callable[[Any], str | None] = lambda record: None,
    below: Columns = MappingProxyType({}),
) -> PlainTable:
    """Build the table of records, each in a row of its `style`. The columns of `left` are words,
    all others numbers; a column that is empty for all records is left out. The cells `below` those
    of a record, by heading, are in a row of their own, which is dim and left out if it is empty.

    Columns are described by a format of a record, so that a new column is one line; `plain_table`
    takes cells that are strings already.
    """
    records = list(records)
    shown = {}
    for heading, cell in columns.items():
        if not records or any(record_cell(record, cell) for record in records):
            shown[heading] = cell

    table = plain_table(*shown, right=shown.keys() - set(left))
    for record in records:
        table.add_row(*(record_cell(record, cell) for cell in shown.values()), style=style(record))
        cells_below = [record_cell(record, below.get(heading, "")) for heading in shown]
        if any(cells_below):
            table.add_row(*cells_below, style="dim")
    return table


def catalogue_table(entries: Sequence[CatalogueEntry]) -> Table:
    """Build the table of the catalogue's texts, the most important columns first; `here` says
    whether a text is on this machine."""
    columns: Columns = {
        "name": "{name}",
        "bytes": "{num_bytes:,}",
        "here": lambda entry: "no" if path_of(entry) is None else "yes",
        "kind": "{kind}",
        "language": "{language}",
        "licence": "{licence}",
    }
    return records_table(columns, entries, left=columns.keys() - {"bytes"})


def _as_in_yaml(value: Any) -> str:
    """Return a value as `config.yaml` and `--set` have it: null, true and false."""
    if value is None:
        return "null"
    # Before numbers: a bool is one.
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return " ".join(map(_as_in_yaml, value))
    return str(value)


def settings_table(values: Mapping[str, Any], origins: Mapping[str, str]) -> Table:
    """Build the table of every setting, its value and its source."""
    table = plain_table("field", "value", "from")
    # In the order of the settings file, so that both can be compared line by line.
    for name, value in values.items():
        # Values that somebody chose stand out from default values.
        style = "bold"
        if origins[name] == "default":
            style = "dim"
        origin = Text(all_visible(origins[name]), style=style)
        table.add_row(name, _as_in_yaml(value) or "-", origin)
    return table


def predictions_table(predictions: Sequence[Prediction]) -> Table:
    """Build the table of next characters, each with its probability and a bar."""
    columns: Columns = {
        "next": lambda prediction: shown_character(prediction.character),
        "probability": "{probability:.4f}",
        "": lambda prediction: Bar(
            1, begin=0, end=prediction.probability, width=_BAR_WIDTH, color="blue"
        ),
    }
    table = records_table(columns, predictions, left=("next", ""))
    if any(prediction.character == "\0" for prediction in predictions):
        table.caption = Text(f" {END_MARK} is the end of a document.", style="dim")
        table.caption_justify = "left"
    return table


def _shown_steps(run: RunSummary) -> str:
    # Steps that are left show that a run has not ended.
    if run.step != run.num_steps:
        return f"{run.step:,}/{run.num_steps:,}"
    return f"{run.step:,}"


RUN_COLUMNS: Columns = {
    "run": "{name}",
    "nats/char": "{best_nats:.4f}",
    "best": lambda run: "yes" if run.is_best else "",
    "date": lambda run: (run.saved or "")[: len("2026-11-28")],
    "text": "{text}",
    "from": lambda run: PurePath(run.init_from or "").name,
    "model": "{cell_type} {num_layers}×{hidden_size}",
    "steps": _shown_steps,
    "MB": lambda run: f"{run.num_bytes / 1e6:,.1f}",
    "min": "{minutes:.1f}",
    "params": lambda run: short_number(run.num_parameters) if run.num_parameters else "",
    "seed": "{seed}",
}
"""The columns of the table of runs, the most important first."""


def runs_view(runs: Sequence[RunSummary]) -> RenderableType:
    """Draw runs, one per row, and why losses must not be compared."""
    # Names to the left, so that names that begin alike stand below each other.
    table = records_table(RUN_COLUMNS, runs, left=("run", "best", "text", "from", "model"))

    # A run without a loss cannot be compared wrongly.
    validated = [run for run in runs if run.best_nats is not None]
    notes = [
        f"{run.name}: the loss of what follows {run.learned_after!r}, which alone it learned"
        for run in validated
        if run.learned_after is not None
    ]
    return Group(table, *map(Text, (*notes, *comparison_notes(validated))))


SHOWN_ORDERS = (1, 2, 3, 5, 8, 12, 20)
"""The orders of n-grams that are drawn beside the best order; a record and --json have all."""


def evaluation_view(evaluation: Evaluation) -> RenderableType:
    """Draw all rows, with the notes below them.

    The rows of a single predictor are named by their protocol. The rows of several predictors have
    their differences, and their protocol if it is not the same in all rows.
    """
    # The text that was read.
    rows = shown_rows(evaluation.rows)
    where = "this text" if evaluation.part is None else f"the {evaluation.part} text"
    if evaluation.common_bytes is not None:
        begin, end = evaluation.common_bytes
        where += f" that all runs have: bytes {begin:,} to {end:,} of their text"
    protocols = {row.loss.protocol for row in rows}
    kind = "loss" if len(protocols) > 1 else f"{rows[0].loss.protocol} loss"
    pictures: list[RenderableType] = [Text(f"{kind} over {where}".capitalize())]

    pictures.append(losses_table(rows))

    # How to read the rows.
    notes = [how_to_read(rows)]
    if evaluation.first.nats_ci is None:
        notes.append("The text is too short for an interval, which needs 1,000 scored characters.")
    notes += map(all_visible, evaluation.notes)
    pictures += map(Text, notes)

    if evaluation.groups:
        pictures += [Text(""), seed_groups_view(evaluation.groups)]
    return Group(*pictures)


def seed_groups_view(groups: Sequence[SeedGroup]) -> RenderableType:
    """Draw the groups of runs that differ in the seed alone, and say what the intervals are."""
    columns: dict[str, Cell] = {
        "": "{name}",
        "runs": lambda group: str(len(group.runs)),
        "mean": "{nats.mean:.4f}",
        "±": "±{nats.half_width:.4f}",
        "smallest": "{smallest:.4f}",
        "largest": "{largest:.4f}",
        "difference": "{difference.mean:+.4f}",
        "its ±": "±{difference.half_width:.4f}",
    }
    note = "±: 95 % interval of the mean over the seeds, by Student's t."

    # One group alone has no difference, and characters have none from bytes.
    if any(group.difference is not None for group in groups):
        note += " Difference: to the first group, its interval by Welch's t."
    return Group(
        Text("Runs that differ in the seed alone, in nats/char"),
        records_table(columns, groups, left=("",)),
        Text(note),
    )


def how_to_read(rows: Sequence[EvaluationRow]) -> str:
    """Say how to read the rows: which loss is better, that intervals stand below figures, and with
    which loss each loss is compared."""
    notes = ["Lower is better; right: the share of characters that the first guess gets right."]
    if any(row.loss.nats_ci is not None for row in rows):
        notes.append("Below a figure: its 95 % interval.")

    if any(row.difference is not None for row in rows):
        notes.append(
            f"Difference of the loss: to {all_visible(rows[0].name)} by the same protocol, of"
            " n-grams by the stateful one."
        )
    if any(row.loss.num_chars > row.loss.text_length for row in rows):
        notes.append("windowed-256: random windows, which overlap.")
    return " ".join(notes)


def shown_rows(rows: Sequence[EvaluationRow]) -> tuple[EvaluationRow, ...]:
    """Return the rows to draw: of the orders of n-grams, those in `SHOWN_ORDERS` and the best."""
    # Twenty orders would hide the rows that they are compared with.
    ngrams = [row for row in rows if row.name == NGRAM]
    best = min(ngrams, key=lambda row: row.loss.nats_per_char, default=None)
    protocols = {f"{order}-gram" for order in SHOWN_ORDERS}

    rows_to_draw = []
    for row in rows:
        if row.name != NGRAM or row is best or row.loss.protocol in protocols:
            rows_to_draw.append(row)
    return tuple(rows_to_draw)


def losses_table(rows: Sequence[EvaluationRow]) -> RenderableType:
    """Build the table of losses, each figure above its 95 % interval.

    A row of one predictor is named by its protocol; the rows of several have their differences, and
    their protocol if it is not the same in all rows.
    """
    # The columns on the right are those that a narrow terminal has no room for.
    columns: dict[str, Cell] = {
        "": "{name}",
        "protocol": "{loss.protocol}",
        "nats/char": "{loss.nats_per_char:.4f}",
        "difference": "{difference.mean:+.4f}",
        "bits/char": "{loss.bpc:.4f}",
        "bits/byte": "{loss.bits_per_byte:.4f}",
        "right": "{loss.first_guess:.1%}",
        "scored": "{loss.num_chars:,}",
        "precision": "{loss.precision}",
    }
    intervals: dict[str, Cell] = {
        "nats/char": lambda row: _ends(row.loss.nats_ci),
        "difference": "{difference.low:+.3f}…{difference.high:+.3f}",
        "bits/char": lambda row: _ends(row.loss.bpc_ci),
        "bits/byte": lambda row: _ends(row.loss.bits_per_byte_ci),
    }

    # A column says nothing where it is the same in all rows.
    if len({row.name for row in rows}) == 1 and all(row.difference is None for row in rows):
        del columns[""]
    else:
        del columns["scored"], columns["precision"], intervals["bits/char"]
        if len({row.loss.protocol for row in rows}) == 1:
            del columns["protocol"]
        # Bytes and characters are compared by bytes: then these intervals count, too.
        if len({row.loss.text_length for row in rows}) == 1:
            del intervals["bits/byte"]
    left = ("", "protocol", "precision")
    return records_table(columns, rows, left=left, below=intervals)


def _ends(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    return ends_text(*interval)
