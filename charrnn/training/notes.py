"""Notes for the user about a run that begins: how its text is read, and what may surprise."""

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from charrnn.config.settings import TEXT_FIELDS, Config, parse_value
from charrnn.errors import counted, listed, named
from charrnn.runs.checkpoint import Checkpoint
from charrnn.text.copies import trained_notes
from charrnn.text.document_order import document_ends, document_order
from charrnn.text.paragraphs import share_wrapped
from charrnn.text.sources import catalogued_settings
from charrnn.text.text_files import FileRecord
from charrnn.text.vocab import NUL
from charrnn.training.plan import Plan
from charrnn.training.recipe import units_of_network
from charrnn.training.run_text import RunText

LOOKED_AT = 100_000
"""Characters at the beginning of a text by which its kind is recognised."""
WRAPPED_SHARE = 0.4
"""A text is called wrapped if more than this share of its lines could be joined."""
MOST_HELD_OUT = 4
"""Held-out files that are named, at most."""
MAX_LOCATED = 1 << 26
"""Characters that are decoded to find out in which files they stand, at most."""


def new_run_notes(
    asked: Config, plan: Plan, text: RunText, initial: Checkpoint | None
) -> Iterator[str]:
    """Describe what may surprise the user of a new run: about the model that it starts with, if
    any, about its text, and about what was chosen.

    `train` gives them to the start event, before the first step takes time.
    """
    planned = plan.config

    # The model to start with, from which the run has inherited the settings of its text.
    if initial is not None:
        yield from initial.warnings
        theirs = initial.description.config()
        settings = {name: getattr(theirs, name) for name in TEXT_FIELDS}
        yield from _reading_notes(f"{planned.init_from} was", settings=settings, planned=planned)

        # New characters follow those of the initial model in the alphabet.
        known = initial.description.vocab().characters
        added = [character for character in text.vocab.characters if character not in known]
        shown = ["END" if character == NUL else repr(character) for character in added]
        if added:
            yield (
                f"{counted(len(added), 'new character')} added to the alphabet of"
                f" {planned.init_from}: {listed(shown)}"
            )

    # How the text is read.
    yield from _reading_notes(
        "texts of its kind", catalogued_settings(planned.corpus), planned=planned
    )
    yield from text.corpus.notes
    if planned.end_id is not None:
        num_documents = len(document_ends(text.ids, end_id=planned.end_id))
        validation = text.ids[text.num_train : text.num_before_test]
        num_validation = len(document_ends(validation, end_id=planned.end_id))
        yield f"{num_documents:,} documents, {num_validation:,} of them in the validation text"
    yield from _held_out_notes(planned, text)

    # Characters that are read as unknown.
    if len(text.corpus.unknown):
        why = "too rare to learn"
        if planned.init_from is None:
            why = f"{why} ({named('alphabet', 'byte')} learns all)"
        elif not planned.extend_alphabet:
            why = f"not in the alphabet of {planned.init_from}"
        yield (
            f"{len(text.corpus.unknown):,} of {len(text.ids):,} characters read as unknown: {why}"
        )

    # What was not asked for and may help.
    is_running = asked.end_id is None and text.vocab.kind != "byte" and not asked.join_lines
    if is_running and share_wrapped(str(text.corpus.text(0, LOOKED_AT))) > WRAPPED_SHARE:
        yield (
            f"the paragraphs of the text are wrapped: {named('join_lines')} joins their lines,"
            " so that the model need not learn where they end"
        )

    # What the validation says little about.
    yield from trained_notes(text.trained_share, config=planned, part="validation")

    # What was chosen.
    yield from _planned_notes(planned, text=text)
    if plan.ends_early:
        num_read = (planned.steps or 0) * planned.chars_per_step
        yield (
            f"training ends before its budget, after {num_read / text.num_train:.3g} epochs:"
            " longer, a model of this size would learn so short a text by heart."
            f" {named('epochs')} sets another number."
        )


