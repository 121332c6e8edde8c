"""Output of `charrnn sample`: text as it is drawn, coloured, with copies marked, numbered, or
JSON.

`show` is a loop over the texts (`sample_texts`), and a sink takes them. A text is drawn while its
sink takes it.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import chain
from typing import TYPE_CHECKING

from charrnn.cli.streams import IN_TEXT, deliver, print_json, printable, result_console
from charrnn.commands.sample_texts import SampleRequest, TextEnds, TextToShow, texts_of
from charrnn.errors import counted, shortened
from charrnn.generation.generated_text import GeneratedText
from charrnn.generation.generator import beginning_of
from charrnn.generation.loops import Loop, find_loop
from charrnn.generation.sample_options import SampleOptions, SearchOptions
from charrnn.generation.sampling import TextToDraw, place_of
from charrnn.generation.writing import Piece, text_of
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import Progress, current, tell, using, warn
from charrnn.views.delivery import Shown

if TYPE_CHECKING:
    from rich.console import RenderableType

heatmap, theme = LazyModule("charrnn.views.heatmap"), LazyModule("charrnn.views.theme")
provenance = LazyModule("charrnn.reports.provenance")
records = LazyModule("charrnn.cells.records")
MAX_SHOWN_CHARS = 60
"""Characters that are shown of a document which is not new."""
MAX_LINE_ROWS = 50
"""Rows of a terminal after which a coloured line is printed, even if it continues."""
LOOP_CHARS = 2_000
"""Characters at the end of a text that are searched for a loop."""


def show(request: SampleRequest) -> None:
    """Show the text or the texts that were asked for, and say how they end."""
    _name_seed(request)

    # Lines of progress would move a text that is shown on the terminal while it is drawn.
    progress = current()
    if sys.stdout.isatty() and request.destination is None:
        progress = Progress(on_warning=progress.warn)
    with using(progress):
        sink = _sink_of(request)
        ends = TextEnds(place_of(request.drawing.seed))
        documents = []
        drawing = request.drawing
        for shown in texts_of(request):
            text = sink.show(shown)
            ends.add(text)
            drawing = shown.drawing
            if request.options.trace:
                documents.append(beginning_of(drawing.prime_text) + text.text)
        sink.close()

    ends.tell()
    if ends.num_shown == 1:
        _warn_of_loop(sink.end, drawing)
    if request.options.is_chosen:
        tell(f"{ends.num_shown:,} of {counted(ends.num_drawn, 'drawn text')}")
    if request.options.trace and request.options.count is not None:
        _print_known(request, documents)


def _name_seed(request: SampleRequest) -> None:
    """Name a new seed before anything is drawn, so that an interrupted text can be drawn again."""
    # At temperature 0 nothing is random, and a search draws nothing.
    options = request.options
    is_random = any(request.temperatures) and options.width is None
    if not is_random or options.drawing.seed is not None:
        return
    # What is wrong with the options comes before the seed.
    request.model.generator.prepare(request.drawing)
    tell(f"seed {request.drawing.seed}")


def _sink_of(request: SampleRequest) -> "Sink":
    """Choose what takes the texts."""
    options = request.options
    if options.trace and options.count is None:
        return Provenance(request)
    # A table has room for many texts, and a picture of a single text has its colours.
    has_colours = options.cell is not None
    if (options.is_picture and request.is_single) or (has_colours and options.json):
        return ColouredExport(request)
    if has_colours:
        return ColouredStream(request)
    if options.json:
        return JsonLines(request)
    if request.destination is not None:
        return Export(request)
    return Stream(request)


class Sink:
    """Takes the texts of `charrnn sample` one after the other, and draws each while it takes it."""

    def __init__(self, request: SampleRequest):
        self.request = request
        self.end = ""
        """The end of the last text, in which a loop is looked for; "" where nobody reads the text
        for itself."""

    def show(self, shown: TextToShow) -> GeneratedText:
        """Show a text, or keep it, and return it."""
        raise NotImplementedError

    def close(self) -> None:
        """Show what was kept."""


class Stream(Sink):
    """Prints each text while it is drawn."""

    def show(self, shown: TextToShow) -> GeneratedText:
        """Print a text after its heading and the typed prime."""
        # A document ends its line, even if it is empty: the next one begins there.
        ends_line = self.request.model.config.end_id is not None
        chunks = chain([shown.heading, self.request.typed], shown.chunks())
        self.end = print_text(chunks, ends_line=ends_line)
        return shown.whole()


class ColouredStream(Sink):
    """Prints a text line by line, coloured by a cell or by its surprise."""

    def show(self, shown: TextToShow) -> GeneratedText:
        """Print the typed prime, and the text after it."""
        polarity = _polarity(self.request)
        write_coloured(self.request.typed, _pieces(shown), polarity=polarity)
        return shown.whole()


class JsonLines(Sink):
    """Prints an object for each text."""

    def show(self, shown: TextToShow) -> GeneratedText:
        """Print the object of a text."""
        text = shown.whole()
        print_json(_as_json(self.request, text, shown.drawing))
        return text


class Export(Sink):
    """Writes texts to the file of --export: their pictures to a page, rows to a `.csv`."""

    def __init__(self, request: SampleRequest):
        super().__init__(request)
        self._pictures = list[str]()
        self._records = list[dict[str, object]]()

    def show(self, shown: TextToShow) -> GeneratedText:
        """Keep a text, because a file is written at once or not at all."""
        text = shown.whole()
        picture = printable(shown.heading + self.request.typed + text.text, kept=IN_TEXT)
        self._pictures.append(picture.removesuffix("\n"))  # each picture ends its line
        self._records.append(_as_json(self.request, text, shown.drawing))
        self.end = text.text
        return text

    def close(self) -> None:
        """Write the file."""
        self.request.options.check_exported(sum(map(len, self._pictures)))
        # What tells the texts apart, and draws each again.
        names = ("text", "temperature", "seed", "logprob", "logprob_per_char", "excess")
        rows = [
            {name: record[name] for name in names if record.get(name) is not None}
            for record in self._records
        ]
        title = f"Texts of {self.request.model.name}"
        shown = Shown(title, pictures=self._pictures, data=self._records, rows=rows)
        deliver(shown, destination=self.request.destination)


class ColouredExport(Sink):
    """Writes a text to the file of --export, coloured by a cell or by its surprise, with the scale;
    or prints its object with a number for each character."""

    def show(self, shown: TextToShow) -> GeneratedText:
        """Write the picture or the object of a text."""
        # The whole text, because a file is written at once or not at all.
        pieces = list(_pieces(shown))
        text = shown.whole()

        logprobs = tuple(piece.logprob for piece in pieces)
        text = replace(text, text=text_of(pieces), logprobs=logprobs)
        data = _as_json(self.request, text, shown.drawing) | {"logprobs": logprobs}
        name = "Surprise"
        if shown.drawing.cell is not None:
            data["values"] = [piece.value for piece in pieces]
            name = "Cell {}:{}".format(*shown.drawing.cell)
        pictures = _coloured_pictures(
            self.request.typed, pieces=pieces, polarity=_polarity(self.request)
        )
        title = f"{name} in a text of {self.request.model.name}"
        deliver(
            Shown(title, pictures=pictures, data=data),
            destination=self.request.destination,
            as_json=self.request.options.json,
        )
        return text


class Provenance(Sink):
    """Prints or exports a text with the passages that stand in the training text."""

    def show(self, shown: TextToShow) -> GeneratedText:
        """Print or export the typed prime and a text with its provenance."""
        request = self.request
        text = shown.whole()
        # The prime is not looked for, because it is the user's own text.
        reference_text = request.model.reference_text()
        found = provenance.find_copies(text.text, reference_text=reference_text)
        if request.destination is None and not (request.options.json or sys.stdout.isatty()):
            # A pipe gets the text without the marks, which are for a terminal.
            print_text([request.typed, text.text])
            sys.stdout.flush()
            for figure in found.figures():
                result_console(stderr=True).print(figure)
            return text
        data = _as_json(request, text, shown.drawing) | {"provenance": found.to_json()}
        title = f"Provenance of a text of {request.model.name}"
        deliver(
            Shown(title, pictures=found.view(), data=data),
            destination=request.destination,
            as_json=request.options.json,
        )
        return text


def _pieces(shown: TextToShow) -> Iterator[Piece]:
    """Draw a text piece by piece: a text with colours is neither chosen nor searched for."""
    assert isinstance(shown.text, TextToDraw)
    return shown.text.pieces()


def _polarity(request: SampleRequest) -> int | None:
    """Return the polarity with which the cell is drawn; None for the surprise."""
    if request.drawing.cell is None:
        return None
    from charrnn.cells.known_cells import known_polarity

    return known_polarity(request.model.cache, *request.drawing.cell)


def _print_known(request: SampleRequest, documents: list[str]) -> None:
    """Print on stderr how many documents stand in the text of the run, and which."""
    is_new = request.model.new_documents()
    known = [document for document in documents if not is_new(document)]
    figure = f"{len(known):,} of {counted(len(documents), 'document')} in the text of"
    names = [shortened(document, most=MAX_SHOWN_CHARS) for document in dict.fromkeys(known)]
    shown = f"{figure} {request.model.name}: {', '.join(names)}".removesuffix(": ")
    sys.stdout.flush()
    result_console(stderr=True).print(printable(shown, kept=IN_TEXT))


def _as_json(
    request: SampleRequest, text: GeneratedText, options: SampleOptions
) -> dict[str, object]:
    """Return the object of `sample --json`."""
    # The text, and the values that draw it again.
    prime = options.prime_text
    if isinstance(prime, bytes):
        prime = prime.decode("utf-8", "replace")
    data: dict[str, object] = {
        "run": request.model.name,
        "text": text.text,
        "prime": prime,
        "seed": text.seed,
        "length": options.length,
    }
    # A search has no temperature, and not every text has a pattern to match or an end.
    some = {
        "temperature": None if request.options.width else options.temperature,
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


def print_text(chunks: Iterable[str], *, ends_line: bool = False) -> str:
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
        print_text(chain([prime], (piece.text for piece in pieces)))
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

    coloured = records.ColouredText(text=text, values=tuple(values))
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
