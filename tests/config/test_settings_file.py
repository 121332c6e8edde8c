"""Settings from files, the environment and flags: what is no flat YAML is refused, and the nearest layer wins."""

import re
import tracemalloc
from pathlib import Path

import pytest
import yaml

import charrnn.config.settings
import charrnn.config.settings_file
from charrnn.config.settings import BUDGETS, FIELD_NAMES, Config, parse_value
from charrnn.config.settings_file import (
    VARIABLES,
    from_yaml,
    load_yaml,
    merge_settings,
    read_recipe,
    read_yaml,
    to_yaml,
    unknown_variables,
)
from charrnn.errors import CharRNNError, DataError, UsageError

RECIPES = Path(charrnn.config.settings.__file__).parent / "recipes"


def test_words_of_a_file_are_texts_that_the_field_converts():
    # YAML 1.1 wants `1.0e-3` for a number, and takes `yes` for true.
    config = from_yaml("learning_rate: 1e-3\nsteps: 2e3\ncolumn: 'null'\n", "recipe.yaml")
    assert (config.learning_rate, config.steps, config.column) == (0.001, 2000, None)
    assert read_yaml("corpus: ['null', ~]", "recipe.yaml") == {"corpus": ["null", None]}
    with pytest.raises(UsageError, match=r"a list of words"):
        from_yaml("corpus: [1984, on, null]", "recipe.yaml")
    with pytest.raises(UsageError, match=r"cell_type is yes; it must be one of"):
        from_yaml("cell_type: yes", "recipe.yaml")
    with pytest.raises(UsageError, match=r"seed is empty: give a value, or leave it out"):
        from_yaml('seed: !!int ""', "recipe.yaml")
    for value in ("9" * 5000, "!!python/object/apply:os.getpid []"):
        with pytest.raises(UsageError, match=r"seed is .*; it must be a whole number"):
            from_yaml(f"seed: {value}", "recipe.yaml")


def test_lists_stand_for_tuples_and_an_empty_file_for_the_defaults():
    assert Config(split=[0.8, 0.2], corpus=["a.txt"]) == Config(split=(0.8, 0.2), corpus=("a.txt",))
    assert (
        from_yaml("", "poems.yaml")
        == from_yaml("# nothing but a remark\n", "poems.yaml")
        == Config()
    )


def test_an_unknown_field_is_refused_with_the_nearest_name_wherever_it_is_given():
    message = "There is no configuration field 'learningrate'. Did you mean learning_rate\\?$"
    with pytest.raises(UsageError, match=message):
        parse_value("learningrate", "1")
    with pytest.raises(UsageError, match=rf"^recipe\.yaml: {message}"):
        read_yaml("learningrate: 1", "recipe.yaml")
    with pytest.raises(UsageError, match=message):
        merge_settings(flags={"learningrate": 1})
    with pytest.raises(UsageError, match=r"The fields are corpus, alphabet, .*, keep\.$"):
        read_yaml("42: 1", "recipe.yaml")
    assert read_yaml("batch_size: 8", "a recipe") == {"batch_size": "8"}


FLAG = {"seed": 3}


VARIABLE = {"CHARRNN_SEED": "2"}


FILE = {"seed": "1"}


@pytest.mark.parametrize(
    "flags, environment, file, seed, origin",
    [
        (FLAG, VARIABLE, FILE, 3, "flag"),
        (FLAG, {}, FILE, 3, "flag"),
        (FLAG, VARIABLE, None, 3, "flag"),
        ({}, VARIABLE, FILE, 2, "environment"),
        ({}, VARIABLE, None, 2, "environment"),
        ({}, {}, FILE, 1, "poems.yaml"),
        ({}, {"SEED": "9", "CHARRNN_CORPORA": "/texts"}, None, 0, "default"),
    ],
)
def test_flag_over_environment_over_file_over_default(flags, environment, file, seed, origin):
    config, origins = merge_settings(
        flags=flags, file=file, file_name="poems.yaml", environment=environment
    )
    assert (config.seed, origins["seed"]) == (seed, origin)
    assert tuple(origins) == FIELD_NAMES
    assert {origin for name, origin in origins.items() if name != "seed"} == {"default"}


@pytest.mark.parametrize("below, above", [("minutes", "minutes"), ("steps", "epochs")])
def test_a_budget_replaces_a_budget_of_any_kind_from_a_lower_layer(below, above):
    config, origins = merge_settings(
        flags={above: 2}, file={below: 5}, environment={f"CHARRNN_{below.upper()}": "7"}
    )
    assert {name: getattr(config, name) for name in BUDGETS} == {**dict.fromkeys(BUDGETS), above: 2}
    assert {name: origins[name] for name in BUDGETS} == {
        **dict.fromkeys(BUDGETS, "default"),
        above: "flag",
    }
    with pytest.raises(UsageError, match="one budget only"):
        merge_settings(flags={"minutes": 2, "steps": 2})
    config, origins = merge_settings(
        flags={}, file={"minutes": 5}, file_name="x", environment={"CHARRNN_MINUTES": "none"}
    )
    assert (config.minutes, origins["minutes"]) == (None, "environment")


