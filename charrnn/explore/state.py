"""The state of the explorer without its widgets: lists of cells, the text that a cell colours, two
texts to compare.

Shapes: N characters or ids, L layers, H units per layer. The module does not use torch.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from rich.text import Text

from charrnn.cells.findings import CellFindings, CellIndex, CellScore
from charrnn.cells.trace import Trace
from charrnn.config.settings import resolved
from charrnn.detectors.registry import get_detectors
from charrnn.errors import UsageError
from charrnn.generation.continuations import Continuation
from charrnn.generation.distribution import next_char_probs
from charrnn.generation.sample_options import NUM_CONTINUATIONS, SAMPLE_TEMPERATURE, Clamps, Shaping
from charrnn.generation.sampling import PrimedState
from charrnn.generation.special_ids import start_ids
from charrnn.model.cell_type_registry import cell_type
from charrnn.system.arrays import Float32Array
from charrnn.text.vocab import decode_each, undo_decode_each
from charrnn.trained_model import TrainedModel
from charrnn.views.tables import (
    choosing_score_text,
    ends_text,
    meaning,
    polarity_text,
    score_mark,
    score_number,
    score_text,
)
from charrnn.views.theme import Scale, all_visible, scale_of

ALL = "all cells"
"""The name of the list of all cells, which exists before anything is scored."""
BEST = "best cell for each detector"
"""The name of the list that comes first when the cells are scored."""
NUM_GUESSES = 5
"""Number of next characters that are shown for the cursor."""
MAX_TYPED = 2_000
"""Maximum number of characters that can be typed or pasted: pasted characters are read before the
next key, and the values after every character are kept."""
MAX_PRIME = 500
"""Maximum number of characters up to the cursor that the model reads before it generates."""
NUM_GENERATED = 600
"""Number of characters that are generated with and without a clamped cell."""


class _ViewedText:
    """A text with a cursor."""

    def __init__(self, model: TrainedModel, text: str = "") -> None:
        """View a decoded text with one character per id, as in a `Trace`."""
        self.model = model
        self.text = text
        self.cursor = 0

    def before_cursor(self) -> str:
        """Return the last MAX_PRIME characters of the text up to and including the cursor."""
        return self.text[: self.cursor + 1][-MAX_PRIME:]


class TracedText(_ViewedText):
    """The given text, whose values are known when `trace` is set."""

    trace: "Trace | None" = None

    def values(self, cell: CellIndex) -> Float32Array | None:
        # The model has not read the text yet: it is shown without colours.
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

    def __init__(self, model: TrainedModel) -> None:
        super().__init__(model)

        # The text begins like a sample: after the END of a document if the model has documents.
        self._start = model.stepper.initial_state(1)
        end_id = model.config.end_id
        if end_id is not None:
            _, self._start = model.stepper.read(start_ids(model.vocab, end_id))

        self._read: list[PrimedState] = []
        """The logits (1, V) and the state (L, S, 1, H) after each id."""
        self._cells: list[Float32Array] = []
        """The values (L, H) of the cells after each id."""
        self._ends: list[int] = []
        """The number of ids up to the end of each character, which may be several bytes."""

    @property
    def typed(self) -> str:
        """The text as it was typed, as far as the model reads it."""
        text = undo_decode_each(self.text, self.model.vocab.kind)
        if isinstance(text, bytes):
            return text.decode("utf-8", "replace")
        return text

    @property
    def is_full(self) -> bool:
        """Whether the limit of MAX_TYPED characters is reached."""
        return len(self._ends) >= MAX_TYPED

    def feed(self, character: str) -> None:
        """Let the model read one more character, and move the cursor to it."""
        stepper = self.model.stepper
        ids = self.model.vocab.encode(character)
        # One character may be several bytes, each a step of the network.
        for index in range(len(ids)):
            state = self._start
            if self._read:
                state = self._read[-1].state
            logits, state = stepper.step(ids[index : index + 1], state)
            self._read.append(PrimedState(logits, state))
            self._cells.append(stepper.values(state)[:, 0])

        self._ends.append(len(self._read))
        self.text += decode_each(self.model.vocab, ids)
        self.cursor = len(self.text) - 1

    def delete_last(self) -> None:
        """Delete the last character, if there is one."""
        # The states of the other characters stay, so that nothing is read again.
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

        # The sort is stable: characters of the same probability have the same order on every
        # machine.
        probs = next_char_probs(self._read[self.cursor].logits, Shaping())[0]
        best = np.argsort(-probs, kind="stable")[:NUM_GUESSES].tolist()
        return [(self.model.generator.character(id), float(probs[id])) for id in best]


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
        # A row without a score has the same columns: they are filled when the score is known.
        name = cell_name(self.cell)
        score = self.score
        if score is None:
            return [name, "", "", "", ""]

        sorted_by = choosing_score_text(score)
        if order == BEST:
            sorted_by = score_number(score.strength)
        marked_score = score_text(score) + score_mark(score)
        return [name, score.detector, marked_score, sorted_by, polarity_text(score)]


def columns(order: str) -> tuple[str, ...]:
    """Return the names of the columns of a list, with a mark at the column by which it is sorted.

    `strength` puts AUC and rho on one scale, from chance (0) to perfect (1). `1st half` is the
    score on the half of the text on which a cell is chosen, and `score` is the score on the second
    half.
    """
    if order == ALL:
        return ("cell ▲", "follows", "score", "1st half", "polarity")
    if order == BEST:
        return ("cell", "follows", "score", "strength ▼", "polarity")
    return ("cell", "follows", "score", "1st half ▼", "polarity")


@dataclass
class Exploration:
    """The lists of cells, the list that is shown, the selected row, and the text that the cell of
    this row colours."""

    model: TrainedModel
    viewed: ViewedText
    order: str = ALL
    row: int = 0
    orders: dict[str, list[Row]] = field(default_factory=dict)
    """The lists by name: the list of all cells and, when they are scored, BEST and a list for each
    detector."""

    def __post_init__(self) -> None:
        self.given = self.viewed
        config = self.model.config
        # All cells are listed at once, because the scores take seconds.
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
        """The values (N,) of the selected cell, which colour the text; None if they are not known
        yet."""
        return self.viewed.values(self.cell)

    @property
    def polarity(self) -> int:
        """The polarity of the selected cell for the detector of its row."""
        score = self.selected.score
        if score is None:
            return self.model.polarity(*self.cell)
        return score.polarity

    @property
    def scale(self) -> Scale:
        """The scale of the selected cell's values over the given text.

        A typed text has the same scale: a scale of its few characters would change with every key.
        """
        values = self.given.values(self.cell)
        numbers = [] if values is None else values.tolist()
        return scale_of(numbers, self.polarity)

    def select(self, row: int) -> None:
        """Select a row, or the last row if the list is shorter."""
        self.row = max(0, min(row, len(self.rows) - 1))

    def select_cell(self, cell: CellIndex) -> None:
        """Select the row of a cell that is in the list."""
        self.row = [row.cell for row in self.rows].index(cell)

    def set_findings(
        self, findings: CellFindings, ranked: Mapping[str, tuple[CellScore, ...]]
    ) -> None:
        """Set the scores of the best cell for each detector, `findings`, and the scores of all
        cells for each detector, `ranked`, which may be empty."""
        # `turn` goes through the lists in this order: the best cells, each detector, all cells.
        all_cells = self.orders[ALL]
        self.orders = {}
        if findings.scores:
            for name, scores in {BEST: findings.scores, **ranked}.items():
                self.orders[name] = [Row((score.layer, score.unit), score) for score in scores]

        # In the list of all cells, each has its strongest score, the first of equal scores.
        strongest: dict[CellIndex, CellScore] = {}
        for score in chain(findings.scores, *ranked.values()):
            cell = (score.layer, score.unit)
            if cell not in strongest or score.strength > strongest[cell].strength:
                strongest[cell] = score
        self.orders[ALL] = [Row(row.cell, strongest.get(row.cell)) for row in all_cells]

    def turn_to(self, order: str) -> None:
        """Switch to the list of that name and select its best cell.

        This is the first cell or, in the list of all cells, the cell that comes first in BEST.
        """
        self.order = order
        self.row = 0
        if order == ALL and BEST in self.orders:
            self.select_cell(self.orders[BEST][0].cell)

    def turn(self, by: int) -> None:
        """Switch to the list that is `by` lists further on; the first list follows the last."""
        names = list(self.orders)
        self.turn_to(names[(names.index(self.order) + by) % len(names)])

    def go_to(self, where: str) -> None:
        """Select the cell `layer:unit` in this list or, if it is not in it, in the list of all
        cells. Raises UsageError if there is no such cell."""
        # The pattern allows nine digits: int() raises its own error for thousands of them.
        match = re.fullmatch(r"\s*(\d{1,9})\s*:\s*(\d{1,9})\s*", where, re.ASCII)
        if match is None:
            raise UsageError("Write a cell as layer:unit, both from 0, such as 0:17.")

        cell = (int(match[1]), int(match[2]))
        self.model.stepper.check_unit(*cell)
        if cell not in [row.cell for row in self.rows]:
            self.turn_to(ALL)
        self.select_cell(cell)

    def caption(self) -> tuple[str, str]:
        """Return the name of the selected cell, and a description of it."""
        score = self.selected.score
        title = f"cell {cell_name(self.cell)}"
        if score is None:
            return title, f" of {self.model.name}, {cell_type(self.model.config.cell).shows}"

        # The score comes first: a terminal with few lines may cut off the end.
        about = f": {score_text(score)}{score_mark(score)}"
        interval = ends_text(score.ci_low, score.ci_high)
        if interval:
            about += f", 95 % {interval}"
        if meaning(score):
            about += f", {meaning(score)}"
        looks_for = {detector.name: detector.looks_for for detector in get_detectors(None)}
        about += f"; {polarity_text(score)}: {looks_for[score.detector]}"
        about += f"; {choosing_score_text(score)} on the first half"
        if score.untrained is not None:
            about += f", untrained baseline {score_number(score.untrained)}"
        return f"{title} follows {score.detector}", about


GeneratedSide = tuple[str, list[float]]
"""A generated text, and a cell's value times the polarity at each of its characters."""


