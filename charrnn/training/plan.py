"""Decide everything before the first step: the model, its precision, the steps, the threads.

`choose_model` and `continued_config` choose what no speed decides. `plan_steps` turns minutes into
steps: some trial steps are measured, and the rest of the budget, less the share of validation, is
divided by the seconds per step. The choices of a command with a number of steps or epochs do not
depend on how busy the machine is.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from charrnn.config.settings import (
    BUDGETS,
    DOCUMENTS,
    FIELD_NAMES,
    INHERITED,
    MODEL_FIELDS,
    Config,
    resolved,
)
from charrnn.errors import CheckpointError, UsageError, counted, named
from charrnn.model.device import BF16_UNITS, chosen_precision
from charrnn.model.shapes import (
    check_memory,
    check_multiple,
    check_shapes,
    fit_parameters,
    num_parameters,
)
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.included import card_of
from charrnn.runs.reader import open_run_to_read
from charrnn.runs.writer import RunWriter
from charrnn.text.sources import entry_of
from charrnn.training import recipe
from charrnn.training.computing import Computing
from charrnn.training.events import PlanEvent
from charrnn.training.measuring import assumed_rate, choose_threads, measure_seconds, measure_step
from charrnn.training.run_text import RunText


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A run that is continued."""

    run: RunWriter
    checkpoint: Checkpoint
    """Its latest checkpoint."""
    before: Config
    """Its configuration until now."""
    changes: Mapping[str, object]
    """The settings that are given now."""
    config: Config
    """`before` with `changes` applied."""
    seconds: float
    """How long it had trained at that checkpoint; 0 if its log is missing."""


def choose_precision(config: Config, device: torch.device) -> str:
    """Return the configuration's precision; for `auto` bf16 or fp32.

    bf16 if the device is faster in it, unless it is a CPU and the layers have fewer than BF16_UNITS
    units. Raises UsageError for a precision that the device cannot compute in.
    """
    is_small = device.type == "cpu" and recipe.units_of_network(config) < BF16_UNITS
    if config.precision == "auto" and is_small:
        return "fp32"
    return chosen_precision(device, config.precision)


def choose_model(config: Config, text: RunText, computing: Computing) -> Config:
    """Choose the sizes and the precision of a new run, and all else that no measured speed decides.

    Several processes get the choices of the first process. Raises UsageError for a model that
    cannot be trained on this machine.
    """
    device, group = computing.device, computing.group
    with group.together():
        # The size, by the text and an assumed speed: by a measured speed, the same command would
        # train another model on a busy day.
        rate = assumed_rate(config, device=device, num_processes=group.size)
        sized = recipe.choose_sizes(
            with_fitting_size(config, text),
            num_train_chars=text.num_train,
            operations_per_second=rate,
        )

        # Who asks for a size gets one network of it, not several networks that share it.
        asked = (config.hidden_size, config.embedding_size, config.parameters)
        is_asked = any(size not in ("auto", "one-hot", None) for size in asked)
        if is_asked or config.init_from is not None:
            sized = recipe.fill_auto(sized, num_members=1)

        # These checks come before anything of that size is allocated.
        check_multiple(sized)
        check_memory(sized, len(text.vocab))
        group.rows(resolved(sized.batch_size))

        # The precision is recorded, so that the run continues, and can be repeated, in the
        # precision that it started with.
        sized = replace(sized, precision=choose_precision(sized, device))
    return group.share_config(sized)


def continued_config(resumed: Resumed, text: RunText, computing: Computing) -> Config:
    """Return the configuration of a resumed run, with the minutes that are left of its budget.

    A budget counts from the start of the run. How often the run validates and saves follows from a
    new budget if it followed from the old budget. Raises UsageError for a budget that is used up.
    """
    config = _without_followers(resumed, text)
    with computing.group.together():
        computing.group.rows(resolved(config.batch_size))
        if "precision" in resumed.changes:
            config = replace(config, precision=choose_precision(config, computing.device))

        # The minutes before the checkpoint are used up.
        _check_budget(resumed, text)
        if config.minutes is not None:
            config = replace(config, minutes=config.minutes - resumed.seconds / 60)
    return computing.group.share_config(config)


