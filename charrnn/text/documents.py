"""Divide a corpus into documents, bring them into an order, and split it between documents.

Documents are many short texts in one corpus, in a shuffled order, each with the END symbol at its
end. The END symbol is the character U+0000 (NUL), which no text may contain.
"""

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import PARTED_BY, Config
from charrnn.errors import DataError, counted, named
from charrnn.system.arrays import Int64Array
from charrnn.text.batches import release_pages, split_ids
from charrnn.text.columns import column_values
from charrnn.text.id_builder import EncodedBlock
from charrnn.text.parting_lines import is_parting, records_between
from charrnn.text.sources import catalogued_settings, entry_of
from charrnn.text.text_files import FileRecord, Line, is_blank, split_lines, without_blank_end
from charrnn.text.vocab import NUL, Vocab

END = NUL
"""The END symbol, as a character."""
MIN_LISTED = 50
"""Minimum number of lines of a text that is recognised as a list."""
SHORT_LINE, NARROW = 100, 50
"""The median line of a list has at most SHORT_LINE characters. Lines of at most NARROW characters
do not count as wrapped."""
MOST_IN_REFRAINS = 0.1
"""Share of the lines of a list that are followed by the same line as elsewhere, at most."""
_SPEAKER = re.compile(r"(?:\[?[\d:./, -]+\]? )?<?([^:<>]{1,40})[:>] ")
_BLOCK_IDS = 1 << 20
_BLOCK_DOCUMENTS = 100
"""Documents that are moved at a time."""
_REPEATED = "repeated document", "left out {num} of {label}"
_WITHOUT_NUL = "tr -d '\\000' < FILE > NEW"
_WITHOUT_ESCAPED_NUL = "sed 's/\\\\u0000//g' FILE > NEW"
"""What removes a NUL that JSON writes as an escape."""


def read_documents(lines: Iterable[Line], config: Config, file: FileRecord) -> Iterator[Line]:
    """Yield the documents of one file in lines (see `end_documents`). Raises DataError also if it
    has no document.

    A corpus is read by it. `end_documents` alone is for a text that somebody gives to a model, in
    which there may be none.
    """
    is_empty = True
    for line in end_documents(lines, config.documents, file=file, column=config.column):
        is_empty = False
        yield line

    # The reader of a folder skips a file with this error, as it does an empty file.
    if is_empty:
        kind = named("documents", config.documents)
        raise DataError(f"{file.name} has no document that is not empty ({kind})")


def digest_in_order(digest: str, config: Config) -> str:
    """Return the digest of a text whose documents are in the order of a configuration, given its
    `digest` in the order of the files.

    Compare this with the digest of a run, never that of the files: two runs with other orders have
    learned other texts, of which other documents are held out.
    """
    if config.end_id is None or config.order == "sorted":
        return digest
    return hashlib.sha256(f"{digest} shuffled {config.order_seed}".encode("ascii")).hexdigest()


def arrange(encoded: EncodedBlock, config: Config) -> Iterator[EncodedBlock]:
    """Bring the documents of a whole corpus into their order.

    Names are sorted in their file, and a validation part at its end would have the last letters
    only: a configuration may shuffle them. Takes all ids and unknown characters, and yields them in
    blocks; the last block has no ids, but all unknown characters.
    """
    ids, unknown = encoded
    ends = document_ends(ids, end_id=config.end_id)
    numbers = document_order(len(ends), config)
    sizes = np.diff(ends, prepend=0)
    for first in range(0, len(ends), _BLOCK_DOCUMENTS):
        documents = numbers[first : first + _BLOCK_DOCUMENTS]
        parts = [ids[ends[number] - sizes[number] : ends[number]] for number in documents]
        yield np.concatenate(parts), unknown[:0]
        release_pages(ids)

    # There are few unknown characters, so they are all moved at the end.
    moved = _moved(unknown["position"].astype(np.int64), sizes, order=numbers)
    arranged = unknown[np.argsort(moved, kind="stable")]
    arranged["position"] = np.sort(moved)
    yield ids[:0], arranged


def in_file_order(positions: Int64Array, ids: NDArray[np.integer], config: Config) -> Int64Array:
    """Return the positions (P,) in the order of the files of the characters at these positions of
    ids (N,) whose documents were arranged.

    It leads from an id back to its file, after `arrange`.
    """
    sizes = np.diff(document_ends(ids, end_id=config.end_id), prepend=0)
    return _moved(positions, sizes, order=np.argsort(document_order(len(sizes), config)))


def _moved(positions: Int64Array, sizes: Int64Array, *, order: Int64Array) -> Int64Array:
    """Return where characters are when documents of these sizes (D,) are brought into an order."""
    starts = np.cumsum(sizes) - sizes
    new_starts = np.zeros_like(starts)
    new_starts[order] = np.cumsum(sizes[order]) - sizes[order]
    numbers = np.searchsorted(starts, positions, side="right") - 1
    return new_starts[numbers] + positions - starts[numbers]


