"""The recipe: whatever the text and the budget, nothing stays `auto`, and the steps are those that
were paid for."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config.settings import Config, resolved
from charrnn.training import recipe
from charrnn.training.plan import choose_sizes, choose_steps, with_members
from charrnn.training.recipe import (
    CPU_RATE,
    MIN_READ,
    MIN_USEFUL_STEPS,
    MIN_VALIDATION_CHARS,
)

CELLS = ("lstm", "gru", "rnn")
SIZES = st.one_of(st.integers(14, 3000), st.integers(14, 10**8))


def in_members(config, num_steps, num_train):
    """Return the sizes of all networks that a budget trains side by side."""
    return with_members(config, recipe.choose_members(config, num_steps, num_train))


def resolve(config, num_chars, steps_in_minutes=1710):
    """What `train` does with a text of that many characters, a tenth of it for validation."""
    num_train = int(0.9 * num_chars)
    sized = choose_sizes(config, num_train)
    return choose_steps(sized, num_train, num_chars - num_train, steps_in_minutes)


@given(
    SIZES,
    st.sampled_from(["auto", *CELLS]),
    st.sampled_from(["minutes", "epochs", "steps"]),
    st.integers(1, 40),
)
@settings(max_examples=30)
def test_nothing_stays_auto_and_every_lane_fits(num_chars, cell, budget, amount):
    given_values = {"cell_type": cell, budget: amount}
    config = resolve(Config(**given_values), num_chars)
    values = {name: getattr(config, name) for name in Config.__dataclass_fields__}
    # Where to compute is for the machine to say: how many threads when a run begins, the rest each
    # time anew.
    assert [name for name, value in values.items() if value == "auto"] == [
        "device",
        "precision",
        "threads",
    ]
    assert (
        config.minutes is None
        and config.epochs is None
        and config.steps is not None
        and config.steps >= 1
    )
    assert isinstance(config.learning_rate, float)
    num_train = int(0.9 * num_chars)
    # At least two windows to each lane, so that no step reads a character twice and lanes stay
    # apart.
    assert resolved(config.batch_size) * resolved(config.bptt_length) * 2 <= num_train
    assert resolved(config.batch_size) <= 32 and resolved(config.bptt_length) <= 128


GIVEN = {
    "num_layers": 3,
    "hidden_size": 7,
    "embedding_size": 9,
    "dropout": 0.45,
    "input_dropout": 0.25,
}
GIVEN |= {
    "batch_size": 2,
    "bptt_length": 11,
    "learning_rate": 0.123,
    "evaluate_every": 5,
    "save_every": 6,
    "steps": 17,
}


@pytest.mark.parametrize(
    "asked, num_train, rate, expected",
    [
        (GIVEN, 900, CPU_RATE, GIVEN),
        # Batch rows are no more than the text has room for.
        ({"batch_size": 4000}, 12, CPU_RATE, {"bptt_length": 3, "batch_size": 2}),
        ({"batch_size": 4000}, 5000, CPU_RATE, {"bptt_length": 128, "batch_size": 19}),
        ({"batch_size": 4000}, 1_024_000, CPU_RATE, {"bptt_length": 128, "batch_size": 4000}),
        ({"bptt_length": 500}, 100, CPU_RATE, {"bptt_length": 50, "batch_size": 1}),
    ],
)
def test_settings_kept_or_chosen(asked, num_train, rate, expected):
    sized = choose_sizes(Config(**asked), num_train, rate)
    chosen = choose_steps(sized, num_train, num_train // 9, 1710)
    assert {name: getattr(chosen, name) for name in expected} == pytest.approx(expected)


def test_the_more_often_a_text_is_read_the_more_is_dropped():
    all_epochs = (1.0, 2.9, 4.0, 9.0, 16.0, 100.0)
    chosen = [resolve(Config(epochs=epochs, hidden_size=512), 10**6) for epochs in all_epochs]
    dropouts = [config.dropout for config in chosen]
    assert resolve(Config(epochs=8.0, hidden_size=512, weight_decay=0.0), 10**6).weight_decay == 0
    assert dropouts == sorted(dropouts) and dropouts[0] == 0 < dropouts[-1] < 1
    for name in ("input_dropout", "weight_drop", "weight_decay"):
        values = [getattr(config, name) for config in chosen]
        assert values == sorted(values) and values[0] < values[-1] < 1
    # The weights that are left are scaled up, and with them the state of an irnn, which is not
    # bounded.
    irnn = resolve(Config(epochs=80.0, hidden_size=512, cell_type="irnn"), 10**6)
    assert irnn.weight_drop == 0 < float(irnn.input_dropout)


def test_the_rate_falls_late_where_a_text_is_read_three_times_or_more():
    falls = {epochs: resolve(Config(epochs=epochs, hidden_size=64), 10**6) for epochs in (2.5, 3.5)}
    assert (falls[2.5].decay_shape, falls[2.5].decay_share) == ("cosine", 1.0)
    assert (falls[3.5].decay_shape, falls[3.5].decay_share) == ("linear", 0.7)
    asked = resolve(Config(epochs=9.0, hidden_size=64, decay_share=0.2), 10**6)
    assert (asked.decay_shape, asked.decay_share) == ("linear", 0.2)
    # What continues another model has little to learn at a high rate.
    fine_tuned = resolve(Config(epochs=9.0, hidden_size=64, init_from="prose"), 10**6)
    assert fine_tuned.decay_shape == "cosine"


def test_the_other_shares_follow_from_the_dropout():
    chosen = resolve(Config(dropout=0.4, steps=100, hidden_size=64), 10_000)
    assert (chosen.input_dropout, chosen.weight_drop, chosen.weight_decay) == (0.13, 0.2, 0.3)


@given(
    st.integers(0, 10**6), st.integers(10**4, 10**8), st.sampled_from(["lstm", "unitary", "gru"])
)
@settings(max_examples=60)
def test_time_for_several_networks_trains_them(num_steps, num_train, cell):
    sized = choose_sizes(Config(minutes=9.0, cell_type=cell, hidden_size=128), num_train)
    chosen = in_members(sized, num_steps, num_train)
    members = chosen.num_networks
    assert (chosen.hidden_size, chosen.embedding_size) == (128 * members, 64 * members)
    assert recipe.num_recurrent_weights(chosen) == recipe.num_recurrent_weights(sized)

    def have_time(members):
        """Whether each takes enough steps, and reads enough characters, and the text often
        enough."""
        num_read = num_steps * resolved(sized.batch_size) * resolved(sized.bptt_length)
        least = max(recipe.MEMBER_EPOCHS * num_train, recipe.SHORT_READ)
        return num_steps >= MIN_USEFUL_STEPS * members and num_read >= members * least

    assert members == 1 or have_time(members)
    assert members == recipe.MAX_MEMBERS or not have_time(members + 1) or cell == "unitary"
    assert members <= in_members(sized, 2 * num_steps, num_train).num_networks <= 4
    assert members == 1 or cell != "unitary"
    large = in_members(replace(sized, hidden_size=1024), num_steps, num_train).num_networks
    assert large <= 2
    if large > 1:
        assert num_steps * 32 * 128 >= MIN_READ[1024] * large


def test_sizes_that_are_chosen_are_those_of_each_network():
    one = choose_sizes(Config(steps=2400), 10**6)
    four = choose_sizes(Config(steps=2400, num_members=4), 10**6)
    assert one.learning_rate == four.learning_rate
    assert resolved(four.hidden_size) == 4 * resolved(one.hidden_size)
    assert resolved(four.embedding_size) == 4 * resolved(one.embedding_size)
    assert recipe.chars_of_minutes(four, 1e12) == pytest.approx(
        recipe.chars_of_minutes(one, 1e12) / 4
    )


@given(st.integers(14, 10**11), st.integers(1, 10**7), st.sampled_from(["auto", 1, 100]))
@settings(max_examples=40)
def test_validation_takes_a_share_and_a_small_text_is_whole(num_chars, steps, evaluate_every):
    config = resolve(Config(steps=steps, evaluate_every=evaluate_every), num_chars)
    num_val = num_chars - int(0.9 * num_chars)
    num_read = config.validation_chars or num_val
    assert isinstance(num_read, int) and num_read <= num_val
    if num_val <= MIN_VALIDATION_CHARS:
        assert config.validation_chars is None
    cost = (
        (steps // resolved(config.evaluate_every))
        * num_read
        * recipe.FORWARD_COST
        / resolved(config.batch_size)
    )
    affordable = recipe.EVALUATION_SHARE * steps * resolved(config.bptt_length)
    if num_read > MIN_VALIDATION_CHARS:
        assert cost <= 1.01 * affordable
        # The least number of characters may fit less often than that, or not at all.
        if num_read < num_val and steps > 1000:
            assert cost >= 0.9 * affordable
    if evaluate_every == "auto" and num_val > MIN_VALIDATION_CHARS:
        assert num_read >= MIN_VALIDATION_CHARS


ALL_TEXTS = [int(20_000 * 50_000 ** (k / 4)) for k in range(5)]
"""Characters of a text, from 20 kB to 1 GB."""
ALL_MINUTES = [2 / 60 * 43_200 ** (k / 3) for k in range(4)]
"""Budgets from two seconds to a day."""
ALL_RATES = [CPU_RATE / 4, 1.5 * CPU_RATE, 5e12]
"""Assumed operations per second, from an old processor to a GPU."""


def test_more_text_budget_or_speed_never_gives_fewer_units():
    chosen = {}
    for i, j, k in product(range(len(ALL_TEXTS)), range(len(ALL_MINUTES)), range(len(ALL_RATES))):
        sized = choose_sizes(Config(minutes=ALL_MINUTES[j]), ALL_TEXTS[i], ALL_RATES[k])
        chosen[i, j, k] = resolved(sized.hidden_size)
    for (i, j, k), size in chosen.items():
        for smaller in ((i - 1, j, k), (i, j - 1, k), (i, j, k - 1)):
            assert chosen.get(smaller, 0) <= size
    assert set(chosen.values()) <= set(MIN_READ)
    assert chosen[0, 0, 0] == min(MIN_READ) and chosen[4, 3, 2] == max(MIN_READ)


def test_minutes_choose_no_more_weights_than_the_text_has_characters():
    minutes = choose_sizes(Config(minutes=60.0), 10**6, 1e15)
    steps = choose_sizes(Config(steps=10**5), 10**6)
    assert recipe.num_recurrent_weights(minutes) <= 10**6 < recipe.num_recurrent_weights(steps)


def test_a_budget_in_steps_or_epochs_is_not_cut_and_its_characters_choose_the_size():
    for given_values in ({"steps": 3}, {"steps": 1200}, {"epochs": 9}):
        config = Config(**given_values)
        sizes = {choose_sizes(config, 10**6, rate).hidden_size for rate in (1.0, CPU_RATE, 1e15)}
        assert len(sizes) == 1, "what is read does not depend on the machine"
    planned = resolve(Config(epochs=1e4), 10**6)
    assert planned.steps == round(1e4 * 900_000 / 4096)


@pytest.mark.parametrize("num_train", [1_000, 90_000, 1_000_000])
def test_a_longer_budget_ends_where_the_text_is_learnt_by_heart(num_train):
    config = Config(minutes=1e4)
    sized = choose_sizes(config, num_train)
    limit = recipe.most_useful_steps(sized, num_train)
    cut = choose_steps(sized, num_train, num_train // 9, limit)
    assert cut.steps == limit
    # However short the text is, something is learnt.
    assert limit >= MIN_USEFUL_STEPS
    four = in_members(sized, 10**9, num_train)
    of_four = recipe.most_useful_steps(four, num_train)
    assert of_four == pytest.approx(2 * limit, abs=2) or limit == MIN_USEFUL_STEPS


def test_fine_tuning_takes_lower_rates_and_ends_before_a_short_text_is_learnt_by_heart():
    """At the rate and for the steps of a new network, it forgets what it knew (benchmarks/LOG.md)."""
    new = choose_sizes(Config(minutes=1.0, hidden_size=256), 10_000)
    tuned = choose_sizes(Config(minutes=1.0, hidden_size=256, init_from="old"), 10_000)
    assert tuned.learning_rate == pytest.approx(resolved(new.learning_rate) / 4.5)
    assert recipe.most_useful_steps(new, 10_000) == MIN_USEFUL_STEPS
    assert recipe.most_useful_steps(tuned, 10_000) == recipe.MIN_TUNING_STEPS, "19 steps"
    asked = Config(minutes=1.0, hidden_size=256, init_from="old", learning_rate=0.01)
    assert choose_sizes(asked, 10_000).learning_rate == 0.01
