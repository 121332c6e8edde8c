"""Output of `charrnn sample`: text as it is drawn, coloured, with copies marked, numbered, or
JSON."""

import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, asdict, dataclass, fields, replace
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from charrnn.cli.streams import IN_TEXT, deliver, print_json, printable, result_console
from charrnn.errors import DataError, counted, shortened
from charrnn.generation.generated_text import GeneratedText
from charrnn.generation.sample_options import (
    SAMPLE_TEMPERATURE,
    Accept,
    SampleOptions,
    SearchOptions,
    TextOptions,
)
from charrnn.generation.writing import Loop, Piece, find_loop
from charrnn.runs.targets import Target
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import Task, WarningsOnly, current, task, tell, using, warn
from charrnn.text.documents import separator_of
from charrnn.views.delivery import Shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.api import Model
    from charrnn.reports.provenance import ReferenceText

heatmap, tables = LazyModule("charrnn.views.heatmap"), LazyModule("charrnn.views.tables")
provenance = LazyModule("charrnn.reports.provenance")
theme = LazyModule("charrnn.views.theme")
records = LazyModule("charrnn.cells.findings")
Options = TypeVar("Options", SampleOptions, SearchOptions)
Part = TypeVar("Part")
"""A stretch of a text: some characters, or a piece with the value of a cell."""
LONG = 10_000
"""A longer text may have a progress bar, because it may take a second or more."""
MAX_SHOWN_CHARS = 60
"""Characters that are shown of a document which is not new."""
MAX_LINE_ROWS = 50
"""Rows of a terminal after which a coloured line is printed, even if it continues."""
ShownText = tuple[str, GeneratedText, SampleOptions | SearchOptions]
"""The heading of a text, the text, and the options that it was generated with."""
LOOP_CHARS = 2_000
"""Characters at the end of a text that are searched for a loop."""


@dataclass(frozen=True, kw_only=True)
class Writing:
    """What every output of `charrnn sample` needs: who writes, how, and where the text goes."""

    model: "Model"
    """The model that generates."""
    drawing: SampleOptions
    """How the first text is drawn, and what it continues."""
    typed: str
    """The prime that was typed; it is printed before the text."""
    reference_text: "ReferenceText | None"
    """The training text for --trace (`Model.reference_text`), or None."""
    show_as_json: bool
    target: Target | None
    """The file of --export."""
    says_seed: bool
    """Whether the seed of `drawing` is new, and printed on stderr before the first character."""

    @property
    def is_whole(self) -> bool:
        """Whether a text is shown only once all of it is drawn."""
        return self.show_as_json or self.target is not None

    def polarity(self) -> int | None:
        """Return the polarity with which the cell is drawn; None for the surprise."""
        if self.drawing.cell is None:
            return None
        return self.model.polarity(*self.drawing.cell)


class Output(Protocol):
    """What `charrnn sample` shows: one class for each output."""

    def show(self, writing: Writing) -> None:
        """Generate the text or the texts, and print or export them."""


@dataclass(frozen=True)
class Texts:
    """One text or several: as they are drawn, separated like the documents of a file, or as JSON
    objects."""

    count: int
    _: KW_ONLY
    unique: bool = False
    accept: Accept | None = None
    likely_first: bool = False

    def show(self, writing: Writing) -> None:
        """Print or export the texts. With `unique` or `accept`, a line on stderr says how many
        texts were drawn."""
        count = self.count
        generator = writing.model.generator
        num_drawn = 0

        def accept(text: str) -> bool:
            nonlocal num_drawn
            num_drawn += 1
            return self.accept is None or self.accept(text)

        is_chosen = self.unique or self.accept is not None
        counting = accept if is_chosen else None

        # Each text as it is drawn, and each object once its text is whole.
        end = ""
        with _progress(writing, writing.drawing, count, is_streamed=True) as options:
            if writing.is_whole or self.likely_first:
                texts = generator.iter_samples(count, options, unique=self.unique, accept=counting)
                if self.likely_first:
                    texts = iter(sorted(texts, key=lambda text: -text.logprob))
                _show_each(
                    writing,
                    (
                        (separator(writing.model, index=index, count=count), text, options)
                        for index, text in enumerate(texts)
                    ),
                )
            else:
                texts_in_chunks = generator.write_each(
                    count, options, unique=self.unique, accept=counting
                )
                for index, chunks in enumerate(texts_in_chunks):
                    before = [separator(writing.model, index=index, count=count), writing.typed]
                    # A document ends its line, even if it is empty, because the next command line
                    # begins there.
                    end = write(
                        chain(before, _begun(chunks)),
                        ends_line=writing.model.config.end_id is not None,
                    )
        if count == 1:
            remedy = "a higher --temp, or --temp 1 --top-p 0.95"
            _warn_of_loops(writing, [end], options=writing.drawing, remedy=remedy)
        if is_chosen:
            tell(f"{count:,} of {counted(num_drawn, 'drawn text')}")


