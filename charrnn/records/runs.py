"""The summary of a run."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """One line of `charrnn runs`."""

    name: str
    cell: str
    num_layers: int
    hidden_size: int
    corpus: str
    step: int
    num_steps: int
    best_nats: float | None
    minutes: float
    warnings: tuple[str, ...] = ()
    """Damaged lines of its log; the figures are computed without them."""
