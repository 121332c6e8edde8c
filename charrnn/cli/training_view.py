"""Show training: the plan, a progress bar, one row per validation, samples, and the next commands."""

import re
import shlex
import signal
from collections.abc import Generator, Iterable
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

from charrnn.cli.progress import TerminalProgress, print_above_bars, training_bar
from charrnn.cli.signals import READER_GONE, Signals
from charrnn.cli.streams import discard_output, print_json, print_path, printable, result_console, with_flags
from charrnn.errors import counted
from charrnn.generation.options import SAMPLE_TEMPERATURE
from charrnn.progress import Progress, using
from charrnn.runs.logs import MetricsLog
from charrnn.training import events
from charrnn.training.process_group import LaunchedProcess

FACTS = {
    "Text": "{corpus}: {num_chars:,} {unit}, {num_distinct_chars:,} different{known}",
    "Model": "{cell} {num_layers}×{hidden_size}, {num_parameters:,} parameters",
    "Training": "{steps} of {num_lanes} batch rows × {bptt_length} characters = {epochs} epochs",
    "Computing": "{precision}, {processes}threads: {threads}{each}, seed: {seed}",
    "Columns": "train, val: nats/character; bpc: bits; time: from the command's start",
    "Saved in": "{run}",
}
"""What is said of a run before it starts."""
PLANNED_FACTS = 2
"""How many of them are known before the steps of a budget in minutes are measured."""
COLUMNS = {
    "step": (9, "{step:,}"),
    "epoch": (6, "{epochs}"),
    "train": (7, "{train_nats:.4f}"),
    "val": (7, "{val_nats:.4f}"),
    "bpc": (6, "{val_bpc:.3f}"),
    "chars/s": (9, "{rate:,.0f}"),
    "time": (8, "{minutes}:{seconds:02}"),
}
"""Columns of the table of validations: the width of each in characters, 64 with the mark in all, and its value."""
BEST = "  best"
"""Ends the row of a validation that is the best so far."""
BAR_FORMAT = "{percentage:3.0f}% {bar} {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
"""The progress bar, in the format of tqdm."""
SAMPLE_LINES = 8
"""Lines of a sample that are shown."""
EARLY_SHARE = 0.2
"""Share of the steps whose samples are shown as one readable line: they teach little, and push the header away."""


class _Planning(TerminalProgress):
    """Shows what is known of a run before it starts."""

    def __init__(self, view: "TrainingView") -> None:
        super().__init__(quiet=view.quiet)
        self._view = view

    def tell(self, news: object) -> None:
        """Print the first facts about a run, or a message."""
        if isinstance(news, dict):
            self._view.show_facts(news, PLANNED_FACTS)
        super().tell(news)


