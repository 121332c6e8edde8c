"""The small commands, and what all commands share: help, version, exit codes, colours, locales."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL_RUN, Ran, TrainedRun, copy_run
from rich.cells import cell_len
from synthetic import SyntheticCorpus, make_corpus

import charrnn
from charrnn.architectures import OPTIMIZERS
from charrnn.config import ALPHABETS, DEVICES, PRECISIONS
from charrnn.runs.writer import RunWriter
from charrnn.text import catalogue

Command = Callable[..., Ran]
Process = Callable[..., "subprocess.CompletedProcess[bytes]"]
COMMANDS = {
    "train": {"--minutes", "--epochs", "--steps", "--cell", "--layers", "--hidden-size", "--resume", "--show-config"},
    "sample": {"--temp", "--temperature", "--top-k", "--top-p", "--min-p", "--prime", "--prime-file", "--beam"},
    "predict": {"--top"},
    "visualize": {"--cell", "--detector", "--find", "--top", "--text", "--export"},
    "explore": {"--text", "--chars"},
    "write": {"--run", "--until", "--temp", "--seed", "--color"},
    "evaluate": {"--text", "--precision"},
    "runs": {"--sort", "--csv", "--plot", "--export"},
    "sweep": {"--cell", "--set", "--seeds", "--minutes", "--search", "--jobs"},
    "export": {"--force"},
    "corpora list": set(),
    "corpora fetch": set(),
    "corpora make": {"--lines", "--min-length", "--max-length", "--brackets", "--seed", "--out"},
}
"""Options of the contract by command; each has --json, --quiet and --debug besides."""


def as_json(ran: Ran) -> Any:
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help(command: Command, name: str, flag: str) -> None:
    ran = command(*name.split(), flag)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: charrnn {name}")
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ran.out))
    # What fills the terminal has nothing to report to a program.
    reports = {"--json"} if name not in ("explore", "write") else set()
    assert options >= COMMANDS[name] | reports | {"--quiet", "--debug", "--help"}
    assert max(map(len, ran.out.splitlines())) <= 80
    assert not re.search(r"<\w+(\[\w+\])?>|\[default:\s+\(", ran.out), "no types of Python, no default in brackets"


def test_the_help_of_train_names_every_choice(command: Command) -> None:
    out = command("train", "--help").out
    shown = {match[1]: match[2] for match in re.finditer(r"(?s)(--[a-z-]+) [A-Z]+ +(.*?)(?=\n  -|$)", out)}
    choices = {"--optimizer": OPTIMIZERS, "--alphabet": ALPHABETS, "--device": DEVICES, "--precision": PRECISIONS}
    for option, names in choices.items():
        assert set(names) <= set(re.findall(r"\w+", shown[option])), option


@pytest.mark.parametrize("columns", [80, 120])
def test_the_help_of_train_has_groups(command: Command, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = command("train", "--help").out
    assert columns - 12 < max(map(len, out.splitlines())) <= columns
    groups = dict(re.findall(r"(?ms)^([A-Z][a-z ]+):\n(.*?)(?=^[A-Z]|\Z)", out))
    options = {title: re.findall(r"(?m)^  (?:-., )?(\S+)", lines) for title, lines in groups.items()}
    assert list(options) == [
        *("Arguments", "Budget", "Model", "Training", "Text"),
        *("All settings", "Machine", "Run folder", "Other options"),
    ]
    assert options["Arguments"] == ["[CORPUS]..."] and options["Budget"] == ["--minutes", "--epochs", "--steps"]
    assert {"--parameters", "--init-from", "--extend-alphabet"} <= {*options["Model"]}
    assert {"--order", "--documents", "--column"} <= {*options["Text"]}
    assert {"--processes", "--sync-every"} <= {*options["Machine"]}
    assert options["Other options"] == ["--json", "--quiet", "--debug", "--help"]
    assert all(len(names) <= 12 for names in options.values())
    begins = [re.match(r"  -\S*(?: \S+)*? {2,}", line) for line in out.splitlines()]
    assert len({len(begin[0]) for begin in begins if begin}) == 1, "the texts of all groups are aligned"


def test_the_help_of_all_names_the_commands(command: Command) -> None:
    ran = command("--help")
    assert (ran.code, ran.err) == (0, "")
    listed = re.findall(r"(?m)^  ([a-z]+)  ", ran.out)
    assert listed == list(dict.fromkeys(name.split()[0] for name in COMMANDS))
    assert "..." not in ran.out.partition("Commands:")[2], "no summary is cut"
    assert "--install-completion" in ran.out and "--version" in ran.out


def test_without_a_command_there_is_help(command: Command) -> None:
    ran = command()
    help_text = command("--help").out.strip()
    assert help_text in (ran.out + ran.err)
    assert "error" not in ran.err


def test_help_imports_neither_torch_nor_numpy(process: Process) -> None:
    script = f"""
