"""Define an analysis of `charrnn visualize`: its options, its measurement, and the picture that
shows it.

An analysis is one file of `charrnn.analyses`, which ends with
ANALYSES = (Analysis(...), ...).
Other packages return their analyses from the hook `analyses` (`hooks.specifications`,
docs/use/extending.md).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from charrnn.cells.study import NUM_PASSAGES, Study
from charrnn.cli.command_options import NEWEST_RUN, RUN_HELP, TEXT_HELP, ExtensibleOptions
from charrnn.cli.help_page import OTHER
from charrnn.config.options import Option, argument, option, options_of
from charrnn.detectors.detector import Detector
from charrnn.errors import UsageError
from charrnn.hooks.specifications import Record
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import TrainedModel
from charrnn.views.delivery import Shown, describe_formats

__all__ = (
    "DETECTOR_OPTIONS",
    "Analysis",
    "NoOptions",
    "Shown",
    "Subject",
    "VisualizeOptions",
    "choose_analysis",
)

COLOURS = "Coloured text"
"""Group of the options in the help that change how a text is coloured."""
SINGLE_CELLS = "What a cell does"
"""Group of the analyses that explain single cells."""
NETWORK = "The network"
"""Group of the analyses that show the gates, the weights or the training of a network."""
ANALYSES = "More analyses"
"""Group of the analyses that name no group, such as the analyses of other packages."""
CHARS_SHOWN = 1_200
"""Characters that --cell and --surprise colour, unless another number is asked for."""
DETECTOR_OPTIONS = frozenset({"--detector", "--detect"})
"""For `Analysis.takes`: the options that choose detectors."""
Own = TypeVar("Own")
"""The dataclass with the options of an analysis."""
Measured = TypeVar("Measured")
"""The result that an analysis measures and then shows."""


@dataclass(frozen=True, kw_only=True)
class VisualizeOptions(ExtensibleOptions):
    """The options of `charrnn visualize`, except for the options that the analyses of plugins
    declare."""

    # The model, the text, and the analyses of the core. The analyses of plugins bring their own
    # options (`Analysis.options`).
    run: str | None = argument(
        "RUN",
        help=f"{RUN_HELP} RUN@STEP is one of its checkpoints.",
        default=None,
        shown_default=NEWEST_RUN,
    )
    text: str | None = option(None, flags="--text FILE", help=TEXT_HELP)
    cells: Sequence[str] = option(
        (), flags="--cell L:U", help="Show this cell: layer and unit, from 0 (repeatable)."
    )
    surprise: bool = option(
        False,
        flags="--surprise",
        help="List the least and the most predictable sentences and words of the whole text, and"
        " colour each character by its surprise in bits.",
    )
    detectors: Sequence[str] = option(
        (),
        flags="--detector NAME",
        help="Score only this one of those below, such as quote (repeatable).",
    )
    detect: Sequence[str] = option(
        (),
        flags="--detect REGEX|FILE.py",
        help="Score a detector of your own: a regular expression, NAME=REGEX to name it, or"
        " FILE.py with a function label(text).",
    )
    find: bool = option(
        False,
        flags="--find",
        help="Print the table only.",
    )

    # How much is shown, and where it is written. None, not a number, where the default depends on
    # the analysis: a typed number can then be told from a default.
    top: int | None = option(
        None,
        flags="--top N",
        help="How many cells to colour.",
        least=0,
        shown_default=str(NUM_PASSAGES),
    )
    export: Path | None = option(
        None,
        flags="--export FILE",
        help=f"Write the result to FILE: {describe_formats(has_arrays=True)}.",
    )

    # How a text is coloured. These apply to some analyses only (`Analysis.takes`), which
    # `choose_analysis` checks.
    chars: int | None = option(
        None,
        flags="--chars N",
        help="Characters to colour with --cell or --surprise.",
        panel=COLOURS,
        shown_default=str(CHARS_SHOWN),
        least=1,
    )
    guesses: bool = option(
        False,
        flags="--guesses",
        help="With --cell: the five most likely next characters below each.",
        panel=COLOURS,
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


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """The options of an analysis that declares none."""


@dataclass(frozen=True, kw_only=True)
class Subject(Generic[Own]):
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
    own: Own
    """The options that the analysis declares."""
    detectors: list[Detector]
    """The chosen detectors."""

    @cached_property
    def study(self) -> Study:
        """The study of the cells over the text, with the findings saved so far."""
        return self.model.study(self.text, cached=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis(Record, Generic[Own, Measured]):
    """One kind of picture of `charrnn visualize`."""

    flag: str = ""
    """The option that selects the analysis, which is its own option or an option of the command; ""
    for the analysis that is shown without any option."""
    options: type[Own]
    """The class that declares its own options; several analyses may declare the same option."""
    measure: Callable[[Subject[Own]], Measured]
    show: Callable[[Subject[Own], Measured], Shown]
    takes: frozenset[str] = frozenset()
    """Flags of the command's own options that apply only to some analyses, including this one."""
    example: str = ""
    """The option that selects it, as it is typed, if it takes a value."""
    colours_text: bool = False
    """Whether it shows the first `--chars` characters, not findings of a longer text."""
    reads_more: bool = False
    """Whether it also measures a longer text, as the analyses that show no characters do."""
    exports_arrays: bool = False
    """Whether `--export FILE.npz` applies."""
    exports_rows: bool = False
    """Whether `--export FILE.csv` applies: `show` returns the rows of a table."""

    @property
    def applying(self) -> frozenset[str]:
        """The flags of all options that apply only to some analyses, including this one."""
        own_flags = {option.flag for option in options_of(self.options)}
        return self.takes | (own_flags - {self.flag})


