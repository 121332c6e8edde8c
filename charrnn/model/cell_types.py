"""The cell types: the equations of each, written once for torch (training) and NumPy (generating).

Shapes: B batch, H hidden. In `Cell.step`, `x` is the input's product with its weight, all biases
included, (B, input_blocks * H); `product(name, h)` is `h @ weight.T + bias` with the recurrent
weight `name`, (B, blocks * H); a state is a tuple of `num_states` arrays (B, H), the output h first
and the memory c last; `p` maps the names of `extras` to arrays; `ops` has the functions of the
array library. Every cell passes its memory (c where there is one, else h) through `ops.clamp`.
`model.cell_type_registry` checks these rules.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

A = TypeVar("A", bound=Any)
"""The array type of a library: `torch.Tensor` or `NDArray[np.float32]`, whose operators have the
same names."""
State = tuple[A, ...]
"""What a cell carries from one character to the next: arrays (B, H), the output h first."""
Product = Callable[[str, A], A]
"""(name, h) -> h @ weight.T + bias, with the recurrent weight of that name: (B, H) to (B, blocks *
H)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ops(Generic[A]):
    """Elementwise functions of an array library, and the few rearrangements whose names differ
    between libraries.

    Instances are built where their library is imported: `layer.TORCH` for training and measuring,
    `portable_math.NUMPY` and `EXACT` for generating. `dataclasses.replace(TORCH, sigmoid=…)` makes
    one that records every gate.
    """

    sigmoid: Callable[[A], A]
    tanh: Callable[[A], A]
    relu: Callable[[A], A]
    sqrt: Callable[[A], A]
    cos: Callable[[A], A]
    sin: Callable[[A], A]
    softplus: Callable[[A], A]
    """x: ln(1 + exp(x)), which is -ln sigmoid(-x)."""
    linear: Callable[[A, A], A]
    """(x, weight): x (B, C) @ weight.T, for a small weight (R, C) of `Cell.extras`."""
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
    """Set the clamped units of a memory (B, H) to their values; the identity where no unit is
    clamped."""


Shape = tuple[int, ...]
CLAMP_LIMIT = 0.9999
"""Clamp tanh(c) just below 1, because atanh(1) is infinite, and an infinite c would never change
again."""


class Cell:
    """Base class of the cell types: equations and the shapes of their parameters, fixed per
    class."""

    input_blocks: ClassVar[int] = 1
    """Blocks of H rows in the input weight."""
    block_letters: ClassVar[str] = ""
    """Letters of these blocks, which are those of `hh`, too, as far as it has them; by default they
    are numbered."""
    products: ClassVar[Mapping[str, int]] = {"hh": 1}
    """Recurrent weights and their blocks of H rows."""
    num_states: ClassVar[int] = 1
    """As in a state."""
    shows: ClassVar[str] = "h"
    """The formula of `value`, for captions and clamping: h, tanh(h) for an unbounded h, or tanh(c)
    if there is a c."""
    forget_block: ClassVar[int | None] = None
    """Block of the input bias that belongs to the forget gate, whose bias starts at `forget_bias`;
    None: no such."""
    gates: ClassVar[tuple[str, ...]] = ()
    """Letters of the gates, in the order in which `step` passes them to `ops.sigmoid`."""
    keeping_gate: ClassVar[str | None] = None
    """Letter of the gate that the memory before is multiplied with, if there is one: its mean gives
    a timescale."""
    units_multiple: ClassVar[int] = 1
    """H must be a multiple of this number, a divisor of 8."""
    peak_rate: ClassVar[float] = 9e-3
    """Peak learning rate that `auto` takes for 512 units."""

    @staticmethod
    def extras(hidden_size: int) -> dict[str, tuple[Shape, str]]:
        """List further parameters: name to (shape, initial values: zeros, angles, uniform or
        permutation)."""
        return {}

    @staticmethod
    def effective_weight(weight: A) -> A:
        """Compute the matrix that `product` multiplies with from a recurrent weight (blocks * H,
        H)."""
        return weight

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        """Compute the state after one character from its input and the state before it."""
        raise NotImplementedError

    @classmethod
    def value(cls, ops: Ops[A], state: State[A]) -> A:
        """Compute the cell values, (B, H) in [-1, 1], as `shows` says."""
        return state[-1] if cls.shows == "h" else ops.tanh(state[-1])

    @classmethod
    def memory(cls, value: float) -> float:
        """Invert `value`: the memory to which `ops.clamp` sets a unit whose cell value is to be
        `value`."""
        return value if cls.shows == "h" else math.atanh(max(-CLAMP_LIMIT, min(CLAMP_LIMIT, value)))


