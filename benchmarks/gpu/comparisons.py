"""Compare what charrnn computes on a device with what it computes on a CPU, for gpu_check.py."""

import math
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.checking import (
    CELL_LIMIT,
    CPU,
    GRADIENT_LIMIT,
    IDS,
    LOSS_LIMIT,
    MIN_CHANGE,
    MOVED_LIMIT,
    SCORE_LIMIT,
    TEXT,
    VOCAB,
    WEIGHT_LIMIT,
    Results,
    Setup,
    digest,
    largest_share,
    make_trainer,
    name_of,
)
from charrnn.cells.scores import find_cells
from charrnn.cells.trace import trace_text
from charrnn.config.architectures import (
    CELL_DESCRIPTIONS,
    DEPTH_DESCRIPTIONS,
    OPTIMIZER_DESCRIPTIONS,
)
from charrnn.config.settings import Config
from charrnn.detectors.registry import get_detectors
from charrnn.model.device import exact_arithmetic
from charrnn.model.losses import stateful_scores, windowed_scores
from charrnn.model.network import CharRNN
from charrnn.text.vocab import encode_text
from charrnn.training.events import DoneEvent
from charrnn.training.loop import resume, train
from charrnn.training.trainer import Trainer


def check_steps(setup: Setup, results: Results) -> None:
    """Take one step on both devices with every cell, depth and kind of noise, and compare loss,
    gradient, weights."""
    size = setup.size(128, 32, 12)
    cases: list[dict[str, Any]] = [{"cell_type": cell} for cell in CELL_DESCRIPTIONS]
    cases += [
        {"depth": depth, "num_layers": 3} for depth in DEPTH_DESCRIPTIONS if depth != "stacked"
    ]
    cases += [{"weight_drop": 0.3}, {"zoneout": 0.1}, {"initial_state": "learned"}]
    cases += [{"cell_type": "gru", "sum_outputs": True}, {"documents": "lines"}]
    losses, shares = [], []
    for case in cases:
        # Plain gradient descent: Muon and AdamW take a step of the same size along the smallest
        # gradient.
        options = {
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "hidden_size": size,
            "bptt_length": setup.size(48, 24, 8),
        }
        trainers = [make_trainer(device, **options, **case) for device in (setup.device, CPU)]
        before = [weight.detach().clone() for weight in trainers[1].network.parameters()]
        computed = trainers[0].take_step()
        expected = trainers[1].take_step()
        weights = [list(trainer.network.parameters()) for trainer in trainers]
        gradients = [(weight.grad, of_cpu.grad) for weight, of_cpu in zip(*weights, strict=True)]
        changes = changes_of(trainers, before)
        largest = max(
            float(weight.grad.abs().max()) for weight in weights[1] if weight.grad is not None
        )
        losses.append((abs(computed.train_nats - expected.train_nats), name_of(case)))
        shares.append((largest_share(changes, MIN_CHANGE), name_of(case)))
        results.check(
            f"step: gradient, {name_of(case)}",
            largest_share(gradients, largest / 100),
            GRADIENT_LIMIT,
        )
    results.check("step: loss, the worst of all", *max(losses)[:1], LOSS_LIMIT, max(losses)[1])
    results.check(
        "step: weights after it, the worst of all", *max(shares)[:1], WEIGHT_LIMIT, max(shares)[1]
    )


def check_optimizers(setup: Setup, results: Results) -> None:
    """Take three steps of each optimizer along the same gradients."""
    for name in OPTIMIZER_DESCRIPTIONS:
        trainers = [make_trainer(device, optimizer=name) for device in (setup.device, CPU)]
        before = [weight.detach().clone() for weight in trainers[1].network.parameters()]
        for number in (1, 2, 3):
            generator = torch.Generator().manual_seed(number)
            for weights in zip(
                *(trainer.network.parameters() for trainer in trainers), strict=True
            ):
                gradient = torch.randn(weights[0].shape, generator=generator)
                for weight in weights:
                    weight.grad = gradient.to(weight.device)
            for trainer in trainers:
                with exact_arithmetic(trainer.device):
                    for optimizer in trainer.optimizers:
                        optimizer.step(1e-3, number)
        changes = changes_of(trainers, before)
        results.check(f"optimizer: {name}", largest_share(changes, MIN_CHANGE), WEIGHT_LIMIT)


