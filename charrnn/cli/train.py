"""charrnn train: train a model, or resume a run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import print_waiting_notice
from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.progress import download_bar, reading_bar
from charrnn.cli.root import Invocation
from charrnn.cli.streams import print_json, result_console
from charrnn.cli.training_options import (
    FOLDER,
    MACHINE,
    SETTINGS,
    AlphabetOption,
    CellOption,
    ColumnOption,
    DepthOption,
    DeviceOption,
    DocumentsOption,
    DropoutOption,
    EmbeddingSizeOption,
    EncodingOption,
    EpochsOption,
    EvaluateEveryOption,
    ExtendAlphabetOption,
    HiddenSizeOption,
    InitFromOption,
    KeepOption,
    LayersOption,
    LogOption,
    MinutesOption,
    OptimizerOption,
    OrderOption,
    ParametersOption,
    PrecisionOption,
    RecipeOption,
    SaveEveryOption,
    SeedOption,
    SetOption,
    SplitOption,
    StepsOption,
    given_fields,
    setting_option,
)
from charrnn.cli.training_view import TrainingView
from charrnn.extensions import PackageFunction, find_function
from charrnn.training.process_group import launched_process, process_support

if TYPE_CHECKING:
    from collections.abc import Generator

    from charrnn.config import Config
    from charrnn.training.events import TrainEvent


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
    minutes: MinutesOption = None,
    epochs: EpochsOption = None,
    steps: StepsOption = None,
    cell: CellOption = None,
    layers: LayersOption = None,
    depth: DepthOption = None,
    hidden_size: HiddenSizeOption = None,
    parameters: ParametersOption = None,
    embedding_size: EmbeddingSizeOption = None,
    optimizer: OptimizerOption = None,
    dropout: DropoutOption = None,
    alphabet: AlphabetOption = None,
    encoding: EncodingOption = None,
    documents: DocumentsOption = None,
    column: ColumnOption = None,
    split: SplitOption = None,
    order: OrderOption = None,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    processes: Annotated[
        str | None,
        setting_option(
            "--processes",
            text="Train in N processes of this machine, as torchrun starts them.",
            panel=MACHINE,
            metavar="N",
        ),
    ] = None,
    sync_every: Annotated[
        str | None,
        setting_option(
            "--sync-every",
            text="For slow networks: processes agree on the weights every K steps, not on every gradient.",
            panel=MACHINE,
            metavar="K",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Save the run in this new folder instead of one in checkpoints/.",
            rich_help_panel=FOLDER,
            metavar="DIR",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the named run, or else the newest, exactly where it stopped.",
            rich_help_panel=FOLDER,
        ),
    ] = False,
    init_from: InitFromOption = None,
    extend_alphabet: ExtendAlphabetOption = False,
    save_every: SaveEveryOption = None,
    evaluate_every: EvaluateEveryOption = None,
    keep: KeepOption = None,
    log: LogOption = None,
    show_config: Annotated[
        bool,
        typer.Option(
            "--show-config", help="Print every setting and its source; do not train.", rich_help_panel=SETTINGS
        ),
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Train a model on a text.

    The run is saved in checkpoints/ while it trains. Ctrl-C saves it and stops; `charrnn train --resume` continues it.
    `kill -USR1` saves without stopping.
    The run's folder is printed on stdout, everything else on stderr.
    """
    from charrnn.errors import UsageError

    num_processes = 1 if processes is None else process_support().check_number(processes)
    launched = launched_process()
    fields = given_fields(context.params) | ({} if sync_every is None else {"sync_every": sync_every})
    flags = _parse_flags(fields, set_ or [])
    invocation: Invocation = context.obj
    view = TrainingView(invocation.signals, show_as_json=json, quiet=quiet, launched=launched)
    if resume:
        if recipe is not None or out is not None or show_config:
            raise UsageError("--resume continues a run as it is: leave out --recipe, --out and --show-config.")
        if len(corpus or []) > 1:
            raise UsageError(f"--resume takes one run, not {len(corpus or [])}: charrnn train --resume RUN")
        config, run = None, corpus[0] if corpus else None

        def begin(folder: Path | None) -> int:
            return _resume(run, flags, view, trackers=log or (), quiet=quiet)

    else:
        config, origins = _configure(corpus or [], flags, recipe)
        if show_config:
            _print_config(config, origins, show_as_json=json)
            return 0

        def begin(folder: Path | None) -> int:
            return _start(config, view, out=folder or out, trackers=log or (), quiet=quiet)

    if num_processes > 1:
        launch, sources = process_support().launch, () if config is None else config.corpus
        return launch(num_processes, invocation.arguments, invocation.signals, corpus=sources, is_debugging=debug)

    def continue_run(folder: Path) -> int:
        return _resume(str(folder), {}, view, trackers=log or (), quiet=quiet)

    return launched.train(begin, continue_run)


