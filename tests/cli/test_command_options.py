"""The table of options that go together: every flag exists, and options are refused exactly if a
rule says so.

Tests `config.options`, too.
"""

import json
import os
import re
import shutil
from itertools import combinations

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from charrnn.cli import command_options
from charrnn.cli.command_options import RULES, check_rules
from charrnn.commands.app import app
from charrnn.config.settings_file import merge_settings
from charrnn.errors import UsageError

FLAGS = {
    command: sorted(
        {flag for rule in rules for flag in f"{rule.options} {rule.beside} {rule.without}".split()}
    )
    for command, rules in RULES.items()
}
GIVEN = st.sampled_from(["x", 0, 0.0, True, ["a"], -1])
ABSENT = st.sampled_from([None, False, "", [], ()])


@pytest.mark.parametrize("command", RULES)
def test_every_flag_of_the_table_is_an_option_of_its_command(command):
    group = typer.main.get_command(app)
    flags = {flag for one in group.commands[command].params for flag in one.opts}
    assert {*FLAGS[command]} <= flags


def check(command, values, given_flags):
    """Compare the error of some values with the first rule that is broken, if any."""
    for rule in RULES[command]:
        options = {*rule.options.split()} & given_flags
        beside = {*rule.beside.split()} & given_flags
        if options and beside:
            named, others = (
                r"(--[\w-]+) does not go with (--[\w-]+)(.*)\. Leave one of them out\.",
                beside,
            )
        elif options and rule.without and not {*rule.without.split()} & given_flags:
            named, others = (
                r"(--[\w-]+) needs (--[\w-]+)(?: or --[\w-]+)?(): add it, or leave \1 out\.",
                {*rule.without.split()},
            )
        else:
            continue
        with pytest.raises(UsageError) as refused:
            check_rules(command, values)
        found = re.fullmatch(named, str(refused.value))
        assert found[1] in options and found[2] in others, (
            values,
            refused.value,
        )
        assert found[3] == (f", {rule.why}" if rule.why and beside else "")
        return
    check_rules(command, values)


@pytest.mark.parametrize("command", RULES)
@given(data=st.data())
def test_options_are_refused_exactly_if_a_rule_says_so(command, data):
    chosen = data.draw(st.sets(st.sampled_from(FLAGS[command]), max_size=6))
    check(
        command,
        {flag: data.draw(GIVEN if flag in chosen else ABSENT) for flag in FLAGS[command]},
        chosen,
    )


@pytest.mark.parametrize("command", RULES)
def test_every_pair_of_options_is_refused_exactly_if_a_rule_says_so(command):
    for pair in ((), *((flag,) for flag in FLAGS[command]), *combinations(FLAGS[command], 2)):
        check(command, dict.fromkeys(pair, "x"), {*pair})


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "placeholder, typed, is_path",
    [
        ("DIR", "~/x", True),
        ("FILE", "name=~/x", True),
        ("TARGET", "csv:~/x", True),
        ("TEXT|@FILE", "@~/x", True),
        ("TEXT|@FILE", "~/x", False),
        ("REGEX", "~/x", False),
        ("FILE", "a~/x", False),
    ],
)
def test_the_home_folder_stands_for_a_tilde_where_a_path_is_typed(
    home, placeholder, typed, is_path
):
    expected = typed.replace("~", str(home)) if is_path else typed
    assert command_options._with_home(typed, placeholder) == expected


def test_no_folder_is_named_by_a_tilde(command, home, alphabet_run):
    shutil.copytree(alphabet_run, home / "runs" / "abc")
    (home / "p.txt").write_text("abc")
    ran = command("sample", "~/runs/abc", "--prime", "@~/p.txt", "--export=~/p.html")
    assert (ran.code, (home / "p.html").exists(), os.path.lexists("~")) == (0, True, False)


def test_the_home_folder_stands_for_a_tilde_in_the_run_of_predict_and_not_in_its_text(
    command, home, alphabet_run
):
    run = shutil.copytree(alphabet_run, home / "runs" / "abc")
    (home / "p.txt").write_text("abcabc" * 50)
    assert command("predict", "~/runs/abc", "ab").out == command("predict", run, "ab").out
    of_a_file = ("--text", "~/p.txt", "--within")
    assert command("predict", "~/runs/abc", *of_a_file).out == (
        command("predict", run, *of_a_file).out
    )
    command("predict", "~/runs/abc").assert_refused(2, "~/runs/abc is a run, and the text is")
    assert "unknown" in command("predict", run, "~/runs/abc").err


def test_a_recipe_and_the_environment_name_the_home_folder(home):
    environment = {"CHARRNN_CORPUS": "~/b.txt"}
    for source in ({"file": {"corpus": ["~/b.txt"]}}, {"environment": environment}):
        config, _ = merge_settings(flags={}, **source)
        assert config.corpus == (str(home / "b.txt"),)


@pytest.mark.parametrize("length", ["60", "0.06k", "6e1"])
def test_whole_numbers_are_read_as_those_of_a_recipe(command, alphabet_run, length):
    ran = command("sample", alphabet_run, "--length", length, "--seed", 1, "--json")
    assert len(json.loads(ran.out)["text"]) == 60
