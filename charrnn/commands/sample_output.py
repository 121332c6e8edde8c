"""Output of `charrnn sample`: text as it is drawn, coloured, with copies marked, numbered, or
JSON."""

import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

from charrnn.cli.streams import (
    IN_TEXT,
    deliver,
    print_json,
    printable,
    result_console,
    warn,
    write_aside,
)
from charrnn.errors import DataError, counted, shortened
from charrnn.generation.generated_text import GeneratedText
from charrnn.generation.sample_options import (
    SAMPLE_TEMPERATURE,
    Accept,
    SampleOptions,
    SearchOptions,
)
from charrnn.generation.writing import Loop, Piece, find_loop
from charrnn.runs.targets import Target
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import Task, WarningsOnly, current, task, using
from charrnn.text.documents import separator_of
from charrnn.views.delivery import Shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.api import Model
    from charrnn.plugins.reports.provenance import ReferenceText
    from charrnn.trained_model import TextModel

heatmap, tables = LazyModule("charrnn.views.heatmap"), LazyModule("charrnn.views.tables")
provenance = LazyModule("charrnn.plugins.reports.provenance")
provenance_page = LazyModule("charrnn.plugins.reports.provenance_page")
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
ShownText = tuple[str, GeneratedText, dict[str, Any]]
"""The heading of a text, the text, and its object for JSON."""
LOOP_CHARS = 2_000
"""Characters at the end of a text that are searched for a loop."""


