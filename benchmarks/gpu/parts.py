"""The parts of gpu_check.py: their order, and what happens if one breaks off or the time ends."""

import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.gpu.basics import check_basics
from benchmarks.gpu.checking import Results, Setup
from benchmarks.gpu.comparisons import (
    check_evaluation,
    check_moves,
    check_optimizers,
    check_precisions,
    check_resume,
    check_steps,
)
from benchmarks.gpu.goals import (
    measure_budgets,
    measure_minute,
    measure_time_to_loss,
    measure_war_and_peace,
)
from benchmarks.gpu.sample_speed import check_sampling, measure_sampling
from benchmarks.gpu.step_speed import measure_steps, measure_training
from charrnn.errors import CharRNNError

PARTS: dict[str, Callable[[Setup, Results], None]] = {
    "basics": check_basics,
    "steps": check_steps,
    "step_speed": measure_steps,
    "time_to_loss": measure_time_to_loss,
    "minute": measure_minute,
    "sampling": check_sampling,
    "sampling_speed": measure_sampling,
    "resume": check_resume,
    "optimizers": check_optimizers,
    "evaluation": check_evaluation,
    "precisions": check_precisions,
    "moves": check_moves,
    "training_speed": measure_training,
}
"""The parts of one run, which takes less than ten minutes, by the name that --only takes. The parts
that decide most come first."""
LONG_PARTS: dict[str, Callable[[Setup, Results], None]] = {
    "war_and_peace": measure_war_and_peace,
    "budgets": measure_budgets,
}
"""Parts that only --only runs, because they take minutes each."""


@contextmanager
def counted_warnings(results: Results) -> Iterator[None]:
    """Check that torch warns neither of kernels that are not deterministic nor of weights that
    cuDNN has to copy."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    messages = [str(warning.message) for warning in caught]
    of_kernels = [
        message for message in messages if "determinis" in message or "contiguous chunk" in message
    ]
    name = "warnings of slow or nondeterministic kernels"
    results.check(name, len(of_kernels), 0, "".join(of_kernels[:1]))


FAILURES = (
    CharRNNError,
    OSError,
    subprocess.SubprocessError,
    RuntimeError,
    AssertionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What a part can raise on a machine that nobody has tried: the part is reported as failed, and the
other parts still run."""


def run_parts(setup: Setup, results: Results, *, names: list[str], end: float) -> None:
    """Run parts one after the other, but begin none after `end` (`time.perf_counter`). A part that
    breaks off counts as a failed check, and the other parts still run."""
    with counted_warnings(results):
        for name in names:
            begin = time.perf_counter()
            if begin > end:
                results.skip(name, "the time was over: run it with --only")
                continue
            results.phase(name)
            try:
                (PARTS | LONG_PARTS)[name](setup, results)
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
            results.phase(f"{name} took {time.perf_counter() - begin:.1f} seconds")


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
