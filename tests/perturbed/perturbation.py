"""Imitate another processor: multiply the initial weights of every network by 1 + 1e-6 times Gaussian noise.

Processors differ in the last digits of a sum. Training amplifies such a difference, so that the trained weights differ
in their first digits. Noise on the initial weights has the same effect, on one machine and repeatably.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

MODULE = "charrnn.model.network"
SIZE = 1e-6
"""Relative to a weight; some eight times the spacing of float32 numbers."""


def install(seed: int) -> None:
    """Perturb the weights of networks in this process. Call it before `charrnn.model.network` is imported."""
    assert MODULE not in sys.modules
    sys.meta_path.insert(0, _Finder(seed))


class _Finder(MetaPathFinder):
    """Finds the module of the network and patches it once it is imported, so that torch is imported no earlier."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == MODULE else None
        if spec is not None:
            assert isinstance(spec.loader, SourceFileLoader)
            spec.loader = _Loader(self.seed, spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, seed: int, name: str, path: str) -> None:
        super().__init__(name, path)
        self.seed = seed

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _perturb(module.CharRNN, self.seed)


def _perturb(network: type, seed: int) -> None:
    """Let `network` perturb its weights whenever it draws them."""
    import torch

    draw_weights = network._draw_weights  # type: ignore[attr-defined]

    def draw_and_perturb(self: Any, *arguments: Any) -> None:
        draw_weights(self, *arguments)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.parameters():
                weight.mul_(1 + SIZE * torch.randn(weight.shape, generator=generator))

    network._draw_weights = draw_and_perturb  # type: ignore[attr-defined]
