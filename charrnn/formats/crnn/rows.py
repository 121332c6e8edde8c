"""Texts as the bytes of a range coder that a model with int8 weights steers: the same bytes on
every machine.

A text is cut into rows, which are coded side by side, each from the initial state. A row is a
sequence of symbols: characters of the alphabet, which cost the less the likelier the model finds
them, and escaped bytes, for everything else. Before each symbol stands its kind; the frequencies of
kinds are counted as the row goes on.

No logarithm or softmax of floating-point numbers decides anything: logits with exact sums become
weights by an exact exp, and the weights become integer frequencies (`frequencies`). The coder is a
range coder (Martin 1979) of 64 bits.

`compiled.coding` computes the same in compiled code.

Shapes: B rows, N symbols of the longest row, M bytes of the longest coded row, V vocabulary.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.sampling import choose_engine, compiled_loop, start_ids
from charrnn.model.portable_math import Float32Array, exact_exp
from charrnn.model.recurrent_state import RecurrentState
from charrnn.model.stepper import Stepper
from charrnn.system.process import num_cores
from charrnn.system.progress import Task
from charrnn.text.documents import END, END_BYTE
from charrnn.text.vocab import Vocab, code_points

Symbols = NDArray[np.int32]
"""Ids of characters, and -1 - b for an escaped byte b."""
Ends = Sequence[int] | NDArray[np.int64]
"""Where the interval of each symbol ends, and the next interval begins."""

SYMBOL_BITS = 30
"""k: bits of the sum of the frequencies of characters."""
KIND_BITS = 16
"""Bits of the sum of the frequencies of two kinds, such as escaped or not."""
BYTE_BITS = 8
"""Bits of the sum of the frequencies of escaped bytes."""
BYTE_ENDS = range(1, (1 << BYTE_BITS) + 1)
"""Intervals of escaped bytes: all are equally likely."""
TOP = 1 << 56
"""An interval below this size is enlarged by a byte."""
MASK = (1 << 64) - 1
"""The largest number of 64 bits."""
ESCAPED_NUL = np.array([-1], np.int32)
"""The symbol of the byte 0 where it is not END."""
SPARE_BYTES = 32
"""Room for the bytes that compiled code writes between two checks."""
STEPS_AT_ONCE = 256
"""Characters of a row that compiled code handles in a call, between two chances to react to
Ctrl-C."""
NUMPY_COST = 4
"""Coding a character counts like generating so many (`compiled_loop`): NumPy codes 25,000 while
numba compiles."""


def frequencies(logits: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the frequencies (B, V), at least 1 each, of sum 2^SYMBOL_BITS, by which characters are
    coded.

    f = 1 + floor(w (2^k - V) / sum(w)) with w = exp(logit - largest logit); the remainder goes to
    the most likely character, the first of several. Sums go from the first character to the last.
    NaN counts as -inf.
    """
    scores = np.where(np.isnan(logits), -np.inf, logits.astype(np.float64))
    with np.errstate(invalid="ignore"):  # inf - inf, whose weight is 0
        weights = exact_exp(scores - scores.max(axis=1, keepdims=True))

    # Not `sum`, which adds in an order that depends on the machine.
    totals = np.cumsum(weights, axis=1)[:, -1:]
    whole = 2**SYMBOL_BITS
    scale = (whole - scores.shape[1]) / np.maximum(totals, 1.0)
    counts: NDArray[np.int64] = 1 + (weights * scale).astype(np.int64)

    # The remainder of rounding down costs least at the most likely character.
    rows = np.arange(len(counts))
    counts[rows, scores.argmax(axis=1)] += whole - counts.sum(axis=1)
    return counts


