"""The logs of a run: complete lines are read, a cut-off last one is not, and a resumed run logs
each step once."""

import errno
import json
import math
import tracemalloc

import pytest

from charrnn.errors import CharRNNError
from charrnn.runs import logs
from charrnn.runs.logs import MetricsLog, SampleLog


@pytest.fixture
def log(tmp_path):
    return MetricsLog(tmp_path / "metrics.jsonl")


def steps_of(log):
    return [record["step"] for record in log.read()]


def test_records_come_back_one_per_line_as_valid_json(log):
    assert log.read() == []
    records = [
        {"step": 1, "train_nats": 4.5},
        {"event": "sample", "text": "ä\n\u2028"},
    ]
    for record in (*records, {"step": 1, "grad_norm": math.inf, "train_nats": math.nan}):
        log.append(record)
    assert log.read() == [*records, {"step": 1, "grad_norm": None, "train_nats": None}]
    text = log.path.read_text(encoding="utf-8")
    assert text.count("\n") == 3 and text.endswith("\n")
    for line in text.split("\n")[:-1]:
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


@pytest.mark.parametrize(
    "tail",
    [b'{"step": 3, "tr', b'{"step": 3, "tr\n', b"\0\0\0\0", b"\xff\n", b"3\n", b"[" * 100_000],
)
def test_a_torn_tail_is_ignored_and_dropped_on_rewind(log, tail):
    log.append({"step": 1})
    log.append({"step": 2})
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + tail)
    assert steps_of(log) == [1, 2]
    assert len(log.rewind(2)) == tail.endswith(b"\n"), "what was torn by a crash is no damage"
    assert log.path.read_bytes() == whole
    log.append({"step": 3})
    assert steps_of(log) == [1, 2, 3]


@pytest.mark.parametrize("damage", [b'{"step": 2', b"", b"[2]", b"\xff", b"9" * 5000])
def test_a_damaged_line_is_named_and_passed_over(log, damage):
    log.path.write_bytes(b'{"step": 1}\n' + damage + b'\n{"step": 3}\n' + damage + b"\n")
    assert steps_of(log) == [1, 3]
    assert log.rewind(3) == [
        f"{log.path} line {number} is damaged and is skipped" for number in (2, 4)
    ]
    assert log.path.read_bytes() == b'{"step": 1}\n{"step": 3}\n', (
        "each line parses, for others too"
    )
    assert log.rewind(3) == []


def test_a_log_of_any_size_takes_the_memory_of_a_line(log):
    peaks = []
    for num_lines in (2_000, 8_000):
        log.path.write_bytes(b'{"step": 1, "train_nats": 1.25}\nno record\n' * num_lines)
        tracemalloc.start()
        problems = []
        assert sum(1 for _ in log.records(problems)) == num_lines
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(problems) == logs.MOST_PROBLEMS
    assert peaks[1] < 1.2 * peaks[0]


def test_a_long_line_is_one_damaged_line(log):
    log.path.write_bytes(b'{"step": 1}\n' + b" " * 200_000 + b'{"step": 2}\n{"step": 3}\n')
    problems = []
    assert [record["step"] for record in log.records(problems)] == [1, 3]
    assert problems == [f"{log.path} line 2 is damaged and is skipped"]


def test_samples_are_kept_by_step_and_a_rewind_drops_later_ones(tmp_path):
    log = SampleLog(tmp_path / "samples.txt")
    log.rewind(3)
    assert log.steps() == [] and not log.path.exists()
    # Whatever text the model generated: what looks like a heading is none.
    for step, text in {
        0: "zib\n--- step 99 ---\nfon",
        1: "--- step 98 ---\n",
        4: "four\r\n\rodd",
        16: "last",
    }.items():
        log.append(step, text)
    assert log.path.read_bytes().endswith(b"--- step 16 ---\nlast\n\n")
    before = log.path.read_bytes()
    log.rewind(16)
    assert log.path.read_bytes() == before
    log.rewind(3)
    assert log.steps() == [0, 1] and "fon" in log.path.read_text()
    assert before.startswith(log.path.read_bytes())


@pytest.mark.parametrize("kind", [MetricsLog, SampleLog])
def test_a_rewind_that_fails_leaves_the_log_as_it_was(tmp_path, monkeypatch, kind):
    log = kind(tmp_path / "log")
    for step in (1, 2):
        if kind is MetricsLog:
            log.append({"step": step})
        else:
            log.append(step, "text")
    before = log.path.read_bytes()

    def fail(*paths):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(CharRNNError, match="Input/output error"):
        log.rewind(1)
    assert log.path.read_bytes() == before
