"""Answer within two minutes whether this build of torch and this GPU work, for gpu_check.py."""

import math
import operator

import numpy as np
import torch

from benchmarks.gpu.checking import CPU, LOSS_LIMIT, Results, Setup, digest, make_trainer
from charrnn.training.captured_trainer import WARM_UPS, CapturedTrainer
from charrnn.training.trainer import Trainer

BF16_CUDNN = 91300
"""Version of cuDNN from which it computes recurrent layers in bf16."""


def check_basics(setup: Setup, results: Results) -> None:
    """Check the build, a product, a graph, and some steps in every precision."""
    check_build(setup, results)
    check_graph(setup, results)
    num_steps = WARM_UPS + 5
    for precision in setup.precisions():
        results.phase(f"steps in {precision}")
        chosen = {
            "precision": precision,
            "hidden_size": setup.size(128, 32, 12),
            "weight_drop": 0.1,
        }
        plain = make_trainer(setup.device, capture="off", **chosen)
        captured = make_trainer(setup.device, **chosen)
        losses = [trainer_losses(trainer, num_steps) for trainer in (plain, captured)]
        is_finite = all(map(math.isfinite, losses[0] + losses[1]))
        name = f"{num_steps} steps in {precision}"
        results.check(f"{name}: losses that are not finite", float(not is_finite), 0)
        if not isinstance(captured, CapturedTrainer):
            results.skip(f"{name}: captured", "only steps on CUDA are captured")
            continue
        warning = " ".join(captured.capture.warnings)
        results.check(
            f"{name}: captures that failed", float(captured.capture.has_failed), 0, warning
        )
        differ = sum(map(operator.ne, *losses))
        results.measure(f"{name}: losses that differ, captured and not", differ)
        results.measure(
            f"{name}: other weights, captured and not", float(digest(plain) != digest(captured))
        )
        if precision == "fp32":
            expected = trainer_losses(make_trainer(CPU, **chosen), num_steps)
            apart = max(map(abs, np.subtract(losses[1], expected)))
            results.check(f"{name}: nats from the CPU's", apart, 10 * LOSS_LIMIT)


def trainer_losses(trainer: Trainer, num_steps: int) -> list[float]:
    """Return the losses of the next steps of a trainer."""
    return [trainer.take_step().train_nats for _ in range(num_steps)]


def check_build(setup: Setup, results: Results) -> None:
    """Say which torch is there, and whether it has kernels for this GPU."""
    results.phase("the build")
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    results.measure("torch: version", major + minor / 100, torch.__version__)
    if setup.device.type != "cuda":
        results.skip("kernels for this GPU", "no CUDA")
        return
    capability = "sm_{}{}".format(*torch.cuda.get_device_capability(setup.device))
    results.measure(
        "kernels for this GPU", float(capability in torch.cuda.get_arch_list()), capability
    )
    version = torch.backends.cudnn.version() or 0
    results.measure("cuDNN: version", version, f"bf16 from {BF16_CUDNN} on")
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(512, 512, generator=generator)
    apart = (matrix.to(setup.device) @ matrix.to(setup.device)).cpu() - matrix @ matrix
    # Sums of 512 products of about 1 in fp32, or in TF32 with 10 bits.
    results.check("a product, beside the CPU's", float(apart.abs().max()), 0.5)


def check_graph(setup: Setup, results: Results) -> None:
    """Capture one addition and one LSTM, apart from charrnn, and replay them."""
    results.phase("a graph")
    if setup.device.type != "cuda":
        results.skip("a captured graph", "no CUDA")
        return
    lstm = torch.nn.LSTM(64, 64).to(setup.device)
    inputs = torch.randn(8, 4, 64, device=setup.device)
    stream = torch.cuda.Stream(setup.device)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            lstm(inputs)[0].sum().backward()
    torch.cuda.current_stream().wait_stream(stream)
    lstm.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        outputs = lstm(inputs)[0]
        outputs.sum().backward()
    inputs.mul_(2)
    graph.replay()
    expected = lstm(inputs)[0]
    results.check("a captured LSTM", float((outputs - expected).abs().max().detach()), 1e-3)
