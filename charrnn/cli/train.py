"""charrnn train: train a model, or resume a run."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.root import Invocation
from charrnn.cli.streams import print_json, result_console
from charrnn.cli.training_view import TrainingView
from charrnn.config import MACHINE, Config, check_field_name, parse_value
from charrnn.errors import UsageError, named
from charrnn.options import Option, options_of
from charrnn.settings import merge_settings, read_recipe
from charrnn.training.process_group import launched_process, process_support

SETTINGS = "All settings"
"""Panel of the options that set any field."""
FIELD_OPTIONS = tuple(
    option if option.kind is bool else replace(option, kind=str, repeatable=False) for option in options_of(Config)
)
"""The options that set a field of the configuration; each value but that of a flag is a text."""
RECIPE = Option(
    "--recipe", "Other defaults: classic (the shape of char-rnn), tiny (15 seconds), or a .yaml file.", "NAME", SETTINGS
)
SET = Option(
    "--set",
    "Set any field, e.g. learning_rate=4e-3 (repeatable).",
    "FIELD=VALUE",
    SETTINGS,
    name="set_",
    repeatable=True,
)
SETTING_OPTIONS = (*FIELD_OPTIONS, RECIPE, SET)
"""The options about the settings of a run."""
OPTIONS = (
    *SETTING_OPTIONS,
    Option("--processes", "Train in N processes of this machine, as torchrun starts them.", "N", MACHINE),
    Option("--out", "Save the run in this new folder instead of one in checkpoints/.", "DIR", kind=Path),
    Option("--resume", "Continue the named run, or else the newest, exactly where it stopped.", kind=bool),
    Option("--show-config", "Print every setting and its source; do not train.", panel=SETTINGS, kind=bool),
)
"""The options of the command: those of the settings, which `sweep` has, too, and its own."""


def train(
    context: typer.Context,
    corpus: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CORPUS",
            help="Files, folders, globs, .gz, - for stdin, or catalogue names (see `charrnn corpora`). "
            "Default: the standard library's own Python source. With --resume: the run.",
        ),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
    *,
    values: Mapping[str, Any],
) -> int:
    """Train a model on a text.

    The run is saved in checkpoints/ while it trains. Ctrl-C saves it and stops; `charrnn train --resume` continues it.
    `kill -USR1` saves without stopping.
    The run's folder is printed on stdout, everything else on stderr.
    """
    processes, out = values["--processes"], values["--out"]
    num_processes = 1 if processes is None else process_support().check_number(processes)
    launched = launched_process()
    for option in FIELD_OPTIONS:
        if isinstance(values[option.flag], str) and not values[option.flag].strip():  # of an unset shell variable
            raise UsageError(f"{named(option.parameter)} is empty: give a value, or leave it out.")
    flags = parse_settings(values, _parse_setting, example="learning_rate=4e-3")
    invocation: Invocation = context.obj
    view = TrainingView(invocation.signals, show_as_json=json, quiet=quiet, launched=launched)
    corpus = corpus or []
    begin: Callable[[], int]
    if values["--resume"]:
        if len(corpus) > 1:
            raise UsageError(f"--resume takes one run, not {len(corpus)}: charrnn train --resume RUN")
        sources: tuple[str, ...] = ()
        begin = partial(_resume, view, corpus[0] if corpus else None, flags)
    else:
        config, origins = configure(corpus, flags, values[RECIPE.flag])
        if values["--show-config"]:
            _print_config(config, origins, show_as_json=json)
            return 0
        sources = config.corpus
        begin = partial(_start, view, config, out)
    if num_processes > 1:
        launch = process_support().launch
        return launch(num_processes, invocation.arguments, invocation.signals, corpus=sources, is_debugging=debug)
    return launched.train(begin)


train.further_options = lambda: OPTIONS  # type: ignore[attr-defined]


def parse_settings(values: Mapping[str, Any], parse: Callable[[str, str], Any], *, example: str) -> dict[str, Any]:
    """Return the fields that options and --set assign, each parsed by `parse` from its name and its text.

    `values` has the options by flag. Raises UsageError that names the field or the --set at fault; `example` is an
    assignment for a message.
    """
    words = {True: "true", False: None}
    texts = {option.parameter: values.get(option.flag) for option in FIELD_OPTIONS}
    texts = {name: words[value] if isinstance(value, bool) else value for name, value in texts.items()}
    parsed = {name: parse(name, text) for name, text in texts.items() if text is not None}
    for assignment in values[SET.flag] or ():
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment}: write it as field=value, e.g. --set {example}.")
        try:
            field = check_field_name(name.strip())
            parsed[field] = parse(field, text)
        except UsageError as error:
            raise UsageError(f"--set {assignment}: {error.marked}") from None
    return parsed


def _parse_setting(name: str, text: str) -> Any:
    """Parse the value of a field. Raises UsageError that names the field, also for one out of its range."""
    value = parse_value(name, text)
    Config(**{name: value})
    return value


def configure(corpus: Sequence[str], flags: dict[str, Any], recipe: str | None) -> tuple[Config, dict[str, str]]:
    """Return the settings of a command line, of a recipe and of the environment, and where each comes from."""
    if corpus:
        flags["corpus"] = tuple(corpus)
    file = read_recipe(recipe) if recipe is not None else None
    return merge_settings(flags=flags, file=file, file_name=recipe or "", environment=os.environ)


def _print_config(config: Config, origins: dict[str, str], *, show_as_json: bool) -> None:
    from charrnn.views.tables import settings_table

    values = asdict(config)
    if show_as_json:
        print_json({name: {"value": value, "from": origins[name]} for name, value in values.items()})
    else:
        result_console().print(settings_table(values, origins))


def _start(view: TrainingView, config: Config, out: Path | None) -> int:
    """Train a new run; return the exit code."""
    from charrnn.runs.writer import clear_unsaved

    if out is not None and view.is_first:
        clear_unsaved(out)  # Before torch is imported, which takes seconds: an error should appear at once.
    view.announce("Reading the text and measuring the machine ...")
    from charrnn.training import loop  # Imports torch, too.

    events = loop.train(config, out=out, should_stop=view.is_stop_asked, should_save=view.signals.pop_save_request)
    return view.show(events)


def _resume(view: TrainingView, run: str | None, changes: dict[str, Any]) -> int:
    """Continue a run; return the exit code."""
    from charrnn.runs.locate import open_run
    from charrnn.runs.writer import lock_folder

    if view.is_first:
        with lock_folder(open_run(run).path):
            pass  # An error about a run in use should appear at once, too.
    view.announce("Reading the text and the checkpoint ...")
    from charrnn.training import loop

    events = loop.resume(run, changes, should_stop=view.is_stop_asked, should_save=view.signals.pop_save_request)
    return view.show(events)
