"""The device, the precision, the number of threads and the memory allocation that a model computes with."""

import ctypes
import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import TypeVar

import torch

from charrnn.config import PRECISIONS
from charrnn.errors import UsageError, named


def pick_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `mps` names; `auto` chooses the fastest available one.

    Raises UsageError if the device is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(candidate for candidate, is_here in available.items() if is_here)
    if not available[name]:
        raise UsageError(f"This machine has no {name} device. Use {named('device', 'auto')}.")
    return torch.device(name)


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether the device has bf16 instructions (on a CPU: AVX512-BF16 or AMX, if oneDNN may use them)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        cap = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
        if not any(word in cap for word in CAPS_WITH_BF16):
            return False
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


@cache
def cpu_computes_bf16() -> bool:
    """Return whether an LSTM runs in bf16 on this CPU.

    PyTorch asks the processor, but computes with oneDNN. If ONEDNN_MAX_CPU_ISA limits oneDNN to fewer instructions,
    PyTorch chooses a kernel that oneDNN does not have.
    """
    with torch.random.fork_rng(devices=[]):
        lstm = torch.nn.LSTM(1, 1)
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            lstm(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Make an autocast context for `auto`, `fp32` or `bf16`; `auto` chooses bf16 where it is fast.

    Raises UsageError for any other precision, and for `bf16` on a CPU that cannot compute in it.
    """
    is_bf16 = chosen_precision(device, precision) == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_bf16)


def chosen_precision(device: torch.device, precision: str) -> str:
    """Return the precision that `autocast` computes in, `fp32` or `bf16`. Raises UsageError as it does."""
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}.")
    if precision == "bf16" and device.type == "cpu" and not cpu_computes_bf16():
        raise UsageError("precision is 'bf16', but oneDNN cannot compute in it on this CPU. Use auto or fp32.")
    if precision == "auto":
        return "bf16" if has_fast_bf16(device) else "fp32"
    return precision


Item = TypeVar("Item")
"""What an iterator yields."""
CAPS_WITH_BF16 = ("ALL", "DEFAULT", "BF16", "FP16", "AMX", "AVX10")
"""Parts of the values of oneDNN's ONEDNN_MAX_CPU_ISA that allow instructions for bf16; others leave it emulated."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""


def keep_freed_memory() -> None:
    """Make the C library reuse the memory of freed tensors, in this process from now on.

    By default, glibc returns large blocks to the system at once, so every step would request all its activations
    again, page by zeroed page. Does nothing where the C library has no `mallopt`.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    # Older versions reject more than 32 MiB.
    if mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25):
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def on_threads(num_threads: int) -> Iterator[None]:
    """Compute on `num_threads` processor threads inside the `with` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def computed_on_threads(num_threads: int, items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """Yield the same items, each computed on `num_threads` processor threads.

    Between two items, torch uses the caller's number of threads.
    """
    with closing(items):
        while True:
            with on_threads(num_threads):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
