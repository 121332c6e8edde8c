"""Choose the device, the precision, the number of threads and the memory allocation with which a
model computes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from charrnn.config.settings import PRECISIONS
from charrnn.errors import UsageError, named
from charrnn.system.lazy import Tensor, torch


def pick_device(name: str) -> torch.device:
    """Return the device `cpu`, `cuda` or `mps`; `auto` chooses the fastest available device.

    Raises UsageError if the device is not available.
    """
    # The devices are ordered by speed: `auto` takes the first available device.
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(candidate for candidate, is_here in available.items() if is_here)
    if not available[name]:
        raise UsageError(f"{_why_missing(name)}, or use {named('device', 'auto')}.")

    if name == "cuda":
        # cuBLAS reads this variable when it is first used. Without it, older versions may add up in
        # another order at every call.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    return torch.device(name)


def _why_missing(name: str) -> str:
    """Return why torch offers no device of this name, and what to do about it."""
    if name == "mps":
        return "torch finds no device mps: it is the GPU of a Mac with Apple silicon. Use cpu"
    # A machine with a GPU may have the torch that is smaller by gigabytes.
    if torch.version.cuda is None and torch.version.hip is None:
        return (
            f"The installed torch {torch.__version__} is for processors alone: it cannot use cuda,"
            " on any machine. Install the torch with CUDA (docs/use/install.md)"
        )
    return (
        f"torch {torch.__version__} finds no device cuda: `nvidia-smi` says whether there is a GPU"
        " and a driver. Install the driver"
    )


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device computes faster in bf16 than in fp32.

    `auto` takes bf16 only where it saves time: elsewhere it would only cost digits.

    A CPU does if it is Intel's and has AMX, or another one with AVX512-BF16, and oneDNN may use
    these instructions.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))

    # Emulated bf16 is slower than fp32. oneDNN emulates bf16 if the processor has no instructions
    # for it, or if the user has forbidden them.
    cap = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    if device.type != "cpu" or not any(word in cap for word in CAPS_WITH_BF16):
        return False

    # With AVX512-BF16, bf16 is faster than fp32 on AMD's processors, but slower on Intel's
    # (benchmarks/LOG.md).
    capabilities = torch.cpu.get_capabilities()
    is_intel = "Intel" in capabilities.get("cpu_name", "")
    return bool(capabilities.get("amx_bf16" if is_intel else "avx512_bf16"))


@cache
def cpu_computes_bf16() -> bool:
    """Whether an LSTM runs in bf16 on this CPU.

    PyTorch asks the processor, but computes with oneDNN. If ONEDNN_MAX_CPU_ISA limits oneDNN to
    fewer instructions, PyTorch chooses a kernel that oneDNN does not have.
    """
    # The weights are drawn from the global generator, whose state must not change.
    with torch.random.fork_rng(devices=[]):
        lstm = torch.nn.LSTM(1, 1)

    # Only an attempt shows whether it works.
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            lstm(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Compute in `auto`, `fp32`, `bf16` or `fp16` inside the `with` block; `auto` chooses bf16
    where it is fast.

    Training and losses run in it; cells are traced in float32. On CUDA it includes
    `exact_arithmetic`. Raises UsageError for any other precision, and for `bf16` on a CPU that
    cannot compute in it.
    """
    precision_used = chosen_precision(device, precision)
    with (
        exact_arithmetic(device),
        torch.autocast(
            device.type,
            dtype=getattr(torch, DTYPES[precision_used]),
            enabled=precision_used != "fp32",
        ),
    ):
        yield


BF16_UNITS = 128
"""Minimum number of units for bf16 on a CPU: smaller products gain less time than the conversion of
numbers takes (benchmarks/LOG.md)."""