import sys
import charrnn
from charrnn.cli.app import run
for name in ["", *{list(COMMANDS)!r}, "--version"]:
    assert run([*name.split(), *([] if name == "--version" else ["--help"])]) == 0
print(sorted({{"torch", "numpy", "rich", "yaml", "tqdm"}} & {{*sys.modules}}), file=sys.stderr)
"""
    ran = process("-c", script)
    assert (ran.returncode, ran.stderr.strip()) == (0, b"[]")
    assert ran.stdout.count(b"Usage: charrnn") == len(COMMANDS) + 1


def test_the_version(command: Command) -> None:
    ran = command("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"charrnn {charrnn.__version__}\n", "")
    pyproject = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert '\ndynamic = ["version"]\n' in pyproject and '\npath = "charrnn/version.py"\n' in pyproject


def test_completion_installs_itself(process: Process, tmp_path: Path) -> None:
    # By itself typer asks the process tree which shell this is; told not to, it takes the name.
    home = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ran = process("-m", "charrnn", "--install-completion", "bash", **home)
    assert ran.returncode == 0, ran.stderr
    scripts = [path.read_text() for path in tmp_path.rglob("*.sh")]
    assert len(scripts) == 1 and "charrnn" in scripts[0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("--version", 0), ("sample --temp x", 2), ("train nosuch.txt", 3), ("sample nosuch", 4)],
)
def test_the_process_ends_with_the_exit_code(process: Process, arguments: str, code: int) -> None:
    ran = process("-m", "charrnn", *arguments.split())
    assert ran.returncode == code
    assert (ran.stderr == b"") is (code == 0)
    assert b"Traceback" not in ran.stderr


def test_debug_shows_where_it_happened(process: Process) -> None:
    ran = process("-m", "charrnn", "sample", "nosuch", "--debug")
    assert ran.returncode != 0
    assert ran.stderr.startswith(b"Traceback") and b"no run 'nosuch'" in ran.stderr
    assert ran.stdout == b""


@pytest.mark.parametrize("arguments", ["train text.txt", "evaluate", "runs"])
def test_a_folder_that_was_removed_under_it_is_said(process: Process, tmp_path: Path, arguments: str) -> None:
    script = f"""
