"""What is decided before training: notes on the text and on settings that were changed to fit
it.

Tests `training.notes` and `training.run_text`, too.
"""

import time
from dataclasses import replace

import pytest
import torch

from charrnn.config.settings import Config
from charrnn.model.shapes import num_parameters
from charrnn.training import measuring, plan, recipe
from charrnn.training import notes as describing
from charrnn.training.measuring import Computing
from charrnn.training.minutes import TimeBudget
from charrnn.training.plan import Plan
from charrnn.training.recipe import CPU_RATE, choose_embedding_size
from charrnn.training.run_text import read_text

COMMON = (
    "the lamp by the river was lit\n" * 700
)  # 21,000 characters: one that occurs once or twice is unknown


def planned_run(config, text, computing):
    """The configuration of a new run."""
    return plan.plan_steps(plan.choose_model(config, text, computing), text, computing).config


def timed_plan(config):
    """The plan of a configuration whose sizes are given, with its budget in minutes."""
    return Plan(config=config, budget=TimeBudget(minutes=config.minutes))


SIZES = {
    "cell_type": "lstm",
    "num_layers": 1,
    "hidden_size": 128,
    "embedding_size": 64,
    "minutes": None,
}


def test_measuring_takes_a_share_of_the_budget_within_limits(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text(COMMON * 9, encoding="utf-8")
    config = Config(corpus=(str(tmp_path / "text.txt"),), **SIZES, batch_size=2, bptt_length=8)
    measured = []

    def measure(config, *, seconds, **_):
        measured.append(seconds)
        return 1.0, 1

    monkeypatch.setattr(measuring, "time_trial_steps", measure)
    text, computing = read_text(config), Computing(torch.device("cpu"))
    for minutes in (0.01, 1.0, 5.0, 30.0):
        plan.plan_steps(timed_plan(replace(config, minutes=minutes)), text, computing)
    assert measured == pytest.approx([0.25, 1.8, 2.5, 9.0])


def test_minutes_that_one_network_cannot_use_train_several_unless_a_size_is_given(
    tmp_path, monkeypatch
):
    (tmp_path / "text.txt").write_text(COMMON * 9, encoding="utf-8")
    config = Config(corpus=(str(tmp_path / "text.txt"),), minutes=3.0)
    text, computing = (
        read_text(config),
        Computing(torch.device("cpu"), start=time.perf_counter()),
    )
    # Its steps are measured as it can take them, of an irnn without dropped weights.
    irnn = replace(config, cell_type="irnn", hidden_size=4, minutes=0.002)
    assert planned_run(irnn, text, computing).weight_drop == 0
    monkeypatch.setattr(measuring, "time_trial_steps", lambda *_, **__: (0.01, 1))
    monkeypatch.setattr(plan, "assumed_rate", lambda *_, **__: CPU_RATE)
    asked = [
        ({}, (4, 1024)),
        ({"hidden_size": 64}, (1, 64)),
        ({"embedding_size": 16}, (1, 256)),
        ({"embedding_size": "one-hot"}, (4, 1024)),
        ({"init_from": "run"}, (1, 256)),
        ({"cell_type": "unitary"}, (1, 512)),
        ({"num_members": 2}, (2, 512)),
        ({"num_members": 1}, (1, 256)),
        ({"minutes": None, "steps": 10**5}, (1, 256)),
    ]
    for changes, expected in asked:
        planned = planned_run(replace(config, **changes), text, computing)
        assert (planned.num_members, planned.hidden_size) == expected, changes
    chosen = planned_run(config, text, computing)
    again = replace(
        chosen,
        steps=None,
        minutes=30.0,
        num_members="auto",
        hidden_size=256,
        embedding_size=64,
    )
    computing = Computing(computing.device, start=time.perf_counter())
    timed = plan.plan_steps(timed_plan(again), text, computing)
    assert timed.config.steps == pytest.approx(30 * 60 * 0.95 / 0.04, rel=0.01), (
        "a step of four takes four times as long"
    )
    beginning = "4 networks of 256 units are trained side by side"
    notes = describing.new_run_notes(config, Plan(config=chosen), text, initial=None)
    assert any(note.startswith(beginning) for note in notes)


@pytest.mark.parametrize(
    ("minutes", "may_end_early", "ends_early"),
    [(300.0, True, True), (300.0, False, False), (0.1, True, False)],
)
def test_minutes_that_would_make_the_model_worse_are_not_used(
    tmp_path, monkeypatch, minutes, may_end_early, ends_early
):
    (tmp_path / "text.txt").write_text(COMMON, encoding="utf-8")
    config = Config(corpus=(str(tmp_path / "text.txt"),), minutes=minutes, num_members=1)
    monkeypatch.setattr(measuring, "time_trial_steps", lambda *_, **__: (0.1, 1))
    computing = Computing(torch.device("cpu"), start=time.perf_counter())
    text = read_text(config)
    sized = plan.choose_model(config, text, computing)
    assert sized.budget is not None
    budget = replace(sized.budget, may_end_early=may_end_early)
    planned = plan.plan_steps(replace(sized, budget=budget), text, computing)
    most = recipe.most_useful_steps(planned.config, text.num_train)
    assert planned.ends_early is ends_early
    assert (planned.config.steps == most) is ends_early


def test_a_number_of_weights_chooses_the_width(tmp_path):
    (tmp_path / "text.txt").write_text(COMMON, encoding="utf-8")
    text = read_text(Config(corpus=(str(tmp_path / "text.txt"),)))
    fitted = plan.with_fitting_size(Config(parameters=20_000), text)
    embedded = replace(fitted, embedding_size=choose_embedding_size(fitted, fitted.hidden_size))
    assert fitted.parameters is None
    assert 18_000 < num_parameters(embedded, len(text.vocab)) <= 20_000
    assert plan.with_fitting_size(fitted, text) is fitted
