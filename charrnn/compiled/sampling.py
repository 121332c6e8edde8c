"""Reading and sampling compiled by numba: the loops of `Stepper` and `draw`, without Python between
characters.

Only models with int8 weights and the most frequent architectures are compiled; NumPy computes all
other models. The results equal `Stepper`'s, bit for bit: sums of integers are exact in any order,
and nothing else may be reordered or fused. `prepare` loads or compiles a loop; numba's cache keeps
the code on disk.

This is the only hand-written copy of the walk (`model.stepper`) and of the equations of three cells
and two depths in Python: loops over single numbers that change arrays in place. Numba compiles
neither the classes of `model.cell_types` nor functions passed as arguments, and array expressions
would allocate memory for each operation. A single loop for all the equations of an LSTM, as a
recorder of its operations would emit it, takes 1.14 times as long at 128 units and 1.19 times at
512: with so many arrays it is vectorized worse. `tests/compiled/test_compiled.py` compares the copy
with the originals.

Inside a step, arrays are passed by address. Numba counts the references to an array at every use,
atomically: that took longer than the products of a small model, and made two threads wait for each
other.

Shapes: B streams, N characters, V vocabulary, H hidden, L layers, X and P blocks of the input and
recurrent weights, R rows and C columns of a matrix.
"""

import ctypes
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from charrnn.compiled import dot_products
from charrnn.compiled import rules as following
from charrnn.compiled.dot_products import (
    COLUMN_MULTIPLE,
    MOST_BITS,
    Address,
    Longs,
    bytes_at,
    floats_at,
    longs_at,
    padded,
    shorts_at,
    whole_at,
)
from charrnn.compiled.rules import FollowedStreams, RuleTables, no_rules
from charrnn.model import portable_math
from charrnn.model.portable_math import (
    EXP_LIMIT,
    EXP_TERMS,
    INVERSE_LN2,
    LN2_HIGH,
    LN2_LOW,
    SMALLEST_EXPONENT,
    TANH_BOTTOM,
    TANH_LIMIT,
    TANH_TOP,
    Doubles,
    Float32Array,
)
from charrnn.model.stepper import Stepper
from charrnn.system.compiling import CompiledLoop, for_loops
from charrnn.system.process import num_cores
from charrnn.system.progress import tell, warn

COMPILING = "compiling the sampling loop, once on this machine (about 10 seconds) ..."
"""Told before a loop is compiled."""
KINDS = ("lstm", "gru", "rnn")
"""Cell types that are compiled."""
DEPTHS = ("stacked", "residual")
"""Depths that are compiled."""
LSTM, GRU, RNN = range(len(KINDS))
"""Numbers of the cell types."""
INPUT, RECURRENT, OUTPUT = np.arange(3)
"""Roles of the matrices of a layer: numba would compile `products` again for each Python integer in
a call."""
BITS, NUM_ROWS, VALUES, START, SCALE, BIAS = range(6)
"""Fields that describe a matrix; the last four are addresses."""
NUM_FIELDS = 6
"""Number of these fields."""
FLOAT, LONG = 4, 8
"""Bytes of a float32 and of an int64."""

CHOSEN = dot_products.CHOSEN
"""The instructions for products of integers."""
ROWS, STREAMS, SPLITS_INPUTS = CHOSEN.rows, CHOSEN.streams, CHOSEN.splits_inputs
"""Layout of the matrices for these instructions; see `dot_products`."""
_dot_one = dot_products.make_dot(1)
_dot_many = dot_products.make_dot(STREAMS)


# Exponentials and hyperbolic tangents. They give the bits of `exact_exp` and `exact_tanh` of
# `model.portable_math`: the same operations in the same order, without branches, so that loops over
# them are vectorized.
LIMIT = np.float32(TANH_LIMIT)
"""tanh is computed for arguments clipped to [-LIMIT, LIMIT]."""
P0, P1, P2, P3, P4 = np.array(TANH_TOP, np.float32)
"""Coefficients of the numerator of tanh."""
Q0, Q1, Q2, Q3, Q4 = np.array(TANH_BOTTOM, np.float32)
"""Coefficients of the denominator of tanh."""
HALF = np.float32(0.5)
"""A half in float32, because Python's would make the arithmetic float64."""
E2, E3, E4, E5, E6, E7, E8, E9, E10, E11, E12, E13 = EXP_TERMS[2:]
"""Coefficients of exp."""


