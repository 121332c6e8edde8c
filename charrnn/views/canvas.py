"""Draw dots with characters: braille, or ASCII for terminals that show nothing else."""

from collections import Counter

from rich.style import Style
from rich.text import Text

BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, 4 rows of 2 (Unicode block U+2800)."""
CROWDS = " .:+#"
"""ASCII characters for no dot, one, two, three, and more dots."""


class Canvas:
    """A grid of characters to draw on. Positions (x, y) are in [0, 1], from the lower left corner.

    A braille character has 2 x 4 dots, all in the style of the dot drawn last; an ASCII character stands for the number
    of its dots. A mark replaces the character at its position.
    """

    def __init__(self, width: int, height: int, *, ascii_only: bool) -> None:
        """Create an empty canvas of `width` columns and `height` lines."""
        self.width, self.height, self.ascii_only = width, height, ascii_only
        self._per_column, self._per_line = (1, 1) if ascii_only else (2, 4)
        self._dots: Counter[tuple[int, int]] = Counter()
        self._marks: dict[tuple[int, int], str] = {}
        self._styles: dict[tuple[int, int], Style] = {}

    def column(self, x: float) -> int:
        """Return the column of a position, from the left."""
        return round(x * (self.width * self._per_column - 1)) // self._per_column

    def row(self, y: float) -> int:
        """Return the line of a position, from the top."""
        return round((1 - y) * (self.height * self._per_line - 1)) // self._per_line

    def dot(self, x: float, y: float, style: Style) -> None:
        """Draw a dot."""
        self._draw(*self._place(x, y), style)

    def line(self, start: tuple[float, float], end: tuple[float, float], style: Style) -> None:
        """Draw a straight line of dots, its ends included. Dots that are already drawn stay as they are."""
        (x, y), (to_x, to_y) = self._place(*start), self._place(*end)
        num_steps = max(abs(to_x - x), abs(to_y - y), 1)
        for step in range(num_steps + 1):
            place = x + round((to_x - x) * step / num_steps), y + round((to_y - y) * step / num_steps)
            if place not in self._dots:
                self._draw(*place, style)

    def mark(self, x: float, y: float, mark: str, style: Style) -> None:
        """Put a character over the dots at a position."""
        place = self.column(x), self.row(y)
        self._marks[place], self._styles[place] = mark, style

    def lines(self) -> list[Text]:
        """Return the drawing line by line, from the top."""
        shown = [Text() for _ in range(self.height)]
        for row, line in enumerate(shown):
            for column in range(self.width):
                line.append(
                    self._marks.get((column, row)) or self._character(column, row), self._styles.get((column, row))
                )
        return shown

    def _place(self, x: float, y: float) -> tuple[int, int]:
        """Return column and row, from the top, of the nearest dot."""
        return round(x * (self.width * self._per_column - 1)), round((1 - y) * (self.height * self._per_line - 1))

    def _draw(self, column: int, row: int, style: Style) -> None:
        self._dots[column, row] += 1
        place = column // self._per_column, row // self._per_line
        if place not in self._marks:
            self._styles[place] = style

    def _character(self, column: int, row: int) -> str:
        if self.ascii_only:
            return CROWDS[min(self._dots[column, row], len(CROWDS) - 1)]
        bits = [
            bit
            for down, across in enumerate(BRAILLE)
            for right, bit in enumerate(across)
            if (2 * column + right, 4 * row + down) in self._dots
        ]
        return chr(0x2800 + sum(bits)) if bits else " "
