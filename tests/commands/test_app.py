"""What goes wrong is said in at most three lines on stderr, with its exit code; tests/lock has the
texts of 180."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import SMALL_RUN, Ran, clean_environment
from saved_runs import forge_description
from synthetic import make_corpus

from charrnn.runs.config_files import seal
from charrnn.runs.writer import RunWriter

DATA, CHECKPOINT = 3, 4
READERS = ("sample --length 9", "predict zib", "train --resume --steps 301")


@pytest.fixture
def mess(lab, tmp_path):
    """A working folder with one run and `good.txt`."""
    (tmp_path / "good.txt").write_bytes(make_corpus(num_chars=2_000).text.encode())


def assert_is_clear(ran, code, named=()):
    assert ran.code == code, ran.err
    assert ran.out == "" and ran.err.startswith("error: ")
    assert (
        1 <= len(ran.err.splitlines()) <= 3
        and ran.err.endswith("\n")
        and "Traceback" not in ran.err
    )
    assert not re.search(r"unexpected \w+(Error|Exception)\b", ran.err)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", ran.err), "nothing that could move the cursor"
    for part in named:
        assert part in ran.err


@pytest.mark.parametrize("line", ["train nosuch.txt", "sample --temp nan"])
def test_errors_are_told_on_stderr_in_every_mode(command, mess, line):
    plain = command(*line.split())
    for flag in ("--json", "--quiet", "-q"):
        ran = command(*line.split(), flag)
        assert (ran.code, ran.out, ran.notes) == (plain.code, plain.out, plain.notes)


def test_without_any_run_it_says_how_to_get_one(command):
    for line in ("sample", "visualize", "evaluate", "predict zib", "train --resume"):
        assert_is_clear(
            command(*line.split()),
            CHECKPOINT,
            ("no runs here or in checkpoints yet", "charrnn train"),
        )


@pytest.mark.parametrize("line", READERS)
def test_the_step_stands_in_for_a_damaged_file(command, lab, line):
    file = "vocab.json" if line == "predict zib" else "config.yaml"
    whole = (lab / file).read_bytes()
    (lab / file).write_bytes(b"" if file == "vocab.json" else whole.replace(b"3", b"2", 1))
    ran = command(*line.split())
    assert ran.code == 0
    (told,) = [text for text in ran.err.splitlines() if "damaged" in text]
    assert (
        told.startswith(f"warning: checkpoints/lstm-001/{file} is damaged")
        and "; using step-00000" in told
    )
    if "--resume" in line:
        assert command("sample", "--seed", 0, "--length", 5).notes == "", "it was mended"


def test_a_run_of_a_newer_version_is_not_called_damaged(command, lab):
    text = (lab / "config.yaml").read_text().partition("\n")[2]
    forge_description(RunWriter(lab), "config.yaml", seal(text + "lookahead: 3\n"))
    for line in ("sample", "train --resume --steps 301"):
        ran = command(*line.split())
        assert_is_clear(
            ran, CHECKPOINT, ("written by a newer version", "no configuration field", "Upgrade")
        )
        assert "damaged" not in ran.err


def test_damaged_metrics_are_named_by_their_line(command, lab):
    lines = (lab / "metrics.jsonl").read_text().splitlines()
    lines[6] = lines[6][:10]
    (lab / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    warning = "warning: checkpoints/lstm-001/metrics.jsonl line 7 is damaged and is skipped"
    assert command("runs").err.splitlines() == [warning] and command("runs", "--quiet").err == ""
    ran = command("train", "--resume", "--steps", 301)
    assert ran.code == 0 and warning in ran.err.splitlines()
    assert command("runs").err == "", "what is left parses"


def test_training_that_leaves_the_finite_numbers(command, mess):
    settings = {
        **SMALL_RUN,
        "learning_rate": 10,
        "weight_decay": 1e38,
        "steps": 9,
        "warmup_steps": 0,
    }
    flags = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    ran = command("train", "good.txt", "--quiet", *flags)
    assert_is_clear(ran, 5, ("Step ", "learning rate", "--set learning_rate="))
    # The step before is kept, and can be read.
    assert command("sample", "good-001", "--length", 5).code == 0


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
        command("sample", "--debug")
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


def test_a_module_that_cannot_be_imported_is_a_short_error(process):
    script = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "charrnn.commands.app":
            raise ImportError("no such thing")
sys.meta_path.insert(0, Finder())
from charrnn.__main__ import main
main()
"""
    ran = process("-c", script)
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr.decode().splitlines() == [
        "error: unexpected ImportError: no such thing",
        "       Add --debug to see where it happened.",
    ]
    assert b"Traceback" in process("-c", script, "--debug").stderr


def load_without_memory():
    """Fail as the loader of a compiled library does."""
    try:
        raise OSError("lib.so: failed to map segment from shared object")
    except OSError:
        raise OSError("Could not find 'lib.so'")  # noqa: B904


def load_what_is_missing():
    """Fail as a loader without its library."""
    raise OSError("Could not find 'lib.so'")


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (load_without_memory, "not enough memory\n"),
        (load_what_is_missing, "unexpected OSError: Could not find 'lib.so'\n"),
    ],
)
def test_a_library_that_cannot_be_loaded_is_no_output(command, monkeypatch, load, message):
    monkeypatch.setattr("charrnn.commands.app.app", lambda *args, **kwargs: load())
    ran = command("corpora")
    assert ran.code == 1
    assert ran.err.startswith(f"error: {message}")


def test_a_large_prime(command, alphabet_run, tmp_path, monkeypatch):
    (tmp_path / "prime.txt").write_text("a" * 2_000)
    monkeypatch.setattr("charrnn.text.text_files.memory_bytes", lambda: 8_000)
    for name, stdin in (("@prime.txt", b""), ("@-", b"a" * 2_000)):
        ran = command("sample", alphabet_run, "--prime", name, stdin=stdin)
        assert_is_clear(ran, DATA, (f"--prime {name}: more than",))