@for_loops
def tanh(x: np.float32) -> Any:
    """Compute `exact_tanh`: the same operations in the same order."""
    x = min(max(x, -LIMIT), LIMIT)
    square = x * x
    top = (((P4 * square + P3) * square + P2) * square + P1) * square + P0
    bottom = (((Q4 * square + Q3) * square + Q2) * square + Q1) * square + Q0
    return x * top / bottom


@for_loops
def sigmoid(x: np.float32) -> Any:
    """Compute 1 / (1 + exp(-x)) as a tanh, whose polynomials are vectorized."""
    return HALF * tanh(HALF * x) + HALF


@for_loops
def power_of_two(exponent: int) -> Any:
    """Compute 2^exponent in float64, from -1022 to 1023."""
    # The exponent of a double is in the bits from 52 on, with 1023 added.
    return np.int64((np.int64(exponent) + 1023) << 52).view(np.float64)


@for_loops
def exp(x: float) -> float:
    """Compute `exact_exp`, without branches, so that loops vectorize."""
    # exp(x) = 2^power * exp(r), where |r| is at most ln(2) / 2. The logarithm has two parts; the
    # product with the high part is exact.
    inside = max(x, EXP_LIMIT)
    power = np.rint(inside * INVERSE_LN2)
    r = (inside - power * LN2_HIGH) - power * LN2_LOW

    # The Taylor series of exp(r).
    high = ((((((E13 * r + E12) * r + E11) * r + E10) * r + E9) * r + E8) * r + E7) * r + E6
    total = (((((high * r + E5) * r + E4) * r + E3) * r + E2) * r + 1.0) * r + 1.0

    scaled = total * power_of_two(power)
    return scaled if x >= EXP_LIMIT else 0.0


class Layout(NamedTuple):
    """A model as numbers and addresses, for compiled code."""

    kind: int
    is_residual: bool
    num_layers: int
    num_states: int
    size: int
    """H."""
    input_width: int
    """X * H."""
    recurrent_width: int
    """P * H."""
    table: int
    """Address of the first layer's input product (V, X * H)."""
    matrices: int
    """Address of int64 (3, L, NUM_FIELDS), by role and layer."""


class PackedModel(NamedTuple):
    """A model in one block of memory."""

    layout: Layout
    memory: NDArray[np.uint8]
    """The block, to which the addresses of the layout point."""
    most_rows: int
    """R of the largest matrix."""


class Places(NamedTuple):
    """Addresses of the scratch buffers for one step of B streams."""

    x: int
    """(B, X * H) products with the inputs."""
    u: int
    """(B, P * H) products with h; overwritten."""
    below: int
    """(B, H) joined outputs of the layers below."""
    inputs: int
    """(B, padded H) inputs of `dot_products`, two bytes each."""
    sums: int
    """(B, padded R) int32."""
    sum_stride: int
    """Bytes of a row of `sums`."""
    factors: int
    """(B,) scales of the sums."""


class Scratch(NamedTuple):
    """Scratch buffers for one step of B streams."""

    places: Places
    memory: NDArray[np.uint8]
    """The block, to which the addresses point."""


class ShapingNumbers(NamedTuple):
    """How logits become probabilities: options of `sample_options.SampleOptions` as numbers."""

    temperature: float
    top_k: int
    """V keeps all."""
    top_p: float
    """Infinity keeps all."""
    min_p: float
    """0 keeps all."""
    is_banned: NDArray[np.bool_]
    """(V,)."""


class Buffers(NamedTuple):
    """Room that all characters of a block use."""

    scores: Doubles
    """(V,)."""
    weights: Doubles
    """(V,)."""
    is_forbidden: NDArray[np.bool_]
    """(V,)."""
    drawn_now: Longs
    """(B,): the characters that are read next."""


class DrawnBlock(NamedTuple):
    """What the loop draws."""

    ids: Longs
    """(B, N)."""
    logprobs: Doubles
    """(B, N): in nats, before any shaping."""
    lengths: Longs
    """(B,): how many characters of each stream were drawn before none might follow."""


