"""The state of the explorer, without its widgets: lists of cells, the text they colour, two texts
to compare.

Shapes: N characters or ids, L layers, H units per layer. Without torch.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from charrnn.api import Model
from charrnn.cells.findings import CellFindings, CellScore
from charrnn.cells.trace import Float32Array, Trace
from charrnn.config.settings import resolved
from charrnn.detectors.registry import DETECTORS
from charrnn.errors import UsageError
from charrnn.generation.distribution import next_char_probs
from charrnn.generation.sample_options import SAMPLE_TEMPERATURE, Clamps, Shaping
from charrnn.generation.sampling import PrimedState, start_ids
from charrnn.model.cell_type_registry import cell_type
from charrnn.text.vocab import decode_each, undo_decode_each
from charrnn.views.tables import (
    choosing_score_text,
    ends_text,
    meaning,
    polarity_text,
    score_mark,
    score_text,
)
from charrnn.views.theme import FULL_SCALE, Scale, scale_of

CellIndex = tuple[int, int]
"""(layer, unit)"""
ALL = "all cells"
"""The order of the list that is there before anything is scored."""
BEST = "best cell for each detector"
"""The order of the list that comes first once it is."""
NUM_GUESSES = 5
"""Next characters that are shown for the cursor."""
MAX_TYPED = 2_000
"""Characters that can be typed or pasted: all are read before the next key, and the values after
each are kept."""
MAX_PRIME = 500
"""Characters up to the cursor that the model reads before it generates."""
NUM_GENERATED = 600
"""Characters that are generated with and without a clamped cell."""


class _ViewedText:
    """A text, and the character at the cursor."""

    def __init__(self, model: Model, text: str = "") -> None:
        """View a decoded text with one character per id, as in a `Trace`."""
        self.model = model
        self.text = text
        self.cursor = 0

    def before_cursor(self) -> str:
        """Return the text up to and including the cursor: its last MAX_PRIME characters."""
        return self.text[: self.cursor + 1][-MAX_PRIME:]


class TracedText(_ViewedText):
    """A text that is given as a whole; its values are known once `trace` is set."""

    trace: "Trace | None" = None

    def values(self, cell: CellIndex) -> Float32Array | None:
        # Not read yet: the text is shown without colours.
        if self.trace is None:
            return None
        layer, unit = cell
        return self.trace.cells[:, layer, unit]

    def guesses(self) -> list[tuple[str, float]]:
        if self.trace is None:
            return []
        (guesses,) = self.model.guesses(self.trace, slice(self.cursor, self.cursor + 1))
        return guesses


class TypedText(_ViewedText):
    """A text that grows as it is typed; the model reads it character by character from its initial
    state."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)

        # As a sample begins: after the END of a document, if the model has documents.
        self._start = model.stepper.initial_state(1)
        end_id = model.config.end_id
        if end_id is not None:
            _, self._start = model.stepper.read(start_ids(model.vocab, end_id))

        self._read: list[PrimedState] = []
        """The logits (1, V) and the state (L, S, 1, H) after each id."""
        self._cells: list[Float32Array] = []
        """(L, H) after each id."""
        self._ends: list[int] = []
        """The number of ids after each character: of bytes, several for a character."""

    @property
    def is_full(self) -> bool:
        """Whether the limit of MAX_TYPED characters is reached."""
        return len(self._ends) >= MAX_TYPED

    def feed(self, character: str) -> None:
        """Let the model read one more character, and move the cursor to it."""
        stepper = self.model.stepper
        ids = self.model.vocab.encode(character)
        for place in range(len(ids)):
            state = self._start
            if self._read:
                state = self._read[-1].state
            logits, state = stepper.step(ids[place : place + 1], state)
            self._read.append(PrimedState(logits, state))
            self._cells.append(stepper.values(state)[:, 0])

        self._ends.append(len(self._read))
        self.text += decode_each(self.model.vocab, ids)
        self.cursor = len(self.text) - 1

    def delete_last(self) -> None:
        """Delete the last character, if there is one."""
        # The states are kept, so that nothing is read again.
        del self._ends[-1:]
        end = 0
        if self._ends:
            end = self._ends[-1]
        del self._read[end:]
        del self._cells[end:]
        self.text = self.text[:end]
        self.cursor = max(0, end - 1)

    def values(self, cell: CellIndex) -> Float32Array:
        return np.array([cells[cell] for cells in self._cells], np.float32)

    def guesses(self) -> list[tuple[str, float]]:
        if not self.text:
            return []

        # Of equally likely characters the first: the same on every machine.
        probs = next_char_probs(self._read[self.cursor].logits, Shaping())[0]
        best = np.argsort(-probs, kind="stable")[:NUM_GUESSES].tolist()
        return [(self.model.character(id), float(probs[id])) for id in best]


