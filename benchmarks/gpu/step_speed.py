"""Measure how fast a device trains, beside torch.nn, for gpu_check.py."""

from functools import partial

import torch

from benchmarks.gpu.checking import Results, Setup, make_trainer
from benchmarks.measuring import in_turn, matmul_rate, waiting
from benchmarks.speed.train_speed import num_operations, our_step, stock_step
from charrnn.model.device import DTYPES, exact_arithmetic
from charrnn.model.noise import draw_mask
from charrnn.training.trainer import Trainer


def measure_training(setup: Setup, results: Results) -> None:
    """Measure characters per second of whole steps beside stock's, and the share of the device's
    matrix rate."""
    side = setup.size(8192, 1024, 256)
    rates: dict[str, float] = {}
    for precision in setup.precisions():
        with exact_arithmetic(setup.device):
            rates[precision] = matmul_rate(getattr(torch, DTYPES[precision]), side, setup.device)
        results.measure(f"matrix products of {side}, {precision}: TFLOP/s", rates[precision] / 1e12)
    shapes = setup.size([(2, 512), (3, 1024), (1, 2048)], small=[(2, 128)], quick=[(2, 32)])
    seconds = setup.size(1, 1, 0)
    for num_layers, hidden_size in shapes:
        for batch_size in setup.size([64, 512], small=[16], quick=[4]):
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
                (median,) = in_turn(
                    waiting(ours.take_step, setup.device),
                    at_least_seconds=seconds,
                )
                share = num_operations(ours.config) / median / rates[precision]
                note = f"{stock_seconds / median:.2f} times stock, {share:.1%} of the matrix rate"
                results.measure(
                    f"charrnn, {precision}, {shape}: characters/s", chars / median, note
                )
                del ours


def measure_steps(setup: Setup, results: Results) -> None:
    """Measure the milliseconds of a step as `charrnn train` takes it, and the memory of the GPU."""
    sizes = setup.size(
        [(1, 128), (1, 256), (1, 512), (2, 512), (3, 1024)], small=[(1, 64)], quick=[(1, 16)]
    )
    for num_layers, hidden_size in sizes:
        time_step(setup, results, num_layers, hidden_size, setup.size(32, 8, 4))
    for num_layers, hidden_size in setup.size([(1, 512), (2, 512)], small=[], quick=[]):
        for batch_size in (64, 128, 256):
            time_step(setup, results, num_layers, hidden_size, batch_size)


def time_step(
    setup: Setup,
    results: Results,
    num_layers: int,
    hidden_size: int,
    batch_size: int,
) -> None:
    """Add the rows of one size."""
    length = setup.size(128, 32, 8)
    precision = setup.precisions()[-1]
    if "bf16" in setup.precisions():
        precision = "bf16"
    trainer = make_trainer(
        setup.device,
        num_layers=num_layers,
        hidden_size=hidden_size,
        embedding_size=min(64, hidden_size),
        batch_size=batch_size,
        bptt_length=length,
        weight_drop=0.1,
        precision=precision,
    )
    name = f"a step of {num_layers}x{hidden_size}, {batch_size} rows x {length}, {precision}"
    results.phase(name)
    if setup.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(setup.device)
    (median,) = in_turn(trainer.take_step, at_least_seconds=setup.size(1, 1, 0))
    note = f"{batch_size * length / median:,.0f} characters/s"
    if setup.device.type == "cuda":
        launches, busy = count_launches(trainer)
        gigabytes = torch.cuda.max_memory_reserved(setup.device) / 1e9
        note += f", {launches:.0f} launches, {busy:.2f} ms on the GPU, {gigabytes:.2f} GB"
    (drawing,) = in_turn(partial(draw_masks, trainer), at_least_seconds=0)
    note += f", masks drawn in {1000 * drawing:.2f} ms"
    results.measure(f"{name}: ms", 1000 * median, note)
    del trainer


def count_launches(trainer: Trainer) -> tuple[float, float]:
    """Return how many kernels the processor launches in a step, and the milliseconds in which the
    GPU computes."""
    num_steps = 5
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(num_steps):
            trainer.take_step()
        torch.cuda.synchronize()
    events = profile.key_averages()
    launches = sum(event.count for event in events if "Launch" in event.key)
    busy = sum(event.self_device_time_total for event in events) / 1000
    return launches / num_steps, busy / num_steps


def draw_masks(trainer: Trainer) -> None:
    """Draw a mask of every recurrent weight, which the processor does in each step."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in trainer.network.named_parameters():
        if "weight_hh" in name:
            draw_mask(weight.shape, share=0.1, generator=generator)
