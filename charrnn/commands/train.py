"""charrnn train: train a model, or resume a run.

The training sends events, and the view (`training_view`) shows them.
"""

import os
import signal
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from charrnn.cli.arguments import parse_text
from charrnn.cli.command_options import CommandOptions
from charrnn.cli.streams import discard_output, print_json, printable, result_console
from charrnn.commands.training_view import TrainingView
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
from charrnn.distributed.group import launched
from charrnn.errors import UsageError, named
from charrnn.system.process import load_torch, warn_before_kill
from charrnn.system.progress import tell, using, warn
from charrnn.system.signals import READER_GONE, Signals, interrupts_left_to_pager
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

    # A run that is continued has its settings.
    signals: Signals = context.obj
    view = TrainingView(launched(), show_as_json=options.json, quiet=options.quiet)
    signals.is_quiet = view.is_quiet
    if options.resume:
        changes = _changes_of_resumed(changes)
        run = _run_to_resume(options.corpus, changes=changes)
        return _resume(run, changes=changes, view=view, signals=signals)

    # A new run gets them here. Who only wants to see them, or the text, trains nothing.
    config, origins = configure(options.corpus, flags=changes, recipe=options.recipe)
    if options.show_config:
        _show_settings(config, origins=origins, show_as_json=options.json)
        return 0
    if options.show_text:
        _show_text(config)
        return 0

    # Errors appear before torch is imported, which takes seconds.
    from charrnn.runs.writer import clear_unsaved

    if options.out is not None and view.is_first:
        clear_unsaved(options.out)
    view.show_wait("Reading the text and measuring the machine ...")
    load_torch()
    from charrnn.training import loop

    # Train.
    stream = loop.train(
        config,
        asked=[name for name, origin in origins.items() if origin != "default"],
        out=options.out,
        should_stop=signals.is_stop_asked,
        should_save=signals.pop_save_request,
    )
    return _follow(stream, view=view, signals=signals)


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


def _resume(
    run: str | None, *, changes: dict[str, object], view: TrainingView, signals: Signals
) -> int:
    """Continue a run; return the exit code."""
    from charrnn.runs.reader import choose_run
    from charrnn.runs.writer import lock_folder

    # The first Ctrl-C waits until the new budget is recorded, so that `--resume` alone continues
    # with it.
    signals.defers = bool(changes)

    # An error about a run in use should appear at once, too: the lock is tried, not kept.
    if view.is_first:
        with lock_folder(choose_run(run).path):
            pass

    view.show_wait("Reading the text and the checkpoint ...")
    load_torch()
    from charrnn.training import loop

    stream = loop.resume(
        run,
        changes=changes,
        should_stop=signals.is_stop_asked,
        should_save=signals.pop_save_request,
    )
    return _follow(stream, view=view, signals=signals)


def _follow(
    stream: Generator[events.TrainEvent, None, None], *, view: TrainingView, signals: Signals
) -> int:
    """Show the events of a training until its end; return the exit code: 0, or 128 + the signal
    that ended it, with everything saved."""
    failure: OSError | None = None
    is_complete = True
    is_shown = view.is_first

    # Closed explicitly, so that a second Ctrl-C at any point unlocks the run and removes temporary
    # files.
    with ExitStack() as stack, closing(stream):
        stack.callback(view.close)
        for event in stream:
            # While it is planned, the run does not exist yet: there is nothing to save, and Ctrl-C
            # ends the command. From the first event of the run on, Ctrl-C only sets `number`: the
            # session saves and ends.
            if not isinstance(event, events.PlanEvent):
                signals.defers = True
            if isinstance(event, events.StartEvent):
                # The text is read; training has a bar of its own.
                stack.enter_context(using(view.progress()))
            elif isinstance(event, events.DoneEvent):
                is_complete = event.is_complete
            try:
                if is_shown:
                    view.show(event)
            except OSError as error:
                if not signals.defers:
                    raise
                # The reader is gone. Save and stop, as at a signal, instead of losing the training.
                if not isinstance(error, BrokenPipeError) and not signals.number:
                    failure = error  # A full disk; a closed terminal sends SIGHUP.
                signals.number = signals.number or READER_GONE
                is_shown = False
                discard_output()

    # The error is raised only now that everything is saved and the run is unlocked.
    if failure is not None:
        raise failure
    # The signal may have reached another process only.
    return 0 if is_complete else 128 + (signals.number or signal.SIGTERM)


def _show_settings(config: Config, origins: Mapping[str, str], *, show_as_json: bool) -> None:
    """Print every setting of a configuration, and where it comes from."""
    settings = asdict(config)
    if show_as_json:
        print_json(
            {name: {"value": value, "from": origins[name]} for name, value in settings.items()}
        )
        return
    from charrnn.views.tables import settings_table

    result_console().print(settings_table(settings, origins))


def _show_text(config: Config) -> None:
    """Print the text of a configuration as it would be read, with the name of the file before each
    part: to a pipe all of it, to a terminal through a pager."""
    from pydoc import getpager, plainpager, ttypager

    from charrnn.text.corpus import read_corpus

    corpus = read_corpus(config, is_for_training=False)
    corpus.source_text.check_parting()
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
    for file, line in corpus.source_text.lines():
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
