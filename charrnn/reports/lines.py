"""The loss of every line of a text, in order, for one or several models.

Shapes: N characters, M scored characters, R runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.errors import UsageError, counted, named
from charrnn.evaluation.comparison import Comparison, Content, MeasuredRun, notes_of_runs
from charrnn.evaluation.loss_reports import MAX_SCORED
from charrnn.generation.generated_text import excess_of
from charrnn.model.losses import CharLosses
from charrnn.system.arrays import BoolArray
from charrnn.text.corpus import Corpus, CorpusPart, Place
from charrnn.text.documents import END
from charrnn.text.given_text import GivenText, read_path
from charrnn.text.paragraphs import join_lines
from charrnn.text.sentences import sentence_ends
from charrnn.text.text_files import Line
from charrnn.text.vocab import as_bytes
from charrnn.trained_model import TrainedModel
from charrnn.views.tables import plain_table
from charrnn.views.theme import all_visible

BLOCK = 1 << 16
"""Characters that are decoded at once."""
MAX_LINE_TEXT = 1000
"""Characters of a line that a record keeps."""
NUM_LISTED = 10
"""Lines that are listed on a terminal from each end: the least and the most likely."""
PARAGRAPH_CHARS = 200
"""Where lines have more characters on average, a line is a paragraph, and sentences are scored."""
LINE, SENTENCE, WORD = "line", "sentence", "word"
"""What is scored as a whole."""
PARAGRAPH = "paragraph"
"""What a document has in the place of lines."""


@dataclass(frozen=True, kw_only=True)
class LineLoss:
    """The loss of one line of a text, with the newline that ends it.

    `losses_by_line` yields one for each line. Sort by `excess` to find the lines that are odd for
    their length: by `nats` long lines come first, and by nats per character short ones.
    """

    file: str | None
    """The file of the line; None if the text is no file."""
    line: int
    """The number of the line in its file or in the given text, from 1."""
    index: int
    """The index of its first character in the text, from 0."""
    text: str
    """The line without its end, cut after `MAX_LINE_TEXT` characters."""
    num_chars: int
    """Characters that were scored; for the first line of a text without context, all but the first
    character."""
    nats: tuple[float, ...]
    """The sum over the characters of -ln p(character | all characters before it), of each run."""
    excess: float
    """How unlikely the line is to the first run, for its length, beside all scored characters
    (`excess_of`)."""


def to_json(loss: LineLoss, names: Sequence[str]) -> dict[str, Any]:
    """Return the object that `evaluate --per-line` prints for a line; `names` are the names of the
    runs."""
    # The keys for one run are there for several runs, too, with the loss of the first run.
    data = asdict(loss)
    data["nats"] = loss.nats[0]
    data["nats_per_char"] = loss.nats[0] / loss.num_chars
    if len(names) > 1:
        data["nats_by_run"] = dict(zip(names, loss.nats, strict=True))
    return data


def losses_by_line(
    models: Sequence[TrainedModel],
    text: GivenText | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | None = MAX_SCORED,
) -> Iterator[LineLoss]:
    r"""Yield the loss of each line of a text, for one or several models, in the order of the text.

    It finds the lines that a model does not expect, such as damaged or foreign ones in a corpus,
    and those on which two models differ. A loss is measured by the protocol `stateful`: each
    character is predicted after all that come before it. Lines that the ends of segments cut are
    left out.

    Args:
        models: The models, which read all characters or all bytes. The `excess` of a line is that
            of the first.
        text: The text, in a form that `Model` lists. By default the held-out `part` of the
            text of the runs.
        part: The part of the text of the runs: `validation` or `test`.
        context: What the models read before the text. By default nothing.
        precision: `auto`, `fp32`, `bf16` or `fp16`. `auto` is `bf16` for a model of at least 128
            units that was trained in it, where the processor is fast in it, and else `fp32`.
        max_chars: The largest number of characters that are scored; of a longer text, in segments
            that are spread evenly over it. None: all.

    Returns:
        An iterator over `LineLoss`: the text of a line and its loss by each model, in nats.

    Raises:
        UsageError: There is no model, the held-out texts or the alphabets differ, or a parameter is
            out of range.
        DataError: The text is too short or missing, or a file cannot be read.

    Example:
        >>> lines = charrnn.losses_by_line([model], "abc “xyz”\nzzz\nabc\n")
        >>> max(lines, key=lambda line: line.excess).text
    """
    scored = score_text(
        models, text, part=part, context=context, precision=precision, max_chars=max_chars
    )
    return scored.iter_lines()


def score_text(
    models: Sequence[TrainedModel],
    text: GivenText | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | None = MAX_SCORED,
) -> ScoredText:
    """Measure the losses that `losses_by_line` adds up.

    It is for a command, which wants notes, ends of lists and places beside the lines that
    `losses_by_line` yields.

    The arguments and the exceptions are the same as in `losses_by_line`.
    """
    # A line has as many bytes as characters only in ASCII.
    if len({model.vocab.kind for model in models}) > 1:
        raise UsageError(
            "Some of the runs read characters and some bytes: their lines cannot be listed side by"
            " side."
        )
    if len({model.config.learned_after for model in models}) > 1:
        raise UsageError(
            "Some of the runs learned only what follows some characters (learned_after), and their"
            " losses are of that: their lines cannot be listed side by side."
        )
    # A file is read here, because its lines have their places in it.
    if isinstance(text, os.PathLike) and models:
        text = read_path(text, models[0].config)
    comparison = Comparison.of(
        models, text, part=part, context=context, precision=precision, max_chars=max_chars
    )
    source = text if isinstance(text, Corpus) else None
    return _scored(comparison.runs, source=source, is_given=comparison.part is None)


def score_as_read(
    model: TrainedModel, text: Corpus | CorpusPart | str | bytes, *, context: str | bytes = ""
) -> ScoredText:
    """Measure how likely a model finds the lines, sentences and words of a text as it reads it: a
    character that it reads as a similar one costs no more than that one.

    One needs it to find the sentences that anybody could guess, whatever the form of their
    quotation marks. The text has been read, and `context` is as in `losses_by_line`.

    Raises DataError for a text of less than two characters.
    """
    run = MeasuredRun.of(
        model, text, context=context, precision="auto", max_chars=MAX_SCORED
    ).as_read()
    run.check_stateful()
    source = text if isinstance(text, Corpus) else None
    return _scored([run], source=source, is_given=not isinstance(text, CorpusPart))


def _scored(runs: Sequence[MeasuredRun], *, source: Corpus | None, is_given: bool) -> ScoredText:
    """Measure the losses of some runs over their text. `source` is the file that it was read from,
    and `is_given` says that it is no part of the text of the runs."""
    measured = runs[0]
    model = measured.model
    content = measured.content
    if isinstance(content, str) and model.vocab.kind == "byte":
        content = as_bytes(content)

    # A text of a file has places in it.
    placed: Corpus | CorpusPart | None = source
    if isinstance(content, CorpusPart):
        placed = content

    # A document ends a line, too.
    ends = "\n"
    if model.config.end_id is not None:
        ends += END
    # What follows no such character was not learned, and is not scored.
    learned = None
    if measured.learned_after is not None:
        before = measured.ids[max(0, measured.first - 1) : -1]
        learned = np.isin(before, measured.learned_after)
        if measured.first == 0:
            learned = np.append(False, learned)
    return ScoredText(
        content=content,
        num_chars=measured.num_chars,
        learned=learned,
        first=measured.first,
        source=placed,
        losses=[run.losses for run in runs],
        ends=ends,
        notes_of_runs=tuple(notes_of_runs(runs, is_given=is_given)),
    )


@dataclass(frozen=True, eq=False)
class ScoredText:
    """A text of N characters, and its losses by R models, which all score the same M characters."""

    content: Content
    """The text, which is read in slices: bytes, for the byte alphabet."""
    num_chars: int
    """N."""
    first: int
    """The index in the ids at which the text begins."""
    losses: Sequence[CharLosses]
    """The losses by each run (R,)."""
    source: Corpus | CorpusPart | None = None
    """What finds the places of its characters; None for a text that stands in no file."""
    learned: BoolArray | None = None
    """(N,): the characters that the runs have learned, and that are scored; None: all."""
    ends: str = "\n"
    """The characters that end a line."""
    notes_of_runs: tuple[str, ...] = ()
    """Sentences that a reader of these losses must know."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of these losses must know, and a note on the part of the text
        that is scored, unless the whole text is."""
        # Nothing predicts the first character of a text, which needs no note.
        positions = self.losses[0].positions
        if self.learned is not None:
            if len(positions) >= self.learned.sum():
                return self.notes_of_runs
            scored = (
                f"Scored: {len(positions):,} of {self.learned.sum():,} learned characters, in"
                " segments spread evenly over the text. Lines that they cut are left out."
                f" {named('max_chars', self.num_chars)} scores all."
            )
            return (*self.notes_of_runs, scored)
        if len(positions) >= self.num_chars - 1:
            return self.notes_of_runs
        # A new segment begins where a position is not the successor of the position before.
        num_segments = 1 + int(np.count_nonzero(np.diff(positions) != 1))
        where = f"{counted(num_segments, 'segment')} of {len(positions) // num_segments:,}"
        scored = (
            f"Scored: {len(positions):,} of {self.num_chars:,} characters, in {where}, spread"
            " evenly over the text. Lines that they cut are left out."
            f" {named('max_chars', self.num_chars)} scores all."
        )
        return (*self.notes_of_runs, scored)

    def usual_unit(self) -> str:
        """Return `sentence` for a text in which a line is a paragraph, else `line`."""
        num_lines = sum(1 for _ in self._line_bounds())
        if self.num_chars > PARAGRAPH_CHARS * num_lines:
            return SENTENCE
        return LINE

    def ends_of_list(self, unit: str, *, num: int = NUM_LISTED) -> EndsOfList:
        """Return the `num` least and the `num` most likely lines, sentences or words, for their
        length. Of several that are equal, the first is listed."""
        # Rounded, because processors differ in the last digits. Of equally likely ones, the earlier
        # one comes first.
        losses = [*self.iter_lines(unit)]
        least = _different(sorted(losses, key=lambda loss: -round(loss.excess, 3)))
        most = _different(sorted(losses, key=lambda loss: round(loss.excess, 3)))
        return EndsOfList(
            unit=unit,
            num_units=len(losses),
            lists={"least": least[:num], "most": most[:num]},
            place_unit=self._place_unit(),
        )

    def _place_unit(self) -> str:
        """Return `paragraph` if all places are in documents that pandoc has read, else `line`."""
        if self.source is None:
            return LINE
        corpus = self.source.corpus if isinstance(self.source, CorpusPart) else self.source
        files = corpus.files
        if files and all(file.is_read_by_pandoc for file in files):
            return PARAGRAPH
        return LINE

    def iter_lines(self, unit: str = LINE) -> Iterator[LineLoss]:
        """Yield the loss of each line, sentence or word that was scored from start to end, in the
        order of the text.

        `ends_of_list` sorts what it yields, and keeps a few.

        The first character of a text without context cannot be scored; the line counts as complete
        without it. Lines that are cut by the ends of segments are left out.
        """
        # The usual loss in this text, by the first run.
        nats = self.losses[0].nats
        mean = float(nats.mean(dtype=np.float64))
        spread = float(nats.std(dtype=np.float64))

        # The indices of the scored characters in the text; without context they begin at 1.
        positions = self.losses[0].positions - self.first
        first_scored = int(positions[0] == 1)

        # Lines with a character that was not scored are left out.
        ends = np.fromiter(self._bounds(unit), np.int64)
        begins = np.append(0, ends)[:-1]
        lows = np.searchsorted(positions, begins)
        highs = np.searchsorted(positions, ends)
        num_wanted = ends - np.maximum(begins, first_scored)
        if self.learned is not None:
            num_before = np.append(0, np.cumsum(self.learned))
            num_wanted = num_before[ends] - num_before[begins]
        is_whole = highs - lows == num_wanted
        scored = np.flatnonzero(is_whole & (highs > lows))
        places: list[Place | None] = [None] * len(scored)
        if self.source is not None:
            places = self.source.places(begins[scored])
        line_ends = np.fromiter(self._line_bounds(), np.int64)

        for index, place in zip(scored.tolist(), places, strict=True):
            begin = int(begins[index])
            end = int(ends[index])
            scored_chars = slice(lows[index], highs[index])
            num_chars = int(highs[index] - lows[index])
            sums = tuple(
                float(losses.nats[scored_chars].sum(dtype=np.float64)) for losses in self.losses
            )

            # A file without line ends is one line, which may be very long.
            text = _decoded(self.content[begin : min(end, begin + MAX_LINE_TEXT)])
            if unit != LINE:
                text = text.strip().replace("\n", " ")

            # The lines of a text that stands in no file are counted.
            file = None
            line = 1 + int(np.searchsorted(line_ends, begin, side="right"))
            if place is not None:
                file = place.file
                line = place.line
            yield LineLoss(
                file=file,
                line=line,
                index=begin,
                text=text.rstrip(self.ends),
                num_chars=num_chars,
                nats=sums,
                excess=excess_of(nats=sums[0], num_chars=num_chars, mean=mean, spread=spread),
            )

    def _bounds(self, unit: str) -> Iterator[int]:
        """Yield the index after the last character of each line, sentence or word."""
        if unit == LINE:
            yield from self._line_bounds()
            return

        # A sentence goes over the ends of wrapped lines, and a word over none.
        bounds = self._line_bounds()
        if unit == SENTENCE:
            bounds = self._paragraph_bounds()
        begin = 0
        for end in bounds:
            content = self.content[begin:end]
            ends = sentence_ends(content)
            if unit == WORD:
                # A word ends with the blanks behind it, as a line has its newline.
                ends = _ends_of(r"\s+", content)
            for place in ends:
                if place < end - begin:
                    yield begin + place
            yield end
            begin = end

    def _paragraph_bounds(self) -> Iterator[int]:
        """Yield the index after the last character of each wrapped paragraph, and of each line of
        any other text."""
        # A line that is joined to the next one has lost its end.
        for end, line in join_lines(self._numbered_lines()):
            if end and line.endswith("\n"):
                yield end

    def _numbered_lines(self) -> Iterator[Line]:
        """Yield the lines, each with the index after its last character as its number."""
        begin = 0
        for end in self._line_bounds():
            line = _decoded(self.content[begin:end])
            yield Line(number=end, content=f"{line.rstrip(self.ends)}\n")
            # No paragraph goes over the end of a document: a blank line that is none follows.
            if line.endswith(END):
                yield Line(number=0, content="\n")
            begin = end

    def _line_bounds(self) -> Iterator[int]:
        """Yield the index after the last character of each line."""
        # Block by block: the text may be larger than the memory.
        bound = 0
        for begin in range(0, self.num_chars, BLOCK):
            for end in _ends_of(f"[{self.ends}]", self.content[begin : begin + BLOCK]):
                bound = begin + end
                yield bound

        # The last line may lack its end.
        if bound < self.num_chars:
            yield self.num_chars


def _ends_of(pattern: str, content: str | bytes) -> Iterator[int]:
    """Yield the index after each match of a pattern in characters or bytes."""
    if isinstance(content, str):
        yield from (match.end() for match in re.finditer(pattern, content))
    else:
        yield from (match.end() for match in re.finditer(pattern.encode(), content))


def _different(losses: Sequence[LineLoss]) -> list[LineLoss]:
    """Return the first loss of each text, without blank ones: a name may stand in a text a thousand
    times."""
    first: dict[str, LineLoss] = {}
    for loss in losses:
        if loss.text.strip():
            first.setdefault(loss.text, loss)
    return list(first.values())


def _decoded(text: str | bytes) -> str:
    """Return a line as text; a cut may leave half a character at its end."""
    if isinstance(text, str):
        return text
    return text.decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True)
class EndsOfList:
    """The least and the most likely lines, sentences or words of a text, for their length."""

    unit: str
    """`line`, `sentence` or `word`."""
    num_units: int
    """How many were scored."""
    lists: dict[str, Sequence[LineLoss]]
    """The `least` likely ones, the least likely first, and the `most` likely ones."""
    place_unit: str = LINE
    """What their places count: `line`, or `paragraph` of documents."""

    def view(self, names: Sequence[str]) -> RenderableType:
        """Draw both; `names` are the names of the runs."""
        tables = []
        for words, losses in self.lists.items():
            title = f"The {len(losses)} {words} likely of {self.num_units:,} {self.unit}s"
            table = lines_view(
                losses, title=f"{title}, for their length", names=names, place_unit=self.place_unit
            )
            tables.append(table)
        return Group(*tables)

    def to_json(self, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return both lists for JSON, with the names of files but not their folders."""
        lists: dict[str, list[dict[str, Any]]] = {}
        for words, losses in self.lists.items():
            lists[words] = []
            for loss in losses:
                data = to_json(loss, names)
                if loss.file:
                    data["file"] = os.path.basename(loss.file)
                lists[words].append(data)
        return lists


def lines_view(
    lines: Sequence[LineLoss], *, title: str, names: Sequence[str], place_unit: str = LINE
) -> RenderableType:
    """Draw lines of a text, with the loss of the first run and, for every other run, the difference
    to it."""
    # The lines of several files are told apart.
    files = {line.file for line in lines}
    columns = [place_unit, "excess", "nats/char"]
    columns += [f"{name} − {names[0]}" for name in names[1:]]
    if len(files) > 1:
        columns.insert(0, "file")
    table = plain_table(*columns, "text", right=columns)
    for line in lines:
        first = line.nats[0] / line.num_chars
        cells = [f"{line.line:,}", f"{line.excess:.1f}", f"{first:.2f}"]
        cells += [f"{nats / line.num_chars - first:+.2f}" for nats in line.nats[1:]]
        if len(files) > 1:
            cells.insert(0, all_visible(os.path.basename(line.file or "")))
        # One row for each line, cut at the width of the terminal.
        text = Text(all_visible(line.text), no_wrap=True, overflow="ellipsis")
        table.add_row(*cells, text)
    return Group(Text(title), table)