def shaping_numbers(options: Any, is_banned: NDArray[np.bool_]) -> ShapingNumbers:
    """Return how logits become probabilities, by the `SampleOptions` of a text; the banned
    characters (V,) are never drawn."""
    vocab_size = len(is_banned)
    # An option that is switched off becomes a number, because compiled code has no None. Every
    # number has the type for which the loop is compiled.
    return ShapingNumbers(
        temperature=float(options.temperature),
        top_k=int(min(options.top_k or vocab_size, vocab_size)),
        top_p=math.inf if options.top_p is None else float(options.top_p),
        min_p=float(options.min_p or 0.0),
        is_banned=is_banned,
    )


def can_compile(stepper: Stepper) -> bool:
    """Return whether this model is compiled: its cell, its depth, its 8-bit products, and nothing
    clamped."""
    return (
        stepper.cell_name in KINDS
        and stepper.depth_name in DEPTHS
        and stepper.kept_share == 1
        and not stepper.sums_outputs
        and not stepper.clamped
        # The weights of a network of few units are so few that their inputs have more bits.
        and all(0 < matrix.bits <= MOST_BITS for matrix, _ in stepper.products.values())
    )


def pack(stepper: Stepper) -> PackedModel:
    """Copy the weights of a stepper that `can_compile` into one block of memory."""
    num_layers = stepper.num_layers
    table = stepper.tables["layers.0.ih"]

    # The matrices by role and layer, each described by numbers and indices of arrays. The first
    # layer reads a row of the table.
    by_role = {
        INPUT: [f"layers.{layer}.ih" for layer in range(1, num_layers)],
        RECURRENT: [f"layers.{layer}.hh" for layer in range(num_layers)],
        OUTPUT: ["output"],
    }
    matrices = np.zeros((len(by_role), num_layers, NUM_FIELDS), np.int64)
    arrays: list[NDArray[np.generic]] = [matrices, table]
    for role, names in by_role.items():
        for index, name in enumerate(names):
            matrix, bias = stepper.products[name]

            # Indices of arrays, which are replaced by addresses below.
            first = len(arrays)
            matrices[role, index] = matrix.bits, len(bias), first, first + 1, first + 2, first + 3
            arrays += [*dot_products.pack_matrix(matrix), matrix.scale, bias]

    # A block of memory for all arrays. Their addresses are known now.
    memory, addresses = dot_products.allocate([array.nbytes for array in arrays])
    matrices[..., VALUES:] = addresses[matrices[..., VALUES:]]
    for address, array in zip(addresses.tolist(), arrays, strict=True):
        whole = np.ascontiguousarray(array)
        ctypes.memmove(address, whole.ctypes.data, whole.nbytes)

    layout = Layout(
        kind=KINDS.index(stepper.cell_name),
        is_residual=stepper.depth_name == "residual",
        num_layers=num_layers,
        num_states=stepper.cell.num_states,
        size=stepper.hidden_size,
        input_width=table.shape[1],
        recurrent_width=len(stepper.products["layers.0.hh"].bias),
        matrices=int(addresses[0]),
        table=int(addresses[1]),
    )
    return PackedModel(layout, memory=memory, most_rows=int(matrices[..., NUM_ROWS].max()))


def make_scratch(model: PackedModel, num_streams: int) -> Scratch:
    """Allocate the scratch buffers of `step`."""
    layout = model.layout

    # Rows of sums and inputs end where a whole register of numbers ends (`dot_products`).
    sum_stride = FLOAT * padded(model.most_rows, multiple=ROWS)
    row = FLOAT * num_streams
    num_bytes = {
        "x": row * layout.input_width,
        "u": row * layout.recurrent_width,
        "below": row * layout.size,
        "inputs": 2 * num_streams * padded(layout.size, multiple=COLUMN_MULTIPLE),
        "sums": sum_stride * num_streams,
        "factors": row,
    }

    memory, addresses = dot_products.allocate(list(num_bytes.values()))
    places = dict(zip(num_bytes, addresses.tolist(), strict=True))
    return Scratch(Places(**places, sum_stride=sum_stride), memory)


