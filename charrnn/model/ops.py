"""The functions that the equations of cells and depths need, for any array library.

Equations are written once against `Ops`. Its instances are built where their library is imported: `layer.TORCH` for
training and measuring, `numpy_ops.NUMPY` and `numpy_ops.EXACT` for generating. A variant of one of them, such as one
that records every gate, is `dataclasses.replace(TORCH, sigmoid=…)`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Same = TypeVar("Same")


class Array(Protocol):
    """The operations that equations apply to a torch tensor or a NumPy array."""

    def __add__(self: Same, other: Any, /) -> Same: ...

    def __radd__(self: Same, other: Any, /) -> Same: ...

    def __sub__(self: Same, other: Any, /) -> Same: ...

    def __rsub__(self: Same, other: Any, /) -> Same: ...

    def __neg__(self: Same, /) -> Same: ...

    def __mul__(self: Same, other: Any, /) -> Same: ...

    def __rmul__(self: Same, other: Any, /) -> Same: ...

    def __truediv__(self: Same, other: Any, /) -> Same: ...

    def __rtruediv__(self: Same, other: Any, /) -> Same: ...

    def __getitem__(self: Same, index: Any, /) -> Same: ...

    @property
    def sum(self) -> Callable[..., Any]: ...  # the libraries name its arguments differently

    @property
    def T(self: Same) -> Same: ...


A = TypeVar("A", bound=Array)
"""The array type of a library: `torch.Tensor` or `NDArray[np.float32]`."""
State = tuple[A, ...]
"""What a cell carries from one character to the next: arrays (B, H), the output h first."""
Product = Callable[[str, A], A]
"""(name, h) -> h @ weight.T + bias, with the recurrent weight of that name: (B, H) to (B, blocks * H)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ops(Generic[A]):
    """Elementwise functions, and the few rearrangements whose names differ between libraries."""

    sigmoid: Callable[[A], A]
    tanh: Callable[[A], A]
    relu: Callable[[A], A]
    sqrt: Callable[[A], A]
    cos: Callable[[A], A]
    sin: Callable[[A], A]
    split: Callable[[A, int], Sequence[A]]
    """(x, n): x cut into n equal blocks along its last dimension."""
    cat: Callable[[Sequence[A]], A]
    """Concatenate along the last dimension."""
    permute: Callable[[A, A], A]
    """(x, order): x[..., order]."""
    fft: Callable[[A, A], tuple[A, A]]
    """(real, imaginary) parts (B, N) to those of the Fourier transform, divided by sqrt(N)."""
    ifft: Callable[[A, A], tuple[A, A]]
    """The inverse of `fft`."""
    clamp: Callable[[A], A]
    """Set the clamped units of a memory (B, H) to their values; the identity where no unit is clamped."""