class LinearCell(Cell):
    """Base class of h = a * h + b where a and b depend on the input alone: a window is one
    `recurrence.scan`."""

    products: ClassVar[Mapping[str, int]] = {}
    shows = "tanh(h)"

    @staticmethod
    def coefficients(ops: Ops[A], x: A, p: Mapping[str, A]) -> tuple[A, A]:
        """Compute a and b (…, H) from the input products (…, input_blocks * H) of one character or
        of a window."""
        raise NotImplementedError

    @classmethod
    def step(
        cls, ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        a, b = cls.coefficients(ops, x, p)
        return (ops.clamp(a * state[0] + b),)


class Rnn(Cell):
    """h = tanh(W x + U h) (Elman 1990)."""

    peak_rate = 6e-3

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        return (ops.clamp(ops.tanh(x + product("hh", state[0]))),)


class Irnn(Cell):
    """h = relu(W x + U h), U starting near the identity (Le, Jaitly & Hinton 2015)."""

    shows = "tanh(h)"
    peak_rate = 4e-3

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        return (ops.clamp(ops.relu(x + product("hh", state[0]))),)


class Gru(Cell):
    """r, z gates; n = tanh(x_n + r * U_n h); h = (1 - z) * n + z * h (Cho 2014, in cuDNN's
    form)."""

    input_blocks = 3
    block_letters = "rzn"
    products: ClassVar[Mapping[str, int]] = {"hh": 3}
    gates = ("z", "r")
    keeping_gate = "z"

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        (h,) = state
        x_r, x_z, x_n = ops.split(x, 3)
        u_r, u_z, u_n = ops.split(product("hh", h), 3)
        z = ops.sigmoid(x_z + u_z)
        n = ops.tanh(x_n + ops.sigmoid(x_r + u_r) * u_n)
        return (ops.clamp(n + z * (h - n)),)


class Lstm(Cell):
    """c = f * c + i * g; h = o * tanh(c) (Hochreiter & Schmidhuber 1997; forget gate: Gers
    2000)."""

    input_blocks = 4
    block_letters = "ifgo"
    products: ClassVar[Mapping[str, int]] = {"hh": 4}
    num_states = 2
    shows = "tanh(c)"
    forget_block: ClassVar[int | None] = 1
    gates: ClassVar[tuple[str, ...]] = ("f", "i", "o")
    keeping_gate = "f"

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        h, c = state
        i, f, g, o = ops.split(x + product("hh", h), 4)
        c = ops.clamp(ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g))
        return ops.sigmoid(o) * ops.tanh(c), c


class Peephole(Lstm):
    """An LSTM whose gates see the cell: i and f the old one, o the new one (Gers & Schmidhuber
    2000)."""

    @staticmethod
    def extras(hidden_size: int) -> dict[str, tuple[Shape, str]]:
        return dict.fromkeys(("weight_ci", "weight_cf", "weight_co"), ((hidden_size,), "zeros"))

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        h, c = state
        i, f, g, o = ops.split(x + product("hh", h), 4)
        kept = ops.sigmoid(f + p["weight_cf"] * c) * c
        c = ops.clamp(kept + ops.sigmoid(i + p["weight_ci"] * c) * ops.tanh(g))
        return ops.sigmoid(o + p["weight_co"] * c) * ops.tanh(c), c


class Coupled(Lstm):
    """An LSTM that writes exactly where it forgets: i = 1 - f (Greff 2016's CIFG)."""

    input_blocks = 3
    block_letters = "fgo"
    products: ClassVar[Mapping[str, int]] = {"hh": 3}
    forget_block = 0
    gates = ("f", "o")

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        h, c = state
        f, g, o = ops.split(x + product("hh", h), 3)
        g = ops.tanh(g)
        c = ops.clamp(g + ops.sigmoid(f) * (c - g))
        return ops.sigmoid(o) * ops.tanh(c), c


