"""`evaluate --coded`: the loss of a text as the bytes of a real file, an audit of every
probability.

A text is compressed and restored. Its code length is computed a second time without the coder: by
the stepper in NumPy, all rows side by side, and the logarithm of a softmax of floating-point
numbers.

Shapes: R rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from rich.table import Table

from charrnn.errors import DataError, UsageError
from charrnn.evaluation.comparison import Report, evaluate
from charrnn.evaluation.losses import bits
from charrnn.formats.crnn.command import coder_of, compress_text, decompress_text
from charrnn.formats.crnn.container import MAX_ROWS, ROW_BYTES, cut_rows
from charrnn.formats.crnn.rows import BYTE_BITS, KIND_BITS, RowCoder, Symbols
from charrnn.generation.distribution import Float64Array, log_softmax
from charrnn.system.display import Displayable
from charrnn.system.progress import task
from charrnn.text.vocab import as_bytes
from charrnn.views.tables import plain_table


@dataclass(frozen=True, slots=True)
class CodedLoss(Displayable):
    """The code length of a text: in a file, and computed."""

    run: str
    step: int
    file_bytes: int
    """Size of the file, without the model."""
    num_rows: int
    num_chars: int
    """Characters of the alphabet."""
    num_escaped: int
    """Bytes of all other characters."""
    coded_bytes: int
    """What the coder wrote for the rows."""
    computed_bytes: int
    """The computed code length of each row, in whole bytes."""
    coded_bpc: float
    """Bits of the coded bytes, divided by the number of characters."""
    computed_bpc: float
    """The computed loss of the characters alone, with int8 weights and each row from the initial
    state, in bits."""
    bpc: float
    """The loss that `evaluate` prints, by the stateful protocol, in bits."""
    difference: float
    """coded_bytes / computed_bytes - 1."""

    def view(self) -> Sequence[Table]:
        """Return a table of the sizes and the losses."""
        units = ("bytes", "bits/char", "nats/char")
        title = f"{self.run}@{self.step}: {self.num_chars:,} characters in {self.num_rows:,} rows"
        table = plain_table(title, *units, right=units)
        table.add_row("other characters", f"{self.num_escaped:,}")
        table.add_row("file", f"{self.file_bytes:,}")
        for name, size, bpc in (
            ("coded", f"{self.coded_bytes:,}", self.coded_bpc),
            ("computed", f"{self.computed_bytes:,}", 8 * self.computed_bytes / self.num_chars),
            ("computed, characters alone", "", self.computed_bpc),
            ("evaluate", "", self.bpc),
        ):
            table.add_row(name, size, f"{bpc:.4f}", f"{bpc / bits(1):.4f}")
        table.add_row("coded / computed - 1", f"{self.difference:+.4%}")
        return (table,)


def coded(
    models: Sequence[Any], text: Any = None, *, part: str, precision: str, max_chars: int
) -> CodedLoss:
    """Compress the first `max_chars` characters of a text, or of a part of the run's own, and
    compute their loss.

    Raises UsageError for several runs and for a cell type that `compress` refuses, DataError for a
    text of which the model does not make every row smaller.
    """
    model, context = models[0], ""
    if len(models) > 1:
        raise UsageError(f"A text is coded by one run, and there are {len(models)}: give one.")
    coder, _ = coder_of(model)
    if text is None:
        text, context = model.held_out_text(part)
    text = text[:max_chars]
    loss = evaluate(
        model, text, context=context, precision="fp32" if precision == "auto" else precision
    )
    data = as_bytes(text)
    file = compress_text(model, data)
    assert decompress_text(model, file) == data, "a file restores its text"
    size = MAX_ROWS * ROW_BYTES
    rows = [
        row for begin in range(0, len(data), size) for row in cut_rows(data[begin : begin + size])
    ]
    found = coder.encode(rows)
    num_coded = sum(len(one) for one in found if one is not None)
    if None in found:
        raise DataError(
            f"{model.name} does not make this text smaller: compress stores some of it as it is."
        )
    symbols = [coder.to_symbols(row) for row in rows]
    nats = _char_nats(coder, symbols)
    num_chars = sum(int((row >= 0).sum()) for row in symbols)
    num_computed = int(np.ceil((bits(1) * nats + [_other_bits(row) for row in symbols]) / 8).sum())
    figures = (8 * num_coded / num_chars, bits(float(nats.sum())) / num_chars, loss.bpc)
    counts = (len(rows), num_chars, sum(map(len, symbols)) - num_chars, num_coded, num_computed)
    return CodedLoss(
        model.name, model.step, len(file), *counts, *figures, num_coded / num_computed - 1
    )


def _char_nats(coder: RowCoder, rows: Sequence[Symbols]) -> Float64Array:
    """Compute the sums (R,) of -ln p(character | all characters of its row before it), without
    other characters."""
    ids, nats = [row[row >= 0] for row in rows], np.zeros(len(rows))
    state, logits = coder.start(len(rows))
    with task("computing", max(map(len, ids))) as advance:
        for column in zip_longest(*ids, fillvalue=-1):
            chars = np.array(column)
            nats -= np.where(chars < 0, 0, log_softmax(logits)[np.arange(len(rows)), chars])
            logits, state = coder.stepper.step(chars, state)
            advance(1)
    return nats


def _other_bits(symbols: Symbols) -> float:
    """Compute the code length of what are no characters: the kind of each symbol, and the escaped
    bytes."""
    is_escaped = symbols < 0
    total, follows = BYTE_BITS * float(is_escaped.sum()), np.append(False, is_escaped[:-1])
    for kinds in (is_escaped[~follows], is_escaped[follows]):
        num_escaped = np.cumsum(kinds) - kinds  # among those before
        share = np.maximum(
            1, ((2 * num_escaped + 1) << KIND_BITS) // (2 * np.arange(len(kinds)) + 2)
        )
        total += float((KIND_BITS - np.log2(np.where(kinds, share, 2**KIND_BITS - share))).sum())
    return total


EXTENSIONS = (
    Report("coded", "In place of the loss: a compressed file of the text, beside its loss.", coded),
)
"""`evaluate --coded`."""