@dataclass(frozen=True)
class KnownDocuments:
    """Several documents, and how many of them are not new."""

    count: int
    is_new: Accept

    def show(self, writing: Writing) -> None:
        """Print the documents and, on stderr, how many of them are not new, and which."""
        known = []

        def accept(text: str) -> bool:
            if not self.is_new(text):
                known.append(text)
            return True

        # Known documents are shown, too: the figure is their share of what the model writes.
        Texts(self.count, accept=accept).show(writing)
        documents = counted(self.count, "document")
        figure = f"{len(known):,} of {documents} in the text of {writing.model.name}"
        if known:
            shown = [shortened(text, MAX_SHOWN_CHARS) for text in dict.fromkeys(known)]
            figure += ": " + ", ".join(shown)
        sys.stdout.flush()
        result_console(stderr=True).print(printable(figure, IN_TEXT), markup=False)


@dataclass(frozen=True)
class Temperatures:
    """A text for each temperature, as JSON objects, or each after its heading."""

    temperatures: Sequence[float]

    def show(self, writing: Writing) -> None:
        """Print or export the texts."""
        # All have the same seed: they differ by their temperature alone.
        temperatures = self.temperatures
        with _progress(writing, writing.drawing, len(temperatures), is_streamed=True) as options:

            def shown() -> Iterator[ShownText]:
                for index, temperature in enumerate(temperatures):
                    drawing = replace(options, temperature=temperature)
                    text = writing.model.generator.sample(drawing)
                    yield _heading(index, f"temperature {temperature:g}"), text, drawing

            _show_each(writing, shown())


@dataclass(frozen=True)
class ColouredText:
    """A text line by line, each once it is drawn, coloured by a cell or by its surprise."""

    def show(self, writing: Writing) -> None:
        """Print the text."""
        with _progress(writing, writing.drawing, is_streamed=True) as options:
            pieces = _begun(writing.model.generator.stream(options))
            write_coloured(writing.typed, pieces=pieces, polarity=writing.polarity())


@dataclass(frozen=True)
class ColouredWhole:
    """A text in the file of --export, coloured by a cell or by its surprise, with the scale; or its
    object with a number for each character."""

    def show(self, writing: Writing) -> None:
        """Write the file, or print the object."""
        # The whole text, because a file is written at once or not at all.
        with _progress(writing, writing.drawing) as options:
            pieces = list(writing.model.generator.stream(options))

        has_ended = None
        if writing.model.config.end_id is not None:
            has_ended = bool(pieces) and not pieces[-1].text  # the last piece is END
        text = "".join(piece.text for piece in pieces)
        logprobs = tuple(piece.logprob for piece in pieces)
        data = _as_json(
            writing,
            GeneratedText(text=text, logprobs=logprobs, seed=options.seed, has_ended=has_ended),
            options=options,
        )
        data["logprobs"] = logprobs
        if options.cell is not None:
            data["values"] = [piece.value for piece in pieces]
        if writing.show_as_json:
            print_json(data)
            return

        # The prime has no value, and therefore no colour.
        coloured = [Piece(writing.typed, logprob=0.0, value=math.nan)]
        if options.cell is None:
            name = "Surprise"
            coloured += _with_surprise(pieces)
        else:
            layer, unit = options.cell
            name = f"Cell {layer}:{unit}"
            coloured += pieces
        pictures = coloured_pictures(coloured, writing.polarity())
        title = f"{name} in a text of {writing.model.name}"
        deliver(Shown(title, pictures=pictures, data=data), writing.target)


@dataclass(frozen=True)
class TracedText:
    """A text with its provenance."""

    def show(self, writing: Writing) -> None:
        """Print or export the text."""
        with _progress(writing, writing.drawing) as options:
            text = writing.model.generator.sample(options)
        _show_provenance(writing, text, options=options)


