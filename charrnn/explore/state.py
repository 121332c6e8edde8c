"""The state of the explorer without its widgets: lists of cells, and the text that a cell colours.

Shapes: N characters. The module does not use torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from charrnn.analyses.ranking import ranking
from charrnn.analyses.why import Why, explain_place
from charrnn.analyses.why.leaving_out import NetworkReader
from charrnn.cells.known_cells import known_polarity, record_found_cells
from charrnn.cells.records import CellFindings, CellIndex, CellScore
from charrnn.cells.study import Study, study_of
from charrnn.cells.trace import Trace, guesses_of, trace_text
from charrnn.config.settings import resolved
from charrnn.detectors.registry import get_detectors
from charrnn.errors import DataError, UsageError
from charrnn.generation.generator import undrawable_ids
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.reading import INTERVAL
from charrnn.system.arrays import Float32Array
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import NUM_LEFT_OUT, TrainedModel
from charrnn.views.scores import (
    ends_text,
    meaning,
    polarity_text,
    score_mark,
    score_number,
    score_text,
)
from charrnn.views.theme import Scale, scale_of

ALL = "all cells"
"""The name of the list of all cells."""
BEST = "best cell for each detector"
"""The name of the list with which the explorer opens."""
NUM_GUESSES = 5
"""Number of next characters that are shown for the cursor."""


@dataclass(frozen=True)
class Row:
    """A cell in a list, with a score if it has one."""

    cell: CellIndex
    score: CellScore | None = None

    def shown(self, order: str) -> list[str]:
        """Return the texts of the row, one per column of `columns(order)`."""
        name = cell_name(self.cell)
        score = self.score
        if score is None:
            return [name, "", "", "", ""]

        sorted_by = score.strength
        if order != BEST:
            sorted_by = score.chosen_on or 0.0
        marked_score = score_text(score) + score_mark(score)
        return [name, score.detector, marked_score, score_number(sorted_by), polarity_text(score)]


def columns(order: str) -> tuple[str, ...]:
    """Return the names of the columns of a list, with a mark at the column by which it is sorted.

    `strength` puts AUC and rho on one scale, from chance (0) to perfect (1). `1st half` is the
    score on the half of the text on which a cell is chosen, and `score` is the score on the second
    half.
    """
    if order == ALL:
        return ("cell ▲", "follows", "score", "1st half", "polarity")
    sorted_by = "strength ▼" if order == BEST else "1st half ▼"
    return ("cell", "follows", "score", sorted_by, "polarity")


@dataclass
class Exploration:
    """The lists of cells over a text, the list that is shown, the selected row, and the cursor in
    the text.

    It knows nothing of the terminal: the screens ask it what to show, and tests need no screen.
    """

    model: TrainedModel
    study: Study
    """The analysis of the cells, which measures the page of a cell."""
    trace: Trace
    """The values of all cells over the shown text, and the guesses after each character."""
    orders: dict[str, list[Row]]
    """The lists by name, in the order in which they are turned through."""
    text: EncodedText
    """The shown text and its context."""
    note: str = ""
    """Why the cells have no scores, if they have none."""
    number: int = 0
    """The number of the list that is shown."""
    row: int = 0
    cursor: int = 0

    @property
    def order(self) -> str:
        """The name of the list."""
        return list(self.orders)[self.number]

    @property
    def rows(self) -> list[Row]:
        """The rows of the list that is shown."""
        return self.orders[self.order]

    @property
    def cell(self) -> CellIndex:
        """The selected cell."""
        return self.rows[self.row].cell

    @property
    def values(self) -> Float32Array:
        """The values (N,) of the selected cell, which colour the text."""
        layer, unit = self.cell
        return self.trace.cells[:, layer, unit]

    @property
    def polarity(self) -> int:
        """The polarity of the selected cell for the detector of its row."""
        score = self.rows[self.row].score
        if score is None:
            return known_polarity(self.model.cache, *self.cell)
        return score.polarity

    @property
    def scale(self) -> Scale:
        """The scale of the selected cell's values."""
        return scale_of(self.values.tolist(), self.polarity)

    def guesses(self) -> list[tuple[str, float]]:
        """Return the most likely characters after the cursor, with their probabilities."""
        (guesses,) = guesses_of(self.trace, self.model.vocab, slice(self.cursor, self.cursor + 1))
        return guesses

    def why(self, cursor: int) -> Why:
        """Explain why the character at a place of the shown text came next, by the characters
        before it that are shown, from the beginning of its document on.

        Raises UsageError if there are none, or if the model never writes the character.
        """
        text = self.text
        place = text.first + cursor
        num_before = min(cursor, NUM_LEFT_OUT)
        end_id = self.model.config.end_id
        if end_id is not None:
            ends = np.flatnonzero(text.ids[place - num_before : place] == end_id)
            if len(ends):
                num_before -= int(ends[-1]) + 1
        if num_before == 0 or place == 1:
            raise UsageError("Nothing is shown before this character that could be left out.")
        target = int(text.ids[place])
        if target in undrawable_ids(self.model.vocab, end_id):
            raise UsageError("The model never writes this character: it does not know it.")

        # From the last state of a single pass that is known, and is not among what is left out.
        known = self.study.known_states
        number = min((place - num_before - 1) // INTERVAL, known.shape[-2] - 1)
        state = None
        begin = 0
        if number > 0:
            state = known[..., number : number + 1, :]
            begin = number * INTERVAL
        return explain_place(
            self.model,
            NetworkReader(self.study.network()),
            ids=text.ids[begin:place].astype(np.int64),
            num_left_out=num_before,
            target=target,
            state=state,
            num_read=place,
        )

    def turn(self, by: int) -> None:
        """Switch to the first cell of the list that is `by` lists further on; the first list
        follows the last."""
        self.number = (self.number + by) % len(self.orders)
        self.row = 0

    def caption(self) -> tuple[str, str]:
        """Return the name of the selected cell, and a description of it."""
        score = self.rows[self.row].score
        title = f"cell {cell_name(self.cell)}"
        if score is None:
            return title, f" of {self.model.name}, {cell_type(self.model.config.cell_type).shows}"

        # The score comes first: a terminal with few lines may cut off the end.
        about = f": {score_text(score)}{score_mark(score)}"
        interval = ends_text(score.ci_low, score.ci_high)
        if interval:
            about += f", 95 % {interval}"
        if meaning(score):
            about += f", {meaning(score)}"
        looks_for = {detector.name: detector.looks_for for detector in get_detectors(chosen=None)}
        about += f"; {polarity_text(score)}: {looks_for[score.detector]}"
        return f"{title} follows {score.detector}", about


def explore_text(
    model: TrainedModel, text: EncodedText, *, num_shown: int, num_scored: int
) -> Exploration:
    """Measure the cells on the first `num_scored` characters of a text, and trace the first
    `num_shown`, which are shown.

    It is all that takes long before the browser opens.
    """
    # `visualize` scores the same text, so that both commands share the cached scores.
    study = study_of(model, text.part(0, num_scored), cached=True)
    findings = CellFindings(scores=())
    ranked: Mapping[str, tuple[CellScore, ...]] = {}
    note = ""
    try:
        findings = study.findings()
        record_found_cells(model.cache, findings.scores)
        if findings.scores:
            ranked = ranking(study, [score.detector for score in findings.scores])
    except DataError as error:
        # The cells of a text that is too short are looked at without scores.
        note = error.message

    trace = trace_text(study.network(), text.part(0, num_shown), num_guesses=NUM_GUESSES)
    orders = lists_of(model, findings=findings, ranked=ranked)
    shown = text.part(0, num_shown)
    return Exploration(model, study=study, trace=trace, orders=orders, text=shown, note=note)


def lists_of(
    model: TrainedModel, findings: CellFindings, ranked: Mapping[str, tuple[CellScore, ...]]
) -> dict[str, list[Row]]:
    """Return the lists by name: the best cells, all cells by each detector, and all cells, each
    with its strongest score, the first of equal scores."""
    orders = {}
    if findings.scores:
        for name, scores in {BEST: findings.scores, **ranked}.items():
            orders[name] = [Row((score.layer, score.unit), score) for score in scores]

    strongest: dict[CellIndex, CellScore] = {}
    for score in chain(findings.scores, *ranked.values()):
        cell = (score.layer, score.unit)
        if cell not in strongest or score.strength > strongest[cell].strength:
            strongest[cell] = score

    config = model.config
    cells = np.ndindex(resolved(config.num_layers), resolved(config.hidden_size))
    orders[ALL] = [Row((layer, unit), strongest.get((layer, unit))) for layer, unit in cells]
    return orders


def cell_name(cell: CellIndex) -> str:
    """Return the name of a cell for options and keys, such as 0:17."""
    layer, unit = cell
    return f"{layer}:{unit}"