import os, sys
os.mkdir("gone")
os.chdir("gone")
os.rmdir("../gone")
from charrnn.cli.app import run
sys.exit(run({arguments.split()!r}))
"""
    ran = process("-c", script)
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr == b"error: the current folder was removed: change to another one (cd)\n"


def test_a_bug_of_ours_is_one_line_and_the_way_to_see_more(
    command: Command, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("what nobody thought of")

    monkeypatch.setattr(charrnn.Model, "predict", fail)
    ran = command("predict", "zib")
    assert (ran.code, ran.out) == (1, "")
    assert "ZeroDivisionError: what nobody thought of" in ran.err and "--debug" in ran.err
    assert len(ran.err.splitlines()) == 2
    with pytest.raises(ZeroDivisionError):
        command("predict", "zib", "--debug")


def test_ctrl_c_before_there_is_anything_to_save(command: Command, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(charrnn.Model, "predict", interrupt)
    ran = command("predict", "zib")
    assert (ran.code, ran.out, ran.err) == (130, "", "")


def test_predict_lists_the_likeliest_characters(command: Command, lab: Path) -> None:
    found = as_json(command("predict", "molu tarn nibbe", "--json"))
    assert [set(item) for item in found] == [{"character", "probability"}] * 5
    probabilities = [item["probability"] for item in found]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1
    assert found[0]["character"] == "r", "nibber is the only word that begins like this"
    assert found[0]["probability"] > 0.8
    expected = charrnn.load(lab).predict("molu tarn nibbe")
    assert [(item["character"], item["probability"]) for item in found] == [
        (p.character, pytest.approx(p.probability)) for p in expected
    ]


def test_predict_takes_a_run_and_a_number(command: Command, lab: Path, gru: TrainedRun) -> None:
    newest = as_json(command("predict", "zib", "--json", "--top", 3))
    assert len(newest) == 3
    assert as_json(command("predict", "lstm-001", "zib", "--json", "--top", 3)) == newest
    assert as_json(command("predict", gru.path, "zib", "--json", "--top", 3)) != newest
    everything = as_json(command("predict", "zib", "--json", "--top", 999))
    assert sum(item["probability"] for item in everything) == pytest.approx(1)
    vocab = json.loads((lab / "vocab.json").read_text())["characters"]
    assert sorted(item["character"] for item in everything) == sorted(vocab[1:])


def test_predict_draws_a_table(command: Command, lab: Path) -> None:
    ran = command("predict", "nibber", "--top", 4)
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines() if re.search(r"\d\.\d{4}", line)]
    found = as_json(command("predict", "nibber", "--top", 4, "--json"))
    assert [float(row[1]) for row in rows] == [pytest.approx(item["probability"], abs=6e-5) for item in found]
    shown = {" ": "␣", "\n": "↵"}
    assert [row[0] for row in rows] == [shown.get(item["character"], item["character"]) for item in found]
    assert [len("".join(row[2:])) for row in rows] == [round(30 * item["probability"]) for item in found]


def test_predict_spells_bytes_that_are_no_character(command: Command, byte_run: TrainedRun) -> None:
    found = as_json(command("predict", byte_run.path, "z", "--json", "--top", 256))
    assert sum(item["probability"] for item in found) == pytest.approx(1)
    assert {item["character"] for item in found} >= {"\\xc3", "z", "\n"}


def test_evaluate_agrees_with_training(command: Command, lab: Path, lstm: TrainedRun) -> None:
    found = as_json(command("evaluate", "--precision", "fp32", "--json"))
    documented = {"nats_per_char", "bpc", "bits_per_byte", "num_chars", "protocol"}
    assert found.keys() >= documented
    best = min((e for e in lstm.events if e.event == "evaluation"), key=lambda event: event.val_nats)
    assert (found["run"], found["step"], found["protocol"]) == ("lstm-001", best.step, "stateful")
    assert found["nats_per_char"] == pytest.approx(best.val_nats, abs=1e-5)
    assert found["bpc"] == pytest.approx(best.val_bpc, abs=1e-5)
    windowed = found["windowed_256"]
    assert windowed.keys() >= documented
    assert windowed["protocol"] == "windowed-256"
    # Each window begins from nothing and so loses a little.
    assert found["nats_per_char"] < windowed["nats_per_char"] < found["nats_per_char"] + 0.5


def test_evaluate_draws_a_table_of_both_protocols(command: Command, lab: Path) -> None:
    ran = command("evaluate", "--precision", "fp32")
    found = as_json(command("evaluate", "--precision", "fp32", "--json"))
    assert (ran.code, ran.err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines() if line.strip()}
    for name, report in (("stateful", found), ("windowed-256", found["windowed_256"])):
        numbers = [f"{report[key]:.4f}" for key in ("nats_per_char", "bpc", "bits_per_byte")]
        assert rows[name] == [*numbers, f"{report['num_chars']:,}", "fp32"]
    assert found["skipped"] == []


def test_evaluate_names_the_precision_that_it_computed_in(
    command: Command, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from charrnn.model.device import cpu_computes_bf16

    if not cpu_computes_bf16():
        pytest.skip("oneDNN has no bf16 here")
    for is_fast in (True, False):
        monkeypatch.setattr("charrnn.model.device.has_fast_bf16", lambda device, answer=is_fast: answer)
        for asked, taken in (("bf16", "bf16"), ("fp32", "fp32"), ("auto", "bf16" if is_fast else "fp32")):
            found = as_json(command("evaluate", "--precision", asked, "--json"))
            assert (found["precision"], found["windowed_256"]["precision"]) == (taken, taken)
    assert "precision is 'fp64'" in command("evaluate", "--precision", "fp64").err


@pytest.mark.parametrize(("num_chars", "is_short"), [(256, True), (257, False), (2, True)])
def test_evaluate_says_why_it_leaves_out_a_protocol(
    command: Command, lab: Path, corpus: SyntheticCorpus, num_chars: int, is_short: bool
) -> None:
    Path("short.txt").write_bytes(corpus.text[:num_chars].encode())
    found = as_json(command("evaluate", "--text", "short.txt", "--json"))
    reason = f"it needs more than 256 characters, and the text has {num_chars}"
    assert found["skipped"] == [{"protocol": "windowed-256", "reason": reason}] * is_short
    assert ("windowed_256" in found) is not is_short
    ran = command("evaluate", "--text", "short.txt")
    assert (f"windowed-256 is skipped: {reason}." in " ".join(ran.out.split())) is is_short


def test_evaluate_reads_the_test_text(command: Command, lab: Path, corpus: SyntheticCorpus) -> None:
    Path("text.txt").write_text(corpus.text, encoding="utf-8")
    sizes = ["--hidden-size", "8", "--set", "num_lanes=4", "--set", "bptt_length=16", "--steps", "2"]
    assert command("train", "text.txt", *sizes, "--split", "80/10/10", "--out", "run").code == 0
    found = as_json(command("evaluate", "run", "--part", "test", "--json"))
    assert found["num_chars"] == len(corpus.text) - int(0.9 * len(corpus.text))
    assert found["nats_per_char"] != as_json(command("evaluate", "run", "--json"))["nats_per_char"]
    assert found["part"] == "test"
    assert (
        "--part selects a part of the run's own text"
        in command("evaluate", "run", "--part", "test", "--text", "text.txt").err
    )
    refused = command("evaluate", lab.name, "--part", "test")
    assert refused.code == 2 and "lstm-001 has no test text: it was trained without --split 80/10/10" in refused.err
    assert "no part 'both'; use validation or test" in command("evaluate", "--part", "both").err


def test_evaluate_reads_another_text(command: Command, lab: Path, corpus: SyntheticCorpus) -> None:
    Path("like.txt").write_bytes(make_corpus(num_chars=3_000, seed=9).text.encode())
    Path("unlike.txt").write_bytes((" ".join(reversed(corpus.text[:3_000])) + "éé").encode())
    Path("short.txt").write_bytes(corpus.text[:100].encode())
    like, unlike, short = (
        as_json(command("evaluate", "--text", f"{name}.txt", "--json")) for name in ("like", "unlike", "short")
    )
    assert like["num_chars"] == len(Path("like.txt").read_text()) - 1, "nothing predicts the first one"
    assert like["nats_per_char"] < 1.5 < unlike["nats_per_char"]
    assert (like["num_unknown"], unlike["num_unknown"]) == (0, 2)
    assert (short["num_chars"], "windowed_256" in short) == (99, False)
    piped = command("evaluate", "--text", "-", "--json", stdin=Path("like.txt").read_bytes())
    assert as_json(piped) == like
    told = command("evaluate", "--text", "unlike.txt")
    assert "2 characters of this text are unknown to the model" in told.err
    assert command("evaluate", "--text", "unlike.txt", "--quiet").err == ""


def test_evaluate_counts_bits_of_bytes(command: Command, byte_run: TrainedRun) -> None:
    found = as_json(command("evaluate", byte_run.path, "--json"))
    assert found["bpc"] == pytest.approx(found["bits_per_byte"])
    assert found["num_chars"] == len("zäb «molü» 語 🙂\n".encode()) * 400 // 10


def test_runs_are_listed_oldest_first(command: Command, lab: Path, gru: TrainedRun) -> None:
    copy_run(gru.path, lab.parent / gru.name)
    for name, seconds in ((lab.name, 200), (gru.name, 100)):
        os.utime(lab.parent / name / "latest", (seconds, seconds))
    (lab.parent / "notes").mkdir()
    found = as_json(command("runs", "--json"))
    assert [run["name"] for run in found] == ["gru-001", "lstm-001"]
    first, second = found
    assert (first["cell"], first["num_layers"], first["hidden_size"], first["step"]) == ("gru", 2, 12, 12)
    assert (second["cell"], second["num_layers"], second["hidden_size"], second["num_steps"]) == ("lstm", 1, 32, 300)
    evaluations = [json.loads(line).get("val_nats") for line in (lab / "metrics.jsonl").read_text().splitlines()]
    assert second["best_nats"] == min(nats for nats in evaluations if nats is not None)
    ran = command("runs")
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines() if "-001" in line]
    assert rows[1][:4] == ["lstm-001", "synthetic", "lstm", "1×32"]
    assert rows[1][5:8] == ["0", "300", f"{second['best_nats']:.4f}"]
    assert [row[0] for row in rows] == ["gru-001", "lstm-001"]


def test_a_damaged_run_does_not_hide_the_others(command: Command, lab: Path, gru: TrainedRun) -> None:
    copy_run(gru.path, lab.parent / gru.name)
    (lab.parent / gru.name / "config.yaml").write_text("hidden_size: [")
    ran = command("runs", "--json")
    assert ran.code == 0
    assert [run["name"] for run in json.loads(ran.out)] == ["lstm-001"]
    assert "gru-001" in ran.err and "damaged" in ran.err
    assert command("runs", "--quiet").err == ""


@pytest.fixture
def abandoned(lab: Path, corpus_file: Path) -> str:
    """The name of a run beside that of `lab` that ended before its first step: newer, and never validated."""
    config = charrnn.Config(corpus=(str(corpus_file),), steps=5, **SMALL_RUN)
    *_, done = charrnn.train(config, out=lab.parent / "abandoned-001", should_stop=lambda: True)
    assert (done.step, done.is_complete) == (0, False)
    os.utime(lab / "latest", (100, 100))
    return "abandoned-001"


LINES_THAT_READ_A_RUN = ("sample --seed 0 --length 5", "predict zib", "evaluate", "visualize --cell 0:1 --chars 20")


@pytest.mark.parametrize("line", LINES_THAT_READ_A_RUN)
def test_the_newest_run_that_was_validated_is_read_and_named_where_a_person_reads(
    command: Command, lab: Path, abandoned: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *options = line.split()
    expected = command(name, lab.name, *options)
    assert (expected.code, expected.err) == (0, "")
    assert command(name, *options) == expected, "nobody reads what is piped away"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("CI", "1")  # no bars
    ran = command(name, *options)
    assert (ran.code, ran.out, ran.err) == (0, expected.out, f"Run: {lab.name}\n")
    assert command(name, lab.name, *options).err == "", "who names a run knows its name"
    assert command(name, *options, "--quiet").err == ""


def test_where_no_run_was_validated_that_is_said(command: Command, lab: Path, abandoned: str) -> None:
    shutil.rmtree(lab)
    ran = command("predict", "zib")
    assert ran.code == 0
    assert ran.err == (
        f"warning: no run here or in checkpoints has been validated yet; using the newest, {abandoned}, at step 0\n"
    )
    assert command("predict", "zib", "--quiet").err == ""
    assert command("predict", abandoned, "zib").err == ""


def test_what_was_abandoned_is_what_is_resumed(command: Command, lab: Path, abandoned: str) -> None:
    assert command("train", "--resume", "--quiet").out == f"checkpoints/{abandoned}\n"


def test_no_runs_yet(command: Command) -> None:
    ran = command("runs")
    assert (ran.code, ran.out) == (0, "")
    assert "charrnn train" in ran.err
    assert command("runs", "--json").out == "[]\n"
    assert command("runs", "--quiet") == Ran(0, "", "")


def test_the_catalogue_is_listed(command: Command) -> None:
    entries = catalogue.load_catalogue()
    found = as_json(command("corpora", "list", "--json"))
    assert [(item["name"], item["num_bytes"], item["sha256"]) for item in found] == [
        (entry.name, entry.num_bytes, entry.sha256) for entry in entries
    ]
    for arguments in (("corpora",), ("corpora", "list")):
        ran = command(*arguments)
        assert (ran.code, ran.err) == (0, "")
        assert all(entry.name in ran.out and f"{entry.num_bytes:,}" in ran.out for entry in entries)
        assert max(map(cell_len, ran.out.splitlines())) <= 80


def test_the_bare_catalogue_speaks_json_too(command: Command) -> None:
    assert as_json(command("corpora", "--json")) == as_json(command("corpora", "list", "--json"))


def test_an_unknown_option_names_the_help_of_the_command_that_has_the_others(command: Command) -> None:
    for words, arguments in (
        (("corpora", "make"), ("anbn", "--strings", "5")),
        (("corpora", "list"), ("--strings",)),
        (("corpora",), ("--strings",)),
        (("sample",), ("--strings", "list")),
    ):
        ran = command(*words, *arguments)
        assert ran.code == 2 and f"Try 'charrnn {' '.join(words)} --help'." in ran.err


def test_a_text_that_was_fetched_is_found(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    text = make_corpus(num_chars=2_000).text.encode()
    entry = catalogue.CatalogueEntry(
        name="nonsense",
        file="nonsense.txt",
        address="https://example.invalid/nonsense.txt",
        sha256=hashlib.sha256(text).hexdigest(),
        num_bytes=len(text),
        licence="none",
        look_for="words",
    )
    monkeypatch.setattr(catalogue, "load_catalogue", lambda: (entry,))
    Path("corpora").mkdir()
    Path("corpora/nonsense.txt").write_bytes(text)
    ran = command("corpora", "fetch", "nonsense")
    assert (ran.code, ran.out, ran.err) == (0, "corpora/nonsense.txt\n", "")
    assert as_json(command("corpora", "fetch", "nonsense", "--json")) == {
        "name": "nonsense",
        "path": "corpora/nonsense.txt",
    }
    Path("nonsense.txt").write_text("mine")
    ran = command("corpora", "fetch", "nonsense")
    assert (ran.code, ran.out) == (0, "corpora/nonsense.txt\n")
    assert ran.err == (
        "warning: `charrnn train nonsense` reads nonsense.txt of this folder, not the text of the catalogue\n"
    )
    assert command("corpora", "fetch", "nonsense", "--quiet").err == ""
    Path("nonsense.txt").unlink()
    Path("corpora/nonsense.txt").write_bytes(text + b"!")
    ran = command("corpora", "fetch", "nonsense")
    assert (ran.code, ran.out) == (3, "")
    assert "corpora/nonsense.txt exists but is not the catalogue's nonsense" in ran.err


COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


def test_colour_follows_the_stream_and_the_environment(process: Process, lab: Path) -> None:
    arguments = ("-m", "charrnn", "predict", "zib")
    plain = process(*arguments)
    assert (plain.returncode, plain.stderr) == (0, b"")
    assert b"\x1b" not in plain.stdout
    forced = process(*arguments, FORCE_COLOR="1", TERM="xterm")
    assert b"\x1b[34m" in forced.stdout, "the bars are blue"
    assert COLOUR.sub(b"", forced.stdout) == plain.stdout
    refused = process(*arguments, FORCE_COLOR="1", TERM="xterm", NO_COLOR="1")
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]", refused.stdout)
    in_json = process(*arguments, "--json", FORCE_COLOR="1", TERM="xterm")
    assert len(json.loads(in_json.stdout)) == 5


def test_the_c_locale_changes_nothing(process: Process, lab: Path, byte_run: TrainedRun) -> None:
    for arguments in (("predict", "zib"), ("predict", byte_run.path, "語"), ("runs",)):
        usual = process("-m", "charrnn", *arguments, LC_ALL="C.UTF-8")
        assert (usual.returncode, usual.stderr) == (0, b"")
        in_c = process("-m", "charrnn", *arguments, LC_ALL="C")
        assert (in_c.returncode, in_c.stderr, in_c.stdout) == (0, b"", usual.stdout)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "--seed", 0, "--length", 60),
        ("predict", "z"),
        ("visualize", "--cell", "0:1", "--quiet"),
    ],
)
def test_a_stream_that_cannot_show_every_character_is_no_failure(
    command: Command,
    byte_run: TrainedRun,
    arguments: tuple[object, ...],
    encoding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What a pipe on Windows is: cp1252 has neither the blocks of a picture nor most of the world's characters.
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    ran = command(arguments[0], byte_run.path, *arguments[1:])
    assert (ran.code, ran.err) == (0, "")
    assert len(stream.buffer.getvalue()) > 50  # type: ignore[attr-defined]


def test_a_run_may_be_read_while_it_trains(command: Command, lab: Path) -> None:
    with RunWriter(lab).lock():
        assert command("sample", "--length", 5).code == 0
        assert command("runs").code == 0


def test_a_closed_standard_output_is_one_plain_error(process: Callable[..., Any], tmp_path: Path) -> None:
    script = (
        "import os, subprocess, sys; os.close(1); sys.exit(subprocess.call([sys.executable, '-m', 'charrnn', 'runs']))"
    )
    ran = process("-c", script)
    assert ran.returncode == 1
    assert ran.stderr == b"error: cannot write the output: standard output is closed\n"


@pytest.mark.parametrize("arguments", [("train", "-", "--steps", "1"), ("evaluate", "--text", "-")])
def test_a_closed_standard_input_is_one_plain_error(process: Process, lab: Path, arguments: tuple[str, ...]) -> None:
    script = "import os, subprocess, sys; os.close(0); sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))"
    ran = process("-c", script, "-m", "charrnn", *arguments)
    assert ran.returncode == 3
    assert ran.stderr.startswith(b"error: standard input (-) is closed") and len(ran.stderr.splitlines()) == 1
