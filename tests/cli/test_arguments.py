"""A text that is given to a command is read once, and as the model can read it.

Tests `text.vocab` and `text.given_text`, too.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from built_runs import build_chain, build_chain_and_quoting
from every_option import parameters_of_command
from known_weights import quoting_text

from charrnn.cli.arguments import read_measured_text
from charrnn.cli.root import commands
from charrnn.text import pandoc
from charrnn.trained_model import load

READERS = {
    "visualize": (
        *("visualize quoting --find", "visualize quoting --cell 0:1"),
        *("visualize quoting --surprise", "visualize prose --gates"),
        *("visualize quoting --gradients", "visualize quoting --gradients --with chain"),
        "visualize quoting --evidence 0:5 --detector quote",
    ),
    "evaluate": (
        *("evaluate quoting", "evaluate quoting chain", "evaluate quoting --windowed"),
        *("evaluate quoting --ngrams", "evaluate quoting --per-line"),
    ),
    "predict": ("predict quoting --trace", "predict --within"),
    "explore": (),  # which needs a terminal
}
"""The ways in which each command with --text reads it."""
SLOW = ("--gates", "--gradients", "--evidence")
"""Measurements that take long."""


def lines_of_readers():
    """The lines of `READERS`, and which of them are slow."""
    for lines in READERS.values():
        for line in lines:
            is_slow = any(option in line for option in SLOW)
            yield pytest.param(line, marks=[pytest.mark.slow] if is_slow else [])


@pytest.fixture
def given(command, tmp_path, few_samples):
    """Run a command with a text that the runs `chain` and `quoting` have not learned: as a file, or
    from a pipe. Returns what it prints, in which the text has one name."""
    build_chain_and_quoting(tmp_path)
    text = quoting_text(2_000, seed=3)
    Path("text.txt").write_text(text, encoding="utf-8")

    def call(line, way):
        if way == "file":
            ran = command(f"{line} --json --text text.txt")
            assert ran.code == 0, ran.err
            return ran.out.replace("text.txt", "TEXT")
        if way == "-":
            ran = command(f"{line} --json --text -", stdin=text.encode())
            assert ran.code == 0, ran.err
            return ran.out.replace("standard input", "TEXT")
        read, write = os.pipe()
        os.write(write, text.encode())
        os.close(write)
        ran = command(f"{line} --json --text /dev/fd/{read}")
        os.close(read)
        assert ran.code == 0, ran.err
        return ran.out.replace(f"/dev/fd/{read}", "TEXT").replace(f'"{read}"', '"TEXT"')

    return call


@pytest.mark.parametrize("line", list(lines_of_readers()))
def test_a_pipe_is_read_like_a_file(given, line):
    expected = given(line, "file")
    assert given(line, "-") == expected
    assert given(line, "pipe") == expected


def test_every_command_that_takes_a_text_is_tried():
    takes_text = [
        name
        for name in commands()
        if any(one.flag == "--text" for one in parameters_of_command(name))
    ]
    assert sorted(takes_text) == sorted(READERS)


@pytest.mark.slow
def test_a_document_is_converted_once(command, tmp_path, monkeypatch):
    build_chain_and_quoting(tmp_path)
    paragraphs = "".join(f"<p>{line}</p>" for line in quoting_text(2_000, seed=3).splitlines())
    Path("novel.html").write_text(f"<!DOCTYPE html><html><body>{paragraphs}</body></html>")
    converted = []
    convert = pandoc._json_of

    def count(*args, **named):
        converted.append(1)
        return convert(*args, **named)

    monkeypatch.setattr(pandoc, "_json_of", count)
    for lines in READERS.values():
        for line in lines[-1:]:
            converted.clear()
            assert command(f"{line} --text novel.html").code == 0
            assert converted == [1], line


CURLY = "“I’m a cat” — said I…\n" * 60
STRAIGHT = '"I\'m a cat" - said I.\n' * 60
KNOWN = "\n \"'-.Iacdimst"


@pytest.fixture
def straight(command, tmp_path):
    """Build a run that knows straight quotes and short dashes alone."""
    (tmp_path / "own.txt").write_text(KNOWN)
    build_chain(tmp_path / "straight", KNOWN, corpus=tmp_path / "own.txt")
    Path("curly.txt").write_text(CURLY, encoding="utf-8")
    Path("straight.txt").write_text(STRAIGHT, encoding="utf-8")


@pytest.mark.parametrize("view, field", [("--cell 0:1", "values"), ("--surprise", "bits")])
def test_a_mark_is_read_as_a_similar_one_and_shown_as_it_is(command, straight, view, field):
    ran = command(f"visualize straight {view} --json --text curly.txt")
    curly = json.loads(ran.out)
    plain = json.loads(command(f"visualize straight {view} --json --text straight.txt").out)
    assert curly["text"] == CURLY[:1_200] and plain["text"] == STRAIGHT[:1_200]
    assert curly[field] == plain[field]
    assert "straight does not know all characters of this text, and reads" in ran.err
    assert "“ ” as \", ’ as ', — as -, … as ..\n" in ran.err


def test_a_sentence_is_as_likely_as_with_similar_marks(command, straight):
    sentences = [
        json.loads(command(f"visualize straight --surprise --json --text {name}.txt").out)
        for name in ("curly", "straight")
    ]
    curly, plain = [found["sentences"]["least"][0] for found in sentences]
    assert (curly["text"], plain["text"]) == (CURLY.split("\n")[0], STRAIGHT.split("\n")[0])
    assert curly["nats"] == plain["nats"]


def test_the_browser_reads_it_alike(straight):
    read = read_measured_text(load("straight"), "curly.txt", num_chars=400)
    assert read.encoded.text == CURLY[:400]
    assert read.encoded.vocab.decode(read.encoded.ids) == STRAIGHT[:400]
    assert read.num_chars == len(CURLY)


def test_a_loss_counts_what_tells_such_a_mark_from_the_one_that_is_read(command, straight):
    rows = [
        json.loads(command(f"evaluate straight --json --text {name}.txt").out)
        for name in ("curly", "straight")
    ]
    vocab = load("straight").vocab
    num_unknown = sum(not vocab.knows(np.array([ord(c)]))[0] for c in CURLY[1:])
    assert rows[0]["num_unknown"] == num_unknown + 1
    more = num_unknown * vocab.escape_nats / (len(CURLY) - 1)
    assert rows[0]["nats_per_char"] == pytest.approx(rows[1]["nats_per_char"] + more)
