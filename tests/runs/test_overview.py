"""Many runs: their summaries sorted, in a table and as CSV, and their learning curves read from
logs.

Tests `commands.runs`, too.
"""

import os
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from built_runs import build_chain
from killed import is_killed_before

from charrnn.errors import CheckpointError
from charrnn.model.network import load_network
from charrnn.runs import overview, writer
from charrnn.runs.logs import MetricsLog
from charrnn.runs.overview import learning_curves, run_summaries
from charrnn.runs.reader import RunReader
from charrnn.runs.writer import delete_run, lock_folder
from charrnn.system.progress import Progress, using


def step(number, seconds, nats=2.0):
    record = {"event": "step", "step": number, "seconds": seconds, "train_nats": nats}
    return record | {"grad_norm": 0.5, "learning_rate": 1e-05, "chars_per_second": 12.5}


def validation(number, seconds, nats):
    record = {"event": "evaluation", "step": number, "seconds": seconds, "val_nats": nats}
    return record | {"val_bpc": nats, "num_chars": 100, "is_best": True}


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Build a run in `checkpoints/` of the current folder with these records in its log, later than those before; two
    characters per step."""

    def make(name, *records):
        path = build_chain(tmp_path / "checkpoints" / name, "\nabcd")
        log = MetricsLog(path / "metrics.jsonl")
        for record in records:
            log.append(record)
        age = 100 + len(list((tmp_path / "checkpoints").iterdir()))
        os.utime(path / "latest", (age, age))
        return path

    monkeypatch.chdir(tmp_path)
    Path("checkpoints").mkdir()
    return make


def test_a_run_whose_date_python_does_not_have_is_listed_without_one(build, monkeypatch):
    """A file system has dates that no clock shows, after a clock was wrong or a disk was."""
    build("chain", validation(1, 1.5, 1.25))
    for seconds in (10**12, -(10**12)):
        monkeypatch.setattr(overview, "last_change", lambda path, ns=seconds * 10**9: ns)
        [found] = run_summaries()
        assert found.saved is None


def test_a_summary_counts_weights_and_characters(build):
    import charrnn

    path = build("chain", step(1, 1.0), validation(1, 1.5, 1.25), step(2, 3.0))
    found = overview.summarize(RunReader(path))
    model = charrnn.load(path)
    network = load_network(model.config, len(model.vocab), dict(model.network.state_dict()))
    assert found.num_parameters == sum(weight.numel() for weight in network.parameters())
    assert (found.step, found.num_chars, found.best_nats, found.minutes) == (2, 4, 1.25, 3.0 / 60)
    assert (found.seed, found.text, found.corpus) == (0, "standard library", "the standard library")


def test_of_steps_that_were_taken_twice_the_later_ones_count(build):
    records = [
        *(step(1, 5.0, 4.0), validation(1, 6.0, 3.0), step(2, 8.0, 3.5), validation(2, 9.0, 2.0)),
        # Resumed from step 1.
        *(step(2, 12.0, 3.25), validation(2, 13.0, 1.75), step(3, 15.0, 3.0)),
        validation(3, 16.0, None),
    ]
    curve = overview.summarize(RunReader(build("chain", *records))).validation
    assert curve.steps == (1, 2)
    assert curve.characters == (2, 4)
    assert curve.seconds == (6.0, 13.0)
    assert curve.nats == (3.0, 1.75)


def test_runs_are_sorted_and_those_without_a_value_come_last(build, tmp_path):
    for name, nats in (("b", 2.0), ("c", None), ("a", 1.0)):
        build(name, validation(1, 1.0, nats))
    checkpoints = tmp_path / "checkpoints"

    def names(**options):
        return [run.name for run in run_summaries(**options)]

    assert names() == ["b", "c", "a"]
    assert names(sort="loss") == names(sort="name") == ["a", "b", "c"]
    for column in overview.SORT_KEYS:
        assert sorted(names(sort=column)) == ["a", "b", "c"]
    assert [run.name for run in run_summaries(["c", checkpoints / "a", "c"])] == ["c", "a"]


def test_a_damaged_run_is_skipped_unless_it_is_named(build):
    build("whole", validation(1, 1.0, 2.0))
    (build("damaged") / "config.yaml").write_text("hidden_size: [")
    reported = []
    for read in (run_summaries, learning_curves):
        reported.clear()
        with using(Progress(lambda task: reported.append((task.done, task.total)))):
            found = read()
        assert (
            len(found) == 1 and len(found.skipped) == 1 and found.skipped[0].startswith("damaged: ")
        )
        assert reported == [(1, 2), (2, 2)]
        with pytest.raises(CheckpointError):
            read(["damaged"])
        with pytest.raises(CheckpointError, match="did you mean whole"):
            read(["whol"])


FOREIGN = (
    "step-00000100/notes.txt",
    "step-00000100/model.bin",
    ".notes.old-2020/diary.txt",
    ".plan.tmp-7",
    "damaged-step-00000007/mine.txt",
)
"""Files of other programs and of the user, with names like those of charrnn."""


def test_runs_are_deleted_after_a_question_and_files_of_the_user_stay(command, build):
    paths = [build("a"), build("b")]
    for name in FOREIGN:
        (paths[1] / name).parent.mkdir(exist_ok=True)
        (paths[1] / name).write_text("precious", encoding="utf-8")
    (paths[1] / "step-00000007").symlink_to(paths[1] / "step-00000100")
    for answer, code, left in ((b"", 2, [True, True]), (b"y\n", 0, [False, True])):
        ran = command("runs delete a b", stdin=answer)
        assert (ran.code, [path.exists() for path in paths]) == (code, left)
    assert "Delete checkpoints/a, checkpoints/b (0.0 MB)?" in ran.err
    assert "other files are left in checkpoints/b" in ran.err
    assert {(paths[1] / name).read_text(encoding="utf-8") for name in FOREIGN} == {"precious"}
    left = {path.name for path in paths[1].iterdir()}
    assert left == {"step-00000007", *(name.partition("/")[0] for name in FOREIGN)}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked to be killed")
def test_a_deletion_that_was_killed_is_ended_by_the_same_command(command, build):
    """Wherever it was killed: before the last step a text of the run may be left."""
    for number in count():
        path = build("mine", validation(1, 1.0, 2.0))
        (path / "documents.gz").write_bytes(b"private")
        (path / "samples.txt").write_text("private")
        is_killed = is_killed_before(number, partial(delete_run, path))
        left = set()
        if path.exists():
            left = {entry.name for entry in path.iterdir()}
        if left:
            ran = command("runs delete mine", stdin=b"y\n")
            assert (ran.code, path.exists()) == (0, False), (
                number,
                left,
                list(path.rglob("*")),
                ran.err,
            )
        elif path.exists():
            path.rmdir()
        if not is_killed:
            break
    assert number > 10


def test_on_windows_the_lock_of_a_run_is_free_before_it_is_removed(build, monkeypatch):
    """Windows removes no file that is open."""
    path = build("mine", validation(1, 1.0, 2.0))
    remove = writer._remove_files

    def remove_what_is_free(folder):
        with lock_folder(folder):
            pass
        remove(folder)

    monkeypatch.setattr(writer, "_remove_files", remove_what_is_free)
    monkeypatch.setattr("sys.platform", "win32")
    delete_run(path)
    assert not path.exists()


def test_a_folder_that_only_resembles_a_run_is_not_deleted(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in (("locked", "a word of mine"), ("configured", "{}")):
        Path(name).mkdir()
        Path(name, "lock" if name == "locked" else "config.yaml").write_text(content)
        ran = command(f"runs delete {name}", stdin=b"y\n")
        assert ran.code in (2, 4) and len(list(Path(name).iterdir())) == 1


def test_the_folder_of_another_program_is_not_deleted(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("theirs").mkdir()
    for name in ("config.yaml", "vocab.json"):
        Path("theirs", name).write_text("{}", encoding="utf-8")
    ran = command("runs delete theirs", stdin=b"y\n")
    assert ran.code == 2
    assert {path.name for path in Path("theirs").iterdir()} >= {"config.yaml", "vocab.json"}


def test_a_step_of_a_run_is_not_deleted(command, lab):
    """Its copy of the configuration would be taken for that of a run."""
    step = sorted(lab.glob("step-*"))[0]
    before = {path: path.read_bytes() for path in step.iterdir()}
    for is_damaged in (False, True):
        ran = command("runs delete", step, stdin=b"y\n")
        assert ran.code == 4 and "is one step of a run" in ran.err
        if not is_damaged:
            before.pop(step / "manifest.json")
            (step / "manifest.json").unlink()
    assert {path: path.read_bytes() for path in step.iterdir()} == before


def test_runs_of_one_name_are_told_apart_by_their_paths(build):
    names = ["first/same", "second/same", "other"]
    for name in names:
        build(name, validation(1, 1.0, 2.0))
    paths = [f"checkpoints/{name}" for name in names]
    assert [run.name for run in run_summaries(paths)] == names
    assert [curve.name for curve in learning_curves(paths)] == names


def test_a_curve_of_one_validation_is_named_with_the_setting_that_gives_more(build, command):
    build("once", step(1, 1.0), validation(1, 1.5, 1.25))
    build("twice", validation(1, 1.5, 1.25), validation(2, 1.5, 1.25))
    ran = command("runs --plot")
    assert ran.code == 0
    assert "once was validated once, which is a dot and no curve" in ran.err
    assert "--set evaluate_every=" in ran.err and "twice was" not in ran.err
