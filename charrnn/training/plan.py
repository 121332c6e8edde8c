"""Decide everything before the first step: the model, its precision, the steps, the threads.

Precision and threads follow from the shape of the model. Minutes become steps in `plan_steps`: some
trial steps are measured, and what is left of the budget, less the share of validation, is divided
by the seconds of one. What a command with a number of steps or epochs chooses does not depend on
how busy the machine is.
"""

import time
from collections.abc import Generator
from dataclasses import asdict, replace
from typing import Any

import torch

from charrnn.config.settings import (
    DOCUMENTS,
    MAX_STEPS,
    MODEL_FIELDS,
    TEXT_FIELDS,
    Config,
    resolved,
)
from charrnn.errors import CheckpointError, UsageError, named
from charrnn.model.device import BF16_UNITS, chosen_precision, has_fast_bf16
from charrnn.model.shapes import (
    check_memory,
    check_multiple,
    check_shapes,
    fit_parameters,
    num_parameters,
)
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.reader import open_run_to_read
from charrnn.text.batches import BatchRows
from charrnn.text.sources import entry_of
from charrnn.training import recipe
from charrnn.training.events import PlanEvent
from charrnn.training.measuring import assumed_rate, choose_threads, measure_seconds, measure_step
from charrnn.training.process_group import Computing
from charrnn.training.run_text import RunText


def choose_precision(config: Config, device: torch.device) -> str:
    """Return the configuration's precision; for `auto` bf16 or fp32.

    bf16 if the device has instructions for it and is no CPU, or the layers have at least BF16_UNITS
    units. Raises UsageError for one that the device cannot compute in.
    """
    if config.precision != "auto":
        return chosen_precision(device, config.precision)
    is_large = device.type != "cpu" or recipe.units_of_network(config) >= BF16_UNITS
    return "bf16" if is_large and has_fast_bf16(device) else "fp32"


def plan_run(
    config: Config, text: RunText, computing: Computing
) -> Generator[PlanEvent, None, tuple[Config, BatchRows]]:
    """Choose every setting that is left open, and the batch rows; yield what `plan_steps` does.

    Several processes get the choices of the first one. Raises UsageError for a model that cannot be
    trained here.
    """
    device, group = computing.device, computing.group
    with group.together():
        # The size, by the text and an assumed speed: a measured one would give the same command
        # another model on a busy day.
        rate = assumed_rate(config, device=device, num_processes=group.size)
        sized = recipe.choose_sizes(
            with_fitting_size(config, text),
            num_train_chars=text.num_train,
            operations_per_second=rate,
        )
        sized = recipe.choose_held_back(
            sized, text.num_train, document_ends=text.ends_in_training(sized)
        )

        # Sizes that are asked for are those of the model, not of each of several networks.
        asked = (config.hidden_size, config.embedding_size, config.parameters)
        is_asked = any(size not in ("auto", "one-hot", None) for size in asked)
        if is_asked or config.init_from is not None:
            sized = recipe.fill_auto(sized, num_members=1)

        # Before anything of that size is allocated.
        check_multiple(sized)
        check_memory(sized, len(text.vocab))
        batches = BatchRows(text.ids[text.learned(sized)], resolved(sized.batch_size))
        group.rows(batches.batch_size)

        # It is recorded, so that the run continues, and can be repeated, in the precision it
        # started with.
        sized = replace(sized, precision=choose_precision(sized, device))
    planned = yield from plan_steps(
        sized, text=text, batches=batches, computing=computing, may_end_early=True
    )
    return planned, batches


def with_fitting_size(config: Config, text: RunText) -> Config:
    """Replace the number of weights, if one is given, by the number of units.

    Raises UsageError if no number of units fits.
    """
    if config.parameters is None:
        return config

    chosen = recipe.fill_auto(config, **recipe.DEFAULT_CELL, num_members=1)
    hidden_size = fit_parameters(
        chosen,
        vocab_size=len(text.vocab),
        embedding_size=lambda size: recipe.choose_embedding_size(config, size),
    )
    return replace(chosen, hidden_size=hidden_size, parameters=None)


def open_initial_model(config: Config) -> tuple[Config, Checkpoint | None]:
    """Load the best step of `config.init_from`, if given; return the configuration with its model,
    and the step.

    Raises CheckpointError if that run is missing or damaged, UsageError if `config` asks for
    another model.
    """
    if config.init_from is None:
        if config.extend_alphabet:
            raise UsageError(
                f"{named('extend_alphabet')} adds to the alphabet of another run: "
                f"use it with {named('init_from')}, or leave it out."
            )
        return config, None

    run, _ = open_run_to_read(config.init_from)
    loaded = run.load_best()
    config = with_model_of(run.name, theirs=loaded.description.config(), config=config)
    if check_shapes(config, tensors=loaded.model, path=run.path) != len(loaded.description.vocab()):
        raise CheckpointError(f"The alphabet of {config.init_from} is not that of its weights.")
    return config, loaded