@for_loops
def _exponent(at: Address, size: int) -> Any:
    """Compute the exponent of the largest |x| (C,) as frexp does, but at least
    SMALLEST_EXPONENT."""
    # The bits of positive floats are ordered like the floats. Subnormal floats are below
    # SMALLEST_EXPONENT anyway.
    bits = whole_at(at, size)
    largest = np.int32(0)
    for column in range(size):
        largest = max(largest, bits[column] & np.int32(0x7FFFFFFF))
    return max((np.int64(largest) >> 23) - 126, SMALLEST_EXPONENT)


# Products. Arguments named `..._at`, and those without a shape, are addresses.


@for_loops
def _round_to_inputs(at: Address, size: int, bits: int, inputs_at: Address) -> Any:
    """Round (C,) to integers for `dot_products` and return their scale."""
    # The largest input decides, so that it gets all the bits.
    x = floats_at(at, size)
    exponent = _exponent(at, size)
    up = np.float32(power_of_two(bits - exponent))

    # The instructions multiply either bytes without a sign, so that an offset is added, or shorts.
    if SPLITS_INPUTS:
        low = bytes_at(inputs_at, size)
        high = bytes_at(inputs_at + padded(size, multiple=COLUMN_MULTIPLE), size)
        offset = np.int32(1) << np.int32(bits)
        for column in range(size):
            whole = np.int32(np.rint(x[column] * up)) + offset
            low[column] = np.uint8(whole & 255)
            high[column] = np.uint8(whole >> 8)
    else:
        shorts = shorts_at(inputs_at, size)
        for column in range(size):
            shorts[column] = np.int16(np.int32(np.rint(x[column] * up)))

    return np.float32(power_of_two(exponent - bits))


@for_loops
def _scale_sums(fields: Longs, factor: np.float32, sums_at: Address, out_at: Address) -> None:
    """Turn sums of integers (R,) to products, with the scales of the rows and of the inputs, and
    add the bias."""
    num_rows = fields[NUM_ROWS]
    scale = floats_at(fields[SCALE], num_rows)
    bias = floats_at(fields[BIAS], num_rows)
    out = floats_at(out_at, num_rows)
    sums = whole_at(sums_at, num_rows)
    for row in range(num_rows):
        out[row] = np.float32(sums[row]) * (scale[row] * factor) + bias[row]


@for_loops
def products(
    layout: Layout,
    role: np.signedinteger,
    layer: int,
    places: Places,
    num_streams: int,
    x_at: Address,
    out_at: Address,
) -> None:
    """Compute (B, R) at `out_at` = (B, H) at `x_at` @ weight.T + bias, for every stream."""
    # The addresses and sizes.
    number = role * layout.num_layers + layer
    fields = longs_at(layout.matrices + number * NUM_FIELDS * LONG, NUM_FIELDS)
    factors = floats_at(places.factors, num_streams)
    num_rows = fields[NUM_ROWS]
    size = layout.size
    num_columns = padded(size, multiple=COLUMN_MULTIPLE)
    input_stride = 2 * num_columns
    sum_stride = places.sum_stride

    # Inputs to integers.
    for stream in range(num_streams):
        at = x_at + stream * FLOAT * size
        factors[stream] = _round_to_inputs(
            at, size, bits=fields[BITS], inputs_at=places.inputs + stream * input_stride
        )

    # Sums of their products. All streams multiply with a group of rows, which stays in the cache,
    # before the next group is loaded.
    together = num_streams - num_streams % STREAMS
    for first_row in range(0, num_rows, ROWS):
        weights = fields[VALUES] + first_row * num_columns
        start = fields[START] + FLOAT * first_row
        sums = places.sums + FLOAT * first_row
        for stream in range(0, together, STREAMS):
            at = places.inputs + stream * input_stride
            sums_at = sums + stream * sum_stride
            _dot_many(weights, num_columns, at, input_stride, start, sums_at, sum_stride)
        for stream in range(together, num_streams):
            at = places.inputs + stream * input_stride
            sums_at = sums + stream * sum_stride
            _dot_one(weights, num_columns, at, input_stride, start, sums_at, sum_stride)

    # Back to floats.
    for stream in range(num_streams):
        _scale_sums(
            fields,
            factor=factors[stream],
            sums_at=places.sums + stream * sum_stride,
            out_at=out_at + stream * FLOAT * num_rows,
        )


