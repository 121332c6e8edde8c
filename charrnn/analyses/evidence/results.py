"""The evidence card: the results of its tests, and how they are shown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from charrnn.analyses.why.places_record import WhyPlaces
from charrnn.analyses.why.sentences import NUM_NEAR, a_character
from charrnn.cells.records import CellIndex, CellScore
from charrnn.errors import counted
from charrnn.statistics.intervals import Interval
from charrnn.system.display import Displayable
from charrnn.views.scores import ends_text, score_line
from charrnn.views.tables import PlainTable
from charrnn.views.theme import all_visible, shown_character

SHARE_CARRIED = 0.9
"""Cells carry an effect if this share of it remains with them…"""
MOST_CARRIED = 1.2
"""…and not more than this share: then the cells that are held work against the effect, and what
remains is not the effect of the network."""


@dataclass(frozen=True, kw_only=True)
class Necessity:
    """The rise of the loss, in nats per character, while the memory of the cell is held at its
    mean.

    Perhaps nothing in the model reads a cell that follows a property: the model needs the cell if
    `inside` and its interval are above 0, and both ranks are 1. `outside` tells whether it needs
    the cell for something else, too.
    """

    inside: float
    """The rise at characters inside."""
    ci_inside: Interval | None
    """The 95 % interval of `inside`; None if the characters are in too few blocks of the text."""
    outside: float
    """The rise at characters outside."""
    ci_outside: Interval | None
    """The 95 % interval of `outside`."""
    num_chars: int
    """The characters that were predicted."""
    cells: tuple[float, ...] = field(repr=False)
    """The rises inside for other cells, drawn at random."""
    directions: tuple[float, ...] = field(repr=False)
    """The rises inside for random directions of the layer's memories, with the variance of a single
    cell."""
    windows: tuple[int, ...] = field(repr=False)
    """The positions where the segments begin that were read; the first of them were also read with
    other cells and directions held."""
    ranked: float
    """The rise inside in these first segments, by which the cell is ranked."""
    rank: int
    """The rank among the cells: 1 if no other cell raises the loss as much."""
    rank_among_directions: int
    """The rank among the directions."""
    num_ranked_chars: int
    """The characters of these first segments that were predicted."""


@dataclass(frozen=True, kw_only=True)
class Sufficiency:
    """The share of the property's effect on the output that remains while all followers but the
    first k are held at their means.

    It says in how many cells the model keeps the property: `num_carrying` is 1 if this cell does
    without the others, although others follow the property as well.
    """

    followers: tuple[CellIndex, ...] = field(repr=False)
    """(layer, unit) of the cells that follow the property, in the order in which they are released:
    the cell first."""
    effect: float
    """How much higher the log odds of the output are inside than outside while no cell is held."""
    ci: Interval | None
    """The 95 % interval of the effect; None if its places are in too few blocks of the text."""
    num_places: int
    """The places at which the output was measured."""
    curve: tuple[tuple[int, float], ...] = ()
    """Pairs (k, share). Empty if the effect may be 0, because its shares are noise."""
    intervals: tuple[Interval, ...] = ()
    """The 95 % interval of each share of the curve."""
    windows: tuple[int, ...] = field(repr=False)
    """The positions where the segments begin that were read."""
    num_carrying: int | None = None
    """The smallest k of the curve that carries the effect (`carrying`); None if no k does."""


def carrying(curve: Sequence[tuple[int, float]]) -> int | None:
    """Return the smallest k of pairs (k, share) that carries the effect: its share is from
    SHARE_CARRIED to MOST_CARRIED.

    It is 0 if so much remains without any of the cells, or more; None if no k carries it.
    """
    for num_free, share in curve:
        if share >= SHARE_CARRIED and (num_free == 0 or share <= MOST_CARRIED):
            return num_free
    return None


@dataclass(frozen=True, kw_only=True)
class Interchange:
    """The share of pairs in which an exchange of the cell's memory moves the output to the opposite
    side. A pair is a position inside and a position outside after which the output differs.

    It is the most direct part of a card: nothing but the memory of one cell is different, and the
    model takes one side for the other.
    """

    accuracy: float
    """The share, from 0 to 1."""
    other_cells: float
    """The same share for other cells, drawn at random for each position."""
    equal_labels: float
    """The same share for pairs of positions on one side."""
    above_other_cells: Interval | None
    """The 95 % interval of the accuracy minus the share for other cells; None if the positions are
    in too few blocks of the text."""
    above_equal_labels: Interval | None
    """The same for pairs of positions on one side."""
    num_pairs: int
    """The number of pairs in which the output differs."""
    num_drawn: int
    """The pairs that were drawn, including pairs in which the output does not differ as the labels
    do."""
    lag: int
    """The characters that are read after the exchange."""
    pairs: tuple[tuple[int, int], ...] = field(repr=False)
    """All positions that were drawn: inside, outside."""


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The places where the cell is wrong, among the places after which the output shows the
    property.

    If the output is wrong at the same places, the model believes the cell; if it is right there, it
    knows the property from elsewhere.
    """

    num_places: int
    """The places."""
    num_wrong: int
    """The places where the cell is wrong."""
    ci_wrong: Interval | None
    """The 95 % interval of the share of wrong places; None if the places are in too few blocks of
    the text."""
    num_output_wrong: int
    """The wrong places where the output is on the wrong side, too."""
    threshold: float
    """The value of the cell that separates inside from outside."""