def changes_of(trainers: list[Trainer], before: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return how much each weight has changed, on the device and on the CPU."""
    weights = [trainer.network.parameters() for trainer in trainers]
    changes = []
    for weight, of_cpu, old in zip(*weights, before, strict=True):
        changes.append((weight.detach().cpu() - old, of_cpu.detach() - old))
    return changes


def check_resume(setup: Setup, results: Results) -> None:
    """Compare the digest of many steps with that of half of them, saved, restored and continued."""
    half = setup.size(15, 5, 2)
    size = {
        "hidden_size": setup.size(256, 64, 16),
        "batch_size": setup.size(64, 16, 4),
        "bptt_length": setup.size(64, 32, 8),
    }
    cases: list[dict[str, Any]] = [{"precision": precision} for precision in setup.precisions()]
    cases += [{"cell_type": cell} for cell in ("gru", "irnn", "mlstm", "unitary")]
    cases += [{"depth": "grid"}, {"documents": "lines"}]
    for case in cases:
        make = partial(make_trainer, setup.device, **size, **case)
        whole, first, second = make(), make(), make()
        for _ in range(2 * half):
            whole.take_step()
        for _ in range(half):
            first.take_step()
        tensors, counters = first.snapshot()
        second.restore(first.model_tensors(), tensors, counters)
        for _ in range(half):
            second.take_step()
        resumed, uninterrupted = digest(second), digest(whole)
        results.check(
            f"exact resume: {name_of(case)}",
            float(resumed != uninterrupted),
            0,
            f"{resumed[:12]} and {uninterrupted[:12]}",
        )


def check_moves(setup: Setup, results: Results) -> None:
    """Train a run on the CPU, then on the device, then on the CPU, and compare it with one that
    stayed on the CPU."""
    part = setup.size(40, 20, 6)
    config = Config(
        cell_type="lstm",
        hidden_size=setup.size(64, 32, 8),
        num_layers=2,
        batch_size=8,
        bptt_length=32,
        steps=3 * part,
        precision="fp32",
        device="cpu",
        threads=1,
        dropout=0.1,
    )
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text(TEXT[: setup.size(40_000, 20_000, 6_000)], encoding="utf-8")
        config = replace(config, corpus=(str(text),))
        moved, stayed = Path(folder) / "moved", Path(folder) / "stayed"
        losses = []
        for run, devices in ((moved, ("cpu", setup.device.type, "cpu")), (stayed, ("cpu",))):
            # Stopped after a third, so that the learning rates are those of a run that was not
            # interrupted.
            for number, device in enumerate(devices, 1):
                num_steps = part * number if len(devices) > 1 else 3 * part
                stop = StopAfter(num_steps)
                if number == 1:
                    events = train(replace(config, device=device), out=run, should_stop=stop)
                else:
                    events = resume(run, {"device": device}, should_stop=stop)
                for event in events:
                    stop.see(event)
            assert (
                isinstance(event, DoneEvent)
                and event.step == 3 * part
                and event.val_nats is not None
            ), event
            losses.append(event.val_nats)
    note = f"{losses[0]:.5f} and {losses[1]:.5f} nats"
    results.check(
        "CPU, device, CPU: validation loss", abs(losses[0] - losses[1]), MOVED_LIMIT, note
    )


class StopAfter:
    """Asks training to stop after a number of steps."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps, self._step = num_steps, 0

    def see(self, event: Any) -> None:
        self._step = max(self._step, getattr(event, "step", 0))

    def __call__(self) -> bool:
        return self._step >= self._num_steps


def check_precisions(setup: Setup, results: Results) -> None:
    """Train in every precision: all numbers stay finite, and the loss falls as in fp32."""
    num_steps = setup.size(200, 60, 8)
    size = {"hidden_size": setup.size(256, 64, 16), "bptt_length": setup.size(64, 32, 8)}
    for cell in ("lstm", "gru", "mlstm"):
        finals: dict[str, float] = {}
        for precision in setup.precisions():
            trainer = make_trainer(
                setup.device, cell_type=cell, precision=precision, steps=num_steps, **size
            )
            losses = [trainer.take_step().train_nats for _ in range(num_steps)]
            finals[precision] = float(np.mean(losses[-5:]))
            tensors = {**trainer.model_tensors(), **trainer.snapshot()[0]}
            num_wrong = sum(int((~np.isfinite(tensor)).sum()) for tensor in tensors.values())
            name = f"{precision}, {cell}, {num_steps} steps"
            results.check(
                f"numbers that are not finite: {name}",
                num_wrong,
                0,
                f"{losses[0]:.3f} to {losses[-1]:.3f}",
            )
            if precision != "fp32":
                results.check(
                    f"loss above that of fp32: {name}", finals[precision] - finals["fp32"], 0.1
                )
        del trainer


def trained_network(setup: Setup) -> CharRNN:
    """Return a network on the CPU that has learned a little of the text."""
    size = {"hidden_size": setup.size(128, 48, 16), "batch_size": setup.size(32, 16, 8)}
    trainer = make_trainer(
        setup.device, **size, dropout=0.0, input_dropout=0.0, weight_average=0.0, steps=200
    )
    for _ in range(setup.size(150, 40, 8)):
        trainer.take_step()
    return trainer.network.to(CPU)


def check_evaluation(setup: Setup, results: Results) -> None:
    """Compare both losses, all cell values and the best cells of a text between the devices."""
    network = trained_network(setup)
    num_chars = setup.size(60_000, 20_000, 6_000)
    text = encode_text(VOCAB, TEXT[:num_chars])
    detectors = get_detectors(["quote", "line-position", "indentation", "digit"])
    measured = []
    for device in (setup.device, CPU):
        network = network.to(device)
        with exact_arithmetic(device):
            stateful = stateful_scores(network, IDS[:num_chars], precision="fp32")
            assert stateful is not None, "nothing stops it"
            windowed = windowed_scores(network, IDS[:num_chars], precision="fp32")
            losses = (stateful.losses.mean, windowed.losses.mean)
            trace = trace_text(network, text)
        measured.append((losses, trace, find_cells(trace, detectors)))
    (losses, trace, cells), (expected_losses, expected_trace, expected_cells) = measured
    protocols = ("stateful", "windowed-256")
    for protocol, loss, expected in zip(protocols, losses, expected_losses, strict=True):
        results.check(
            f"evaluate: {protocol} loss",
            abs(loss - expected),
            LOSS_LIMIT,
            f"{loss:.6f} and {expected:.6f} nats",
        )
    difference = np.abs(trace.cells - expected_trace.cells)
    results.check(
        "visualize: largest difference of a cell value", float(difference.max()), CELL_LIMIT
    )
    results.check("visualize: mean difference of cell values", float(difference.mean()), LOSS_LIMIT)
    logprobs = np.abs(trace.logprobs - expected_trace.logprobs)
    results.check(
        "visualize: mean difference of log-probabilities", float(np.nanmean(logprobs)), LOSS_LIMIT
    )
    strengths = [
        {score.detector: score.strength for score in findings.scores}
        for findings in (cells, expected_cells)
    ]
    for name, strength in strengths[1].items():
        figure = abs(strengths[0].get(name, math.nan) - strength)
        results.check(f"visualize: strength of the best cell, {name}", figure, SCORE_LIMIT)
