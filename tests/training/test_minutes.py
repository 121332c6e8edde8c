"""A budget in minutes is planned again while a run trains, and a run that is killed and resumed
follows the same plans. The clock of these tests counts steps, so nothing depends on the machine."""

import json
import math
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import SMALL_RUN
from hypothesis import given
from hypothesis import strategies as st
from saved_runs import FILES
from synthetic import make_corpus

import charrnn
from charrnn.config.plan_record import PlanEntry
from charrnn.config.settings import threads_at
from charrnn.config.settings_file import from_yaml, merge_settings, read_yaml, to_yaml
from charrnn.errors import CheckpointError, UsageError
from charrnn.runs.logs import MetricsLog
from charrnn.runs.reader import RunReader
from charrnn.training import measuring, minutes, recipe, resuming
from charrnn.training.minutes import TimeBudget, plan_until, with_plan
from charrnn.training.optim import learning_rate_at
from charrnn.training.trainer import Trainer

SETTINGS = {**SMALL_RUN, "dropout": 0.3, "reset_probability": 0.4, "steps": None, "minutes": 1.0}
SETTINGS |= {"evaluate_every": 7, "save_every": 1000, "corpus": ("text.txt",)}
SLOW_FROM = 12
"""The step from which on steps take longer, after a tenth and before a third of the time."""