@dataclass(frozen=True, slots=True)
class Clamp:
    """A text to generate with a cell clamped and, with the same random numbers, without."""

    prime: str
    """The decoded text before the generated one, with one character per id."""
    cell: CellIndex
    value: float
    polarity: int = 1
    seed: int = 0

    def generate(
        self, model: TrainedModel, pause: Callable[[], object]
    ) -> tuple[GeneratedSide, GeneratedSide]:
        """Generate a text after the prime with and without the clamp, and return both texts with
        the cell's value times the polarity at each character.

        `pause` is called before each character, and may raise an exception to end the work.
        """
        # Both texts have the same seed: without the clamp they would be the same text.
        clamped = self._generate(model, {self.cell: self.value}, pause=pause)
        free = self._generate(model, {}, pause=pause)
        return clamped, free

    def _generate(
        self, model: TrainedModel, clamps: Clamps, pause: Callable[[], object]
    ) -> GeneratedSide:
        # `pause` is called before the first character, too, because the prime may be long.
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

        # All characters of a piece have the value of the piece.
        for piece in pieces:
            text += piece.text
            values += [self.polarity * piece.value] * len(piece.text)
        return text, values

    @classmethod
    def parse(cls, value: str, exploration: Exploration) -> "Clamp":
        """Clamp the selected cell at a typed value. Raises UsageError for an invalid value."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan

        # The condition is also true for nan.
        if not -1 <= number <= 1:
            raise UsageError("Write a number from -1 to 1.")
        return cls(
            exploration.viewed.before_cursor(),
            cell=exploration.cell,
            value=number,
            polarity=exploration.polarity,
        )


def cell_name(cell: CellIndex) -> str:
    """Return the name of a cell for options and keys, such as 0:17."""
    layer, unit = cell
    return f"{layer}:{unit}"


def offered_lines(offered: Sequence[Continuation]) -> Text:
    """List continuations, each with its key and its probability; a line for each that can be shown.

    ␣ marks spaces at the ends, and … a text that was cut. A line is there for each continuation
    even before they are found, so that the text above does not jump.
    """
    lines = []
    for number in range(NUM_CONTINUATIONS):
        line = f"F{number + 1}"
        if number < len(offered):
            continuation = offered[number]
            text = all_visible(continuation.text)
            text = re.sub(r"\A +| +\Z", lambda spaces: "␣" * len(spaces[0]), text)
            if not continuation.is_complete:
                text += "…"
            line += f"  {math.exp(continuation.logprob):.2f}  {text}"
        lines.append(line)
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