ViewedText = TracedText | TypedText
"""A text with the values of all cells at each of its characters, and the guesses after the cursor.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A cell in a list, with its score if it is known."""

    cell: CellIndex
    score: CellScore | None = None

    def shown(self, order: str) -> list[str]:
        """Return the texts of the row, one per column of `columns(order)`."""
        # A list without scores has its columns, too: they are filled while one looks.
        name = cell_name(self.cell)
        score = self.score
        if score is None:
            return [name, "", "", "", ""]

        sorted_by = choosing_score_text(score)
        if order == BEST:
            sorted_by = f"{score.strength:.3f}"
        shown = score_text(score) + score_mark(score)
        return [name, score.detector, shown, sorted_by, polarity_text(score)]


def columns(order: str) -> tuple[str, ...]:
    """Return the columns of a list; the one that it is sorted by is marked.

    `strength` puts AUC and rho on one scale, from chance (0) to perfect (1). `1st half` is the
    score on the half of the text that a cell is chosen on, `score` that on the other.
    """
    if order == ALL:
        return ("cell ▲", "follows", "score", "1st half", "polarity")
    if order == BEST:
        return ("cell", "follows", "score", "strength ▼", "polarity")
    return ("cell", "follows", "score", "1st half ▼", "polarity")


@dataclass
class Exploration:
    """The lists of cells, which of them is shown, the selected row, and the text that its cell
    colours."""

    model: Model
    viewed: ViewedText
    order: str = ALL
    row: int = 0
    orders: dict[str, list[Row]] = field(default_factory=dict)
    """The lists by name: of all cells, and once they are scored, BEST and one for each detector."""

    def __post_init__(self) -> None:
        self.given = self.viewed
        config = self.model.config
        # Every cell, from the first key on: the scores take seconds.
        cells = np.ndindex(resolved(config.num_layers), resolved(config.hidden_size))
        self.orders[ALL] = [Row((layer, unit)) for layer, unit in cells]

    @property
    def rows(self) -> list[Row]:
        return self.orders[self.order]

    @property
    def selected(self) -> Row:
        return self.rows[self.row]

    @property
    def cell(self) -> CellIndex:
        """The selected cell."""
        return self.selected.cell

    @property
    def values(self) -> Float32Array | None:
        """What colours the text (N,): the values of the selected cell, if known."""
        return self.viewed.values(self.cell)

    @property
    def scale(self) -> Scale:
        """The scale of the selected cell's values over the text that was given: the same while
        another is typed."""
        # Of the given text, as a scale of few typed characters would change with each of them.
        values = self.given.values(self.cell)
        if values is None:
            return FULL_SCALE
        return scale_of(values.tolist())

    def select(self, row: int) -> None:
        """Select the cell of a row, the last one if there are fewer."""
        self.row = max(0, min(row, len(self.rows) - 1))

    def set_findings(
        self, findings: CellFindings, ranked: Mapping[str, tuple[CellScore, ...]]
    ) -> None:
        """Set the scores of the best cell for each detector and, if they are ranked, of all cells
        for each."""
        # In the order in which `turn` goes through them: the best, by detector, and all.
        all_cells = self.orders[ALL]
        self.orders = {}
        if findings.scores:
            for name, scores in {BEST: findings.scores, **ranked}.items():
                self.orders[name] = [Row((one.layer, one.unit), one) for one in scores]

        # Of all cells each has its strongest score, of equals the first one.
        strongest: dict[CellIndex, CellScore] = {}
        for score in chain(findings.scores, *ranked.values()):
            cell = (score.layer, score.unit)
            if cell not in strongest or score.strength > strongest[cell].strength:
                strongest[cell] = score
        self.orders[ALL] = [Row(row.cell, strongest.get(row.cell)) for row in all_cells]

    def turn_to(self, order: str) -> None:
        """Switch to the list of that name and select its first cell."""
        self.order = order
        self.row = 0

    def turn(self, by: int) -> None:
        """Switch to the list `by` places further on, cyclically."""
        # A ring: the list after the last one is the first.
        names = list(self.orders)
        self.turn_to(names[(names.index(self.order) + by) % len(names)])

    def go_to(self, where: str) -> None:
        """Select cell `layer:unit`, in this list or, if it is missing, in that of all cells. Raises
        UsageError."""
        # At most nine digits: int() of thousands would raise an error of its own.
        match = re.fullmatch(r"\s*(\d{1,9})\s*:\s*(\d{1,9})\s*", where, re.ASCII)
        if match is None:
            raise UsageError("Write a cell as layer:unit, both from 0, such as 0:17.")

        cell = (int(match[1]), int(match[2]))
        self.model.stepper.check_unit(*cell)
        if cell not in [row.cell for row in self.rows]:
            self.turn_to(ALL)
        self.select([row.cell for row in self.rows].index(cell))

    def caption(self) -> tuple[str, str]:
        """Return the name of the selected cell, and what is known about it."""
        score = self.selected.score
        title = f"cell {cell_name(self.cell)}"
        if score is None:
            return title, f" of {self.model.name}, {cell_type(self.model.config.cell).shows}"

        # The score first: a terminal with few lines may cut off the end.
        about = f": {score_text(score)}{score_mark(score)}"
        interval = ends_text(score.ci_low, score.ci_high)
        if interval:
            about += f", 95 % {interval}"
        if meaning(score):
            about += f", {meaning(score)}"
        about += f"; {polarity_text(score)}: {DETECTORS[score.detector].looks_for}"
        about += f"; {choosing_score_text(score)} on the first half"
        if score.untrained is not None:
            about += f", untrained baseline {score.untrained:.3f}"
        return f"{title} follows {score.detector}", about


