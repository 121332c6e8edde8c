"""Recent cell types, in the notation of `charrnn.model.cell_types`.

Those whose gates do not read h are linear in it: they train by a scan, and keep no order of what
they add up that the gates of the single characters do not give.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from charrnn.model.cell_types import A, Cell, LinearCell, Lstm, Ops, Product, Shape, State

EPSILON = 1e-12
"""Added to the sum of two gates, which is a divisor, and under a square root: in float32 they may
be 0."""


class MinGru(LinearCell):
    """z = sigmoid(x_z); h = z * h + (1 - z) * x_n (Feng et al. 2024, section 3.1, whose z is this 1
    - z)."""

    input_blocks = 2
    block_letters = "zn"
    forget_block = 0
    gates = ("z",)
    keeping_gate = "z"
    peak_rate = 3e-2

    @staticmethod
    def coefficients(ops: Ops[A], x: A, p: Mapping[str, A]) -> tuple[A, A]:
        z, n = ops.split(x, 2)
        z = ops.sigmoid(z)
        return z, n - z * n


class MinLstm(LinearCell):
    """f, i gates; h = f / (f + i) * h + i / (f + i) * x_n (Feng et al. 2024, section 3.2)."""

    input_blocks = 3
    block_letters = "fin"
    forget_block = 0
    gates = ("f", "i")
    peak_rate = 3e-2

    @staticmethod
    def coefficients(ops: Ops[A], x: A, p: Mapping[str, A]) -> tuple[A, A]:
        f, i, n = ops.split(x, 3)
        f, i = ops.sigmoid(f), ops.sigmoid(i)
        written = i / (f + i + EPSILON)
        return 1 - written, written * n


class RgLru(LinearCell):
    """r, i gates; h = a * h + sqrt(1 - a^2) * i * x_n, a = sigmoid(L)^(8 r) (De et al. 2024,
    section 2.4: RG-LRU).

    The parameter L of each unit is CENTRE + SPREAD * `decay`, whose initial values are uniform in
    [-1, 1]: sigmoid(L)^8 then starts between 0.9 and 0.999. With t = tanh(-ln(a) / 2), a = (1 - t)
    / (1 + t) and sqrt(1 - a^2) = 2 sqrt(t) / (1 + t), of which nothing is lost where a is near 1.
    """

    input_blocks = 3
    block_letters = "rin"
    gates = ("r", "i")
    peak_rate = 5e-2
    EXPONENT = 8.0
    """The exponent where r is 1 (c in the paper)."""
    CENTRE, SPREAD = 6.66, 2.33
    """Of the initial values of L."""

    @staticmethod
    def extras(hidden_size: int) -> dict[str, tuple[Shape, str]]:
        return {"decay": ((hidden_size,), "uniform")}

    @staticmethod
    def coefficients(ops: Ops[A], x: A, p: Mapping[str, A]) -> tuple[A, A]:
        r, i, n = ops.split(x, 3)
        fading = ops.softplus(p["decay"] * -RgLru.SPREAD - RgLru.CENTRE) * RgLru.EXPONENT
        t: Any = ops.tanh(ops.sigmoid(r) * fading * 0.5)
        return (1 - t) / (1 + t), ops.sqrt(t + EPSILON) * 2 / (1 + t) * ops.sigmoid(i) * n


class Slstm(Cell):
    """c = (f n c + i g) / (f n + i); n = f n + i; h = o * c; i = exp(W x + U h); f, o gates (Beck
    et al. 2024: sLSTM).

    The paper (section 2.2) has c n for c, and multiplies it and n by exp(-m), so that i does not
    overflow. What m does not change is the state here: c and ln n. The share of the old c, f n / (f
    n + i), is the sigmoid of ln(f n / i). One head. Before a text c is 0, as in the paper, and n is
    1.
    """

    input_blocks = 4
    block_letters = "ifgo"
    products: ClassVar[Mapping[str, int]] = {"hh": 4}
    num_states = 3
    shows = "tanh(c)"
    forget_block = 1
    gates = ("f", "o")
    """f is here the share of the old c, which is what a unit keeps."""
    keeping_gate = "f"

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        h, log_n, c = state
        i, f, g, o = ops.split(x + product("hh", h), 4)
        log_ratio = log_n - ops.softplus(-f) - i
        g = ops.tanh(g)
        c = ops.clamp(g + ops.sigmoid(log_ratio) * (c - g))
        return ops.sigmoid(o) * c, i + ops.softplus(log_ratio), c


class Mogrifier(Lstm):
    """An LSTM of x' = m(Q h) * x and h' = m(R x') * h, m(y) = 2 sigmoid(2 y) (Melis et al. 2020,
    two rounds).

    x is the product of the input with `weight_ih`, which has one block. Q and R are products of two
    matrices, of a rank of an eighth of the units; the left ones start at 0, so that the cell starts
    as an LSTM.
    """

    input_blocks = 1
    products: ClassVar[Mapping[str, int]] = {"xh": 4, "mh": 4}
    forget_block = None
    peak_rate = 4e-3
    FORGET_BIAS = 1.0
    """Added to what the forget gate reads: `forget_bias` is a bias of the input product, of which x
    is gated."""
    SCALE = 0.1
    """Factor of Q and R, whose right matrices start uniform in [-1, 1]."""

    @staticmethod
    def extras(hidden_size: int) -> dict[str, tuple[Shape, str]]:
        rank = -(-hidden_size // 8)
        left, right = ((hidden_size, rank), "zeros"), ((rank, hidden_size), "uniform")
        return {"left_q": left, "right_q": right, "left_r": left, "right_r": right}

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        h, c = state
        x = x + x * ops.tanh(ops.linear(ops.linear(h, p["right_q"]) * Mogrifier.SCALE, p["left_q"]))
        h = h + h * ops.tanh(ops.linear(ops.linear(x, p["right_r"]) * Mogrifier.SCALE, p["left_r"]))
        i, f, g, o = ops.split(product("xh", x) + product("mh", h), 4)
        c = ops.clamp(ops.sigmoid(f + Mogrifier.FORGET_BIAS) * c + ops.sigmoid(i) * ops.tanh(g))
        return ops.sigmoid(o) * ops.tanh(c), c
