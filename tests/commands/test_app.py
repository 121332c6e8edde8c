"""What all commands share: what help imports, the newest run, and what goes wrong, which is said in
at most three lines on stderr, with its exit code.

Tests `__main__` and `commands`, too.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import SMALL_RUN, Ran, clean_environment
from synthetic import make_corpus

import charrnn

CHECKPOINT = 4
READERS = ("sample --length 9", "predict zib", "train --resume --steps 301")


@pytest.fixture
def mess(lab, tmp_path):
    """A working folder with one run and `good.txt`."""
    (tmp_path / "good.txt").write_bytes(make_corpus(num_chars=2_000).text.encode())


@pytest.mark.parametrize("line", ["train nosuch.txt", "sample --temp nan"])
def test_errors_are_told_on_stderr_in_every_mode(command, mess, line):
    plain = command(line)
    for flag in ("--json", "--quiet", "-q"):
        ran = command(line, flag)
        assert (ran.code, ran.out, ran.notes) == (plain.code, plain.out, plain.notes)


def test_without_any_run_it_says_how_to_get_one(command):
    for line in ("sample", "visualize", "evaluate", "predict zib", "train --resume"):
        command(line).assert_refused(
            CHECKPOINT, "no runs here or in checkpoints yet", "charrnn train"
        )


@pytest.mark.parametrize("line", READERS)
def test_the_step_stands_in_for_a_damaged_file(command, lab, line):
    file = "vocab.json" if line == "predict zib" else "config.yaml"
    whole = (lab / file).read_bytes()
    (lab / file).write_bytes(b"" if file == "vocab.json" else whole.replace(b"3", b"2", 1))
    ran = command(line)
    assert ran.code == 0
    (told,) = [text for text in ran.err.splitlines() if "damaged" in text]
    assert (
        told.startswith(f"warning: checkpoints/lstm-001/{file} is damaged")
        and "; using step-00000" in told
    )
    if "--resume" in line:
        assert command("sample --seed 0 --length 5").notes == "", "it was mended"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named(lab, tmp_path):
    line = (
        f"{shlex.quote(sys.executable)} -m charrnn sample --quiet --seed 0 --length 5 > /dev/full"
    )
    ran = subprocess.run(
        line, shell=True, stderr=subprocess.PIPE, cwd=tmp_path, env=clean_environment(), check=False
    )
    assert (
        ran.returncode == 1
        and ran.stderr.startswith(b"error: ")
        and b"No space left on device" in ran.stderr
    )
    assert len(ran.stderr.splitlines()) <= 3


LONG = "first line of it\n" + "more than anybody reads \x1b[2J " * 1_000


@pytest.mark.parametrize(
    "error", [EOFError(), RuntimeError(LONG)], ids=["without a message", "with a long one"]
)
def test_what_nobody_expected_is_short(command, error, monkeypatch):
    rest = ": first line of it more than anybody reads" if error.args else ""
    begin = f"error: unexpected {type(error).__name__}{rest}"
    monkeypatch.setattr("charrnn.trained_model.load_as", Mock(side_effect=error))
    ran = command("sample")
    assert (ran.code, ran.out) == (1, "")
    first, second = ran.err.strip().splitlines()
    assert first.startswith(begin) and len(first) < 300
    assert first == begin or len(first) > 200, "a long message is cut, not dropped"
    assert second.strip() == "Add --debug to see where it happened."
    with pytest.raises(Exception) as raised:
        command("sample --debug")
    assert error in (raised.value, raised.value.__cause__)


def test_only_an_interrupt_is_one(command, alphabet_run, monkeypatch):
    """A callback, or an import, may turn Ctrl-C into another exception: what counts is that it was
    pressed."""

    def interrupt(*_, **__):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("half of a module") from None

    for load in (interrupt, Mock(side_effect=KeyboardInterrupt)):
        monkeypatch.setattr("charrnn.trained_model.load_as", load)
        assert command("sample", alphabet_run) == Ran(130, "", "")


COMMANDS = (
    "train",
    "sample",
    "predict",
    "visualize",
    "explore",
    "evaluate",
    "runs",
    "export",
    "corpora list",
    "corpora show",
    "corpora fetch",
)


OF_ANALYSES = ("predict", "visualize", "evaluate")
"""The commands whose modules import what they measure."""


def test_help_imports_what_it_needs_only(process):
    # The modules of the commands OF_ANALYSES import NumPy.
    others = ("", "--version", *(name for name in COMMANDS if name not in OF_ANALYSES))
    script = f"""
