"""What errors say, from Python and on the command line."""

import ast
import copy
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, Ran

import charrnn
import charrnn.cli.app  # registers the commands, whose options messages name
import charrnn.errors
from charrnn.cells.scores import choose_targets
from charrnn.cli.flags import OTHER_NAMES, with_flags
from charrnn.config import FIELD_NAMES, Config
from charrnn.errors import CharRNNError, DataError, Message, UsageError, counted, install_command, named
from charrnn.generation.options import Shaping

PACKAGE = Path(charrnn.__file__).parent


def test_from_python_a_parameter_is_in_backticks() -> None:
    with pytest.raises(UsageError) as raised:
        Shaping(temperature=-1)
    assert str(raised.value) == "`temperature` is -1; it must be 0 (greedy) or more, and finite. Try 0.8."


@pytest.mark.parametrize(
    ("text", "command", "shown"),
    [
        (named("temperature"), "sample", "--temp"),
        (named("width", 8), "sample", "--beam 8"),
        (named("mode", "diverse"), "sample", "--beam-mode diverse"),
        (named("alphabet", "byte"), "train", "--alphabet byte"),
        (named("alphabet", "byte"), "sample", "--alphabet byte"),
        (named("num_layers"), "train", "--layers"),
        (named("hidden_size", 8), None, "--hidden-size 8"),
        (named("min_count", 1), "train", "--set min_count=1"),
        (named("learning_rate"), "train", "learning_rate"),
        (named("cell", "rnn"), "train", "--cell rnn"),
        (named("resume", "a=`b`\n"), "train", "--resume a=`b`\n"),
        (named("unheard_of", 1), "train", "unheard_of=1"),
    ],
)
def test_on_the_command_line_a_parameter_is_its_option(text: str, command: str | None, shown: str) -> None:
    assert with_flags(Message(f"use {text}."), command) == f"use {shown}."


@pytest.mark.parametrize("name", ["`temperature`", "`alphabet=byte`", "x `seed` y"])
def test_backticks_in_a_name_are_no_parameter(name: str) -> None:
    assert with_flags(UsageError(f"no run {name}; {named('seed')} is {name!r}").message) == (
        f"no run {name}; --seed is {name!r}"
    )
    assert with_flags(name) == name


def test_a_message_is_part_of_another() -> None:
    inner = UsageError(f"{named('seed')} is -1")
    assert with_flags(CharRNNError(f"here: {inner.marked}").message) == "here: --seed is -1"
    assert with_flags(CharRNNError(f"in a file: {inner}").message) == "in a file: `seed` is -1"
    assert Message(inner.message).marked == inner.marked


def test_a_message_is_copied_with_its_parameters() -> None:
    message = Message(named("seed", 1))
    assert message == "`seed=1`"
    for same in (copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
        assert same == message
        assert with_flags(same) == "--seed 1"


def test_an_error_of_the_configuration_names_the_option(command: Callable[..., Ran]) -> None:
    ran = command("train", "--layers", "99", "--show-config")
    assert ran.code == 2
    assert ran.err == "error: --layers is 99; it must be between 1 and 64.\n"
    with pytest.raises(UsageError, match=r"^`num_layers` is 99; it must be between 1 and 64\.$"):
        Config(num_layers=99)


def test_other_names_lead_to_options() -> None:
    for name in OTHER_NAMES:
        assert with_flags(Message(named(name))).startswith("--"), name
        assert name not in FIELD_NAMES or with_flags(Message(named(name)), "train").startswith("--"), name


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and value of each string that is neither a docstring nor part of the declaration of an option."""
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    declared = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("option", "Option", "Analysis")
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | declared:
            yield node.lineno, node.value


STARTS_THE_COMMAND = ("scale/sweep/plan.py", "scale/sweep/sweep.py")
"""Modules that start `charrnn train`: their bare options are arguments, not messages."""

COMMANDS_OF_ROOMS = (
    "apps/explore/",
    "apps/export.",
    "apps/full_screen",
    "apps/keyboard",
    "apps/write/",
    "lab/history.",
    "lab/numbers.",
    "lab/spectrum.",
    "scale/processes/launcher",
    "scale/processes/launched",
    "scale/sweep/command",
)
"""Modules of rooms that belong to the command line: commands, and pictures that say how to train for more of them."""

STYLE_SHEETS = ("views/theme.py",)
"""Modules that write CSS, whose variables begin with two hyphens."""


def test_no_text_below_the_command_line_names_an_option() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text!r}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in ("cli", "__main__.py")
        and not path.relative_to(PACKAGE).as_posix().startswith(COMMANDS_OF_ROOMS)
        and path.relative_to(PACKAGE).as_posix() not in STYLE_SHEETS
        for line, text in _texts(ast.parse(path.read_text(encoding="utf-8")))
        # The first line of config.yaml is part of the run format, and of a checksum.
        if re.search(r"(?<!\w)--[a-z]", text)
        and not text.startswith("# SHA-256 of what follows")
        and not (path.relative_to(PACKAGE).as_posix() in STARTS_THE_COMMAND and re.fullmatch(r"--[a-z]+", text))
    ]
    assert found == []


def test_the_docstring_shows_every_error_and_its_exit_code() -> None:
    text = charrnn.errors.__doc__ or ""
    errors = [
        error for error in vars(charrnn.errors).values() if isinstance(error, type) and issubclass(error, Exception)
    ]
    assert sorted(re.findall(r"(\w+Error) +\d  ", text)) == sorted(error.__name__ for error in errors)
    for error in errors:
        assert re.search(rf"{error.__name__} +{error.exit_code}  ", text), error.__name__


@pytest.mark.parametrize(
    ("num", "text"), [(0, "0 characters"), (1, "1 character"), (2, "2 characters"), (12_345, "12,345 characters")]
)
def test_a_number_has_its_noun_in_the_singular_or_the_plural(num: int, text: str) -> None:
    assert counted(num, "character") == text
    with pytest.raises(DataError, match=r"^The text has 1 character; "):
        choose_targets("a", ())


def test_every_extra_is_installed_by_the_same_command() -> None:
    """In messages and in the documentation, where only the extra differs."""
    command = install_command("tui")
    assert command == "pip install -c constraints.txt -e '.[tui]'" and (REPOSITORY / "constraints.txt").is_file()
    texts = [
        path.read_text(encoding="utf-8")
        for folder, suffix in (("charrnn", "*.py"), ("docs", "*.md"))
        for path in (REPOSITORY / folder).rglob(suffix)
    ]
    assert sum("pip install -c constraints.txt -e '.[" in text for text in texts) > 3
    assert not any("pip install -e '.[" in text for text in texts)
