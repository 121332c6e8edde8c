"""Notes for the user about a run that begins: how its text is read, and what may surprise."""

import os
from collections.abc import Mapping

import torch

from charrnn.config.settings import SIZES, TEXT_FIELDS, Config, parse_value, resolved
from charrnn.errors import counted, named
from charrnn.runs.checkpoint import Checkpoint
from charrnn.text.copies import LEAST_SHARE, trained_notes
from charrnn.text.documents import document_ends
from charrnn.text.paragraphs import share_wrapped
from charrnn.text.sources import catalogued_settings, is_smiles_file
from charrnn.text.vocab import MAX_CHARACTERS, NUL
from charrnn.training.optim import learning_rate_at
from charrnn.training.recipe import units_of_network
from charrnn.training.run_text import RunText

LOOKED_AT = 100_000
"""Characters at the beginning of a text by which its kind is recognised."""
WRAPPED_SHARE = 0.4
"""A text is called wrapped if more than this share of its lines could be joined."""
SHORT_PROSE = 500_000
"""Characters of a text below which the included model of prose is a better start than none
(docs/use/your-text.md)."""
FEW_WORDS = 1_000
"""A shorter text is a trial, and needs no advice."""
FEW_DOCUMENTS, MANY_DOCUMENTS = 100, 1_000
"""From so many documents on a list is no trial, and from so many on it is a good start
(docs/use/fine-tuning.md)."""
LEAST_ARTICLES = 0.025
"""Share of the word "the" in English prose at least; it has 0.04 to 0.07."""
MOST_SYMBOLS = 0.01
"""Share of the symbols of code in prose at most."""
LISTED_FILES = 5
"""Held-out files that a note names at most."""
LISTED_CHARACTERS = 12
"""Characters that the note on an extended alphabet lists at most."""


FEW_STEPS = 100
"""Fewer steps that fit into a budget in minutes are noted: a network has learned little more than
frequent words."""
MIN_RISE = 1.5
"""A resumed run notes that the learning rate rises if it rises at least by this factor."""


def text_notes(asked: Config, planned: Config, text: RunText) -> list[str]:
    """Describe how the text is read, and properties of it that may surprise the user."""
    guide = "the catalogue says"
    if planned.corpus and is_smiles_file(planned.corpus[0]):
        guide = "a file of molecules, the first field of each line"
    return [
        *_reading_notes(guide, catalogued_settings(planned.corpus), planned=planned),
        *text.corpus.notes,
        *_held_out_notes(planned, text),
        *_document_notes(asked, planned=planned, text=text),
        *_unknown_notes(planned, text),
        *_prose_notes(asked, text),
        *validation_notes(planned, text),
        *trained_notes(text.trained_share, config=planned, part="validation"),
        *_earlier_notes(planned, text),
    ]


def planned_notes(asked: Config, planned: Config, text: RunText, *, ends_early: bool) -> list[str]:
    """Describe the text, the settings that were changed to fit it, and how a budget in minutes is
    used."""
    notes = text_notes(asked, planned=planned, text=text)

    # Settings that were changed to fit the text.
    is_shorter = asked.batch_size not in ("auto", planned.batch_size)
    is_shorter |= asked.bptt_length not in ("auto", planned.bptt_length)
    if is_shorter:
        notes.append(
            f"the text is short: it is read in {planned.batch_size} batch rows of"
            f" {planned.bptt_length} characters per step"
        )
    notes += several_notes(planned)
    if asked.minutes is None:
        return notes

    # A budget that is not used up, or that is too small to teach anything.
    num_steps = planned.steps or 0
    if ends_early:
        num_read = num_steps * planned.chars_per_step
        notes.append(
            f"training ends before its budget, after {num_read / text.num_train:.3g} epochs:"
            " longer, a model of this size would learn so short a text by heart."
            f" {named('epochs')} sets another number."
        )
    if num_steps < FEW_STEPS and asked.init_from is None:
        notes.append(
            f"{named('minutes', asked.minutes)} leaves time for {counted(num_steps, 'step')} after"
            " the start and the measuring, which is too few to learn words. Give more, or a smaller"
            f" {named('hidden_size')}"
        )

    # A user who sees idle processors would take it for a mistake.
    most = torch.get_num_threads()
    if asked.threads == "auto" and resolved(planned.threads) < most:
        notes.append(
            f"training uses {counted(resolved(planned.threads), 'thread')}, which is faster than"
            f" {most} (the model is small, or other processes use the cores)"
        )
    return notes


