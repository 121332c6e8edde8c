"""Each plugin can be removed: the core works without it, and what needs the plugin names it.

Tests `plugins.analyses`, `plugins.formats`, `plugins.reports`, `plugins.serving` and `plugins.tui`,
too.
"""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

import charrnn

PACKAGE = Path(charrnn.__file__).parent
CORE = {"train", "sample", "visualize", "evaluate", "runs", "corpora"}


class Missing(NamedTuple):
    """What is missing without a plugin."""

    commands: str = ""
    """Commands of `charrnn --help`."""
    options: str = ""
    """A command of the core, and options that its help has only with the plugin."""
    refused: str = ""
    """A command line that names the package that is missing."""
    python: str = ""
    """An expression with the module `charrnn` and a `model` that raises an error with its name."""


PLUGINS = {
    "analyses": Missing(
        "predict",
        "visualize --gates --ablate --evidence --same",
        "sample run --clamp quote=high",
        "model.numbers('abc')",
    ),
    "reports": Missing(
        "",
        "sample --trace --adapt --mix",
        "sample run --trace",
        "model.adapted('abcdefgh')",
    ),
    "formats": Missing("export import", "runs --to", "export run x.zip", "model.export('x.zip')"),
    "tui": Missing("demo explore", "", "explore run", ""),
    "serving": Missing("serve", "", "serve run", ""),
    "languages": Missing("", "", "corpora make anbn", ""),
}
TRY_ALL = """
import importlib, json, pkgutil, sys, charrnn
from charrnn.commands.app import run

commands, refused, python = json.loads(sys.argv[1])
for arguments in commands:
    assert run(arguments) == 0, arguments
    print(end=chr(0), flush=True)
for module in pkgutil.walk_packages(charrnn.__path__, "charrnn."):
    is_core = not module.name.startswith(("charrnn.plugins", "charrnn.__main__"))
    if is_core:
        importlib.import_module(module.name)
model = charrnn.load("run")
for shown in (model, model.sample(length=5, seed=1), model.trace("abc"), charrnn.run_summaries()):
    shown._repr_html_()
if refused:
    assert run(refused) == 2, refused
if python:
    try:
        eval(python)
    except charrnn.CharRNNError as error:
        print(error)
"""


def without(plugin, folder):
    """Return a folder with a copy of the package that lacks a plugin."""
    copy = folder / "charrnn"
    (copy / "plugins").mkdir(parents=True)
    for path in PACKAGE.iterdir():
        if path.name not in ("plugins", "__pycache__"):
            (copy / path.name).symlink_to(path)
    for path in (PACKAGE / "plugins").iterdir():
        if path.name not in (plugin, "__pycache__"):
            (copy / "plugins" / path.name).symlink_to(path)
    return folder


def test_every_plugin_is_removed_in_turn():
    assert set(PLUGINS) == {
        path.parent.name for path in (PACKAGE / "plugins").glob("*/__init__.py")
    }


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_core_works_without_a_plugin(plugin, tmp_path, process, alphabet_run):
    missing = PLUGINS[plugin]
    (tmp_path / "run").symlink_to(alphabet_run)
    command, *options = missing.options.split() or ["train"]
    commands = [["--help"], [command, "--help"], ["sample", "run", "--length", "30", "--seed", "1"]]
    arguments = json.dumps([commands, missing.refused.split(), missing.python])

    ran = process("-c", TRY_ALL, arguments, PYTHONPATH=str(without(plugin, tmp_path / "site")))

    errors = ran.stderr.decode()
    assert ran.returncode == 0, errors
    main_help, command_help, _, told = ran.stdout.decode().split("\0")
    listed = {line.split()[0] for line in main_help.split("Commands:")[1].splitlines() if line}
    assert listed >= CORE
    assert not set(missing.commands.split()) & listed
    assert [option for option in options if f"\n  {option} " in command_help] == []
    if missing.refused:
        assert f"charrnn.plugins.{plugin}" in errors
    if missing.python:
        assert f"charrnn.plugins.{plugin}" in told
