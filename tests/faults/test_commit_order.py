"""The operations of a commit: their order, a death before any of them, and readers while
checkpoints are pruned."""

import os
import shutil
import sys
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from built_runs import build_chain_and_quoting
from faulty_disk import Killed, faulty_disk
from saved_runs import commit, hidden, make_run, save

from charrnn.runs.checkpoint import best_checkpoint, read_checkpoint

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds a descriptor's path in /proc"
)


LOGS = ("metrics.jsonl", "samples.txt", "lock")
"""Files of a run of which a power cut may take the end."""


@pytest.mark.parametrize(
    "line",
    [
        "sample chain --length 9 --export {}/x.txt",
        "export chain {}/x.zip",
        "export chain {}/x/",
        "train chain.txt --steps 1 --hidden-size 4 --out {}/run",
    ],
)
def test_what_is_written_is_on_disk_before_it_gets_its_name_and_its_name_before_the_end(
    command, tmp_path, line
):
    build_chain_and_quoting(tmp_path)
    with faulty_disk(tmp_path) as disk:
        assert command(line.format(tmp_path)).code == 0

    unsynced = set()
    for operation, path in disk.seen:
        if operation == "write" and Path(path).name not in LOGS:
            unsynced.add(path)
        if operation == "fsync":
            unsynced -= {path}
        if operation == "rename":
            # The contents before the name; of the folder only what is not yet renamed there.
            assert unsynced <= {str(Path(path).parent)}, path
            unsynced.add(str(Path(path).parent))
    assert unsynced == set()
    assert "rename" in {operation for operation, _ in disk.seen}


def history(run, keep):
    """Continue a run whose validation loss falls, rises and falls again."""
    done = [int(name[5:]) for name in run.checkpoints()]
    if done:
        run.continue_from(run.load_checkpoint("latest", with_training=True))
    for step, best_step in ((0, 0), (1, 1), (2, 1), (3, 1), (4, 4), (5, 4)):
        if step > max(done, default=-1):
            commit(run, step, best_step=best_step, keep=keep)


@pytest.mark.slow
@pytest.mark.parametrize("stride", [53, pytest.param(1, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("power", ["stays", "is cut"])
@pytest.mark.parametrize("keep", [0, 1])
def test_a_verified_and_the_best_checkpoint_survive_a_death_at_any_operation(
    tmp_path, monkeypatch, keep, power, stride
):
    numbers = count(70_000)

    def new_process():
        """Be another process from here on, as far as the names of temporary files tell."""
        number = next(numbers)
        monkeypatch.setattr(os, "getpid", lambda: number)

    made = make_run(tmp_path / "whole" / "run")
    with faulty_disk(made.path) as disk:
        history(made, keep)
    final = made.checkpoints()
    assert len(disk.seen) > 200
    first = (
        1 + (2 * keep + (power == "is cut")) * stride // 4
    )  # so that the four look at different operations
    for number in range(first, len(disk.seen) + 1, stride):
        run = make_run(tmp_path / str(number) / "run")
        new_process()
        with faulty_disk(run.path, number) as dying, pytest.raises(Killed):
            history(run, keep)
        if power == "is cut":
            dying.cut_power()
        last = dying.seen[-1]
        if run.checkpoints():
            for name in run.checkpoints():
                read_checkpoint(run.path / name, with_training=True)
            latest = run.load_checkpoint("latest", with_training=True)
            assert latest.name == run.checkpoints()[-1]
            assert latest.warnings == (), last
            state, damage = run.newest_state()
            assert damage is None
            assert best_checkpoint(state) == run.load_best().name, (
                f"the best step was lost at {last}"
            )
        else:
            assert not any(
                operation == "rename" and path == "step-00000000"
                for operation, path in dying.seen[:-1]
            )
        new_process()
        history(run, keep)
        assert (run.checkpoints(), hidden(run.path)) == (final, []), f"no clean-up after {last}"
        assert run.load_checkpoint("latest", with_training=False).warnings == ()
        assert run.load_best().warnings == () and run.load_best().step == 4
        shutil.rmtree(run.path.parent)


def test_a_checkpoint_survives_a_death_at_any_operation_of_its_replacement(tmp_path):
    """As at a resume after a stop during a validation, which saves the same step with another
    state."""
    for number in count(1):
        run = make_run(tmp_path / str(number) / "run")
        save(run, 100, 1.0)
        with faulty_disk(run.path, number) as disk, suppress(Killed):
            save(run, 100, 2.0)
        run.restore_replaced()
        loaded = run.load_checkpoint("latest", with_training=True)
        assert loaded.warnings == () and loaded.model["weight"][0, 0] in (1, 2), disk.seen[-1]
        if not disk.is_dead:
            break
    assert number > 20 and loaded.model["weight"][0, 0] == 2


@pytest.mark.parametrize("num_steps", [40, pytest.param(2_000, marks=pytest.mark.thorough)])
def test_no_reader_loads_half_a_checkpoint(tmp_path, num_steps):
    run = make_run(tmp_path / "run")
    commit(run, 0, best_step=0, keep=0)
    is_over = threading.Event()
    failures = []
    read = {"latest": [], "best": []}

    def read_on(which):
        try:
            while not is_over.is_set():
                loaded = (
                    run.load_checkpoint("latest", with_training=True)
                    if which == "latest"
                    else run.load_best()
                )
                assert loaded.model["weight"][0, 0] == loaded.step and loaded.warnings == ()
                read[which].append(loaded.step)
        except BaseException as error:  # reported to the test, which runs in another thread
            failures.append(error)

    readers = [threading.Thread(target=read_on, args=(which,)) for which in read]
    for reader in readers:
        reader.start()
    for step in range(1, num_steps + 1):
        commit(run, step, best_step=step - step % 3, keep=0)
    is_over.set()
    for reader in readers:
        reader.join()
    assert failures == []
    for steps in read.values():
        assert steps and steps == sorted(steps), "never back to an older one"