# The loops below have no branches and use few arrays each, so that the compiler vectorizes them.
# Each applies an equation to every unit j, and overwrites the last array.


def _numbered(function: Any, line: int) -> Any:
    """Compile a function by a name of its own.

    Machine code is linked by names, which numba tells apart by how many functions the process had
    compiled before. So a loop could call a function of another loop that was compiled in another
    process.
    """
    function.__qualname__ += str(line)
    return for_loops(function)


def _loop_of_two(function: Any) -> Any:
    """Compile the loop y = function(x, y)."""
    line = function.__code__.co_firstlineno
    equation = _numbered(function, line)

    def loop(x_at: Address, y_at: Address, size: int) -> None:
        x = floats_at(x_at, size)
        y = floats_at(y_at, size)
        for j in range(size):
            y[j] = equation(x[j], y[j])

    return _numbered(loop, line)


def _loop_of_three(function: Any) -> Any:
    """Compile the loop z = function(x, y, z)."""
    line = function.__code__.co_firstlineno
    equation = _numbered(function, line)

    def loop(x_at: Address, y_at: Address, z_at: Address, size: int) -> None:
        x = floats_at(x_at, size)
        y = floats_at(y_at, size)
        z = floats_at(z_at, size)
        for j in range(size):
            z[j] = equation(x[j], y[j], z[j])

    return _numbered(loop, line)


_sigmoids = _loop_of_two(lambda x, u: sigmoid(x + u))
_tanhs = _loop_of_two(lambda x, u: tanh(x + u))
_multiply = _loop_of_two(lambda x, y: x * y)
_add = _loop_of_two(lambda x, y: y + x)
_copy = _loop_of_two(lambda source, target: source)
_add_product = _loop_of_three(lambda i, g, c: c + i * g)
_output = _loop_of_three(lambda o, c, h: o * tanh(c))
_interpolate = _loop_of_three(lambda new, share, old: new + share * (old - new))


@for_loops
def _step_units(
    layout: Layout,
    layer: int,
    x: Address,
    u: Address,
    h: Address,
    c: Address,
) -> None:
    """Apply the equations of `model.cell_types`: h and c (H,) change in place, x is (X*H,), u
    (P*H,) is overwritten.

    For a cell without c, c is the address of h.
    """
    size = layout.size
    row = FLOAT * size

    # Gates i, f, g, o: c = f * c + i * g, h = o * tanh(c).
    if layout.kind == LSTM:
        _sigmoids(x, u, 2 * size)
        _tanhs(x + 2 * row, u + 2 * row, size)
        _multiply(u + row, c, size)
        _add_product(u, u + 2 * row, c, size)
        _sigmoids(x + 3 * row, u + 3 * row, size)
        _output(u + 3 * row, c, h, size)
        return

    # Gates r, z and the new state n: h = n + z * (h - n).
    if layout.kind == GRU:
        _sigmoids(x, u, 2 * size)
        _multiply(u, u + 2 * row, size)
        _tanhs(x + 2 * row, u + 2 * row, size)
        _interpolate(u + 2 * row, u + row, h, size)
        return

    # h = tanh(x + u).
    if layout.kind == RNN:
        _tanhs(x, u, size)
        _copy(u, h, size)


@for_loops
def step(layout: Layout, ids: Longs, state_at: Address, places: Places, logits_at: Address) -> None:
    """Read ids (B,), and predict what follows: the state (L, S, B, H) and the logits (B, V) change
    in place."""
    # Bytes of a row of a stream.
    num_streams = len(ids)
    size = layout.size
    row = FLOAT * size
    input_row = FLOAT * layout.input_width
    recurrent_row = FLOAT * layout.recurrent_width

    for layer in range(layout.num_layers):
        # The products of all streams.
        h = state_at + layer * layout.num_states * num_streams * row
        c = h + (layout.num_states - 1) * num_streams * row
        if layer > 0:
            products(
                layout, INPUT, layer - 1, places, num_streams, x_at=places.below, out_at=places.x
            )
        products(layout, RECURRENT, layer, places, num_streams, x_at=h, out_at=places.u)

        # The equations, stream by stream. The input of the first layer is in the table of
        # characters.
        for stream in range(num_streams):
            if layer == 0:
                x = layout.table + ids[stream] * input_row
            else:
                x = places.x + stream * input_row
            at = stream * row
            _step_units(layout, layer, x, u=places.u + stream * recurrent_row, h=h + at, c=c + at)

            # The depth.
            if layer > 0 and layout.is_residual:
                _add(h + at, places.below + at, size)
            else:
                _copy(h + at, places.below + at, size)

    products(layout, OUTPUT, np.int64(0), places, num_streams, x_at=places.below, out_at=logits_at)


