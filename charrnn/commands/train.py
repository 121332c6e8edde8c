"""charrnn train: train a model, or resume a run.

Training is shown as the plan, a progress bar, one row per validation, samples, and the next
commands.
"""

import os
import shlex
import signal
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Any

import typer

from charrnn.cli.arguments import parse_text
from charrnn.cli.command_options import CommandOptions
from charrnn.cli.progress_bars import tqdm_class
from charrnn.cli.streams import (
    IN_TEXT,
    can_animate,
    discard_output,
    print_json,
    print_path,
    printable,
    result_console,
    with_flags,
    wrapped,
)
from charrnn.config.architectures import CELL_DESCRIPTIONS
from charrnn.config.options import argument, option, option_texts
from charrnn.config.settings import BUDGETS, CHANGEABLE, Config, check_field_name, parse_value
from charrnn.config.settings_file import (
    MergedSettings,
    merge_settings,
    naming_source,
    read_recipe,
    settings_in,
    unknown_variables,
    variable_of,
)
from charrnn.distributed.group import ProcessGroup, launched
from charrnn.errors import UsageError, counted, named
from charrnn.generation.sample_options import SAMPLE_TEMPERATURE
from charrnn.runs.logs import MetricsLog
from charrnn.system.process import load_torch, warn_before_kill
from charrnn.system.progress import Progress, current, tell, using, warn
from charrnn.system.signals import READER_GONE, Signals, interrupts_left_to_pager
from charrnn.system.words import prints_words
from charrnn.text.sources import catalogued_settings
from charrnn.training import events

if TYPE_CHECKING:
    from charrnn.text.corpus import Corpus

