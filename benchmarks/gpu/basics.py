"""Answer within two minutes whether this build of torch and this GPU work, for gpu_check.py."""

import math

import numpy as np
import torch

from benchmarks.gpu.checking import CPU, LOSS_LIMIT, Results, Setup, make_trainer
from charrnn.training.trainer import Trainer

BF16_CUDNN = 91300
"""Version of cuDNN from which it computes recurrent layers in bf16."""


def check_basics(setup: Setup, results: Results) -> None:
    """Check the build, a product, and some steps in every precision."""
    check_build(setup, results)
    num_steps = 10
    for precision in setup.precisions():
        results.phase(f"steps in {precision}")
        chosen = {
            "precision": precision,
            "hidden_size": setup.size(128, 32, 12),
            "weight_drop": 0.1,
        }
        losses = trainer_losses(make_trainer(setup.device, **chosen), num_steps)
        is_finite = all(map(math.isfinite, losses))
        name = f"{num_steps} steps in {precision}"
        results.check(f"{name}: losses that are not finite", float(not is_finite), 0)
        if precision == "fp32":
            expected = trainer_losses(make_trainer(CPU, **chosen), num_steps)
            apart = max(map(abs, np.subtract(losses, expected)))
            results.check(f"{name}: nats from the CPU's", apart, 10 * LOSS_LIMIT)


def trainer_losses(trainer: Trainer, num_steps: int) -> list[float]:
    """Return the losses of the next steps of a trainer."""
    return [trainer.take_step().train_nats for _ in range(num_steps)]


def check_build(setup: Setup, results: Results) -> None:
    """Say which torch is there, and whether it has kernels for this GPU."""
    results.phase("the build")
    major, minor, *_ = torch.__version__.split(".")
    results.measure("torch: version", int(major) + int(minor) / 100, torch.__version__)
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
