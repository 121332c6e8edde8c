"""Check that charrnn computes on an NVIDIA GPU what it computes on a CPU, and measure how fast.

    python benchmarks/gpu/gpu_check.py                       # under ten minutes on one GPU; needs no other input
    python benchmarks/gpu/gpu_check.py --json gpu.json       # also writes the rows to a file
    python benchmarks/gpu/gpu_check.py --device cpu --quick  # the same code on a CPU, in small sizes

The text is generated. Only the time to a loss needs tiny Shakespeare: a file of 1,115,394 bytes
named shakespeare.txt, tinyshakespeare.txt or input.txt in corpora/ or in a folder of
$CHARRNN_CORPORA; without it that part is skipped.

Each row is a check (pass or fail: the figure may be at most the limit), a measurement, or a part
that was skipped, with the reason. The exit code is 1 if a check failed. docs/scaling.md says how
charrnn computes on a GPU. The parts:

- steps, optimizers: a step in fp32 with every cell, depth and kind of noise, and three of each
  optimizer, have the loss (1e-4 nats), the gradients and the weights (0.1 % of the largest) of the
  CPU.
- resume: a run that was saved and restored ends in the same bits in every precision. moves: a run
  that moves from the CPU to the GPU and back ends within 0.01 nats.
- precisions: after 200 steps in bf16 and fp16, the loss is within 0.1 nats of fp32.
- evaluation: losses agree to 1e-4 nats, cell values to 0.01, scores of cells to 0.005.
- sampling: a captured graph draws the texts of single operations; at most 10 % of the characters
  differ from NumPy's after a draw within rounding.
- training_speed, sampling_speed: characters/s, beside a stock loop around nn.LSTM and as a share of
  the GPU's own rate of matrix products.
- time_to_loss: seconds to a windowed-256 loss of at most 1.4697 nats on tiny Shakespeare; three
  seeds, the worst counts, goal 30 seconds.
"""

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.graph_sampler import GraphSampler
from benchmarks.measuring import describe_machine, in_turn, matmul_rate, waiting
from benchmarks.speed.train_speed import num_operations, our_step, stock_step
from charrnn.cells.scores import find_cells
from charrnn.cells.trace import trace_text
from charrnn.config.architectures import CELLS, DEPTHS, OPTIMIZERS
from charrnn.config.settings import Config, resolved
from charrnn.detectors.registry import get_detectors
from charrnn.errors import CharRNNError
from charrnn.evaluation.losses import stateful_scores, windowed_block_sums
from charrnn.generation.sample_options import Shaping
from charrnn.generation.sampling import prime_model, sample_ids
from charrnn.model.device import DTYPES, chosen_precision, exact_arithmetic, pick_device
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper
from charrnn.text.batches import BatchRows
from charrnn.text.vocab import UNKNOWN, Vocab, encode_text
from charrnn.training.events import DoneEvent
from charrnn.training.loop import resume, train
from charrnn.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
TINY_SHAKESPEARE_BYTES = 1_115_394
TINY_SHAKESPEARE_NAMES = ("shakespeare.txt", "tinyshakespeare.txt", "input.txt")
TARGET_NATS = 1.4697
"""What nanoGPT reports for tiny Shakespeare after about three minutes on an A100."""
GOAL_SECONDS = 30.0
TIMED_STEPS = 900
"""Steps of that run. On an H100, 1,300 end at 1.419 nats windowed-256, after 36 s: fewer suffice
(benchmarks/LOG.md)."""
TIMED_SETTINGS = (
    "num_layers=1",
    "hidden_size=512",
    "batch_size=32",
    "bptt_length=128",
    "learning_rate=9e-3",
)
SMALL_SETTINGS = (
    "num_layers=1",
    "hidden_size=16",
    "batch_size=4",
    "bptt_length=8",
    "learning_rate=9e-3",
    "threads=1",
)

