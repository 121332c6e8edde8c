"""A step whose kernels are captured: the bits of a plain step, and plain steps where that fails.

A tape imitates a CUDA graph: it records the operations of torch with their tensors, and computes
them again in the same memory. As in a graph, numbers of Python are those of the capture.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hand_built import small_config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from trainers import assert_equal, everything, save, take_steps

import charrnn
from charrnn.config.settings import Config
from charrnn.errors import NonFiniteError
from charrnn.text.batches import BatchRows
from charrnn.training import captured_trainer
from charrnn.training.captured_trainer import (
    WARM_UPS,
    CapturedTrainer,
    build_trainer,
    capture_notes,
    capture_obstacle,
)
from charrnn.training.computing import Computing
from charrnn.training.events import DoneEvent, WarningEvent
from charrnn.training.trainer import Trainer

V, B = 9, 7
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "bernoulli_", "equal")
"""Operations that wait for a device, or read numbers of the processor: none can be captured."""


def tensors_in(values):
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class Tape(TorchDispatchMode):
    """Records operations while it is entered. What they change in place is as before at its end."""

    def __init__(self):
        super().__init__()
        self.calls, self.changed = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function.overloadpacket.__name__ in WAITING:
            raise RuntimeError(f"{function} would wait")
        for argument, value in zip(function._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.changed += [(tensor, tensor.clone()) for tensor in tensors_in(value)]
        results = function(*args, **kwargs)
        self.calls.append((torch.is_grad_enabled(), function, args, kwargs, results))
        return results

    def __exit__(self, *exception):
        super().__exit__(*exception)
        with torch.no_grad():
            for tensor, before in reversed(self.changed):
                tensor.copy_(before)

    def replay(self):
        for grad_is_enabled, function, args, kwargs, results in self.calls:
            # Below autograd, as the operations were recorded; some look at whether it is enabled.
            with torch._C._AutoDispatchBelowAutograd(), torch.set_grad_enabled(grad_is_enabled):
                again = function(*args, **kwargs)
                for old, new in zip(tensors_in(results), tensors_in(again), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)


@pytest.fixture
def log(monkeypatch):
    """Let trainers on the CPU capture with a tape; returns what happened, in order."""
    happened = []

    @contextmanager
    def on_stream(stream):
        happened.append("warm-up")
        yield

    def capture_graph(function, stream):
        happened.append("capture")
        with Tape() as tape:
            result = function()

        def replay():
            happened.append("replay")
            tape.replay()

        return result, replay

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(captured_trainer, "on_stream", on_stream)
    monkeypatch.setattr(captured_trainer, "capture_graph", capture_graph)
    return happened


def make_trainer(captures, cell="lstm", **changes):
    ids = np.random.default_rng(1).integers(0, V, 300).astype(np.uint16)
    batches = BatchRows(ids, B)
    kind = CapturedTrainer if captures else Trainer
    return kind(small_config(cell=cell, **changes), batches, V, CPU)


CASES = [
    {},
    {"weight_drop": 0.3, "clip_norm": 0.01},
    {"zoneout": 0.2},
    {"initial_state": "learned", "sum_outputs": True},
    {"precision": "fp16"},
    {"optimizer": "adamw", "weight_average": 0.0},
    {"num_members": 2, "hidden_size": 8, "embedding_size": 4, "weight_drop": 0.2},
    {"depth": "attention"},
    {"depth": "grid"},
    {"cell": "gru", "optimizer": "rmsprop"},
    {"cell": "mlstm", "optimizer": "sgd"},
    {"cell": "mingru"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_captured_step_has_the_bits_of_a_plain_step(case, log):
    plain, captured = make_trainer(False, **case), make_trainer(True, **case)
    num_steps = WARM_UPS + 4
    assert take_steps(captured, num_steps) == take_steps(plain, num_steps)
    assert_equal(everything(captured), everything(plain))
    assert "replay" in log


def test_a_function_is_warmed_up_captured_and_replayed(log):
    trainer = make_trainer(True, optimizer="adamw")
    take_steps(trainer, WARM_UPS + 3)
    assert log == ["warm-up"] * WARM_UPS + ["capture"] + ["replay"] * 3
    assert trainer.num_warm_ups > WARM_UPS + 1, "no later step is slower"
    log.clear()
    take_steps(make_trainer(True), WARM_UPS + 2)
    # Muon's updates are captured on their own, because a step may be refused before them.
    assert log == ["warm-up"] * 2 * WARM_UPS + ["capture", "replay"] * 2 + ["replay"] * 2


@pytest.mark.parametrize("num_before", [2, WARM_UPS + 3])
def test_a_captured_run_resumes_in_the_same_bits(num_before, log):
    plain, captured = make_trainer(False), make_trainer(True)
    take_steps(captured, num_before)
    saved = save(captured)
    expected = take_steps(captured, WARM_UPS + 3)
    for trainer in (plain, make_trainer(True, seed=4), captured):
        trainer.config = plain.config
        trainer.restore(*saved)
        assert take_steps(trainer, WARM_UPS + 3) == expected
        assert_equal(everything(trainer), everything(captured))


@pytest.mark.parametrize("num_before", [2, WARM_UPS + 3])
def test_a_captured_step_that_is_not_finite_is_refused_before_anything_changed(num_before, log):
    plain, captured = make_trainer(False), make_trainer(True)
    results = [take_steps(trainer, num_before) for trainer in (plain, captured)]
    saved = save(captured)
    captured.state.vectors.fill_(torch.nan)
    before = everything(captured)
    with pytest.raises(NonFiniteError, match=f"^Step {num_before + 1}: loss nan"):
        captured.take_step()
    for name, value in everything(captured).items():
        torch.testing.assert_close(value, before[name], rtol=0.0, atol=0.0, equal_nan=True)
    captured.restore(*saved)
    assert results[0] + take_steps(plain, 4) == results[1] + take_steps(captured, 4)


def test_a_gradient_that_overflows_fp16_is_computed_again_in_the_same_buffers(log, monkeypatch):
    plain = make_trainer(False, precision="fp16")
    captured = make_trainer(True, precision="fp16")
    scales = {0: (32.0,), WARM_UPS + 1: (2.0**40, 32.0)}
    for trainer in (plain, captured):
        for step in range(WARM_UPS + 4):
            now = scales.get(step, (32.0,))
            monkeypatch.setattr("charrnn.training.trainer.loss_scales", lambda config, now=now: now)
            trainer.take_step()
    assert_equal(everything(captured), everything(plain))


@pytest.mark.parametrize("failing, num_tried", [("_compute_buffered", 1), ("_compute_updates", 2)])
def test_steps_are_plain_after_a_capture_that_failed(failing, num_tried, log, monkeypatch):
    plain, captured = make_trainer(False, weight_drop=0.3), make_trainer(True, weight_drop=0.3)
    capture_graph = captured_trainer.capture_graph
    tried = []

    def fail(function, stream):
        tried.append(function)
        if function.__name__ == failing:
            with Tape():
                function()
            raise RuntimeError("operation not\npermitted")
        return capture_graph(function, stream)

    monkeypatch.setattr(captured_trainer, "capture_graph", fail)
    num_steps = WARM_UPS + 4
    assert take_steps(captured, num_steps) == take_steps(plain, num_steps)
    assert_equal(everything(captured), everything(plain))
    assert len(tried) == num_tried, "nothing is captured after that"
    (warning,) = captured.capture.warnings
    assert warning.endswith("the capture failed (operation not permitted)")


def test_a_run_warns_once_that_its_steps_are_not_captured(log, monkeypatch, tmp_path):
    def fail(function, stream):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(captured_trainer, "capture_graph", fail)
    monkeypatch.setattr(
        "charrnn.training.loop.build_trainer",
        lambda config, batches, vocab_size, **_: CapturedTrainer(config, batches, vocab_size, CPU),
    )
    text = tmp_path / "text.txt"
    text.write_text("a line of text\n" * 100)
    changes = {"corpus": (str(text),), "steps": WARM_UPS + 3, "device": "cpu"}
    events = list(charrnn.train(small_config(**changes), out=tmp_path / "run"))
    assert isinstance(events[-1], DoneEvent)
    messages = [event.message for event in events if isinstance(event, WarningEvent)]
    assert len([message for message in messages if "no such kernel" in message]) == 1


def test_a_step_that_would_wait_for_the_device_is_not_captured(log, monkeypatch):
    trainer = make_trainer(True)
    forward = trainer.network.forward

    def wait(*args):
        logits, state = forward(*args)
        logits.sum().item()
        return logits, state

    monkeypatch.setattr(trainer.network, "forward", wait)
    take_steps(trainer, WARM_UPS + 2)
    assert log.count("replay") == 0 and "would wait" in trainer.capture.warnings[0]


@pytest.mark.parametrize(
    "changes, num_processes, reason",
    [
        ({"capture": "off"}, 1, "capture is off"),
        ({"documents": "lines"}, 1, "documents"),
        ({"omega": 0.5}, 1, "omega"),
        ({"learned_after": "ab"}, 1, "some characters"),
        ({}, 2, "several processes"),
    ],
)
def test_what_cannot_be_captured_is_said_in_the_header(changes, num_processes, reason):
    config = Config(**changes)
    assert reason in capture_obstacle(config, num_processes)
    group = type("Group", (), {"size": num_processes})()
    (note,) = capture_notes(config, Computing(CUDA, group))
    assert note.endswith(capture_obstacle(config, num_processes))
    assert capture_notes(config, Computing(CPU, group)) == []


@pytest.mark.parametrize(
    "device, changes, kind",
    [(CUDA, {}, CapturedTrainer), (CUDA, {"capture": "off"}, Trainer), (CPU, {}, Trainer)],
)
def test_a_trainer_captures_on_cuda_unless_something_is_in_the_way(
    device, changes, kind, log, monkeypatch
):
    for each in (CapturedTrainer, Trainer):
        monkeypatch.setattr(each, "__init__", lambda self, *args, **options: None)
    trainer = build_trainer(Config(**changes), None, V, Computing(device))
    assert type(trainer) is kind


def test_steps_on_cuda_are_captured_and_need_no_note():
    assert capture_obstacle(Config(), 1) is None
    assert capture_notes(Config(), Computing(CUDA)) == []
