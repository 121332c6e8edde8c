"""The cell types: the equations of each, written once for torch (training) and NumPy (generating).

Shapes: B batch, H hidden. In `Cell.step`, `x` is the input's product with its weight, all biases
included, (B, input_blocks * H); `product(name, h)` is `h @ weight.T + bias` with the recurrent
weight `name`, (B, blocks * H); a state is a tuple of `num_states` arrays (B, H), the output h first
and the memory c last; `extras` maps the names of `Cell.extras` to arrays; `ops` has the functions
of the array library. Every cell passes its memory (c where there is one, else h) through
`ops.clamp`.

Cells whose gates do not read h (`LinearCell`) are linear in h. They are trained by a scan. They
know the order of the characters only because each character's gates let older input fade.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

Array = Any
"""An array of either library, a tensor of torch or an `NDArray[np.float32]`: their operators have
the same names."""
CellState = tuple[Array, ...]
"""The state that a cell passes from one character to the next: arrays (B, H), the output h
first."""
Product = Callable[[str, Array], Array]
"""(name, h) -> h @ weight.T + bias, with the recurrent weight of that name: (B, H) to (B, blocks *
H)."""
Extras = Mapping[str, Array]
"""The arrays of `Cell.extras` by name."""


@dataclass(frozen=True, kw_only=True)
class Ops:
    """Elementwise functions of an array library, and the few rearrangements whose names differ
    between libraries.

    A cell type is written once, and computes with NumPy, with torch, or with functions that clamp
    and record.

    The instances are in the modules that import their library: `layer.TORCH` for training and
    measuring, `portable_math.NUMPY` and `EXACT` for generating.
    `dataclasses.replace(TORCH, sigmoid=…)` makes an instance that records every gate.
    """

    sigmoid: Callable[[Array], Array]
    tanh: Callable[[Array], Array]
    relu: Callable[[Array], Array]
    sqrt: Callable[[Array], Array]
    cos: Callable[[Array], Array]
    sin: Callable[[Array], Array]
    softplus: Callable[[Array], Array]
    """x: ln(1 + exp(x)), which is -ln sigmoid(-x)."""
    linear: Callable[[Array, Array], Array]
    """(x, weight): x (B, C) @ weight.T, for a small weight (R, C) of `Cell.extras`."""
    split: Callable[[Array, int], Sequence[Array]]
    """(x, n): x cut into n equal blocks along its last dimension."""
    cat: Callable[[Sequence[Array]], Array]
    """Concatenate along the last dimension."""
    fft: Callable[[Array, Array], tuple[Array, Array]]
    """Map (real, imaginary) parts (B, N) to the parts of the Fourier transform, divided by
    sqrt(N)."""
    clamp: Callable[[Array], Array]
    """Set the clamped units of a memory (B, H) to their values; the identity if no unit is
    clamped."""


Shape = tuple[int, ...]
EPSILON = 1e-12
"""Added to a divisor, or under a square root, that may be 0 in float32."""
CLAMP_LIMIT = 0.9999
"""Clamp tanh(c) just below 1, because atanh(1) is infinite, and an infinite c would never change
again."""


class Cell:
    """Base class of the cell types: equations and the shapes of their parameters, fixed per class.

    A new cell type inherits from it, and gives `step` and the numbers of blocks; training,
    sampling, pages and clamping then work by these.
    """

    input_blocks = 1
    """Blocks of H rows in the input weight."""
    block_letters = ""
    """Letters of these blocks, and of the same blocks of `hh`. Without letters the blocks are
    numbered."""
    products: ClassVar[Mapping[str, int]] = {"hh": 1}
    """Recurrent weights and their blocks of H rows."""
    num_states = 1
    """Number of arrays in a state."""
    shows = "h"
    """The formula of `value`, for captions and clamping: h, tanh(h) for an unbounded h, or tanh(c)
    if there is a c."""
    forget_block: int | None = None
    """Block of the input bias that belongs to the forget gate, whose bias starts at `forget_bias`;
    None if the cell has no forget gate."""
    gates: tuple[str, ...] = ()
    """Letters of the gates, in the order in which `step` passes them to `ops.sigmoid`."""
    units_multiple = 1
    """H must be a multiple of this number, a divisor of 8."""
    peak_rate = 9e-3
    """Peak learning rate that `auto` takes for 512 units."""

    @staticmethod
    def extras(hidden_size: int) -> dict[str, tuple[Shape, str]]:
        """List further parameters: name to (shape, initial values: zeros, angles, uniform or
        permutation)."""
        return {}

    @staticmethod
    def effective_weight(weight: Array) -> Array:
        """Compute the matrix of `product` from a recurrent weight (blocks * H, H).

        Override it for a weight that is not multiplied as it stands, such as an antisymmetric one:
        it is computed once for a window.
        """
        return weight

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        """Compute the state after one character from its input and the state before it."""
        raise NotImplementedError

    @classmethod
    def value(cls, ops: Ops, state: CellState) -> Array:
        """Compute the cell values, (B, H) in [-1, 1], as `shows` says."""
        # The memory is the last array of every state: c, or h if there is no c.
        return state[-1] if cls.shows == "h" else ops.tanh(state[-1])

    @classmethod
    def memory(cls, value: float) -> float:
        """Invert the method `value`: return the memory of a unit with that cell value.

        A user clamps by the value that pictures show, and the state needs the memory.
        """
        return value if cls.shows == "h" else math.atanh(max(-CLAMP_LIMIT, min(CLAMP_LIMIT, value)))


class Rnn(Cell):
    """h = tanh(W x + U h) (Elman 1990)."""

    peak_rate = 6e-3

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        return (ops.clamp(ops.tanh(x + product("hh", state[0]))),)


class Irnn(Cell):
    """An rnn of rectified linear units that starts by adding (Le, Jaitly & Hinton 2015).

    relu does not flatten large numbers, and with a U near the identity a unit at first adds up what
    it reads.

        h_t = relu(W x_t + U h_{t-1} + b)

    U starts at 0.9 times the identity, and W at a tenth of the usual numbers. The paper starts U at
    the identity, with which a state that is carried through a whole text grows without bound.
    """

    shows = "tanh(h)"
    peak_rate = 4e-3

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        return (ops.clamp(ops.relu(x + product("hh", state[0]))),)


class Gru(Cell):
    """r, z gates; n = tanh(x_n + r * U_n h); h = (1 - z) * n + z * h (Cho 2014, in cuDNN's
    form)."""

    input_blocks = 3
    block_letters = "rzn"
    products: ClassVar[Mapping[str, int]] = {"hh": 3}
    gates = ("z", "r")

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        # One product serves all three blocks, because r multiplies U_n h. In the paper r multiplies
        # h, which would need another product after r is known.
        (h,) = state
        x_r, x_z, x_n = ops.split(x, 3)
        u_r, u_z, u_n = ops.split(product("hh", h), 3)

        # The gates are computed in the order of `gates`. n + z (h - n) equals (1 - z) n + z h, with
        # one product less.
        z = ops.sigmoid(x_z + u_z)
        n = ops.tanh(x_n + ops.sigmoid(x_r + u_r) * u_n)
        return (ops.clamp(n + z * (h - n)),)


class Lstm(Cell):
    """c = f * c + i * g; h = o * tanh(c) (Hochreiter & Schmidhuber 1997; forget gate: Gers
    2000).

    Training mostly calls the library's function for it instead of `step`
    (`layer.uses_library`).
    """

    input_blocks = 4
    block_letters = "ifgo"
    products: ClassVar[Mapping[str, int]] = {"hh": 4}
    num_states = 2
    shows = "tanh(c)"
    forget_block: int | None = 1
    gates: tuple[str, ...] = ("f", "i", "o")
    peak_rate = 1.35e-2

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        h, c = state
        i, f, g, o = ops.split(x + product("hh", h), 4)
        # c is clamped before h is computed from it: otherwise a clamped unit would act one
        # character too late.
        c = ops.clamp(ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g))
        return ops.sigmoid(o) * ops.tanh(c), c


class Peephole(Lstm):
    """An LSTM whose gates see the memory of their own unit (Gers & Schmidhuber 2000).

    i and f see the memory before the character, o sees the one after it. One needs it to count: a
    gate can open when the memory has reached a number.

        i_t = σ(W_i x_t + U_i h_{t-1} + p_i ⊙ c_{t-1} + b_i)
        f_t = σ(W_f x_t + U_f h_{t-1} + p_f ⊙ c_{t-1} + b_f)
        g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)

        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        o_t = σ(W_o x_t + U_o h_{t-1} + p_o ⊙ c_t + b_o)
        h_t = o_t ⊙ tanh(c_t)

    The vectors p_i, p_f and p_o have one weight per unit, which starts at 0.
    """

    @staticmethod
    def extras(hidden_size: int) -> dict[str, tuple[Shape, str]]:
        # One weight per unit, as in the paper: each gate sees the c of its own unit only.
        return dict.fromkeys(("weight_ci", "weight_cf", "weight_co"), ((hidden_size,), "zeros"))

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        h, c = state
        i, f, g, o = ops.split(x + product("hh", h), 4)
        # f and i see the c before the character, and o sees the c after it.
        kept = ops.sigmoid(f + extras["weight_cf"] * c) * c
        c = ops.clamp(kept + ops.sigmoid(i + extras["weight_ci"] * c) * ops.tanh(g))
        return ops.sigmoid(o + extras["weight_co"] * c) * ops.tanh(c), c


class Coupled(Lstm):
    """An LSTM that forgets where it writes (CIFG of Greff et al. 2016).

    It saves a quarter of the weights of an LSTM. The input gate is what the forget gate leaves, so
    that a unit writes exactly as much as it forgets.

        f_t = σ(W_f x_t + U_f h_{t-1} + b_f)
        g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)
        o_t = σ(W_o x_t + U_o h_{t-1} + b_o)

        c_t = f_t ⊙ c_{t-1} + (1 - f_t) ⊙ g_t
        h_t = o_t ⊙ tanh(c_t)
    """

    input_blocks = 3
    block_letters = "fgo"
    products: ClassVar[Mapping[str, int]] = {"hh": 3}
    forget_block = 0
    gates = ("f", "o")

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        h, c = state
        f, g, o = ops.split(x + product("hh", h), 3)
        # f c + (1 - f) g, with one product less.
        g = ops.tanh(g)
        c = ops.clamp(g + ops.sigmoid(f) * (c - g))
        return ops.sigmoid(o) * ops.tanh(c), c


class Mlstm(Lstm):
    """An LSTM with a recurrent matrix of its own for each character (Krause et al. 2016).

    In an LSTM every character reads the previous output by the same matrix. Here the character
    chooses how it is read: h is first replaced by m, the product of a vector of the input and a
    vector of h.

        m_t = (W_m x_t + b_im) ⊙ (U_m h_{t-1} + b_hm)

        i_t = σ(W_i x_t + U_i m_t + b_i)
        f_t = σ(W_f x_t + U_f m_t + b_f)
        g_t = tanh(W_g x_t + U_g m_t + b_g)
        o_t = σ(W_o x_t + U_o m_t + b_o)

        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        h_t = o_t ⊙ tanh(c_t)
    """

    input_blocks = 5
    block_letters = "ifgom"
    products: ClassVar[Mapping[str, int]] = {"mh": 1, "hh": 4}
    peak_rate = 5e-3

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        h, c = state
        # m replaces the h of an LSTM, so that a character determines how h is read.
        x_i, x_f, x_g, x_o, x_m = ops.split(x, 5)
        u_i, u_f, u_g, u_o = ops.split(product("hh", x_m * product("mh", h)), 4)
        c = ops.clamp(ops.sigmoid(x_f + u_f) * c + ops.sigmoid(x_i + u_i) * ops.tanh(x_g + u_g))
        return ops.sigmoid(x_o + u_o) * ops.tanh(c), c


class Mogrifier(Lstm):
    """An LSTM whose input and output scale each other first (Melis, Kočiský & Blunsom 2020).

    Before the LSTM reads them, the previous output scales the input, and then the scaled input v
    scales the previous output to k. Each factor 2·σ is between 0 and 2, and 1 at the start, so that
    the cell starts as an LSTM. The paper has up to six such rounds instead of two.

        u_t = W x_t + b_ih
        v_t = 2·σ(2·(Q h_{t-1})) ⊙ u_t
        k_t = 2·σ(2·(R v_t)) ⊙ h_{t-1}

        i_t = σ(W_i v_t + U_i k_t + b_i)
        f_t = σ(W_f v_t + U_f k_t + b_f + 1)
        g_t = tanh(W_g v_t + U_g k_t + b_g)
        o_t = σ(W_o v_t + U_o k_t + b_o)

        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        h_t = o_t ⊙ tanh(c_t)

    W_i to W_o multiply v, and are drawn as the matrices U are; the weights are `weight_xh` and
    `weight_mh`. Q and R are each 0.1·L M with an L of H/8 columns (rounded up) that starts at 0,
    and an M of H/8 rows that starts uniform between -1 and 1. The forget gate has a constant 1 in
    place of a first bias.
    """

    input_blocks = 1
    products: ClassVar[Mapping[str, int]] = {"xh": 4, "mh": 4}
    forget_block = None
    peak_rate = 4e-3
    FORGET_BIAS = 1.0
    """Added to the input of the forget gate, in place of `forget_bias`, which would be part of the
    gated x."""
    SCALE = 0.1
    """Factor of Q and R, whose right matrices start uniform in [-1, 1]."""

    @staticmethod
    def extras(hidden_size: int) -> dict[str, tuple[Shape, str]]:
        # The rank is rounded up, so that it is at least 1.
        rank = -(-hidden_size // 8)
        left = ((hidden_size, rank), "zeros")
        right = ((rank, hidden_size), "uniform")
        return {"left_q": left, "right_q": right, "left_r": left, "right_r": right}

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        h, c = state
        # m(y) * x = x + x * tanh(y). First h gates x, then the gated x gates h.
        q_h = ops.linear(ops.linear(h, extras["right_q"]) * Mogrifier.SCALE, extras["left_q"])
        x = x + x * ops.tanh(q_h)
        r_x = ops.linear(ops.linear(x, extras["right_r"]) * Mogrifier.SCALE, extras["left_r"])
        h = h + h * ops.tanh(r_x)

        # From here on, the cell is an LSTM of the gated x and h.
        i, f, g, o = ops.split(product("xh", x) + product("mh", h), 4)
        c = ops.clamp(ops.sigmoid(f + Mogrifier.FORGET_BIAS) * c + ops.sigmoid(i) * ops.tanh(g))
        return ops.sigmoid(o) * ops.tanh(c), c


class Slstm(Cell):
    """An LSTM with an exponential input gate and a normalizer (sLSTM of Beck et al. 2024, section
    2.2).

    The input gate of an LSTM is at most 1, so that a new thing can hardly outweigh a full memory.
    Here it is an exponential function, which has no limit. A third state, the normalizer n, adds up
    the input gates, and the memory is divided by it: c is a weighted mean of candidates.

        i_t = exp(W_i x_t + U_i h_{t-1} + b_i)
        f_t = σ(W_f x_t + U_f h_{t-1} + b_f)
        g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)
        o_t = σ(W_o x_t + U_o h_{t-1} + b_o)

        n_t = f_t ⊙ n_{t-1} + i_t
        c_t = (f_t ⊙ n_{t-1} ⊙ c_{t-1} + i_t ⊙ g_t) / n_t
        h_t = o_t ⊙ c_t

    The paper stores c n instead of c, and multiplies it and n by exp(-m), so that i does not
    overflow. The state here consists of c and ln n, which do not depend on m. The share of the old
    c, f n / (f n + i), is the sigmoid of ln(f n / i). There is one head. Before a text c is 0, as
    in the paper, and n is 1.
    """

    input_blocks = 4
    block_letters = "ifgo"
    products: ClassVar[Mapping[str, int]] = {"hh": 4}
    num_states = 3
    shows = "tanh(c)"
    forget_block = 1
    gates = ("f", "o")
    """f means here the share of the old c that a unit keeps."""

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        h, log_n, c = state
        i, f, g, o = ops.split(x + product("hh", h), 4)
        # ln(f n / i): -softplus(-f) is ln f, and the input of i is its logarithm already.
        log_ratio = log_n - ops.softplus(-f) - i
        g = ops.tanh(g)
        c = ops.clamp(g + ops.sigmoid(log_ratio) * (c - g))
        # The new ln n is ln(f n + i) = ln i + ln(f n / i + 1), in which nothing overflows.
        return ops.sigmoid(o) * c, i + ops.softplus(log_ratio), c


class LinearCell(Cell):
    """Base class of h = a * h + b where a and b depend on the input alone: a window is one
    `recurrence.Scan`.

    Inherit from it where the state enters no gate: training is then a scan and needs no matrix
    product at each character.
    """

    products: ClassVar[Mapping[str, int]] = {}
    shows = "tanh(h)"

    @staticmethod
    def coefficients(ops: Ops, x: Array, extras: Extras) -> tuple[Array, Array]:
        """Compute a and b (…, H) from the input products (…, input_blocks * H) of one character or
        of a window."""
        raise NotImplementedError

    @classmethod
    def step(
        cls, ops: Ops, x: Array, product: Product, state: CellState, extras: Extras
    ) -> CellState:
        # This is used if a unit is clamped or text is generated; otherwise `scan` computes h.
        a, b = cls.coefficients(ops, x=x, extras=extras)
        return (ops.clamp(a * state[0] + b),)


class MinGru(LinearCell):
    """A GRU whose gate sees the input alone (Feng et al. 2024, section 3.1).

    Neither the gate nor the candidate reads h, so that h is a sum with known factors: all
    characters of a window are computed at once instead of one after the other. One needs it for
    speed; such a layer does not learn parity.

        z_t = σ(W_z x_t + b_z)
        n_t = W_n x_t + b_n

        h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ n_t

    This z is 1 - z of the paper, as in `Gru`. The bias of z starts at 1, like the bias of a forget
    gate.
    """

    input_blocks = 2
    block_letters = "zn"
    forget_block = 0
    gates = ("z",)
    peak_rate = 3e-2

    @staticmethod
    def coefficients(ops: Ops, x: Array, extras: Extras) -> tuple[Array, Array]:
        # (1 - z) n, with one operation less.
        z, n = ops.split(x, 2)
        z = ops.sigmoid(z)
        return z, n - z * n


class MinLstm(LinearCell):
    """An LSTM whose gates see the input alone (Feng et al. 2024, section 3.2).

    It changes two things in a `MinGru`: there are two gates as in an LSTM, and they are divided by
    their sum, so that h stays a mean of candidates.

        i_t = σ(W_i x_t + b_i)
        f_t = σ(W_f x_t + b_f)
        n_t = W_n x_t + b_n

        h_t = (f_t ⊙ h_{t-1} + i_t ⊙ n_t) / (f_t + i_t)
    """

    input_blocks = 3
    block_letters = "fin"
    forget_block = 0
    gates = ("f", "i")
    peak_rate = 3e-2

    @staticmethod
    def coefficients(ops: Ops, x: Array, extras: Extras) -> tuple[Array, Array]:
        f, i, n = ops.split(x, 3)
        f = ops.sigmoid(f)
        i = ops.sigmoid(i)
        # Both gates may be 0 in float32. The share of h is 1 minus the other share, so that the sum
        # is exactly 1.
        written = i / (f + i + EPSILON)
        return 1 - written, written * n


class RgLru(LinearCell):
    """A gated linear recurrence whose decay the input chooses (RG-LRU of De et al. 2024, section
    2.4).

    Every unit has a decay of its own, σ(Λ), by which its memory fades slowly. The gate r decides at
    every character how much of the decay happens, the gate i how much is read. √(1 - a²) makes h as
    large for slow units as for fast ones.

        r_t = σ(W_r x_t + b_r)
        i_t = σ(W_i x_t + b_i)
        n_t = W_n x_t + b_n

        a_t = σ(Λ)^(8·r_t)
        h_t = a_t ⊙ h_{t-1} + √(1 - a_t^2) ⊙ i_t ⊙ n_t

    Λ = 6.66 + 2.33·d, where the weight d of each unit, `decay`, starts uniform between -1 and 1:
    σ(Λ)⁸ then starts between 0.9 and 0.999. There is no forget gate, and no bias starts at 1. With
    t = tanh(-ln(a) / 2), a = (1 - t) / (1 + t) and √(1 - a²) = 2 √t / (1 + t), which loses no
    precision if a is near 1.
    """

    input_blocks = 3
    block_letters = "rin"
    gates = ("r", "i")
    peak_rate = 5e-2
    EXPONENT = 8.0
    """The exponent where r is 1 (c in the paper)."""
    CENTRE = 6.66
    """Mean of the initial values of L."""
    SPREAD = 2.33
    """Largest distance of an initial value of L from the mean."""

    @staticmethod
    def extras(hidden_size: int) -> dict[str, tuple[Shape, str]]:
        return {"decay": ((hidden_size,), "uniform")}

    @staticmethod
    def coefficients(ops: Ops, x: Array, extras: Extras) -> tuple[Array, Array]:
        r, i, n = ops.split(x, 3)
        fading = ops.softplus(extras["decay"] * -RgLru.SPREAD - RgLru.CENTRE) * RgLru.EXPONENT
        t = ops.tanh(ops.sigmoid(r) * fading * 0.5)
        return (1 - t) / (1 + t), ops.sqrt(t + EPSILON) * 2 / (1 + t) * ops.sigmoid(i) * n


class Antisymmetric(Cell):
    """Small steps of a differential equation (Chang et al. 2019, the gated form).

    The state of an `Rnn` is replaced at every character; here it is moved by a small step. The
    matrix A is built so that the movement neither explodes nor, without γ, fades: U - Uᵀ turns the
    state only. The gate z says how far the step goes.

        A = U - Uᵀ - γ·I
        a_t = A h_{t-1} + b_hh
        z_t = σ(a_t + W_z x_t + b_z)

        h_t = h_{t-1} + ε·z_t ⊙ tanh(a_t + W_h x_t + b_h)

    I is the identity, ε = 0.5 and γ = 1. b_z and b_h belong to the products with the input alone. U
    - Uᵀ has imaginary eigenvalues, so every eigenvalue of A has the real part -γ. The paper uses a
    small γ, with which the error signal hardly fades. With a γ of 1 it does fade: at h = 0 and U =
    0 each step multiplies it by 1 - ε·z. Smaller values made the state grow without bound when it
    is carried from window to window (benchmarks/LOG.md).
    """

    shows = "tanh(h)"
    input_blocks = 2
    block_letters = "hz"
    gates = ("z",)
    peak_rate = 2e-3
    STEP = 0.5
    """Step size of the discretised differential equation (epsilon in the paper)."""
    DAMPING = 1.0
    """Strength of the diffusion term (gamma in the paper)."""

    @staticmethod
    def effective_weight(weight: Array) -> Array:
        return weight - weight.T

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        (h,) = state
        x_h, x_z = ops.split(x, 2)
        a = product("hh", h) - Antisymmetric.DAMPING * h
        return (ops.clamp(h + Antisymmetric.STEP * ops.sigmoid(a + x_z) * ops.tanh(a + x_h)),)


class Unitary(Cell):
    """A rotation of H/2 complex numbers, which keeps their norm (Arjovsky, Shah & Bengio 2016).

    The matrix U of an `Rnn` makes some directions of the state longer and others shorter. Here the
    state is only turned, and keeps its length, so that the turning alone makes no gradient vanish
    or explode. The turn is a product of simple ones: the first half of the units has the real
    parts, the second half the imaginary parts.

        y_t = D_3 R_2 F⁻¹ D_2 P R_1 F D_1 h_{t-1} + W x_t + b
        h_t = relu(|y_t| + β) ⊙ y_t / |y_t|

    D_1, D_2 and D_3 multiply each number by e^(iφ), with an angle φ that starts uniform between -π
    and π. R_1 and R_2 reflect: R y = y - 2 v⟨v, y⟩/|v|², with a complex vector v that starts
    uniform between -1 and 1. F is the Fourier transform, divided by the root of the length, and P
    exchanges the numbers in an order that is drawn once. The second line is modReLU, which changes
    the length of each number and keeps its angle; the bias β starts at 0. There is no U.
    """

    shows = "tanh(h)"
    products: ClassVar[Mapping[str, int]] = {}
    units_multiple = 2
    peak_rate = 1.5e-2

    @staticmethod
    def extras(hidden_size: int) -> dict[str, tuple[Shape, str]]:
        half = hidden_size // 2
        return {
            **dict.fromkeys(("angle_1", "angle_2", "angle_3"), ((half,), "angles")),
            **dict.fromkeys(("reflection_1", "reflection_2"), ((2, half), "uniform")),
            "modrelu_bias": ((half,), "zeros"),
            "permutation": ((half,), "permutation"),
        }

    @staticmethod
    def step(ops: Ops, x: Array, product: Product, state: CellState, extras: Extras) -> CellState:
        # The unitary matrix keeps the norm of h.
        re, im = ops.split(state[0], 2)
        z = ops.fft(*_turn(ops, z=(re, im), angle=extras["angle_1"]))
        z = _reflect(z, extras["reflection_1"])
        order = extras["permutation"]
        z = (z[0][..., order], z[1][..., order])
        # The inverse of a Fourier transform is the transform with the parts exchanged.
        re, im = _turn(ops, z=z, angle=extras["angle_2"])
        im, re = ops.fft(im, re)
        z = _reflect((re, im), extras["reflection_2"])
        re, im = _turn(ops, z=z, angle=extras["angle_3"])

        # The input and modReLU.
        x_re, x_im = ops.split(x, 2)
        re = re + x_re
        im = im + x_im
        norm = ops.sqrt(re * re + im * im + EPSILON)
        scale = ops.relu(norm + extras["modrelu_bias"]) / norm
        return (ops.clamp(ops.cat((re * scale, im * scale))),)


def _turn(ops: Ops, z: tuple[Array, Array], angle: Array) -> tuple[Array, Array]:
    """Multiply z = (real, imaginary part) by exp(i angle)."""
    cos = ops.cos(angle)
    sin = ops.sin(angle)
    return z[0] * cos - z[1] * sin, z[0] * sin + z[1] * cos


def _reflect(z: tuple[Array, Array], v: Array) -> tuple[Array, Array]:
    """Compute z - 2 v <v, z> / |v|^2."""
    v_re = v[0]
    v_im = v[1]
    scale = 2 / (v * v).sum()
    dot_re = (z[0] * v_re + z[1] * v_im).sum(-1)[..., None] * scale
    dot_im = (z[1] * v_re - z[0] * v_im).sum(-1)[..., None] * scale
    return z[0] - dot_re * v_re + dot_im * v_im, z[1] - dot_re * v_im - dot_im * v_re


CELLS: dict[str, type[Cell]] = {
    "lstm": Lstm,
    "gru": Gru,
    "rnn": Rnn,
    "irnn": Irnn,
    "peephole": Peephole,
    "coupled": Coupled,
    "mlstm": Mlstm,
    "antisymmetric": Antisymmetric,
    "unitary": Unitary,
    "mingru": MinGru,
    "minlstm": MinLstm,
    "mogrifier": Mogrifier,
    "rglru": RgLru,
    "slstm": Slstm,
}
"""The built-in cell types by their names in `--type`, which `config.architectures` describes."""
