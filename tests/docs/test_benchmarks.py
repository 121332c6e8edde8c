"""The benchmarks' own arithmetic and reports: what they count and print, not how fast anything
is."""

import importlib
import json
import sys

import numpy as np
import pytest
import torch
from environment import REPOSITORY

from charrnn.model.device import on_threads

FOLDER = REPOSITORY / "benchmarks"

pytestmark = pytest.mark.docs


@pytest.fixture
def load(monkeypatch):
    """Import a benchmark by its folder and name, as its own process would."""

    def import_module(name):
        monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
        return importlib.import_module(f"benchmarks.{name}")

    return import_module


@pytest.mark.parametrize("as_json", [False, True])
def test_a_report_prints_a_table_or_one_object(load, capsys, as_json):
    report = load("measuring").Report("name", as_json=as_json, with_limits=False)
    report.add(cell_type="lstm", chars_per_second=12345.6, ratio=1.234)
    report.add(cell_type="gru", chars_per_second=99.994, ratio=None)
    report.add(seconds=3)
    report.close()
    out = capsys.readouterr().out
    if as_json:
        found = json.loads(out)
        assert found["benchmark"] == "name"
        assert {
            "processor",
            "threads",
            "capped_by",
            "load_average",
            "load_average_at_end",
        } <= found["machine"].keys()
        assert found["rows"] == [
            {"cell_type": "lstm", "chars_per_second": 12345.6, "ratio": 1.234},
            {"cell_type": "gru", "chars_per_second": 99.994, "ratio": None},
            {"seconds": 3},
        ]
    else:
        assert (
            "| cell | chars per second | ratio |\n| --- | --- | --- |\n| lstm | 12,346 | 1.23 |\n"
            in out
        )
        assert "| gru | 99.99 |  |\n\n| seconds |\n| --- |\n| 3 |\n" in out
        assert "processor: " in out and "load average at the end: " in out


def test_calls_are_timed_in_turn_after_those_that_do_not_count(load, monkeypatch):
    measuring = load("measuring")
    now, called = 0.0, []

    def call(name, durations):
        def run():
            nonlocal now
            called.append(name)
            now += durations.pop(0)

        return run

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now)
    # The first is slow while it is compiled; the second meets a busy moment.
    medians = measuring.in_turn(
        call("a", [9, 1, 1, 1]), call("b", [9, 2, 50, 2]), warm_ups=1, repeats=3
    )
    assert medians == pytest.approx([1, 2]) and called == ["a", "b"] * 4


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "mlstm"])
def test_a_step_s_products_are_those_of_its_equations(load, cell):
    """Counted by hand: forward once, and twice as much backward, of every weight but a table's."""
    train_speed = load("speed.train_speed")
    num_layers, hidden_size, lanes, length = 2, 12, 3, 5
    trainer = train_speed.our_step(cell, num_layers, hidden_size, lanes, length, "fp32")
    layers = [layer for layer in trainer.network.modules() if hasattr(layer, "matrices")]
    weights = sum(layer.weight(name).numel() for layer in layers for name in layer.cell.products)
    weights += sum(layer.weight("ih").numel() for layer in layers[0 if cell == "lstm" else 1 :])
    weights += trainer.network.output.weight.numel()
    assert train_speed.num_operations(trainer.config) == 3 * 2 * weights * lanes * length
    train_speed.products_alone(trainer.config)()


def test_all_runs_benchmarks_that_exist_names_what_failed_and_keeps_the_rest(
    load, tmp_path, monkeypatch, capsys
):
    module = load("speed.all")
    assert {
        name for name in module.FULL if not (FOLDER / "speed" / f"{name}.py").is_file()
    } == set()
    assert module.QUICK.keys() == module.FULL.keys()
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


