"""A mean and its uncertainty."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean with its 95 % interval, which is None where there are too few values for it."""

    mean: float
    low: float | None = None
    high: float | None = None