def chosen_precision(device: torch.device, precision: str, num_units: int = BF16_UNITS) -> str:
    """Return the precision in which a network of so many units computes: `fp32`, `bf16` or `fp16`.

    It is decided once, before a training or a measurement, and written down with the result;
    `autocast` then computes in it. `auto` is bf16 if the device is faster in it, unless it is a CPU
    and the layers have fewer than BF16_UNITS units. Raises UsageError if `precision` is neither one
    of these nor `auto`, and for `bf16` on a CPU that cannot compute in it.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}.")

    # A user who names bf16 gets it even if it is slow, but not if it fails.
    if precision == "bf16" and device.type == "cpu" and not cpu_computes_bf16():
        raise UsageError(
            "precision is 'bf16', but oneDNN cannot compute in it on this CPU. Use auto or fp32."
        )

    if precision == "auto":
        is_small = device.type == "cpu" and num_units < BF16_UNITS
        return "bf16" if has_fast_bf16(device) and not is_small else "fp32"
    return precision


def autocast_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of matrix products in the current autocast context; outside of a context
    this is `dtype` itself.

    Code that calls a kernel by itself must convert its arguments, which autocast does for torch's
    own functions.
    """
    if not torch.is_autocast_enabled(device.type):
        return dtype
    return torch.get_autocast_dtype(device.type)


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Compute fp32 in fp32 and by deterministic kernels inside the `with` block; it has an effect
    only on CUDA.

    By default, cuDNN rounds the inputs of fp32 products to TF32 (10 bits of mantissa), and some
    kernels of torch add up in an order that differs from call to call. An operation without a
    deterministic kernel causes a warning.
    """
    if device.type != "cuda":
        yield
        return

    # The type hints of torch do not declare the attributes that are changed here.
    rnn: Any = torch.backends.cudnn.rnn
    matmul: Any = torch.backends.cuda.matmul
    uninitialized: Any = torch.utils.deterministic
    backends = (rnn, matmul)

    # Save the settings, because the calling program may have changed them.
    precisions = [backend.fp32_precision for backend in backends]
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    was_filled = uninitialized.fill_uninitialized_memory

    for backend in backends:
        backend.fp32_precision = "ieee"
    torch.use_deterministic_algorithms(True, warn_only=True)
    # The deterministic mode would fill every `torch.empty`, which is useless: charrnn never reads
    # uninitialized memory.
    uninitialized.fill_uninitialized_memory = False
    try:
        yield
    finally:
        for backend, before in zip(backends, precisions, strict=True):
            backend.fp32_precision = before
        torch.use_deterministic_algorithms(was_deterministic, warn_only=only_warned)
        uninitialized.fill_uninitialized_memory = was_filled


def to_device(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Copy a tensor to a device unless it is there, and convert it to `dtype` if a dtype is given.

    To CUDA the copy goes through page-locked memory, so that the processor does not wait for all
    kernels before it.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        # The tensor is converted before the copy, because that may make it smaller.
        return tensor.to(dtype or tensor.dtype).pin_memory().to(device, non_blocking=True)
    return tensor.to(device, dtype or tensor.dtype)


DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""The name of the dtype of matrix products in each precision."""
CUBLAS_WORKSPACE = ":4096:8"
"""Default of CUBLAS_WORKSPACE_CONFIG: eight buffers of 4 MiB, with which cuBLAS and cuDNN's
recurrent layers compute the same in every run
(https://docs.pytorch.org/docs/stable/notes/randomness.html)."""
CAPS_WITH_BF16 = ("ALL", "DEFAULT", "BF16", "FP16", "AMX", "AVX10")
"""Parts of the values of oneDNN's ONEDNN_MAX_CPU_ISA that allow instructions for bf16. With all
other values bf16 is emulated."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""


def keep_freed_memory() -> None:
    """Make the C library reuse the memory of freed tensors, in this process from now on.

    By default, glibc returns large blocks to the system at once, so every step would request all
    its activations again, page by zeroed page. Does nothing where the C library has no `mallopt`.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt

        # Blocks of up to a GiB come from the heap, which keeps up to 2 GiB of freed memory at its
        # end. Older versions reject a threshold of more than 32 MiB.
        if mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25):
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def on_threads(num_threads: int) -> Iterator[None]:
    """Compute on `num_threads` processor threads inside the `with` block.

    A small computation is faster on one thread: several wait for each other at every operation.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
