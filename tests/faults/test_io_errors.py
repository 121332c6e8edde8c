"""A full or faulty disk: checkpoints load, and one message names the reason."""

import errno
import json
import os
import re
import shutil
import sys

import pytest
from conftest import SMALL_RUN
from faulty_disk import faulty_disk
from saved_runs import commit, hidden, make_run, save
from synthetic import make_corpus

from charrnn.errors import CharRNNError
from charrnn.runs.checkpoint import read_checkpoint

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds a descriptor's path in /proc"
)

ERRORS = (errno.ENOSPC, pytest.param(errno.EIO, marks=pytest.mark.thorough))
NEW = "step-00000200"


def failing(number):
    return lambda: OSError(number, os.strerror(number))


def make(folder, action):
    """Return a run as it is before an action: with two steps, of which the second is torn if it
    goes on."""
    shutil.rmtree(folder, ignore_errors=True)
    run = make_run(folder)
    commit(run, 100, best_step=100, keep=9)
    save(run, 200, value=7.0, best_nats=1.0, best_step=200)
    if action == "go on":
        (run.path / NEW / "training.safetensors").write_bytes(b"torn")
        (run.path / ".latest.tmp-4").write_bytes(b"left over")
    return run


def act(run, action):
    if action == "go on":
        with faulty_disk(run.path):  # reading what was saved is not what fails here
            loaded = run.load_checkpoint("latest", with_training=True)
        run.continue_from(loaded)
        commit(run, 300, best_step=300, keep=0)
    else:
        commit(run, 200, best_step=100, keep=0)


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("action", ["replace a step", "go on"])
def test_checkpoints_load_whatever_fails(tmp_path, action, number):
    run = make(tmp_path / "run", action)
    with faulty_disk(run.path) as disk:
        act(run, action)
    for at in range(
        1, len(disk.seen) + 1, 5 if number == errno.ENOSPC else 1
    ):  # every fifth one in the suite
        run = make(tmp_path / "run", action)
        try:
            with faulty_disk(run.path, at, failing(number)) as failed:
                act(run, action)
            # What cannot be compared with the step to be saved is replaced by it.
            assert failed.seen[at - 1][0] == "open" and failed.seen[at - 1][1].startswith(NEW), (
                failed.seen[at - 1]
            )
        except CharRNNError as error:
            assert error.exit_code in (1, 4)
            assert str(run.path) in str(error) and os.strerror(number) in str(error), failed.seen[
                -1
            ]
            if failed.seen[-1][0] == "write" and number == errno.ENOSPC:
                assert re.search(r"\([\d,]+ bytes needed\)", str(error)), failed.seen[-1]
            assert len(str(error).splitlines()) <= 3
        assert run.load_checkpoint("latest", with_training=True).step in (100, 200, 300), (
            failed.seen[-1]
        )
        if action == "replace a step":
            read_checkpoint(run.path / NEW, with_training=True)
        assert run.load_best().step in (100, 200, 300)
        # Once the disk is well again nothing is in the way.
        act(run, action)
        assert hidden(run.path) == []
        assert run.load_checkpoint("latest", with_training=True).warnings == ()
        assert run.load_best().warnings == ()


SETTINGS = {
    **SMALL_RUN,
    "hidden_size": 4,
    "steps": 3,
    "save_every": 1,
    "evaluate_every": 2,
    "keep": 1,
}
FLAGS = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]


def weights_of(run):
    return (run / (run / "latest").read_text().strip() / "training.safetensors").read_bytes()


def train_on(command, root, at, number):
    with faulty_disk(root, at, failing(number)) as disk:
        ran = command("train", root.parent / "text.txt", "--quiet", *FLAGS)
    return ran, disk.seen


@pytest.mark.parametrize("stride", [193, pytest.param(1, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.__getitem__)
def test_training_fails_with_a_message_and_resumes_to_the_same_weights(
    command, tmp_path, number, stride
):
    (tmp_path / "text.txt").write_bytes(make_corpus(num_chars=600, seed=6).text[:600].encode())
    root, run = tmp_path / "checkpoints", tmp_path / "checkpoints" / "text-001"
    ran, operations = train_on(command, root, None, number)
    assert ran.code == 0 and len(operations) > 150
    whole = weights_of(run)
    # All operations of the first save, which is to find a full disk before hours are spent, and
    # some of the others.
    first_save = operations.index(("rename", "text-001/step-00000000"))
    numbers = sorted(
        {
            *range(1, 8),
            *range(8, first_save, (stride + 3) // 4),
            *range(first_save, len(operations) + 1, stride),
        }
    )
    for at in numbers:
        shutil.rmtree(root)
        ran, seen = train_on(command, root, at, number)
        where = f"operation {at}, {seen[-1]}: {ran.err}"
        if ran.code:
            assert ran.code == 1 or (ran.code, seen[at - 1][0]) == (4, "list"), where
            assert "checkpoints" in ran.err and os.strerror(number) in ran.err, where
            assert len(ran.err.splitlines()) <= 3 and "Traceback" not in ran.err, where
            if seen[at - 1][0] == "write" and number == errno.ENOSPC:
                assert "bytes needed" in ran.err, where
        else:
            assert seen[at - 1][0] in ("open", "list"), where
        if ran.code and not list(run.glob("step-*")):
            assert not run.exists(), f"an empty run was left at {where}"
            assert train_on(command, root, None, number)[0].code == 0, where
        else:
            again = command("train", "--resume", "text-001")
            assert again.code == 0, where + again.err
        assert weights_of(run) == whole, where
        steps = [
            json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()
        ]
        assert steps == sorted(steps) and set(steps) == {1, 2, 3}, where
        assert hidden(run) == []
