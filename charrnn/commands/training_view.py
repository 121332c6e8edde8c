"""How `charrnn train` shows a training: the plan, a progress bar, one row per validation, samples,
and the next commands.

The training sends events (`training.events`), and the view draws each of them when it comes. It
asks the training nothing, and knows of it what the events have said.
"""

import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

from charrnn.cli.progress_bars import tqdm_class
from charrnn.cli.streams import (
    IN_TEXT,
    can_animate,
    print_json,
    print_path,
    printable,
    result_console,
    with_flags,
    wrapped,
)
from charrnn.distributed.group import ProcessGroup
from charrnn.errors import counted
from charrnn.generation.sample_options import SAMPLE_TEMPERATURE
from charrnn.runs.logs import MetricsLog
from charrnn.system.progress import Progress, current
from charrnn.system.words import prints_words
from charrnn.training import events

FACTS = {
    "Text": "{corpus}{kinds}: {num_chars:,} {unit}, {num_distinct_chars:,} different{known}",
    "Model": "{cell_type} {num_layers}×{hidden_size}, {num_parameters:,} parameters",
    "Training": "{steps} of {batch_size} batch rows × {bptt_length} characters = {epochs} epochs",
    "Computing": "{precision}, {processes}threads: {threads}{each}, seed: {seed}",
    "Columns": (
        "train, val: nats/character{after}; bpc: bits; right: first guesses; time: from the start"
    ),
    "Saved in": "{run}",
}
"""The lines that are printed before training starts: facts of the run, and what the columns of the
table are."""
PLANNED_FACTS = ("Text", "Model")
"""Those of these lines that are known before the steps of a budget in minutes are measured."""
COLUMNS = {
    "step": (9, "{step:,}"),
    "epoch": (6, "{epochs}"),
    "train": (7, "{train_nats:.4f}"),
    "val": (7, "{val_nats:.4f}"),
    "bpc": (6, "{val_bpc:.3f}"),
    "right": (6, "{first_guess:.1%}"),
    "chars/s": (9, "{rate:,.0f}"),
    "time": (8, "{minutes}:{seconds:02}"),
}
"""Columns of the table of validations: for each its width in characters and its value. With the
mark of the best, a row has 71 characters."""
BEST = "  best"
"""Ends the row of a validation that is the best so far."""
BAR_FORMAT = "{percentage:3.0f}% {bar} {desc} [{elapsed}<{remaining}{postfix}]"
"""The progress bar, in the format of tqdm. The steps are its description, because they may be more
or fewer than its length."""
SAMPLE_LINES = 8
"""Lines of a sample that are shown."""
FEW_UNITS = 16
"""For a network of so few units per layer, the suggested command shows its numbers."""
EARLY_SHARE = 0.2
"""Samples of steps in this first share of the run are shown as one line: they teach little, and
push the header away."""
MOVING_SHARE = 0.05
"""Share of a step in the moving average of the speed: the speed of a single step jumps too much to
be read."""
RECENT_STEPS = 20
"""Steps whose mean loss stands beside the bar."""


