"""Two processes that are started as torchrun starts them: they train, stop and resume as one, and
end together if one of them dies."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from itertools import islice

import pytest
from small_runs import until
from synthetic import make_corpus

import charrnn
from charrnn.runs.writer import lock_folder

SMALL = (
    "--hidden-size=12 --device=cpu --set=batch_size=4 --set=bptt_length=16 --set=threads=1"
    " --set=evaluate_every=5 --set=save_every=5 --steps=100000"
)


def saved_step(run):
    """Return the step of the latest checkpoint, 0 if there is none."""
    latest = run / "latest"
    return int(latest.read_text().strip().removeprefix("step-")) if latest.exists() else 0


def first_losses(run):
    """Return the logged training losses of the first five steps."""
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [record["train_nats"] for record in records if record["event"] == "step"][:5]


@contextmanager
def started(folder):
    """Start two processes that train a run in `folder` until they are stopped; yield them once a
    checkpoint was saved, and end what is left of them."""
    (folder / "text.txt").write_text(make_corpus(num_chars=4000).text)
    with socket.socket() as port:
        port.bind(("localhost", 0))
        address = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port.getsockname()[1])}
    line = [sys.executable, "-m", "charrnn", "train", "text.txt", "--out", "run", *SMALL.split()]
    children = []
    for rank in ("0", "1"):
        numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        child = subprocess.Popen(
            line,
            cwd=folder,
            env={**os.environ, **address, **numbers},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        children.append(child)
    try:
        until(lambda: saved_step(folder / "run") or children[0].poll() is not None)
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


@pytest.mark.slow
def test_two_processes_train_stop_and_resume_as_one(command, tmp_path):
    run = tmp_path / "run"
    with started(tmp_path) as (first, second):
        second.send_signal(signal.SIGINT)
        out, err = first.communicate()
        other_out, _ = second.communicate()

    assert (first.returncode, second.returncode) == (143, 130), "the first was asked by the second"
    assert (out, other_out) == ("run\n", "")
    assert ", processes: 2, threads: 1 each, seed: 0\n" in err
    step = saved_step(run)
    with closing(charrnn.train(charrnn.load(run).config, out=tmp_path / "alone")) as alone:
        steps = (event for event in alone if event.event == "step")
        losses = [event.train_nats for event in islice(steps, 5)]
    assert first_losses(run) == pytest.approx(losses, abs=1e-5)
    ran = command("train --resume", run, "--steps", step + 1, "--quiet")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.slow
def test_if_a_process_is_killed_the_other_ends_with_one_error(tmp_path):
    run = tmp_path / "run"
    with started(tmp_path) as (first, second):
        second.kill()
        _, err = first.communicate()

    assert first.returncode == 1
    [problem] = [line for line in err.splitlines() if line.startswith("error: ")]
    assert problem.startswith("error: the connection to another process of this training is lost")
    with lock_folder(run):
        assert charrnn.load(run).tensors
