"""The rules by which settings left at `auto` are chosen, with their numbers and where these are
from.

A rule is a function of the settings that are decided before it, and of the text. `plan` applies
them; they stand here in the order in which it does.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple

from charrnn.config.settings import (
    MAX_HIDDEN_SIZE,
    MAX_STEPS,
    Config,
    OneHot,
    resolved,
)
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.ensemble import can_join
from charrnn.model.reading import SEGMENT_LENGTH
from charrnn.training.optim import RATE_FACTORS


def fill_auto(config: Config, **choices: Any) -> Config:
    """Return a configuration in which each field that is `auto` has the value given for it.

    Every choice of the recipe goes through it, so that what a user has set stays.

    >>> fill_auto(Config(num_layers=2), num_layers=1, cell_type="lstm").num_layers
    2
    """
    changes = {name: value for name, value in choices.items() if getattr(config, name) == "auto"}
    return replace(config, **changes)


DEFAULT_CELL = {"cell_type": "lstm", "num_layers": 1}
"""The cell type and the layers of a model that names none."""
CPU_RATE = 2.4e11
"""Assumed operations per second of training on one processor thread with bf16
(docs/understand/recipe.md)."""
MIN_READ = {128: 0, 256: 2_000_000, 512: 8_000_000, 1024: 25_000_000, 2048: 150_000_000}
"""Units of a layer, and the characters that a model of that size must read within the budget, to be
better than the next smaller model in the same time (benchmarks/LOG.md)."""
MIN_USEFUL = MIN_READ | {256: 4_500_000}
"""Units of a layer, and the characters that a model of that size must be able to read before it
overfits, that is, knows its text by heart."""
MINUTES_SHARE = 2 / 3
"""A model for a budget in minutes must read enough in this share of the budget. A model that
needs the whole budget to read enough is, more often than not, worse than several smaller networks
or more steps of a smaller network (benchmarks/LOG.md)."""
FEW_WEIGHTS = 400_000
"""For a budget in minutes, no network is chosen that has more recurrent weights than the larger of
this number and the characters of the text: it would learn the text by heart, and several smaller
networks are better, whatever the time (benchmarks/LOG.md)."""


def choose_hidden_size(config: Config, num_train_chars: int, operations_per_second: float) -> int:
    """Return the largest size of MIN_READ that reads enough, within the budget, and before the text
    is learned by heart.

    Cell, layers and batch rows are resolved.
    """
    members = config.num_networks
    chosen = members * min(MIN_READ)
    num_steps = steps_of_budget(config, num_train_chars=num_train_chars)

    # From small to large: the last size that reads enough is chosen.
    for units, least in MIN_READ.items():
        hidden_size = members * units
        if hidden_size > MAX_HIDDEN_SIZE:
            break
        sized = replace(
            config,
            hidden_size=hidden_size,
            embedding_size=choose_embedding_size(config, hidden_size),
        )
        num_weights = num_recurrent_weights(sized)
        if num_steps is None and num_weights > max(FEW_WEIGHTS, num_train_chars):
            break

        # How many characters it reads in the budget. How many are useful depends on the text.
        if num_steps is None:
            num_read = MINUTES_SHARE * chars_of_minutes(sized, operations_per_second)
        else:
            num_read = num_steps * config.chars_per_step
        if (
            num_read >= least
            and useful_chars(num_weights, num_train_chars=num_train_chars) >= MIN_USEFUL[units]
        ):
            chosen = hidden_size
    return chosen


DEFAULT_MINUTES = 3.0
"""Budget of a run that names none."""
OPERATIONS_PER_WEIGHT = 6
"""Operations of training per recurrent weight and character: two forward, four backward."""


def chars_of_minutes(config: Config, operations_per_second: float) -> float:
    """Return the characters that a model of resolved size reads in the minutes of a budget, at an
    assumed speed.

    Sizes are chosen before the speed is measured, by a guess of how far the training will come.
    """
    operations = operations_per_second * 60 * (config.minutes or DEFAULT_MINUTES)
    return operations / (
        OPERATIONS_PER_WEIGHT * config.num_networks * max(1, num_recurrent_weights(config))
    )


USEFUL_EPOCHS = 1050.0
"""A network with W recurrent weights can use 1050 N^0.5 / W^0.75 epochs of a text of N characters.
This number and both exponents are from the sweep behind the sizes (benchmarks/LOG.md,
2026-11-21)."""
TEXT_EXPONENT = 0.5
"""Exponent of N there: a longer text can be read more often."""
WEIGHTS_EXPONENT = 0.75
"""Exponent of W there: a larger network knows a text by heart after fewer epochs."""


def useful_chars(num_weights: int, num_train_chars: int) -> float:
    """Return how many characters of a text of `num_train_chars` a model should read before it
    learns them by heart."""
    # The epochs, times the characters of an epoch.
    num_read = USEFUL_EPOCHS * num_train_chars ** (1 + TEXT_EXPONENT)
    return float(num_read / max(1, num_weights) ** WEIGHTS_EXPONENT)


def choose_embedding_size(config: Config, hidden_size: int) -> int | OneHot:
    """Return the size of the embedding for that many units: more units never get a smaller
    embedding. "one-hot" stays as it is."""
    if config.embedding_size != "auto":
        return config.embedding_size
    return min(64 * config.num_networks, hidden_size)


MAX_RATE = 4.5e-2
"""Highest peak learning rate, for few units."""
MAX_IRNN_RATE = 1e-2
"""Highest peak learning rate of an irnn: its state is not bounded and diverges at larger steps."""
FINE_TUNING_DIVISOR = 4.5
"""The learning rate of a network that starts with the weights of another run is divided by this: at
a higher rate it forgets what that run has learned (benchmarks/LOG.md)."""
CELLS_WITH_LOW_DEEP_RATES = frozenset({"rnn"})
"""Cell types whose peak rate is divided by the number of layers: at a higher rate, deep networks
diverge or reach a higher loss (benchmarks/LOG.md)."""


def choose_peak_rate(config: Config) -> float:
    """Return the peak learning rate of a model of resolved size.

    It falls as the number of units rises: the more weights an update changes, the further it moves
    the sum in a unit.
    """
    # The rate of the cell type is that of 512 units.
    max_rate = MAX_IRNN_RATE if config.cell_type == "irnn" else MAX_RATE
    rate = cell_type(config.cell_type).peak_rate * 512 / units_of_network(config)
    rate = min(max_rate, rate) * RATE_FACTORS.get(config.optimizer, 1.0)

    # Fine-tuning and deep networks of some cell types need a lower one.
    if config.init_from is not None:
        rate /= FINE_TUNING_DIVISOR
    if config.cell_type in CELLS_WITH_LOW_DEEP_RATES:
        rate /= resolved(config.num_layers)
    return rate


WINDOW = 128
"""Characters per batch row and step."""
SHORT_READ = 3_000_000
"""A budget in minutes in which fewer characters are read is short: many small steps reach a lower
loss than few large steps."""
SHORT_WINDOW = 48
"""Characters per batch row and step in a short budget."""


def choose_window(config: Config, operations_per_second: float) -> int:
    """Return the characters per batch row and step of a model of resolved size."""
    if config.minutes is not None and chars_of_minutes(config, operations_per_second) < SHORT_READ:
        return SHORT_WINDOW
    return WINDOW


MAX_BATCH_SIZE = 32
"""Batch rows of a text that is long enough for them."""


class RowsOfStep(NamedTuple):
    """What a step reads. The fields are those of the configuration."""

    batch_size: int
    """The number of batch rows."""
    bptt_length: int
    """Characters of a batch row that a step reads."""


def choose_batch_rows(config: Config, num_train_chars: int, window: int) -> RowsOfStep:
    """Return the characters per batch row and step, `window` if they are not given, and the number
    of batch rows. A short text has fewer than are given."""
    # A window is at most a quarter of the text, or half of it if it is asked for.
    share = 4 if config.bptt_length == "auto" else 2
    config = fill_auto(config, bptt_length=window, batch_size=MAX_BATCH_SIZE)
    bptt_length = max(1, min(resolved(config.bptt_length), num_train_chars // share))

    # Two windows per batch row at least: a shorter row would be read twice in one step.
    most_rows = max(1, num_train_chars // (2 * bptt_length))
    return RowsOfStep(min(resolved(config.batch_size), most_rows), bptt_length=bptt_length)


MEMBER_EPOCHS = 8
"""Times that each of several networks must read the text, to be worth its share of the time
(benchmarks/LOG.md)."""
MAX_MEMBERS = 4
"""Networks at most that a budget in minutes trains side by side."""
MAX_JOINED_SIZE = 2048
"""Largest number of units of all of them together: they are saved as one network with M * M times
the recurrent weights of each, and a larger network would be slow to read and to write with."""


def choose_members(config: Config, num_steps: int, num_train_chars: int) -> int:
    """Return how many networks a budget in minutes trains side by side. In that budget, one network
    of the sizes of `config` could take `num_steps`.

    Each reads the text MEMBER_EPOCHS times, as much as its size and its window were chosen for, and
    takes MIN_USEFUL_STEPS, at least.
    """
    # The largest number of networks of which each still reads enough and takes enough steps.
    units = resolved(config.hidden_size)
    num_read = num_steps * config.chars_per_step
    least = max(MEMBER_EPOCHS * num_train_chars, SHORT_READ, MIN_USEFUL.get(units, 0))
    members = min(
        MAX_MEMBERS, num_read // least, num_steps // MIN_USEFUL_STEPS, MAX_JOINED_SIZE // units
    )
    if members < 2 or not can_join(config, members=members, size=units):
        return 1
    return members


def steps_of_budget(config: Config, num_train_chars: int) -> int | None:
    """Return the steps of a budget in steps or epochs; None for minutes, which become steps by
    measuring.

    `plan.plan_steps` measures what minutes are.
    """
    if config.epochs is not None:
        return round(config.epochs * num_train_chars / config.chars_per_step)
    return config.steps


MIN_USEFUL_STEPS = 150
"""Steps that every model can use, however short the text, if it starts from nothing."""
MIN_TUNING_STEPS = 100
"""Steps that a network which starts with the weights of another run can use, however short the
text: an epoch of 150 names has two or three (benchmarks/LOG.md)."""


def most_useful_steps(config: Config, num_train_chars: int) -> int:
    """Return the steps after which a longer schedule ends in a higher loss, because the model
    learns the text by heart.

    Minutes that would make the model worse are not used.

    Sizes, batch rows and window are resolved. M networks can use √M times as many
    (benchmarks/LOG.md). A network that starts with the weights of another run needs fewer steps.
    """
    useful = math.sqrt(config.num_networks) * useful_chars(
        num_recurrent_weights(config), num_train_chars
    )
    least = MIN_USEFUL_STEPS if config.init_from is None else MIN_TUNING_STEPS
    return max(least, min(MAX_STEPS, round(useful / config.chars_per_step)))


DROPOUT_SCALE = 0.055
"""Dropout is this times the root of the epochs times the recurrent weights per character, less
DROPOUT_OFFSET, because more epochs and more weights make a network learn by heart. For M networks
it is divided by the root of M: they do not learn the same passages by heart (benchmarks/LOG.md)."""
DROPOUT_OFFSET = 0.09
"""Dropout costs a network that has read its text a few times more than what it knows by heart, so
there is none until the other term of DROPOUT_SCALE is larger than this (benchmarks/LOG.md)."""
MAX_DROPOUT = 0.5
"""Highest automatic dropout."""
LEAST_WEIGHT_DECAY = 0.1
"""Automatic weight decay without dropout; half of the dropout is added (benchmarks/LOG.md)."""


def choose_dropout(config: Config, num_read: float, num_train_chars: int) -> float:
    """Return the dropout of a model of resolved size that reads `num_read` characters of a text in
    all.

    A text that is read often needs more of it.
    """
    num_epochs = num_read / num_train_chars
    weights_per_char = num_recurrent_weights(config) / num_train_chars
    needed = DROPOUT_SCALE * math.sqrt(num_epochs * weights_per_char) - DROPOUT_OFFSET
    return round(min(MAX_DROPOUT, max(0.0, needed) / math.sqrt(config.num_networks)), 2)


def shares_of_dropout(config: Config) -> dict[str, float]:
    """Return the settings that follow from the dropout: the shares of the inputs and of the weights
    that are dropped, and how fast weights decay."""
    dropout = float(config.dropout)
    input_dropout = round(dropout / 3, 2)
    if config.embedding_size == "one-hot":  # Such vectors are hidden or kept as a whole.
        input_dropout = 0.0
    weight_drop = round(dropout / 2, 2)
    if config.cell_type == "irnn":  # Its state would grow without bound.
        weight_drop = 0.0
    return {
        "input_dropout": input_dropout,
        "weight_drop": weight_drop,
        "weight_decay": round(LEAST_WEIGHT_DECAY + dropout / 2, 3),
    }


LATE_FALL_EPOCHS = 3
"""Epochs from which on the learning rate falls late, in a straight line; in fewer it makes no
difference (benchmarks/LOG.md)."""
LATE_FALL: dict[str, Any] = {"decay_shape": "linear", "decay_share": 0.7}
"""The rate stays at its peak for three tenths of the steps."""
EARLY_FALL: dict[str, Any] = {"decay_shape": "cosine", "decay_share": 1.0}
"""The rate falls right after the warm-up, along half a cosine."""


def choose_fall(config: Config, steps: int, num_train_chars: int) -> dict[str, Any]:
    """Return the settings of when and how the learning rate falls in so many steps.

    A model that continues another one (`Config.init_from`) has its rate fall at once.
    """
    num_epochs = steps * config.chars_per_step / num_train_chars
    if num_epochs >= LATE_FALL_EPOCHS and config.init_from is None:
        return LATE_FALL
    return EARLY_FALL


NUM_VALIDATIONS = 8
"""Validations of a run."""
EVALUATION_SHARE = 0.05
"""Share of a run's time that validation may take."""
FORWARD_COST = 1 / 3
"""Time to read a character, as a share of the time to train on it."""


