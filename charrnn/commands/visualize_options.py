"""The options of `charrnn visualize`, and the subject that they name: a model and a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from charrnn.cells.study import NUM_PASSAGES, Study
from charrnn.cli.command_classes import OTHER
from charrnn.cli.command_options import (
    PART_HELP,
    TEXT_HELP,
    ExportingOptions,
    run_argument,
)
from charrnn.config.options import at_least, option
from charrnn.detectors.detector import Detector
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import TrainedModel
from charrnn.views.delivery import describe_formats

COLOURS = "Coloured text"
"""Group of the options in the help that change how a text is coloured."""
SINGLE_CELLS = "What a cell does"
"""Group of the option that tests a claim about a single cell."""
NETWORK = "The network"
"""Group of the options that show the gates or the gradients of a network."""
CHARS_SHOWN = 1_200
"""Characters that --cell and --surprise colour, unless another number is asked for."""
BEST = "best"
"""The word for the cell that follows its detector best, in place of `L:U`."""


@dataclass(frozen=True, kw_only=True)
class VisualizeOptions(ExportingOptions):
    """The options of `charrnn visualize`."""

    # The model, the text, and what is shown.
    run: str | None = run_argument()
    text: str | None = option(None, flags="--text FILE", help=TEXT_HELP)
    export: Path | None = option(
        None,
        flags="--export FILE",
        help=f"Write to FILE: {describe_formats()}; .npz: activations.",
        panel=OTHER,
    )
    part: str = option("validation", flags="--part PART", help=PART_HELP)
    cells: Sequence[str] = option(
        (), flags="--cell L:U", help="Colour the text by this cell: layer and unit (repeatable)."
    )
    surprise: bool = option(
        False,
        flags="--surprise",
        help="Colour each character by its surprise, and list the least predictable sentences.",
    )
    detectors: Sequence[str] = option(
        (),
        flags="--detector NAME",
        help="Look only for cells that follow this, such as quote (list below; repeatable).",
    )
    detect: Sequence[str] = option(
        (),
        flags="--detect REGEX|FILE.py",
        help="A detector of your own: REGEX, NAME=REGEX, or FILE.py with label(text).",
    )
    find: bool = option(
        False,
        flags="--find",
        help="Print the table only.",
    )

    # How much is shown, and where it is written. None, not a number, where the default depends on
    # what is shown: a typed number can then be told from a default.
    top: int | None = option(
        None,
        flags="--top N",
        help="How many cells to colour, or sentences to list.",
        allowed=at_least(0),
        shown_default=str(NUM_PASSAGES),
    )

    # How a text is coloured.
    chars: int | None = option(
        None,
        flags="--chars N",
        help="Characters to colour with --cell or --surprise.",
        panel=COLOURS,
        shown_default=str(CHARS_SHOWN),
        allowed=at_least(1),
    )
    guesses: bool = option(
        False,
        flags="--guesses",
        help="With --cell: the five most likely next characters below each.",
        panel=COLOURS,
    )

    # What is shown of a cell and of the network by functions of `charrnn.analyses`.
    evidence: str = option(
        "",
        flags=f"--evidence L:U|{BEST}",
        help="Test whether the model uses this cell, or the best one: tests and a verdict.",
        panel=SINGLE_CELLS,
    )
    gates: bool = option(
        False,
        flags="--gates",
        help="Show how often each gate is saturated, per layer.",
        panel=NETWORK,
    )
    gradients: bool = option(
        False,
        flags="--gradients",
        help="Show how the gradient decays or grows with distance.",
        panel=NETWORK,
    )
    beside: Sequence[str] = option(
        (),
        flags="--with RUN",
        help="With --gradients: add another run to the charts (repeatable).",
        panel=NETWORK,
    )

    # Findings are keyed by weights, text and program, so results are right without this option. It
    # is for users who doubt a finding.
    recompute: bool = option(
        False,
        flags="--recompute",
        help="Ignore the findings saved so far and measure again.",
        panel=OTHER,
    )

    @property
    def suffix(self) -> str:
        """The suffix of the exported file in lower case, "" without an export."""
        return "" if self.export is None else self.export.suffix.lower()

    @property
    def colours_text(self) -> bool:
        """Whether the first `--chars` characters are shown, and not findings of a longer text."""
        return bool(self.cells) or self.surprise


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, the text it is measured on, and the options."""

    model: TrainedModel
    content: str | bytes
    """The text as it was read; `text` is the encoded text."""
    context: str | bytes
    text: EncodedText
    num_available: int
    """Number of characters of the whole text, of which `text` is the beginning."""
    whole: EncodedText
    """The text, or a longer text that begins with it, on which the page of a cell is measured."""
    options: VisualizeOptions
    detectors: list[Detector]
    """The chosen detectors."""

    @cached_property
    def study(self) -> Study:
        """The study of the cells over the text, with the findings saved so far."""
        return self.model.study(self.text, cached=True)
