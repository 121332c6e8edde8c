"""Documents: many short texts in one corpus, each ended by the END symbol, in a shuffled order.

The END symbol is the character U+0000 (NUL), which no text may contain.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import DataError, counted, named

END = "\0"
"""The END symbol, as a character."""
END_BYTE = b"\0"
"""The END symbol in UTF-8."""
SEPARATORS = {"lines": "", "blank-lines": "\n"}
"""What separates two documents in a file, after the newline of the first, by the kind of documents."""
MAX_FIELD_CHARS = 2**31 - 1
"""Longest value of a CSV file, in characters; Python's own limit is 131,072."""
_SPACES = b" \t\r\f\v"
_WHITE = _SPACES + b"\n"
_BLOCK_IDS = 1 << 20


def end_documents(blocks: Iterable[bytes], kind: str, *, label: str, column: str | None = None) -> Iterator[bytes]:
    """Yield the documents of one file, each followed by END, from the file's content in blocks of any size.

    A line is blank if it is empty or has only white space. By `kind`, a document is:

    - "files": the whole file, without blank lines at its start and without white space at its end;
    - "lines": every line that is not blank, without its line end (LF or CRLF);
    - "blank-lines": lines that are not blank up to the next blank line, without the last line end;
    - "column": every value of the column `column` of a CSV file, trimmed like a file.

    A document that would be empty is left out. Raises DataError, naming the file by `label`, for a NUL in it, a CSV
    file that is damaged, or one without that column.
    """
    checked = _without_nul(blocks, label)
    if kind == "column":
        assert column is not None, "the configuration checks that a column is named"
        for value in _values(checked, column, label):
            yield from _whole((value,))
    elif kind == "lines":
        yield from map(_end_lines, _complete_lines(checked))
    elif kind == "blank-lines":
        yield from _paragraphs(_complete_lines(checked))
    else:
        yield from _whole(checked)


