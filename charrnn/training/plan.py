"""Decide everything before the first step: the model, its precision, the steps, the threads.

`choose_model` chooses what no speed decides, and `plan_steps` turns minutes into steps: some trial
steps are measured, and the rest of the budget, less the share of validation, is divided by the
seconds per step. The choices of a command with a number of steps or epochs do not depend on how
busy the machine is.
"""

import time
from dataclasses import replace
from functools import partial

import torch

from charrnn.config.plan_record import PlanEntry
from charrnn.config.settings import Config, resolved
from charrnn.model.device import chosen_precision
from charrnn.model.shapes import check_multiple, check_network_fits, fit_parameters
from charrnn.training import measuring, recipe
from charrnn.training.measuring import (
    LONG_MEASURE_SHARE,
    MAX_MEASURE_SECONDS,
    MEASURE_SECONDS,
    MEASURE_SHARE,
    MIN_MEASURE_SECONDS,
    Computing,
    assumed_rate,
    choose_threads,
)
from charrnn.training.minutes import with_plan
from charrnn.training.run_text import RunText


def choose_model(config: Config, text: RunText, computing: Computing) -> Config:
    """Choose the sizes and the precision of a new run, and all else that no measured speed decides.

    It comes first, and the plan event shows it. `plan_steps` measures, and chooses what depends on
    the speed.

    Several processes get the choices of the first process. Raises UsageError for a model that
    cannot be trained on this machine.
    """
    device, group, _ = computing
    with group.together():
        # The size, by the text and an assumed speed: by a measured speed, the same command would
        # train another model on a busy day.
        sized = recipe.choose_sizes(
            with_fitting_size(config, text),
            num_train_chars=text.num_train,
            operations_per_second=assumed_rate(config, device, num_processes=group.size),
        )

        # Who asks for a size gets one network of it, not several networks that share it.
        asked = (config.hidden_size, config.embedding_size, config.parameters)
        is_asked = any(size not in ("auto", "one-hot", None) for size in asked)
        if is_asked or config.init_from is not None:
            sized = recipe.fill_auto(sized, num_members=1)

        # These checks come before anything of that size is allocated.
        check_multiple(sized)
        check_network_fits(sized, len(text.vocab))
        group.rows(resolved(sized.batch_size))

        # The precision is recorded, so that the run continues, and can be repeated, in the
        # precision that it started with.
        sized = with_precision(sized, device)
    return group.share_config(sized)


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
        embedding_size=lambda size: recipe.choose_embedding_size(config, hidden_size=size),
    )
    return replace(single, hidden_size=hidden_size, parameters=None)


def with_precision(config: Config, device: torch.device) -> Config:
    """Return the configuration with the precision in which the device computes. Raises the errors
    of `chosen_precision`."""
    num_units = recipe.units_of_network(config)
    precision = chosen_precision(device, config.precision, num_units=num_units)
    return replace(config, precision=precision)


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

    New and resumed runs call it, after `choose_model` or `continued_config`. Minutes count from
    `Computing.start` and are turned into steps by measuring. With `may_end_early`, the steps are at
    most as many as are useful. These steps follow the `num_taken` steps that a resumed run has
    taken before. Sums on another number of threads differ in their last digits, so the
    configuration that is returned, not the command, reproduces a run. Several processes measure
    together, and get the choices of the first process.
    """
    choose_steps = partial(
        recipe.choose_steps, num_train_chars=text.num_train, num_val_chars=text.num_validation
    )

    # Steps or epochs: nothing has to be measured.
    if config.minutes is None:
        planned = choose_steps(config)
        threads = choose_threads(planned)
        if planned.plan is not None and planned.threads == "auto":
            # The run that is resumed has other processes from here on.
            last = planned.plan_entries[-1]
            planned = with_plan(planned, PlanEntry(num_taken, last.num_steps, threads=threads))
        return computing.group.share_config(replace(planned, threads=threads))

    # Minutes: how long is a step?
    budget = 60 * config.minutes
    longest = max(MEASURE_SECONDS, min(MAX_MEASURE_SECONDS, LONG_MEASURE_SHARE * budget))
    seconds_per_step, threads = measuring.time_trial_steps(
        config,
        batches=text.batch_rows(config),
        vocab_size=len(text.vocab),
        computing=computing,
        seconds=min(longest, max(MIN_MEASURE_SECONDS, MEASURE_SHARE * budget)),
    )

    # Steps as measured in the time that is left, after reading the text and measuring.
    seconds_left = max(0.0, budget - (time.perf_counter() - computing.start))
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
    planned = choose_steps(with_members, steps_in_minutes=num_taken + max(1, num_steps))
    return computing.group.share_config(planned)