@dataclass(kw_only=True, slots=True)
class SampleOutput:
    """Shows the text that one call of `charrnn sample` generates."""

    first: "Model"
    """The run, adapted if --adapt is given."""
    model: "TextModel"
    """The model that generates: `first`, or its mixture with what --mix names."""
    prime: str | bytes | None
    """The text to continue: the typed prime, the content of a file, or the text that the model was
    adapted to, if any."""
    typed: str
    """The prime that was typed; it is printed before the text."""
    length: int
    """Characters to generate."""
    reference_text: "ReferenceText | None"
    """The training text for --trace (`Model.reference_text`), or None."""
    show_as_json: bool
    quiet: bool
    target: Target | None = None
    """The file of --export."""
    fresh_seed: int | None = None
    """Printed on stderr when the first character is drawn; None: nothing is drawn at random, or the
    seed was given."""
    num_cut: int = 0
    """Number of documents that have not ended."""
    drawn_with: SampleOptions | SearchOptions = field(default_factory=SampleOptions)
    """The options of the last drawing, for JSON."""

    def show_text(self, options: SampleOptions) -> None:
        """Print one text as it is drawn."""
        # A document ends its line, even if it is empty, because the next command line begins there.
        with self._drawing(options, is_streamed=True) as options:
            has_end = self.model.config.end_id is not None
            chunks = self.model.generator.write(options)
            end = write(chain([self.typed], _begun(chunks)), ends_line=has_end)
        self._warn_of_loops([end], "a higher --temp, or --temp 1 --top-p 0.95")

    def show_values(self, options: SampleOptions) -> None:
        """Print one text line by line, each once it is drawn, coloured by the cell in `options`, or
        by its surprise."""
        with self._drawing(options, is_streamed=True) as options:
            pieces = _begun(self.model.generator.stream(options))
            write_coloured(
                self.typed, pieces=pieces, polarity=self._polarity(options.cell), quiet=self.quiet
            )

    def _polarity(self, cell: tuple[int, int] | None) -> int | None:
        """Return the polarity with which a cell is drawn; None for the surprise."""
        if cell is None:
            return None
        return self.first.polarity(*cell)

    def export_values(self, options: SampleOptions) -> None:
        """Write one text to the file of --export, coloured by the cell in `options` or by its
        surprise, with the scale."""
        # The whole text, because a file is written at once or not at all.
        with self._drawing(options) as options:
            pieces = list(self.model.generator.stream(options))

        # The same data that --json prints, for a file that ends in .json.
        has_ended = None
        if self.model.config.end_id is not None:
            has_ended = bool(pieces) and not pieces[-1].text  # the last piece is END
        text = "".join(piece.text for piece in pieces)
        logprobs = tuple(piece.logprob for piece in pieces)
        data = self._as_json(
            GeneratedText(text=text, logprobs=logprobs, seed=options.seed, has_ended=has_ended)
        )

        # The prime has no value, and therefore no colour.
        coloured = [Piece(self.typed, logprob=0.0, value=math.nan)]
        if options.cell is None:
            name = "Surprise"
            coloured += _with_surprise(pieces)
        else:
            layer, unit = options.cell
            name = f"Cell {layer}:{unit}"
            coloured += pieces
            data["values"] = [piece.value for piece in pieces]

        pictures = coloured_pictures(coloured, self._polarity(options.cell))
        deliver(
            Shown(f"{name} in a text of {self.model.name}", pictures=pictures, data=data),
            self.target,
        )

    def show_samples(
        self,
        count: int,
        options: SampleOptions,
        *,
        unique: bool = False,
        accept: Accept | None = None,
    ) -> None:
        """Print or export several texts: as JSON objects, or separated like the documents of a
        file.

        With `unique` or `accept`, a line on stderr says how many texts were drawn.
        """
        generator = self.model.generator
        num_drawn = 0

        def count_drawn(text: str) -> bool:
            nonlocal num_drawn
            num_drawn += 1
            return accept is None or accept(text)

        is_chosen = unique or accept is not None
        counting = count_drawn if is_chosen else None

        # Each text as it is drawn, and each object once its text is whole.
        with self._drawing(options, count, is_streamed=True) as options:
            if self.show_as_json or self.target is not None:
                texts = generator.iter_samples(
                    count,
                    options,
                    unique=unique,
                    accept=counting,
                )
                self._show_each(
                    (separator(self.model, index=index, count=count), text, self._as_json(text))
                    for index, text in enumerate(texts)
                )
            else:
                texts_in_chunks = generator.write_each(
                    count,
                    options,
                    unique=unique,
                    accept=counting,
                )
                for index, chunks in enumerate(texts_in_chunks):
                    before = [separator(self.model, index=index, count=count), self.typed]
                    write(
                        chain(before, _begun(chunks)),
                        ends_line=self.model.config.end_id is not None,
                    )
        if is_chosen and not self.quiet:
            write_aside(f"{count:,} of {counted(num_drawn, 'drawn text')}")

    def show_temperatures(self, temperatures: Sequence[float], options: SampleOptions) -> None:
        """Print or export a text for each temperature: as JSON objects, or each after its
        heading."""
        # All have the same seed: they differ by their temperature alone.
        with self._drawing(options, len(temperatures), is_streamed=True) as options:

            def shown() -> Iterator[ShownText]:
                for index, temperature in enumerate(temperatures):
                    # Whether the end of a text counts as a loop depends on its own temperature.
                    drawing = replace(options, temperature=temperature)
                    self.drawn_with = drawing
                    text = self.model.generator.sample(drawing)
                    heading = _heading(index, f"temperature {temperature:g}")
                    yield heading, text, self._as_json(text)

            self._show_each(shown())

    def show_provenance(self, options: SampleOptions) -> None:
        """Print or export one text with its provenance."""
        with self._drawing(options) as options:
            text = self.model.generator.sample(options)
        self._write_provenance(text, options)

    def show_known_documents(self, count: int, options: SampleOptions, *, is_new: Accept) -> None:
        """Print several documents and, on stderr, how many of them are not new, and which."""
        known = []

        def accept(text: str) -> bool:
            if not is_new(text):
                known.append(text)
            return True

        # Known documents are shown, too: the figure is their share of what the model writes.
        self.show_samples(count, options, accept=accept)
        figure = f"{len(known):,} of {counted(count, 'document')} in the text of {self.first.name}"
        if known:
            shown = [shortened(text, MAX_SHOWN_CHARS) for text in dict.fromkeys(known)]
            figure += ": " + ", ".join(shown)
        sys.stdout.flush()
        result_console(stderr=True).print(printable(figure, IN_TEXT), markup=False)

    def show_search(self, count: int, options: SearchOptions) -> None:
        """Print or export the `count` best texts of a beam search, numbered, best first; a single
        text is printed as far as it is certain."""
        # The text that all beams have in common is certain, and can be shown while the search goes
        # on.
        is_shown_whole = (
            self.show_as_json or self.reference_text is not None or self.target is not None
        )
        is_streamed = count == 1 and not is_shown_whole
        with self._drawing(options, is_streamed=is_streamed) as options:
            search = self.model.generator.search(options)
            if is_streamed:
                write(chain([self.typed], _begun(search)))
            else:
                deque(search, maxlen=0)  # The search has its texts once it is read to the end.

        # Beams are complete only now: as copies, as JSON, or numbered.
        texts = search.texts[:count]
        self._warn_of_cuts(sum(text.has_ended is False and not text.stop for text in texts))
        if self.reference_text is not None:
            self._write_provenance(texts[0], options)
        elif self.show_as_json:
            names = ("text", "logprob", "stop", "logprobs")
            beams = [
                {name: getattr(text, name) for name in names} | self._details(text)
                for text in texts
            ]
            print_json(self._as_json(texts[0], beams=beams))
        elif not is_streamed:
            headings = [
                _heading(i, f"{i + 1} of {len(texts)}: log-probability {text.logprob:.2f} nats")
                for i, text in enumerate(texts)
            ]
            if count == 1:
                headings = [""]
            self._show_each(zip(headings, texts, map(self._as_json, texts), strict=True))

        # Likely texts repeat themselves. Beside a pattern --no-repeat is refused (`RULES`).
        remedy = f"--temp {SAMPLE_TEMPERATURE}"
        if options.match is None:
            remedy = f"--no-repeat 20, or {remedy}"
        self._warn_of_loops([text.text for text in texts], remedy)

    def _show_each(self, shown: Iterable[ShownText]) -> None:
        """Print each text after its heading, or with --json its object; or write all to the file of
        --export."""
        pictures = []
        records = []
        for heading, text, record in shown:
            if self.show_as_json:
                print_json(record)
            elif self.target is None:
                write([heading, self.typed, text.text])
            else:
                whole = printable(heading + self.typed + text.text, IN_TEXT)
                pictures.append(whole.removesuffix("\n"))  # each picture ends its line
                records.append(record)
        if self.target is not None:
            deliver(
                Shown(f"Texts of {self.model.name}", pictures=pictures, data=records), self.target
            )

    def count_cut(self) -> None:
        """Count a document that was cut before its END; the number is printed on stderr at the
        end."""
        self.num_cut += 1

    @contextmanager
    def _drawing(
        self, options: Options, num_texts: int = 1, *, is_streamed: bool = False
    ) -> Iterator[Options]:
        """Yield options with which drawing prints a new seed and moves a bar.

        There is no bar for short texts. Beside texts that appear on the terminal as they are drawn
        there is neither a bar nor, from the first character on, any other line of progress.
        """
        self.drawn_with = options
        num_chars = num_texts * options.length

        # A search computes each character once for every beam.
        num_computed = num_chars
        if isinstance(options, SearchOptions):
            num_computed *= options.width
        # A bar beside text that appears would move the text.
        is_beside_text = is_streamed and sys.stdout.isatty()
        with ExitStack() as stack:
            advance = Task("writing")
            if num_computed > LONG and not is_beside_text:
                advance = stack.enter_context(task("writing", num_chars))

            # The seed comes before the first character, so that an interrupted text can be drawn
            # again.
            def on_draw(num_drawn: int) -> None:
                nonlocal is_beside_text
                self._say_seed()
                if is_beside_text:
                    stack.enter_context(using(WarningsOnly(current())))
                    is_beside_text = False
                advance(num_drawn)

            yield replace(options, on_draw=on_draw)
        self._warn_of_cuts(self.num_cut)

    def _say_seed(self) -> None:
        """Print a new seed, once."""
        if self.fresh_seed is not None and not self.quiet:
            write_aside(f"seed {self.fresh_seed}")
        self.fresh_seed = None

    def _warn_of_cuts(self, num_cut: int) -> None:
        if num_cut:
            were = "documents were"
            if num_cut == 1:
                were = "document was"
            warn(
                (f"{num_cut:,} {were} cut before the end: give a larger --length",),
                quiet=self.quiet,
            )

    def _write_provenance(
        self, text: GeneratedText, options: SampleOptions | SearchOptions
    ) -> None:
        """Print or export the typed prime, and the text with its provenance."""
        # The prime is not looked for, because it is the user's own text.
        assert self.reference_text is not None, "--trace loads the training text"
        if not text.text:
            raise DataError("The text is empty, so nothing can be traced: draw another one.")
        found = provenance.trace_text(
            self.model,
            text.text,
            reference_text=self.reference_text,
            prime=options.prime,
            unknown=options.unknown,
            clamps=options.clamps,
        )
        if self.show_as_json:
            print_json(self._as_json(text) | {"provenance": found.to_json()})
            return

        # A pipe gets the text without the marks, which are for a terminal.
        if self.target is None and not sys.stdout.isatty():
            write([self.typed, text.text])
            sys.stdout.flush()
            for figure in found.figures():
                result_console(stderr=True).print(figure)
        else:
            title = f"Provenance of a text of {self.first.name}"
            shown = provenance_page.shown(
                found, self.reference_text, title=title, sample=self._as_json(text)
            )
            deliver(shown, self.target)

        # Nothing is marked in such a short text, so all of it would seem to be new.
        if len(found.text) < found.min_length:
            has = f"the text has {counted(len(found.text), 'character')}"
            need = f"passages of {found.min_length} or more count: give a larger --length"
            warn((f"{has}, and {need}",), quiet=self.quiet)

    def _warn_of_loops(self, texts: Sequence[str], remedy: str) -> None:
        """Warn if texts end in a loop, with the number of such texts and the remedy."""
        ends = map(self._loop_at_end, texts)
        loops = [loop for loop in ends if loop is not None]
        if not loops:
            return

        repeats = f"{counted(loops[0].period, 'character')}, {loops[0].repeats} times in a row"
        problem = f"the text ends in a loop: {repeats}"
        if len(texts) > 1:
            problem = f"{len(loops)} of {len(texts)} texts end in a loop, such as {repeats}"
        why = f"The most likely texts of character models do that; try {remedy}."
        warn((f"{problem}. {why}",), quiet=self.quiet)

    def _loop_at_end(self, text: str) -> Loop | None:
        """Return the loop in which a text ends, or None. In a text that was drawn at random, blanks
        and rows of dashes do not count as loops."""
        # Only the end matters: a loop that a text has left is no reason to worry.
        end = text[-LOOP_CHARS:]
        loop = find_loop(end)
        if loop is None:
            return None

        # Indentations and rules are usual in code. But the most likely text repeats them for
        # another reason, and a text of blanks alone shows nothing.
        repeated = end[: len(end) - loop.after][-loop.period :]
        is_random = isinstance(self.drawn_with, SampleOptions) and self.drawn_with.temperature > 0
        if is_random and end.strip() and not any(map(str.isalnum, repeated)):
            return None
        return loop

    def _as_json(self, text: GeneratedText, **beams: object) -> dict[str, object]:
        """Return the object of `sample --json`; the object of a search has its `beams` instead of
        details of the best text."""
        # The text, and the values that draw it again.
        data = {
            "run": self.model.name,
            "text": text.text,
            "prime": _decoded(self.prime),
            "seed": text.seed,
        }

        # A search has no temperature, and not every text has a pattern to match.
        options: dict[str, object] = {"length": self.drawn_with.length}
        for name in ("temperature", "match"):
            value = getattr(self.drawn_with, name, None)
            if value is not None:
                options[name] = value

        details = beams
        if not beams:
            details = {"logprobs": text.logprobs, **self._details(text)}
        return {**data, **options, "logprob": text.logprob, **details, **self.model.origin()}

    def _details(self, text: GeneratedText) -> dict[str, object]:
        """Return for JSON how the text ends: whether a document has ended, nothing without
        documents, and the loop in which the text ends."""
        details: dict[str, object] = {}
        if text.has_ended is not None:
            details["has_ended"] = text.has_ended

        details["loop"] = None
        loop = self._loop_at_end(text.text)
        if loop is not None:
            details["loop"] = asdict(loop)
        return details


