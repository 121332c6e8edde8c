"""Run every benchmark that needs only this machine, one after the other, and print their tables.

    python benchmarks/speed/all.py                     # about ten minutes; --quick: about four
    python benchmarks/speed/all.py --json > here.json  # one JSON object: {"machine": {...}, "benchmarks": {NAME: ...}}
    python benchmarks/speed/all.py --only train_speed sample_speed

Each benchmark runs in its own process with `--json`, and is killed after MOST_SECONDS. Failures are
named, and the exit code is then 1. To imitate an older processor, limit the instruction set; the
description of the machine says so:

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/speed/all.py
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measuring import (
    describe_machine,
    make_parser,
    measure_limits,
    print_machine,
    print_table,
)

MOST_SECONDS = 600
FULL: dict[str, tuple[str, ...]] = {
    "train_speed": (),
    "busy_neighbour": (),
    "sample_speed": (),
    "ngram_speed": (),
    "encode_speed": (),
}
QUICK: dict[str, tuple[str, ...]] = FULL | {
    "train_speed": ("--quick",),
    "ngram_speed": ("--orders", "5", "20"),
    "encode_speed": ("--megabytes", "80"),
}


def run(name: str, options: tuple[str, ...]) -> tuple[list[dict[str, Any]], str]:
    """Return the rows of one benchmark and its error, if it failed."""
    command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), "--json", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        return [], f"not finished after {MOST_SECONDS} seconds"
    if done.returncode:
        return [], (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return json.loads(done.stdout)["rows"], ""


def main() -> int:
    """Run all, print the tables or one JSON object, and return 1 if one failed."""
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer shapes, shorter texts")
    parser.add_argument(
        "--only", nargs="+", choices=sorted(FULL), metavar="NAME", help=", ".join(FULL)
    )
    arguments = parser.parse_args()
    machine = describe_machine() | measure_limits()
    if not arguments.json:
        print_machine(machine)
    found: dict[str, dict[str, Any]] = {}
    for name, options in (QUICK if arguments.quick else FULL).items():
        if arguments.only and name not in arguments.only:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows, error = run(name, options)
        found[name] = {"rows": rows, "error": error or None}
        if not arguments.json:
            print(f"\n{name}{': ' + error if error else ''}")
            print_table(rows)
    machine["load_average_at_end"] = describe_machine()["load_average"]
    if arguments.json:
        print(json.dumps({"machine": machine, "benchmarks": found}))
    return 1 if any(result["error"] for result in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
