"""Reading and writing without Python between two characters: the loop of `Stepper` and `draw`, compiled by numba.

All of it stands in one file, because numba's cache on disk notices changes of the file that a loop stands in, and of no
other: whoever changes a number that comes from another file (`TANH_TOP`, `Antisymmetric.STEP` ...) changes this one
too, if only its comment. With int8 weights it computes the very bits that `Stepper` computes: sums are exact in any
order, and nothing else may be reordered or fused. With float32 weights sums come in another order and are fused, and
tanh is `exact_tanh`, off by 4e-7.

Shapes: B streams, N characters, V vocabulary, H hidden, L layers, X and P blocks of the input and recurrent weights.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from charrnn.model.equations import Antisymmetric
from charrnn.model.stepper import Stepper
from charrnn.model.weights import SMALLEST_EXPONENT, TANH_BOTTOM, TANH_LIMIT, TANH_TOP, Floats, Matrix

KINDS = ("lstm", "peephole", "coupled", "mlstm", "gru", "rnn", "irnn", "antisymmetric")
"""Cells that are compiled."""
DEPTHS = ("stacked", "residual", "highway")
LSTM, PEEPHOLE, COUPLED, MLSTM, GRU, RNN, IRNN, ANTISYMMETRIC = range(len(KINDS))
STACKED, RESIDUAL, HIGHWAY = range(len(DEPTHS))

SUMS = {"reassoc", "contract", "nsz"}
"""What the compiler may do to a sum of products: exact in any order where weights are int8."""

# Python's own would look at every divisor, and no loop with a division in it would become vector code.
_compiled = njit(error_model="numpy")
_kept = njit(error_model="numpy", cache=True, nogil=True)

LIMIT = np.float32(TANH_LIMIT)
P0, P1, P2, P3, P4 = (np.float32(value) for value in TANH_TOP)
Q0, Q1, Q2, Q3, Q4 = (np.float32(value) for value in TANH_BOTTOM)
HALF, ONE, ZERO = np.float32(0.5), np.float32(1), np.float32(0)
STEP, DAMPING = np.float32(Antisymmetric.STEP), np.float32(Antisymmetric.DAMPING)


class Stack(NamedTuple):
    """A matrix of every layer, as `weights.Matrix` but transposed: values (L, C, R), scale, bias (L, R), bits (L,)."""

    values: NDArray[Any]
    scale: Floats
    bias: Floats
    bits: NDArray[np.int64]


class Weights(NamedTuple):
    """A whole model; stacks that it does not have are empty."""

    kind: int
    depth: int
    sums_outputs: bool
    kept: np.float32
    """What zoneout leaves of a change."""
    table: Floats
    inputs: Stack
    """Of layers 1 and up."""
    recurrent: Stack
    multiplicative: Stack
    highways: Stack
    output: Stack
    extras: Floats
    """(L, 3, H): a peephole's weights ci, cf, co."""
    has_c: bool
    holds: bool
    """Whether any unit is held."""
    is_held: NDArray[np.bool_]
    held: Floats
    """(L, H) each."""


class Drawing(NamedTuple):
    """How each of B streams is drawn from; see `generation.distribution.Shaping`. Without a limit: V, 2, 0, 0."""

    temperature: NDArray[np.float64]
    top_k: NDArray[np.int64]
    top_p: NDArray[np.float64]
    min_p: NDArray[np.float64]
    is_banned: NDArray[np.bool_]
    max_line: int
    newline: int


def can_compile(stepper: Stepper) -> bool:
    """Whether this model has a cell and a depth that are compiled."""
    return stepper.cell_name in KINDS and stepper.depth in DEPTHS


def is_cached(loop: Any) -> bool:
    """Whether code of one of the loops below was left on this machine, so that none need be waited for.

    Code older than this file is of another version of it.
    """
    changed = Path(__file__).stat().st_mtime
    left = Path(loop.stats.cache_path or "").glob(f"compiled.{loop.__name__}-*.nbc")
    return any(path.stat().st_mtime > changed for path in left)


