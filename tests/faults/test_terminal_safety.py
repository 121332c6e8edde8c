"""Nothing that a corpus, a name, a prime, a pattern or a damaged file holds steers a terminal or
becomes code.

What is allowed out: on a terminal newlines, tabs, rich's own colours, and the carriage returns of
bars. In a pipe `charrnn sample` writes the model's characters exactly, and a path is the path: that
is what programs read them for.
"""

import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from command_lines import PLACES, faults, run_line, steering
from conftest import SMALL_FLAGS, SMALL_RUN, TrainedRun
from every_option import parameters_of_command
from hostile_files import assert_is_safe, damaged
from hypothesis import given
from hypothesis import strategies as st
from streams import Stream
from terminals import IN_A_NAME, IN_A_TEXT, IN_AN_ARGUMENT

import charrnn
from charrnn.cli.streams import IN_TEXT, printable, write_aside
from charrnn.config.settings import FIELD_NAMES
from charrnn.text import sources

pytest_plugins = ("shared",)

MODES = ("truecolor", "dumb", "pipe", "forced")
"""The first place in the suite, all of them in the thorough version."""
PATTERNS = (
    "[/bold]",
    "[link=javascript:alert(1)]x?",
    ":boom:|\x1b\\[2J|\u202e|\x9b|\x7f",
    "50%|,",
    "</script>|&lt;",
)
"""Regular expressions all, and each is somewhere in the text."""
DETECT = [part for pattern in PATTERNS for part in ("--detect", pattern)]
CELL = ("--cell", "0:1", "--chars", "400")
EXPORTED = [
    ("--top", "2", *DETECT),
    CELL,
    ("--surprise", "--chars", "400"),
    ("--evidence", "best"),
    ("--gradients", "--with", IN_A_NAME),
    ("--find", *DETECT),
    ("--gates",),
]
TYPED_PRIME = 'say "{}"'.format(IN_A_TEXT.replace("\\", "\\\\"))
"""A backslash of a typed text is written twice."""
SHOWN = [
    ("sample", "--length", "300", "--prime", TYPED_PRIME, "--unknown", "nearest"),
    ("sample", "--length", "90", "--temp", "0.5,1"),
    ("sample", "--length", "30", "--beam", "3", "--prime", "\x1b[2J"),
    ("sample", "--length", "120", "--trace", "--prime", "say \x1b"),
    ("sample", "--length", "120", "--color", "0:1", "--prime", "say \x1b"),
    ("sample", "--length", "120", "--seed", "0", "--stop", "\x1b]", "--ban", "\u202e\x9b"),
    ("predict", "say", "--top", "99"),
    ("predict", TYPED_PRIME, "--why", "next", "--unknown", "nearest"),
    *(("visualize", *options) for options in EXPORTED),
    ("evaluate",),
    ("runs",),
    ("corpora",),
]


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory):
    """A run that learned a hostile text from a file with a hostile name, and has one itself."""
    folder = tmp_path_factory.mktemp("hostile")
    path = folder / f"{IN_A_NAME}.txt"
    path.write_bytes(f'say "{IN_A_TEXT}" if (x):\n    y [z]\n'.encode() * 24)
    # As it stands: characters that are not seen would be left out.
    config = charrnn.Config(
        corpus=(str(path),), clean=False, **SMALL_RUN, steps=20, save_every=10, keep=3
    )
    run = folder / "checkpoints" / IN_A_NAME
    run.parent.mkdir()
    return TrainedRun(run, tuple(charrnn.train(config, out=run)))


@pytest.fixture
def hostile(hostile_run, tmp_path, monkeypatch):
    """A working folder with a copy of that run; returns the copy."""
    monkeypatch.chdir(tmp_path)
    copied = tmp_path / "checkpoints" / IN_A_NAME
    shutil.copytree(hostile_run.path, copied)
    return copied


def modes_of(cases):
    """Each case in the first mode and, thoroughly, in the others."""
    return [
        pytest.param(
            mode,
            case,
            marks=[pytest.mark.thorough] if index else [],
            id=f"{mode}-{' '.join(case[:3])!a}",
        )
        for index, mode in enumerate(MODES)
        for case in cases
    ]


