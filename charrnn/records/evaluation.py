"""Records of how well a model predicts."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LossReport:
    """Mean loss over a text. `protocol` is `stateful` or `windowed-256`; the two must not be compared."""

    protocol: str
    nats_per_char: float
    bpc: float
    bits_per_byte: float
    num_chars: int
    """Characters that were scored."""
    text_length: int
    """Characters of the text: more than `num_chars` if only segments or windows of it were scored."""
    num_unknown: int = 0
    precision: str
    """Precision of the computation: fp32, bf16 or fp16."""