def cost_of_validation(config: Config, num_val_chars: int) -> float:
    """Return how many steps take as long as one validation, of a configuration whose
    `validation_chars` are chosen."""
    assert config.validation_chars != "auto", "the share of the validation text was not chosen"
    num_read = min(num_val_chars, config.validation_chars or num_val_chars)
    return num_read * FORWARD_COST / config.chars_per_step


MIN_VALIDATION_CHARS = 1 << 20
"""Characters of a validation text that are always read, however short the run: a smaller sample is
too noisy."""


def choose_validation_chars(config: Config, steps: int, num_val_chars: int) -> int | None:
    """Return how many characters of the validation text each validation reads; None for all.

    All validations of a run take at most `EVALUATION_SHARE` of its time, unless
    `MIN_VALIDATION_CHARS` take longer.
    """
    if config.validation_chars != "auto":
        return config.validation_chars
    num_validations = NUM_VALIDATIONS
    if config.evaluate_every != "auto":
        num_validations = max(1, steps // config.evaluate_every)

    affordable = int(
        EVALUATION_SHARE * steps * config.chars_per_step / FORWARD_COST / num_validations
    )
    # Whole segments, so that this is the number of characters that are scored.
    largest = max(MIN_VALIDATION_CHARS, affordable // SEGMENT_LENGTH * SEGMENT_LENGTH)
    return None if num_val_chars <= largest else largest


def choose_evaluate_every(config: Config, steps: int, num_val_chars: int) -> int:
    """Return after how many steps to validate: NUM_VALIDATIONS times in a run, or less often where
    that would take more than EVALUATION_SHARE of its time. `validation_chars` are chosen."""
    cost_in_steps = cost_of_validation(config, num_val_chars=num_val_chars)
    return max(math.ceil(steps / NUM_VALIDATIONS), int(cost_in_steps / EVALUATION_SHARE))


def units_of_network(config: Config) -> int:
    """Return the units per layer of a network of an ensemble."""
    return resolved(config.hidden_size) // config.num_networks


def num_recurrent_weights(config: Config) -> int:
    """Count the weights of the recurrent layers of a network, without biases and the weights of its
    depth.

    The recipe scales with it: it is what a step has to compute, whatever the alphabet is.

    The columns that one-hot vectors look up are left out, as the embedding is, unless the cell has
    no other weights.
    """
    cell = cell_type(config.cell_type)
    hidden_size = units_of_network(config)
    num_layers = resolved(config.num_layers)
    embedding_size = 0 if cell.products else min(64, hidden_size)
    if config.embedding_size != "one-hot":
        embedding_size = resolved(config.embedding_size) // config.num_networks

    # The first layer reads the embedding, each later layer the layer below; all read their own
    # state.
    input_sizes = embedding_size + (num_layers - 1) * hidden_size
    return (
        cell.input_blocks * hidden_size * input_sizes
        + num_layers * sum(cell.products.values()) * hidden_size**2
    )
