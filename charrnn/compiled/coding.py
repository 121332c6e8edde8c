"""Compression compiled by numba: the loops of `formats.crnn.rows`, without Python between
characters.

Every row of a block of text is coded by a range coder of its own, with the same integers as in
`formats.crnn.rows`, bit for bit.

Shapes: B rows, N symbols of the longest row, V vocabulary.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.compiled import sampling as compiled
from charrnn.compiled.dot_products import Longs
from charrnn.compiled.sampling import SOURCES, can_compile, exp, make_scratch, pack, predict, step
from charrnn.model.portable_math import Doubles, Float32Array
from charrnn.system.compiling import CompiledLoop, for_loops

Coder = NDArray[np.uint64]
"""The fields of a row's coder."""

# The fields, by index.
LOW = 0
"""Low end of the interval; when decoding, the code minus the low end."""
RANGE = 1
"""Size of the interval."""
NUM_BYTES = 2
"""Bytes written or read."""
AT = 3
"""Symbols done."""
CONTEXT = 4
"""Whether the last symbol was escaped."""
COUNTS = 5
"""How often each of two kinds was followed by each kind: four fields from here on."""
NUM_FIELDS = 9
"""Number of fields."""

SYMBOL_BITS = 30
"""Bits of the sum of the frequencies of all characters."""
# Numba compiles a function once for all arguments of type int64, but again for each Python integer.
ALL_KINDS = np.int64(1 << 16)
"""Sum of the frequencies of two kinds."""
ALL_BYTES = np.int64(1 << 8)
"""Number of bytes."""
TOP = np.uint64(1 << 56)
"""An interval below this size is enlarged by a byte."""
ONE, TWO, EIGHT, SIXTEEN, FIFTY_SIX = np.array((1, 2, 8, 16, 56), np.uint64)
"""Numbers as uint64: numba computes with a mixture of signed and unsigned integers in floating
point."""


