"""Plain records of the measurements of cells."""

from dataclasses import asdict, dataclass, field

from charrnn.statistics.agreement import association_from_auc
from charrnn.system.display import Displayable

CHARS_SCORED = 131_072
"""The most characters of a text that cells are chosen and scored on."""
MAX_P_VALUE = 0.05
"""Largest p-value of a significant score."""
NUM_BINS = 40
"""Bins of a histogram of cell values, of equal width over [-1, 1]."""
CellIndex = tuple[int, int]
"""(layer, unit)"""


@dataclass(frozen=True, kw_only=True)
class CellScore:
    """How well the best cell follows a detector, on text it was not chosen on. The score is `auc`
    for a yes/no detector and `spearman` for a count detector.

    `CellFindings.scores`, `CellPage.scores` and `Model.ranking` consist of them. Before one says
    that a cell follows something, `is_found` must be true; `strength` compares detectors of both
    kinds, and `Model.evidence` tells whether the model uses the cell.
    """

    detector: str
    """The name of the detector."""
    layer: int
    """The layer of the cell, from 0."""
    unit: int
    """The unit of the cell in its layer, from 0."""
    polarity: int
    """-1 if the cell is low inside the spans, else 1."""
    num_positive: int
    """Characters of the scoring half that are inside the spans, or whose count is not 0."""
    auc: float | None = None
    """Yes/no detectors: the score. It is the AUC of polarity · values, and at least 0.5 on the
    choosing half."""
    spearman: float | None = None
    """Count detectors: the score, Spearman's ρ with its sign."""
    ci_low: float | None = None
    """Lower end of the 95 % interval of the score; None if it was not measured."""
    ci_high: float | None = None
    """Upper end of the interval."""
    chosen_on: float | None = None
    """The score on the choosing half, computed from values in 512 bins."""
    untrained: float | None = None
    """The score of the same selection in the untrained baseline; None without one."""
    r2: float | None = None
    """Count detectors: share of the variance explained by a line in the cell's value, fitted on the
    choosing half."""
    threshold: float | None = None
    """Yes/no detectors: the value that separates inside from outside, selected on the choosing
    half."""
    f1: float | None = None
    """Yes/no detectors: harmonic mean of precision and recall at that threshold."""
    interior: float | None = None
    """Yes/no: AUC over the characters 5 or more after a label changed; low if the cell follows
    delimiters only."""
    null_level: float | None = None
    """AUC or |rho| that the best of all cells stays below for 95 % of circular shifts of the
    labels, choosing half."""
    p_value: float | None = None
    """Share of those shifts for which some cell reaches the association of the best cell without a
    shift."""

    @property
    def is_significant(self) -> bool:
        """Whether p is at most MAX_P_VALUE, the interval excludes chance, and the score exceeds the
        chance level.

        It rules out chance only. An untrained network follows some properties, too, which
        `is_found` rules out as well.
        """
        if self.p_value is None or self.ci_low is None or self.ci_high is None:
            return False

        # An AUC has the polarity in it; a rho must have the sign that the choosing half found.
        if self.auc is not None:
            is_apart = self.ci_low > 0.5
        elif self.polarity > 0:
            is_apart = self.ci_low > 0
        else:
            is_apart = self.ci_high < 0
        return self.p_value <= MAX_P_VALUE and is_apart and self.exceeds_chance_level

    @property
    def exceeds_chance_level(self) -> bool:
        """Whether the score exceeds the chance level. True if that was not measured.

        It is all that can be asked of a cell further down a ranking, which has neither a p-value
        nor an interval; `is_significant` asks for all three.
        """
        # The level is an AUC if the score is an AUC, else a strength.
        reached = self.auc if self.auc is not None else abs(self.spearman or 0.0)
        return self.null_level is None or reached > self.null_level

    @property
    def strength(self) -> float:
        """The association without its sign, from 0 (chance) to 1 (perfect): ranks both kinds of
        detectors together.

        A list of cells for detectors of both kinds is sorted by it, where an AUC of 0.9 and a ρ of
        0.7 cannot be compared. What is quoted is `auc` or `spearman`.
        """
        return self.strength_of(self.auc if self.auc is not None else self.spearman)

    @property
    def gain(self) -> float:
        """The strength minus the strength of the same selection in the untrained baseline, or minus
        0 without a baseline.

        It ranks cells by what was learned: what any network follows has a high `strength` but
        little gain.
        """
        return self.strength - self.strength_of(self.untrained)

    @property
    def is_found(self) -> bool:
        """Whether the score is significant, and exceeds the score of the untrained baseline, which
        was measured.

        It is what must be true of a cell before one writes that it follows something.
        """
        return self.is_significant and self.untrained is not None and self.gain > 0

    @property
    def is_no_better_than_untrained(self) -> bool:
        """Whether the same selection in the untrained baseline is at least as strong. False if it
        was not measured.

        It marks a score in a table, where a missing baseline is no fault of the cell; for a claim,
        `is_found` asks for the baseline.
        """
        return self.untrained is not None and self.gain <= 0

    def strength_of(self, score: float | None) -> float:
        """Return the strength of another score of this kind, AUC or rho; 0 of None.

        It puts other numbers of the same detector, such as `chosen_on`, `untrained` or an end of
        the interval, on the scale of `strength`.
        """
        if score is None:
            return 0.0
        # An AUC below chance is no strength: the cell turned round since it was chosen.
        if self.auc is not None:
            return max(0.0, float(association_from_auc(score)))
        return abs(score)

    def to_json(self) -> dict[str, object]:
        """Return the object of `visualize --find --json`, with `auc` or `spearman`.

        A list of scores, such as that of `Model.ranking`, is written to a file by it;
        `CellFindings.to_json` does so for a whole survey.

        Returns:
            A dictionary, which `json.dumps` takes.

        Example:
            >>> [score] = study.findings(["quote"]).scores
            >>> "auc" in score.to_json(), "spearman" in score.to_json()
            (True, False)
        """
        data = asdict(self)
        for name in ("auc", "spearman"):
            if data[name] is None:
                del data[name]
        return data


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A detector that was not scored, with the reason, such as `no quotations in this text`.

    It answers why a detector is missing from the scores: mostly the text has too little of what it
    looks for, and a longer text helps.
    """

    detector: str
    """The name of the detector."""
    reason: str
    """The reason, in a few words."""


@dataclass(frozen=True, kw_only=True)
class CellFindings(Displayable):
    """The ranked scores, the detectors that could not be scored, and how many characters were read.

    `Model.survey`, `Study.findings` and `find_cells` return it. Its `scores` say which cell to look
    at for what; `Study.passages` shows these cells at work, `Study.page` everything about one of
    them, and `Model.ranking` the cells that come after the best.
    """

    scores: tuple[CellScore, ...]
    """The score of the best cell for each detector, strongest first."""
    skipped: tuple[Skipped, ...] = ()
    """The detectors that could not be scored."""
    num_chars: int = 0
    """Characters of the text, both halves together."""
    num_cells: int = 0
    """C: the cells among which the best were chosen; 0 if no detector could be scored."""

    def to_json(self) -> dict[str, object]:
        """Return the object of `visualize --find --json`, without the name of the run.

        A script that sorts cells of many models reads it; `charrnn visualize --find --json` prints
        the same, so that a program need not be in Python.

        Returns:
            A dictionary with `findings`, `skipped`, `num_chars` and `num_cells`.

        Example:
            >>> findings = study.findings(["quote"])
            >>> findings.to_json()["num_chars"] == len(study.text)
            True
        """
        return {
            "findings": [score.to_json() for score in self.scores],
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "num_chars": self.num_chars,
            "num_cells": self.num_cells,
        }


@dataclass(frozen=True, kw_only=True)
class ColouredText(Displayable):
    """A text with one value in [-1, 1] per character.

    It shows any value of one's own in the colours of cells, also one that no method returns: a
    notebook draws it, `rich.print(*coloured.view())` draws it on a terminal. `Model.coloured_text`
    makes one of a cell in a trace.
    """

    text: str
    """The text."""
    values: tuple[float, ...] = field(repr=False)
    """A value in [-1, 1] for each character."""
    guesses: tuple[tuple[tuple[str, float], ...], ...] = field(default=(), repr=False)
    """For each character the most likely next characters with their probabilities; empty if they
    were not asked for."""
    inside: tuple[bool, ...] = field(default=(), repr=False)
    """For each character whether a yes/no detector is on, which is underlined; empty without such a
    detector."""
    polarity: int = 1
    """-1 if the values are drawn with their sign turned."""


@dataclass(frozen=True, kw_only=True)
class CellPassage(Displayable):
    """A passage of the measured text with the cell's value at each character.

    A page has them to show what a cell does where no detector has a name for it: the places where
    it is extreme, and typical places for each tenth of its values. `Passage` is chosen for a
    detector instead.
    """

    kind: str
    """`top` or `bottom` (the largest and the smallest values), or `decile`: the value is in the
    middle of a tenth of all values."""
    rank: int
    """The number of the tenth, from 1 for the smallest values; of a top or bottom passage its rank
    from 1, the most extreme value."""
    value: float
    """The value of the cell at `index`."""
    index: int
    """The character of the measured text for which it was chosen."""
    begin: int
    """Its first character in the measured text."""
    line: int
    """The line of `index` in the measured text, from 1; 0 if it is not known."""
    text: str
    """The passage."""
    values: tuple[float, ...] = field(repr=False)
    """A value for each character of `text`, to four decimals."""


@dataclass(frozen=True, kw_only=True)
class CellPage(Displayable):
    """What a cell does over a text.

    `Study.page` returns it: everything about one cell, also about one that follows no detector.
    `CellFindings` has one line about each of the best cells.
    """

    layer: int
    """The layer of the cell, from 0."""
    unit: int
    """The unit of the cell in its layer, from 0."""
    scores: tuple[CellScore, ...] = ()
    """The score for each detector whose best cell it is, strongest first; of any other cell, the
    score for the detector that it follows best on the choosing half. Empty if no detector can be
    scored in the text."""
    num_chars: int
    """Characters of the text."""
    mean: float
    """Mean of the values."""
    spread: float
    """Standard deviation of the values."""
    histogram: tuple[int, ...] = field(repr=False)
    """Characters in each of NUM_BINS bins of equal width over [-1, 1]; a bin includes its lower
    end, the last both."""
    passages: tuple[CellPassage, ...]
    """Passages in which the cell is highest and lowest, then one from each tenth of its values,
    from the largest to the smallest. They do not overlap, and the characters for which they were
    chosen are in different sentences."""
    polarity: int = 1
    """-1 if the passages are drawn with their sign turned."""

    def to_json(self) -> dict[str, object]:
        """Return all fields as one object, each score as `visualize --find --json` has it.

        It keeps all that was measured of a cell, passages included; the exported page is for
        people.

        Returns:
            A dictionary.

        Example:
            >>> page = study.page(0, 5)
            >>> page.to_json()["unit"]
            5
        """
        return asdict(self) | {"scores": [score.to_json() for score in self.scores]}


@dataclass(frozen=True, kw_only=True)
class Passage(Displayable):
    """A segment of a text and the values of the cell that follows a detector best.

    It shows in a picture what the score of a finding means: in the segment the property changes,
    and the cell is about as good there as it is in general.
    """

    score: CellScore
    """The score of the cell for the detector."""
    begin: int
    """The index in the text of its first character."""
    coloured: ColouredText
    """The segment with the values of the cell."""
    begins_inside_line: bool = False
    """Whether its first line begins before it."""
    ends_inside_text: bool = False
    """Whether text comes after it."""
