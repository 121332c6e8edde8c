"""Show training: the plan, a progress bar, one row per validation, samples, and the next commands."""

import math
import shlex
import signal
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from charrnn.cli.flags import with_flags
from charrnn.cli.progress import training_bar
from charrnn.cli.signals import READER_GONE, Signals
from charrnn.cli.streams import discard_output, message_console, print_json, print_path, printable
from charrnn.config import SMALL_NETWORK
from charrnn.errors import counted
from charrnn.generation.options import SAMPLE_TEMPERATURE
from charrnn.progress import Progress, using
from charrnn.runs.logs import MetricsLog
from charrnn.training.events import (
    DoneEvent,
    EvaluationEvent,
    SampleEvent,
    SavedEvent,
    StartEvent,
    StepEvent,
    TrainEvent,
    WarningEvent,
)
from charrnn.training.process_group import LaunchedProcess

COLUMNS = {"step": 9, "epoch": 6, "train": 7, "val": 7, "bpc": 6, "chars/s": 9, "time": 8}
"""Columns of the table of validations, and the width of each in characters."""
OPTIONAL_COLUMNS = ("chars/s", "epoch", "time", "bpc", "train")
"""Columns that a narrow terminal omits, in this order: a row is one line."""
BEST = "  best"
"""Ends the row of a validation that is the best so far."""
BAR_FORMAT = "{percentage:3.0f}% {bar} {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
"""The progress bar, in the format of tqdm."""
BAR_WIDTH = 24
"""Characters of the shortest bar with percentage and times, but without steps and figures."""
SAMPLE_LINES = 8
"""Lines of a sample that are shown."""