# Drawing.


@for_loops
def _most_likely(scores: Doubles, is_banned: NDArray[np.bool_]) -> int:
    """Return the first id with the largest of scores (V,) that is not banned."""
    most_likely = 0
    best = -np.inf
    for char in range(len(scores)):
        if not is_banned[char] and scores[char] > best:
            most_likely = char
            best = scores[char]
    return most_likely


@for_loops
def _keep_top(
    scores: Doubles,
    is_banned: NDArray[np.bool_],
    top_k: int,
    top_p: float,
    weights: Doubles,
) -> float:
    """Set weights (V,) to 0 beyond top-k and top-p, and return the sum of the rest."""
    # A stable sort: among equal scores, the first ids come first.
    size = len(scores)
    falling = np.empty(size)
    for char in range(size):
        falling[char] = np.inf if is_banned[char] else -scores[char]
    order = np.argsort(falling, kind="mergesort")

    # Top-k.
    for rank in range(top_k, size):
        weights[order[rank]] = 0.0

    # Top-p. Most likely first, as in `char_weights`, so that the same ids are kept at the border.
    total = 0.0
    for char in order:
        total += weights[char]
    if top_p > 1:
        return total
    border = top_p * total
    total = 0.0
    for char in order:
        if total >= border:
            weights[char] = 0.0
        total += weights[char]
    return total


@for_loops
def _draw(
    scores: Doubles,
    is_banned: NDArray[np.bool_],
    shaping: ShapingNumbers,
    uniform: float,
    weights: Doubles,
) -> int:
    """Draw an id from scores (V,), as `char_weights` and `draw` do, bit for bit; weights (V,) is
    overwritten."""
    # Temperature 0 draws nothing.
    size = len(scores)
    temperature = shaping.temperature
    most_likely = _most_likely(scores, is_banned)
    if temperature == 0:
        return most_likely

    # The weights of `char_weights`: exp((score - best) / temperature). Their sum has a loop of its
    # own: with the sum, this loop would not be vectorized.
    best = scores[most_likely]
    for char in range(size):
        weights[char] = exp((scores[char] - best) / temperature) if not is_banned[char] else 0.0
    total = 0.0
    for char in range(size):
        total += weights[char]

    # Shaping, in the order of `char_weights`.
    top_k = shaping.top_k
    top_p = shaping.top_p
    min_p = shaping.min_p
    if top_k < size or top_p <= 1:
        total = _keep_top(scores, is_banned, top_k, top_p, weights)
    if min_p > 0:
        total = 0.0
        for char in range(size):
            if weights[char] < min_p * weights[most_likely]:
                weights[char] = 0.0
            total += weights[char]

    # Invert the running sum; its end is missed only by rounding.
    target = uniform * total
    reached = 0.0
    last = most_likely
    for char in range(size):
        if weights[char] > 0:
            reached += weights[char]
            last = char
            if reached > target:
                return char
    return last


@njit(error_model="numpy", fastmath={"reassoc"})
def _log_sum(scores: Doubles, powers: Doubles) -> float:
    """Compute log(sum(exp(scores))); powers (V,) is overwritten."""
    largest = -np.inf
    for score in scores:
        largest = max(largest, score)

    # The largest power is 1, so that none overflows.
    for char in range(len(scores)):
        powers[char] = exp(scores[char] - largest)
    total = 0.0
    for char in range(len(scores)):
        total += powers[char]
    return largest + math.log(total)