class TrainingView:
    """Shows the events of a training on stderr, or as JSON Lines on stdout."""

    def __init__(self, launched: ProcessGroup, *, show_as_json: bool, quiet: bool):
        """Show events; `launched` is this process among several, of which only the first shows
        anything. With `quiet`, nothing is shown on stderr."""
        self.is_first = launched.is_first
        """Whether this process shows anything."""
        self.is_quiet = quiet or not self.is_first
        """Whether nothing is shown on stderr."""
        self.show_as_json = show_as_json
        self._num_processes = launched.size
        self._console: Any = result_console(stderr=True)
        self._console.quiet = self.is_quiet or show_as_json
        self._facts = dict(FACTS)
        """The facts that are not shown yet."""
        self._start: events.StartEvent
        """The first event of the steps, which comes before all that need it."""
        self._bar: _StepBar | None = None
        """The bar, from the start event on."""
        self._seconds_before = 0.0
        """Seconds of the run before it was resumed."""
        self._losses: list[float] = []
        """The losses of the steps since the last validation."""
        self._rate = 0.0
        """Characters that are read per second, as a moving average over the steps."""
        self._has_header = False
        """Whether the header of the table was printed."""

    def show_wait(self, message: str) -> None:
        """Say what is waited for before the first event, if stderr is a terminal."""
        if self._console.is_terminal:
            self._console.print(message, style="dim")

    def progress(self) -> Progress:
        """Return where the work between two events reports, such as a long validation: the clock of
        the bar goes on. Warnings are shown as they are now."""
        return Progress(self._tick, on_warning=current().warn)

    def _tick(self, _: object) -> None:
        if self._bar is not None:
            self._bar.tick()

    def close(self) -> None:
        """Remove the bar, however the training ended."""
        if self._bar is not None:
            self._bar.close()

    def show(self, event: events.TrainEvent) -> None:
        """Show an event. Raises OSError if nobody reads the output, or a disk is full."""
        # Messages of the library name fields; a user of the command line types flags.
        if isinstance(event, events.StartEvent):
            event = replace(event, notes=tuple(map(with_flags, event.notes)))
        elif isinstance(event, events.WarningEvent):
            event = replace(event, message=with_flags(event.message))

        if self.show_as_json:
            print_json(event.to_json())
            return
        match event:
            case events.PlanEvent():
                self._show_facts(PLANNED_FACTS, values=event.config | asdict(event))
            case events.StartEvent():
                self._show_start(event)
            case events.StepEvent():
                self._show_step(event)
            case events.ReplannedEvent():
                self._bar_of_steps.replan(event.step, num_steps=event.num_steps)
            case events.ValidatingEvent():
                self._bar_of_steps.show_status("validating ...")
            case events.EvaluationEvent():
                self._show_evaluation(event)
            case events.SampleEvent():
                self._show_sample(event)
            case events.WarningEvent():
                # A program that reads stderr finds a warning on one line.
                message = wrapped(f"warning: {event.message}")
                self._print(message, style="yellow", soft_wrap=True)
            case events.DoneEvent():
                self.close()
                self._show_done(event)
                print_path(event.run)

    @property
    def _bar_of_steps(self) -> "_StepBar":
        """The bar of a training that has started."""
        assert self._bar is not None, "the start event comes before all that need the bar"
        return self._bar

    def _show_start(self, event: events.StartEvent) -> None:
        self._start = event
        values = event.config | asdict(event)
        values["steps"] = counted(event.num_steps, "step")
        values["epochs"] = self._epochs(event.num_steps)
        values["processes"] = values["each"] = values["after"] = ""
        if event.config["learned_after"] is not None:
            values["after"] = f", of what follows {event.config['learned_after']!r}"
        if self._num_processes > 1:
            values["processes"] = f"processes: {self._num_processes}, "
            values["each"] = " each"
        self._show_facts(FACTS, values=values)

        # A budget counts from the first step, and the time as `charrnn runs` adds it up.
        if event.first_step:
            log = MetricsLog(Path(event.run) / "metrics.jsonl")
            self._seconds_before = log.seconds_at(event.first_step)
            done = counted(event.first_step, "step")
            left = counted(event.num_steps - event.first_step, "step")
            self._show_fact(
                "Resumed", f"after {done}, {self._seconds_before / 60:.1f} minutes; {left} left"
            )
        for note in event.notes:
            self._show_fact("Note", fact=note, style="yellow")
        self._print()
        self._bar = _StepBar(event, is_hidden=self._console.quiet or not can_animate())

    def _show_facts(self, names: Iterable[str], values: dict[str, Any]) -> None:
        """Print the facts of these names that were not printed before."""
        # How many characters of the text the alphabet has.
        num_known = values["vocab_size"]
        unit = "characters"
        if values["alphabet"] == "byte":
            unit = "bytes"
        elif values["alphabet"] == "char":
            num_known -= 1  # without the unknown symbol
        known = ""
        if num_known < values["num_distinct_chars"]:
            known = f", {num_known:,} in the alphabet"
        kinds = ""
        if values["kinds"]:
            kinds = f" ({values['kinds']})"

        words = values | {"unit": unit, "known": known, "kinds": kinds}
        for name in names:
            if name in self._facts:
                self._show_fact(name, self._facts.pop(name).format_map(words))

    def _show_fact(self, name: str, fact: str, style: str | None = None) -> None:
        """Print a name and a fact. Further lines of the fact begin below its first line; a word or
        path is not divided."""
        room = TextWrapper(
            max(40, self._console.width), f"{name:9} ", 10 * " ", break_long_words=False
        )
        room.break_on_hyphens = False
        self._print(room.fill(fact), style=style, soft_wrap=True)

    def _epochs(self, num_steps: int) -> str:
        """Return how often the training text is read in as many steps."""
        config = self._start.config
        num_chars = num_steps * config["batch_size"] * config["bptt_length"]
        epochs = num_chars / self._start.num_train_chars

        # With one digit, the first rows of a long run would all be 0.0.
        if epochs < 1:
            return f"{epochs:.2f}"
        return f"{epochs:.1f}"

    def _show_step(self, event: events.StepEvent) -> None:
        self._losses.append(event.train_nats)
        if self._rate == 0:
            self._rate = event.chars_per_second
        self._rate = (1 - MOVING_SHARE) * self._rate + MOVING_SHARE * event.chars_per_second

        recent = self._losses[-RECENT_STEPS:]
        status = f"{sum(recent) / len(recent):.3f} nats, {self._rate / 1000:.0f}k chars/s"
        self._bar_of_steps.move_to(event.step, status=status)

    def _show_evaluation(self, event: events.EvaluationEvent) -> None:
        minutes, seconds = divmod(round(self._seconds_before + event.seconds), 60)

        # The mean since the last validation, not since the start: it is to compare with `val`.
        train_nats = float("nan")
        if self._losses:
            train_nats = sum(self._losses) / len(self._losses)
        values = asdict(event) | {
            "epochs": self._epochs(event.step),
            "train_nats": train_nats,
            "rate": self._rate,
            "minutes": minutes,
            "seconds": seconds,
        }
        self._losses.clear()

        # In words, each value follows its name. In the table, the header is printed once, with the
        # first row, so that no sample comes between the two.
        cells = {name: form.format_map(values) for name, (_, form) in COLUMNS.items()}
        row = " ".join(cells[name].rjust(width) for name, (width, _) in COLUMNS.items())
        if prints_words():
            row = "; ".join(f"{name}: {cell}" for name, cell in cells.items())
        elif not self._has_header:
            self._has_header = True
            header = " ".join(name.rjust(width) for name, (width, _) in COLUMNS.items())
            self._print(header, style="bold")
        if event.is_best:
            row += BEST
        self._print(row, soft_wrap=True)

    def _show_sample(self, event: events.SampleEvent) -> None:
        self._print(f"--- sample at step {event.step:,}:", style="dim")
        if event.step < EARLY_SHARE * self._bar_of_steps.num_steps:
            line = " ".join(event.text.split())
            self._print(line, style="cyan", no_wrap=True, overflow="ellipsis")
            return

        lines = event.text.replace("\r\n", "\n").split("\n")
        self._print("\n".join(lines[:SAMPLE_LINES]), style="cyan", soft_wrap=True)
        self._print()

    def _show_done(self, event: events.DoneEvent) -> None:
        """Print the result, and the next commands."""
        # The newest run in checkpoints/ need not be named.
        run = shlex.quote(event.run)
        named_run = f" {run}"
        if Path(event.run).parent == Path("checkpoints"):
            run = shlex.quote(Path(event.run).name)
            named_run = ""

        # The next command has another standard input, which needs the text again.
        piped = text_option = ""
        if "-" in self._start.config["corpus"]:
            piped = "cat TEXT | "
            text_option = " --text FILE"
        if not event.is_complete:
            self._print(f"Stopped at step {event.step:,}; everything is saved. Continue with:")
            self._print_commands(f"{piped}charrnn train --resume {run}")
            return

        # The best loss and its step, which commands use. If the best step is not the last, a user
        # may wonder which step is used.
        done = f"Done: {counted(event.step, 'step')}."
        if event.best_nats is not None:
            loss = f"{event.best_nats:.4f} nats/character, at step {event.best_step:,}"
            after = self._start.config["learned_after"]
            if after is not None:
                loss = f"{loss}, of what follows {after!r}"
            done = f"{done} Best validation loss {loss}."
            # The loss of an earlier step was finite.
            if event.best_step != event.step:
                done = f"{done.removesuffix('.')},\nwhich every command uses."
        self._print(done)
        if self._start.first_step == event.step:
            self._print(
                "Nothing was left to train: give a larger --steps, --epochs or --minutes to"
                " continue.\nEach of them counts from the start of the run."
            )

        look = f"charrnn visualize{named_run}{text_option}"
        if self._start.config["hidden_size"] <= FEW_UNITS:
            look = f"charrnn predict{named_run} TEXT --numbers"
        self._print("Next:")
        self._print_commands(
            f"charrnn sample{named_run} --temp {SAMPLE_TEMPERATURE}",
            look,
            f"charrnn evaluate{named_run}{text_option}",
        )

        # A recipe holds every setting and seed.
        if event.recipe is not None:
            self._print("The same weights again, on this machine:")
            recipe = shlex.quote(event.recipe)
            self._print_commands(f"{piped}charrnn train --recipe {recipe}")

    def _print_commands(self, *commands: str) -> None:
        self._print("\n".join(f"  {command}" for command in commands), soft_wrap=True)

    def _print(self, text: str = "", **style: Any) -> None:
        # Of a text that a model writes, joiners stay; nothing controls the terminal.
        shown = printable(text, kept=IN_TEXT)
        # tqdm clears the bar before the output, and draws it again after it.
        with tqdm_class().external_write_mode():
            self._console.print(shown, **style)


