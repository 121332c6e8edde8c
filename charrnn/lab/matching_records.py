"""Records of which cells of one training another training has as well."""

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from charrnn.cells.records import CellScore
from charrnn.display import Displayable

LARGE_EXCESS = 0.5
"""Excess correlation above which Gurnee et al. call a neuron universal."""
SHARED = 0.01
"""Largest p-value of a cell that another run has as well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellMatch:
    """The cell `other_layer`:`other_unit` of another run that correlates best with the cell `layer`:`unit`."""

    layer: int
    unit: int
    other_layer: int
    other_unit: int
    correlation: float
    """Pearson's r over the text, with its sign; 0 for a cell that is constant."""
    null: float
    """The best |r| with the other run's rotated activations, averaged over the rotations."""
    p_value: float
    """Share of the rotations for which the best |r| is at least as large; no rotation counts as one of them."""
    partner: tuple[int, int] | None
    """The cell (layer, unit) of the one-to-one assignment, which takes the strongest pairs first; None if none is
    left."""

    @property
    def is_shared(self) -> bool:
        """Whether the other run has the cell as well: p is at most SHARED."""
        return self.p_value <= SHARED

    @property
    def excess(self) -> float:
        """How far |r| exceeds the null: the excess correlation of Gurnee et al. 2024."""
        return abs(self.correlation) - self.null


@dataclass(frozen=True, kw_only=True, slots=True)
class PairMatch(Displayable):
    """The cells of the run `name`, each with the cell of the run `other` that correlates best with it.

    The null is that of Gurnee et al. 2024, "Universal neurons in GPT2 language models": the best |r| with the other
    run's activations after a rotation, which keeps what its layers contain and mixes the cells.
    """

    name: str
    other: str
    matches: tuple[CellMatch, ...] = field(repr=False)
    """In the order of the cells."""
    null_median: float
    """The median of the best |r| of all cells under all rotations."""
    null_95: float
    """The |r| that 95 % of them stay below."""
    null_99: float
    histogram: tuple[float, ...] = field(repr=False)
    """The share of the cells by their best |r|, in equal bins from 0 to 1."""
    null_histogram: tuple[float, ...] = field(repr=False)
    """The same under rotation."""

    @property
    def median(self) -> float:
        """The median of the best |r|."""
        return statistics.median(abs(match.correlation) for match in self.matches)

    @property
    def share_95(self) -> float:
        """The share of the cells whose best |r| is above 95 % of their null: p at most 0.05."""
        return sum(match.p_value <= 0.05 for match in self.matches) / len(self.matches)

    @property
    def share_99(self) -> float:
        """The share of the cells whose best |r| is above 99 % of their null: cells that the other run has as well."""
        return sum(match.is_shared for match in self.matches) / len(self.matches)

    @property
    def share_excess(self) -> float:
        """The share of the cells whose excess correlation is above LARGE_EXCESS."""
        return sum(match.excess > LARGE_EXCESS for match in self.matches) / len(self.matches)

    @property
    def share_mutual(self) -> float:
        """The share of the cells whose best cell is assigned to them, so that no other cell claims it."""
        mutual = sum(match.partner == (match.other_layer, match.other_unit) for match in self.matches)
        return mutual / len(self.matches)

    def to_json(self) -> dict[str, Any]:
        """Return all fields and shares as one object."""
        names = ("median", "share_95", "share_99", "share_excess", "share_mutual")
        return asdict(self) | {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyMatch:
    """The cell of every run that follows a detector best."""

    detector: str
    scores: tuple[CellScore | None, ...]
    """By run; None where the text cannot be scored."""
    is_same: tuple[bool, ...]
    """By run: whether this cell is the one that correlates best with the first run's, and shared with it."""

    @property
    def num_found(self) -> int:
        """The number of runs in which the score is significant."""
        return sum(score is not None and score.is_significant for score in self.scores)

    def to_json(self) -> dict[str, Any]:
        """Return the scores as those of `visualize --find --json`, null where there is none."""
        return {
            "detector": self.detector,
            "num_found": self.num_found,
            "scores": [None if score is None else score.to_json() for score in self.scores],
            "is_same": list(self.is_same),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchReport(Displayable):
    """The cells that several runs have in common, over one text of `num_chars` characters."""

    names: tuple[str, ...]
    """Of the runs."""
    num_chars: int
    num_rotations: int
    """Rotations of each pair that its null is measured on."""
    pairs: tuple[PairMatch, ...]
    """Every run with every later one: first those of the first run."""
    properties: tuple[PropertyMatch, ...]
    """Those that most runs have come first."""

    def num_sharing(self) -> tuple[int, ...]:
        """Count the cells of the first run by how many of the other runs have them: entry k is for k other runs."""
        own = self.pairs[: len(self.names) - 1]
        counts = [0] * len(self.names)
        for of_cell in zip(*(pair.matches for pair in own), strict=True):
            counts[sum(match.is_shared for match in of_cell)] += 1
        return tuple(counts)

    def to_json(self) -> dict[str, Any]:
        """Return all as one object."""
        return {
            "runs": list(self.names),
            "num_chars": self.num_chars,
            "num_rotations": self.num_rotations,
            "pairs": [pair.to_json() for pair in self.pairs],
            "num_sharing": list(self.num_sharing()),
            "properties": [found.to_json() for found in self.properties],
        }
