"""Measure wall seconds from the start of the process to the first stateful validation loss at or
below each target.

    python benchmarks/time_to_loss.py shakespeare.txt --targets 1.6 1.5 1.45 -- --minutes 3

Everything after `--` goes to `charrnn train`. Interpreter start, imports, reading the text and
measuring the machine count. The last line evaluates the best step of the run by both protocols.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Train once in a new folder, and print when each target was reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus")
    parser.add_argument(
        "--targets", type=float, nargs="+", required=True, help="nats per character"
    )
    given = sys.argv[1:]
    split = given.index("--") if "--" in given else len(given)
    arguments, options = parser.parse_args(given[:split]), given[split + 1 :]
    left = sorted(arguments.targets, reverse=True)
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        command = [
            sys.executable,
            "-m",
            "charrnn",
            "train",
            arguments.corpus,
            "--json",
            "--out",
            run,
            *options,
        ]
        print(f"{platform.machine()}: charrnn train {arguments.corpus} {' '.join(options)}")
        begin = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                event, seconds = json.loads(line), time.monotonic() - begin
                if event["event"] != "evaluation":
                    continue
                print(
                    f"{seconds:>8.1f} s  step {event['step']:>7,}  {event['val_nats']:.4f}"
                    " nats/char",
                    flush=True,
                )
                while left and event["val_nats"] <= left[0]:
                    print(f"{seconds:>8.1f} s  reached {left.pop(0)}")
        if process.returncode:
            sys.exit(process.returncode)
        subprocess.run([sys.executable, "-m", "charrnn", "evaluate", run], check=True)
    for target in left:
        print(f"{target} was not reached")


if __name__ == "__main__":
    main()