def pack(stepper: Stepper) -> Weights:
    """The weights of a stepper that `can_compile`."""
    layers, size = stepper.layers, stepper.hidden_size
    names = ("weight_ci", "weight_cf", "weight_co")
    extras = np.zeros((len(layers), 3, size), np.float32)
    is_held, held = np.zeros((len(layers), size), np.bool_), np.zeros((len(layers), size), np.float32)
    for index, layer in enumerate(layers):
        for row, name in enumerate(names):
            if name in layer.extras:
                extras[index, row] = layer.extras[name]
        for unit, value in stepper.held.get(index, {}).items():
            is_held[index, unit], held[index, unit] = True, value
    return Weights(
        kind=KINDS.index(stepper.cell_name),
        depth=DEPTHS.index(stepper.depth),
        sums_outputs=stepper.sum_outputs,
        kept=np.float32(1) - stepper.zoneout,
        table=stepper.table,
        inputs=_stack([(layer.weight_ih, layer.bias_ih) for layer in layers[1:]], stepper),
        recurrent=_stack([layer.recurrent["hh"] for layer in layers], stepper),
        multiplicative=_stack([layer.recurrent["mh"] for layer in layers if "mh" in layer.recurrent], stepper),
        highways=_stack(stepper.highways, stepper),
        output=_stack([stepper.output], stepper),
        extras=extras,
        has_c=stepper.cell.num_states == 2,
        holds=bool(is_held.any()),
        is_held=is_held,
        held=held,
    )


def _stack(parts: list[tuple[Matrix, Floats]], stepper: Stepper) -> Stack:
    if not parts:
        dtype = stepper.output[0].values.dtype
        nothing = np.zeros((0, 0), np.float32)
        return Stack(np.zeros((0, 0, 0), dtype), nothing, nothing, np.zeros(0, np.int64))
    return Stack(
        np.stack([np.ascontiguousarray(matrix.values.T) for matrix, _ in parts]),
        np.stack([matrix.scale for matrix, _ in parts]),
        np.stack([bias for _, bias in parts]),
        np.array([matrix.bits for matrix, _ in parts]),
    )


@_compiled
def _tanh(x: Any) -> Any:
    x = min(max(x, -LIMIT), LIMIT)
    square = x * x
    top = (((P4 * square + P3) * square + P2) * square + P1) * square + P0
    bottom = (((Q4 * square + Q3) * square + Q2) * square + Q1) * square + Q0
    return x * top / bottom


@_compiled
def _sigmoid(x: Any) -> Any:
    return HALF * _tanh(HALF * x) + HALF


@njit(error_model="numpy", fastmath={"nnan", "nsz", "reassoc"})
def _largest(x: Any) -> Any:
    largest = ZERO
    for value in x:
        largest = max(largest, abs(value))
    return largest


@_compiled
def _round(x: Any, bits: Any, out: Any) -> Any:
    """x (C,) to whole numbers `out`; returns what these are to be multiplied with."""
    if bits == 0:
        out[:] = x
        return ONE
    exponent = max(math.frexp(_largest(x))[1], SMALLEST_EXPONENT)
    up = np.float32(math.ldexp(1.0, bits - exponent))
    for column in range(len(x)):
        out[column] = np.rint(x[column] * up)
    return np.float32(math.ldexp(1.0, exponent - bits))


