"""Nothing that a corpus, a name, a prime, a pattern or a damaged file holds steers a terminal or
becomes code.

What is allowed out: on a terminal newlines, tabs, rich's own colours, and the carriage returns of
bars. In a pipe `charrnn sample` writes the model's characters exactly, and a path is the path: that
is what programs read them for.
"""

import json
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from conftest import SMALL_FLAGS, SMALL_RUN, TrainedRun
from hostile_files import assert_is_safe, damaged
from terminals import COLOUR, IN_A_NAME, IN_A_TEXT, IN_AN_ARGUMENT, steering

import charrnn
from charrnn.cli.app import app
from charrnn.cli.streams import IN_TEXT, printable
from charrnn.config.settings import FIELD_NAMES
from charrnn.text import sources

pytest_plugins = ("shared",)

MODES = {
    "colours": {"is_terminal": True, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
    "dumb": {"is_terminal": True, "TERM": "dumb"},
    "pipe": {"is_terminal": False},
    "forced": {"is_terminal": False, "FORCE_COLOR": "1", "TERM": "xterm-256color"},
}
"""The first in the suite, all of them in the thorough version."""
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
    ("sample", "--length", "120", "--novelty", "--prime", "say \x1b"),
    ("sample", "--length", "120", "--color", "0:1", "--prime", "say \x1b"),
    ("sample", "--length", "120", "--seed", "0", "--stop", "\x1b]", "--ban", "\u202e\x9b"),
    ("predict", "say", "--top", "99"),
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
    config = charrnn.Config(corpus=(str(path),), **SMALL_RUN, steps=20, save_every=10, keep=3)
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


def assert_shows_only(ran, *, has_bars=False, is_text=False, kept="\n\t"):
    """That nothing steers the terminal; `is_text`: stdout is a pipe that carries characters as they
    are."""
    assert not re.search(r"unexpected \w+Error|Traceback", ran.err)
    if not is_text:
        assert steering(COLOUR.sub("", ran.out), kept) == []
    if has_bars:
        kept += "\r"
    assert steering(COLOUR.sub("", ran.err), kept) == []


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


@pytest.mark.parametrize(("mode", "arguments"), modes_of(SHOWN))
def test_no_output_contains_control_sequences(on_screen, hostile, monkeypatch, mode, arguments):
    listed = replace(sources.load_catalogue()[0], licence=IN_A_TEXT, look_for=IN_A_TEXT)
    monkeypatch.setattr("charrnn.cli.corpora.load_catalogue", lambda: (listed,))
    ran = on_screen(*arguments, **MODES[mode])
    assert ran.code == 0, ran.err
    assert len(ran.out) > 30
    is_text = arguments[0] == "sample" and not MODES[mode]["is_terminal"]
    kept = IN_TEXT if arguments[0] == "sample" else "\n\t"
    assert_shows_only(ran, has_bars=mode == "colours", is_text=is_text, kept=kept)
    if not is_text and "--detect" in arguments and "--history" not in arguments:
        assert "[/bold]" in ran.out, "a name is shown as it is"


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(mode, marks=[pytest.mark.thorough] if index else [])
        for index, mode in enumerate(MODES)
    ],
)
def test_training_shows_hostile_names_and_texts_as_text(
    on_screen, hostile_run, tmp_path, mode, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    [source] = hostile_run.path.parent.parent.glob("*.txt")
    Path(source.name).write_bytes(b"\xef\xbb\xbf" + source.read_bytes().replace(b"\n", b"\r\n"))
    ran = on_screen(
        "train",
        source.name,
        "--steps",
        4,
        "--set",
        "evaluate_every=2",
        "--out",
        IN_A_NAME,
        *SMALL_FLAGS,
        **MODES[mode],
    )
    assert ran.code == 0
    assert "byte-order mark" in ran.err and "sample at step" in ran.err
    is_terminal = MODES[mode]["is_terminal"]
    assert_shows_only(ran, has_bars=mode == "colours", is_text=not is_terminal, kept=IN_TEXT)
    if not is_terminal:
        # For programs: undecodable bytes of it are spelled as Python spells them.
        assert ran.out == IN_A_NAME.encode("utf-8", "backslashreplace").decode() + "\n"
    again = on_screen("train", "--resume", IN_A_NAME, "--steps", 6, **MODES[mode])
    assert again.code == 0
    assert_shows_only(again, has_bars=mode == "colours", is_text=not is_terminal, kept=IN_TEXT)


def test_a_pipe_carries_the_characters_as_they_are(on_screen, hostile):
    line = ("sample", "--seed", 0, "--length", 1500, "--prime", "")
    expected = charrnn.load(hostile).sample(prime="", temperature=0.8, seed=0, length=1500).text
    assert set("\x1b\x9b\u202e\x7f") <= set(expected), "the model learned to write them"
    assert on_screen(*line, is_terminal=False).out == expected + (
        "" if expected.endswith("\n") else "\n"
    )
    shown = on_screen(*line, "--length", 300, TERM="dumb")
    assert "␛" in shown.out and steering(shown.out, IN_TEXT) == []
    for text in ("नमस्ते", "สวัสดี", "e\u0301", "می\u200cخواهم"):
        assert printable(text, IN_TEXT) == text, "marks belong to their letters"


JSON = [
    ("sample", "--length", "300", "--seed", "0", "--prime", "say \x7f\x1b"),
    ("sample", "--length", "90", "--novelty"),
    ("predict", "say", "--top", "99"),
    ("visualize", *CELL),
    ("runs",),
    ("train", "--show-config", IN_AN_ARGUMENT),
]


@pytest.mark.parametrize("arguments", JSON, ids=lambda arguments: ascii(" ".join(arguments[:2])))
def test_json_is_ascii_and_says_what_it_was(on_screen, hostile, arguments):
    ran = on_screen(*arguments, "--json", is_terminal=False)
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
    command = typer.main.get_command(app).commands[name]
    options = [
        parameter.opts[0]
        for parameter in command.params
        if parameter.opts[0].startswith("--") and not getattr(parameter, "is_flag", True)
    ]
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
    ["train", "sample", "predict", "visualize", "explore", "write", "evaluate", "runs", "corpora"],
)
def test_no_error_message_contains_control_sequences(on_screen, process, hostile, name):
    codes = set()
    for number, line in enumerate(values_of(name)):
        # Three lines, which a narrow terminal shows as more.
        ran = on_screen(*line, TERM="dumb", COLUMNS="100000", LINES="25")
        codes.add(ran.code)
        assert ran.code == 0 or 1 <= ran.err.partition("error: ")[2].count("\n") <= 3, line
        shown = [ran, on_screen(*line, TERM="dumb")] if number % 4 == 0 else [ran]
        for one in shown:
            assert_shows_only(one, kept=IN_TEXT if name == "sample" else "\n\t")
            assert one.err.count("error: ") == (ran.code > 0)
    assert codes <= {0, 2, 3, 4} and 2 in codes
    if name == "sample":
        traceback = process("-m", "charrnn", "sample", IN_AN_ARGUMENT, "--debug").stderr.decode()
        assert (
            traceback.startswith("Traceback")
            and "\\x1b[2J" in traceback
            and steering(traceback) == []
        )


