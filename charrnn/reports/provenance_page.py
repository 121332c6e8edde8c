"""Write a whole text as an HTML page without a script, in which the passages that stand in it
again, or in the training text, are underlined and linked.

Shapes: N characters of the text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

from charrnn.errors import counted
from charrnn.reports.provenance import REST, CopiedPassage, Provenance, shown_place
from charrnn.text.corpus import Corpus
from charrnn.text.vocab import as_bytes
from charrnn.views.theme import PAPERS, all_visible, visible

EXCERPT_CHARS = 160
"""Characters of a passage in the list beside the text."""
MAX_LISTED = 500
"""Passages in the list, the longest ones. All of them are underlined."""
_TEMPLATE = """\
<!DOCTYPE html>
<html lang="und">
<head>
<meta charset="UTF-8">
<meta name="generator" content="charrnn">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ --paper: {light.paper}; --ink: {light.ink}; --faint: #66666c; --line: #d4d4d0;
  --mark: #b4501e; --target: #fbe6c8; color-scheme: light dark; }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper: {dark.paper}; --ink: {dark.ink};
  --faint: #a0a0a8; --line: #3a3b42; --mark: #f0a060; --target: #4a3418; }} }}
* {{ box-sizing: border-box; }}
body {{ background: var(--paper); color: var(--ink); margin: 0 auto; max-width: 78rem;
  padding: 1rem; font: 1.05rem/1.65 Georgia, "Noto Serif", "DejaVu Serif", serif; }}