@njit(error_model="numpy", fastmath=SUMS)
def _sums(weight: Any, x: Any, out: Any) -> None:
    """out (R,) = x (C,) @ weight (C, R). Eight columns at a time: each result is then written an eighth as often."""
    for row in range(len(out)):
        out[row] = ZERO
    whole = len(x) - len(x) % 8
    for c in range(0, whole, 8):
        w0, w1, w2, w3 = weight[c], weight[c + 1], weight[c + 2], weight[c + 3]
        w4, w5, w6, w7 = weight[c + 4], weight[c + 5], weight[c + 6], weight[c + 7]
        x0, x1, x2, x3, x4, x5, x6, x7 = x[c], x[c + 1], x[c + 2], x[c + 3], x[c + 4], x[c + 5], x[c + 6], x[c + 7]
        for row in range(len(out)):
            out[row] += (
                np.float32(w0[row]) * x0
                + np.float32(w1[row]) * x1
                + np.float32(w2[row]) * x2
                + np.float32(w3[row]) * x3
                + np.float32(w4[row]) * x4
                + np.float32(w5[row]) * x5
                + np.float32(w6[row]) * x6
                + np.float32(w7[row]) * x7
            )
    for c in range(whole, len(x)):
        for row in range(len(out)):
            out[row] += np.float32(weight[c, row]) * x[c]


@njit(error_model="numpy", fastmath=SUMS)
def _sums_of_four(weight: Any, x: Any, out: Any) -> None:
    """Four streams, out (4, R) = x (4, C) @ weight (C, R): each weight is fetched and made float32 once for all."""
    a, b, c, d = out[0], out[1], out[2], out[3]
    for row in range(len(a)):
        a[row], b[row], c[row], d[row] = ZERO, ZERO, ZERO, ZERO
    whole = x.shape[1] - x.shape[1] % 4
    for k in range(0, whole, 4):
        a0, a1, a2, a3 = x[0, k], x[0, k + 1], x[0, k + 2], x[0, k + 3]
        b0, b1, b2, b3 = x[1, k], x[1, k + 1], x[1, k + 2], x[1, k + 3]
        c0, c1, c2, c3 = x[2, k], x[2, k + 1], x[2, k + 2], x[2, k + 3]
        d0, d1, d2, d3 = x[3, k], x[3, k + 1], x[3, k + 2], x[3, k + 3]
        w0, w1, w2, w3 = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        for row in range(len(a)):
            v0, v1, v2, v3 = np.float32(w0[row]), np.float32(w1[row]), np.float32(w2[row]), np.float32(w3[row])
            a[row] += v0 * a0 + v1 * a1 + v2 * a2 + v3 * a3
            b[row] += v0 * b0 + v1 * b1 + v2 * b2 + v3 * b3
            c[row] += v0 * c0 + v1 * c1 + v2 * c2 + v3 * c3
            d[row] += v0 * d0 + v1 * d1 + v2 * d2 + v3 * d3
    for k in range(whole, x.shape[1]):
        for row in range(len(a)):
            v0 = np.float32(weight[k, row])
            a[row] += v0 * x[0, k]
            b[row] += v0 * x[1, k]
            c[row] += v0 * x[2, k]
            d[row] += v0 * x[3, k]


@_compiled
def _scale(stack: Any, layer: Any, factor: Any, out: Any) -> None:
    scale, bias = stack.scale[layer], stack.bias[layer]
    for row in range(len(out)):
        out[row] = out[row] * (scale[row] * factor) + bias[row]


@_compiled
def _products(stack: Any, layer: Any, x: Any, rounded: Any, out: Any) -> None:
    """Every stream: out (B, R) = x (B, C) @ weight.T + bias; rounded (4, C) is room."""
    weight, bits = stack.values[layer], stack.bits[layer]
    fours = len(x) - len(x) % 4
    for first in range(0, fours, 4):
        f0, f1 = _round(x[first], bits, rounded[0]), _round(x[first + 1], bits, rounded[1])
        f2, f3 = _round(x[first + 2], bits, rounded[2]), _round(x[first + 3], bits, rounded[3])
        _sums_of_four(weight, rounded, out[first : first + 4])
        _scale(stack, layer, f0, out[first])
        _scale(stack, layer, f1, out[first + 1])
        _scale(stack, layer, f2, out[first + 2])
        _scale(stack, layer, f3, out[first + 3])
    for stream in range(fours, len(x)):
        factor = _round(x[stream], bits, rounded[0])
        _sums(weight, rounded[0], out[stream])
        _scale(stack, layer, factor, out[stream])


