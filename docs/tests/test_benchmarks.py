"""The benchmarks' own arithmetic and reports: what they count and print, not how fast anything
is."""

import hashlib
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from environment import REPOSITORY
from hand_built import vocab_of
from synthetic import make_corpus

import charrnn
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
    report.add(cell="lstm", chars_per_second=12345.6, ratio=1.234)
    report.add(cell="gru", chars_per_second=99.994, ratio=None)
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
            {"cell": "lstm", "chars_per_second": 12345.6, "ratio": 1.234},
            {"cell": "gru", "chars_per_second": 99.994, "ratio": None},
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


def test_everything_about_every_cell_is_timed(load, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path))
    arguments = ["atlas.py", "--chars", "3000", "--hidden-size", "4", "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    load("speed.atlas").main()
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["part"] for row in rows][-4:] == ["everything", "second call", ".html", ".json"]


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


@pytest.mark.parametrize("language", ["anbn", "anbncn", "dyck", "parity", "copy"])
def test_a_string_is_right_if_what_may_follow_is_likelier_than_what_may_not(load, language):
    counting = load("losses.counting")
    counting.NUM_SHORT, counting.NUM_LONG = 200, 50
    strings = counting.strings_to_test(language, 20) + counting.strings_to_test(language, 10)
    vocab = vocab_of(
        "".join(string.text + "\0" for string in counting.training_strings(language, 0)[:200])
    )
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

        def __call__(self, ids, state):
            assert all(
                vocab.decode(ids[: len(s.text) + 1, b].tolist()) == "\0" + s.text
                for b, s in enumerate(strings)
            )
            return logits, state

    assert counting.are_right(Network(), vocab, strings).all()
    logits[:, :, 0] = 99.0
    assert counting.are_right(Network(), vocab, strings).all(), "the unknown symbol does not count"
    index, column = tested[len(tested) // 2]
    logits[index, column] = 1.0  # all are equally likely: no answer
    assert np.flatnonzero(~counting.are_right(Network(), vocab, strings)).tolist() == [column]


def test_a_record_is_compared_by_welch_s_test_and_needs_its_own_text(load, tmp_path):
    record = load("losses.record")
    # Table of Student's t with four degrees of freedom: 3.747 for 0.01, 2.132 for 0.05, one-sided.
    assert record.p_value([1.0, 2, 3], [4.0, 5, 6]) == pytest.approx(0.0107, abs=2e-4)
    scale = 2.132 * (2 / 3) ** 0.5
    assert record.p_value([1.0, 2, 3], [1 + scale, 2 + scale, 3 + scale]) == pytest.approx(
        0.05, abs=2e-4
    )
    assert record.p_value([4.0, 5, 6], [1.0, 2, 3]) == pytest.approx(1 - 0.0107, abs=2e-4)
    row = record.ROWS["enwik8-6"]
    (tmp_path / "enwik8").write_bytes(b"another text")
    for folder, message in ((tmp_path, "has the SHA-256"), (tmp_path / "none", "is missing")):
        with pytest.raises(SystemExit, match=message):
            record.check_text(row, folder, tmp_path)
    missed = {"windowed_256": 1.9, "seconds": 3.0}
    runs = [{"split": "", "windowed_256": 1.8, "seconds": 3.6}, {"split": ""} | missed]
    assert (
        "| missed by 1 | 2 | 4 | 3.6 |"
        in record.describe("row", record.ROWS["seconds-to-1.874"], runs)[0]
    )


def test_a_record_trains_on_its_bytes_and_quotes_the_test_part(load, tmp_path, monkeypatch):
    record = load("losses.record")
    text = tmp_path / "text.txt"
    text.write_text(make_corpus(num_chars=9_000).text, encoding="utf-8")
    row = record.Row(
        (text.name, hashlib.sha256(text.read_bytes()).hexdigest()),
        0.01,
        "stateful",
        1.0,
        ("-q",),
        8_000,
    )
    corpus = record.check_text(row, tmp_path, tmp_path)
    assert Path(corpus[0]).read_bytes() == text.read_bytes()[:8_000]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = record.train(row, corpus, record.TEST_SPLIT, 3, tmp_path / "run")
    model = charrnn.load(tmp_path / "run")
    assert run["command"] == "charrnn train text.txt -q --minutes 0.01 --split 80/10/10 --seed 3"
    assert (run["step"], run["seed"], run["split"], model.config.seed) == (
        model.step,
        3,
        "--split 80/10/10",
        3,
    )
    measured = charrnn.evaluate(model, model.held_out("test"), protocol="stateful")
    assert (
        run["stateful"] == pytest.approx(measured.nats_per_char, rel=1e-3)
        and len(run["validations"]) > 0
    )


def test_a_record_goes_on_where_it_was_stopped(load, tmp_path, monkeypatch, capsys):
    record, trained = load("losses.record"), []

    def train(row, corpus, split, seed, run):
        trained.append((" ".join(split), seed))
        if len(trained) == 4:
            raise KeyboardInterrupt
        figures = {
            "seconds": 9.0,
            "stateful": 1.0 + seed,
            "windowed_256": 1.5,
            "validations": [{"step": 7}],
        }
        return {"seed": seed, "split": " ".join(split), **figures}

    monkeypatch.setattr(record, "train", train)
    monkeypatch.setattr(
        "sys.argv", ["record.py", "standard-library-3", "--out", str(tmp_path / "out")]
    )
    with pytest.raises(KeyboardInterrupt):
        record.main()
    record.main()
    test_split = [("--split 80/10/10", seed) for seed in range(3)]
    assert trained == [("", 0), ("", 1), ("", 2), test_split[0], *test_split]
    saved = json.loads((tmp_path / "out" / "record.json").read_text(encoding="utf-8"))
    assert len(saved["runs"]) == 6 and "2.0000 ± 0.5774" in saved["lines"][0]
    assert len((tmp_path / "out" / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 6
    monkeypatch.setattr(record, "_commit", lambda: "another")
    with pytest.raises(SystemExit, match="name another --out"):
        record.main()


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


def test_a_search_for_settings_ends_where_every_neighbour_is_worse(load):
    peers = load("losses.peers")
    best = peers.LSTMSettings(
        units=256, layers=1, batch_rows=16, window=32, rate=0.005, dropout=0.0
    )
    neighbours = peers._untried({best: 1.5})
    assert len(neighbours) == 10
    assert peers._untried({best: 1.5, **dict.fromkeys(neighbours, 1.6)}) == []
    assert best not in peers._untried({best: 1.5, neighbours[0]: 1.4})


def test_the_index_lists_every_program():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    programs = [path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.py")]
    listed = [path for path in programs if not path.startswith("histories/")]
    assert len(listed) > 20
    assert [path for path in listed if f"]({path})" not in index] == []
