"""The state of the explorer, without its widgets: lists of cells, the text they colour, two texts to compare.

A typed text is read one character at a time, with the model's state after each, so that the last can be deleted.
Shapes: N characters or ids, L layers, S state vectors per layer, H units per layer, V vocabulary. Without torch.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn.api import Model
from charrnn.cells.records import CellFindings, CellScore
from charrnn.config import resolved
from charrnn.detectors.registry import DETECTORS
from charrnn.errors import UsageError
from charrnn.generation.distribution import next_char_probs
from charrnn.generation.options import SAMPLE_TEMPERATURE, Shaping
from charrnn.lab.directions import cells_text, outputs_of, scaled_outputs, score_line
from charrnn.model.clamping import Direction
from charrnn.model.registry import cell_type
from charrnn.model.stepper import Stepper
from charrnn.text.encoded import decode_each, undo_decode_each
from charrnn.text.vocab import Vocab
from charrnn.views.tables import NO_GAIN_MARK, choosing_score_text, interval_text, polarity_text, score_text

if TYPE_CHECKING:
    from charrnn.cells.trace import Trace


Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Character:
    """One character that was read, and the model after each of its ids."""

    text: str
    """One decoded character per id: several for a character of several bytes."""
    cells: list[Float32Array]
    """(L, H) for each id."""
    state: Float32Array
    """(L, S, 1, H)"""
    logits: Float32Array
    """(1, V)"""


class IncrementalReader:
    """Reads a text that grows, from the initial state: the values of all cells, and the next characters, are known."""

    def __init__(self, stepper: Stepper, vocab: Vocab, end_id: int | None = None) -> None:
        """Start a text, or after `end_id`, the END of a document, the next document."""
        self._stepper, self._vocab = stepper, vocab
        self._start = stepper.initial_state(1)
        if end_id is not None:
            _, self._start = stepper.step(np.array([end_id]), self._start)
        self._characters: list[_Character] = []

    def __len__(self) -> int:
        """Return the number of characters that were read: of bytes, fewer than N."""
        return len(self._characters)

    @property
    def text(self) -> str:
        """One decoded character per id (N), as in a `Trace`."""
        return "".join(one.text for one in self._characters)

    def read(self, character: str) -> None:
        """Let the model read one more character."""
        state = self._characters[-1].state if self._characters else self._start
        ids = self._vocab.encode(character)
        logits = np.zeros((1, self._stepper.vocab_size), np.float32)
        cells = []
        for char in ids:
            logits, state = self._stepper.step(np.array([char]), state)
            cells.append(self._stepper.values(state)[:, 0])
        self._characters.append(_Character(decode_each(self._vocab, ids), cells, state, logits))

    def delete_last(self) -> None:
        """Delete the last character, if there is one: the model is as it was before."""
        del self._characters[-1:]

    def values(self, layer: int, unit: int) -> Float32Array:
        """Return the value of a cell after each id (N,)."""
        return np.array([cells[layer, unit] for one in self._characters for cells in one.cells], np.float32)

    def guesses(self, index: int, top: int) -> list[tuple[int, float]]:
        """Return the `top` most likely ids after id `index` and their probabilities, most likely first.

        The list is empty inside a character of several bytes, where nothing is predicted.
        """
        end = 0
        for one in self._characters:
            end += len(one.cells)
            if end == index + 1:
                probs = next_char_probs(one.logits, Shaping())[0]
                return [(int(char), float(probs[char])) for char in np.argsort(-probs, kind="stable")[:top]]
        return []


CellIndex = tuple[int, int]
"""(layer, unit)"""
ALL, BEST = "all cells", "best cell for each detector"
"""Orders of the list of cells that need no detector."""
NUM_GUESSES = 5
"""Next characters that are shown for the cursor."""
MAX_TYPED = 10_000
"""Characters that can be typed: the state after each is kept, so that it can be deleted."""
MAX_PRIME = 500
"""Characters up to the cursor that the model reads before it generates."""
NUM_GENERATED = 600
"""Characters that are generated with and without a clamped cell."""


class ViewedText(ABC):
    """A text, the values of all cells at each of its characters, and the character at the cursor."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.cursor = 0

    @property
    @abstractmethod
    def text(self) -> str:
        """One character per id, as in a `Trace`."""

    @abstractmethod
    def values(self, cell: CellIndex) -> Float32Array | None:
        """Return the cell's value at each character (N,), or None until they are known."""

    def outputs(self, direction: Direction) -> NDArray[np.float64] | None:
        """Return the output (N,) of a direction, from -1 at its low to 1 at its high; None as `values`."""
        of_cells = [values for cell in direction.cells if (values := self.values(cell)) is not None]
        if len(of_cells) < len(direction.cells):
            return None
        return scaled_outputs(direction, outputs_of(direction, of_cells))

    @abstractmethod
    def guesses(self) -> list[tuple[str, float]]:
        """Return the most likely next characters after the cursor and their probabilities, if they are known."""

    def before_cursor(self) -> str:
        """The text up to and including the cursor: its last MAX_PRIME characters."""
        return self.text[: self.cursor + 1][-MAX_PRIME:]