@dataclass(frozen=True, kw_only=True)
class Carrying:
    """At how many places the cell carries most of why a character comes next: of the strongest
    effect of all but the last four characters before it.

    The tests of a card ask whether the cell matters for the property; this counts for how many
    predictions it is the reason, as `Model.why_places` finds it.
    """

    character: str
    """The character that comes next."""
    num_places: int
    """The places at which such an effect is not small."""
    num_most: int
    """The places among them at which the cell carries most of it."""
    share: float | None
    """Its median share of the effect there; None if there is no such place."""
    is_read: bool
    """Whether the output layer reads the cell itself. Otherwise it reads another layer or a
    mixture of units, and the cell cannot be the last link."""


@dataclass(frozen=True, kw_only=True)
class EvidenceCard(Displayable):
    """The evidence for the claim that the cell `layer`:`unit` tracks the property of a detector.

    `Model.evidence` returns it, for a claim that is to be published. `verdict` sums it up, `tests`
    says which parts hold, and `lines` has the figures of each part in words.
    """

    layer: int
    """The layer of the cell, from 0."""
    unit: int
    """The unit of the cell in its layer, from 0."""
    detector: str
    """The name of the detector."""
    looks_for: str
    """What it labels, in a few words."""
    output: tuple[str, ...]
    """The next characters whose odds show the property."""
    output_sign: int
    """1 if these characters are likelier inside or at high counts, else -1."""
    output_after: tuple[str, ...]
    """The characters after which the odds differ."""
    num_chars: int
    """Characters of the text."""
    num_cells: int
    """C: the cells of the model."""
    tracks: CellScore
    """How well the cell follows the detector."""
    necessary: Necessity
    """What holding the cell at its mean costs."""
    sufficient: Sufficiency
    """How much of the effect the cell carries."""
    interchange: Interchange | None
    """None without a pair in which the output differs."""
    fooled: Mistakes
    """Where the cell is wrong."""
    carries: Carrying | None = None
    """Where the cell carries why a character comes next; None unless it was asked for
    (`with_places`)."""

    @property
    def assumptions(self) -> str:
        """Two sentences: the assumptions of the figures, and the results that would refute the
        claim.

        Print them wherever the verdict is quoted.
        """
        odds = " ".join(map(shown_character, self.output))
        return (
            f"This assumes that the labels are what the network follows, that a memory held at its"
            f" mean or exchanged leaves the rest of the network in states that it knows, and that"
            f" the odds of {odds} show the property. The claim is refuted by a text in which the"
            f" score falls to chance, by another cell or direction that raises the loss as much,"
            f" or by exchanges that move the output no more often than those of other cells."
        )

    def with_places(self, places: WhyPlaces) -> "EvidenceCard":
        """Return the card with a line that says where the cell carries why a character comes next.

        The tests of the card change the memory of the cell. This asks instead at how many places
        the cell is the last link between an earlier character and the prediction.

        Args:
            places: What `Model.why_places` returned, for a character of the card's `output`.

        Returns:
            The card, whose `carries` is set.

        Example:
            >>> card = model.evidence(study, 0, 5, "quote")
            >>> card = card.with_places(model.why_places(text, "”", num_places=10))
            >>> card.carries.num_most <= card.carries.num_places
            True
        """
        num_most = 0
        share = None
        for carrier in places.carriers:
            if (carrier.layer, carrier.entry) == (self.layer, self.unit) and carrier.is_unit:
                num_most = carrier.num_most
                share = carrier.share
        carries = Carrying(
            character=places.character,
            num_places=places.num_places - places.num_without,
            num_most=num_most,
            share=share,
            is_read=places.are_units and self.layer in places.layers,
        )
        return replace(self, carries=carries)

    def to_json(self) -> dict[str, Any]:
        """Return all fields and the assumptions as one object.

        It keeps the figures behind a claim, with every position that was read, so that somebody can
        measure again.
        """
        return asdict(self) | {
            "tracks": self.tracks.to_json(),
            "tests": self.tests(),
            "verdict": self.verdict,
            "assumptions": self.assumptions,
        }

    def tests(self) -> dict[str, bool | None]:
        """Say for each test of the claim whether the cell passes it.

        A program that looks through many cells needs it; `lines` says the same to a reader, with
        the figures.

        Returns:
            True or False by the name of the test: `tracks`, `necessary`, `sufficient`,
            `interchangeable` and others. None if it was not measured.

        Example:
            >>> model.evidence(study, 0, 5, "quote").tests()["tracks"]
            True
        """
        necessary = self.necessary
        # Without an interval it can fail, but not pass.
        is_necessary: bool | None = False
        if necessary.rank == necessary.rank_among_directions == 1 and necessary.inside > 0:
            is_necessary = _are_above_0(necessary.ci_inside)
        is_sufficient = None
        if self.sufficient.curve:
            is_sufficient = bool(self.sufficient.num_carrying)
        is_interchangeable = None
        if self.interchange is not None:
            is_interchangeable = _are_above_0(
                self.interchange.above_other_cells, self.interchange.above_equal_labels
            )
        return {
            "tracks": self.is_above_chance,
            "necessary": is_necessary,
            "sufficient": is_sufficient,
            "interchangeable": is_interchangeable,
        }

    @property
    def is_above_chance(self) -> bool:
        """Whether the score is above chance. Only the best cell of a detector has a p-value.

        It is the test `tracks`: a card about a cell that fails it need not be read further.
        """
        if self.tracks.p_value is None:
            return self.tracks.exceeds_chance_level
        return self.tracks.is_significant

    @property
    def verdict(self) -> str:
        """Whether the claim holds, and which tests failed or were not measured. With several tests
        that were not measured it is not decided.

        It is for a reader; a program that sorts cells asks `tests`.
        """
        tests = self.tests()
        failed = [name for name, passed in tests.items() if passed is False]
        missing = [name for name, passed in tests.items() if passed is None]
        num_passed = len(tests) - len(missing) - len(failed)
        verdict = f"the claim holds: all {num_passed} tests passed"
        if len(missing) > 1:
            verdict = f"the claim is not decided: {num_passed} of {len(tests)} tests passed"
        if failed:
            verdict = f"the claim does not hold: it fails {', '.join(failed)}"
        if missing:
            verdict += f"; not measured: {', '.join(missing)}"
        return verdict

    def lines(self) -> dict[str, str]:
        """Say in a line what each part of the evidence found.

        A text about one cell quotes them; a notebook shows them by itself, below a title.

        Returns:
            A sentence by the name of each part that was measured.

        Example:
            >>> for name, line in model.evidence(study, 0, 5, "quote").lines().items():
            ...     print(name, line)
        """
        lines = {
            "tracks": self._tracks(),
            "necessary": self._necessary(),
            "sufficient": self._sufficient(),
            "interchangeable": self._interchangeable(),
        }
        wrong = self.fooled
        lines["fooled"] = "not measured: the output shows the property nowhere in the scoring half"
        if wrong.num_places:
            share = wrong.num_wrong / wrong.num_places
            lines["fooled"] = (
                f"at {wrong.num_wrong:,} of {wrong.num_places:,} places,"
                f" {share:.1%}{_in_brackets(wrong.ci_wrong, form='.1%')}, where the output is wrong"
                f" {wrong.num_output_wrong:,} times"
            )
        if self.carries is not None:
            lines["carries"] = _carries(self.carries)
        lines["verdict"] = self.verdict
        return lines

    def __str__(self) -> str:
        """Return the lines of the card."""
        return "\n".join(f"{name}: {line}" for name, line in self.lines().items())

    def view(self) -> Sequence[RenderableType]:
        """Return a line for each part of the evidence, and the assumptions.

        A notebook shows it by itself; `print(card)` prints the lines alone.
        """
        title = (
            f"Evidence that cell {self.layer}:{self.unit} follows {self.detector}"
            f" ({self.looks_for}), over {self.num_chars:,} characters"
        )
        lines = PlainTable.grid(padding=(0, 2))
        for name, line in self.lines().items():
            lines.add_row(name, _folded(line))
        refuted = _heading("What would refute it")
        return [_heading(title), lines, Text(), refuted, _folded(self.assumptions)]

    def _tracks(self) -> str:
        line = score_line(self.tracks)
        # Scored on the second half.
        line += f", over {self.num_chars - self.num_chars // 2:,} characters"
        if not self.is_above_chance:
            line += ": no more than chance"
        return line

    def _necessary(self) -> str:
        necessary = self.necessary
        compared = _compared(
            "random directions", rank=necessary.rank_among_directions, rises=necessary.directions
        )
        if necessary.cells:  # A network may have a single cell.
            cells = _compared("other cells", rank=necessary.rank, rises=necessary.cells)
            compared = f"{cells}, and {compared}"
        return (
            f"held at its mean: loss"
            f" {necessary.inside:+.4f}{_in_brackets(necessary.ci_inside, form='+.4f')} inside,"
            f" {necessary.outside:+.4f}{_in_brackets(necessary.ci_outside, form='+.4f')} outside,"
            f" over {necessary.num_chars:,} characters; over {necessary.num_ranked_chars:,} of"
            f" them it rises by {necessary.ranked:+.4f} inside: {compared}"
        )

    def _sufficient(self) -> str:
        sufficient = self.sufficient
        effect = (
            f"effect {sufficient.effect:+.2f}{_in_brackets(sufficient.ci, form='+.2f')} log odds at"
            f" {sufficient.num_places:,} places"
        )
        if sufficient.ci is None:
            return f"not measured: {effect}, in too few passages for an interval"
        if not sufficient.curve:
            return f"not measured: {effect}, not surely above 0"

        curve = ", ".join(f"{num_free}: {share:.0%}" for num_free, share in sufficient.curve)
        reached = f"{SHARE_CARRIED:.0%} with none of these numbers"
        if sufficient.num_carrying is not None:
            nums_free = [num_free for num_free, _ in sufficient.curve]
            interval = sufficient.intervals[nums_free.index(sufficient.num_carrying)]
            reached = (
                f"{SHARE_CARRIED:.0%} from {sufficient.num_carrying} on"
                f"{_in_brackets(interval, form='.0%')}"
            )
        return (
            f"{effect}; share of it that is left while all but the first k of the"
            f" {len(sufficient.followers):,} followers are held at their means: {curve}; {reached}"
        )

    def _interchangeable(self) -> str:
        exchanged = self.interchange
        if exchanged is None:
            return "not measured: in no pair the output differs as the labels do"
        line = (
            f"with the memory of the other place, taken {counted(exchanged.lag, 'character')}"
            f" before, the output is nearer to that of the other place than to its own in"
            f" {exchanged.accuracy:.1%} of {exchanged.num_pairs:,} pairs"
        )
        above_others = exchanged.above_other_cells
        above_equal = exchanged.above_equal_labels
        if above_others is None or above_equal is None:
            return f"{line}, in too few passages for an interval"
        return (
            f"{line}: {_in_points(above_others)} percentage points more than with the memory of"
            f" another cell ({exchanged.other_cells:.1%}), and {_in_points(above_equal)} more than"
            f" with that of a place with the same label ({exchanged.equal_labels:.1%})"
        )


