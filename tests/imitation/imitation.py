"""Imitate other machines in this process: a processor with other last digits (`--perturb`), a
missing package (`--without`).

Processors differ in the last digits of a sum. Training amplifies such a difference, so that the
trained weights differ in their first digits. Noise on the initial weights has the same effect, on
one machine and repeatably.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

PERTURB, WITHOUT = "TESTS_PERTURB", "TESTS_WITHOUT"
"""Environment variables of subprocesses: the seed of the noise, and packages that cannot be
imported."""
MODULE = "charrnn.model.network"
SIZE = 1e-6
"""Standard deviation of the noise relative to a weight: some eight times the spacing of float32
numbers."""


def variables(perturb: int | None, without: Sequence[str]) -> dict[str, str]:
    """The environment variables that say what is to be imitated."""
    chosen = {PERTURB: "" if perturb is None else str(perturb), WITHOUT: ",".join(without)}
    return {name: value for name, value in chosen.items() if value}


def install_from_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Imitate what the environment says. Call it before anything of `charrnn` is imported."""
    for package in filter(None, environment.get(WITHOUT, "").split(",")):
        sys.modules[package] = None  # type: ignore[assignment]  # `import` raises ImportError then
    if seed := environment.get(PERTURB):
        assert MODULE not in sys.modules
        sys.meta_path.insert(0, _Finder(int(seed)))


class _Finder(MetaPathFinder):
    """Finds the module of the network and patches it once it is imported, so that torch is imported
    no earlier."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
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
    """Let `network` multiply its matrices by 1 + SIZE * noise whenever it draws them; biases are
    set, not computed."""
    import torch

    draw_weights = network._draw_weights  # type: ignore[attr-defined]

    def draw_and_perturb(self: Any, *arguments: Any, **options: Any) -> None:
        draw_weights(self, *arguments, **options)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in filter(lambda weight: weight.dim() > 1, self.parameters()):
                weight.mul_(1 + SIZE * torch.randn(weight.shape, generator=generator))

    network._draw_weights = draw_and_perturb  # type: ignore[attr-defined]
