"""Untrusted runs: nothing in them is executed, downloaded, followed or waited for; each is refused
with one line."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from conftest import clean_environment, locked
from hostile_runs import HOSTILE, READERS, SECRET, TEXTS, set_config
from synthetic import make_corpus

import charrnn
from charrnn.errors import CheckpointError
from charrnn.model.shapes import check_shapes, weight_shapes
from charrnn.training import loop

WATCHED = Path(__file__).with_name("watched.py")
MEGABYTE = 1_000_000
GENEROUS_SECONDS = 600
"""For a machine that is busy with other things."""


def lines_for(text_file, case, index):
    """Return the commands of a case: all for the honest run, else one of those that must refuse it,
    in turn."""
    run = "checkpoints/evil-001"
    lines = [
        ("sample", ["sample", run, "--length", "5"]),
        ("predict", ["predict", run, "zib"]),
        ("visualize", ["visualize", run, "--cell", "0:0"]),
        ("evaluate", ["evaluate", run]),
        ("load", [run]),
        ("runs", ["runs"]),
        (
            "init-from",
            ["train", str(text_file), "--init-from", run, "--steps", "1", "--out", "new"],
        ),
        ("resume", ["train", "--resume", run, "--steps", "3"]),
    ]
    if case == "honest":
        return lines
    refusing = HOSTILE[case].refusing
    able = [line for line in lines if refusing in ((), READERS) or line[0] in refusing]
    return [able[index % len(able)]]


def watch(jobs, text_file, root):
    """Run commands on the run in each folder, the first an honest one, in one process; return what
    each did."""
    allowed = [
        root / "cases",
        text_file.parent,
        Path(charrnn.__file__).parent,
        sys.prefix,
        sys.base_prefix,
    ]
    allowed += [*sysconfig.get_paths().values(), "/dev/null", "/dev/urandom"]
    allowed.append(
        os.environ["CHARRNN_CACHE"]
    )  # findings, of which a run that somebody sends has none
    job = {
        "allowed": sorted({str(Path(path).resolve()) for path in allowed} | {"/proc/", "/sys/"}),
        "seconds": GENEROUS_SECONDS,
        "cases": [(name, str(folder), lines) for name, folder, lines in jobs],
    }
    ran = subprocess.run(
        [sys.executable, WATCHED],
        input=json.dumps(job).encode(),
        capture_output=True,
        env=clean_environment(PYTHONDONTWRITEBYTECODE="1", HOME=str(root / "cases")),
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.fixture(scope="session")
def text_file(shared):
    """A text as short as every command can do with, alone in its folder."""
    path = shared / "text-of-hostile" / "text.txt"
    with locked(shared / "text-of-hostile.lock"):
        if not path.exists():
            path.parent.mkdir()
            path.write_bytes(make_corpus(num_chars=4_000).text.encode())
    return path


@pytest.fixture(scope="session")
def base(train_run, text_file):
    """A real run with one saved step, so that there is no other to fall back to."""
    return train_run("evil-001", corpus=(str(text_file),), steps=2, keep=0).path


def prepare(case, base, root):
    """Make the folder of a case, with its run in `checkpoints/`; "honest" leaves the run as it
    is."""
    folder = root / "cases" / f"{len(list((root / 'cases').iterdir())):03d}"
    run = shutil.copytree(base, folder / "checkpoints" / "evil-001", symlinks=True)
    if case != "honest":
        outside = root / "outside" / folder.name
        outside.mkdir(parents=True)
        (outside / "secret.txt").write_text(SECRET * 9)
        HOSTILE[case].build(run, outside)
    return folder


@pytest.fixture(scope="session")
def root(shared):
    """The folder of the cases, which all workers share."""
    return (shared / "hostile").resolve()


@pytest.fixture(scope="session")
def reported(base, root, text_file, shared):
    """What one command did with each hostile run, and all with an honest one before them: one
    worker tries them, and the others read what it reports."""
    report = shared / "hostile.json"
    with locked(shared / "hostile.lock"):
        if not report.exists():
            (root / "cases").mkdir(parents=True)
            cases = enumerate(("honest", *HOSTILE))
            jobs = [
                (case, prepare(case, base, root), lines_for(text_file, case, index))
                for index, case in cases
            ]
            report.write_text(json.dumps(watch(jobs, text_file, root)), encoding="utf-8")
    return json.loads(report.read_text(encoding="utf-8"))


def check(did):
    """Assert that a command did nothing it may not, and refused what it must in a few lines."""
    case, command = did["case"], did["command"]
    # A text that is named is read, to compare its digest.
    kind = case.removeprefix("a text that is ").removeprefix("a text recorded as ")
    named = ("open", "secret.txt") if kind in TEXTS else ("-", "-")
    assert [
        event
        for event in did["events"]
        if not (event.startswith(named[0]) and event.endswith(named[1]))
    ] == []
    assert SECRET[:20] not in did["out"] + did["err"]
    # 3: its text is not there, or not its text. 4: the run itself.
    allowed = {0, 3, 4}
    if command == "runs":
        allowed = {0}
    elif command in HOSTILE[case].refusing:
        allowed = {3, 4}
    assert did["code"] in allowed, did["err"][-500:] or did["code"]
    lines = did["err"].splitlines()
    assert "Traceback" not in did["err"]
    assert max(map(len, lines), default=0) < 1000, "a message that nobody reads"
    if did["code"] != 0:
        assert 1 <= len([line for line in lines if line.startswith(("error: ", "       "))]) <= 3


def test_every_command_reads_an_ordinary_run(reported):
    honest = {did["command"]: did["code"] for did in reported if did["case"] == "honest"}
    assert honest == dict.fromkeys((*READERS, "runs"), 0)


def test_no_command_waits_for_the_compiler_of_torch_that_it_does_not_use(reported):
    assert {"init-from", "resume"} <= {did["command"] for did in reported if did["code"] == 0}, (
        "some train"
    )
    assert [did["command"] for did in reported if did["has_compiler"]] == []


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_run_is_refused(case, reported, root):
    (did,) = [did for did in reported if did["case"] == case]
    check(did)
    outside = root / "outside" / f"{1 + list(HOSTILE).index(case):03d}"
    assert not (outside / "was-run").exists()
    assert (outside / "secret.txt").read_text() == SECRET * 9


def test_hostile_runs_do_not_fill_the_memory(reported):
    honest = [did["peak"] for did in reported if did["case"] == "honest"]
    assert reported[-1]["peak"] - honest[-1] < 200 * MEGABYTE


def test_weights_that_do_not_fit_are_reported_with_the_path_of_their_run(base, tmp_path):
    run = shutil.copytree(base, tmp_path / "evil-001")
    set_config(run, hidden_size=48)
    message = re.escape(f"{run} is damaged: model.safetensors does not contain")
    with pytest.raises(CheckpointError, match=message):
        charrnn.load(run)
    with pytest.raises(CheckpointError, match=message):
        list(loop.resume(run, {"steps": 3}))


def test_an_invalid_permutation_is_refused():
    # A unitary cell's is an index: a number too large would lead out of the state.
    config = charrnn.Config(cell_type="unitary", num_layers=1, hidden_size=4, embedding_size=2)
    weights = {
        name: np.zeros(shape, np.float32) for name, shape in weight_shapes(config, 3).items()
    }
    weights["layers.0.permutation"][:] = 1, 0
    assert check_shapes(config, weights) == 3
    for wrong in (2, -1, 0):
        weights["layers.0.permutation"][0] = wrong
        with pytest.raises(
            CheckpointError,
            match=r"layers\.0\.permutation is no permutation",
        ):
            check_shapes(config, weights)
