"""The table of runs, which gets shorter in a narrow terminal."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from charrnn.runs.records import RunSummary, comparison_notes
from charrnn.views.short_numbers import short_number
from charrnn.views.tables import PlainTable, plain_table
from charrnn.views.visible import all_visible


@dataclass(frozen=True)
class _RunColumn:
    """A column of a `RunsTable`: its heading and its cells, in full and in short."""

    name: str
    cell: Callable[[RunSummary], str]
    short_cell: Callable[[RunSummary], str]
    heading: str
    short_heading: str
    is_number: bool = True


def _run_columns() -> tuple[_RunColumn, ...]:
    def column(
        name: str,
        cell: Callable[[RunSummary], str],
        short_cell: Callable[[RunSummary], str] | None = None,
        *,
        heading: str = "",
        short_heading: str = "",
        is_number: bool = True,
    ) -> _RunColumn:
        return _RunColumn(name, cell, short_cell or cell, heading or name, short_heading or name, is_number)

    def weights(run: RunSummary) -> str:
        return "" if run.num_parameters is None else f"{run.num_parameters:,}"

    def short_weights(run: RunSummary) -> str:
        return "" if run.num_parameters is None else short_number(run.num_parameters)

    def steps(run: RunSummary) -> str:
        return f"{run.step:,}/{run.num_steps:,}"

    def short_steps(run: RunSummary) -> str:
        return f"{run.step:,}" if run.step == run.num_steps else steps(run)

    def loss(run: RunSummary) -> str:
        return "" if run.best_nats is None else f"{run.best_nats:.4f}"

    return (
        column("run", lambda run: run.name, is_number=False),
        column("text", lambda run: run.text, is_number=False),
        column("model", lambda run: f"{run.cell} {run.num_layers}×{run.hidden_size}", is_number=False),
        column("parameters", weights, short_weights, short_heading="params"),
        column("seed", lambda run: str(run.seed)),
        column("steps", steps, short_steps),
        column("nats/char", loss, heading="best nats/char"),
        column("minutes", lambda run: f"{run.minutes:.1f}"),
    )


DISPENSABLE_RUN_COLUMNS = ("text", "minutes", "seed", "parameters")
"""Columns of a `RunsTable` that a narrow terminal does without, the first ones first."""


@dataclass(frozen=True)
class RunsTable:
    """A renderable of runs, one per row.

    Where it does not fit, numbers of weights and steps are shortened first. Then columns are left out that are the same
    in every row, or that the names of the runs repeat; then others. Lines below the table say which, and which losses
    must not be compared. No digit is cut.
    """

    runs: Sequence[RunSummary]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        full = self._table((), is_short=False)
        without = [tuple(self._left_out[:number]) for number in range(len(self._left_out) + 1)]
        shortened = [(left_out, self._table(left_out, is_short=True)) for left_out in without]
        for left_out, table in (((), full), *shortened):
            if table.fits(console, options):
                yield table
                yield from self._notes(left_out)
                return
        for left_out, table in shortened:
            if table.can_fold(console, options):
                yield table
                yield from self._notes(left_out)
                return
        yield full  # which then has one paragraph per run
        yield from self._notes(())

    @property
    def _left_out(self) -> list[str]:
        """The columns that can be left out, the first ones first."""
        is_repeated = all(run.name.startswith(run.text) for run in self.runs)
        redundant = [*(["text"] if is_repeated else []), *self._constants]
        return list(dict.fromkeys((*redundant, *DISPENSABLE_RUN_COLUMNS)))

    @property
    def _constants(self) -> list[str]:
        """The columns with the same value in each of several rows."""
        return [
            name for name in ("seed", "text") if len({getattr(run, name) for run in self.runs}) == 1 < len(self.runs)
        ]

    def _notes(self, left_out: Sequence[str]) -> Iterator[Text]:
        """Yield why losses must not be compared, and of the columns left out their only value, or else their names."""
        yield from map(Text, comparison_notes([run for run in self.runs if run.best_nats is not None]))
        same = [name for name in left_out if name in self._constants]
        if same:
            values = ", ".join(f"{name} {getattr(self.runs[0], name)}" for name in same)
            yield Text(all_visible(f"All runs: {values}."), style="dim")
        is_repeated = all(run.name.startswith(run.text) for run in self.runs)
        missing = [name for name in left_out if name not in same and not (name == "text" and is_repeated)]
        if missing:
            yield Text(f"Not shown in this width: {', '.join(missing)}; the CSV has them.", style="dim")

    def _table(self, left_out: Sequence[str], *, is_short: bool) -> PlainTable:
        columns = [column for column in _run_columns() if column.name not in left_out]
        headings = [column.short_heading if is_short else column.heading for column in columns]
        numbers = [heading for heading, column in zip(headings, columns, strict=True) if column.is_number]
        table = plain_table(*headings, right=numbers)
        if is_short:
            table.padding = (0, 1, 0, 0)
        for run in self.runs:
            table.add_row(*((column.short_cell if is_short else column.cell)(run) for column in columns))
        return table
