"""The texts of `charrnn sample`: which are drawn, and how they are shown: as they are drawn,
coloured, with copies marked, numbered, or as JSON.

`show` is a loop over the texts (`texts_of`), and a sink takes them. A text is drawn while its sink
takes it.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from charrnn.cli.streams import IN_TEXT, deliver, print_json, printable, result_console
from charrnn.commands.sample_colours import coloured_pictures, write_coloured
from charrnn.commands.sample_options import SampleCommandOptions
from charrnn.errors import counted, named, shortened
from charrnn.generation.generated_text import DeadEnd, GeneratedText, sorted_by_excess
from charrnn.generation.generator import beginning_of
from charrnn.generation.loops import LOOP_CHARS, loop_at_end
from charrnn.generation.sample_options import SampleOptions, SearchOptions, SeveralOptions
from charrnn.generation.sampling import TextToDraw, place_of
from charrnn.generation.writing import Piece, text_of
from charrnn.runs.destinations import Destination
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import Progress, current, tell, using, warn
from charrnn.text.documents import separator_of
from charrnn.views.delivery import Shown

if TYPE_CHECKING:
    from charrnn.api import Model

provenance = LazyModule("charrnn.reports.provenance")
MAX_SHOWN_CHARS = 60
"""Characters that are shown of a document which is not new."""


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """What was asked of `charrnn sample`."""

    model: "Model"
    """The model that generates."""
    options: SampleCommandOptions
    """What was typed."""
    drawing: SampleOptions
    """How the first text is drawn, and what it continues."""
    typed: str
    """The prime that was typed; it is printed before the text."""
    destination: Destination | None
    """The file of --export."""

    @property
    def is_single(self) -> bool:
        """Whether one text is drawn, and nothing chooses or sorts it."""
        options = self.options
        is_one = options.count in (None, 1) and len(options.temperatures) == 1
        return is_one and not (options.is_chosen or options.sort or options.width)


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
    is_random = any(options.temperatures) and options.width is None
    if not is_random or options.drawing.seed is not None:
        return
    # What is wrong with the options comes before the seed.
    request.model.generator.prepare(request.drawing)
    tell(f"seed {request.drawing.seed}")


class TextToShow(NamedTuple):
    """A text of `charrnn sample`."""

    heading: str
    """What separates it from the text before it."""
    text: TextToDraw | GeneratedText
    """The text: a `TextToDraw` is drawn when it is taken."""
    drawing: SampleOptions
    """The options that it is generated with."""

    def whole(self) -> GeneratedText:
        """Return the text once all of it is drawn."""
        if isinstance(self.text, TextToDraw):
            return self.text.whole()
        return self.text

    def chunks(self) -> Iterator[str]:
        """Yield the parts of the text as they are drawn."""
        if isinstance(self.text, TextToDraw):
            return self.text.chunks()
        return iter([self.text.text])

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces of the text as they are drawn: a text with colours is neither chosen nor
        searched for."""
        assert isinstance(self.text, TextToDraw)
        return self.text.pieces()


def texts_of(request: SampleRequest) -> Iterator[TextToShow]:
    """Yield the texts that were asked for, in the order in which they are shown."""
    if request.options.width is not None:
        return _searched_texts(request, width=request.options.width)
    if len(request.options.temperatures) > 1:
        return _texts_by_temperature(request)
    return _drawn_texts(request)


def _searched_texts(request: SampleRequest, width: int) -> Iterator[TextToShow]:
    """Yield the best texts of a beam search."""
    count = request.options.count or 1
    search = SearchOptions(
        **vars(request.drawing), width=width, no_repeat=request.options.no_repeat
    )
    for index, text in enumerate(request.model.generator.beam(search)[:count]):
        heading = ""
        if count > 1:
            name = f"{index + 1} of {count}: log-probability {text.logprob:.2f} nats"
            heading = _heading(index, name=name)
        yield TextToShow(heading, text, search)


def _texts_by_temperature(request: SampleRequest) -> Iterator[TextToShow]:
    """Yield texts of the same seed, which differ by their temperature alone."""
    for index, temperature in enumerate(request.options.temperatures):
        drawing = replace(request.drawing, temperature=temperature)
        heading = _heading(index, name=f"temperature {temperature:g}")
        yield TextToShow(heading, request.model.generator.begin(drawing), drawing)


def _drawn_texts(request: SampleRequest) -> Iterator[TextToShow]:
    """Yield texts that are drawn one after the other, or chosen and sorted."""
    count = request.options.count or 1
    for index, text in enumerate(_texts_in_order(request, count)):
        yield TextToShow(_separator(request, index, count), text, request.drawing)


def _texts_in_order(request: SampleRequest, count: int) -> Iterable[TextToDraw | GeneratedText]:
    """Return the drawn texts that --unique and --new leave, in the order of --sort."""
    options = request.options
    if not options.is_chosen and options.sort is None:
        return request.model.generator.begin_each(count, request.drawing)
    accept = None
    if options.new:
        accept = request.model.new_documents()
    chosen = request.model.generator.iter_samples(
        SeveralOptions(count, **vars(request.drawing), unique=options.unique, accept=accept)
    )
    if options.sort == "likely":
        return sorted(chosen, key=attrgetter("logprob"), reverse=True)
    if options.sort == "excess":
        return sorted_by_excess(chosen)
    return chosen


def _heading(index: int, name: str) -> str:
    heading = f"--- {name} ---\n"
    if index > 0:
        heading = "\n" + heading
    return heading


def _separator(request: SampleRequest, index: int, count: int) -> str:
    """Return what separates text `index` of `count` from the one before it, as such documents are
    separated in a file.

    Documents without a newline follow each other, one per line, so that the output can be trained
    on again, and so can those that a line parts. Files and values of a column may contain any line,
    so they get a heading. All other texts are separated by a blank line.
    """
    config = request.model.config
    if separator_of(config, request.model.vocab) == "\n":
        return ""
    if config.parting_line:
        return f"{config.parting_line}\n" if index > 0 else ""
    if config.documents in ("files", "column"):
        return f"--- {index + 1} of {count} ---\n" if count > 1 else ""
    return "\n" if index > 0 else ""


@dataclass
class TextEnds:
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

    def tell(self) -> None:
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
        console = result_console()
        if console.is_terminal:
            write_coloured(
                console, self.request.typed, shown.pieces(), polarity=_polarity(self.request)
            )
        else:
            print_text(chain([self.request.typed], shown.chunks()))
            where = "a terminal, where FORCE_COLOR=1 is set, or in a file: --export FILE.html"
            warn(f"--color shows colours on {where}")
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
        pieces = list(shown.pieces())
        text = shown.whole()

        logprobs = tuple(piece.logprob for piece in pieces)
        text = replace(text, text=text_of(pieces), logprobs=logprobs)
        data = _as_json(self.request, text, shown.drawing) | {"logprobs": logprobs}
        name = "Surprise"
        if shown.drawing.cell is not None:
            data["values"] = [piece.value for piece in pieces]
            name = "Cell {}:{}".format(*shown.drawing.cell)
        pictures = coloured_pictures(
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
    if loop := loop_at_end(text.text, options):
        data["loop"] = asdict(loop)
    return data


def _warn_of_loop(text: str, options: SampleOptions) -> None:
    """Warn if a text ends in a loop."""
    loop = loop_at_end(text, options)
    if loop is not None:
        repeats = f"{counted(loop.period, 'character')}, {loop.repeats} times in a row"
        warn(
            f"the text ends in a loop: {repeats}. The most likely texts of character models do"
            " that; try --temp 1 --top-p 0.95 or, in a search, --no-repeat 20."
        )


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