# The loops below are over slices, without branches and of few arrays each: those the compiler turns into vector code.


@_compiled
def _sigmoids(x: Any, u: Any) -> None:
    """u = sigmoid(x + u)."""
    for j in range(len(u)):
        u[j] = _sigmoid(x[j] + u[j])


@_compiled
def _tanhs(x: Any, u: Any) -> None:
    """u = tanh(x + u)."""
    for j in range(len(u)):
        u[j] = _tanh(x[j] + u[j])


@_compiled
def _peep(x: Any, u: Any, weight: Any, c: Any) -> None:
    """u = sigmoid(x + u + weight * c)."""
    for j in range(len(u)):
        u[j] = _sigmoid(x[j] + u[j] + weight[j] * c[j])


@_compiled
def _output(o: Any, c: Any, h: Any) -> None:
    """h = o * tanh(c)."""
    for j in range(len(h)):
        h[j] = o[j] * _tanh(c[j])


@_compiled
def _hold(weights: Any, layer: Any, memory: Any) -> None:
    if weights.holds:
        for j in range(len(memory)):
            if weights.is_held[layer, j]:
                memory[j] = weights.held[layer, j]


@_compiled
def _keep(new: Any, old: Any, kept: Any) -> None:
    """Zoneout's mean: new = old + kept * (new - old)."""
    for j in range(len(new)):
        new[j] = old[j] + kept * (new[j] - old[j])


@_compiled
def _step_units(weights: Any, layer: Any, x: Any, u: Any, h: Any, c: Any) -> None:
    """The equations of `model.equations`: x (X*H,), u (P*H,) is used up; h and c (H,) change in place."""
    kind, size = weights.kind, len(h)
    zones_out = weights.kept != ONE
    old_h, old_c = (h.copy(), c.copy()) if zones_out else (h, c)
    if kind in (LSTM, PEEPHOLE, MLSTM):
        i, f, g, o = u[:size], u[size : 2 * size], u[2 * size : 3 * size], u[3 * size :]
        x_o = x[3 * size : 4 * size]
        if kind == PEEPHOLE:
            _peep(x[:size], i, weights.extras[layer, 0], c)
            _peep(x[size : 2 * size], f, weights.extras[layer, 1], c)
        else:
            _sigmoids(x[: 2 * size], u[: 2 * size])
        _tanhs(x[2 * size : 3 * size], g)
        for j in range(size):
            c[j] = f[j] * c[j] + i[j] * g[j]
        _hold(weights, layer, c)
        if kind == PEEPHOLE:
            _peep(x_o, o, weights.extras[layer, 2], c)
        else:
            _sigmoids(x_o, o)
        _output(o, c, h)
    elif kind == COUPLED:
        f, g, o = u[:size], u[size : 2 * size], u[2 * size :]
        _sigmoids(x[:size], f)
        _tanhs(x[size : 2 * size], g)
        _sigmoids(x[2 * size :], o)
        for j in range(size):
            c[j] = g[j] + f[j] * (c[j] - g[j])
        _hold(weights, layer, c)
        _output(o, c, h)
    elif kind == GRU:
        r, z, n = u[:size], u[size : 2 * size], u[2 * size :]
        _sigmoids(x[: 2 * size], u[: 2 * size])
        for j in range(size):
            n[j] = r[j] * n[j]
        _tanhs(x[2 * size :], n)
        for j in range(size):
            h[j] = n[j] + z[j] * (h[j] - n[j])
        _hold(weights, layer, h)
    elif kind == ANTISYMMETRIC:
        x_h, x_z = x[:size], x[size:]
        for j in range(size):
            u[j] = u[j] - DAMPING * h[j]
        for j in range(size):
            h[j] = h[j] + STEP * _sigmoid(u[j] + x_z[j]) * _tanh(u[j] + x_h[j])
        _hold(weights, layer, h)
    else:
        if kind == RNN:
            _tanhs(x, u)
        else:
            for j in range(size):
                u[j] = max(x[j] + u[j], ZERO)
        h[:] = u
        _hold(weights, layer, h)
    if zones_out:
        _keep(h, old_h, weights.kept)
        if weights.has_c:
            _keep(c, old_c, weights.kept)
        _hold(weights, layer, c)  # without a c of its own, a cell's h


