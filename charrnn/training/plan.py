"""Decide everything before the first step. The file reads from top to bottom, in the order of the
decisions:

1. `choose_model` decides what no speed decides: the cell type, the units, the embedding, the
   learning rate, the batch rows and their window (`choose_sizes`), and the precision.
2. `plan_steps` decides what follows from the budget: how long a step takes and on how many threads,
   how many networks are trained side by side, and how many steps there are.
3. `choose_steps` decides what depends on the number of steps: what is dropped, when the learning
   rate falls, and when to validate and to save.

Every decision is recorded in a `Plan`. Its rule, with the numbers and the reasons, is a function of
`recipe`. The choices of a command with a number of steps or epochs do not depend on how busy the
machine is.
"""

import time
from dataclasses import dataclass, replace

import torch

from charrnn.config.plan_record import PlanEntry
from charrnn.config.settings import MAX_STEPS, Config, resolved
from charrnn.errors import UsageError
from charrnn.model.device import chosen_precision
from charrnn.model.ensemble import check_ensemble
from charrnn.model.shapes import check_multiple, check_network_fits, fit_parameters
from charrnn.training import measuring, recipe
from charrnn.training.measuring import Computing, assumed_rate, choose_threads
from charrnn.training.minutes import TimeBudget, budget_of, with_plan
from charrnn.training.recipe import CPU_RATE, fill_auto
from charrnn.training.run_text import RunText


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is decided about a training before its first step."""

    config: Config
    """The settings, as far as they are decided. Once the steps are planned they reproduce the
    run."""
    budget: TimeBudget | None = None
    """The minutes that the training keeps to; None for a number of steps or epochs."""
    ends_early: bool = False
    """Whether the training ends before its minutes, because the model would learn so short a text
    by heart."""


def choose_model(config: Config, text: RunText, computing: Computing) -> Plan:
    """Choose the sizes and the precision of a new run, and all else that no measured speed decides.

    It comes first, and the plan event shows it. `plan_steps` measures, and chooses what depends on
    the speed.

    Raises UsageError for a model that cannot be trained on this machine.
    """
    # The size, by the text and an assumed speed: by a measured speed, the same command would train
    # another model on a busy day.
    sized = choose_sizes(
        with_fitting_size(config, text),
        num_train_chars=text.num_train,
        operations_per_second=assumed_rate(config, computing),
    )

    # Who asks for a size gets one network of it, not several networks that share it.
    asked = (config.hidden_size, config.embedding_size, config.parameters)
    is_asked = any(size not in ("auto", "one-hot", None) for size in asked)
    if is_asked or config.init_from is not None:
        sized = fill_auto(sized, num_members=1)

    # These checks come before anything of that size is allocated.
    check_multiple(sized)
    check_network_fits(sized, len(text.vocab))

    # The precision is recorded, so that the run continues, and can be repeated, in the precision
    # that it started with.
    sized = with_precision(sized, computing.device)
    return Plan(config=sized, budget=budget_of(sized))


def with_fitting_size(config: Config, text: RunText) -> Config:
    """Replace the number of weights, if it is given, by the number of units.

    Raises UsageError if no number of units fits.
    """
    if config.parameters is None:
        return config

    # The number is that of one network, whatever the budget.
    single = fill_auto(config, **recipe.DEFAULT_CELL, num_members=1)
    hidden_size = fit_parameters(
        single,
        vocab_size=len(text.vocab),
        embedding_size=lambda size: recipe.choose_embedding_size(config, hidden_size=size),
    )
    return replace(single, hidden_size=hidden_size, parameters=None)


def choose_sizes(
    config: Config, num_train_chars: int, operations_per_second: float = CPU_RATE
) -> Config:
    """Choose the model's size, the batch rows and the learning rate for a training text of that
    many characters.

    It needs no measurement. More text and more time allow more units; more units need a lower
    learning rate; a short text gets fewer batch rows and shorter windows. `operations_per_second`
    is assumed of the machine; it matters only for a budget in minutes.

    Raises UsageError for a model that cannot be trained.
    """
    # No size can mend this.
    if config.cell_type == "irnn" and config.depth == "grid":
        raise UsageError(
            "depth is grid; its LSTM bounds what the next layer reads, so nothing keeps an irnn's"
            " state from growing without bound. Choose another depth, or another cell."
        )

    # The cell type and the layers.
    config = fill_auto(config, **recipe.DEFAULT_CELL)
    if config.omega > 0:  # Ω is that of one network with all of its recurrent weights.
        config = fill_auto(config, num_members=1, weight_drop=0.0)

    # The units of a layer. How much a model reads in a number of steps depends on the batch rows.
    if config.hidden_size == "auto":
        rows = recipe.choose_batch_rows(
            config, num_train_chars=num_train_chars, window=recipe.WINDOW
        )
        hidden_size = recipe.choose_hidden_size(
            replace(config, **rows._asdict()),
            num_train_chars=num_train_chars,
            operations_per_second=operations_per_second,
        )
        config = replace(config, hidden_size=hidden_size)

    # The embedding.
    embedding_size = recipe.choose_embedding_size(config, resolved(config.hidden_size))
    config = replace(config, embedding_size=embedding_size)
    check_ensemble(config)

    # The learning rate at its peak.
    config = fill_auto(config, learning_rate=recipe.choose_peak_rate(config))

    # What a step reads: the batch rows and their window.
    window = recipe.choose_window(config, operations_per_second)
    rows = recipe.choose_batch_rows(config, num_train_chars=num_train_chars, window=window)
    return replace(config, **rows._asdict())


def with_precision(config: Config, device: torch.device) -> Config:
    """Return the configuration with the precision in which the device computes. Raises the errors
    of `chosen_precision`."""
    num_units = recipe.units_of_network(config)
    precision = chosen_precision(device, config.precision, num_units=num_units)
    return replace(config, precision=precision)


def plan_steps(plan: Plan, text: RunText, computing: Computing, *, num_taken: int = 0) -> Plan:
    """Turn the budget into steps; choose the settings that depend on them, and the number of
    threads.

    New and resumed runs call it, after `choose_model` or `resuming.continued_plan`. The steps of a
    resumed run follow the `num_taken` steps that it has taken before. Sums on another number of
    threads differ in their last digits, so the configuration of the plan, not the command,
    reproduces a run.
    """
    if plan.config.minutes is None:
        planned = _steps_as_given(plan.config, text=text, num_taken=num_taken)
    else:
        planned = _steps_in_minutes(plan, text=text, computing=computing, num_taken=num_taken)

    # A user who gave ten minutes and sees three is told why.
    ends_early = False
    if plan.config.minutes is not None and plan.budget is not None and plan.budget.may_end_early:
        most = recipe.most_useful_steps(planned, num_train_chars=text.num_train)
        ends_early = (planned.steps or 0) >= most
    return replace(plan, config=planned, ends_early=ends_early)


def _steps_as_given(config: Config, text: RunText, num_taken: int) -> Config:
    """Return the settings of a budget in steps or epochs, for which nothing has to be measured."""
    planned = choose_steps(
        config, num_train_chars=text.num_train, num_val_chars=text.num_validation
    )
    threads = choose_threads(planned)
    if planned.plan is not None and planned.threads == "auto":
        # The run that is resumed has other threads from here on.
        last = planned.plan_entries[-1]
        planned = with_plan(planned, PlanEntry(num_taken, last.num_steps, threads=threads))
    return replace(planned, threads=threads)


def _steps_in_minutes(plan: Plan, text: RunText, computing: Computing, num_taken: int) -> Config:
    """Return the settings of a budget in minutes, which counts from `Computing.start` and is turned
    into steps by measuring."""
    config, budget = plan.config, plan.budget
    minutes = config.minutes
    assert minutes is not None and budget is not None, "there are minutes to plan"

    # How long is a step, and on how many threads?
    seconds_per_step, threads = measuring.time_trial_steps(
        config,
        batches=text.batch_rows(config),
        vocab_size=len(text.vocab),
        computing=computing,
        seconds=measuring.seconds_of_measuring(minutes),
    )
    config = replace(config, threads=threads)

    # How many of them fit in the time that is left, after reading the text and measuring, less the
    # share of validation?
    seconds_left = max(0.0, 60 * minutes - (time.perf_counter() - computing.start))
    steps_as_measured = seconds_left * (1 - recipe.EVALUATION_SHARE) / seconds_per_step

    # How many networks? M networks take M times as long per step as one. `config.num_networks`
    # networks were measured: 1 if their number is still to be chosen.
    num_measured = config.num_networks
    if config.num_members == "auto":
        members = recipe.choose_members(
            config, num_steps=int(steps_as_measured), num_train_chars=text.num_train
        )
        config = with_members(config, members)
    num_steps = int(steps_as_measured * num_measured / config.num_networks)

    # No more steps than are useful.
    if budget.may_end_early:
        most = recipe.most_useful_steps(config, num_train_chars=text.num_train)
        num_steps = min(num_steps, most)
    return choose_steps(
        config,
        num_train_chars=text.num_train,
        num_val_chars=text.num_validation,
        steps_in_minutes=num_taken + max(1, num_steps),
    )


def with_members(config: Config, members: int) -> Config:
    """Return the configuration of several networks, each of the sizes of `config`. They are one
    model: its sizes are the sums of their sizes."""
    if members == 1:
        return replace(config, num_members=1)
    joined = replace(
        config, num_members=members, hidden_size=members * resolved(config.hidden_size)
    )
    if config.embedding_size == "one-hot":
        return joined
    return replace(joined, embedding_size=members * resolved(config.embedding_size))


def choose_steps(
    config: Config, num_train_chars: int, num_val_chars: int, steps_in_minutes: int | None = None
) -> Config:
    """Convert the budget to a number of steps; choose the dropout and how often to validate and
    save.

    A budget in minutes becomes `steps_in_minutes`, which follow from a measured step.
    """
    # The steps.
    steps = recipe.steps_of_budget(config, num_train_chars=num_train_chars)
    if steps is None:
        steps = steps_in_minutes
    assert steps is not None, "a budget in minutes needs a measured step"
    steps = max(1, min(steps, MAX_STEPS))

    # What is dropped, and how fast weights decay. The shares follow from the dropout, even if the
    # user gave it.
    dropout = recipe.choose_dropout(
        config, num_read=steps * config.chars_per_step, num_train_chars=num_train_chars
    )
    config = fill_auto(config, dropout=dropout)
    config = fill_auto(config, **recipe.shares_of_dropout(config))

    # When and how the learning rate falls.
    config = fill_auto(config, **recipe.choose_fall(config, steps, num_train_chars=num_train_chars))

    # How much of the validation text is read, how often, and when to save.
    validation_chars = recipe.choose_validation_chars(
        config, steps=steps, num_val_chars=num_val_chars
    )
    config = replace(config, validation_chars=validation_chars)
    every = recipe.choose_evaluate_every(config, steps=steps, num_val_chars=num_val_chars)
    config = fill_auto(config, evaluate_every=every)
    config = fill_auto(config, save_every=config.evaluate_every)

    # The budget is now a number of steps.
    return replace(
        config,
        minutes=None,
        epochs=None,
        steps=steps,
        num_members=config.num_networks,
    )
