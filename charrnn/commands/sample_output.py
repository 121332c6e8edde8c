"""Output of `charrnn sample`: text as it is drawn, coloured, with copies marked, numbered, or
JSON."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from typing import TYPE_CHECKING

from charrnn.cli.streams import IN_TEXT, deliver, print_json, printable, result_console
from charrnn.errors import DataError, counted, shortened
from charrnn.generation.generated_text import GeneratedText
from charrnn.generation.generator import beginning_of
from charrnn.generation.sample_options import (
    SAMPLE_TEMPERATURE,
    Accept,
    SampleOptions,
    SearchOptions,
    TextOptions,
)
from charrnn.generation.sampling import place_of
from charrnn.generation.writing import Loop, Piece, find_loop, is_cut, text_of
from charrnn.runs.targets import Target
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import WarningsOnly, current, tell, using, warn
from charrnn.text.documents import separator_of
from charrnn.views.delivery import Shown, check_exported

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.api import Model
    from charrnn.reports.provenance import ReferenceText

heatmap, tables = LazyModule("charrnn.views.heatmap"), LazyModule("charrnn.views.tables")
provenance = LazyModule("charrnn.reports.provenance")
theme = LazyModule("charrnn.views.theme")
records = LazyModule("charrnn.cells.findings")
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


def show_texts(
    writing: Writing,
    count: int,
    *,
    unique: bool = False,
    accept: Accept | None = None,
    likely_first: bool = False,
) -> None:
    """Print or export one text or several: as they are drawn, separated like the documents of a
    file, or as JSON objects. With `unique` or `accept`, a line on stderr says how many were
    drawn."""
    generator = writing.model.generator
    is_chosen = unique or accept is not None
    end = ""
    num_cut = 0
    num_drawn = 0
    with _begun(writing):
        if is_chosen or likely_first or writing.is_whole:
            texts = generator.iter_samples(count, writing.drawing, unique=unique, accept=accept)
            if likely_first:
                texts = iter(sorted(texts, key=lambda text: -text.logprob))
            for text in _show_each(writing, _separated(writing, texts, count=count)):
                num_cut += is_cut(text)
                num_drawn = max(num_drawn, place_of(text.seed) - place_of(writing.drawing.seed) + 1)
        else:
            for index, drawn in enumerate(generator.begin_each(count, writing.drawing)):
                before = [separator(writing.model, index=index, count=count), writing.typed]
                # A document ends its line, even if it is empty, because the next command line
                # begins there.
                ends_line = writing.model.config.end_id is not None
                end = write(chain(before, drawn.chunks()), ends_line=ends_line)
                num_cut += is_cut(drawn)
    _warn_of_cuts(num_cut)
    if count == 1:
        remedy = "a higher --temp, or --temp 1 --top-p 0.95"
        _warn_of_loops([end], options=writing.drawing, remedy=remedy)
    if is_chosen:
        tell(f"{count:,} of {counted(num_drawn, 'drawn text')}")


def show_known_documents(writing: Writing, count: int, is_new: Accept) -> None:
    """Print several documents and, on stderr, how many of them are not new, and which."""
    # Known documents are shown, too: the figure is their share of what the model writes.
    known = []
    num_cut = 0
    beginning = beginning_of(writing.drawing.prime_text)
    with _begun(writing):
        texts = writing.model.generator.iter_samples(count, writing.drawing)
        for text in _show_each(writing, _separated(writing, texts, count=count)):
            num_cut += is_cut(text)
            if not is_new(beginning + text.text):
                known.append(beginning + text.text)
    _warn_of_cuts(num_cut)

    figure = f"{len(known):,} of {counted(count, 'document')} in the text of {writing.model.name}"
    if known:
        shown = [shortened(text, MAX_SHOWN_CHARS) for text in dict.fromkeys(known)]
        figure += ": " + ", ".join(shown)
    sys.stdout.flush()
    result_console(stderr=True).print(printable(figure, IN_TEXT), markup=False)


def show_temperatures(writing: Writing, temperatures: Sequence[float]) -> None:
    """Print or export a text for each temperature, each after its heading."""

    def texts() -> Iterator[ShownText]:
        # All have the same seed: they differ by their temperature alone.
        for index, temperature in enumerate(temperatures):
            drawing = replace(writing.drawing, temperature=temperature)
            text = writing.model.generator.sample(drawing)
            yield _heading(index, f"temperature {temperature:g}"), text, drawing

    with _begun(writing):
        num_cut = sum(map(is_cut, _show_each(writing, texts())))
    _warn_of_cuts(num_cut)


def show_coloured(writing: Writing) -> None:
    """Print a text line by line, each once it is drawn, coloured by a cell or by its surprise."""
    with _begun(writing):
        text = writing.model.generator.begin(writing.drawing)
        write_coloured(writing.typed, pieces=text.pieces(), polarity=writing.polarity())
    _warn_of_cuts(is_cut(text))


def export_coloured(writing: Writing) -> None:
    """Write a text to the file of --export, coloured by a cell or by its surprise, with the scale;
    or print its object with a number for each character."""
    # The whole text, because a file is written at once or not at all.
    drawing = writing.drawing
    with _begun(writing, is_shown=False):
        text = writing.model.generator.begin(drawing)
        pieces = list(text.pieces())
    _warn_of_cuts(is_cut(text))

    logprobs = tuple(piece.logprob for piece in pieces)
    whole = GeneratedText(
        text=text_of(pieces), logprobs=logprobs, seed=text.seed, has_ended=text.has_ended
    )
    data = _as_json(writing, whole, options=drawing)
    data["logprobs"] = logprobs
    if drawing.cell is not None:
        data["values"] = [piece.value for piece in pieces]
    if writing.show_as_json:
        print_json(data)
        return

    # The prime has no value, and therefore no colour.
    coloured = [Piece(writing.typed, logprob=0.0, value=math.nan)]
    if drawing.cell is None:
        name = "Surprise"
        coloured += _with_surprise(pieces)
    else:
        layer, unit = drawing.cell
        name = f"Cell {layer}:{unit}"
        coloured += pieces
    pictures = coloured_pictures(coloured, writing.polarity())
    title = f"{name} in a text of {writing.model.name}"
    deliver(Shown(title, pictures=pictures, data=data), writing.target)


def show_traced(writing: Writing) -> None:
    """Print or export a text with its provenance."""
    with _begun(writing, is_shown=False):
        text = writing.model.generator.sample(writing.drawing)
    _warn_of_cuts(is_cut(text))
    _show_provenance(writing, text, options=writing.drawing)


def show_beams(writing: Writing, width: int, *, no_repeat: int | None, count: int) -> None:
    """Print or export the best texts of a beam search, numbered, best first; a single text is
    printed as far as it is certain."""
    # A search shares the options of `TextOptions` with drawing: it has no temperature.
    shared = {each.name: getattr(writing.drawing, each.name) for each in fields(TextOptions)}
    options = SearchOptions(**shared, width=width, no_repeat=no_repeat)
    search = writing.model.generator.search(options)

    # The text that all beams have in common is certain, and can be shown while the search goes on.
    is_traced = writing.reference_text is not None
    is_streamed = count == 1 and not (writing.is_whole or is_traced)
    with _begun(writing, is_shown=is_streamed):
        if is_streamed:
            write(chain([writing.typed], search))
        else:
            for _ in search:
                pass

    # Beams are complete only now: as copies, as JSON, or numbered.
    texts = search.texts[:count]
    _warn_of_cuts(sum(map(is_cut, texts)))
    if is_traced:
        _show_provenance(writing, texts[0], options=options)
    elif not is_streamed:
        numbered = []
        for index, text in enumerate(texts):
            name = f"{index + 1} of {len(texts)}: log-probability {text.logprob:.2f} nats"
            heading = _heading(index, name) if count > 1 else ""
            numbered.append((heading, text, options))
        for _ in _show_each(writing, numbered):
            pass

    # Likely texts repeat themselves. Beside a pattern --no-repeat is refused (`RULES`).
    remedy = f"--temp {SAMPLE_TEMPERATURE}"
    if options.match is None:
        remedy = f"--no-repeat 20, or {remedy}"
    _warn_of_loops([text.text for text in texts], options=options, remedy=remedy)


@contextmanager
def _begun(writing: Writing, *, is_shown: bool = True) -> Iterator[None]:
    """Name a new seed before anything is drawn, so that an interrupted text can be drawn again.

    Beside a text that is shown on the terminal while it is drawn there is no progress: its lines
    would move the text.
    """
    if writing.says_seed:
        # What is wrong with the options comes before the seed.
        writing.model.generator.begin(writing.drawing)
        tell(f"seed {writing.drawing.seed}")
    progress = current()
    if is_shown and sys.stdout.isatty():
        progress = WarningsOnly(progress)
    with using(progress):
        yield


def _separated(writing: Writing, texts: Iterable[GeneratedText], count: int) -> Iterator[ShownText]:
    """Yield texts after what separates them."""
    for index, text in enumerate(texts):
        yield separator(writing.model, index=index, count=count), text, writing.drawing


def _show_each(writing: Writing, shown: Iterable[ShownText]) -> Iterator[GeneratedText]:
    """Print each text after its heading, or with --json its object; or write all to the file of
    --export. Yield each text."""
    pictures = []
    records = []
    rows = []
    for heading, text, options in shown:
        if not writing.is_whole:
            # As where it is drawn, a document ends its line.
            write([heading, writing.typed, text.text], ends_line=text.has_ended is not None)
        elif writing.show_as_json:
            print_json(_as_json(writing, text, options=options))
        else:
            whole = printable(heading + writing.typed + text.text, IN_TEXT)
            pictures.append(whole.removesuffix("\n"))  # each picture ends its line
            record = _as_json(writing, text, options=options)
            records.append(record)
            rows.append({name: record[name] for name in ("text", "logprob", "logprob_per_char")})
        yield text
    if writing.target is not None:
        check_exported(writing.target.path, sum(map(len, pictures)))
        title = f"Texts of {writing.model.name}"
        deliver(Shown(title, pictures=pictures, data=records, rows=rows), writing.target)


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
    texts: Sequence[str], options: SampleOptions | SearchOptions, remedy: str
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
