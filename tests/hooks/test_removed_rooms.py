"""Each room can be removed: the core works without it, and what needs the room names it."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

import charrnn

PACKAGE = Path(charrnn.__file__).parent
TEXT = 'the lamp said "lamp lamp" to me (twice)\n    and left\n' * 60
TINY = ("--hidden-size", "8", "--layers", "1", "--steps", "2", "--seed", "1", "--quiet")
CORE = {"train", "sample", "visualize", "evaluate", "runs", "corpora"}


class Missing(NamedTuple):
    """What is missing without a room."""

    commands: str = ""
    """Commands of `charrnn --help`."""
    options: str = ""
    """A command of the core, and options that its help has only with the room."""
    refused: str = ""
    """A command line that names the package that is missing."""
    python: str = ""
    """An expression with the module `charrnn` and a `model` that raises an error with its name."""


ROOMS = {
    "analyses": Missing(
        "predict",
        "visualize --gates --ablate --evidence --same",
        "sample run --clamp quote=high",
        "model.numbers('the')",
    ),
    "counts": Missing("", "evaluate --ngrams", "evaluate run --ngrams 3", "model.ngram_model(3)"),
    "reports": Missing(
        "",
        "sample --novelty --adapt --mix",
        "sample run --novelty",
        "model.adapted('the lamp')",
    ),
    "formats": Missing("export import", "", "export run x.zip", "model.export('x.zip')"),
    "tui": Missing("explore write", "", "explore run", "model.continuations('the')"),
    "serving": Missing("serve", "", "serve run", ""),
    "compiled": Missing(),
}
RUN_ALL = """
import json, sys, charrnn
from charrnn.cli.app import run

commands, refused, python = json.loads(sys.argv[1])
for arguments in commands:
    assert run(arguments) == 0, arguments
    print(end=chr(0), flush=True)
model = charrnn.load("run")
text = model.sample(length=5, seed=1)
study = model.study("the lamp said to me, and left" * 20)
for shown in (model, text, model.trace("the lamp"), study.page(0, 0), charrnn.run_summaries()):
    shown._repr_html_()
if refused:
    assert run(refused) == 2, refused
if python:
    try:
        eval(python)
    except charrnn.CharRNNError as error:
        print(error)
"""


def without(room, folder):
    """Return a folder with a copy of the package that lacks a room."""
    copy = folder / "charrnn"
    copy.mkdir(parents=True)
    for path in PACKAGE.iterdir():
        if path.name not in (room, "__pycache__"):
            os.symlink(path, copy / path.name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_the_core_works_without_a_room(room, tmp_path, process):
    missing = ROOMS[room]
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    command, *options = missing.options.split() or ["train"]
    commands = [
        ["--help"],
        [command, "--help"],
        ["train", "text.txt", *TINY, "--out", "run"],
        ["sample", "run", "--length", "30", "--seed", "1"],
        ["visualize", "run", "--text", "text.txt", "--quiet"],
        ["visualize", "run", "--cell", "0:1", "--text", "text.txt"],
        ["evaluate", "run", "--text", "text.txt", "--json"],
    ]
    # Counts need no other room.
    if room != "counts":
        commands[2] += ["--set", "held_back=200"]
    arguments = json.dumps([commands, missing.refused.split(), missing.python])

    ran = process("-c", RUN_ALL, arguments, PYTHONPATH=str(without(room, tmp_path / "site")))

    errors = ran.stderr.decode()
    assert ran.returncode == 0, errors
    main_help, command_help, *_, evaluation, told = ran.stdout.decode().split("\0")
    assert ("run with counts" in evaluation) == (room != "counts")
    assert "could not be counted" not in errors
    listed = {line.split()[0] for line in main_help.split("Commands:")[1].splitlines() if line}
    assert listed >= CORE
    assert not set(missing.commands.split()) & listed
    assert [option for option in options if f"\n  {option} " in command_help] == []
    if missing.refused:
        assert f"charrnn.{room}" in errors
    if missing.python:
        assert f"charrnn.{room}" in told
