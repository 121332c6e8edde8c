"""Check that charrnn computes on an NVIDIA GPU what it computes on a CPU, and measure how fast.

    python benchmarks/gpu/gpu_check.py                       # under ten minutes on one GPU; needs no other input
    python benchmarks/gpu/gpu_check.py --json gpu.json       # also writes the rows to a file
    python benchmarks/gpu/gpu_check.py --device cpu --quick  # the same code on a CPU, in small sizes

The text is generated. Only the time to a loss needs tiny Shakespeare: a file of 1,115,394 bytes
named shakespeare.txt, tinyshakespeare.txt or input.txt in corpora/ or in a folder of
$CHARRNN_CORPORA; without it that part is skipped.

Each row is a check (pass or fail: the figure may be at most the limit), a measurement, or a part
that was skipped, with the reason. The exit code is 1 if a check failed. docs/scaling.md says how
charrnn computes on a GPU. The parts:

- steps, optimizers: a step in fp32 with every cell, depth and kind of noise, and three of each
  optimizer, have the loss (1e-4 nats), the gradients and the weights (0.1 % of the largest) of the
  CPU.
- resume: a run that was saved and restored ends in the same bits in every precision. moves: a run
  that moves from the CPU to the GPU and back ends within 0.01 nats.
- precisions: after 200 steps in bf16 and fp16, the loss is within 0.1 nats of fp32.
- evaluation: losses agree to 1e-4 nats, cell values to 0.01, scores of cells to 0.005.
- sampling: a captured graph draws the texts of single operations; at most 10 % of the characters
  differ from NumPy's after a draw within rounding.
- training_speed, sampling_speed: characters/s, beside a stock loop around nn.LSTM and as a share of
  the GPU's own rate of matrix products.
- time_to_loss: seconds to a windowed-256 loss of at most 1.4697 nats on tiny Shakespeare; three
  seeds, the worst counts, goal 30 seconds.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.checking import Results, Setup
from benchmarks.gpu.comparisons import (
    check_evaluation,
    check_moves,
    check_optimizers,
    check_precisions,
    check_resume,
    check_steps,
)
from benchmarks.gpu.goals import measure_time_to_loss
from benchmarks.gpu.sample_speed import check_sampling, measure_sampling
from benchmarks.gpu.step_speed import measure_training
from benchmarks.measuring import describe_machine
from charrnn.errors import CharRNNError
from charrnn.model.device import pick_device

PARTS: dict[str, Callable[[Setup, Results], None]] = {
    "steps": check_steps,
    "optimizers": check_optimizers,
    "resume": check_resume,
    "moves": check_moves,
    "precisions": check_precisions,
    "evaluation": check_evaluation,
    "sampling": check_sampling,
    "training_speed": measure_training,
    "sampling_speed": measure_sampling,
    "time_to_loss": measure_time_to_loss,
}
"""The parts by the name that --only takes, in their order."""


@contextmanager
def counted_warnings(results: Results) -> Iterator[None]:
    """Check that torch warns neither of kernels that are not deterministic nor of weights that
    cuDNN has to copy."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    messages = [str(warning.message) for warning in caught]
    found = [
        message for message in messages if "determinis" in message or "contiguous chunk" in message
    ]
    results.check(
        "warnings of slow or nondeterministic kernels", len(found), 0, found[0] if found else ""
    )


FAILURES = (
    *(CharRNNError, OSError, subprocess.SubprocessError, RuntimeError, AssertionError),
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
)
"""What a part can raise on a machine that nobody has tried: it is reported as failed, and the
others still run."""


def run_parts(setup: Setup, results: Results, names: list[str]) -> None:
    """Run parts one after the other. One that breaks off counts as a failed check, and the others
    still run."""
    with counted_warnings(results):
        for name in names:
            begin = time.perf_counter()
            try:
                PARTS[name](setup, results)
            except FAILURES as error:
                detail = getattr(error, "stderr", None) or str(error)
                results.add(
                    "FAIL",
                    f"{name} broke off",
                    None,
                    None,
                    f"{type(error).__name__}: {detail[-300:]}",
                )
            if setup.device.type == "cuda":
                torch.cuda.empty_cache()
            print(f"{name}: {time.perf_counter() - begin:.1f} seconds", file=sys.stderr)


def describe_device(device: torch.device) -> dict[str, Any]:
    """Describe the GPU and its libraries."""
    if device.type != "cuda":
        return {"device": str(device)}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_gigabytes": round(properties.total_memory / 1e9, 1),
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def main() -> int:
    """Run the parts, print the table, write the file, and return 1 if a check failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to test this script")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write one JSON object to FILE"
    )
    arguments = parser.parse_args()
    try:
        setup = Setup(pick_device(arguments.device), arguments.quick)
    except CharRNNError as error:
        print(f"{error} Or test this script with --device cpu.", file=sys.stderr)
        return 2
    if setup.is_quick:  # Threads take longer to start than to compute anything this small.
        torch.set_num_threads(1)
    begin, results = time.perf_counter(), Results()
    machine = describe_machine() | describe_device(setup.device)
    cudnn = f"cuDNN {machine['cudnn']}" if machine.get("cudnn") else "no cuDNN"
    print(f"{machine['device']}, torch {machine['torch']}, {cudnn}, {machine['processor']}")
    run_parts(
        setup, results, [name for name in PARTS if not arguments.only or name in arguments.only]
    )
    seconds = time.perf_counter() - begin
    print(f"\n{results.num_failed} of {len(results.rows)} rows failed, {seconds:.0f} seconds")
    if arguments.json is not None:
        found = {
            "benchmark": "gpu_check",
            "machine": machine,
            "seconds": seconds,
            "rows": results.rows,
        }
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if results.num_failed else 0


if __name__ == "__main__":
    sys.exit(main())