# Tolerances. Both devices add up the same products in fp32, in another order and with other
# approximations of exp: relative errors of some 1e-6 in each of some hundred steps.
LOSS_LIMIT = 1e-4
"""Nats per character."""
GRADIENT_LIMIT = 1e-3
"""Largest difference of an entry of the gradient, as a share of the largest entry of its weight."""
MIN_CHANGE = 1e-3
"""Change of a weight below which the rounding of the weight itself counts."""
WEIGHT_LIMIT = 1e-3
"""Largest difference of a weight after a step, as a share of the largest change of its weight."""
CELL_LIMIT = 1e-2
"""Largest difference of a cell value, which lies in [-1, 1]: h / o is inexact where the output gate
o is almost 0."""
SCORE_LIMIT = 5e-3
"""Difference of the strength of a detector's best cell."""
MOVED_LIMIT = 1e-2
"""Nats per character after training on both devices in turn: rounding errors grow with every step.
"""
DIVERGED_SHARE = 0.1
"""Share of characters that may differ between devices: a draw within rounding of a border changes
all after it."""


@dataclass(frozen=True)
class Setup:
    """What is checked, and in which sizes."""

    device: torch.device
    is_quick: bool

    @property
    def is_small(self) -> bool:
        """Whether this is a CPU, for which everything is smaller."""
        return self.is_quick or self.device.type == "cpu"

    def size(self, full: int, small: int, quick: int) -> int:
        """Return one of three sizes: of a GPU, of a CPU, with --quick."""
        return quick if self.is_quick else small if self.is_small else full

    def precisions(self) -> list[str]:
        """List the precisions that the device computes in."""
        found = []
        for precision in DTYPES:
            try:
                found.append(chosen_precision(self.device, precision))
            except CharRNNError:
                continue
        return found


@dataclass
class Results:
    """The rows, printed as they are added."""

    rows: list[dict[str, str | float | None]] = field(default_factory=list)

    def add(
        self, result: str, name: str, figure: float | None, limit: float | None, note: str = ""
    ) -> None:
        if not self.rows:
            print("\n| result | what | figure | limit | note |\n| --- | --- | --- | --- | --- |")
        shown = [
            "" if value is None else f"{value:,.0f}" if value >= 1e4 else f"{value:.3g}"
            for value in (figure, limit)
        ]
        note = " ".join(note.split())[:160].replace("|", "/")
        self.rows.append(
            {"result": result, "what": name, "figure": figure, "limit": limit, "note": note}
        )
        print(f"| {result} | {name} | {shown[0]} | {shown[1]} | {note} |", flush=True)

    def check(self, name: str, figure: float, limit: float, note: str = "") -> None:
        """Add a check, which passes if the figure is at most the limit; nan is not."""
        self.add("pass" if figure <= limit else "FAIL", name, figure, limit, note)

    def measure(
        self, name: str, figure: float, note: str = "", *, limit: float | None = None
    ) -> None:
        self.add("measured", name, figure, limit, note)

    def skip(self, name: str, reason: str) -> None:
        self.add("skipped", name, None, None, reason)

    @property
    def num_failed(self) -> int:
        return sum(row["result"] == "FAIL" for row in self.rows)


def make_text(num_chars: int, seed: int = 0) -> str:
    """Return lines of random words, some of them indented, in quotation marks, or numbers."""
    generator = np.random.default_rng(seed)
    syllables = ["ka", "lo", "mi", "tu", "ren", "sa", "vel", "no", "hi", "der"]
    words = ["".join(generator.choice(syllables, generator.integers(1, 4))) for _ in range(200)]
    lines, length = [], 0
    while length < num_chars:
        some = [str(word) for word in generator.choice(words, generator.integers(2, 9))]
        if generator.random() < 0.3:
            some[0], some[-1] = f'"{some[0]}', f'{some[-1]}"'
        if generator.random() < 0.2:
            some.append(str(generator.integers(1000)))
        lines.append(" " * int(generator.choice([0, 0, 2, 4])) + " ".join(some))
        length += len(lines[-1]) + 1
    return "\n".join(lines)[: num_chars - 1] + "\n"


TEXT = make_text(200_000)
VOCAB = Vocab("char", (UNKNOWN, *sorted(set(TEXT))))
IDS = VOCAB.encode(TEXT)


