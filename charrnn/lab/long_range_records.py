"""Records of how far back a model's predictions reach: closing characters by distance, and the loss after resets."""

from dataclasses import dataclass

from charrnn.display import Displayable
from charrnn.evaluation.estimate import Estimate

CLOSING_ORDERS = (5, 10, 20)
"""Orders of the n-grams that closing characters are compared with. Karpathy, Johnson & Li (2015) take 20."""
DISTANCES = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""The shortest distance of each bin; the last one ends with `MAX_DISTANCE`."""
MAX_DISTANCE = 4096
"""Pairs further apart than this, in characters, are left out: most of them are no pairs."""
RESET_INTERVALS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Characters that are predicted between two resets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosingBin:
    """Pairs of an opening and a closing character that are from `low` to `high` characters apart."""

    low: int
    high: int
    num_pairs: int
    probabilities: tuple[Estimate, ...]
    """The mean probability of the closing character, one for each predictor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosingReport:
    """How well one closing character is predicted, by its distance to the character that it closes."""

    closing: str
    num_pairs: int
    probabilities: tuple[Estimate, ...]
    """Over all pairs, one for each predictor."""
    bins: tuple[ClosingBin, ...]
    """Only those with at least one pair, by distance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResetLoss:
    """The loss of a model whose state is reset to the initial one every `interval` characters."""

    interval: int | None
    """Characters that are predicted between two resets; None: the state is never reset."""
    nats_per_char: float
    rise: Estimate
    """By how much the loss is above that without resets, in nats per character, on the same characters."""
    nats_per_reset: float
    """The rise times the characters between resets: what one reset costs until the next one. It stops growing where the
    memory ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelResets:
    """The loss of one model by how often its state is reset."""

    run: str
    losses: tuple[ResetLoss, ...]
    """By interval, from the shortest; the last one is without resets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LongRangeReport(Displayable):
    """How far back the predictions of one or several models reach in a text."""

    predictors: tuple[str, ...]
    """What the probabilities of closing characters are those of: the runs, then `N-gram` for each order."""
    closings: tuple[ClosingReport, ...]
    """The most frequent closing character first; empty if nothing is closed in the scored text."""
    resets: tuple[ModelResets, ...]
    num_chars: int
    """Characters that were scored for the closing characters."""
    num_reset_chars: int
    """Characters that were scored with resets."""
    text_length: int
    """Characters of the text."""
