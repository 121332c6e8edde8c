"""The benchmarks' own arithmetic and reports: what they count and print, not how fast anything is."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from built_runs import build_chain
from synthetic import make_corpus

import charrnn
from charrnn.cells.records import CellScore, GradientReach
from charrnn.errors import NonFiniteError
from charrnn.model.device import on_threads
from charrnn.model.shapes import num_parameters
from charrnn.runs.logs import MetricsLog
from charrnn.text.vocab import Vocab
from charrnn.training.events import StepEvent

FOLDER = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.docs


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a benchmark by its name, as its own process would."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def import_module(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return import_module


@pytest.mark.parametrize("as_json", [False, True])
def test_a_report_prints_its_rows_as_a_table_or_as_one_object(
    load: Any, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    report = load("measuring").Report("name", as_json=as_json, with_limits=False)
    report.add(cell="lstm", chars_per_second=12345.6, ratio=1.234)
    report.add(cell="gru", chars_per_second=99.994, ratio=None)
    report.add(seconds=3)
    report.close()
    out = capsys.readouterr().out
    if as_json:
        found = json.loads(out)
        assert found["benchmark"] == "name"
        assert {"processor", "threads", "capped_by", "load_average", "load_average_at_end"} <= found["machine"].keys()
        assert found["rows"] == [
            {"cell": "lstm", "chars_per_second": 12345.6, "ratio": 1.234},
            {"cell": "gru", "chars_per_second": 99.994, "ratio": None},
            {"seconds": 3},
        ]
    else:
        assert "| cell | chars per second | ratio |\n| --- | --- | --- |\n| lstm | 12,346 | 1.23 |\n" in out
        assert "| gru | 99.99 |  |\n\n| seconds |\n| --- |\n| 3 |\n" in out
        assert "processor: " in out and "load average at the end: " in out


def test_caps_of_the_instruction_set_are_reported(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = load("measuring")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert measuring.describe_machine()["capped_by"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert "ONEDNN_MAX_CPU_ISA" not in measuring.describe_machine()["capped_by"]


def test_calls_are_timed_in_turn_after_those_that_do_not_count(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = load("measuring")
    now, called = 0.0, []

    def call(name: str, durations: list[float]) -> Any:
        def run() -> None:
            nonlocal now
            called.append(name)
            now += durations.pop(0)

        return run

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now)
    # The first is slow while it is compiled; the second meets a busy moment.
    medians = measuring.in_turn(call("a", [9, 1, 1, 1]), call("b", [9, 2, 50, 2]), warm_ups=1, repeats=3)
    assert medians == pytest.approx([1, 2])
    assert called == ["a", "b"] * 4


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "mlstm"])
def test_a_step_s_products_are_those_of_its_equations(load: Any, cell: str) -> None:
    """Counted by hand: forward once, and twice as much backward, of every weight but a table's."""
    train_speed = load("train_speed")
    num_layers, hidden_size, lanes, length = 2, 12, 3, 5
    trainer = train_speed.our_step(cell, num_layers, hidden_size, lanes, length, "fp32")
    layers = [layer for layer in trainer.network.modules() if hasattr(layer, "matrices")]
    weights = sum(layer.weight(name).numel() for layer in layers for name in layer.cell.products)
    weights += sum(layer.weight("ih").numel() for layer in layers[0 if cell == "lstm" else 1 :])
    weights += trainer.network.output.weight.numel()
    assert train_speed.num_operations(trainer.config) == 3 * 2 * weights * lanes * length
    train_speed.products_alone(trainer.config)()


def test_all_names_what_failed_and_keeps_the_rest(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load("all")
    scripts = {
        "good": "import json; print(json.dumps({'rows': [{'chars_per_second': 7}]}))",
        "bad": "raise SystemExit('no such kernel')",
    }
    for name, script in scripts.items():
        (tmp_path / f"{name}.py").write_text(script)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "all.py"))
    monkeypatch.setattr(module, "FULL", dict.fromkeys(scripts, ()))
    monkeypatch.setattr(module, "measure_limits", dict)
    monkeypatch.setattr(sys, "argv", ["all.py", "--json"])
    assert module.main() == 1
    found = json.loads(capsys.readouterr().out)["benchmarks"]
    assert found["good"] == {"rows": [{"chars_per_second": 7}], "error": None}
    assert found["bad"]["error"] == "no such kernel"


