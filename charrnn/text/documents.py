"""Divide a corpus into documents, bring them into an order, and split it between documents.

Documents are many short texts in one corpus, in a shuffled order, each with the END symbol at its
end. The END symbol is the character U+0000 (NUL), which no text may contain.
"""

import csv
import hashlib
import io
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.errors import DataError, counted, named, shortened
from charrnn.system.arrays import Int64Array
from charrnn.text.batches import release_pages, split_ids
from charrnn.text.id_builder import EncodedBlock
from charrnn.text.sources import SORTED, Order, catalogued_settings, entry_of, is_smiles_file
from charrnn.text.text_files import Line, file_lines, without_gz
from charrnn.text.vocab import IdArray, Vocab

END = "\0"
"""The END symbol, as a character."""
END_BYTE = b"\0"
"""The END symbol in UTF-8."""
SMILES = "smiles"
"""Name of the first field of a .smi file, also if the file has no header."""
MIN_LISTED = 50
"""Minimum number of lines of a text that is recognised as a list."""
SHORT_LINE, NARROW = 100, 50
"""The median line of a list has at most SHORT_LINE characters. Lines of at most NARROW characters
do not count as wrapped."""
MAX_FIELD_CHARS = 2**31 - 1
"""Maximum length of a value in a CSV file; Python's own limit is 131,072."""
_EXCEL_DELIMITER = re.compile(r'"?sep=([^"\s]|\t)"?\s*', re.IGNORECASE)
"""The line before the header in which Excel names the delimiter."""
_POSITION = re.compile(r"[1-9][0-9]{0,5}")
_NAME = re.compile(r"[^\W\d][\w-]*(?: [\w-]+){0,2}")
"""Matches a value that may be the name of a column."""
_FREQUENT_NAMES = frozenset({"id", "index", "label", "name", "text", "title", "value", "word"})
_ROWS_SEEN = 20
"""Number of rows from which a header is recognised."""
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_OPEN_VALUE = re.compile(r'(?:^|\t)"(?:[^"]|"")*\Z')
"""Matches the last value of a row with tabs, if a quotation mark begins it and none ends it."""
_NUMBER = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]*)?(?:[eE][-+]?[0-9]+)?")
_JSON_START = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\[\s*)?\{\s*(?:"[^"\n]*"\s*:|\Z|\n)')
_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANK = re.compile(r"[\s\u200b\u2060\ufeff]*")
"""Matches what nobody sees: white space of every script, and characters without width."""
_BLOCK_IDS = 1 << 20


@dataclass(frozen=True, slots=True)
class Documents:
    """The definition of the documents of a corpus, and their order."""

    kind: str
    """A value of `Config.documents` other than "none"."""
    column: str | None = None
    order: Order = SORTED

    @classmethod
    def of(cls, config: Config, order: Order | None = None) -> "Documents | None":
        """Return the documents of a configuration, None if it has none. `order` replaces the order
        in the configuration."""
        if config.end_id is None:
            return None
        if order is None:
            order = Order(config.order, config.order_seed)
        return cls(kind=config.documents, column=config.column, order=order)

    def read(self, lines: Iterable[Line], label: str) -> Iterator[Line]:
        """Yield the documents of one file in lines (see `end_documents`). Raises DataError also if
        it has no document."""
        is_empty = True
        for line in end_documents(lines, kind=self.kind, label=label, column=self.column):
            is_empty = False
            yield line

        # The reader of a folder skips a file with this error, as it does an empty file.
        if is_empty:
            raise DataError(
                f"{label} has no document that is not empty ({named('documents', self.kind)})"
            )

    def digest(self, digest: str) -> str:
        """Return the digest of the documents in their order, given their `digest` in the order of
        the corpus."""
        if self.order.kind == "sorted":
            return digest
        return hashlib.sha256(f"{digest} shuffled {self.order.seed}".encode("ascii")).hexdigest()

    def arrange(
        self, encoded: Iterable[EncodedBlock], vocab: Vocab, scratch: BinaryIO | None
    ) -> Iterator[EncodedBlock]:
        """Bring the documents of a whole corpus into their order.

        Takes and yields blocks of ids, each with its unknown characters (`IdBuilder.encode`). The
        last block that is yielded has no ids, but all unknown characters. The ids are kept in
        memory, or in the file `scratch` if it is given. Raises OSError.
        """
        # The whole corpus is read first, because its last document may be the first in the order.
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

        # There are few unknown characters, so they are all moved at the end.
        layout = _Layout(whole, end_id=int(vocab.encode(END)[0]), order=self.order)
        for block in layout.blocks(whole):
            yield block, unknown[0][:0]
            release_pages(whole)
        missing = np.concatenate(unknown)
        missing["position"] = layout.moved(missing["position"].astype(np.int64))
        yield whole[:0], missing[np.argsort(missing["position"], kind="stable")]

    def in_file_order(self, positions: Int64Array, ids: IdArray, end_id: int) -> Int64Array:
        """Return the positions (P,) in the order of the files of the characters at these positions
        of ids (N,), which are in the order of the documents."""
        ends = document_ends(ids, end_id)
        lengths = np.diff(ends, prepend=0)
        order = document_order(len(ends), self.order)

        # The lengths and the beginnings of the documents as the files have them.
        file_lengths = np.empty_like(lengths)
        file_lengths[order] = lengths
        file_starts = np.cumsum(file_lengths) - file_lengths

        ranks = np.searchsorted(ends, positions, side="right")
        return file_starts[order[ranks]] + positions - (ends - lengths)[ranks]


def as_catalogued(config: Config, source: str) -> Config:
    """Return the configuration with which a model reads a text of the catalogue or a .smi file.

    It has the encoding of the catalogue and, if the model knows documents, the documents of the
    source. It is unchanged for any other source, and for the text on which the model was trained.
    """
    settings = catalogued_settings([source])
    entry = entry_of(source)

    # What the run was trained on is read as it was read for training, whatever the catalogue says
    # now.
    if source in config.corpus or not (entry or settings):
        return config
    source_config = Config(**settings)
    changed = config
    if config.alphabet != "byte" and entry is not None:
        changed = replace(changed, encoding=source_config.encoding)
    if config.documents != "none" and source_config.documents != "none":
        changed = replace(changed, documents=source_config.documents, column=source_config.column)
    return changed


def end_documents(
    lines: Iterable[Line], kind: str, *, label: str, column: str | None = None
) -> Iterator[Line]:
    """Yield the documents of one file in lines or parts of lines, each with the number of its line
    in the file. The last line of a document ends in END.

    A line is blank if nobody sees anything in it (`is_blank`). By `kind`, a document is:

    - "files": the whole file, without blank lines at its start and without white space at its end;
    - "lines": every line that is not blank, without its line end (LF or CRLF);
    - "blank-lines": the lines between two blank lines, without the last line end;
    - "column": every value of the column `column` of a CSV file or another table, trimmed like a
      file; the column is a name in the header, or a number from 1. In JSON Lines (.jsonl, .ndjson,
      or a text that begins with an object) it is the name of a value of each object.

    Empty documents are left out. Raises DataError, which names the file by `label`, if the file
    contains a NUL, or is a damaged table or a table without that column.
    """
    checked = _without_nul(lines, label)
    if kind == "column":
        for value in _column_values(checked, column=column, label=label):
            yield from _whole(value)
    elif kind == "lines":
        for number, line in checked:
            if not is_blank(line):
                yield number, _without_line_end(line) + END_BYTE
    elif kind == "blank-lines":
        yield from _paragraphs(checked)
    else:
        yield from _whole(checked)


def is_blank(line: bytes) -> bool:
    """Whether nobody sees anything in a line: it is empty, or has only white space of any script or
    characters without width."""
    return _BLANK.fullmatch(line.decode("utf-8", "replace")) is not None


def separator_of(config: Config, vocab: Vocab) -> str:
    """Return the text that replaces END between documents; END itself if there is none.

    It is a blank line between paragraphs. It is a newline if the documents are lines, or if no
    document can contain a newline because it is not in the alphabet.
    """
    if config.documents == "blank-lines":
        return "\n\n"
    if config.documents == "lines":
        return "\n"

    # The byte alphabet contains every byte, so a document may contain a newline.
    if config.end_id is not None and "\n" not in vocab.characters:
        return "\n"
    return END


def document_order(num_documents: int, order: Order) -> Int64Array:
    """Return the numbers of the documents, counted from 0 in the corpus, in their order.

    A sorted order is the order of the corpus. A shuffle sorts document i by output i of the
    generator SplitMix64 (Steele, Lea & Flood 2014), which starts with the seed of the order, so
    that the same corpus has the same order on every machine and in every version.
    """
    if order.kind == "sorted":
        return np.arange(num_documents, dtype=np.int64)

    # The generator adds a constant to its state at each step, so output i can be computed without
    # the earlier outputs: it is the state, mixed twice. The overflow of 64-bit integers is
    # intended.
    numbers = np.arange(1, num_documents + 1, dtype=np.uint64)
    keys = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(order.seed)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(keys ^ (keys >> np.uint64(31)), kind="stable")


def document_ends(ids: NDArray[np.integer], end_id: int) -> Int64Array:
    """Return the index after the END of each document in ids (N,), which are read block by
    block."""
    ends = []
    for start in range(0, len(ids), _BLOCK_IDS):
        ends.append(start + 1 + np.flatnonzero(ids[start : start + _BLOCK_IDS] == end_id))
        release_pages(ids)
    return np.concatenate(ends) if ends else np.zeros(0, np.int64)


class _Layout:
    """The positions of the D documents of a corpus of N ids, in the corpus and in their order."""

    def __init__(self, ids: NDArray[np.integer], end_id: int, order: Order) -> None:
        self._ends = document_ends(ids, end_id)
        self._starts = np.concatenate((np.zeros(1, np.int64), self._ends[:-1]))
        self._order = document_order(len(self._ends), order)
        lengths = (self._ends - self._starts)[self._order]
        self._bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
        """(D + 1,): the positions in the order at which the documents begin, and N."""

    def blocks(self, ids: IdArray) -> Iterator[IdArray]:
        """Yield the ids (N,) of the documents in their order, in blocks of about a million ids."""
        bounds = self._bounds
        first = 0
        while first < len(self._order):
            # A block has as many documents as fit into it, and at least one.
            num_fitting = np.searchsorted(bounds, bounds[first] + _BLOCK_IDS, side="right")
            last = max(first + 1, int(num_fitting) - 1)
            documents = self._order[first:last]
            if len(documents) == 1:
                # A single document may be large: a slice needs no index for each id.
                yield ids[self._starts[documents[0]] : self._ends[documents[0]]]
            else:
                # The id at position p of the order is at p + the shift of its document in the
                # corpus.
                lengths = np.diff(bounds[first : last + 1])
                shifts = np.repeat(self._starts[documents] - bounds[first:last], lengths)
                yield ids[shifts + np.arange(bounds[first], bounds[last])]
            first = last

    def moved(self, positions: Int64Array) -> Int64Array:
        """Return the positions in the order of the ids at these positions of the corpus."""
        documents = np.searchsorted(self._ends, positions, side="right")

        # The order is a permutation: its inverse is the rank of each document.
        ranks = np.empty_like(self._order)
        ranks[self._order] = np.arange(len(self._order))
        return self._bounds[ranks[documents]] + positions - self._starts[documents]


def split_text(ids: NDArray[np.integer], config: Config) -> tuple[slice, ...]:
    """Split the ids (N,) of a text into training, validation and perhaps test part, as a
    configuration says. Raises DataError if the text is too short."""
    if config.end_id is None:
        return split_ids(len(ids), config.split)
    return split_documents(
        document_ends(ids, config.end_id), fractions=config.split, kind=config.documents
    )


def split_documents(
    ends: Int64Array, fractions: Sequence[float], *, kind: str
) -> tuple[slice, ...]:
    """Split a text into contiguous parts of whole documents.

    `ends` (D,) are the indices after the ENDs of the documents. A part ends with the document in
    which the sum of the fractions up to this part, counted in characters, is reached; every part
    has at least one document. Raises DataError if there are fewer documents than parts.
    """
    if len(ends) < len(fractions):
        wanted = f"{len(fractions)} parts"
        if len(fractions) == 2:
            wanted = "a training and a validation part"
        raise DataError(
            f"the text has only {counted(len(ends), 'document')} ({named('documents', kind)}), too"
            f" few for {wanted}: give more text, or divide it by another {named('documents')}"
        )

    # Count the documents up to the end of each part except the last: as many as reach its share,
    # but at least one for this part and for each part after it.
    total = math.fsum(fractions)
    num_chars = int(ends[-1])
    edges = [0]
    num_documents = 0
    for index in range(1, len(fractions)):
        share = math.fsum(fractions[:index]) / total
        num_reaching = int(np.searchsorted(ends, share * num_chars)) + 1
        most = len(ends) - (len(fractions) - index)
        num_documents = min(max(num_reaching, num_documents + 1), most)
        edges.append(int(ends[num_documents - 1]))
    edges.append(num_chars)
    return tuple(slice(start, stop) for start, stop in pairwise(edges))


def _without_nul(lines: Iterable[Line], label: str) -> Iterator[Line]:
    for number, line in lines:
        if END_BYTE in line:
            raise DataError(
                f"{label}, line {number}, has a NUL, which ends a document: remove it, or leave"
                f" {named('documents')} out"
            )
        yield number, line


def _without_line_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _paragraphs(lines: Iterable[Line]) -> Iterator[Line]:
    """Turn lines into documents that end at blank lines."""
    # A line is yielded once the next one is known, because the last line of a document has no end.
    held: Line | None = None
    for number, line in lines:
        if held is not None:
            last_number, last_line = held
            if is_blank(line):
                last_line = _without_line_end(last_line) + END_BYTE
            elif last_line.endswith(b"\r\n"):
                last_line = _without_line_end(last_line) + b"\n"
            yield last_number, last_line
        held = None
        if not is_blank(line):
            held = number, line
    if held is not None:
        yield held[0], _without_line_end(held[1]) + END_BYTE


def _whole(lines: Iterable[Line]) -> Iterator[Line]:
    """Turn the lines of one text into one document."""
    # The last line that is not blank, and the blank lines after it, which may be the end.
    pending: list[Line] = []
    for number, line in lines:
        if not is_blank(line):
            yield from pending
            pending = [(number, line)]
        elif pending:
            pending.append((number, line))
    if pending:
        number, line = pending[0]
        yield number, _without_blank_end(line) + END_BYTE


def _without_blank_end(line: bytes) -> bytes:
    # Bytes that are not UTF-8 stay as they are.
    text = line.decode("utf-8", "surrogateescape")
    reversed_text = text[::-1]
    blank = _BLANK.match(reversed_text)
    assert blank is not None, "it matches nothing, too"
    return text[: len(text) - blank.end()].encode("utf-8", "surrogateescape")


def _column_values(
    lines: Iterator[Line], column: str | None, label: str
) -> Iterator[Iterator[Line]]:
    """Yield the values of one column of a table or of JSON Lines, each in lines. Raises
    DataError."""
    assert column is not None, "the configuration checks that a column is named"
    first = list(islice(lines, _ROWS_SEEN))
    values = _values
    # A text from standard input has no suffix, so its first lines decide.
    if is_json_lines(label) or _JSON_START.match(b"".join(line for _, line in first)):
        values = _json_values
    yield from values(chain(first, lines), column=column, label=label)


def _values(lines: Iterable[Line], column: str, label: str) -> Iterator[Iterator[Line]]:
    """Yield the values of one column of a table, row by row. Raises DataError."""
    table = _Table((line for _, line in lines), label=label, column=column)
    try:
        first = table.read_start()
        if not first:
            return
        index, has_header = table.find(first)
        if has_header:
            del first[0]

        # A row with too few or too many values is damaged, and its values may be in other columns.
        # Only the first field of a list with blanks is safe: the other fields may contain blanks.
        width = len(table.names)
        if table.delimiter == " " and index == 0:
            width = MAX_FIELD_CHARS
        for line, row in chain(first, table.rows):
            if not index < len(row) <= width:
                values = counted(len(row), "value")
                raise DataError(
                    f"{label}, line {line}: {values}, but {column!r} is column {index + 1} of"
                    f" {len(table.names)}: mend the line; a value with a delimiter needs quotes"
                )
            # The values before it may have lines, too.
            number = line + sum(value.count("\n") for value in row[:index])
            yield _lines_of_value(row[index].encode("latin-1"), number, lines_per_end=1)
    except csv.Error as error:
        remedy = "a quotation mark that begins a value must end it, too; double the marks inside"
        if "new-line" in str(error):
            remedy = "put LF in the place of each CR"
        raise DataError(f"{label}, line {table.line}, is not CSV ({error}): {remedy}") from error


def _lines_of_value(value: bytes, number: int, *, lines_per_end: int) -> Iterator[Line]:
    """Yield the lines of a value, which ends them with LF, CRLF or CR, and which begins in the line
    `number` of a file. The file has `lines_per_end` line ends for each LF."""
    for line in value.splitlines(keepends=True):
        content = line.rstrip(b"\r\n")
        if content != line:
            content += b"\n"
        yield number, content
        if line.endswith(b"\n"):
            number += lines_per_end


def _json_values(lines: Iterable[Line], column: str, label: str) -> Iterator[Iterator[Line]]:
    """Yield the value `column` of each object of a file of JSON Lines; null is left out. Raises
    DataError."""
    for number, line in lines:
        if is_blank(line):
            continue

        # Records need not have the same columns, so each is asked.
        record = _json_record(line, f"{label}, line {number}")
        if column not in record:
            raise DataError(
                f"{label}, line {number}, has no {column!r}; it has {_listed([*record])}: give one"
                f" of them as {named('column')}"
            )
        value = record[column]
        if value is None:
            continue

        # Half a surrogate pair has no UTF-8.
        if not isinstance(value, str) or _SURROGATE.search(value):
            raise DataError(f"{label}, line {number}: {column!r} is not a text; leave the line out")
        # A value is in one line of the file, whatever lines it has.
        yield _without_nul(_lines_of_value(value.encode(), number, lines_per_end=0), label)


def _json_record(line: bytes, place: str) -> dict[str, object]:
    """Decode a line of JSON. Raises DataError."""
    try:
        # Python refuses integers of many digits.
        record = json.loads(line.decode("utf-8-sig"), parse_int=float)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{place}, is not JSON ({error}): mend or remove it; if an object has several lines,"
            " write one line for each by jq -c . FILE"
        ) from error
    if not isinstance(record, dict):
        raise DataError(
            f'{place}, is not an object such as {{"text": "…"}}: mend or remove it, or write one'
            " line for each object of a list by jq -c '.[]' FILE"
        )
    return record


