"""Measure the seconds and the memory of n-gram models, by order, and the loss on a split as in
char-rnn.

    python benchmarks/speed/ngram_speed.py                       # 3 MB of random words by Zipf's law, seeded
    python benchmarks/speed/ngram_speed.py --text WAR.txt        # a text of your own, read as bytes
    python benchmarks/speed/ngram_speed.py --text WAR.txt --rows 100

Counted are the first 80 % of the bytes, scored are the last 10 %. Each order is measured in a new
process; memory is what is added to the peak of that process, which already holds the text. `--rows
N` divides the text into N rows of which each has its own 80/10/10 split, as the loader of char-rnn
(Karpathy 2015) does with the rows of a batch.
"""

import multiprocessing
import platform
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Report, make_parser
from benchmarks.speed.encode_speed import LATIN, make_block
from charrnn.evaluation.comparison import ORDERS
from charrnn.ngrams.kneser_ney import probabilities_by_order

VOCAB_SIZE = 256
NUM_WORDS = 500_000
"""Words of the text that is made, about 3 MB."""


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if platform.system() == "Darwin" else 1024
    )


def split(text: Any, num_rows: int) -> tuple[Any, Any]:
    """Return the training bytes and the positions of the test bytes in the text."""
    length = len(text) // num_rows
    train, test = int(0.8 * length), int(0.9 * length)
    rows = text[: num_rows * length].reshape(num_rows, length)
    positions = np.arange(num_rows)[:, None] * length + np.arange(test, length)
    return rows[:, :train].ravel(), positions.ravel()


def measure(report: Report, text: Any, order: int, num_rows: int) -> None:
    """Add one row, measured in a new process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        training, positions = split(text, num_rows)
        before, begin, begin_cpu = peak_bytes(), time.perf_counter(), time.process_time()
        [(_, probabilities)] = probabilities_by_order(
            training, text, positions, vocab_size=VOCAB_SIZE, orders=[order]
        )
        nats = -np.log(probabilities)
        sender.send(
            {
                "order": order,
                "training_bytes": len(training),
                "scored_bytes": len(positions),
                "seconds": time.perf_counter() - begin,
                "cpu_seconds": time.process_time() - begin_cpu,
                "added_mib": (peak_bytes() - before) / 2**20,
                "nats_per_byte": f"{nats.mean(dtype=np.float64):.4f}",
            }
        )

    process = context.Process(target=work)
    process.start()
    sender.close()
    report.add(**receiver.recv())
    process.join()


def main() -> None:
    """Report one row per order."""
    parser = make_parser(__doc__)
    parser.add_argument("--text", type=Path, metavar="FILE")
    parser.add_argument(
        "--rows",
        type=int,
        default=1,
        metavar="N",
        help="of which each has its own split; default 1",
    )
    parser.add_argument("--orders", type=int, nargs="+", default=ORDERS, metavar="N")
    arguments = parser.parse_args()
    if arguments.text is None:
        data = make_block(LATIN, "\n", num_words=NUM_WORDS).encode()
    else:
        data = arguments.text.read_bytes()
    report = Report("ngram_speed", as_json=arguments.json, with_limits=False)
    for order in arguments.orders:
        measure(report, np.frombuffer(data, np.uint8), order, arguments.rows)
    report.close()


if __name__ == "__main__":
    main()