def _decoded(prime: str | bytes | None) -> str | None:
    if isinstance(prime, bytes):
        return prime.decode("utf-8", "replace")
    return prime


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


def separator(model: "TextModel", index: int, count: int) -> str:
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


def write_coloured(
    prime: str, pieces: Iterable[Piece], *, polarity: int | None, quiet: bool = False
) -> None:
    """Write the prime, and the text after it line by line, coloured by the values of a cell or,
    without a polarity, by surprise in bits.

    A line appears as a whole, because it is broken between words and, without colours, has a row of
    blocks below it. The prime has no colours. Off a terminal the text is written without colours.
    """
    console = result_console()
    if not console.is_terminal:
        write(chain([prime], (piece.text for piece in pieces)))
        where = "a terminal, where FORCE_COLOR=1 is set, or in a file: --export FILE.html"
        warn((f"--color shows colours on {where}",), quiet=quiet)
        return

    # The usual scale of a cell needs no explanation.
    if polarity != 1:
        console.print(*_scale_pictures(polarity), sep="\n")
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
    return [*_scale_pictures(polarity), picture]


def _scale_pictures(polarity: int | None) -> "list[RenderableType]":
    if polarity is None:
        return [heatmap.SURPRISE_LEGEND]
    return [*heatmap.scale_pictures(theme.scale_of((), polarity))]


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