def make_trainer(device: torch.device, **changes: Any) -> Trainer:
    """Build a trainer with dropout, for the generated text."""
    values: dict[str, Any] = {
        "cell": "lstm",
        "num_layers": 2,
        "hidden_size": 64,
        "embedding_size": 16,
        "dropout": 0.2,
        "input_dropout": 0.1,
        "batch_size": 16,
        "bptt_length": 48,
        "learning_rate": 5e-3,
        "weight_decay": 0.1,
        "steps": 1000,
        "precision": "fp32",
        **changes,
    }
    config = Config(**values)
    return Trainer(config, BatchRows(IDS, resolved(config.batch_size)), len(VOCAB), device)


def digest(trainer: Trainer) -> str:
    """Return the SHA-256 of all weights, averages, moments and states."""
    tensors = {**trainer.model_tensors(), **trainer.snapshot()[0]}
    return hashlib.sha256(b"".join(tensors[name].tobytes() for name in sorted(tensors))).hexdigest()


def name_of(case: dict[str, Any]) -> str:
    """Return the settings of a case in words."""
    return ", ".join(f"{key} {value}" for key, value in case.items())


def largest_share(pairs: list[tuple[Any, Any]], floor: float) -> float:
    """Return the largest difference within pairs (found, expected), as a share of the largest
    expected value.

    Smaller ones than `floor` count as that: they are differences of larger numbers, whose rounding
    errors remain.
    """
    return max(
        float((found.cpu() - expected.cpu()).abs().max() / expected.abs().max().clamp(min=floor))
        for found, expected in pairs
    )


def check_steps(setup: Setup, results: Results) -> None:
    """Take one step on both devices with every cell, depth and kind of noise, and compare loss,
    gradient, weights."""
    size = setup.size(128, 32, 12)
    cases: list[dict[str, Any]] = [{"cell": cell} for cell in CELLS]
    cases += [{"depth": depth, "num_layers": 3} for depth in DEPTHS if depth != "stacked"]
    cases += [{"weight_drop": 0.3}, {"zoneout": 0.1}, {"initial_state": "learned"}]
    cases += [{"cell": "gru", "sum_outputs": True}, {"documents": "lines"}]
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
        found, expected = (trainer.take_step() for trainer in trainers)
        weights = [list(trainer.network.parameters()) for trainer in trainers]
        gradients = [(one.grad, other.grad) for one, other in zip(*weights, strict=True)]
        changes = [
            (one.detach().cpu() - old, other.detach() - old)
            for one, other, old in zip(*weights, before, strict=True)
        ]
        largest = max(
            float(weight.grad.abs().max()) for weight in weights[1] if weight.grad is not None
        )
        losses.append((abs(found.train_nats - expected.train_nats), name_of(case)))
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
    for name in OPTIMIZERS:
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
        found, expected = (list(trainer.network.parameters()) for trainer in trainers)
        changes = [
            (one.detach().cpu() - old, other.detach() - old)
            for one, other, old in zip(found, expected, before, strict=True)
        ]
        results.check(f"optimizer: {name}", largest_share(changes, MIN_CHANGE), WEIGHT_LIMIT)


def check_resume(setup: Setup, results: Results) -> None:
    """Compare the digest of many steps with that of half of them, saved, restored and continued."""
    half = setup.size(15, 5, 2)
    size = {
        "hidden_size": setup.size(256, 64, 16),
        "batch_size": setup.size(64, 16, 4),
        "bptt_length": setup.size(64, 32, 8),
    }
    cases: list[dict[str, Any]] = [{"precision": precision} for precision in setup.precisions()]
    cases += [{"cell": cell} for cell in ("gru", "irnn", "mlstm", "unitary")]
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
        found, expected = digest(second), digest(whole)
        results.check(
            f"exact resume: {name_of(case)}",
            float(found != expected),
            0,
            f"{found[:12]} and {expected[:12]}",
        )


