"""Which options of a command go together, and where ~ is the folder of the user.

Tests `config.options`, too.
"""

import json
import os
import re
from itertools import combinations

import pytest
import typer.main
from every_option import parameters_of_command

from charrnn.cli.command_options import check_rules
from charrnn.cli.root import commands
from charrnn.commands.app import app
from charrnn.config.settings_file import merge_settings
from charrnn.errors import UsageError

EXCLUDED = {
    "sample": (
        "--beam --seed --temp --top-k --top-p --min-p --precision --color --sort --unique --new --no-copy",
        "--color --count --sort --unique --new --trace",
        "--trace --sort --unique --new",
        "--match --stop --no-repeat",
        "--json --export",
    ),
    "train": ("--resume --recipe --out --show-config",),
    "visualize": (
        "--cell --surprise --find --evidence --gates --gradients --top",
        "--surprise --find --evidence --gates --gradients --detector --detect",
        "--find --evidence --gates --gradients --top",
        "--evidence --gates --gradients --top",
        "--gates --gradients --top --detector --detect",
        "--gradients --top --detector --detect",
        "--guesses --detector --detect",
        "--part --text",
        "--json --export",
    ),
    "predict": (
        "--numbers --top --trace --within",
        "--trace --top --unknown",
        "--within --top --unknown",
        "--json --export",
    ),
    "evaluate": ("--per-line --windowed --ngrams --export", "--part --text", "--json --export"),
    "runs": ("--json --export",),
}
"""Options of each command that exclude each other: the first of a line excludes the others."""
NEEDED = {
    "sample": {"--no-repeat": "--beam", "--force": "--export"},
    "visualize": {
        "--chars": "--cell",
        "--guesses": "--cell",
        "--with": "--gradients",
        "--force": "--export",
    },
    "predict": {
        "--backward": "--numbers",
        "--within": "--text",
        "--force": "--export",
    },
    "evaluate": {"--force": "--export"},
    "runs": {"--force": "--export"},
}
"""Options of each command that are refused without another one."""


def refused(command, *flags):
    """Return the error for options of a command, "" if they go together."""
    try:
        check_rules(command, flags)
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("command", EXCLUDED)
def test_every_pair_of_options_is_refused_exactly_if_the_table_says_so(command):
    parameters = typer.main.get_command(app).get_command(None, command).params
    flags = {flag for one in parameters for flag in one.opts if flag.startswith("--")}
    needed = NEEDED.get(command, {})
    excluded = set()
    for line in EXCLUDED[command]:
        first, *others = line.split()
        excluded |= {frozenset((first, other)) for other in others}
    assert flags >= {*needed, *needed.values()}.union(*excluded)

    for pair in combinations(sorted(flags), 2):
        # With what they need, so that this is not why they are refused.
        given = {*pair}
        while missing := {needed[flag] for flag in given & {*needed}} - given:
            given |= missing
        broken = {pair for pair in excluded if pair <= given}
        named = re.match("(--[a-z-]+) does not go with (--[a-z-]+)", refused(command, *given))
        assert (named is not None) is bool(broken), given
        assert named is None or frozenset(named.groups()) in broken
    for flag, wanted in needed.items():
        assert f"{flag} needs {wanted}" in refused(command, flag)


@pytest.mark.parametrize("name", commands())
def test_an_option_of_one_value_that_is_typed_twice_is_refused(command, name):
    for one in parameters_of_command(name):
        if one.flag and one.metavar and not one.is_repeatable:
            ran = command(f"{name} {one.flag} yes {one.flag}=no")
            ran.assert_refused(2)
            assert (
                ran.err == f"error: {one.flag} takes one value, not yes and no: give one of them.\n"
            )


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_no_folder_is_named_by_a_tilde(command, home, alphabet_run):
    command("sample --export=~/p.html", alphabet_run)
    assert (home / "p.html").exists() and not os.path.lexists("~")


def test_a_recipe_and_the_environment_name_the_home_folder(home):
    environment = {"CHARRNN_CORPUS": "~/b.txt"}
    for source in ({"file": {"corpus": ["~/b.txt"]}}, {"environment": environment}):
        config, _ = merge_settings(flags={}, **source)
        assert config.corpus == (str(home / "b.txt"),)


@pytest.mark.parametrize("length", ["60", "0.06k", "6e1"])
def test_whole_numbers_are_read_as_those_of_a_recipe(command, alphabet_run, length):
    ran = command(f"sample --length {length} --seed 1 --json", alphabet_run)
    assert len(json.loads(ran.out)["text"]) == 60
