"""Several processes train as one does: the same masks, gradients, weights and positions, whatever
their number; and their sessions.

The processes are threads of this one (`process_threads`); `faults/test_torchrun.py` starts real
ones. `V`: characters of the vocabulary.
"""

import itertools
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_built import small_config
from process_threads import in_processes
from synthetic import make_corpus

from charrnn.distributed.group import SINGLE
from charrnn.errors import DataError, NonFiniteError, UsageError
from charrnn.model.losses import stateful_scores
from charrnn.model.network import CharRNN
from charrnn.model.noise import Noise
from charrnn.text.batches import BatchRows
from charrnn.training import loop, measuring
from charrnn.training.several_processes import SomeRows
from charrnn.training.trainer import ALL_ROWS, Trainer

V = 9
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    """Compute on one thread, so that sums have the same order everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_trainer(group=SINGLE, **changes):
    config = small_config(**changes)
    ids = np.random.default_rng(1).integers(0, V, 300).astype(np.uint16)
    own_rows = ALL_ROWS if group is SINGLE else SomeRows(group)
    return Trainer(config, BatchRows(ids, config.batch_size), V, CPU, own_rows=own_rows)


def numbers(trainer):
    """Every number that a trainer changes, as a checkpoint contains it."""
    tensors, counters = trainer.snapshot()
    tensors |= {f"averaged {name}": value for name, value in trainer.model_tensors().items()}
    tensors["counters"] = np.array(list(counters.values()))
    return {name: torch.from_numpy(value) for name, value in tensors.items()}


def test_with_documents_every_process_draws_zoneout_of_its_own_and_the_same_masks_of_the_window():
    network = make_trainer(documents="lines", zoneout=0.3, weight_drop=0.2).network
    assert isinstance(network, CharRNN) and network.end_id is not None
    generators, drawn = [torch.Generator().manual_seed(3) for _ in range(2)], []
    for generator, rows, ids in zip(
        generators, (slice(0, 2), slice(2, 4)), (network.end_id, 5), strict=True
    ):
        noise = Noise(generator, 4, rows)  # only the rows of the first process have an END
        network(torch.tensor([[4, 4], [ids, 4], [4, 4]]), network.initial_state(2), noise)
        drawn.append(noise.for_one_step((2, 99), 0.5))
    assert torch.equal(*(generator.get_state() for generator in generators))
    assert not torch.equal(*drawn)


KINDS = {
    "lstm": {"zoneout": 0.2},
    "adamw": {"optimizer": "adamw", "batch_size": 6},
    "gru": {"cell_type": "gru", "weight_drop": 0.2, "initial_state": "learned"},
    "sgd": {"cell_type": "rnn", "optimizer": "sgd", "learning_rate": 0.1},
    "documents": {"documents": "lines", "weight_drop": 0.2},
    "ensemble": {"num_members": 2, "embedding_size": 4, "weight_drop": 0.2},
    "dilated": {"cell_type": "lstm", "depth": "dilated", "num_layers": 3, "zoneout": 0.3},
    "attention": {"cell_type": "gru", "depth": "attention", "num_layers": 2},
}
USUAL = ("lstm", "documents", "ensemble")
"""Kinds that every run of the tests trains, and `-m slow` the others."""


@pytest.mark.parametrize(
    "kind, size",
    [
        pytest.param(kind, size, marks=[] if kind in USUAL else [pytest.mark.slow])
        for kind, size in zip(KINDS, (3, 2, 2, 3, 2, 2, 3, 2), strict=True)
    ],
)
def test_several_processes_take_the_steps_of_one_and_hold_the_same_numbers_to_the_bit(kind, size):
    def train(group):
        trainer = make_trainer(group, **KINDS[kind])
        losses = [trainer.take_step().train_nats for _ in range(12)]
        return losses, numbers(trainer)

    expected_losses, expected = train(SINGLE)
    (losses, found), *others = in_processes(size, train)
    assert losses[0] == pytest.approx(expected_losses[0], abs=1e-6)
    for name, value in expected.items():
        assert {other[name].numpy().tobytes() for _, other in others} == {
            found[name].numpy().tobytes()
        }
        # Only the order of sums differs, which 12 steps amplify.
        torch.testing.assert_close(
            found[name], value, atol=3e-5, rtol=0, msg=lambda text, name=name: name + text
        )


def test_a_loss_that_is_not_finite_reaches_all_processes_at_the_same_step():
    def train(group):
        trainer = make_trainer(group, reset_probability=0.0)
        for _ in range(4):
            trainer.take_step()
        if group.rank == 1:  # Only its own loss is not finite.
            trainer.state.fill_(torch.nan)
        with pytest.raises(NonFiniteError, match="Step 5: loss nan"):
            trainer.take_step()
        return trainer.step

    assert in_processes(3, train) == [4] * 3


def run_config(text, **changes):
    sizes = {
        "num_layers": 1,
        "hidden_size": 8,
        "embedding_size": 4,
        "batch_size": 5,
        "bptt_length": 16,
    }
    training = {
        "dropout": 0.1,
        "steps": 12,
        "evaluate_every": 4,
        "save_every": 3,
        "device": "cpu",
        "threads": 1,
    }
    values = {"corpus": (str(text),), "input_dropout": "auto", "weight_average": 0.99, "seed": 1}
    return small_config(**{**sizes, **training, **values, **changes})


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "text.txt"
    path.write_text(make_corpus().text[:4000], encoding="utf-8")
    return path


def losses(run):
    """The logged losses of a run: (step, nats) by event."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = {"step": "train_nats", "evaluation": "val_nats"}
    return {
        event: [(r["step"], r[key]) for r in records if r["event"] == event]
        for event, key in names.items()
    }