def with_model_of(run: str, theirs: Config, config: Config) -> Config:
    """Return the configuration with the model of `run`, whose configuration is `theirs`, and with
    its way of reading a text where `config` asks for none.

    Raises UsageError if `config` asks for another model; a default value counts as not asked for.
    """
    default = Config()
    if config.parameters is not None:
        raise UsageError(
            f"{named('parameters')} is {config.parameters:,}, but {named('init_from')} keeps the"
            f" model of {run}. Leave one of them out."
        )

    # Whatever shapes the weights is theirs.
    model: dict[str, Any] = {name: getattr(theirs, name) for name in MODEL_FIELDS}
    for name, there in model.items():
        asked = getattr(config, name)
        if asked not in (there, getattr(default, name)):
            raise UsageError(
                f"{named(name)} is {asked}, but {there} in {run}: {named('init_from')} keeps the"
                " model."
            )

    # The text is read as theirs was. What the documents are is one choice of two fields, and the
    # catalogue knows the encoding of its texts.
    kept = {name for name in TEXT_FIELDS if getattr(config, name) != getattr(default, name)}
    if kept.intersection(DOCUMENTS):
        kept.update(DOCUMENTS)
    if any(map(entry_of, config.corpus)):
        kept.add("encoding")
    reading = {name: getattr(theirs, name) for name in TEXT_FIELDS if name not in kept}
    same = replace(config, **model, **reading)

    # A symbol that ends documents cannot be added to weights that have never seen it.
    if same.end_id is not None and theirs.end_id is None and same.alphabet != "byte":
        raise UsageError(
            f"{named('documents')} is {config.documents}, but the alphabet of {run} has no END"
            f" symbol: train a new model, or leave {named('documents')} out."
        )
    return same


def plan_steps(
    config: Config,
    text: RunText,
    batches: BatchRows,
    computing: Computing,
    *,
    may_end_early: bool = False,
) -> Generator[PlanEvent, None, Config]:
    """Turn the budget into steps; choose what depends on them, and the number of threads.

    Minutes count from `Computing.start` and are turned into steps by measuring, with
    `may_end_early` into no more than are useful; a PlanEvent is yielded before. Sums on another
    number of threads differ in their last digits, so the configuration that is returned, not the
    command, reproduces a run. Several processes measure together, and get the choices of the first
    one.
    """
    sizes = (text.num_train, text.num_validation)
    config = computing.group.share_config(config)

    # Steps or epochs: nothing has to be measured.
    if config.minutes is None:
        planned = recipe.choose_steps(config, *sizes)
        return computing.group.share_config(replace(planned, threads=choose_threads(planned)))

    # Minutes: how long is a step? Measuring takes seconds, in which a reader can look at what is
    # trained.
    yield PlanEvent(
        num_parameters=num_parameters(config, len(text.vocab)), config=asdict(config), **text.facts
    )
    budget_seconds = 60 * config.minutes
    seconds_per_step, threads = measure_step(
        config,
        batches=batches,
        vocab_size=len(text.vocab),
        computing=computing,
        seconds=measure_seconds(budget_seconds),
    )

    # Steps of what was measured in the time that is left: reading the text and measuring took some.
    seconds_taken = time.perf_counter() - computing.start - computing.pauses.seconds
    seconds_taken += recipe.counting_seconds(config, *sizes)
    seconds_left = max(0.0, budget_seconds - seconds_taken)
    steps_as_measured = seconds_left * (1 - recipe.EVALUATION_SHARE) / seconds_per_step

    # If several networks are chosen in place of the measured one, each step takes so many times as
    # long. No more steps than are useful.
    timed = recipe.choose_members(
        replace(config, threads=threads),
        num_steps=int(steps_as_measured),
        num_train_chars=text.num_train,
    )
    most_steps = MAX_STEPS
    if may_end_early:
        most_steps = recipe.most_useful_steps(timed, text.num_train)
    steps_in_time = steps_as_measured * config.num_networks / timed.num_networks
    planned = recipe.choose_steps(timed, *sizes, int(min(most_steps, steps_in_time)))
    return computing.group.share_config(planned)
