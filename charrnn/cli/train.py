"""charrnn train: train a model, or resume a run."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.architectures import CELLS, DEPTHS
from charrnn.cli.arguments import print_waiting_notice
from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.processes import Launch, check_processes
from charrnn.cli.progress import download_bar, reading_bar
from charrnn.cli.root import Invocation
from charrnn.cli.streams import print_json, result_console
from charrnn.cli.training_view import TrainingView
from charrnn.optimizers import OPTIMIZERS
from charrnn.training.rank import this_rank

if TYPE_CHECKING:
    from charrnn.config import Config

BUDGET, MODEL, TRAINING, TEXT, SETTINGS = "Budget", "Model", "Training", "Text", "All settings"
"""Groups of options in the help, which shows each at its first option."""
MACHINE, FOLDER = "Machine", "Run folder"
"""The other groups."""


def _option(*names: str, text: str, panel: str, metavar: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar)


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
    minutes: Annotated[
        str | None, _option("--minutes", text="Train for about M minutes (default: 3).", panel=BUDGET, metavar="M")
    ] = None,
    epochs: Annotated[
        str | None, _option("--epochs", text="Train for E passes over the text.", panel=BUDGET, metavar="E")
    ] = None,
    steps: Annotated[
        str | None, _option("--steps", text="Train for N optimizer steps.", panel=BUDGET, metavar="N")
    ] = None,
    cell: Annotated[
        str | None,
        _option(
            "--cell",
            text=f"{', '.join(CELLS)}, a cell of an installed package, or auto.",
            panel=MODEL,
            metavar="CELL",
        ),
    ] = None,
    layers: Annotated[
        str | None, _option("--layers", text="Number of recurrent layers.", panel=MODEL, metavar="L")
    ] = None,
    depth: Annotated[str | None, _option("--depth", text=f"{', '.join(DEPTHS)}.", panel=MODEL, metavar="HOW")] = None,
    hidden_size: Annotated[
        str | None, _option("--hidden-size", text="Units per layer.", panel=MODEL, metavar="H")
    ] = None,
    parameters: Annotated[
        str | None,
        _option(
            "--parameters", text="Instead of --hidden-size: at most N weights (300k, 1.5M).", panel=MODEL, metavar="N"
        ),
    ] = None,
    embedding_size: Annotated[
        str | None,
        _option(
            "--embedding-size", text="Size of a character's embedding, or one-hot for none.", panel=MODEL, metavar="E"
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        _option("--optimizer", text=f"{', '.join(OPTIMIZERS)}. Default: muon.", panel=TRAINING, metavar="NAME"),
    ] = None,
    dropout: Annotated[
        str | None,
        _option("--dropout", text="Share of units dropped at the output of every layer.", panel=TRAINING, metavar="P"),
    ] = None,
    alphabet: Annotated[
        str | None, _option("--alphabet", text="char, exact or byte.", panel=TEXT, metavar="KIND")
    ] = None,
    encoding: Annotated[
        str | None,
        _option("--encoding", text="Encoding of the text: utf-8, latin-1, utf-16, …", panel=TEXT, metavar="NAME"),
    ] = None,
    documents: Annotated[
        str | None,
        _option(
            "--documents",
            text="Many short texts, each with an end: files, lines or blank-lines (parted by blank lines).",
            panel=TEXT,
            metavar="KIND",
        ),
    ] = None,
    column: Annotated[
        str | None,
        _option("--column", text="CSV files: each value of this column is a document.", panel=TEXT, metavar="NAME"),
    ] = None,
    split: Annotated[
        str | None,
        _option("--split", text="Training/validation[/test] shares; default: 90/10.", panel=TEXT, metavar="A/B"),
    ] = None,
    order: Annotated[
        str | None,
        _option(
            "--order",
            text="Join the files of a folder in shuffled order (the default) or sorted.",
            panel=TEXT,
            metavar="HOW",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        _option("--recipe", text="Settings by name (classic, tiny), or a .yaml file.", panel=SETTINGS, metavar="NAME"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        _option(
            "--set", text="Set any field, e.g. learning_rate=4e-3 (repeatable).", panel=SETTINGS, metavar="FIELD=VALUE"
        ),
    ] = None,
    seed: Annotated[
        str | None,
        _option("--seed", text="Seed of the weights, the dropout and the samples.", panel=TRAINING, metavar="N"),
    ] = None,
    device: Annotated[
        str | None, _option("--device", text="auto, cpu, cuda or mps.", panel=MACHINE, metavar="DEVICE")
    ] = None,
    precision: Annotated[
        str | None, _option("--precision", text="auto, fp32, bf16 or fp16.", panel=MACHINE, metavar="P")
    ] = None,
    processes: Annotated[
        str | None,
        _option(
            "--processes",
            text="Train in N processes of this machine, as torchrun starts them.",
            panel=MACHINE,
            metavar="N",
        ),
    ] = None,
    sync_every: Annotated[
        str | None,
        _option(
            "--sync-every",
            text="For slow networks: processes agree on the weights every K steps, not on every gradient.",
            panel=MACHINE,
            metavar="K",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Save the run in this new folder.", rich_help_panel=FOLDER, metavar="DIR"),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the named run, or else the newest, exactly where it stopped.",
            rich_help_panel=FOLDER,
        ),
    ] = False,
    init_from: Annotated[
        str | None,
        _option("--init-from", text="Start a new run from this run's best weights.", panel=MODEL, metavar="RUN"),
    ] = None,
    extend_alphabet: Annotated[
        bool,
        typer.Option(
            "--extend-alphabet",
            help="With --init-from: learn the new characters of the text, too.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    save_every: Annotated[
        str | None,
        _option("--save-every", text="Save every N steps; default: at every validation.", panel=FOLDER, metavar="N"),
    ] = None,
    evaluate_every: Annotated[
        str | None,
        _option(
            "--evaluate-every", text="Validate every N steps; default: about eight times.", panel=TRAINING, metavar="N"
        ),
    ] = None,
    keep: Annotated[
        str | None, _option("--keep", text="Checkpoints to keep besides best and latest.", panel=FOLDER, metavar="N")
    ] = None,
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

    rank = this_rank(os.environ)
    num_processes = 1 if processes is None else check_processes(processes, rank)
    fields = {
        "minutes": minutes,
        "epochs": epochs,
        "steps": steps,
        "cell": cell,
        "num_layers": layers,
        "depth": depth,
        "hidden_size": hidden_size,
        "parameters": parameters,
        "embedding_size": embedding_size,
        "optimizer": optimizer,
        "dropout": dropout,
        "alphabet": alphabet,
        "encoding": encoding,
        "split": split,
        "documents": documents,
        "column": column,
        "order": order,
        "seed": seed,
        "device": device,
        "precision": precision,
        "sync_every": sync_every,
        "save_every": save_every,
        "evaluate_every": evaluate_every,
        "keep": keep,
        "init_from": init_from,
        "extend_alphabet": "true" if extend_alphabet else None,
    }
    flags = _parse_flags(fields, set_ or [])
    invocation: Invocation = context.obj
    launched = None if rank is None else Launch(rank)
    view = TrainingView(invocation.signals, show_as_json=json, quiet=quiet, launched=launched)
    if resume:
        if recipe is not None or out is not None or show_config:
            raise UsageError("--resume continues a run as it is: leave out --recipe, --out and --show-config.")
        if len(corpus or []) > 1:
            raise UsageError(f"--resume takes one run, not {len(corpus or [])}: charrnn train --resume RUN")
        begin: Callable[..., int] = partial(_resume, corpus[0] if corpus else None, flags, view, quiet=quiet)
    else:
        config, origins = _configure(corpus or [], flags, recipe)
        if show_config:
            _print_config(config, origins, show_as_json=json)
            return 0
        _check_no_stdin(config, num_processes)
        begin = partial(_start, config, view, out=out, quiet=quiet)
    if num_processes > 1:
        from charrnn.cli.launcher import launch

        return launch(num_processes, invocation.arguments, invocation.signals, is_debugging=debug)
    return begin() if launched is None else _train_together(launched, begin, view, quiet=quiet)


def _check_no_stdin(config: "Config", num_processes: int) -> None:
    """Raise UsageError before processes start that cannot all read standard input."""
    if num_processes > 1:
        from charrnn.training.broadcasts import check_no_stdin

        check_no_stdin(config.corpus, num_processes)


def _parse_flags(fields: dict[str, str | None], assignments: list[str]) -> dict[str, Any]:
    """Parse field values from flags and `--set field=value`. Raises UsageError that names the field."""
    from charrnn.config import Config, check_field_name, parse_value
    from charrnn.errors import UsageError, named

    flags: dict[str, Any] = {}
    for name, value in fields.items():
        if value is not None:
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

    from charrnn.render.tables import settings_table

    values = asdict(config)
    if show_as_json:
        print_json({name: {"value": value, "from": origins[name]} for name, value in values.items()})
    else:
        result_console().print(settings_table(values, origins))


def _start(config: "Config", view: TrainingView, *, out: Path | None, quiet: bool) -> int:
    from charrnn.runs.starting import clear_unsaved

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
    return view.show(events)


def _train_together(launched: Launch, begin: Callable[..., int], view: TrainingView, *, quiet: bool) -> int:
    """Train as one of several processes with `begin`; continue what an earlier attempt of torchrun began."""
    from charrnn.runs.reader import RunReader

    if (code := launched.end) is not None:
        return code
    launched.rank.use_threads()
    folder = launched.run
    if folder is None:
        code = begin()
    elif launched.agree("has-saved", lambda: bool(RunReader(folder).checkpoints())):
        code = _resume(str(folder), {}, view, quiet=quiet)
    else:
        code = begin(out=folder)
    if code:
        launched.end = code
    launched.wait_for_first()
    return code


def _resume(run: str | None, changes: dict[str, Any], view: TrainingView, *, quiet: bool) -> int:
    from charrnn.runs.locate import open_run
    from charrnn.runs.lock import lock_folder

    if view.is_first:
        with lock_folder(open_run(run, Path("checkpoints")).path):
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
    return view.show(events)