def several_notes(planned: Config) -> list[str]:
    """Say that several networks are trained side by side, because their units are shown as those of
    one."""
    if planned.num_networks == 1:
        return []
    return [
        f"{planned.num_networks} networks of {units_of_network(planned)} units are"
        f" trained side by side and saved as one network of {planned.hidden_size:,} units."
        f" {named('num_members', 1)} trains one"
    ]


def inherited_notes(planned: Config, initial: Checkpoint) -> list[str]:
    """Describe which settings of the text a run has inherited from the run that it starts with."""
    theirs = initial.description.config()
    settings = {name: getattr(theirs, name) for name in TEXT_FIELDS}
    changed = {name: value for name, value in settings.items() if value != getattr(Config(), name)}
    return _reading_notes(f"{planned.init_from} was", changed, planned=planned)


def _reading_notes(whose: str, settings: Mapping[str, object], planned: Config) -> list[str]:
    """Describe which of these settings the text is read with."""
    used = []
    for name, value in settings.items():
        if getattr(planned, name) == parse_value(name, value):
            used.append(named(name, value))
    if not used:
        return []
    return [f"read as {whose}: {' '.join(used)}"]


def _earlier_notes(planned: Config, text: RunText) -> list[str]:
    """Say that the run whose weights are continued has learned a part of the validation text."""
    share = text.earlier_share
    if share is None or share < LEAST_SHARE:
        return []
    return [
        f"{planned.init_from} has learned {100 * share:.0f} % of the validation text: the loss is"
        " lower than that of new text"
    ]


def _held_out_notes(planned: Config, text: RunText) -> list[str]:
    """Name the files of a folder whose text is held out, because a copy or a draft among them says
    nothing about new text."""
    files = text.corpus.files
    if planned.end_id is not None or len(files) < 2:
        return []
    begin = text.corpus.num_bytes(0, text.num_train)
    names = [os.path.basename(file.name) for file in files if file.begin + file.num_bytes > begin]
    listed = ", ".join(names[:LISTED_FILES])
    if len(names) > LISTED_FILES:
        listed += f" and {len(names) - LISTED_FILES:,} more"
    return [f"held out: {listed}"]


def _document_notes(asked: Config, planned: Config, text: RunText) -> list[str]:
    """Describe how many documents the text has, and suggest a model of many for a list of few."""
    if planned.end_id is None:
        return []
    num_documents = len(document_ends(text.ids, planned.end_id))
    validation = text.ids[text.num_train : text.num_before_test]
    num_validation = len(document_ends(validation, planned.end_id))
    notes = [f"{num_documents:,} documents, {num_validation:,} of them in the validation text"]
    # Paragraphs and files may be long, and few of them enough.
    is_list = planned.documents in ("lines", "column")
    if is_list and FEW_DOCUMENTS <= num_documents < MANY_DOCUMENTS and asked.init_from is None:
        notes.append(
            f"so few documents teach little: {named('init_from', 'RUN')} starts with a model that"
            " was trained on many of their kind"
        )
    return notes


