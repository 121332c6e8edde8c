"""Measure how often the 95 % interval of a score contains the score of an endless text.

    python benchmarks/losses/score_coverage.py

The cell is noise whose neighbours are correlated, plus 1 inside spans that begin and end at random.
"""

import numpy as np
from numpy.typing import NDArray

from charrnn.statistics.agreement import measure_score, resample_score
from charrnn.statistics.intervals import interval_of

NUM_TEXTS = 120
"""Texts of each kind."""
KINDS = ((1_000, 0.9), (10_000, 0.95), (10_000, 0.995), (32_768, 0.995), (32_768, 0.999))
"""Characters of a text, and the correlation of the noise between neighbours."""


def correlated(
    generator: np.random.Generator, num_chars: int, correlation: float
) -> NDArray[np.float64]:
    """Return a stationary series (N,) of variance 1."""
    noise = generator.normal(size=num_chars) * np.sqrt(1 - correlation**2)
    noise[0] = generator.normal()
    for position in range(1, num_chars):
        noise[position] += correlation * noise[position - 1]
    return noise


def main() -> None:
    """Measure every kind and print a table."""
    print("characters  correlation   AUC  coverage  mean width")
    for num_chars, correlation in KINDS:
        generator = np.random.default_rng(5)
        texts = []
        for _ in range(NUM_TEXTS):
            is_inside = correlated(generator, num_chars, 0.98) > 0.5
            values = correlated(generator, num_chars, correlation) + is_inside
            texts.append((values.astype(np.float32), is_inside))

        # All texts together are as good as an endless one.
        exact = measure_score(
            np.concatenate([values for values, _ in texts]),
            labels=np.concatenate([is_inside for _, is_inside in texts]),
            polarity=1,
        )
        intervals = []
        for values, is_inside in texts:
            resampled = resample_score(values, labels=is_inside, polarity=1)
            intervals.append(interval_of(resampled, num_chars))
        low, high = np.array(intervals).T
        coverage = np.mean((low <= exact) & (exact <= high))
        print(
            f"{num_chars:10,}{correlation:13}{exact:6.2f}{coverage:10.0%}"
            f"{np.mean(high - low):12.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
