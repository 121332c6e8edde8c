"""Configurations: what is written is read back, what is wrong is refused by name, and the nearest layer wins."""

import codecs
import math
import os
import tracemalloc
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import charrnn.config
from charrnn.architectures import CELLS, DEPTHS, OPTIMIZERS
from charrnn.config import BUDGETS, DOCUMENTS, FIELD_NAMES, Config, check_field_name, parse_value
from charrnn.errors import DataError, UsageError
from charrnn.settings import _FLAT, from_yaml, load_yaml, merge_settings, read_recipe, read_yaml, to_yaml

RECIPES = Path(charrnn.config.__file__).parent / "recipes"
FAST_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C, where PyYAML was built with it."""

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
SHARES = st.floats(0, 1, exclude_max=True)
POSITIVE = st.floats(0, 1e9, exclude_min=True)


def auto_or(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just("auto") | values


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "corpus": st.lists(st.text(st.characters(), max_size=12), max_size=3).map(tuple),  # lone surrogates included
    "alphabet": st.sampled_from(["char", "byte"]),
    "encoding": st.just("utf-8"),  # anything else wants characters
    "order": st.sampled_from(["shuffled", "sorted"]),
    "order_seed": st.integers(0, 2**32 - 1),
    "min_count": st.integers(1),
    "split": st.lists(POSITIVE, min_size=2, max_size=3).map(tuple),
    "documents": st.sampled_from(["none", "files", "lines", "blank-lines"]),
    "column": st.none(),  # anything else wants documents that are its values
    "cell": st.sampled_from(["auto", *CELLS]).filter(lambda cell: cell != "unitary"),  # wants an even hidden_size
    "depth": st.sampled_from(["stacked", "residual", "highway"]),  # dilated limits num_layers
    "sum_outputs": st.booleans(),
    "num_layers": auto_or(st.integers(1, 64)),
    "hidden_size": auto_or(st.integers(1, 16384)),
    "embedding_size": auto_or(st.integers(1, 16384)),
    "parameters": st.none() | st.integers(1, 10**12),
    "dropout": auto_or(SHARES),
    "input_dropout": auto_or(SHARES),
    "weight_drop": SHARES,
    "zoneout": SHARES,
    "omega": st.just(0.0),  # anything else wants a plain rnn
    "initial_state": st.sampled_from(["zero", "learned"]),
    "init_from": st.none() | st.from_regex(r"checkpoints/[\w. -]*\w", fullmatch=True),
    "extend_alphabet": st.booleans(),
    "forget_bias": st.floats(allow_nan=False, allow_infinity=False),
    "num_lanes": auto_or(st.integers(1, 65536)),
    "bptt_length": auto_or(st.integers(1, 65536)),
    "reset_probability": st.floats(0, 1, exclude_min=True),  # a learned initial state needs some
    "learning_rate": auto_or(st.floats(0, 10, exclude_min=True)),
    "final_learning_rate": st.floats(0, 1),
    "warmup_steps": st.integers(0),
    "optimizer": st.sampled_from(sorted(OPTIMIZERS)),
    "muon_scale": st.floats(0, allow_infinity=False),
    "beta1": SHARES,
    "beta2": SHARES,
    "weight_decay": st.floats(0, allow_infinity=False),
    "clip_norm": POSITIVE,
    "sync_every": st.integers(1, 10**6),
    "weight_average": SHARES,
    "seed": st.integers(0, 2**32 - 1),
    "device": st.sampled_from(["auto", "cpu", "cuda", "mps"]),
    "precision": st.sampled_from(["auto", "fp32", "bf16", "fp16"]),
    "threads": auto_or(st.integers(1, 1024)),
    "evaluate_every": auto_or(st.integers(1)),
    "validation_chars": st.none() | auto_or(st.integers(1)),
    "save_every": auto_or(st.integers(1)),
    "keep": st.integers(0),
}
BUDGET = st.one_of(
    st.just({}),
    st.builds(lambda minutes: {"minutes": minutes}, st.floats(0, 1e5, exclude_min=True)),
    st.builds(lambda epochs: {"epochs": epochs}, st.floats(0, 1e5, exclude_min=True)),
    st.builds(lambda steps: {"steps": steps}, st.integers(1, 10**9)),
)


def test_every_field_is_drawn_by_the_round_trip() -> None:
    assert {*VALUES, *BUDGETS} == set(FIELD_NAMES)


@given(st.fixed_dictionaries(VALUES), BUDGET)
@EXAMPLES
def test_any_configuration_comes_back_from_its_yaml(values: dict[str, Any], budget: dict[str, Any]) -> None:
    if values["cell"] == "irnn":
        values["weight_drop"] = 0.0  # refused
    if values["parameters"] is not None:
        values["hidden_size"] = "auto"  # one follows from the other
    config = Config(**values, **budget)
    assert from_yaml(to_yaml(config), "config.yaml") == config


def test_yaml_holds_every_field_in_the_order_of_the_class() -> None:
    assert tuple(read_yaml(to_yaml(Config(steps=7)), "config.yaml")) == FIELD_NAMES


WHAT_IS_GIVEN_AND_WHAT_IT_MEANS = [
    ("learning_rate", "1e-3", 0.001),
    ("learning_rate", 1, 1.0),
    ("learning_rate", "auto", "auto"),
    ("hidden_size", " auto ", "auto"),
    ("hidden_size", "256", 256),
    ("hidden_size", 256.0, 256),
    ("steps", "1e3", 1000),
    ("steps", 2e6, 2_000_000),
    ("steps", "1.5k", 1500),
    ("steps", "none", None),
    ("minutes", None, None),
    ("minutes", "null", None),
    ("epochs", "", None),
    ("minutes", " 2.5 ", 2.5),
    ("steps", "999999999", 999_999_999),  # exact: not by way of a float
    ("seed", 2**32 - 1, 2**32 - 1),
    ("cell", " gru ", "gru"),
    ("cell", "auto", "auto"),
    ("split", "90/10", (90.0, 10.0)),
    ("split", "80,10, 10", (80.0, 10.0, 10.0)),
    ("split", [0.5, 1], (0.5, 1.0)),
    ("corpus", os.pathsep.join(["poems.txt", "letters"]), ("poems.txt", "letters")),
    ("corpus", ["poems.txt", " letters "], ("poems.txt", " letters ")),
]


@pytest.mark.parametrize(("name", "given", "meant"), WHAT_IS_GIVEN_AND_WHAT_IT_MEANS)
def test_what_a_person_writes_becomes_the_type_of_the_field(name: str, given: object, meant: object) -> None:
    value = parse_value(name, given)
    assert value == meant
    assert type(value) is type(meant)


def test_a_number_with_an_exponent_in_yaml_is_a_number() -> None:
    # YAML 1.1 wants `1.0e-3`; without the point it calls this text.
    config = from_yaml("learning_rate: 1e-3\nsteps: 2e3\n", "recipe.yaml")
    assert config.learning_rate == 0.001
    assert (config.steps, type(config.steps)) == (2000, int)


WRONG_KINDS = [
    ("num_layers", 2.5, "a whole number or auto"),
    ("num_layers", "two", "a whole number or auto"),
    ("num_layers", None, "a whole number or auto"),
    ("steps", "nan", "a whole number or null"),
    ("steps", math.inf, "a whole number or null"),
    ("seed", "auto", "a whole number"),
    ("seed", "9" * 5000, "a whole number"),  # Python refuses to parse that many digits
    ("seed", [1], "a whole number"),
    ("minutes", 10**400, "a number or null"),  # larger than any float
    ("reset_probability", "auto", "a number"),
    ("dropout", {"p": 1}, "a number or auto"),
    ("cell", 3, "a word"),
    ("alphabet", None, "a word"),
    ("split", 0.9, "two or three positive shares, such as 90/10"),
    ("split", [0.9, True], "two or three positive shares, such as 90/10"),
    ("split", "most/rest", "two or three positive shares, such as 90/10"),
    ("corpus", [1], "a list"),
    ("corpus", {"file": "poems.txt"}, "a list"),
]


@pytest.mark.parametrize(("name", "given", "wanted"), WRONG_KINDS)
def test_a_value_of_the_wrong_kind_is_refused_with_the_kind_that_is_wanted(
    name: str, given: object, wanted: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_value(name, given)
    shown = str(given)[:80]
    assert str(caught.value) == f"`{name}` is {shown!r}; it must be {wanted}."


NO_NUMBERS = (
    "corpus",
    "split",
    "alphabet",
    "encoding",
    "cell",
    "depth",
    "sum_outputs",
    "documents",
    "column",
    "initial_state",
    "order",
    "init_from",
    "extend_alphabet",
    "optimizer",
    "device",
    "precision",
)
NUMBERS = [name for name in FIELD_NAMES if name not in NO_NUMBERS]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, False])
def test_yes_and_no_are_no_numbers(name: str, value: bool) -> None:
    with pytest.raises(UsageError, match=f"^`{name}` is '{value}'; it must be a (whole )?number"):
        parse_value(name, value)


@pytest.mark.parametrize("word", ["yes", "no", "on", "true"])  # booleans to YAML 1.1
def test_yes_and_no_in_yaml_are_no_words_either(word: str) -> None:
    with pytest.raises(UsageError, match=r"`cell` is '(True|False)'; it must be a word"):
        from_yaml(f"cell: {word}", "recipe.yaml")


OUT_OF_RANGE: list[tuple[str, Any, str]] = [
    ("alphabet", "auto", "one of char, exact, byte"),
    ("alphabet", "CHAR", "one of char, exact, byte"),
    ("encoding", "", "a text encoding that Python knows, such as utf-8, latin-1, cp1252 or utf-16"),
    ("encoding", "rot13", "a text encoding that Python knows, such as utf-8, latin-1, cp1252 or utf-16"),
    ("encoding", "zip", "a text encoding that Python knows, such as utf-8, latin-1, cp1252 or utf-16"),
    ("encoding", "q!z", "a text encoding that Python knows, such as utf-8, latin-1, cp1252 or utf-16"),
    ("min_count", 0, "at least 1"),
    ("split", (1.0,), "two or three positive shares, such as 90/10"),
    ("split", (1.0, 1.0, 1.0, 1.0), "two or three positive shares, such as 90/10"),
    ("split", (1.0, 0.0), "two or three positive shares, such as 90/10"),
    ("split", (1.0, math.inf), "two or three positive shares, such as 90/10"),
    ("split", (math.nan, 1.0), "two or three positive shares, such as 90/10"),
    ("cell", "elman", f"one of auto, {', '.join(CELLS)}, or a cell that an installed package provides"),
    ("depth", "deep", f"one of {', '.join(DEPTHS)}"),
    ("order", "random", "one of shuffled, sorted"),
    ("order_seed", -1, "between 0 and 2^32 - 1"),
    ("initial_state", "random", "one of zero, learned"),
    ("omega", -1.0, "at least 0 and finite"),
    ("omega", math.inf, "at least 0 and finite"),
    ("threads", 0, "between 1 and 1024"),
    ("threads", 1025, "between 1 and 1024"),
    ("num_layers", 0, "between 1 and 64"),
    ("num_layers", 65, "between 1 and 64"),
    ("hidden_size", 0, "between 1 and 16384"),
    ("hidden_size", 16385, "between 1 and 16384"),
    ("embedding_size", 0, "between 1 and 16384"),
    ("embedding_size", 16385, "between 1 and 16384"),
    ("parameters", 0, "between 1 and 10^12"),
    ("parameters", 10**12 + 1, "between 1 and 10^12"),
    ("dropout", -0.1, "at least 0 and below 1"),
    ("dropout", 1.0, "at least 0 and below 1"),
    ("input_dropout", 1.0, "at least 0 and below 1"),
    ("weight_drop", -0.1, "at least 0 and below 1"),
    ("zoneout", 1.0, "at least 0 and below 1"),
    ("dropout", math.nan, "at least 0 and below 1"),
    ("forget_bias", math.inf, "a finite number"),
    ("forget_bias", math.nan, "a finite number"),
    ("minutes", 0.0, "more than 0 and at most 100000"),
    ("minutes", 100001.0, "more than 0 and at most 100000"),
    ("minutes", math.nan, "more than 0 and at most 100000"),
    ("epochs", 0.0, "more than 0 and at most 100000"),
    ("epochs", 100001.0, "more than 0 and at most 100000"),
    ("epochs", math.nan, "more than 0 and at most 100000"),
    ("steps", 0, "between 1 and 10^9"),
    ("steps", 10**9 + 1, "between 1 and 10^9"),
    ("documents", "pages", f"one of {', '.join(DOCUMENTS)}"),
    ("column", "", "a name of up to 1,000 characters"),
    ("num_lanes", 0, "between 1 and 65536"),
    ("num_lanes", 65537, "between 1 and 65536"),
    ("bptt_length", 0, "between 1 and 65536"),
    ("bptt_length", 65537, "between 1 and 65536"),
    ("reset_probability", -0.01, "between 0 and 1"),
    ("reset_probability", 1.01, "between 0 and 1"),
    ("reset_probability", math.nan, "between 0 and 1"),
    ("learning_rate", 0.0, "more than 0 and at most 10"),
    ("learning_rate", 10.5, "more than 0 and at most 10"),
    ("learning_rate", math.nan, "more than 0 and at most 10"),
    ("final_learning_rate", -0.01, "between 0 and 1"),
    ("final_learning_rate", 1.01, "between 0 and 1"),
    ("final_learning_rate", math.nan, "between 0 and 1"),
    ("warmup_steps", -1, "at least 0"),
    ("optimizer", "lamb", f"one of {', '.join(OPTIMIZERS)}"),
    ("muon_scale", -1.0, "at least 0 and finite"),
    ("muon_scale", math.inf, "at least 0 and finite"),
    ("beta1", 1.0, "at least 0 and below 1"),
    ("beta2", -0.1, "at least 0 and below 1"),
    ("beta2", 1.0, "at least 0 and below 1"),
    ("beta2", math.nan, "at least 0 and below 1"),
    ("weight_decay", -0.1, "at least 0 and finite"),
    ("weight_decay", math.inf, "at least 0 and finite"),
    ("weight_decay", math.nan, "at least 0 and finite"),
    ("clip_norm", 0.0, "more than 0"),
    ("clip_norm", math.nan, "more than 0"),
    ("sync_every", 0, "between 1 and 10^6"),
    ("weight_average", -0.1, "at least 0 and below 1"),
    ("weight_average", 1.0, "at least 0 and below 1"),
    ("weight_average", math.nan, "at least 0 and below 1"),
    ("seed", -1, "between 0 and 2^32 - 1"),
    ("seed", 2**32, "between 0 and 2^32 - 1"),
    ("device", "tpu", "one of auto, cpu, cuda, mps"),
    ("precision", "fp64", "one of auto, fp32, bf16, fp16"),
    ("evaluate_every", 0, "at least 1"),
    ("validation_chars", 0, "at least 1"),
    ("save_every", 0, "at least 1"),
    ("keep", -1, "at least 0"),
]


def test_every_field_but_the_corpus_has_a_value_out_of_range() -> None:
    free = {"corpus", "sum_outputs", "init_from", "extend_alphabet"}
    assert {name for name, _, _ in OUT_OF_RANGE} == set(FIELD_NAMES) - free


@pytest.mark.parametrize(("name", "value", "allowed"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_named_with_what_is_allowed(name: str, value: Any, allowed: str) -> None:
    shown = "/".join(map(str, value)) if name == "split" else value
    with pytest.raises(UsageError) as caught:
        Config(**{name: value})
    message, _, near = str(caught.value).partition(" Did you mean ")
    assert message == f"`{name}` is {shown}; it must be {allowed}."
    assert near == {"CHAR": "char?", "tpu": "cpu?", "fp64": "fp16?"}.get(str(value), "")


@pytest.mark.parametrize(("typed", "meant"), [("latin-l", "latin-1"), ("utf-61", "utf-16"), ("windows-l252", "cp1252")])
def test_an_encoding_mistyped_meets_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"^`encoding` is {typed}; .* Did you mean .+\?$") as caught:
        Config(encoding=typed)
    near = str(caught.value).rpartition("mean ")[2].rstrip("?")
    assert codecs.lookup(near).name == codecs.lookup(meant).name


def test_every_encoding_that_is_allowed_decodes_text() -> None:
    for name in sorted(charrnn.config._ENCODINGS):
        assert b"".decode(Config(encoding=name).encoding) == ""
        assert b"".decode(Config(encoding=name.replace("_", "- ").upper()).encoding) == ""


ENDS_OF_RANGES: dict[str, list[Any]] = {
    "min_count": [1],
    "split": [(1e-9, 1e9), (1.0, 1.0, 1.0)],
    "num_layers": [1, 64],
    "hidden_size": [1, 16384],
    "embedding_size": [1, 16384],
    "parameters": [1, 10**12],
    "dropout": [0.0, 0.999],
    "minutes": [1e-9, 1e5],
    "epochs": [1e-9, 1e5],
    "steps": [1, 10**9],
    "num_lanes": [1, 65536],
    "bptt_length": [1, 65536],
    "reset_probability": [0.0, 1.0],
    "learning_rate": [1e-9, 10.0],
    "final_learning_rate": [0.0, 1.0],
    "warmup_steps": [0],
    "beta2": [0.0, 0.999],
    "weight_decay": [0.0],
    "weight_average": [0.0, 0.999],
    "seed": [0, 2**32 - 1],
    "evaluate_every": [1],
    "save_every": [1],
    "keep": [0],
}


@pytest.mark.parametrize("name", ENDS_OF_RANGES)
def test_the_ends_of_a_range_belong_to_it(name: str) -> None:
    for value in ENDS_OF_RANGES[name]:
        assert getattr(Config(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("misspelt", "nearest"),
    [("num_layer", "num_layers"), ("learningrate", "learning_rate"), ("sead", "seed"), ("beta_2", "beta2")],
)
def test_an_unknown_field_is_refused_with_the_nearest_name_wherever_it_is_given(misspelt: str, nearest: str) -> None:
    message = f"^There is no configuration field '{misspelt}'. Did you mean {nearest}\\?$"
    with pytest.raises(UsageError, match=message):
        check_field_name(misspelt)
    with pytest.raises(UsageError, match=message):
        parse_value(misspelt, "1")
    with pytest.raises(UsageError, match=message.replace("^", r"^recipe\.yaml: ")):
        read_yaml(f"{misspelt}: 1", "recipe.yaml")
    with pytest.raises(UsageError, match=message):
        merge_settings(flags={misspelt: 1})


def test_the_standard_name_of_a_field_sets_it() -> None:
    assert check_field_name("batch_size") == "num_lanes"
    assert read_yaml("batch_size: 8", "a recipe") == {"num_lanes": 8}


def test_an_unknown_field_like_no_other_is_refused_with_all_names() -> None:
    with pytest.raises(UsageError, match=r"The fields are corpus, alphabet, .*, keep\.$"):
        read_yaml("42: 1", "recipe.yaml")


@pytest.mark.parametrize(("in_file", "in_environment", "as_flag"), list(product([False, True], repeat=3)))
def test_flag_over_environment_over_file_over_default(in_file: bool, in_environment: bool, as_flag: bool) -> None:
    config, origins = merge_settings(
        flags={"seed": 3 if as_flag else None, "keep": None},  # an option that was left out is None
        file={"seed": "1"} if in_file else None,
        file_name="poems.yaml",
        environment={"HOME": "/home", "CHARRNN_CORPORA": "/texts", **({"CHARRNN_SEED": "2"} if in_environment else {})},
    )
    expected = (3, "flag") if as_flag else (2, "environment") if in_environment else (0, "default")
    if in_file and not as_flag and not in_environment:
        expected = (1, "poems.yaml")
    assert (config.seed, origins["seed"]) == expected
    assert tuple(origins) == FIELD_NAMES
    assert {origin for name, origin in origins.items() if name != "seed"} == {"default"}


def test_an_optimizer_that_muon_scale_chose_has_its_source() -> None:
    config, origins = merge_settings(flags={}, file={"muon_scale": 0}, file_name="old.yaml")
    assert (config.optimizer, origins["optimizer"]) == ("adamw", "old.yaml")
    config, origins = merge_settings(flags={"optimizer": "sgd"}, file={"muon_scale": 0}, file_name="old.yaml")
    assert (config.optimizer, origins["optimizer"]) == ("sgd", "flag")
    with pytest.raises(UsageError, match=r"`muon_scale` is 0, .* Choose `optimizer=adamw`, or `muon_scale=2`"):
        merge_settings(flags={"optimizer": "muon"}, file={"muon_scale": 0})


@pytest.mark.parametrize(("below", "above"), list(product(BUDGETS, BUDGETS)))
def test_a_budget_replaces_a_budget_of_any_kind_from_a_lower_layer(below: str, above: str) -> None:
    config, origins = merge_settings(flags={above: 2}, file={below: 5}, environment={f"CHARRNN_{below.upper()}": "7"})
    assert {name: getattr(config, name) for name in BUDGETS} == {**dict.fromkeys(BUDGETS), above: 2}
    assert {name: origins[name] for name in BUDGETS} == {**dict.fromkeys(BUDGETS, "default"), above: "flag"}


def test_a_budget_can_be_taken_back() -> None:
    config, origins = merge_settings(flags={}, file={"minutes": 5}, environment={"CHARRNN_MINUTES": "none"})
    assert (config.minutes, origins["minutes"]) == (None, "environment")


def test_a_budget_that_is_left_empty_replaces_nothing() -> None:
    config, origins = merge_settings(
        flags={}, file={"minutes": 5}, file_name="own", environment={"CHARRNN_STEPS": "none"}
    )
    assert (config.minutes, origins["minutes"]) == (5.0, "own")


@pytest.mark.parametrize("pair", [("minutes", "epochs"), ("minutes", "steps"), ("epochs", "steps")])
def test_two_budgets_at_once_are_refused(pair: tuple[str, str]) -> None:
    both: dict[str, Any] = dict.fromkeys(pair, 2)
    with pytest.raises(UsageError, match="one budget only"):
        merge_settings(flags=both)
    with pytest.raises(UsageError, match="one budget only"):
        merge_settings(flags={}, file=both)
    with pytest.raises(UsageError, match="one budget only"):
        Config(**both)


def test_an_environment_value_out_of_range_is_refused_and_one_of_no_field_is_ignored() -> None:
    with pytest.raises(UsageError, match=r"^CHARRNN_DROPOUT: `dropout` is 2\.0; it must be at least 0 and below 1"):
        merge_settings(flags={}, environment={"CHARRNN_DROPOUT": "2"})
    assert merge_settings(flags={}, environment={"CHARRNN_SEAD": "2", "charrnn_seed": "2", "SEED": "2"})[0] == Config()


BAD_YAML = {
    "a colon too many": "cell: lstm: gru",
    "an open bracket": "split: [90, 10",
    "a tab": "\tseed: 1",
    "a list": "- seed",
    "a word": "seed",
    "a control character": "seed: \x00",
    "a date there is not": "seed: 2001-99-99",
    "a key that is a list": "? [seed]\n: 1",
    "a Python object": "seed: !!python/object/apply:os.getpid []",
    "brackets without end": "[" * 3_000,
    "a number of no digits": 'seed: !!int ""',
    "neither true nor false": "sum_outputs: !!bool x",
    "no time": "seed: !!timestamp x",
}


@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML.keys())
def test_what_is_no_yaml_mapping_is_refused_with_the_name_of_the_file(text: str) -> None:
    with pytest.raises(DataError, match=r"^poems\.yaml (is not YAML: .|must contain `field: value` lines)") as caught:
        from_yaml(text, "poems.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 130_000, "- " * 60_000 + "a\n", "a: " + "- " * 60_000 + "a\n", "? " * 60_000])
def test_deep_nesting_is_an_error_and_not_the_end_of_the_process(text: str) -> None:
    with pytest.raises(DataError, match=r"^poems\.yaml is not YAML"):
        from_yaml(text, "poems.yaml")


@given(st.from_regex(_FLAT, fullmatch=True))
@settings(max_examples=40, deadline=None, derandomize=True)
@example("a: 2001-12-31\nb: 0x1F\nc: 1_0\nd: .inf\ne: no\nf: 'a b'\ng: []\nh:\n- -1\n- a b - c\n")
@example("# b\nb: 012\nc:\nd: 2001-99-99\n")
def test_the_fast_parser_of_flat_yaml_returns_what_the_other_one_does(text: str) -> None:
    def parse(parser: type[yaml.SafeLoader]) -> Any:
        with patch.object(yaml, "CSafeLoader", parser):
            try:
                return load_yaml(text, "poems.yaml")
            except DataError:
                return None

    assert parse(FAST_PARSER) == parse(yaml.SafeLoader)


def test_configurations_are_written_as_flat_yaml() -> None:
    assert _FLAT.fullmatch(to_yaml(Config())) and _FLAT.fullmatch(to_yaml(Config(corpus=("a b/c.txt", "d"), steps=3)))


def test_a_value_that_unfolds_without_end_is_refused_as_it_stands() -> None:
    # Each list is nine times the one before: 9^5 words from 250 characters, and four lines more would fill any memory.
    lists = [f"- &list{level} [{', '.join([f'*list{level - 1}' if level else 'lamp'] * 9)}]" for level in range(5)]
    text = "\n".join(["corpus:", *lists])
    from_yaml("", "warm-up.yaml")  # what YAML itself imports does not count
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=r"`corpus` is .* it must be a list"):
            from_yaml(text, "poems.yaml")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000  # the parser alone takes 300 kB


@pytest.mark.parametrize("text", ["", "# nothing but a remark\n", "null"])
def test_an_empty_file_leaves_the_defaults(text: str) -> None:
    assert from_yaml(text, "poems.yaml") == Config()


def test_a_recipe_is_found_by_name_and_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charrnn.settings, "__file__", str(tmp_path / "settings.py"))
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "tiny.yaml").write_text("hidden_size: 8\n", encoding="utf-8")
    own = tmp_path / "own.yml"
    own.write_text("cell: gru\n", encoding="utf-8")
    assert read_recipe("tiny") == {"hidden_size": 8}
    assert read_recipe(str(own)) == {"cell": "gru"}
    with pytest.raises(UsageError, match=r"^No recipe 'tinny' .*Recipes: tiny; or give a \.yaml file"):
        read_recipe("tinny")


@pytest.mark.parametrize("name", ["missing.yaml", "folder.yaml", "latin.yaml"])
def test_a_recipe_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(UsageError, match=f"^No recipe '.*{name}'"):
        read_recipe(str(tmp_path / name))


def test_a_recipe_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.yaml"
    path.write_text("split: [90,", encoding="utf-8")
    with pytest.raises(DataError, match=r"torn\.yaml is not YAML"):
        read_recipe(str(path))


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_every_recipe_that_ships_makes_a_configuration(name: str) -> None:
    recipe = read_recipe(name)
    config, origins = merge_settings(flags={}, file=recipe, file_name=name)
    assert recipe and {field for field, origin in origins.items() if origin == name} == set(recipe)
    assert from_yaml(to_yaml(config), name) == config


@pytest.mark.parametrize("text", ["seed: x", "seed: -1", "seeds: 1", "minutes: 1\nsteps: 2"])
def test_a_bad_field_in_a_file_is_refused_with_the_name_of_the_file(text: str) -> None:
    with pytest.raises(UsageError, match=r"poems\.yaml"):
        from_yaml(text, "poems.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_count", "auto"),
        ("num_layers", 2.5),
        ("steps", True),
        ("seed", None),
        ("dropout", "half"),
        ("split", (True, 0.5)),
        ("corpus", "a.txt"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_from_python_too(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^`{name}` is "):
        Config(**{name: value})


def test_a_field_that_is_given_twice_is_refused() -> None:
    with pytest.raises(DataError, match=r"poems\.yaml is not YAML: seed is given twice"):
        from_yaml("seed: 1\ncell: gru\nseed: 2\n", "poems.yaml")


def test_lists_are_as_good_as_tuples() -> None:
    assert Config(split=[0.8, 0.2], corpus=["a.txt"]) == Config(split=(0.8, 0.2), corpus=("a.txt",))  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "meaning"), [("true", True), ("False", False), (True, True), (False, False)])
def test_a_switch_is_true_or_false(given: object, meaning: bool) -> None:
    assert parse_value("sum_outputs", given) is meaning


@pytest.mark.parametrize("given", ["yes", "1", 1, 0.0, "auto", None])
def test_nothing_else_is_a_switch(given: object) -> None:
    with pytest.raises(UsageError, match=r"`sum_outputs` is .*; it must be true or false"):
        parse_value("sum_outputs", given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "unitary", "hidden_size": 7}, "`hidden_size` is 7; a unitary cell needs an even one"),
        (
            {"initial_state": "learned", "reset_probability": 0.0},
            "`reset_probability` is 0; `initial_state=learned` needs",
        ),
        ({"cell": "lstm", "omega": 0.5}, "`omega` is 0.5; it needs `cell=rnn`, without `zoneout`"),
        ({"cell": "irnn", "weight_drop": 0.2}, "`weight_drop` is 0.2; it scales up"),
        ({"cell": "rnn", "omega": 1.0, "zoneout": 0.1}, "`omega` is 1; it needs `cell=rnn`, without `zoneout`"),
        (
            {"alphabet": "byte", "encoding": "latin-1"},
            "`encoding` is latin-1; the byte alphabet takes bytes as they are",
        ),
        ({"depth": "dilated", "num_layers": 13}, "`num_layers` is 13; dilated layers may be at most 12"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Config(**settings)


def test_merge_keys_are_refused_before_they_multiply() -> None:
    # Nine times nine times ...: 9^8 entries, which would take gigabytes and hours.
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9))]
    with pytest.raises(DataError, match="merge keys are not allowed"):
        from_yaml("\n".join(lines), "poems.yaml")
