"""The documents of a corpus: where they begin and end, and in which order they are laid out.

Documents are many short texts in one corpus, each ended by the END symbol, in a shuffled order. The
END symbol is the character U+0000 (NUL), which no text may contain.
"""

import csv
import hashlib
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.errors import (
    DataError,
    counted,
    named,
    shortened,
)
from charrnn.text.batches import release_pages, split_ids
from charrnn.text.id_builder import EncodedBlock
from charrnn.text.sources import SORTED, Order, catalogued_settings, entry_of, is_smiles_file
from charrnn.text.text_files import without_gz
from charrnn.text.vocab import IdArray, Vocab

END = "\0"
"""The END symbol, as a character."""
END_BYTE = b"\0"
"""The END symbol in UTF-8."""
SMILES = "smiles"
"""Name of the first field of a .smi file, which need not have a header."""
MIN_LISTED = 50
"""Lines that a list has at least, to be taken for one."""
SHORT_LINE, NARROW = 100, 50
"""Characters of most lines of a list, at most, and of lines that are not wrapped."""
MAX_FIELD_CHARS = 2**31 - 1
"""Longest value of a CSV file, in characters; Python's own limit is 131,072."""
_EXCEL_DELIMITER = re.compile(r'(?:ï»¿)?"?sep=([^"\s]|\t)"?\s*', re.IGNORECASE)
"""The line before the header in which Excel names the delimiter, as Latin-1 with its mark."""
_POSITION = re.compile(r"[1-9][0-9]{0,5}")
_NUMBER = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]*)?(?:[eE][-+]?[0-9]+)?")
_BLOCK_IDS = 1 << 20
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Documents:
    """What the documents of a corpus are, and their order."""

    kind: str
    """As in `Config.documents`, but not "none"."""
    column: str | None = None
    order: Order = SORTED

    @classmethod
    def of(cls, config: Config, order: Order | None = None) -> "Documents | None":
        """Return the documents of a configuration, or None; in another order, if one is given."""
        if config.end_id is None:
            return None
        if order is None:
            order = Order(config.order, config.order_seed)
        return cls(kind=config.documents, column=config.column, order=order)

    def read(self, blocks: Iterable[bytes], label: str) -> Iterator[bytes]:
        """Yield the documents of one file; see `end_documents`. Raises DataError also if there is
        none."""
        # Joined again, because a column yields every value by itself, and a small file must be one
        # block.
        is_empty = True
        parts: list[bytes] = []
        num_bytes = 0
        for part in end_documents(blocks, kind=self.kind, label=label, column=self.column):
            if not part:
                continue  # a block of blank lines
            is_empty = False
            parts.append(part)
            num_bytes += len(part)
            if num_bytes >= _BLOCK_BYTES:
                yield b"".join(parts)
                parts = []
                num_bytes = 0
        if parts:
            yield b"".join(parts)

        # The reader of a folder skips such a file, as it does an empty one.
        if is_empty:
            raise DataError(
                f"{label} has no document that is not empty ({named('documents', self.kind)})"
            )

    def digest(self, digest: str) -> str:
        """Return the digest of the documents in their order; `digest` is that in the order of the
        corpus."""
        if self.order.kind == "sorted":
            return digest
        return hashlib.sha256(f"{digest} shuffled {self.order.seed}".encode("ascii")).hexdigest()

    def arrange(
        self, encoded: Iterable[EncodedBlock], vocab: Vocab, scratch: BinaryIO | None
    ) -> Iterator[EncodedBlock]:
        """Bring the documents of a whole corpus into their order.

        Takes and yields blocks of ids, each with the unknown characters in it (`IdBuilder.encode`);
        the last block that is yielded has no ids and all unknown characters. The ids are kept in
        memory, or in the file `scratch`. Raises OSError.
        """
        # All of it first: the last document may come first.
        ids: list[IdArray] = []
        unknown = []
        for block, missing in encoded:
            unknown.append(missing)
            if scratch is None:
                ids.append(block)
            else:
                scratch.write(block.tobytes())
        if scratch is not None:
            scratch.flush()
            ids = [np.memmap(scratch, vocab.id_type, "r")]
        whole = ids[0]
        if len(ids) > 1:
            whole = np.concatenate(ids)

        # The unknown characters are few, so they are moved at once, at the end.
        layout = _Layout(whole, end_id=int(vocab.encode(END)[0]), order=self.order)
        for block in layout.blocks(whole):
            yield block, unknown[0][:0]
            release_pages(whole)
        missing = np.concatenate(unknown)
        missing["position"] = layout.moved(missing["position"].astype(np.int64))
        yield whole[:0], missing[np.argsort(missing["position"], kind="stable")]