AnyAnalysis = Analysis[Any, Any]
"""An analysis with any options and any result."""


def analysis_options(analyses: Sequence[AnyAnalysis]) -> tuple[Option, ...]:
    """Return the options that analyses declare, each once.

    Raises UsageError for a flag or a field that two analyses declare in different ways.
    """
    command_options = options_of(VisualizeOptions)
    added: list[Option] = []
    for analysis in analyses:
        for new in options_of(analysis.options):
            # Two analyses may share an option if they declare it alike. A flag or a field with two
            # meanings is refused: each analysis would get the values of the other analysis.
            for earlier in (*command_options, *added):
                if new != earlier and (new.flag == earlier.flag or new.name == earlier.name):
                    raise UsageError(
                        f"Two analyses declare {new.flag}. Rename one, or uninstall the package"
                        " it comes from."
                    )
            if new not in added:
                added.append(new)

    # Options that name no group have a common group, so that options of packages do not mix with
    # the core.
    return tuple(replace(new, panel=new.panel or ANALYSES) for new in added)


def choose_analysis(analyses: Sequence[AnyAnalysis], given: Collection[str]) -> AnyAnalysis:
    """Return the analysis that the flags of the given options select.

    Raises UsageError for two analyses at once and for an option that does not apply to the
    analysis.
    """
    # Find the analysis whose flag was given, or the analysis without a flag if none was given.
    by_flag = {analysis.flag: analysis for analysis in analyses}
    flags = [flag for flag in by_flag if flag in given]
    if len(flags) > 1:
        raise UsageError(f"{' and '.join(flags)} are different pictures: give one of them.")
    selected = by_flag[flags[0] if flags else ""]

    # An option that applies only to some analyses must apply to this one: if it were ignored, the
    # user would get another picture without notice.
    limited = frozenset().union(*(analysis.applying for analysis in analyses))
    for flag in given:
        if flag not in limited or flag in selected.applying:
            continue
        if selected.flag:
            raise UsageError(f"{flag} does not apply to {selected.flag}: leave out one of them.")

        # No analysis was selected, so the option only lacks the analysis to which it applies.
        examples = [
            analysis.example or analysis.flag for analysis in analyses if flag in analysis.applying
        ]
        raise UsageError(
            f"{flag} needs another option: add {' or '.join(examples)}, or leave {flag} out."
        )
    return selected
