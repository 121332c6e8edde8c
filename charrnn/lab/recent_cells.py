"""Recent cell types, in the notation of `charrnn.model.cells`.

Those whose gates do not read h are linear in it: they train by a scan, and keep no order of what they add up that the
gates of the single characters do not give.
"""

from collections.abc import Mapping

from charrnn.model.cells import A, LinearCell, Ops

SMALLEST_SUM = 1e-12
"""Added to the sum of two gates, which is a divisor: in float32 both may be 0."""


class MinGru(LinearCell):
    """z = sigmoid(x_z); h = z * h + (1 - z) * x_n (Feng et al. 2024, section 3.1, whose z is this 1 - z)."""

    input_blocks = 2
    forget_block = 0
    gates = ("z",)
    keeping_gate = "z"

    @staticmethod
    def coefficients(ops: Ops[A], x: A, p: Mapping[str, A]) -> tuple[A, A]:
        z, n = ops.split(x, 2)
        z = ops.sigmoid(z)
        return z, n - z * n


class MinLstm(LinearCell):
    """f, i gates; h = f / (f + i) * h + i / (f + i) * x_n (Feng et al. 2024, section 3.2)."""

    input_blocks = 3
    forget_block = 0
    gates = ("f", "i")

    @staticmethod
    def coefficients(ops: Ops[A], x: A, p: Mapping[str, A]) -> tuple[A, A]:
        f, i, n = ops.split(x, 3)
        f, i = ops.sigmoid(f), ops.sigmoid(i)
        written = i / (f + i + SMALLEST_SUM)
        return 1 - written, written * n