class TrainingView:
    """Shows training events on stderr, or as JSON Lines on stdout; reports what signals request to the training."""

    def __init__(
        self, signals: Signals, *, show_as_json: bool, quiet: bool, launched: LaunchedProcess | None = None
    ) -> None:
        """Show events; `launched` is the state that several processes share, of which only the first shows anything."""
        self._launched = launched = launched or LaunchedProcess()
        self.is_first = launched.rank == 0
        """Whether to show anything: of several processes only the first one does."""
        self.quiet = quiet or not self.is_first
        self.signals = signals
        signals.is_quiet = self.quiet or launched.is_supervised
        self.show_as_json = show_as_json
        self._console: Any = None if self.quiet or show_as_json else result_console(stderr=True)
        self._bar: Any = None
        self._start: events.StartEvent | None = None
        self._seconds_before = 0.0
        self._losses: list[float] = []
        self._rate = 0.0
        self._has_header = False
        self._num_facts = 0

    def announce(self, message: str) -> None:
        """Print that something slow starts, if stderr is a terminal."""
        if self._console is not None and self._console.is_terminal:
            self._console.print(message, style="dim")

    def is_stop_asked(self) -> bool:
        """Return whether training should stop: a signal asked for it, or nobody reads the output."""
        if self._launched.is_orphan:
            self.signals.number = self.signals.number or signal.SIGTERM
        if self.signals.number:
            self._launched.announce_stop(self.signals.number)
        return self.signals.number != 0

    def show(self, stream: Generator[events.TrainEvent, None, None]) -> int:
        """Show all events; return the exit code: 0, or 128 + the signal that ended training, with everything saved."""
        failure: OSError | None = None
        is_complete, is_shown = True, self.is_first
        # Closed explicitly, so that a second Ctrl-C at any point unlocks the run and removes temporary files.
        with ExitStack() as last, closing(stream), ExitStack() as stack:
            last.callback(self._close_bar)
            stack.enter_context(using(_Planning(self)))
            for event in stream:
                # From now on the run exists; before, there is nothing to save, and Ctrl-C ends the command.
                self.signals.defers = True
                if isinstance(event, events.StartEvent):
                    stack.enter_context(using(Progress()))  # The text is read; training has a bar of its own.
                elif isinstance(event, events.DoneEvent):
                    is_complete = event.is_complete
                try:
                    if is_shown:
                        self._draw(event)
                except OSError as error:
                    # The reader is gone. Save and stop, as at a signal, instead of losing the training.
                    if not isinstance(error, BrokenPipeError) and not self.signals.number:
                        failure = error  # A full disk; a closed terminal sends SIGHUP.
                    self.signals.number = self.signals.number or READER_GONE
                    is_shown = False
                    discard_output()
        if failure is not None:
            raise failure
        # The signal may have reached another process only.
        return 0 if is_complete else 128 + (self.signals.number or self._launched.stop_signal or signal.SIGTERM)

    def _draw(self, event: events.TrainEvent) -> None:
        if isinstance(event, events.StartEvent):
            event = replace(event, notes=tuple(map(with_flags, event.notes)))
        elif isinstance(event, events.WarningEvent):
            event = replace(event, message=with_flags(event.message))
        if self.show_as_json:
            print_json(event.to_json())
        elif self._console is not None or event.event == "done":
            getattr(self, f"_show_{event.event}", lambda event: None)(event)

    def _print(self, *args: Any, **kwargs: Any) -> None:
        print_above_bars(self._console, *args, **kwargs)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show_start(self, event: events.StartEvent) -> None:
        self._start, config = event, event.config
        if event.first_step:  # As `charrnn runs` adds them up.
            losses = MetricsLog(Path(event.run) / "metrics.jsonl").losses([])
            self._seconds_before = max((loss.seconds for loss in losses), default=0.0)
        several = self._launched.size > 1
        values = config | asdict(event) | {"steps": counted(event.num_steps, "step")}
        values |= {"processes": f"processes: {self._launched.size}, " if several else "", "each": " each" * several}
        values |= {"epochs": self._epochs(event.num_steps)}
        self.show_facts(values, len(FACTS))
        for note in event.notes:
            self._show_fact("Note", note, style="yellow")
        self._print()
        self._bar = training_bar(event.num_steps, BAR_FORMAT, initial=event.first_step)

    def show_facts(self, values: dict[str, Any], num_facts: int) -> None:
        """Print the first `num_facts` of FACTS that were not printed before."""
        if self._console is None:
            return
        values = values | {"unit": "bytes" if values["alphabet"] == "byte" else "characters"}
        num_known = values["vocab_size"] - (values["alphabet"] == "char")  # without the unknown symbol
        is_less = num_known < values["num_distinct_chars"]
        values |= {"known": f", {num_known:,} in the alphabet" if is_less else ""}
        for name, fact in [*FACTS.items()][self._num_facts : num_facts]:
            self._show_fact(name, fact.format_map(values))
        self._num_facts = num_facts

    def _show_fact(self, name: str, fact: str, style: str | None = None) -> None:
        """Print a name and a fact, whose further lines begin below the first; a word or path is not divided."""
        room = TextWrapper(max(40, self._console.width), f"{name:9} ", 10 * " ", break_long_words=False)
        room.break_on_hyphens = False
        self._print(room.fill(printable(fact)), style=style, soft_wrap=True)

    def _epochs(self, num_steps: int) -> str:
        """Return how often the training text is read in as many steps."""
        assert self._start is not None
        config = self._start.config
        epochs = num_steps * config["num_lanes"] * config["bptt_length"] / self._start.num_train_chars
        return f"{epochs:.1f}" if epochs >= 1 else f"{epochs:.2f}"

    def _show_step(self, event: events.StepEvent) -> None:
        self._losses.append(event.train_nats)
        self._rate = event.chars_per_second if not self._rate else 0.95 * self._rate + 0.05 * event.chars_per_second
        recent = sum(self._losses[-20:]) / len(self._losses[-20:])
        self._bar.set_postfix_str(f"{recent:.3f} nats, {self._rate / 1000:.0f}k chars/s", refresh=False)
        self._bar.update(1)
        every = self._start.config["evaluate_every"] if self._start is not None else 0
        if event.step == self._bar.total or (every and event.step % every == 0):
            self._bar.set_postfix_str("validating ...")

    def _show_evaluation(self, event: events.EvaluationEvent) -> None:
        minutes, seconds = divmod(round(self._seconds_before + event.seconds), 60)
        train_nats = sum(self._losses) / len(self._losses) if self._losses else float("nan")
        values = asdict(event) | {"epochs": self._epochs(event.step), "train_nats": train_nats}
        values |= {"rate": self._rate, "minutes": minutes, "seconds": seconds}
        if not self._has_header:
            self._has_header = True
            self._print(" ".join(f"{name:>{width}}" for name, (width, _) in COLUMNS.items()), style="bold")
        row = " ".join(f"{value.format_map(values):>{width}}" for width, value in COLUMNS.values())
        self._print(row + (BEST if event.is_best else ""), soft_wrap=True)
        self._losses.clear()

    def _show_sample(self, event: events.SampleEvent) -> None:
        self._print(f"--- sample at step {event.step:,}:", style="dim")
        if self._start is not None and event.step < EARLY_SHARE * self._start.num_steps:
            self._print(readable(event.text), style="cyan", no_wrap=True, overflow="ellipsis")
            return
        self._print("\n".join(printable(event.text).split("\n")[:SAMPLE_LINES]), style="cyan", soft_wrap=True)
        self._print()

    def _show_warning(self, event: events.WarningEvent) -> None:
        # A program that reads stderr finds a warning on one line.
        self._print(f"warning: {printable(event.message)}", style="yellow", soft_wrap=True)

    def _show_done(self, event: events.DoneEvent) -> None:
        self._close_bar()
        if self._console is not None:
            folder = Path(event.run)
            piped = "cat TEXT | " if self._start and "-" in self._start.config["corpus"] else ""
            is_at_home = folder.parent == Path("checkpoints")
            run = shlex.quote(printable(folder.name if is_at_home else event.run))
            if event.is_complete:
                self._print(f"Done: {counted(event.step, 'step')}.{_best_loss(event)}")
                if self._start is not None and self._start.first_step == event.step:
                    self._print("Nothing was left to train: give a larger --steps, --epochs or --minutes to continue.")
                self._print("Next:")
                # The newest run in checkpoints/ need not be named.
                named = "" if is_at_home else f" {run}"
                other = " --text FILE"  # Standard input is gone, and a short text has too little to score.
                text = other if piped or (self._start is not None and is_too_short_to_score(self._start)) else ""
                lines = [f"sample{named} --temp {SAMPLE_TEMPERATURE}", f"visualize{named}{text}"]
                lines.append(f"evaluate{named}{other if piped else ''}")
                self._print_commands(f"charrnn {line}" for line in lines)
                if event.recipe is not None:
                    several = f" --processes {self._launched.size}" if self._launched.size > 1 else ""
                    self._print("The same weights again, on this machine:")
                    again = f"{piped}charrnn train --recipe {shlex.quote(printable(event.recipe))}{several}"
                    self._print_commands([again])
            else:
                self._print(f"Stopped at step {event.step:,}; everything is saved. Continue with:")
                self._print_commands([f"{piped}charrnn train --resume {run}"])
        print_path(event.run)

    def _print_commands(self, commands: Iterable[str]) -> None:
        self._print("\n".join(f"  {command}" for command in commands), soft_wrap=True)


def readable(text: str) -> str:
    """Return a sample as one line: ¶ for END (U+0000), · for characters that cannot be read."""
    from charrnn.text.documents import END
    from charrnn.text.vocab import REPLACEMENT

    words = text.replace(END, " ¶ ").split()
    shown = (("·", one)[one.isprintable() and one != REPLACEMENT] for one in " ".join(words))
    return re.sub("·+", "·", "".join(shown))


def _best_loss(event: events.DoneEvent) -> str:
    """Return the best validation loss and its step, which commands use."""
    if event.best_nats is None:
        return ""
    best = f" Best validation loss {event.best_nats:.4f} nats/character, at step {event.best_step:,}"
    return f"{best}." if event.best_step == event.step else f"{best},\nwhich every command uses."


def is_too_short_to_score(start: events.StartEvent) -> bool:
    """Return whether the validation text has too few characters for `visualize` to score cells."""
    from charrnn.cells.scores import MIN_TEXT

    _, validation, *test = start.config["split"]
    num_chars = (start.num_chars - start.num_train_chars) * validation / (validation + sum(test))
    return bool(num_chars < MIN_TEXT)
