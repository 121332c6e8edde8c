"""kill -9 at any moment: the run continues from a verified checkpoint and ends as if it had not been interrupted.

Nothing is cleaned up in between: the second command is `--resume` or, before the first save, the first command again.
"""

from __future__ import annotations

import json
import random
import signal
import sys
from pathlib import Path

import pytest
from fork_server import Child, ForkServer
from saved_runs import hidden, metrics_of
from small_runs import SAVE_EVERY, Uninterrupted, assert_same, last_logged, restart, train

from charrnn.runs.checkpoint import read_checkpoint
from charrnn.runs.reader import RunReader

pytest_plugins = ("shared",)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX words")


def start_and_die(fork_server: ForkServer, arguments: list[object], killer: str, number: int) -> Child:
    return fork_server.spawn(*arguments, prepare=f"child_faults:{killer}", number=number, count_path="")


def go_on(fork_server: ForkServer, run: Path) -> None:
    """Restart a killed run to its end; asserts that it goes on from a verified step, having lost little."""
    folder = RunReader(run)
    saved = max(folder.checkpoints() if run.is_dir() else [], default=None)
    logged = last_logged(run)
    if saved is not None:
        read_checkpoint(run / saved, with_training=True)
    code, child = fork_server.run(*restart(run))
    assert code == 0, child.err
    events = [json.loads(line) for line in child.out.splitlines()]
    first = events[0]["first_step"]
    assert not any(event["event"] == "warning" for event in events)
    assert logged - first <= SAVE_EVERY, "more is lost than what came after the last save"
    assert saved is None or first >= int(saved.removeprefix("step-"))


@pytest.mark.parametrize("killer", ["die_in_saves", "die_at_call"])
@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.thorough)])
def test_a_run_killed_during_a_save_or_at_any_moment_resumes_to_the_same_result(
    fork_server: ForkServer, uninterrupted: Uninterrupted, killer: str, count: int
) -> None:
    dice, num_killed, in_saves = random.Random(count), 0, killer == "die_in_saves"
    last = uninterrupted.num_operations if in_saves else uninterrupted.num_calls
    assert last > 200
    # The last save has no successor, so what a kill leaves of it is looked at every time.
    for number, moment in enumerate([*dice.sample(range(1, last + 1), count - 1), last - 4]):
        run = fork_server.folder / f"{killer}-{count}-{number}"
        num_killed += start_and_die(fork_server, train(run), killer, moment).wait() == -signal.SIGKILL
        if in_saves and number % 4 == 1:  # And once more, amid what the resumed run saves.
            start_and_die(fork_server, restart(run), killer, dice.randint(1, last // 2)).wait()
        go_on(fork_server, run)
        assert_same(run, uninterrupted.path)
        assert RunReader(run).checkpoints() == RunReader(uninterrupted.path).checkpoints()
    # The last calls may differ a little from run to run.
    assert num_killed >= (count if in_saves else 0.7 * count)


@pytest.mark.parametrize("cycles", [4, pytest.param(50, marks=pytest.mark.thorough)])
def test_metrics_have_every_step_once_after_many_kills(fork_server: ForkServer, cycles: int) -> None:
    dice = random.Random(cycles)
    run = fork_server.folder / f"metrics-{cycles}"
    endless = {"steps": 10**6, "evaluate_every": 7}
    for cycle in range(cycles):
        arguments = restart(run, **endless)
        if cycle % 2:
            child = fork_server.spawn(*arguments, prepare="child_faults:die_within_a_line", number=dice.randint(1, 20))
        else:
            child = start_and_die(fork_server, arguments, "die_in_saves", dice.randint(1, 150))
        assert child.wait() == -signal.SIGKILL, child.err
    child = fork_server.spawn(*restart(run, **endless), "--steps", last_logged(run) + 20)
    assert child.wait() == 0, child.err
    logged = metrics_of(run)
    for event in ("step", "evaluation"):
        steps = [record["step"] for record in logged if record["event"] == event]
        every = 1 if event == "step" else 7
        due = sorted({*range(every, logged[-1]["step"] + 1, every), logged[-1]["step"]})
        assert steps == due, event
    assert [record["step"] for record in logged] == sorted(record["step"] for record in logged)
    assert hidden(run) == []
