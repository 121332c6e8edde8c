"""Compression compiled by numba: the loops of `formats.crnn.rows`, without Python between
characters.

Every row of a block of text is coded by a range coder of its own, with the same integers as there,
bit for bit.

Shapes: B rows, N symbols of the longest row, V vocabulary.
"""

from typing import Any

import numpy as np

from charrnn.compiled import sampling as compiled
from charrnn.compiled.sampling import SOURCES, can_compile, exp, make_scratch, pack, predict, step
from charrnn.system.compiling import CompiledLoop, for_loops

# Fields of a row's coder, which is an array of uint64.
LOW = 0
"""Low end of the interval; decoding: the code above it."""
RANGE = 1
"""Size of the interval."""
NUM_BYTES = 2
"""Bytes written or read."""
AT = 3
"""Symbols done."""
CONTEXT = 4
"""Whether the last symbol was escaped."""
COUNTS = 5
"""How often each of two kinds was followed by each of them: four fields from here on."""
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
def _target(coder: Any, num_parts: Any) -> Any:
    """Return which of the parts of the interval contains the code."""
    return min(np.int64(coder[LOW] // (coder[RANGE] // np.uint64(num_parts))), num_parts - 1)


@for_loops
def _narrow(
    coder: Any,
    begin: Any,
    size: Any,
    num_parts: Any,
    decodes: Any,
    data: Any,
    end: Any,
) -> None:
    """Go on with `size` of the parts of the interval from `begin`: write bytes to data (M,), or
    read them from it.

    After the `end` of data, the bytes that are read are zeros.
    """
    # The new interval. A decoder keeps the code less the low end, which falls as that rises.
    part = coder[RANGE] // np.uint64(num_parts)
    offset = part * np.uint64(begin)
    low = coder[LOW] - offset if decodes else coder[LOW] + offset
    coder[RANGE] = part * np.uint64(size)

    # Beyond 2^64: one more in the bytes that are written.
    if not decodes and low < offset:
        place = np.int64(coder[NUM_BYTES]) - 1
        while data[place] == 255:
            data[place] = 0
            place -= 1
        data[place] += 1

    # Enlarge the interval, byte by byte.
    while coder[RANGE] < TOP:
        place = np.int64(coder[NUM_BYTES])
        byte = 0
        if not decodes:
            data[place] = np.uint8(low >> FIFTY_SIX)
        elif place < end:
            byte = data[place]
        low = low << EIGHT | np.uint64(byte)
        coder[NUM_BYTES] += ONE
        coder[RANGE] <<= EIGHT
    coder[LOW] = low


@for_loops
def _code_kind(
    coder: Any,
    context: Any,
    kind: Any,
    decodes: Any,
    data: Any,
    end: Any,
) -> Any:
    """Code which of two kinds comes next, by how often each followed the context, and return it."""
    # The share of the kind 1 in 2^16, as if each kind had been seen half a time before
    # (Krichevsky & Trofimov 1981).
    counts = coder[COUNTS + 2 * context :]
    zeros = counts[0]
    ones = counts[1]
    share = max(1, np.int64((TWO * ones + ONE << SIXTEEN) // (TWO * (zeros + ones) + TWO)))

    if decodes:
        kind = int(_target(coder, ALL_KINDS) < share)
    counts[kind] += ONE

    # The kind 1 comes first.
    begin = 0 if kind else share
    size = share if kind else ALL_KINDS - share
    _narrow(coder, begin, size, ALL_KINDS, decodes, data, end)
    return kind


@for_loops
def _count_parts(logits: Any, powers: Any, parts: Any) -> None:
    """Set parts (V,) to the frequencies of the characters, of sum 2^SYMBOL_BITS: those of
    `rows.frequencies`, bit for bit. powers (V,) is overwritten."""
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

    # One part for each character, so that all can be coded, and the others by the powers. What the
    # rounding leaves goes to the most likely one, which it changes least.
    scale = np.float64((1 << SYMBOL_BITS) - len(logits)) / max(total, 1.0)
    for char in range(len(logits)):
        parts[char] = 1 + np.int64(powers[char] * scale)
    rest = np.int64(1) << SYMBOL_BITS
    for char in range(len(logits)):
        rest -= parts[char]
    parts[most_likely] += rest


@for_loops
def _code_symbol(
    coder: Any,
    parts: Any,
    symbol: Any,
    decodes: Any,
    data: Any,
    end: Any,
) -> Any:
    """Code a symbol by its part of parts (V,), and return it."""
    begin = np.int64(0)
    num_parts = np.int64(1) << SYMBOL_BITS
    if decodes:
        target = _target(coder, num_parts)
        symbol = np.int64(0)
        while begin + parts[symbol] <= target:
            begin += parts[symbol]
            symbol += 1
    else:
        for other in range(symbol):
            begin += parts[other]
    _narrow(coder, begin, parts[symbol], num_parts, decodes, data, end)
    return symbol


@for_loops
def _reset_row(state: Any, initial: Any, row: Any) -> None:
    """Set a row of a state (L, S, B, H) to the initial one (L, S, 1, H)."""
    for layer in range(state.shape[0]):
        for part in range(state.shape[1]):
            for unit in range(state.shape[3]):
                state[layer, part, row, unit] = initial[layer, part, 0, unit]


def code(model: Any, num_steps: Any, decodes: Any, rows: Any) -> None:
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
    parts = np.empty(vocab_size, np.int64)

    for _ in range(num_steps):
        # Code the symbols of each row up to its next character.
        for row in range(len(symbols)):
            coder = coders[row]
            place = (decodes, data[row], ends[row])
            ids[row] = 0
            while left[row] > 0:
                if not decodes and np.int64(coder[NUM_BYTES]) >= ends[row]:
                    left[row] = 0
                    break

                # Whether it is a character or an escaped byte, by which of them came before.
                at = np.int64(coder[AT])
                symbol = np.int64(symbols[row, at])
                context = np.int64(coder[CONTEXT])
                kind = _code_kind(coder, context, int(symbol < 0), *place)
                coder[CONTEXT] = kind
                coder[AT] += ONE

                # An escaped byte: all are alike, and the model reads none.
                if kind == 1:
                    byte = _target(coder, ALL_BYTES) if decodes else -1 - symbol
                    _narrow(coder, byte, 1, ALL_BYTES, *place)
                    symbols[row, at] = -1 - byte
                    left[row] -= 1
                    continue

                # A character, which ends the turn of this row.
                _count_parts(logits[row], powers, parts)
                symbol = _code_symbol(coder, parts, symbol, *place)
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