h1 {{ font-size: 1.35rem; margin: 0.5rem 0; }}
h2 {{ font-size: 1.1rem; margin: 2.5rem 0 1rem; border-bottom: 1px solid var(--line); }}
header p, aside {{ color: var(--faint); font: 0.9rem/1.5 system-ui, sans-serif; }}
main {{ display: grid; gap: 1.5rem; grid-template-columns: minmax(0, 1fr); }}
article {{ white-space: pre-wrap; overflow-wrap: anywhere; max-width: 44rem; }}
aside ol {{ margin: 0; padding: 0 0 0 2.2rem; }}
aside li {{ margin-bottom: 0.7rem; overflow-wrap: anywhere; }}
aside q {{ color: var(--ink); quotes: none; display: block; }}
a {{ color: inherit; text-decoration: underline 2px var(--mark); text-underline-offset: 3px; }}
aside a {{ text-decoration-thickness: 1px; white-space: nowrap; }}
aside a.far {{ white-space: normal; }}
a:hover {{ background: var(--target); }}
:target {{ background: var(--target); scroll-margin-top: 30vh; }}
aside {{ max-height: 40vh; overflow-y: auto; border-bottom: 1px solid var(--line); }}
@media (min-width: 60rem) {{
  main {{ grid-template-columns: minmax(0, 44rem) minmax(0, 1fr); }}
  article {{ grid-column: 1; grid-row: 1; }}
  aside {{ grid-column: 2; grid-row: 1; position: sticky; top: 1rem; max-height: 94vh; border: 0; }}
}}
</style>
</head>
<body>
<header><h1>{title}</h1><p>{summary}</p></header>
<main>
{listed}<article>{text}</article>
</main>
</body>
</html>
"""


@dataclass(frozen=True, kw_only=True)
class _Repeated:
    """A passage with all places of the same words in the text."""

    words: str
    starts: tuple[int, ...]
    """Where it begins in the text (`CopiedPassage.start`), in order."""
    passages: tuple[CopiedPassage, ...]
    """The passage at each of these places."""


def to_page(found: Provenance, corpus: Corpus, *, title: str) -> str:
    """Return the page of the passages of a text that was read from files.

    One needs it to read a manuscript with its repetitions before one's eyes. A click on a passage
    goes to its next place in the text or, of a passage of the training text, to the entry of the
    list that says where it stands.

    Args:
        found: What `provenance.repeats_in` or `provenance.copies_in` found.
        corpus: The text that was searched, with its files.
        title: The heading of the page.

    Returns:
        The page, which loads nothing and runs no script.
    """
    repeated = _group(found)
    listed = ""
    if repeated:
        longest = sorted(repeated, key=lambda one: -len(one.words))[:MAX_LISTED]
        has_files = len(corpus.files) > 1
        entries = [_entry(one, found=found, has_files=has_files) for one in longest]
        listed = f"<aside><ol>{''.join(entries)}</ol></aside>\n"
    return _TEMPLATE.format(
        title=escape(all_visible(title)),
        summary=escape(_summary(found, num_passages=len(repeated))),
        listed=listed,
        text="".join(_marked_text(found, repeated=repeated, corpus=corpus)),
        light=PAPERS["light"],
        dark=PAPERS["dark"],
    )


def _group(found: Provenance) -> list[_Repeated]:
    """Return the passages with the same words together, in the order of the text."""
    by_words: dict[str | bytes, list[CopiedPassage]] = {}
    for passage in found.passages:
        words = found.text[passage.start : passage.start + passage.length]
        by_words.setdefault(words, []).append(passage)
    return [
        _Repeated(
            words=as_bytes(words).decode("utf-8", "replace"),
            starts=tuple(passage.start for passage in passages),
            passages=tuple(passages),
        )
        for words, passages in by_words.items()
    ]


def _summary(found: Provenance, num_passages: int) -> str:
    if not num_passages:
        return f"No {found.min_length} characters in a row stand in {found.where}, too."
    unit = "bytes" if isinstance(found.text, bytes) else "characters"
    next_place = "the list, which says where it stands"
    if found.where == REST:
        next_place = "its next place"
    held_out = ""
    if found.held_out_share is not None:
        held_out = f" Of held-out text, which nobody copied, it is {found.held_out_share:.1%}."
    return (
        f"{found.share_copied:.1%} of these {len(found.text):,} {unit} are in"
        f" {counted(num_passages, 'passage')} of at least {found.min_length} {unit} that stand in"
        f" {found.where}, too.{held_out} A click on an underlined passage goes to {next_place}."
        f" {found.reach}"
    ).rstrip()


def _entry(one: _Repeated, found: Provenance, *, has_files: bool) -> str:
    """Return the entry of a passage in the list: its words, and its places."""
    words = one.words
    if len(words) > EXCERPT_CHARS:
        words = f"{words[: EXCERPT_CHARS // 2]} … {words[-EXCERPT_CHARS // 2 :]}"
    links = []
    for passage in one.passages:
        links.append(f'<a href="#t{passage.start}">{_label(passage, has_files=has_files)}</a>')

    # What the training text has stands in no place of this page.
    first = one.passages[0]
    there = "in no file as a whole"
    if first.place is not None:
        there = shown_place(first.place)
    if found.where != REST:
        links.append(f"there: {escape(there)}")
    elif len(one.passages) == 1:
        links.append(f'<a class="far" href="#t{first.offset}">{escape(there)}</a>')
    shown = escape(all_visible(" ".join(words.split())))
    return f'<li id="p{one.starts[0]}"><q>{shown}</q>{" · ".join(links)}</li>\n'


def _label(passage: CopiedPassage, *, has_files: bool) -> str:
    """Return the place of a passage in its own text in a few words."""
    if passage.at is None:
        return "here"
    place = f"{passage.at.unit} {passage.at.line:,}"
    if has_files:
        place = f"{all_visible(passage.at.file)}, {place}"
    return escape(place)


def _marked_text(
    found: Provenance, *, repeated: Sequence[_Repeated], corpus: Corpus
) -> Iterator[str]:
    """Yield the text as HTML, with a heading where a file of several begins, and a link for each
    passage."""
    # Of passages that overlap, the first one has the link.
    num_chars = len(found.text)
    link_of = np.full(num_chars, -1, np.int64)
    targets: list[str] = []
    for one in repeated:
        targets += _targets(one, found=found)
    order = [passage for one in repeated for passage in one.passages]
    for index in sorted(range(len(order)), key=lambda index: -order[index].start):
        passage = order[index]
        link_of[passage.start : passage.start + passage.length] = index

    # The text is cut where a passage begins or ends, where a link leads to, and between files.
    headings = _beginnings(corpus)
    places = {passage.start for passage in order}
    if found.where == REST:
        places |= {passage.offset for passage in order}
    cuts = {0, num_chars, *places, *headings}
    cuts |= set((np.flatnonzero(np.diff(link_of)) + 1).tolist())
    bounds = sorted(cuts)
    for begin, end in pairwise(bounds):
        if begin in headings:
            yield f"<h2>{escape(all_visible(headings[begin]))}</h2>"
        words = _shown(found.text[begin:end])
        name = ""
        if begin in places:
            name = f' id="t{begin}"'
        if link_of[begin] >= 0:
            yield f'<a{name} href="#{targets[link_of[begin]]}">{words}</a>'
        elif name:
            yield f"<span{name}>{words}</span>"
        else:
            yield words


def _targets(one: _Repeated, found: Provenance) -> Iterator[str]:
    """Yield where the link of each place of a passage leads: to the next place, from the last one
    to the first; of a passage of the training text, to its entry in the list."""
    for index, passage in enumerate(one.passages):
        if found.where != REST:
            yield f"p{one.starts[0]}"
        elif len(one.starts) == 1:
            yield f"t{passage.offset}"
        else:
            yield f"t{one.starts[(index + 1) % len(one.starts)]}"


def _beginnings(corpus: Corpus) -> dict[int, str]:
    """Return the name of each file by the index at which it begins in the text; nothing for a
    single file."""
    files = corpus.files
    if len(files) < 2:
        return {}
    data = as_bytes(corpus.content)
    begins_lines = corpus.source_text.config.end_id is None and corpus.vocab.kind == "char"
    names: dict[int, str] = {}
    index = 0
    num_bytes = 0
    for file in files:
        # A file of a running text begins a line.
        if begins_lines and num_bytes and data[num_bytes - 1 : num_bytes] != b"\n":
            num_bytes += 1
            index += 1
        names[index] = file.name
        content = data[num_bytes : num_bytes + file.num_bytes]
        num_bytes += file.num_bytes
        index += len(content)
        if corpus.vocab.kind == "char":
            index += len(content.decode("utf-8", "surrogatepass")) - len(content)
    return names


def _shown(text: str | bytes) -> str:
    """Return a text as HTML: blanks and line ends as they are, characters that nobody sees by their
    marks."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    shown = []
    for character in text:
        if character in "\n\t":
            shown.append(character)
        elif character == "\0":  # the end of a document
            shown.append("\n")
        else:
            shown.append(visible(character))
    return escape("".join(shown), quote=False)
