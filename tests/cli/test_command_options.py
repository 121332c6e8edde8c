"""How typed values are read: where ~ is the folder of the user, and whole numbers.

Tests `config.options`, too.
"""

import json
import os

import pytest
from every_option import parameters_of_command

from charrnn.cli.root import commands
from charrnn.config.settings_file import merge_settings


@pytest.mark.parametrize("name", commands())
def test_an_option_of_one_value_that_is_typed_twice_is_refused(command, name):
    for one in parameters_of_command(name):
        if one.flag and one.metavar and not one.is_repeatable:
            ran = command(f"{name} {one.flag} yes {one.flag}=no")
            ran.assert_refused(2)
            assert (
                ran.err == f"error: {one.flag} takes one value, not yes and no: give one of them.\n"
            )


@pytest.mark.parametrize("name", commands())
def test_an_empty_value_of_an_option_is_refused(command, name):
    for one in parameters_of_command(name):
        if one.flag and one.metavar and one.name != "prime":
            ran = command(f"{name} {one.flag}=")
            ran.assert_refused(2, f"{one.flag} is empty: give a value, or leave it out")


@pytest.mark.parametrize("name", ["sample", "visualize", "evaluate", "runs", "export", "explore"])
def test_an_empty_name_of_a_run_is_refused(command, name):
    command(name, "").assert_refused(2, "is empty: give a value, or leave it out")


def test_an_empty_prime_is_a_newline(command, alphabet_run):
    line = "sample --seed 1 --length 20 --prime"
    assert command(line, "", alphabet_run).out == command(line, "\\n", alphabet_run).out[1:]


@pytest.mark.parametrize("name", commands())
def test_a_whole_number_that_is_not_finite_is_refused(command, name):
    for one in parameters_of_command(name):
        if one.kind is int:
            for typed in ("inf", "1e999", "1e300"):
                ran = command(f"{name} {one.flag} {typed}")
                ran.assert_refused(2, f"{one.flag} is {typed}; it must be a whole number below")


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
        config = merge_settings(flags={}, **source).config
        assert config.corpus == (str(home / "b.txt"),)


@pytest.mark.parametrize("length", ["60", "0.06k", "6e1"])
def test_whole_numbers_are_read_as_those_of_a_recipe(command, alphabet_run, length):
    ran = command(f"sample --length {length} --seed 1 --json", alphabet_run)
    assert len(json.loads(ran.out)["text"]) == 60