def test_all_goes_on_after_a_benchmark_that_does_not_end(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("all")

    def run(command: list[str], timeout: float, **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    assert module.run("train_speed", ()) == ([], "not finished after 600 seconds")


def test_all_runs_benchmarks_that_exist(load: Any) -> None:
    module = load("all")
    assert {name for name in module.FULL if not (FOLDER / f"{name}.py").is_file()} == set()
    assert module.QUICK.keys() == module.FULL.keys()


@pytest.mark.trained
def test_the_tuning_of_dynamic_evaluation_is_resumed_and_bounded(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load("dynamic_tuning")
    (tmp_path / "text.txt").write_bytes(b"abc\nacb\n" * 200)
    model = charrnn.load(build_chain(tmp_path / "chain", "\nabc", corpus=tmp_path / "text.txt"))
    monkeypatch.setattr(module.charrnn, "load", lambda run: model)
    log = tmp_path / "log.jsonl"

    def rows(*options: str) -> list[dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["dynamic_tuning.py", "chain", "--json", "--chars", "60", *options])
        module.main()
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rows"]
        return found

    with pytest.raises(SystemExit):  # the validation text of a run without a test text
        rows("--log", str(log))
    capsys.readouterr()
    object.__setattr__(model.config, "split", (0.8, 0.1, 0.1))
    monkeypatch.setattr(module, "LEARNING_RATES", (1e-4, 4e-4))
    monkeypatch.setattr(module, "SEGMENT_LENGTHS", (20,))
    monkeypatch.setattr(module, "DECAYS", (1e-3,))
    monkeypatch.setattr(module, "DAMPINGS", (0.3,))
    assert rows("--log", str(log), "--minutes", "0") == []
    first = rows("--log", str(log))
    assert [row["learning_rate"] for row in first] == [4e-4, 1e-4]
    for row in first:
        assert row["gain"] == row["static"] - row["nats"]
    monkeypatch.delattr(module, "dynamic_losses")  # everything is in the log
    assert rows("--log", str(log)) == first


def test_the_check_of_a_gpu_runs_through_on_a_cpu(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it checks is trivial there; that every part of it runs is not."""
    module, file = load("gpu_check"), tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu", "--quick", "--json", str(file)])
    with on_threads(1):
        assert module.main() == 0
    found = json.loads(file.read_text())
    assert {row["result"] for row in found["rows"]} == {"pass", "measured", "skipped"}
    text = " ".join(row["what"] for row in found["rows"])
    for part in ("gradient, cell unitary", "optimizer: muon", "exact resume: precision fp16", "CPU, device, CPU"):
        assert part in text
    for part in ("not finite: fp16", "windowed-256 loss", "best cell, quote", "eager and NumPy", "stock nn.LSTM"):
        assert part in text
    assert found["machine"]["device"] == "cpu"


def test_the_check_of_a_gpu_fails_with_what_failed(
    load: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load("gpu_check")

    def fail(setup: Any, results: Any) -> None:
        raise RuntimeError("CUDNN_STATUS_BAD_PARAM")

    def warn(setup: Any, results: Any) -> None:
        warnings.warn("no kernel is deterministic", UserWarning, stacklevel=1)
        results.check("a loss", float("nan"), 1)
        results.check("another", 0.5, 1)

    monkeypatch.setattr(module, "PARTS", {"first": fail, "second": warn})
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu"])
    assert module.main() == 1
    out = capsys.readouterr().out
    assert "| FAIL | first broke off |  |  | RuntimeError: CUDNN_STATUS_BAD_PARAM |" in out
    assert "| FAIL | a loss | nan | 1 |  |" in out and "| pass | another | 0.5 | 1 |  |" in out
    assert "| FAIL | warnings of slow or nondeterministic kernels | 1 | 0 | no kernel is deterministic |" in out
    assert "3 of 4 rows failed" in out


def test_the_check_of_a_gpu_names_the_way_out_without_one(
    load: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load("gpu_check")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    assert module.main() == 2
    assert "--device cpu" in capsys.readouterr().err


def test_the_charts_of_the_recipe_are_those_of_its_summary_and_its_rule(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charts = load("recipe_charts")
    committed = charts.DOCS
    (tmp_path / "recipe-sweep.csv").write_bytes((committed / "recipe-sweep.csv").read_bytes())
    monkeypatch.setattr(charts, "DOCS", tmp_path)
    charts.main()
    drawn = sorted(tmp_path.glob("*.svg"))
    assert [path.name for path in drawn] == sorted(path.name for path in committed.glob("recipe-*.svg"))
    for path in drawn:
        assert path.read_bytes() == (committed / path.name).read_bytes(), "run benchmarks/recipe_charts.py again"


def test_a_point_of_the_sweep_that_is_stopped_continues_as_if_it_was_not(load: Any, tmp_path: Path) -> None:
    sweep = load("recipe_sweep")
    (tmp_path / "play.txt").write_text("the lamp by the river was lit\n" * 3000, encoding="utf-8")
    point = sweep.Point(kind="play", chars=40_000, units=8, read=30 * 8 * 16, lanes=8, window=16)
    far = float("inf")
    whole = sweep.train_point(tmp_path, tmp_path / "whole.npz", point, far)
    parts = tmp_path / "parts.npz"
    for _ in range(29):
        assert sweep.train_point(tmp_path, parts, point, deadline=0.0) is None
    record = sweep.train_point(tmp_path, parts, point, far)
    assert {**record, "cpu_seconds": 0} == {**whole, "cpu_seconds": 0} and len(record["curve"]) == 8


def test_the_sweep_has_no_point_twice_and_its_summary_a_row_for_each(load: Any, tmp_path: Path) -> None:
    sweep = load("recipe_sweep")
    points = sweep.all_points()
    assert len(points) == len(set(points))
    log = tmp_path / "log.jsonl"
    rest = {"steps": 3, "curve": [[10, 2.5], [20, 2.25]], "cpu_seconds": 1.5}
    log.write_text("".join(json.dumps({**sweep.asdict(point), **rest}) + "\n" for point in points), encoding="utf-8")
    sweep.write_summary(log, tmp_path / "summary.csv")
    header, *rows = (tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()
    assert header.endswith(",steps,cpu_seconds,curve") and len(rows) == len(points)
    assert all(row.endswith(",3,1.5,2.5000 2.2500") for row in rows)


@pytest.mark.parametrize("script", ["latin", "cyrillic"])
def test_the_big_text_has_its_size_and_ends_with_a_line(load: Any, tmp_path: Path, script: str) -> None:
    big_corpus = load("big_corpus")
    big_corpus.CHUNK_LINES = 50
    big_corpus.write_text(tmp_path / "text.txt", 20_000, script)
    text = (tmp_path / "text.txt").read_text(encoding="utf-8")
    assert 20_000 <= len(text.encode()) <= 20_500 and text.endswith("\n")
    assert set(text) <= {*big_corpus.SCRIPTS[script], " ", "\n"}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux has /proc")
def test_memory_is_read_from_the_system(load: Any) -> None:
    sizes = load("big_corpus").read_memory(os.getpid())
    assert 0 < sizes["RssAnon"] <= sizes["VmHWM"]
    assert load("big_corpus").read_memory(2**22 + 1) == {}, "no process has that number"


def test_medians_are_those_of_the_span_that_is_asked_for(load: Any) -> None:
    seen = load("big_corpus").Observed(
        samples=[(0.0, 5), (1.0, 9), (2.0, 7), (3.0, 8)],
        events=[(0.5, {"event": "start"}), (1.5, {"event": "step", "step": 1}), (2.5, {"event": "step", "step": 2})],
    )
    assert (seen.peak, seen.median_between(1.5, 3.0), seen.median_between(0.0, 2.0)) == (9, 7.5, 7)
    assert (seen.time_of("start"), seen.time_of("step", 2)) == (0.5, 2.5)


def test_many_files_are_written_and_read(load: Any, tmp_path: Path) -> None:
    many_files = load("many_files")
    many_files.FILES_PER_FOLDER = 2
    many_files.write_files(tmp_path / "texts", 5, 40)
    files = sorted(path for path in (tmp_path / "texts").rglob("*") if path.is_file())
    assert [path.parent.name for path in files] == ["000", "000", "001", "001", "002"]
    assert {path.stat().st_size for path in files} == {40}
    wall, cpu, num_chars = many_files.read_once(tmp_path / "texts")
    assert num_chars == 200 and wall > 0 and cpu > 0


@pytest.fixture
def paper(load: Any) -> tuple[ModuleType, Any, Any]:
    """The benchmark of the paper's table, a small text as bytes, and an entry that takes a few steps."""
    paper_table = load("paper_table")
    ids = np.frombuffer(b"one two three four five six seven. " * 150, dtype=np.uint8)
    return paper_table, ids, paper_table.Entry(size=64, cell="gru", layers=2, epochs=2.0, seed=1, text="0")


@pytest.mark.trained
def test_an_entry_of_the_papers_table_that_is_stopped_at_every_step_is_the_same(
    paper: tuple[ModuleType, Any, Any], tmp_path: Path
) -> None:
    paper_table, ids, entry = paper
    with on_threads(1):
        whole = paper_table.train_entry(ids, entry, tmp_path / "unused.npz", float("inf"))
        found, num_stops = None, 0
        while found is None:
            found = paper_table.train_entry(ids, entry, tmp_path / entry.name, 0.0)
            num_stops += found is None
    assert num_stops == whole["steps"] - 1 > 2
    assert {**found, "cpu_seconds": 0} == {**whole, "cpu_seconds": 0}
    assert whole["val_nats"] == min(nats for _, nats in whole["curve"])
    assert not list(tmp_path.glob("unused*"))


@pytest.mark.trained
def test_an_entry_of_the_papers_table_that_diverges_is_trained_at_a_lower_rate(
    paper: tuple[ModuleType, Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper_table, ids, entry = paper
    take_step = paper_table.Trainer.take_step
    highest = float(entry.config(round(0.8 * len(ids)), round(0.1 * len(ids))).learning_rate)

    def diverge(trainer: Any) -> Any:
        if trainer.step == 1 and trainer.config.learning_rate > limit * highest:
            raise NonFiniteError("Step 1: loss inf")
        return take_step(trainer)

    monkeypatch.setattr(paper_table.Trainer, "take_step", diverge)
    limit = 0.5
    with on_threads(1):
        found = paper_table.train_entry(ids, entry, tmp_path / entry.name, float("inf"))
        assert found["learning_rate"] == pytest.approx(0.36 * highest, abs=1e-5)
        limit = 0.1
        with pytest.raises(NonFiniteError):
            paper_table.train_entry(ids, entry, tmp_path / entry.name, float("inf"))


@pytest.mark.parametrize("cell", ["lstm", "rnn", "gru"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_models_in_a_row_of_the_papers_table_have_nearly_equal_numbers_of_parameters(
    load: Any, cell: str, layers: int
) -> None:
    paper_table = load("paper_table")
    for size in paper_table.SIZES:
        lstm = paper_table.Entry(size=size, cell="lstm", layers=1, epochs=1.0, seed=0, text="0").config(10**6, 10**5)
        assert lstm.hidden_size == size and lstm.num_layers == 1
        entry = paper_table.Entry(size=size, cell=cell, layers=layers, epochs=1.0, seed=0, text="0")
        config = entry.config(10**6, 10**5)
        counts = [num_parameters(one, paper_table.VOCAB_SIZE) for one in (config, lstm)]
        assert 0.96 < counts[0] / counts[1] <= 1 and (config.cell, config.num_layers) == (cell, layers)


def test_the_papers_table_prints_what_is_in_the_log_beside_what_was_published(load: Any, tmp_path: Path) -> None:
    paper_table = load("paper_table")
    record = {"size": 64, "cell": "rnn", "layers": 2, "units": 85, "parameters": 65855, "steps": 9}
    record |= {"val_nats": 1.31, "test_nats": 1.3046, "cpu_seconds": 7.4}
    (tmp_path / "log.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    (tmp_path / "published.csv").write_text("size,cell,layers,nats\n64,rnn,2,9.25\n512,gru,3,8.5\n", encoding="utf-8")
    published = paper_table.read_published(tmp_path / "published.csv")
    table = paper_table.write_tables(paper_table.read_log(tmp_path / "log.jsonl"), published)
    assert "| 64 | – | – | – | – | 1.305 / 9.25 | – | – | – | – |\n" in table
    assert "| 512 | – | – | – | – | – | – | – | – | – / 8.5 |\n" in table
    assert table.endswith("| 64 | `rnn` 2×85 | 65,855 | 9 | 1.3100 | 1.3046 | 7 |")
    assert paper_table.read_published(None) == {} and paper_table.read_log(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("num_rows", [1, 7])
def test_n_grams_are_scored_on_the_last_tenth_of_each_row(load: Any, num_rows: int) -> None:
    text = np.arange(7_000)
    training, positions = load("ngram_speed").split(text, num_rows)
    assert len(training) == 5_600 and len(positions) == 700
    length = 7_000 // num_rows
    assert set(training % length) == set(range(int(0.8 * length)))
    assert set(positions % length) == set(range(int(0.9 * length), length))


@pytest.mark.parametrize("language", ["anbn", "anbncn", "dyck", "parity", "copy"])
def test_a_string_is_right_if_what_may_follow_is_likelier_than_what_may_not(load: Any, language: str) -> None:
    counting = load("counting")
    counting.NUM_SHORT, counting.NUM_LONG = 200, 50
    strings = counting.strings_to_test(language, 20) + counting.strings_to_test(language, 10)
    vocab = Vocab.from_text("".join(string.text + "\0" for string in counting.training_strings(language, 0)[:200]))
    longest = max(len(string.text) for string in strings)
    logits = torch.zeros(longest + 1, len(strings), len(vocab))
    tested = []
    for column, string in enumerate(strings):
        for index, following in enumerate(string.nexts):
            if following is None:
                logits[index + 1, column, -1] = 9.0  # nothing may be likelier than anything there
            else:
                tested.append((index + 1, column))
                logits[index + 1, column, vocab.encode("".join(following)).tolist()] = 1.0

    class Network:
        initial_state = staticmethod(torch.zeros)

        def __call__(self, ids: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            assert all(vocab.decode(ids[: len(s.text) + 1, b].tolist()) == "\0" + s.text for b, s in enumerate(strings))
            return logits, state

    assert counting.are_right(Network(), vocab, strings).all()
    logits[:, :, 0] = 99.0
    assert counting.are_right(Network(), vocab, strings).all(), "the unknown symbol does not count"
    index, column = tested[len(tested) // 2]
    logits[index, column] = 1.0  # all are equally likely: no answer
    assert np.flatnonzero(~counting.are_right(Network(), vocab, strings)).tolist() == [column]


def test_the_counting_table_shows_how_far_each_seed_reaches(load: Any) -> None:
    counting = load("counting")
    shares = [1.0, 0.95, 0.9, 1.0] + [0.0] * (len(counting.TEST_LENGTHS) - 4)
    assert counting.reach_of(shares) == 20 and counting.reach_of([1.0] * len(shares)) == 500
    assert counting.reach_of([0.9] * len(shares)) == 0
    records = [{"cell": "gru", "language": "dyck", "seed": seed, "reach": 30 * seed} for seed in (1, 0)]
    table = counting.write_table(records, ["anbn", "dyck"])
    assert table.startswith("| cell | `anbn` | `dyck` |\n") and "| `gru` |  | – · 30 |" in table


@pytest.mark.trained
def test_a_cell_type_is_trained_and_tested_on_a_formal_language(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = load("counting")
    for name, value in {"TEST_LENGTHS": range(4, 9, 4), "NUM_SHORT": 60, "NUM_LONG": 40, "NUM_TESTS": 2}.items():
        monkeypatch.setattr(counting, name, value)
    with on_threads(1):
        record = counting.run(counting.Task(cell="gru", language="anbn", seed=1, steps=3))
    assert record["cell"] == "gru" and record["steps"] == 3 and len(record["shares"]) == 2
    assert record["reach"] in (0, 4, 8) and 0 < record["train_nats"] < 2


def test_the_picture_of_gradients_has_a_panel_for_each_plot(load: Any, tmp_path: Path) -> None:
    gradients = load("gradients")
    lines = {cell: [(1.0, 0.0), (50.0, -number)] for number, cell in enumerate(gradients.CELLS, start=1)}
    panels = [
        gradients.Panel("by lag", "k", lines),
        gradients.Panel("singular value", "step", {"rnn": [(0, 1.0), (20, 2.5)]}, is_log=False),
    ]
    gradients.write_pictures(panels, tmp_path)
    for theme in ("light", "dark"):
        picture = (tmp_path / f"gradients-{theme}.svg").read_text(encoding="utf-8")
        found = [element.text for element in ElementTree.fromstring(picture).iter() if element.tag.endswith("text")]
        assert {"by lag", "singular value", *gradients.CELLS, "1e-5", "3"} <= {*found}
        assert picture.count('fill="none"') == len(lines) + 1


def test_gradients_too_small_to_draw_are_left_out(load: Any) -> None:
    reach = GradientReach(name="rnn", lags=(1, 2, 3), norms=((1e-3, 1e-10, 1e-11),), num_losses=1)
    assert load("gradients").reach_points(reach) == [(1, -3.0), (2, -10.0)]


def record_of_seed(seed: int, *scores: CellScore) -> dict[str, Any]:
    shared = {"text": "war-and-peace", "seed": seed, "units": 8, "steps": 3, "val_nats": 1.5 + seed / 10}
    return json.loads(json.dumps(shared | {"scores": [score.to_json() for score in scores], "skipped": {}}))


def test_the_tables_of_several_seeds_count_what_is_finished_and_significant(load: Any) -> None:
    seeds = load("gallery_seeds")
    quote = CellScore(
        detector="quote",
        layer=0,
        unit=3,
        polarity=1,
        num_positive=9,
        auc=0.9,
        ci_low=0.8,
        ci_high=0.95,
        null_level=0.6,
        p_value=0.005,
        probe=((1, 0.9), (2, 0.93), (8, 0.95)),
    )
    column = replace(quote, detector="line-position", auc=None, spearman=-0.7, ci_low=-0.8, ci_high=-0.6, polarity=-1)
    by_chance = replace(quote, auc=0.55, ci_low=0.45, probe=((1, 0.55), (2, 0.6), (8, 0.7)))
    records = [record_of_seed(0, quote, column), record_of_seed(1, by_chance)]
    detectors = ("quote", "line-position", "string")
    table = seeds.write_tables(records, 5, detectors).splitlines()
    assert table[0] == "So far 2 of 5 seeds, 8 units, 3 steps each; validation loss 1.5000 to 1.6000 nats."
    assert "| `quote` | AUC 0.900 | AUC 0.550 ? | 1 of 2 |" in table
    assert "| `line-position` | ρ 0.700 | – | 1 of 2 |" in table
    assert "| detector | measure | 1 | 2 | all |" in table
    assert "| `quote` | AUC | 0.725 (0.550–0.900) | 0.765 (0.600–0.930) | 0.825 (0.700–0.950) |" in table
    assert "| `line-position` | R² | 0.900 | 0.930 | 0.950 |" in table
    assert not any("string" in line for line in table)
    assert seeds.write_tables(records, 2, detectors).startswith("All 2 seeds, 8 units")
    assert seeds.write_tables([], 5, detectors) == "So far 0 of 5 seeds."


@pytest.mark.trained
def test_a_seed_is_continued_after_the_time_is_over_and_after_a_kill(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = load("gallery_seeds")
    monkeypatch.setattr(seeds, "SAVE_EVERY", 1)
    novel = tmp_path / "novel.txt"
    novel.write_text(make_corpus(num_chars=4_000).text, encoding="utf-8")
    folder = tmp_path / "seeds"
    options = [str(folder), "--novel", str(novel), "--texts", "war-and-peace", "--seeds", "7", "--threads", "1"]
    options += ["--units", "8", "--steps", "4", "--detectors", "line-position"]

    def call(*more: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["gallery_seeds.py", *options, *more])
        with on_threads(1):
            return seeds.main(), capsys.readouterr().out

    training = seeds.Training(text="war-and-peace", seed=7, units=8, steps=4)
    events = seeds.loop.train(training.config(str(novel), 1), out=folder / training.name)
    for event in events:
        if isinstance(event, StepEvent) and event.step == 2:
            events.close()  # as if the process ended here
    assert call("--seconds", "0")[0] == 1
    assert call("--table") == (1, "\nwar-and-peace\n\nSo far 0 of 1 seeds.\n")
    code, table = call()
    assert code == 0 and "All 1 seeds, 8 units, 4 steps each" in table
    (record,) = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.json")]
    assert record["seed"] == 7 and "line-position" in {score["detector"] for score in record["scores"]}
    # Continued where it was, not started again.
    log = MetricsLog(folder / training.name / "metrics.jsonl").read()
    steps = [event["step"] for event in log if event["event"] == "step"]
    assert steps == [1, 2, 3, 4]
    assert call() == (0, table)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
def test_the_speed_of_a_page_in_node(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("model_page")
    monkeypatch.setattr(module, "LENGTH", 20)
    model = module.make_model("lstm", 2, 4)
    page = model.export(tmp_path / "page.html").read_text(encoding="utf-8")
    rate = module.rate_in_node(page, tmp_path)
    assert rate > 0 and "length: 10" in module.filled(module.IN_NODE)
