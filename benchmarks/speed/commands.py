"""Measure the seconds of every command, from the call to its first output and to its end, and print
them as a table.

    python benchmarks/speed/commands.py                 # medians of ten rounds, about six minutes
    python benchmarks/speed/commands.py --rounds 2
    python benchmarks/speed/commands.py --only help sample

Each command runs in a terminal of its own of 80 columns and 24 lines, with the included model
`prose` where it needs one, from the folder of an earlier call: caches are filled in a round that
does not count. The commands take turns, so that a machine whose speed drifts treats them alike.
`import torch` is a process of Python that imports torch, of which the last column has multiples. It
needs Linux or macOS, and chromium or chrome for the page.

The tests keep no seconds, which depend on the machine. They keep what decides them: `sample` and
`predict` do not import torch (tests/commands/test_sample.py), and the interfaces open without it
(tests/explore/test_explore.py).
"""

import fcntl
import os
import pty
import re
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import describe_machine, make_parser, print_machine, print_table

CHARRNN = (sys.executable, "-m", "charrnn")
LINES, COLUMNS = 24, 80
REFERENCE = "import torch"
PATIENCE_SECONDS = 600
"""Time that a command has."""
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?<>=]*[a-zA-Z]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[^\[\]])")
"""What moves the cursor, sets colours and asks the terminal: no output that a reader sees."""
HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom")


@dataclass(frozen=True)
class Timed:
    """A command that is timed."""

    shown: str
    """What a reader types."""
    arguments: tuple[str, ...]
    ends_with: str = ""
    """What is on the screen when the command has shown all; empty for one that ends by itself."""


COMMANDS = {
    "python": Timed("`python -c pass`", (sys.executable, "-c", "pass")),
    REFERENCE: Timed('`python -c "import torch"`', (sys.executable, "-c", "import torch")),
    "help": Timed("`charrnn --help`", (*CHARRNN, "--help")),
    "demo": Timed("`charrnn demo`", (*CHARRNN, "demo")),
    "sample": Timed(
        "`charrnn sample prose --length 500`", (*CHARRNN, "sample", "prose", "--length", "500")
    ),
    "predict": Timed(
        '`charrnn predict prose "What is "`', (*CHARRNN, "predict", "prose", "What is ")
    ),
    "visualize": Timed("`charrnn visualize prose`", (*CHARRNN, "visualize", "prose")),
    "evaluate": Timed(
        "`charrnn evaluate prose --text words.txt`",
        (*CHARRNN, "evaluate", "prose", "--text", "words.txt"),
    ),
    "explore": Timed(
        "`charrnn explore prose`, until the cells are shown",
        (*CHARRNN, "explore", "prose"),
        ends_with="AUC",
    ),
    "export": Timed(
        "`charrnn export prose model.html`",
        (*CHARRNN, "export", "prose", "model.html", "--force"),
    ),
    "page": Timed("the page, in chromium", (str(BROWSER), *HEADLESS, "model.html")),
    "train": Timed(
        "`charrnn train words.txt --steps 100`",
        (*CHARRNN, "train", "words.txt", "--steps", "100", "--out", "run"),
    ),
}
"""The commands, in the order of the table. `words.txt` is written by `prose` (NUM_CHARS)."""
NUM_CHARS = 50_000
"""Characters of words.txt, written with the seed 0."""


def time_command(command: Timed, folder: Path) -> tuple[float, float]:
    """Run a command in a terminal; return the seconds until its first output and until its end.

    Exits if it fails.
    """
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    begin = time.perf_counter()
    process = subprocess.Popen(
        command.arguments,
        cwd=folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(terminal)

    # A terminal answers nothing that a program asks it, as some terminals do.
    output = b""
    first = None
    is_done = False
    while not is_done:
        ready, _, _ = select.select([master], [], [], PATIENCE_SECONDS)
        try:
            part = os.read(master, 65_536) if ready else b""
        except OSError:  # Linux, once the program has ended
            part = b""
        output += part
        if first is None and ESCAPES.sub(b"", output).strip():
            first = time.perf_counter() - begin
        is_shown = command.ends_with != "" and command.ends_with.encode() in output
        is_done = is_shown or not part

    # What waits for a key is ended.
    whole = time.perf_counter() - begin
    if command.ends_with and process.poll() is None:
        process.terminate()
    code = process.wait(PATIENCE_SECONDS)
    os.close(master)
    if not command.ends_with:
        whole = time.perf_counter() - begin
        if code != 0:
            sys.exit(f"{command.shown} ended with exit code {code}:\n{output.decode()[-2000:]}")
    elif command.ends_with.encode() not in output:
        sys.exit(f"{command.shown} never showed {command.ends_with}:\n{output.decode()[-2000:]}")
    return first or whole, whole


def main() -> None:
    """Time the commands and print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="rounds that count")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    given = parser.parse_args()
    names = [name for name in COMMANDS if name in (REFERENCE, *given.only)]
    if BROWSER is None and "page" in names:
        names.remove("page")

    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        written = subprocess.run(
            [*CHARRNN, "sample", "prose", "--length", f"{NUM_CHARS}", "--seed", "0", "--quiet"],
            capture_output=True,
            check=True,
        )
        (folder / "words.txt").write_bytes(written.stdout)
        for round_number in range(given.rounds + 1):
            for name in names:
                shutil.rmtree(folder / "run", ignore_errors=True)
                measured = time_command(COMMANDS[name], folder)
                if round_number > 0:
                    times[name].append(measured)

    medians: dict[str, tuple[float, float]] = {}
    for name, measurements in times.items():
        first, whole = zip(*measurements, strict=True)
        medians[name] = statistics.median(first), statistics.median(whole)
    if not given.json:
        print_machine(describe_machine())
        print(f"rounds: {given.rounds}")
    rows: list[dict[str, str | int | float | None]] = []
    for name, (first_seconds, seconds) in medians.items():
        rows.append(
            {
                "command": COMMANDS[name].shown,
                "first output, s": round(first_seconds, 2),
                "whole, s": round(seconds, 2),
                "import torch": round(seconds / medians[REFERENCE][1], 2),
            }
        )
    print_table(rows)


if __name__ == "__main__":
    main()