class RangeEncoder:
    """Codes symbols as the bytes of a number in an interval, which each symbol narrows."""

    def __init__(self, data: bytes = b"", low: int = 0) -> None:
        """Start with the whole interval, or with the bytes that compiled code has written and the
        low end of its interval."""
        self.data = bytearray(data)
        self._low = low
        self._size = MASK

    def code(self, ends: Ends, symbol: int) -> int:
        """Narrow the interval to the part of a symbol, which is returned."""
        # Whole numbers of Python: 64 bits of NumPy would wrap around.
        begin = int(ends[symbol - 1]) if symbol else 0
        unit = self._size // int(ends[-1])
        self._size = unit * (int(ends[symbol]) - begin)
        self._raise(unit * begin)

        # The leading byte of a small interval can only change by a carry, so it is written.
        while self._size < TOP:
            self.data.append(self._low >> 56)
            self._low = (self._low << 8) & MASK
            self._size <<= 8
        return symbol

    def _raise(self, offset: int) -> None:
        self._low += offset
        if self._low <= MASK:
            return

        # The carry adds 1 to the number in the bytes that are written.
        self._low &= MASK
        index = len(self.data) - 1
        while self.data[index] == 255:
            self.data[index] = 0
            index -= 1
        self.data[index] += 1

    def finish(self) -> bytes:
        """Return all bytes, without zeros at the end: the decoder reads zeros after them."""
        # An interval of at least TOP contains a multiple of TOP: its last seven bytes are zero.
        self._raise(-self._low % TOP)
        self.data.append(self._low >> 56)
        return bytes(self.data).rstrip(b"\0")


