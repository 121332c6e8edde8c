"""How well a model predicts."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LossReport:
    """Mean loss over a text. `protocol` is `stateful` or `windowed-256`; never compare one with the other's."""

    protocol: str
    nats_per_char: float
    bpc: float
    bits_per_byte: float
    num_chars: int
    num_unknown: int = 0
    precision: str
    """What it was computed in: fp32 or bf16."""
