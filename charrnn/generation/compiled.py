"""Reading and writing without Python between two characters: the loop of `Stepper` and `draw`, compiled by numba.

All of it stands in one file, because numba's cache on disk notices changes of the file that a loop stands in, and of no
other. With int8 weights it computes the very bits that `Stepper` computes: sums are exact in any order, and nothing
else may be reordered or fused. With float32 weights only the order of the sums differs.

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

LIMIT = np.float32(TANH_LIMIT)
P0, P1, P2, P3, P4 = (np.float32(value) for value in TANH_TOP)
Q0, Q1, Q2, Q3, Q4 = (np.float32(value) for value in TANH_BOTTOM)
HALF, ONE, ZERO = np.float32(0.5), np.float32(1), np.float32(0)
STEP, DAMPING = np.float32(Antisymmetric.STEP), np.float32(Antisymmetric.DAMPING)


class Stack(NamedTuple):
    """One matrix of every layer: values (L, R, C), scale and bias (L, R), bits (L,), as in `weights.Matrix`."""

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


def is_cached() -> bool:
    """Whether an earlier process left compiled code on this machine, so that none must be waited for."""
    return any(Path(write.stats.cache_path or "").glob("compiled.write-*.nbc"))


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
        is_held=is_held,
        held=held,
    )


def _stack(parts: list[tuple[Matrix, Floats]], stepper: Stepper) -> Stack:
    if not parts:
        dtype = stepper.output[0].values.dtype
        nothing = np.zeros((0, 0), np.float32)
        return Stack(np.zeros((0, 0, 0), dtype), nothing, nothing, np.zeros(0, np.int64))
    return Stack(
        np.stack([matrix.values for matrix, _ in parts]),
        np.stack([matrix.scale for matrix, _ in parts]),
        np.stack([bias for _, bias in parts]),
        np.array([matrix.bits for matrix, _ in parts]),
    )


@njit
def _tanh(x: Any) -> Any:
    x = min(max(x, -LIMIT), LIMIT)
    square = x * x
    top = (((P4 * square + P3) * square + P2) * square + P1) * square + P0
    bottom = (((Q4 * square + Q3) * square + Q2) * square + Q1) * square + Q0
    return x * top / bottom


@njit
def _sigmoid(x: Any) -> Any:
    return HALF * _tanh(HALF * x) + HALF


@njit(fastmath={"nnan", "nsz", "reassoc"})
def _largest(x: Any) -> Any:
    largest = ZERO
    for value in x:
        largest = max(largest, abs(value))
    return largest


@njit
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


@njit(fastmath=SUMS)
def _dot(weight: Any, row: Any, x: Any) -> Any:
    total = ZERO
    for column in range(len(x)):
        total += np.float32(weight[row, column]) * x[column]
    return total


@njit(fastmath=SUMS)
def _four_dots(weight: Any, row: Any, x: Any) -> Any:
    """Rows `row` to `row + 3` at once: four sums keep the processor's multipliers busy."""
    a, b, c, d = ZERO, ZERO, ZERO, ZERO
    for column in range(len(x)):
        value = x[column]
        a += np.float32(weight[row, column]) * value
        b += np.float32(weight[row + 1, column]) * value
        c += np.float32(weight[row + 2, column]) * value
        d += np.float32(weight[row + 3, column]) * value
    return a, b, c, d


@njit
def _product(stack: Any, layer: Any, x: Any, rounded: Any, out: Any) -> None:
    """One stream: out (R,) = x (C,) @ weight.T + bias."""
    weight, scale, bias = stack.values[layer], stack.scale[layer], stack.bias[layer]
    factor = _round(x, stack.bits[layer], rounded)
    whole = len(scale) - len(scale) % 4
    for row in range(0, whole, 4):
        a, b, c, d = _four_dots(weight, row, rounded)
        out[row] = a * (scale[row] * factor) + bias[row]
        out[row + 1] = b * (scale[row + 1] * factor) + bias[row + 1]
        out[row + 2] = c * (scale[row + 2] * factor) + bias[row + 2]
        out[row + 3] = d * (scale[row + 3] * factor) + bias[row + 3]
    for row in range(whole, len(scale)):
        out[row] = _dot(weight, row, rounded) * (scale[row] * factor) + bias[row]


