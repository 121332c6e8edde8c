"""The evidence card: what is measured, and the picture of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.analyses.matching import CellMatch
from charrnn.cells.findings import CellScore
from charrnn.errors import counted
from charrnn.system.display import Displayable
from charrnn.views.tables import ends_text, score_text
from charrnn.views.theme import all_visible, block, shown_character

SHARE_CARRIED = 0.9
"""The share of an effect that cells carry, if they carry it."""
WORST_TITLE = "Where it is most wrong"
"""Title of the places."""
ABOUT_WORST = "[ ] encloses what is labelled inside, | ends at the place"
"""What the marks in the excerpts are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Necessity:
    """The rise of the loss, in nats per character, while the memory of the cell is held at its
    mean."""

    inside: float
    outside: float
    num_chars: int
    cells: tuple[float, ...] = field(repr=False)
    """The rise inside for other cells, drawn at random."""
    directions: tuple[float, ...] = field(repr=False)
    """The rise inside for random directions of the layer's memories, of the variance of one
    cell."""
    windows: tuple[int, ...] = field(repr=False)
    """Where the segments begin that were read."""
    rank: int
    """Among them: 1 if no other cell raises the loss as much."""
    rank_among_directions: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sufficiency:
    """The share of the property's effect on the output that remains while the followers are held
    at their means, all but the first k."""

    followers: tuple[tuple[int, int], ...] = field(repr=False)
    """(layer, unit) of the cells that follow the property, in the order in which they are kept: the
    cell first."""
    effect: float
    """How much higher the log odds of the output are inside than outside while no cell is held."""
    curve: tuple[tuple[int, float], ...]
    """(k, share)."""
    windows: tuple[int, ...] = field(repr=False)
    num_carrying: int | None
    """The smallest k of the curve with SHARE_CARRIED of the effect; None if there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interchange:
    """The share of the pairs, of a position inside and one outside after which the output differs,
    in which it moves to the other's side when the memory of the cell is exchanged."""

    accuracy: float
    other_cells: float
    """The same for other cells, drawn at random for each position."""
    equal_labels: float
    """The same for pairs of positions on one side."""
    num_pairs: int
    num_drawn: int
    """The pairs that were drawn, also those in which the output does not differ as the labels do.
    """
    lag: int
    """The characters that are read after the exchange."""
    pairs: tuple[tuple[int, int], ...] = field(repr=False)
    """All positions that were drawn: inside, outside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Birth:
    """The score of the cell on held-out text at every checkpoint."""

    steps: tuple[int, ...]
    values: tuple[float, ...]
    step: int | None
    """From this one on the score is above chance; None if it is not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherRun:
    """The cell of another run that correlates best with the cell."""

    name: str
    match: CellMatch
    score: float
    """Its AUC or ρ for the detector, on segments of the scoring half."""
    is_shared: bool
    """Whether the run has the cell: it correlates as `CellMatch.is_shared` says, and the score is
    near that of the cell (`matching.NEAR`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Text with one label; of a long one, its beginning and its end."""

    text: str
    is_inside: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class WrongPlace:
    """A position where the cell is on the wrong side of its threshold."""

    position: int
    is_inside: bool
    value: float
    is_output_wrong: bool
    since_change: int
    """Characters since the label changed."""
    before: tuple[Stretch, ...]
    """The last stretches of text up to the position."""
    after: str

    @property
    def about(self) -> str:
        """The label, the value and the output in words."""
        label = "inside" if self.is_inside else "outside"
        output = "wrong" if self.is_output_wrong else "right"
        since = counted(self.since_change + 1, "character")
        return f"{label} for {since}, value {self.value:+.2f}, output {output}"

    @property
    def excerpt(self) -> Text:
        """The text around the position, with what is labelled inside in bold brackets."""
        excerpt = Text()
        for stretch in self.before:
            shown = all_visible(stretch.text)
            if stretch.is_inside:
                excerpt.append(f"[{shown}]", "bold")
            else:
                excerpt.append(shown)
        excerpt.append("|", "dim")
        return excerpt.append(all_visible(self.after), "underline")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistakes:
    """The places where the cell is wrong, of those after which the output shows the property."""

    num_places: int
    num_wrong: int
    num_output_wrong: int
    """Of the wrong ones: those where the output is on the wrong side, too."""
    threshold: float
    worst: tuple[WrongPlace, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceCard(Displayable):
    """What is known of the claim that the cell `layer`:`unit` tracks the property of a detector."""

    layer: int
    unit: int
    detector: str
    looks_for: str
    output: tuple[str, ...]
    """The next characters whose odds show the property."""
    output_sign: int
    """1 if they are likelier inside or at high counts, else -1."""
    output_after: tuple[str, ...]
    """The characters that are read where this shows."""
    num_chars: int
    num_cells: int
    tracks: CellScore
    necessary: Necessity
    sufficient: Sufficiency
    interchange: Interchange | None
    """None without a pair in which the output differs."""
    fooled: Mistakes
    born: Birth | None = None
    """None for a model with fewer than two checkpoints."""
    others: tuple[OtherRun, ...] = ()
    """One for each other run that was given."""

    @property
    def assumptions(self) -> str:
        """Two sentences: what the figures assume, and what would refute the claim."""
        odds = " ".join(map(shown_character, self.output))
        return (
            f"This assumes that the labels are what the network follows, that a memory held at its"
            f" mean or exchanged leaves the rest of the network in states that it knows, and that"
            f" the odds of {odds} show the property. The claim is refuted by a text in which the"
            f" score falls to chance, by another cell or direction that raises the loss as much,"
            f" or by exchanges that move the output no more often than those of other cells."
        )

    def to_json(self) -> dict[str, Any]:
        """Return all fields and the assumptions as one object."""
        return asdict(self) | {
            "tracks": self.tracks.to_json(),
            "tests": self.tests(),
            "verdict": self.verdict,
            "assumptions": self.assumptions,
        }

    def tests(self) -> dict[str, bool | None]:
        """Return for each test of the claim whether the cell passes it; None if it was not
        measured."""
        necessary = self.necessary
        found: dict[str, bool | None] = {
            "tracks": self.is_above_chance,
            "necessary": necessary.inside > 0
            and necessary.rank == necessary.rank_among_directions == 1,
            "sufficient": bool(self.sufficient.num_carrying),
            "interchangeable": None,
        }
        exchanged = self.interchange
        if exchanged is not None:
            by_chance = max(exchanged.other_cells, exchanged.equal_labels)
            found["interchangeable"] = exchanged.accuracy > by_chance
        return found

    @property
    def is_above_chance(self) -> bool:
        """Whether the score is: only the best cell of a detector has a p-value and an interval."""
        if self.tracks.p_value is None:
            return self.tracks.exceeds_chance_level
        return self.tracks.is_significant

    @property
    def verdict(self) -> str:
        """Whether the claim holds, and which tests failed or were not measured."""
        tests = self.tests()
        failed = [name for name, passed in tests.items() if passed is False]
        missing = [name for name, passed in tests.items() if passed is None]
        said = f"the claim holds: all {len(tests) - len(missing)} tests passed"
        if failed:
            said = f"the claim does not hold: it fails {', '.join(failed)}"
        if missing:
            said += f"; not measured: {', '.join(missing)}"
        return said

    def lines(self) -> dict[str, str]:
        """Return a line for each part that was measured."""
        found = {
            "tracks": self._tracks(),
            "necessary": self._necessary(),
            "sufficient": self._sufficient(),
        }
        found["interchangeable"] = "not measured: in no pair the output differs as the labels do"
        if self.interchange is not None:
            one = self.interchange
            found["interchangeable"] = (
                f"{one.accuracy:.1%} of {one.num_pairs:,} pairs move to the other's side"
                f" {one.lag} characters later (other cells {one.other_cells:.1%}, equal labels"
                f" {one.equal_labels:.1%})"
            )
        if self.born is not None:
            found["born"] = self._born()
        if self.others:
            found["shared"] = self._shared()
        wrong = self.fooled
        found["fooled"] = "not measured: the output shows the property nowhere in the scoring half"
        if wrong.num_places:
            found["fooled"] = (
                f"at {wrong.num_wrong:,} of {wrong.num_places:,} places, where the output is wrong"
                f" {wrong.num_output_wrong:,} times"
            )
        found["verdict"] = self.verdict
        return found

    def view(self) -> Sequence[RenderableType]:
        """Return the parts, a line each, then the places where the cell is most wrong."""
        title = (
            f"Cell {self.layer}:{self.unit} and {all_visible(self.detector)}"
            f" ({all_visible(self.looks_for)}), over {self.num_chars:,} characters"
        )
        grid = Table.grid(padding=(0, 2, 0, 0))
        for name, line in self.lines().items():
            grid.add_row(name, Text(line, overflow="fold"))
        pictures: list[RenderableType] = [Text(title, style="bold"), grid]
        if self.fooled.worst:
            pictures += [Text(), Text(WORST_TITLE, style="bold"), Text(ABOUT_WORST, style="dim")]
        for place in self.fooled.worst:
            pictures += [Text(f"  {place.about}", style="dim"), place.excerpt]
        return [*pictures, Text(), Text(self.assumptions, style="dim")]

    def _tracks(self) -> str:
        score = self.tracks
        line = score_text(score)
        if score.ci_low is not None:
            line += f" ({ends_text(score.ci_low, score.ci_high)})"
        for name in ("null_level", "untrained", "interior"):
            value = getattr(score, name)
            if value is not None:
                line += f", {SHOWN_AS[name]} {value:.3f}"
        if not self.is_above_chance:
            line += ": no more than chance"
        return line

    def _necessary(self) -> str:
        one = self.necessary
        return (
            f"held at its mean: loss {one.inside:+.4f} inside, {one.outside:+.4f} outside; rank"
            f" {one.rank} of {1 + len(one.cells)} cells (others up to {max(one.cells):+.4f}),"
            f" {one.rank_among_directions} of {1 + len(one.directions)} with random directions"
            f" (up to {max(one.directions):+.4f})"
        )

    def _sufficient(self) -> str:
        one = self.sufficient
        curve = ", ".join(f"{num_kept}: {share:.0%}" for num_kept, share in one.curve)
        carrying = f"{SHARE_CARRIED:.0%} from {one.num_carrying} on"
        if one.num_carrying == 0:
            carrying = f"{SHARE_CARRIED:.0%} without any of them, so that others carry it"
        elif one.num_carrying is None:
            carrying = f"never {SHARE_CARRIED:.0%}"
        num_followers = len(one.followers)
        return (
            f"share of the effect with the first k of {num_followers:,} cells that follow it,"
            f" {curve}; {carrying}"
        )

    def _born(self) -> str:
        assert self.born is not None, "there are checkpoints"
        blocks = "".join(block(2 * abs(value) - 1) for value in self.born.values)
        steps = f"steps {self.born.steps[0]:,} to {self.born.steps[-1]:,} {blocks}"
        if self.born.step is None:
            return f"not above chance to the end; {steps}"
        return f"above chance from step {self.born.step:,} on; {steps}"

    def _shared(self) -> str:
        shared: list[str] = []
        unlike: list[str] = []
        for run in self.others:
            match = run.match
            score = f"ρ {run.score:+.3f}"
            if self.tracks.auc is not None:
                score = f"AUC {run.score:.3f}"
            cell = f"{all_visible(run.name)} {match.other_layer}:{match.other_unit}"
            cells = shared if run.is_shared else unlike
            cells.append(f"{cell} (r {match.correlation:+.3f}, {score})")

        # The most similar cell of a run that lacks the cell, so that a reader sees what is missing.
        line = f"by {len(shared)} of {counted(len(self.others), 'other run')}"
        if shared:
            line += f": {', '.join(shared)}"
        if unlike:
            line += f"; not by {', '.join(unlike)}"
        return line


SHOWN_AS = {"null_level": "chance", "untrained": "untrained", "interior": "inner"}
"""How fields of a score are called."""