def _unknown_notes(planned: Config, text: RunText) -> list[str]:
    """Describe which characters are read as unknown."""
    num_unknown = len(text.corpus.unknown)
    if not num_unknown:
        return []
    why = "too rare to learn"
    if len(text.vocab) >= MAX_CHARACTERS:
        why = "beyond the alphabet's limit"
    elif planned.init_from is not None and not planned.extend_alphabet:
        why = f"not in the alphabet of {planned.init_from}"
    verb = "is" if num_unknown == 1 else "are"
    notes = [f"{num_unknown:,} of {len(text.ids):,} characters {verb} {why}: read as unknown"]
    if num_unknown > 0.01 * len(text.ids) and planned.init_from is None:
        notes.append(f"{named('alphabet', 'byte')} learns every character of such a text")
    return notes


def _prose_notes(asked: Config, text: RunText) -> list[str]:
    """Suggest what helps with a running text and was not asked for: joined lines, and a model that
    knows prose."""
    if asked.end_id is not None or text.vocab.kind == "byte":
        return []
    begin = str(text.corpus.text(0, LOOKED_AT))

    # Wrapped lines, and too little text to learn English from.
    notes = []
    if not asked.join_lines and share_wrapped(begin) > WRAPPED_SHARE:
        notes.append(
            f"the paragraphs of the text are wrapped: {named('join_lines')} joins their lines, so"
            " that the model need not learn where they end"
        )
    is_own_model = all(getattr(asked, name) == "auto" for name in SIZES) and asked.cell == "auto"
    if (
        asked.init_from is None
        and is_own_model
        and len(text.ids) < SHORT_PROSE
        and _is_english_prose(begin)
    ):
        notes.append(
            f"so short a text teaches little English: {named('init_from', 'prose')} starts with the"
            " included model, which knows some, and learns the characters that are new to it"
        )
    return notes


def _is_english_prose(text: str) -> bool:
    """Return whether a text is running English, and no code, by its most frequent word and by the
    characters of code."""
    words = text.lower().split()
    num_symbols = sum(text.count(symbol) for symbol in "(){}[]<>=_#;/\\|")
    return (
        words.count("the") > LEAST_ARTICLES * len(words)
        and num_symbols < MOST_SYMBOLS * len(text)
        and len(words) >= FEW_WORDS
    )


def validation_notes(config: Config, text: RunText) -> list[str]:
    """Describe which part of the validation text is read, if it is not all of it."""
    num_read = config.validation_chars
    if not isinstance(num_read, int) or text.num_validation <= num_read:
        return []
    share = f"{100 * num_read / text.num_validation:.2g} %"
    return [
        f"validation reads {num_read:,} of {text.num_validation:,} characters ({share}), in"
        " segments spread evenly over the validation text"
    ]


def extension_notes(config: Config, initial: Checkpoint, text: RunText) -> list[str]:
    """Describe which characters were added to the alphabet of the model that a run starts with."""
    known = set(initial.description.vocab().characters)
    added = [character for character in text.vocab.characters if character not in known]
    if not added:
        return []

    # The most frequent ones first.
    counts = text.corpus.counted
    count_of = dict(zip(counts.code_points.tolist(), counts.counts.tolist(), strict=True))
    added.sort(key=lambda character: count_of[ord(character)], reverse=True)

    # With quotation marks and escapes: new characters are often spaces of some kind.
    listed = []
    for character in added[:LISTED_CHARACTERS]:
        listed.append("END" if character == NUL else repr(character))
    if len(added) > LISTED_CHARACTERS:
        listed.append("…")
    return [
        f"{counted(len(added), 'new character')} added to the alphabet of {config.init_from}:"
        f" {', '.join(listed)}"
    ]


def schedule_notes(before: Config, planned: Config, step: int) -> list[str]:
    """Describe that the learning rate rises after a step, because a new budget has a longer
    schedule."""
    if step == 0:
        return []
    last = learning_rate_at(step - 1, before)
    following = learning_rate_at(step, planned)
    if following < MIN_RISE * last or planned.steps == before.steps:
        return []
    return [
        f"the learning rate rises from {last:.2g} to {following:.2g}, because it now falls over"
        f" {planned.steps:,} steps instead of {before.steps:,}: the loss may rise at first"
    ]
