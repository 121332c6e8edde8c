"""Output of `charrnn sample`: text as it is drawn, coloured, side by side, with copies marked, numbered, or JSON."""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

from charrnn.cli.streams import printable, result_console, warn
from charrnn.errors import counted
from charrnn.generation.options import SAMPLE_TEMPERATURE
from charrnn.generation.records import MIN_COPY_LENGTH
from charrnn.progress import task
from charrnn.views.export import replace_non_finite

if TYPE_CHECKING:
    from charrnn.generation.options import SampleOptions, SearchOptions
    from charrnn.generation.records import GeneratedText
    from charrnn.generation.writing import Piece

Part = TypeVar("Part")
"""A part of a text: some characters, or a piece with the value of a cell."""
LONG = 10_000
"""Number of characters from which a progress bar may appear: they may take a second or more."""
MAX_LINE_ROWS = 50
"""Rows of a terminal after which the row of blocks is printed, even if the line of text continues."""
MIN_COLUMNS = 16
"""Least width of a text side by side with others, in columns."""
LOOP_CHARS = 2_000
"""Characters at the end of a text that are searched for a loop."""


@dataclass(slots=True)
class Page:
    """Shows the text that one call of `charrnn sample` generates."""

    model: Any
    prime: str
    """The prime that was typed; it is printed before the text."""
    before: str | bytes
    """The prime that the model reads: the typed one, or the content of a file."""
    show_as_json: bool
    quiet: bool
    reference: Any = None
    """The training text to compare with; None: do not compare."""
    min_copy: int = MIN_COPY_LENGTH
    """Characters of the shortest copy that counts."""
    _fresh_seed: int | None = field(default=None, init=False)
    _num_cut: int = field(default=0, init=False)
    """Documents that have not ended."""

    def choose_seed(self, *, is_greedy: bool) -> int:
        """Draw a seed. Unless every text is greedy, it is printed on stderr when the first character is drawn."""
        from charrnn.generation.generator import fresh_seed

        seed = fresh_seed()
        self._fresh_seed = None if is_greedy else seed
        return seed

    def show_text(self, options: "SampleOptions") -> None:
        """Print one text as it is drawn."""
        with self._drawing(options.length, is_streamed=True) as on_draw:
            end = write(
                chain([self.prime], _begun(self.model.generator.write(replace(options, on_draw=on_draw)))),
                ends_line=self.model.config.end_id is not None,
            )
        self._warn_of_loop(end, "a higher --temp, or --temp 1 --top-p 0.95")

    def show_cell(self, options: "SampleOptions") -> None:
        """Print one text as it is drawn, coloured by the value of the cell in `options`."""
        with self._drawing(options.length, is_streamed=True) as on_draw:
            write_coloured(self.prime, _begun(self.model.generator.stream(replace(options, on_draw=on_draw))))

    def show_samples(self, count: int, options: "SampleOptions") -> None:
        """Print several texts, separated by a blank line, or one JSON object for each."""
        from charrnn.generation.generator import GROUP_CHARS

        documents = self.model.config.documents
        is_streamed = not self.show_as_json and 2 * options.length > GROUP_CHARS  # drawn one by one
        with self._drawing(count * options.length, is_streamed=is_streamed) as on_draw:
            options = replace(options, on_draw=on_draw)
            if self.show_as_json:
                for text in self.model.generator.iter_samples(count, options):
                    with _above_bar():
                        print_long_json(as_json(self.model, text, self.before))
                return
            for index, chunks in enumerate(self.model.generator.write_each(count, options)):
                with _above_bar():
                    write(
                        chain([separator(documents, index, count), self.prime], _begun(chunks)),
                        ends_line=documents != "none",
                    )

    def show_temperatures(self, temperatures: Sequence[float], options: "SampleOptions") -> None:
        """Print a text for each temperature, side by side, or one JSON object for each."""
        with self._drawing(len(temperatures) * options.length) as on_draw:
            options = replace(options, on_draw=on_draw)
            drawn = self.model.generator.iter_samples(1, options, temperatures=temperatures)
            if self.show_as_json:
                for temperature, text in zip(temperatures, drawn, strict=True):
                    with _above_bar():
                        print_long_json({"temperature": temperature} | as_json(self.model, text, self.before))
                return
            texts = [self.prime + text.text for text in drawn]
        write_side_by_side([f"{temperature:g}" for temperature in temperatures], texts)

    def show_novelty(self, options: "SampleOptions") -> None:
        """Print one text with copied passages marked."""
        with self._drawing(options.length) as on_draw:
            text = self.model.generator.sample(replace(options, on_draw=on_draw))
        self._write_novelty(text)

    def show_new_documents(self, count: int, options: "SampleOptions") -> None:
        """Print several documents, mark those that are also in the training text, and print how many are new."""
        from rich.text import Text

        from charrnn.text.documents import END
        from charrnn.views.tables import document_novelty_table

        assert self.reference is not None
        with self._drawing(count * options.length) as on_draw:
            texts = list(self.model.generator.iter_samples(count, replace(options, on_draw=on_draw)))
        # Of a prime of several documents, only the last one is continued.
        beginning = _decoded(self.before).rpartition(END)[2]
        novelty = self.reference.compare_documents([beginning + text.text for text in texts])
        if self.show_as_json:
            for text, is_new in zip(texts, novelty.is_new, strict=True):
                print_long_json(as_json(self.model, text, self.before) | {"is_new": is_new})
            return
        console = result_console()
        for index, (text, is_new) in enumerate(zip(texts, novelty.is_new, strict=True)):
            sys.stdout.write(separator(self.model.config.documents, index, count))
            mark = Text("" if is_new else "  (in the training text)", style="dim")
            console.print(Text(printable(self.prime + text.text)) + mark, soft_wrap=True)
        console.print(document_novelty_table(novelty))

    def show_search(self, count: int, options: "SearchOptions") -> None:
        """Print the `count` best texts of a beam search, numbered, best first; a single one as far as it is certain."""
        is_streamed = count == 1 and self.reference is None and not self.show_as_json
        with self._drawing(options.length, num_texts=options.width, is_streamed=is_streamed) as on_draw:
            search = self.model.generator.search(replace(options, on_draw=on_draw))
            if is_streamed:
                write(chain([self.prime], _begun(search)))
            else:
                deque(search, maxlen=0)
        texts = search.best(count)
        if num_cut := sum(text.has_ended is False and not text.stop for text in texts):
            self._warn_of_cuts(num_cut)
        if self.reference is not None:
            self._write_novelty(texts[0])
        elif self.show_as_json:
            print_long_json(beams_as_json(self.model, texts, self.before))
        elif not is_streamed:
            write_numbered(self.prime, texts)
        self._warn_of_loop(texts[0].text, f"--no-repeat 20, --beam-mode stochastic or --temp {SAMPLE_TEMPERATURE}")

    @contextmanager
    def _drawing(
        self, num_chars: int, *, num_texts: int = 1, is_streamed: bool = False
    ) -> Iterator[Callable[[int], object]]:
        """Yield a function to call with the number of characters just drawn: it prints a new seed and moves a bar.

        There is no bar for short texts, nor beside a text that appears on the terminal as it is drawn.
        """
        has_bar = num_chars * num_texts > LONG and not (is_streamed and sys.stdout.isatty())
        with task("writing", num_chars) if has_bar else nullcontext(_ignore) as advance:

            def on_draw(num_drawn: int) -> None:
                if self._fresh_seed is not None:
                    if not self.quiet:
                        sys.stderr.write(f"seed {self._fresh_seed}\n")
                        sys.stderr.flush()
                    self._fresh_seed = None
                advance(num_drawn)

            yield on_draw
        if self._num_cut:
            self._warn_of_cuts(self._num_cut)

    def count_cut(self) -> None:
        """Count a document that was cut before its END; the number is printed on stderr at the end."""
        self._num_cut += 1

    def _warn_of_cuts(self, num_cut: int) -> None:
        were = "document was" if num_cut == 1 else "documents were"
        warn((f"{num_cut:,} {were} cut before the end: give a larger --length",), quiet=self.quiet)

    def _write_novelty(self, text: "GeneratedText") -> None:
        """Print the typed prime, the text with copied passages marked, and the figures."""
        from charrnn.views.tables import ABOUT_NOVELTY, novelty_table

        assert self.reference is not None
        found = self.reference.compare(text.text, min_length=self.min_copy)
        if self.show_as_json:
            print_long_json(as_json(self.model, text, self.before) | {"novelty": found.to_json()})
            return
        console = result_console()
        if self.prime:
            sys.stdout.write(printable(self.prime) + "\n")
        console.print(self.reference.picture(found))
        console.print(novelty_table(found))
        if found.held_out_share is not None:
            console.print(ABOUT_NOVELTY, style="dim")
        if len(found.text) < found.min_length:
            shown = (
                f"the text has {counted(len(found.text), 'character')}, and copies of {found.min_length} or more count"
            )
            warn((f"{shown}: give a smaller --min-copy",), quiet=self.quiet)

    def _warn_of_loop(self, text: str, remedy: str) -> None:
        """Warn that a text ends in a loop, and name the remedy."""
        from charrnn.evaluation.loops import find_loop

        if loop := find_loop(text):
            period = counted(loop.period, "character")
            warn(
                (
                    f"the text ends in a loop: its last {period}, {loop.repeats} times in a row. "
                    f"The most likely texts of character models do that; try {remedy}.",
                ),
                quiet=self.quiet,
            )