class _Table:
    """A CSV file or another table that is read row by row. Blank lines are no rows."""

    names: Sequence[str] = ()
    """The first row as text."""
    line = 0
    """The number of the last line that was read, from 1, or of the line in which the value that it
    continues begins."""

    def __init__(self, content: Iterable[bytes], label: str, column: str = "") -> None:
        """Read the lines of a file up to the first row."""
        self._label = label
        self._column = column
        # Latin-1 keeps bytes that are not UTF-8, which the byte alphabet allows; CSV's own
        # characters are all ASCII.
        lines: Iterator[str] = (line.decode("latin-1") for line in content)

        # Before the first row there may be blank lines, and a line in which Excel names the
        # delimiter.
        self._num_before = -1
        named_delimiter = None
        start = ""
        for line in lines:
            start = line.removeprefix("ï»¿")
            self._num_before += 1
            excel = _EXCEL_DELIMITER.fullmatch(start)
            if excel:
                named_delimiter = excel[1]
            elif not is_blank(line.encode("latin-1")):
                break
        else:
            start = ""
        self.delimiter = named_delimiter or _delimiter(start, label=label, column=column)

        # Fields may be separated by any number of blanks.
        lines = chain((start,), lines)
        if self.delimiter == " ":
            lines = (line.replace("\t", " ").strip(" \r\n") for line in lines)
        csv.field_size_limit(MAX_FIELD_CHARS)
        read_rows = self._csv_rows
        if self.delimiter == "\t":
            read_rows = self._tab_rows
        rows = read_rows(lines)
        self.rows: Iterator[tuple[int, list[str]]] = ((self.line, row) for row in rows if row)
        """Each row, after the number of the line in which it or its value over lines begins."""

    def _csv_rows(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Yield the rows of any other table; a value may go on in the next line."""
        reader = csv.reader(
            lines,
            delimiter=self.delimiter,
            skipinitialspace=self.delimiter == " ",
            strict=True,
        )
        self.line = self._num_before + 1
        for row in reader:
            yield row
            self.line = self._num_before + 1 + reader.line_num

    def _tab_rows(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Yield the rows of a table with tabs, in which a quotation mark is a character unless two
        of them enclose a whole value.

        A value may go on in the next line, unless both lines have as many values as the first row.
        """
        width = 0
        held: list[str] = []
        first = self._num_before + 1
        for number, line in enumerate(chain(lines, ("",)), first):
            text = "".join(held)
            is_open = _OPEN_VALUE.search(text) is not None
            are_rows = {line.count("\t") + 1, text.count("\t") + 1} == {width}
            # The empty line behind the last one ends every value.
            if is_open and line and not are_rows:
                held.append(line)
                continue

            # A value that is still open only begins with a mark.
            pieces = held if is_open else [text]
            for piece in pieces:
                self.line = first
                if piece.strip():
                    yield _tab_row(piece, width)
                first += piece.count("\n")
            width = width or line.count("\t") + 1
            held = [line]
            first = number

    def read_start(self) -> list[tuple[int, list[str]]]:
        """Read the first rows, which show whether there is a header."""
        start = list(islice(self.rows, _ROWS_SEEN))
        if start:
            self.names = _as_text(start[0][1])
        return start

    def find(self, start: Sequence[tuple[int, list[str]]]) -> tuple[int, bool]:
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

        # The column is a number. Few files of molecules have a header.
        number = column
        if is_smiles_file(self._label):
            has_header = SMILES in names[0].lower()
            if column.lower() == SMILES:
                number = "1"
        else:
            has_header = _has_header(names, [row for _, row in start[1:]])
        if _POSITION.fullmatch(number) and int(number) <= len(names):
            return int(number) - 1, has_header
        raise DataError(
            f"{self._label} has no column {column!r}; its first line has {_listed(names)}: give one"
            f" of them, or a number from 1 to {len(names)}, as {named('column')}"
        )


def _has_header(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row of a table has the names of its columns, given the rows after it.

    It has no number where the second row has one; or it has only what can be names, and one of them
    is frequent, or none is in capitals and most values of a column cannot be names.
    """
    # A name is no number, so a number beside the first row decides.
    if not rows or any(map(_NUMBER.fullmatch, names)):
        return False
    if any(map(_NUMBER.fullmatch, rows[0])):
        return True

    # Without numbers, the words decide: a doubt makes the row a document, because none may be lost.
    if len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names)):
        return False
    if any(name.lower() in _FREQUENT_NAMES for name in names):
        return True
    # SMILES and codes are in capitals.
    if any(name[1:].isupper() for name in names):
        return False
    for index in range(len(names)):
        values = [value for row in rows for value in _as_text(row[index : index + 1])]
        num_unlike = sum(1 for value in values if not _NAME.fullmatch(value))
        if num_unlike > len(values) // 2:
            return True
    return False


def _tab_row(text: str, width: int) -> list[str]:
    """Return the values of a row with tabs, which has `width` values (0 if that is unknown). Raises
    csv.Error."""
    text = text.rstrip("\r\n")
    values = text.split("\t")
    if "\n" in text or len(values) not in (width, width or len(values)):
        # A value has lines or tabs.
        return next(csv.reader(io.StringIO(text, newline=""), delimiter="\t"))
    for index, value in enumerate(values):
        if _QUOTED.fullmatch(value):
            values[index] = value[1:-1].replace('""', '"')
    return values


def is_json_lines(label: str) -> bool:
    """Whether a file has the suffix of JSON Lines: an object on each line."""
    return _plain_name(label).endswith((".jsonl", ".ndjson"))


def describe_start(blocks: Iterable[bytes], column: str, label: str) -> str:
    """Describe the header and the first value of a column that is given by its position, for a
    note. Returns "" if the header has the name of the column, and for a damaged file, which a
    folder may contain."""
    if is_json_lines(label):
        return ""
    table = _Table((line for _, line in file_lines(blocks)), label=label, column=column)
    start: list[tuple[int, list[str]]] = []
    with suppress(csv.Error):
        start = table.read_start()
    if len(start) < 2 or column in table.names:
        return ""
    index, has_header = table.find(start)
    header = "it has no header"
    if has_header:
        header = f"its header is {_listed(table.names)}"
        del start[0]
    values = _as_text(start[0][1])
    if len(values) <= index:
        return ""
    return f"{header}, and the first value is {shortened(values[index], 40)!r}"


def listed_columns(blocks: Iterable[bytes], label: str) -> str:
    """List the names in the header of a table, for a note; "" if the file has not the suffix of a
    table."""
    if is_json_lines(label):
        first = next((line for _, line in file_lines(blocks) if not is_blank(line)), b"{}")
        return _listed([*_json_record(first, label)])
    if not _plain_name(label).endswith((".csv", ".tsv")):
        return ""
    table = _Table((line for _, line in file_lines(blocks)), label=label)
    with suppress(csv.Error):
        table.read_start()
    return _listed(table.names)


def looks_like_list(text: bytes) -> bool:
    """Whether the lines of a text are probably separate documents, such as names: short, without
    blank lines between them, rarely with punctuation at the end, and not wrapped."""
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
    """Decode a row as UTF-8, without the byte-order mark that spreadsheets write."""
    return [name.encode("latin-1").decode("utf-8-sig", "replace").strip() for name in row]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:40] for name in names[:20])


def _delimiter(line: str, label: str, column: str) -> str:
    """Return the delimiter of a table with `line` as its first row: a tab, a comma, a semicolon, or
    a blank, which means any number of blanks."""
    name = _plain_name(label)
    if name.endswith(".tsv"):
        return "\t"

    # In a list that is no CSV file, the first delimiter counts: the name of a molecule may contain
    # commas after the first blank.
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
