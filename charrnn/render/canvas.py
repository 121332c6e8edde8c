"""A drawing of dots in characters: braille, or ASCII where nothing else can be written."""

from collections import Counter

from rich.style import Style
from rich.text import Text

BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, 4 rows of 2 (Unicode, block 2800)."""
CROWDS = " .:+#"
"""In ASCII: no dot, one, two, three, more."""


class Canvas:
    """Places are shares of the width, from the left, and of the height, from the bottom, within [0, 1].

    A character is 2 x 4 dots, which are all in the style of the latest of them; in ASCII it is one place, which counts
    its dots. A mark stands in its character's place.
    """

    def __init__(self, width: int, height: int, *, ascii_only: bool) -> None:
        """Make it `width` columns by `height` lines, empty."""
        self.width, self.height, self.ascii_only = width, height, ascii_only
        self._per_column, self._per_line = (1, 1) if ascii_only else (2, 4)
        self._dots: Counter[tuple[int, int]] = Counter()
        self._marks: dict[tuple[int, int], str] = {}
        self._styles: dict[tuple[int, int], Style] = {}

    def column(self, x: float) -> int:
        """The column that a place falls into, from the left."""
        return round(x * (self.width * self._per_column - 1)) // self._per_column

    def row(self, y: float) -> int:
        """The line that a place falls into, from the top."""
        return round((1 - y) * (self.height * self._per_line - 1)) // self._per_line

    def dot(self, x: float, y: float, style: Style) -> None:
        """Draw a dot."""
        self._draw(*self._place(x, y), style)

    def line(self, start: tuple[float, float], end: tuple[float, float], style: Style) -> None:
        """Draw a straight line of dots, its ends included; a dot that is there already counts for one of them."""
        (x, y), (to_x, to_y) = self._place(*start), self._place(*end)
        num_steps = max(abs(to_x - x), abs(to_y - y), 1)
        for step in range(num_steps + 1):
            place = x + round((to_x - x) * step / num_steps), y + round((to_y - y) * step / num_steps)
            if place not in self._dots:
                self._draw(*place, style)

    def mark(self, x: float, y: float, mark: str, style: Style) -> None:
        """Put a mark over whatever is drawn there."""
        place = self.column(x), self.row(y)
        self._marks[place], self._styles[place] = mark, style

    def lines(self) -> list[Text]:
        """The drawing, top to bottom."""
        shown = [Text() for _ in range(self.height)]
        for row, line in enumerate(shown):
            for column in range(self.width):
                line.append(
                    self._marks.get((column, row)) or self._character(column, row), self._styles.get((column, row))
                )
        return shown

    def _place(self, x: float, y: float) -> tuple[int, int]:
        """Column and row, from the top, of the dot that is nearest."""
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