class RangeDecoder:
    """Reads the symbols that a `RangeEncoder` coded."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 8
        self._code = int.from_bytes(data[:8].ljust(8, b"\0"), "big")
        self._size = MASK

    def code(self, ends: Ends, symbol: int = 0) -> int:
        """Return the next symbol, and narrow the interval to its part. The argument `symbol` is
        ignored."""
        # The same division as in the encoder gives the symbol: its interval contains the code.
        whole = int(ends[-1])
        unit = self._size // whole
        # Damaged bytes may be beyond the last interval.
        target = min(self._code // unit, whole - 1)
        symbol = bisect_right(ends, target)
        begin = int(ends[symbol - 1]) if symbol else 0
        self._code -= unit * begin
        self._size = unit * (int(ends[symbol]) - begin)

        # As many bytes as the encoder wrote here; after the end there are zeros.
        while self._size < TOP:
            byte = 0
            if self._at < len(self._data):
                byte = self._data[self._at]
            self._at += 1
            self._code = ((self._code << 8) | byte) & MASK
            self._size <<= 8
        return symbol


class RowCoding:
    """Codes a row: encodes its symbols, or decodes them and needs none."""

    def __init__(
        self,
        coder: RangeEncoder | RangeDecoder,
        symbols: Iterable[int],
        *,
        size: int,
        widths: NDArray[np.int64],
    ) -> None:
        """Start a row of `size` bytes; `widths` (V,) has the bytes of each character of the
        alphabet."""
        self.symbols: list[int] = []
        """The symbols that were coded."""
        self.num_left = size
        """Bytes of the row that are not coded yet."""
        self._coder = coder
        self._given = iter(symbols)
        self._widths = widths
        self._is_escaped = False
        self._counts = ([0, 0], [0, 0])
        """How often a character and an escaped byte followed a character, and an escaped byte."""

    def code_char(self, ends: NDArray[np.int64]) -> int:
        """Code the next character, by the intervals that `ends` gives, and the escaped bytes before
        it. Return its id; 0 if only escaped bytes were left."""
        while self.num_left > 0:
            # A decoder has no symbols: the 0 that it passes on is not used.
            symbol = next(self._given, 0)
            self._is_escaped = self._code_kind(symbol < 0)
            if self._is_escaped:
                self.symbols.append(-1 - self._coder.code(BYTE_ENDS, -1 - symbol))
                self.num_left -= 1
                continue

            symbol = self._coder.code(ends, symbol)
            self.symbols.append(symbol)
            self.num_left -= int(self._widths[symbol])
            return symbol
        return 0

    def _code_kind(self, kind: bool) -> bool:
        """Code whether a symbol is escaped, by how often that happened after the same kind of
        symbol (Krichevsky & Trofimov 1981)."""
        # (ones + 1/2) / (zeros + ones + 1) in whole numbers, and at least 1.
        counts = self._counts[int(self._is_escaped)]
        zeros, ones = counts
        share = ((2 * ones + 1) << KIND_BITS) // (2 * (zeros + ones) + 2)
        ends = (max(1, share), 1 << KIND_BITS)

        # The first interval belongs to True.
        is_escaped = self._coder.code(ends, int(not kind)) == 0
        counts[int(is_escaped)] += 1
        return is_escaped


class RowCoder:
    """Codes rows of symbols by a model with int8 weights."""

    def __init__(self, stepper: Stepper, vocab: Vocab, separator: str = END) -> None:
        """Take a stepper of precision `int8`, and the characters that END stands for
        (`separator_of`)."""
        self.stepper = stepper
        self.advance: Task = Task("coding")
        """Called with each number of bytes of text that has been coded."""
        self._num_coded = 0
        self._vocab = vocab
        self._codec = ("utf-8", "surrogateescape")
        if vocab.kind == "byte":
            self._codec = ("latin-1", "strict")

        encoded = [self._encode(character) for character in vocab.characters]
        self._separator = separator.encode()
        if stepper.end_id is not None:
            encoded[stepper.end_id] = self._separator
        self.widths = np.array([len(data) for data in encoded], np.int64)
        """(V,) bytes of each character."""
        self._bytes = dict(enumerate(encoded))
        """The bytes that each symbol stands for."""
        self._bytes |= {-1 - byte: bytes([byte]) for byte in range(256)}

        # All rows begin alike, as a sample without a prime does.
        self._logits, self._state = stepper.read(start_ids(vocab, stepper.end_id))

    def _encode(self, character: str) -> bytes:
        """Return the bytes of a character; a question mark for the unknown symbol, and for an entry
        that is no character."""
        try:
            return character.encode(*self._codec) or b"?"
        except UnicodeEncodeError:
            return b"?"

    def to_symbols(self, data: bytes) -> Symbols:
        """Return the symbols of a row: the ids of its characters, and the bytes of characters
        outside the alphabet."""
        if self._separator == END_BYTE:
            return self._known_symbols(data)

        # END stands for the separator, so that a NUL of the text is escaped.
        symbols = []
        for piece in data.split(END_BYTE):
            symbols.append(self._known_symbols(piece.replace(self._separator, END_BYTE)))
            symbols.append(ESCAPED_NUL)
        return np.concatenate(symbols[:-1])

    def _known_symbols(self, data: bytes) -> Symbols:
        """Return the symbols of a text in which each NUL is END."""
        # Bytes that are no UTF-8 become lone surrogates, which are encoded as the same bytes again.
        points = code_points(data.decode(*self._codec))
        is_known = self._vocab.knows(points)
        escaped = [self._encode(chr(point)) for point in points[~is_known]]

        # Each character outside the alphabet makes room for its bytes, which are then put there.
        lengths = np.ones(len(points), np.int64)
        lengths[~is_known] = [len(data) for data in escaped]
        ids = np.where(is_known, self._vocab.ids_of(points), np.int32(-1))
        symbols: Symbols = ids.repeat(lengths)
        escaped_bytes = np.frombuffer(b"".join(escaped), np.uint8).astype(np.int32)
        symbols[symbols < 0] = -1 - escaped_bytes
        return symbols

    def encode(self, rows: Sequence[bytes]) -> list[bytes]:
        """Return the coded bytes of each row; the row itself if coding would not make it
        shorter."""
        # Both ways of coding write the same bytes: the length decides which way is faster.
        symbols = [self.to_symbols(row) for row in rows]
        sizes = [len(row) for row in rows]
        compiled = self._compiled_loop(sizes)
        if compiled is None:
            encoders = [RangeEncoder() for _ in rows]
            self._code_in_numpy(encoders, symbols=symbols, sizes=sizes)
        else:
            encoders = self._encode_compiled(compiled, symbols=symbols, sizes=sizes)

        coded = []
        for row, encoder in zip(rows, encoders, strict=True):
            # Compiled code stops at a row that has grown too long: its bytes may end in zeros,
            # which `finish` removes.
            data = row
            if len(encoder.data) < len(row):
                data = min(row, encoder.finish(), key=len)
            coded.append(data)
        return coded

    def decode(self, rows: Sequence[bytes], sizes: Sequence[int]) -> list[bytes]:
        """Return the rows of `sizes` bytes that were coded as `rows`; wrong rows, if these are
        damaged."""
        # Either way of decoding reads the bytes of both ways of coding.
        compiled = self._compiled_loop(sizes)
        if compiled is None:
            decoders = [RangeDecoder(row) for row in rows]
            decoded = self._code_in_numpy(decoders, symbols=[()] * len(rows), sizes=sizes)
        else:
            decoded = self._decode_compiled(compiled, rows=rows, sizes=sizes)

        texts = []
        for symbols, size in zip(decoded, sizes, strict=True):
            text = b"".join(map(self._bytes.__getitem__, symbols))
            # A damaged row can end in the middle of a character.
            texts.append(text[:size])
        return texts

    def start(self, num_rows: int) -> tuple[RecurrentState[Float32Array], Float32Array]:
        """Return the state and the logits (B, V) before a row, for several rows."""
        state = self._state.map(partial(np.repeat, repeats=num_rows, axis=-2))
        return state, np.repeat(self._logits, num_rows, axis=0)

    def _compiled_loop(self, sizes: Sequence[int]) -> ModuleType | None:
        """Return the module that codes rows of `sizes` bytes faster than NumPy, if these rows and
        all before make up for loading it."""
        # A long text comes in segments, and a single segment would not be worth the loading.
        self._num_coded += sum(sizes)
        engine = choose_engine(NUMPY_COST * self._num_coded)
        return compiled_loop(self.stepper, engine=engine, function="code")

    def _code_in_numpy(
        self,
        coders: Sequence[RangeEncoder | RangeDecoder],
        symbols: Sequence[Iterable[int]],
        sizes: Sequence[int],
    ) -> list[list[int]]:
        """Code a character of each row at a time, and return the symbols of the rows."""
        codings = []
        for coder, row_symbols, size in zip(coders, symbols, sizes, strict=True):
            codings.append(
                RowCoding(coder, symbols=map(int, row_symbols), size=size, widths=self.widths)
            )

        # All rows go through the network together; the network goes on with rows that have ended,
        # and its results for them are not used.
        ids = np.zeros(len(sizes), np.int64)
        state, logits = self.start(len(sizes))
        num_left = sum(sizes)
        while num_left > 0:
            ends = np.cumsum(frequencies(logits), axis=1)
            for row, coding in enumerate(codings):
                if coding.num_left > 0:
                    ids[row] = coding.code_char(ends[row])

            before = num_left
            # A damaged row can end in the middle of a character.
            num_left = sum(max(0, coding.num_left) for coding in codings)
            self.advance(before - num_left)
            if num_left > 0:
                logits, state = self.stepper.step(ids, state)
        return [coding.symbols for coding in codings]

    def _encode_compiled(
        self, compiled: ModuleType, symbols: Sequence[Symbols], sizes: Sequence[int]
    ) -> list[RangeEncoder]:
        """Code rows by the compiled loop; return an encoder with the bytes of each row."""
        # A row that grows beyond the longest row is given up: it is stored as it is.
        data = np.zeros((len(sizes), max(sizes) + SPARE_BYTES), np.uint8)
        fields = self._code_compiled(
            compiled,
            sizes=sizes,
            symbols=_padded(symbols, np.int32),
            data=data,
            ends=np.full(len(sizes), max(sizes), np.int64),
            decodes=False,
        )

        # The encoders only have to `finish`.
        num_written = fields[:, compiled.NUM_BYTES].tolist()
        lows = fields[:, compiled.LOW].tolist()
        encoders = []
        for row, end, low in zip(data, num_written, lows, strict=True):
            encoders.append(RangeEncoder(row[:end].tobytes(), low))
        return encoders

    def _decode_compiled(
        self, compiled: ModuleType, rows: Sequence[bytes], sizes: Sequence[int]
    ) -> list[list[int]]:
        """Decode rows by the compiled loop, and return their symbols."""
        symbols = np.zeros((len(rows), max(sizes)), np.int32)
        fields = self._code_compiled(
            compiled,
            sizes=sizes,
            symbols=symbols,
            data=_padded(rows, np.uint8),
            ends=np.array([len(row) for row in rows], np.int64),
            decodes=True,
        )
        num_symbols = fields[:, compiled.AT].tolist()
        return [row[:end].tolist() for row, end in zip(symbols, num_symbols, strict=True)]

    def _code_compiled(
        self,
        compiled: ModuleType,
        sizes: Sequence[int],
        *,
        symbols: Symbols,
        data: NDArray[np.uint8],
        ends: NDArray[np.int64],
        decodes: bool,
    ) -> NDArray[np.uint64]:
        """Code rows by `compiled.coding.code`, and return the fields of their coders; each core
        takes some of the rows.

        `symbols` (B, N) are read, and `data` (B, M) are written up to `ends` (B,). With `decodes`,
        `data` are read, and `symbols` are written.
        """
        # The coders begin with the whole interval; a decoder has read its first eight bytes.
        num_rows = len(sizes)
        num_left = np.array(sizes, np.int64)
        fields = np.zeros((num_rows, compiled.NUM_FIELDS), np.uint64)
        fields[:, compiled.RANGE] = MASK
        if decodes:
            fields[:, compiled.LOW] = data[:, :8].copy().view(">u8")[:, 0]
            fields[:, compiled.NUM_BYTES] = 8

        # The pieces of an array are views: compiled code writes to the whole arrays.
        num_pieces = min(num_cores(), num_rows)
        arrays = (fields, num_left, symbols, data, ends)
        pieces = [np.array_split(array, num_pieces) for array in arrays]

        # In the order of the arguments of the compiled function.
        weights = compiled.pack(self.stepper)
        end_id = self.stepper.end_id
        if end_id is None:
            end_id = -1
        jobs = []
        for rows in zip(*pieces, strict=True):
            state, logits = self.start(len(rows[0]))
            scratch = compiled.make_scratch(weights, len(rows[0]))
            initial = self.stepper.initial_state(1).vectors
            model = (
                weights,
                state.vectors,
                logits,
                end_id,
                initial,
                self.widths,
                scratch,
            )
            jobs.append((model, STEPS_AT_ONCE, decodes, rows))

        # Compiled code holds no lock of the interpreter: threads run on all cores.
        with ThreadPoolExecutor(len(jobs)) as pool:
            while (num_left > 0).any():
                before = int(num_left.sum())
                list(pool.map(lambda job: compiled.LOOPS["code"](*job), jobs))
                self.advance(before - int(num_left.sum()))
        return fields


def _padded(rows: Sequence[bytes | Symbols], kind: type[np.integer]) -> NDArray[Any]:
    """Return rows as an array (B, N), N >= 8, with zeros at the end."""
    # At least the eight bytes that a decoder reads at its start.
    padded = np.zeros((len(rows), max(8, *(len(row) for row in rows))), kind)
    for target, row in zip(padded, rows, strict=True):
        values = row
        if isinstance(row, bytes):
            values = np.frombuffer(row, kind)
        target[: len(row)] = values
    return padded
