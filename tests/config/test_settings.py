"""Configurations: what is written is read back, and what is wrong is refused by name."""

import codecs
import math
import os
from encodings.aliases import aliases
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from charrnn.config.settings import BUDGETS, FIELD_NAMES, Config, parse_value
from charrnn.config.settings_file import (
    from_yaml,
    read_yaml,
    to_yaml,
)
from charrnn.errors import UsageError

NUMBERS = [-1, 0, 1, 2, 0.5, 10**13, 1e39, -1e39, math.inf, -math.inf, math.nan]
WORDS = ["auto", "one-hot", "char", "utf-8", "sorted", "lines", "lstm", "grid", "learned", "sgd"]
WORDS += ["cpu", "fp32", "zip"]
TUPLES = [(), (0.8, 0.1, 0.1), (1.0,), (math.nan, 1.0), ("a b/c.txt", "lone \udcff", " d ")]
HINTS = get_type_hints(Config)


def candidates(name):
    """Return values of the type of a field, in its range and outside."""
    default = getattr(Config(), name)
    kinds = {HINTS[name], *get_args(HINTS[name])}
    if kinds & {int, float} and not isinstance(default, tuple):
        return [default, "auto", *NUMBERS]
    if str in kinds and not isinstance(default, tuple):
        return [default, *WORDS]
    return [default, *(one for one in (*TUPLES, False, True) if type(one) is type(default))]


def is_allowed(name, value):
    """Return whether a configuration may have a value in a field."""
    try:
        Config(**{name: value})
    except UsageError:
        return False
    return True


JOINTLY = {
    name: st.sampled_from([value for value in candidates(name) if is_allowed(name, value)])
    for name in FIELD_NAMES
    if name not in BUDGETS
}
# These exclude many values of other fields, and have tests of their own.
JOINTLY |= {"omega": st.just(0.0), "parameters": st.none(), "join_lines": st.just(False)}


@given(st.fixed_dictionaries(JOINTLY), st.sampled_from([None, *BUDGETS]))
@settings(max_examples=25)
def test_any_configuration_comes_back_from_its_yaml(values, budget):
    if budget is not None:
        values = {**values, budget: 1}
    try:
        config = Config(**values)
    except UsageError:  # values that do not go together
        assume(False)
    text = to_yaml(config)
    assert from_yaml(text, "config.yaml") == config
    assert tuple(read_yaml(text, "config.yaml")) == FIELD_NAMES


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_a_value_is_kept_or_refused_by_the_name_of_its_field(name):
    for value in candidates(name):
        if is_allowed(name, value):
            assert getattr(Config(**{name: value}), name) == value
            continue
        with pytest.raises(UsageError) as caught:
            Config(**{name: value})
        assert str(caught.value).startswith(f"`{name}` is ")
        assert "; it must be " in str(caught.value)