@pytest.mark.parametrize("mode, arguments", modes_of(SHOWN))
def test_no_output_contains_control_sequences(hostile, monkeypatch, few_samples, mode, arguments):
    listed = replace(sources.load_catalogue()[0], licence=IN_A_TEXT, look_for=IN_A_TEXT)
    monkeypatch.setattr("charrnn.commands.corpora.load_catalogue", lambda: (listed,))
    ran = run_line(arguments, **PLACES[mode])
    is_exact = arguments[0] == "sample" and mode in ("pipe", "forced")
    assert faults(arguments, ran, is_exact=is_exact, **PLACES[mode]) == []
    assert (ran.code, len(ran.out) > 30) == (0, True), ran.err
    if "--detect" in arguments:
        assert "[/bold]" in ran.out, "a name is shown as it is"


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(mode, marks=[pytest.mark.thorough] if index else [])
        for index, mode in enumerate(MODES)
    ],
)
def test_training_shows_hostile_names_and_texts_as_text(hostile_run, tmp_path, mode, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [source] = hostile_run.path.parent.parent.glob("*.txt")
    Path(source.name).write_bytes(b"\xef\xbb\xbf" + source.read_bytes().replace(b"\n", b"\r\n"))
    options = ("--steps", 4, "--set", "evaluate_every=2", "--out", IN_A_NAME, *SMALL_FLAGS)
    is_exact = mode in ("pipe", "forced")
    for line in (
        ("train", source.name, *options),
        ("train", "--resume", IN_A_NAME, "--steps", 6),
    ):
        ran = run_line(line, **PLACES[mode])
        assert faults(line, ran, is_exact=is_exact, **PLACES[mode]) == []
        assert ran.code == 0
        assert "sample at step" in ran.err
        if is_exact:
            # For programs: undecodable bytes of it are spelled as Python spells them.
            assert ran.out == IN_A_NAME.encode("utf-8", "backslashreplace").decode() + "\n"


@given(st.text(st.sampled_from([*IN_AN_ARGUMENT, *"ab é漢\n\t"]), max_size=40))
def test_whatever_is_written_aside_is_shown_as_text(message):
    """By the function that writes, and not by those who call it."""
    for is_terminal in (True, False):
        stderr = Stream(is_terminal=is_terminal)
        with mock.patch.object(sys, "stderr", stderr):
            write_aside(message)
        assert steering(stderr.text()) == []


@pytest.mark.parametrize("mode", ["truecolor", "dumb", "pipe"])
def test_the_question_before_a_deletion_shows_the_name_as_text(hostile, mode):
    line = ("runs", "delete", IN_A_NAME)
    for stdin, code in ((b"", 2), (b"y\n", 0)):
        ran = run_line(line, stdin=stdin, **PLACES[mode])
        assert (ran.code, faults(line, ran, **PLACES[mode])) == (code, [])
        assert ran.err.startswith("Delete")
    assert not hostile.exists()


def test_a_pipe_carries_the_characters_as_they_are(hostile):
    line = ("sample", "--seed", 0, "--temp", 1, "--prime", "", "--length")
    expected = charrnn.load(hostile).sample(prime="", temperature=1, seed=0, length=3000).text
    assert set("\x1b\x9b\u202e\x7f") <= set(expected), "the model learned to write them"
    assert run_line((*line, 3000)).out.removesuffix("\n") == expected.removesuffix("\n")
    shown = run_line((*line, 300), **PLACES["dumb"])
    assert "␛" in shown.out and faults(line, shown, **PLACES["dumb"]) == []
    for text in ("नमस्ते", "สวัสดี", "e\u0301", "می\u200cخواهم"):
        assert printable(text, IN_TEXT) == text, "marks belong to their letters"


JSON = [
    ("sample", "--length", "300", "--seed", "0", "--prime", "say \x7f\x1b"),
    ("sample", "--length", "90", "--trace"),
    ("predict", "say", "--top", "99"),
    ("visualize", *CELL),
    ("runs",),
    ("train", "--show-config", IN_AN_ARGUMENT),
]


@pytest.mark.parametrize("arguments", JSON, ids=lambda arguments: ascii(" ".join(arguments[:2])))
def test_json_is_ascii_and_says_what_it_was(hostile, arguments):
    ran = run_line((*arguments, "--json"))
    assert (ran.code, steering(ran.out), ran.out.isascii()) == (0, [], True)
    value = json.loads(ran.out)
    if "--prime" in arguments:
        assert value["prime"] == "say \x7f\x1b" and value["run"] == IN_A_NAME
        expected = charrnn.load(hostile).sample(
            seed=0, temperature=0.8, prime=value["prime"], length=300
        )
        assert value["text"] == expected.text


def values_of(name):
    """A command line for each of a command's options that take a value, with a hostile one; and for
    its arguments."""
    options = []
    if name != "corpora":  # whose options have no value
        parameters = parameters_of_command(name)
        options = [one.flag for one in parameters if one.flag and one.metavar]
    lines = [
        (IN_AN_ARGUMENT,),
        (f"--{IN_AN_ARGUMENT}",),
        (IN_AN_ARGUMENT,) * 3,
    ]
    # Of a text that there is none of nothing is trained where the value can be used.
    before = {"train": (IN_AN_ARGUMENT,), "sample": ("--length", "9"), "predict": ("say",)}.get(
        name, ()
    )
    lines += [(*before, option, IN_AN_ARGUMENT) for option in options]
    if name == "train":
        lines += [("nosuch", "--resume"), ("--resume", IN_AN_ARGUMENT)]
        settings = [f"{field}={IN_AN_ARGUMENT}" for field in (*FIELD_NAMES, IN_AN_ARGUMENT)]
        lines += [(IN_AN_ARGUMENT, "--set", setting) for setting in settings]
    return [(name, *line) for line in lines]


@pytest.mark.parametrize(
    "name",
    ["train", "sample", "predict", "visualize", "explore", "evaluate", "runs", "corpora"],
)
def test_no_error_message_contains_control_sequences(process, hostile, name):
    codes = set()
    # Three lines, which a narrow terminal shows as more.
    wide = PLACES["dumb"] | {"COLUMNS": "100000", "LINES": "25"}
    for number, line in enumerate(values_of(name)):
        ran = run_line(line, **wide)
        codes.add(ran.code)
        assert faults(line, ran, **wide) == [], line
        if number % 4 == 0:
            assert (
                faults(line, run_line(line, **PLACES["dumb"]), max_lines=99, **PLACES["dumb"]) == []
            )
    assert 2 in codes
    if name == "sample":
        traceback = process("-m", "charrnn", "sample", IN_AN_ARGUMENT, "--debug").stderr.decode()
        assert (
            traceback.startswith("Traceback")
            and "\\x1b[2J" in traceback
            and steering(traceback) == []
        )


def test_warnings_about_damaged_runs_contain_no_control_sequences(hostile):
    for what in damaged(hostile):
        for line in (("sample", "--length", 5), ("runs",)):
            ran = run_line(line, **PLACES["dumb"])
            assert ran.code in (0, 3, 4), (what, ran.err)
            assert faults(line, ran, max_lines=99, **PLACES["dumb"]) == [], what


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(case, marks=[pytest.mark.thorough] if index > 1 else [], id=case[0])
        for index, case in enumerate(EXPORTED)
    ],
)
def test_no_export_contains_code(hostile, arguments):
    kinds = ["html", "svg", "txt", "json"]
    # The numbers are of all cells, not of the first.
    if "--top" in arguments:
        kinds.remove("json")
    for kind in kinds:
        name = f"picture{IN_A_NAME}.{kind}"
        ran = run_line(("visualize", *arguments, "--export", name))
        assert (ran.code, ran.out) == (
            0,
            name.encode("utf-8", "backslashreplace").decode() + "\n",
        ), ran.err
        assert_is_safe(Path(name))
        spelled = Path(name).read_text()
        if kind == "txt" and "--detect" in arguments:
            assert "[/bold]" in spelled and "[link=javascript" in spelled, (
                "names are shown as they are"
            )


def test_arrays_have_names_that_are_valid_in_an_archive(hostile):
    ran = run_line(("visualize", *DETECT, "--detect", "\udcff|z", "--export", "cells.npz"))
    assert ran.code == 0, ran.err
    with zipfile.ZipFile("cells.npz") as archive:
        assert all(steering(name) == [] for name in archive.namelist())
    with np.load("cells.npz", allow_pickle=False) as arrays:
        assert {f"labels_{pattern}" for pattern in (PATTERNS[0], PATTERNS[1], PATTERNS[3])} <= set(
            arrays.files
        )
        assert set("\x1b\x9b") <= set(str(arrays["text"]))
