"""Every option of every command that takes a run, on every kind of model: it runs, unless the table
`every_option.REFUSED` says that this kind refuses it, and keeps the rules of all command lines.

The command lines are made from the registry of commands, so that an option that is added is tried
as well, once it has an example in `helpers/every_option.py`.
"""

import json
import signal
import sys
from pathlib import Path

import every_option
import offline
import pytest
from command_lines import faults, run_line
from every_option import BASES, ELSEWHERE, KINDS, REFUSED, command_lines, examples_of

from charrnn.cli.root import commands
from charrnn.formats.export import FORMATS

USUAL = ("plain",)
"""Kinds that every run of the tests tries, and `-m slow` the others."""
RARE = ("blank-lines", "column")
"""Kinds of documents that only `-m thorough` tries: they differ from lines in their separator."""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is of Linux")


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """Write the texts into a folder, in which each test trains the kinds of models that it reads."""
    folder = tmp_path_factory.mktemp("laboratory")
    every_option.write_texts(folder)
    return folder


def train_missing(laboratory, *kinds):
    """Train a model of each of these kinds, unless another test has done so."""
    for kind in kinds:
        if not (laboratory / "checkpoints" / kind).exists():
            every_option.train(laboratory, kind)


def faults_of_kind(kind, other, lines):
    """Run command lines on a model of a kind and another one; return those that break a rule of all
    command lines, or that fail and should not, and which."""
    text, _ = KINDS[kind]
    names = {"run": kind, "other": other, "few": f"few-{text}"}

    said = []
    for flag, line in lines:
        for made in Path().glob("made*"):
            made.unlink()
        words = line.format(**names).split()
        ran = run_line(words)
        broken = faults(words, ran, is_exact=words[0] == "sample")
        if (ran.code != 0) is not (kind in REFUSED.get(flag, ())):
            broken.append(f"ends with {ran.code}: {ran.err}")
        if broken:
            said += [" ".join(words), *broken]
    return said


@pytest.fixture
def tried(laboratory, monkeypatch, few_samples):
    """Return `faults_of_kind` of the laboratory, in its folder."""
    monkeypatch.chdir(laboratory)

    def call(kind, num_examples):
        other = "several" if kind == "plain" else "plain"
        train_missing(laboratory, kind, other)
        lines = command_lines(num_examples=num_examples, is_plain=kind == "plain")
        return faults_of_kind(kind, other, lines)

    return call


def kinds():
    """The kinds of models but those of `RARE`, and which of them are slow."""
    for kind in KINDS:
        if kind in USUAL:
            yield kind
        elif kind not in RARE:
            yield pytest.param(kind, marks=pytest.mark.slow)


@pytest.mark.trained
@pytest.mark.parametrize("kind", list(kinds()))
def test_every_option_runs_but_those_of_the_table(kind, tried, monkeypatch):
    # matplotlib cannot be imported: it is needed for charts in files alone, and no first example
    # of an option exports one.
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "\n".join(tried(kind, 1)) == ""


@pytest.mark.trained
@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_every_example_runs_but_those_of_the_table(kind, tried):
    assert tried(kind, None) == []


@pytest.mark.parametrize("command", BASES)
def test_every_option_has_an_example(command):
    options = [one for one in every_option.parameters_of_command(command) if one.flag]
    missing = [one.flag for one in options if not examples_of(command, one.flag)]
    assert missing == [], "add one to every_option.EXAMPLES"


def test_every_command_is_tried_here_or_elsewhere():
    assert sorted(commands()) == sorted([*BASES, *ELSEWHERE])


@pytest.fixture
def run_offline(laboratory, process):
    """Run command lines in a process that cannot open a socket, and that has another home folder."""
    train_missing(laboratory, "plain")

    def call(home, lines):
        names = {"run": "plain", "other": "plain", "few": "few-prose.txt"}
        words = [line.format(**names).split() for line in lines]
        return process(
            offline.__file__, laboratory, stdin=json.dumps(words).encode(), HOME=str(home)
        )

    return call


@on_linux
@pytest.mark.parametrize(
    "num_examples",
    [pytest.param(0, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.thorough)],
)
def test_no_other_command_opens_a_socket_or_writes_into_the_home_folder(
    run_offline, tmp_path, num_examples
):
    lines = [line for _, line in command_lines(num_examples=num_examples, is_plain=True)]
    formats = [f"export {{run}} made{each.suffix} --force" for each in FORMATS]

    ran = run_offline(tmp_path / "home", [*formats, *lines, *ELSEWHERE.values()])

    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize(
    "line",
    [
        "corpora fetch shakespeare",
        "train shakespeare --steps 1",
        "evaluate {run} --text shakespeare",
    ],
)
def test_what_downloads_something_opens_a_socket(run_offline, tmp_path, line):
    assert run_offline(tmp_path, [line]).returncode == -signal.SIGSYS
