"""Where a model computes, in which precision, on how many threads and out of which memory."""

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
    """Turn `auto`, `cpu`, `cuda` or `mps` into a device that is here; `auto` takes the fastest.

    Raises UsageError where the named device is missing.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(candidate for candidate, is_here in available.items() if is_here)
    if not available[name]:
        raise UsageError(f"This machine has no {name} device. Use {named('device', 'auto')}.")
    return torch.device(name)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16 products (on a CPU: AVX512-BF16 or AMX, unless oneDNN is capped)."""
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
    """Whether an LSTM runs in bf16 on this CPU.

    PyTorch asks the processor, but computes with oneDNN, which ONEDNN_MAX_CPU_ISA limits to lesser instructions: then
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
    """A fresh autocast context for `auto`, `fp32` or `bf16`; `auto` takes bf16 where it is fast.

    Raises UsageError for any other precision, and for `bf16` on a CPU that cannot compute in it.
    """
    is_bf16 = chosen_precision(device, precision) == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_bf16)


def chosen_precision(device: torch.device, precision: str) -> str:
    """`fp32` or `bf16`, whichever `autocast` computes in. Raises UsageError as it does."""
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}.")
    if precision == "bf16" and device.type == "cpu" and not cpu_computes_bf16():
        raise UsageError("precision is 'bf16', but oneDNN cannot compute in it on this CPU. Use auto or fp32.")
    if precision == "auto":
        return "bf16" if has_fast_bf16(device) else "fp32"
    return precision


Item = TypeVar("Item")
CAPS_WITH_BF16 = ("ALL", "DEFAULT", "BF16", "FP16", "AMX", "AVX10")
"""Parts of the values of oneDNN's ONEDNN_MAX_CPU_ISA that allow instructions for bf16; others leave it emulated."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Have the C library keep what tensors free for the next ones, in this process from here on.

    glibc gives large blocks back at once, so every step would fetch all its activations from the system anew, page by
    zeroed page. Does nothing where the C library has no `mallopt`.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    # Older versions refuse more than 32 MiB.
    if mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25):
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def on_threads(num_threads: int) -> Iterator[None]:
    """Compute on that many processor threads inside the `with`, on as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def computed_on_threads(num_threads: int, items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The same items, each computed on that many processor threads.

    Between two of them, torch's number of threads is the caller's own.
    """
    with closing(items):
        while True:
            with on_threads(num_threads):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