def _without_followers(resumed: Resumed, text: RunText) -> Config:
    """Return the configuration of a resumed run. With a new budget, what followed from the old
    budget is `auto` again: where the value is what `auto` would have chosen, nobody asked for it.
    """
    config = resumed.config
    changes = resumed.changes
    if all(changes.get(budget) is None for budget in BUDGETS):
        return config
    chosen = recipe.choose_steps(
        replace(resumed.before, evaluate_every="auto", save_every="auto"),
        num_train_chars=text.num_train,
        num_val_chars=text.num_validation,
    )
    if "evaluate_every" not in changes and config.evaluate_every == chosen.evaluate_every:
        config = replace(config, evaluate_every="auto")
    if "save_every" not in changes and config.save_every == chosen.save_every:
        config = replace(config, save_every="auto")
    return config


def _check_budget(resumed: Resumed, text: RunText) -> None:
    """Raise UsageError if the run has taken more than its budget already."""
    config = resumed.config
    minutes = resumed.seconds / 60

    num_steps = recipe.steps_of_budget(config, num_train_chars=text.num_train)

    # A budget of minutes has no number of steps, so its time is compared.
    is_used_up = (config.minutes or 0) <= minutes
    if num_steps is not None:
        is_used_up = num_steps < resumed.checkpoint.step
    if not is_used_up:
        return

    budget = next(name for name in BUDGETS if getattr(config, name) is not None)
    raise UsageError(
        f"{named(budget)} is {getattr(config, budget)}, but {resumed.run.path.name} has taken"
        f" {counted(resumed.checkpoint.step, 'step')} in {minutes:.2f} minutes already\n"
        "a budget counts from the start of the run: give more, or leave it out"
    )


def with_fitting_size(config: Config, text: RunText) -> Config:
    """Replace the number of weights, if it is given, by the number of units.

    Raises UsageError if no number of units fits.
    """
    if config.parameters is None:
        return config

    # The number is that of one network, whatever the budget.
    single = recipe.fill_auto(config, **recipe.DEFAULT_CELL, num_members=1)
    hidden_size = fit_parameters(
        single,
        vocab_size=len(text.vocab),
        embedding_size=lambda size: recipe.choose_embedding_size(config, size),
    )
    return replace(single, hidden_size=hidden_size, parameters=None)


def open_initial_model(
    config: Config, asked: Collection[str] = ()
) -> tuple[Config, Checkpoint | None]:
    """Load the best checkpoint of `config.init_from`, if given; return the configuration with its
    model, and the checkpoint. `asked` are the fields of `with_model_of`.

    Raises CheckpointError if that run is missing or damaged, UsageError if `config` asks for
    another model.
    """
    if config.init_from is None:
        return config, None

    # The weights and the alphabet must belong together: both are continued.
    run, _ = open_run_to_read(config.init_from)
    initial = run.load_best()
    theirs = initial.description.config()
    # The included models are older than the setting, and their texts were clean.
    if card_of(initial.digest):
        theirs = replace(theirs, clean=True)
    config = with_model_of(run.name, theirs=theirs, config=config, asked=asked)
    vocab_size = check_shapes(config, tensors=initial.model, path=run.path)
    if vocab_size != len(initial.description.vocab()):
        raise CheckpointError(f"The alphabet of {config.init_from} is not that of its weights.")
    return config, initial