def as_catalogued(config: Config, source: str) -> Config:
    """Return how a model with this configuration reads a text of the catalogue or a .smi file: in
    the encoding of the catalogue and, if the model knows documents, with the documents of the
    source. Unchanged for any other source, and for the text that the model was trained on."""
    settings = catalogued_settings([source])
    entry = entry_of(source)
    if source in config.corpus or not (entry or settings):
        return config
    own = Config(**settings)
    changed = config
    if config.alphabet != "byte" and entry is not None:
        changed = replace(changed, encoding=own.encoding)
    if config.documents != "none" and own.documents != "none":
        changed = replace(changed, documents=own.documents, column=own.column)
    return changed


def end_documents(
    blocks: Iterable[bytes], kind: str, *, label: str, column: str | None = None
) -> Iterator[bytes]:
    """Yield the documents of one file, each followed by END, from the file's content in blocks of
    any size.

    A line is blank if it is empty or has only white space. By `kind`, a document is:

    - "files": the whole file, without blank lines at its start and without white space at its end;
    - "lines": every line that is not blank, without its line end (LF or CRLF);
    - "blank-lines": lines that are not blank up to the next blank line, without the last line end;
    - "column": every value of the column `column` of a CSV file or another table, trimmed like a
      file; the column is a name in the header, or a number from 1.

    A document that would be empty is left out. Raises DataError, naming the file by `label`, for a
    NUL in it, a CSV file that is damaged, or one without that column.
    """
    checked = _without_nul(blocks, label)
    if kind == "column":
        assert column is not None, "the configuration checks that a column is named"
        for value in _values(checked, column=column, label=label):
            yield from _whole((value,))
    elif kind == "lines":
        for lines in complete_lines(checked):
            yield b"".join(line + END_BYTE for line in lines.split(b"\n") if line.strip())
    elif kind == "blank-lines":
        yield from _paragraphs(_lines(checked))
    else:
        yield from _whole(checked)


def separator_of(config: Config, vocab: Vocab) -> str:
    """Return what stands for END in a text of several documents; END itself if nothing can.

    Blank lines part paragraphs. A newline ends documents that are lines, and all others if the
    alphabet shows that none of them has one.
    """
    if config.documents == "blank-lines":
        return "\n\n"
    if config.documents == "lines":
        return "\n"

    # Every byte is in the byte alphabet, which therefore shows nothing.
    if config.end_id is not None and "\n" not in vocab.characters:
        return "\n"
    return END


def document_order(num_documents: int, order: Order) -> NDArray[np.int64]:
    """Return the numbers of the documents, counted from 0 in the corpus, in the order in which they
    are laid out.

    A sorted order is that of the corpus. A shuffle sorts document i by output i of the generator
    SplitMix64 (Steele, Lea & Flood 2014) that starts with the seed of the order, so that the same
    corpus has the same order on every machine and in every version.
    """
    if order.kind == "sorted":
        return np.arange(num_documents, dtype=np.int64)

    # The generator adds a constant at each step, so output i is known without those before it:
    # its state, mixed twice. Integers of 64 bits wrap around, as they should.
    numbers = np.arange(1, num_documents + 1, dtype=np.uint64)
    keys = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(order.seed)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(keys ^ (keys >> np.uint64(31)), kind="stable")


def document_ends(ids: NDArray[Any], end_id: int) -> NDArray[np.int64]:
    """Return the index after the END of each document in ids (N,), which are read block by
    block."""
    found = []
    for start in range(0, len(ids), _BLOCK_IDS):
        found.append(start + 1 + np.flatnonzero(ids[start : start + _BLOCK_IDS] == end_id))
        release_pages(ids)
    return np.concatenate(found) if found else np.zeros(0, np.int64)