import sys
import charrnn
from charrnn.commands.app import run
for names, heavy in (({others!r}, {{"numpy", "rich", "torch"}}), ({OF_ANALYSES!r}, {{"torch", "numba", "yaml", "tqdm"}})):
    for name in names:
        assert run([*name.split(), *([] if name == "--version" else ["--help"])]) == 0
    print(sorted(heavy & {{*sys.modules}}), file=sys.stderr)
"""
    ran = process("-c", script)
    assert (ran.returncode, ran.stderr.split()) == (0, [b"[]", b"[]"])
    assert ran.stdout.count(b"Usage: charrnn") == len(COMMANDS) + 1


@pytest.mark.parametrize("arguments, code", [("runs nosuch", 4), ("runs nosuch --debug", 1)])
def test_the_process_ends_with_the_exit_code_and_debug_shows_where(process, arguments, code):
    ran = process("-m", "charrnn", *arguments.split())
    assert (ran.returncode, ran.stdout) == (code, b"") and b"no run 'nosuch'" in ran.stderr
    assert ran.stderr.startswith(b"Traceback") is ("--debug" in arguments)


def test_a_folder_that_was_removed_under_it_is_said(process):
    script = """
import os, sys
os.mkdir("gone")
os.chdir("gone")
os.rmdir("../gone")
from charrnn.commands.app import run
print([run(arguments.split()) for arguments in ("train text.txt", "evaluate", "runs")])
"""
    ran = process("-c", script)
    assert (ran.returncode, ran.stdout) == (0, b"[1, 1, 1]\n")
    assert ran.stderr == b"error: the current folder was removed: change to another one (cd)\n" * 3


WITHOUT_A_RUN = (
    "sample --seed 0 --length 5",
    "predict zib",
    "visualize --surprise --chars 20",
    "evaluate --chars 100",
    "export x.zip --force",
)
"""Commands that take the newest run if none is named."""


def with_run(line, run):
    """Return a command line with its run named."""
    name, *options = line.split()
    return [name, run, *options]


def test_the_newest_run_that_was_validated_is_read(command, lab, corpus_file):
    # A newer run ended before its first step: it was never validated.
    config = charrnn.Config(corpus=(str(corpus_file),), steps=5, **SMALL_RUN)
    *_, done = charrnn.train(config, out=lab.parent / "abandoned-001", should_stop=lambda: True)
    assert (done.step, done.is_complete) == (0, False)
    os.utime(lab / "latest", (100, 100))
    assert command("predict zib").err == f"Run: {lab.name}\n"
    assert command("predict zib").out == command("predict", lab.name, "zib").out


@pytest.mark.parametrize("line", WITHOUT_A_RUN)
def test_a_run_that_nobody_named_is_named_on_stderr(command, lab, line):
    named = command(*with_run(line, lab.name))
    ran = command(line)
    assert named.code == 0
    assert "Run:" not in named.err
    assert (ran.code, ran.out) == (named.code, named.out)
    assert ran.err == f"Run: {lab.name}\n{named.err}"
    assert "Run:" not in command(line, "--quiet").err


def test_a_rank_alone_changes_nothing(command, alphabet_run, monkeypatch):
    """Other programs set such a variable."""
    before = command("sample --length 5 --temp 1", alphabet_run)
    monkeypatch.setenv("RANK", "1")
    after = command("sample --length 5 --temp 1", alphabet_run)
    assert after.err.startswith("seed ") and before.err.startswith("seed ")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command("sample --length 5 --temp 1", alphabet_run).err == ""