def _ignore(num_chars: int) -> None:
    pass


def _begun(parts: Iterable[Part]) -> Iterator[Part]:
    """Return the parts of a text once the first is drawn: what stderr says then comes before the prime."""
    remaining = iter(parts)
    return chain(list(islice(remaining, 1)), remaining)


@contextmanager
def _above_bar() -> Iterator[None]:
    """Clear a progress bar from the terminal while something else is written there."""
    if "tqdm" not in sys.modules or not sys.stdout.isatty():
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stdout):
        yield


def separator(documents: str, index: int, count: int) -> str:
    """Return what is written before text `index` of `count`: as files separate these documents.

    Lines follow each other; whole files and the values of a column, which may have any line, get a heading; all else is
    separated by a blank line.
    """
    if documents in ("files", "column"):
        return f"--- {index + 1} of {count} ---\n" if count > 1 else ""
    return "" if documents == "lines" or index == 0 else "\n"


def write(chunks: Iterable[str], *, ends_line: bool = False) -> str:
    """Write a text and a final newline to stdout, so that the same seed gives the same bytes everywhere.

    An empty text has none, unless it `ends_line`. On a terminal, control characters are escaped and each chunk is shown
    at once. Return the end of the text.
    """
    end = ""
    for chunk in whole_line_ends(chunks):
        write_chunk(chunk)
        end = (end + chunk)[-LOOP_CHARS:]
    if (end or ends_line) and not end.endswith("\n"):
        sys.stdout.write("\n")
    return end


