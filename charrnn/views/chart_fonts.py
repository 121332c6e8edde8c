"""Find fonts of this machine for the texts of a chart.

matplotlib brings a font, which has the letters of the Latin, Greek, Cyrillic, Arabic and Hebrew
scripts and of a few more. Chinese, Japanese and Korean texts need a font of the machine.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from charrnn.views.theme import clusters, visible

FAMILY = "DejaVu Sans"
"""The font that matplotlib brings."""


@dataclass(frozen=True)
class ChartFonts:
    """The fonts that draw the texts of a chart, and what none of them has."""

    families: tuple[str, ...]
    """The names of the fonts: a character is drawn in the first one that has it."""
    missing: frozenset[str] = frozenset()
    """The characters that no font has."""

    def drawn(self, text: str) -> str:
        """Return a text as it is drawn, on one line: control characters are visible, and in place
        of a character that no font has stands its number, such as <7d05>."""
        shown = []
        for cluster in _clusters(text):
            form = visible(cluster)
            if not self.missing.isdisjoint(form):
                form = "".join(f"<{ord(character):02x}>" for character in cluster)
            shown.append(form)
        return "".join(shown)

    def missing_letters(self, text: str) -> str:
        """Return the characters of a text that no font has, each once. The pictures of control
        characters, which few fonts have, are not among them."""
        return "".join(dict.fromkeys(letter for letter in text if letter in self.missing))


FONTS_OF_READER = ChartFonts(families=("sans-serif",))
"""The fonts of a file whose texts are drawn by the program that shows it."""


def find_fonts(texts: Collection[str]) -> ChartFonts:
    """Find fonts of this machine that have the characters of these texts together.

    One needs it for a PNG and a PDF; those of an SVG are FONTS_OF_READER. It must be called within
    `matplotlib_settings.matplotlib_with`.
    """
    from matplotlib.font_manager import findfont

    missing: set[str] = set()
    for text in texts:
        for cluster in _clusters(text):
            missing.update(visible(cluster))
    missing -= _characters_of(findfont(FAMILY), missing)

    # Of the other fonts only those that have some of the characters.
    families = [FAMILY]
    for family, path in _fonts_of_machine():
        if not missing:
            break
        found = _characters_of(path, missing)
        if found:
            families.append(family)
            missing -= found
    return ChartFonts(families=tuple(families), missing=frozenset(missing))


def _clusters(text: str) -> Iterator[str]:
    """Yield the grapheme clusters of a text."""
    for cluster, _ in clusters((character, None) for character in text):
        yield cluster


def _fonts_of_machine() -> Iterator[tuple[str, str]]:
    """Yield the names and the files of the upright fonts of normal weight, always in the same
    order, those without serifs first."""
    from matplotlib import get_data_path
    from matplotlib.font_manager import fontManager

    fonts = set()
    for font in fontManager.ttflist:
        # matplotlib's other fonts are for mathematics, or have boxes in place of letters.
        is_own = Path(get_data_path()) in Path(font.fname).parents
        if font.style == "normal" and font.weight == 400 and not is_own:
            fonts.add(("Sans" not in font.name, font.name, str(font.fname)))
    for _, name, path in sorted(fonts):
        yield name, path


def _characters_of(path: str, wanted: Collection[str]) -> set[str]:
    """Return which of the wanted characters a font has; none if its file cannot be read."""
    from matplotlib.font_manager import get_font

    with suppress(OSError, RuntimeError, ValueError):
        codes = get_font(path).get_charmap()
        return {character for character in wanted if ord(character) in codes}
    return set()