def test_an_empty_variable_is_refused_by_its_name():
    with pytest.raises(UsageError, match=r"^CHARRNN_STEPS: steps is empty: give a value"):
        merge_settings(flags={}, environment={"CHARRNN_STEPS": ""})


BAD_YAML = {
    "a colon too many": "cell_type: lstm: gru",
    "a tab": "\tseed: 1",
    "a list": "- seed",
    "a word": "seed",
    "a control character": "seed: \x00",
    "a key that is a list": "? [seed]\n: 1",
    "a list in a list": "split: [[1]]",
    "a mapping in a mapping": "split: {a: 1}",
    "an alias": "corpus: [&name lamp, *name]",
    "a merge key": "a: &a {x: 1}\n<<: *a",
    "a word after the document": "seed: 1\n--- cell\n",
    "a field that is given twice": "seed: 1\nseed: 2\n",
    # Deep nesting must be an error and not the end of the process.
    "brackets without end": "[" * 130_000,
    "brackets without end in a field": "a: " + "[" * 130_000,
    "lists in lists": "- " * 60_000 + "a\n",
    "lists in lists in a mapping": "a: " + "- " * 60_000 + "a\n",
}


@pytest.mark.parametrize("parser", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML.keys())
def test_what_is_no_flat_yaml_is_refused_with_the_name_of_the_file_and_the_line(
    text, parser, monkeypatch
):
    if parser == "SafeLoader":  # PyYAML was built without the parser in C.
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    load_yaml.cache_clear()
    with pytest.raises(DataError, match=r"^poems\.yaml is not (flat )?YAML: .*") as caught:
        from_yaml(text, "poems.yaml")
    message = str(caught.value)
    assert re.search(r"line \d|position \d", message)
    assert "\n" not in message
    assert len(message) <= 200


def test_a_file_that_is_too_long_is_refused_unread():
    with pytest.raises(DataError, match="has 131,073 characters; the limit is 131,072"):
        from_yaml("#" * 131_073, "poems.yaml")


def test_values_that_unfold_without_end_are_refused_in_little_memory():
    # Each list is nine times the one before: 9^5 words from 250 characters, and four lines more
    # would fill any memory.
    lists = [
        f"- &list{level} [{', '.join([f'*list{level - 1}' if level else 'lamp'] * 9)}]"
        for level in range(5)
    ]
    from_yaml("", "warm-up.yaml")  # what YAML itself imports does not count
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="is not flat YAML: line 2"):
            from_yaml("\n".join(["corpus:", *lists]), "poems.yaml")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_a_recipe_is_found_by_name_and_by_file(tmp_path, monkeypatch):
    monkeypatch.setattr(
        charrnn.config.settings_file, "__file__", str(tmp_path / "settings_file.py")
    )
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "tiny.yaml").write_text("hidden_size: 8\n", encoding="utf-8")
    (tmp_path / "own.yml").write_text("cell_type: gru\n", encoding="utf-8")
    (tmp_path / "torn.yaml").write_text("split: [90,", encoding="utf-8")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"# caf\xe9\n")
    assert read_recipe("tiny") == {"hidden_size": "8"}
    assert read_recipe(str(tmp_path / "own.yml")) == {"cell_type": "gru"}
    for name, word in {
        "tinny": r"Recipes: tiny; or give a \.yaml file",
        "missing.yaml": "No recipe",
        "folder.yaml": "cannot be read: .*Is a directory",
        "latin.yaml": "cannot be read: .*position 5",
        "torn.yaml": "is not YAML",
    }.items():
        with pytest.raises(CharRNNError, match=word):
            read_recipe(str(tmp_path / name) if "." in name else name)


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_every_recipe_that_ships_makes_a_configuration(name):
    recipe = read_recipe(name)
    config, origins = merge_settings(flags={}, file=recipe, file_name=name)
    assert recipe and {field for field, origin in origins.items() if origin == name} == set(recipe)
    assert from_yaml(to_yaml(config), name) == config


def test_a_misspelt_variable_is_named_with_the_nearest_one():
    environment = {
        "CHARRNN_SEDE": "1",
        "CHARRNN_BACKGRUND": "dark",
        "CHARRNN_seed": "1",
        "CHARRNN_QQQQQQ": "1",
        "CHARRNN_HIDDEN_SIZE": "9",
        "SEED": "1",
    }
    changes_nothing = "is no variable of charrnn, and changes nothing."
    assert list(unknown_variables(environment)) == [
        f"CHARRNN_BACKGRUND {changes_nothing} Did you mean CHARRNN_BACKGROUND?",
        f"CHARRNN_QQQQQQ {changes_nothing}",
        f"CHARRNN_SEDE {changes_nothing} Did you mean CHARRNN_SEED?",
        f"CHARRNN_seed {changes_nothing} Did you mean CHARRNN_SEED?",
    ]


def test_every_variable_that_the_program_reads_is_known():
    modules = Path(charrnn.__file__).parent.rglob("*.py")
    text = "".join(module.read_text("utf-8") for module in modules)
    named = set(re.findall(r"CHARRNN_[A-Z]\w+", text))
    assert {f"CHARRNN_{name}" for name in VARIABLES} <= named
    assert list(unknown_variables(dict.fromkeys(named, ""))) == []
