"""Measure how often the 95 % interval of a passage's loss contains the loss of the whole text.

    python benchmarks/losses/interval_coverage.py war-and-peace.txt

n-gram models of the first half of the text, in bytes, are measured on the second half: order 5 by
itself, and its difference to order 4. The second half is cut into passages; each has an interval as
`charrnn evaluate` computes it, and one from a bootstrap over single characters. It takes some 10
seconds per megabyte and 500 MB.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn.counts.kneser_ney import NgramModel
from charrnn.statistics.intervals import BlockSums

LENGTHS = (1_000, 5_000, 20_000, 50_000)
"""Characters of a passage."""
MAX_PASSAGES = 400
"""Passages of each length that are measured, at most."""
ORDERS = (5, 4)


def coverage(values: NDArray[np.float32], length: int) -> tuple[int, float, float, float]:
    """Return the number of passages, the shares that contain the mean (blocks, characters) and the
    mean width."""
    mean = float(values.mean(dtype=np.float64))
    passages = values[: len(values) // length * length].reshape(-1, length)
    passages = passages[:: -(-len(passages) // MAX_PASSAGES)]
    by_block = [BlockSums.of(passage).interval() for passage in passages]
    intervals = np.array([interval for interval in by_block if interval is not None])
    # A bootstrap over characters is the normal interval to far below the spread of this
    # measurement.
    half = 1.96 * passages.std(axis=1) / length**0.5
    by_char = np.abs(passages.mean(axis=1) - mean) <= half
    is_inside = (intervals[:, 0] <= mean) & (mean <= intervals[:, 1])
    return (
        len(passages),
        float(is_inside.mean()),
        float(by_char.mean()),
        float(np.diff(intervals).mean()),
    )


def main() -> None:
    """Measure the text and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path)
    ids = np.frombuffer(parser.parse_args().text.read_bytes(), np.uint8)
    middle = len(ids) // 2
    model = NgramModel.fit(ids[:middle], 256, max(ORDERS))
    positions = np.arange(middle, len(ids))
    first, second = (
        (model if order == max(ORDERS) else NgramModel.fit(ids[:middle], 256, order)).char_nats(
            ids, positions
        )
        for order in ORDERS
    )
    print("what        characters  passages  blocks  single characters  mean width")
    for name, values in (("loss", first), ("difference", first - second)):
        for length in LENGTHS:
            if len(values) >= 10 * length:
                num, by_block, by_char, width = coverage(values, length)
                print(f"{name:12}{length:10,}{num:10,}{by_block:8.0%}{by_char:19.0%}{width:12.4f}")


if __name__ == "__main__":
    main()
