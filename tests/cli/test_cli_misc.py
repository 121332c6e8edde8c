"""The small commands, and what all commands share: help, version, exit codes, colours, locales."""

import os
from pathlib import Path

import pytest
from conftest import SMALL_RUN, as_json
from synthetic import make_corpus

import charrnn

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
    "corpora make",
)
OF_ANALYSES = ("predict", "visualize", "evaluate")
"""The commands whose options are declared in plugins, beside what they measure."""


def test_help_imports_what_it_needs_only(process):
    # The options of the commands OF_ANALYSES are declared in the modules of the analyses, which
    # compute with NumPy.
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


@pytest.mark.parametrize(("arguments", "code"), [("runs nosuch", 4), ("runs nosuch --debug", 1)])
def test_the_process_ends_with_the_exit_code_and_debug_shows_where(process, arguments, code):
    ran = process("-m", "charrnn", *arguments.split())
    assert (ran.returncode, ran.stdout) == (code, b"") and b"no run 'nosuch'" in ran.stderr
    assert ran.stderr.startswith(b"Traceback") is ("--debug" in arguments)


def test_what_numpy_says_of_numbers_of_a_diverged_model_is_not_shown(process):
    code = "from charrnn.commands.app import run; run(['--version']); import numpy as np"
    ran = process("-c", f"{code}; print(np.float32(1e38) * np.float32(10))")
    assert ran.stdout.decode().endswith("\ninf\n")
    assert ran.stderr.decode() == ""


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


def test_evaluate_reads_another_text(command, lab, corpus):
    like = make_corpus(num_chars=3_000, seed=9).text.encode()
    Path("like.txt").write_bytes(like)
    Path("unlike.txt").write_bytes((" ".join(reversed(corpus.text[:3_000])) + "éé").encode())
    found = [
        as_json(command("evaluate", "--text", f"{name}like.txt", "--json")) for name in ("", "un")
    ]
    assert found[0]["nats_per_char"] < 1.5 < found[1]["nats_per_char"]
    assert [one["num_unknown"] for one in found] == [0, 2]
    assert as_json(command("evaluate", "--text", "-", "--json", stdin=like)) == found[0]
    assert "does not know 2 characters of this text" in found[1]["notes"][0]


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
    assert command("predict", "zib").err == f"Run: {lab.name}\n"
    assert command("predict", "zib").out == command("predict", lab.name, "zib").out


@pytest.mark.parametrize("line", WITHOUT_A_RUN)
def test_a_run_that_nobody_named_is_named_on_stderr(command, lab, line):
    named = command(*with_run(line, lab.name))
    ran = command(*line.split())
    assert named.code == 0
    assert "Run:" not in named.err
    assert (ran.code, ran.out) == (named.code, named.out)
    assert ran.err == f"Run: {lab.name}\n{named.err}"
    assert "Run:" not in command(*line.split(), "--quiet").err
