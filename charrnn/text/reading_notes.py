"""Say what was read of a source: what was skipped, what its files are, what suits them better."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from charrnn.errors import counted, named, shortened
from charrnn.text.columns import SMILES, describe_columns, is_table
from charrnn.text.documents import Documents, looks_like_list
from charrnn.text.sources import Origin, is_smiles_file
from charrnn.text.text_files import Tally, without_gz

MANY_FILES = 50
"""If at least this many short files are joined, a note says so."""
SHORT_FILE = 2_000
"""Files are short if their mean size in bytes is below this."""
SEVERAL_FILES = 10
"""Number of files from which on a note says that one has more than half of the text."""
MOST_NAMED = 10
"""Number of files that are named at most."""
MOST_REASONS = 3
"""Number of reasons for skipped files that are given at most."""
MOST_KINDS = 3
"""Number of kinds of files whose shares are given at most."""
LEAST_SHARE = 0.05
"""Share of data in a text from which on a note names the files."""
_TUNE = re.compile(rb"\s*(?:%[^\n]*\n)*X:\s*\d+[^\n]*\n(?:[A-Za-z]:[^\n]*\n|%[^\n]*\n)*K:")
_TWO_FIELDS = re.compile(rb"\S[ \t]+\S")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadFile:
    """A file, or a stream, that is part of a text."""

    name: str
    """Its path."""
    begin: int
    """The offset in the text, in bytes of UTF-8, at which its text begins."""
    num_bytes: int
    """Bytes of its text in UTF-8."""
    digest: bytes
    """SHA-256 of its text."""
    start: bytes
    """The beginning of its text; empty if too many files are read."""
    data: str
    """What data or generated text it is; "" for any other."""


def describe_skipped(origin: Origin, tally: Tally) -> str:
    """Say what was skipped of a source; "" if nothing was."""
    # The names first, then what needs no names.
    skipped = []
    if tally.skipped:
        skipped.append(f"{counted(len(tally.skipped), 'file')} ({_listed(tally.skipped)})")
    if tally.num_pointers:
        pointers = counted(tally.num_pointers, "pointer")
        skipped.append(f"{pointers} to files that are elsewhere (of Git LFS: git lfs pull)")
    skipped += [counted(num, noun) for noun, num in origin.skipped.items() if num]
    return " and ".join(skipped)


def describe_faults(tally: Tally) -> str:
    """Give the reasons why files were skipped, in brackets."""
    reasons = [f"{shortened(name)} {problem}" for problem, name in tally.faults.items()]
    if not reasons:
        return ""
    if len(tally.skipped) == 1:
        return f" ({reasons[0]})"
    more = ""
    if len(reasons) > MOST_REASONS:
        more = "; …"
    return f" (such as: {'; '.join(reasons[:MOST_REASONS])}{more})"


def notes_on_source(
    origin: Origin, tally: Tally, files: Sequence[ReadFile], *, documents: Documents | None
) -> Iterator[str]:
    """Yield notes on the files of a source."""
    if skipped := describe_skipped(origin, tally):
        yield f"skipped {skipped} in {origin.label}{describe_faults(tally)}"
    yield from _data_notes(origin, files)
    if origin.is_shuffled and len(files) > 1:
        yield f"shuffled the {len(files):,} files of {origin.label}"
    if note := _note_on_shape(files, documents):
        yield f"{origin.label} {note}"

    # Many short files are often poems or letters: joined, the model cannot learn their ends.
    num_bytes = sum(file.num_bytes for file in files)
    if documents is None and len(files) >= MANY_FILES and num_bytes < SHORT_FILE * len(files):
        remedy = named("documents", "files")
        yield f"{len(files):,} short files are joined: {remedy} gives each an end"


def _data_notes(origin: Origin, files: Sequence[ReadFile]) -> Iterator[str]:
    """Name the files that are data, copies of one another, or more than half of the text."""
    # Data that is a small part of a text does no harm.
    num_bytes = max(1, sum(file.num_bytes for file in files))
    for what in dict.fromkeys(file.data for file in files if file.data):
        alike = [file for file in files if file.data == what]
        share = sum(file.num_bytes for file in alike) / num_bytes
        if share >= LEAST_SHARE:
            names = _listed([os.path.basename(file.name) for file in alike])
            yield f"{100 * share:.0f} % of the text of {origin.label} is {what} ({names})"

    # A file may have been saved twice, under two names.
    copies: dict[bytes, list[str]] = {}
    for file in files:
        copies.setdefault(file.digest, []).append(os.path.basename(file.name))
    repeated = [" = ".join(names) for names in copies.values() if len(names) > 1]
    if repeated:
        yield f"{origin.label} has files that are copies of one another: {_listed(repeated)}"

    # A drawing that is saved as text may be larger than all notes together.
    largest = max(files, key=lambda file: file.num_bytes, default=None)
    if largest is not None and len(files) >= SEVERAL_FILES and not largest.data:
        share = largest.num_bytes / num_bytes
        if share > 0.5:
            yield (
                f"{100 * share:.0f} % of the text of {origin.label} is one file,"
                f" {shortened(largest.name)}: leave it out if it is of another kind"
            )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(shortened, names[:MOST_NAMED]))
    if len(names) > MOST_NAMED:
        shown += ", …"
    return shown


def _note_on_shape(files: Sequence[ReadFile], documents: Documents | None) -> str:
    """Say what suits most files of a source better; "" if nothing does."""
    shape_of = _shape
    if documents is not None:
        shape_of = _shape_of_molecules
        if documents.kind != "lines":
            return ""
    # One file of another shape says nothing about a folder.
    looked_at = [file for file in files if file.start and not file.data]
    notes = Counter(filter(None, map(shape_of, looked_at)))
    if not notes:
        return ""
    ((note, num),) = notes.most_common(1)
    # Tables have different columns.
    return note if 2 * num > len(files) else ""


def _shape(file: ReadFile) -> str:
    name = file.name
    if is_table(file.start, name):
        return describe_columns(file.start, label=name)
    if is_smiles_file(name):
        return _shape_of_molecules(file)
    # The lines of a tune belong together.
    if _TUNE.match(file.start):
        return f"has tunes: {named('documents', 'blank-lines')} makes each a document"
    if looks_like_list(file.start):
        remedy = f"{named('documents', 'lines')} makes each a document"
        return f"is read as running text, but its lines look like a list: {remedy}"
    return ""


def _shape_of_molecules(file: ReadFile) -> str:
    if not is_smiles_file(file.name) or not _TWO_FIELDS.search(file.start):
        return ""
    remedy = f"{named('column', SMILES)} reads the molecules alone"
    return f"is read with all that follows the molecules: {remedy}"


def shares_of_kinds(files: Sequence[ReadFile]) -> str:
    """Say how many files of each suffix a text has, with their shares of it: `173 .md 71 %, 12 .eps
    28 %, 40 others`; "" for a single file."""
    if len(files) < 2:
        return ""
    # The suffixes that have most of the text come first.
    sizes: Counter[str] = Counter()
    nums: Counter[str] = Counter()
    for file in files:
        suffix = os.path.splitext(without_gz(file.name))[1].lower() or "without a suffix"
        sizes[suffix] += file.num_bytes
        nums[suffix] += 1
    total = max(1, sizes.total())
    shown = []
    num_others = len(files)
    for suffix, size in sizes.most_common(MOST_KINDS):
        shown.append(f"{nums[suffix]:,} {suffix} {100 * size / total:.0f} %")
        num_others -= nums[suffix]
    if num_others:
        shown.append(f"{num_others:,} others")
    return ", ".join(shown)
