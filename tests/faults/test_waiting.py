"""Wherever the program waits for a person, Ctrl-C and Ctrl-D end it, and leave the terminal as it
was."""

import sys

import pytest
from small_runs import train
from terminals import Terminal

pytest_plugins = ("shared",)
CTRL_C, CTRL_D = b"\x03", b"\x04"


def type_when(terminal, shown, *keys):
    """Type each of the keys once a text is shown; return the exit code."""
    terminal.read_until(shown)
    for key in keys:
        terminal.type(key)
    code = terminal.read_to_the_end()
    assert b"Traceback" not in terminal.seen
    return code


@pytest.fixture
def run(fork_server, tmp_path):
    """A run of one's own, which may be deleted."""
    assert fork_server.run(*train(tmp_path / "run"))[0] == 0
    return tmp_path / "run"


@pytest.mark.parametrize(
    "key, code, said",
    [
        (CTRL_C, 130, b"^C"),
        (CTRL_D, 2, b"Nothing was deleted"),
        (b"n\r", 2, b"Nothing was deleted"),
    ],
    ids=["Ctrl-C", "Ctrl-D", "n"],
)
def test_the_question_of_runs_delete(fork_server, run, key, code, said):
    terminal = Terminal(fork_server, "runs", "delete", run)
    assert type_when(terminal, b"y for yes", key) == code
    assert said in terminal.seen and (run / "config.yaml").exists()


@pytest.mark.parametrize(
    "keys, code",
    [((CTRL_C,), 130), ((b"\r", CTRL_D), 0), ((CTRL_D, CTRL_D), 0)],
    ids=["Ctrl-C", "Ctrl-D behind a line", "Ctrl-D within a line"],
)
def test_a_text_that_is_typed(fork_server, uninterrupted, keys, code):
    word = (fork_server.folder / "text.txt").read_bytes().split()[0]
    terminal = Terminal(fork_server, "predict", uninterrupted.path, "-")
    assert type_when(terminal, b"Waiting for a text", word, *keys) == code


def test_ctrl_d_at_once_is_an_empty_text(fork_server, uninterrupted):
    terminal = Terminal(fork_server, "predict", uninterrupted.path, "-")
    assert type_when(terminal, b"Waiting for a text", CTRL_D) == 0


@pytest.mark.parametrize("presses", [1, 4])
def test_a_pager_keeps_the_terminal_until_it_ends(fork_server, corpus_file, tmp_path, presses):
    """A pager takes no notice of Ctrl-C; the program must not end before it."""
    pager = tmp_path / "pager.py"
    pager.write_text(
        "import signal, sys\nsignal.signal(signal.SIGINT, lambda *_: None)\n"
        "sys.stdin.read()\nprint('paging', flush=True)\nopen('/dev/tty').readline()\nprint('done')\n",
        encoding="utf-8",
    )
    terminal = Terminal(
        fork_server, "train", corpus_file, "--show-text", pager=f"{sys.executable} {pager}"
    )
    assert type_when(terminal, b"paging", *[CTRL_C] * presses, b"q\r") == 0
    assert b"done" in terminal.seen


def test_the_explorer(fork_server, uninterrupted):
    text = fork_server.folder / "text.txt"
    terminal = Terminal(fork_server, "explore", uninterrupted.path, "--text", text)
    assert type_when(terminal, b"\x1b[?1049h", CTRL_C) in (0, 130)
    assert b"\x1b[?1049l" in terminal.seen
