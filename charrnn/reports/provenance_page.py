"""Write the copied passages of a text as a self-contained HTML page without a script.

Each character has its numbers as attributes, which the style sheet shows in a sentence while the
pointer is on it. A click on a passage shows its place in the
training text, and the text around it, beside the text.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from html import escape
from itertools import groupby
from pathlib import Path

import numpy as np

from charrnn.errors import counted
from charrnn.reports.char_predictions import CharPredictions
from charrnn.reports.passages import CopiedPassages, Passage, shown_place
from charrnn.reports.provenance import Provenance
from charrnn.text.copies import SlicedText
from charrnn.views.delivery import Shown
from charrnn.views.page_template import fill_page
from charrnn.views.theme import LINE_ENDS, visible

TEMPLATE = Path(__file__).with_name("provenance_page.html")
"""The page without its content."""
ATTRIBUTES = {
    "p": "logprobs",
    "n": "ngram_logprobs",
    "l": "context_lengths",
    "k": "num_places",
}
"""Attributes of a character for the fields of `CharPredictions`. The style sheet of the page names
them, too."""
SURROUNDINGS_CHARS = 300
"""Characters of the training text that stand before and after a passage."""


def shown(
    provenance: CopiedPassages,
    trainings: Sequence[SlicedText],
    *,
    title: str,
    sample: Mapping[str, object] | None = None,
) -> Shown:
    """Return the provenance of a text for the terminal and for an exported file, whose page shows
    the text around each passage, in the texts that were searched: `trainings`. `sample` is the
    object of a generated text, to which the provenance is added."""
    data = provenance.to_json()
    if sample is not None:
        data = {**sample, "provenance": data}
    return Shown(
        title,
        pictures=provenance.view(),
        data=data,
        rows=[asdict(passage) for passage in provenance.passages],
        page=lambda: to_page(provenance, trainings, title=title),
    )


def to_page(provenance: CopiedPassages, trainings: Sequence[SlicedText], *, title: str) -> str:
    """Return the page of the provenance of a text."""
    # A passage that stands in the text several times has one section.
    sections = {}
    for passage in provenance.passages:
        section = _section(passage, provenance=provenance, trainings=trainings)
        sections[_anchor(passage)] = section
    # Without a click, a sentence says what can be clicked.
    hint = f"No passage of the text stands in {provenance.where}."
    if sections:
        hint = f"Underlined passages stand in {provenance.where}: a click on one shows where."
    fields = {
        "TITLE": escape(title),
        "SUMMARY": escape(_summary(provenance)),
        "TEXT": "".join(_text(provenance)),
        "HINT": hint,
        "SECTIONS": "\n".join(sections.values()),
    }
    return fill_page(TEMPLATE, fields=fields)


def _summary(provenance: CopiedPassages) -> str:
    num_chars = counted(len(provenance.text), provenance.unit)
    held_out = ""
    if provenance.held_out_share is not None:
        held_out = f"; of text that nobody copied, {provenance.held_out_share:.1%}"
    return (
        f"{num_chars}, of which"
        f" {provenance.share_copied:.1%} are in passages of at least {provenance.min_length} that"
        f" stand in {provenance.where}{held_out}. {provenance.reach}"
    )


def _anchor(passage: Passage) -> str:
    """Return the identifier of the section of a passage."""
    return f"p{passage.number}-{passage.offset}-{passage.length}"


def _text(provenance: CopiedPassages) -> Iterator[str]:
    """Yield the text as HTML: a link for each passage and, if the characters were predicted, an
    element for each with its numbers."""
    text, begins = provenance.characters()
    # A character in several passages belongs to the first of them.
    links = [""] * len(provenance.text)
    for passage in reversed(provenance.passages):
        links[passage.start : passage.stop] = [_anchor(passage)] * passage.length
    numbers = None
    if isinstance(provenance, Provenance):
        numbers = _numbers(provenance.predictions)

    # Each stretch of one passage is a link.
    for link, indices in groupby(range(len(text)), key=lambda index: links[begins[index]]):
        elements = []
        for index in indices:
            element = _shown(text[index])
            if numbers is not None:
                element = f"<i{numbers[begins[index]]}>{element}</i>"
            elements.append(element)
        if link:
            yield f'<a href="#{link}">{"".join(elements)}</a>'
        else:
            yield "".join(elements)


def _numbers(predictions: CharPredictions) -> list[str]:
    """Return the numbers of each character as attributes, which are short: a long text has many."""
    attributes = [""] * len(predictions.logprobs)
    for name, field in ATTRIBUTES.items():
        values = getattr(predictions, field)
        if values is None:
            continue
        # Probabilities have three digits at most; whole numbers have no decimals.
        if values.dtype == np.float64:
            values = np.exp(values).round(3)
        for index, value in enumerate(values.tolist()):
            attributes[index] += f" {name}={value}".removesuffix(".0").replace("=0.", "=.")
    return attributes


def _section(
    passage: Passage, *, provenance: CopiedPassages, trainings: Sequence[SlicedText]
) -> str:
    """Return the place of a passage, and the training text around it."""
    # The offset is that of the text in which the passage was found.
    training = trainings[passage.number]
    before = training[max(0, passage.offset - SURROUNDINGS_CHARS) : passage.offset]
    end = passage.offset + passage.length
    after = training[end : end + SURROUNDINGS_CHARS]
    place = "It stands in no file as a whole, as it stands here."
    if passage.place is not None:
        place = shown_place(passage.place)
        if passage.num_more:
            place += f", and in {counted(passage.num_more, 'more place')}"
    # The passage stands between what comes before and after it there.
    copied = provenance.text[passage.start : passage.stop]
    length = counted(passage.length, provenance.unit)
    return (
        f'<section id="{_anchor(passage)}"><p>{length}: {escape(place)}</p>'
        f"<pre>{_shown(before)}<mark>{_shown(copied)}</mark>{_shown(after)}</pre></section>"
    )


def _shown(text: str | bytes) -> str:
    """Return a text as HTML; a line goes on after the mark of its end."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    shown = []
    for character in text:
        shown.append(visible(character))
        if character in LINE_ENDS:
            shown.append("\n")
    return escape("".join(shown), quote=False)