@dataclass(frozen=True)
class Beams:
    """The best texts of a beam search, numbered, best first; a single text is printed as far as it
    is certain."""

    width: int
    no_repeat: int | None
    _: KW_ONLY
    count: int
    """Number of texts that are shown."""

    def show(self, writing: Writing) -> None:
        """Print or export the texts."""
        # A search shares the options of `TextOptions` with drawing: it has no temperature.
        shared = {each.name: getattr(writing.drawing, each.name) for each in fields(TextOptions)}
        searching = SearchOptions(**shared, width=self.width, no_repeat=self.no_repeat)

        # The text that all beams have in common is certain, and can be shown while the search goes
        # on.
        is_traced = writing.reference_text is not None
        is_streamed = self.count == 1 and not (writing.is_whole or is_traced)
        with _progress(writing, searching, is_streamed=is_streamed) as options:
            search = writing.model.generator.search(options)
            if is_streamed:
                write(chain([writing.typed], _begun(search)))
            else:
                deque(search, maxlen=0)  # The search has its texts once it is read to the end.

        # Beams are complete only now: as copies, as JSON, or numbered.
        texts = search.texts[: self.count]
        num_cut = sum(text.has_ended is False and not text.stop for text in texts)
        _warn_of_cuts(num_cut)
        if is_traced:
            _show_provenance(writing, texts[0], options=options)
        elif not is_streamed:
            headings = [
                _heading(i, f"{i + 1} of {len(texts)}: log-probability {text.logprob:.2f} nats")
                for i, text in enumerate(texts)
            ]
            if self.count == 1:
                headings = [""]
            _show_each(writing, zip(headings, texts, repeat(options), strict=False))

        # Likely texts repeat themselves. Beside a pattern --no-repeat is refused (`RULES`).
        remedy = f"--temp {SAMPLE_TEMPERATURE}"
        if options.match is None:
            remedy = f"--no-repeat 20, or {remedy}"
        _warn_of_loops(writing, [text.text for text in texts], options=options, remedy=remedy)


def _show_each(writing: Writing, shown: Iterable[ShownText]) -> None:
    """Print each text after its heading, or with --json its object; or write all to the file of
    --export."""
    pictures = []
    records = []
    rows = []
    for heading, text, options in shown:
        if not writing.is_whole:
            write([heading, writing.typed, text.text])
            continue
        record = _as_json(writing, text, options=options)
        if writing.show_as_json:
            print_json(record)
        else:
            whole = printable(heading + writing.typed + text.text, IN_TEXT)
            pictures.append(whole.removesuffix("\n"))  # each picture ends its line
            records.append(record)
            rows.append({name: record[name] for name in ("text", "logprob", "logprob_per_char")})
    if writing.target is not None:
        title = f"Texts of {writing.model.name}"
        deliver(Shown(title, pictures=pictures, data=records, rows=rows), writing.target)


@contextmanager
def _progress(
    writing: Writing, options: Options, num_texts: int = 1, *, is_streamed: bool = False
) -> Iterator[Options]:
    """Yield options with which drawing prints a new seed, moves a bar, and counts the documents
    that are cut before their END.

    There is no bar for short texts. Beside texts that appear on the terminal as they are drawn
    there is neither a bar nor, from the first character on, any other line of progress.
    """
    num_chars = num_texts * options.length
    # A search computes each character once for every beam.
    num_computed = num_chars
    if isinstance(options, SearchOptions):
        num_computed *= options.width
    # A bar beside text that appears would move the text.
    is_beside_text = is_streamed and sys.stdout.isatty()
    has_begun = False
    num_cut = 0
    with ExitStack() as stack:
        advance = Task("writing")
        if num_computed > LONG and not is_beside_text:
            advance = stack.enter_context(task("writing", num_chars))

        # The seed comes before the first character, so that an interrupted text can be drawn again.
        def on_draw(num_drawn: int) -> None:
            nonlocal has_begun
            if not has_begun and writing.says_seed:
                tell(f"seed {options.seed}")
            if not has_begun and is_beside_text:
                stack.enter_context(using(WarningsOnly(current())))
            has_begun = True
            advance(num_drawn)

        def on_cut() -> None:
            nonlocal num_cut
            num_cut += 1

        # The texts of a search are counted once it is known which of them are shown.
        callbacks: dict[str, Any] = {"on_draw": on_draw}
        if not isinstance(options, SearchOptions):
            callbacks["on_cut"] = on_cut
        yield replace(options, **callbacks)
    _warn_of_cuts(num_cut)