SETTINGS = "All settings"
"""Panel of the options that set any field."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(CommandOptions):
    """The options of `charrnn train`."""

    corpus: Sequence[str] = argument(
        "[CORPUS]...",
        help="Files, folders, - for stdin, or names of `charrnn corpora`.",
        default=(),
        shown_default="Python's own library",
    )
    settings: Mapping[str, str] = option_texts(Config)
    """The typed text of each field of the configuration."""
    recipe: str | None = option(
        None,
        flags="--recipe NAME",
        help="Named settings: hello, tiny, classic, vanishing, a .yaml.",
        panel=SETTINGS,
    )
    assignments: Sequence[str] = option(
        (),
        flags="--set FIELD=VALUE",
        help="Any setting: learning_rate=4e-3 (repeatable).",
        panel=SETTINGS,
    )
    out: Path | None = option(
        None,
        flags="--out DIR",
        help="The new folder.",
        shown_default="one in checkpoints/",
    )
    resume: bool = option(
        False,
        flags="--resume",
        help="Continue the run CORPUS, or the newest unfinished one.",
    )
    show_text: bool = option(
        False,
        flags="--show-text",
        help="Print the text as it would be read; do not train.",
        panel=SETTINGS,
    )
    show_config: bool = option(
        False,
        flags="--show-config",
        help="Print every setting and its source; do not train.",
        panel=SETTINGS,
    )


def epilog() -> str:
    """Return the text below the help: the names of all cell types."""
    return f"Cell types: auto, {', '.join(CELL_DESCRIPTIONS)}, or one of an installed package."


def train(context: typer.Context, options: TrainOptions) -> int:
    """Train a model on a text.

    \b
    Examples:
      charrnn train book.txt
      charrnn train names.txt --documents lines --minutes 10
      charrnn train book-001 --resume --minutes 10

    The run is saved in checkpoints/ while it trains; its folder is printed on stdout. Ctrl-C saves
    it and stops. With --resume, the name of a run takes the place of CORPUS, and a new --minutes,
    --epochs or --steps counts from the start of the run.
    """
    warn_before_kill()

    # Parse the command line first, so that an error in it appears before anything slow.
    changes = parse_settings(options)
    warn(*unknown_variables(os.environ))

    # This recipe trains several networks and shows them in its own way.
    if options.recipe == "vanishing" and not options.show_config:
        if options.corpus:
            changes["corpus"] = tuple(options.corpus)
        # Imported here: it imports what no other training needs.
        from charrnn.commands.train_vanishing import train_vanishing

        context.obj.is_quiet = options.quiet
        return train_vanishing(
            changes, out=options.out, show_as_json=options.json, signals=context.obj
        )

    # Find out what to train: a run that is continued has its settings, a new run gets them here.
    view = TrainingView(
        context.obj, show_as_json=options.json, quiet=options.quiet, launched=launched()
    )
    if options.resume:
        changes = _changes_of_resumed(changes)
        return _resume(view, run=_run_to_resume(options.corpus, changes=changes), changes=changes)
    config, origins = configure(options.corpus, flags=changes, recipe=options.recipe)
    if options.show_config:
        settings = asdict(config)
        if options.json:
            sources = {
                name: {"value": value, "from": origins[name]} for name, value in settings.items()
            }
            print_json(sources)
        else:
            from charrnn.views.tables import settings_table

            result_console().print(settings_table(settings, origins))
        return 0
    if options.show_text:
        _show_text(config)
        return 0
    from charrnn.runs.writer import clear_unsaved

    # Errors appear before torch is imported, which takes seconds.
    if options.out is not None and view.is_first:
        clear_unsaved(options.out)
    view.load_torch("Reading the text and measuring the machine ...")
    from charrnn.training import loop

    stream = loop.train(
        config,
        asked=[name for name, origin in origins.items() if origin != "default"],
        out=options.out,
        should_stop=view.is_stop_asked,
        should_save=view.signals.pop_save_request,
    )
    return view.show(stream)


def _changes_of_resumed(flags: dict[str, object]) -> dict[str, object]:
    """Return the new settings of a run that is resumed: those of the command line, and those of the
    environment, which count as there.

    Raises UsageError, which names the variable, for one that cannot be changed.
    """
    typed = settings_in(_environment())
    # A budget of the command line replaces one of any kind.
    if any(budget in flags for budget in BUDGETS):
        for budget in BUDGETS:
            typed.pop(budget, None)

    changes: dict[str, object] = {}
    for name, text in typed.items():
        if name in flags:
            continue
        if name not in CHANGEABLE:
            variable = variable_of(name)
            raise UsageError(
                f"{variable}: {named('resume')} cannot change {named(name)}, because the saved"
                f" weights depend on it. Type it without the variable: env -u {variable} charrnn …"
            )
        with naming_source("environment", name):
            changes[name] = parse_value(name, text)
    return changes | flags


def _environment() -> dict[str, str]:
    """Return the environment, in which the characters of `learned_after` are typed as on the
    command line."""
    environment = dict(os.environ)
    variable = variable_of("learned_after")
    if variable in environment:
        environment[variable] = parse_text(variable, environment[variable])
    return environment


def _run_to_resume(names: Sequence[str], changes: Mapping[str, object]) -> str | None:
    """Return the one run that is named, or the newest that is not finished; None for the newest,
    which a new budget continues."""
    if len(names) > 1:
        raise UsageError(
            f"--resume takes one run, not {len(names)}, and trains on its own text. To go on with"
            f" another text: charrnn train TEXT --init-from RUN --out NAME"
        )
    if names or set(BUDGETS).intersection(changes):
        return next(iter(names), None)
    from charrnn.runs.reader import newest_unfinished

    return newest_unfinished()


def _parse(name: str, typed: str) -> object:
    """Return the value of a field."""
    if name == "learned_after":
        typed = parse_text(named(name), typed)
    return parse_value(name, typed)


def parse_settings(options: TrainOptions) -> dict[str, object]:
    """Return the fields that options and --set assign.

    Raises UsageError that names the field or the --set at fault, as one of a field that has its
    value already.
    """
    parsed = {name: _parse(name, text) for name, text in options.settings.items()}

    for assignment in options.assignments:
        name, equals, text = assignment.partition("=")
        try:
            if not equals:
                raise UsageError("write it as field=value, e.g. --set learning_rate=4e-3.")
            field = check_field_name(name.strip())
            if field in parsed:
                raise UsageError(f"{named(field)} is given twice. Leave one of them out.")
            parsed[field] = _parse(field, text)
        except UsageError as error:
            raise UsageError(f"--set {assignment}: {error}") from None
    return parsed


def configure(
    corpus: Sequence[str], flags: dict[str, object], recipe: str | None
) -> MergedSettings:
    """Return the settings of a command line, of a recipe, of the environment and of the catalogue,
    and where each comes from."""
    if corpus:
        flags["corpus"] = tuple(corpus)
    file = None
    if recipe is not None:
        file = read_recipe(recipe)
    merge = partial(
        merge_settings, flags=flags, file=file, file_name=recipe or "", environment=_environment()
    )
    config, origins = merge()

    # A text of the catalogue is known only now: a recipe or the environment may name it.
    catalogue = catalogued_settings(config.corpus)
    if config.alphabet == "byte":
        catalogue.pop("encoding", None)
    if catalogue:
        return merge(catalogue=catalogue)
    return MergedSettings(config, origins)


def _resume(view: "TrainingView", run: str | None, changes: dict[str, object]) -> int:
    """Continue a run; return the exit code."""
    from charrnn.runs.reader import choose_run
    from charrnn.runs.writer import lock_folder

    # The first Ctrl-C waits until the new budget is recorded, so that `--resume` alone continues
    # with it.
    view.signals.defers = bool(changes)

    # An error about a run in use should appear at once, too: the lock is tried, not kept.
    if view.is_first:
        with lock_folder(choose_run(run).path):
            pass

    view.load_torch("Reading the text and the checkpoint ...")
    from charrnn.training import loop

    stream = loop.resume(
        run,
        changes=changes,
        should_stop=view.is_stop_asked,
        should_save=view.signals.pop_save_request,
    )
    return view.show(stream)


def _show_text(config: Config) -> None:
    """Print the text of a configuration as it would be read, with the name of the file before each
    part: to a pipe all of it, to a terminal through a pager."""
    from pydoc import getpager, plainpager, ttypager

    from charrnn.text.corpus import read_corpus

    corpus = read_corpus(config, is_for_training=False)
    corpus.reader.check_parting()
    parts = _shown_parts(corpus)
    if sys.stdout.isatty():
        # Without a program that pages, Python does it, and Ctrl-C ends it as any command.
        show = getpager()
        with nullcontext() if show in (plainpager, ttypager) else interrupts_left_to_pager():
            show("".join(map(printable, parts)))
    else:
        sys.stdout.writelines(parts)
    tell(*corpus.notes)


def _shown_parts(corpus: "Corpus") -> Iterator[str]:
    """Yield a line with the name of each file, and the lines that are read of it. The end of a
    document is a line end."""
    from charrnn.text.documents import END

    shown = None
    ends_line = True
    for file, line in corpus.reader.lines():
        if file is not shown:
            # Where a file does not end its last line, the next one begins with a line end.
            if not ends_line:
                yield "\n"
            shown = file
            yield f"--- {file.name}\n"
            if not ends_line and line.content == "\n":
                ends_line = True
                continue
        content = line.content.replace(END, "\n").encode("utf-8", "replace").decode()
        ends_line = content.endswith("\n")
        yield content
    if not ends_line:
        yield "\n"


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
"""The progress bar, in the format of tqdm. Its length is that of the first plan, and what was left
when a later plan was made is divided among the steps of that plan, so that it never goes back; the
steps are its description."""
SAMPLE_LINES = 8
"""Lines of a sample that are shown."""
FEW_UNITS = 16
"""For a network of so few units per layer, the suggested command shows its numbers."""
EARLY_SHARE = 0.2
"""Samples of steps in this first share of the run are shown as one line: they teach little, and
push the header away."""
VALIDATING = "validating ..."
"""The text of the bar while the validation text is read."""


class TrainingView:
    """Shows training events on stderr, or as JSON Lines on stdout; passes the requests of signals
    on to the training."""

    def __init__(
        self, signals: Signals, *, show_as_json: bool, quiet: bool, launched: ProcessGroup
    ):
        """Show events; `launched` is this process among several, of which only the first shows
        anything."""
        self.signals = signals
        self.show_as_json = show_as_json
        self.is_first = launched.is_first
        """Whether this process shows anything."""
        self._num_processes = launched.size
        signals.is_quiet = quiet or not self.is_first
        self._console: Any = result_console(stderr=True)
        self._console.quiet = signals.is_quiet or show_as_json
        self._bar: Any = None
        self._start: events.StartEvent
        """The first event of the steps, which comes before all that need it."""
        self._seconds_before = 0.0
        self._losses: list[float] = []
        self._rate = 0.0
        self._has_header = False
        self._facts = dict(FACTS)
        """The facts that are not shown yet."""
        self._num_steps = 0
        """Steps of the whole training, as planned last."""
        self._replanned: tuple[int, float] = (0, 0.0)
        """The step after which they were planned, and where the bar was then."""

    def load_torch(self, message: str) -> None:
        """Import torch, which takes seconds; say so before, if stderr is a terminal."""
        if self._console.is_terminal:
            self._console.print(message, style="dim")
        load_torch()

    def is_stop_asked(self) -> bool:
        """Return whether training should stop: a signal asked for it, or nobody reads the
        output."""
        # Long work asks from time to time: the bar's clock goes on.
        if getattr(self._bar, "postfix", None) == VALIDATING:
            self._bar.refresh()
        return self.signals.number != 0

    def show(self, stream: Generator[events.TrainEvent, None, None]) -> int:
        """Show all events; return the exit code: 0, or 128 + the signal that ended training, with
        everything saved."""
        failure: OSError | None = None
        is_complete = True
        is_shown = self.is_first

        # Closed explicitly, so that a second Ctrl-C at any point unlocks the run and removes
        # temporary files.
        with ExitStack() as stack, closing(stream):
            stack.callback(self._close_bar)
            for event in stream:
                # While it is planned, the run does not exist yet: there is nothing to save, and
                # Ctrl-C ends the command. From the first event of the run on, Ctrl-C only sets
                # `number`: the session saves and ends.
                if not isinstance(event, events.PlanEvent):
                    self.signals.defers = True
                if isinstance(event, events.StartEvent):
                    # The text is read; training has a bar of its own.
                    stack.enter_context(using(Progress(on_warning=current().warn)))
                elif isinstance(event, events.DoneEvent):
                    is_complete = event.is_complete
                try:
                    if is_shown:
                        self._draw(event)
                except OSError as error:
                    if not self.signals.defers:
                        raise
                    # The reader is gone. Save and stop, as at a signal, instead of losing the
                    # training.
                    if not isinstance(error, BrokenPipeError) and not self.signals.number:
                        failure = error  # A full disk; a closed terminal sends SIGHUP.
                    self.signals.number = self.signals.number or READER_GONE
                    is_shown = False
                    discard_output()

        # The error is raised only now that everything is saved and the run is unlocked.
        if failure is not None:
            raise failure
        # The signal may have reached another process only.
        return 0 if is_complete else 128 + (self.signals.number or signal.SIGTERM)

    def _draw(self, event: events.TrainEvent) -> None:
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
                self._show_replanned(event)
            case events.EvaluationEvent():
                self._show_evaluation(event)
            case events.SampleEvent():
                self._show_sample(event)
            case events.WarningEvent():
                # A program that reads stderr finds a warning on one line.
                message = wrapped(f"warning: {event.message}")
                self._print(message, style="yellow", soft_wrap=True)
            case events.DoneEvent():
                self._close_bar()
                self._show_done(event)
                print_path(event.run)

    def _print(self, text: str = "", **style: Any) -> None:
        # Of a text that a model writes, joiners stay; nothing controls the terminal.
        shown = printable(text, kept=IN_TEXT)
        # tqdm clears the bar before the output, and draws it again after it.
        with tqdm_class().external_write_mode():
            self._console.print(shown, **style)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()

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
        self._num_steps = event.num_steps
        self._replanned = (event.first_step, event.first_step)
        self._bar = tqdm_class()(
            desc=f"{event.first_step}/{event.num_steps}",
            total=event.num_steps,
            initial=event.first_step,
            file=sys.stderr,
            disable=self._console.quiet or not can_animate(),
            dynamic_ncols=True,
            bar_format=BAR_FORMAT,
            leave=False,
        )

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

        # A moving average: the rate of a single step jumps too much to be read.
        if self._rate == 0:
            self._rate = event.chars_per_second
        self._rate = 0.95 * self._rate + 0.05 * event.chars_per_second

        # If the next event is a validation, the bar says so before it begins.
        recent = self._losses[-20:]
        status = f"{sum(recent) / len(recent):.3f} nats, {self._rate / 1000:.0f}k chars/s"
        every = self._start.config["evaluate_every"]
        if event.step == self._num_steps or event.step % every == 0:
            status = VALIDATING
        self._bar.set_description_str(f"{event.step}/{self._num_steps}", refresh=False)
        self._bar.update(self._bar_position(event.step) - self._bar.n)
        self._bar.set_postfix_str(status, refresh=status == VALIDATING)

    def _bar_position(self, step: int) -> float:
        """Return where the bar is after a step."""
        begin, position = self._replanned
        share = (step - begin) / max(1, self._num_steps - begin)
        return position + share * (self._start.num_steps - position)

    def _show_replanned(self, event: events.ReplannedEvent) -> None:
        self._replanned = (event.step, self._bar_position(event.step))
        self._num_steps = event.num_steps
        if event.num_steps == event.step:
            self._bar.set_postfix_str(VALIDATING)

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
        if event.step < EARLY_SHARE * self._num_steps:
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
