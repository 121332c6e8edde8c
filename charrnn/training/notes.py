"""Notes for the user about a run that begins: how its text is read, and what may surprise."""

import os
from collections.abc import Iterator, Mapping

import torch

from charrnn.config.settings import SIZES, TEXT_FIELDS, Config, parse_value, resolved
from charrnn.errors import counted, named
from charrnn.runs.checkpoint import Checkpoint
from charrnn.text.copies import LEAST_SHARE, trained_notes
from charrnn.text.documents import document_ends
from charrnn.text.paragraphs import share_wrapped
from charrnn.text.sources import catalogued_settings, is_smiles_file
from charrnn.text.vocab import NUL
from charrnn.training.optim import learning_rate_at
from charrnn.training.recipe import ends_early, units_of_network
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


def new_run_notes(
    asked: Config, planned: Config, text: RunText, initial: Checkpoint | None
) -> list[str]:
    """Return what may surprise the user of a new run: about the model that it starts with, if any,
    about its text, and about what was chosen."""
    notes: list[str] = []
    if initial is not None:
        notes += initial.warnings
        notes += _initial_notes(planned, initial=initial, text=text)
    notes += text_notes(asked, planned=planned, text=text)
    notes += _choice_notes(asked, planned=planned, text=text)
    return notes


def resumed_notes(before: Config, planned: Config, text: RunText, step: int) -> list[str]:
    """Return what may surprise the user of a run that is resumed after a step, with the
    configuration `before`."""
    return [
        *text.corpus.notes,
        *_ensemble_notes(planned),
        *validation_notes(planned, text),
        *_schedule_notes(before, planned=planned, step=step),
    ]


def text_notes(asked: Config, planned: Config, text: RunText) -> Iterator[str]:
    """Describe how the text is read, and properties of it that may surprise the user."""
    # What nobody has typed.
    guide = "the catalogue says"
    if planned.corpus and is_smiles_file(planned.corpus[0]):
        guide = "a file of molecules, the first field of each line"
    yield from _reading_notes(guide, catalogued_settings(planned.corpus), planned=planned)
    yield from text.corpus.notes

    # The held-out files of a folder: a copy or a draft among them says nothing about new text.
    files = text.corpus.files
    if planned.end_id is None and len(files) > 1:
        begin = text.corpus.num_bytes(0, text.num_train)
        held_out = [file for file in files if file.begin + file.num_bytes > begin]
        listed = ", ".join(os.path.basename(file.name) for file in held_out[:LISTED_FILES])
        if len(held_out) > LISTED_FILES:
            listed += f" and {len(held_out) - LISTED_FILES:,} more"
        yield f"held out: {listed}"

    # How many documents there are. Paragraphs and files may be long, and few of them enough.
    if planned.end_id is not None:
        num_documents = len(document_ends(text.ids, planned.end_id))
        validation = text.ids[text.num_train : text.num_before_test]
        num_validation = len(document_ends(validation, planned.end_id))
        yield f"{num_documents:,} documents, {num_validation:,} of them in the validation text"
        is_list = planned.documents in ("lines", "column")
        if is_list and FEW_DOCUMENTS <= num_documents < MANY_DOCUMENTS and asked.init_from is None:
            yield (
                f"so few documents teach little: {named('init_from', 'RUN')} starts with a model"
                " that was trained on many of their kind"
            )

    # Characters that are read as unknown.
    num_unknown = len(text.corpus.unknown)
    if num_unknown:
        why = "too rare to learn"
        if planned.init_from is not None and not planned.extend_alphabet:
            why = f"not in the alphabet of {planned.init_from}"
        verb = "is" if num_unknown == 1 else "are"
        yield f"{num_unknown:,} of {len(text.ids):,} characters {verb} {why}: read as unknown"
        if num_unknown > 0.01 * len(text.ids) and planned.init_from is None:
            yield f"{named('alphabet', 'byte')} learns every character of such a text"

    yield from _prose_notes(asked, text)

    # What the validation says little about.
    yield from validation_notes(planned, text)
    yield from trained_notes(text.trained_share, config=planned, part="validation")
    if text.earlier_share is not None and text.earlier_share >= LEAST_SHARE:
        yield (
            f"{planned.init_from} has learned {100 * text.earlier_share:.0f} % of the validation"
            " text: the loss is lower than that of new text"
        )


def _prose_notes(asked: Config, text: RunText) -> Iterator[str]:
    """Suggest what helps with running text and was not asked for: joined lines, and a model that
    knows prose."""
    if asked.end_id is not None or text.vocab.kind == "byte":
        return
    start = str(text.corpus.text(0, LOOKED_AT))
    if not asked.join_lines and share_wrapped(start) > WRAPPED_SHARE:
        yield (
            f"the paragraphs of the text are wrapped: {named('join_lines')} joins their lines,"
            " so that the model need not learn where they end"
        )
    is_own_model = all(getattr(asked, name) == "auto" for name in (*SIZES, "cell_type"))
    is_short = asked.init_from is None and is_own_model and len(text.ids) < SHORT_PROSE
    if is_short and _is_english_prose(start):
        yield (
            f"so short a text teaches little English: {named('init_from', 'prose')} starts with"
            " the included model, which knows some, and learns the characters that are new to"
            " it"
        )


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


