"""Output of `charrnn sample`: text as it is drawn, coloured, with copies marked, numbered, or
JSON."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from charrnn.cli.streams import IN_TEXT, deliver, print_json, printable, result_console
from charrnn.commands.sample_options import SampleCommandOptions
from charrnn.errors import counted, named, shortened
from charrnn.generation.generated_text import DeadEnd, GeneratedText, sorted_by_excess
from charrnn.generation.generator import beginning_of
from charrnn.generation.sample_options import SampleOptions, SearchOptions, SeveralOptions
from charrnn.generation.sampling import BegunText, place_of
from charrnn.generation.writing import Loop, Piece, find_loop, text_of
from charrnn.runs.targets import Target
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import Progress, current, tell, using, warn
from charrnn.text.documents import separator_of
from charrnn.views.delivery import Shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.api import Model

heatmap, theme = LazyModule("charrnn.views.heatmap"), LazyModule("charrnn.views.theme")
provenance = LazyModule("charrnn.reports.provenance")
findings = LazyModule("charrnn.cells.findings")
MAX_SHOWN_CHARS = 60
"""Characters that are shown of a document which is not new."""
MAX_LINE_ROWS = 50
"""Rows of a terminal after which a coloured line is printed, even if it continues."""
LOOP_CHARS = 2_000
"""Characters at the end of a text that are searched for a loop."""
ShownText = tuple[str, BegunText | GeneratedText, SampleOptions]
"""The heading of a text, the text, and the options that it was generated with."""


@dataclass(frozen=True, kw_only=True)
class SampleView:
    """Shows the texts of `charrnn sample` on stdout, or writes them to the file of --export."""

    model: "Model"
    """The model that generates."""
    options: SampleCommandOptions
    """What was asked for."""
    drawing: SampleOptions
    """How the first text is drawn, and what it continues."""
    temperatures: Sequence[float]
    """The temperatures of --temp."""
    typed: str
    """The prime that was typed; it is printed before the text."""
    target: Target | None
    """The file of --export."""

    def show(self) -> None:
        """Show the text or the texts that were asked for."""
        options = self.options
        is_searched = options.width is not None

        # A new seed is named before anything is drawn, so that an interrupted text can be drawn
        # again. At temperature 0 nothing is random, and a search draws nothing.
        if options.drawing.seed is None and not is_searched and any(self.temperatures):
            # What is wrong with the options comes before the seed. The prime is read here, and what
            # it leads to is kept for the text (`Generator.read_prime`).
            self.model.generator.begin(self.drawing)
            tell(f"seed {self.drawing.seed}")

        # Lines of progress would move a text that is shown on the terminal while it is drawn.
        progress = current()
        if sys.stdout.isatty() and self.target is None:
            progress = Progress(on_warning=progress.warn)
        with using(progress):
            has_colours = options.cell is not None
            # A table has room for many texts, and a picture of a single text has its colours.
            is_single = options.count in (None, 1) and not options.is_chosen
            is_coloured_picture = options.is_picture and is_single
            if len(self.temperatures) > 1:
                self._show_each()
            elif options.trace and options.count is None:
                self._show_provenance()
            elif (is_coloured_picture and not is_searched) or (has_colours and options.json):
                self._export_coloured()
            elif has_colours:
                text = self.model.generator.begin(self.drawing)
                write_coloured(self.typed, text.pieces(), polarity=self._polarity())
                _tell_of_end(text.whole())
            else:
                self._show_each()

    def _texts(self) -> Iterator[ShownText]:
        """Yield the texts that were asked for, each after what separates it from the last one."""
        options = self.options
        generator = self.model.generator
        count = options.count or 1

        # The best texts of a beam search.
        if options.width is not None:
            search = SearchOptions(
                **vars(self.drawing), width=options.width, no_repeat=options.no_repeat
            )
            for index, text in enumerate(generator.beam(search)[:count]):
                heading = ""
                if count > 1:
                    name = f"{index + 1} of {count}: log-probability {text.logprob:.2f} nats"
                    heading = _heading(index, name=name)
                yield heading, text, search
            return

        # Texts of the same seed, which differ by their temperature alone.
        if len(self.temperatures) > 1:
            for index, temperature in enumerate(self.temperatures):
                drawing = replace(self.drawing, temperature=temperature)
                heading = _heading(index, name=f"temperature {temperature:g}")
                yield heading, generator.begin(drawing), drawing
            return

        # Texts that are drawn one after the other, chosen and sorted.
        texts: Iterable[BegunText | GeneratedText]
        texts = generator.begin_each(count, self.drawing)
        if options.is_chosen or options.sort or options.trace:
            accept = None
            if options.new:
                accept = self.model.new_documents()
            chosen = generator.iter_samples(
                SeveralOptions(count, **vars(self.drawing), unique=options.unique, accept=accept)
            )
            texts = chosen
            if options.sort == "likely":
                texts = sorted(chosen, key=attrgetter("logprob"), reverse=True)
            elif options.sort == "excess":
                texts = sorted_by_excess(chosen)
        for index, drawn in enumerate(texts):
            yield self._separator(index, count), drawn, self.drawing

    def _separator(self, index: int, count: int) -> str:
        """Return what separates text `index` of `count` from the one before it, as such documents
        are separated in a file.

        Documents without a newline follow each other, one per line, so that the output can be
        trained on again, and so can those that a line parts. Files and values of a column may
        contain any line, so they get a heading.
        All other texts are separated by a blank line.
        """
        config = self.model.config
        if separator_of(config, self.model.vocab) == "\n":
            return ""
        if config.parting_line:
            return f"{config.parting_line}\n" if index > 0 else ""
        if config.documents in ("files", "column"):
            return f"--- {index + 1} of {count} ---\n" if count > 1 else ""
        return "\n" if index > 0 else ""

    def _show_each(self) -> None:
        """Print each text after its heading, or with --json its object; or write all to the file of
        --export."""
        options = self.options
        drawing = self.drawing
        pictures = []
        records = []
        documents = []
        end = ""
        shown_texts = _ShownTexts(place_of(drawing.seed))
        for heading, text, drawing in self._texts():
            if options.json:
                text = _whole(text)
                print_json(self._as_json(text, drawing))
            elif self.target is not None:
                text = _whole(text)
                end = text.text
                shown = printable(heading + self.typed + end, kept=IN_TEXT)
                pictures.append(shown.removesuffix("\n"))  # each picture ends its line
                records.append(self._as_json(text, drawing))
            else:
                chunks = text.chunks() if isinstance(text, BegunText) else [text.text]
                # A document ends its line, even if it is empty: the next one begins there.
                ends_line = self.model.config.end_id is not None
                end = write(chain([heading, self.typed], chunks), ends_line=ends_line)
                text = _whole(text)
            if options.trace:
                documents.append(beginning_of(self.drawing.prime_text) + text.text)
            shown_texts.add(text)

        if self.target is not None:
            self._export_texts(pictures, records)
        shown_texts.tell_of_ends()
        if shown_texts.num_shown == 1:
            _warn_of_loop(end, drawing)
        if options.is_chosen:
            num_drawn = counted(shown_texts.num_drawn, "drawn text")
            tell(f"{shown_texts.num_shown:,} of {num_drawn}")
        if options.trace:
            self._print_known(documents)

    def _export_texts(self, pictures: Sequence[str], records: Sequence[dict[str, object]]) -> None:
        """Write texts to the file of --export: their pictures to a page, rows to a `.csv`."""
        self.options.check_exported(sum(map(len, pictures)))
        # What tells the texts apart, and draws each again.
        names = ("text", "temperature", "seed", "logprob", "logprob_per_char", "excess")
        rows = [
            {name: record[name] for name in names if record.get(name) is not None}
            for record in records
        ]
        title = f"Texts of {self.model.name}"
        deliver(Shown(title, pictures=pictures, data=records, rows=rows), target=self.target)

    def _export_coloured(self) -> None:
        """Write a text to the file of --export, coloured by a cell or by its surprise, with the
        scale; or print its object with a number for each character."""
        # The whole text, because a file is written at once or not at all.
        drawing = self.drawing
        drawn = self.model.generator.begin(drawing)
        pieces = list(drawn.pieces())
        text = drawn.whole()
        _tell_of_end(text)

        logprobs = tuple(piece.logprob for piece in pieces)
        text = replace(text, text=text_of(pieces), logprobs=logprobs)
        data = self._as_json(text, drawing) | {"logprobs": logprobs}
        name = "Surprise"
        if drawing.cell is not None:
            data["values"] = [piece.value for piece in pieces]
            name = "Cell {}:{}".format(*drawing.cell)
        pictures = _coloured_pictures(self.typed, pieces=pieces, polarity=self._polarity())
        shown = Shown(f"{name} in a text of {self.model.name}", pictures=pictures, data=data)
        deliver(shown, target=self.target, as_json=self.options.json)

    def _polarity(self) -> int | None:
        """Return the polarity with which the cell is drawn; None for the surprise."""
        if self.drawing.cell is None:
            return None
        return self.model.polarity(*self.drawing.cell)

    def _show_provenance(self) -> None:
        """Print or export the typed prime, and a text with its provenance."""
        _, text, drawing = next(self._texts())
        text = _whole(text)
        _tell_of_end(text)
        # The prime is not looked for, because it is the user's own text.
        reference_text = self.model.reference_text()
        found = provenance.trace_text(text.text, reference_text=reference_text)
        data = self._as_json(text, drawing) | {"provenance": found.to_json()}
        if self.target is None and not (self.options.json or sys.stdout.isatty()):
            # A pipe gets the text without the marks, which are for a terminal.
            write([self.typed, text.text])
            sys.stdout.flush()
            for figure in found.figures():
                result_console(stderr=True).print(figure)
            return
        shown = Shown(
            f"Provenance of a text of {self.model.name}", pictures=found.view(), data=data
        )
        deliver(shown, target=self.target, as_json=self.options.json)

    def _print_known(self, documents: Sequence[str]) -> None:
        """Print on stderr how many documents stand in the text of the run, and which."""
        is_new = self.model.new_documents()
        known = [document for document in documents if not is_new(document)]
        figure = f"{len(known):,} of {counted(len(documents), 'document')} in the text of"
        names = [shortened(document, most=MAX_SHOWN_CHARS) for document in dict.fromkeys(known)]
        shown = f"{figure} {self.model.name}: {', '.join(names)}".removesuffix(": ")
        sys.stdout.flush()
        result_console(stderr=True).print(printable(shown, kept=IN_TEXT))

    def _as_json(self, text: GeneratedText, options: SampleOptions) -> dict[str, object]:
        """Return the object of `sample --json`."""
        # The text, and the values that draw it again.
        prime = options.prime_text
        if isinstance(prime, bytes):
            prime = prime.decode("utf-8", "replace")
        data: dict[str, object] = {
            "run": self.model.name,
            "text": text.text,
            "prime": prime,
            "seed": text.seed,
            "length": options.length,
        }
        # A search has no temperature, and not every text has a pattern to match or an end.
        some = {
            "temperature": None if self.options.width else options.temperature,
            "match": options.match,
            "known_words": options.known_words or None,
            "stop": text.stop or None,
            "has_ended": text.has_ended,
            "excess": text.excess,
        }
        data |= {name: value for name, value in some.items() if value is not None}
        if text.dead_end is not None:
            data["dead_end"] = asdict(text.dead_end)

        # With its END, a document has one more log-probability than characters.
        data["logprob"] = text.logprob
        data["logprob_per_char"] = text.logprob / max(1, len(text.logprobs))
        data["loop"] = None
        if loop := _loop_at_end(text.text, options):
            data["loop"] = asdict(loop)
        return data


def _whole(text: BegunText | GeneratedText) -> GeneratedText:
    """Return a text once all of it is drawn."""
    if isinstance(text, BegunText):
        return text.whole()
    return text


def _heading(index: int, name: str) -> str:
    heading = f"--- {name} ---\n"
    if index > 0:
        heading = "\n" + heading
    return heading


@dataclass
class _ShownTexts:
    """How many texts were shown and drawn, and how they end."""

    first_place: int
    """The place of the first text that was drawn."""
    num_shown: int = 0
    num_drawn: int = 0
    num_cut: int = 0
    dead_ends: list[DeadEnd] = field(default_factory=list)

    def add(self, text: GeneratedText) -> None:
        """Count a text that was shown."""
        self.num_shown += 1
        self.num_drawn = max(self.num_drawn, place_of(text.seed) - self.first_place + 1)
        if text.is_cut:
            self.num_cut += 1
        if text.dead_end is not None:
            self.dead_ends.append(text.dead_end)

    def tell_of_ends(self) -> None:
        """Say how many texts were cut, and where no character may follow."""
        if self.num_cut:
            warn(f"{counted(self.num_cut, 'document')} cut before the end: give a larger --length")
        if not self.dead_ends:
            return
        first = self.dead_ends[0]
        what = f"the text ends after {counted(first.num_chars, 'character')}"
        if self.num_shown > 1:
            ended = counted(len(self.dead_ends), "text")
            what = f"{ended} ended early, the first after {first.num_chars:,}"
        names = " and ".join(map(named, first.options))
        tell(f"{what}: {names} let no character follow")


def _tell_of_end(text: GeneratedText) -> None:
    """Say that a text was cut, or that no character may follow it."""
    shown = _ShownTexts(place_of(text.seed))
    shown.add(text)
    shown.tell_of_ends()


def _warn_of_loop(text: str, options: SampleOptions) -> None:
    """Warn if a text ends in a loop."""
    loop = _loop_at_end(text, options)
    if loop is not None:
        repeats = f"{counted(loop.period, 'character')}, {loop.repeats} times in a row"
        warn(
            f"the text ends in a loop: {repeats}. The most likely texts of character models do"
            " that; try --temp 1 --top-p 0.95 or, in a search, --no-repeat 20."
        )


def _loop_at_end(text: str, options: SampleOptions) -> Loop | None:
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
    is_random = not isinstance(options, SearchOptions) and options.temperature > 0
    if is_random and end.strip() and not any(map(str.isalnum, repeated)):
        return None
    return loop


def write(chunks: Iterable[str], *, ends_line: bool = False) -> str:
    """Write a text and a final newline to stdout, so that the same seed gives the same bytes
    everywhere.

    An empty text has none, unless it `ends_line`. On a terminal, control characters are escaped and
    each chunk is shown at once. Return the end of the text.
    """
    # Only the end of the text is kept, to look for a loop: the text may be larger than the memory.
    end = ""
    is_terminal = sys.stdout.isatty()
    for chunk in chunks:
        if is_terminal:
            sys.stdout.write(printable(chunk, kept=IN_TEXT))
            sys.stdout.flush()
        else:
            sys.stdout.write(chunk)
        end = (end + chunk)[-LOOP_CHARS:]
    if (end or ends_line) and not end.endswith("\n"):
        sys.stdout.write("\n")
    return end


def write_coloured(prime: str, pieces: Iterable[Piece], *, polarity: int | None) -> None:
    """Write the prime, and the text after it line by line, coloured by the values of a cell or,
    without a polarity, by surprise in bits.

    A line appears as a whole, because it is broken between words and, without colours, has a row of
    blocks below it. Off a terminal the text is written without colours.
    """
    console = result_console()
    if not console.is_terminal:
        write(chain([prime], (piece.text for piece in pieces)))
        where = "a terminal, where FORCE_COLOR=1 is set, or in a file: --export FILE.html"
        warn(f"--color shows colours on {where}")
        return

    # The usual scale of a cell needs no explanation.
    if polarity != 1:
        console.print(*_coloured_pictures("", pieces=(), polarity=polarity)[:-1], sep="\n")
    for before, line in _lines_of(prime, pieces, max_length=MAX_LINE_ROWS * console.width):
        console.print(_coloured_pictures(before, pieces=line, polarity=polarity)[-1], end="")
        sys.stdout.flush()


def _coloured_pictures(
    prime: str, pieces: Iterable[Piece], polarity: int | None
) -> "list[RenderableType]":
    """Draw the scale, and a prime and a text coloured by the values of its pieces: of a cell or,
    without a polarity, of surprise in bits."""
    # The prime has no value, and therefore no colour.
    values = [math.nan] * len(prime)
    text = prime
    # The bytes of a character are drawn one by one, and have no text until it is whole.
    bits = 0.0
    for piece in pieces:
        bits -= piece.logprob / math.log(2)
        if piece.text:
            value = bits if polarity is None else piece.value
            values += [value] * len(piece.text)
            text += piece.text
            bits = 0.0

    coloured = findings.ColouredText(text=text, values=tuple(values))
    picture = heatmap.surprise_map(coloured)
    if polarity is not None:
        picture = heatmap.HeatMap(coloured, theme.scale_of(values=(), polarity=polarity))
    return [*picture.legend(), picture]


def _lines_of(
    prime: str, pieces: Iterable[Piece], max_length: int
) -> Iterator[tuple[str, list[Piece]]]:
    """Yield a text line by line, the first with the prime before it."""
    # A text without newlines would otherwise appear only at its end.
    line: list[Piece] = []
    for piece in pieces:
        line.append(piece)
        if piece.text.endswith("\n") or len(line) == max_length:
            yield prime, line
            prime = ""
            line = []
    if line or prime:
        yield prime, line