def with_model_of(run: str, theirs: Config, config: Config, asked: Collection[str] = ()) -> Config:
    """Return the configuration with the model of `run`, which has the configuration `theirs`, and
    with its way of reading a text and its dropout where `config` asks for none.

    A default value counts as not asked for, unless it is that of one of the fields `asked`. Raises
    UsageError if `config` asks for another model, or for initial weights.
    """
    default = Config()
    changed = [name for name in FIELD_NAMES if getattr(config, name) != getattr(default, name)]
    for name in ("parameters", "initial_weights", "forget_bias"):
        if name in changed:
            raise UsageError(
                f"{named(name)} is {getattr(config, name)}, but {named('init_from')} keeps the"
                f" weights of {run}. Leave one of them out."
            )

    # All settings that shape the weights come from that run.
    model: dict[str, Any] = {name: getattr(theirs, name) for name in MODEL_FIELDS}
    for name, value in model.items():
        wanted = getattr(config, name)
        if name in changed and wanted != value:
            raise UsageError(
                f"{named(name)} is {wanted}, but {value} in {run}: {named('init_from')} keeps the"
                " model."
            )

    # So do the settings of the text, unless they are asked for, and the dropout: weights that have
    # learned without it know less once it begins. The two fields of documents go together, and the
    # catalogue knows the encoding of its texts.
    asked_for = {*changed, *asked}
    if asked_for.intersection(DOCUMENTS):
        asked_for.update(DOCUMENTS)
    if any(map(entry_of, config.corpus)):
        asked_for.add("encoding")
    kept = {name: getattr(theirs, name) for name in INHERITED if name not in asked_for}
    same = replace(config, **model, **kept)

    # Nothing would end a document.
    is_new = same.end_id is not None and theirs.end_id is None and same.alphabet != "byte"
    if is_new and not config.extend_alphabet:
        raise UsageError(
            f"{named('documents')} is {config.documents}, but the alphabet of {run} has no END"
            f" symbol: use {named('extend_alphabet', 'true')}, or leave {named('documents')} out."
        )
    return same


def plan_event(config: Config, text: RunText) -> PlanEvent:
    """Return the event about the model and the text, which the user can read about while steps are
    measured."""
    return PlanEvent(
        num_parameters=num_parameters(config, len(text.vocab)), config=asdict(config), **text.facts
    )


def plan_steps(
    config: Config,
    text: RunText,
    computing: Computing,
    *,
    num_taken: int = 0,
    may_end_early: bool = False,
) -> Config:
    """Turn the budget into steps; choose the settings that depend on them, and the number of
    threads.

    Minutes count from `Computing.start` and are turned into steps by measuring. With
    `may_end_early`, the steps are at most as many as are useful. These steps follow the `num_taken`
    steps that a resumed run has taken before. Sums on another number of threads differ in their
    last digits, so the configuration that is returned, not the command, reproduces a run. Several
    processes measure together, and get the choices of the first process.
    """
    sizes = (text.num_train, text.num_validation)

    # Steps or epochs: nothing has to be measured.
    if config.minutes is None:
        planned = recipe.choose_steps(config, *sizes)
        return computing.group.share_config(replace(planned, threads=choose_threads(planned)))

    # Minutes: how long is a step?
    budget_seconds = 60 * config.minutes
    seconds_per_step, threads = measure_step(
        config,
        batches=text.batch_rows(config),
        vocab_size=len(text.vocab),
        computing=computing,
        seconds=measure_seconds(budget_seconds),
    )

    # Steps as measured in the time that is left, after reading the text and measuring.
    seconds_taken = time.perf_counter() - computing.start
    seconds_left = max(0.0, budget_seconds - seconds_taken)
    steps_as_measured = seconds_left * (1 - recipe.EVALUATION_SHARE) / seconds_per_step

    # M networks take M times as long per step as one. `config.num_networks` networks were measured:
    # 1 if their number is still to be chosen.
    with_members = recipe.choose_members(
        replace(config, threads=threads),
        num_steps=int(steps_as_measured),
        num_train_chars=text.num_train,
    )
    num_steps = int(steps_as_measured * config.num_networks / with_members.num_networks)
    if may_end_early:
        num_steps = min(
            num_steps, recipe.most_useful_steps(with_members, num_train_chars=text.num_train)
        )
    planned = recipe.choose_steps(with_members, *sizes, num_taken + max(1, num_steps))
    return computing.group.share_config(planned)