GeneratedSide = tuple[str, list[float]]
"""A generated text, and a cell's value at each of its characters."""


@dataclass(frozen=True, slots=True)
class Clamp:
    """A text to generate with a cell clamped and, with the same random numbers, without."""

    prime: str
    """Decoded, one character per id."""
    cell: CellIndex
    value: float
    seed: int = 0

    def generate(
        self, model: Model, pause: Callable[[], object]
    ) -> tuple[GeneratedSide, GeneratedSide]:
        """Generate the text after the prime with and without the clamp, each with the cell's value
        at its characters.

        `pause` is called before each of them; what it raises ends the work.
        """
        # Both with the same seed: without the clamp they would be the same text.
        clamped = self._generate(model, {self.cell: self.value}, pause)
        free = self._generate(model, {}, pause)
        return clamped, free

    def _generate(self, model: Model, clamps: Clamps, pause: Callable[[], object]) -> GeneratedSide:
        # Before the first character, too: the prime may be long.
        pause()
        pieces = model.stream(
            length=NUM_GENERATED,
            temperature=SAMPLE_TEMPERATURE,
            seed=self.seed,
            prime=undo_decode_each(self.prime, model.vocab.kind),
            unknown="nearest",
            clamps=clamps,
            cell=self.cell,
            on_draw=lambda num_chars: pause(),
        )
        text = ""
        values: list[float] = []

        # The value of a piece is that of each of its characters.
        for piece in pieces:
            text += piece.text
            values += [piece.value] * len(piece.text)
        return text, values

    @classmethod
    def parse(cls, value: str, exploration: Exploration) -> "Clamp":
        """Clamp the selected cell at a value that was typed. Raises UsageError."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan

        # nan is not in the range either.
        if not -1 <= number <= 1:
            raise UsageError("Write a number from -1 to 1.")
        return cls(exploration.viewed.before_cursor(), cell=exploration.cell, value=number)


def cell_name(cell: CellIndex) -> str:
    """Return layer and unit as options and keys take them, such as 0:17."""
    layer, unit = cell
    return f"{layer}:{unit}"