class _Layout:
    """Where the documents of a corpus of N ids are, and where they go."""

    def __init__(self, ids: NDArray[Any], end_id: int, order: Order) -> None:
        self._ends = document_ends(ids, end_id)
        self._starts = np.concatenate((np.zeros(1, np.int64), self._ends[:-1]))
        self._order = document_order(len(self._ends), order)
        lengths = (self._ends - self._starts)[self._order]
        self._bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
        """(D + 1,): where the documents begin in their order, and N."""

    def blocks(self, ids: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield the ids (N,) in their order, in blocks of about a million ids."""
        bounds = self._bounds
        first = 0
        while first < len(self._order):
            # At least one document, and then as many as fit into a block.
            num_fitting = np.searchsorted(bounds, bounds[first] + _BLOCK_IDS, side="right")
            last = max(first + 1, int(num_fitting) - 1)
            documents = self._order[first:last]
            if len(documents) == 1:
                # It may be large: it is sliced, without an index of each of its ids.
                yield ids[self._starts[documents[0]] : self._ends[documents[0]]]
            else:
                # The id at place p of the order comes from p + the move of its document.
                lengths = np.diff(bounds[first : last + 1])
                moves = np.repeat(self._starts[documents] - bounds[first:last], lengths)
                yield ids[moves + np.arange(bounds[first], bounds[last])]
            first = last

    def moved(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the ids at these positions go."""
        documents = np.searchsorted(self._ends, positions, side="right")

        # The order says which document is at a place; its inverse, at which place a document is.
        places = np.empty_like(self._order)
        places[self._order] = np.arange(len(self._order))
        return self._bounds[places[documents]] + positions - self._starts[documents]


def split_text(ids: NDArray[Any], config: Config) -> tuple[slice, ...]:
    """Split the ids (N,) of a text into the parts of a configuration. Raises DataError for a text
    too short."""
    if config.end_id is None:
        return split_ids(len(ids), config.split)
    return split_documents(
        document_ends(ids, config.end_id), fractions=config.split, kind=config.documents
    )


def split_documents(
    ends: NDArray[np.int64], fractions: Sequence[float], *, kind: str
) -> tuple[slice, ...]:
    """Split a text into parts of whole documents, in order; `ends` (D,) are the indices after their
    ENDs.

    A part ends with the document in which the shares so far, counted in characters, are reached;
    every part has at least one document. Raises DataError if there are fewer documents than parts.
    """
    if len(ends) < len(fractions):
        parts = f"{len(fractions)} parts"
        if len(fractions) == 2:
            parts = "a training and a validation part"
        raise DataError(
            f"the text has only {counted(len(ends), 'document')} ({named('documents', kind)}), too"
            f" few for {parts}: give more text, or divide it by another {named('documents')}"
        )

    # How many documents there are up to the end of each part but the last: those that reach its
    # share, and one at least for it and for each of those that follow.
    total = math.fsum(fractions)
    num_chars = int(ends[-1])
    edges = [0]
    num_documents = 0
    for part in range(1, len(fractions)):
        share = math.fsum(fractions[:part]) / total
        num_reaching = int(np.searchsorted(ends, share * num_chars)) + 1
        num_left = len(ends) - (len(fractions) - part)
        num_documents = min(max(num_reaching, num_documents + 1), num_left)
        edges.append(int(ends[num_documents - 1]))
    edges.append(num_chars)
    return tuple(slice(start, stop) for start, stop in pairwise(edges))


def _without_nul(blocks: Iterable[bytes], label: str) -> Iterator[bytes]:
    offset = 0
    for block in blocks:
        found = block.find(END_BYTE)
        if found >= 0:
            raise DataError(
                f"{label} has a NUL at byte offset {offset + found}, which ends a document: remove"
                f" it, or leave {named('documents')} out"
            )
        offset += len(block)
        yield block


def complete_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in blocks that end with a newline, each without CR before it; the last
    block gets one."""
    # Kept until a block has a newline: a line may be longer than many blocks.
    parts: list[bytes] = []
    for block in blocks:
        head, newline, tail = block.rpartition(b"\n")
        if newline:
            yield b"".join((*parts, head, newline)).replace(b"\r\n", b"\n")
            parts = []
        parts.append(tail)
    if rest := b"".join(parts):
        yield (rest + b"\n").replace(b"\r\n", b"\n")


def _paragraphs(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Turn lines into documents that end at blank lines."""
    is_open = False
    for line in lines:
        if line.strip():
            # The line end of the line before, which is left out if that is the last one.
            if is_open:
                yield b"\n"
            yield line.removesuffix(b"\n")
            is_open = True
        elif is_open:
            yield END_BYTE
            is_open = False
    if is_open:
        yield END_BYTE


def _whole(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn the blocks of one text into one document."""
    is_open = False
    # White space that may be at the start of the first line, or at the end of the text.
    pending: list[bytes] = []
    for block in blocks:
        body = block.lstrip()
        if not body:
            pending.append(block)
            continue

        # Text follows the white space: at the start blank lines are left out, but not the
        # indentation of the first line.
        pending.append(block[: len(block) - len(body)])
        before = b"".join(pending)
        if not is_open:
            before = before[before.rfind(b"\n") + 1 :]
        yield before
        text = body.rstrip()
        yield text
        is_open = True
        pending = [body[len(text) :]]
    if is_open:
        yield END_BYTE


def _values(blocks: Iterable[bytes], column: str, label: str) -> Iterator[bytes]:
    """Yield the values of one column of a table, row by row. Raises DataError."""
    table = _Table(blocks, label=label, column=column)
    try:
        first = table.read_start()
        if not first:
            return
        index, has_header = table.find(first)
        if has_header:
            del first[0]

        # A row with values too few or too many is damaged, and what stands in its column may be
        # another one. Blanks may stand in what follows the first field of a line.
        width = len(table.names)
        if table.delimiter == " " and index == 0:
            width = MAX_FIELD_CHARS
        for row in chain(first, table.rows):
            if not index < len(row) <= width:
                values = counted(len(row), "value")
                raise DataError(
                    f"{label}, line {table.line}: {values}, but {column!r} is column {index + 1} of"
                    f" {len(table.names)}: mend the line; a value with a delimiter needs quotes"
                )
            yield row[index].encode("latin-1")
    except csv.Error as error:
        raise DataError(f"{label}, line {table.line}, is not CSV: {error}") from error


class _Table:
    """A CSV file or another table, read row by row; blank lines are no rows."""

    names: Sequence[str] = ()
    """The first row as text."""

    def __init__(self, blocks: Iterable[bytes], label: str, column: str = "") -> None:
        self._label = label
        self._column = column
        # Latin-1 keeps bytes that are not UTF-8, which the byte alphabet allows; CSV's own
        # characters are all ASCII.
        lines: Iterator[str] = (line.decode("latin-1") for line in _lines(blocks))

        # Before the first row there may be blank lines, and one in which Excel names the delimiter.
        self._num_before = -1
        named_delimiter = None
        start = ""
        for start in lines:
            self._num_before += 1
            excel = _EXCEL_DELIMITER.fullmatch(start)
            if excel:
                named_delimiter = excel[1]
            elif start.strip():
                break
        else:
            start = ""
        self.delimiter = named_delimiter or _delimiter(start, label=label, column=column)

        # Any number of blanks parts two fields.
        lines = chain((start,), lines)
        has_blanks = self.delimiter == " "
        if has_blanks:
            lines = (line.replace("\t", " ").strip(" \r\n") for line in lines)
        csv.field_size_limit(MAX_FIELD_CHARS)
        self._reader = csv.reader(
            lines, delimiter=self.delimiter, skipinitialspace=has_blanks, strict=True
        )
        self.rows = filter(None, self._reader)

    @property
    def line(self) -> int:
        """The number of the last line that was read, from 1."""
        return self._num_before + self._reader.line_num

    def read_start(self) -> list[list[str]]:
        """Read the first two rows, which show whether there is a header."""
        start = list(islice(self.rows, 2))
        if start:
            self.names = _as_text(start[0])
        return start

    def find(self, start: Sequence[Sequence[str]]) -> tuple[int, bool]:
        """Return the index of the column in a row, and whether the first row is a header.

        The column is a name in the header, or else a number from 1. In a .smi file, `smiles` is the
        first field. Raises DataError.
        """
        column = self._column
        names = self.names
        if names.count(column) > 1:
            raise DataError(
                f"{self._label} has {names.count(column)} columns {column!r} in its header: rename"
                " all but one"
            )
        if column in names:
            return names.index(column), True

        # By its position: few files of molecules have a header. Of another table, the values tell:
        # no number is in a header.
        number = column
        if is_smiles_file(self._label):
            has_header = SMILES in names[0].lower()
            if column.lower() == SMILES:
                number = "1"
        else:
            has_header = not any(map(_NUMBER.fullmatch, names))
            has_header &= any(map(_NUMBER.fullmatch, start[-1]))
        if _POSITION.fullmatch(number) and int(number) <= len(names):
            return int(number) - 1, has_header
        raise DataError(
            f"{self._label} has no column {column!r}; its first line has {_listed(names)}: give one"
            f" of them, or a number from 1 to {len(names)}, as {named('column')}"
        )


def describe_start(blocks: Iterable[bytes], column: str, label: str) -> str:
    """Describe for a note the header and the first value of a column that is not found by its name
    in the header; "" for one that is, and for a damaged file, which a folder may contain."""
    table = _Table(blocks, label=label, column=column)
    start: list[list[str]] = []
    with suppress(csv.Error):
        start = table.read_start()
    if len(start) < 2 or column in table.names:
        return ""
    index, has_header = table.find(start)
    header = "it has no header"
    if has_header:
        header = f"its header is {_listed(table.names)}"
        del start[0]
    if len(start[0]) <= index:
        return ""
    return f"{header}, and the first value is {shortened(_as_text(start[0])[index], 40)!r}"


def listed_columns(blocks: Iterable[bytes], label: str) -> str:
    """List the names in the header of a table for a note; "" for a file that is no CSV."""
    if not _plain_name(label).endswith((".csv", ".tsv")):
        return ""
    table = _Table(blocks, label=label)
    with suppress(csv.Error):
        table.read_start()
    return _listed(table.names)


def looks_like_list(text: bytes) -> bool:
    """Return whether the lines of a text are probably documents of their own, such as names: short,
    without blank lines between them, rarely ended by punctuation, and not wrapped."""
    lines = text.decode("utf-8", "replace").split("\n")[:-1]
    filled = [line.rstrip() for line in lines if line.strip()]
    if len(filled) < MIN_LISTED:
        return False
    lengths = sorted(map(len, filled))
    long = lengths[95 * len(lengths) // 100]
    num_ended = num_long = 0
    for line in filled:
        # Brackets end molecules, too.
        num_ended += unicodedata.category(line[-1]) in ("Po", "Pf", "Pi", "Pd")
        num_long += len(line) > 0.85 * long
    is_wrapped = long > NARROW and num_long > 0.4 * len(filled)
    is_apart = len(lines) - len(filled) > 0.02 * len(lines)
    is_prose = num_ended > 0.2 * len(filled)
    is_short = lengths[len(lengths) // 2] <= SHORT_LINE
    return is_short and not (is_wrapped or is_apart or is_prose)


def _as_text(row: Sequence[str]) -> list[str]:
    """Return a row as text, without the mark with which spreadsheets begin."""
    return [name.encode("latin-1").decode("utf-8-sig", "replace").strip() for name in row]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:40] for name in names[:20])


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    for block in complete_lines(blocks):
        yield from io.BytesIO(block)


def _delimiter(line: str, label: str, column: str) -> str:
    """Return what parts the fields of a table whose first row is in `line`: a tab, a comma, a
    semicolon, or a blank for any number of blanks."""
    name = _plain_name(label)
    if name.endswith(".tsv"):
        return "\t"

    # A list that is no CSV: the name of a molecule may have commas after the first blank.
    first = re.search(r"[,;\t ]", line.strip())
    is_list = is_smiles_file(name) or _POSITION.fullmatch(column)
    if is_list and first and not name.endswith(".csv"):
        return first[0]
    fields = line.split()
    if len(fields) > 1 and column in fields and not re.search("[,;\t]", line):
        return " "
    return max(",;\t", key=line.count)


def _plain_name(label: str) -> str:
    return without_gz(label).lower()
