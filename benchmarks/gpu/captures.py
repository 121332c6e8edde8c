"""Compare captured steps with plain steps on a GPU: losses, gradients, resumed runs; for gpu_check.py."""

import math
import operator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.basics import trainer_losses
from benchmarks.gpu.checking import (
    CPU,
    Results,
    Setup,
    digest,
    largest_share,
    make_trainer,
    name_of,
)
from charrnn.errors import NonFiniteError
from charrnn.training.captured_trainer import WARM_UPS, CapturedTrainer
from charrnn.training.trainer import Trainer

CAPTURED_GRADIENT_LIMIT = 1e-5
"""Largest difference of a captured gradient from the CPU's, as a share of the largest entry of its
weight. The first run on an H100 had 6e-6 without a graph."""
CASES: tuple[dict[str, Any], ...] = (
    {"weight_drop": 0.2},
    {"cell": "gru"},
    {"cell": "mlstm"},
    {"cell": "mingru"},
    {"cell": "unitary"},
    {"zoneout": 0.1, "bptt_length": 16},
    {"depth": "grid"},
    {"depth": "attention"},
    {"num_members": 2, "weight_drop": 0.2},
    {"initial_state": "learned"},
    {"optimizer": "adamw"},
    {"optimizer": "rmsprop"},
    {"optimizer": "sgd"},
)
"""What is captured: all that changes which kernels a step launches."""


def check_captures(setup: Setup, results: Results) -> None:
    """Compare captured steps with plain steps in every precision and with every kind of kernel."""
    for precision in setup.precisions():
        compare_losses(setup, results, {"precision": precision}, setup.size(200, 30, 8))
    for case in CASES:
        compare_losses(setup, results, case, setup.size(60, 20, 8))
    check_gradients(setup, results)
    check_resumed(setup, results)
    check_refused(setup, results)


def compare_losses(setup: Setup, results: Results, case: dict[str, Any], num_steps: int) -> None:
    """Compare the losses of captured steps with those of plain steps: in the same bits, or within
    the spread of two seeds."""
    results.phase(f"captured: {name_of(case)}")
    size = {
        "hidden_size": setup.size(256, 32, 16),
        "bptt_length": setup.size(48, 24, 8),
        "steps": num_steps,
    }
    make = partial(make_trainer, setup.device, **{**size, **case})
    captured = make()
    losses = {
        "captured": trainer_losses(captured, num_steps),
        "plain": trainer_losses(make(capture="off"), num_steps),
    }
    name = f"captured, {name_of(case)}"
    if isinstance(captured, CapturedTrainer):
        warning = " ".join(captured.capture.warnings)
        results.check(f"{name}: captures that failed", len(captured.capture.warnings), 0, warning)
    differ = sum(map(operator.ne, *losses.values()))
    results.measure(f"{name}: losses of {num_steps} that differ", differ)
    if differ == 0:
        return
    other_seed = trainer_losses(make(capture="off", seed=1), num_steps)
    ends = {kind: float(np.mean(values[-20:])) for kind, values in losses.items()}
    spread = abs(float(np.mean(other_seed[-20:])) - ends["plain"])
    apart = abs(ends["captured"] - ends["plain"])
    results.check(f"{name}: nats apart at the end, limit: two seeds", apart, spread)


def check_gradients(setup: Setup, results: Results) -> None:
    """Compare the gradient of a captured step with that of a CPU from the same weights and
    moments."""
    for cell in ("lstm", "gru", "mlstm"):
        size = {
            "hidden_size": setup.size(256, 32, 12),
            "bptt_length": setup.size(48, 24, 8),
            "weight_drop": 0.2,
            "cell": cell,
        }
        captured, expected = make_trainer(setup.device, **size), make_trainer(CPU, **size)
        trainer_losses(captured, WARM_UPS + 2)
        tensors, counters = captured.snapshot()
        expected.restore(captured.model_tensors(), tensors, counters)
        for trainer in (captured, expected):
            trainer.take_step()
        weights = [list(trainer.network.parameters()) for trainer in (captured, expected)]
        pairs = [(weight.grad, of_cpu.grad) for weight, of_cpu in zip(*weights, strict=True)]
        largest = max(float(gradient.abs().max()) for _, gradient in pairs)
        share = largest_share(pairs, largest / 100)
        results.check(f"captured gradient, {cell}", share, CAPTURED_GRADIENT_LIMIT)


def check_resumed(setup: Setup, results: Results) -> None:
    """Compare a captured run with one that was saved and restored before and after its capture."""
    for precision in setup.precisions():
        for num_before in (2, WARM_UPS + 3):
            make = partial(
                make_trainer,
                setup.device,
                precision=precision,
                weight_drop=0.2,
                bptt_length=setup.size(48, 24, 8),
            )
            whole, first, second = make(), make(), make()
            num_after = WARM_UPS + 4
            trainer_losses(whole, num_before + num_after)
            trainer_losses(first, num_before)
            tensors, counters = first.snapshot()
            second.restore(first.model_tensors(), tensors, counters)
            trainer_losses(second, num_after)
            name = f"captured, {precision}: resumed after {num_before} steps, other bits"
            results.check(name, float(digest(second) != digest(whole)), 0)


def check_refused(setup: Setup, results: Results) -> None:
    """Check that a captured step that is not finite changes nothing, and that training goes on."""
    trainer = make_trainer(setup.device)
    trainer_losses(trainer, WARM_UPS + 3)
    tensors, counters = trainer.snapshot()
    model = trainer.model_tensors()
    trainer.state.vectors.fill_(math.nan)
    before = digest(trainer)
    try:
        trainer.take_step()
        results.check("captured, not finite: not refused", 1, 0)
    except NonFiniteError:
        results.check("captured, not finite: changed", float(digest(trainer) != before), 0)
    trainer.restore(model, tensors, counters)
    results.check(
        "captured: training goes on after that",
        float(not math.isfinite(trainer.take_step().train_nats)),
        0,
    )


def count_launches(trainer: Trainer) -> tuple[float, float]:
    """Return how many kernels and graphs the processor launches in a step, and the milliseconds in
    which the GPU computes."""
    num_steps = 5
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        trainer_losses(trainer, num_steps)
        torch.cuda.synchronize()
    events = profile.key_averages()
    launches = sum(event.count for event in events if "Launch" in event.key)
    busy = sum(event.self_device_time_total for event in events) / 1000
    return launches / num_steps, busy / num_steps