class Scratch(NamedTuple):
    """Room for one step of B streams."""

    x: Floats
    u: Floats
    m: Floats
    below: Floats
    total: Floats
    rounded: Floats


def make_scratch(weights: Weights, num_streams: int) -> Scratch:
    """Room for `step`."""
    size = weights.held.shape[1]
    widths = (weights.table.shape[1], weights.recurrent.scale.shape[1], size, size, size)
    x, u, m, below, total = (np.zeros((num_streams, width), np.float32) for width in widths)
    return Scratch(x, u, m, below, total, np.zeros((4, size), np.float32))


@_compiled
def _step(weights: Any, ids: Any, state: Any, scratch: Any) -> None:
    """Read ids (B,): the state (L, S, B, H) changes in place, scratch.total becomes what the output layer reads."""
    x, u, m, below, total, rounded = scratch
    size = state.shape[3]
    for layer in range(len(state)):
        h = state[layer, 0]
        c = state[layer, state.shape[1] - 1]
        if layer > 0:
            _products(weights.inputs, layer - 1, below, rounded, x)
        else:
            for stream in range(len(ids)):
                x[stream] = weights.table[ids[stream]]
        if weights.kind == MLSTM:
            _products(weights.multiplicative, layer, h, rounded, m)
            for stream in range(len(ids)):
                for j in range(size):
                    m[stream, j] = x[stream, 4 * size + j] * m[stream, j]
            _products(weights.recurrent, layer, m, rounded, u)
        else:
            _products(weights.recurrent, layer, h, rounded, u)
        for stream in range(len(ids)):
            _step_units(weights, layer, x[stream], u[stream], h[stream], c[stream])
        if layer > 0 and weights.depth == HIGHWAY:
            _products(weights.highways, layer - 1, below, rounded, m)
        for stream in range(len(ids)):
            for j in range(size):
                output = h[stream, j]
                if layer > 0 and weights.depth == RESIDUAL:
                    output = below[stream, j] + output
                elif layer > 0 and weights.depth == HIGHWAY:
                    output = below[stream, j] + _sigmoid(m[stream, j]) * (output - below[stream, j])
                below[stream, j] = output
                total[stream, j] = total[stream, j] + output if layer > 0 and weights.sums_outputs else output


@_compiled
def _draw(scores: Any, drawing: Any, stream: Any, uniform: Any, probs: Any) -> Any:
    """Draw one id from scores (V,), as `next_char_probs` and `draw` do; probs (V,) is room."""
    size = len(scores)
    likeliest, best = 0, -np.inf
    for char in range(size):
        if not drawing.is_banned[char] and scores[char] > best:
            likeliest, best = char, scores[char]
    temperature = drawing.temperature[stream]
    if temperature == 0:
        return likeliest
    total = 0.0
    for char in range(size):
        probs[char] = 0.0 if drawing.is_banned[char] else math.exp((scores[char] - best) / temperature)
        total += probs[char]
    top_k, top_p, min_p = drawing.top_k[stream], drawing.top_p[stream], drawing.min_p[stream]
    if top_k < size or top_p <= 1:
        ordered = np.where(drawing.is_banned, -np.inf, scores)
        order = np.argsort(-ordered, kind="mergesort")
        probs[order[top_k:]] = 0.0
        # Likeliest first, as `next_char_probs` adds: of equals at the border of top-p the same are kept.
        total = 0.0
        for char in order:
            total += probs[char]
        if top_p <= 1:
            border, total = top_p * total, 0.0
            for char in order:
                if total >= border:
                    probs[char] = 0.0
                total += probs[char]
    if min_p > 0:
        total = 0.0
        for char in range(size):
            if probs[char] < min_p * probs[likeliest]:
                probs[char] = 0.0
            total += probs[char]
    target, reached, last = uniform * total, 0.0, likeliest
    for char in range(size):
        if probs[char] > 0:
            reached += probs[char]
            last = char
            if reached > target:
                return char
    return last