def _parse_flags(fields: Mapping[str, str], assignments: list[str]) -> dict[str, Any]:
    """Parse field values from flags and `--set field=value`. Raises UsageError that names the field."""
    from charrnn.config import Config, check_field_name, parse_value
    from charrnn.errors import UsageError, named

    flags: dict[str, Any] = {}
    for name, value in fields.items():
        if not value.strip():  # of a shell variable that is not set
            raise UsageError(f"{named(name)} is empty: give a value, or leave it out.")
        flags[name] = parse_value(name, value)
        Config(**{name: flags[name]})  # Checks the range.
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment}: write it as field=value, e.g. --set learning_rate=4e-3.")
        try:
            flags[check_field_name(name.strip())] = parse_value(name.strip(), value)
            Config(**{name.strip(): flags[name.strip()]})
        except UsageError as error:
            raise UsageError(f"--set {assignment}: {error.marked}") from None
    return flags


def _configure(corpus: list[str], flags: dict[str, Any], recipe: str | None) -> "tuple[Config, dict[str, str]]":
    from charrnn.settings import merge_settings, read_recipe

    if corpus:
        flags["corpus"] = tuple(corpus)
    file = read_recipe(recipe) if recipe is not None else None
    return merge_settings(flags=flags, file=file, file_name=recipe or "", environment=os.environ)


def _print_config(config: "Config", origins: dict[str, str], *, show_as_json: bool) -> None:
    from dataclasses import asdict

    from charrnn.views.tables import settings_table

    values = asdict(config)
    if show_as_json:
        print_json({name: {"value": value, "from": origins[name]} for name, value in values.items()})
    else:
        result_console().print(settings_table(values, origins))


def _start(config: "Config", view: TrainingView, *, out: Path | None, trackers: Sequence[str], quiet: bool) -> int:
    from charrnn.runs.writer import clear_unsaved

    if out is not None and view.is_first:
        clear_unsaved(out)  # Before torch is imported, which takes seconds: an error should appear at once.
    from charrnn.training import loop

    view.announce("Reading the text and measuring the machine ...")
    for source in config.corpus:
        print_waiting_notice(source, quiet=quiet)
    events = loop.train(
        config,
        out=out,
        should_stop=view.is_stop_asked,
        should_save=view.is_save_asked,
        on_download=download_bar(quiet=quiet),
        on_reading=reading_bar(quiet=quiet),
    )
    return view.show(_tracked(events, trackers, view))


def _tracked(
    events: "Generator[TrainEvent, None, None]", trackers: Sequence[str], view: TrainingView
) -> "Generator[TrainEvent, None, None]":
    """Send the events to the trackers of --log, in the first of several processes."""
    if not trackers or not view.is_first:
        return events
    from charrnn.errors import UsageError

    if (tracked := find_function(PackageFunction, "tracked")) is None:
        raise UsageError("--log needs the package charrnn.scale, which is not installed.")
    followed: Generator[TrainEvent, None, None] = tracked(events, trackers)  # checked before the text is read
    return followed


def _resume(
    run: str | None, changes: dict[str, Any], view: TrainingView, *, trackers: Sequence[str], quiet: bool
) -> int:
    from charrnn.runs.locate import open_run
    from charrnn.runs.writer import lock_folder

    if view.is_first:
        with lock_folder(open_run(run).path):
            pass  # An error about a run in use should appear at once, too.
    from charrnn.training import loop

    view.announce("Reading the text and the checkpoint ...")
    events = loop.resume(
        run,
        changes,
        should_stop=view.is_stop_asked,
        should_save=view.is_save_asked,
        on_reading=reading_bar(quiet=quiet),
    )
    return view.show(_tracked(events, trackers, view))