def read(
    model: PackedModel, ids: Longs, state: Float32Array, logits: Float32Array, scratch: Scratch
) -> None:
    """Read ids (N,), N >= 1, in one stream: the state (L, S, 1, H) and the logits (1, V) change in
    place."""
    layout = model.layout
    places = scratch.places
    state_at = np.int64(state.ctypes.data)
    logits_at = np.int64(logits.ctypes.data)

    # The logits of all characters are computed, as in `Stepper.read`; the logits of the last
    # character stay.
    for index in range(len(ids)):
        step(layout, ids[index : index + 1], state_at, places, logits_at)


@for_loops
def draw_streams(
    logits: Float32Array,
    uniforms: Doubles,
    index: int,
    shaping: ShapingNumbers,
    rules: RuleTables,
    streams: FollowedStreams,
    buffers: Buffers,
    drawn: DrawnBlock,
) -> None:
    """Draw character `index` of each of B streams from logits (B, V), as `write` does."""
    scores = buffers.scores
    for stream in range(len(logits)):
        # A stream after which no character may follow is drawn on in vain, by the model alone.
        is_forbidden = shaping.is_banned
        if rules.are_on:
            is_forbidden = buffers.is_forbidden
            num_allowed = following.forbid(
                rules, streams, stream, index, shaping.is_banned, is_forbidden
            )
            if num_allowed == 0:
                drawn.lengths[stream] = min(drawn.lengths[stream], index)
            if drawn.lengths[stream] <= index:
                buffers.drawn_now[stream] = 0
                continue

        # In float64, as NumPy does.
        for char in range(len(scores)):
            scores[char] = logits[stream, char]
        char = _draw(scores, is_forbidden, shaping, uniforms[stream, index], buffers.weights)
        buffers.drawn_now[stream] = char
        drawn.ids[stream, index] = char
        drawn.logprobs[stream, index] = scores[char] - _log_sum(scores, buffers.weights)
        if rules.are_on:
            following.follow(rules, streams, stream, char)


def write(
    model: PackedModel,
    arrays: tuple[Float32Array, Float32Array],
    uniforms: Doubles,
    shaping: ShapingNumbers,
    rules: RuleTables,
    streams: FollowedStreams,
    scratch: Scratch,
    drawn: DrawnBlock,
) -> None:
    """Draw N characters in each of B streams by uniforms (B, N).

    The `arrays`, state (L, S, B, H) and logits (B, V), and those of `streams` change in place;
    `drawn` is written.
    """
    # Addresses, and room that all characters use.
    num_streams, num_chars = uniforms.shape
    state, logits = arrays
    layout = model.layout
    places = scratch.places
    state_at = np.int64(state.ctypes.data)
    logits_at = np.int64(logits.ctypes.data)
    vocab_size = logits.shape[1]
    buffers = Buffers(
        np.empty(vocab_size),
        np.empty(vocab_size),
        np.empty(vocab_size, np.bool_),
        np.empty(num_streams, np.int64),
    )

    for index in range(num_chars):
        draw_streams(logits, uniforms, index, shaping, rules, streams, buffers, drawn)
        step(layout, buffers.drawn_now, state_at, places, logits_at)


PARTS = (sys.modules[__name__], dot_products, following, portable_math)
"""The modules whose functions are compiled into the loops."""
SOURCES = [Path(str(module.__file__)) for module in PARTS]
"""Their files: a change in any file makes the compiled code out of date."""
LOOPS = {loop.__name__: CompiledLoop(loop, SOURCES) for loop in (read, write)}
"""The loops that `prepare` loads or compiles."""


class DrawnRows(NamedTuple):
    """What was drawn in B rows, and what the model predicts after it."""

    block: DrawnBlock
    logits: NDArray[Any]
    """(B, V)."""
    state: Any