def test_processes_that_read_other_texts_or_have_no_batch_row_end_before_they_train(text):
    other = text.with_name("other.txt")
    other.write_text(text.read_text() + "more", encoding="utf-8")

    def train(group):
        config = run_config(text if group.is_first else other)
        return list(loop.train(config, out=Path("run"), group=group))

    with pytest.raises(DataError, match=r"^process 1 of 2 reads another text than the first one"):
        in_processes(2, train)
    config = run_config(text, batch_size=2)
    with pytest.raises(UsageError, match=r"^3 processes cannot share 2 batch rows"):
        in_processes(3, lambda group: list(loop.train(config, out=Path("run"), group=group)))
    assert not Path("run").exists()


@pytest.mark.trained
def test_a_request_to_any_process_stops_and_saves_all_and_the_run_continues_in_other_numbers(text):
    config = run_config(text, zoneout=0.1)
    list(loop.train(config, out=Path("one"), group=SINGLE))

    def train(group):
        events = []

        def should_stop():  # Process 1 is asked to stop after step 6.
            return group.rank == 1 and any(
                event.event == "step" and event.step == 6 for event in events
            )

        events.extend(loop.train(config, out=Path("two"), should_stop=should_stop, group=group))
        return events

    first, second = in_processes(2, train)
    # Samples are the first process's; all else happens in both.
    assert [event.event for event in first if event.event != "sample"] == [
        event.event for event in second
    ]
    assert first[-1].step == 6 and not first[-1].is_complete
    assert first[-2].path.endswith("step-00000006")
    list(
        loop.resume(
            "two",
            {"steps": 12},
            should_stop=lambda: (Path("two") / "step-00000009").exists(),
            group=SINGLE,
        )
    )
    assert (Path("two") / "latest").read_text() == "step-00000009\n"
    in_processes(3, lambda group: list(loop.resume("two", group=group)))
    for step, size in ((9, None), (12, 3)):
        saved = json.loads((Path("two") / f"step-{step:08}" / "training.json").read_text())
        assert saved.get("num_processes") == size
    for event, logged in losses(Path("one")).items():
        found = losses(Path("two"))[event]
        assert [step for step, _ in found] == [step for step, _ in logged]
        # Only the order of sums differs.
        assert [nats for _, nats in found] == pytest.approx([nats for _, nats in logged], abs=1e-4)
    assert (Path("two") / "latest").read_text() == "step-00000012\n"


@pytest.mark.trained
def test_a_stop_interrupts_the_validation_of_the_first_process(text, monkeypatch):
    is_validating = threading.Event()

    def check(group):
        def should_stop():
            return group.is_first and is_validating.is_set()

        def watch(*args, **changes):
            is_validating.set()
            return stateful_scores(*args, **changes)

        monkeypatch.setattr("charrnn.training.session.stateful_scores", watch)
        return list(
            loop.train(run_config(text), out=Path("run"), should_stop=should_stop, group=group)
        )

    for events in in_processes(2, check):
        assert events[-1].step == 4 and not events[-1].is_complete
    assert (
        json.loads((Path("run") / "step-00000004" / "training.json").read_text())[
            "is_validation_due"
        ]
        is True
    )
    for events in in_processes(2, lambda group: list(loop.resume("run", group=group))):
        assert [event.step for event in events if event.event == "evaluation"] == [4, 8, 12]
        assert events[-1].is_complete


@pytest.mark.trained
def test_all_processes_take_the_new_plan_of_the_first_at_the_same_step(text, monkeypatch):
    """By a clock that the steps of the first process move; those of the other take no time."""
    now = 1000.0
    take_step = Trainer.take_step

    def take(trainer):
        nonlocal now
        if trainer.own_rows.group.is_first:
            now += 1.0
            if trainer.step >= 8:
                now += 1.0
        return take_step(trainer)

    monkeypatch.setattr(Trainer, "take_step", take)
    asked = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: now + 1e-6 * next(asked))
    monkeypatch.setattr(
        measuring, "time_trial_steps", lambda *_, **__: measuring.TrialSteps(1.0, 1)
    )
    config = run_config(text, steps=None, minutes=0.6)

    first, second = in_processes(
        2, lambda group: list(loop.train(config, out=Path("run"), group=group))
    )

    planned = [
        [(event.step, event.num_steps) for event in events if event.event == "replanned"]
        for events in (first, second)
    ]
    assert planned[0] == planned[1] != []
    assert first[-1].step == second[-1].step == planned[0][-1][1]
    assert now - 1000 == pytest.approx(36, abs=3), "two seconds are a step"
