"""Shared by the benchmarks: description and limits of the machine, alternating timing, and one
format of results.

A benchmark creates one `Report`, adds its rows and closes it. Without `--json` each row is printed
when it is measured; with it, stdout carries one JSON object, {"benchmark", "machine": {...},
"rows": [{...}, ...]}.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from charrnn.model.device import cpu_computes_bf16

Row = dict[str, str | int | float | None]
CAPS = (
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
    "OMP_NUM_THREADS",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
)
"""Environment variables that disable instructions: results under them are imitations of another
processor."""
INSTRUCTIONS = (
    "avx2",
    "avx512_f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_int8",
)
SQUARE = 2048
READ_BYTES = (262_144, 4_194_304, 268_435_456)
"""Sizes of the arrays for measuring bandwidth: about a level-2 cache, a level-3 cache, main memory.
"""


def seconds(call: Callable[[], object]) -> float:
    """Return the wall seconds of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def in_turn(
    *calls: Callable[[], object], warm_ups: int = 2, repeats: int = 5, at_least_seconds: float = 1.0
) -> list[float]:
    """Return the median wall seconds of each call.

    The calls are taken in turn, so that a machine whose speed drifts treats them alike: first
    `warm_ups` rounds that do not count, in which kernels are compiled and chosen, then at least
    `repeats` rounds and `at_least_seconds`.
    """
    for _ in range(warm_ups):
        for call in calls:
            call()
    times: list[list[float]] = []
    end = time.perf_counter() + at_least_seconds
    while len(times) < repeats or time.perf_counter() < end:
        times.append([seconds(call) for call in calls])
    return [statistics.median(column) for column in zip(*times, strict=True)]


def waiting(call: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """Return a function that calls `call` and waits until the device has computed everything."""

    def called() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return called


def matmul_rate(
    dtype: torch.dtype, size: int = SQUARE, device: torch.device | None = None
) -> float:
    """Return operations per second (2 * size^3 per product) of square matrix products on all of
    torch's threads."""
    device = device or torch.device("cpu")
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    (median,) = in_turn(waiting(lambda: a @ b, device), at_least_seconds=0.5)
    return 2 * size**3 / median


@cache
def _adder() -> Callable[[Any, int], Any]:
    # Imported here: a machine for which numba is missing can still run the benchmarks that do not
    # need it.
    from numba import njit

    def add_up(numbers: Any, repeats: int) -> Any:
        total = np.float32(0)
        for _ in range(repeats):
            for index in range(len(numbers)):
                total += numbers[index]
        return total

    return njit(error_model="numpy", fastmath=True)(add_up)  # type: ignore[no-any-return]


def read_rate(num_bytes: int) -> float:
    """Return bytes per second at which one thread reads an array of that size repeatedly."""
    add_up = _adder()
    numbers = np.ones(max(1, num_bytes // 4), np.float32)
    repeats = max(1, 50_000_000 // numbers.nbytes)
    (median,) = in_turn(lambda: add_up(numbers, repeats), at_least_seconds=0.3)
    return numbers.nbytes * repeats / median


def describe_machine() -> dict[str, Any]:
    """Describe the processor, the instructions that libraries may use, and its load. Measures
    nothing."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    load = os.getloadavg() if hasattr(os, "getloadavg") else (None,) * 3
    return {
        "processor": _processor_name(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": [name for name in INSTRUCTIONS if capabilities.get(name)],
        "torch_uses": torch.backends.cpu.get_cpu_capability(),
        "capped_by": {name: os.environ[name] for name in CAPS if name in os.environ},
        "load_average": [value if value is None else round(value, 2) for value in load],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def measure_limits() -> dict[str, Any]:
    """Measure the machine's limits: matrix products in fp32, in bf16 where the processor can (without
    oneDNN one product takes a minute), and reading on one thread; about 4 seconds."""
    products = {"fp32": torch.float32}
    if cpu_computes_bf16():
        products["bf16"] = torch.bfloat16
    return {
        "matrix_gflops": {
            name: round(matmul_rate(dtype) / 1e9, 1) for name, dtype in products.items()
        },
        "read_gigabytes_per_second": {
            str(size): round(read_rate(size) / 1e9, 1) for size in READ_BYTES
        },
    }


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the module's docstring as its help, and with `--json`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )
    return parser


def show(value: str | int | float | None) -> str:
    """Format a value: an integer from 100 on, two decimals below, "" for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else value


def print_table(rows: list[Row], columns: tuple[str, ...] = ()) -> None:
    """Print rows; a row whose columns differ from the last, first `columns`, starts a table with a
    header."""
    for row in rows:
        if columns != tuple(row):
            columns = tuple(row)
            print("\n| " + " | ".join(name.replace("_", " ") for name in columns) + " |")
            print("| " + " | ".join("---" for _ in columns) + " |")
        print("| " + " | ".join(map(show, row.values())) + " |", flush=True)


class Report:
    """The rows of one benchmark, under a description of the machine."""

    def __init__(self, benchmark: str, *, as_json: bool, with_limits: bool = True) -> None:
        """Describe the machine and, with `with_limits`, measure its own limits; print them unless
        `as_json`."""
        self._benchmark, self._as_json = benchmark, as_json
        self.machine = describe_machine()
        if with_limits:
            self.machine |= measure_limits()
        self._rows: list[Row] = []
        self._columns: tuple[str, ...] = ()
        if not as_json:
            print_machine(self.machine)

    def add(self, **row: str | int | float | None) -> None:
        """Add a row, and print it unless the report is JSON. A row with other columns than the last
        starts a table."""
        self._rows.append(row)
        if self._as_json:
            return
        print_table([row], self._columns)
        self._columns = tuple(row)

    def close(self) -> None:
        """Print the JSON object, if the report is JSON, with the current load average."""
        self.machine["load_average_at_end"] = describe_machine()["load_average"]
        if self._as_json:
            print(
                json.dumps(
                    {"benchmark": self._benchmark, "machine": self.machine, "rows": self._rows}
                )
            )
        else:
            print(f"\nload average at the end: {self.machine['load_average_at_end'][0]}")


def print_machine(machine: dict[str, Any]) -> None:
    """Print a description, one property per line."""
    for name, value in machine.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items()) or "nothing"
        elif isinstance(value, list):
            value = " ".join(map(str, value))
        print(f"{name.replace('_', ' ')}: {value}")
