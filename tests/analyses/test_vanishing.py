"""The recipe that compares a plain network, one with Ω and a gated one."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import as_json
from encoded_texts import as_text

import charrnn
from charrnn.analyses.gradients import measure_reach
from charrnn.analyses.vanishing import LAGS, NETWORKS, marks_of, recall_text
from charrnn.runs.logs import MetricsLog

SHORT = "train --recipe vanishing --steps 2 --hidden-size 8 --json"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def few_strings(monkeypatch):
    """A small text, and few strings on which the networks are tested."""
    monkeypatch.setattr("charrnn.analyses.vanishing.NUM_TRAINING_STRINGS", 400)
    monkeypatch.setattr("charrnn.analyses.vanishing.NUM_STRINGS", 12)


def test_three_networks_are_trained_and_compared(command, few_strings):
    found = json.loads(command(f"{SHORT} --out three").out)
    assert [learner["network"] for learner in found] == [*NETWORKS]
    for measured in ("recalled", "untrained", "trained"):
        assert [[*map(int, learner[measured])] for learner in found] == [[*LAGS]] * 3
    configs = [charrnn.load(learner["run"]).config for learner in found]
    assert [(config.cell_type, config.omega > 0) for config in configs] == [
        ("rnn", False),
        ("rnn", True),
        ("lstm", False),
    ]
    assert {config.initial_weights for config in configs} == {"uniform"}
    for learner in found:
        log = MetricsLog(Path(learner["run"]) / "metrics.jsonl").read()
        assert learner["largest_norm"] == max(one.get("grad_norm", 0) for one in log)


@pytest.mark.slow
def test_the_gradients_are_those_of_the_letters_asked_for(command, few_strings):
    [plain, *_] = json.loads(command(f"{SHORT} --out three").out)
    model = charrnn.load(plain["run"])
    text = model.encode(recall_text(100))

    # Each of them alone, but for the first, from the same text before it.
    marks = [place for place, id in enumerate(text.ids) if id == text.ids[101]][1:]
    norms = [
        measure_reach(model.network, as_text(text.ids[: mark + 2], mark), max_lag=100).norms[0]
        for mark in marks
    ]
    expected = np.mean(norms, axis=0)
    assert len(marks) == 11
    assert [plain["trained"][str(lag)] for lag in LAGS] == pytest.approx(
        [expected[lag - 1] for lag in LAGS], rel=1e-6
    )


@pytest.mark.slow
def test_the_untrained_network_is_that_with_which_the_run_began(command, few_strings):
    [plain, *_] = json.loads(command(f"{SHORT} --out three").out)
    begun = charrnn.load(plain["run"], step=0)
    text = begun.encode(recall_text(100))
    reach = measure_reach(begun.network, text, max_lag=100, positions=marks_of(text))
    assert [plain["untrained"][str(lag)] for lag in LAGS] == [
        reach.norms[0][lag - 1] for lag in LAGS
    ]


@pytest.mark.slow
def test_the_share_recalled_is_that_of_the_most_likely_letters(command, few_strings):
    [plain, *_] = as_json(command(SHORT))
    text = recall_text(20)
    assert text.count(".") == 12 * 19

    model = charrnn.load(plain["run"])
    is_right = []
    for index, character in enumerate(text):
        if character == "?" and index > 22:
            [best] = model.predict(text[: index + 1], top=1)
            is_right.append(best.character == text[index + 1])
    assert plain["recalled"]["20"] == pytest.approx(sum(is_right) / len(is_right))


@pytest.mark.slow
@pytest.mark.trained
def test_the_gated_network_recalls_what_the_gradient_of_the_plain_one_does_not_reach(command):
    line = "train --recipe vanishing --steps 120 --set learning_rate=0.005"
    [plain, regular, gated] = as_json(command(line, "--json"))
    # Four letters: a fourth is right by chance.
    assert gated["recalled"]["50"] > 0.9
    assert plain["recalled"]["50"] < 0.6
    assert plain["untrained"]["50"] < 1e-8
    assert plain["trained"]["50"] < 1e-12
    assert plain["trained"]["50"] < regular["trained"]["50"]
    assert gated["trained"]["50"] > 1e-8
