"""What the parts of gpu_check.py share: sizes, rows of results, tolerances, a generated text."""

import hashlib
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from charrnn.config.settings import Config, resolved
from charrnn.errors import CharRNNError
from charrnn.model.device import DTYPES, chosen_precision
from charrnn.text.batches import BatchRows
from charrnn.text.vocab import UNKNOWN, Vocab
from charrnn.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


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


Size = TypeVar("Size")
"""A size, or a list of sizes."""


@dataclass(frozen=True)
class Setup:
    """What is checked, and in which sizes."""

    device: torch.device
    is_quick: bool

    @property
    def is_small(self) -> bool:
        """Whether this is a CPU, for which everything is smaller."""
        return self.is_quick or self.device.type == "cpu"

    def size(self, full: Size, small: Size, quick: Size) -> Size:
        """Return one of three sizes, or of three lists of sizes: of a GPU, of a CPU, with
        --quick."""
        if self.is_quick:
            return quick
        if self.is_small:
            return small
        return full

    def precisions(self) -> list[str]:
        """List the precisions that the device computes in."""
        precisions = []
        for precision in DTYPES:
            try:
                precisions.append(chosen_precision(self.device, precision))
            except CharRNNError:
                continue
        return precisions


@dataclass
class Results:
    """The rows, printed as they are added."""

    rows: list[dict[str, str | float | None]] = field(default_factory=list)
    report: Path | None = None
    """A file to which every line is appended as well, so that it is there if the time ends."""

    def line(self, text: str) -> None:
        """Print a line, and append it to the report."""
        print(text, flush=True)
        if self.report is not None:
            with self.report.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    def phase(self, name: str) -> None:
        """Say on standard error what comes next, with the time."""
        print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)

    def add(
        self, result: str, name: str, figure: float | None, limit: float | None, note: str = ""
    ) -> None:
        if not self.rows:
            self.line(
                "\n| result | what | figure | limit | note |\n| --- | --- | --- | --- | --- |"
            )
        note = " ".join(note.split())[:160].replace("|", "/")
        self.rows.append(
            {"result": result, "what": name, "figure": figure, "limit": limit, "note": note}
        )
        self.line(f"| {result} | {name} | {short(figure)} | {short(limit)} | {note} |")

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


def short(figure: float | None) -> str:
    """Return a figure as the table of results shows it."""
    if figure is None:
        return ""
    if figure >= 1e4:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"


def make_text(num_chars: int, seed: int = 0) -> str:
    """Return lines of random words, some of them indented, in quotation marks, or numbers."""
    generator = np.random.default_rng(seed)
    syllables = ["ka", "lo", "mi", "tu", "ren", "sa", "vel", "no", "hi", "der"]
    words = ["".join(generator.choice(syllables, generator.integers(1, 4))) for _ in range(200)]
    lines, length = [], 0
    while length < num_chars:
        line = [str(word) for word in generator.choice(words, generator.integers(2, 9))]
        if generator.random() < 0.3:
            line[0] = f'"{line[0]}'
            line[-1] = f'{line[-1]}"'
        if generator.random() < 0.2:
            line.append(str(generator.integers(1000)))
        lines.append(" " * int(generator.choice([0, 0, 2, 4])) + " ".join(line))
        length += len(lines[-1]) + 1
    return "\n".join(lines)[: num_chars - 1] + "\n"


TEXT = make_text(200_000)
VOCAB = Vocab("char", (UNKNOWN, *sorted(set(TEXT))))
IDS = VOCAB.encode(TEXT)


def make_trainer(device: torch.device, **changes: Any) -> Trainer:
    """Build a trainer with dropout, for the generated text."""
    values: dict[str, Any] = {
        "cell_type": "lstm",
        "num_layers": 2,
        "hidden_size": 64,
        "embedding_size": 16,
        "dropout": 0.2,
        "input_dropout": 0.1,
        "batch_size": 16,
        "bptt_length": 48,
        "learning_rate": 5e-3,
        "weight_decay": 0.1,
        "decay_shape": "cosine",
        "decay_share": 1.0,
        "steps": 1000,
        "precision": "fp32",
        **changes,
    }
    config = Config(**values)
    batches = BatchRows(IDS, resolved(config.batch_size))
    return Trainer(config, batches, len(VOCAB), device)


def digest(trainer: Trainer) -> str:
    """Return the SHA-256 of all weights, averages, moments and states."""
    tensors = {**trainer.model_tensors(), **trainer.snapshot()[0]}
    return hashlib.sha256(b"".join(tensors[name].tobytes() for name in sorted(tensors))).hexdigest()


def name_of(case: dict[str, Any]) -> str:
    """Return the settings of a case in words."""
    return ", ".join(f"{key} {value}" for key, value in case.items())


def largest_share(pairs: list[tuple[Any, Any]], floor: float) -> float:
    """Return the largest difference within pairs of tensors (computed, expected), as a share of the
    largest expected value.

    A largest value below `floor` counts as `floor`: small values are differences of larger numbers,
    whose rounding errors remain.
    """
    shares = []
    for computed, expected in pairs:
        difference = (computed.cpu() - expected.cpu()).abs().max()
        shares.append(float(difference / expected.abs().max().clamp(min=floor)))
    return max(shares)