@njit
def _products(stack: Any, layer: Any, x: Any, rounded: Any, out: Any) -> None:
    """Every stream: out (B, R) = x (B, C) @ weight.T + bias."""
    for stream in range(len(x)):
        _product(stack, layer, x[stream], rounded, out[stream])


@njit
def _step_units(weights: Any, layer: Any, x: Any, u: Any, h: Any, c: Any) -> None:
    """The equations of `model.equations`, unit by unit: x (X*H,), u (P*H,); h and c (H,) change in place."""
    size, kind, kept = len(h), weights.kind, weights.kept
    is_held, held, extras = weights.is_held[layer], weights.held[layer], weights.extras[layer]
    if kind in (LSTM, PEEPHOLE, MLSTM):
        for j in range(size):
            i, f = x[j] + u[j], x[size + j] + u[size + j]
            g, o = x[2 * size + j] + u[2 * size + j], x[3 * size + j] + u[3 * size + j]
            before = c[j]
            if kind == PEEPHOLE:
                memory = _sigmoid(f + extras[1, j] * before) * before
                memory = memory + _sigmoid(i + extras[0, j] * before) * _tanh(g)
            else:
                memory = _sigmoid(f) * before + _sigmoid(i) * _tanh(g)
            memory = held[j] if is_held[j] else memory
            if kind == PEEPHOLE:
                o = o + extras[2, j] * memory
            _leave(h, c, j, _sigmoid(o) * _tanh(memory), memory, kept)
    elif kind == COUPLED:
        for j in range(size):
            f, o = x[j] + u[j], x[2 * size + j] + u[2 * size + j]
            g = _tanh(x[size + j] + u[size + j])
            memory = g + _sigmoid(f) * (c[j] - g)
            memory = held[j] if is_held[j] else memory
            _leave(h, c, j, _sigmoid(o) * _tanh(memory), memory, kept)
    else:
        for j in range(size):
            if kind == GRU:
                z = _sigmoid(x[size + j] + u[size + j])
                n = _tanh(x[2 * size + j] + _sigmoid(x[j] + u[j]) * u[2 * size + j])
                memory = n + z * (h[j] - n)
            elif kind == RNN:
                memory = _tanh(x[j] + u[j])
            elif kind == IRNN:
                memory = max(x[j] + u[j], ZERO)
            else:
                a = u[j] - DAMPING * h[j]
                memory = h[j] + STEP * _sigmoid(a + x[size + j]) * _tanh(a + x[j])
            memory = held[j] if is_held[j] else memory
            h[j] = memory if kept == ONE else h[j] + kept * (memory - h[j])


@njit
def _leave(h: Any, c: Any, j: Any, output: Any, memory: Any, kept: Any) -> None:
    if kept == ONE:
        h[j], c[j] = output, memory
    else:
        h[j], c[j] = h[j] + kept * (output - h[j]), c[j] + kept * (memory - c[j])


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
    return Scratch(x, u, m, below, total, np.zeros(size, np.float32))


@njit
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


@njit
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
        for rank in range(top_k, size):
            total -= probs[order[rank]]
            probs[order[rank]] = 0.0
        if top_p <= 1:
            reached, kept = 0.0, 0.0
            for char in order:
                if reached >= top_p * total:
                    probs[char] = 0.0
                reached += probs[char]
                kept += probs[char]
            total = kept
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


@njit
def _log_sum(scores: Any) -> Any:
    largest = -np.inf
    for score in scores:
        largest = max(largest, score)
    total = 0.0
    for score in scores:
        total += math.exp(score - largest)
    return largest + math.log(total)


@njit
def _value(weights: Any, state: Any, layer: Any, stream: Any, unit: Any) -> Any:
    """What the microscope shows of a unit: tanh(c), or h of those that stay within [-1, 1], or tanh(h)."""
    memory = state[layer, state.shape[1] - 1, stream, unit]
    return memory if weights.kind == GRU or weights.kind == RNN else _tanh(memory)


@njit(cache=True, nogil=True)
def read(weights: Any, ids: Any, state: Any, logits: Any, scratch: Any) -> None:
    """Read ids (N,), N >= 1, in one stream: the state (L, S, 1, H) and the logits (1, V) change in place."""
    for index in range(len(ids)):
        _step(weights, ids[index : index + 1], state, scratch)
    _products(weights.output, 0, scratch.total, scratch.rounded, logits)


@njit(cache=True, nogil=True)
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