def test_the_check_of_a_gpu_runs_through_on_a_cpu(load, tmp_path, monkeypatch):
    """What it checks is trivial there; that every part of it runs is not."""
    module = load("gpu.gpu_check")
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu", "--quick"])
    with on_threads(1):
        assert module.main() == 0
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert {row["result"] for row in found["rows"]} == {"pass", "measured", "skipped"}
    text = " ".join(row["what"] for row in found["rows"])
    for part in (
        "10 steps in fp32",
        "gradient, cell unitary",
        "optimizer: muon",
        "exact resume: precision fp16",
        "CPU, device, CPU",
    ):
        assert part in text
    for part in (
        "not finite: fp16",
        "windowed-256 loss",
        "best cell, quote",
        "eager and NumPy",
        "compiled loop of the processor",
        "stock nn.LSTM",
        "Shakespeare in a minute",
    ):
        assert part in text
    report = (tmp_path / "out" / "report.md").read_text()
    assert report.startswith("cpu, torch") and "0 of" in report.splitlines()[-1]


def test_the_check_of_a_gpu_begins_no_part_after_its_time(load, tmp_path, monkeypatch, capsys):
    module = load("gpu.gpu_check")
    monkeypatch.delenv("OUT", raising=False)
    arguments = ["gpu_check.py", "--device", "cpu", "--quick", "--seconds", "-1"]
    monkeypatch.setattr(sys, "argv", arguments)
    with on_threads(1):
        assert module.main() == 0
    assert capsys.readouterr().out.count("the time was over") == 13


def test_packages_that_are_missing_or_too_old_are_installed_one_by_one(load, monkeypatch):
    prepare = load("gpu.prepare")
    versions = {"torch": "2.11.0+cu130", "numpy": "2.1.3", "rich": "15.0.0rc1"}

    def version(package):
        if package in versions:
            return versions[package]
        raise prepare.importlib.metadata.PackageNotFoundError

    installed = []

    def run(command, **options):
        installed.append(command[-1])
        if "torch" in command[-1]:
            raise prepare.subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(prepare.importlib.metadata, "version", version)
    monkeypatch.setattr(prepare.subprocess, "run", run)
    assert "numpy>=2.1" not in prepare.wanted() and "rich" not in prepare.missing()
    (problem,) = prepare.install()
    assert problem.startswith("torch>=2.13 could not be installed")
    assert installed == prepare.wanted()


def test_the_table_of_texts_has_what_is_followed_better_than_untrained(load, tmp_path):
    script = load("losses.corpora")
    scores = [
        {"detector": "quote", "auc": 0.9, "untrained": 0.6, "p_value": 0.01},
        {"detector": "digit", "auc": 0.99, "untrained": 0.98, "p_value": 0.01},
        {"detector": "comment", "auc": 0.9, "untrained": 0.5, "p_value": 0.3},
        {"detector": "line-length", "spearman": -0.7, "untrained": 0.2, "p_value": 0.01},
    ]
    found = {"nats": 1.234, "scores": scores}
    found["sample"] = "end of one\nA `new`  one|\n begins"
    (tmp_path / "alice.json").write_text(json.dumps(found))
    row = "|alice|1.23|`end of one / A 'new' one\\| / begins`|quote 0.90, line-length 0.70|"
    assert script.table(tmp_path).splitlines()[2:] == [row]


def test_a_model_of_blocks_predicts_each_character_from_the_last_ones(load):
    peers = load("losses.peers")
    embedding = torch.nn.functional.one_hot(torch.arange(5)).float()

    def read(rows, _):
        """The logits after each character: how often the block has each until then."""
        return (embedding[rows].cumsum(1),)

    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (45, 2)))
    logits, _ = peers.BlockReader(read, block_size=16)(ids, None)
    num_read = logits.sum(-1)
    assert logits.shape == (45, 2, 5)
    assert num_read[:16, 0].tolist() == list(range(1, 17))
    assert num_read.max() == 16 and num_read[16:].min() == 16 - peers.STRIDE + 1
    for position in (3, 20, 44):
        length = int(num_read[position, 1])
        expected = embedding[ids[position - length + 1 : position + 1, 1]].sum(0)
        assert logits[position, 1].tolist() == expected.tolist()


def test_the_index_lists_every_program():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    programs = [path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.py")]
    listed = [path for path in programs if not path.startswith("histories/")]
    assert len(listed) > 20
    assert [path for path in listed if f"]({path})" not in index] == []