def whole_line_ends(chunks: Iterable[str]) -> Iterator[str]:
    """Yield a text in chunks that do not end between a carriage return and a newline."""
    held = ""
    for chunk in chunks:
        text = held + chunk
        held = "\r" if text.endswith("\r") else ""
        yield text.removesuffix("\r")
    if held:
        yield held


def write_chunk(chunk: str) -> None:
    """Write a part of a text to stdout; on a terminal at once, and with control characters escaped."""
    if sys.stdout.isatty():
        sys.stdout.write(printable(chunk))
        sys.stdout.flush()
    else:
        sys.stdout.write(chunk)


def write_numbered(prime: str, texts: Sequence["GeneratedText"]) -> None:
    """Write each text below a line with its number and its log-probability, separated by blank lines."""
    for number, text in enumerate(texts, start=1):
        gap = "\n" if number > 1 else ""
        heading = f"{gap}--- {number} of {len(texts)}: log-probability {text.logprob:.2f} nats ---\n"
        write([heading, prime, text.text])


def write_coloured(prime: str, pieces: Iterable["Piece"]) -> None:
    """Write each character as it is drawn, coloured by its value; without colours, a row of blocks below each line."""
    from rich.text import Text

    from charrnn.cells.records import ColouredText
    from charrnn.views.heatmap import HeatMap
    from charrnn.views.theme import palette_of

    console = result_console()
    if not console.is_terminal:
        write(chain([prime], (piece.text for piece in pieces)))
        return
    shown_prime = printable(prime)
    if console.color_system is None or console.no_color:
        sys.stdout.write(shown_prime + ("\n" if prime else ""))
        for line in _lines_of(pieces, MAX_LINE_ROWS * console.width):
            values = tuple(piece.value for piece in line for _ in piece.text)
            console.print(HeatMap(ColouredText(text="".join(piece.text for piece in line), values=values)), end="")
        return
    sys.stdout.write(shown_prime)
    last, palette = "\n", palette_of(console)
    for piece in pieces:
        for character in piece.text:
            console.print(Text(printable(character), style=palette.value(piece.value)), end="", soft_wrap=True)
        sys.stdout.flush()
        last = piece.text[-1:] or last
    if last != "\n":
        sys.stdout.write("\n")


