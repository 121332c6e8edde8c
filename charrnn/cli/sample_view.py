"""What `charrnn sample` shows: text as it comes, coloured, side by side, marked; or JSON."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from charrnn.cli.terminal import print_json, printable, result_console, warn

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.generation.writing import Piece
    from charrnn.records.generation import GeneratedText

NARROWEST = 16
"""Columns that a text side by side with others needs."""
LOOKED_AT = 2_000
"""Characters at the end of a text among which a loop is looked for."""


def write(chunks: Iterable[str]) -> str:
    """Write a text to stdout, ended by a newline, so that the same seed gives the same bytes wherever they go.

    On a terminal, characters that could steer it are made visible, and each chunk is shown at once. Returns the end of
    the text.
    """
    is_terminal, end = sys.stdout.isatty(), ""
    for chunk in chunks:
        sys.stdout.write(printable(chunk) if is_terminal else chunk)
        if is_terminal:
            sys.stdout.flush()
        end = (end + chunk)[-LOOKED_AT:]
    if end and not end.endswith("\n"):
        sys.stdout.write("\n")
    return end


def write_coloured(prime: str, pieces: Iterable["Piece"]) -> None:
    """Colour each character by its value as it comes; without colours, a line of blocks follows each line."""
    from rich.text import Text

    from charrnn.records.microscope import ColouredText
    from charrnn.render.heat import HeatMap, value_style

    console = result_console()
    if not console.is_terminal:
        write(chain([prime], (piece.text for piece in pieces)))
        return
    shown_prime = printable(prime)
    if console.color_system is None or console.no_color:
        sys.stdout.write(shown_prime + ("\n" if prime else ""))
        for line in _lines_of(pieces):
            values = tuple(piece.value for piece in line for _ in piece.text)
            console.print(HeatMap(ColouredText(text="".join(piece.text for piece in line), values=values)), end="")
        return
    sys.stdout.write(shown_prime)
    last = "\n"
    for piece in pieces:
        for character in piece.text:
            console.print(Text(printable(character), style=value_style(piece.value)), end="", soft_wrap=True)
        sys.stdout.flush()
        last = piece.text[-1:] or last
    if last != "\n":
        sys.stdout.write("\n")


def _lines_of(pieces: Iterable["Piece"]) -> Iterator[list["Piece"]]:
    line: list[Piece] = []
    for piece in pieces:
        line.append(piece)
        if piece.text.endswith("\n"):
            yield line
            line = []
    if line:
        yield line


def write_side_by_side(titles: list[str], texts: list[str]) -> None:
    """A column for each temperature; one below the other, where the columns would be too narrow to read."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = result_console()
    if console.width // len(titles) < NARROWEST:
        for title, text in zip(titles, texts, strict=True):
            console.print(Text(f"temperature {title}", style="bold"))
            write([text, "\n"])
        return
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1))
    for title in titles:
        table.add_column(f"temperature {title}", overflow="fold", ratio=1)
    table.add_row(*(Text(printable(text)) for text in texts))
    console.print(table)


def as_json(model: "Model", text: "GeneratedText", prime: str | bytes) -> dict[str, Any]:
    """The object of `sample --json`."""
    spelled = _spell(prime)
    return {"run": model.name, "text": text.text, "prime": spelled, "seed": text.seed} | {
        "logprob": text.logprob,
        "logprobs": text.logprobs,
    }


def beams_as_json(model: "Model", texts: Sequence["GeneratedText"], prime: str | bytes) -> dict[str, Any]:
    """The object of `sample --beam --json`."""
    beams = [
        {"text": text.text, "logprob": text.logprob, "score": text.score, "stop": text.stop, "logprobs": text.logprobs}
        for text in texts
    ]
    best = {"text": texts[0].text, "logprob": texts[0].logprob}
    return {"run": model.name, "prime": _spell(prime), **best, "beams": beams}


def write_novelty(
    model: "Model",
    text: "GeneratedText",
    shown_prime: str,
    prime: str | bytes,
    min_copy: int | None,
    *,
    show_as_json: bool,
) -> None:
    """The prime that was typed, the text with what it copies marked, and the figures."""
    from charrnn.generation.novelty import MIN_LENGTH
    from charrnn.render.copied import CopiedText
    from charrnn.render.tables import novelty_table

    found = model.novelty(text.text, min_length=MIN_LENGTH if min_copy is None else min_copy)
    if show_as_json:
        print_json(as_json(model, text, prime) | {"novelty": found.to_json()})
        return
    console = result_console()
    if shown_prime:
        sys.stdout.write(printable(shown_prime) + "\n")
    console.print(CopiedText(found))
    console.print(novelty_table(found))


def warn_of_loop(text: str, remedy: str, *, quiet: bool) -> None:
    """Say on stderr that a text ends in a loop, and the way out."""
    from charrnn.generation.loops import find_loop

    if loop := find_loop(text):
        warn(
            (
                f"the text ends in a loop: its last {_characters(loop.period)} {loop.repeats} times. "
                f"The likeliest texts of character models do that; try {remedy}.",
            ),
            quiet=quiet,
        )


def _spell(prime: str | bytes) -> str:
    return prime.decode("utf-8", "replace") if isinstance(prime, bytes) else prime


def _characters(number: int) -> str:
    return "character comes" if number == 1 else f"{number} characters come"