@_compiled
def _log_sum(scores: Any) -> Any:
    largest = -np.inf
    for score in scores:
        largest = max(largest, score)
    total = 0.0
    for score in scores:
        total += math.exp(score - largest)
    return largest + math.log(total)


@_compiled
def _value(weights: Any, state: Any, layer: Any, stream: Any, unit: Any) -> Any:
    """What the microscope shows of a unit: tanh(c), or h of those that stay within [-1, 1], or tanh(h)."""
    memory = state[layer, state.shape[1] - 1, stream, unit]
    return memory if weights.kind == GRU or weights.kind == RNN else _tanh(memory)


@_compiled
def read(weights: Any, ids: Any, state: Any, logits: Any, scratch: Any) -> None:
    """Read ids (N,), N >= 1, in one stream: the state (L, S, 1, H) and the logits (1, V) change in place."""
    for index in range(len(ids)):
        _step(weights, ids[index : index + 1], state, scratch)
    _products(weights.output, 0, scratch.total, scratch.rounded, logits)


@_compiled
def write(
    weights: Any,
    state: Any,
    logits: Any,
    columns: Any,
    uniforms: Any,
    drawing: Any,
    scratch: Any,
    shown_layer: Any,
    shown_unit: Any,
    ids: Any,
    logprobs: Any,
    shown: Any,
) -> None:
    """Draw N characters in each of B streams by uniforms (B, N).

    state (L, S, B, H), logits (B, V) and columns (B,), the characters since the last newline, change in place; ids
    (B, N), their log-probabilities (B, N) in nats before any shaping, and the shown unit's values (B, N) after each
    character (if shown_layer >= 0) are written.
    """
    num_streams, num_chars = uniforms.shape
    scores, probs = np.empty(logits.shape[1]), np.empty(logits.shape[1])
    for index in range(num_chars):
        for stream in range(num_streams):
            for char in range(len(scores)):
                scores[char] = logits[stream, char]
            drawn = _draw(scores, drawing, stream, uniforms[stream, index], probs)
            if drawing.max_line > 0 and columns[stream] >= drawing.max_line:
                drawn = drawing.newline
            columns[stream] = 0 if drawn == drawing.newline else columns[stream] + 1
            ids[stream, index] = drawn
            logprobs[stream, index] = scores[drawn] - _log_sum(scores)
        _step(weights, ids[:, index], state, scratch)
        _products(weights.output, 0, scratch.total, scratch.rounded, logits)
        if shown_layer >= 0:
            for stream in range(num_streams):
                shown[stream, index] = _value(weights, state, shown_layer, stream, shown_unit)


# By precision, because whether compiled code was kept is seen by a function's name alone.


@_kept
def read_int8(*arguments: Any) -> None:
    """`read` of int8 weights."""
    read(*arguments)


@_kept
def read_fp32(*arguments: Any) -> None:
    """`read` of float32 weights."""
    read(*arguments)


@_kept
def write_int8(*arguments: Any) -> None:
    """`write` of int8 weights."""
    write(*arguments)


@_kept
def write_fp32(*arguments: Any) -> None:
    """`write` of float32 weights."""
    write(*arguments)
