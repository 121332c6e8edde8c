"""Texts as the bytes of a range coder that a model with int8 weights steers: the same bytes on
every machine.

A text is cut into rows, which are coded side by side, each from the initial state. A row is a
sequence of symbols: characters of the alphabet, which cost what the model finds likely, and escaped
bytes, for everything else. Before each symbol stands its kind, whose frequencies are counted as the
row goes on. With an order N, a guess is made of each character, the one that followed the last N
before; whether it is right is such a kind, too.

No logarithm or softmax of floating-point numbers decides anything: logits with exact sums become
weights by an exact exp, and those become integer frequencies (`frequencies`). The coder is a range
coder (Martin 1979) of 64 bits.

`compiled.coding` is the same in compiled code.

Shapes: B rows, N symbols of the longest row, M bytes of the longest coded one, V vocabulary.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.sampling import compiled_loop, start_ids
from charrnn.model.portable_math import exact_exp
from charrnn.model.stepper import Stepper
from charrnn.system.process import num_cores
from charrnn.system.progress import Task
from charrnn.text.vocab import Vocab, code_points

Symbols = NDArray[np.int32]
"""Ids of characters, and -1 - b for an escaped byte b."""
Ends = Sequence[int] | NDArray[np.int64]
"""Where the interval of each symbol ends, and the next one begins."""

SYMBOL_BITS, KIND_BITS, BYTE_BITS = 30, 16, 8
"""Bits of the sums of frequencies: of characters (k), of two kinds, such as escaped or not, of
escaped bytes."""
BYTE_ENDS = range(1, (1 << BYTE_BITS) + 1)
"""Intervals of escaped bytes: all are equally likely."""
MAX_ORDER, SLOT_BITS, MOST_COUNTED, MULTIPLIER = 6, 18, 7, 2654435761
"""Characters of a context at most; bits of the number of a slot of its guess; the count of a guess
at most; of the hash of a context, 2^32 divided by the golden ratio (Knuth 1973)."""
TOP = 1 << 56
"""An interval below this size is enlarged by a byte."""
MASK = (1 << 64) - 1
"""The largest number of 64 bits."""
SPARE_BYTES = 32
"""Room for what compiled code writes between two checks."""
STEPS_AT_ONCE = 256
"""Characters of a row that compiled code handles in one call, between two chances to react to
Ctrl-C."""
NUMPY_COST = 4
"""Coding a character counts like generating so many (`compiled_loop`): NumPy codes 25,000 while
numba compiles."""


def frequencies(logits: NDArray[Any]) -> NDArray[np.int64]:
    """Return the frequencies (B, V), at least 1 each, of sum 2^SYMBOL_BITS, by which characters are
    coded.

    f = 1 + floor(w (2^k - V) / sum(w)) with w = exp(logit - largest logit); the remainder goes to
    the most likely one, the first of several. Sums go from the first character to the last. What is
    no number counts as -inf.
    """
    scores = np.where(np.isnan(logits), -np.inf, logits.astype(np.float64))
    with np.errstate(invalid="ignore"):  # inf - inf, whose weight is 0
        weights = exact_exp(scores - scores.max(axis=1, keepdims=True))
    scale = (2**SYMBOL_BITS - scores.shape[1]) / np.maximum(np.cumsum(weights, axis=1)[:, -1:], 1.0)
    parts: NDArray[np.int64] = 1 + (weights * scale).astype(np.int64)
    parts[np.arange(len(parts)), scores.argmax(axis=1)] += 2**SYMBOL_BITS - parts.sum(axis=1)
    return parts


class RangeEncoder:
    """Codes symbols as the bytes of a number in an interval, which each of them narrows."""

    def __init__(self, data: bytes = b"", low: int = 0) -> None:
        """Start with the whole interval; or with what compiled code has written, and the low end of
        its interval."""
        self.data, self._low, self._size = bytearray(data), low, MASK

    def code(self, ends: Ends, symbol: int) -> int:
        """Narrow the interval to the part of a symbol, which is returned."""
        part, begin = self._size // int(ends[-1]), int(ends[symbol - 1]) if symbol else 0
        self._size = part * (int(ends[symbol]) - begin)
        self._raise(part * begin)
        while self._size < TOP:
            self.data.append(self._low >> 56)
            self._low, self._size = self._low << 8 & MASK, self._size << 8
        return symbol

    def _raise(self, offset: int) -> None:
        self._low += offset
        if self._low > MASK:  # one more in the bytes that are written
            place = len(self.data) - 1
            while self.data[place] == 255:
                self.data[place] = 0
                place -= 1
            self.data[place] += 1
            self._low &= MASK

    def finish(self) -> bytes:
        """Return all bytes, without zeros at the end: the decoder reads zeros after them."""
        self._raise(-self._low % TOP)  # an interval of at least TOP contains a multiple of it
        return bytes(self.data + bytes([self._low >> 56])).rstrip(b"\0")


class RangeDecoder:
    """Reads the symbols that a `RangeEncoder` coded."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 8
        self._code, self._size = int.from_bytes(data[:8].ljust(8, b"\0"), "big"), MASK

    def code(self, ends: Ends, symbol: int = 0) -> int:
        """Return the next symbol, whatever is passed as `symbol`, and narrow the interval to its
        part."""
        part = self._size // int(ends[-1])
        symbol = bisect_right(ends, min(self._code // part, int(ends[-1]) - 1))
        begin = int(ends[symbol - 1]) if symbol else 0
        self._code, self._size = self._code - part * begin, part * (int(ends[symbol]) - begin)
        while self._size < TOP:
            byte = self._data[self._at] if self._at < len(self._data) else 0
            self._code, self._size, self._at = (
                (self._code << 8 | byte) & MASK,
                self._size << 8,
                self._at + 1,
            )
        return symbol


def code_row(
    coder: RangeEncoder | RangeDecoder,
    symbols: Iterable[int],
    size: int,
    widths: NDArray[np.int64],
    order: int = 0,
) -> Generator[int, NDArray[np.int64], list[int]]:
    """Code a row of `size` bytes: take the intervals of the next character, yield its id; then
    those of the next one.

    Encodes `symbols`, or decodes as many as the row has, for which none are needed; returns them.
    """
    given, done, is_escaped = iter(symbols), [], False
    counts, slots, hashed = (
        [[0, 0] for _ in range(8 * MOST_COUNTED + 9)],
        dict[int, tuple[int, int]](),
        0,
    )

    def code_kind(context: int, kind: bool) -> bool:
        """Code one of two kinds, by how often each followed its context before (Krichevsky &
        Trofimov 1981)."""
        zeros, ones = counts[context]
        share = max(1, ((2 * ones + 1) << KIND_BITS) // (2 * (zeros + ones) + 2))
        kind = coder.code((share, 1 << KIND_BITS), int(not kind)) == 0
        counts[context][kind] += 1
        return kind

    ends = yield 0
    while size > 0:
        symbol = next(given, 0)
        is_escaped = code_kind(int(is_escaped), symbol < 0)
        if is_escaped:
            done.append(-1 - coder.code(BYTE_ENDS, -1 - symbol))
            size -= 1
            continue
        guess, count = slots.get(hashed >> 32 - SLOT_BITS, (0, 0))
        part = int(ends[guess] - (ends[guess - 1] if guess else 0))
        if count and code_kind(8 * count + (part >> SYMBOL_BITS - 3), symbol == guess):
            symbol = guess
        else:  # a wrong guess keeps one part
            symbol = coder.code(
                np.append(ends[:guess], ends[guess:] - (part - 1)) if count else ends, symbol
            )
        if order:
            count = min(count + 1, MOST_COUNTED) if guess == symbol else count >> 1
            slots[hashed >> 32 - SLOT_BITS] = (guess, count) if count else (symbol, 1)
            hashed = (hashed << (31 + order) // order) + (symbol + 1) * MULTIPLIER & 0xFFFFFFFF
        done.append(symbol)
        size -= int(widths[symbol])
        ends = yield symbol
    return done


class RowCoder:
    """Codes rows of symbols by a model with int8 weights."""

    def __init__(self, stepper: Stepper, vocab: Vocab) -> None:
        """Take a stepper of precision `int8`."""
        self.stepper = stepper
        self.order = 0
        """Number of characters by which the next one is guessed; 0: without guesses."""
        self.advance: Task = Task("coding")
        """Called with each number of bytes of text that has been coded."""
        self._num_coded = 0
        self._codec = (
            ("latin-1", "strict") if vocab.kind == "byte" else ("utf-8", "surrogateescape")
        )
        self._vocab = vocab
        encoded = [self._encode(character) for character in vocab.characters]
        self.widths = np.array([len(one) for one in encoded], np.int64)
        """(V,) bytes of each character."""
        self._bytes = encoded + [
            bytes([255 - byte]) for byte in range(256)
        ]  # escaped bytes from the end
        self._logits, self._state = stepper.read(start_ids(vocab, stepper.end_id))

    def _encode(self, character: str) -> bytes:
        """Return the bytes of a character; a question mark for the unknown symbol and what is no
        character."""
        try:
            return character.encode(*self._codec) or b"?"
        except UnicodeEncodeError:
            return b"?"

    def to_symbols(self, data: bytes) -> Symbols:
        """Return the symbols of a row: the ids of its characters, and the bytes of all that is not
        in the alphabet."""
        points = code_points(data.decode(*self._codec))
        is_known, lengths = self._vocab.knows(points), np.ones(len(points), np.int64)
        escaped = [self._encode(chr(point)) for point in points[~is_known]]
        lengths[~is_known] = [len(one) for one in escaped]
        symbols: Symbols = np.where(is_known, self._vocab.ids_of(points), np.int32(-1)).repeat(
            lengths
        )
        symbols[symbols < 0] = -1 - np.frombuffer(b"".join(escaped), np.uint8).astype(np.int32)
        return symbols

    def encode(self, rows: Sequence[bytes]) -> list[bytes | None]:
        """Return the coded bytes of each row; None where they would not be fewer than those of the
        row."""
        symbols, sizes = [self.to_symbols(row) for row in rows], [len(row) for row in rows]
        if (compiled := self._compiled_loop(sizes)) is None:
            encoders = [RangeEncoder() for _ in rows]
            self._code_in_numpy(encoders, symbols, sizes)
        else:
            room = np.zeros((len(rows), max(sizes) + SPARE_BYTES), np.uint8)
            ends = np.full(len(rows), max(sizes), np.int64)
            fields = self._code_compiled(
                compiled, sizes, _padded(symbols, np.int32), room, ends, decodes=False
            )
            states = fields[:, [compiled.NUM_BYTES, compiled.LOW]].tolist()
            encoders = [
                RangeEncoder(row[:end].tobytes(), low)
                for row, (end, low) in zip(room, states, strict=True)
            ]
        # Compiled code leaves a row that has grown too long: what it wrote may end in zeros, which
        # `finish` removes.
        coded = [
            one.finish() if len(one.data) < size else None
            for one, size in zip(encoders, sizes, strict=True)
        ]
        return [
            None if data is None or len(data) >= size else data
            for data, size in zip(coded, sizes, strict=True)
        ]

    def decode(self, rows: Sequence[bytes], sizes: Sequence[int]) -> list[bytes]:
        """Return the rows of `sizes` bytes that were coded as `rows`; others, if those are
        damaged."""
        if (compiled := self._compiled_loop(sizes)) is None:
            decoded = self._code_in_numpy(
                [RangeDecoder(row) for row in rows], [()] * len(rows), sizes
            )
        else:
            symbols, ends = (
                np.zeros((len(rows), max(sizes)), np.int32),
                np.array([len(row) for row in rows], np.int64),
            )
            fields = self._code_compiled(
                compiled, sizes, symbols, _padded(rows, np.uint8), ends, decodes=True
            )
            decoded = [
                row[:end].tolist()
                for row, end in zip(symbols, fields[:, compiled.AT].tolist(), strict=True)
            ]
        return [
            b"".join(map(self._bytes.__getitem__, one))[:size]
            for one, size in zip(decoded, sizes, strict=True)
        ]

    def start(self, num_rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the state (L, S, B, H) and the logits (B, V) before a row, for several rows."""
        return np.repeat(self._state, num_rows, axis=2), np.repeat(self._logits, num_rows, axis=0)

    def _compiled_loop(self, sizes: Sequence[int]) -> ModuleType | None:
        """Return what codes rows of `sizes` bytes faster than NumPy, if these and all before make
        up for loading it."""
        self._num_coded += sum(sizes)
        return compiled_loop(self.stepper, NUMPY_COST * self._num_coded, "code")

    def _code_in_numpy(
        self,
        coders: Sequence[RangeEncoder | RangeDecoder],
        symbols: Sequence[Any],
        sizes: Sequence[int],
    ) -> list[list[int]]:
        """Code rows, one character of each at a time, and return their symbols."""
        codings = {
            row: code_row(coder, map(int, one), size, self.widths, self.order)
            for row, (coder, one, size) in enumerate(zip(coders, symbols, sizes, strict=True))
        }
        done: dict[int, list[int]] = {}
        ids, left, (state, logits) = (
            np.zeros(len(sizes), np.int64),
            list(sizes),
            self.start(len(sizes)),
        )
        for coding in codings.values():
            next(coding)
        while codings:
            ends, before = np.cumsum(frequencies(logits), axis=1), sum(left)
            for row, coding in list(codings.items()):
                try:
                    ids[row] = coding.send(ends[row])
                    left[row] -= int(self.widths[ids[row]])
                except StopIteration as ended:
                    done[row], left[row] = ended.value, 0
                    del codings[row]
            self.advance(before - sum(left))
            logits, state = self.stepper.step(ids, state)
        return [done[row] for row in range(len(sizes))]

    def _code_compiled(
        self, compiled: ModuleType, sizes: Sequence[int], *arrays: NDArray[Any], decodes: bool
    ) -> NDArray[np.uint64]:
        """Code rows by the compiled loop, and return the fields of their coders; each core takes
        some of the rows.

        `arrays` are symbols (B, N), data (B, M) and ends (B,) of `compiled.coding.code`.
        """
        fields, left = (
            np.zeros((len(sizes), compiled.NUM_FIELDS), np.uint64),
            np.array(sizes, np.int64),
        )
        fields[:, compiled.RANGE] = MASK
        if decodes:
            fields[:, compiled.LOW], fields[:, compiled.NUM_BYTES] = (
                arrays[1][:, :8].copy().view(">u8")[:, 0],
                8,
            )
        slots = np.zeros((len(sizes), 1 << SLOT_BITS if self.order else 1), np.int32)
        groups = [
            np.array_split(array, min(num_cores(), len(sizes)))
            for array in (fields, left, slots, *arrays)
        ]
        weights, end_id = (
            compiled.pack(self.stepper),
            -1 if self.stepper.end_id is None else self.stepper.end_id,
        )
        jobs = []
        for rows in zip(*groups, strict=True):
            start = *self.start(len(rows[0])), end_id, self.stepper.initial_state(1)
            model = (
                weights,
                *start,
                self.widths,
                self.order,
                compiled.make_scratch(weights, len(rows[0])),
            )
            jobs.append((model, STEPS_AT_ONCE, decodes, rows))
        with ThreadPoolExecutor(len(jobs)) as pool:
            while (left > 0).any():
                before = int(left.sum())
                list(pool.map(lambda job: compiled.LOOPS["code"](*job), jobs))
                self.advance(before - int(left.sum()))
        return fields


def _padded(rows: Sequence[Any], kind: type[Any]) -> NDArray[Any]:
    """Return rows as an array (B, N), N >= 8, with zeros at the end."""
    padded = np.zeros((len(rows), max(8, *(len(row) for row in rows))), kind)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = np.frombuffer(row, kind) if isinstance(row, bytes) else row
    return padded