def _lines_of(pieces: Iterable["Piece"], max_length: int) -> Iterator[list["Piece"]]:
    line: list[Piece] = []
    for piece in pieces:
        line.append(piece)
        if piece.text.endswith("\n") or len(line) == max_length:
            yield line
            line = []
    if line:
        yield line


def write_side_by_side(titles: list[str], texts: list[str]) -> None:
    """Write a column for each temperature; one below the other if the columns would be too narrow."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = result_console()
    if console.width // len(titles) < MIN_COLUMNS:
        for title, text in zip(titles, texts, strict=True):
            console.print(Text(f"temperature {title}", style="bold"))
            write([text, "\n"])
        return
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1))
    for title in titles:
        table.add_column(f"temperature {title}", overflow="fold", ratio=1)
    table.add_row(*(Text(printable(text)) for text in texts))
    console.print(table)


def as_json(model: Any, text: "GeneratedText", prime: str | bytes) -> dict[str, Any]:
    """Return the object of `sample --json`."""
    return {
        "run": model.name,
        "text": text.text,
        "prime": _decoded(prime),
        "seed": text.seed,
        "logprob": text.logprob,
        "logprobs": text.logprobs,
        **_end_as_json(text),
        **model.origin(),
    }


def beams_as_json(model: Any, texts: Sequence["GeneratedText"], prime: str | bytes) -> dict[str, Any]:
    """Return the object of `sample --beam --json`."""
    beams = [
        {"text": text.text, "logprob": text.logprob, "score": text.score, "stop": text.stop, "logprobs": text.logprobs}
        | _end_as_json(text)
        for text in texts
    ]
    best = {"text": texts[0].text, "logprob": texts[0].logprob}
    seed = texts[0].seed
    return {"run": model.name, "prime": _decoded(prime), "seed": seed, **best, "beams": beams, **model.origin()}


def _end_as_json(text: "GeneratedText") -> dict[str, Any]:
    """Return whether a document has ended; nothing without documents."""
    return {} if text.has_ended is None else {"has_ended": text.has_ended}


def print_long_json(value: dict[str, Any]) -> None:
    """Print the same as `print_json`, part by part: the line is several times as large as the value."""
    parts = json.JSONEncoder(allow_nan=False).iterencode(replace_non_finite(value))
    while part := "".join(islice(parts, 10_000)):
        sys.stdout.write(part.replace("\x7f", "\\u007f"))
    sys.stdout.write("\n")
    sys.stdout.flush()


def _decoded(prime: str | bytes) -> str:
    return prime.decode("utf-8", "replace") if isinstance(prime, bytes) else prime
