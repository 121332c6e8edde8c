"""A network packed into one block of memory, and its step compiled by numba: the copy of
`model.stepper.Stepper` without Python between characters.

This is the only hand-written copy of the walk (`model.stepper`) and of the equations of three cells
and two depths in Python: loops over single numbers that change arrays in place. Numba compiles
neither the classes of `model.cell_types` nor functions passed as arguments, and array expressions
would allocate memory for each operation. A single loop for all the equations of an LSTM, as a
recorder of its operations would emit it, takes 1.14 times as long at 128 units and 1.19 times at
512: with so many arrays it is vectorized worse. `tests/compiled/test_compiled.py` compares the copy
with the originals.

Only models with int8 weights and the most frequent architectures are compiled. The results equal
`Stepper`'s, bit for bit: sums of integers are exact in any order, and nothing else may be reordered
or fused.

Inside a step, arrays are passed by address. Numba counts the references to an array at every use,
atomically: that took longer than the products of a small model, and made two threads wait for each
other.

Shapes: B streams, V vocabulary, H hidden, L layers, X and P blocks of the input and recurrent
weights, R rows and C columns of a matrix.
"""

import ctypes
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.compiled import dot_products
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
from charrnn.compiled.functions import power_of_two, sigmoid, tanh
from charrnn.model.portable_math import SMALLEST_EXPONENT
from charrnn.model.stepper import Stepper
from charrnn.system.compiling import for_loops

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


class StepBuffers(NamedTuple):
    """Addresses of the buffers of one step of B streams."""

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
    """The buffers of one step of B streams in one block of memory."""

    buffers: StepBuffers
    memory: NDArray[np.uint8]
    """The block, to which the addresses point."""


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
    """Allocate the buffers of `step`."""
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
    return Scratch(StepBuffers(**places, sum_stride=sum_stride), memory)


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
    buffers: StepBuffers,
    num_streams: int,
    x_at: Address,
    out_at: Address,
) -> None:
    """Compute (B, R) at `out_at` = (B, H) at `x_at` @ weight.T + bias, for every stream."""
    # The addresses and sizes.
    number = role * layout.num_layers + layer
    fields = longs_at(layout.matrices + number * NUM_FIELDS * LONG, NUM_FIELDS)
    factors = floats_at(buffers.factors, num_streams)
    num_rows = fields[NUM_ROWS]
    size = layout.size
    num_columns = padded(size, multiple=COLUMN_MULTIPLE)
    input_stride = 2 * num_columns
    sum_stride = buffers.sum_stride

    # Inputs to integers.
    for stream in range(num_streams):
        at = x_at + stream * FLOAT * size
        factors[stream] = _round_to_inputs(
            at, size, bits=fields[BITS], inputs_at=buffers.inputs + stream * input_stride
        )

    # Sums of their products. All streams multiply with a group of rows, which stays in the cache,
    # before the next group is loaded.
    together = num_streams - num_streams % STREAMS
    for first_row in range(0, num_rows, ROWS):
        weights = fields[VALUES] + first_row * num_columns
        start = fields[START] + FLOAT * first_row
        sums = buffers.sums + FLOAT * first_row
        for stream in range(0, together, STREAMS):
            at = buffers.inputs + stream * input_stride
            sums_at = sums + stream * sum_stride
            _dot_many(weights, num_columns, at, input_stride, start, sums_at, sum_stride)
        for stream in range(together, num_streams):
            at = buffers.inputs + stream * input_stride
            sums_at = sums + stream * sum_stride
            _dot_one(weights, num_columns, at, input_stride, start, sums_at, sum_stride)

    # Back to floats.
    for stream in range(num_streams):
        _scale_sums(
            fields,
            factor=factors[stream],
            sums_at=buffers.sums + stream * sum_stride,
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
def step(
    layout: Layout, ids: Longs, state_at: Address, buffers: StepBuffers, logits_at: Address
) -> None:
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
                layout, INPUT, layer - 1, buffers, num_streams, x_at=buffers.below, out_at=buffers.x
            )
        products(layout, RECURRENT, layer, buffers, num_streams, x_at=h, out_at=buffers.u)

        # The equations, stream by stream. The input of the first layer is in the table of
        # characters.
        for stream in range(num_streams):
            if layer == 0:
                x = layout.table + ids[stream] * input_row
            else:
                x = buffers.x + stream * input_row
            at = stream * row
            _step_units(layout, layer, x, u=buffers.u + stream * recurrent_row, h=h + at, c=c + at)

            # The depth.
            if layer > 0 and layout.is_residual:
                _add(h + at, buffers.below + at, size)
            else:
                _copy(h + at, buffers.below + at, size)

    products(
        layout, OUTPUT, np.int64(0), buffers, num_streams, x_at=buffers.below, out_at=logits_at
    )