class NetworkRows:
    """Texts that the compiled loop draws: each core draws some of them, without waiting for other
    cores.

    `generation.sampling.Rows` uses it for a text that is long enough, where numba is
    installed and `can_compile` the model; it draws the same texts as NumPy, faster.
    """

    def __init__(
        self,
        stepper: Stepper,
        shaping: ShapingNumbers,
        rules: RuleTables,
        streams: FollowedStreams,
    ):
        """Divide the rows of `streams` among the cores."""
        self._model = pack(stepper)
        self._shaping = shaping
        self._rules = rules
        self._streams = streams

        # The scratch buffers of a group are in use by one thread.
        num_rows = len(streams.words)
        self._groups = np.array_split(np.arange(num_rows), min(num_cores(), num_rows))
        self._scratches = [
            make_scratch(self._model, num_streams=len(group)) for group in self._groups
        ]
        self._pool = ThreadPoolExecutor(len(self._groups))

    def draw(self, logits: NDArray[Any], state: Any, uniforms: Doubles) -> DrawnRows:
        """Draw characters by uniforms (B, N) after logits (B, V) and the state of B texts, and read
        them."""
        draw_group = partial(self._draw_group, logits, state, uniforms)
        groups = list(self._pool.map(draw_group, self._groups, self._scratches))

        # The rows of all groups, in their order.
        columns = zip(*(group.block for group in groups), strict=True)
        return DrawnRows(
            DrawnBlock(*map(np.concatenate, columns)),
            logits=np.concatenate([group.logits for group in groups]),
            state=np.concatenate([group.state for group in groups], axis=-2),
        )

    def _draw_group(
        self,
        logits: NDArray[Any],
        state: Any,
        uniforms: Doubles,
        group: Longs,
        scratch: Scratch,
    ) -> DrawnRows:
        """Draw the characters of the rows of a group; see `draw`."""
        # Copies, which the loop changes in place.
        logits = logits.take(group, axis=0)
        state = state.take(group, axis=-2)
        uniforms = uniforms.take(group, axis=0)
        drawn = DrawnBlock(
            ids=np.zeros(uniforms.shape, np.int64),
            logprobs=np.zeros(uniforms.shape),
            lengths=np.full(len(group), uniforms.shape[1], np.int64),
        )
        rows = slice(int(group[0]), int(group[-1]) + 1)
        LOOPS["write"](
            self._model,
            (state, logits),
            uniforms,
            self._shaping,
            self._rules,
            FollowedStreams._make(array[rows] for array in self._streams),
            scratch,
            drawn,
        )
        return DrawnRows(drawn, logits=logits, state=state)


def arguments_of(name: str) -> tuple[Any, ...]:
    """Make arguments of a loop with the types of every call: no characters, one stream, a model
    without layers."""
    # Only the types matter: the loops are compiled for them.
    nothing = np.zeros(1, np.uint8)
    numbers: dict[str, Any] = {
        name: False if kind is bool else 0 for name, kind in Layout.__annotations__.items()
    }
    model = PackedModel(Layout(**numbers), memory=nothing, most_rows=0)
    scratch = Scratch(Places(*[0] * len(Places._fields)), nothing)
    state = np.zeros((0, 1, 1, 1), np.float32)
    logits = np.zeros((1, 1), np.float32)

    if name == "read":
        return model, np.zeros(1, np.int64), state, logits, scratch
    uniforms = np.zeros((1, 0))
    shaping = ShapingNumbers(
        temperature=1.0, top_k=1, top_p=math.inf, min_p=0.0, is_banned=np.zeros(1, np.bool_)
    )
    longs = np.zeros(1, np.int64)
    codes = np.zeros(1, np.uint64)
    drawn = DrawnBlock(np.zeros((1, 0), np.int64), logprobs=uniforms, lengths=longs)
    streams = FollowedStreams(
        words=longs,
        patterns=longs,
        num_left=longs,
        begun=codes,
        num_read=longs,
        history=np.zeros((1, 0), np.uint64),
    )
    return model, (state, logits), uniforms, shaping, no_rules(), streams, scratch, drawn


def prepare(name: str, *, may_compile: bool) -> CompiledLoop | None:
    """Return the loop `read` or `write`; None if it is not on disk and not `may_compile`, or cannot
    be compiled."""
    loop = LOOPS[name]
    arguments = arguments_of(name)
    try:
        if loop.load(arguments):
            return loop
        if not may_compile:
            return None

        # Compiling pays even for this text alone: `may_compile` is only set for texts that take
        # NumPy longer.
        tell(COMPILING)
        loop.compile(arguments)
    except (NumbaError, OSError, RuntimeError) as error:
        # NumPy generates the same text. Other errors would be ours.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        warn(
            f"numba cannot compile the loop ({reason}). NumPy generates the text, which takes"
            " longer."
        )
        return None

    return loop