def check_moves(setup: Setup, results: Results) -> None:
    """Train a run on the CPU, then on the device, then on the CPU, and compare it with one that
    stayed on the CPU."""
    part = setup.size(40, 20, 6)
    config = Config(
        cell="lstm",
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
                setup.device, cell=cell, precision=precision, steps=num_steps, **size
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
    found = []
    for device in (setup.device, CPU):
        network = network.to(device)
        with exact_arithmetic(device):
            stateful = stateful_scores(network, IDS[:num_chars], precision="fp32")
            assert stateful is not None, "nothing stops it"
            windowed = windowed_block_sums(network, IDS[:num_chars], precision="fp32")
            losses = (stateful.losses.mean, windowed.losses.mean)
            trace = trace_text(network, text)
        found.append((losses, trace, find_cells(trace, detectors)))
    (losses, trace, cells), (expected, expected_trace, expected_cells) = found
    for name, one, other in zip(("stateful", "windowed-256"), losses, expected, strict=True):
        results.check(
            f"evaluate: {name} loss",
            abs(one - other),
            LOSS_LIMIT,
            f"{one:.6f} and {other:.6f} nats",
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
        {score.detector: score.strength for score in one.scores} for one in (cells, expected_cells)
    ]
    for name, strength in strengths[1].items():
        figure = abs(strengths[0].get(name, math.nan) - strength)
        results.check(f"visualize: strength of the best cell, {name}", figure, SCORE_LIMIT)


def sampler_of(
    setup: Setup,
    trainer: Trainer,
    num_streams: int,
    *,
    captures: bool = True,
    temperature: float = 0.8,
) -> GraphSampler:
    """Return a sampler of a trainer's weights."""
    shapings = [Shaping(temperature=temperature)] * num_streams
    tensors = trainer.averaged.state_dict()
    return GraphSampler(
        trainer.config,
        len(VOCAB),
        tensors,
        shapings,
        setup.device,
        banned=(0,),
        captures=captures,
    )


def check_sampling(setup: Setup, results: Results) -> None:
    """Compare texts that a captured graph draws with those of single operations, and of NumPy."""
    trainer = make_trainer(setup.device, hidden_size=setup.size(128, 48, 16))
    for _ in range(setup.size(50, 20, 4)):
        trainer.take_step()
    length, num_streams = setup.size(400, 100, 40), setup.size(16, 8, 4)
    prime, seeds = VOCAB.encode(TEXT[:100]), list(range(num_streams))
    texts = []
    for captures in (True, False):
        sampler = sampler_of(setup, trainer, num_streams, captures=captures)
        texts.append(
            np.concatenate([block.ids for block in sampler.sample(prime, seeds, length)], axis=1)
        )
    stepper = Stepper(trainer.config, trainer.model_tensors())
    shapings = [Shaping(temperature=0.8)] * num_streams
    reading = prime_model(stepper, prime)
    blocks = sample_ids(stepper, reading, shapings, seeds, length=length, banned=(0,))
    texts.append(np.concatenate([block.ids for block in blocks], axis=1))
    kind = "captured graph" if sampler_of(setup, trainer, 1).is_captured else "eager"
    results.check(
        f"sampling: characters that differ, {kind} and eager",
        float((texts[0] != texts[1]).mean()),
        0,
    )
    results.check(
        f"sampling: share of characters that differ, {kind} and NumPy",
        float((texts[0] != texts[2]).mean()),
        DIVERGED_SHARE,
    )


def measure_training(setup: Setup, results: Results) -> None:
    """Measure characters per second of whole steps beside stock's, and the share of the device's
    matrix rate."""
    side = setup.size(8192, 1024, 256)
    rates: dict[str, float] = {}
    for precision in setup.precisions():
        with exact_arithmetic(setup.device):
            rates[precision] = matmul_rate(getattr(torch, DTYPES[precision]), side, setup.device)
        results.measure(f"matrix products of {side}, {precision}: TFLOP/s", rates[precision] / 1e12)
    shapes = (
        [(2, 32)]
        if setup.is_quick
        else [(2, 128)]
        if setup.is_small
        else [(2, 512), (3, 1024), (1, 2048)]
    )
    seconds = setup.size(1, 1, 0)
    for num_layers, hidden_size in shapes:
        for batch_size in (4,) if setup.is_quick else (16,) if setup.is_small else (64, 512):
            length = setup.size(128, 32, 8)
            shape = f"{num_layers}x{hidden_size}, {batch_size} lanes x {length}"
            stock = stock_step("lstm", num_layers, hidden_size, batch_size, length, setup.device)
            # As torch sets it up: cuDNN's recurrent layers in TF32.
            (stock_seconds,) = in_turn(waiting(stock, setup.device), at_least_seconds=seconds)
            chars = batch_size * length
            results.measure(f"stock nn.LSTM, fp32, {shape}: characters/s", chars / stock_seconds)
            del stock
            for precision in setup.precisions():
                ours = our_step(
                    "lstm",
                    num_layers,
                    hidden_size,
                    batch_size,
                    length,
                    precision,
                    device=setup.device,
                )
                (median,) = in_turn(waiting(ours.take_step, setup.device), at_least_seconds=seconds)
                share = num_operations(ours.config) / median / rates[precision]
                note = f"{stock_seconds / median:.2f} times stock, {share:.1%} of the matrix rate"
                results.measure(
                    f"charrnn, {precision}, {shape}: characters/s", chars / median, note
                )
                del ours


def measure_sampling(setup: Setup, results: Results) -> None:
    """Measure characters per second of all streams, by captured graphs and by single operations."""
    size = setup.size(512, 128, 16)
    trainer = make_trainer(setup.device, hidden_size=size, num_layers=2)
    length = setup.size(2048, 96, 32)
    for num_streams in (1, setup.size(256, 64, 8)):
        for captures in (True, False):
            sampler = sampler_of(setup, trainer, num_streams, captures=captures)
            if captures and not sampler.is_captured:
                results.skip(f"sampling, captured graph, {num_streams} texts", "no CUDA")
                continue
            seeds, prime = list(range(num_streams)), VOCAB.encode("\n")
            drawn = length if captures or setup.is_small else length // 8
            times = []
            for _ in range(3):
                begin = time.perf_counter()
                for _ in sampler.sample(prime, seeds, drawn):
                    pass
                times.append(time.perf_counter() - begin)
            kind = "captured graph" if captures else "eager"
            name = f"sampling, {kind}, 2x{size}, {num_streams} texts: characters/s"
            results.measure(name, num_streams * drawn / sorted(times)[1])


def find_tiny_shakespeare() -> Path | None:
    """Return the file of tiny Shakespeare, if there is one."""
    folders = [ROOT / "corpora", Path("corpora")]
    folders += [
        Path(folder).expanduser()
        for folder in os.environ.get("CHARRNN_CORPORA", "").split(os.pathsep)
        if folder
    ]
    for folder in folders:
        for name in TINY_SHAKESPEARE_NAMES:
            path = folder / name
            if path.is_file() and path.stat().st_size == TINY_SHAKESPEARE_BYTES:
                return path
    return None


def measure_time_to_loss(setup: Setup, results: Results) -> None:
    """Train from process start with three seeds, and report the slowest run and the worst loss."""
    with tempfile.TemporaryDirectory() as folder:
        if setup.is_small:
            text = Path(folder) / "text.txt"
            text.write_text(TEXT[:8_000], encoding="utf-8")
            seconds, nats = timed_run(setup, text, Path(folder) / "run", 0, num_steps=3)
            results.measure(
                "generated text, 3 steps in a new process: seconds", seconds, f"{nats:.4f} nats"
            )
            return
        corpus, name = (
            find_tiny_shakespeare(),
            f"tiny Shakespeare to {TARGET_NATS} nats windowed-256",
        )
        if corpus is None:
            results.skip(
                name, "tiny Shakespeare is neither in corpora/ nor in a folder of $CHARRNN_CORPORA"
            )
            return
        found: list[tuple[float, float]] = []
        for seed in (0, 1, 2):
            found.append(timed_run(setup, corpus, Path(folder) / f"run{seed}", seed))
            results.measure(
                f"{name}, seed {seed}: seconds", found[-1][0], f"{found[-1][1]:.4f} nats"
            )
    seconds, nats = (max(column) for column in zip(*found, strict=True))
    results.check(f"{name}: the worst loss of three seeds", nats, TARGET_NATS)
    results.check(f"{name}: the longest time of three seeds, in seconds", seconds, GOAL_SECONDS)


def timed_run(
    setup: Setup, corpus: Path, run: Path, seed: int, num_steps: int = TIMED_STEPS
) -> tuple[float, float]:
    """Train a run in a new process: seconds from its start to its end, and the loss of its best
    step."""
    chosen = SMALL_SETTINGS if setup.is_small else TIMED_SETTINGS
    settings = [word for setting in chosen for word in ("--set", setting)]
    options = [
        "--device",
        setup.device.type,
        "--steps",
        str(num_steps),
        "--seed",
        str(seed),
        "--quiet",
        *settings,
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
    }
    begin = time.perf_counter()
    charrnn = partial(subprocess.run, check=True, capture_output=True, text=True, env=environment)
    charrnn([sys.executable, "-m", "charrnn", "train", str(corpus), "--out", str(run), *options])
    seconds = time.perf_counter() - begin
    evaluated = charrnn([sys.executable, "-m", "charrnn", "evaluate", str(run), "--json"])
    reports = json.loads(evaluated.stdout)
    return seconds, float(reports["windowed_256"]["nats_per_char"])


PARTS: dict[str, Callable[[Setup, Results], None]] = {
    "steps": check_steps,
    "optimizers": check_optimizers,
    "resume": check_resume,
    "moves": check_moves,
    "precisions": check_precisions,
    "evaluation": check_evaluation,
    "sampling": check_sampling,
    "training_speed": measure_training,
    "sampling_speed": measure_sampling,
    "time_to_loss": measure_time_to_loss,
}
"""The parts by the name that --only takes, in their order."""


@contextmanager
def counted_warnings(results: Results) -> Iterator[None]:
    """Check that torch warns neither of kernels that are not deterministic nor of weights that
    cuDNN has to copy."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    messages = [str(warning.message) for warning in caught]
    found = [
        message for message in messages if "determinis" in message or "contiguous chunk" in message
    ]
    results.check(
        "warnings of slow or nondeterministic kernels", len(found), 0, found[0] if found else ""
    )


FAILURES = (
    *(CharRNNError, OSError, subprocess.SubprocessError, RuntimeError, AssertionError),
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
)
"""What a part can raise on a machine that nobody has tried: it is reported as failed, and the
others still run."""


def run_parts(setup: Setup, results: Results, names: list[str]) -> None:
    """Run parts one after the other. One that breaks off counts as a failed check, and the others
    still run."""
    with counted_warnings(results):
        for name in names:
            begin = time.perf_counter()
            try:
                PARTS[name](setup, results)
            except FAILURES as error:
                detail = getattr(error, "stderr", None) or str(error)
                results.add(
                    "FAIL",
                    f"{name} broke off",
                    None,
                    None,
                    f"{type(error).__name__}: {detail[-300:]}",
                )
            if setup.device.type == "cuda":
                torch.cuda.empty_cache()
            print(f"{name}: {time.perf_counter() - begin:.1f} seconds", file=sys.stderr)


def describe_device(device: torch.device) -> dict[str, Any]:
    """Describe the GPU and its libraries."""
    if device.type != "cuda":
        return {"device": str(device)}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_gigabytes": round(properties.total_memory / 1e9, 1),
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def main() -> int:
    """Run the parts, print the table, write the file, and return 1 if a check failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to test this script")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write one JSON object to FILE"
    )
    arguments = parser.parse_args()
    try:
        setup = Setup(pick_device(arguments.device), arguments.quick)
    except CharRNNError as error:
        print(f"{error} Or test this script with --device cpu.", file=sys.stderr)
        return 2
    if setup.is_quick:  # Threads take longer to start than to compute anything this small.
        torch.set_num_threads(1)
    begin, results = time.perf_counter(), Results()
    machine = describe_machine() | describe_device(setup.device)
    cudnn = f"cuDNN {machine['cudnn']}" if machine.get("cudnn") else "no cuDNN"
    print(f"{machine['device']}, torch {machine['torch']}, {cudnn}, {machine['processor']}")
    run_parts(
        setup, results, [name for name in PARTS if not arguments.only or name in arguments.only]
    )
    seconds = time.perf_counter() - begin
    print(f"\n{results.num_failed} of {len(results.rows)} rows failed, {seconds:.0f} seconds")
    if arguments.json is not None:
        found = {
            "benchmark": "gpu_check",
            "machine": machine,
            "seconds": seconds,
            "rows": results.rows,
        }
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if results.num_failed else 0


if __name__ == "__main__":
    sys.exit(main())