def test_warnings_about_damaged_runs_contain_no_control_sequences(on_screen, hostile):
    for what in damaged(hostile):
        for line in (("sample", "--length", 5), ("runs",)):
            ran = on_screen(*line, TERM="dumb")
            assert ran.code in (0, 3, 4), (what, ran.err)
            assert_shows_only(ran, kept=IN_TEXT)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(case, marks=[pytest.mark.thorough] if index > 1 else [], id=case[0])
        for index, case in enumerate(EXPORTED)
    ],
)
def test_no_export_contains_code(on_screen, hostile, arguments):
    for kind in ("html", "svg", "txt", "json"):
        name = f"picture{IN_A_NAME}.{kind}"
        ran = on_screen("visualize", *arguments, "--export", name, is_terminal=False)
        assert (ran.code, ran.out) == (
            0,
            name.encode("utf-8", "backslashreplace").decode() + "\n",
        ), ran.err
        assert_is_safe(Path(name))
        spelled = Path(name).read_text()
        if kind == "txt" and "--detect" in arguments:
            is_scored = "--history" not in arguments  # which leaves out what is not
            assert ("[/bold]" in spelled) == is_scored and "[link=javascript" in spelled, (
                "a name is shown as it is"
            )


def test_arrays_have_names_that_are_valid_in_an_archive(on_screen, hostile):
    ran = on_screen(
        "visualize", *DETECT, "--detect", "\udcff|z", "--export", "cells.npz", TERM="dumb"
    )
    assert ran.code == 0, ran.err
    with zipfile.ZipFile("cells.npz") as archive:
        assert all(steering(name) == [] for name in archive.namelist())
    with np.load("cells.npz", allow_pickle=False) as arrays:
        assert {f"labels_{pattern}" for pattern in (PATTERNS[0], PATTERNS[1], PATTERNS[3])} <= set(
            arrays.files
        )
        assert set("\x1b\x9b") <= set(str(arrays["text"]))
