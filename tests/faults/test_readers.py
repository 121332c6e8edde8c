"""Reading a run while it trains: readers get complete, recent checkpoints while others are saved and pruned."""

import threading
from pathlib import Path

import pytest
from faulty_disk import sync_nothing
from saved_runs import commit, make_run


@pytest.mark.parametrize("num_steps", [40, pytest.param(2_000, marks=pytest.mark.thorough)])
def test_no_reader_loads_half_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_steps: int) -> None:
    sync_nothing(monkeypatch)
    run = make_run(tmp_path / "run")
    commit(run, 0, best_step=0, keep=0)
    is_over = threading.Event()
    failures: list[BaseException] = []
    read: dict[str, list[int]] = {"latest": [], "best": []}

    def read_on(which: str) -> None:
        try:
            while not is_over.is_set():
                loaded = run.load_checkpoint("latest", with_training=True) if which == "latest" else run.load_best()
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