SHARE = ((0.0, 0.999), (-0.001, 1.0))
"""At least 0 and below 1."""
COUNT = ((1, 10**9), (0, -1))
RANGES = {
    "hidden_size": ((1, 16_384), (0, 16_385)),
    "embedding_size": ((1, 16_384, "one-hot"), (0, 16_385, "auto-hot")),
    "num_layers": ((1, 64), (0, 65)),
    "num_members": ((1, 64), (0, 65)),
    "parameters": ((1, 10**12), (0, 10**12 + 1)),
    "dropout": SHARE,
    "input_dropout": SHARE,
    "weight_drop": SHARE,
    "zoneout": SHARE,
    "beta1": SHARE,
    "beta2": SHARE,
    "weight_average": SHARE,
    "reset_probability": ((0.0, 1.0), (-0.001, 1.001)),
    "learning_rate": ((1e-9, 10.0), (0.0, 10.001)),
    "final_learning_rate": ((0.0, 1.0), (-0.001, 1.001)),
    "decay_share": ((0.001, 1.0), (0.0, 1.001)),
    "decay_shape": (("auto", "cosine", "linear"), ("Linear", "exponential")),
    "weight_decay": ((0.0, 1000.0), (-0.001, 1000.001)),
    "muon_scale": ((0.0, 1000.0), (-0.001, 1e300)),
    "output_scale": ((0.0, 1000.0), (-0.001, 1e300)),
    "clip_norm": ((1e-9, 1e9), (0.0, -1.0)),
    "minutes": ((1e-9, 100_000.0), (0.0, 100_001.0)),
    "epochs": ((1e-9, 100_000.0), (0.0, 100_001.0)),
    "steps": ((1, 10**9), (0, 10**9 + 1)),
    "batch_size": ((1, 65_536), (0, 65_537)),
    "bptt_length": ((1, 65_536), (0, 65_537)),
    "warmup_steps": ((0, 10**6), (-1,)),
    "keep": ((0, 10**6), (-1,)),
    "min_count": COUNT,
    "evaluate_every": COUNT,
    "save_every": COUNT,
    "validation_chars": COUNT,
    "threads": ((1, 1024), (0, 1025)),
    "seed": ((0, 2**32 - 1), (-1, 2**32)),
    "order_seed": ((0, 2**32 - 1), (-1, 2**32)),
    "split": (((0.9, 0.1), (8, 1, 1)), ((1.0,), (0.9, 0.0), (0.9, math.nan))),
    "alphabet": (("char", "byte", "exact"), ("CHAR",)),
}
"""Values that a field takes, and values that it refuses."""


@pytest.mark.parametrize("name", RANGES)
def test_a_field_takes_its_range_and_nothing_beside_it(name):
    inside, outside = RANGES[name]
    for value in inside:
        Config(**{name: value})
    for value in outside:
        with pytest.raises(UsageError, match=rf"^`{name}` is .*; it must be "):
            Config(**{name: value})


@pytest.mark.parametrize(
    "name, written, meant",
    [
        ("learning_rate", "1e-3", 0.001),
        ("hidden_size", " auto ", "auto"),
        ("steps", 2e6, 2_000_000),
        ("steps", "1.5k", 1500),
        ("minutes", "null", None),
        ("steps", "999999999", 999_999_999),  # exact: not by way of a float
        ("split", "90/10", (90.0, 10.0)),
        ("split", [0.5, 1], (0.5, 1.0)),
        ("corpus", os.pathsep.join(["poems.txt", "letters"]), ("poems.txt", "letters")),
        ("sum_outputs", "true", True),
    ],
)
def test_what_a_person_writes_becomes_the_type_of_the_field(name, written, meant):
    value = parse_value(name, written)
    assert value == meant and type(value) is type(meant)


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_an_empty_text_is_no_value_of_any_field(name):
    with pytest.raises(UsageError, match=f"^`{name}` is empty: give a value, or leave it out"):
        parse_value(name, "")


@pytest.mark.parametrize("typed", ["inf", "1e999", "1e100", "-1e100", "nan"])
def test_a_whole_number_is_finite_and_has_at_most_100_digits(typed):
    with pytest.raises(UsageError, match=r"^`steps` is .*; it must be a whole number"):
        parse_value("steps", typed)


def test_a_file_whose_name_has_the_separator_is_one_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.pathsep.join(["a poem", " b.txt"])
    assert parse_value("corpus", name) == ("a poem", " b.txt")
    Path(name).touch()
    assert parse_value("corpus", name) == (name,)


def test_every_encoding_that_is_allowed_decodes_text_and_one_mistyped_meets_the_nearest():
    for name in {*aliases.values()} - {"mbcs"}:
        if codecs.lookup(name)._is_text_encoding:
            assert "a".encode(Config(encoding=name.replace("_", "- ").upper()).encoding)
    for typed, meant in (("latin-l", "latin-1"), ("windows-l252", "cp1252")):
        with pytest.raises(
            UsageError, match=rf"^`encoding` is {typed}; .* Did you mean .+\?$"
        ) as caught:
            Config(encoding=typed)
        near = str(caught.value).rpartition("mean ")[2].rstrip("?")
        assert codecs.lookup(near).name == codecs.lookup(meant).name
