"""Stand-ins for torch and other modules, which import them at the first use of an attribute.

    from __future__ import annotations
    from charrnn.system.lazy import no_grad, torch

A module that starts so costs nothing until it computes: `--help` and drawing import no torch.
Annotations and functions may use `torch.Tensor`; a class statement (`torch.nn.Module`) or a default
value would import torch at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from charrnn.system.process import load_torch

Parameters = ParamSpec("Parameters")
"""The parameters of a decorated function."""
Result = TypeVar("Result")
"""The type of the result of a decorated function."""


class LazyModule(ModuleType):
    """A module that is imported at the first use of one of its attributes.

    Use it for a module that takes long to import and that few calls need, such as one that imports
    torch. Type checkers see a plain import, under `TYPE_CHECKING`.
    """

    def __getattr__(self, name: str) -> Any:
        if self.__name__ == "torch":
            load_torch()
        # Not kept: a test or a user may replace the attribute of the module.
        return getattr(import_module(self.__name__), name)


if TYPE_CHECKING:
    import torch as torch
    from torch import Tensor as Tensor
else:
    torch = LazyModule("torch")
    """torch, or its stand-in until it is used."""
    Tensor = Any
    """A name for annotations."""


def no_grad(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function, not a generator, to run in `torch.no_grad()` without importing torch
    before.

    A module that is imported by `sample` cannot write `@torch.no_grad()`.
    """

    @wraps(function)
    def call(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        with torch.no_grad():
            return function(*arguments, **options)

    return call