def _warn_of_cuts(num_cut: int) -> None:
    if num_cut:
        cut = counted(num_cut, "document")
        warn(f"{cut} cut before the end: give a larger --length")


def _show_provenance(
    writing: Writing, text: GeneratedText, options: SampleOptions | SearchOptions
) -> None:
    """Print or export the typed prime, and the text with its provenance."""
    # The prime is not looked for, because it is the user's own text.
    assert writing.reference_text is not None, "--trace loads the training text"
    if not text.text:
        raise DataError("The text is empty, so nothing can be traced: draw another one.")
    found = provenance.trace_text(text.text, reference_text=writing.reference_text)
    data = _as_json(writing, text, options=options) | {"provenance": found.to_json()}
    if writing.show_as_json:
        print_json(data)
        return

    # A pipe gets the text without the marks, which are for a terminal.
    if writing.target is None and not sys.stdout.isatty():
        write([writing.typed, text.text])
        sys.stdout.flush()
        for figure in found.figures():
            result_console(stderr=True).print(figure)
    else:
        title = f"Provenance of a text of {writing.model.name}"
        deliver(Shown(title, pictures=found.view(), data=data), writing.target)

    # Nothing is marked in such a short text, so all of it would seem to be new.
    if len(found.text) < found.min_length:
        has = f"the text has {counted(len(found.text), 'character')}"
        need = f"passages of {found.min_length} or more count: give a larger --length"
        warn(f"{has}, and {need}")


def _warn_of_loops(
    writing: Writing, texts: Sequence[str], options: SampleOptions | SearchOptions, remedy: str
) -> None:
    """Warn if texts end in a loop, with the number of such texts and the remedy."""
    ends = [_loop_at_end(text, options) for text in texts]
    loops = [loop for loop in ends if loop is not None]
    if not loops:
        return

    repeats = f"{counted(loops[0].period, 'character')}, {loops[0].repeats} times in a row"
    problem = f"the text ends in a loop: {repeats}"
    if len(texts) > 1:
        problem = f"{len(loops)} of {len(texts)} texts end in a loop, such as {repeats}"
    why = f"The most likely texts of character models do that; try {remedy}."
    warn(f"{problem}. {why}")


def _loop_at_end(text: str, options: SampleOptions | SearchOptions) -> Loop | None:
    """Return the loop in which a text ends, or None. In a text that was drawn at random, blanks and
    rows of dashes do not count as loops."""
    # Only the end matters: a loop that a text has left is no reason to worry.
    end = text[-LOOP_CHARS:]
    loop = find_loop(end)
    if loop is None:
        return None

    # Indentations and rules are usual in code. But the most likely text repeats them for another
    # reason, and a text of blanks alone shows nothing.
    repeated = end[: len(end) - loop.after][-loop.period :]
    is_random = isinstance(options, SampleOptions) and options.temperature > 0
    if is_random and end.strip() and not any(map(str.isalnum, repeated)):
        return None
    return loop


def _as_json(
    writing: Writing, text: GeneratedText, options: SampleOptions | SearchOptions
) -> dict[str, object]:
    """Return the object of `sample --json`."""
    # The text, and the values that draw it again.
    data: dict[str, object] = {"run": writing.model.name, "text": text.text}
    data["prime"] = options.prime_text
    if isinstance(options.prime_text, bytes):
        data["prime"] = options.prime_text.decode("utf-8", "replace")
    data |= {"seed": text.seed, "length": options.length}

    # A search has no temperature, and not every text has a pattern to match.
    for name in ("temperature", "match"):
        value = getattr(options, name, None)
        if value is not None:
            data[name] = value

    # With its END, a document has one more log-probability than characters.
    data["logprob"] = text.logprob
    data["logprob_per_char"] = text.logprob / max(1, len(text.logprobs))
    if text.stop:
        data["stop"] = text.stop
    if text.has_ended is not None:
        data["has_ended"] = text.has_ended
    data["loop"] = None
    loop = _loop_at_end(text.text, options)
    if loop is not None:
        data["loop"] = asdict(loop)
    return data


def _begun(stretches: Iterable[Part]) -> Iterator[Part]:
    """Return the stretches of a text once the first is drawn: the messages on stderr then come
    before the prime."""
    # Drawing the first stretch prints the seed, and the warnings about the prime.
    iterator = iter(stretches)
    return chain(list(islice(iterator, 1)), iterator)


def _heading(index: int, name: str) -> str:
    heading = f"--- {name} ---\n"
    if index > 0:
        heading = "\n" + heading
    return heading


