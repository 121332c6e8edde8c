"""Draw the most likely next characters below each character of a text, after Karpathy's blog post (2015)."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from charrnn.views.heatmap import fold
from charrnn.views.palette import Palette, is_plain, palette_of
from charrnn.views.visible import visible, visible_in_ascii

ABOUT_GUESSES = "Below each character: the most likely next ones, best first (2 % or more; stronger is more likely)."
"""What is drawn below the characters with --guesses."""
MIN_PROBABILITY = 0.02
"""Guesses less likely than this are not drawn."""
FAINTEST = 0.2
"""The share of the full colour that an unlikely guess has, so that all guesses differ from the page."""


@dataclass(frozen=True)
class GuessMap:
    """A renderable of a text, coloured by a cell's values, with the guesses below each character, most likely first.

    The background of a guess shows its probability. ␣ is a space.
    """

    text: str
    values: Sequence[float]
    guesses: Sequence[Sequence[tuple[str, float]]]
    """For each character of the text: (text, probability) of the guesses for the next one."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plain, palette = is_plain(console), palette_of(console)
        show = visible_in_ascii if options.ascii_only else visible
        space = "_" if options.ascii_only else "␣"
        characters = zip(self.text, zip(self.values, self.guesses, strict=True), strict=True)
        for line in fold(characters, options.max_width, ascii_only=options.ascii_only):
            for shown, (value, _) in line:
                yield Segment(shown, None if plain else palette.value(value))
            yield Segment.line()
            for rank in range(max(len(guesses) for _, (_, guesses) in line)):
                row = [_guess(guesses, rank) for _, (_, guesses) in line]
                if not any(guess for guess, _ in row):
                    break
                for (shown, _), (guess, probability) in zip(line, row, strict=True):
                    text = _fit("".join(map(show, guess)) if guess != " " else space, cell_len(shown))
                    yield Segment(text, None if plain else guess_style(probability, palette))
                yield Segment.line()
            yield Segment.line()


def guess_style(probability: float, palette: Palette) -> Style:
    """Return the style of a guess: the more likely, the stronger the background. Probability 0 has none."""
    return palette.share("guess", FAINTEST + (1 - FAINTEST) * probability if probability else 0.0)


def _guess(guesses: Sequence[tuple[str, float]], rank: int) -> tuple[str, float]:
    """Return the guess of that rank, or an empty one with probability 0 if there is none above MIN_PROBABILITY."""
    return guesses[rank] if rank < len(guesses) and guesses[rank][1] >= MIN_PROBABILITY else ("", 0.0)


def _fit(text: str, width: int) -> str:
    """Cut or pad a guess to the width of the character above it; a dot if its first character is wider."""
    while cell_len(text) > width:
        text = text[:-1] if len(text) > 1 else "·"
    return text + " " * (width - cell_len(text))