@pytest.fixture
def clock(monkeypatch, tmp_path):
    """Let steps take the seconds that a function of their number says, as they did when measured;
    nothing else takes time."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(make_corpus(num_chars=3_000, seed=6).text, encoding="utf-8")
    monkeypatch.setattr(recipe, "EVALUATION_SHARE", 1e-17)
    monkeypatch.setattr(recipe, "cost_of_validation", lambda *_, **__: 0.0)
    take_step = Trainer.take_step
    now = 1000.0

    def install(seconds_of, *, measured=1.0, threads=1):
        def take(self):
            nonlocal now
            now += seconds_of(self.step)
            return take_step(self)

        monkeypatch.setattr(Trainer, "take_step", take)
        monkeypatch.setattr(time, "perf_counter", lambda: now)
        trial = measuring.TrialSteps(measured, threads)
        monkeypatch.setattr(measuring, "time_trial_steps", lambda *_, **__: trial)

    install.now = lambda: now
    return install


def slower(step):
    return 1.0 if step < SLOW_FROM else 2.0


def faster(step):
    return 1.0 if step < SLOW_FROM else 0.5


def train(name, **options):
    config = charrnn.Config(**{**SETTINGS, **options.pop("changes", {})})
    return list(charrnn.train(config, out=Path(name), **options))


def stop_after(num_steps):
    """Yes, once `num_steps` steps were taken: it is asked before each step."""
    asked = iter(range(num_steps))
    return lambda: next(asked, None) is None


def entries_of(name):
    return RunReader(Path(name)).read_config().plan_entries


def weights_of(name):
    run = Path(name)
    folder = run / (run / "latest").read_text().strip()
    data = {file: (folder / file).read_bytes() for file in FILES if file.endswith("safetensors")}
    assert data
    return data


def kinds_of(events):
    return [event.event for event in events]


@pytest.mark.parametrize("seconds_of", [slower, faster])
def test_a_run_whose_steps_become_slower_or_faster_ends_when_its_minutes_do(clock, seconds_of):
    clock(seconds_of)
    begin = clock.now()
    events = train("run")
    # By this clock: a step takes 2 seconds of 60, and a plan is kept if it is right to 3 %.
    assert clock.now() - begin == pytest.approx(60, abs=3)
    steps = [event.step for event in events if event.event == "step"]
    assert steps == list(range(1, events[-1].step + 1))
    assert "evaluation" in kinds_of(events)[-4:], "the last step is validated"
    assert entries_of("run")[0] == (0, 60, 1)
    assert entries_of("run")[-1].num_steps == events[-1].step


def test_a_run_whose_steps_take_what_was_measured_keeps_its_plan(clock):
    clock(lambda step: 1.01)
    events = train("run")
    assert "replanned" not in kinds_of(events)
    assert RunReader(Path("run")).read_config().plan is None
    assert events[-1].step == 60


@pytest.mark.slow
def test_one_long_step_changes_no_plan(clock):
    clock(lambda step: 5.0 if step == 3 else 1.0, measured=1.0)
    events = train("run", changes={"minutes": 10.0})
    assert [event.num_steps for event in events if event.event == "replanned"] == []
    assert events[-1].step == 600


def test_a_run_that_has_taken_too_many_steps_ends_at_once_and_is_validated(clock):
    clock(lambda step: 1.0 if step != 10 else 100.0)
    *_, before, done = train("run")
    assert done.step == 11 and done.is_complete
    assert before.event == "warning" and "instead of 1" in before.message
    assert entries_of("run")[-1] == (11, 11, 1)
    assert done.best_nats is not None


def test_a_run_that_becomes_slow_at_its_end_says_that_it_was_late(clock):
    clock(lambda step: 1.0 if step < 45 else 3.0)
    events = train("run")
    assert "replanned" not in kinds_of(events)
    [warning] = [event.message for event in events if event.event == "warning"]
    assert warning.startswith("training took 1.5 minutes instead of 1: its last steps")


def test_a_new_plan_trains_no_longer_than_is_useful(clock, monkeypatch):
    monkeypatch.setattr(recipe, "most_useful_steps", lambda *_, **__: 70)
    clock(faster)
    events = train("run")
    assert events[-1].step == 70


def test_the_pace_is_that_of_the_later_half_of_the_steps_without_the_longest(tmp_path):
    config = charrnn.Config(batch_size=2, bptt_length=50, steps=9, threads=1)
    log = MetricsLog(tmp_path / "metrics.jsonl")
    # Steps of 9, 1, 2, 30, 4 seconds after step 3; the last validation took 7 seconds.
    for step, rate in ((3, 1.0), (4, 100 / 9), (5, 100.0), (6, 50.0), (7, 100 / 30), (8, 25.0)):
        log.append(
            {"event": "step", "step": step, "seconds": 10.0 * step, "chars_per_second": rate}
        )
    log.append({"event": "evaluation", "step": 8, "seconds": 87.0})
    assert minutes.pace_after(3, log=log, config=config) == (pytest.approx(3), pytest.approx(7))
    assert minutes.pace_after(8, log=log, config=config) is None, "no step was logged"


def test_a_log_that_is_missing_or_cannot_be_read_has_no_pace(tmp_path, clock, monkeypatch):
    config = charrnn.Config(batch_size=2, bptt_length=50, steps=9, threads=1)
    for path in (tmp_path / "none.jsonl", tmp_path):
        assert minutes.pace_after(0, log=MetricsLog(path), config=config) is None
    clock(slower)
    monkeypatch.setattr("charrnn.training.minutes.pace_after", lambda *_, **__: None)
    events = train("run")
    assert "replanned" not in kinds_of(events) and events[-1].is_complete


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(3, marks=pytest.mark.slow),
        SLOW_FROM + 5,
        SLOW_FROM + 6,
        pytest.param(30, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_before_at_or_after_a_planning_has_the_bits_of_one_that_was_not(clock, stop):
    clock(slower)
    train("whole")
    planned_at = [entry.step for entry in entries_of("whole")]

    # The step is saved when it is taken, or was saved before: a kill leaves the last save.
    train("killed", should_stop=stop_after(stop))
    list(charrnn.resume("killed"))

    assert planned_at[0] == 0 and len(planned_at) > 1
    assert entries_of("killed") == entries_of("whole")
    assert weights_of("killed") == weights_of("whole")


def test_a_plan_that_was_not_saved_is_made_again(clock, monkeypatch):
    clock(slower)
    train("whole")
    [planned] = [entry for entry in entries_of("whole") if entry.step > 0][:1]

    # Killed after the plan stands in the folder of the run and before the checkpoint has it.
    class Killed(BaseException):
        pass

    save = charrnn.training.session.TrainingSession.save

    def killed(self):
        if self.trainer.step == planned.step:
            raise Killed
        return save(self)

    with monkeypatch.context() as patch:
        patch.setattr("charrnn.training.session.TrainingSession.save", killed)
        with pytest.raises(Killed):
            train("killed")
    assert entries_of("killed")[1] == planned, "it is there already"
    list(charrnn.resume("killed"))

    assert entries_of("killed") == entries_of("whole")
    assert weights_of("killed") == weights_of("whole")


def test_the_recorded_plan_trains_the_same_weights_whatever_the_clock_says(clock):
    clock(slower)
    *_, done = train("run")
    values = read_yaml(Path(done.recipe).read_text(encoding="utf-8"), "recipe")

    clock(lambda step: 7.0 if step else 0.1)
    config = merge_settings(flags={}, file=values).config
    again = list(charrnn.train(config, out="again"))

    assert "replanned" not in kinds_of(again)
    assert weights_of("again") == weights_of("run")
    assert entries_of("again") == entries_of("run")


def test_new_minutes_of_a_resumed_run_are_planned_again_by_what_is_left_of_them(clock):
    clock(lambda step: 1.0)
    train("run")
    clock(lambda step: 2.0)
    begin = clock.now()
    events = list(charrnn.resume("run", {"minutes": 3.0}))
    # Two minutes are left, by a clock whose steps take two seconds.
    assert clock.now() - begin == pytest.approx(120, abs=4)
    assert "replanned" in kinds_of(events)


@pytest.mark.parametrize("changes", [{"steps": 40}, {"epochs": 3.0}])
def test_new_steps_or_epochs_replace_the_plan_and_are_never_planned_again(clock, changes):
    clock(slower)
    train("run", should_stop=stop_after(25))
    assert len(entries_of("run")) > 1
    events = list(charrnn.resume("run", changes))
    assert "replanned" not in kinds_of(events)
    assert RunReader(Path("run")).read_config().plan is None


@pytest.mark.slow
def test_other_threads_of_a_resumed_run_are_the_next_entry_of_its_plan(clock):
    clock(slower)
    *_, done = train("run", should_stop=stop_after(25))
    before = entries_of("run")
    list(charrnn.resume("run", {"threads": 2}))
    after = entries_of("run")
    assert after[: len(before)] == before
    assert after[len(before)] == (done.step, before[-1].num_steps, 2)


@pytest.mark.slow
def test_threads_are_chosen_again_with_the_steps(clock, monkeypatch):
    counts = []

    def seconds_of(step):
        counts.append(torch.get_num_threads())
        return 1.0 if step < SLOW_FROM else 4.0

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    clock(seconds_of)
    trials = iter([measuring.TrialSteps(1.0, 2), *[measuring.TrialSteps(2.0, 1)] * 9])
    monkeypatch.setattr(measuring, "time_trial_steps", lambda *_, **__: next(trials))
    try:
        train("run", changes={"threads": "auto"})
    finally:
        torch.set_num_threads(before)
    planned = entries_of("run")[1]
    assert [entry.threads for entry in entries_of("run")[:2]] == [2, 1]
    assert counts == [2] * planned.step + [1] * (len(counts) - planned.step)


@given(
    st.integers(20, 400),
    st.lists(st.tuples(st.integers(1, 60), st.floats(0.3, 3)), max_size=3),
    st.sampled_from(["cosine", "linear"]),
    st.floats(0.3, 1),
)
def test_the_learning_rate_has_no_jump_where_a_plan_begins(num_steps, changes, shape, share):
    config = charrnn.Config(
        steps=num_steps, threads=1, learning_rate=1.0, decay_shape=shape, decay_share=share
    )
    step = 0
    for later, factor in changes:
        step += later
        left = config.steps - step
        if left < 5:
            break
        new = PlanEntry(step, num_steps=step + max(5, round(left * factor)), threads=1)
        config = with_plan(config, new)
    rates = [learning_rate_at(step, config) for step in range(config.steps)]
    warmup = min(50, num_steps // 10)
    falling = rates[warmup:]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(falling))
    assert falling[0] == pytest.approx(1) and falling[-1] == pytest.approx(0.02)
    # A fall of at most five steps' shortest stretch: half a cosine falls by at most π/2 of its
    # mean, over `share` of what is left.
    assert max(earlier - later for earlier, later in pairwise(falling)) <= math.pi / (2 * share) / 4


def test_a_plan_ends_with_the_steps_and_the_threads_of_its_configuration():
    plan_of = {"plan": ["0:60:2", "20:40:1"], "steps": 40, "threads": 1}
    config = charrnn.Config(**plan_of)
    assert from_yaml(to_yaml(config), "config.yaml") == config
    assert [threads_at(step, config) for step in (0, 19, 20, 39)] == [2, 2, 1, 1]
    for changes, other in (({"steps": 50}, "steps"), ({"threads": 2}, "threads")):
        with pytest.raises(UsageError, match=f"^`plan` is 0:60:2/20:40:1; .*`{other}` is "):
            charrnn.Config(**{**plan_of, **changes})
    with pytest.raises(UsageError, match=r"^`plan` is .*; it ends with `steps=40`"):
        charrnn.Config(plan=plan_of["plan"], minutes=1)


@pytest.mark.parametrize(("threads", "expected"), [("auto", 1), (3, 3)])
def test_a_run_without_a_plan_is_trained_on_the_threads_that_it_was_given(threads, expected):
    config = charrnn.Config(steps=40, threads=threads)
    assert [threads_at(step, config) for step in (0, 39)] == [expected, expected]


@pytest.mark.parametrize(
    "entries",
    [[], ["1:60:1"], ["0:60:1", "0:50:1"], ["0:60:1", "30:29:1"], ["0:60:0"], ["0:60"], ["a:b:c"]],
)
def test_a_plan_is_refused_that_no_run_could_have(entries):
    with pytest.raises(UsageError, match=r"^`plan` is .*; it must be a list of STEP:STEPS:THREADS"):
        charrnn.Config(plan=entries, steps=60, threads=1)


def test_a_budget_of_a_later_source_replaces_the_plan_of_a_file():
    values = {"plan": ["0:60:2", "20:40:1"], "steps": "40", "threads": "1"}
    merged = merge_settings(flags={"steps": 100}, file=values)
    assert (merged.config.plan, merged.config.steps) == (None, 100)
    assert merged.origins["plan"] == "default"


def test_the_plans_until_a_step_are_those_made_before_it():
    config = charrnn.Config(plan=["0:60:2", "20:40:1", "30:50:2"], steps=50, threads=2)
    assert plan_until(config, 30) == config
    earlier = plan_until(config, 29)
    assert (earlier.plan, earlier.steps, earlier.threads) == (("0:60:2", "20:40:1"), 40, 1)
    first = plan_until(config, 19)
    assert (first.plan, first.steps, first.threads) == (None, 60, 2)


def test_a_budget_is_due_once_for_each_share_of_its_time():
    budget = TimeBudget(minutes=1.0)
    assert not budget.is_due(5.9, step=9) and budget.is_due(6.0, step=9)
    budget.note_planning(6.0, step=9)
    assert not budget.is_due(19.9, step=30) and budget.is_due(50.0, step=70)
    budget.note_planning(50.0, step=70)
    assert (budget.num_left, budget.planned_step) == (0, 70)
    assert not budget.is_due(1000.0, step=100)
    later = TimeBudget(minutes=2.0, seconds_before=60.0)
    assert not later.is_due(65.0, step=9) and later.is_due(66.0, step=9)


def test_a_budget_is_planned_again_by_a_few_steps_at_least():
    budget = TimeBudget(minutes=1.0, planned_step=20)
    assert not budget.is_due(30.0, step=24) and budget.is_due(30.0, step=25)


def test_a_damaged_budget_of_a_checkpoint_is_refused(clock):
    clock(slower)
    train("run", should_stop=stop_after(5))
    run = RunReader(Path("run"))
    name = run.checkpoints()[-1]
    state = json.loads((run.path / name / "training.json").read_text())
    assert state["budget"] == {
        "minutes": 1.0,
        "seconds_before": 0.0,
        "may_end_early": True,
        "chooses_threads": True,
        "num_plannings": 0,
        "planned_step": 0,
        "steps": 60,
    }
    for damaged in ({"minutes": None}, {"planned_step": "x"}):
        config = run.read_config()
        checkpoint = replace(
            run.load_checkpoint(name, with_training=True),
            state={**state, "budget": {**state["budget"], **damaged}},
        )
        resumed = resuming.Resumed(
            run=run, checkpoint=checkpoint, before=config, changes={}, config=config
        )
        with pytest.raises(CheckpointError, match="no usable budget"):
            resuming._budget_of(resumed, continued=config)
