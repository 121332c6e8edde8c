"""Recurrences that a library computes as a whole: oneDNN's LSTM on a CPU, cuDNN's cells on an NVIDIA GPU.

Shapes: T time, B batch, I input, H hidden, G blocks, S state vectors (2 for an lstm, else 1).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from charrnn.model.device import autocast_dtype

FUNCTIONS = {"lstm": "lstm", "gru": "gru", "rnn": "rnn_tanh", "irnn": "rnn_relu"}
"""Cell types whose equations are those of a function of torch, and its name: what `nn.LSTM`, `nn.GRU` and `nn.RNN`
call. They are not documented, so one may be missing."""
FASTEST_ON_CPU = ("lstm",)
"""Cell types for which that function is the fastest implementation on a CPU. Others step through time there, and
`model.recurrence` does that with fewer operations."""


def runs_whole(cell_name: str, device: torch.device) -> bool:
    """Return whether `run_whole` is the fastest implementation of a cell type on that device."""
    return (device.type == "cuda" or cell_name in FASTEST_ON_CPU) and hasattr(torch, FUNCTIONS.get(cell_name, ""))


def run_whole(
    cell_name: str, inputs: Tensor, state: Tensor, weights: Sequence[Tensor], *, casts: bool | None = None
) -> tuple[Tensor, Tensor]:
    """Compute all outputs (T, B, H) and the last state (S, B, H) from inputs (T, B, I) and a state (S, B, H).

    `weights` are weight_ih (G*H, I), weight_hh (G*H, H), bias_ih (G*H,) and bias_hh (G*H,). Under autocast, `casts`
    says whether the arguments are converted here instead of by torch; by default they are on CUDA, where torch's
    autocast takes fp16 for bf16, and in fp16 on a CPU, where it calls kernels of oneDNN that few processors have.
    """
    function: Callable[..., Any] = getattr(torch, FUNCTIONS[cell_name])
    device, dtype = inputs.device, autocast_dtype(inputs.device, weights[0].dtype)
    if casts is None:
        casts = device.type == "cuda" or dtype == torch.float16
    if not casts:
        return _call(function, inputs, state, weights)
    with torch.autocast(device.type, enabled=False):
        return _call(function, inputs.to(dtype), state.to(dtype).contiguous(), _in_one_buffer(weights, dtype))


def _call(
    function: Callable[..., Any], inputs: Tensor, state: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    # Biases, one layer, no dropout, training (without it there is no backward pass on CUDA), one direction, time first.
    options = (list(weights), True, 1, 0.0, True, False, False)
    if len(state) == 2:
        outputs, h, c = function(inputs, tuple(state.chunk(2)), *options)
        return outputs, torch.cat((h, c))
    outputs, h = function(inputs, state, *options)
    return outputs, h


def _in_one_buffer(weights: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Copy weights to one block of memory, one after the other.

    That is how cuDNN wants them: otherwise it copies them itself at every call, and torch warns about it.
    """
    buffer = torch.cat([weight.flatten() for weight in weights]).to(dtype)
    parts = torch.split(buffer, [weight.numel() for weight in weights])
    return [part.view(weight.shape) for part, weight in zip(parts, weights, strict=True)]
