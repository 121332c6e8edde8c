"""Measure the seconds that a folder of many small files takes to be read, in a new process each
time.

    python benchmarks/many_files.py                     # 100,000 files of 300 characters; --files N

The files are written to a temporary folder (--folder: where), which is removed. The first reading
finds them in the page cache, because they were just written. Seconds are wall time, from the name
of the folder to the ids.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Report, make_parser

FILES_PER_FOLDER = 1000
READ = """
import json, sys, time
from charrnn.text.corpus import read_corpus
begin, begin_cpu = time.perf_counter(), time.process_time()
corpus = read_corpus([sys.argv[1]])
print(json.dumps([time.perf_counter() - begin, time.process_time() - begin_cpu, len(corpus)]))
"""


def write_files(folder: Path, num_files: int, num_chars: int) -> None:
    """Write `num_files` files of `num_chars` characters, random words with a newline at the end."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 8))) for _ in range(2000)]
    for number in range(num_files):
        below = folder / f"{number // FILES_PER_FOLDER:03}"
        if number % FILES_PER_FOLDER == 0:
            below.mkdir(parents=True)
        text = " ".join(draw.choices(words, k=num_chars // 3))[: num_chars - 1]
        (below / f"{number:06}.txt").write_text(text + "\n", encoding="utf-8")


def read_once(folder: Path) -> tuple[float, float, int]:
    """Return wall seconds, processor seconds and characters of one reading in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)], stdout=subprocess.PIPE, check=True, text=True
    )
    wall, cpu, num_chars = json.loads(done.stdout)
    return wall, cpu, num_chars


def main() -> None:
    """Report one row per reading."""
    parser = make_parser(__doc__)
    parser.add_argument("--files", type=int, default=100_000, metavar="N")
    parser.add_argument("--chars", type=int, default=300, metavar="N", help="of each file")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where the files are written for a while"
    )
    arguments = parser.parse_args()
    report = Report("many_files", as_json=arguments.json, with_limits=False)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary, "texts")
        write_files(folder, arguments.files, arguments.chars)
        for _ in range(arguments.repeats):
            wall, cpu, num_chars = read_once(folder)
            report.add(
                files=arguments.files,
                characters=num_chars,
                seconds=wall,
                cpu_seconds=cpu,
                files_per_second=arguments.files / wall,
            )
    report.close()


if __name__ == "__main__":
    main()