def validation_notes(config: Config, text: RunText) -> Iterator[str]:
    """Describe which part of the validation text is read, if it is not all of it."""
    num_read = config.validation_chars
    if isinstance(num_read, int) and text.num_validation > num_read:
        share = f"{100 * num_read / text.num_validation:.2g} %"
        yield (
            f"validation reads {num_read:,} of {text.num_validation:,} characters ({share}), in"
            " segments spread evenly over the validation text"
        )


def _reading_notes(whose: str, settings: Mapping[str, object], planned: Config) -> Iterator[str]:
    """Describe which of these settings the text is read with."""
    used = []
    for name, value in settings.items():
        if getattr(planned, name) == parse_value(name, value):
            used.append(named(name, value))
    if used:
        yield f"read as {whose}: {' '.join(used)}"


def _initial_notes(planned: Config, initial: Checkpoint, text: RunText) -> Iterator[str]:
    """Describe the settings and the alphabet of the model that a run starts with."""
    # The settings of its text, which the run has inherited.
    theirs = initial.description.config()
    settings = {name: getattr(theirs, name) for name in TEXT_FIELDS}
    changed = {name: value for name, value in settings.items() if value != getattr(Config(), name)}
    yield from _reading_notes(f"{planned.init_from} was", changed, planned=planned)

    # The new characters, the most frequent ones first.
    known = set(initial.description.vocab().characters)
    added = [character for character in text.vocab.characters if character not in known]
    if not added:
        return
    counts = text.corpus.counted
    count_of = dict(zip(counts.code_points.tolist(), counts.counts.tolist(), strict=True))
    added.sort(key=lambda character: count_of[ord(character)], reverse=True)

    # With quotation marks and escapes: new characters are often spaces of some kind.
    listed = []
    for character in added[:LISTED_CHARACTERS]:
        listed.append("END" if character == NUL else repr(character))
    if len(added) > LISTED_CHARACTERS:
        listed.append("…")
    yield (
        f"{counted(len(added), 'new character')} added to the alphabet of {planned.init_from}:"
        f" {', '.join(listed)}"
    )


def _choice_notes(asked: Config, planned: Config, text: RunText) -> Iterator[str]:
    """Describe the settings that were changed to fit the text, and how a budget in minutes is
    used."""
    is_shorter = asked.batch_size not in ("auto", planned.batch_size)
    is_shorter |= asked.bptt_length not in ("auto", planned.bptt_length)
    if is_shorter:
        yield (
            f"the text is short: it is read in {planned.batch_size} batch rows of"
            f" {planned.bptt_length} characters per step"
        )
    yield from _ensemble_notes(planned)
    if asked.minutes is None:
        return

    # A budget that is not used up, or that is too small to teach anything.
    num_steps = planned.steps or 0
    if ends_early(asked, planned=planned, num_train_chars=text.num_train):
        num_read = num_steps * planned.chars_per_step
        yield (
            f"training ends before its budget, after {num_read / text.num_train:.3g} epochs:"
            " longer, a model of this size would learn so short a text by heart."
            f" {named('epochs')} sets another number."
        )
    if num_steps < FEW_STEPS and asked.init_from is None:
        yield (
            f"{named('minutes', asked.minutes)} leaves time for {counted(num_steps, 'step')} after"
            " the start and the measuring, which is too few to learn words. Give more, or a smaller"
            f" {named('hidden_size')}"
        )

    # A user who sees idle processors would take it for a mistake.
    most = torch.get_num_threads()
    if asked.threads == "auto" and resolved(planned.threads) < most:
        yield (
            f"training uses {counted(resolved(planned.threads), 'thread')}, which is faster than"
            f" {most} (the model is small, or other processes use the cores)"
        )


def _ensemble_notes(planned: Config) -> Iterator[str]:
    """Say that several networks are trained side by side, because their units are shown as those of
    one."""
    if planned.num_networks > 1:
        yield (
            f"{planned.num_networks} networks of {units_of_network(planned)} units are"
            f" trained side by side and saved as one network of {planned.hidden_size:,} units."
            f" {named('num_members', 1)} trains one"
        )


def _schedule_notes(before: Config, planned: Config, step: int) -> Iterator[str]:
    """Describe that the learning rate rises after a step, because a new budget has a longer
    schedule."""
    if step == 0 or planned.steps == before.steps:
        return
    last = learning_rate_at(step - 1, before)
    following = learning_rate_at(step, planned)
    if following >= MIN_RISE * last:
        yield (
            f"the learning rate rises from {last:.2g} to {following:.2g}, because it now falls over"
            f" {planned.steps:,} steps instead of {before.steps:,}: the loss may rise at first"
        )