def separator(model: "Model", index: int, count: int) -> str:
    """Return the separator before text `index` of `count`, which is the separator of such documents
    in a file.

    Documents without a newline follow each other, one per line. Files and values of a column may
    contain any line, so they get a heading. All other texts are separated by a blank line.
    """
    # Without a separator, the output can be trained on again.
    if separator_of(model.config, model.vocab) == "\n":
        return ""
    if model.config.documents in ("files", "column"):
        if count == 1:
            return ""
        return f"--- {index + 1} of {count} ---\n"
    if index == 0:
        return ""
    return "\n"


def write(chunks: Iterable[str], *, ends_line: bool = False) -> str:
    """Write a text and a final newline to stdout, so that the same seed gives the same bytes
    everywhere.

    An empty text has none, unless it `ends_line`. On a terminal, control characters are escaped and
    each chunk is shown at once. Return the end of the text.
    """
    # Only the end of the text is kept, to look for a loop: the text may be larger than the memory.
    end = ""
    is_terminal = sys.stdout.isatty()
    for chunk in whole_line_ends(chunks):
        if is_terminal:
            sys.stdout.write(printable(chunk, IN_TEXT))
            sys.stdout.flush()
        else:
            sys.stdout.write(chunk)
        end = (end + chunk)[-LOOP_CHARS:]
    if (end or ends_line) and not end.endswith("\n"):
        sys.stdout.write("\n")
    return end


def whole_line_ends(chunks: Iterable[str]) -> Iterator[str]:
    """Yield a text in chunks that do not end between a carriage return and a newline."""
    # Each chunk is made printable on its own, so that a terminal would get two line ends.
    carriage_return = ""
    for chunk in chunks:
        text = carriage_return + chunk
        carriage_return = ""
        if text.endswith("\r"):
            carriage_return = "\r"
        yield text.removesuffix("\r")
    if carriage_return:
        yield carriage_return


def write_coloured(prime: str, pieces: Iterable[Piece], *, polarity: int | None) -> None:
    """Write the prime, and the text after it line by line, coloured by the values of a cell or,
    without a polarity, by surprise in bits.

    A line appears as a whole, because it is broken between words and, without colours, has a row of
    blocks below it. The prime has no colours. Off a terminal the text is written without colours.
    """
    console = result_console()
    if not console.is_terminal:
        write(chain([prime], (piece.text for piece in pieces)))
        where = "a terminal, where FORCE_COLOR=1 is set, or in a file: --export FILE.html"
        warn(f"--color shows colours on {where}")
        return

    # The usual scale of a cell needs no explanation.
    if polarity != 1:
        console.print(*coloured_pictures((), polarity)[:-1], sep="\n")
    if polarity is None:
        pieces = _with_surprise(pieces)

    # The prime has no value, and therefore no colour.
    with_prime = chain([Piece(prime, logprob=0.0, value=math.nan)], pieces)
    for line in _lines_of(with_prime, MAX_LINE_ROWS * console.width):
        console.print(coloured_pictures(line, polarity)[-1], end="")
        sys.stdout.flush()


def coloured_pictures(pieces: Sequence[Piece], polarity: int | None) -> "list[RenderableType]":
    """Draw the scale and a text, coloured by the values of its pieces: of a cell or, without a
    polarity, of surprise in bits."""
    text = "".join(piece.text for piece in pieces)
    values = tuple(piece.value for piece in pieces for _ in piece.text)
    picture = heatmap.surprise_map(text, values)
    if polarity is not None:
        coloured = records.ColouredText(text=text, values=values)
        picture = heatmap.HeatMap(coloured, theme.scale_of((), polarity))
    return [*picture.legend(), picture]


def _with_surprise(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the pieces that have text with their surprise in bits as value. The surprise of a
    character is the sum over its bytes."""
    # The bytes of a character are drawn one by one, and have no text until it is whole.
    bits = 0.0
    for piece in pieces:
        bits -= piece.logprob / math.log(2)
        if piece.text:
            yield piece._replace(value=bits)
            bits = 0.0


def _lines_of(pieces: Iterable[Piece], max_length: int) -> Iterator[list[Piece]]:
    # A text without newlines would otherwise appear only at its end.
    line: list[Piece] = []
    for piece in pieces:
        line.append(piece)
        if piece.text.endswith("\n") or len(line) == max_length:
            yield line
            line = []
    if line:
        yield line
