"""A full or faulty disk: checkpoints load, and one message names the reason."""

import errno
import os
import re
import shutil
import sys

import pytest
from faulty_disk import faulty_disk
from saved_runs import commit, hidden, make_run, save

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
            # A folder whose manifest cannot be read is taken for no checkpoint, and stays. From 3.12
            # on, Python takes a folder that it cannot list for an empty one.
            kind, name = failed.seen[at - 1]
            is_listed = kind == "list" and sys.version_info >= (3, 12)
            assert is_listed or (kind == "open" and "manifest" in name), name
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
