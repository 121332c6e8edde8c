"""Check that charrnn computes on an NVIDIA GPU what it computes on a CPU, and measure how fast.

    python benchmarks/gpu/gpu_check.py                       # under ten minutes on one GPU; needs no other input
    python benchmarks/gpu/gpu_check.py --install             # installs missing packages first
    python benchmarks/gpu/gpu_check.py --only basics         # half a minute: do this build and this GPU work?
    python benchmarks/gpu/gpu_check.py --only war_and_peace budgets  # what takes longer: 4 and 15 minutes
    python benchmarks/gpu/gpu_check.py --device cpu --quick  # the same code on a CPU, in small sizes

The report is printed, and written to the folder of --out, by default $OUT: report.md line by line,
and gpu.json at the end.

The text is generated. Only the times to a loss need texts: tiny Shakespeare, a file of 1,115,394
bytes named shakespeare.txt, tinyshakespeare.txt or input.txt, and war-and-peace.txt, in corpora/ or
in a folder of $CHARRNN_CORPORA; without them these parts are skipped.

Each row is a check (pass or fail: the figure may be at most the limit), a measurement, or a part
that was skipped, with the reason. The exit code is 1 if a check failed. docs/use/scaling.md says how
charrnn computes on a GPU. The parts, in their order:

- basics: the build of torch, and some steps in every precision.
- steps, optimizers: a step in fp32 with every cell, depth and kind of noise, and three of each
  optimizer, have the loss (1e-4 nats), the gradients and the weights (0.1 % of the largest) of the
  CPU.
- step_speed: milliseconds of a step by size and batch rows: launches, time on the GPU, memory.
- time_to_loss: seconds to a windowed-256 loss of at most 1.4697 nats on tiny Shakespeare; three
  seeds, the worst counts, goal 30 seconds. minute: goal 1.37 nats.
- sampling: a captured graph draws the texts of single operations; at most 10 % of the characters
  differ from NumPy's after a draw within rounding.
- sampling_speed: characters/s of 1, 64 and 256 texts, beside the loop of this machine's processor.
- resume: a run that was saved and restored ends in the same bits in every precision. moves: a run
  that moves from the CPU to the GPU and back ends within 0.01 nats.
- precisions: after 200 steps in bf16 and fp16, the loss is within 0.1 nats of fp32.
- evaluation: losses agree to 1e-4 nats, cell values to 0.01, scores of cells to 0.005.
- training_speed: characters/s, beside a stock loop around nn.LSTM and as a share of the GPU's own
  rate of matrix products.
- war_and_peace (only with --only): three minutes, goal 1.04 nats per byte of the test part.
- budgets (only with --only): losses of sizes and batch rows after 10 s and after a minute.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # nothing need be installed but the packages
    sys.path.insert(0, str(ROOT))

from benchmarks.gpu import prepare  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.gpu.checking import Setup

SECONDS = 540
"""Time after which no part begins, so that a run ends within ten minutes."""


def main() -> int:
    """Check the arguments and the packages, then `check` the GPU. Return 2 if that is impossible."""
    arguments = parse_arguments()
    problems = prepare.install() if arguments.install else []
    for problem in problems:
        print(problem, file=sys.stderr)
    if prepare.missing():
        print(f"Missing: {', '.join(prepare.missing())}. Use --install.", file=sys.stderr)
        return 2

    # The packages are there only now.
    import torch

    from benchmarks.gpu.checking import Setup
    from benchmarks.gpu.parts import LONG_PARTS, PARTS
    from charrnn.errors import CharRNNError
    from charrnn.model.device import pick_device

    unknown = [name for name in arguments.only if name not in PARTS | LONG_PARTS]
    if unknown:
        print(f"{unknown[0]} is no part: {', '.join(PARTS | LONG_PARTS)}", file=sys.stderr)
        return 2
    try:
        setup = Setup(pick_device(arguments.device), arguments.quick)
    except CharRNNError as error:
        print(f"{error} This is torch {torch.__version__}.", file=sys.stderr)
        print("Or test this script with --device cpu.", file=sys.stderr)
        return 2
    if setup.is_quick:  # Threads take longer to start than to compute anything this small.
        torch.set_num_threads(1)

    return check(setup, arguments)


def check(setup: "Setup", arguments: argparse.Namespace) -> int:
    """Run the parts that are asked for, and write the report. Return 1 if a check failed, else
    0."""
    from benchmarks.gpu.checking import Results
    from benchmarks.gpu.parts import PARTS, describe_device, run_parts
    from benchmarks.measuring import describe_machine

    begin = time.perf_counter()
    results = Results()
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        results.report = arguments.out / "report.md"

    # The device, the parts, and how many rows failed.
    machine = describe_machine() | describe_device(setup.device)
    cudnn = f"cuDNN {machine['cudnn']}" if machine.get("cudnn") else "no cuDNN"
    words = (machine["device"], f"torch {machine['torch']}", cudnn, machine["processor"])
    results.line(", ".join(map(str, words)))
    names = arguments.only or list(PARTS)
    run_parts(setup, results, names=names, end=begin + arguments.seconds)
    seconds = time.perf_counter() - begin
    results.line(
        f"\n{results.num_failed} of {len(results.rows)} rows failed, {seconds:.0f} seconds"
    )

    if arguments.out is not None:
        report = {"benchmark": "gpu_check", "machine": machine, "seconds": seconds}
        text = json.dumps(report | {"rows": results.rows}, indent=1) + "\n"
        (arguments.out / "gpu.json").write_text(text, encoding="utf-8")
    return 1 if results.num_failed else 0


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out = os.environ.get("OUT")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to test this script")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="the parts to run")
    parser.add_argument("--install", action="store_true", help="install missing packages by pip")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="begin no part after so many seconds"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(out) if out else None,
        metavar="FOLDER",
        help="write report.md and gpu.json there [default: $OUT]",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