class Mlstm(Lstm):
    """An LSTM whose recurrence passes through m = (W_m x) * (U_m h): each character has its own
    (Krause 2016)."""

    input_blocks = 5
    block_letters = "ifgom"
    products: ClassVar[Mapping[str, int]] = {"mh": 1, "hh": 4}
    peak_rate = 5e-3

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        h, c = state
        x_i, x_f, x_g, x_o, x_m = ops.split(x, 5)
        u_i, u_f, u_g, u_o = ops.split(product("hh", x_m * product("mh", h)), 4)
        c = ops.clamp(ops.sigmoid(x_f + u_f) * c + ops.sigmoid(x_i + u_i) * ops.tanh(x_g + u_g))
        return ops.sigmoid(x_o + u_o) * ops.tanh(c), c


class Antisymmetric(Cell):
    """h = h + step * z * tanh(A h + x_h), z = sigmoid(A h + x_z), A = U - U' - damping * I (Chang
    2019, gated).

    U - U' has imaginary eigenvalues, so every eigenvalue of A has the real part -damping. Chang et
    al. use a small damping, with which the error signal hardly fades. With the damping of 1 that is
    used here it does fade: at h = 0 and U = 0 each step multiplies it by 1 - step * z. Smaller
    values made the state grow without bound when it is carried from window to window
    (benchmarks/LOG.md).
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
    def effective_weight(weight: A) -> A:
        antisymmetric: A = weight - weight.T
        return antisymmetric

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        (h,) = state
        x_h, x_z = ops.split(x, 2)
        a = product("hh", h) - Antisymmetric.DAMPING * h
        return (ops.clamp(h + Antisymmetric.STEP * ops.sigmoid(a + x_z) * ops.tanh(a + x_h)),)


class Unitary(Cell):
    """h = modReLU(D3 R2 F^-1 D2 P R1 F D1 h + W x), a norm-preserving recurrence on H/2 complex
    units (Arjovsky 2016).

    D: diagonal of phases; R: reflection; F: Fourier transform; P: fixed permutation. h holds the
    real parts, then the imaginary ones. modReLU(z) = relu(|z| + b) z / |z|.
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
    def rotate(ops: Ops[A], h: A, p: Mapping[str, A]) -> tuple[A, A]:
        """Apply the unitary matrix alone: h (B, H) to real and imaginary parts (B, H/2) of the same
        norm."""
        re, im = ops.split(h, 2)
        z = ops.fft(*_turn(ops, (re, im), p["angle_1"]))
        z = _reflect(z, p["reflection_1"])
        z = (ops.permute(z[0], p["permutation"]), ops.permute(z[1], p["permutation"]))
        z = ops.ifft(*_turn(ops, z, p["angle_2"]))
        z = _reflect(z, p["reflection_2"])
        return _turn(ops, z, p["angle_3"])

    @staticmethod
    def step(
        ops: Ops[A], x: A, product: Product[A], state: State[A], p: Mapping[str, A]
    ) -> State[A]:
        x_re, x_im = ops.split(x, 2)
        re, im = Unitary.rotate(ops, state[0], p)
        re, im = re + x_re, im + x_im
        norm = ops.sqrt(re * re + im * im + 1e-12)
        scale = ops.relu(norm + p["modrelu_bias"]) / norm
        return (ops.clamp(ops.cat((re * scale, im * scale))),)


def _turn(ops: Ops[A], z: tuple[A, A], angle: A) -> tuple[A, A]:
    """Multiply z = (real, imaginary part) by exp(i angle)."""
    cos, sin = ops.cos(angle), ops.sin(angle)
    return z[0] * cos - z[1] * sin, z[0] * sin + z[1] * cos


def _reflect(z: tuple[A, A], v: A) -> tuple[A, A]:
    """Compute z - 2 v <v, z> / |v|^2."""
    v_re, v_im = v[0], v[1]
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
}
"""Built-in cell types by the name that `--cell` takes. `architectures` describes them and says how
to add one."""
