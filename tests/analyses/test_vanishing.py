"""The recipe that compares a plain network, one with Ω and a gated one."""

import json
from pathlib import Path

import pytest
from conftest import as_json

import charrnn
from charrnn.analyses.vanishing import LAGS, NETWORKS

SHORT = ("train", "--recipe", "vanishing", "--steps", 2, "--hidden-size", 8)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_three_networks_are_trained_and_compared(command):
    found = json.loads(command(*SHORT, "--json", "--out", "three").out)
    assert [learner["network"] for learner in found] == [*NETWORKS]
    assert [[*map(int, learner["gradients"])] for learner in found] == [[*LAGS]] * 3
    runs = [charrnn.load(learner["run"]) for learner in found]
    assert [(run.config.cell, run.config.omega > 0) for run in runs] == [
        ("rnn", False),
        ("rnn", True),
        ("lstm", False),
    ]
    assert [run.val_nats for run in runs] == [learner["nats_per_char"] for learner in found]


def test_the_gradients_are_those_of_the_model(command):
    [plain, *_] = json.loads(command(*SHORT, "--json", "--out", "three").out)
    text = command("corpora", "make", "copy", "--count", 300, "--length", 20, "--seed", 1).out
    reach, _ = charrnn.load(plain["run"]).gradients_with([], text, max_lag=100)
    assert [reach.norms[0][lag - 1] for lag in LAGS] == [*plain["gradients"].values()]


def test_the_share_copied_is_that_of_the_most_likely_characters(command, monkeypatch):
    monkeypatch.setattr("charrnn.analyses.vanishing.NUM_STRINGS", 20)
    line = ("train", "--recipe", "vanishing", "--steps", 60, "--hidden-size", 16, "--json")
    [*_, gated] = as_json(command(*line))
    text = command("corpora", "make", "copy", "--count", 20, "--length", 20, "--seed", 1).out

    # From "=" on the next character is certain, the end of the line too.
    model = charrnn.load(gated["run"])
    is_right = []
    for index in range(len(text)):
        if "=" in text[: index + 1].rpartition("\n")[2]:
            [best] = model.predict(text[: index + 1], top=1)
            is_right.append(best.character == text[index + 1])
    assert gated["copied"] == pytest.approx(sum(is_right) / len(is_right))


def test_the_table_and_the_chart_name_the_networks(command):
    shown = command(*SHORT).out
    assert "gradient 50 back" in shown
    assert "● rnn   ▲ rnn-omega   ■ lstm" in shown
    # Runs like others, which every command finds.
    assert [run["name"] for run in as_json(command("runs", "--json"))] == [
        "vanishing-rnn-001",
        "vanishing-rnn-omega-001",
        "vanishing-lstm-001",
    ]


@pytest.mark.parametrize(
    "setting",
    [("--set", "zoneout=0.1"), ("--documents", "lines"), ("--cell", "gru"), ("--show-config",)],
)
def test_what_the_networks_do_not_share_is_refused_before_training(command, setting):
    refused = command(*SHORT, *setting)
    assert refused.code == 2
    assert "leave" in refused.err
    assert not Path("checkpoints").exists()


def test_the_environment_sets_what_the_command_line_does_not(command, monkeypatch):
    monkeypatch.setenv("CHARRNN_HIDDEN_SIZE", "4")
    line = ("train", "--recipe", "vanishing", "--steps", 2, "--json")
    [plain, *_] = as_json(command(*line))
    assert charrnn.load(plain["run"]).config.hidden_size == 4
