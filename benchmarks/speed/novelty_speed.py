"""Measure the seconds and the memory of the search for copies, or the segments that texts share.

    python benchmarks/speed/novelty_speed.py                            # 1 MB and 100 MB of random words
    python benchmarks/speed/novelty_speed.py --shares ONE.txt OTHER.txt

Speed: corpora of random words by Zipf's law, seeded; texts of the same words, a tenth of each
copied in segments of 100 characters; then periodic texts and corpora. Seconds are the minimum of
REPEATS, wall and processor. Memory is what the search adds to the peak of its own process, which
already holds the corpus.

Shares: for segments of several lengths, the share of the first 100,000 characters of the last tenth
of one file that occurs in the nine tenths before it, and in the other file; the same with the files
exchanged.
"""

import multiprocessing
import platform
import random
import resource
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import Report, make_parser
from charrnn.generation.generated_text import MIN_COPY_LENGTH
from charrnn.reports.provenance import find_passages

REPEATS = 3
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
NUM_WORDS = 20_000


def make_text(num_chars: int, seed: int) -> str:
    """Draw words by Zipf's law from one vocabulary, which does not depend on the seed; twelve per
    line."""
    shelf = random.Random(0)
    weights = [1 / rank for rank in range(1, len(LETTERS) + 1)]
    words = np.array(
        ["".join(shelf.choices(LETTERS, weights, k=shelf.randint(2, 9))) for _ in range(NUM_WORDS)]
    )
    chances = 1 / np.arange(1, NUM_WORDS + 1)
    drawn = np.random.default_rng(seed).choice(words, num_chars // 4, p=chances / chances.sum())
    lines = (" ".join(drawn[start : start + 12]) for start in range(0, len(drawn), 12))
    return "\n".join(lines)[:num_chars]


def with_copies(text: str, corpus: str) -> str:
    """Return the text with the first 100 of each 1,000 characters copied from the corpus."""
    draw = random.Random(1)
    starts = (draw.randrange(len(corpus) - 100) for _ in range(0, len(text), 1000))
    return "".join(
        corpus[start : start + 100] + text[begin + 100 : begin + 1000]
        for begin, start in zip(range(0, len(text), 1000), starts, strict=True)
    )


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if platform.system() == "Darwin" else 1024
    )


def measure(
    report: Report, name: str, text: str, corpus: str, min_length: int = MIN_COPY_LENGTH
) -> None:
    """Add one row, measured in a new process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        before = peak_bytes()
        times = []
        for _ in range(REPEATS):
            begin, begin_cpu = time.perf_counter(), time.process_time()
            found = find_passages(text, corpus, min_length=min_length)
            times.append((time.perf_counter() - begin, time.process_time() - begin_cpu))
        wall, cpu = map(min, zip(*times, strict=True))
        added = (peak_bytes() - before) / 2**20
        sender.send(
            {
                "text": name,
                "text_chars": len(text),
                "corpus_chars": len(corpus),
                "min_length": min_length,
                "seconds": wall,
                "cpu_seconds": cpu,
                "added_mib": added,
                "percent_copied": percent_copied(found, text),
                "copies": len(found),
            }
        )

    process = context.Process(target=work)
    process.start()
    sender.close()
    report.add(**receiver.recv())
    process.join()


def percent_copied(found: NDArray[np.int64], text: str) -> float:
    """Return the percentage of the characters of a text that are in passages (M, 3)."""
    is_copied = np.zeros(len(text), np.bool_)
    for start, length, _ in found.tolist():
        is_copied[start : start + length] = True
    return float(100 * is_copied.mean())


def report_speed(report: Report, large_size: int) -> None:
    """Add the table of speeds."""
    large = make_text(large_size, seed=2)
    for corpus in (large[:1_000_000], large):
        for num_chars in (1_000, 100_000):
            measure(report, "words", with_copies(make_text(num_chars, seed=1), corpus), corpus)
    measure(report, "words", with_copies(make_text(1_000_000, seed=1), large), large)
    measure(report, "words, short copies", make_text(1_000, seed=1), large[:10_000_000], 5)
    measure(report, "one character", "a" * 100_000, "a" * 10_000_000)
    measure(report, "period 2, text of 30", "ab" * 15, "ab" * 5_000_000)


def report_shares(report: Report, one: str, other: str) -> None:
    """Add what each text shares with itself and with the other."""
    for min_length in (10, 15, 20, 25, 30, 40):
        for name, text, stranger in (("one", one, other), ("other", other, one)):
            cut = int(0.9 * len(text))
            for where, corpus in (("itself", text[:cut]), ("the other", stranger)):
                held_out = text[cut : cut + 100_000]
                found = find_passages(held_out, corpus, min_length=min_length)
                report.add(
                    min_length=min_length,
                    text=name,
                    found_in=where,
                    percent_copied=percent_copied(found, held_out),
                    longest=int(found[:, 1].max(initial=0)),
                )


def main() -> None:
    """Report one of the two tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--shares", nargs=2, type=Path, metavar="FILE")
    parser.add_argument(
        "--largest", type=int, default=100_000_000, metavar="CHARS", help="of the largest corpus"
    )
    arguments = parser.parse_args()
    report = Report("novelty_speed", as_json=arguments.json, with_limits=False)
    if arguments.shares:
        report_shares(report, *(path.read_text(encoding="utf-8") for path in arguments.shares))
    else:
        report_speed(report, arguments.largest)
    report.close()


if __name__ == "__main__":
    main()
