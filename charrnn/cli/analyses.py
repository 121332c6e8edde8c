"""What an analysis of `charrnn visualize` is: its option, what it measures, and the picture that
shows it.

An analysis is one file of `charrnn.analyses`, which ends with ANALYSES = (Analysis(...), ...).
Other packages return theirs from the hook `analyses` (`hooks.specifications`, docs/extending.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from charrnn.api import Model
from charrnn.cells.analysis import CellAnalysis
from charrnn.config.options import Option
from charrnn.detectors.detector import Detector
from charrnn.errors import UsageError
from charrnn.text.vocab import EncodedText
from charrnn.views.delivery import Shown

__all__ = (
    "DETECTOR_OPTIONS",
    "Analysis",
    "Option",
    "Options",
    "Shown",
    "Subject",
    "choose_analysis",
)

EVERYDAY = ("--cell", "--find", "--surprise")
"""The options of analyses in the first group of the help, of the options that everybody uses."""
ANALYSES = "More analyses"
"""The group of the other ones."""
DETECTOR_OPTIONS = frozenset({"--detector", "--detect"})
"""For `Analysis.takes`: the options that choose detectors."""
Measured = TypeVar("Measured")
"""What an analysis measures and then shows."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one call that decide what an analysis measures and shows."""

    values: Mapping[str, Any]
    """The values of all options by flag."""
    runs: tuple[str, ...]
    """The runs after the first one, for an analysis that takes several."""
    detectors: list[Detector]

    @property
    def suffix(self) -> str:
        """The suffix of the exported file in lower case, "" without an export."""
        export: Path | None = self.values["--export"]
        return "" if export is None else export.suffix.lower()


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, the text it is measured on, and the options."""

    model: Model
    content: str | bytes
    """The text as it was read; `text` is the same, encoded."""
    context: str | bytes
    text: EncodedText
    num_available: int
    """Characters of the whole text, of which `text` is the beginning."""
    options: Options
    whole: EncodedText
    """The text, or a longer one that begins with it, that a page of a cell is measured on."""

    def value(self, option: Option) -> Any:
        """Return the value of an option that an analysis declares: False, None or [] if it was not
        given."""
        return self.options.values[option.flag]

    @cached_property
    def study(self) -> CellAnalysis:
        """The study of the cells over the text, with the findings saved so far."""
        return self.model.study(self.text, cached=True)


@dataclass(frozen=True, slots=True)
class Analysis(Generic[Measured]):
    """One kind of picture of `charrnn visualize`."""

    option: Option | None
    """The option that selects it; None for what is shown without any."""
    measure: Callable[[Subject], Measured]
    show: Callable[[Subject, Measured], Shown]
    _: KW_ONLY
    options: tuple[Option, ...] = ()
    """Further options that apply to it; several analyses may declare the same one."""
    takes: frozenset[str] = frozenset()
    """Flags of the command's own options that apply to some analyses only, and to this one."""
    example: str = ""
    """The option that selects it, as it is typed, if it takes a value."""
    colours_text: bool = False
    """Whether it shows the first `--chars` characters, not findings of a longer text."""
    reads_more: bool = False
    """Whether it also measures a longer text, as the analyses that show no characters do."""
    exports_arrays: bool = False
    """Whether `--export FILE.npz` applies."""
    takes_runs: bool = False
    """Whether it takes several runs."""
    reads_text: bool | Callable[[Options], bool] = True
    """Whether it reads a text; if not, `Subject.text` is empty."""

    @property
    def name(self) -> str:
        """The flag that selects it, "" without one."""
        return "" if self.option is None else self.option.flag

    @property
    def applying(self) -> frozenset[str]:
        """The flags of all options that apply to some analyses only, and to this one."""
        return self.takes | {option.flag for option in self.options}


def analysis_options(analyses: Sequence[Analysis[Any]]) -> tuple[Option, ...]:
    """Return the options that analyses declare, each once: after the option of an analysis its
    further ones.

    Raises UsageError for a flag that two analyses declare in different ways.
    """
    declared: dict[str, Option] = {}
    for option in (
        option for one in analyses for option in (one.option, *one.options) if option is not None
    ):
        if declared.setdefault(option.flag, option) != option:
            raise UsageError(
                f"Two analyses declare {option.flag}. Rename one, or uninstall the package it comes"
                " from."
            )
    return tuple(
        option if flag in EVERYDAY else replace(option, panel=option.panel or ANALYSES)
        for flag, option in declared.items()
    )


def choose_analysis(analyses: Sequence[Analysis[Any]], given: Mapping[str, bool]) -> Analysis[Any]:
    """Return the analysis that the given options select.

    `given` says of every option whether it was given. Raises UsageError for two analyses at once
    and for an option that does not apply to the analysis.
    """
    by_name = {analysis.name: analysis for analysis in analyses}
    names = [name for name in by_name if name and given[name]]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} are different pictures: give one of them.")
    chosen = by_name[names[0] if names else ""]
    limited = frozenset().union(*(analysis.applying for analysis in analyses))
    for option, is_given in given.items():
        if option not in limited or not is_given or option in chosen.applying:
            continue
        if chosen.name:
            raise UsageError(f"{option} does not apply to {chosen.name}: leave out one of them.")
        examples = [
            analysis.example or analysis.name
            for analysis in analyses
            if option in analysis.applying
        ]
        raise UsageError(
            f"{option} needs another option: add {' or '.join(examples)}, or leave {option} out."
        )
    return chosen
