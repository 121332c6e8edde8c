"""`charrnn train` as a whole: what it prints, what it leaves on disk, and that what it learned is a torch.nn model."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL_RUN, Ran, TrainedRun
from safetensors.torch import load_file
from saved_runs import FILES
from synthetic import SyntheticCorpus, make_corpus
from test_cli_sample import Terminal
from torch import nn

import charrnn
from charrnn.cli.signals import Signals
from charrnn.cli.training_view import TrainingView, _look_inside
from charrnn.config import AUTO_FIELDS, FIELD_NAMES
from charrnn.errors import UsageError, named
from charrnn.lab.numbers import MAX_UNITS
from charrnn.settings import from_yaml
from charrnn.training.events import DoneEvent, StartEvent, TrainEvent, WarningEvent
from charrnn.training.trainer import Trainer

Command = Callable[..., Ran]
SMALL = tuple(part for name, value in SMALL_RUN.items() for part in ("--set", f"{name}={value}"))
TEXT = make_corpus(num_chars=3_000, seed=5).text
EVENT_KEYS = {
    "start": {"run", "num_parameters", "num_steps", "config"},
    "step": {"step", "seconds", "train_nats", "grad_norm", "learning_rate", "chars_per_second"},
    "evaluation": {"step", "seconds", "val_nats", "val_bpc", "num_chars"},
    "sample": {"step", "text"},
    "saved": {"step", "path"},
    "done": {"step", "seconds", "val_nats", "best_nats", "best_step", "run"},
}
"""As /CLI.md documents them: the keys that others may rely on."""


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def read_metrics(run: Path) -> list[dict[str, Any]]:
    return json_lines((run / "metrics.jsonl").read_text())


@pytest.fixture
def text_file(command: Command, tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def test_a_run_folder_holds_what_is_documented(command: Command, text_file: Path) -> None:
    ran = command("train", "text.txt", "--steps", 10, "--evaluate-every", 4, "--keep", 9, *SMALL)
    assert (ran.code, ran.out) == (0, "checkpoints/text-001\n")
    run = Path("checkpoints/text-001")
    steps = ["step-00000000", "step-00000004", "step-00000008", "step-00000010"]
    names = ["best", "config.yaml", "latest", "lock", "metrics.jsonl", "samples.txt", *steps, "vocab.json"]
    assert sorted(os.listdir(run)) == names
    assert (run / "latest").read_text() == "step-00000010\n"
    evaluations = {r["step"]: r["val_nats"] for r in read_metrics(run) if r["event"] == "evaluation"}
    assert list(evaluations) == [4, 8, 10]
    assert (run / "best").read_text() == f"step-{min(evaluations, key=lambda step: evaluations[step]):08d}\n"
    for step in steps:
        assert sorted(os.listdir(run / step)) == sorted(FILES)
        manifest = json.loads((run / step / "manifest.json").read_text())
        assert manifest["format"] == 2
        assert manifest["step"] == int(step.removeprefix("step-"))
        for name in set(FILES) - {"manifest.json"}:
            data = (run / step / name).read_bytes()
            assert manifest["files"][name] == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    state = json.loads((run / steps[-1] / "training.json").read_text())
    assert state["step"] == 10
    assert state["cursor"] == 10 * SMALL_RUN["bptt_length"]


def test_the_configuration_is_saved_fully_resolved(command: Command, text_file: Path) -> None:
    assert command("train", "text.txt", "--epochs", 0.1, *SMALL).code == 0
    config = from_yaml(Path("checkpoints/text-001/config.yaml").read_text(), "config.yaml")
    values = asdict(config)
    assert [name for name in AUTO_FIELDS if values[name] == "auto"] == []
    assert (config.corpus, config.cell, config.epochs) == (("text.txt",), "lstm", None)
    assert config.steps == round(0.1 * int(0.9 * len(TEXT)) / (4 * 16))


def make_torch_stack(path: Path, cell: type[nn.RNNBase]) -> Callable[[torch.Tensor], torch.Tensor]:
    """ids (T, B) to logits (T, B, V), of nothing but torch.nn and the saved tensors."""
    tensors = load_file(path)
    layers = []
    while (prefix := f"layers.{len(layers)}.") + "weight_ih_l0" in tensors:
        rows, input_size = tensors[prefix + "weight_ih_l0"].shape
        layer = cell(input_size, tensors[prefix + "weight_hh_l0"].shape[1])
        assert rows == layer.weight_ih_l0.shape[0]
        layer.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        layers.append(layer)
    embedding = nn.Embedding.from_pretrained(tensors["embedding.weight"])
    output = nn.Linear(*reversed(tensors["output.weight"].shape))
    output.load_state_dict({"weight": tensors["output.weight"], "bias": tensors["output.bias"]})
    assert len(tensors) == 3 + 4 * len(layers), "there is nothing else in the file"

    @torch.no_grad()
    def logits(ids: torch.Tensor) -> torch.Tensor:
        values = embedding(ids)
        for layer in layers:
            values, _ = layer(values)
        return output(values)

    return logits


@pytest.mark.trained
@pytest.mark.parametrize(("run", "cell"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_the_saved_weights_are_a_torch_model(run: str, cell: type[nn.RNNBase], request: Any) -> None:
    trained: TrainedRun = request.getfixturevalue(run)
    model = charrnn.load(trained.path)
    logits = make_torch_stack(trained.path / f"step-{model.step:08d}" / "model.safetensors", cell)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, len(model.vocab), (20, 3)))
    with torch.no_grad():
        expected, _ = model.network(ids, model.network.initial_state(3))
    # The same float32 operations, fused differently: a few units in the last place of logits around 10.
    torch.testing.assert_close(logits(ids), expected, atol=1e-5, rtol=1e-5)
    stepped, _ = model.stepper.read(ids[:, 0].numpy())
    np.testing.assert_allclose(stepped[0], logits(ids)[-1, 0].numpy(), atol=2e-5, rtol=1e-4)


def test_without_charrnn_the_saved_lstm_predicts_as_well_as_training_said(
    lstm: TrainedRun, corpus: SyntheticCorpus
) -> None:
    characters = json.loads((lstm.path / "vocab.json").read_text())["characters"]
    ids = torch.tensor([characters.index(character) for character in corpus.text])[:, None]
    best = (lstm.path / "best").read_text().strip()
    logits = make_torch_stack(lstm.path / best / "model.safetensors", nn.LSTM)(ids[:-1])
    num_train = int(0.9 * len(ids))
    loss = nn.functional.cross_entropy(logits[num_train - 1 :, 0], ids[num_train:, 0])
    reported = min(event.val_nats for event in lstm.events if event.event == "evaluation")
    assert loss.item() == pytest.approx(reported, abs=2e-4)  # lanes forget what lies more than 512 characters back


def test_json_events_come_in_order_with_their_documented_keys(command: Command, text_file: Path) -> None:
    ran = command("train", "text.txt", "--steps", 8, "--evaluate-every", 4, "--save-every", 3, "--json", *SMALL)
    events = json_lines(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert set(EVENT_KEYS) == {event["event"] for event in events}
    for event in events:
        assert event.keys() >= EVENT_KEYS[event["event"]]
    is_best = {e["step"] for e in events if e.get("is_best")}
    expected = [("start", None), ("saved", 0), ("sample", 0)]
    for step in range(1, 9):
        expected.append(("step", step))
        expected += [("evaluation", step)] * (step % 4 == 0)
        expected += [("sample", step)] * (step in (1, 2, 8))
        expected += [("saved", step)] * (step in is_best or step % 3 == 0 or step == 8)
    assert [(e["event"], e.get("step")) for e in events] == [*expected, ("done", 8)]
    start, done = events[0], events[-1]
    assert start["run"] == done["run"] == "checkpoints/text-001"
    assert (start["num_steps"], start["config"]["hidden_size"]) == (8, 12)
    assert list(start["config"]) == list(FIELD_NAMES)
    saved = load_file(Path(start["run"], "step-00000008", "model.safetensors"))
    assert start["num_parameters"] == sum(tensor.numel() for tensor in saved.values())
    evaluations = [e for e in events if e["event"] == "evaluation"]
    assert done["val_nats"] == evaluations[-1]["val_nats"]
    best = min(evaluations, key=lambda e: e["val_nats"])
    assert (done["best_nats"], done["best_step"]) == (best["val_nats"], best["step"])
    assert all(e["val_bpc"] == pytest.approx(e["val_nats"] / math.log(2)) for e in evaluations)
    assert all(Path(e["path"]).is_dir() for e in events if e["event"] == "saved" and e["step"] in (6, 8))
    times = [e["seconds"] for e in events if "seconds" in e]
    assert times == sorted(times)
    assert times[0] > 0
    assert read_metrics(Path(start["run"])) == [e for e in events if e["event"] in ("step", "evaluation")]


def test_stdout_is_the_run_and_stderr_tells_the_story(command: Command, text_file: Path) -> None:
    ran = command("train", "text.txt", "--steps", 6, "--evaluate-every", 2, *SMALL)
    run = Path("checkpoints/text-001")
    assert ran.out == f"{run}\n"
    assert "\x1b" not in ran.err and "\r" not in ran.err, "no cursor codes off a terminal"
    assert f"text.txt: {len(TEXT):,} characters" in ran.err
    parameters = sum(tensor.numel() for tensor in load_file(run / "step-00000006" / "model.safetensors").values())
    assert f"lstm 1×12, {parameters:,} parameters" in ran.err
    assert "6 steps of 4 batch rows" in ran.err
    lines = ran.err.splitlines()
    header = next(index for index, line in enumerate(lines) if line.split()[:1] == ["step"])
    evaluations = [r for r in read_metrics(run) if r["event"] == "evaluation"]
    rows = [line for line in lines[header + 1 :] if line[: len("     step")].strip().isdigit()]
    assert [int(row.split()[0]) for row in rows] == [2, 4, 6]
    for row, evaluation in zip(rows, evaluations, strict=True):
        assert f"{evaluation['val_nats']:.4f}" in row.split()
        assert f"{evaluation['val_bpc']:.3f}" in row.split()
        # Aligned: each column ends where its heading does.
        for heading, number in (("val", f"{evaluation['val_nats']:.4f}"), ("bpc", f"{evaluation['val_bpc']:.3f}")):
            assert row.index(number) + len(number) == lines[header].index(heading) + len(heading)
    assert f"Best validation loss {min(one['val_nats'] for one in evaluations):.4f} nats/character, at step" in ran.err
    assert "charrnn sample" in ran.err and "charrnn visualize" in ran.err


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        (30, "step val"),
        (60, "step epoch train val bpc time"),
    ],
)
def test_an_evaluation_is_one_line_however_narrow_the_terminal(
    command: Command, text_file: Path, columns: int, headings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = command("train", "text.txt", "--steps", 4, "--evaluate-every", 2, *SMALL)
    lines = ran.err.splitlines()
    header = next(index for index, line in enumerate(lines) if line.split()[:1] == ["step"])
    assert lines[header].split() == headings.split()
    evaluations = [r for r in read_metrics(Path("checkpoints/text-001")) if r["event"] == "evaluation"]
    rows = [line.removesuffix("  best") for line in lines[header + 1 :] if f"{line[:9].strip()}" in ("2", "4")]
    assert [len(row) for row in rows] == [len(lines[header])] * 2 == [min(len(lines[header]), columns - 6)] * 2
    for row, evaluation in zip(rows, evaluations, strict=True):
        assert f"{evaluation['val_nats']:.4f}" in row.split()


def shown_by_view(capsys: pytest.CaptureFixture[str], *events: Any) -> str:
    """What train prints of these events on stderr."""
    view = TrainingView(Signals(), show_as_json=False, quiet=False)
    assert view.show(event for event in events) == 0
    return capsys.readouterr().err


def done_event(**values: Any) -> DoneEvent:
    given = {"step": 3_200, "seconds": 1.0, "val_nats": 1.2775, "best_nats": 1.146, "best_step": 1_057}
    return DoneEvent(**(given | {"run": "checkpoints/a", "is_complete": True} | values))


def test_the_last_lines_name_the_step_that_commands_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown_by_view(capsys, done_event()).splitlines()[:2] == [
        "Done: 3,200 steps. Best validation loss 1.1460 nats/character, at step 1,057,",
        "which every command uses. The last loss is 1.2775.",
    ]
    last = done_event(val_nats=1.146, best_step=3_200)
    assert shown_by_view(capsys, last).splitlines()[0] == (
        "Done: 3,200 steps. Best validation loss 1.1460 nats/character, at step 3,200."
    )
    nothing_new = shown_by_view(capsys, done_event(val_nats=None)).splitlines()
    assert nothing_new[1] == "which every command uses."
    assert shown_by_view(capsys, done_event(val_nats=None, best_nats=None, best_step=0)).startswith(
        "Done: 3,200 steps.\n"
    )


def test_the_column_of_times_continues_after_a_resume(command: Command, text_file: Path) -> None:
    assert command("train", "text.txt", "--steps", 4, "--evaluate-every", 2, *SMALL).code == 0
    log = Path("checkpoints/text-001/metrics.jsonl")
    records = read_metrics(log.parent)
    # The first four steps took 1,000 seconds.
    log.write_text("".join(json.dumps(one | {"seconds": 250.0 * one["step"]}) + "\n" for one in records))
    ran = command("train", "--resume", "text-001", "--steps", 6)
    assert ran.code == 0
    (row,) = [line for line in ran.err.splitlines() if line.split()[:1] == ["6"]]
    minutes = int(re.search(r"(\d+):\d\d", row)[1])  # type: ignore[index]
    assert 16 <= minutes < 60


def test_a_warning_breaks_between_words_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "the text has a character" + " that is not in the vocabulary" * 5
    assert shown_by_view(capsys, WarningEvent(message=message)) == f"warning: {message}\n"
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    shown_by_view(capsys, WarningEvent(message=message))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert max(map(len, shown.splitlines())) <= 80 and shown.split() == f"warning: {message}".split()


def first_lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()[:3]]


@pytest.mark.parametrize(("num_steps", "milestones"), [(1, [0, 1]), (5, [0, 1, 2, 5]), (130, [0, 3, 9, 33, 130])])
def test_it_shows_what_it_writes_as_it_learns(
    command: Command, text_file: Path, num_steps: int, milestones: list[int]
) -> None:
    ran = command("train", "text.txt", "--steps", num_steps, "--json", *SMALL)
    samples = [event for event in json_lines(ran.out) if event["event"] == "sample"]
    assert [sample["step"] for sample in samples] == milestones
    assert len({sample["text"] for sample in samples}) == len(samples), "it writes something else each time"
    written = Path("checkpoints/text-001/samples.txt").read_text()
    assert written == "".join(f"--- step {s['step']} ---\n{s['text']}\n\n" for s in samples)
    # The sample at the end is what `charrnn sample` writes with the same seed and temperature.
    resampled = charrnn.load("text-001").sample(temperature=0.8, seed=0, length=len(samples[-1]["text"]))
    assert resampled.text == samples[-1]["text"]


def test_samples_are_shown_in_human_mode_too(command: Command, text_file: Path) -> None:
    ran = command("train", "text.txt", "--steps", 4, *SMALL)
    samples = Path("checkpoints/text-001/samples.txt").read_text().split("--- step ")[1:]
    assert len(samples) == 3
    for sample in samples:
        step, text = sample.split(" ---\n", 1)
        shown = ran.err.split(f"sample at step {step}:\n", 1)[1]
        assert first_lines(shown) == first_lines(text)


def test_a_budget_in_minutes_becomes_a_number_of_steps(command: Command, text_file: Path) -> None:
    ran = command("train", "text.txt", "--minutes", 0.02, "--json", *SMALL)
    start, *_, done = json_lines(ran.out)
    assert (start["config"]["minutes"], start["config"]["steps"]) == (None, start["num_steps"])
    assert done["is_complete"]
    assert done["step"] == start["num_steps"] >= 1


def test_show_config_says_where_each_value_came_from(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.yaml").write_text("hidden_size: 24\nseed: 3\nlearning_rate: 1e-3\nepochs: 2\n")
    monkeypatch.setenv("CHARRNN_SEED", "7")
    monkeypatch.setenv("CHARRNN_LEARNING_RATE", "2e-3")
    arguments = ("train", "nowhere.txt", "--recipe", "mine.yaml", "--layers", 2, "--set", "learning_rate=4e-3")
    ran = command(*arguments, "--show-config", "--json")
    settings = json.loads(ran.out)
    assert (ran.code, ran.err, list(settings)) == (0, "", list(FIELD_NAMES))
    expected = {
        "corpus": (["nowhere.txt"], "flag"),
        "num_layers": (2, "flag"),
        "learning_rate": (4e-3, "flag"),
        "seed": (7, "environment"),
        "hidden_size": (24, "mine.yaml"),
        "epochs": (2.0, "mine.yaml"),
        "cell": ("auto", "default"),
        "steps": (None, "default"),
    }
    for name, (value, origin) in expected.items():
        assert settings[name] == {"value": value, "from": origin}, name
    assert {s["from"] for name, s in settings.items() if name not in expected} == {"default"}
    table = command(*arguments, "--show-config").out
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.split()}
    assert rows["seed"] == ["7", "environment"]
    assert rows["hidden_size"] == ["24", "mine.yaml"]
    assert rows["learning_rate"] == ["0.004", "flag"]
    assert rows["beta2"] == ["0.99", "default"]
    assert set(FIELD_NAMES) <= set(rows)
    assert not Path("checkpoints").exists(), "it trains nothing"


def test_a_recipe_trains_as_its_settings_do(command: Command, text_file: Path) -> None:
    settings = {**SMALL_RUN, "cell": "gru", "steps": 3, "seed": 11}
    Path("mine.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    assert command("train", "text.txt", "--recipe", "mine.yaml").code == 0
    flags = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    assert command("train", "text.txt", *flags).code == 0
    first, second = (Path("checkpoints", name, "config.yaml").read_text() for name in ("text-001", "text-002"))
    assert first == second
    assert "cell: gru" in first
    assert weights("text-001") == weights("text-002")


def weights(run: str | Path) -> bytes:
    """The bytes of the last model saved in a run."""
    folder = Path("checkpoints") / run
    return (folder / (folder / "latest").read_text().strip() / "model.safetensors").read_bytes()


def test_a_flag_and_its_set_are_the_same(command: Command, text_file: Path) -> None:
    same = {"--cell": "rnn", "--layers": 2, "--hidden-size": 9, "--embedding-size": 5, "--dropout": 0.25, "--seed": 4}
    same |= {"--split": "80/10/10", "--evaluate-every": 2, "--save-every": 3, "--keep": 1, "--alphabet": "byte"}
    same |= {"--optimizer": "sgd"}
    fields = ("cell", "num_layers", "hidden_size", "embedding_size", "dropout", "seed")
    fields += ("split", "evaluate_every", "save_every", "keep", "alphabet", "optimizer")
    by_flag = command("train", "--show-config", "--json", *(part for pair in same.items() for part in pair))
    assignments = (f"{name}={value}" for name, value in zip(fields, same.values(), strict=True))
    by_set = command("train", "--show-config", "--json", *(part for a in assignments for part in ("--set", a)))
    assert (by_flag.code, by_flag.out) == (0, by_set.out)
    assert json.loads(by_flag.out)["split"] == {"value": [80.0, 10.0, 10.0], "from": "flag"}


def test_out_names_the_folder_and_without_it_runs_are_numbered(command: Command, text_file: Path) -> None:
    assert command("train", "text.txt", "--steps", 1, "--out", "a/b", *SMALL).out == "a/b\n"
    assert Path("a/b/latest").is_file()
    assert not Path("checkpoints").exists()
    for number in (1, 2):
        assert command("train", "text.txt", "--steps", 1, *SMALL).out == f"checkpoints/text-00{number}\n"


def test_the_commands_it_suggests_work_wherever_the_run_is(command: Command, text_file: Path) -> None:
    ran = command("train", "text.txt", "--steps", 1, "--out", "else/where", *SMALL)
    suggested = re.findall(r"(?m)^  charrnn (sample.*|evaluate.*)$", ran.err)
    assert len(suggested) == 2
    for line in suggested:
        assert command(*line.split()).code == 0, line


def test_the_command_that_resumes_works_wherever_the_run_is(
    command: Command, text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(TrainingView, "is_stop_asked", lambda view: True)
        ran = command("train", "text.txt", "--steps", 1, "--out", "else/where", *SMALL)
    (line,) = re.findall(r"(?m)^  charrnn (train --resume.*)$", ran.err)
    assert command(*line.split()).out == "else/where\n"


def test_an_error_removes_the_bar_before_its_message(
    command: Command, text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(trainer: Trainer, flags: object) -> None:
        raise UsageError("the weights are not finite")

    monkeypatch.setattr("charrnn.cli.progress.can_animate", lambda stream: True)
    monkeypatch.setattr(Trainer, "take_step", fail)
    ran = command("train", "text.txt", "--steps", 3, *SMALL)
    *drawn, message = ran.err.split("\r")
    assert ran.code == 2 and any("0/3" in bar for bar in drawn)
    assert message.startswith("error: the weights are not finite")


def learn(command: Command, *sources: str, stdin: bytes = b"", extra: Sequence[object] = ()) -> dict[str, Any]:
    """Train one step on the sources; return the start event and the corpus's digest."""
    ran = command("train", *sources, "--steps", 1, "--json", *SMALL, *extra, stdin=stdin)
    assert ran.code == 0, ran.err
    start: dict[str, Any] = json_lines(ran.out)[0]
    state = json.loads(Path(start["run"], "step-00000001", "training.json").read_text())
    return start | {"digest": state["corpus_digest"]}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_text_may_be_files_a_folder_or_a_pattern(command: Command, tmp_path: Path) -> None:
    half = TEXT.index("\n", len(TEXT) // 2) + 1
    (tmp_path / "novel").mkdir()
    (tmp_path / "novel" / "one.txt").write_bytes(TEXT[:half].encode())
    (tmp_path / "novel" / "two.txt").write_bytes(TEXT[half:].encode())
    (tmp_path / "novel" / "cover.jpg").write_bytes(b"\xff\xd8\0" * 9)
    folder = learn(command, "novel", "--order", "sorted")
    pattern = learn(command, "novel/*.txt", "--order", "sorted")
    files = learn(command, "novel/one.txt", "novel/two.txt")
    assert {folder["digest"], pattern["digest"], files["digest"]} == {sha256(TEXT)}
    assert {folder["num_chars"], pattern["num_chars"]} == {len(TEXT)}
    assert [Path(start["run"]).name for start in (folder, pattern)] == ["novel-001", "novel-002"]
    assert any("skipped 1 file" in note for note in folder["notes"])
    assert pattern["notes"] == []
    swapped = learn(command, "novel/two.txt", "novel/one.txt")
    assert swapped["digest"] == sha256(TEXT[half:] + TEXT[:half])


def test_the_text_may_be_compressed_or_come_from_a_pipe(command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress(TEXT.encode(), mtime=0))
    compressed = learn(command, "text.txt.gz")
    piped = learn(command, "-", stdin=TEXT.encode())
    assert compressed["digest"] == piped["digest"] == sha256(TEXT)
    assert (compressed["run"], piped["run"]) == ("checkpoints/text-001", "checkpoints/stdin-001")


@pytest.mark.parametrize(
    ("content", "options", "said", "num_distinct", "vocab_size"),
    [
        ("ab" * 9_999 + "xy", (), "20,000 characters, 4 different", 4, 3),
        ("ab" * 490 + "Жba語" * 5, ("--init-from", "LOOP"), "1,000 characters, 4 different", 4, 6),
    ],
    ids=["rare ones", "another alphabet"],
)
def test_the_different_characters_are_those_of_the_text(
    command: Command,
    tmp_path: Path,
    loop_run: Path,
    content: str,
    options: tuple[str, ...],
    said: str,
    num_distinct: int,
    vocab_size: int,
) -> None:
    (tmp_path / "ab.txt").write_text(content, encoding="utf-8")
    options = tuple(str(loop_run) if part == "LOOP" else part for part in options)
    small = SMALL if "--init-from" not in options else ("--set", "num_lanes=2", "--set", "bptt_length=8")
    ran = command("train", "ab.txt", "--steps", 1, *small, *options)
    assert ran.code == 0, ran.err
    assert f"ab.txt: {said}" in ran.err
    start = json.loads(command("train", "ab.txt", "--steps", 1, *small, *options, "--json").out.splitlines()[0])
    assert (start["num_distinct_chars"], start["vocab_size"]) == (num_distinct, vocab_size)


def test_notes_and_warnings_name_options_in_the_terminal_and_as_json(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rare = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    (tmp_path / "rare.txt").write_text(TEXT * 5 + rare, encoding="utf-8")
    note = "--alphabet byte learns every character of such a text"
    ran = command("train", "rare.txt", "--steps", 1, *SMALL)
    assert note in " ".join(ran.err.split())
    ran = command("train", "rare.txt", "--steps", 1, "--json", *SMALL)
    assert note in json_lines(ran.out)[0]["notes"]

    def events() -> Generator[TrainEvent, None, None]:
        yield WarningEvent(message=f"Resume it with {named('minutes', '1.5')}.")

    capsys.readouterr()
    TrainingView(Signals(), show_as_json=True, quiet=False).show(events())
    assert json_lines(capsys.readouterr().out) == [{"event": "warning", "message": "Resume it with --minutes 1.5."}]


def test_quiet_says_nothing_but_the_run(command: Command, text_file: Path) -> None:
    assert command("train", "text.txt", "--steps", 2, "-q", *SMALL) == Ran(0, "checkpoints/text-001\n", "")


def test_it_learns(lstm: TrainedRun, corpus: SyntheticCorpus) -> None:
    evaluations = [event.val_nats for event in lstm.events if event.event == "evaluation"]
    # The words of the corpus are drawn evenly from 21, so a model that spells them needs about log(21) / 5 nats.
    assert evaluations[-1] < 0.4 * corpus.unigram_nats()
    assert evaluations[-1] < 0.6 * evaluations[0]
    losses = [event.train_nats for event in lstm.events if event.event == "step"]
    assert losses[0] == pytest.approx(math.log(lstm.events[0].vocab_size), abs=0.5), "it begins by knowing nothing"
    assert sum(losses[-10:]) / 10 < 0.4 * corpus.unigram_nats()


def test_training_whose_reader_leaves_saves_and_stops(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(make_corpus(num_chars=3_000).text.encode())
    command = [sys.executable, "-m", "charrnn", "train", "text.txt", "--steps", "100000", "--json", *map(str, SMALL)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        for _ in range(8):
            process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=600) == 128 + 13
    run = tmp_path / "checkpoints" / "text-001"
    steps = [record["step"] for record in read_metrics(run)]
    assert (run / "latest").read_text() == f"step-{steps[-1]:08d}\n", "what was learned is saved"


@pytest.mark.parametrize(
    ("num_chars", "hidden_size", "command"),
    [
        (2_000, 8, "visualize"),
        (1_990, 8, "predict TEXT --numbers"),
        (1_990, MAX_UNITS + 1, "visualize --text FILE"),
    ],
)
def test_what_comes_next_is_a_command_that_works(num_chars: int, hidden_size: int, command: str) -> None:
    """Of a text too short to score cells, the numbers of a small network are suggested."""
    start = StartEvent(
        run="run",
        num_parameters=9,
        num_steps=1,
        first_step=0,
        config={"split": (0.8, 0.1, 0.1), "hidden_size": hidden_size},
        corpus="",
        num_chars=num_chars,
        num_train_chars=num_chars * 8 // 10,
        num_distinct_chars=4,
        vocab_size=4,
    )
    assert _look_inside("", start) == command
    assert _look_inside(" run", None) == "visualize run"