class _StepBar:
    """The progress bar of the steps of a training.

    Its length is that of the first plan. What was left when a later plan was made is divided among
    the steps of that plan, so that the bar never goes back.
    """

    def __init__(self, start: events.StartEvent, *, is_hidden: bool):
        """Draw the bar of a training that starts, unless `is_hidden`."""
        self.num_steps = start.num_steps
        """Steps of the whole training, as planned last."""
        self._length = start.num_steps
        self._planned_at = start.first_step
        """The step after which they were planned."""
        self._position_then: float = start.first_step
        """Where the bar was then."""
        self._bar: Any = tqdm_class()(
            desc=f"{start.first_step}/{start.num_steps}",
            total=start.num_steps,
            initial=start.first_step,
            file=sys.stderr,
            disable=is_hidden,
            dynamic_ncols=True,
            bar_format=BAR_FORMAT,
            leave=False,
        )

    def move_to(self, step: int, *, status: str) -> None:
        """Show that a step was taken, with `status` beside the bar, when it is drawn next."""
        self._bar.set_description_str(f"{step}/{self.num_steps}", refresh=False)
        self._bar.update(self._position(step) - self._bar.n)
        self._bar.set_postfix_str(status, refresh=False)

    def replan(self, step: int, *, num_steps: int) -> None:
        """Go on from where the bar is after `step`, to the end of a new plan."""
        self._position_then = self._position(step)
        self._planned_at = step
        self.num_steps = num_steps

    def show_status(self, status: str) -> None:
        """Draw the bar now, with `status` beside it."""
        self._bar.set_postfix_str(status)

    def tick(self) -> None:
        """Draw the bar now, so that its clock goes on."""
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def _position(self, step: int) -> float:
        """Return where the bar is after a step."""
        share = (step - self._planned_at) / max(1, self.num_steps - self._planned_at)
        return self._position_then + share * (self._length - self._position_then)