class TracedText(ViewedText):
    """A text that is given as a whole; its values are known once `trace` is set."""

    def __init__(self, model: Model, text: str) -> None:
        super().__init__(model)
        self._text = text
        self.trace: Trace | None = None

    @property
    def text(self) -> str:
        return self._text

    def values(self, cell: CellIndex) -> Float32Array | None:
        return None if self.trace is None else self.trace.cells[:, cell[0], cell[1]]

    def guesses(self) -> list[tuple[str, float]]:
        if self.trace is None:
            return []
        (guesses,) = self.model.guesses(self.trace, slice(self.cursor, self.cursor + 1))
        return guesses


class TypedText(ViewedText):
    """A text that grows as it is typed; the model reads it character by character from a zero state."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._reader = IncrementalReader(model.stepper, model.vocab, model.config.end_id)

    @property
    def text(self) -> str:
        return self._reader.text

    @property
    def is_full(self) -> bool:
        """Whether the limit of MAX_TYPED characters is reached."""
        return len(self._reader) >= MAX_TYPED

    def feed(self, character: str) -> None:
        """Let the model read one more character, and move the cursor to it."""
        self._reader.read(character)
        self.cursor = len(self.text) - 1

    def delete_last(self) -> None:
        """Delete the last character, if there is one."""
        self._reader.delete_last()
        self.cursor = max(0, len(self.text) - 1)

    def values(self, cell: CellIndex) -> Float32Array | None:
        return self._reader.values(*cell)

    def guesses(self) -> list[tuple[str, float]]:
        guesses = self._reader.guesses(self.cursor, NUM_GUESSES)
        return [(self.model.character(char), probability) for char, probability in guesses]


@dataclass(frozen=True, slots=True)
class Row:
    """A cell in a list, with its score if it is known."""

    cell: CellIndex
    score: CellScore | None = None

    def shown(self, order: str) -> list[str]:
        """Return the texts of the row, one per column of `columns(order)`."""
        if self.score is None:
            return [_name(self.cell), "", "", "", ""]
        sorted_by = f"{self.score.strength:.3f}" if order == BEST else choosing_score_text(self.score)
        shown = score_text(self.score) + NO_GAIN_MARK * self.score.is_no_better_than_untrained
        return [_name(self.cell), self.score.detector, shown, sorted_by, polarity_text(self.score)]


def columns(order: str) -> tuple[str, ...]:
    """Return the columns of a list; the one that it is sorted by is marked.

    `strength` puts AUC and rho on one scale, from chance (0) to perfect (1). `1st half` is the score on the half of the
    text that a cell is chosen on, `score` that on the other.
    """
    if order == ALL:
        return ("cell ▲", "follows", "score", "1st half", "polarity")
    return ("cell", "follows", "score", "strength ▼" if order == BEST else "1st half ▼", "polarity")


@dataclass(frozen=True, slots=True)
class RankedFindings:
    """The best cell for each detector and, once they are ranked, all cells for each."""

    findings: CellFindings
    ranking: dict[str, tuple[CellScore, ...]]
    """The scores of all cells by detector; empty until they are ranked."""


@dataclass
class Exploration:
    """The lists of cells, which of them is shown, the selected row, and the text that its cell colours."""

    model: Model
    viewed: ViewedText
    order: str = ALL
    row: int = 0
    orders: dict[str, list[Row]] = field(default_factory=dict)
    """The lists by name: of all cells, and once they are scored, BEST and one for each detector."""
    direction: Direction | None = None
    """What is shown in place of the selected cell, if anything."""

    def __post_init__(self) -> None:
        config = self.model.config
        cells = np.ndindex(resolved(config.num_layers), resolved(config.hidden_size))
        self.orders[ALL] = [Row((layer, unit)) for layer, unit in cells]

    @property
    def rows(self) -> list[Row]:
        return self.orders[self.order]

    @property
    def cell(self) -> CellIndex:
        """The selected cell."""
        return self.rows[self.row].cell

    @property
    def values(self) -> "Float32Array | NDArray[np.float64] | None":
        """What colours the text (N,): the values of the selected cell, or the outputs of `direction`."""
        return self.viewed.values(self.cell) if self.direction is None else self.viewed.outputs(self.direction)

    def select(self, row: int) -> None:
        """Select the cell of a row, the last one if there are fewer."""
        self.row, self.direction = max(0, min(row, len(self.rows) - 1)), None

    def set_findings(self, findings: CellFindings, ranked: dict[str, tuple[CellScore, ...]]) -> None:
        """Set the scores of the best cell for each detector and, if they are ranked, of all cells for each."""
        strongest: dict[CellIndex, CellScore] = {}
        for scores in (findings.scores, *ranked.values()):
            for score in scores:
                known = strongest.setdefault((score.layer, score.unit), score)
                if score.strength > known.strength:
                    strongest[score.layer, score.unit] = score
        by_name = {BEST: findings.scores} | ranked if findings.scores else {}
        lists = {name: [Row((score.layer, score.unit), score) for score in scores] for name, scores in by_name.items()}
        self.orders = lists | {ALL: [Row(row.cell, strongest.get(row.cell)) for row in self.orders[ALL]]}

    def turn_to(self, order: str) -> None:
        """Switch to the list of that name and select its first cell."""
        self.order, self.row, self.direction = order, 0, None

    def turn(self, by: int) -> None:
        """Switch to the list `by` places further on, cyclically."""
        names = list(self.orders)
        self.turn_to(names[(names.index(self.order) + by) % len(names)])

    def go_to(self, where: str) -> None:
        """Select cell `layer:unit`, in this list or, if it is missing, in that of all cells. Raises UsageError."""
        match = re.fullmatch(r"\s*(\d{1,9})\s*:\s*(\d{1,9})\s*", where, re.ASCII)
        if match is None:
            raise UsageError("Write a cell as layer:unit, both from 0, such as 0:17.")
        cell = (int(match[1]), int(match[2]))
        self.model.stepper.check_unit(*cell)
        if all(row.cell != cell for row in self.rows):
            self.turn_to(ALL)
        self.select(next(index for index, row in enumerate(self.rows) if row.cell == cell))

    def caption(self) -> tuple[str, str]:
        """Return the name of the selected cell, or of the direction, and what is known about it."""
        if self.direction is not None:
            name = self.direction.detector
            about = f" ({looks_for(name)}): {score_line(self.direction)}; {cells_text(self.direction)}"
            return f"direction {self.direction.name}", about
        score = self.rows[self.row].score
        title = f"cell {_name(self.cell)}"
        if score is None:
            return title, f" of {self.model.name}, {cell_type(self.model.config.cell).shows}"
        interval = interval_text(score)
        untrained = "" if score.untrained is None else f"; untrained baseline {score.untrained:.3f}"
        return f"{title} follows {score.detector}", "".join(
            (
                f" ({looks_for(score.detector)}): {score_text(score)}",
                f", 95 % {interval}" if interval else "",
                f", {polarity_text(score)}",
                f"; {choosing_score_text(score)} on the first half",
                untrained + " (no better)" * score.is_no_better_than_untrained,
            )
        )


@dataclass(frozen=True, slots=True)
class Clamp:
    """A text to generate with a cell or a direction clamped and, with the same random numbers, without."""

    prime: str
    """Decoded, one character per id."""
    what: CellIndex | Direction
    value: float
    seed: int = 0

    @property
    def name(self) -> str:
        """What is clamped: a cell as layer:unit, or the name of a direction."""
        return self.what.name if isinstance(self.what, Direction) else _name(self.what)

    @property
    def cell(self) -> CellIndex:
        """The cell whose values colour the texts: the best one of a direction."""
        return self.what.cells[0] if isinstance(self.what, Direction) else self.what

    def generate(
        self, model: Model, *, is_clamped: bool, check: Callable[[], object] = lambda: None
    ) -> tuple[str, list[float]]:
        """Generate the text after the prime; return it and the cell's value at each of its characters.

        `check` is called before each of them; what it raises ends the work.
        """
        pieces = model.stream(
            length=NUM_GENERATED,
            temperature=SAMPLE_TEMPERATURE,
            seed=self.seed,
            prime=undo_decode_each(self.prime, model.vocab.kind),
            unknown="nearest",
            clamps={self.what: self.value} if is_clamped else {},
            cell=self.cell,
        )
        drawn = []
        check()
        for piece in pieces:
            drawn += [(character, piece.value) for character in piece.text]
            check()
        return "".join(character for character, _ in drawn), [value for _, value in drawn]

    @classmethod
    def parse(cls, value: str, exploration: Exploration) -> "Clamp":
        """Clamp the selected cell, or the direction shown, at a value that was typed. Raises UsageError."""
        prime, direction = exploration.viewed.before_cursor(), exploration.direction
        named = {} if direction is None else {"low": direction.low, "high": direction.high}
        try:
            word = value.strip()
            number = named[word] if word in named else float(word)
        except ValueError:
            allowed = "a number from -1 to 1" if direction is None else "low, high or a number"
            raise UsageError(f"Write {allowed}.") from None
        if direction is not None:
            if not math.isfinite(number):
                raise UsageError("Write low, high or a number.")
            return cls(prime, direction, number)
        if not -1 <= number <= 1:
            raise UsageError(f"{number:g} is outside -1 to 1.")
        return cls(prime, exploration.cell, number)


def looks_for(detector: str) -> str:
    """Return what a detector looks for, in a few words."""
    return DETECTORS[detector].looks_for


def _name(cell: CellIndex) -> str:
    return f"{cell[0]}:{cell[1]}"