@for_loops
def _target(coder: Coder, num_units: int) -> Any:
    """Return the number of the unit of the interval that contains the code."""
    return min(np.int64(coder[LOW] // (coder[RANGE] // np.uint64(num_units))), num_units - 1)


@for_loops
def _narrow(
    coder: Coder,
    begin: int,
    size: int,
    num_units: int,
    decodes: bool,
    data: NDArray[np.uint8],
    end: int,
) -> None:
    """Go on with `size` units of the interval from `begin`: write bytes to data (M,), or read them
    from it.

    After the `end` of data, the bytes that are read are zeros.
    """
    # The new interval. A decoder keeps the code minus the low end, which falls as the low end
    # rises.
    unit = coder[RANGE] // np.uint64(num_units)
    offset = unit * np.uint64(begin)
    low = coder[LOW] - offset if decodes else coder[LOW] + offset
    coder[RANGE] = unit * np.uint64(size)

    # Beyond 2^64, 1 is carried into the bytes that are written.
    if not decodes and low < offset:
        at = np.int64(coder[NUM_BYTES]) - 1
        while data[at] == 255:
            data[at] = 0
            at -= 1
        data[at] += 1

    # Enlarge the interval, byte by byte.
    while coder[RANGE] < TOP:
        at = np.int64(coder[NUM_BYTES])
        byte = 0
        if not decodes:
            data[at] = np.uint8(low >> FIFTY_SIX)
        elif at < end:
            byte = data[at]
        low = low << EIGHT | np.uint64(byte)
        coder[NUM_BYTES] += ONE
        coder[RANGE] <<= EIGHT
    coder[LOW] = low


@for_loops
def _code_kind(
    coder: Coder,
    context: int,
    kind: int,
    decodes: bool,
    data: NDArray[np.uint8],
    end: int,
) -> int:
    """Code which of two kinds comes next, by how often each followed the context, and return it."""
    # The share of kind 1 in 2^16, as if each kind had been seen half a time before (Krichevsky &
    # Trofimov 1981).
    counts = coder[COUNTS + 2 * context :]
    zeros = counts[0]
    ones = counts[1]
    share = max(1, np.int64((TWO * ones + ONE << SIXTEEN) // (TWO * (zeros + ones) + TWO)))

    if decodes:
        kind = int(_target(coder, ALL_KINDS) < share)
    counts[kind] += ONE

    # Kind 1 comes first.
    begin = 0 if kind else share
    size = share if kind else ALL_KINDS - share
    _narrow(coder, begin, size, ALL_KINDS, decodes, data, end)
    return kind


@for_loops
def _count(logits: Float32Array, powers: Doubles, counts: Longs) -> None:
    """Set counts (V,) to the frequencies of the characters, of sum 2^SYMBOL_BITS, as
    `rows.frequencies` does, bit for bit. powers (V,) is overwritten."""
    # The powers of the logits, without branches, so that the loop is vectorized.
    most_likely = 0
    best = -np.inf
    for char in range(len(logits)):
        if logits[char] > best:
            most_likely = char
            best = np.float64(logits[char])
    for char in range(len(logits)):
        powers[char] = exp(np.float64(logits[char]) - best)
    total = 0.0
    for char in range(len(logits)):
        total += powers[char]

    # 1 for each character, so that all can be coded, and the rest by the powers. The remainder of
    # the rounding goes to the most likely character, which it changes least.
    scale = np.float64((1 << SYMBOL_BITS) - len(logits)) / max(total, 1.0)
    for char in range(len(logits)):
        counts[char] = 1 + np.int64(powers[char] * scale)
    remainder = np.int64(1) << SYMBOL_BITS
    for char in range(len(logits)):
        remainder -= counts[char]
    counts[most_likely] += remainder


@for_loops
def _code_symbol(
    coder: Coder,
    counts: Longs,
    symbol: int,
    decodes: bool,
    data: NDArray[np.uint8],
    end: int,
) -> int:
    """Code a symbol by counts (V,), and return it."""
    begin = np.int64(0)
    num_units = np.int64(1) << SYMBOL_BITS
    if decodes:
        target = _target(coder, num_units)
        symbol = np.int64(0)
        while begin + counts[symbol] <= target:
            begin += counts[symbol]
            symbol += 1
    else:
        for earlier in range(symbol):
            begin += counts[earlier]
    _narrow(coder, begin, counts[symbol], num_units, decodes, data, end)
    return symbol


@for_loops
def _reset_row(state: Float32Array, initial: Float32Array, row: int) -> None:
    """Set a row of a state (L, S, B, H) to the initial state (L, S, 1, H)."""
    for layer in range(state.shape[0]):
        for vector in range(state.shape[1]):
            for unit in range(state.shape[3]):
                state[layer, vector, row, unit] = initial[layer, vector, 0, unit]


def code(model: Any, num_steps: int, decodes: bool, rows: Any) -> None:
    """Code up to `num_steps` characters of each row, from symbols (B, N) to data (B, M) or, if
    `decodes`, back.

    A row that reads END starts from the initial state (L, S, 1, H). `model` is weights, state (L,
    S, B, H), logits (B, V), the id of END or -1, the initial state, the widths (V,) of the
    characters in bytes, and scratch; `rows` are coders (B, NUM_FIELDS), left (B,), symbols, data
    and ends (B,). A symbol below 0 is the escaped byte -1 - symbol. A row ends where its symbols
    have used up `left` bytes, or where as many bytes as `ends` are written. Of data that is read, a
    row has `ends` bytes.
    """
    weights, state, logits, end_id, initial, widths, scratch = model
    coders, left, symbols, data, ends = rows

    # Addresses, and room that all characters use.
    vocab_size = logits.shape[1]
    state_at = np.int64(state.ctypes.data)
    logits_at = np.int64(logits.ctypes.data)
    ids = np.zeros(len(symbols), np.int64)
    powers = np.empty(vocab_size)
    counts = np.empty(vocab_size, np.int64)

    for _ in range(num_steps):
        # Code the symbols of each row up to its next character.
        for row in range(len(symbols)):
            coder = coders[row]
            coding = (decodes, data[row], ends[row])
            ids[row] = 0
            while left[row] > 0:
                if not decodes and np.int64(coder[NUM_BYTES]) >= ends[row]:
                    left[row] = 0
                    break

                # Code whether it is a character or an escaped byte, given the kind of the last
                # symbol.
                at = np.int64(coder[AT])
                symbol = np.int64(symbols[row, at])
                context = np.int64(coder[CONTEXT])
                kind = _code_kind(coder, context, int(symbol < 0), *coding)
                coder[CONTEXT] = kind
                coder[AT] += ONE

                # An escaped byte: all bytes are equally likely, and the model reads none of them.
                if kind == 1:
                    byte = _target(coder, ALL_BYTES) if decodes else -1 - symbol
                    _narrow(coder, byte, 1, ALL_BYTES, *coding)
                    symbols[row, at] = -1 - byte
                    left[row] -= 1
                    continue

                # A character, which ends the turn of this row.
                _count(logits[row], powers, counts)
                symbol = _code_symbol(coder, counts, symbol, *coding)
                symbols[row, at] = ids[row] = symbol
                left[row] -= widths[symbol]
                break

        # Let the model read these characters.
        for row in range(len(ids)):
            if ids[row] == end_id:
                _reset_row(state, initial, row)
        step(weights.plan, ids, state_at, scratch.places)
        predict(weights.plan, len(ids), scratch.places, logits_at)


LOOPS = {"code": CompiledLoop(code, SOURCES)}
"""The loop that `prepare` loads or compiles."""
__all__ = ["LOOPS", "can_compile", "make_scratch", "pack", "prepare"]


def prepare(name: str, *, may_compile: bool) -> CompiledLoop | None:
    """Return the compiled loop `code`; None if it is not on disk and not `may_compile`, or cannot
    be compiled."""
    weights, _, state, logits, scratch = compiled.arguments_of("read")
    whole = np.zeros(1, np.int64)
    symbols = np.zeros((1, 1), np.int32)
    rows = (
        np.zeros((1, NUM_FIELDS), np.uint64),
        whole,
        symbols,
        symbols.astype(np.uint8),
        whole,
    )
    model = (weights, state, logits, 0, state, whole, scratch)
    return compiled.prepare_loop(LOOPS[name], (model, 0, False, rows), may_compile=may_compile)
