"""Seconds and memory of finding what is copied, or what texts share by chance.

    python benchmarks/novelty_speed.py                            # 1 MB and 100 MB of made-up words
    python benchmarks/novelty_speed.py --shares ONE.txt OTHER.txt

Speed: corpora of random words by Zipf's law, seeded; texts of the same words, a tenth of each copied in stretches of
100 characters; then texts and corpora that repeat. Seconds are the least of REPEATS, wall and processor. Memory is what
the search adds to the peak of a process of its own, which has the corpus already.

Shares: for stretches of several lengths, what the first 100,000 characters of the last tenth of one file share with the
nine tenths before it, and with the other file; the same with the files exchanged.
"""

import argparse
import multiprocessing
import platform
import random
import resource
import time
from pathlib import Path

import numpy as np

from charrnn.generation.novelty import MIN_LENGTH, find_copies

REPEATS = 3
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
NUM_WORDS = 20_000


def make_text(num_chars: int, seed: int) -> str:
    """Words drawn from one vocabulary, which does not depend on the seed, by Zipf's law; twelve to a line."""
    shelf = random.Random(0)
    weights = [1 / rank for rank in range(1, len(LETTERS) + 1)]
    words = np.array(["".join(shelf.choices(LETTERS, weights, k=shelf.randint(2, 9))) for _ in range(NUM_WORDS)])
    chances = 1 / np.arange(1, NUM_WORDS + 1)
    drawn = np.random.default_rng(seed).choice(words, num_chars // 4, p=chances / chances.sum())
    lines = (" ".join(drawn[start : start + 12]) for start in range(0, len(drawn), 12))
    return "\n".join(lines)[:num_chars]


def with_copies(text: str, corpus: str) -> str:
    """The text, of each 1,000 characters the first 100 copied from somewhere in the corpus."""
    draw = random.Random(1)
    starts = (draw.randrange(len(corpus) - 100) for _ in range(0, len(text), 1000))
    return "".join(
        corpus[start : start + 100] + text[begin + 100 : begin + 1000]
        for begin, start in zip(range(0, len(text), 1000), starts, strict=True)
    )


def peak_bytes() -> int:
    """The most memory this process has ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def measure(name: str, text: str, corpus: str, min_length: int = MIN_LENGTH) -> None:
    """Print one row, measured in a process that has done nothing else."""

    def work() -> None:
        before = peak_bytes()
        times = []
        for _ in range(REPEATS):
            begin, begin_cpu = time.perf_counter(), time.process_time()
            novelty = find_copies(text, corpus, min_length=min_length)
            times.append((time.perf_counter() - begin, time.process_time() - begin_cpu))
        seconds, cpu_seconds = map(min, zip(*times, strict=True))
        added = (peak_bytes() - before) / 2**20
        print(
            f"{name:<28} {len(text):>9,} {len(corpus):>11,} {min_length:>4} {seconds:>8.2f} {cpu_seconds:>8.2f} "
            f"{added:>8.1f} {novelty.share_copied:>7.2%} {len(novelty.copies):>7,}",
            flush=True,
        )

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()


def print_speed() -> None:
    """Print the table of speeds."""
    headers = f"{'text':>9} {'corpus':>11} {'N':>4} {'seconds':>8} {'CPU s':>8} {'MiB':>8} {'copied':>7} {'copies':>7}"
    print(f"{'':<28} {headers}")
    large = make_text(100_000_000, seed=2)
    for corpus in (large[:1_000_000], large):
        for num_chars in (1_000, 100_000):
            measure("words", with_copies(make_text(num_chars, seed=1), corpus), corpus)
    measure("words", with_copies(make_text(1_000_000, seed=1), large), large)
    measure("words, short copies", make_text(1_000, seed=1), large[:10_000_000], 5)
    measure("one character", "a" * 100_000, "a" * 10_000_000)
    measure("period 2, text of 30", "ab" * 15, "ab" * 5_000_000)


def print_shares(one: str, other: str) -> None:
    """Print what each text shares with itself and with the other."""
    print(f"{'N':>3} {'one, held out':>22} {'one in other':>22} {'other, held out':>22} {'other in one':>22}")
    for min_length in (10, 15, 20, 25, 30, 40):
        cells = []
        for text, stranger in ((one, other), (other, one)):
            cut = int(0.9 * len(text))
            for corpus in (text[:cut], stranger):
                novelty = find_copies(text[cut : cut + 100_000], corpus, min_length=min_length)
                longest = novelty.longest.length if novelty.longest else 0
                cells.append(f"{novelty.share_copied:>9.3%}, longest {longest:>3}")
        print(f"{min_length:>3} " + " ".join(cells))


def main() -> None:
    """Print the machine and one of the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", nargs=2, type=Path, metavar="FILE")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")
    if arguments.shares:
        print_shares(*(path.read_text(encoding="utf-8") for path in arguments.shares))
    else:
        print_speed()


if __name__ == "__main__":
    main()
