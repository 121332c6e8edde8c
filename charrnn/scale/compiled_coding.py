"""Compression compiled by numba: the loops of `apps.compress.rows`, without Python between characters.

Every row of a block of text is coded by a range coder of its own, with the same integers as there, bit for bit.

Shapes: B rows, N symbols of the longest row, V vocabulary.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from charrnn.code_cache import KeptFunction
from charrnn.scale import compiled
from charrnn.scale.compiled import SOURCES, can_compile, exp, make_scratch, pack, predict, step

_compiled = njit(error_model="numpy")

LOW, RANGE, NUM_BYTES, AT, CONTEXT, COUNTS, NUM_FIELDS = 0, 1, 2, 3, 4, 5, 9
"""Fields of a row's coder (uint64): low end of the interval (decoding: the code above it), its size, bytes written or
read, symbols done, whether the last one was escaped, and how often each context was followed by each kind."""
SYMBOL_BITS, ESCAPE_BITS, BYTE_BITS = 30, 16, 8
"""Bits of the sums of frequencies: of characters, of the two kinds of symbols, of escaped bytes."""
TOP = np.uint64(1 << 56)
"""An interval below this size is enlarged by a byte."""
ONE, TWO, EIGHT, SIXTEEN, FIFTY_SIX = (np.uint64(number) for number in (1, 2, 8, ESCAPE_BITS, 56))
"""Numbers as uint64: numba computes with a mixture of signed and unsigned integers in floating point."""


@_compiled
def _target(coder: Any, bits: Any) -> Any:
    """Return which of 2^bits parts of the interval contains the code."""
    return min(np.int64(coder[LOW] // (coder[RANGE] >> np.uint64(bits))), (np.int64(1) << np.int64(bits)) - 1)


@_compiled
def _narrow(coder: Any, begin: Any, size: Any, bits: Any, decodes: Any, data: Any, end: Any) -> None:
    """Go on with `size` of 2^bits parts of the interval from `begin`: write bytes to data (M,), or read them from it.

    After the `end` of data, the bytes that are read are zeros.
    """
    part = coder[RANGE] >> np.uint64(bits)
    offset, low = part * np.uint64(begin), coder[LOW]
    low = low - offset if decodes else low + offset
    coder[RANGE] = part * np.uint64(size)
    if not decodes and low < offset:  # beyond 2^64: one more in the bytes that are written
        place = np.int64(coder[NUM_BYTES]) - 1
        while data[place] == 255:
            data[place] = 0
            place -= 1
        data[place] += 1
    while coder[RANGE] < TOP:
        place, byte = np.int64(coder[NUM_BYTES]), 0
        if not decodes:
            data[place] = np.uint8(low >> FIFTY_SIX)
        elif place < end:
            byte = data[place]
        low = low << EIGHT | np.uint64(byte)
        coder[NUM_BYTES] += ONE
        coder[RANGE] <<= EIGHT
    coder[LOW] = low


@_compiled
def _count_parts(logits: Any, powers: Any, parts: Any) -> None:
    """Set parts (V,) of 2^SYMBOL_BITS as `rows.frequencies` does; powers (V,) is overwritten."""
    most_likely, best = 0, -np.inf
    for char in range(len(logits)):
        if logits[char] > best:
            most_likely, best = char, np.float64(logits[char])
    for char in range(len(logits)):
        powers[char] = exp(np.float64(logits[char]) - best)
    total = 0.0
    for char in range(len(logits)):
        total += powers[char]
    scale = np.float64((1 << SYMBOL_BITS) - len(logits)) / max(total, 1.0)
    for char in range(len(logits)):
        parts[char] = 1 + np.int64(powers[char] * scale)
    rest = np.int64(1) << SYMBOL_BITS
    for char in range(len(logits)):
        rest -= parts[char]
    parts[most_likely] += rest


@_compiled
def _advance(model: Any, ids: Any) -> None:
    """Read ids (B,); a row that reads END starts from the initial state (L, S, 1, H)."""
    weights, state, logits, end_id, initial, _, scratch = model
    for row in range(len(ids)):
        if ids[row] == end_id:
            state[:, :, row] = initial[:, :, 0]
    step(weights.plan, ids, np.int64(state.ctypes.data), scratch.places)
    predict(weights.plan, ids, np.int64(state.ctypes.data), scratch.places, np.int64(logits.ctypes.data))


def code(model: Any, num_steps: Any, decodes: Any, rows: Any) -> None:
    """Code up to `num_steps` characters of each row, from symbols (B, N) to data (B, M) or, if `decodes`, back.

    `model` is weights, state (L, S, B, H), logits (B, V), the id of END or -1, the initial state, the widths (V,) of
    the characters in bytes, and scratch; `rows` are coders (B, NUM_FIELDS), left (B,), symbols, data and ends (B,).
    A symbol below 0 is the escaped byte -1 - symbol. A row ends where its symbols have used up `left` bytes, or where
    as many bytes as `ends` are written. Of data that is read, a row has `ends` bytes.
    """
    logits, widths, (coders, left, symbols, data, ends) = model[2], model[5], rows
    vocab_size = logits.shape[1]
    ids, powers, parts = np.zeros(len(symbols), np.int64), np.empty(vocab_size), np.empty(vocab_size, np.int64)
    for _ in range(num_steps):
        for row in range(len(symbols)):
            coder, place = coders[row], (decodes, data[row], ends[row])
            ids[row] = 0
            while left[row] > 0:
                if not decodes and np.int64(coder[NUM_BYTES]) >= ends[row]:
                    left[row] = 0
                    break
                at, counts = np.int64(coder[AT]), coder[COUNTS + 2 * np.int64(coder[CONTEXT]) :]
                symbol, begin, known, escaped = np.int64(symbols[row, at]), np.int64(0), counts[0], counts[1]
                share = max(1, np.int64((TWO * escaped + ONE << SIXTEEN) // (TWO * (known + escaped) + TWO)))
                kind = int(_target(coder, ESCAPE_BITS) < share) if decodes else int(symbol < 0)
                counts[kind] += ONE
                coder[CONTEXT] = kind
                coder[AT] += ONE
                if kind == 1:
                    _narrow(coder, 0, share, ESCAPE_BITS, *place)
                    byte = _target(coder, BYTE_BITS) if decodes else -1 - symbol
                    _narrow(coder, byte, 1, BYTE_BITS, *place)
                    symbols[row, at] = -1 - byte
                    left[row] -= 1
                    continue
                _narrow(coder, share, (1 << ESCAPE_BITS) - share, ESCAPE_BITS, *place)
                _count_parts(logits[row], powers, parts)
                if decodes:
                    target, symbol = _target(coder, SYMBOL_BITS), np.int64(0)
                    while begin + parts[symbol] <= target:
                        begin += parts[symbol]
                        symbol += 1
                else:
                    begin = parts[:symbol].sum()
                _narrow(coder, begin, parts[symbol], SYMBOL_BITS, *place)
                symbols[row, at] = ids[row] = symbol
                left[row] -= widths[symbol]
                break
        _advance(model, ids)


LOOPS = {"code": KeptFunction(code, [Path(__file__), *SOURCES])}
"""The loop that `prepare` loads or compiles."""
__all__ = ["LOOPS", "can_compile", "make_scratch", "pack", "prepare"]


def prepare(name: str, *, may_compile: bool) -> KeptFunction | None:
    """Return the compiled loop `code`, as `compiled.prepare` does."""
    weights, _, state, logits, scratch = compiled.arguments_of("read")
    whole, symbols = np.zeros(1, np.int64), np.zeros((1, 1), np.int32)
    rows = np.zeros((1, NUM_FIELDS), np.uint64), whole, symbols, symbols.astype(np.uint8), whole
    model = weights, state, logits, 0, state, whole, scratch
    return compiled.prepare_loop(LOOPS[name], (model, 0, False, rows), may_compile=may_compile)