def _compared(others: str, *, rank: int, rises: Sequence[float]) -> str:
    """Say how many of several others raise the loss as much as the cell, which has this rank among
    them."""
    if rank == 1:
        return f"none of {len(rises)} {others} raises it as much (at most {max(rises):+.4f})"
    return f"{rank - 1} of {len(rises)} {others} raise it as much (up to {max(rises):+.4f})"


def _carries(carries: Carrying) -> str:
    """Say at how many places a cell carries most."""
    next_character = a_character(carries.character)
    if not carries.is_read:
        return (
            f"not measured: the output layer reads other layers or mixtures of units, so no effect"
            f" on {next_character} ends at this cell"
        )
    share = ""
    if carries.share is not None:
        share = f", with a median share of {carries.share:.0%}"
    return (
        f"at {carries.num_most:,} of {carries.num_places:,} places where {next_character} comes"
        f" next, this cell carries most of the strongest effect of all but the last {NUM_NEAR}"
        f" characters{share}"
    )


def _are_above_0(*intervals: Interval | None) -> bool | None:
    """Return whether all intervals lie above 0; None if one was not measured."""
    if None in intervals:
        return None
    return min(low for low, _ in filter(None, intervals)) > 0


def _in_points(interval: Interval) -> str:
    """Write the ends of a difference of two shares in percentage points."""
    low, high = interval
    return ends_text(100 * low, 100 * high, form=".1f")


def _in_brackets(interval: Interval | None, form: str) -> str:
    """Write the ends of an interval behind its number; nothing where there is none."""
    if interval is None:
        return ""
    return f" ({ends_text(*interval, form)})"


def _heading(title: str) -> Text:
    return Text(all_visible(title), style="bold")


def _folded(line: str) -> Text:
    """Return a line of text, which is folded where it is longer than the terminal is wide."""
    return Text(all_visible(line), overflow="fold")