def without_repeated(lines: Iterable[Line], file: FileRecord) -> Iterator[Line]:
    """Yield the lines of documents without those of documents that earlier files have (`seen` of
    the `file`), or this one before. The documents themselves are kept, in `file`, and compared
    character by character.

    A list that was joined of several lists has names twice, and one of the two may be held out:
    then what is measured was learned.
    """
    document: list[Line] = []
    for line in lines:
        document.append(line)
        if not line.content.endswith(END):
            continue
        # The document is whole.
        text = "".join(part.content for part in document)
        # An unusable file is left out as a whole, and what it has is not seen.
        if text in file.seen or text in file.documents:
            file.changes[_REPEATED] += 1
        else:
            file.documents.add(text)
            yield from document
        document = []


def as_catalogued(config: Config, source: str) -> Config:
    """Return the configuration with which a model reads a text of the catalogue or a .smi file.

    A text of the catalogue is given by its name, and would be read wrongly in the encoding of
    another run's text.

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
    lines: Iterable[Line], kind: str, *, file: FileRecord, column: str | None = None
) -> Iterator[Line]:
    """Yield the documents of one file in lines or parts of lines, each with the number of its line
    in the file. The last line of a document ends in END.

    Both a corpus and a given text go through it, so that a model sees the same ends in both. A line
    is blank if nobody sees anything in it (`is_blank`). By `kind`, a document is:

    - "files": the whole file, without blank lines at its start and without white space at its end;
    - "lines": every line that is not blank, without its line end (LF or CRLF);
    - "blank-lines": the lines between two blank lines, without the last line end;
    - "line:TEXT": the lines between two lines that equal TEXT but for blanks at their ends, trimmed
      like a file;
    - "column": every value of the column `column` of a CSV file or another table, trimmed like a
      file; the column is a name in the header, or a number from 1. In JSON (.json, .jsonl, .ndjson,
      or a text that begins with an object) it is the name of a field of each object (see
      `json_fields.json_values`).

    Empty documents are left out, and changes are counted in `file`. Raises DataError for a NUL, a
    damaged table and a table without that column.
    """
    checked = _without_nul(lines, file.name)
    if kind == "column":
        assert column is not None, "the configuration checks that a column is named"
        for value in column_values(checked, column=column, file=file):
            yield from _whole(_without_nul(value, file.name, remedy=_WITHOUT_ESCAPED_NUL))
    elif kind.startswith(PARTED_BY):
        mark = kind.removeprefix(PARTED_BY).strip()
        for record in records_between(_counted(split_lines(checked), mark=mark, file=file), mark):
            yield from _whole(record)
    elif kind == "lines":
        yield from _paragraphs(split_lines(checked), are_lines=True)
    elif kind == "blank-lines":
        yield from _paragraphs(split_lines(checked), are_lines=False)
    else:
        yield from _whole(split_lines(checked))


def separator_of(config: Config, vocab: Vocab) -> str:
    """Return the text that replaces END between documents; END itself if there is none.

    It shows documents to people, who cannot see an END.

    It is a blank line between paragraphs, and the line that parts records. It is a newline if the
    documents are lines, or if no document can contain a newline because it is not in the alphabet.
    """
    if config.documents == "blank-lines":
        return "\n\n"
    if config.documents == "lines":
        return "\n"
    if config.parting_line:
        return f"\n{config.parting_line}\n"

    # The byte alphabet contains every byte, so a document may contain a newline.
    if config.end_id is not None and "\n" not in vocab.characters:
        return "\n"
    return END


def document_order(num_documents: int, config: Config) -> Int64Array:
    """Return the numbers of the documents, counted from 0 in the corpus, in their order.

    A sorted order is the order of the corpus. A shuffle sorts document i by output i of the
    generator SplitMix64 (Steele, Lea & Flood 2014), which starts with the seed of the order, so
    that the same corpus has the same order on every machine and in every version.
    """
    if config.order == "sorted":
        return np.arange(num_documents, dtype=np.int64)

    # The generator adds a constant to its state at each step, so output i can be computed without
    # the earlier outputs: it is the state, mixed twice. The overflow of 64-bit integers is
    # intended.
    numbers = np.arange(1, num_documents + 1, dtype=np.uint64)
    keys = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(config.order_seed)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(keys ^ (keys >> np.uint64(31)), kind="stable")


def document_ends(ids: NDArray[np.integer], end_id: int | None) -> Int64Array:
    """Return the index after the END of each document in ids (N,), which are read block by block.

    Its length counts the documents, and its differences are their sizes.
    """
    ends = []
    for start in range(0, len(ids), _BLOCK_IDS):
        ends.append(start + 1 + np.flatnonzero(ids[start : start + _BLOCK_IDS] == end_id))
        release_pages(ids)
    return np.concatenate(ends) if ends else np.zeros(0, np.int64)


def split_text(ids: NDArray[np.integer], config: Config) -> tuple[slice, ...]:
    """Split the ids (N,) of a text into training, validation and perhaps test part, as a
    configuration says. Raises DataError if the text is too short.

    Everything that asks for a held-out part asks it here, so that nobody measures on what was
    learned.
    """
    if config.end_id is None:
        return split_ids(len(ids), config.split)
    return split_documents(
        document_ends(ids, end_id=config.end_id), fractions=config.split, kind=config.documents
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
        raise DataError(
            f"the text has only {counted(len(ends), 'document')} ({named('documents', kind)}), too"
            f" few for {len(fractions)} parts: give more text, or divide it by another"
            f" {named('documents')}"
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


def _counted(lines: Iterable[Line], mark: str, file: FileRecord) -> Iterator[Line]:
    """Yield lines, and count in `file` those that part documents."""
    for line in lines:
        if is_parting(line.content, mark):
            file.num_parting += 1
        yield line


def _without_nul(lines: Iterable[Line], label: str, remedy: str = _WITHOUT_NUL) -> Iterator[Line]:
    for line in lines:
        if END in line.content:
            # The content may be many lines.
            number = line.number + line.content.partition(END)[0].count("\n")
            raise DataError(
                f"{label}, line {number}: there is a NUL (U+0000), by which charrnn marks the end"
                f" of a document\nremove it, such as by: {remedy}"
            )
        yield line


def _paragraphs(lines: Iterable[Line], *, are_lines: bool) -> Iterator[Line]:
    """Turn lines into documents that end at blank lines or, if they `are_lines`, with each line."""
    # A line is yielded once the next one is known, because the last line of a document has no end.
    # Of a line that was joined, the last part has one.
    held: Line | None = None
    for line in lines:
        is_blank_line = is_blank(line.content)
        if held is not None and not held.content.endswith("\n"):
            is_blank_line = False
            yield held
        elif held is not None:
            end = END if are_lines or is_blank_line else "\n"
            yield _ended(held, end)
        held = None if is_blank_line else line
    if held is not None:
        yield _ended(held, END)


def _ended(line: Line, end: str) -> Line:
    """Return a line with another end than LF or CRLF."""
    return line._replace(content=line.content.removesuffix("\n").removesuffix("\r") + end)


def _whole(lines: Iterable[Line]) -> Iterator[Line]:
    """Turn the lines of one text into one document."""
    # The last line that is not blank, and the blank lines after it, which may be the end.
    pending: list[Line] = []
    for line in lines:
        if not is_blank(line.content):
            yield from pending
            pending = [line]
        elif pending:
            pending.append(line)
    if pending:
        last = pending[0]
        yield last._replace(content=without_blank_end(last.content) + END)


def looks_like_list(text: str) -> bool:
    """Whether the lines of a text are probably separate documents, such as names: short, without
    blank lines between them, rarely with punctuation at the end, not wrapped, no songs and no chat.

    It decides whether a note proposes `documents: lines`. Nothing is read otherwise because of it.
    """
    lines = text.split("\n")[:-1]
    filled = [line.rstrip() for line in lines if line.strip()]
    if len(filled) < MIN_LISTED:
        return False
    lengths = sorted(map(len, filled))
    long = lengths[95 * len(lengths) // 100]
    num_ended = num_long = 0
    for line in filled:
        # Brackets end molecules, too.
        if unicodedata.category(line[-1]) in ("Po", "Pf", "Pi", "Pd"):
            num_ended += 1
        if len(line) > 0.85 * long:
            num_long += 1
    is_wrapped = long > NARROW and num_long > 0.4 * len(filled)
    is_apart = len(lines) - len(filled) > 0.02 * len(lines)
    is_prose = num_ended > 0.2 * len(filled)
    is_long = lengths[len(lengths) // 2] > SHORT_LINE
    if is_long or is_wrapped or is_apart or is_prose:
        return False
    # The lines of a song follow one another again in its refrain, those of a list do not.
    pairs = Counter(pairwise(filled))
    num_in_refrains = sum(num for num in pairs.values() if num > 1)
    if num_in_refrains > MOST_IN_REFRAINS * len(filled):
        return False
    # A chat has few speakers, each of whom says much, and answers what stands before.
    speakers = [match[1] for match in map(_SPEAKER.match, filled) if match]
    return len(speakers) <= max(len(filled) / 2, 5 * len(set(speakers)))