def _held_out_notes(config: Config, text: RunText) -> Iterator[str]:
    """Name the files that are held out, of a text in several: nobody knows how a shuffle ends. The
    standard library is nobody's own text."""
    files = text.files
    if len(files) < 2 or not config.corpus:
        return
    names = _names_apart(files)
    parts = {
        "validation": (text.num_train, text.num_before_test),
        "test": (text.num_before_test, len(text.ids)),
    }
    for part, (begin, end) in parts.items():
        held_out: Sequence[str] = ()
        if config.documents == "none":
            held_out = _files_between(begin, end, text=text, names=names)
        elif config.documents == "files":
            held_out = _documents_between(begin, end, config=config, text=text, names=names)
        if held_out:
            others = ""
            if len(held_out) > MOST_HELD_OUT:
                others = f" and {counted(len(held_out) - MOST_HELD_OUT, 'other')}"
            yield f"held out as {part} text: {listed(held_out[:MOST_HELD_OUT])}{others}"


def _names_apart(files: Sequence[FileRecord]) -> list[str]:
    """Return the paths of files below the folder that has all of them."""
    paths = [os.path.abspath(file.name) for file in files]
    folder = os.path.commonpath(map(os.path.dirname, paths))
    return [os.path.relpath(path, folder) for path in paths]


def _files_between(begin: int, end: int, *, text: RunText, names: Sequence[str]) -> list[str]:
    """Return the names of the files to which the characters [begin, end) of a running text belong,
    with the word for what is held out of a file; none of a text that is too large to look."""
    files = text.files
    num_bytes = files[-1].first_byte + files[-1].num_bytes
    first, last = begin, end
    # A text of ASCII has a byte for each character.
    if num_bytes != len(text.ids):
        if len(text.ids) - begin > MAX_LOCATED:
            return []
        last = num_bytes - text.corpus.num_bytes(end, len(text.ids))
        first = last - text.corpus.num_bytes(begin, end)

    held_out = []
    for name, file in zip(names, files, strict=True):
        stop = file.first_byte + file.num_bytes
        if stop <= first or file.first_byte >= last:
            continue
        if file.first_byte < first and stop > last:
            name = f"a part of {name}"
        elif file.first_byte < first:
            name = f"the end of {name}"
        elif stop > last:
            name = f"the beginning of {name}"
        held_out.append(name)
    return held_out


def _documents_between(
    begin: int, end: int, *, config: Config, text: RunText, names: Sequence[str]
) -> list[str]:
    """Return the names of the files that are the documents in the characters [begin, end); none if
    some files have no document, as those that are repeated."""
    ends = document_ends(text.ids, end_id=config.end_id)
    if len(ends) != len(names):
        return []
    numbers = document_order(len(ends), config)
    first, last = np.searchsorted(ends, (begin, end), side="right")
    return [names[number] for number in sorted(numbers[first:last].tolist())]


def resumed_notes(planned: Config, text: RunText) -> Iterator[str]:
    """Describe what may surprise the user of a run that is resumed.

    They are about what has changed since the run was stopped; a new run has `new_run_notes`.
    """
    yield from text.corpus.notes
    yield from _planned_notes(planned, text=text)


def _reading_notes(whose: str, settings: Mapping[str, object], planned: Config) -> Iterator[str]:
    """Describe the settings that nobody has typed, and which the text is read with."""
    used = []
    for name, value in settings.items():
        is_other = value != getattr(Config(), name)
        if is_other and getattr(planned, name) == parse_value(name, value):
            used.append(named(name, value))
    if used:
        yield f"read as {whose}: {' '.join(used)}"


def _planned_notes(planned: Config, text: RunText) -> Iterator[str]:
    """Describe which part of the validation text is read, if it is not all of it; and say that
    several networks are trained side by side, because their units are shown as those of one."""
    num_read = planned.validation_chars
    if isinstance(num_read, int) and text.num_validation > num_read:
        share = f"{100 * num_read / text.num_validation:.2g} %"
        yield (
            f"validation reads {num_read:,} of {text.num_validation:,} characters ({share}), in"
            " segments spread evenly over the validation text"
        )
    if planned.num_networks > 1:
        yield (
            f"{planned.num_networks} networks of {units_of_network(planned)} units are"
            f" trained side by side and saved as one network of {planned.hidden_size:,} units."
            f" {named('num_members', 1)} trains one"
        )
