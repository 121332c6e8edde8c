"""Off a terminal, under CI, on a dumb or narrow one, without a home: the result, plain lines and
nothing that moves.

`tests/commands/test_golden_outputs.py` looks at what is printed there. On a terminal the bar moves,
and nothing but text to be copied is wider than it.

Tests `system.words`, too.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from built_runs import build_chain
from command_lines import COLOUR, run_line
from conftest import SMALL_FLAGS, clean_environment
from rich.cells import cell_len
from terminals import Terminal

pytest_plugins = ("shared",)


def without_samples(lines, run):
    """The lines that are neither of a sample, as `samples.txt` has it, nor empty."""
    samples = {line.rstrip() for line in (run / "samples.txt").read_text().splitlines()}
    return [
        line
        for line in lines
        if line.rstrip() not in samples | {""} and not line.startswith("--- sample at step ")
    ]


@pytest.mark.parametrize("width", [80, pytest.param(120, marks=pytest.mark.thorough)])
def test_the_bar_moves_and_nothing_is_wider(fork_server, corpus_file, tmp_path, width):
    options = ("--steps", 40, "--set", "evaluate_every=10", "--out", tmp_path / "run")
    terminal = Terminal(fork_server, "train", corpus_file, *options, *SMALL_FLAGS, width=width)
    assert terminal.read_to_the_end() == 0
    reported = terminal.seen.decode()
    lines = COLOUR.sub("", reported).replace("\r\n", "\n").split("\n")
    bars = [piece for line in lines for piece in line.split("\r") if re.match(r" *\d+% ", piece)]
    assert len(set(bars)) > 3, "the bar is drawn again and again"
    assert all(cell_len(bar) <= width and bar.endswith("]") for bar in bars)
    # Samples, and commands and folders to be copied, are left to the terminal to fold; all else is
    # made to fit.
    left = [line.rpartition("\r")[2] for line in lines[: lines.index("Next:")]]
    rest = [*without_samples(left, tmp_path / "run")]
    assert sum(line.endswith("  best") for line in rest) >= 1 and any(
        "Saved in" in line for line in rest
    )
    assert max(cell_len(line) for line in rest if str(tmp_path) not in line) <= width


def thorough_but_first(line, *others):
    return [line, *(pytest.param(other, marks=pytest.mark.thorough) for other in others)]


def start(lab, line, errors):
    """Start a command in the working folder of `lab`, with pipes on its streams."""
    return subprocess.Popen(
        [sys.executable, "-m", "charrnn", *line.split()],
        cwd=lab.parent.parent,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
    )


@pytest.mark.parametrize("streams", ["stdout", "both"])
@pytest.mark.parametrize(
    "line",
    thorough_but_first(
        "runs --json", "predict zib", "sample --seed 0", "evaluate", "visualize", "--help"
    ),
)
def test_a_closed_pipe_is_not_an_error(lab, line, streams):
    # Closed long before Python has started: what `| head -1` does to a command that writes later.
    errors = subprocess.PIPE if streams == "stdout" else subprocess.STDOUT  # 2>&1 | head -1
    with start(lab, line, errors) as process:
        process.stdout.close()
        if process.stderr is not None:
            assert process.stderr.read() in (b"", b"Run: lstm-001\n")
        assert process.wait(timeout=600) == 0


@pytest.mark.parametrize(
    "line",
    thorough_but_first(
        "predict zib", "sample --length 3000", "train text.txt --steps 2", "visualize --top 1"
    ),
)
@pytest.mark.parametrize("home", [None, "/dev/null/home"])
def test_no_home_is_needed(process, lab, line, home):
    Path("text.txt").write_bytes(b"zib fon jora molu tarn.\n" * 90)
    script = f"""
import os, sys
os.environ.pop("HOME", None)
os.environ.update({{}} if {home!r} is None else {{"HOME": {home!r}}})
os.execv(sys.executable, [sys.executable, "-m", "charrnn", *sys.argv[1:]])
"""
    nowhere = {"XDG_CACHE_HOME": "/dev/null/cache", "XDG_CONFIG_HOME": "/dev/null/config"}
    ran = process("-c", script, *line.split(), **nowhere)
    assert ran.returncode == 0, ran.stderr
    assert b"Traceback" not in ran.stderr and len(ran.stdout) > 10


def test_a_closed_stream_is_at_most_one_plain_error(process, lab):
    for descriptor, line, code, said in (
        (1, "runs", 1, b"error: cannot write the output: standard output is closed\n"),
        (2, "runs", 0, b""),
        (2, "runs --sort nosuch", 2, b""),
    ):
        script = (
            f"import os, subprocess, sys; os.close({descriptor});"
            " sys.exit(subprocess.call(sys.argv[1:]))"
        )
        ran = process("-c", script, sys.executable, "-m", "charrnn", *line.split())
        assert (ran.returncode, ran.stderr[: len(said)]) == (code, said), line
        assert ran.stderr.count(b"\n") == bool(said) and (len(ran.stdout) > 50) == (code == 0), line


@pytest.fixture(scope="module")
def cyrillic(tmp_path_factory):
    """Build a run that writes Cyrillic letters over and over."""
    return build_chain(tmp_path_factory.mktemp("runs") / "cyrillic", "\nзнаю")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_text_is_utf8_where_no_other_encoding_is_asked_for(cyrillic, encoding, *, is_terminal):
    line = ("sample", cyrillic, "--temp", 0, "--length", 4, "--quiet")
    ran = run_line(line, is_terminal=is_terminal, encoding=encoding)
    if is_terminal and encoding == "cp1252":
        assert (ran.code, ran.out) == (0, "\\u0437\\u043d\\u0430\\u044e\n")
    else:
        assert (ran.code, ran.out, ran.err) == (0, "знаю\n", "")


@pytest.mark.parametrize(
    "asked, text",
    [
        ("ascii", b"\\u0437\\u043d\\u0430\\u044e\n"),
        ("koi8-r", "знаю\n".encode("koi8-r")),
        ("utf-8", "знаю\n".encode()),
    ],
)
def test_an_encoding_that_the_user_sets_is_kept(process, cyrillic, asked, text):
    line = "-m charrnn sample --temp 0 --length 4 --quiet"
    ran = process(*line.split(), cyrillic, PYTHONIOENCODING=asked)
    assert (ran.returncode, ran.stdout) == (0, text)
