"""Measure how fast a device trains, beside torch.nn, for gpu_check.py."""

import torch

from benchmarks.gpu.checking import Results, Setup
from benchmarks.measuring import in_turn, matmul_rate, waiting
from benchmarks.speed.train_speed import num_operations, our_step, stock_step
from charrnn.model.device import DTYPES, exact_arithmetic


def measure_training(setup: Setup, results: Results) -> None:
    """Measure characters per second of whole steps beside stock's, and the share of the device's
    matrix rate."""
    side = setup.size(8192, 1024, 256)
    rates: dict[str, float] = {}
    for precision in setup.precisions():
        with exact_arithmetic(setup.device):
            rates[precision] = matmul_rate(getattr(torch, DTYPES[precision]), side, setup.device)
        results.measure(f"matrix products of {side}, {precision}: TFLOP/s", rates[precision] / 1e12)
    shapes = (
        [(2, 32)]
        if setup.is_quick
        else [(2, 128)]
        if setup.is_small
        else [(2, 512), (3, 1024), (1, 2048)]
    )
    seconds = setup.size(1, 1, 0)
    for num_layers, hidden_size in shapes:
        for batch_size in (4,) if setup.is_quick else (16,) if setup.is_small else (64, 512):
            length = setup.size(128, 32, 8)
            shape = f"{num_layers}x{hidden_size}, {batch_size} lanes x {length}"
            stock = stock_step("lstm", num_layers, hidden_size, batch_size, length, setup.device)
            # As torch sets it up: cuDNN's recurrent layers in TF32.
            (stock_seconds,) = in_turn(waiting(stock, setup.device), at_least_seconds=seconds)
            chars = batch_size * length
            results.measure(f"stock nn.LSTM, fp32, {shape}: characters/s", chars / stock_seconds)
            del stock
            for precision in setup.precisions():
                ours = our_step(
                    "lstm",
                    num_layers,
                    hidden_size,
                    batch_size,
                    length,
                    precision,
                    device=setup.device,
                )
                (median,) = in_turn(waiting(ours.take_step, setup.device), at_least_seconds=seconds)
                share = num_operations(ours.config) / median / rates[precision]
                note = f"{stock_seconds / median:.2f} times stock, {share:.1%} of the matrix rate"
                results.measure(
                    f"charrnn, {precision}, {shape}: characters/s", chars / median, note
                )
                del ours