def document_order(num_documents: int, order: str = "shuffled") -> NDArray[np.int64]:
    """Return the numbers of the documents, counted from 0 in the corpus, in the order in which they are laid out.

    "sorted" is the order of the corpus. "shuffled" sorts document i by splitmix64(i) (Steele, Lea & Flood 2014), the
    lower number first on a tie, so that the same corpus has the same order on every machine and in every version.
    """
    if order == "sorted":
        return np.arange(num_documents, dtype=np.int64)
    keys = (np.arange(num_documents, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(keys ^ (keys >> np.uint64(31)), kind="stable")


def document_ends(ids: NDArray[Any], end_id: int) -> NDArray[np.int64]:
    """Return the index after the END of each document in ids (N,), which are read block by block."""
    found = [
        start + 1 + np.flatnonzero(ids[start : start + _BLOCK_IDS] == end_id)
        for start in range(0, len(ids), _BLOCK_IDS)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def rearranged(ids: NDArray[Any], end_id: int, order: str = "shuffled") -> Iterator[NDArray[Any]]:
    """Yield the ids (N,) of a corpus with its documents in `document_order`, in blocks of about a million ids."""
    ends = document_ends(ids, end_id)
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
    documents = document_order(len(ends), order)
    lengths = (ends - starts)[documents]
    laid_out = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    first = 0
    while first < len(documents):
        # At least one document, and then as many as fit into a block.
        last = max(first + 1, int(np.searchsorted(laid_out, laid_out[first] + _BLOCK_IDS, side="right")) - 1)
        some = documents[first:last]
        if len(some) == 1:
            yield ids[starts[some[0]] : ends[some[0]]]
        else:
            offsets = np.repeat(starts[some] - laid_out[first:last], lengths[first:last])
            yield ids[offsets + np.arange(laid_out[first], laid_out[last])]
        first = last


def split_documents(ends: NDArray[np.int64], fractions: Sequence[float], *, kind: str = "documents") -> list[slice]:
    """Split a text into parts of whole documents, in order; `ends` (D,) are the indices after their ENDs.

    A part ends with the document in which the shares so far, counted in characters, are reached; every part has at
    least one document. Raises DataError if there are fewer documents than parts.
    """
    if len(ends) < len(fractions):
        parts = "a training and a validation part" if len(fractions) == 2 else f"{len(fractions)} parts"
        raise DataError(
            f"the text has only {counted(len(ends), 'document')} ({named('documents', kind)}), too few for {parts}: "
            f"give more text, or divide it by another {named('documents')}"
        )
    total = math.fsum(fractions)
    bounds = [0]
    for part in range(1, len(fractions)):
        share = math.fsum(fractions[:part]) / total
        num = int(np.searchsorted(ends, share * int(ends[-1]))) + 1
        # One document at least for this part and for each of those that follow.
        bounds.append(min(max(num, bounds[-1] + 1), len(ends) - len(fractions) + part))
    edges = [0, *(int(ends[bound - 1]) for bound in bounds[1:]), int(ends[-1])]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _without_nul(blocks: Iterable[bytes], label: str) -> Iterator[bytes]:
    offset = 0
    for block in blocks:
        if (found := block.find(END_BYTE)) >= 0:
            raise DataError(
                f"{label} has a NUL at byte offset {offset + found}, which ends a document: remove it, "
                f"or leave {named('documents')} out"
            )
        offset += len(block)
        yield block


def _complete_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in blocks that end with a newline, each without CR before it; the last block gets one."""
    parts: list[bytes] = []
    for block in blocks:
        head, newline, tail = block.rpartition(b"\n")
        if newline:
            yield _plain_line_ends(b"".join((*parts, head, newline)))
            parts = []
        parts.append(tail)
    if rest := b"".join(parts):
        yield _plain_line_ends(rest + b"\n")


def _plain_line_ends(lines: bytes) -> bytes:
    return lines.replace(b"\r\n", b"\n") if b"\r" in lines else lines


_BLANK_LINES = re.compile(rb"^[ \t\r\f\v]+$", re.MULTILINE)
_GAPS = re.compile(rb"\n\n+")


def _end_lines(lines: bytes) -> bytes:
    """Turn whole lines into documents."""
    lines = _BLANK_LINES.sub(b"", lines)
    if b"\n\n" in lines:
        lines = _GAPS.sub(b"\n", lines)
    return lines.removeprefix(b"\n").replace(b"\n", END_BYTE)


def _paragraphs(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn blocks of whole lines into documents that end at blank lines."""
    is_open, num_newlines = False, 0  # whether a document is unfinished, and the newlines since its last line
    for block in blocks:
        lines = _BLANK_LINES.sub(b"", block)
        body = lines.lstrip(b"\n")
        num_newlines += len(lines) - len(body)
        if not body:
            continue
        if is_open:
            yield b"\n" if num_newlines == 1 else END_BYTE
        text = body.rstrip(b"\n")
        yield _GAPS.sub(END_BYTE, text)
        is_open, num_newlines = True, len(body) - len(text)
    if is_open:
        yield END_BYTE


def _whole(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn the blocks of one text into one document."""
    is_open = False
    held: list[bytes] = []  # white space that may be at the start of the first line, or at the end of the text
    for block in blocks:
        body = block.lstrip(_WHITE)
        if not body:
            held.append(block)
            continue
        held.append(block[: len(block) - len(body)])
        before = b"".join(held)
        text = body.rstrip(_WHITE)
        # At the start, blank lines are left out, but not the indentation of the first line.
        yield before if is_open else before[before.rfind(b"\n") + 1 :]
        yield text
        is_open, held = True, [body[len(text) :]]
    if is_open:
        yield END_BYTE


def _values(blocks: Iterable[bytes], column: str, label: str) -> Iterator[bytes]:
    """Yield the values of one column of a CSV file, row by row. Raises DataError."""
    # Latin-1 keeps bytes that are not UTF-8, which the byte alphabet allows; CSV's own characters are all ASCII.
    lines = (line.decode("latin-1") for line in _lines(blocks))
    header = next(lines, "")
    csv.field_size_limit(MAX_FIELD_CHARS)
    rows = csv.reader(chain((header,), lines), delimiter=_delimiter(header, label), strict=True)
    try:
        names = [name.encode("latin-1").decode("utf-8", "replace").strip() for name in next(rows, [])]
        if column not in names:
            listed = ", ".join(name[:40] for name in names[:20]) or "no columns"
            raise DataError(
                f"{label} has no column {column!r}; its header has {listed}: give one of them as {named('column')}"
            )
        index = names.index(column)
        for row in rows:
            if row and len(row) <= index:
                raise DataError(
                    f"{label}, line {rows.line_num}: {counted(len(row), 'value')}, but {column!r} is column {index + 1}"
                )
            if row:
                yield row[index].encode("latin-1")
    except csv.Error as error:
        raise DataError(f"{label}, line {rows.line_num}, is not CSV: {error}") from error


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    for block in _complete_lines(blocks):
        yield from io.BytesIO(block)


def _delimiter(header: str, label: str) -> str:
    """Return a tab for a .tsv file, else the most frequent of comma, semicolon and tab in the header."""
    if label.removesuffix(".gz").endswith(".tsv"):
        return "\t"
    return max(",;\t", key=header.count)
