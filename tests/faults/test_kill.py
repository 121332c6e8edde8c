"""kill -9 at any moment: the run continues from a verified checkpoint and ends as if it had not
been interrupted.

Of many commands on one folder one trains, the others are refused at once; locks end with their
process. Nothing is cleaned up in between: the second command is `--resume` or, before the first
save, the first command again.
"""

import json
import random
import signal
import sys
from pathlib import Path

import pytest
from small_runs import (
    SAVE_EVERY,
    assert_same,
    last_logged,
    latest_step,
    restart,
    train,
)

from charrnn.runs.checkpoint import read_checkpoint
from charrnn.runs.reader import RunReader

pytest_plugins = ("shared",)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX words")


def start_and_die(fork_server, arguments, killer, number):
    return fork_server.spawn(
        *arguments, prepare=f"child_faults:{killer}", number=number, count_path=""
    )


def go_on(fork_server, run):
    """Restart a killed run to its end; asserts that it goes on from a verified step, having lost
    little."""
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
    fork_server, uninterrupted, killer, count
):
    dice, num_killed, in_saves = random.Random(count), 0, killer == "die_in_saves"
    last = uninterrupted.num_operations if in_saves else uninterrupted.num_calls
    assert last > 200
    # The last save has no successor, so what a kill leaves of it is looked at every time.
    moments = [*dice.sample(range(1, last + 1), count - 1), last - 4]
    for number, moment in enumerate(moments):
        run = fork_server.folder / f"{killer}-{count}-{number}"
        if start_and_die(fork_server, train(run), killer, moment).wait() == -signal.SIGKILL:
            num_killed += 1
        if in_saves and number % 4 == 1:  # And once more, amid what the resumed run saves.
            start_and_die(fork_server, restart(run), killer, dice.randint(1, last // 2)).wait()
        go_on(fork_server, run)
        assert_same(run, uninterrupted.path)
        assert RunReader(run).checkpoints() == RunReader(uninterrupted.path).checkpoints()
    # The number of calls differs a little from run to run, so the last moments may lie behind the end.
    assert num_killed >= sum(in_saves or moment < 0.9 * last for moment in moments)


@pytest.mark.parametrize("count", [4, pytest.param(20, marks=pytest.mark.thorough)])
def test_simultaneous_starts_get_a_folder_each(fork_server, count):
    before = set(fork_server.folder.glob("checkpoints/*"))
    arguments = [
        argument
        for argument in train(Path(), steps=1)
        if argument not in ("--out", Path(), "--json")
    ]
    children = [fork_server.spawn(*arguments) for _ in range(count)]
    assert [child.wait() for child in children] == [0] * count
    reported = {fork_server.folder / child.out.strip() for child in children}
    assert reported == set(fork_server.folder.glob("checkpoints/*")) - before
    assert len(reported) == count and [latest_step(run) for run in reported] == [1] * count
    weights = {(run / "step-00000001" / "model.safetensors").read_bytes() for run in reported}
    assert len(weights) == 1, "nobody wrote into another's folder"
