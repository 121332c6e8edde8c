"""Where memory ends, one line says what needed it, nothing that was saved is lost, and nothing
hangs."""

import resource
import string
import subprocess
import sys

import pytest
from conftest import clean_environment
from small_runs import train

from charrnn.runs.reader import RunReader
from charrnn.training.trainer import Trainer

BIG = "--hidden-size 2048 --set batch_size=1 --set bptt_length=4 --steps 1"
"""Options of a model of 20 million weights, and of a step that takes a second."""
TIMEOUT = 300
"""Seconds after which a command hangs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a text and a model of 80 MB."""
    folder = tmp_path_factory.mktemp("memory")
    (folder / "text.txt").write_text(string.printable * 30, encoding="utf-8")
    assert limited(folder, "train", "text.txt", "--out", "big", *BIG.split()).returncode == 0
    return folder


def limited(folder, *words, kilobytes=None):
    """Run a command as after `ulimit -v`. Rust prints its stack, as on machines of developers."""

    def limit():
        if kilobytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (1024 * kilobytes,) * 2)

    return subprocess.run(
        [sys.executable, "-m", "charrnn", *words],
        cwd=folder,
        env=clean_environment(RUST_BACKTRACE="1"),
        capture_output=True,
        text=True,
        preexec_fn=limit,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits and tells address space")
@pytest.mark.parametrize(
    "kilobytes, line",
    [
        (160_000, "sample big"),
        (300_000, "sample big"),
        (700_000, "train text.txt --hidden-size 64 --steps 2 --out new"),
        (900_000, "visualize big --text text.txt"),
        (1_200_000, "train --resume big --steps 3"),
        (1_500_000, "train text.txt --hidden-size 4096 --steps 2 --out new"),
    ],
)
def test_a_command_without_memory_says_what_needs_it(folder, kilobytes, line):
    before = RunReader(folder / "big").checkpoints()
    ran = limited(folder, *line.split(), kilobytes=kilobytes)
    assert ran.returncode in (1, 2, 4)
    assert ran.stderr.count("error: ") == 1
    assert "memory" in ran.stderr.partition("error: ")[2].partition("\n")[0]
    assert RunReader(folder / "big").checkpoints() == before
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    "error, more",
    [
        (MemoryError("Unable to allocate 64.0 MiB for an array"), ": 64.0 MiB more were needed"),
        (RuntimeError("[enforce fail] you tried to allocate 160 bytes."), ": 160 bytes more"),
        (RuntimeError("could not execute a primitive"), ""),
        (OSError(12, "Cannot allocate memory"), ""),
    ],
)
def test_training_that_finds_no_memory_goes_on_later(command, tmp_path, monkeypatch, error, more):
    (tmp_path / "text.txt").write_text("abc abd\n" * 300, encoding="utf-8")
    out = tmp_path / "run"
    take_step = Trainer.take_step

    def fail(trainer, *arguments):
        if trainer.step == 5:
            raise error
        return take_step(trainer, *arguments)

    with monkeypatch.context() as here:
        here.setattr(Trainer, "take_step", fail)
        ran = command(*train(out))
    assert (ran.code, ran.err.count("error: ")) == (1, 1)
    assert f"error: not enough memory{more}" in ran.err
    assert command("train --resume", out).code == 0