class TrainingView:
    """Shows training events on stderr, or as JSON Lines on stdout; reports what signals request to the training."""

    def __init__(
        self, signals: Signals, *, show_as_json: bool, quiet: bool, launched: LaunchedProcess | None = None
    ) -> None:
        """Show events; `launched` is the state that several processes share, of which only the first shows anything."""
        self._launched = launched = launched or LaunchedProcess()
        self.is_first = launched.rank == 0
        """Whether to show anything: of several processes only the first one does."""
        quiet = quiet or not self.is_first
        signals.is_quiet = quiet or launched.is_supervised
        self.show_as_json = show_as_json
        self.quiet = quiet
        self._console: Any = None if quiet or show_as_json else message_console()
        self._signals = signals
        self._is_save_requested = False
        self._is_stop_passed_on = False
        self._is_complete = True
        self._is_reader_gone = False
        self._bar: Any = None
        self._start: StartEvent | None = None
        self._losses: list[float] = []
        self._rate = 0.0
        self._seconds_before = 0.0
        self._columns: dict[str, int] = {}

    def announce(self, message: str) -> None:
        """Print that something slow starts, if stderr is a terminal."""
        if self._console is not None and self._console.is_terminal:
            self._console.print(message, style="dim")

    def is_stop_asked(self) -> bool:
        """Return whether training should stop: a signal asked for it, or nobody reads the output."""
        if self._launched.is_orphan:
            self._signals.number = self._signals.number or signal.SIGTERM
        if self._signals.number and not self._is_stop_passed_on:
            self._is_stop_passed_on = True
            self._launched.announce_stop(self._signals.number)
        return self._signals.number != 0

    def is_save_asked(self) -> bool:
        """Return whether SIGUSR1 arrived since the last call."""
        self._is_save_requested = self._signals.pop_save_request()
        return self._is_save_requested

    def show(self, events: Generator[TrainEvent, None, None]) -> int:
        """Show all events; return the exit code: 0, or 128 + the signal that ended training, with everything saved."""
        failure: OSError | None = None
        try:
            # Closed explicitly, so that a second Ctrl-C at any point unlocks the run and removes temporary files.
            with closing(events), ExitStack() as stack:
                for event in events:
                    # From now on the run exists; before, there is nothing to save, and Ctrl-C ends the command.
                    self._signals.defers = True
                    if isinstance(event, StartEvent):
                        stack.enter_context(using(Progress()))  # The text is read; training has a bar of its own.
                        if self.is_first:
                            self._launched.announce_run(Path(event.run))
                    elif isinstance(event, DoneEvent):
                        self._is_complete = event.is_complete
                    try:
                        self._draw(event)
                    except OSError as error:
                        # The reader is gone. Save and stop, as at a signal, instead of losing the training.
                        if not isinstance(error, BrokenPipeError) and not self._signals.number:
                            failure = error  # A full disk; a closed terminal sends SIGHUP.
                        self._signals.number = self._signals.number or READER_GONE
                        self._is_reader_gone = True
                        discard_output()
        finally:
            if self._bar is not None:
                self._bar.close()
        if failure is not None:
            raise failure
        if self._is_complete:
            return 0
        # The signal may have reached another process only.
        return 128 + (self._signals.number or self._launched.stop_signal or signal.SIGTERM)

    def _draw(self, event: TrainEvent) -> None:
        if self._is_reader_gone or not self.is_first:
            return
        if isinstance(event, StartEvent):
            event = replace(event, notes=tuple(map(with_flags, event.notes)))
        elif isinstance(event, WarningEvent):
            event = replace(event, message=with_flags(event.message))
        if self.show_as_json:
            print_json(event.to_json())
        elif self._console is not None or event.event == "done":
            getattr(self, f"_show_{event.event}")(event)

    def _print(self, *args: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.clear()
        self._console.print(*args, **kwargs)
        if self._bar is not None:
            self._bar.refresh()

    def _show_start(self, event: StartEvent) -> None:
        config = event.config
        self._seconds_before = _seconds_logged(event.run) if event.first_step else 0.0
        chars_per_step = config["num_lanes"] * config["bptt_length"]
        self._start = event
        epochs = event.num_steps * chars_per_step / event.num_train_chars
        window = f"{config['num_lanes']} batch rows × {config['bptt_length']} characters"
        unit = "bytes" if config["alphabet"] == "byte" else "characters"
        threads = f"threads: {config['threads']}"
        if self._launched.size > 1:
            threads = f"processes: {self._launched.size}, {threads} each"
        facts = [
            ("Text", f"{event.corpus}: {event.num_chars:,} {unit}, {event.num_distinct_chars:,} different"),
            (
                "Model",
                f"{config['cell']} {config['num_layers']}×{config['hidden_size']}, {event.num_parameters:,} parameters",
            ),
            (
                "Training",
                f"{counted(event.num_steps, 'step')} of {window} = {_rounded(epochs)} epochs",
            ),
            ("Computing", f"{config['precision']}, {threads}"),
            ("Losses", "train and val in nats per character, bpc in bits per character"),
            ("Saved in", event.run),
        ]
        for name, fact in facts:
            self._print(self._fact(name, fact))
        for note in event.notes:
            self._print(self._fact("Note", note), style="yellow")
        self._print()
        self._bar = training_bar(event.num_steps, BAR_FORMAT, initial=event.first_step)

    def _fact(self, name: str, fact: str) -> Any:
        """Lay out a name and a value, which wraps between words into a column of its own."""
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_column(width=9)
        row.add_column(overflow="fold")
        row.add_row(name, Text(printable(fact)))
        return row

    def _show_step(self, event: StepEvent) -> None:
        self._losses.append(event.train_nats)
        self._rate = event.chars_per_second if not self._rate else 0.95 * self._rate + 0.05 * event.chars_per_second
        recent = sum(self._losses[-20:]) / len(self._losses[-20:])
        if not self._bar.disable:
            figures = f"{recent:.3f} nats", f"{recent / math.log(2):.3f} bpc", f"{self._rate / 1000:.0f}k chars/s"
            self._bar.set_postfix_str(self._figures_that_fit(figures), refresh=False)
        self._bar.update(1)
        every = self._start.config["evaluate_every"] if self._start is not None else 0
        if event.step == self._bar.total or (every and event.step % every == 0):
            self._bar.set_postfix_str("validating ...")

    def _figures_that_fit(self, figures: Sequence[str]) -> str:
        """Join as many of the figures, in order, as leave BAR_WIDTH for the bar."""
        shown, width = "", self._console.width - BAR_WIDTH - 2 * len(str(self._bar.total))
        for figure in figures:
            if len(shown) + len(figure) + 2 > width:
                break
            shown += f", {figure}" if shown else figure
        return shown

    def _show_evaluation(self, event: EvaluationEvent) -> None:
        assert self._start is not None
        config = self._start.config
        epochs = event.step * config["num_lanes"] * config["bptt_length"] / self._start.num_train_chars
        train_nats = sum(self._losses) / len(self._losses) if self._losses else float("nan")
        minutes, seconds = divmod(round(self._seconds_before + event.seconds), 60)
        values = {
            "step": f"{event.step:,}",
            "epoch": _rounded(epochs),
            "train": f"{train_nats:.4f}",
            "val": f"{event.val_nats:.4f}",
            "bpc": f"{event.val_bpc:.3f}",
            "chars/s": f"{self._rate:,.0f}",
            "time": f"{minutes}:{seconds:02}",
        }
        if not self._columns:
            self._columns = _columns_that_fit(self._console.width)
            self._print(self._row({name: name for name in self._columns}), style="bold")
        self._print(self._row(values) + (BEST if event.is_best else ""), soft_wrap=True)
        self._losses.clear()

    def _row(self, values: Mapping[str, str]) -> str:
        return " ".join(f"{values[name]:>{width}}" for name, width in self._columns.items())

    def _show_sample(self, event: SampleEvent) -> None:
        self._print(f"--- sample at step {event.step:,}:", style="dim")
        lines = printable(event.text).split("\n")[:SAMPLE_LINES]
        self._print("\n".join(lines), style="cyan", soft_wrap=True)
        self._print()

    def _show_saved(self, event: SavedEvent) -> None:
        if self._is_save_requested:
            self._print(f"Saved at step {event.step:,}, as requested.", style="dim")

    def _show_warning(self, event: Any) -> None:
        # A program that reads stderr finds a warning on one line.
        is_one_line = not self._console.is_terminal
        self._print(f"warning: {printable(event.message)}", style="yellow", soft_wrap=is_one_line)

    def _show_done(self, event: DoneEvent) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        folder = Path(event.run)
        is_at_home = folder.parent == Path("checkpoints")
        run = shlex.quote(printable(folder.name if is_at_home else event.run))
        # The newest run in checkpoints/ need not be named.
        named = "" if is_at_home else f" {run}"
        if self._console is not None:
            if event.is_complete:
                self._print(f"Done: {counted(event.step, 'step')}.{_best_loss(event)}")
                if self._start is not None and self._start.first_step == event.step:
                    self._print("Nothing was left to train: give a larger --steps, --epochs or --minutes to continue.")
                self._print("Next:")
                look_inside = _look_inside(named, self._start)
                commands = (f"sample{named} --temp {SAMPLE_TEMPERATURE}", look_inside, f"evaluate{named}")
                self._print("\n".join(f"  charrnn {command}" for command in commands), soft_wrap=True)
            else:
                self._print(f"Stopped at step {event.step:,}; everything is saved. Continue with:")
                piped = "cat TEXT | " if self._start and "-" in self._start.config["corpus"] else ""
                self._print(f"  {piped}charrnn train --resume {run}", soft_wrap=True)
        print_path(event.run)


def _best_loss(event: DoneEvent) -> str:
    """Return the best validation loss and its step, which commands use; then the last loss, if another step has it."""
    if event.best_nats is None:
        return ""
    best = f" Best validation loss {event.best_nats:.4f} nats/character, at step {event.best_step:,}"
    if event.best_step == event.step:
        return f"{best}."
    last = "" if event.val_nats is None else f" The last loss is {event.val_nats:.4f}."
    return f"{best},\nwhich every command uses.{last}"


def _look_inside(run: str, start: StartEvent | None) -> str:
    """Return the command that shows what the trained network does, without `charrnn`; `run` is its name, or ""."""
    from charrnn.cells.scores import MIN_TEXT

    if start is None:
        return f"visualize{run}"
    _, validation, *test = start.config["split"]
    # What is not for training, without a test text.
    num_val_chars = int((start.num_chars - start.num_train_chars) * validation / (validation + sum(test)))
    if num_val_chars >= MIN_TEXT:
        return f"visualize{run}"
    is_small = start.config["hidden_size"] <= SMALL_NETWORK
    return f"predict{run} TEXT --numbers" if is_small else f"visualize{run} --text FILE"


def _seconds_logged(run: str) -> float:
    """Return the seconds that a resumed run has trained before, as `charrnn runs` adds them up."""
    return max((loss.seconds for loss in MetricsLog(Path(run) / "metrics.jsonl").losses([])), default=0.0)


def _columns_that_fit(width: int) -> dict[str, int]:
    columns = dict(COLUMNS)
    for name in OPTIONAL_COLUMNS:
        if sum(columns.values()) + len(columns) - 1 + len(BEST) <= width:
            break
        del columns[name]
    return columns


def _rounded(epochs: float) -> str:
    return f"{epochs:.1f}" if epochs >= 1 else f"{epochs:.2f}"
