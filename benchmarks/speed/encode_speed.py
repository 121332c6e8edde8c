"""Measure how fast a large text is read and encoded, on one core.

    python benchmarks/speed/encode_speed.py [--megabytes 256]

Texts of random words by Zipf's law: ASCII, Cyrillic in UTF-8, Cyrillic in KOI8-R, ASCII with CRLF
line ends, and ASCII for the byte alphabet. For each, in megabytes of the file per second of wall
time, the minimum of REPEATS:

- build: read, hash, count and encode into a temporary file;
- processor: the same per second of processor time, which the disk does not slow down.

Everything is written to a temporary folder (--folder) and removed.
"""

import os
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import Report, make_parser
from charrnn.config.settings import Config
from charrnn.text.corpus import read_corpus

REPEATS = 3
LATIN, CYRILLIC = "etaoinshrdlucmfwypvbgkjqxz", "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"
TEXTS = {
    "ASCII": (LATIN, "\n", "utf-8", "char"),
    "Cyrillic": (CYRILLIC, "\n", "utf-8", "char"),
    "KOI8-R": (CYRILLIC, "\n", "koi8-r", "char"),
    "CRLF": (LATIN, "\r\n", "utf-8", "char"),
    "bytes": (LATIN, "\n", "utf-8", "byte"),
}


def make_block(letters: str, line_end: str, num_words: int = 200_000) -> str:
    """Draw words by Zipf's law, twelve per line."""
    shelf = random.Random(0)
    weights = [1 / rank for rank in range(1, len(letters) + 1)]
    words = np.array(
        ["".join(shelf.choices(letters, weights, k=shelf.randint(2, 9))) for _ in range(20_000)]
    )
    chances = 1 / np.arange(1, len(words) + 1)
    drawn = np.random.default_rng(0).choice(words, num_words, p=chances / chances.sum())
    return "".join(
        " ".join(drawn[start : start + 12]) + line_end for start in range(0, len(drawn), 12)
    )


def measure(path: Path, encoding: str, alphabet: str) -> tuple[float, float]:
    """Return the seconds to read and encode a text, and those of the processor."""
    times = []
    for _ in range(REPEATS):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        read_corpus(Config(corpus=str(path), alphabet=alphabet, encoding=encoding))
        times.append((time.perf_counter() - begin, time.process_time() - begin_cpu))
    built, cpu = map(min, zip(*times, strict=True))
    return built, cpu


def main() -> None:
    """Measure every text and print the table."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--megabytes", type=int, default=256, help="size of each text (default: %(default)s)"
    )
    parser.add_argument("--folder", help="where the texts are written (default: the system's)")
    arguments = parser.parse_args()
    report = Report("encode_speed", as_json=arguments.json, with_limits=False)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name, (letters, line_end, encoding, alphabet) in TEXTS.items():
            block = make_block(letters, line_end).encode(encoding)
            path = Path(folder, f"{name}.txt")
            with path.open("wb") as file:
                for _ in range(-(-arguments.megabytes * 10**6 // len(block))):
                    file.write(block)
            megabytes = path.stat().st_size / 1e6
            seconds = measure(path, encoding, alphabet)
            build_seconds, processor_seconds = seconds
            report.add(
                text=name,
                megabytes=megabytes,
                build=megabytes / build_seconds,
                processor=megabytes / processor_seconds,
            )
            path.unlink()
    report.close()


if __name__ == "__main__":
    main()
